"""Tests that the shipped topologies live: they settle, with the Pods that a run would have."""

from __future__ import annotations

import pytest

from emulator.controllers.plane import ControlPlane
from emulator.load.load import load
from tests.sandboxed import TOPOLOGIES
from tests.unit.controllers.apps.living import Living
from tests.unit.controllers.test_plane import SHIPPED


@pytest.mark.parametrize("target", SHIPPED)
def test_a_shipped_topology_lives(target: str) -> None:
    inventory = load([target], topologies=TOPOLOGIES)
    batch = ControlPlane(inventory)
    batch.reconcile()
    living = Living(inventory=inventory)
    living.settle()
    before = living.plane.store.resourceVersion
    living.plane.resync()
    assert living.plane.store.resourceVersion == before
    wanted, pods = batch.snapshot().pods, living.plane.snapshot().pods
    assert sorted(pod.namespace for pod in pods) == sorted(pod.namespace for pod in wanted)
