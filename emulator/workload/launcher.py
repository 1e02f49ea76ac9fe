"""Starts processes in Pods while the cluster lives: one process without threads, which forks for all others.

A process with threads must not run Python between fork and exec, and entering namespaces is Python here. So
a launcher is forked before there are threads; it gets requests with their descriptors by a socket
(unix(7), SCM_RIGHTS), starts each process confined as a container's command is
(:mod:`emulator.kernel.container`), and tells how each ends.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import select
import signal
import socket
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from ..errors import printable
from ..kernel import linux
from ..kernel.container import WORKING_DIRECTORY, contain, own_pid_namespace
from ..kernel.netns import Namespaces
from .commands import find_homes

_MOST = 1 << 20  # bytes of a request
_PODS = "/run/podwire-pods"  # in the sandbox's own /run


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Describes a process: ``argv`` as Kubernetes has it, never a shell's line. ``files`` are put into its
    private directories (path → content). ``terminal``: its first descriptor is a terminal, which becomes its
    own. ``kept``: its private directories are those of its Pod, which other processes of the Pod see too.
    """

    netns: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    hostname: str = ""
    directory: str = WORKING_DIRECTORY
    files: Mapping[str, str] = field(default_factory=dict)
    terminal: bool = False
    kept: bool = False


class Started(NamedTuple):
    """Reports that a process was started, or why it was not."""

    number: int
    refusal: str = ""


class Gone(NamedTuple):
    """Reports the end of a process: its exit code, 128 + n for signal n."""

    number: int
    code: int


class Launcher:
    """Holds the launcher's process. The event loop waits for its socket, and :meth:`take` reads the
    messages.
    """

    def __init__(self, namespaces: Namespaces) -> None:
        """Starts its process by a fork: no other thread may run now."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _serve(theirs, namespaces, parent)
        theirs.close()
        self._socket = ours
        self._number = 0
        ours.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def start(self, launch: Launch, descriptors: Sequence[int]) -> int:
        """Asks for a process with ``descriptors`` as its standard input, output and error, which may be
        closed afterwards. Returns its number. Raises OSError if the request is too large.
        """
        self._number += 1
        data = pickle.dumps(("start", self._number, launch))
        if len(data) > _MOST:
            raise OSError("the command line, its environment and files are larger than 1 MiB")
        socket.send_fds(self._socket, [data], list(descriptors))
        return self._number

    def kill(self, number: int, signum: int = signal.SIGKILL) -> None:
        """Sends a signal to a process, unless it has ended."""
        self._socket.send(pickle.dumps(("kill", number, int(signum))))

    def take(self) -> list[Started | Gone]:
        """Returns the messages that have come. Raises EOFError when the launcher has ended."""
        messages: list[Started | Gone] = []
        while True:
            try:
                data = self._socket.recv(_MOST)
            except BlockingIOError:
                return messages
            if not data:
                raise EOFError
            messages.append(pickle.loads(data))  # noqa: S301 - our own


# --- the launcher's process --------------------------------------------------------------------------------


def _serve(channel: socket.socket, namespaces: Namespaces, parent: int) -> NoReturn:
    try:
        linux.die_with_parent(signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if os.getppid() == parent:
            _Server(channel, namespaces).loop()
    finally:
        os._exit(1)


class _Server:
    def __init__(self, channel: socket.socket, namespaces: Namespaces) -> None:
        self._channel, self._namespaces = channel, namespaces
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._kept: set[str] = set()  # network namespaces of the Pods that have private directories
        self._homes = find_homes()

    def loop(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        poll.register(self._channel, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if reader in ready:
                os.read(reader, 4096)
            self._reap()
            if self._channel.fileno() in ready and not self._take():
                return

    def _take(self) -> bool:
        """Serves one request; returns False when the other end is gone."""
        data, descriptors, _, _ = socket.recv_fds(self._channel, _MOST, 3)
        if not data:
            return False
        what, number, rest = pickle.loads(data)  # noqa: S301 - our own
        try:
            if what == "start":
                self._say(Started(number, self._start(number, rest, descriptors)))
            elif process := self._running.get(number):
                with suppress(ProcessLookupError):
                    process.send_signal(rest)
        finally:
            for fd in descriptors:
                os.close(fd)
        return True

    def _start(self, number: int, launch: Launch, descriptors: Sequence[int]) -> str:
        """Starts a process; returns the reason if that fails ("" if it runs)."""
        for gone in self._namespaces.refresh() & self._kept:
            self._forget(gone)
        if launch.netns not in self._namespaces:
            return "its Pod is gone"
        private = self._private(launch.netns) if launch.kept else ""
        reader, writer = os.pipe()

        def become() -> None:
            try:
                contain(launch.hostname, launch.directory, self._homes, launch.files, private)
                if launch.terminal:
                    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            except Exception as error:
                os.write(writer, str(error).encode()[:4000])
                raise

        try:
            with own_pid_namespace():
                self._running[number] = self._namespaces.call_in(
                    launch.netns, lambda: _spawn(launch, descriptors, become)
                )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            os.set_blocking(reader, False)
            with suppress(BlockingIOError):
                if said := os.read(reader, 4096):
                    return printable(said.decode(errors="replace"))
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return printable(f"{launch.argv[0] if launch.argv else ''}: {why}")
        finally:
            self._namespaces.leave()
            os.close(reader)
            os.close(writer)
        return ""

    def _private(self, netns: str) -> str:
        """Returns the directory of a Pod's private files: in memory, and no more than 64 MiB."""
        place = f"{_PODS}/{netns}"  # a safe file name
        if netns not in self._kept:
            os.makedirs(place, exist_ok=True)
            flags = linux.MS_NOSUID | linux.MS_NODEV
            linux.mount("podwire", place, "tmpfs", flags, "mode=0755,size=64m")
            self._kept.add(netns)
        return place

    def _forget(self, netns: str) -> None:
        """Removes the private files of a Pod that is gone, unless a process still holds them."""
        with suppress(OSError):
            linux.unmount(f"{_PODS}/{netns}")
            self._kept.discard(netns)

    def _reap(self) -> None:
        for number, process in list(self._running.items()):
            code = process.poll()
            if code is not None:
                del self._running[number]
                self._say(Gone(number, code if code >= 0 else 128 - code))

    def _say(self, message: Any) -> None:
        with suppress(BrokenPipeError):
            self._channel.send(pickle.dumps(message))


def _spawn(launch: Launch, descriptors: Sequence[int], become: Callable[[], None]) -> subprocess.Popen[bytes]:
    first, second, third = descriptors
    return subprocess.Popen(
        launch.argv,
        env=dict(launch.environment),
        stdin=first,
        stdout=second,
        stderr=third,
        preexec_fn=become,  # no other thread runs here
        start_new_session=True,
    )
