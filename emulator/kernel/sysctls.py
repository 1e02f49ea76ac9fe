"""Sysctls of the calling thread's network namespace, and what a new namespace has otherwise than planned."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from emulator.plan.sysctls import DEVICE_DEFAULTS, SCOPES


class DeviceDefaults:
    """What ``ResetDevices`` sets, compared with what new namespaces have."""

    def __init__(self) -> None:
        self._unlike: list[tuple[str, str]] | None = None

    def unlike(self) -> Sequence[tuple[str, str]]:
        """Returns path and value of what a new namespace has otherwise. All new namespaces are alike: the
        first call, inside such a one, reads; later calls remember.
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


def write_sysctl(path: str, value: str) -> None:
    """Write the value. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
