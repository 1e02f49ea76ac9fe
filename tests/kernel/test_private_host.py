"""Tests that podwire, killed at a random moment, leaves the host as it was: its network, rules, settings,
files, sockets, processes and mounts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.sandboxed import ROOT

pytestmark = pytest.mark.kernel

HOST = [
    "unshare",
    "--net",
    "--mount",
    "--ipc",
    "--pid",
    "--fork",
    "--mount-proc",
    *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]),
]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_run_that_is_killed_leaves_the_host_as_it_was(seed: int) -> None:
    done = subprocess.run(
        [*HOST, sys.executable, "-m", "tests.private_host", str(seed), "7"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [], done.stderr


@pytest.mark.parametrize(
    "change",
    [
        "ip link add theirs type bridge",
        "touch /run/left",
        "sysctl -qw net.ipv4.conf.all.arp_ignore=1",
        "sleep 60 &",
    ],
)
def test_what_would_be_left_is_seen(change: str) -> None:
    script = f"""
import subprocess
from tests import private_host
def kill_once(draw, directories):
    subprocess.run(["sh", "-c", {change!r}], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return "nothing"
private_host.kill_once = kill_once
private_host.main(1, 1)
"""
    done = subprocess.run(
        [*HOST, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 1
