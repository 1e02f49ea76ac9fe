"""Chooses the three prefixes of a cluster (hosts, Pods, Services), and every node's share of them.

A prefix that the Cluster or a component's command line sets is used as it is. Any other is the default,
unless addresses of the input lie outside it, or others in it: then it is the smallest prefix that holds its
own addresses and no others, with a notice. Nodes of several networks are routed one by one. Invariant after
:func:`address_nodes`: every node has an InternalIP, and a podCIDR of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise

from ..errors import Words, worded
from ..net import (
    Address,
    Prefix,
    family_of,
    smallest_prefix,
)
from ..objects.config import Inventory, Networking
from ..objects.families import BUILT
from ..objects.kinds import Node, NodeAddress, Origin, Pod, Service
from ..objects.notices import NodeRoutes, PodRoutes, RangesInferred
from ..podnet import DEFAULT, NETWORKS
from ..podnet.network import PodNetwork
from .clusterflags import ClusterFlags
from .findings import Draft, Findings
from .pools import Pools
from .shape import address_path, pod_cidr_path

DEFAULT_POD_SUBNET = Prefix("10.244.0.0/16")
DEFAULT_SERVICE_SUBNET = Prefix("10.96.0.0/12")
DEFAULT_HOST_SUBNET = Prefix("172.18.0.0/16")
POD_CIDR_LENGTH = 24  # kube-controller-manager --node-cidr-mask-size
SHORTEST_INFERRED = 8

# Alternatives if the default overlaps addresses of the input, and nothing says which prefix to take.
_OTHER_HOSTS = tuple(
    Prefix(text) for text in ("172.19.0.0/16", "192.168.240.0/20", "198.18.0.0/16", "100.127.0.0/16")
)
_OTHER_SERVICES = tuple(
    Prefix(text) for text in ("10.43.0.0/16", "172.20.0.0/16", "192.168.192.0/20", "198.19.0.0/17")
)
_OTHER_PODS = tuple(
    Prefix(text) for text in ("10.42.0.0/16", "100.96.0.0/11", "172.24.0.0/14", "198.19.128.0/17")
)

# No interface has such an address (RFC 6890). 240.0.0.0/4 is not here: clouds give it to Pods, and Linux
# routes it.
_NO_HOSTS = {
    Prefix("0.0.0.0/8"): "this network",
    Prefix("127.0.0.0/8"): "loopback",
    Prefix("224.0.0.0/4"): "multicast",
}
_BROADCAST = Prefix("255.255.255.255/32")


@dataclass(frozen=True, slots=True)
class Networks:
    """Holds the prefixes. ``router`` is the upstream router's address in ``hosts``.

    ``madeUp``: the Pods of a dump have addresses outside their nodes' podCIDRs, so that the bridges'
    addresses are not the cluster's. ``ignoredCIDRs``: the podCIDRs cannot be the bridges' prefixes either.
    ``said``: the ranges that the user set. ``podRange`` is the range of the Pods' addresses (None: unknown).
    """

    pods: Prefix
    services: Prefix
    hosts: Prefix
    router: Address
    madeUp: bool = False
    ignoredCIDRs: bool = False
    said: frozenset[str] = frozenset()
    podRange: Prefix | None = None
    podNetwork: PodNetwork = DEFAULT


@dataclass(frozen=True, slots=True)
class _Said:
    """Holds ``networking`` of the Cluster, its place, and its prefixes parsed (None: not set)."""

    networking: Networking
    origin: Origin
    pods: Prefix | None
    services: Prefix | None
    hosts: Prefix | None


@dataclass(frozen=True, slots=True)
class _Known:
    """Holds the addresses and prefixes of the input, by kind of owner. ``pods`` are those of a dump."""

    nodes: tuple[Prefix, ...]  # primary InternalIPs
    others: tuple[Prefix, ...]  # further InternalIPs
    podCIDRs: tuple[Prefix, ...]
    pods: tuple[Prefix, ...]
    services: tuple[Prefix, ...]


def choose_networks(
    inventory: Inventory,
    nodes: Sequence[Draft[Node]],
    pods: Sequence[Draft[Pod]],
    services: Sequence[Service],
    flags: ClusterFlags,
    findings: Findings,
) -> Networks:
    """Returns the prefixes, set or inferred, checked against one another."""
    said = _said(inventory, findings)
    known = _Known(
        nodes=tuple(_single(n.object.internalIPs[0] for n in nodes if n.object.internalIPs)),
        others=tuple(_single(ip for n in nodes for ip in n.object.internalIPs[1:])),
        podCIDRs=tuple(Prefix(c) for n in nodes for c in n.object.spec.podCIDRs),
        pods=tuple(_single(ip for _, ip in dumped_addresses(pods))),
        services=tuple(_single(_cluster_ips(services))),
    )
    made_up, ignored = _pods_elsewhere(nodes, dumped_addresses(pods))
    hosts = said.hosts or _infer_hosts(known, len(nodes), made_up)
    inferred_hosts = () if said.hosts else (hosts,)
    service_subnet = said.services or flags.services or _infer_services(known, services, inferred_hosts)
    others = (*inferred_hosts, *(() if said.services else (service_subnet,)), *known.nodes, *known.others)
    pod_range = said.pods or flags.pods
    if pod_range is None and (known.podCIDRs or not made_up):
        pod_range = _infer_pods(nodes, pods, known, others)
    apart = not said.pods and (ignored or (made_up and not known.podCIDRs))
    pod_subnet = _made_up_pods(known, len(nodes), others) if apart or pod_range is None else pod_range
    _check_overlaps(said, pod_subnet, service_subnet, hosts, findings)
    taken = {ip for node in nodes for ip in node.object.internalIPs} | {
        ip for _, ip in dumped_addresses(pods)
    }
    return Networks(
        pods=pod_subnet,
        services=service_subnet,
        hosts=hosts,
        router=next((ip for ip in _usable(hosts) if ip not in taken), hosts.first),
        madeUp=made_up,
        ignoredCIDRs=ignored,
        said=frozenset(
            name for name in ("podSubnet", "serviceSubnet", "hostSubnet") if getattr(said.networking, name)
        ),
        podRange=pod_range,
        podNetwork=_pod_network(inventory),
    )


def notice_networks(
    networks: Networks, nodes: Sequence[Node], flags: ClusterFlags, findings: Findings
) -> None:
    """Reports the prefixes that were inferred from the addresses in them, and where podwire's network differs
    from the cluster's.
    """
    rows = (
        ("podSubnet", "Pods", networks.podRange, DEFAULT_POD_SUBNET, flags.pods),
        ("serviceSubnet", "Services", networks.services, DEFAULT_SERVICE_SUBNET, flags.services),
        ("hostSubnet", "nodes", networks.hosts, DEFAULT_HOST_SUBNET, None),
    )
    inferred = tuple(
        (holders, network)
        for name, holders, network, default, flag in rows
        if name not in networks.said and network is not None and network not in (default, flag)
    )
    if inferred:
        findings.notice(RangesInferred(inferred))
    if networks.madeUp:
        known = any(node.spec.podCIDRs for node in nodes)
        findings.notice(PodRoutes(networks.podNetwork.facts.name, known, networks.pods))
    apart = tuple(
        node.name for node in nodes if node.internalIPs and Address(node.internalIPs[0]) not in networks.hosts
    )
    if apart:
        findings.notice(NodeRoutes(apart, networks.hosts))


def _pod_network(inventory: Inventory) -> PodNetwork:
    """Returns the Pod network that ``inventory`` asks for; the default instead of an unknown one, which
    is a problem (:func:`choose_networks`).
    """
    asked = inventory.cluster.object.networking.podNetwork if inventory.cluster else ""
    return NETWORKS.get(asked, DEFAULT)


def _said(inventory: Inventory, findings: Findings) -> _Said:
    networking = inventory.cluster.object.networking if inventory.cluster else Networking()
    origin = inventory.cluster.origin if inventory.cluster else Origin(inventory.name)
    if networking.podNetwork not in NETWORKS:
        findings.problem(
            origin,
            "networking.podNetwork",
            worded("podNetwork {} is not supported yet", networking.podNetwork),
            f"use {' or '.join(NETWORKS)}",
        )

    def parse(name: str) -> Prefix | None:
        text: str = getattr(networking, name)
        network = Prefix(text) if text else None
        if network is None:
            return None
        if special := special_use(network):
            findings.problem(
                origin,
                f"networking.{name}",
                worded("{} {} holds {} addresses", name, network, Words(special)),
                "use a private prefix (RFC 1918)",
            )
            return None
        if network.length > 30:
            findings.problem(
                origin,
                f"networking.{name}",
                worded("{} {} is too small", name, network),
                f"set networking.{name} to a shorter prefix",
            )
            return None
        return network

    return _Said(
        networking,
        origin,
        pods=parse("podSubnet"),
        services=parse("serviceSubnet"),
        hosts=parse("hostSubnet"),
    )


def special_use(network: Prefix) -> str:
    """Returns the special use of ``network`` (an address is a prefix of its own), which no host can have:
    "loopback", "multicast"… ("" if none).
    """
    if network == _BROADCAST:
        return "broadcast"
    return next((use for special, use in _NO_HOSTS.items() if network.overlaps(special)), "")


# --- what was not said ------------------------------------------------------------------------------------


def cover(networks: Collection[Prefix], enough: Callable[[Prefix], bool]) -> Prefix | None:
    """Returns the smallest prefix around all of ``networks`` (at least one) that is ``enough``; None if that
    is shorter than a /8.
    """
    around = smallest_prefix(networks)
    lengths = range(around.length, SHORTEST_INFERRED - 1, -1)
    candidates = (Prefix.of(around.first, length) for length in lengths)
    return next(filter(enough, candidates), None)


def _single(addresses: Iterable[str]) -> list[Prefix]:
    return [Address(address).host for address in addresses]


def _is_host(address: Address, network: Prefix) -> bool:
    """Returns whether ``address`` may be an interface's in ``network``: inside, and neither its first nor its
    last.
    """
    return network.has_host(address)


def _usable(network: Prefix) -> Iterator[Address]:
    return (Address.of_number(network.family, number) for number in network.numbers())


def _meets(network: Prefix, others: Iterable[Prefix]) -> bool:
    return any(network.overlaps(other) for other in others)


def _first_free(candidates: Sequence[Prefix], others: Collection[Prefix]) -> Prefix:
    """Returns the first of ``candidates`` that overlaps none of ``others``; the very first if all do."""
    return next((candidate for candidate in candidates if not _meets(candidate, others)), candidates[0])


def _infer_hosts(known: _Known, count: int, vpc: bool) -> Prefix:
    """Returns the network of ``count`` nodes. ``vpc``: it may hold the Pods' addresses as well."""
    primaries = [network.first for network in known.nodes]
    others = (*known.podCIDRs, *known.services, *(() if vpc else known.pods))
    if all(_is_host(ip, DEFAULT_HOST_SUBNET) for ip in primaries) and not _meets(DEFAULT_HOST_SUBNET, others):
        return DEFAULT_HOST_SUBNET
    needed = count + 1  # and the router

    def enough(network: Prefix) -> bool:
        return (
            all(_is_host(ip, network) for ip in primaries)
            and network.size - 2 >= needed
            and not _meets(network, others)
        )

    found = cover(known.nodes, enough) if known.nodes else None
    everything = (*others, *known.nodes, *known.others, *known.pods)
    return found or _first_free((DEFAULT_HOST_SUBNET, *_OTHER_HOSTS), everything)


def _cluster_ips(services: Iterable[Service]) -> Iterator[Address]:
    for service in services:
        for text in (service.spec.clusterIPs or (service.spec.clusterIP,)) if service.addressed else ():
            if (address := _parse(text)) is not None:
                yield address


def _infer_services(known: _Known, services: Sequence[Service], hosts: Sequence[Prefix]) -> Prefix:
    """Returns the range of the ClusterIPs. If no prefix holds them all and nothing else, it is the longest
    one around that of default/kubernetes, or of the first Service.
    """
    others = (*hosts, *known.nodes, *known.others, *known.podCIDRs, *known.pods)
    given = {ip: service.key for service in services for ip in _cluster_ips([service])}
    if all(_is_host(ip, DEFAULT_SERVICE_SUBNET) for ip in given) and not _meets(
        DEFAULT_SERVICE_SUBNET, others
    ):
        return DEFAULT_SERVICE_SUBNET
    if not given:
        return _first_free((DEFAULT_SERVICE_SUBNET, *_OTHER_SERVICES), others)
    count = 1 + sum(1 for service in services if service.addressed)  # default/kubernetes

    def enough(network: Prefix) -> bool:
        first = given.get(network.first.offset(1), "default/kubernetes")
        room = network.size - 2 >= count and first == "default/kubernetes"
        return room and all(_is_host(ip, network) for ip in given) and not _meets(network, others)

    if found := cover(known.services, enough):
        return found
    centre = next((ip for ip, key in given.items() if key == "default/kubernetes"), next(iter(given)))
    around = (Prefix.of(centre, length) for length in range(12, 31))
    return next((n for n in around if _is_host(centre, n) and not _meets(n, others)), DEFAULT_SERVICE_SUBNET)


def _parse(text: str) -> Address | None:
    """Returns an address of the cluster's family; None if it is missing, or of the other one."""
    return Address(text) if family_of(text) is BUILT else None


def dumped_addresses(pods: Sequence[Draft[Pod]]) -> list[tuple[str, Address]]:
    """Returns (node, address) of every Pod, if this is a dump: that is, if each Pod (with a network of its
    own) carries its address.

    An address on some Pods only is a request, and tells nothing of the cluster's prefixes.
    """
    rows = []
    for draft in pods:
        pod = draft.object
        if pod.spec.hostNetwork:
            continue
        address = next(iter(pod.ips), None)
        if address is None or address.family is not BUILT:
            return []
        rows.append((pod.spec.nodeName, address))
    return rows


def _pods_elsewhere(nodes: Sequence[Draft[Node]], dumped: Sequence[tuple[str, Address]]) -> tuple[bool, bool]:
    """Returns whether the Pods' addresses lie outside their nodes' podCIDRs, and whether the podCIDRs are in
    the way.

    This is so if a cloud gives Pods addresses of the nodes' network (VPC CNI), and if an IPAM of its own
    gives out blocks whatever the podCIDRs are, and lends addresses of them to other nodes (Calico).
    """
    cidrs = {n.object.name: [Prefix(c) for c in n.object.spec.podCIDRs] for n in nodes}
    owners = {cidr: name for name, own in cidrs.items() for cidr in own}
    if not dumped:
        return False, False
    if not owners:
        pods = _single(ip for _, ip in dumped)
        found = cover(pods, lambda _: True)
        of_nodes = _single(ip for n in nodes for ip in n.object.internalIPs)
        host_network = cover(of_nodes, lambda _: True) if of_nodes else None
        together = (
            found is None
            or _meets(found, of_nodes)
            or (host_network is not None and _meets(host_network, pods))
        )
        shares = {Prefix.of(ip, POD_CIDR_LENGTH): ip for _, ip in dumped}
        return together or any(
            _ends(ip, share) or _meets(share, of_nodes) for share, ip in shares.items()
        ), False
    longest = sorted({cidr.length for cidr in owners})
    at_home = in_the_way = False
    for node, ip in dumped:
        for length in longest:
            cidr = Prefix.of(ip, length)
            if cidr in owners:
                in_the_way |= owners[cidr] != node or _ends(ip, cidr)
                at_home = True
    return in_the_way or not at_home, in_the_way


def _ends(ip: Address, network: Prefix) -> bool:
    """Returns whether a bridge could not have ``network`` beside a Pod with ``ip``: it is one of the first
    two addresses, or the last.
    """
    return ip in (network.first, network.first.offset(1), network.last)


def _made_up_pods(known: _Known, count: int, others: Sequence[Prefix]) -> Prefix:
    """Returns a prefix for the bridges of ``count`` nodes that overlaps nothing else."""
    roomy = [
        n for n in (DEFAULT_POD_SUBNET, *_OTHER_PODS) if n.size >> (n.family.bits - POD_CIDR_LENGTH) >= count
    ]
    return _first_free(
        roomy or [DEFAULT_POD_SUBNET], (*others, *known.podCIDRs, *known.pods, *known.services)
    )


def _infer_pods(
    nodes: Sequence[Draft[Node]], pods: Sequence[Draft[Pod]], known: _Known, others: Sequence[Prefix]
) -> Prefix:
    """Returns the Pods' prefix, inferred from the podCIDRs and, in a dump, the Pods' addresses; from the
    podCIDRs alone if no prefix holds those and nothing else. (Pods outside have routes of their own anyway.)
    The Services' range may be a part of it that overlaps no podCIDR, as on GKE of old.
    """
    dumped = dumped_addresses(pods)
    missing = sum(1 for n in nodes if not n.object.spec.podCIDRs)

    def enough(network: Prefix) -> bool:
        return missing == 0 or len(_shares(nodes, dumped, network)) == missing

    inside = (*known.podCIDRs, *known.pods)
    if all(n.is_within(DEFAULT_POD_SUBNET) for n in inside) and not _meets(
        DEFAULT_POD_SUBNET, (*others, *known.services)
    ):
        return DEFAULT_POD_SUBNET
    if not inside:
        return _first_free((DEFAULT_POD_SUBNET, *_OTHER_PODS), (*others, *known.services))
    within = [other for other in others if not _meets(other, (*inside, *known.nodes, *known.others))]
    nodes_alone = [other for other in others if other not in within]
    for these, apart in (
        (inside, others),
        (known.podCIDRs, others),
        (inside, nodes_alone),
        (known.podCIDRs, nodes_alone),
    ):
        if these and (found := cover(these, lambda n, apart=apart: enough(n) and not _meets(n, apart))):  # type: ignore[misc]
            return found
    return known.podCIDRs[0] if known.podCIDRs else DEFAULT_POD_SUBNET


# --- checks -----------------------------------------------------------------------------------------------


def _check_overlaps(said: _Said, pods: Prefix, services: Prefix, hosts: Prefix, findings: Findings) -> None:
    for one, a, other, b in (
        ("podSubnet", pods, "serviceSubnet", services),
        ("podSubnet", pods, "hostSubnet", hosts),
        ("serviceSubnet", services, "hostSubnet", hosts),
    ):
        if a.overlaps(b) and (getattr(said.networking, one) or getattr(said.networking, other)):
            change = other if getattr(said.networking, one) and not getattr(said.networking, other) else one
            findings.problem(
                said.origin,
                f"networking.{change}",
                worded("{} {} and {} {} overlap", Words(one), a, Words(other), b),
                f"set networking.{change} to a prefix apart from the other",
            )


def check_node_addresses(nodes: Sequence[Draft[Node]], networks: Networks, findings: Findings) -> None:
    """Checks that no address is used twice, nor lies among Pods or Services."""
    owners: dict[str, str] = {}
    for draft in nodes:
        for index, ip in enumerate(draft.object.internalIPs):
            path = address_path(draft, index)
            if ip in owners:
                findings.problem(
                    draft.origin,
                    path,
                    worded("{} is the address of node {} already", ip, owners[ip]),
                    "node addresses are unique",
                )
            owners.setdefault(ip, draft.object.name)
            if special := special_use(ip.host):
                findings.problem(
                    draft.origin,
                    path,
                    worded("{} is a {} address", ip, Words(special)),
                    "give the node an address of its own",
                )
            elif ip in networks.hosts and not _is_host(ip, networks.hosts):
                hint = "set networking.hostSubnet to the prefix of the nodes' addresses"
                findings.problem(
                    draft.origin,
                    path,
                    worded("{} is no host's address in hostSubnet {}", ip, networks.hosts),
                    hint,
                )
            elif ip not in networks.hosts and (ip in networks.pods or ip in networks.services):
                findings.problem(
                    draft.origin,
                    path,
                    worded("{} lies in the Pods' or Services' prefix", ip),
                    "nodes have addresses of their own",
                )


# --- every node's share -----------------------------------------------------------------------------------


def address_nodes(
    nodes: Sequence[Draft[Node]],
    networks: Networks,
    pods: Sequence[Draft[Pod]],
    avoid: Collection[str],
    pools: Pools,
    origin: Origin,
    findings: Findings,
) -> list[Draft[Node]]:
    """Returns every node with an InternalIP and a podCIDR: the given ones, else the next free ones in the
    nodes' order.

    ``avoid`` are addresses of the host network that have another use (load balancers, externalIPs). ``pools``
    hold those that load balancers may still get: nodes get them last. ``origin`` is the place of networking.
    A node without room keeps an empty podCIDR or no address, which is a problem.
    """
    check_node_addresses(nodes, networks, findings)
    if networks.ignoredCIDRs:
        nodes = [
            replace(d, object=replace(d.object, spec=replace(d.object.spec, podCIDR="", podCIDRs=())))
            for d in nodes
        ]
    _check_pod_cidrs(nodes, networks, findings)
    taken = {
        networks.router,
        *map(_parse, avoid),
        *(ip for n in nodes for ip in n.object.internalIPs),
    }
    taken |= {ip for _, ip in dumped_addresses(pods)}
    numbers = chain.from_iterable(pools.outside(networks.hosts))
    unpooled = (Address.of_number(networks.hosts.family, number) for number in numbers)
    free_hosts = (ip for ip in chain(unpooled, pools.inside(networks.hosts)) if ip not in taken)
    shares = _shares(nodes, [] if networks.madeUp else dumped_addresses(pods), networks.pods)
    result = []
    for draft in nodes:
        node = draft.object
        if not node.internalIPs:
            ip = next(free_hosts, None)
            if ip is None:
                findings.problem(
                    origin,
                    "networking.hostSubnet",
                    worded(
                        "hostSubnet {} is too small for {} nodes and a router", networks.hosts, len(nodes)
                    ),
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
                    worded(
                        "podSubnet {} is too small for a /{} on each of {} nodes",
                        networks.pods,
                        POD_CIDR_LENGTH,
                        len(nodes),
                    ),
                    "set networking.podSubnet to a shorter prefix",
                )
            else:
                node = replace(node, spec=replace(node.spec, podCIDR=str(share), podCIDRs=(str(share),)))
        result.append(replace(draft, object=node))
    return result


def _check_pod_cidrs(nodes: Sequence[Draft[Node]], networks: Networks, findings: Findings) -> None:
    rows = sorted((Prefix(cidr), index) for index, n in enumerate(nodes) for cidr in n.object.spec.podCIDRs)
    for network, index in rows:
        if "podSubnet" in networks.said and not network.is_within(networks.pods):
            findings.problem(
                nodes[index].origin,
                pod_cidr_path(nodes[index]),
                worded("podCIDR {} lies outside podSubnet {}", network, networks.pods),
                "set networking.podSubnet to a prefix that holds every node's podCIDR",
            )
    for (one, first), (other, second) in pairwise(rows):
        if one.overlaps(other):
            late, early = max(first, second), min(first, second)
            findings.problem(
                nodes[late].origin,
                pod_cidr_path(nodes[late]),
                worded(
                    "podCIDR of node {} overlaps that of node {} ({}, {})",
                    nodes[late].object.name,
                    nodes[early].object.name,
                    Words(one),
                    Words(other),
                ),
                "every node has a podCIDR of its own",
            )


def _shares(
    nodes: Sequence[Draft[Node]], dumped: Iterable[tuple[str, Address]], subnet: Prefix
) -> dict[str, Prefix]:
    """Returns a /24 of ``subnet`` for each node that has no podCIDR; a node is missing if there is no room.

    In a dump without podCIDRs a node gets the /24 in which its Pods already are, if no other node's Pods are
    there.
    """
    wanting = [n.object.name for n in nodes if not n.object.spec.podCIDRs]
    if not wanting or subnet.length > POD_CIDR_LENGTH:
        return {}
    given = [Prefix(c) for n in nodes for c in n.object.spec.podCIDRs]
    where: dict[Prefix, set[str]] = {}
    for node, address in dumped:
        where.setdefault(Prefix.of(address, POD_CIDR_LENGTH), set()).add(node)
    shares: dict[str, Prefix] = {}
    for share, its_nodes in sorted(where.items()):
        name = next(iter(its_nodes))
        free = share.is_within(subnet) and not any(share.overlaps(g) for g in given)
        if len(its_nodes) == 1 and name in wanting and name not in shares and free:
            shares[name] = share
    candidates = (
        s for s in subnet.subnets(POD_CIDR_LENGTH) if s not in where and not any(s.overlaps(g) for g in given)
    )
    for name in wanting:
        if name not in shares:
            share_or_none = next(candidates, None)
            if share_or_none is None:
                break
            shares[name] = share_or_none
    return shares
