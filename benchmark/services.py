"""Measures the cost of many Services in kube-proxy's place: loading them all, changing one of them, and
memory.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from benchmark import clusters
from benchmark.figures import Figure
from benchmark.measuring import (
    TEXT_MODES,
    Setting,
    collect_as_in_a_run,
    raise_descriptor_limit,
    settle_down,
    timed,
)
from emulator.cluster.state import ClusterState
from emulator.controllers.settle import settle
from emulator.kernel import linux, sandbox
from emulator.kernel.apply import Applied, apply
from emulator.plan.operations import LoadRules
from emulator.plan.operations.rules import loader
from emulator.proxy.planner import ProxyPlanner
from emulator.schedule.planner import plan_change, plan_cluster, plan_rules
from emulator.starting import collect_rarely

CHANGE_TARGET = {"iptables": "≤ 100", "nftables": "≤ 20"}  # milliseconds, at TARGET_SIZE
TARGET_SIZE = 10_000
CHANGES_PER_ROUND = 5  # for each kind: they take little, once all Services are loaded


def measure_full_sync(setting: Setting) -> Iterator[Figure]:
    """Yields the time from objects to kernel, beside that of the tool alone with the very same rules."""
    for count in setting.services:
        source = clusters.read(
            clusters.write(setting.directory / f"services-{count}.yaml", clusters.many_services(count))
        )
        for mode in TEXT_MODES:
            state = settle(source, proxy_mode=mode)
            pairs = [_full_sync(state, setting.iptables, number) for number in range(setting.rounds)]
            settle_down()
            yield Figure(
                name=f"full sync, {mode}",
                unit="s",
                rounds=tuple(ours for ours, _ in pairs),
                reference_name="the tool alone",
                reference_rounds=tuple(tool for _, tool in pairs),
                target="≤ 1.3 x",
                services=count,
                mode=mode,
            )


def _full_sync(state: ClusterState, iptables: str, number: int) -> tuple[float, float]:
    """Returns seconds from objects to kernel, and of the tool alone with the very same text, each in a
    namespace of its own. The order of the two changes with the ``number`` of the round: the kernel has to
    make room for the first.

    It is planned before there is a sandbox, as for a run.
    """
    loads = list[tuple[Sequence[str], str]]()
    collect_rarely()  # as a run does before it plans
    planning = timed(lambda: loads.extend(_texts(state, iptables)))
    loading = sandbox.run(partial(_load_twice, loads))
    ours, tool = loading if number % 2 == 0 else reversed(loading)
    return planning + ours, tool


def _texts(state: ClusterState, iptables: str) -> Iterator[tuple[Sequence[str], str]]:
    """Yields the commands that load the rules of every node, each with its input."""
    for op in plan_rules(state, ProxyPlanner().rules(state)):
        if isinstance(op, LoadRules):
            yield (loader("nft", op.family) if op.tool == "nft" else (iptables, "--noflush")), op.text


def _load_twice(loads: Sequence[tuple[Sequence[str], str]], _: sandbox.Channel) -> tuple[float, float]:
    def load_all() -> None:
        for command, text in loads:
            subprocess.run(command, input=text, text=True, check=True)

    linux.unshare(linux.CLONE_NEWNET)
    first = timed(load_all)
    linux.unshare(linux.CLONE_NEWNET)
    return first, timed(load_all)


def measure_change(setting: Setting) -> Iterator[Figure]:
    """Yields the time of a change of one Service in the middle: from the objects as they were and as they are
    to a kernel that holds the latter.
    """
    for count in setting.services:
        source = clusters.read(
            clusters.write(setting.directory / f"changed-{count}.yaml", clusters.many_services(count))
        )
        for mode in TEXT_MODES:
            full = settle(source, proxy_mode=mode)
            milliseconds = sandbox.run(
                partial(_change, full, f"default/{clusters.service_name(count // 2)}", setting)
            )
            settle_down()
            for case, rounds in milliseconds.items():
                yield Figure(
                    name=f"{case}, {mode}",
                    unit="ms",
                    rounds=rounds,
                    target=CHANGE_TARGET[mode] if count == TARGET_SIZE else "",
                    services=count,
                    mode=mode,
                    case=case,
                )


def _change(
    full: ClusterState, key: str, setting: Setting, _: sandbox.Channel
) -> dict[str, tuple[float, ...]]:
    """Returns the milliseconds of each change of the Service ``key``. Every change is undone by the
    next one.
    """
    raise_descriptor_limit()
    collect_as_in_a_run()
    without, moved = (
        clusters.without_service(full, key),
        clusters.with_other_endpoint(full, key, "10.129.255.254"),
    )
    ways: Mapping[str, list[tuple[ClusterState, ClusterState]]] = {
        "one endpoint changed": [(full, moved), (moved, full)],
        "one Service removed": [(full, without)],
        "one Service added": [(without, full)],
    }
    proxy = ProxyPlanner()
    applied = apply(plan_cluster(full, proxy=proxy), Applied(setting.iptables))
    taken: dict[str, list[float]] = {case: [] for case in ways}
    for _round in range(CHANGES_PER_ROUND * setting.rounds):
        for case, (old, new) in chain.from_iterable(
            [(case, way) for way in pairs] for case, pairs in ways.items()
        ):
            taken[case].append(1000 * timed(partial(_apply_change, old, new, applied, proxy)))
    return {case: tuple(rounds) for case, rounds in taken.items()}


def _apply_change(old: ClusterState, new: ClusterState, applied: Applied, proxy: ProxyPlanner) -> None:
    apply(plan_change(old, new, proxy=proxy), applied)


# --- memory
# ---------------------------------------------------------------------------------------------------


def measure_memory(setting: Setting) -> Iterator[Figure]:
    """Yields the peak memory of a process of its own that loads the manifests, and of its child that plans
    and applies (without nft and iptables-restore), whichever is higher.
    """
    count = max(setting.services)
    manifests = clusters.write(setting.directory / f"memory-{count}.yaml", clusters.many_services(count))
    for mode in TEXT_MODES:
        command = [sys.executable, "-m", "benchmark.services", str(manifests), mode, setting.iptables]
        result = subprocess.run(command, cwd=clusters.ROOT, capture_output=True, text=True, check=True)
        settle_down()
        yield Figure(
            name=f"peak memory, {mode}", unit="MiB", rounds=(float(result.stdout),), services=count, mode=mode
        )


def _peak(state: ClusterState, iptables: str, _: sandbox.Channel) -> float:
    """Returns MiB of this process, which plans and applies, and has what its parent loaded."""
    raise_descriptor_limit()
    apply(plan_cluster(state), Applied(iptables))
    return _most()


def _most() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _main(manifests: str, mode: str, iptables: str) -> None:
    (chosen,) = (m for m in TEXT_MODES if m == mode)
    state = settle(clusters.read(Path(manifests)), proxy_mode=chosen)
    print(max(sandbox.run(partial(_peak, state, iptables)), _most()))


if __name__ == "__main__":
    _main(*sys.argv[1:])
