"""Finds the Service port behind an address, and the endpoints that each node may use for it (docs/semantics,
1 to 3).

An independent reading of the published semantics for the expectations: it shares nothing with the proxy
back-ends on purpose, so that a misreading on one side shows up as a difference. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from ..cluster.state import ClusterState
from ..model.flows import ServiceAddress
from ..net import Address, Endpoint, Family, addresses_of, prefixes_of
from ..objects import kinds
from ..objects.kinds import EndpointSlice, Service, ServicePort
from .modes import SEMANTICS

ZONE_LABEL = "topology.kubernetes.io/zone"


@dataclass(frozen=True, slots=True)
class Candidate:
    """Describes one endpoint of a Service port. ``node`` is "" when its slice names none: it is remote to
    every node.
    """

    backend: Endpoint
    node: str
    ready: bool
    draining: bool  # terminating and still serving
    zones: frozenset[str]  # hinted zones
    nodes: frozenset[str]  # hinted nodes


class PortEndpoints:
    """Holds the endpoints of one port of one Service. Compared by identity: one per port and
    :class:`ServiceTable`.
    """

    def __init__(
        self, service: Service, port: ServicePort, slices: tuple[EndpointSlice, ...], family: Family
    ) -> None:
        self.service = service
        self.family = family
        self.port = port
        self._slices = slices

    @cached_property
    def entries(self) -> tuple[Candidate, ...]:
        """Returns every endpoint, usable or not, as often as the slices have it, in their order."""
        found: list[Candidate] = []
        for item in self._slices:
            if item.addressType != self.family.word:
                continue
            for port in item.ports:
                if (
                    port.port is None
                    or (port.name or "") != self.port.name
                    or port.protocol != self.port.protocol
                ):
                    continue
                found += [_candidate(endpoint, port.port) for endpoint in item.endpoints]
        return tuple(found)

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """Returns every endpoint, usable or not, each address and port once: its first entry."""
        found: dict[Endpoint, Candidate] = {}
        for candidate in self.entries:
            found.setdefault(candidate.backend, candidate)
        return tuple(found.values())

    def candidates_at(self, node: str) -> tuple[Candidate, ...]:
        """Returns the endpoints as ``node`` takes them: an address that several entries have is local if one
        of them is (docs/semantics 2).
        """
        if len(self.entries) == len(self.candidates):
            return self.candidates
        local = {candidate.backend: candidate for candidate in self.entries if candidate.node == node}
        return tuple(local.get(candidate.backend, candidate) for candidate in self.candidates)

    @cached_property
    def ips(self) -> frozenset[str]:
        """Returns the addresses of all candidates."""
        return frozenset(c.backend.address for c in self.candidates)

    @cached_property
    def usable(self) -> tuple[Candidate, ...]:
        """Returns the endpoints that the Cluster list is made of: all ready ones; if there are none, all that
        are serving and terminating.
        """
        return _ready_else_draining(self.candidates)

    def usable_at(self, node: str) -> tuple[Candidate, ...]:
        """Returns :attr:`usable` as ``node`` takes the endpoints."""
        return (
            self.usable
            if len(self.entries) == len(self.candidates)
            else _ready_else_draining(self.candidates_at(node))
        )

    def cluster_list(self, node: str, labels: Mapping[str, str]) -> tuple[Endpoint, ...]:
        """Returns the Cluster list of ``node``, narrowed by hints; ``labels`` are the node's."""
        return tuple(c.backend for c in self._hinted(node, labels.get(ZONE_LABEL, "")))

    def local_list(self, node: str) -> tuple[Endpoint, ...]:
        """Returns the Local list of ``node``: its ready endpoints; if there are none, its serving and
        terminating ones. Hints never apply.
        """
        return tuple(
            c.backend
            for c in _ready_else_draining(tuple(c for c in self.candidates_at(node) if c.node == node))
        )

    @cached_property
    def ready(self) -> tuple[Endpoint, ...]:
        """Returns the addresses that some entry has as ready, wherever they are: all that a mode without
        policies asks for (docs/semantics 15).
        """
        return tuple(dict.fromkeys(c.backend for c in self.entries if c.ready))

    @property
    def nodes(self) -> tuple[str, ...]:
        """Returns the nodes that hold usable endpoints, each once, in the order of the endpoints."""
        usable = {c.backend for c in self.usable}
        return tuple(
            dict.fromkeys(
                c.node for c in self.entries if c.node and c.backend in usable and (c.ready or c.draining)
            )
        )

    def _hinted(self, node: str, zone: str) -> tuple[Candidate, ...]:
        usable = self.usable_at(node)
        if not all(c.ready for c in usable):
            return usable
        if all(c.nodes for c in usable):
            on_node = tuple(c for c in usable if node in c.nodes)
            if on_node:
                return on_node
        if all(c.zones for c in usable):
            in_zone = tuple(c for c in usable if zone in c.zones)
            if in_zone:
                return in_zone
        return usable


class ServiceTable:
    """Describes every address and port that kube-proxy captures, and the Service port behind each
    (docs/semantics 1).

    ``addresses`` is keyed by (address, port, protocol), ``node_ports`` by (port, protocol). Where two
    Services claim the same one, the first has it; ``contested`` are the keys of these. ``mixed`` are the keys
    for which different treatment is asked for: by several Services, or by one whose ClusterIP is an external
    address of it too. ``balanced``, keyed as ``addresses``, is what kube-proxy
    does not capture, since a balancer in the path does.
    """

    def __init__(self, state: ClusterState) -> None:
        self.ports: tuple[PortEndpoints, ...] = tuple(
            PortEndpoints(service, port, state.slices_of.get(service.key, ()), state.family)
            for service in state.services
            if service.proxied
            for port in service.spec.ports
        )
        self.addresses: dict[tuple[str, int, str], tuple[PortEndpoints, ServiceAddress]] = {}
        self.node_ports: dict[tuple[int, str], PortEndpoints] = {}
        self.balanced: dict[tuple[str, int, str], PortEndpoints] = {}
        self.contested: set[tuple[str, int, str]] = set()
        self.mixed: set[tuple[str, int, str]] = set()
        self.cluster_ips = frozenset(
            ip for service in state.services if service.proxied for ip in cluster_ips(service, state.family)
        )
        for endpoints in self.ports:
            port = endpoints.port
            for how, ip in _captured(
                endpoints.service, state.family, ip_mode=SEMANTICS[state.proxy.mode].ip_mode
            ):
                key = (ip, port.port, port.protocol)
                first, first_how = self.addresses.setdefault(key, (endpoints, how))
                if first.service is not endpoints.service:
                    self.contested.add(key)
                    if (first_how, *_treatment(first.service)) != (how, *_treatment(endpoints.service)):
                        self.mixed.add(key)
                elif first_how == "clusterIP" != how:
                    self.mixed.add(key)
            for ip in state.balancer_ips(endpoints.service):
                self.balanced.setdefault((ip, port.port, port.protocol), endpoints)
            if port.nodePort:
                self.node_ports.setdefault((port.nodePort, port.protocol), endpoints)

    @cached_property
    def ips(self) -> frozenset[str]:
        """Returns the addresses of Services that kube-proxy or a balancer captures."""
        return frozenset(ip for ip, _, _ in (*self.addresses, *self.balanced))


def _treatment(service: Service) -> tuple[object, ...]:
    """Returns the fields of ``service`` that decide how packets to an external address of it are treated,
    whoever serves.
    """
    return (
        service.spec.externalTrafficPolicy,
        service.spec.internalTrafficPolicy,
        service.spec.loadBalancerSourceRanges,
    )


def cluster_ips(service: Service, family: Family) -> tuple[Address, ...]:
    """Returns the ClusterIPs in ``family`` of a proxied Service, the primary one first."""
    given = service.spec.clusterIPs or (service.spec.clusterIP,)
    return addresses_of(family, given)


def external_ips(service: Service, family: Family) -> tuple[Address, ...]:
    """Returns the externalIPs of ``family``: kube-proxy's proxier of one family leaves the other family's out
    (MapIPsByIPFamily).
    """
    return addresses_of(family, service.spec.externalIPs)


def load_balancer_ips(service: Service, family: Family, *, ip_mode: bool = True) -> tuple[Address, ...]:
    """Returns the load-balancer ingress addresses of ``family`` that kube-proxy captures: not those whose
    ``ipMode`` is ``Proxy``, if it knows that field.
    """
    ingress = service.status.loadBalancer.ingress
    return addresses_of(family, (i.ip for i in ingress if not (ip_mode and i.ipMode == "Proxy")))


def in_source_ranges(service: Service, ip: str) -> bool:
    """Returns whether ``ip`` may come to the load-balancer addresses of ``service`` by its
    loadBalancerSourceRanges. Without ranges every address may.
    """
    ranges = prefixes_of(Address(ip).family, service.spec.loadBalancerSourceRanges)
    return not ranges or any(ip in prefix for prefix in ranges)


def _captured(service: Service, family: Family, *, ip_mode: bool) -> Iterator[tuple[ServiceAddress, str]]:
    yield from (("clusterIP", ip) for ip in cluster_ips(service, family))
    yield from (("externalIP", ip) for ip in external_ips(service, family))
    yield from (("loadBalancer", ip) for ip in load_balancer_ips(service, family, ip_mode=ip_mode))


def _candidate(endpoint: kinds.Endpoint, port: int) -> Candidate:
    """Returns the candidate of ``endpoint``: its first address counts, as the EndpointSlice API says that
    they are fungible.
    """
    hints = endpoint.hints
    return Candidate(
        backend=Endpoint.of(endpoint.addresses[0], port),
        node=endpoint.nodeName or "",
        ready=endpoint.ready,
        draining=endpoint.serving and endpoint.terminating,
        zones=frozenset(z.name for z in hints.forZones) if hints else frozenset(),
        nodes=frozenset(n.name for n in hints.forNodes) if hints else frozenset(),
    )


def _ready_else_draining(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    return tuple(c for c in candidates if c.ready) or tuple(c for c in candidates if c.draining)
