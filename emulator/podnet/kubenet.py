"""Plans kubenet: a bridge ``cbr0`` per node, host-local addresses, routes to the other nodes' podCIDRs over
the host network. Pure.

This is what kubelet's kubenet did (Kubernetes ≤ 1.23; its page was
kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/network-plugins). The bridge has the first
address of the node's podCIDR. Each Pod has a veth pair whose host end is a bridge port in hairpin mode.
Traffic that leaves the cluster is masqueraded in ip-masq-agent's chain. Invariant: a Pod's packet to a Pod or
node keeps its source address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..cluster.podnetwork import PodNetworkFacts
from ..cluster.state import ROUTER, ClusterState, pod_netns
from ..hostnet.network import OWN_WAY_TO_ASK, WHY_NEIGHBOURS, plan_base
from ..net import Address, InterfaceAddress, Prefix, everything, host_prefix, mac_of_ip, short_hash
from ..objects.kinds import Node, Pod
from ..objects.references import ObjectRef
from ..plan.operations import (
    AddAddress,
    AddBridge,
    AddNeighbour,
    AddRoute,
    AddVeth,
    Operation,
    SetNeighbourDefaults,
    SetSysctl,
)
from ..plan.rules import Match, Rule
from .hostlocal import host_local
from .network import PodNetwork

BRIDGE = "cbr0"


def veth_name(pod: Pod) -> str:
    """Returns the name of the node's end of the Pod's link."""
    return f"veth{short_hash(pod.key)}"


def plan_node(state: ClusterState, node: Node) -> Iterator[Operation]:
    """Yields the bridge of ``node``, which is its Pods' gateway."""
    gateway = state.gateway(node.name)
    why = f"{node.name}'s Pod bridge"
    yield AddBridge(netns=node.name, name=BRIDGE, mac=mac_of_ip(gateway), why=why)
    yield SetNeighbourDefaults(
        netns=node.name, dev=BRIDGE, family=state.gateway(node.name).family, why=OWN_WAY_TO_ASK
    )
    yield AddAddress(
        netns=node.name,
        dev=BRIDGE,
        address=InterfaceAddress.of(gateway, _cidr(state, node.name).length),
        why=f"{why} is its Pods' gateway",
    )


def attach(state: ClusterState, pod: Pod) -> Iterator[Operation]:
    """Yields the network namespace of ``pod``, its link to the bridge, its addresses and its route."""
    node, cidr = pod.spec.nodeName, _cidr(state, pod.spec.nodeName)
    netns, ips = pod_netns(pod), pod.ips
    why = f"Pod {pod.key} on {node}"
    yield from plan_base(netns, why)
    yield SetSysctl(
        netns=netns,
        key="net.ipv4.ip_unprivileged_port_start",
        value="0",
        why="a container may listen on any port, as container runtimes have it",
    )
    yield AddVeth(
        netns=node,
        name=veth_name(pod),
        mac=_host_end_mac(ips[0]),
        bridge=BRIDGE,
        hairpin=True,
        peer_netns=netns,
        peer="eth0",
        peer_mac=mac_of_ip(ips[0]),
        why=f"{why}: its eth0, and a hairpin bridge port at the node (a Pod may reach itself through "
        "its Service)",
    )
    for ip in ips:
        inside = ip in cidr
        yield AddAddress(
            netns=netns,
            dev="eth0",
            address=InterfaceAddress.of(ip, cidr.length if inside else None),
            why=f"{why}: its address",
        )
    first_inside = ips[0] in cidr
    yield AddRoute(
        netns=netns,
        dst=everything(cidr.family),
        dev="eth0",
        via=state.gateway(node),
        onlink=not first_inside,
        why=f"{why}: everything else goes through the bridge",
    )


def connect(state: ClusterState) -> Iterator[Operation]:
    """Yields the routes between nodes, and to Pods with addresses outside their node's podCIDR."""
    routers = [*(n.name for n in state.nodes), ROUTER]
    for node in state.nodes:
        via, dst, why = (
            Address(node.internalIPs[0]),
            _cidr(state, node.name),
            f"{node.name}'s Pods are behind {node.name}",
        )
        for netns in routers:
            if netns != node.name:
                yield AddRoute(netns=netns, dst=dst, dev="eth0", via=via, why=why)
    yield from _plan_neighbours(state)
    for node in state.nodes:
        for ip, key in _outside(state, node.name):
            why = f"Pod {key} has an address outside the podCIDR of {node.name}"
            yield AddRoute(netns=node.name, dst=host_prefix(ip), dev=BRIDGE, why=why)
            for netns in routers:
                if netns != node.name:
                    yield AddRoute(
                        netns=netns,
                        dst=host_prefix(ip),
                        dev="eth0",
                        via=Address(node.internalIPs[0]),
                        why=why,
                    )


def _cidr(state: ClusterState, node: str) -> Prefix:
    return Prefix(state.podCIDR(node))


def _outside(state: ClusterState, node: str) -> Iterator[tuple[Address, str]]:
    """Yields the Pod addresses on ``node`` that lie outside its podCIDR, each with its Pod."""
    cidr = _cidr(state, node)
    for pod in state.pods_on[node]:
        for ip in () if pod.spec.hostNetwork else pod.ips:
            if ip not in cidr:
                yield ip, pod.key


def _plan_neighbours(state: ClusterState) -> Iterator[Operation]:
    """Plans the neighbour entries between each Pod and its node's bridge."""
    for node in state.nodes:
        gateway = state.gateway(node.name)
        mac = mac_of_ip(gateway)
        for pod in state.pods_on[node.name]:
            if not pod.spec.hostNetwork:
                yield AddNeighbour(
                    netns=pod_netns(pod), dev="eth0", address=gateway, mac=mac, why=WHY_NEIGHBOURS
                )
                for ip in pod.ips:
                    yield AddNeighbour(
                        netns=node.name,
                        dev=BRIDGE,
                        address=ip,
                        mac=mac_of_ip(pod.ip),
                        why=WHY_NEIGHBOURS,
                    )


def plan_meetings(state: ClusterState, meetings: Iterable[tuple[str, str]]) -> Iterator[Operation]:
    """Plans the neighbour entries, both ways, of Pods of one node that send to each other over its bridge.

    ``meetings`` are pairs of addresses. All other pairs are routed and need no entry. Entries for every pair
    of a node's Pods would grow with the square of their number.
    """
    meetings = list(meetings)
    bridged = {
        ip: pod
        for pair in meetings
        for ip in pair
        if (pod := state.pod_by_ip.get(ip)) and _is_bridged(state, pod, ip)
    }
    for pair in meetings:
        for ip, peer in (pair, pair[::-1]):
            pod, other = bridged.get(ip), bridged.get(peer)
            if pod and other and pod is not other and pod.spec.nodeName == other.spec.nodeName:
                yield AddNeighbour(
                    netns=pod_netns(pod),
                    dev="eth0",
                    address=Address(peer),
                    mac=mac_of_ip(other.ip),
                    why=WHY_NEIGHBOURS,
                )


def _is_bridged(state: ClusterState, pod: Pod, ip: str) -> bool:
    """Returns whether the other Pods of its node reach ``ip`` without the gateway."""
    return ip in Prefix(state.podCIDR(pod.spec.nodeName))


def _host_end_mac(ip: str) -> str:
    """Returns the MAC of the node's end of a Pod's link: the Pod's MAC in another locally administered
    block.
    """
    return "0e:58" + mac_of_ip(ip)[5:]


def masquerade_rules(state: ClusterState, node: str, *, asked: bool = False) -> Iterator[Rule]:
    """Yields the nat rules of ``node``: packets that leave the cluster get the node's address, others keep
    their source. ``asked``: with their origins.
    """
    chain = "IP-MASQ-AGENT"
    away, why = Match(after="-m addrtype ! --dst-type LOCAL"), "ip-masq-agent: Pods of this node"
    cidr = ObjectRef("Node", node, "spec.podCIDR") if asked else None
    yield Rule(
        "nat", "POSTROUTING", away._replace(before=f"-s {_cidr(state, node)}"), chain, why, origin=cidr
    )
    for ip, key in _outside(state, node):
        origin = ObjectRef("Pod", key, "status.podIPs") if asked else None
        match = away._replace(before=f"-s {host_prefix(ip)}", hosts=(ip,))
        yield Rule("nat", "POSTROUTING", match, chain, why, origin=origin)
    causes = _causes(state) if asked else {}
    for net, what in (
        (state.podSubnet, "Pods"),
        (state.serviceSubnet, "Services"),
        (state.hostSubnet, "nodes"),
        *((network, "Pods") for network in state.other_pod_networks),
        *((network, "nodes") for network in state.other_node_networks),
    ):
        why = f"ip-masq-agent: {what} are inside the cluster"
        yield Rule("nat", chain, Match(f"-d {net}"), "RETURN", why, origin=causes.get(net))
    yield Rule("nat", chain, Match(), "MASQUERADE", "ip-masq-agent: outbound traffic")


def _causes(state: ClusterState) -> Mapping[Prefix, ObjectRef]:
    """Returns the fields that put prefixes beside the cluster's subnets."""
    pods = {
        host_prefix(ip): ObjectRef("Pod", pod.key, "status.podIPs") for ip, pod in state.pod_by_ip.items()
    }
    cidrs = {_cidr(state, n.name): ObjectRef("Node", n.name, "spec.podCIDR") for n in state.nodes}
    nodes = {
        host_prefix(ip): ObjectRef("Node", n.name, "status.addresses")
        for n in state.nodes
        for ip in n.internalIPs
    }
    subnets = (state.podSubnet, state.serviceSubnet, state.hostSubnet)
    return {net: cause for net, cause in {**pods, **cidrs, **nodes}.items() if net not in subnets}


KUBENET = PodNetwork(
    facts=PodNetworkFacts(name="kubenet", gatewayOffset=1, interface=BRIDGE, interfacePrefix="cbr"),
    addresses=host_local,
    plan_node=plan_node,
    attach=attach,
    connect=connect,
    plan_meetings=plan_meetings,
    rules=masquerade_rules,
)
