"""Tests Pod addresses."""

from __future__ import annotations

import pytest

from tests.told import told
from tests.unit.controllers.clusters import (
    cluster,
    node,
    pod,
    problem_of,
    settled,
    users_pods,
    workload,
)

CALICO_PATH = 'metadata.annotations["cni.projectcalico.org/ipAddrs"]'
CALICO = """annotations: {cni.projectcalico.org/ipAddrs: '%s'}"""
ONE = cluster("{role: control-plane}, {role: worker}")
HERE = "nodeName: worker-1"


def test_host_local_order_skips_pinned_addresses() -> None:
    state = settled(ONE, pod("a"), pod("b", status="podIP: 10.244.1.3"), pod("c"), pod("d"))
    assert [p.ip for p in users_pods(state)] == ["10.244.1.2", "10.244.1.3", "10.244.1.4", "10.244.1.5"]


@pytest.mark.parametrize(
    "pinned",
    [
        pytest.param(pod("p", spec=HERE, status="podIP: 192.168.5.5"), id="podIP"),
        pytest.param(
            pod("p", spec=HERE, status="podIP: 192.168.5.5, podIPs: [{ip: 192.168.5.5}, {ip: 'fd00::5'}]"),
            id="podIPs",
        ),
        pytest.param(pod("p", spec=HERE, meta=CALICO % '["192.168.5.5"]'), id="Calico"),
    ],
)
def test_pinned_addresses_may_lie_outside_the_podcidr(pinned: str) -> None:
    state = settled(ONE, pinned, pod("other"))
    placed = state.pod["default/p"]
    assert (placed.ip, [entry.ip for entry in placed.status.podIPs]) == ("192.168.5.5", ["192.168.5.5"])
    assert (placed.status.hostIP, placed.status.phase) == ("172.18.0.3", "Running")


def test_ipv6_addresses_are_left_out_with_a_notice() -> None:
    state = settled(
        ONE, pod("p", spec=HERE, status="podIPs: [{ip: 'fd00::5'}, {ip: 10.244.1.9}], podIP: 'fd00::5'")
    )
    assert state.pod["default/p"].ip == "10.244.1.9"
    assert any("IPv6" in notice for notice in told(state))


@pytest.mark.parametrize("status", ["podIPs: [{ip: 'fd00::5'}]", "podIP: 'fd00::5'"])
def test_a_pod_of_ipv6_addresses_alone_gets_none_of_ipv4(status: str) -> None:
    state = settled(ONE, pod("p", spec=HERE, status=status), pod("other"))
    assert [p.key for p in state.pods if not p.spec.hostNetwork] == ["default/other"]
    assert any("Pod default/p runs nowhere: it has IPv6 addresses alone" in n for n in told(state))


@pytest.mark.parametrize("order", [1, -1])
def test_an_address_is_the_running_pods_not_that_of_one_that_is_deleted(order: int) -> None:
    old = pod("old", meta="deletionTimestamp: '2024-01-01T00:00:00Z'", status="podIP: 10.244.1.9")
    state = settled(ONE, *[old, pod("new", status="podIP: 10.244.1.9")][::order])
    assert {p.key: p.ip for p in state.pods if not p.spec.hostNetwork} == {"default/new": "10.244.1.9"}
    assert any("Pod default/new has its address 10.244.1.9" in notice for notice in told(state))


UNREADY = "conditions: [{type: Ready, status: 'False'}]"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("", "", "is newer"),
        (UNREADY, "", "is ready"),
        (f"phase: Running, {UNREADY}", f"phase: Running, {UNREADY}", "is newer"),
    ],
)
def test_of_two_pods_of_a_dump_with_one_address_one_has_it(old: str, new: str, why: str, order: int) -> None:
    """Takes a node that has restarted, and whose kubelet has not yet reported its Pods."""
    pods = [
        pod(
            "old",
            meta="uid: a, creationTimestamp: '2026-01-01T00:00:00Z'",
            status=f"podIP: 10.244.1.9, {old}",
        ),
        pod(
            "new",
            meta="uid: b, creationTimestamp: '2026-02-01T00:00:00Z'",
            status=f"podIP: 10.244.1.9, {new}",
        ),
    ]
    state = settled(ONE, *pods[::order])
    assert [p.key for p in state.pods if not p.spec.hostNetwork] == ["default/new"]
    said = f"Pod default/old runs nowhere: Pod default/new has its address 10.244.1.9 as well, and {why}"
    assert any(said in notice for notice in told(state))


def test_of_two_pods_of_one_address_that_nothing_tells_apart_the_first_has_it() -> None:
    pods = [pod(name, meta=f"uid: {name}", status="podIP: 10.244.1.9") for name in ("b", "a")]
    state = settled(ONE, *pods)
    assert [p.key for p in state.pods if not p.spec.hostNetwork] == ["default/b"]
    assert any("Pod default/b has its address 10.244.1.9 as well, and comes first" in n for n in told(state))


@pytest.mark.parametrize("meta", ["", "uid: b"])
def test_an_address_that_is_written_twice_by_hand_is_a_mistake(meta: str) -> None:
    one, other = (pod(name, meta=m, status="podIP: 10.244.1.9") for name, m in (("a", ""), ("b", meta)))
    assert "10.244.1.9 of Pod default/b belongs to Pod default/a already" in problem_of(ONE, one, other).what


def test_a_pod_that_is_deleted_keeps_the_address_that_it_alone_has() -> None:
    old = pod("old", meta="deletionTimestamp: '2024-01-01T00:00:00Z'", status="podIP: 10.244.1.9")
    assert settled(ONE, old).pod["default/old"].ip == "10.244.1.9"


def test_host_network_pods_of_a_dump_have_their_nodes_address() -> None:
    state = settled(
        node("n", "172.18.0.9"),
        pod("p", spec="nodeName: n, hostNetwork: true", status="podIP: 172.18.0.9, hostIP: 172.18.0.9"),
    )
    assert state.pod["default/p"].ip == "172.18.0.9"


@pytest.mark.parametrize(
    ("manifests", "path", "part"),
    [
        pytest.param(
            [pod("p", status="podIP: 10.244.1.9"), pod("q", status="podIP: 10.244.1.9")],
            "status.podIP",
            "Pod default/p",
            id="another Pod's",
        ),
        pytest.param([pod("p", status="podIP: 172.18.0.3")], "status.podIP", "node worker-1", id="a node's"),
        pytest.param([pod("p", status="podIP: 172.18.0.1")], "status.podIP", "the router", id="the router's"),
        pytest.param([pod("p", status="podIP: 203.0.113.10")], "status.podIP", "client-1", id="a client's"),
        pytest.param(
            [pod("p", status="podIP: 10.244.1.1")], "status.podIP", "bridge of node worker-1", id="a bridge's"
        ),
        pytest.param(
            [pod("p", status="podIP: 10.244.1.255")], "status.podIP", "broadcast", id="the broadcast address"
        ),
        pytest.param(
            [pod("p", status="podIP: 127.0.0.1")], "status.podIP", "loopback", id="a loopback address"
        ),
        pytest.param(
            [pod("p", status="podIPs: [{ip: 10.96.0.9}]")],
            "status.podIPs[0].ip",
            "serviceSubnet",
            id="a Service's",
        ),
        pytest.param([pod("p", meta=CALICO % "10.244.1.9")], CALICO_PATH, "JSON", id="no JSON"),
        pytest.param([pod("p", meta=CALICO % "[1]")], CALICO_PATH, "JSON", id="no strings"),
        pytest.param([pod("p", meta=CALICO % '["ten"]')], CALICO_PATH, "'ten'", id="no address"),
        pytest.param(
            [workload("Deployment", "w", 2, template=CALICO % '["10.244.1.9"]')],
            f"spec.template.{CALICO_PATH}",
            "already",
            id="replicas share a pinned address",
        ),
    ],
)
def test_mistakes(manifests: list[str], path: str, part: str) -> None:
    unpinned = pod("z")  # so that the pinned addresses are wishes, not those of a dump
    problem = problem_of(ONE, unpinned, *manifests)
    assert problem.path == path
    assert part in problem.what


def test_a_full_node_is_said_once() -> None:
    elsewhere = node("m", cidr="10.244.1.0/24")
    crowded = workload("Deployment", "w", 9).replace("containers:", "nodeName: n, containers:")
    problem = problem_of(node("n", cidr="10.244.0.0/29"), elsewhere, crowded)
    assert "podCIDR 10.244.0.0/29 of node n is full" in problem.what
