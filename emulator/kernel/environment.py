"""Finds tools and podwire's own files.

Debian keeps ip, iptables and nft in directories that the PATH of an ordinary user lacks. A process started by
env -i, a unit or cron may have no PATH at all.
"""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = (_PACKAGE.parent / "share").is_dir()  # by pip; else this is a checkout
# holds topologies/, docs/ and scripts/uml
SHARE = _PACKAGE.parent / "share" if INSTALLED else _PACKAGE.parent
TOPOLOGIES = SHARE / "topologies"
UML = SHARE / "scripts" / "uml"
UML_SHOWN = str(UML) if INSTALLED else "scripts/uml"  # the command that a user types
DEFAULT_TOPOLOGY = "three-networks"
# how a user gets the Python packages that podwire imports
REINSTALL = (
    "pip install --force-reinstall podwire"
    if INSTALLED
    else f"run through {SHARE / 'scripts' / 'with-env'}, or pip install -r {SHARE / 'requirements.txt'}"
)

_SYSTEM = ("/usr/sbin", "/sbin")


def complete_path(path: str | None) -> str:
    """Returns ``path`` (None or "": the system's default) with the directories of system tools at its end."""
    places = (path or os.defpath).split(os.pathsep)
    return os.pathsep.join([*places, *(place for place in _SYSTEM if place not in places)])


def prepare_path() -> None:
    """Lets this process and its children find system tools."""
    os.environ["PATH"] = complete_path(os.environ.get("PATH"))
