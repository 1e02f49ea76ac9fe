"""Writes standard output in any state: a pipe whose reader has gone, a full disk, an encoding without arrows,
or none at all.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import UsageError

# --color as the environment has it: https://no-color.org, https://force-color.org
COLOR: Mapping[str, Mapping[str, str]] = {
    "auto": {},
    "always": {"NO_COLOR": "", "FORCE_COLOR": "1"},
    "never": {"NO_COLOR": "1", "FORCE_COLOR": ""},
}
_USUAL_COLUMNS = 80  # a terminal that does not tell is taken for this wide


def prepare_streams() -> None:
    """Opens the standard streams that this process was started without, and makes its output replace
    characters that the encoding lacks by "?".
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # takes the lowest free number: no other file may get it by mistake
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115 - for as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    # Unbuffered, so that the interpreter has nothing to write at its end, which would change the exit code.
    sys.stderr = io.TextIOWrapper(
        _Unheard(2, "w", closefd=False), sys.stderr.encoding, "backslashreplace", write_through=True
    )


class _Unheard(io.FileIO):
    """Drops output that cannot be written: on a full disk, or to a terminal that is gone."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


class Attempts:
    """Writes several outputs; one that fails does not stop the others. ``failed``: whether one did."""

    def __init__(self) -> None:
        self.failed = False

    def __call__(self, write: Callable[[], object]) -> bool:
        """Calls ``write``; if that raises UsageError, prints it on standard error and returns False."""
        try:
            write()
        except UsageError as error:
            self.failed = True
            complain(str(error))
            return False
        return True


def unread_by_runner(text: str) -> str:
    """Returns ``text``, and in a job of GitHub Actions between commands that stop its runner from reading
    more commands in it: names and file names are other people's text (docs.github.com, "Workflow commands").
    """
    if os.environ.get("GITHUB_ACTIONS") != "true" or not ("::" in text or "##[" in text):
        return text
    token = os.urandom(16).hex()
    return f"::stop-commands::{token}\n{text.rstrip()}\n::{token}::\n"


def complain(text: str, *, folded: bool = True) -> None:
    """Prints ``text`` on standard error, after the program's name. On a terminal its lines are ``folded``
    between words; elsewhere they stay whole, for grep and for logs.
    """
    said = f"podwire: {text}".rstrip("\n")
    if folded and sys.stderr.isatty():
        said = _fit(said, _columns_of_errors())
    print(unread_by_runner(said).rstrip("\n"), file=sys.stderr)


def _columns_of_errors() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_COLUMNS
    except (OSError, ValueError):
        return _USUAL_COLUMNS


def _fit(text: str, width: int) -> str:
    from .layout import Screen  # for errors on a terminal alone: it imports more than this module does

    lines = []
    for line in text.split("\n"):
        words = line.lstrip(" ")
        indent = " " * (len(line) - len(words))
        lines += Screen(width).say(words, indent, f"{indent}  ") if len(line) > width else [line]
    return "\n".join(lines)


def say(text: str) -> None:
    """Writes ``text`` to standard output, at once. If the reader (head, less) closed the pipe (EPIPE), this
    and later output is dropped, and the exit code is unaffected. Raises UsageError for any other reason that
    it cannot be written.
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
    """Drops the text in the buffer, and all later text."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
