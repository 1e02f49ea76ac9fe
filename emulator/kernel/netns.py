"""Holds network namespaces by file descriptors, and calls functions and starts processes in them.

A namespace needs no process: it lives as long as a descriptor, a socket inside it or a mount refers to it.
Sockets stay in the namespace in which they were opened, in whatever process they are read, so one process
serves every Pod.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import KernelError, ToolKilledError
from . import linux

T = TypeVar("T")

RUN_NETNS = Path("/run/netns")
_NO_PROGRAM = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.EPERM)
_SELF = "/proc/thread-self/ns/net"


class Namespaces(Mapping[str, int]):
    """Holds the network namespaces of one cluster: name → descriptor. Must be made inside a sandbox, whose
    ``/run/netns`` is private.
    """

    def __init__(self) -> None:
        self._fds: dict[str, int] = {}
        self._home = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
        self._current = self._home

    def __getitem__(self, name: str) -> int:
        return self._fds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fds)

    def __len__(self) -> int:
        return len(self._fds)

    def create(self, name: str) -> None:
        """Creates the namespace ``name``, known to ``ip netns`` as well, and stays in it (until :meth:`leave`
        or the next entry).

        All are made from the sandbox's own: a sysctl may let a new namespace copy the settings of the one
        from which it is made (devconf_inherit_init_net 3).
        """
        self.leave()
        linux.unshare(linux.CLONE_NEWNET)
        fd = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
        self._fds[name] = self._current = fd
        path = RUN_NETNS / name
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
        linux.mount(_SELF, str(path), None, linux.MS_BIND)

    def delete(self, name: str) -> None:
        """Closes ``name``: the kernel deletes the namespace with the last socket in it."""
        fd = self._fds.pop(name)
        if fd == self._current:
            self.leave()
        os.close(fd)
        path = RUN_NETNS / name
        linux.unmount(str(path))
        path.unlink()

    def refresh(self) -> frozenset[str]:
        """Follows the changes of the sandbox's namespaces in the process from which this one was forked: adds
        new ones by name, and closes those that were deleted, or deleted and made again. Returns the names of
        the closed ones.
        """
        self.leave()
        identity = {path.name: path.stat().st_ino for path in RUN_NETNS.iterdir()}
        gone = frozenset(name for name, fd in self._fds.items() if os.fstat(fd).st_ino != identity.get(name))
        for name in gone:
            os.close(self._fds.pop(name))
        for name in identity.keys() - self._fds.keys():
            self._fds[name] = os.open(RUN_NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
        return gone

    def enter(self, name: str) -> None:
        """Moves the calling thread into ``name``; free when it is there already."""
        fd = self._fds[name]
        if fd != self._current:
            linux.setns(fd, linux.CLONE_NEWNET)
            self._current = fd

    def leave(self) -> None:
        """Moves the calling thread back to the sandbox's own network namespace."""
        if self._current != self._home:
            linux.setns(self._home, linux.CLONE_NEWNET)
            self._current = self._home

    def call_in(self, name: str, function: Callable[[], T]) -> T:
        """Returns ``function()``, called with the calling thread inside ``name``; sockets and processes that
        it makes stay there.
        """
        previous = self._current
        self.enter(name)
        try:
            return function()
        finally:
            linux.setns(previous, linux.CLONE_NEWNET)
            self._current = previous


class Entered:
    """Holds network namespaces of another process' sandbox: name → descriptor. The calling thread stays in
    the last one that it entered: its own may be closed to it, in another user namespace.
    """

    def __init__(self, init: int, names: Iterable[str]) -> None:
        """Opens the namespaces ``names`` of the sandbox whose PID 1 is ``init``, and enters its user
        namespace. Raises OSError when it has ended.
        """
        root = Path(f"/proc/{init}/root{RUN_NETNS}")
        self._fds = {name: os.open(root / name, os.O_RDONLY | os.O_CLOEXEC) for name in names}
        user = os.open(f"/proc/{init}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(user).st_ino != os.stat("/proc/self/ns/user").st_ino:
                linux.setns(user)
        finally:
            os.close(user)

    def call_in(self, name: str, function: Callable[[], T]) -> T:
        """Returns ``function()``, called inside ``name``."""
        linux.setns(self._fds[name], linux.CLONE_NEWNET)
        return function()


def start(
    namespaces: Namespaces, netns: str, command: Sequence[str], *, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Starts ``command`` inside ``netns`` with pipes for all three streams. Raises KernelError when there is
    no such program.
    """
    try:
        return namespaces.call_in(
            netns,
            lambda: subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=env,
            ),
        )
    except OSError as error:
        if error.errno in _NO_PROGRAM:
            raise KernelError(netns, command, f"{command[0]}: {error.strerror}") from None
        raise  # a limit of ours was met


def finish(process: subprocess.Popen[str], netns: str, stdin: str = "", timeout: float = 60) -> str:
    """Feeds ``stdin``, waits at most ``timeout`` seconds, returns standard output. Raises KernelError with
    all details.
    """
    command = (
        [str(word) for word in process.args]
        if isinstance(process.args, list | tuple)
        else [str(process.args)]
    )
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise ToolKilledError(netns, command, f"no end after {timeout:.0f} s", stdin) from None
    check_end(process, netns, command, err, stdin)
    return out


def check_end(
    process: subprocess.Popen[str], netns: str, command: Sequence[str], said: str, stdin: str
) -> None:
    """Raises KernelError if ``process``, which has ended, refused its input, ToolKilledError if it was
    killed. ``said``: its standard error.
    """
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        raise ToolKilledError(netns, command, f"{said}{command[0]} was killed by {name}".strip(), stdin)
    if process.returncode:
        raise KernelError(netns, command, said or f"exit code {process.returncode}", stdin)


def check_output(namespaces: Namespaces, netns: str, command: Sequence[str]) -> str:
    """Returns the standard output of ``command`` run inside ``netns``; KernelError when it fails."""
    return finish(start(namespaces, netns, list(command)), netns)
