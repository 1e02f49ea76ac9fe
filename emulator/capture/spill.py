"""Stores bytes that are appended and read again: in memory while they are few, then in a temporary file
without a name that goes with its process.
"""

from __future__ import annotations

import os
import tempfile
from typing import IO

_IN_MEMORY = 16 << 20  # bytes that wait to be written to the file at most, where nothing else is said
_BLOCK = 256 << 10  # bytes that are read at once: the next read is likely near, before or behind
_DIRECTORIES = ("/var/tmp",)  # noqa: S108 - before the one that the environment or the system prefers, which may be in memory


class Spill:
    """Stores bytes; ``size`` is how many were appended."""

    def __init__(self, most: int = 0) -> None:
        """Starts empty; ``most``: the bytes beyond which they go to the file (0: as many as usual)."""
        self._most = most
        self._tail = bytearray()
        self._written = 0
        self._file: IO[bytes] | None = None
        self._refusal: OSError | None = None
        self._block, self._block_begin = b"", 0  # the last block read, and its offset
        self.size = 0

    def append(self, head: bytes, rest: memoryview) -> None:
        """Appends both, or neither: raises OSError when they cannot be written, and then always."""
        if len(self._tail) >= (self._most or _IN_MEMORY):
            self._write()
        self._tail += head
        self._tail += rest
        self.size += len(head) + len(rest)

    def find(self, begin: int, length: int) -> tuple[bytes | bytearray, int]:
        """Returns the buffer with the bytes from ``begin`` on, and their place in it: at least ``length`` of
        them, if there are so many.
        """
        if begin >= self._written:
            return self._tail, begin - self._written
        at = begin - self._block_begin
        if at < 0 or at + length > len(self._block):
            assert self._file is not None  # noqa: S101 - for the type: something was written
            self._block_begin = max(0, begin - _BLOCK // 2)
            at = begin - self._block_begin
            self._block = os.pread(self._file.fileno(), max(_BLOCK, at + length), self._block_begin)
        return self._block, at

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self) -> None:
        if self._refusal:
            raise self._refusal
        try:
            if self._file is None:
                self._file = _open_file()
            with memoryview(self._tail) as rest:
                done = 0
                while done < len(rest):
                    done += os.pwrite(self._file.fileno(), rest[done:], self._written + done)
        except OSError as error:
            self._refusal = error
            raise
        self._written += len(self._tail)
        self._tail.clear()


def _open_file() -> IO[bytes]:
    """Returns a file without a name, in TMPDIR or else on a disk; raises OSError if neither has a place for
    one.
    """
    places = [os.environ["TMPDIR"]] if os.environ.get("TMPDIR") else [*_DIRECTORIES, None]
    for place in places[:-1]:
        try:
            return tempfile.TemporaryFile(dir=place, buffering=0)
        except OSError:
            continue
    return tempfile.TemporaryFile(dir=places[-1], buffering=0)
