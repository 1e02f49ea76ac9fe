"""The three prefixes of a cluster (hosts, Pods, Services), and every node's share of them.

May import ``objects`` and this room. A prefix that was said is taken as said. One that was not is the default, unless the input
carries addresses outside it, as a dump does: then it is the smallest prefix that holds them and what has still to be allocated.
Invariant after :func:`address_nodes`: every node has an InternalIP first of which lies in ``hosts``, and a podCIDR in ``pods``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

from emulator.control.findings import Draft, Findings
from emulator.control.shape import address_path, pod_cidr_path
from emulator.objects.config import Inventory, Networking
from emulator.objects.kinds import Node, NodeAddress, Origin, Pod, Service

DEFAULT_POD_SUBNET = IPv4Network("10.244.0.0/16")
DEFAULT_SERVICE_SUBNET = IPv4Network("10.96.0.0/12")
DEFAULT_HOST_SUBNET = IPv4Network("172.18.0.0/16")
POD_CIDR_LENGTH = 24  # kube-controller-manager --node-cidr-mask-size
SHORTEST_INFERRED = 8

# No interface has such an address (RFC 6890). 240.0.0.0/4 is not here: clouds give it to Pods, and Linux routes it.
_NO_HOSTS = {
    IPv4Network("0.0.0.0/8"): "this network",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("224.0.0.0/4"): "multicast",
}
_BROADCAST = IPv4Network("255.255.255.255")


@dataclass(frozen=True, slots=True)
class Networks:
    """``router`` is the upstream router's address in ``hosts``."""

    pods: IPv4Network
    services: IPv4Network
    hosts: IPv4Network
    router: IPv4Address


@dataclass(frozen=True, slots=True)
class _Said:
    """``networking`` of the Cluster, where it was written, and its prefixes parsed (None: not said)."""

    networking: Networking
    origin: Origin
    pods: IPv4Network | None
    services: IPv4Network | None
    hosts: IPv4Network | None


def choose_networks(
    inventory: Inventory, nodes: Sequence[Draft[Node]], pods: Sequence[Draft[Pod]], services: Iterable[Service], findings: Findings
) -> Networks:
    """The prefixes, said or inferred, checked against one another and against the nodes' addresses."""
    said = _said(inventory, findings)
    hosts = said.hosts or _infer_hosts(nodes, said.origin, findings)
    service_subnet = said.services or _infer_services(services, said.origin, findings)
    pod_subnet = said.pods or _infer_pods(nodes, pods, (hosts, service_subnet))
    _check_overlaps(said, pod_subnet, service_subnet, hosts, findings)
    taken = {IPv4Address(ip) for node in nodes for ip in node.object.internalIPs}
    router = next((ip for ip in _usable(hosts) if ip not in taken), hosts.network_address)
    return Networks(pods=pod_subnet, services=service_subnet, hosts=hosts, router=router)


def _said(inventory: Inventory, findings: Findings) -> _Said:
    networking = inventory.cluster.object.networking if inventory.cluster else Networking()
    origin = inventory.cluster.origin if inventory.cluster else Origin(inventory.name)
    if networking.podNetwork != "kubenet":
        findings.problem(origin, "networking.podNetwork", f"podNetwork {networking.podNetwork} is not supported yet", "use kubenet")

    def parse(name: str) -> IPv4Network | None:
        text: str = getattr(networking, name)
        network = IPv4Network(text) if text else None
        if network is None:
            return None
        if special := special_use(network):
            findings.problem(origin, f"networking.{name}", f"{name} {network} holds {special} addresses", "use a private prefix (RFC 1918)")
            return None
        if network.prefixlen > 30:
            findings.problem(origin, f"networking.{name}", f"{name} {network} is too small", f"set networking.{name} to a shorter prefix")
            return None
        return network

    return _Said(networking, origin, pods=parse("podSubnet"), services=parse("serviceSubnet"), hosts=parse("hostSubnet"))


def special_use(network: IPv4Network) -> str:
    """What ``network`` (an address is a /32) holds that no host can have: "loopback", "multicast"… ("" if nothing)."""
    if network == _BROADCAST:
        return "broadcast"
    return next((use for special, use in _NO_HOSTS.items() if network.overlaps(special)), "")


# --- what was not said ------------------------------------------------------------------------------------


def cover(networks: Collection[IPv4Network], enough: Callable[[IPv4Network], bool]) -> IPv4Network | None:
    """The smallest prefix around all of ``networks`` (at least one) that is ``enough``; None if that is shorter than a /8."""
    low = min(int(n.network_address) for n in networks)
    high = max(int(n.broadcast_address) for n in networks)
    length = 32 - (low ^ high).bit_length()
    while length >= SHORTEST_INFERRED:
        network = IPv4Network((low >> (32 - length) << (32 - length), length))
        if enough(network):
            return network
        length -= 1
    return None


def _single(addresses: Iterable[str | IPv4Address]) -> list[IPv4Network]:
    return [IPv4Network(address) for address in addresses]


def _is_host(address: IPv4Address, network: IPv4Network) -> bool:
    """Whether ``address`` may be an interface's in ``network``: inside, and neither its first nor its last."""
    return network.network_address < address < network.broadcast_address


def _usable(network: IPv4Network) -> Iterator[IPv4Address]:
    return map(IPv4Address, range(int(network.network_address) + 1, int(network.broadcast_address)))


def _infer_hosts(nodes: Sequence[Draft[Node]], origin: Origin, findings: Findings) -> IPv4Network:
    primaries = [IPv4Address(n.object.internalIPs[0]) for n in nodes if n.object.internalIPs]
    if all(_is_host(ip, DEFAULT_HOST_SUBNET) for ip in primaries):
        return DEFAULT_HOST_SUBNET
    needed = len(nodes) + 1  # and the router
    found = cover(_single(primaries), lambda n: all(_is_host(ip, n) for ip in primaries) and n.num_addresses - 2 >= needed)
    if found:
        return found
    findings.problem(
        origin,
        "networking.hostSubnet",
        f"the nodes' addresses ({min(primaries)} to {max(primaries)}) have no common prefix of /{SHORTEST_INFERRED} or longer",
        "nodes share one host network: give them addresses of one prefix, or leave their addresses out",
    )
    return DEFAULT_HOST_SUBNET


def _infer_services(services: Iterable[Service], origin: Origin, findings: Findings) -> IPv4Network:
    given: dict[IPv4Address, str] = {}
    count = 1  # default/kubernetes
    for service in services:
        count += service.proxied
        for text in (service.spec.clusterIPs or (service.spec.clusterIP,)) if service.proxied else ():
            address = _parse(text)
            if address is not None:
                given[address] = service.key
    if all(_is_host(ip, DEFAULT_SERVICE_SUBNET) for ip in given):
        return DEFAULT_SERVICE_SUBNET

    def enough(network: IPv4Network) -> bool:
        if network.num_addresses - 2 < count:
            return False
        first = network.network_address + 1
        return given.get(first, "default/kubernetes") == "default/kubernetes" and all(_is_host(ip, network) for ip in given)

    found = cover(_single(given), enough)
    if found:
        return found
    findings.problem(
        origin,
        "networking.serviceSubnet",
        f"the Services' ClusterIPs ({min(given)} to {max(given)}) have no common prefix of /{SHORTEST_INFERRED} or longer",
        "leave the ClusterIPs out, or take them from one prefix",
    )
    return DEFAULT_SERVICE_SUBNET


def _parse(text: str) -> IPv4Address | None:
    """An address that may be missing or of IPv6: None then."""
    return None if not text or ":" in text else IPv4Address(text)


def dumped_addresses(pods: Sequence[Draft[Pod]]) -> list[tuple[str, IPv4Address]]:
    """(node, address) of every Pod, if this is a dump: that is, if each Pod (with a network of its own) carries its address.

    An address on some Pods only is a wish, and says nothing about the cluster's prefixes.
    """
    rows = []
    for draft in pods:
        pod = draft.object
        if pod.spec.hostNetwork:
            continue
        address = _parse(pod.ip)
        if address is None:
            return []
        rows.append((pod.spec.nodeName, address))
    return rows


def _infer_pods(nodes: Sequence[Draft[Node]], pods: Sequence[Draft[Pod]], others: Sequence[IPv4Network]) -> IPv4Network:
    """From the podCIDRs and, in a dump, the Pods' addresses. Where those lie among other prefixes (clouds give Pods addresses of the
    host network), from the podCIDRs alone; Pods outside have routes of their own anyway."""
    cidrs = [IPv4Network(c) for n in nodes for c in n.object.spec.podCIDRs]
    dumped = dumped_addresses(pods)
    missing = sum(1 for n in nodes if not n.object.spec.podCIDRs)

    def enough(network: IPv4Network) -> bool:
        return missing == 0 or len(_shares(nodes, dumped, network)) == missing

    for inside in ([*cidrs, *_single(ip for _, ip in dumped)], cidrs):
        if inside and not all(n.subnet_of(DEFAULT_POD_SUBNET) for n in inside):
            found = cover(inside, enough)
            if found and not any(found.overlaps(other) for other in others):
                return found
        elif inside:
            return DEFAULT_POD_SUBNET
    return DEFAULT_POD_SUBNET


# --- checks -----------------------------------------------------------------------------------------------


def _check_overlaps(said: _Said, pods: IPv4Network, services: IPv4Network, hosts: IPv4Network, findings: Findings) -> None:
    for one, a, other, b in (
        ("podSubnet", pods, "serviceSubnet", services),
        ("podSubnet", pods, "hostSubnet", hosts),
        ("serviceSubnet", services, "hostSubnet", hosts),
    ):
        if a.overlaps(b):
            change = other if getattr(said.networking, one) and not getattr(said.networking, other) else one
            findings.problem(
                said.origin,
                f"networking.{change}",
                f"{one} {a} and {other} {b} overlap",
                f"set networking.{change} to a prefix apart from the other",
            )


def check_node_addresses(nodes: Sequence[Draft[Node]], networks: Networks, findings: Findings) -> None:
    """Primary addresses lie in the host network; no address is taken twice, nor lies among Pods or Services."""
    owners: dict[str, str] = {}
    for draft in nodes:
        for index, ip in enumerate(draft.object.internalIPs):
            path, address = address_path(draft, index), IPv4Address(ip)
            if ip in owners:
                findings.problem(draft.origin, path, f"{ip} is the address of node {owners[ip]} already", "node addresses are unique")
            owners.setdefault(ip, draft.object.name)
            if special := special_use(IPv4Network(ip)):
                findings.problem(draft.origin, path, f"{ip} is a {special} address", "give the node an address of its own")
            elif index == 0 and not _is_host(address, networks.hosts):
                findings.problem(
                    draft.origin,
                    path,
                    f"{ip} is no host's address in hostSubnet {networks.hosts}",
                    "set networking.hostSubnet to the prefix of the nodes' addresses",
                )
            elif index > 0 and (address in networks.pods or address in networks.services):
                findings.problem(draft.origin, path, f"{ip} lies in the Pods' or Services' prefix", "nodes have addresses of their own")


# --- every node's share -----------------------------------------------------------------------------------


def address_nodes(
    nodes: Sequence[Draft[Node]],
    networks: Networks,
    pods: Sequence[Draft[Pod]],
    avoid: Collection[str],
    pool: Container[IPv4Address],
    origin: Origin,
    findings: Findings,
) -> list[Draft[Node]]:
    """Every node with an InternalIP and a podCIDR: the given ones, else the next free ones in the nodes' order.

    ``avoid`` are addresses of the host network that are spoken for (load balancers, externalIPs), ``pool`` are those that load balancers
    may still get: nodes get them last. ``origin`` is where networking was said. A node that found no room keeps an empty podCIDR or no
    address, and a problem says so.
    """
    check_node_addresses(nodes, networks, findings)
    _check_pod_cidrs(nodes, networks, findings)
    taken = {networks.router, *map(_parse, avoid), *(IPv4Address(ip) for n in nodes for ip in n.object.internalIPs)}
    free_hosts = (ip for pooled in (False, True) for ip in _usable(networks.hosts) if ip not in taken and (ip in pool) is pooled)
    shares = _shares(nodes, dumped_addresses(pods), networks.pods)
    result = []
    for draft in nodes:
        node = draft.object
        if not node.internalIPs:
            ip = next(free_hosts, None)
            if ip is None:
                findings.problem(
                    origin,
                    "networking.hostSubnet",
                    f"hostSubnet {networks.hosts} is too small for {len(nodes)} nodes and a router",
                    "set networking.hostSubnet to a shorter prefix",
                )
            else:
                own = NodeAddress(type="InternalIP", address=str(ip))
                node = replace(node, status=replace(node.status, addresses=(own, *node.status.addresses)))
        if not node.spec.podCIDRs:
            share = shares.get(node.name)
            if share is None:
                findings.problem(
                    origin,
                    "networking.podSubnet",
                    f"podSubnet {networks.pods} is too small for a /{POD_CIDR_LENGTH} on each of {len(nodes)} nodes",
                    "set networking.podSubnet to a shorter prefix",
                )
            else:
                node = replace(node, spec=replace(node.spec, podCIDR=str(share), podCIDRs=(str(share),)))
        result.append(replace(draft, object=node))
    return result


def _check_pod_cidrs(nodes: Sequence[Draft[Node]], networks: Networks, findings: Findings) -> None:
    rows = sorted((IPv4Network(cidr), index) for index, n in enumerate(nodes) for cidr in n.object.spec.podCIDRs)
    for network, index in rows:
        if not network.subnet_of(networks.pods):
            findings.problem(
                nodes[index].origin,
                pod_cidr_path(nodes[index]),
                f"podCIDR {network} lies outside podSubnet {networks.pods}",
                "set networking.podSubnet to a prefix that holds every node's podCIDR",
            )
    for (one, first), (other, second) in pairwise(rows):
        if one.overlaps(other):
            late, early = max(first, second), min(first, second)
            findings.problem(
                nodes[late].origin,
                pod_cidr_path(nodes[late]),
                f"podCIDR of node {nodes[late].object.name} overlaps that of node {nodes[early].object.name} ({one}, {other})",
                "every node has a podCIDR of its own",
            )


def _shares(nodes: Sequence[Draft[Node]], dumped: Iterable[tuple[str, IPv4Address]], subnet: IPv4Network) -> dict[str, IPv4Network]:
    """A /24 of ``subnet`` for each node that has no podCIDR; a node is missing where there is no room.

    In a dump without podCIDRs a node gets the /24 in which its Pods already are, if they alone are there; and nobody else's.
    """
    wanting = [n.object.name for n in nodes if not n.object.spec.podCIDRs]
    if not wanting or subnet.prefixlen > POD_CIDR_LENGTH:
        return {}
    given = [IPv4Network(c) for n in nodes for c in n.object.spec.podCIDRs]
    where: dict[IPv4Network, set[str]] = {}
    for node, address in dumped:
        where.setdefault(IPv4Network((address, POD_CIDR_LENGTH), strict=False), set()).add(node)
    shares: dict[str, IPv4Network] = {}
    for share, its_nodes in sorted(where.items()):
        name = next(iter(its_nodes))
        free = share.subnet_of(subnet) and not any(share.overlaps(g) for g in given)
        if len(its_nodes) == 1 and name in wanting and name not in shares and free:
            shares[name] = share
    candidates = (s for s in subnet.subnets(new_prefix=POD_CIDR_LENGTH) if s not in where and not any(s.overlaps(g) for g in given))
    for name in wanting:
        if name not in shares:
            share_or_none = next(candidates, None)
            if share_or_none is None:
                break
            shares[name] = share_or_none
    return shares
