"""The order of a cluster's plan."""

from __future__ import annotations

from emulator.plan.operations import AddBridge, AddVeth
from emulator.schedule.planner import plan_cluster
from tests.unit.controllers.clusters import cluster, pod, settled


def test_a_node_has_its_eth0_before_its_bridge() -> None:
    """MASQUERADE takes the address of a node's first interface for what leaves by lo."""
    state = settled(cluster("{role: worker}"), pod("a", spec="nodeName: worker-1"))
    made = [
        op.peer if isinstance(op, AddVeth) and op.netns == "switch" else op.name
        for op in plan_cluster(state).operations
        if isinstance(op, (AddBridge, AddVeth)) and "worker-1" in (op.netns, getattr(op, "peer_netns", ""))
    ]
    assert made[:2] == ["eth0", "cbr0"], made
