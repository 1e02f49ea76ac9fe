"""Load balancers without add-ons: who gives a LoadBalancer Service its address, which node announces it, and whom a balancer in the path asks.

May import ``objects`` and this room. Two kinds of address (``ipMode``): a VIP belongs to the cluster's nodes, and if it lies in the host
network one of them, the *speaker*, answers ARP for it; an address whose ipMode is Proxy belongs to the *balancer*, a machine of its own on
the host network, which connects to node ports. Sources: MetalLB v0.14 (``internal/allocator``: the first free address of the pool;
``speaker/layer2_controller.go``: the choice of the speaker), Kubernetes' cloud-provider (``controllers/service``: the nodes that a cloud's
balancer gets) and KEP-1860 (ipMode). Invariant: an address is given to one Service, and is no node's, client's or router's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from itertools import chain
from typing import Literal

from emulator.control.findings import Draft, Findings
from emulator.control.shape import EXCLUDED_LABEL
from emulator.control.state import Listener
from emulator.objects.config import Inventory
from emulator.objects.kinds import EndpointSlice, LoadBalancerIngress, LoadBalancerStatus, Node, Origin, Service, ServiceStatus

# What a user asks for an address with, in this order (the second is MetalLB's name of old; spec.loadBalancerIP is deprecated).
ADDRESS_ANNOTATIONS = ("metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs")
DEFAULT_SIZE, DEFAULT_BELOW_BROADCAST = 51, 5  # 172.18.255.200-172.18.255.250 of kind's network, as its users have it with MetalLB


@dataclass(frozen=True, slots=True)
class Pool:
    """The addresses that may be given. ``said``: by the user, so that Services of a dump that have none get one, too."""

    ranges: tuple[tuple[IPv4Address, IPv4Address], ...]
    mode: Literal["L2", "Proxy"]
    said: bool

    def __contains__(self, ip: object) -> bool:
        return isinstance(ip, IPv4Address) and any(first <= ip <= last for first, last in self.ranges)

    def __iter__(self) -> Iterator[IPv4Address]:
        return chain.from_iterable(map(IPv4Address, range(int(first), int(last) + 1)) for first, last in self.ranges)

    def __str__(self) -> str:
        return ", ".join(f"{first}-{last}" for first, last in self.ranges)


def choose_pool(inventory: Inventory, hosts: IPv4Network, findings: Findings) -> Pool:
    """The pool that the Cluster asks for, or the default one. A range outside the host network is a problem: nobody there would ask for it."""
    cluster = inventory.cluster
    said = cluster.object.loadBalancer if cluster else None
    if cluster is None or said is None or not said.addresses:
        return Pool((_default_range(hosts),), said.mode if said else "L2", said is not None)
    ranges = []
    for index, text in enumerate(said.addresses):
        first, last = (IPv4Address(end) for end in text.split("-"))
        if first in hosts and last in hosts:
            ranges.append((first, last))
            continue
        what = f"{text} is not inside hostSubnet {hosts}, where load-balancer addresses are announced"
        hint = "give addresses of the host network, or set networking.hostSubnet"
        findings.problem(cluster.origin, f"loadBalancer.addresses[{index}]", what, hint)
    return Pool(tuple(ranges), said.mode, True)


def _default_range(hosts: IPv4Network) -> tuple[IPv4Address, IPv4Address]:
    """Near the end of ``hosts``, where nodes come last; a quarter of a small network."""
    small = hosts.num_addresses < 256
    last = hosts.broadcast_address - (2 if small else DEFAULT_BELOW_BROADCAST)
    return last - (min(DEFAULT_SIZE, hosts.num_addresses // 4) - 1), last


# --- addresses --------------------------------------------------------------------------------------------


def give_addresses(
    drafts: Sequence[Draft[Service]], pool: Pool, hosts: IPv4Network, taken: Collection[str], findings: Findings
) -> list[Draft[Service]]:
    """Every LoadBalancer Service with an address in its status: the one it has, the one it asks for, else the first free one of the pool.

    As in a cluster, one that cannot be had leaves the Service without; a notice says why. A Service that comes from an API server (it has a
    uid) and has no address is one that nobody gave an address to, and stays so unless the user said which pool there is.
    """
    used = {*taken, *(i.ip for d in drafts for i in d.object.status.loadBalancer.ingress)}
    used |= {str(hosts.network_address), str(hosts.broadcast_address)}
    given: dict[int, str] = {}
    waiting: list[int] = []
    for index, draft in enumerate(drafts):
        service = draft.object
        if not _wants_address(service, pool):
            continue
        if service.spec.loadBalancerClass:
            findings.notice(f"Service {service.key} is left to its loadBalancerClass {service.spec.loadBalancerClass}: it has no address")
        elif wish := _wish(service):
            if why := _refusal(wish, pool, used):
                findings.notice(f"Service {service.key} has no load-balancer address: it asks for {wish}, which {why}")
            else:
                given[index] = wish
                used.add(wish)
        else:
            waiting.append(index)
    free = (ip for ip in map(str, pool) if ip not in used)
    for index in waiting:
        ip = next(free, "")
        if ip:
            given[index] = ip
        else:
            findings.notice(f"Service {drafts[index].object.key} has no load-balancer address: the pool {pool} has none left")
    return [replace(d, object=_with_address(d.object, given[i], pool)) if i in given else d for i, d in enumerate(drafts)]


def _wants_address(service: Service, pool: Pool) -> bool:
    if service.spec.type != "LoadBalancer" or not service.proxied or service.status.loadBalancer.ingress:
        return False
    return pool.said or not service.metadata.uid


def _wish(service: Service) -> str:
    notes = (service.metadata.annotations.get(name, "") for name in ADDRESS_ANNOTATIONS)
    wishes = (address.strip() for text in (*notes, service.spec.loadBalancerIP) for address in text.split(","))
    return next((wish for wish in wishes if wish and ":" not in wish), "")


def _refusal(wish: str, pool: Pool, used: Collection[str]) -> str:
    try:
        address = IPv4Address(wish)
    except ValueError:
        return "is no address"
    if address not in pool:
        return f"is not in the pool {pool}"
    return "is taken" if wish in used else ""


def _with_address(service: Service, ip: str, pool: Pool) -> Service:
    ingress = LoadBalancerIngress(ip=ip, ipMode="Proxy" if pool.mode == "Proxy" else "VIP")
    return replace(service, status=ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=(ingress,))))


# --- who announces ----------------------------------------------------------------------------------------


def choose_speakers(
    services: Iterable[Service], slices: Iterable[EndpointSlice], nodes: Sequence[Node], hosts: IPv4Network, taken: Collection[str]
) -> dict[str, str]:
    """Address → the node that answers ARP for it: every VIP in ``hosts`` that nobody has, by MetalLB's choice.

    All speakers order the nodes that may by a hash of node and address, and the first one announces; so they agree without a word, addresses
    are spread, and only those of a node that goes move. A Service without a serving endpoint is announced by nobody.
    """
    serving: dict[str, set[str]] = {}
    for item in slices:
        key = f"{item.metadata.namespace}/{item.serviceName}"
        for endpoint in item.endpoints:
            if endpoint.ready or endpoint.serving:
                serving.setdefault(key, set()).add(endpoint.nodeName or "")
    able = [node.name for node in nodes if may_balance(node)]
    speakers: dict[str, str] = {}
    for service in services:
        vips = [i.ip for i in service.status.loadBalancer.ingress if i.ipMode == "VIP" and "." in i.ip] if _balanced(service) else []
        holders = serving.get(service.key, set())
        local = service.spec.externalTrafficPolicy == "Local"
        eligible = [name for name in able if holders and (name in holders or not local)]
        for ip in vips if eligible else ():
            if IPv4Address(ip) in hosts and ip not in taken:
                speakers.setdefault(ip, min(eligible, key=lambda name: sha256(f"{name}#{vips[0]}".encode()).digest()))
    return speakers


def may_balance(node: Node) -> bool:
    """Whether traffic from outside may be led to ``node``: it is ready, has a network, and is not labelled otherwise."""
    unavailable = any(c.type == "NetworkUnavailable" and c.status == "True" for c in node.status.conditions)
    return node.ready and not unavailable and EXCLUDED_LABEL not in node.metadata.labels


def _balanced(service: Service) -> bool:
    return service.spec.type == "LoadBalancer" and service.proxied


# --- the balancer in the path -----------------------------------------------------------------------------


def address_balancer(
    services: Iterable[Service], pool: Pool, hosts: IPv4Network, taken: Collection[str], origin: Origin, findings: Findings
) -> str:
    """The balancer's own address: the last one of ``hosts`` that nobody has, nor may get; "" where no Service needs a balancer."""
    services = list(services)
    if not any(service.proxyIPs for service in services):
        return ""
    used = {*taken, *(i.ip for s in services for i in s.status.loadBalancer.ingress)}
    descending = map(IPv4Address, range(int(hosts.broadcast_address) - 1, int(hosts.network_address), -1))
    ip = next((ip for ip in descending if ip not in pool and str(ip) not in used), None)
    if ip is None:
        what = f"hostSubnet {hosts} has no address left for the balancer"
        findings.problem(origin, "networking.hostSubnet", what, "set networking.hostSubnet to a shorter prefix")
        return ""
    return str(ip)


def choose_targets(
    services: Iterable[Service], nodes: Sequence[Node], listeners: Iterable[Listener], findings: Findings
) -> Mapping[str, tuple[str, ...]]:
    """Service → the nodes whose node ports the balancer connects to: all that may, under eTP Local those whose health check says 200."""
    able = [node.name for node in nodes if may_balance(node)]
    healthy = {
        (li.healthCheck.service, li.node)
        for li in listeners
        if li.healthCheck is not None and li.healthCheck.localEndpoints and not li.refused
    }
    targets: dict[str, tuple[str, ...]] = {}
    for service in services:
        if not service.proxyIPs:
            continue
        if any(not port.nodePort for port in service.spec.ports):
            findings.notice(f"Service {service.key} has no node ports: the balancer, which connects to those, refuses its clients")
        local = service.spec.externalTrafficPolicy == "Local"
        targets[service.key] = tuple(name for name in able if not local or (service.key, name) in healthy)
    return targets
