"""Tests that need a kernel which this machine may not have: what they run in user-mode Linux, by
scripts/uml.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.sandboxed import ROOT

UML = ROOT / "scripts" / "uml"

_INSTALLED = all(
    shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin") for tool in ("linux.uml", "modprobe")
)
GUEST_LACKS = "" if _INSTALLED else "no user-mode Linux here: sudo apt-get install user-mode-linux kmod"

with_guest = pytest.mark.skipif(bool(GUEST_LACKS), reason=GUEST_LACKS)


def uml_command(*words: str | Path, seconds: int) -> list[str | Path]:
    """Returns a command that runs another in a guest, which ends after ``seconds``."""
    return [UML, "--time-limit", str(seconds), *words]


def uml(
    *words: str | Path,
    cwd: Path = ROOT,
    env: Mapping[str, str] = os.environ,
    stdin: bytes = b"",
    seconds: int = 90,
) -> subprocess.CompletedProcess[bytes]:
    """Runs a command in a guest; returns bytes, since no byte of the output may be another one."""
    command = uml_command(*words, seconds=seconds)
    return subprocess.run(
        command, cwd=cwd, env=env, input=stdin, capture_output=True, timeout=seconds + 10, check=False
    )
