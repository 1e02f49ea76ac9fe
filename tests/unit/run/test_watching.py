"""Tests what is told of a kernel's new state."""

from __future__ import annotations

from dataclasses import replace

from emulator.cluster.state import Program
from emulator.run.watching import tell_kernel
from tests.unit.states import make_service, make_state


def test_pods_and_rules_of_the_kernel() -> None:
    old = make_state(make_service())
    fewer = replace(old, pods=old.pods[1:])
    gone = old.pods[0].key
    assert tell_kernel(old, fewer) == [("Pod", gone, "network down")]
    assert tell_kernel(fewer, old) == [("Pod", gone, "network up")]
    other = replace(old, services=())
    assert tell_kernel(old, other) == [("kube-proxy", "", "rules synced on 3 nodes")]
    real = replace(other, proxy=replace(other.proxy, program=Program("/kube-proxy", "v1.37.2")))
    assert tell_kernel(old, real) == [("kube-proxy", "", "told on 3 nodes")]
