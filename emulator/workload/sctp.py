"""Answers as an SCTP peer does: INIT → INIT-ACK, or ABORT on a port that nobody serves (RFC 9260). Pure.

The checksum is CRC32c (RFC 9260 appendix A), by google-crc32c.
"""

from __future__ import annotations

import struct
from collections.abc import Container

from google_crc32c import value as crc32c

INIT, INIT_ACK, ABORT = 1, 2, 6
_COMMON = struct.Struct("!HHII")
_STATE_COOKIE = 7


def packet(sport: int, dport: int, tag: int, chunk: bytes) -> bytes:
    """Returns a packet with one chunk and a right checksum."""
    bare = _COMMON.pack(sport, dport, tag, 0) + chunk
    return bare[:8] + struct.pack("<I", crc32c(bare)) + bare[12:]


def answer(data: bytes, ports: Container[int]) -> bytes:
    """Returns the reply to the SCTP packet ``data`` (b"": nothing). ``ports`` are those with a server."""
    if len(data) < 12 + 20:
        return b""
    sport, dport, _, _ = _COMMON.unpack_from(data)
    if data[12] != INIT:
        return b""
    tag = struct.unpack_from("!I", data, 16)[0]
    if dport not in ports:
        return packet(dport, sport, tag, struct.pack("!BBH", ABORT, 0, 4))
    cookie = struct.pack("!HH", _STATE_COOKIE, 8) + struct.pack("!I", tag)
    # our tag, receiver window, streams out and in, first TSN; the cookie is never redeemed: no association is
    # made
    body = struct.pack("!IIHHI", tag ^ 0xFFFFFFFF or 1, 65536, 1, 1, 1) + cookie
    return packet(dport, sport, tag, struct.pack("!BBH", INIT_ACK, 0, 4 + len(body)) + body)
