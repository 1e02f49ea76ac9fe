"""Encodes and decodes frames of SPDY/3.1, as kubectl port-forward speaks them in WebSockets (KEP-4006).

The server's half: bytes in, frames out, and back. No I/O. It knows what moby/spdystream sends:
SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY and DATA; SETTINGS, HEADERS and WINDOW_UPDATE are read over
(spdystream keeps no windows). Header blocks of one direction are one zlib stream with a preset dictionary
(draft-mbelshe-httpbis-spdy-00, section 2.6.10).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

LONGEST_FRAME = 1 << 20  # bytes; spdystream sends 32 KiB at most
LONGEST_HEADERS = 64 * 1024  # bytes, unpacked
FIN = 1
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY = 1, 2, 3, 6, 7
_VERSION = 0x8003  # the first bit says that it is a control frame

_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges "
    "age allow authorization cache-control connection content-base content-encoding content-language "
    "content-length content-location content-md5 content-range content-type date etag expect expires from "
    "host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location "
    "max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer "
    "transfer-encoding upgrade user-agent vary via warning www-authenticate method get status"
)
_WORDS = (
    *_NAMES.split(),
    *("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"),
)
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(word)) + word.encode() for word in _WORDS) + _REST.encode()


class SpdyError(Exception):
    """Reports bytes that are no SPDY/3.1: the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Says that the peer opened a stream. ``fin``: it sends nothing more on it."""

    stream: int
    headers: Mapping[str, str]
    fin: bool


@dataclass(frozen=True, slots=True)
class Data:
    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Reset:
    stream: int


@dataclass(frozen=True, slots=True)
class Ping:
    number: int


@dataclass(frozen=True, slots=True)
class GoAway:
    pass


Frame: TypeAlias = Opened | Data | Reset | Ping | GoAway


class Connection:
    """Decodes what the peer sends, and encodes what goes back."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._unpack = zlib.decompressobj(zdict=DICTIONARY)
        self._pack = zlib.compressobj(zdict=DICTIONARY)

    def receive(self, data: bytes) -> Iterator[Frame]:
        """Yields the frames that ``data`` completes. Raises SpdyError."""
        self._received += data
        while len(self._received) >= 8:
            first, flags_and_length = struct.unpack_from(">II", self._received)
            flags, length = flags_and_length >> 24, flags_and_length & 0xFFFFFF
            if length > LONGEST_FRAME:
                raise SpdyError(f"a frame of {length} bytes")
            if len(self._received) < 8 + length:
                return
            body = bytes(self._received[8 : 8 + length])
            del self._received[: 8 + length]
            if first >> 31:
                if first >> 16 != _VERSION:
                    raise SpdyError(f"SPDY of version {first >> 16 & 0x7FFF}")
                frame = self._control(first & 0xFFFF, flags, body)
                if frame is not None:
                    yield frame
            else:
                yield Data(first, body, bool(flags & FIN))

    def _control(self, kind: int, flags: int, body: bytes) -> Frame | None:
        try:
            if kind == _SYN_STREAM:
                (stream,) = struct.unpack_from(">I", body)
                return Opened(stream & 0x7FFFFFFF, self._headers(body[10:]), bool(flags & FIN))
            if kind == _RST_STREAM:
                return Reset(struct.unpack_from(">I", body)[0] & 0x7FFFFFFF)
            if kind == _PING:
                return Ping(struct.unpack_from(">I", body)[0])
        except struct.error as error:
            raise SpdyError(f"a frame of type {kind} is cut off") from error
        return GoAway() if kind == _GOAWAY else None

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            text = self._unpack.decompress(block, LONGEST_HEADERS)
        except zlib.error as error:
            raise SpdyError(f"headers that are not compressed as SPDY/3 says: {error}") from error
        if self._unpack.unconsumed_tail:
            raise SpdyError("headers that are too long")
        (count,) = struct.unpack_from(">I", text)
        at = 4
        words: list[str] = []
        for _ in range(2 * count):
            (length,) = struct.unpack_from(">I", text, at)
            words.append(text[at + 4 : at + 4 + length].decode("latin-1"))
            at += 4 + length
            if at > len(text):
                raise SpdyError("headers that are cut off")
        return {name.lower(): value for name, value in zip(words[::2], words[1::2], strict=True)}

    def reply(self, stream: int) -> bytes:
        """Returns the frame that accepts a stream."""
        block = self._pack.compress(struct.pack(">I", 0)) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        return _frame(_SYN_REPLY, struct.pack(">I", stream) + block)

    @staticmethod
    def data(stream: int, data: bytes, *, fin: bool = False) -> bytes:
        """Returns a frame of ``data``, at most 16 MiB; ``fin``: nothing follows it."""
        return struct.pack(">II", stream, (FIN if fin else 0) << 24 | len(data)) + data

    @staticmethod
    def reset(stream: int) -> bytes:
        """Returns the frame that ends a stream at once: CANCEL."""
        return _frame(_RST_STREAM, struct.pack(">II", stream, 5))

    @staticmethod
    def pong(ping: Ping) -> bytes:
        return _frame(_PING, struct.pack(">I", ping.number))


def _frame(kind: int, body: bytes) -> bytes:
    return struct.pack(">HHI", _VERSION, kind, len(body)) + body
