"""Standard output as it may be: a pipe whose reader has gone, a full disk, an encoding without arrows,
nothing at all.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any

from emulator.errors import UsageError


def prepare_streams() -> None:
    """Give this process the standard streams that it was started without, and let its output have "?" for
    what the encoding lacks.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # takes the lowest number that is free: nothing else may be written to by mistake
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115 - for as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    # Unbuffered, so that the interpreter finds nothing to write at its end, which would change the exit code.
    sys.stderr = io.TextIOWrapper(
        _Unheard(2, "w", closefd=False), sys.stderr.encoding, "backslashreplace", write_through=True
    )


class _Unheard(io.FileIO):
    """Drops what cannot be written: on a full disk, or to a terminal that is gone."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


class Attempts:
    """Writes several outputs, of which one that fails costs no other. ``failed``: whether one did."""

    def __init__(self) -> None:
        self.failed = False

    def __call__(self, write: Callable[[], object]) -> bool:
        """Call ``write``; where that raises UsageError, say so on standard error and return False."""
        try:
            write()
        except UsageError as error:
            self.failed = True
            print(f"podwire: {error}", file=sys.stderr)
            return False
        return True


def say(text: str) -> None:
    """Write ``text`` to standard output, at once. Where whoever read it (head, less) has gone, nobody hears
    this and what follows, and what was found out stands. Raises UsageError for any other reason that it
    cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _mute()
    except OSError as error:
        _mute()
        raise UsageError(f"cannot write to standard output: {error.strerror}") from None


def _mute() -> None:
    """What is left in the buffer, or comes, goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
