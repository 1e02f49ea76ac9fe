"""Tests decode: header fields, tokens and directions of real packets, and nothing but a Frame for any bytes
at all.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkAbort, SCTPChunkCookieAck, SCTPChunkInit, SCTPChunkInitAck
from scapy.packet import Packet, Raw

from emulator.capture.decode import decode_frame, decode_frames
from emulator.model.frames import (
    REPLY_MAGIC,
    REQUEST_MAGIC,
    Answer,
    Captured,
    Frame,
    make_token,
)
from emulator.net import Endpoint
from emulator.workload.answer import Dialogue, http_request

COOKIE = 0x0123456789ABCDEF
REQUEST = REQUEST_MAGIC + b"0123456789abcdef"
REPLY = REPLY_MAGIC + b"0123456789abcdef"
CLIENT, SERVER, NODE = "10.244.1.2", "10.96.0.10", "172.18.0.3"
THERE, BACK = IP(src=CLIENT, dst=SERVER, ttl=63), IP(src=SERVER, dst=CLIENT, ttl=63)


def captured(data: bytes) -> Captured:
    return Captured(time=7, netns="worker-1", interface="eth0", outgoing=True, length=len(data), data=data)


def read(packet: Packet) -> Frame:
    return decode_frame(3, captured(bytes(packet)))


def error(kind: int, code: int, protocol: int, quoted: bytes) -> Packet:
    """Returns an ICMP error of NODE's about a packet from CLIENT to SERVER, of which ``quoted`` follows the
    IP header.
    """
    return (
        IP(src=NODE, dst=CLIENT, ttl=63)
        / ICMP(type=kind, code=code)
        / IP(src=CLIENT, dst=SERVER, proto=protocol)
        / Raw(quoted)
    )


def tcp(flags: str, **fields: int) -> bytes:
    return bytes(TCP(sport=4000, dport=80, flags=flags, **fields))


UDP_REQUEST = bytes(UDP(sport=4000, dport=53) / REQUEST)
INIT = bytes(SCTP(sport=1, dport=2, tag=0) / SCTPChunkInit(init_tag=77))

ANSWER = Answer(
    pod="default/web-0",
    container="c",
    node="worker-1",
    client=Endpoint.parse("10.0.0.1:5"),
    dialled=Endpoint.parse("10.0.0.2:80"),
)
ASKED = http_request(COOKIE, Endpoint.of(SERVER, 2), keep=False).request

# id: packet, protocol, src, sport, dst, dport, flags, token, reply
TRANSPORTS: dict[str, tuple[Packet, str, str, int, str, int, str, int, bool]] = {
    "syn": (
        THERE / TCP(sport=4000, dport=80, flags="S", seq=9),
        "TCP",
        CLIENT,
        4000,
        SERVER,
        80,
        "S",
        make_token("TCP", 9),
        False,
    ),
    "syn-with-ecn": (
        THERE / TCP(sport=1, dport=2, flags="SEC", seq=9),
        "TCP",
        CLIENT,
        1,
        SERVER,
        2,
        "SEC",
        make_token("TCP", 9),
        False,
    ),
    "syn-ack": (
        BACK / TCP(sport=2, dport=1, flags="SA", seq=5, ack=10),
        "TCP",
        SERVER,
        2,
        CLIENT,
        1,
        "SA",
        make_token("TCP", 9),
        True,
    ),
    "syn-ack-wraps": (
        BACK / TCP(sport=2, dport=1, flags="SA"),
        "TCP",
        SERVER,
        2,
        CLIENT,
        1,
        "SA",
        make_token("TCP", 2**32 - 1),
        True,
    ),
    "refusing-rst": (
        BACK / TCP(sport=2, dport=1, flags="RA", ack=10),
        "TCP",
        SERVER,
        2,
        CLIENT,
        1,
        "RA",
        make_token("TCP", 9),
        True,
    ),
    "later-rst": (
        BACK / TCP(sport=2, dport=1, flags="RA", seq=6, ack=10),
        "TCP",
        SERVER,
        2,
        CLIENT,
        1,
        "RA",
        0,
        False,
    ),
    "client-rst": (
        THERE / TCP(sport=1, dport=2, flags="R", seq=10),
        "TCP",
        CLIENT,
        1,
        SERVER,
        2,
        "R",
        0,
        False,
    ),
    "ack-of-sequence-0": (
        THERE / TCP(sport=1, dport=2, flags="A", seq=0, ack=10),
        "TCP",
        CLIENT,
        1,
        SERVER,
        2,
        "A",
        0,
        False,
    ),
    "data": (
        THERE / TCP(sport=1, dport=2, flags="PA", seq=10) / b"GET /",
        "TCP",
        CLIENT,
        1,
        SERVER,
        2,
        "PA",
        0,
        False,
    ),
    "tcp-request": (
        THERE / TCP(sport=1, dport=2, flags="PA", seq=10) / REQUEST,
        *("TCP", CLIENT, 1, SERVER, 2, "PA", make_token("TCP", COOKIE), False),
    ),
    "tcp-reply-with-options": (
        BACK / TCP(sport=2, dport=1, flags="PA", seq=10, options=[("Timestamp", (1, 2))]) / (REPLY + b" hi"),
        *("TCP", SERVER, 2, CLIENT, 1, "PA", make_token("TCP", COOKIE), True),
    ),
    "tcp-request-later-in-a-segment": (
        THERE / TCP(sport=1, dport=2, flags="PA") / (b" " + REQUEST),
        "TCP",
        CLIENT,
        1,
        SERVER,
        2,
        "PA",
        0,
        False,
    ),
    "http-request-to-a-real-command": (
        THERE / TCP(sport=1, dport=2, flags="PA", seq=10) / ASKED,
        *("TCP", CLIENT, 1, SERVER, 2, "PA", make_token("TCP", COOKIE), False),
    ),
    "http-reply-of-an-echo-server": (
        BACK / TCP(sport=2, dport=1, flags="PA", seq=10) / Dialogue().hear(ASKED, lambda: ANSWER, None),
        *("TCP", SERVER, 2, CLIENT, 1, "PA", make_token("TCP", COOKIE), True),
    ),
    "udp-request": (
        THERE / UDP(sport=4000, dport=53) / REQUEST,
        "UDP",
        CLIENT,
        4000,
        SERVER,
        53,
        "",
        make_token("UDP", COOKIE),
        False,
    ),
    "udp-reply": (
        BACK / UDP(sport=2, dport=1) / (REPLY + b" hi"),
        "UDP",
        SERVER,
        2,
        CLIENT,
        1,
        "",
        make_token("UDP", COOKIE),
        True,
    ),
    "udp-other": (
        THERE / UDP(sport=1, dport=2) / b"podwire? is not a cookie",
        "UDP",
        CLIENT,
        1,
        SERVER,
        2,
        "",
        0,
        False,
    ),
    "udp-python-number": (
        THERE / UDP(sport=1, dport=2) / (REQUEST_MAGIC + b"+123456789abc_de"),
        "UDP",
        CLIENT,
        1,
        SERVER,
        2,
        "",
        0,
        False,
    ),
    "echo-request": (
        THERE / ICMP(type=8) / REQUEST,
        "ICMP",
        CLIENT,
        0,
        SERVER,
        0,
        "",
        make_token("ICMP", COOKIE),
        False,
    ),
    "echo-reply": (
        BACK / ICMP(type=0) / REQUEST,
        "ICMP",
        SERVER,
        0,
        CLIENT,
        0,
        "",
        make_token("ICMP", COOKIE),
        True,
    ),
    "echo-of-others": (BACK / ICMP(type=0) / b"abcdefgh", "ICMP", SERVER, 0, CLIENT, 0, "", 0, False),
    "sctp-init": (
        THERE / SCTP(sport=1, dport=2, tag=0) / SCTPChunkInit(init_tag=77),
        "SCTP",
        CLIENT,
        1,
        SERVER,
        2,
        "INIT",
        make_token("SCTP", 77),
        False,
    ),
    "sctp-init-ack": (
        BACK / SCTP(sport=2, dport=1, tag=77) / SCTPChunkInitAck(init_tag=5),
        *("SCTP", SERVER, 2, CLIENT, 1, "INIT-ACK", make_token("SCTP", 77), True),
    ),
    "sctp-abort": (
        BACK / SCTP(sport=2, dport=1, tag=77) / SCTPChunkAbort(),
        *("SCTP", SERVER, 2, CLIENT, 1, "ABORT", make_token("SCTP", 77), True),
    ),
    "sctp-other": (
        THERE / SCTP(sport=1, dport=2, tag=7) / SCTPChunkCookieAck(),
        "SCTP",
        CLIENT,
        1,
        SERVER,
        2,
        "COOKIE-ACK",
        0,
        False,
    ),
    "error-on-syn": (
        error(3, 3, 6, tcp("S", seq=9)),
        "ICMP error",
        NODE,
        80,
        CLIENT,
        4000,
        "3/3",
        make_token("TCP", 9),
        True,
    ),
    "error-on-8-bytes": (
        error(3, 1, 6, tcp("S", seq=9)[:8]),
        "ICMP error",
        NODE,
        80,
        CLIENT,
        4000,
        "3/1",
        make_token("TCP", 9),
        True,
    ),
    "error-on-syn-ack": (
        error(3, 3, 6, tcp("SA", ack=10)),
        "ICMP error",
        NODE,
        80,
        CLIENT,
        4000,
        "3/3",
        make_token("TCP", 9),
        False,
    ),
    "error-on-udp": (
        error(3, 3, 17, UDP_REQUEST),
        "ICMP error",
        NODE,
        53,
        CLIENT,
        4000,
        "3/3",
        make_token("UDP", COOKIE),
        True,
    ),
    "error-on-udp-header": (
        error(11, 0, 17, UDP_REQUEST[:8]),
        "ICMP error",
        NODE,
        53,
        CLIENT,
        4000,
        "11/0",
        0,
        True,
    ),
    "error-on-udp-from-a-port-like-an-error": (
        error(3, 3, 17, bytes(UDP(sport=0x0B00, dport=53) / REQUEST)),
        *("ICMP error", NODE, 53, CLIENT, 0x0B00, "3/3", make_token("UDP", COOKIE), True),
    ),
    "error-on-echo": (
        error(3, 1, 1, bytes(ICMP(type=8) / REQUEST)),
        *("ICMP error", NODE, 0, CLIENT, 0, "3/1", make_token("ICMP", COOKIE), True),
    ),
    "error-on-init": (
        error(3, 2, 132, INIT),
        "ICMP error",
        NODE,
        2,
        CLIENT,
        1,
        "3/2",
        make_token("SCTP", 77),
        True,
    ),
    "error-on-init-header": (error(3, 2, 132, INIT[:8]), "ICMP error", NODE, 2, CLIENT, 1, "3/2", 0, True),
    "error-on-error": (
        error(3, 1, 1, bytes(error(3, 3, 17, UDP_REQUEST)[ICMP])),
        "ICMP error",
        NODE,
        0,
        CLIENT,
        0,
        "3/1",
        0,
        True,
    ),
    "error-on-gre": (error(3, 2, 47, bytes(8)), "ICMP error", NODE, 0, CLIENT, 0, "3/2", 0, True),
}


@pytest.mark.parametrize("case", TRANSPORTS)
def test_reads_a_packet(case: str) -> None:
    packet, protocol, src, sport, dst, dport, flags, token, reply = TRANSPORTS[case]
    data = bytes(Ether() / packet)
    expected = Frame(
        3, 7, "worker-1", "eth0", True, protocol, src, sport, dst, dport, 63, flags, token, reply, len(data)
    )
    assert decode_frame(3, captured(data)) == expected


@pytest.mark.parametrize("case", TRANSPORTS)
def test_a_vlan_tag_changes_nothing(case: str) -> None:
    packet = TRANSPORTS[case][0]
    assert read(Ether() / Dot1Q(vlan=5) / packet)._replace(length=0) == read(Ether() / packet)._replace(
        length=0
    )


@pytest.mark.parametrize("case", ["syn", "udp-request", "echo-reply", "sctp-init", "error-on-syn"])
def test_ip_options_change_nothing(case: str) -> None:
    packet = TRANSPORTS[case][0].copy()
    plain = read(Ether() / packet)
    packet[IP].options = [IPOption_NOP()] * 4
    assert read(Ether() / packet)._replace(length=0) == plain._replace(length=0)


def test_an_error_about_a_request_is_about_its_connection() -> None:
    assert read(Ether() / error(3, 3, 6, tcp("PA", seq=9) + REQUEST)).token == 0


def test_a_first_fragment_has_ports_and_token() -> None:
    frame = read(Ether() / IP(src=CLIENT, dst=SERVER, flags="MF") / UDP(sport=4000, dport=53) / REQUEST)
    assert (frame.sport, frame.dport, frame.token) == (4000, 53, make_token("UDP", COOKIE))


@pytest.mark.parametrize(("number", "protocol"), [(1, "ICMP"), (6, "TCP"), (17, "UDP"), (132, "SCTP")])
def test_a_later_fragment_has_addresses_only(number: int, protocol: str) -> None:
    frame = read(Ether() / IP(src=CLIENT, dst=SERVER, frag=8, proto=number) / Raw(UDP_REQUEST))
    assert (frame.protocol, frame.src, frame.dst, frame.sport, frame.dport, frame.token) == (
        protocol,
        CLIENT,
        SERVER,
        0,
        0,
        0,
    )


def test_ethernet_padding_is_no_payload() -> None:
    data = bytes(Ether() / IP(src=CLIENT, dst=SERVER) / UDP(sport=1, dport=2)) + REQUEST
    assert decode_frame(0, captured(data)).token == 0


# The least number of bytes above Ethernet and IPv4 that give the ports, and those that give the token.
ENOUGH = {
    "syn": (4, 14),
    "syn-ack": (4, 14),
    "udp-request": (4, 32),
    "udp-reply": (4, 32),
    "echo-request": (0, 32),
    "sctp-init": (4, 20),
    "sctp-init-ack": (4, 13),
    "error-on-syn": (32, 36),
    "error-on-udp": (32, 60),
    "error-on-echo": (8, 60),
    "error-on-init": (32, 48),
}


@pytest.mark.parametrize("case", ENOUGH)
def test_reads_as_much_as_there_is(case: str) -> None:
    packet, protocol, src, sport, dst, dport, _, token, reply = TRANSPORTS[case]
    data = bytes(Ether() / packet)
    for length in range(len(data) - 34 + 1):
        frame = decode_frame(0, captured(data[: 34 + length]))
        ports, enough = ENOUGH[case]
        assert (frame.src, frame.dst) == (src, dst)
        assert (frame.sport, frame.dport) == ((sport, dport) if length >= ports else (0, 0))
        assert frame.token == (token if length >= enough else 0)
        assert frame.reply == (reply if length >= (8 if protocol == "ICMP error" else enough) else False)


def test_less_than_an_ip_header_is_other() -> None:
    data = bytes(Ether() / TRANSPORTS["syn"][0])
    assert [decode_frame(0, captured(data[:length])).protocol for length in (13, 14, 33, 34)] == [
        "other",
        "other",
        "other",
        "TCP",
    ]


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_every_message_that_quotes_is_an_error(kind: int) -> None:
    frame = read(Ether() / error(kind, 1, 17, UDP_REQUEST))
    assert (frame.protocol, frame.flags, frame.token) == (
        "ICMP error",
        f"{kind}/1",
        make_token("UDP", COOKIE),
    )


@pytest.mark.parametrize("kind", [9, 13, 14])
def test_other_messages_are_neither_error_nor_echo(kind: int) -> None:
    frame = read(Ether() / THERE / ICMP(type=kind) / REQUEST)
    assert (frame.protocol, frame.token, frame.reply) == ("ICMP", 0, False)


UNREADABLE_QUOTES = {
    "a-later-fragment": bytes(IP(src=CLIENT, dst=SERVER, frag=8, proto=17)) + UDP_REQUEST,
    "another-version": b"\x65" + bytes(IP(src=CLIENT, dst=SERVER, proto=17))[1:] + UDP_REQUEST,
    "a-header-too-short": b"\x44" + bytes(IP(src=CLIENT, dst=SERVER, proto=17))[1:] + UDP_REQUEST,
}


@pytest.mark.parametrize("case", UNREADABLE_QUOTES)
def test_what_is_quoted_may_be_unreadable(case: str) -> None:
    frame = read(Ether() / IP(src=NODE, dst=CLIENT) / ICMP(type=3, code=3) / Raw(UNREADABLE_QUOTES[case]))
    assert (frame.protocol, frame.sport, frame.dport, frame.token, frame.reply) == (
        "ICMP error",
        0,
        0,
        0,
        True,
    )


CHUNKS = [
    "DATA",
    "INIT",
    "INIT-ACK",
    "SACK",
    "HEARTBEAT",
    "HEARTBEAT-ACK",
    "ABORT",
    "SHUTDOWN",
    "SHUTDOWN-ACK",
    "ERROR",
    "COOKIE-ECHO",
    "COOKIE-ACK",
]


@pytest.mark.parametrize(("kind", "name"), [*enumerate(CHUNKS), (12, "12"), (14, "SHUTDOWN-COMPLETE")])
def test_names_the_first_chunk(kind: int, name: str) -> None:
    assert read(Ether() / THERE / SCTP(sport=1, dport=2) / Raw(bytes([kind, 0, 0, 4]))).flags == name


def test_a_stray_frame_belongs_to_nobody() -> None:
    frame = decode_frame(0, captured(bytes(Ether() / TRANSPORTS["syn"][0]))._replace(stray=True))
    assert (frame.src, frame.token) == (CLIENT, 0)


OTHERS = {
    "arp": (Ether() / ARP(pdst="172.18.0.3"), "ARP"),
    "ipv6": (Ether(type=0x86DD) / Raw(b"\x60" + bytes(50)), "other"),
    "gre": (Ether() / IP(src=CLIENT, dst=SERVER, proto=47) / Raw(bytes(8)), "other"),
    "another-version": (
        Ether(type=0x0800) / Raw(b"\x65" + bytes(IP(src=CLIENT, dst=SERVER, proto=6))[1:] + tcp("S")),
        "other",
    ),
    "cut-vlan-tag": (Ether(type=0x8100) / Raw(b"\0\1\x08"), "other"),
    "bad-header-length": (Ether(type=0x0800) / Raw(b"\x44" + bytes(40)), "other"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_the_rest_has_a_name_and_the_unspecified_address(case: str) -> None:
    packet, protocol = OTHERS[case]
    frame = read(packet)
    assert (frame.protocol, frame.src, frame.dst, frame.token) == (protocol, *["0.0.0.0"] * 2, 0)  # noqa: S104 - nobody binds to it


@pytest.mark.parametrize("case", TRANSPORTS)
def test_no_truncation_invents_a_token(case: str) -> None:
    data = bytes(Ether() / TRANSPORTS[case][0])
    whole = decode_frame(0, captured(data)).token
    assert {decode_frame(0, captured(data[:cut])).token for cut in range(len(data))} <= {
        0,
        whole,
        quoted_sequence(case),
    }


def quoted_sequence(case: str) -> int:
    """Returns the token that 8 quoted bytes of a SYN-ACK give: its own sequence number, which no
    attempt has.
    """
    return make_token("TCP", 0) if case == "error-on-syn-ack" else 0


@given(
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.sampled_from([b"", REQUEST, REPLY, b"data", REQUEST + b"\n"]),
    st.sampled_from([[], [("NOP", None)] * 4, [("Timestamp", (1, 2))]]),
    st.integers(0, 12),
    st.integers(14, 70),
    st.binary(max_size=3),
    st.integers(40, 140),
)
def test_a_plain_segment_reads_like_one_behind_a_vlan_tag(
    flags: int, seq: int, payload: bytes, options: list[object], padding: int, at: int, noise: bytes, cut: int
) -> None:
    segment = THERE / TCP(sport=4000, dport=80, flags=flags, seq=seq, ack=9, options=options) / payload
    data = bytes(Ether() / segment) + bytes(padding)
    data = (data[:at] + noise + data[at + len(noise) :])[:cut]
    tagged = data[:12] + bytes.fromhex("8100 0005") + data[12:]
    assert decode_frame(0, captured(data))._replace(length=0) == decode_frame(0, captured(tagged))._replace(
        length=0
    )


@given(st.binary(max_size=120))
def test_any_bytes_make_a_frame(data: bytes) -> None:
    assert isinstance(decode_frame(0, captured(data)), Frame)


@given(
    st.sampled_from(sorted(TRANSPORTS)),
    st.integers(14, 100),
    st.binary(min_size=1, max_size=12),
    st.integers(0, 140),
)
def test_any_damage_makes_a_frame(case: str, at: int, noise: bytes, cut: int) -> None:
    data = bytes(Ether() / TRANSPORTS[case][0])
    data = (data[:at] + noise + data[at + len(noise) :])[:cut]
    assert isinstance(decode_frame(0, captured(data)), Frame)


def test_decode_frames_numbers_from_zero() -> None:
    frames = decode_frames(
        [captured(b""), captured(bytes(Ether() / THERE / UDP(sport=4000, dport=53) / REQUEST))]
    )
    assert [(f.number, f.protocol) for f in frames] == [(0, "other"), (1, "UDP")]
