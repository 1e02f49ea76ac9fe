"""Tests all controllers together: the result is complete, and the same for the same seed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState, pod_netns
from emulator.controllers.settle import settle
from emulator.load.load import load
from tests.told import told
from tests.unit.controllers.clusters import (
    cluster,
    inventory_of,
    node,
    pod,
    problem_of,
    problems_of,
    service,
    settled,
    workload,
)

TESTS = Path(__file__).parents[2]
GOLDEN = TESTS / "golden/kube-proxy-v1.30.5/objects.yaml"
DATA = TESTS / "data"


def check_complete(state: ClusterState) -> None:
    """Checks the invariants of ``emulator.cluster.state``."""
    for each in state.nodes:
        assert each.internalIPs
        assert state.podCIDR(each.name)
    for placed in state.pods:
        assert placed.spec.nodeName in state.node
        assert placed.status.podIPs
        assert placed.status.hostIP in state.node[placed.spec.nodeName].internalIPs
    own = [entry.ip for p in state.pods if not p.spec.hostNetwork for entry in p.status.podIPs]
    assert len(own) == len(set(own))
    for each_service in state.services:
        if not each_service.proxied:
            continue
        assert each_service.spec.clusterIPs
        for port in each_service.spec.ports:
            assert port.targetPort is not None
            assert (port.nodePort is not None) is (each_service.spec.type != "ClusterIP")
    assert all(s.serviceName and all(p.port for p in s.ports) for s in state.endpointSlices)
    serving = [(li.netns, li.port, li.protocol) for li in state.listeners if not li.refused]
    assert len(serving) == len(set(serving))
    namespaces = [
        *state.node,
        *state.client,
        "switch",
        "router",
        *(pod_netns(p) for p in state.pods if not p.spec.hostNetwork),
    ]
    assert len(namespaces) == len(set(namespaces))


@settings(max_examples=25, deadline=None)
@given(
    workers=st.integers(1, 4),
    workloads=st.lists(
        st.tuples(
            st.sampled_from(["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"]), st.integers(0, 5)
        ),
        max_size=4,
    ),
    types=st.lists(st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]), max_size=5),
    seed=st.integers(0, 2**32),
)
def test_every_state_is_complete_and_repeats(
    workers: int, workloads: list[tuple[str, int]], types: list[str], seed: int
) -> None:
    manifests = [
        cluster(", ".join(["{role: control-plane}", *["{role: worker}"] * workers])),
        *(
            workload(kind, f"w{i}", None if kind == "DaemonSet" else count)
            for i, (kind, count) in enumerate(workloads)
        ),
        *(
            service(f"s{i}", f"type: {type_}, selector: {{app: w{i}}}, ports: [{{port: 80}}]")
            for i, type_ in enumerate(types)
        ),
    ]
    state = settled(*manifests, seed=seed)
    check_complete(state)
    assert state == settled(*manifests, seed=seed)


def test_every_mistake_at_once_with_its_place() -> None:
    found = problems_of(
        cluster("{role: control-plane}, {role: worker}"),
        pod("a", status="podIP: 127.0.0.1"),
        service("s", "clusterIP: 10.96.0.1, ports: [{port: 80}]"),
        pod("b", status="podIP: 224.0.0.2"),
    )
    assert {(p.file, p.document, p.path) for p in found} == {
        ("stdin", 2, "status.podIP"),
        ("stdin", 3, "spec.clusterIP"),
        ("stdin", 4, "status.podIP"),
    }


def test_items_of_a_list_keep_their_path() -> None:
    items = f"{{apiVersion: v1, kind: List, items: [{pod('a')}, {pod('b', status='podIP: 127.0.0.1')}]}}"
    problem = problem_of(cluster("{role: control-plane}, {role: worker}"), items)
    assert problem.path == "items[1].status.podIP"


# --- external clients -------------------------------------------------------------------------------------


def clients(*rows: str) -> str:
    return f"{{apiVersion: podwire.dev/v1alpha1, kind: Cluster, externalClients: [{', '.join(rows)}]}}"


def test_a_client_is_there_by_default() -> None:
    assert [(c.name, c.address) for c in settled(pod("a")).clients] == [("client-1", "203.0.113.10")]
    assert [c.name for c in settled(clients("{name: ann, address: 198.51.100.1}")).clients] == ["ann"]


def behind(*ranges: str, name: str = "web", kind: str = "LoadBalancer") -> str:
    """Returns a Service whose load balancer lets in ``ranges`` alone."""
    spec = f"type: {kind}, ports: [{{port: 80}}], loadBalancerSourceRanges: [{', '.join(ranges)}]"
    return f"{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{{spec}}}}}"


@pytest.mark.parametrize(
    ("documents", "addresses"),
    [
        pytest.param([behind()], [], id="no ranges"),
        pytest.param([behind("203.0.113.0/24")], ["198.51.100.10"], id="the first client is inside"),
        pytest.param([behind("198.51.100.0/24")], ["198.51.100.10"], id="the first client is outside"),
        pytest.param([behind("198.51.100.64/26")], ["198.51.100.65"], id="a part of a documentation network"),
        pytest.param([behind("130.211.204.1/32")], ["130.211.204.1"], id="one address of the world"),
        pytest.param([behind("10.0.0.0/8")], ["10.0.0.1"], id="a private network, without the cluster's own"),
        pytest.param([behind("10.244.0.0/15")], ["10.245.0.1"], id="what the cluster leaves of it"),
        pytest.param([behind("10.244.0.0/16")], [], id="the cluster's own alone"),
        pytest.param([behind("0.0.0.0/0")], [], id="everybody"),
        pytest.param([behind("0.0.0.0/1", "192.0.0.0/2")], ["128.0.0.1"], id="all documentation networks"),
        pytest.param([behind("2001:db8::/32")], [], id="IPv6 ranges"),
        pytest.param(
            [behind("198.51.100.0/24"), behind("192.0.2.0/24", name="b")],
            ["198.51.100.10", "192.0.2.10"],
            id="two Services",
        ),
        pytest.param(
            [behind("198.51.100.0/24"), behind("198.51.100.0/28", name="b")],
            ["198.51.100.10"],
            id="one client for both",
        ),
    ],
)
def test_clients_inside_and_outside_the_source_ranges(documents: list[str], addresses: list[str]) -> None:
    made = [(client.name, client.address) for client in settled(*documents).clients]
    assert made == [(f"client-{n}", ip) for n, ip in enumerate(["203.0.113.10", *addresses], 1)]


def test_no_second_client_where_clients_were_declared() -> None:
    declared = clients("{name: ann, address: 192.0.2.1}")
    assert [c.name for c in settled(behind("198.51.100.0/24"), declared).clients] == ["ann"]


def test_no_second_client_where_a_flow_check_names_its_own() -> None:
    flow = "{name: f, from: {external: client-1}, to: {pod: a}, protocol: ICMP}"
    check = (
        f"{{apiVersion: podwire.dev/v1alpha1, kind: FlowCheck, metadata: {{name: f}}, spec: {{flows: "
        f"[{flow}]}}}}"
    )
    assert [c.name for c in settled(behind("198.51.100.0/24"), pod("a"), check).clients] == ["client-1"]


def test_a_second_client_takes_neither_an_address_nor_a_name_that_somebody_has() -> None:
    service = behind("198.51.100.0/24").replace("type:", "externalIPs: [198.51.100.10], type:")
    addresses = "{type: InternalIP, address: 172.18.0.9}, {type: InternalIP, address: 198.51.100.1}"
    node = (
        f"{{apiVersion: v1, kind: Node, metadata: {{name: client-2}}, status: {{addresses: [{addresses}]}}}}"
    )
    assert [(c.name, c.address) for c in settled(service, node).clients][1:] == [("client-3", "198.51.100.2")]


@pytest.mark.parametrize(
    ("row", "path", "part"),
    [
        ("{name: c, address: 10.244.7.7}", "externalClients[0].address", "podSubnet"),
        ("{name: c, address: 10.96.7.7}", "externalClients[0].address", "serviceSubnet"),
        ("{name: c, address: 172.18.7.7}", "externalClients[0].address", "hostSubnet"),
        ("{name: worker-1, address: 198.51.100.1}", "externalClients[0].name", "node worker-1"),
        ("{name: switch, address: 198.51.100.1}", "externalClients[0].name", "switch"),
    ],
)
def test_mistakes_in_clients(row: str, path: str, part: str) -> None:
    problem = problem_of(clients(row))
    assert problem.path == path
    assert part in problem.what


def test_a_client_with_a_nodes_second_address() -> None:
    addresses = "{type: InternalIP, address: 172.18.0.9}, {type: InternalIP, address: 198.51.100.1}"
    two = f"{{apiVersion: v1, kind: Node, metadata: {{name: n}}, status: {{addresses: [{addresses}]}}}}"
    assert "node n" in problem_of(two, clients("{name: c, address: 198.51.100.1}")).what


def test_a_node_may_not_be_called_router() -> None:
    assert problem_of(node("router")).path == "metadata.name"


# --- kube-proxy's settings --------------------------------------------------------------------------------


def proxy(fields: str) -> str:
    return f"{{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, {fields}}}"


@pytest.mark.parametrize(
    ("fields", "mode_and_cidr"),
    [
        ("mode: iptables", ("ClusterCIDR", "10.244.0.0/16")),
        ("clusterCIDR: 10.0.0.0/8", ("ClusterCIDR", "10.0.0.0/8")),
        ("clusterCIDR: ''", ("", "")),
        ("detectLocalMode: ClusterCIDR, clusterCIDR: ''", ("", "")),
        ("detectLocalMode: NodeCIDR", ("NodeCIDR", "")),
        ("detectLocalMode: BridgeInterface, clusterCIDR: ''", ("BridgeInterface", "")),
        ("detectLocalMode: InterfaceNamePrefix", ("InterfaceNamePrefix", "")),
    ],
)
def test_local_traffic_detection(fields: str, mode_and_cidr: tuple[str, str]) -> None:
    found = settled(proxy(fields)).proxy
    assert (found.localMode, found.clusterCIDR) == mode_and_cidr


def test_proxy_settings_are_passed_on() -> None:
    found = settled(
        proxy(
            "nodePortAddresses: [172.18.0.0/16], iptables: {masqueradeAll: true, localhostNodePorts: false}"
        )
    ).proxy
    assert (found.nodePortAddresses, found.masqueradeAll, found.localhostNodePorts) == (
        ("172.18.0.0/16",),
        True,
        False,
    )


@pytest.mark.parametrize(
    ("ipvs", "scheduler"),
    [("", "rr"), ("scheduler: ''", "rr"), *((f"scheduler: {s}", s) for s in ("rr", "wrr", "lc", "sh"))],
)
def test_scheduler_of_ipvs_mode(ipvs: str, scheduler: str) -> None:
    assert settled(proxy(f"mode: ipvs, ipvs: {{{ipvs}}}")).proxy.scheduler == scheduler


@pytest.mark.parametrize(
    ("mode", "masquerade_all"), [("iptables", False), ("nftables", True), ("ipvs", False)]
)
def test_masquerade_all_is_said_for_nftables_apart(mode: str, masquerade_all: bool) -> None:
    assert (
        settled(proxy(f"mode: {mode}, nftables: {{masqueradeAll: true}}")).proxy.masqueradeAll
        is masquerade_all
    )


def test_who_decides_the_proxy_mode() -> None:
    shape, config = cluster(kubeProxyMode="ipvs"), proxy("mode: nftables")
    assert settled(pod("a")).proxy.mode == "iptables"
    assert settled(shape).proxy.mode == "ipvs"
    both = settled(shape, config)
    assert both.proxy.mode == "nftables"
    assert any("nftables" in notice and "ipvs" in notice for notice in told(both))
    assert settled(shape, config, proxy_mode="userspace").proxy.mode == "userspace"


# --- manifests in the form that users have them in -------------------------------------------------------


@pytest.mark.parametrize("file", sorted(DATA.glob("*.yaml")), ids=lambda path: path.stem)
def test_foreign_manifests_settle(file: Path) -> None:
    check_complete(settle(load([str(file)], topologies=Path("no-topologies"))))


def test_a_dump_replays_with_its_own_addresses() -> None:
    inventory = load([str(DATA / "kind-dump.yaml")], topologies=Path("no-topologies"))
    state = settle(inventory)
    running = [
        loaded.object
        for loaded in inventory.pods
        if loaded.object.status.phase not in ("Succeeded", "Failed")
    ]
    assert {p.key: (p.spec.nodeName, p.ip) for p in state.pods} == {
        p.key: (p.spec.nodeName, p.ip) for p in running
    }
    assert {n.name: (n.internalIPs, n.spec) for n in state.nodes} == {
        loaded.object.name: (loaded.object.internalIPs, loaded.object.spec) for loaded in inventory.nodes
    }
    assert [s.spec for s in state.services] == [loaded.object.spec for loaded in inventory.services]
    assert list(state.endpointSlices) == [loaded.object for loaded in inventory.endpointSlices]


def test_golden_objects_settle_unchanged() -> None:
    inventory = load([str(GOLDEN)], topologies=Path("no-topologies"))
    state = settle(inventory)
    assert state.node["worker-1"].internalIPs == ("172.18.0.3",)
    assert state.podCIDR("worker-1") == "10.244.1.0/24"
    for loaded in inventory.services:
        found = state.service[loaded.object.key]
        assert found.spec == loaded.object.spec
        assert found.status == loaded.object.status
    given = sorted(
        (s.object for s in inventory.endpointSlices),
        key=lambda item: (item.metadata.namespace, item.metadata.name),
    )
    assert given == [item for item in state.endpointSlices if item.serviceName != "kubernetes"]


def test_an_inventory_is_not_changed() -> None:
    text = "\n---\n".join(
        [workload("Deployment", "web", 2), service("web", "selector: {app: web}, ports: [{port: 80}]")]
    )
    inventory = inventory_of(text)
    settle(inventory)
    assert inventory == load(["-"], topologies=Path("no-topologies"), stdin=io.StringIO(text))
