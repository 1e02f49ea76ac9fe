"""Tests that need a kernel: each runs its body in a sandbox of its own, so that tests may run side by side
and leave nothing.
"""

from __future__ import annotations

import functools
import io
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from emulator.cluster.scenario import Scenario
from emulator.cluster.state import ClusterState
from emulator.controllers.settle import play
from emulator.kernel import sandbox
from emulator.load.load import load
from emulator.objects.config import Inventory
from tests.conftest import UNSHARE

ROOT = Path(__file__).resolve().parent.parent
TOPOLOGIES = ROOT / "topologies"
SHIPPED = sorted(
    {
        p.stem
        for p in TOPOLOGIES.iterdir()
        if p.suffix in (".yaml", ".py") or (p.is_dir() and not p.name.startswith("_"))
    }
)


def in_sandbox(function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs the test inside a fresh sandbox; its assertion errors come back as text."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return sandbox.run(lambda _: function(*args, **kwargs))

    return wrapper


@functools.cache
def flavour() -> str:
    """Returns the flavour of iptables that this kernel has: not each has nf_tables, and to find that out with
    every cluster takes long.
    """
    done = subprocess.run(
        [*UNSHARE, "iptables-nft", "--new-chain", "PROBE"], capture_output=True, check=False
    )
    return "legacy" if done.returncode else "nft"


def state_of(*targets: str, text: str = "", **options: Any) -> ClusterState:
    """Returns a settled cluster: shipped topologies and files by name, or manifests as ``text``."""
    return scenario_of(*targets, text=text, **options).state


def scenario_of(*targets: str, text: str = "", **options: Any) -> Scenario:
    """Returns the same with its FlowChecks and their steps."""
    names = [*targets, *(["-"] if text else [])]
    return play(load(names, topologies=TOPOLOGIES, stdin=io.StringIO(text)), **options)


def inventory_of_text(text: str) -> Inventory:
    """Returns the objects of manifests."""
    return load(["-"], topologies=TOPOLOGIES, stdin=io.StringIO(text))


def podwire(
    *words: str, stdin: str = "", cwd: Path | None = None, prefix: Sequence[str] = (), timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Returns the command line in a process of its own, as a user starts it."""
    return subprocess.run(
        [*prefix, sys.executable, str(ROOT / "run_topology.py"), *words],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
        check=False,
        env={**os.environ, "COLUMNS": "160"},
    )


def host_state() -> dict[str, str]:
    """Returns the state that podwire must never change: links, addresses, routes, rules, mounts, sysctls and
    names of the network namespace we are in.
    """
    commands = {
        "links": ["ip", "-o", "link"],
        "addresses": ["ip", "-o", "address"],
        "routes": ["ip", "route", "show", "table", "all"],
        "rules": ["iptables-nft-save"],
        "legacy rules": ["iptables-legacy-save"],
        "names": ["ip", "netns", "list"],
        "sysctls": [
            "sysctl",
            "net.ipv4.ip_forward",
            "net.ipv4.conf.all.route_localnet",
            "net.ipv4.conf.all.rp_filter",
            "net.ipv6.conf.all.disable_ipv6",
        ],
    }
    state = {
        name: subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for name, command in commands.items()
    }
    state["rules"] = "\n".join(line for line in state["rules"].splitlines() if not line.startswith("#"))
    state["legacy rules"] = "\n".join(
        line for line in state["legacy rules"].splitlines() if not line.startswith("#")
    )
    state["mounts"] = Path("/proc/self/mountinfo").read_text()
    return state
