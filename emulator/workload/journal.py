"""Keeps the logs of containers as a container runtime does: one file for each, each line with its time."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from ..errors import printable

MOST = 10 << 20  # bytes of a file: then it becomes the older one, as the kubelet rotates logs


class Journal:
    """Writes to the logs in ``directory``. Names of Pods and containers are DNS names: no file has another
    place.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, pod: str, container: str) -> Path:
        """Returns the file of a container of ``pod`` (namespace/name)."""
        return self.directory / f"{pod.replace('/', '_')}_{container}.log"

    def older(self, pod: str, container: str) -> Path:
        """Returns the file that was full before."""
        return self.directory / f"{pod.replace('/', '_')}_{container}.log.1"

    def write(self, pod: str, container: str, text: str) -> None:
        """Appends one line. A full disk loses it: the server goes on."""
        path = self.path(pod, container)
        with suppress(OSError):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                os.write(fd, f"{stamp()} {printable(text)}\n".encode(errors="replace"))
                full = os.fstat(fd).st_size > MOST
            finally:
                os.close(fd)
            if full:
                path.replace(self.older(pod, container))


def stamp() -> str:
    """Returns the time as logs have it: RFC 3339 with nanoseconds."""
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
