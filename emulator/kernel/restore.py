"""Keeps one ``iptables-restore`` running in a network namespace, and gives it one change after the other.

Most of what a small change costs by a process of its own is that process: its start, and its end, at which
the kernel lets it wait until nf_tables has freed what it no longer needs. A restore command loads each table
at its COMMIT line, and then goes on to read.

With ``--verbose`` a restore command writes a comment line to its standard output as it comes to it: the
comment behind a change tells that all before it is done. A wrapper around it may read its whole input first,
or keep its output: then each change needs a process of its own.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence
from secrets import token_hex

from ..errors import KernelError, ToolKilledError
from .netns import Namespaces, check_end, start

_READ = 65536  # bytes at once
_FIRST_ECHO = 10  # seconds for the first comment; it takes milliseconds


class Restore:
    """Holds a restore ``command`` that runs in ``netns``. It ends at the first text that it refuses."""

    def __init__(self, namespaces: Namespaces, netns: str, command: Sequence[str]) -> None:
        """Starts it. Raises KernelError when there is no such program."""
        self._netns, self._command = netns, list(command)
        self._process = start(namespaces, netns, [*command, "--verbose"])
        streams = self._process.stdin, self._process.stdout, self._process.stderr
        self._in, self._out, self._err = (stream.fileno() for stream in streams if stream)
        os.set_blocking(self._in, False)
        # random, so that no text holds a mark; an effect, and nothing that a seed could repeat
        self._name, self._texts = token_hex(16), 0
        self._lines = 0  # how many lines it was given before this text
        self._text, self._mark, self._left = "", b"", b""

    def begin(self, text: str) -> None:
        """Gives it ``text``, or the beginning of a long one; :meth:`finish` must follow."""
        self._texts += 1
        mark = f"# {self._name} {self._texts}\n"
        self._text, self._mark = text, mark.encode()
        self._left = f"{text}{mark}".encode(errors="replace")
        self._feed()

    def _feed(self) -> None:
        try:
            self._left = self._left[os.write(self._in, self._left) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it has ended: what it says of that is read
            self._left = b""

    def finish(self, seconds: float) -> None:
        """Waits until the text is loaded, ``seconds`` at most. Raises KernelError with what it says if it
        refuses the text, ToolKilledError if it does not end or was killed.
        """
        end, heard = time.monotonic() + seconds, {self._out: b"", self._err: b""}
        open_ = set(heard)
        while open_ and self._mark not in heard[self._out]:
            poll = select.poll()
            for stream in open_:
                poll.register(stream, select.POLLIN)
            if self._left:
                poll.register(self._in, select.POLLOUT)
            ready = poll.poll(max(0, 1000 * (end - time.monotonic())))
            if not ready:
                raise ToolKilledError(self._netns, self._command, f"no end after {seconds:.0f} s", self._text)
            for stream, _ in ready:
                if stream == self._in:
                    self._feed()
                elif data := os.read(stream, _READ):
                    heard[stream] += data
                else:
                    open_.discard(stream)
        if self._mark not in heard[self._out]:
            self._process.wait()
            said = heard[self._err].decode(errors="replace").strip()
            if self._lines:  # it counts the lines of all texts
                said += f"\n(line 1 of this input is line {self._lines + 1} there)"
            check_end(self._process, self._netns, self._command, said, self._text)
            raise ToolKilledError(self._netns, self._command, f"it ended: {said}".strip(), self._text)
        self._lines += self._text.count("\n") + 1

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                stream.close()


def open_restore(
    namespaces: Namespaces, netns: str, command: Sequence[str], seconds: float = _FIRST_ECHO
) -> Restore | None:
    """Returns the restore ``command``, started in ``netns``; None if it does not echo a comment within
    ``seconds``. Raises KernelError when there is no such program.
    """
    restore = Restore(namespaces, netns, command)
    restore.begin("")
    try:
        restore.finish(seconds)
    except KernelError:  # it refuses the option, or is silent
        restore.close()
        return None
    return restore
