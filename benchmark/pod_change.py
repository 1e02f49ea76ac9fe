"""Measures what one Pod's change costs: from the write to the store, by the controllers and the plan, to a
kernel that holds it on every node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from benchmark import clusters
from benchmark.figures import Figure
from benchmark.measuring import Setting, collect_as_in_a_run, raise_descriptor_limit, settle_down, timed
from emulator.cluster.state import ClusterState
from emulator.controllers.plane import ControlPlane
from emulator.kernel import sandbox
from emulator.kernel.apply import Applied, apply
from emulator.objects.config import ProxyMode
from emulator.objects.kinds import Pod, PodCondition
from emulator.schedule.planner import plan_change, plan_cluster
from emulator.store.objects import Key

PODS, NODES, SERVICES = 1_000, 10, 100
MODES: tuple[ProxyMode, ...] = ("nftables", "iptables")
TARGET = {"nftables": "≤ 20"}  # milliseconds
CHANGES_PER_ROUND = 10


def measure_pod_change(setting: Setting) -> Iterator[Figure]:
    """Makes a Pod in the middle unready and ready again: its Service's EndpointSlice changes, and with it the
    rules of every node.
    """
    documents = clusters.many(PODS, NODES, SERVICES)
    source = clusters.read(clusters.write(setting.directory / "pods.yaml", documents))
    for mode in MODES:
        plane = ControlPlane(source, proxy_mode=mode)
        plane.reconcile()
        state = plane.snapshot()
        rounds = sandbox.run(partial(_changes, plane, state, setting))
        settle_down()
        yield Figure(
            name=f"one of {PODS:,} Pods changes, {mode}",
            unit="ms",
            rounds=rounds,
            target=TARGET.get(mode, ""),
            mode=mode,
            tail=True,
            note=f"{NODES} nodes, {SERVICES} Services",
        )


def _changes(
    plane: ControlPlane, state: ClusterState, setting: Setting, _: sandbox.Channel
) -> tuple[float, ...]:
    raise_descriptor_limit()
    collect_as_in_a_run()
    applied = apply(plan_cluster(state), Applied(setting.iptables))
    taken = []
    for number in range(CHANGES_PER_ROUND * setting.rounds + 1):
        change = _Change(plane, state, applied)
        taken.append(1000 * timed(partial(change.make, f"p{PODS // 2}", ready=bool(number % 2))))
        state = change.state
    return tuple(taken[1:])  # the first one works out what is then remembered


class _Change:
    """Holds a change; ``state`` is the cluster before it, then after it."""

    def __init__(self, plane: ControlPlane, state: ClusterState, applied: Applied) -> None:
        self._plane, self.state, self._applied = plane, state, applied

    def make(self, pod: str, *, ready: bool) -> None:
        old = self.state
        set_ready(self._plane, pod, ready=ready)
        self._plane.reconcile()
        self.state = self._plane.snapshot()
        apply(plan_change(old, self.state), self._applied)


def set_ready(plane: ControlPlane, name: str, *, ready: bool) -> None:
    """Writes the Ready condition of a Pod, as its kubelet does."""
    stored = plane.store.get(Key("Pod", "default", name))
    assert stored is not None  # noqa: S101 - for the type: the cluster has it
    pod: Pod = stored.object
    condition = PodCondition(type="Ready", status=str(ready))
    plane.store.update(replace(pod, status=replace(pod.status, conditions=(condition,))))
