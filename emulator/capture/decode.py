"""Decodes raw frames into :class:`Frame`: the few header fields that correlation needs, and the token that
survives NAT.

Reads Ethernet (RFC 894, one 802.1Q tag at most), IPv4 (RFC 791), IPv6 (RFC 8200, without extension headers),
TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792, RFC 4443) and SCTP (RFC 9260). Every captured
frame passes here, so no packet library is used. Pure. Invariant: never raises, whatever the bytes. Fields
that are cut off or not understood stay at their empty value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import TypeAlias

from ..model.frames import (
    HTTP_REPLY_MAGIC,
    HTTP_REQUEST_MAGIC,
    REPLY_MAGIC,
    REQUEST_MAGIC,
    Captured,
    Frame,
    make_token,
)
from ..net import IPV4, IPV6, Address, Family

Buffer: TypeAlias = bytes | memoryview

_ETHERTYPE = Struct("!12xH")
_TAGGED_ETHERTYPE = Struct("!16xH")
# version and header length, total length, flags and fragment offset, ttl, protocol, src, dst
_IPV4 = Struct("!BxHxxHBBxx4s4s")
_IPV6 = Struct("!4xHBB16s16s")  # length of the payload, next header, hop limit, src, dst
# EtherType; all of _IPV4, in a header without options; ports, seq, ack, start of the payload, flags
_PLAIN_TCP = Struct("!12xHBxHxxHBBxx4s4sHHIIBB")
_LEAST_TCP = 20 + 14  # bytes of an IP packet that holds these fields of a TCP header
_PORTS = Struct("!HH")
_TCP = Struct("!HHIIxB")  # sport, dport, seq, ack, flags
_QUOTED_TCP = Struct("!HHI")  # RFC 792 promises no more than 8 bytes of what an error quotes
_SCTP = Struct("!HHIxxxxB")  # sport, dport, verification tag, type of the first chunk
_INITIATE_TAG = Struct("!16xI")  # in an INIT chunk that is the first one

_IP, _IP6, _ARP, _VLAN = IPV4.ethertype, IPV6.ethertype, 0x0806, (0x8100, 0x88A8)
_TCP_NUMBER, _NO_OPTIONS = 6, 0x45  # in IPv4's header: its protocol, its version and length
_TCP_FIN_SYN_RST_ACK = 0x17
_SYN, _SYN_ACK, _RST_ACK, _ACK = 0x02, 0x12, 0x14, 0x10
_OPENING = frozenset({_SYN, _SYN_ACK, _RST_ACK})
# the messages that quote the packet that they are about, and those of ping: RFC 792, RFC 4443
_ICMP_ERRORS: Mapping[Family, frozenset[int]] = {
    IPV4: frozenset({3, 4, 5, 11, 12}),
    IPV6: frozenset({1, 2, 3, 4}),
}
_ECHO_REQUEST: Mapping[Family, int] = {IPV4: 8, IPV6: 128}
_ECHO_REPLY: Mapping[Family, int] = {IPV4: 0, IPV6: 129}
_INIT, _INIT_ACK, _ABORT = 1, 2, 6

_TCP_TOKEN, _UDP_TOKEN, _ICMP_TOKEN, _SCTP_TOKEN = (
    make_token(name, 0) for name in ("TCP", "UDP", "ICMP", "SCTP")
)
_SEQUENCE = 0xFFFFFFFF
_NONE = Address(IPV4.unspecified)

_REQUESTS, _REPLIES = (
    b"|".join(map(re.escape, words))
    for words in ((REQUEST_MAGIC, HTTP_REQUEST_MAGIC), (REPLY_MAGIC, HTTP_REPLY_MAGIC))
)
_COOKIE = re.compile(b"(?:(" + _REQUESTS + b")|" + _REPLIES + b")([0-9a-fA-F]{16})")
_FLAGS = tuple(
    "".join(letter for bit, letter in enumerate("FSRPAUEC") if byte >> bit & 1) for byte in range(256)
)
_CHUNKS = {
    0: "DATA",
    _INIT: "INIT",
    _INIT_ACK: "INIT-ACK",
    3: "SACK",
    4: "HEARTBEAT",
    5: "HEARTBEAT-ACK",
    _ABORT: "ABORT",
    7: "SHUTDOWN",
    8: "SHUTDOWN-ACK",
    9: "ERROR",
    10: "COOKIE-ECHO",
    11: "COOKIE-ACK",
    14: "SHUTDOWN-COMPLETE",
}


def decode_frame(number: int, captured: Captured) -> Frame:
    """Returns frame ``number`` of the capture, decoded.

    Tokens are those of :func:`make_token`: a SYN's sequence number, a SYN-ACK's or refusing RST-ACK's
    acknowledgement less one, the cookie of a UDP or ICMP echo payload or of a TCP segment that begins with
    one, an INIT's initiate tag, the verification tag of an INIT-ACK or ABORT. Every other TCP segment has
    token 0: correlation knows its connection. A stray frame, which no flow sent, has token 0 too.

    An ICMP error has the outer addresses and the token of the packet that it quotes. Its ports are the quoted
    ones swapped, so that ``dst:dport`` is the sender of the quoted packet. It is a reply if the quoted packet
    was not one.
    """
    time, netns, interface, outgoing, length, data, stray = captured
    return decode_at(number, time, netns, interface, outgoing, length, data, 0, len(data), stray)


def decode_at(
    number: int,
    time: int,
    netns: str,
    interface: str,
    outgoing: bool,
    length: int,
    data: Buffer,
    begin: int,
    end: int,
    stray: bool,
) -> Frame:
    """Returns the same for a frame whose bytes are those of ``data`` from ``begin`` to ``end``; nothing is
    copied.
    """
    if end - begin >= _PLAIN_TCP.size:  # most frames are of this kind
        (
            ethertype,
            version,
            total,
            fragment,
            ttl,
            kind,
            source,
            target,
            sport,
            dport,
            seq,
            ack,
            words,
            bits,
        ) = _PLAIN_TCP.unpack_from(data, begin)
        if (
            kind == _TCP_NUMBER
            and version == _NO_OPTIONS
            and ethertype == _IP
            and total >= _LEAST_TCP
            and not fragment & 0x1FFF
        ):
            token, reply = 0, False
            if bits & _TCP_FIN_SYN_RST_ACK in _OPENING:
                token, reply = _tell_opening(bits, seq, ack)
            if not token:
                at, last = begin + 34 + (words >> 4) * 4, begin + 14 + total
                if at < end and at < last:
                    token, reply = _cookie(_TCP_TOKEN, data, at, last if last < end else end)
            return tuple.__new__(
                Frame,
                (
                    number,
                    time,
                    netns,
                    interface,
                    outgoing,
                    "TCP",
                    Address.of_packed(source),
                    sport,
                    Address.of_packed(target),
                    dport,
                    ttl,
                    _FLAGS[bits],
                    0 if stray else token,
                    reply,
                    length,
                ),
            )
    protocol, src, dst, sport, dport, ttl, flags, token, reply = "other", _NONE, _NONE, 0, 0, 0, "", 0, False
    start, ethertype = begin + 14, 0
    if end >= start:
        (ethertype,) = _ETHERTYPE.unpack_from(data, begin)
        if ethertype in _VLAN and end >= begin + 18:
            start, (ethertype,) = begin + 18, _TAGGED_ETHERTYPE.unpack_from(data, begin)
    if ethertype == _IP and end >= start + 20:
        version, total, fragment, hops, kind, source, target = _IPV4.unpack_from(data, start)
        decoder = _TRANSPORTS[IPV4].get(kind)
        if decoder is not None and 0x45 <= version <= 0x4F:
            ttl, src, dst = hops, Address.of_packed(source), Address.of_packed(target)
            last = start + total if 0 < total < end - start else end  # short Ethernet frames are padded
            if fragment & 0x1FFF:
                protocol = _NAMES[kind]
            else:
                protocol, sport, dport, flags, token, reply = decoder(data, start + (version & 15) * 4, last)
    elif ethertype == _IP6 and end >= start + 40:
        size, kind, hops, source, target = _IPV6.unpack_from(data, start)
        decoder = _TRANSPORTS[IPV6].get(kind)
        if decoder is not None and data[start] >> 4 == 6:
            ttl, src, dst = hops, Address.of_packed(source), Address.of_packed(target)
            begin = start + 40
            protocol, sport, dport, flags, token, reply = decoder(data, begin, min(begin + size, end))
    elif ethertype == _ARP:
        protocol = "ARP"
    if stray:
        token = 0
    return tuple.__new__(
        Frame,
        (
            number,
            time,
            netns,
            interface,
            outgoing,
            protocol,
            src,
            sport,
            dst,
            dport,
            ttl,
            flags,
            token,
            reply,
            length,
        ),
    )  # a third of the time that Frame(...) takes


def decode_frames(captured: Sequence[Captured]) -> list[Frame]:
    """Returns every frame of a capture, numbered from 0."""
    return [decode_frame(number, item) for number, item in enumerate(captured)]


# The result of a transport header's decoder: protocol, sport, dport, flags, token, reply.
_Transport = tuple[str, int, int, str, int, bool]


def _ports(data: Buffer, at: int, end: int) -> tuple[int, int]:
    return _PORTS.unpack_from(data, at) if end >= at + 4 else (0, 0)


def _cookie(base: int, data: Buffer, at: int, end: int) -> tuple[int, bool]:
    """Returns token and reply of a payload that begins with a cookie of ours; (0, False) if it does not."""
    match = _COOKIE.match(data, at, end)
    return (base | int(match[2], 16), match[1] is None) if match else (0, False)


def _tcp(data: Buffer, at: int, end: int) -> _Transport:
    segment = _tcp_header(data, at, end)
    if segment[4] or end < at + 14:
        return segment
    token, reply = _cookie(_TCP_TOKEN, data, at + (data[at + 12] >> 4) * 4, end)
    return (*segment[:4], token, reply) if token else segment


def _tcp_header(data: Buffer, at: int, end: int) -> _Transport:
    if end < at + 14:
        return "TCP", *_ports(data, at, end), "", 0, False
    sport, dport, seq, ack, bits = _TCP.unpack_from(data, at)
    return "TCP", sport, dport, _FLAGS[bits], *_tell_opening(bits, seq, ack)


def _tell_opening(bits: int, seq: int, ack: int) -> tuple[int, bool]:
    """Returns token and reply of a segment that opens, accepts or refuses a connection; (0, False) for any
    other.
    """
    kind = bits & _TCP_FIN_SYN_RST_ACK
    if kind == _SYN:
        return _TCP_TOKEN | seq, False
    if kind == _SYN_ACK or (kind == _RST_ACK and seq == 0):
        return _TCP_TOKEN | (ack - 1 & _SEQUENCE), True
    return 0, False


def _udp(data: Buffer, at: int, end: int) -> _Transport:
    return "UDP", *_ports(data, at, end), "", *_cookie(_UDP_TOKEN, data, at + 8, end)


def _sctp(data: Buffer, at: int, end: int) -> _Transport:
    if end < at + 13:
        return "SCTP", *_ports(data, at, end), "", 0, False
    sport, dport, tag, chunk = _SCTP.unpack_from(data, at)
    token, reply = 0, False
    if chunk == _INIT and end >= at + 20:
        token = _SCTP_TOKEN | _INITIATE_TAG.unpack_from(data, at)[0]
    elif chunk in (_INIT_ACK, _ABORT):
        token, reply = _SCTP_TOKEN | tag, True
    return "SCTP", sport, dport, _CHUNKS.get(chunk, str(chunk)), token, reply


def _icmp(family: Family, data: Buffer, at: int, end: int) -> _Transport:
    if end < at + 8:
        return "ICMP", 0, 0, "", 0, False
    kind, code = data[at], data[at + 1]
    if kind in _ICMP_ERRORS[family]:
        sport, dport, token, reply = _quoted(family, data, at + 8, end)
        return "ICMP error", dport, sport, f"{kind}/{code}", token, not reply
    token, reply = 0, False
    if kind in (_ECHO_REQUEST[family], _ECHO_REPLY[family]):
        token, _ = _cookie(_ICMP_TOKEN, data, at + 8, end)
        reply = kind == _ECHO_REPLY[family] and token != 0
    return "ICMP", 0, 0, "", token, reply


def _icmpv4(data: Buffer, at: int, end: int) -> _Transport:
    return _icmp(IPV4, data, at, end)


def _icmpv6(data: Buffer, at: int, end: int) -> _Transport:
    return _icmp(IPV6, data, at, end)


def _quoted(family: Family, data: Buffer, at: int, end: int) -> tuple[int, int, int, bool]:
    """Returns sport, dport, token and reply of the packet that an ICMP error quotes, as far as it
    quotes it.
    """
    if family is IPV4:
        if end < at + 20 or not 0x45 <= data[at] <= 0x4F:
            return 0, 0, 0, False
        _, _, fragment, _, kind, _, _ = _IPV4.unpack_from(data, at)
        at += (data[at] & 15) * 4
        if fragment & 0x1FFF:
            return 0, 0, 0, False
    else:
        if end < at + 40 or data[at] >> 4 != 6:
            return 0, 0, 0, False
        _, kind, *_ = _IPV6.unpack_from(data, at)
        at += 40
    decoder = _TRANSPORTS[family].get(kind)
    if decoder is None:
        return 0, 0, 0, False
    if decoder is _tcp and at + 8 <= end < at + 14:
        sport, dport, seq = _QUOTED_TCP.unpack_from(data, at)
        return sport, dport, _TCP_TOKEN | seq, False
    if decoder is _tcp:
        decoder = _tcp_header  # an error about data belongs to its connection
    if kind == family.icmp and end > at and data[at] in _ICMP_ERRORS[family]:
        # no machine answers an error with an error (RFC 1122 3.2.2): do not follow one into the next
        return 0, 0, 0, False
    _, sport, dport, _, token, reply = decoder(data, at, end)
    return sport, dport, token, reply


_Decoder: TypeAlias = Callable[[Buffer, int, int], _Transport]
_TRANSPORTS: Mapping[Family, Mapping[int, _Decoder]] = {
    IPV4: {IPV4.icmp: _icmpv4, 6: _tcp, 17: _udp, 132: _sctp},
    IPV6: {IPV6.icmp: _icmpv6, 6: _tcp, 17: _udp, 132: _sctp},
}
_NAMES = {1: "ICMP", 6: "TCP", 17: "UDP", 132: "SCTP"}
