"""Gives a command a terminal of its own (a pseudo-terminal, pty(7)), and relays between it and this
process' standard input and output.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import termios
import tty
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

_CHUNK = 1 << 14
_END_OF_FILE = b"\x04"  # VEOF of a new terminal (termios(3))
_DRAINED = 0.05  # seconds without output after which a command that has ended said everything


class Terminal:
    """Holds the pseudo-terminal. Nothing blocks but writing to standard output."""

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()
        os.set_blocking(self._master, False)
        self._input = 0
        self._pending = b""  # typed, and not yet taken by the terminal
        self._open = True
        self.resize()

    def adopt(self) -> None:
        """Makes it the controlling terminal and the standard streams of this process, which the command
        replaces.
        """
        os.setsid()
        fcntl.ioctl(self._slave, termios.TIOCSCTTY, 0)
        for fd in range(3):
            os.dup2(self._slave, fd)

    def resize(self) -> None:
        """Gives it the size of the user's terminal, if there is one."""
        for fd in (1, 0, 2):
            with suppress(OSError):
                fcntl.ioctl(self._master, termios.TIOCSWINSZ, fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
                return
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Passes every key on to the command, Ctrl-C too, as long as the context lasts."""
        os.close(self._slave)
        saved = termios.tcgetattr(0) if os.isatty(0) else None
        try:
            if saved:
                tty.setraw(0, termios.TCSADRAIN)  # keeps what was typed ahead, for the command
            yield
            self._drain()
        finally:
            if saved:
                with suppress(termios.error):  # it is gone
                    termios.tcsetattr(0, termios.TCSADRAIN, saved)

    def wanted(self) -> dict[int, int]:
        """Returns what to wait for: descriptor → events of poll(2)."""
        events = (
            {self._master: select.POLLIN | (select.POLLOUT if self._pending else 0)} if self._open else {}
        )
        if self._input >= 0 and not self._pending:
            events[self._input] = select.POLLIN
        return events

    def relay(self, ready: Collection[int]) -> None:
        """Passes on what can be passed on; ``ready`` are the descriptors that poll(2) named."""
        if self._input in ready:
            try:
                data = os.read(self._input, _CHUNK)
            except OSError:  # the user's terminal is gone
                data = b""
            self._pending = data or _END_OF_FILE
            if not data:
                self._input = -1
        if self._open and self._pending:
            with suppress(BlockingIOError):
                self._pending = self._pending[os.write(self._master, self._pending) :]
        if self._master in ready:
            self._copy_output()

    def _copy_output(self) -> None:
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # nobody has it open any more
                raise
            data = b""
        if not data:
            self._open = False
        with suppress(OSError):  # nobody reads it any more: the command finds that out by SIGHUP, or never
            while data:
                data = data[os.write(1, data) :]

    def _drain(self) -> None:
        """Passes on what the command wrote before it ended."""
        while self._open and select.select([self._master], [], [], _DRAINED)[0]:
            self._copy_output()
