"""Defines the interface between the API and whatever runs Pods, like that between a kubelet and its container
runtime (CRI's streaming).

The kernel's side implements :class:`Runtime`; the tests have one over processes of this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ..errors import PodwireError


class RuntimeRefusedError(PodwireError):
    """Reports that a Pod cannot do what is asked. ``code`` is the HTTP status: 400 for a container that
    cannot (not started, ended), 404 for one that is not there.
    """

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code


class LogLine(NamedTuple):
    """Holds a line of a container's log: ``time`` in RFC 3339 with nanoseconds, UTC; ``text`` with its line
    feed, if it has ended.
    """

    time: str
    text: bytes


class Process(Protocol):
    """Describes a process in a container."""

    @property
    def stdout(self) -> asyncio.StreamReader:
        """Returns its output; with a terminal, that is all of it."""

    @property
    def stderr(self) -> asyncio.StreamReader | None:
        """Returns its errors, None with a terminal."""

    async def write(self, data: bytes) -> None:
        """Writes to its standard input, which may be closed already."""

    async def close(self) -> None:
        """Ends its standard input."""

    def resize(self, columns: int, rows: int) -> None:
        """Sets the size of its terminal."""

    async def wait(self) -> int:
        """Returns its exit status, 128 + N after signal N."""

    def release(self) -> None:
        """Lets go of it: the client has left. A command of exec is ended; what was attached to runs on."""


class Runtime(Protocol):
    """Runs Pods. ``pod`` is the Pod's document, ``container`` a name in it. All calls raise
    RuntimeRefusedError.
    """

    async def exec(
        self, pod: Mapping[str, Any], container: str, argv: Sequence[str], *, tty: bool, stdin: bool
    ) -> Process:
        """Starts a command in a container."""

    async def attach(self, pod: Mapping[str, Any], container: str, *, tty: bool, stdin: bool) -> Process:
        """Returns the container's own process; its output from now on."""

    async def logs(
        self, pod: Mapping[str, Any], container: str, *, previous: bool
    ) -> tuple[Sequence[LogLine], AsyncIterator[LogLine]]:
        """Returns the lines of the container's log that are there, and those that come from then on, until
        the container ends. ``previous``: of the container that ended before this one.
        """

    async def connect(
        self, pod: Mapping[str, Any], port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Returns a TCP connection to ``port`` on the loopback of the Pod. Raises OSError, too."""
