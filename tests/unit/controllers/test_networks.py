"""Tests prefixes, said and inferred, and every node's share of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.controllers.networks import cover
from emulator.net import IPV4, Address, Prefix
from tests.told import noticed
from tests.unit.controllers.clusters import (
    cluster,
    node,
    pod,
    problem_of,
    problems_of,
    service,
    settled,
)


def test_defaults() -> None:
    state = settled(pod("a"))
    assert (str(state.podSubnet), str(state.serviceSubnet), str(state.hostSubnet)) == (
        "10.244.0.0/16",
        "10.96.0.0/12",
        "172.18.0.0/16",
    )
    assert state.routerIP == "172.18.0.1"
    assert [(n.internalIPs, n.spec.podCIDRs) for n in state.nodes] == [
        (("172.18.0.2",), ("10.244.0.0/24",)),
        (("172.18.0.3",), ("10.244.1.0/24",)),
        (("172.18.0.4",), ("10.244.2.0/24",)),
    ]


def test_given_addresses_and_podcidrs_are_kept_and_skipped() -> None:
    state = settled(
        node("a", "172.18.0.2", "10.244.0.0/24"), node("b"), node("c", "172.18.0.1", "10.244.1.0/24")
    )
    assert {n.name: (n.internalIPs[0], n.spec.podCIDR) for n in state.nodes} == {
        "a": ("172.18.0.2", "10.244.0.0/24"),
        "b": ("172.18.0.4", "10.244.2.0/24"),
        "c": ("172.18.0.1", "10.244.1.0/24"),
    }
    assert state.routerIP == "172.18.0.3"


BALANCED = "type: LoadBalancer, ports: [{port: 80}], externalIPs: [172.18.0.2]"


def test_nodes_stay_off_the_addresses_of_services() -> None:
    state = settled(service("s", BALANCED, "loadBalancer: {ingress: [{ip: 172.18.0.3}]}"))
    assert state.nodes[0].internalIPs == ("172.18.0.4",)


def test_every_kind_of_node_address_is_kept() -> None:
    text = """{apiVersion: v1, kind: Node, metadata: {name: n}, status: {addresses: [{type: Hostname, \
address: n.local},
    {type: InternalIP, address: 172.18.0.9}, {type: InternalIP, address: 192.168.7.9}, {type: ExternalIP, \
address: 198.51.100.9}]}}"""
    (only,) = settled(text).nodes
    assert [(a.type, a.address) for a in only.status.addresses] == [
        ("Hostname", "n.local"),
        ("InternalIP", "172.18.0.9"),
        ("InternalIP", "192.168.7.9"),
        ("ExternalIP", "198.51.100.9"),
    ]


@pytest.mark.parametrize(
    ("addresses", "subnet"),
    [
        pytest.param(
            ["192.168.49.2", "192.168.49.3"],
            "192.168.49.0/29",
            id="room for the router, none is the broadcast address",
        ),
        pytest.param(["192.168.49.2"], "192.168.49.0/30", id="one node"),
        pytest.param(["10.128.0.10", "10.128.3.7"], "10.128.0.0/22", id="a cloud's subnet"),
        pytest.param(["172.18.0.9", "172.19.0.9"], "172.18.0.0/15", id="partly outside the default"),
    ],
)
def test_host_subnet_of_a_dump(addresses: list[str], subnet: str) -> None:
    state = settled(*(node(f"n{i}", address) for i, address in enumerate(addresses)))
    assert str(state.hostSubnet) == subnet
    assert state.routerIP not in addresses


@pytest.mark.parametrize(
    ("cluster_ips", "subnet"),
    [
        pytest.param({"kubernetes": "10.43.0.1", "dns": "10.43.0.10"}, "10.43.0.0/28", id="k3s"),
        pytest.param({"dns": "10.43.0.10"}, "10.43.0.8/30", id="without kubernetes, room for it"),
        pytest.param({"a": "10.43.0.1"}, "10.42.0.0/15", id="the first address is taken by another Service"),
        pytest.param({"kubernetes": "172.20.0.1", "a": "172.20.200.7"}, "172.20.0.0/16", id="EKS"),
        pytest.param({"kubernetes": "10.96.0.1"}, "10.96.0.0/12", id="the default"),
    ],
)
def test_service_subnet_of_a_dump(cluster_ips: dict[str, str], subnet: str) -> None:
    state = settled(
        *(service(name, f"clusterIP: {ip}, ports: [{{port: 80}}]") for name, ip in cluster_ips.items())
    )
    assert str(state.serviceSubnet) == subnet
    assert {name: state.service[f"default/{name}"].spec.clusterIP for name in cluster_ips} == cluster_ips


def test_pod_subnet_of_a_dump_covers_podcidrs_and_pods() -> None:
    state = settled(
        node("a", cidr="192.168.0.0/24"),
        node("b", cidr="192.168.1.0/24"),
        pod("p", spec="nodeName: a", status="podIP: 192.168.77.130"),
    )
    assert str(state.podSubnet) == "192.168.0.0/17"
    assert state.pod["default/p"].ip == "192.168.77.130"


def test_pod_subnet_leaves_the_host_network_alone() -> None:
    """Takes a cloud that gives Pods addresses of the nodes' subnet."""
    state = settled(
        node("a", "192.168.10.4"),
        node("b", "192.168.10.60"),
        pod("p", spec="nodeName: a", status="podIP: 192.168.10.9"),
    )
    assert (str(state.hostSubnet), str(state.podSubnet)) == ("192.168.10.0/26", "10.244.0.0/16")
    assert state.pod["default/p"].ip == "192.168.10.9"


def test_one_pinned_address_is_a_wish_and_no_dump() -> None:
    state = settled(pod("a", status="podIP: 192.168.77.5"), pod("b"))
    assert str(state.podSubnet) == "10.244.0.0/16"
    assert state.pod["default/a"].ip == "192.168.77.5"


def test_nodes_without_podcidr_get_the_prefix_that_their_pods_are_in() -> None:
    state = settled(
        node("a"),
        node("b"),
        pod("p", spec="nodeName: b", status="podIP: 10.244.0.7"),
        pod("q", spec="nodeName: a", status="podIP: 10.244.5.7"),
    )
    assert {n.name: n.spec.podCIDR for n in state.nodes} == {"a": "10.244.5.0/24", "b": "10.244.0.0/24"}


# --- several networks, and those of managed clusters ------------------------------------------------------


def running(name: str, where: str, ip: str) -> str:
    return pod(name, spec=f"nodeName: {where}", status=f"phase: Running, podIP: {ip}")


def cluster_ip(name: str, ip: str) -> str:
    return service(name, f"clusterIP: {ip}, ports: [{{port: 80}}]")


def ranges(*manifests: str) -> tuple[str, str, str]:
    """Returns the prefixes of Pods, Services and nodes."""
    state = settled(*manifests)
    return str(state.podSubnet), str(state.serviceSubnet), str(state.hostSubnet)


@pytest.mark.parametrize(
    ("manifests", "expected"),
    [
        pytest.param(
            [
                node("a", "10.10.0.2", "10.101.0.0/24"),
                node("b", "10.10.0.3", "10.101.1.0/24"),
                running("p", "a", "10.101.0.5"),
                cluster_ip("kubernetes", "10.102.0.1"),
                cluster_ip("s", "10.102.3.4"),
            ],
            ("10.101.0.0/23", "10.102.0.0/22", "10.10.0.0/29"),
            id="GKE: all three beside the Services' default",
        ),
        pytest.param(
            [
                node("a", "10.128.0.2", "10.4.0.0/24"),
                node("b", "10.128.0.3", "10.7.250.0/24"),
                cluster_ip("kubernetes", "10.7.240.1"),
                cluster_ip("s", "10.7.241.9"),
            ],
            ("10.4.0.0/14", "10.7.240.0/23", "10.128.0.0/29"),
            id="GKE of old: the Services' range is a part of the Pods'",
        ),
        pytest.param(
            [node("a", "10.100.0.4"), pod("p")],
            ("10.244.0.0/16", "10.43.0.0/16", "10.100.0.0/29"),
            id="nodes in the default",
        ),
        pytest.param(
            [node("a", "172.18.0.4", "10.96.3.0/24")],
            ("10.96.3.0/24", "10.43.0.0/16", "172.18.0.0/16"),
            id="Pods in the default",
        ),
        pytest.param(
            [node("a", "10.244.0.4"), node("b", "10.244.0.5")],
            ("10.42.0.0/16", "10.96.0.0/12", "10.244.0.0/29"),
            id="nodes among the Pods",
        ),
        pytest.param(
            [cluster_ip("kubernetes", "172.18.0.1"), cluster_ip("s", "172.18.77.1")],
            ("10.244.0.0/16", "172.18.0.0/17", "172.19.0.0/16"),
            id="Services where podwire's nodes are",
        ),
        pytest.param(
            [
                node("a", "172.30.1.4", "10.128.0.0/23"),
                node("b", "172.30.1.5", "10.128.2.0/23"),
                cluster_ip("s", "172.30.0.10"),
            ],
            ("10.128.0.0/22", "172.30.0.8/30", "172.30.1.0/29"),
            id="OpenShift's Services beside such nodes",
        ),
    ],
)
def test_ranges_are_inferred_together(manifests: list[str], expected: tuple[str, str, str]) -> None:
    assert ranges(*manifests) == expected


def test_nodes_of_several_networks_are_routed_one_by_one() -> None:
    nodes = [node("a", "192.0.2.10"), node("b", "203.0.113.20"), node("c", "95.11.3.30")]
    state = settled(*nodes, pod("p"))
    assert [n.internalIPs for n in state.nodes] == [("192.0.2.10",), ("203.0.113.20",), ("95.11.3.30",)]
    assert str(state.hostSubnet) == "172.18.0.0/16"
    assert any("the addresses of a, b, c are in several networks" in notice for notice in noticed(state))


def test_a_client_outside_keeps_off_the_nodes_addresses() -> None:
    state = settled(node("a", "192.0.2.7"), node("b", "203.0.113.10"), pod("p"))
    assert not {client.address for client in state.clients} & {
        ip for n in state.nodes for ip in n.internalIPs
    }


def test_cluster_ips_of_several_ranges_are_taken_as_they_are() -> None:
    ips = {"kubernetes": "10.96.0.1", "a": "10.96.0.9", "b": "172.30.0.7"}
    state = settled(*(cluster_ip(name, ip) for name, ip in ips.items()))
    assert {name: state.service[f"default/{name}"].spec.clusterIP for name in ips} == ips


VPC = [
    node("a", "10.0.1.21"),
    node("b", "10.0.2.22"),
    running("p", "a", "10.0.1.77"),
    running("q", "b", "10.0.2.88"),
]


def test_pods_with_addresses_of_the_nodes_network_are_emulated_and_no_detector_is_made_up() -> None:
    state = settled(*VPC, cluster_ip("kubernetes", "172.20.0.1"))
    assert state.madeUpBridges
    assert (state.proxy.localMode, state.proxy.clusterCIDR) == ("", "")
    assert any(
        notice.startswith("Pod network emulated as kubenet: the Pods' addresses are of no podCIDR")
        for notice in noticed(state)
    )
    assert any("no clusterCIDR (as on EKS" in notice for notice in noticed(state))
    assert not any(notice.startswith("address ranges") and "Pods" in notice for notice in noticed(state))


def test_the_router_takes_no_address_that_a_pod_has() -> None:
    pods = [running(f"p{n}", "a", f"192.168.0.{n}") for n in (1, 2)]
    assert settled(node("a", "192.168.0.5"), *pods).routerIP not in {
        "192.168.0.1",
        "192.168.0.2",
        "192.168.0.5",
    }


def test_one_node_whose_pods_are_of_its_own_subnet() -> None:
    state = settled(node("a", "10.0.1.21"), running("p", "a", "10.0.1.77"))
    assert (state.madeUpBridges, state.proxy.localMode) == (True, "")


def test_what_is_said_of_kube_proxy_holds_in_such_a_cluster() -> None:
    config = (
        "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, clusterCIDR: "
        "10.0.0.0/16}"
    )
    assert settled(*VPC, config).proxy.clusterCIDR == "10.0.0.0/16"


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([running("p", "a", "10.244.1.9")], id="an address of another node's podCIDR"),
        pytest.param([running("p", "a", "10.244.0.1")], id="the address that the bridge would have"),
        pytest.param([running("p", "a", "10.244.0.0")], id="the first address of a block"),
    ],
)
def test_podcidrs_that_the_pods_addresses_contradict_are_not_the_bridges(others: list[str]) -> None:
    state = settled(
        node("a", cidr="10.244.0.0/24"),
        node("b", cidr="10.244.1.0/24"),
        running("q", "b", "10.244.1.7"),
        *others,
    )
    assert state.madeUpBridges
    assert all(not Prefix(state.podCIDR(n.name)).is_within(Prefix("10.244.0.0/23")) for n in state.nodes)
    assert state.proxy.clusterCIDR == "10.244.0.0/16"
    assert all(
        p.ip == {"default/p": others[0].split("podIP: ")[1].split("}")[0], "default/q": "10.244.1.7"}[p.key]
        for p in state.pods
    )


def test_pods_at_home_are_no_reason_to_make_anything_up() -> None:
    state = settled(
        node("a", cidr="10.244.0.0/24"), running("p", "a", "10.244.0.9"), running("q", "a", "100.64.3.3")
    )
    assert not state.madeUpBridges
    assert not any("emulated" in notice for notice in noticed(state))


def test_a_dump_that_says_nothing_of_kube_proxy_says_what_is_assumed() -> None:
    live = node("a", cidr="10.244.0.0/24").replace("{name: a,", "{name: a, uid: 5c9e,")
    assert any(
        "mode iptables and clusterCIDR 10.244.0.0/16 are assumed" in notice
        for notice in noticed(settled(live))
    )
    assert not any("are assumed" in notice for notice in noticed(settled(node("a", cidr="10.244.0.0/24"))))


TWO = "{role: control-plane}, {role: worker}"


@pytest.mark.parametrize(
    ("manifests", "path", "what"),
    [
        pytest.param(
            [cluster(TWO, podSubnet="172.18.4.0/22")],
            "networking.hostSubnet",
            "overlap",
            id="podSubnet in the hosts' default",
        ),
        pytest.param(
            [cluster(TWO, hostSubnet="10.96.0.0/16")],
            "networking.serviceSubnet",
            "overlap",
            id="hosts in the Services' default",
        ),
        pytest.param(
            [cluster(TWO, podSubnet="10.9.0.0/24")],
            "networking.podSubnet",
            "too small for a /24",
            id="podSubnet too small",
        ),
        pytest.param(
            [cluster(TWO, hostSubnet="192.168.0.0/30")],
            "networking.hostSubnet",
            "too small for 2 nodes",
            id="hostSubnet too small",
        ),
        pytest.param(
            [cluster("{role: worker, addresses: [172.18.0.0]}", hostSubnet="172.18.0.0/16")],
            "nodes[0].addresses[0]",
            "no host's address",
            id="network address",
        ),
        pytest.param(
            [node("n", "172.18.0.5"), node("m", "172.18.0.5")],
            "status.addresses[0].address",
            "node n already",
            id="twice",
        ),
        pytest.param(
            [node("n", cidr="10.244.0.0/23"), node("m", cidr="10.244.1.0/24")],
            "spec.podCIDR",
            "overlaps",
            id="podCIDRs overlap",
        ),
        pytest.param(
            [cluster(podSubnet="10.1.0.0/16"), node("n", cidr="10.2.0.0/24")],
            "spec.podCIDR",
            "outside podSubnet",
            id="podCIDR outside",
        ),
        pytest.param(
            [cluster(TWO, serviceSubnet="10.9.0.0/31")],
            "networking.serviceSubnet",
            "too small",
            id="serviceSubnet too small",
        ),
        pytest.param(
            [cluster(TWO, podSubnet="126.0.0.0/7")],
            "networking.podSubnet",
            "loopback",
            id="podSubnet of loopback",
        ),
        pytest.param(
            [node("n", "255.255.255.255")],
            "status.addresses[0].address",
            "broadcast",
            id="the broadcast address",
        ),
        pytest.param([node("n", cidr="10.244.0.0/31")], "spec.podCIDR", "no room", id="podCIDR too small"),
        pytest.param(
            [cluster(podNetwork="cilium")], "networking.podNetwork", "not supported yet", id="podNetwork"
        ),
    ],
)
def test_mistakes(manifests: list[str], path: str, what: str) -> None:
    found = [p for p in problems_of(*manifests) if p.path == path]
    assert len(found) == 1
    assert what in found[0].what


def test_class_e_addresses_are_ordinary() -> None:
    assert settled(cluster(TWO, podSubnet="240.0.0.0/4"), pod("p")).pod["default/p"].ip == "240.0.1.2"


def test_an_overlap_names_the_setting_to_change() -> None:
    problem = problem_of(cluster(podSubnet="10.96.0.0/16"))
    assert problem.path == "networking.serviceSubnet"
    assert "networking.serviceSubnet" in problem.hint


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0x0A000000, 0x0AFFFFFF), min_size=1, max_size=8))
def test_cover_is_the_smallest_prefix(numbers: list[int]) -> None:
    networks = [Address.of_number(IPV4, number).host for number in numbers]
    found = cover(networks, lambda _: True)
    assert found is not None
    assert all(n.is_within(found) for n in networks)
    if found.length < IPV4.bits:
        halves = found.subnets(found.length + 1)
        assert not any(all(n.is_within(half) for n in networks) for half in halves)
