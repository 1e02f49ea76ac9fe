"""Tests the nodes of a cluster, their names, roles, taints and labels."""

from __future__ import annotations

import pytest

from emulator.controllers.shape import (
    CONTROL_PLANE_LABEL,
    ETCD_LABEL,
    EXCLUDED_LABEL,
    HOSTNAME_LABEL,
    kubelet_labels,
)
from tests.unit.controllers.clusters import (
    cluster,
    flow_check,
    node,
    pod,
    settled,
    users_pods,
    workload,
)

DEFAULT = ["control-plane", "worker-1", "worker-2"]
SLICE = """{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, \
labels: {kubernetes.io/service-name: s}},
addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [10.244.9.9], nodeName: edge}]}"""
BY_NAME = """affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [
{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [disk-1, disk-2]}]}]}}}"""
VIA = flow_check("{name: f, from: {external: client-1}, to: {ip: 10.96.0.1, port: 443}, via: %s}")


@pytest.mark.parametrize(
    ("manifests", "names"),
    [
        pytest.param([pod("a")], DEFAULT, id="nothing said"),
        pytest.param(
            [pod("a", spec="nodeName: node-b"), pod("b", spec="nodeName: node-a")],
            ["control-plane", "node-a", "node-b"],
            id="Pods",
        ),
        pytest.param(
            [pod("a", spec="nodeName: worker-3")],
            ["control-plane", "worker-1", "worker-2", "worker-3"],
            id="a worker's number",
        ),
        pytest.param([pod("a", spec="nodeName: control-plane")], DEFAULT, id="the control plane alone"),
        pytest.param(
            [pod("a", spec="nodeSelector: {kubernetes.io/hostname: rack-7}")],
            ["control-plane", "rack-7"],
            id="nodeSelector",
        ),
        pytest.param(
            [pod("a", spec=BY_NAME)],
            ["control-plane", "disk-1", "disk-2"],
            id="node affinity, as of local volumes",
        ),
        pytest.param([SLICE], ["control-plane", "edge"], id="EndpointSlice"),
        pytest.param([VIA % "worker-2"], DEFAULT, id="a FlowCheck takes no node away"),
        pytest.param(
            [VIA % "edge"], ["control-plane", "edge", "worker-1", "worker-2"], id="a FlowCheck adds a node"
        ),
        pytest.param(
            [pod("a", spec="nodeName: kind-control-plane"), pod("b", spec="nodeName: kind-worker")],
            ["kind-control-plane", "kind-worker"],
            id="a dump of kind without its Nodes",
        ),
        pytest.param(
            [
                pod(
                    "kube-apiserver-minikube",
                    spec="nodeName: minikube, hostNetwork: true",
                    meta="namespace: kube-system",
                )
            ],
            ["minikube"],
            id="a dump of minikube without its Node",
        ),
        pytest.param(
            [
                cluster(
                    "{role: worker}, {role: control-plane}, {role: worker}, {role: control-plane}, "
                    "{role: etcd}"
                )
            ],
            ["worker-1", "control-plane", "worker-2", "control-plane-2", "etcd-1"],
            id="Cluster",
        ),
        pytest.param(
            [cluster("{role: worker}, {role: worker, name: worker-1}")],
            ["worker-2", "worker-1"],
            id="a given name is not made again",
        ),
        pytest.param([node("b"), node("a")], ["b", "a"], id="Node manifests"),
        pytest.param(
            [cluster("{role: control-plane}, {role: worker}"), node("worker-1"), node("x")],
            ["control-plane", "worker-1", "x"],
            id="both",
        ),
    ],
)
def test_node_names(manifests: list[str], names: list[str]) -> None:
    assert [n.name for n in settled(*manifests).nodes] == names


def test_roles_are_labels_and_taints() -> None:
    state = settled(cluster("{role: control-plane}, {role: worker}, {role: etcd}"))
    taints = {n.name: [(t.key, t.effect) for t in n.spec.taints] for n in state.nodes}
    assert taints == {
        "control-plane": [(CONTROL_PLANE_LABEL, "NoSchedule")],
        "worker-1": [],
        "etcd-1": [(ETCD_LABEL, "NoSchedule")],
    }
    roles = {CONTROL_PLANE_LABEL: "", EXCLUDED_LABEL: ""}
    assert state.node["control-plane"].metadata.labels == {**kubelet_labels("control-plane"), **roles}
    assert state.node["etcd-1"].metadata.labels == {**kubelet_labels("etcd-1"), ETCD_LABEL: ""}


@pytest.mark.parametrize(
    "shape",
    [(), (cluster("{role: control-plane}, {role: worker}"),), (node("a"),)],
    ids=["default", "Cluster", "Node"],
)
def test_every_node_has_the_labels_that_its_kubelet_sets(shape: tuple[str, ...]) -> None:
    """Tests what ingress-nginx, MetalLB, Argo CD, kube-prometheus, Calico and older manifests ask for."""
    manifests = shape or (pod("a"),)
    for only in settled(*manifests).nodes:
        labels = only.metadata.labels
        assert (labels["kubernetes.io/os"], labels["beta.kubernetes.io/os"]) == ("linux", "linux")
        assert (
            labels["kubernetes.io/arch"] == labels["beta.kubernetes.io/arch"] not in ("", "x86_64", "aarch64")
        )
        assert labels[HOSTNAME_LABEL] == only.name


@pytest.mark.parametrize("label", ["kubernetes.io/os", "beta.kubernetes.io/os"])
def test_workloads_for_linux_nodes_are_placed(label: str) -> None:
    deployment = workload("Deployment", "web").replace(
        "containers:", f"nodeSelector: {{{label}: linux}}, containers:"
    )
    assert all(placed.spec.nodeName for placed in users_pods(settled(deployment)))


def test_a_node_of_a_live_cluster_keeps_its_labels_exactly() -> None:
    live = node("a", labels="kubernetes.io/os: windows").replace("{name: a,", "{name: a, uid: 5c9e,")
    assert settled(live).nodes[0].metadata.labels == {"kubernetes.io/os": "windows"}


def test_labels_of_a_manifest_go_before_those_of_the_kubelet() -> None:
    assert (
        settled(node("a", labels="kubernetes.io/arch: s390x")).nodes[0].metadata.labels["kubernetes.io/arch"]
        == "s390x"
    )


KIND = """{kind: Cluster, apiVersion: kind.x-k8s.io/v1alpha4, nodes: [{role: control-plane, \
kubeadmConfigPatches:
["{kind: InitConfiguration, nodeRegistration: {kubeletExtraArgs: {node-labels: ingress-ready=true}}}"]}, \
{role: worker}]}"""


def test_the_ingress_of_kinds_documentation_finds_its_node() -> None:
    tolerations = (
        "tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Equal, effect: NoSchedule}]"
    )
    state = settled(
        KIND,
        pod(
            "ingress", spec=f"nodeSelector: {{ingress-ready: 'true', kubernetes.io/os: linux}}, {tolerations}"
        ),
        pod("app"),
    )
    assert {p.name: p.spec.nodeName for p in users_pods(state)} == {
        "ingress": "kind-control-plane",
        "app": "kind-worker",
    }


@pytest.mark.parametrize(
    ("addresses", "ips"),
    [
        pytest.param(
            "{type: ExternalIP, address: 198.51.100.7}, {type: Hostname, address: a}",
            ("198.51.100.7",),
            id="ExternalIP alone",
        ),
        pytest.param(
            "{type: InternalIP, address: 10.0.0.7}, {type: InternalIP, address: 10.0.0.7}",
            ("10.0.0.7",),
            id="one address twice",
        ),
        pytest.param(
            "{type: InternalIP, address: 'fd00::7'}, {type: InternalIP, address: 10.0.0.7}",
            ("10.0.0.7",),
            id="IPv6 first",
        ),
        pytest.param(
            "{type: InternalDNS, address: a.internal}, {type: InternalIP, address: 10.0.0.7}",
            ("10.0.0.7",),
            id="a name first",
        ),
        pytest.param(
            "{type: InternalIP, address: 'fd00::7'}", ("172.18.0.2",), id="IPv6 alone: podwire gives it one"
        ),
    ],
)
def test_the_addresses_of_a_node(addresses: str, ips: tuple[str, ...]) -> None:
    text = f"{{apiVersion: v1, kind: Node, metadata: {{name: a}}, status: {{addresses: [{addresses}]}}}}"
    assert settled(text).nodes[0].internalIPs == ips


def test_a_single_control_plane_takes_pods() -> None:
    state = settled(cluster("{role: control-plane}"), pod("a"))
    assert state.nodes[0].spec.taints == ()
    assert state.pod["default/a"].spec.nodeName == "control-plane"


def test_node_manifests_keep_their_own_taints_and_labels() -> None:
    role = "node-role.kubernetes.io/control-plane: '', kubernetes.io/hostname: other"
    (only,) = settled(node("m", labels=role)).nodes
    assert only.spec.taints == ()
    assert only.metadata.labels[HOSTNAME_LABEL] == "other"


def test_a_node_manifest_completes_the_entry_of_its_name() -> None:
    entry = (
        "{role: worker, name: w, labels: {zone: a, rack: '1'}, podCIDR: 10.244.7.0/24, addresses: "
        "[172.18.0.77]}"
    )
    merged = settled(cluster("{role: control-plane}, " + entry), node("w", labels="zone: b")).node["w"]
    assert {k: merged.metadata.labels[k] for k in ("zone", "rack")} == {"zone": "b", "rack": "1"}
    assert (merged.internalIPs, merged.spec.podCIDRs) == (("172.18.0.77",), ("10.244.7.0/24",))


def test_host_ips_of_pods_address_nodes_that_are_not_in_the_dump() -> None:
    state = settled(pod("a", spec="nodeName: worker-1", status="hostIP: 172.18.0.40, podIP: 10.244.3.9"))
    assert state.node["worker-1"].internalIPs == ("172.18.0.40",)
    assert state.podCIDR("worker-1") == "10.244.3.0/24"
