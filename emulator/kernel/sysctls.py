"""Reads and writes sysctls of the calling thread's network namespace, and finds those that differ in a new
one from the plan.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from ..plan.sysctls import DEVICE_DEFAULTS, SCOPES
from . import linux

_WRITES = 256  # for one procfs


class DeviceDefaults:
    """Compares the values of ``ResetDevices`` with those of new namespaces."""

    def __init__(self) -> None:
        self._unlike: list[tuple[str, str]] | None = None

    def unlike(self) -> Sequence[tuple[str, str]]:
        """Returns path and value of each sysctl that differs in a new namespace. All new namespaces are
        alike: the first call, inside such a one, reads; later calls return the same.
        """
        if self._unlike is None:
            self._unlike = [row for row in _device_defaults() if read_sysctl(row[0]) not in ("", row[1])]
        return self._unlike


def _device_defaults() -> Iterator[tuple[str, str]]:
    for value, keys in DEVICE_DEFAULTS:
        for key in keys:
            for scope in SCOPES:
                yield f"/proc/sys/net/ipv4/conf/{scope}/{key}", value


def read_sysctl(path: str) -> str:
    """Returns the value; "" if this kernel has no such key."""
    try:
        with open(path) as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


class Sysctls:
    """Writes sysctls in many network namespaces.

    A procfs keeps an entry of ``/proc/sys/net/ipv4`` for each namespace in which it was opened, all in one
    hash chain, since they have one parent and one name (fs/proc/proc_sysctl.c: proc_sys_compare). An open
    passes them all, which is quadratic: 1.5 ms each with 5,000 namespaces (kernel 6.18). So a procfs of our
    own serves :data:`_WRITES`, and then another one.
    """

    def __init__(self) -> None:
        self._root: int | None = None  # the procfs in use; None: /proc
        self._written = 0

    def write(self, path: str, value: str) -> None:
        """Writes ``value``; ``path`` begins with "/proc/". Raises OSError."""
        if self._written % _WRITES == 0:
            self.close()
            with suppress(OSError):  # without one, /proc serves, more slowly
                self._root = linux.open_proc()
        self._written += 1
        name = path if self._root is None else path.removeprefix("/proc/")
        fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._root)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)

    def close(self) -> None:
        """Closes the procfs; the next write takes another one."""
        root, self._root, self._written = self._root, None, 0
        if root is not None:
            os.close(root)
