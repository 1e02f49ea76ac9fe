"""Provides what all measurements share: their setting, a clock, a kernel at rest, and the modes of kube-proxy
that work here.
"""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from emulator.cluster.state import ClusterState
from emulator.errors import MissingCapabilityError
from emulator.kernel.apply import Applied, apply
from emulator.kernel.ipvs import require_ipvs
from emulator.objects.config import ProxyMode
from emulator.schedule.planner import plan_cluster
from emulator.starting import collect_rarely
from emulator.workload.proxying import proxies

HERE = Path(__file__).resolve().parent
TEXT_MODES: tuple[ProxyMode, ...] = ("iptables", "nftables")  # those whose Services are one text for one tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Holds the setting. ``rounds``: how often a figure is taken; ``services``: the sizes of the clusters for
    figures that depend on it; ``directory``: for temporary files; ``iptables``: the restore command;
    ``whole``: the largest clusters too, which takes minutes.
    """

    rounds: int
    services: tuple[int, ...]
    directory: Path
    iptables: str
    whole: bool = False


class Modes(NamedTuple):
    usable: tuple[ProxyMode, ...]
    lacking: Mapping[str, str]  # mode → why not here


def usable_modes() -> Modes:
    """Returns the modes whose Services carry packets on this kernel."""
    try:
        require_ipvs()
    except MissingCapabilityError as error:
        return Modes((*TEXT_MODES, "userspace"), {"ipvs": str(error)})
    return Modes((*TEXT_MODES, "ipvs", "userspace"), {})


def timed(function: Callable[[], object]) -> float:
    """Returns the seconds that ``function`` takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def build(state: ClusterState, iptables: str) -> Applied:
    """Builds the network of ``state`` in the present sandbox, with what its mode needs beside the rules, but
    no servers.
    """
    raise_descriptor_limit()
    applied = apply(plan_cluster(state), Applied(iptables))
    applied.wait_until_up()
    if state.proxy.mode == "userspace":
        proxies(applied.namespaces).tell(state)
    return applied


def collect_as_in_a_run() -> None:
    """Sets the garbage collector as :func:`emulator.run.run.bring_up` does."""
    collect_rarely()
    gc.freeze()


def raise_descriptor_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def settle_down() -> None:
    """Waits until the kernel has deleted the last round's namespaces."""
    as_root = ["--map-root-user"] if os.geteuid() else []
    subprocess.run(["unshare", *as_root, "--net", HERE / "drain.sh"], check=True, stderr=subprocess.DEVNULL)
