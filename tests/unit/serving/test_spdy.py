from __future__ import annotations

import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.serving.spdy import (
    DICTIONARY,
    LONGEST_FRAME,
    Connection,
    Data,
    GoAway,
    Opened,
    Ping,
    Reset,
    SpdyError,
)


class Client:
    """Writes frames as a client does."""

    def __init__(self) -> None:
        self.pack = zlib.compressobj(zdict=DICTIONARY)

    def open(self, stream: int, headers: dict[str, str], *, fin: bool = False) -> bytes:
        block = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for word in (name, value):
                block += struct.pack(">I", len(word)) + word.encode()
        packed = self.pack.compress(block) + self.pack.flush(zlib.Z_SYNC_FLUSH)
        return control(1, struct.pack(">IIH", stream, 0, 0) + packed, fin)


def control(kind: int, body: bytes, fin: bool = False) -> bytes:
    return struct.pack(">HHI", 0x8003, kind, fin << 24 | len(body)) + body


def test_dictionary_is_that_of_the_draft() -> None:
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2  # the DICTID with which every SPDY/3 header block begins


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_frames_are_found_however_they_are_cut(cuts: list[int]) -> None:
    client = Client()
    sent = b"".join(
        (
            client.open(1, {"streamType": "error", "port": "80"}, fin=True),
            client.open(3, {"streamType": "data", "port": "80"}),
            struct.pack(">II", 3, 5) + b"hello",
            control(6, struct.pack(">I", 7)),
            control(4, struct.pack(">I", 0)),  # SETTINGS are read over
            struct.pack(">II", 3, 1 << 24),
            control(3, struct.pack(">II", 3, 5)),
            control(7, struct.pack(">II", 3, 0)),
        )
    )
    connection = Connection()
    found = []
    at = 0
    for cut in [*cuts, len(sent)]:
        found += [*connection.receive(sent[at : at + cut])]
        at += cut
    assert found == [
        Opened(1, {"streamtype": "error", "port": "80"}, True),
        Opened(3, {"streamtype": "data", "port": "80"}, False),
        Data(3, b"hello", False),
        Ping(7),
        Data(3, b"", True),
        Reset(3),
        GoAway(),
    ]


def test_answers_are_what_a_client_reads() -> None:
    connection = Connection()
    unpack = zlib.decompressobj(zdict=DICTIONARY)
    for stream in (1, 3):
        reply = connection.reply(stream)
        assert struct.unpack_from(">HHII", reply) == (0x8003, 2, len(reply) - 8, stream)
        assert unpack.decompress(reply[12:]) == struct.pack(">I", 0)
    assert connection.data(3, b"x", fin=True) == struct.pack(">II", 3, 1 << 24 | 1) + b"x"
    assert [*Connection().receive(connection.reset(3))] == [Reset(3)]
    assert [*Connection().receive(connection.pong(Ping(9)))] == [Ping(9)]


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack(">HHI", 0x8002, 1, 0),  # another version
        control(1, b"\0"),  # cut off
        control(1, bytes(10) + b"not zlib"),
        struct.pack(">II", 1, LONGEST_FRAME + 1),
        control(1, bytes(10) + zlib.compress(b"\0" * 70_000)),
        Client().open(1, {"a": "b" * 70_000}),
    ],
)
def test_what_is_no_spdy_is_refused(sent: bytes) -> None:
    with pytest.raises(SpdyError):
        list(Connection().receive(sent))


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_refused(data: bytes) -> None:
    for kind in range(10):
        with suppress(SpdyError):
            list(Connection().receive(control(kind, data)))
