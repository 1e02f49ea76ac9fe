"""The PATH on which tools are found. Debian keeps ip, iptables and nft in directories that the PATH of an
ordinary user lacks; a process started by env -i, a unit or cron may have no PATH at all.
"""

from __future__ import annotations

import os

_SYSTEM = ("/usr/sbin", "/sbin")


def complete_path(path: str | None) -> str:
    """Returns ``path`` (None or "": the system's default) with the directories of system tools at its end."""
    places = (path or os.defpath).split(os.pathsep)
    return os.pathsep.join([*places, *(place for place in _SYSTEM if place not in places)])


def prepare_path() -> None:
    """Let this process, and what it starts, find system tools."""
    os.environ["PATH"] = complete_path(os.environ.get("PATH"))
