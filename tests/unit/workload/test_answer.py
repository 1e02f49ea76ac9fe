"""What echo servers say, and that a client reads the same back."""

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
from emulator.workload import sctp
from emulator.workload.answer import (
    health_request,
    http_request,
    is_http,
    read_health,
    read_reply,
    reply_health,
    reply_http,
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


@given(ANSWERS, st.integers(0, 2**64 - 1))
def test_a_reply_line_carries_the_cookie_and_reads_back(answer: Answer, cookie: int) -> None:
    line = reply_line(request_line(cookie), answer)
    assert line.count(b"\n") == 1
    assert line[8:24] == b"%016x" % cookie
    assert read_reply(line) == answer


@given(ANSWERS, st.integers(0, 2**64 - 1))
def test_a_reply_to_a_real_request_carries_the_cookie_too_and_reads_back(answer: Answer, cookie: int) -> None:
    request = http_request(cookie, "10.96.0.1", 80, keep=False)
    assert request.startswith(b"GET /?podwire=%016x HTTP/1.0\r\nHost: 10.96.0.1:80\r\n" % cookie)
    assert b"\r\nConnection: close\r\n" in request
    assert is_http(request)
    assert read_reply(reply_http(request, answer)) == answer
    assert b"podwire!%016x" % cookie in reply_http(request, answer)
    assert read_reply(reply_http(b"GET / HTTP/1.0\r\n\r\n", answer)) is None


@given(st.binary(max_size=200))
def test_strange_replies_are_none(data: bytes) -> None:
    assert read_reply(data) is None or data.startswith(b"podwire!")


def test_http_reply_is_json_of_its_stated_length() -> None:
    answer = Answer(
        pod="default/web-0",
        container="c",
        node="worker-1",
        client=Endpoint.parse("10.0.0.1:5"),
        dialled=Endpoint.parse("10.96.0.10:80"),
        local=Endpoint.parse("10.244.1.2:8080"),
    )
    head, body = reply_http(b"GET / HTTP/1.1\r\n\r\n", answer).split(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body)["dialled"] == "10.96.0.10:80"
    assert reply_http(b"HEAD / HTTP/1.1\r\n\r\n", answer).endswith(b"\r\n\r\n")


@pytest.mark.parametrize(("endpoints", "status"), [(2, b"200 OK"), (0, b"503 Service Unavailable")])
def test_health_reply_says_how_many_endpoints_are_here(endpoints: int, status: bytes) -> None:
    request = b"GET /healthz HTTP/1.1\r\n\r\n"
    head, body = reply_health(request, HealthCheck(service="shop/lb", localEndpoints=endpoints)).split(
        b"\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"X-Load-Balancing-Endpoint-Weight: %d" % endpoints in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body) == {
        "service": {"namespace": "shop", "name": "lb"},
        "localEndpoints": endpoints,
        "serviceProxyHealthy": True,
    }


@pytest.mark.parametrize("endpoints", [3, 0])
def test_a_client_reads_that_back_once_it_is_whole(endpoints: int) -> None:
    request = health_request("172.18.0.3", 32000)
    assert request.startswith(b"GET /healthz HTTP/1.1\r\nHost: 172.18.0.3:32000\r\n")
    assert is_http(request)
    reply = reply_health(request, HealthCheck(service="shop/lb", localEndpoints=endpoints))
    assert read_health(reply) == Health(200 if endpoints else 503, endpoints)
    assert [read_health(reply[:end]) for end in range(len(reply))] == [None] * len(reply)


@pytest.mark.parametrize(
    ("reply", "health"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n", Health(200)),
        (b"HTTP/1.1 404 Not Found\r\ncontent-LENGTH: 2\r\n\r\n{}", Health(404)),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n{"localEndpoints": true}', Health(200)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", Health(200)),
        (b"HTTP/1.1 200 OK\r\n", None),
        (b"HTTP/2 200\r\n\r\n", None),
        (b"podwire!\n", None),
        (b"", None),
    ],
)
def test_answers_of_those_who_are_no_kube_proxy(reply: bytes, health: Health | None) -> None:
    assert read_health(reply) == health


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 503 x\r\nContent-Length: 1\r\n\r\n"]),
)
def test_no_answer_is_too_strange_to_read(data: bytes, head: bytes) -> None:
    health = read_health(head + data)
    assert health is None or 100 <= health.status <= 599


def test_a_head_request_has_no_body() -> None:
    assert reply_health(b"HEAD / HTTP/1.1\r\n\r\n", HealthCheck(service="a/b", localEndpoints=1)).endswith(
        b"\r\n\r\n"
    )


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
