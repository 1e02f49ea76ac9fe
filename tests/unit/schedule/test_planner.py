"""Tests the order of a cluster's plan."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, permutations

import pytest

from emulator.cluster.state import ClusterState
from emulator.controllers.plane import ControlPlane
from emulator.objects.kinds import Node, ObjectMeta, Pod, PodCondition, PodIP
from emulator.plan.operations import AddBridge, AddVeth, ChangeRules
from emulator.podnet import podnet_rules
from emulator.proxy.planner import ProxyPlanner
from emulator.schedule import planner
from emulator.schedule.planner import plan_cluster
from emulator.store.objects import Key
from tests.sandboxed import TOPOLOGIES, scenario_of
from tests.unit.controllers.clusters import cluster, inventory_of, pod, service, settled


def test_a_node_has_its_eth0_before_its_bridge() -> None:
    """Orders the links: MASQUERADE takes the address of a node's first interface for packets that leave by
    lo.
    """
    state = settled(cluster("{role: worker}"), pod("a", spec="nodeName: worker-1"))
    made = [
        op.peer if isinstance(op, AddVeth) and op.netns == "switch" else op.name
        for op in plan_cluster(state).operations
        if isinstance(op, (AddBridge, AddVeth)) and "worker-1" in (op.netns, getattr(op, "peer_netns", ""))
    ]
    assert made[:2] == ["eth0", "cbr0"], made


# --- changes ----------------------------------------------------------------------------------------------

SHIPPED = sorted(
    {path.name.removesuffix(path.suffix) for path in TOPOLOGIES.iterdir() if path.name[0] not in "_."}
)


@pytest.mark.parametrize("name", SHIPPED)
def test_states_with_one_network_plan_the_same_network(name: str) -> None:
    states = [moment.state for moment in scenario_of(name).moments]
    states.append(replace(states[0], pods=tuple(map(unready, states[0].pods))))
    for old, new in permutations(states, 2):
        if planner._have_one_network(old, new):
            assert [*planner.plan_networks(old)] == [*planner.plan_networks(new)]
            assert all(podnet_rules(old, node) == podnet_rules(new, node) for node in new.node)
    assert planner._have_one_network(states[0], states[-1]) is not bool(states[0].balancerIP)


def unready(pod: Pod) -> Pod:
    condition = PodCondition(type="Ready", status="False")
    return replace(pod, status=replace(pod.status, conditions=(condition,)))


def another(state: ClusterState, *, pod: Pod | None = None, node: Node | None = None) -> ClusterState:
    pods = (pod, *state.pods[1:]) if pod else state.pods
    return replace(state, pods=pods, nodes=(*state.nodes, node) if node else state.nodes)


def test_states_with_another_machine_or_address_have_not_one_network() -> None:
    state = settled(cluster("{role: worker}"), pod("a"), pod("b"))
    first = state.pods[0]
    moved = replace(first, spec=replace(first.spec, nodeName="elsewhere"))
    renamed = replace(first, metadata=replace(first.metadata, name="z"))
    other = replace(first, status=replace(first.status, podIPs=(PodIP(ip="10.244.0.77"),)))
    for changed in (moved, renamed, other):
        assert not planner._have_one_network(state, another(state, pod=changed))
    joined = replace(state.nodes[0], metadata=ObjectMeta(name="new"))
    assert not planner._have_one_network(state, another(state, node=joined))
    assert not planner._have_one_network(state, replace(state, pods=state.pods[1:]))
    assert not planner._have_one_network(state, replace(state, clients=()))
    assert not planner._have_one_network(state, replace(state, balancerIP="172.18.0.9"))


def test_a_change_of_readiness_plans_rules_alone() -> None:
    web = service("web", "selector: {app: web}, ports: [{port: 80}]")
    pods = [pod(name, labels="app: web", ports="{containerPort: 80}") for name in "ab"]
    plane = ControlPlane(inventory_of(cluster("{role: worker}"), web, *pods), proxy_mode="nftables")
    plane.reconcile()
    old = plane.snapshot()
    stored = plane.store.get(Key("Pod", "default", "a"))
    assert stored is not None
    plane.store.update(unready(stored.object))
    plane.reconcile()
    new = plane.snapshot()
    change = planner.plan_change(old, new)
    assert {(type(op), op.netns) for op in change.operations} == {
        (ChangeRules, node.name) for node in new.nodes
    }
    before, after = (chain(planner.plan_networks(state)) for state in (old, new))
    assert planner._plan_change(old, new, before, after, ProxyPlanner()) == change
