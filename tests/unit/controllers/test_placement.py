"""Tests the choice of a Pod's node."""

from __future__ import annotations

from collections import Counter

import pytest

from emulator.controllers.placement import tolerates
from emulator.objects.kinds import Taint, Toleration
from emulator.objects.warnings import Code
from tests.told import told
from tests.unit.controllers.clusters import (
    cluster,
    node,
    pod,
    service,
    settled,
    users_pods,
    workload,
)


def test_replicas_spread_evenly_and_each_owner_for_itself() -> None:
    state = settled(
        cluster("{role: control-plane}, {role: worker}, {role: worker}, {role: worker}"),
        workload("Deployment", "web", 4),
        workload("Deployment", "api", 2),
    )
    web = Counter(p.spec.nodeName for p in users_pods(state) if p.name.startswith("web"))
    everything = Counter(p.spec.nodeName for p in users_pods(state))
    assert sorted(web.values()) == [1, 1, 2]
    assert sorted(everything.values()) == [2, 2, 2]


def test_pods_without_owner_fill_the_emptiest_node() -> None:
    state = settled(
        pod("pinned", spec="nodeName: worker-1"),
        pod("a"),
        pod("b"),
        cluster("{role: control-plane}, {role: worker}, {role: worker}"),
    )
    assert [p.spec.nodeName for p in users_pods(state)] == ["worker-1", "worker-2", "worker-1"]


def test_node_selector() -> None:
    state = settled(node("a"), node("b", labels="disk: ssd"), pod("p", spec="nodeSelector: {disk: ssd}"))
    assert state.pod["default/p"].spec.nodeName == "b"


def test_a_named_node_bypasses_taints() -> None:
    assert settled(pod("p", spec="nodeName: control-plane")).pod["default/p"].spec.nodeName == "control-plane"


def test_a_toleration_opens_the_control_plane() -> None:
    tolerant = "tolerations: [{operator: Exists}], nodeSelector: {node-role.kubernetes.io/control-plane: ''}"
    assert settled(pod("p", spec=tolerant)).pod["default/p"].spec.nodeName == "control-plane"


def test_host_network_pods_avoid_each_others_ports() -> None:
    hosts = [pod(n, ports="{containerPort: 80}", spec="hostNetwork: true") for n in "ab"]
    state = settled(*hosts, cluster("{role: control-plane}, {role: worker}, {role: worker}"))
    assert {p.spec.nodeName for p in users_pods(state)} == {"worker-1", "worker-2"}
    assert state.pod["default/a"].ip == "172.18.0.3"


def waits(*manifests: str) -> dict[str, str]:
    """Returns why each Pod waits, of a cluster that settles all the same."""
    state = settled(*manifests)
    assert not {row.pod.key for row in state.waiting} & set(state.pod)
    assert all(row.reason[:40] in "\n".join(told(state)) for row in state.waiting)
    return {row.pod.key: row.reason for row in state.waiting}


HOST_80 = pod("%s", ports="{containerPort: 80}", spec="hostNetwork: true, nodeName: worker-1")
HOST_PORT_TWICE = workload("Deployment", "p", 2).replace("{containers", "{hostNetwork: true, containers")
ONE = cluster("{role: control-plane}, {role: worker}")


@pytest.mark.parametrize(
    ("manifests", "reasons"),
    [
        pytest.param(
            [ONE, pod("p", spec="nodeName: worker-9")],
            ["it is bound to node worker-9, which is not there (did you mean worker-1?)"],
            id="bound to a node that is not there",
        ),
        pytest.param(
            [pod("p", spec="nodeSelector: {disk: ssd}")],
            [
                "0/3 nodes are available: 2 node(s) didn't match Pod's node affinity/selector, "
                "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: } (hint: "
                "label a node disk=ssd)"
            ],
            id="no node matches",
        ),
        pytest.param(
            [pod("p", spec="nodeSelector: {kubernetes.io/os: linux, ingress-ready: 'true'}")],
            [
                "0/3 nodes are available: 2 node(s) didn't match Pod's node affinity/selector, "
                "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: } (hint: "
                "label a node ingress-ready=true)"
            ],
            id="no node matches, and each has one of the labels",
        ),
        pytest.param(
            [node("n", spec="unschedulable: true"), pod("p")],
            ["0/1 nodes are available: 1 node(s) were unschedulable"],
            id="cordoned",
        ),
        pytest.param(
            [node("n").replace("status: {", "status: {allocatable: {pods: '1'}, "), pod("p"), pod("q")],
            ["0/1 nodes are available: 1 node(s) had too many pods"],
            id="a node that is full",
        ),
        pytest.param(
            [HOST_80 % "p", HOST_80 % "q"],
            ["host port 80/TCP of node worker-1 is taken by Pod default/p: its kubelet refuses it"],
            id="a port of the host twice",
        ),
        pytest.param(
            [cluster("{role: worker}"), HOST_PORT_TWICE],
            ["0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports"],
            id="more host ports than nodes",
        ),
        pytest.param(
            [cluster("{role: worker}"), *(pod(n, ports="{containerPort: 80, hostPort: 8080}") for n in "ab")],
            ["0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports"],
            id="one hostPort twice",
        ),
        pytest.param(
            [pod("p", spec="schedulingGates: [{name: example.org/quota}]")],
            ["Scheduling is blocked due to non-empty scheduling gates"],
            id="a scheduling gate",
        ),
    ],
)
def test_pods_that_no_node_runs_wait_and_refuse_nothing(manifests: list[str], reasons: list[str]) -> None:
    assert [*waits(*manifests).values()] == reasons


def test_host_ports_of_different_addresses_do_not_meet() -> None:
    ports = "{containerPort: 80, hostPort: 8080, hostIP: 172.18.0.%d}"
    assert not waits(cluster("{role: worker}"), pod("a", ports=ports % 2), pod("b", ports=ports % 9))
    assert waits(
        cluster("{role: worker}"),
        pod("a", ports=ports % 2),
        pod("b", ports="{containerPort: 80, hostPort: 8080}"),
    )


def test_equal_causes_are_one_notice() -> None:
    state = settled(
        workload("Deployment", "web", 14).replace("containers:", "nodeSelector: {gpu: x}, containers:")
    )
    (notice,) = [notice for notice in told(state) if "runs nowhere" in notice or "run nowhere" in notice]
    assert notice.startswith("14 Pods run nowhere, default/web-")
    assert " and 11 more: 0/3 nodes are available: " in notice
    (one,) = [one for one in state.warnings if one.code is Code.RUNS_NOWHERE]
    assert (one.object, one.file, one.line) == (
        ("Deployment", "default/web", "spec.template.spec"),
        "stdin",
        1,
    )


def test_a_service_of_waiting_pods_alone_has_no_endpoint() -> None:
    state = settled(
        pod("p", "app: p", spec="nodeSelector: {gpu: x}"),
        service("s", "selector: {app: p}, ports: [{port: 80}]"),
    )
    assert [endpoint for item in state.slices_of.get("default/s", ()) for endpoint in item.endpoints] == []


def test_taints_that_only_ask_are_heeded_where_possible() -> None:
    soft = "taints: [{key: k, effect: PreferNoSchedule}]"
    state = settled(node("a", spec=soft), node("b"), pod("p"), pod("q"))
    assert {p.spec.nodeName for p in state.pods} == {"b"}
    assert settled(node("a", spec=soft), pod("p")).pod["default/p"].spec.nodeName == "a"


def test_a_node_that_is_not_ready_is_left_alone() -> None:
    """Has both taints of the node lifecycle controller; Pods tolerate the second for five minutes."""
    taints = [
        f"{{key: node.kubernetes.io/not-ready, effect: {effect}}}" for effect in ("NoSchedule", "NoExecute")
    ]
    assert waits(node("a", spec=f"taints: [{', '.join(taints)}]"), pod("p"))
    assert not waits(node("a", spec=f"taints: [{taints[1]}]"), pod("p"))


TAINT = Taint(key="k", value="v", effect="NoSchedule")


@pytest.mark.parametrize(
    ("toleration", "yes"),
    [
        (Toleration(operator="Exists"), True),
        (Toleration(key="k", operator="Exists"), True),
        (Toleration(key="k", value="v"), True),
        (Toleration(key="k", value="other"), False),
        (Toleration(key="other", operator="Exists"), False),
        (Toleration(key="k", operator="Exists", effect="NoExecute"), False),
        (Toleration(key="k", operator="Exists", effect="NoSchedule"), True),
    ],
    ids=str,
)
def test_tolerations(toleration: Toleration, yes: bool) -> None:
    assert tolerates(toleration, TAINT) is yes
