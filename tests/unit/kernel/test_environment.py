"""Tests the PATH on which podwire finds system tools."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from emulator.kernel.environment import complete_path
from tests.sandboxed import ROOT


@pytest.mark.parametrize(
    ("path", "completed"),
    [
        (None, f"{os.defpath}:/usr/sbin:/sbin"),
        ("", f"{os.defpath}:/usr/sbin:/sbin"),
        ("/usr/bin:/bin", "/usr/bin:/bin:/usr/sbin:/sbin"),
        ("/sbin:/usr/bin", "/sbin:/usr/bin:/usr/sbin"),
        ("/usr/sbin:/a:/sbin", "/usr/sbin:/a:/sbin"),
    ],
)
def test_system_tools_are_on_the_path(path: str | None, completed: str) -> None:
    assert complete_path(path) == completed


@pytest.mark.parametrize("environment", [{}, {"PATH": ""}, {"PATH": "/usr/bin:/bin"}], ids=str)
def test_the_command_line_finds_them_whatever_path_it_is_given(environment: dict[str, str]) -> None:
    find = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import emulator.cli as cli, shutil; "
        "code = cli.main(); print(shutil.which('iptables-restore')); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", find, str(ROOT), "list"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("sbin/iptables-restore\n"), done.stdout
