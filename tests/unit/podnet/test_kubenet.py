"""Plans of the host network and kubenet, as values: what each namespace is given, in which order, and why."""

from __future__ import annotations

from collections import Counter

import pytest

from emulator.cluster.state import (
    BALANCER,
    ROUTER,
    SWITCH,
    ClusterState,
    pod_netns,
)
from emulator.errors import UsageError
from emulator.net import IFNAMSIZ, interface_name, mac_of_ip, mac_of_name
from emulator.plan.operations import (
    AddAddress,
    AddBridge,
    AddNeighbour,
    AddNetns,
    AddRoute,
    AddVeth,
    LoadRules,
    Plan,
    SetSysctl,
)
from emulator.podnet import explain_podnet, podnet_rules
from emulator.schedule.planner import plan_cluster
from tests.sandboxed import SHIPPED, state_of

TWO_PODS = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [{role: control-plane}, {role: worker, name: a-worker-with-a-very-long-name}, {role: worker}]
---
{apiVersion: v1, kind: Pod, metadata: {name: inside}, spec: {nodeName: a-worker-with-a-very-long-name, \
containers: [{name: c}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: pinned, annotations: {cni.projectcalico.org/ipAddrs: '["10.250.0.9"]'}}
spec: {nodeName: a-worker-with-a-very-long-name, containers: [{name: c}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: on-host}, spec: {hostNetwork: true, \
nodeName: a-worker-with-a-very-long-name, containers: [{name: c}]}}
"""
LONG = "a-worker-with-a-very-long-name"


@pytest.fixture(scope="module")
def state() -> ClusterState:
    return state_of(text=TWO_PODS)


@pytest.mark.parametrize("topology", SHIPPED)
def test_every_operation_refers_to_what_was_made_before_and_says_why(topology: str) -> None:
    netns: set[str] = set()
    devices: set[tuple[str, str]] = set()
    for op in plan_cluster(state_of(topology)).operations:
        assert op.why
        if isinstance(op, AddNetns):
            assert op.netns not in netns
            netns.add(op.netns)
            devices.add((op.netns, "lo"))
            continue
        assert op.netns in netns
        if isinstance(op, AddBridge):
            devices.add((op.netns, op.name))
        elif isinstance(op, AddVeth):
            assert op.peer_netns in netns
            for where, name, bridge in (
                (op.netns, op.name, op.bridge),
                (op.peer_netns, op.peer, op.peer_bridge),
            ):
                assert len(name) <= IFNAMSIZ
                assert (where, name) not in devices
                assert not bridge or (where, bridge) in devices
                devices.add((where, name))
        elif isinstance(op, AddAddress | AddRoute):
            assert (op.netns, op.dev) in devices


def test_macs_are_unique_in_a_plan(state: ClusterState) -> None:
    macs = Counter(
        mac
        for op in plan_cluster(state).operations
        if isinstance(op, AddVeth)
        for mac in (op.mac, op.peer_mac)
    )
    assert [mac for mac, count in macs.items() if count > 1] == []
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs), "locally administered, unicast"


def test_a_host_network_pod_has_no_namespace_of_its_own(state: ClusterState) -> None:
    assert set(plan_cluster(state).netns) == {
        SWITCH,
        ROUTER,
        "control-plane",
        LONG,
        "worker-2",
        "client-1",
        "default_inside",
        "default_pinned",
    }


def test_a_pod_outside_its_podcidr_gets_routes_of_its_own(state: ClusterState) -> None:
    plan = plan_cluster(state)
    routes = {
        (op.netns, op.dev, op.via)
        for op in plan.operations
        if isinstance(op, AddRoute) and op.dst == "10.250.0.9/32"
    }
    home = state.node[LONG].internalIPs[0]
    assert routes == {
        (LONG, "cbr0", None),
        ("control-plane", "eth0", home),
        ("worker-2", "eth0", home),
        (ROUTER, "eth0", home),
    }
    default = next(op for op in plan.operations if isinstance(op, AddRoute) and op.netns == "default_pinned")
    assert (default.via, default.onlink) == (state.gateway(LONG), True)
    assert "-s 10.250.0.9/32" in " ".join(podnet_rules(state, LONG).tables["nat"]["POSTROUTING"])


def test_what_stays_in_the_cluster_is_not_masqueraded(state: ClusterState) -> None:
    rules = podnet_rules(state, "worker-2").tables["nat"]
    chain = rules["IP-MASQ-AGENT"]
    assert [rule.split()[1] for rule in chain[:-1]] == [
        "10.244.0.0/16",
        "10.96.0.0/12",
        "172.18.0.0/16",
        "10.250.0.9/32",
    ]
    assert chain[-1].endswith("-j MASQUERADE")


def test_nodes_filter_bridged_packets_and_the_switch_does_not(state: ClusterState) -> None:
    key = "net.bridge.bridge-nf-call-iptables"
    values = {
        op.netns: op.value
        for op in plan_cluster(state).operations
        if isinstance(op, SetSysctl) and op.key == key
    }
    assert values == {SWITCH: "0", "control-plane": "1", LONG: "1", "worker-2": "1"}


def test_each_node_has_one_load_of_rules_and_so_has_the_router(state: ClusterState) -> None:
    loads = Counter(op.netns for op in plan_cluster(state).operations if isinstance(op, LoadRules))
    assert loads == {ROUTER: 1, "control-plane": 1, LONG: 1, "worker-2": 1}


def neighbours(plan: Plan) -> dict[tuple[str, str, str], str]:
    """Returns the MAC of each neighbour entry by namespace, device and address."""
    return {(op.netns, op.dev, op.address): op.mac for op in plan.operations if isinstance(op, AddNeighbour)}


@pytest.mark.parametrize("topology", SHIPPED)
def test_whoever_has_a_neighbour_of_every_run_has_the_right_mac_for_it(topology: str) -> None:
    """Returns the pairs of nodes, router, balancer and clients on the host network, and of Pods with the
    bridge of their node.
    """
    state = state_of(topology)
    plan = plan_cluster(state)
    macs = {(op.peer_netns, op.peer): op.peer_mac for op in plan.operations if isinstance(op, AddVeth)}
    macs |= {(op.netns, op.name): op.mac for op in plan.operations if isinstance(op, AddVeth | AddBridge)}
    owners = {
        (op.netns, op.address.split("/")[0]): macs[op.netns, op.dev]
        for op in plan.operations
        if isinstance(op, AddAddress)
    }
    given = neighbours(plan)
    for netns in plan.netns:
        assert given.pop((netns, "lo", "0.0.0.0")) == "00:00:00:00:00:00"  # noqa: S104
    machines = {node.name: node.internalIPs[0] for node in state.nodes} | {ROUTER: state.routerIP}
    machines |= {BALANCER: state.balancerIP} if state.balancerIP else {}
    for name in machines:
        for other, ip in machines.items():
            assert name == other or given.pop((name, "eth0", ip)) == owners[other, ip]
    for pod in {pod.key: pod for pod in state.pod_by_ip.values()}.values():
        node, netns = pod.spec.nodeName, pod_netns(pod)
        assert given.pop((netns, "eth0", state.gateway(node))) == owners[node, state.gateway(node)]
        assert given.pop((node, "cbr0", pod.ip)) == owners[netns, pod.ip]
    for client in state.clients:
        port = interface_name("ext", client.name)
        assert given.pop((client.name, "eth0", state.routerIP)) == macs[ROUTER, port]
        assert given.pop((ROUTER, port, client.address)) == owners[client.name, client.address]
    for ip in {ip for service in state.services for ip in state.balancer_ips(service) if state.is_host(ip)}:
        for name in (ROUTER, *state.node):
            assert given.pop((name, "eth0", ip)) == owners[BALANCER, ip]
    assert given == {}


def test_pods_that_meet_over_their_bridge_know_each_other() -> None:
    manifest = (
        TWO_PODS.replace("{name: inside}", "{name: inside, labels: {app: web}}")
        + "---\n"
        + TWO_PODS.split("---\n")[1].replace("inside", "beside")
    )
    state = state_of(text=manifest)
    inside, beside, pinned = (state.pod[f"default/{name}"] for name in ("inside", "beside", "pinned"))
    plain, met = (
        neighbours(plan_cluster(state, pairs))
        for pairs in ((), [(inside.ip, beside.ip), (inside.ip, pinned.ip), (inside.ip, "10.96.0.1")])
    )
    assert {row: mac for row, mac in met.items() if row not in plain} == {
        ("default_inside", "eth0", beside.ip): mac_of_ip(beside.ip),
        ("default_beside", "eth0", inside.ip): mac_of_ip(inside.ip),
    }


def test_an_unknown_pod_network_is_refused_by_name(state: ClusterState) -> None:
    from dataclasses import replace

    with pytest.raises(UsageError, match=r"podNetwork 'calico' is not supported; supported: kubenet"):
        plan_cluster(replace(state, podNetwork=replace(state.podNetwork, name="calico")))


@pytest.mark.parametrize(
    ("prefix", "text", "name"), [("sw", "worker-1", "worker-1"), ("sw", "x" * 15, "x" * 15)]
)
def test_names_that_fit_stay(prefix: str, text: str, name: str) -> None:
    assert interface_name(prefix, text) == name


def test_long_names_become_short_and_stay_apart() -> None:
    names = {interface_name("sw", "x" * 16 + str(n)) for n in range(1000)}
    assert len(names) == 1000
    assert max(map(len, names)) <= IFNAMSIZ


def test_macs() -> None:
    assert mac_of_ip("10.244.1.2") == "0a:58:0a:f4:01:02"
    assert mac_of_name("x") == mac_of_name("x") != mac_of_name("y")


def test_rules_name_what_put_them_beside_the_subnets(state: ClusterState) -> None:
    """Names the node's podCIDR, and the Pod with an address outside it; the subnets' rules are everywhere."""
    found = dict(explain_podnet(state, LONG))
    chains = podnet_rules(state, LONG).tables["nat"]
    assert set(found) == {f"iptables -t nat -A {chain} {rule}" for chain in chains for rule in chains[chain]}
    assert [(str(origin), "POSTROUTING" in command) for command, origin in found.items() if origin] == [
        (f"Node {LONG} spec.podCIDR", True),
        ("Pod default/pinned status.podIPs", True),
        ("Pod default/pinned status.podIPs", False),
    ]
