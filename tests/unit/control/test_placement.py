"""Which node a Pod runs on."""

from __future__ import annotations

from collections import Counter

import pytest

from emulator.control.placement import tolerates
from emulator.objects.kinds import Taint, Toleration
from tests.unit.control.clusters import cluster, node, pod, problem_of, settled, users_pods, workload


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
        pod("pinned", spec="nodeName: worker-1"), pod("a"), pod("b"), cluster("{role: control-plane}, {role: worker}, {role: worker}")
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


HOST_80 = pod("%s", ports="{containerPort: 80}", spec="hostNetwork: true, nodeName: worker-1")


HOST_PORT_TWICE = workload("Deployment", "p", 2).replace("{containers", "{hostNetwork: true, containers")


@pytest.mark.parametrize(
    ("manifests", "path", "parts"),
    [
        pytest.param(
            [pod("p", spec="nodeName: worker-9"), cluster("{role: control-plane}, {role: worker}")],
            "spec.nodeName",
            ["no node worker-9", "worker-1"],
            id="unknown node",
        ),
        pytest.param(
            [pod("p", spec="nodeSelector: {disk: ssd}")],
            "spec.nodeSelector",
            [
                "0/3 nodes",
                "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }",
                "2 node(s) didn't match",
                "disk=ssd",
            ],
            id="no node matches",
        ),
        pytest.param([node("n", spec="unschedulable: true"), pod("p")], "spec", ["0/1 nodes", "unschedulable"], id="cordoned"),
        pytest.param(
            [HOST_80 % "p", HOST_80 % "q"], "spec.hostNetwork", ["80/TCP", "default/q", "default/p"], id="a port of the host twice"
        ),
        pytest.param(
            [cluster("{role: control-plane}, {role: worker}"), HOST_PORT_TWICE],
            "spec.template.spec",
            ["0/2 nodes", "free ports"],
            id="more host ports than nodes",
        ),
    ],
)
def test_mistakes(manifests: list[str], path: str, parts: list[str]) -> None:
    problem = problem_of(*manifests)
    assert problem.path == path
    assert all(part in problem.what + problem.hint for part in parts)


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
