"""Tests the shipped topologies and users' manifests: they load, their contents, and their number."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from emulator.cluster.state import ClusterState
from emulator.controllers.settle import settle
from emulator.flows.derive import derive_flows
from emulator.load.load import load
from emulator.load.targets import describe_topologies
from emulator.model.flows import FlowKind
from tests.told import noticed, told

ROOT = Path(__file__).parents[2]
TOPOLOGIES = ROOT / "topologies"
DATA = ROOT / "tests" / "data"
NAMES = [name for name, _ in describe_topologies(TOPOLOGIES)]


def _state(*targets: str) -> ClusterState:
    return settle(load(targets, topologies=TOPOLOGIES))


def _namespaces(state: ClusterState) -> int:
    own = sum(not pod.spec.hostNetwork for pod in state.pods)
    return 2 + len(state.nodes) + len(state.clients) + own  # 2: the switch and the router


def _kinds(state: ClusterState) -> Counter[FlowKind]:
    return Counter(flow.kind for flow in derive_flows(state) if not flow.control)


@pytest.mark.parametrize(("name", "question"), describe_topologies(TOPOLOGIES))
def test_topology_asks_one_question(name: str, question: str) -> None:
    assert question.endswith("?")
    assert question.count("?") == 1


@pytest.mark.parametrize("name", NAMES)
def test_topology_loads_without_notices(name: str) -> None:
    assert told(_state(name)) == ()


@pytest.mark.parametrize("name", NAMES)
def test_topology_is_small(name: str) -> None:
    assert _namespaces(_state(name)) <= 14


def test_default_topology_has_every_kind_of_communication() -> None:
    kinds = _kinds(_state("three-networks"))
    assert {"container-to-container", "pod-to-pod", "pod-to-service", "external-to-service"} <= set(kinds)
    assert {"node-to-service", "node-to-pod", "pod-to-node"} <= set(kinds)


def test_default_topology_stays_quick() -> None:
    state = _state("three-networks")
    assert _namespaces(state) <= 12
    assert len(derive_flows(state)) <= 80


def test_three_tiers_have_endpoints_behind_every_service() -> None:
    state = _state("three-tier")
    reached = {
        key: sum(len(s.endpoints) for s in slices)
        for key, slices in state.slices_of.items()
        if key.startswith("shop/")
    }
    assert reached == {"shop/api": 2, "shop/cache": 1, "shop/frontend": 2, "shop/log-agent": 2}


def test_guestbook() -> None:
    state = _state(str(DATA / "guestbook.yaml"))
    owners = Counter(
        pod.metadata.labels.get("role", "frontend") for pod in state.pods if pod.namespace == "default"
    )
    assert owners == {"leader": 1, "follower": 2, "frontend": 3}
    assert state.service["default/frontend"].spec.ports[0].nodePort
    assert all(slices[0].endpoints for slices in state.slices_of.values())


def test_shop_leaves_out_what_has_no_network() -> None:
    state = _state(str(DATA / "shop.yaml"))
    [line] = noticed(state)
    assert "9 ServiceAccount" in line
    assert len([s for s in state.services if s.namespace == "teashop" and s.proxied]) == 12
    assert state.slices_of["teashop/email"][0].ports[0].port == 8080, (
        "targetPort by name: Service 5000, container 8080"
    )


def test_dump_keeps_the_addresses_that_it_carries() -> None:
    state = _state(str(DATA / "kind-dump.yaml"))
    assert {n.name: n.internalIPs for n in state.nodes} == {
        "kind-control-plane": ("172.18.0.3",),
        "kind-worker": ("172.18.0.2",),
        "kind-worker2": ("172.18.0.4",),
    }
    assert state.pod["default/web-7c5ddbdf54-9mz8w"].ip == "10.244.2.3"
    assert state.service["default/web"].spec.clusterIP == "10.96.45.130"
    assert state.service["default/web"].spec.ports[0].nodePort == 31380
    assert state.slices_of["default/web"][0].metadata.name == "web-h6c9w"


def test_dump_makes_no_pod_twice_and_leaves_out_what_ended() -> None:
    state = _state(str(DATA / "kind-dump.yaml"))
    dumped = [pod.key for pod in state.pods]
    assert len(dumped) == len(set(dumped)) == 19
    assert "data/migrate-28xkp" not in dumped


def test_kind_config_gives_its_shape_to_manifests() -> None:
    state = _state(str(DATA / "kind-config.yaml"), str(DATA / "guestbook.yaml"))
    assert [n.metadata.labels.get("topology.kubernetes.io/zone") for n in state.nodes] == [None, "a", "b"]
    assert all(state.podCIDR(n.name).startswith("10.20.") for n in state.nodes)
    assert state.service["default/frontend"].spec.clusterIP.startswith("10.30.")
