"""Standard output as it may be: a pipe whose reader has gone, a full disk, an encoding without arrows, nothing at all."""

from __future__ import annotations

import io
import os
import sys

from emulator.errors import UsageError


def prepare_streams() -> None:
    """Give this process the standard streams that it was started without, and let its output have "?" for what the encoding lacks."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: nothing else may be written to by mistake
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115 - for as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def say(text: str) -> None:
    """Write ``text`` to standard output, at once. Where whoever read it (head, less) has gone, nobody hears this and what follows, and what was
    found out stands. Raises UsageError for any other reason that it cannot be written."""
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
