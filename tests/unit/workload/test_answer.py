"""Tests the answers of echo servers, and that a client reads the same back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.sctp import SCTP, SCTPChunkAbort, SCTPChunkInit, SCTPChunkInitAck

from emulator.cluster.state import HealthCheck
from emulator.model.frames import Answer, Health
from emulator.net import Endpoint
from emulator.workload import http, sctp
from emulator.workload.answer import (
    Dialogue,
    health_request,
    http_request,
    is_http,
    read_health,
    read_http_reply,
    read_reply,
    reply_line,
    request_line,
)
from emulator.workload.commands import expand

TEXT = st.text(min_size=0, max_size=40)
ENDPOINTS = st.builds(
    Endpoint.of,
    st.ip_addresses().filter(lambda ip: getattr(ip, "ipv4_mapped", None) is None).map(str),
    st.integers(0, 65535),
)
ANSWERS = st.builds(
    Answer,
    pod=TEXT,
    container=TEXT,
    node=TEXT,
    client=ENDPOINTS,
    dialled=st.none() | ENDPOINTS,
    local=st.none() | ENDPOINTS,
)
SERVER = Endpoint.parse("10.96.0.1:80")
ANSWER = Answer(
    pod="default/web-0",
    container="c",
    node="worker-1",
    client=Endpoint.parse("10.0.0.1:5"),
    dialled=Endpoint.parse("10.96.0.10:80"),
    local=Endpoint.parse("10.244.1.2:8080"),
)


@given(ANSWERS, st.integers(0, 2**64 - 1))
def test_a_reply_line_carries_the_cookie_and_reads_back(answer: Answer, cookie: int) -> None:
    line = reply_line(request_line(cookie), answer)
    assert line.count(b"\n") == 1
    assert line[8:24] == b"%016x" % cookie
    assert read_reply(line) == answer


def said_to(request: bytes, answer: Answer = ANSWER, check: HealthCheck | None = None) -> bytes:
    """Returns an echo server's answer to ``request``."""
    return Dialogue().hear(request, lambda: answer, check)


@given(ANSWERS, st.integers(0, 2**64 - 1))
def test_a_reply_to_a_real_request_carries_the_cookie_too_and_reads_back(answer: Answer, cookie: int) -> None:
    client = http_request(cookie, SERVER, keep=False)
    assert client.request.startswith(b"GET /?podwire=%016x HTTP/1.1\r\nHost: 10.96.0.1:80\r\n" % cookie)
    assert client.request.endswith(b"\r\nConnection: close\r\n\r\n")
    reply = said_to(client.request, answer)
    assert reply.startswith(b"HTTP/1.1 200 OK\r\nX-Podwire: podwire!%016x\r\n" % cookie)
    response = client.hear(reply)
    assert response
    assert read_http_reply(response) == answer


def test_a_request_of_others_gets_no_cookie() -> None:
    client = health_request(SERVER)
    response = client.hear(said_to(client.request))
    assert response
    assert read_http_reply(response) is None


@given(st.binary(max_size=200))
def test_strange_replies_are_none(data: bytes) -> None:
    assert read_reply(data) is None or data.startswith(b"podwire!")


def test_http_reply_is_json_of_its_stated_length() -> None:
    head, body = said_to(b"GET / HTTP/1.0\r\n\r\n").split(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body)["dialled"] == "10.96.0.10:80"
    assert said_to(b"HEAD / HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n")


@pytest.mark.parametrize(("endpoints", "status"), [(2, b"200 OK"), (0, b"503 Service Unavailable")])
def test_health_reply_says_how_many_endpoints_are_here(endpoints: int, status: bytes) -> None:
    check = HealthCheck(service="shop/lb", localEndpoints=endpoints)
    head, body = said_to(health_request(SERVER).request, check=check).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"X-Load-Balancing-Endpoint-Weight: %d" % endpoints in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body) == {
        "service": {"namespace": "shop", "name": "lb"},
        "localEndpoints": endpoints,
        "serviceProxyHealthy": True,
    }


@pytest.mark.parametrize("endpoints", [3, 0])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_client_reads_that_back_once_it_is_whole(endpoints: int, size: int) -> None:
    client = health_request(Endpoint.parse("172.18.0.3:32000"))
    assert client.request.startswith(b"GET /healthz HTTP/1.1\r\nHost: 172.18.0.3:32000\r\n")
    reply = said_to(client.request, check=HealthCheck(service="shop/lb", localEndpoints=endpoints))
    heard = [client.hear(reply[at : at + size]) for at in range(0, len(reply), size)]
    assert heard[:-1] == [None] * (len(heard) - 1)
    assert heard[-1]
    assert read_health(heard[-1]) == Health(200 if endpoints else 503, endpoints)


def health_of(reply: bytes) -> Health | None:
    """Returns a client's reading of ``reply``, after which the connection is closed."""
    client = health_request(SERVER)
    response = client.hear(reply) or client.hear(b"")
    return read_health(response) if response else None


@pytest.mark.parametrize(
    ("reply", "health"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n", Health(200)),
        (b'HTTP/1.0 200 OK\r\n\r\n{"localEndpoints": 2}', Health(200, 2)),
        (b"HTTP/1.1 404 Not Found\r\ncontent-LENGTH: 2\r\n\r\n{}", Health(404)),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"localEndpoints": true}', Health(200)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", Health(200)),
        (
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n{"localEndpoints": 3}\r\n0\r\n\r\n',
            Health(200, 3),
        ),
        (
            (
                b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
                b'21\r\n\r\n{"localEndpoints": 4}'
            ),
            Health(200, 4),
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[]", None),
        (b"HTTP/1.1 200 OK\r\n", None),
        (b"HTTP/2 200\r\n\r\n", None),
        (b"podwire!\n", None),
        (b"", None),
    ],
)
def test_answers_of_those_who_are_no_kube_proxy(reply: bytes, health: Health | None) -> None:
    assert health_of(reply) == health


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 503 x\r\nContent-Length: 1\r\n\r\n"]),
)
def test_no_answer_is_too_strange_to_read(data: bytes, head: bytes) -> None:
    health = health_of(head + data)
    assert health is None or 100 <= health.status <= 599


@pytest.mark.parametrize(
    ("data", "over"),
    [
        ([b"GE", b"T / HTTP/1.0\r\n", b"\r\n"], [False, False, True]),
        ([b"hello\n", b"podwire?", b"0000000000000007\n"], [False, False, False]),
        ([b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n", b"ab", b"c"], [False, False, True]),
        ([b"x" * 10000, b"x" * 10000], [False, True]),
    ],
)
def test_a_dialogue_is_over_once_http_was_answered_or_a_line_is_too_long(
    data: list[bytes], over: list[bool]
) -> None:
    dialogue = Dialogue()
    heard = [(dialogue.hear(part, lambda: ANSWER, None), dialogue.over) for part in data]
    assert [closed for _, closed in heard] == over
    if data[-1].endswith(b"7\n"):
        assert [reply[:24] for reply, _ in heard] == [
            b"podwire!0000000000000000",
            b"",
            b"podwire!0000000000000007",
        ]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request"),  # RFC 9112 3.2: it lacks Host
        (b"GET / HTTP/1.0\r\nno header\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.0\r\nA: " + b"x" * 20000, b"431 Request Header Fields Too Large"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: br\r\n\r\n", b"501 Not Implemented"),
    ],
)
def test_what_is_no_http_is_refused_as_servers_do(request_: bytes, status: bytes) -> None:
    dialogue = Dialogue()
    assert dialogue.hear(request_, lambda: ANSWER, None).startswith(b"HTTP/1.1 " + status)
    assert dialogue.over


def test_a_client_that_asks_whether_to_go_on_is_told_so() -> None:
    dialogue = Dialogue()
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    assert dialogue.hear(head, lambda: ANSWER, None) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert dialogue.hear(b"x", lambda: ANSWER, None).startswith(b"HTTP/1.1 200 OK")


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\nHost: a\r\n"])
)
def test_no_request_is_too_strange_to_answer(data: bytes, head: bytes) -> None:
    reply = said_to(head + data)
    assert reply.startswith((b"HTTP/1.1 ", b"podwire!")) or not reply


def test_a_response_is_kept_up_to_a_limit() -> None:
    client = http_request(1, SERVER, keep=False)
    client.hear(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (http.MOST_BODY + 10))
    response = client.hear(b"")
    assert response
    assert len(response.body) == http.MOST_BODY


@pytest.mark.parametrize(
    ("data", "http"),
    [(b"GET / HTTP/1.1", True), (b"POST /x", True), (b"podwire?", False), (b"GETTING", False), (b"", False)],
)
def test_http_is_told_by_its_method(data: bytes, http: bool) -> None:
    assert is_http(data) is http


def init(port: int, tag: int) -> bytes:
    return bytes(
        SCTP(sport=4000, dport=port, tag=0)
        / SCTPChunkInit(init_tag=tag, a_rwnd=65536, n_out_streams=1, n_in_streams=1, init_tsn=1)
    )


def test_sctp_init_is_acknowledged_with_a_right_checksum() -> None:
    raw = sctp.answer(init(38412, 0x1234), {38412})
    reply = SCTP(raw)
    assert (reply.sport, reply.dport, reply.tag) == (38412, 4000, 0x1234)
    assert reply.haslayer(SCTPChunkInitAck)
    checksum = reply.chksum
    del reply.chksum
    assert SCTP(bytes(reply)).chksum == checksum


def test_sctp_port_that_nobody_serves_is_aborted() -> None:
    reply = SCTP(sctp.answer(init(9, 0x1234), {38412}))
    assert reply.haslayer(SCTPChunkAbort)
    assert reply.tag == 0x1234


@given(st.binary(max_size=100))
def test_sctp_answers_nothing_but_init(data: bytes) -> None:
    if len(data) < 32 or data[12] != sctp.INIT:
        assert sctp.answer(data, {1}) == b""


def test_our_checksum_is_scapys() -> None:
    packet = init(1, 2)
    assert sctp.packet(4000, 1, 0, packet[12:]) == packet
    assert IP(bytes(IP() / SCTP(packet))).haslayer(SCTP)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)", "1"), ("x$(A)y$(B)", "x1y$(B)"), ("$$(A)", "$(A)"), ("$A", "$A"), ("$(A)$(A)", "11"), ("", "")],
)
def test_variables_in_commands_expand_as_kubernetes_says(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded
