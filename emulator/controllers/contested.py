"""Reports addresses and ports that several Services claim, and endpoints that are such addresses themselves,
or outside the cluster.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ..net import Endpoint, Prefix, addresses_of
from ..objects.families import BUILT
from ..objects.kinds import EndpointSlice, Node, Service
from ..objects.notices import ManagedControlPlane
from ..objects.references import service_ref
from ..objects.warnings import Code
from .findings import Findings
from .networks import Networks
from .services import KUBERNETES


def notice_contested(services: Iterable[Service], findings: Findings) -> None:
    """Reports each address and port that several of ``services`` claim, and which of them gets it: the first,
    in the order given (docs/semantics 1).
    """
    holders: dict[tuple[str, int, str], Service] = {}
    lost: dict[tuple[str, str], list[str]] = {}
    for service in services:
        for key in _claims(service):
            first = holders.setdefault(key, service)
            if first is not service:
                ip, port, protocol = key
                lost.setdefault((first.key, service.key), []).append(f"{Endpoint.of(ip, port)}/{protocol}")
    for (has, lacks), claimed in lost.items():
        findings.warn(Code.CONTESTED_ADDRESS, service_ref(lacks), first=has, claimed=tuple(claimed))


def _claims(service: Service) -> Iterator[tuple[str, int, str]]:
    """Yields the addresses and ports that kube-proxy or a balancer serves for ``service``, each once."""
    if not service.proxied:
        return
    spec = service.spec
    ips = (*spec.clusterIPs, *spec.externalIPs, *(entry.ip for entry in service.status.loadBalancer.ingress))
    for ip in dict.fromkeys(addresses_of(BUILT, ips)):
        yield from ((ip, port.port, port.protocol) for port in spec.ports)


def notice_nested(
    services: Sequence[Service], slices: Iterable[EndpointSlice], nodes: Iterable[Node], findings: Findings
) -> None:
    """Reports the Services whose endpoint is an address of a Service: nothing is promised of them, and no
    flow is derived.
    """
    claimed = {key: service.key for service in reversed(services) for key in _claims(service)}
    node_ports = {
        (p.nodePort, p.protocol): s.key for s in services if s.proxied for p in s.spec.ports if p.nodePort
    }
    node_ips = {ip for node in nodes for ip in node.internalIPs}
    proxied = {service.key for service in services if service.proxied}
    for item in slices:
        key = f"{item.metadata.namespace}/{item.serviceName}"
        ends = (
            (e.addresses[0], p.port, p.protocol)
            for e in item.endpoints
            for p in item.ports
            if e.addresses and p.port
        )
        for ip, port, protocol in ends if key in proxied else ():
            other = claimed.get((ip, port, protocol)) or (
                node_ports.get((port, protocol)) if ip in node_ips else None
            )
            if other is not None:
                endpoint = str(Endpoint.of(ip, port))
                findings.warn(Code.NESTED_ENDPOINT, service_ref(key), endpoint=endpoint, other=other)
                break


def notice_on_link(
    services: Iterable[Service],
    nodes: Sequence[Node],
    networks: Networks,
    known: Collection[str],
    findings: Findings,
) -> None:
    """Reports external addresses that lie in an on-link network and belong to no machine there. A machine in
    that network sends ARP requests for them, or takes them for the network's own, and no node is reached.
    ``known`` are the addresses that machines have.
    """
    cidrs = [(Prefix(cidr), node.name) for node in nodes for cidr in node.spec.podCIDRs]
    gateways = {networks.podNetwork.facts.gateway(cidr) for cidr, _ in cidrs}
    hosts = networks.hosts
    taken = {*known, *gateways}
    for service in services:
        spec = service.spec
        ips = (*spec.externalIPs, *(entry.ip for entry in service.status.loadBalancer.ingress))
        addresses = addresses_of(hosts.family, dict.fromkeys(ips)) if service.proxied else ()
        for ip in (ip for ip in addresses if ip not in taken):
            network, node = next(((cidr, name) for cidr, name in cidrs if ip in cidr), (None, ""))
            if ip in (hosts.first, hosts.last):
                network, node = hosts, ""
            if network:
                findings.warn(
                    Code.ADDRESS_ON_LINK,
                    service_ref(service.key),
                    ip=str(ip),
                    network=str(network),
                    node=node,
                )


def find_outside(
    slices: Iterable[EndpointSlice], inside: Collection[Prefix], known: Collection[str]
) -> Mapping[str, frozenset[str]]:
    """Returns by Service the addresses of endpoints outside the cluster that no machine has. ``inside`` are
    the cluster's networks, ``known`` the addresses that machines have. API servers that are no nodes may lie
    in the nodes' own network, as on EKS.
    """
    found: dict[str, set[str]] = {}
    for item in slices:
        key = f"{item.metadata.namespace}/{item.serviceName}"
        for ip in (endpoint.addresses[0] for endpoint in item.endpoints if endpoint.addresses):
            if ip not in known and (key == KUBERNETES or not any(ip in network for network in inside)):
                found.setdefault(key, set()).add(ip)
    return {key: frozenset(ips) for key, ips in found.items()}


def notice_outside(
    outside: Mapping[str, frozenset[str]], slices: Iterable[EndpointSlice], findings: Findings
) -> None:
    """Reports the endpoints ``outside`` that each Service leads to, and how to declare a machine there. An
    endpoint that is neither ready nor terminating and serving is never used.
    """
    told: dict[str, dict[str, None]] = {}
    for item in slices if outside else ():
        key = f"{item.metadata.namespace}/{item.serviceName}"
        for endpoint in item.endpoints if key in outside else ():
            used = endpoint.ready or (endpoint.serving and endpoint.terminating)
            if used and endpoint.addresses and endpoint.addresses[0] in outside[key]:
                told.setdefault(key, {})[endpoint.addresses[0]] = None
    for key, ips in told.items():
        if key != KUBERNETES:
            findings.warn(Code.ENDPOINT_OUTSIDE, service_ref(key), ips=tuple(ips))
            continue
        findings.notice(ManagedControlPlane(key, tuple(ips)))
