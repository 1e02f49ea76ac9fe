"""Chooses the endpoints that a node's kube-proxy may use for each Service port: the one answer that every
back-end turns into rules.

Cluster facts and one node's name go in, lists come out. Nothing here depends on rules. The choice follows the
Kubernetes documents on Service traffic policies, EndpointSlice conditions and topology-aware routing, as
kube-proxy v1.30 to v1.34 implements them. Invariant: the same facts and node give the same lists in the same
order (by ``ip:port``, as kube-proxy sorts them).

One address family at a time: addresses of the other one are left to a pass of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from ..cluster.state import ClusterState
from ..net import (
    Address,
    Family,
    Prefix,
    TransportProtocol,
    endpoint_text,
    family_of,
)
from ..objects.kinds import EndpointHints, EndpointSlice, Node, Service, ServicePort
from ..plan.checked import UnsafeTextError, address, network, number

ZONE_LABEL = "topology.kubernetes.io/zone"
_NONE: frozenset[str] = frozenset()


class EndpointFacts(NamedTuple):
    """Describes one endpoint of one Service port. ``address`` is ``ip:port``; ``node`` is "" when the slice
    has none.
    """

    ip: Address
    port: int
    address: str
    node: str
    ready: bool
    draining: bool  # serving and terminating, and not ready
    zones: frozenset[str]  # hints
    nodes: frozenset[str]


def port_name(namespace: str, service: str, port: str) -> str:
    """Returns ``namespace/service:port``, as kube-proxy writes it in comments and hashes (no ``:port`` for an
    unnamed port).
    """
    return f"{namespace}/{service}:{port}" if port else f"{namespace}/{service}"


class ServicePortFacts(NamedTuple):
    """Holds the facts about a Service port that every back-end needs. ``nodePort`` and
    ``healthCheckNodePort`` are 0 when there is none, ``affinitySeconds`` is 0 without session affinity;
    ``loadBalancerVIPs`` are the ingress addresses whose ``ipMode`` is VIP.
    """

    namespace: str
    service: str
    portName: str
    protocol: TransportProtocol
    clusterIP: Address
    port: int
    nodePort: int
    externalIPs: tuple[Address, ...]
    loadBalancerVIPs: tuple[Address, ...]
    sourceRanges: tuple[Prefix, ...]
    affinitySeconds: int
    internalLocal: bool
    externalLocal: bool
    healthCheckNodePort: int
    endpoints: tuple[EndpointFacts, ...]
    doubles: tuple[EndpointFacts, ...] = ()  # further entries for addresses of ``endpoints``

    def seen_from(self, node: str) -> tuple[EndpointFacts, ...]:
        """Returns the endpoints as the kube-proxy of ``node`` keeps them: of an address's entries the last
        one that is local, else the first (pkg/proxy/endpointslicecache.go, addEndpoints).
        """
        local = {double.address: double for double in self.doubles if double.node == node}
        return tuple(local.get(e.address, e) for e in self.endpoints) if local else self.endpoints

    @property
    def name(self) -> str:
        return port_name(self.namespace, self.service, self.portName)

    @property
    def external(self) -> bool:
        """Returns whether any address but the ClusterIP leads here."""
        return bool(self.nodePort or self.externalIPs or self.loadBalancerVIPs)

    @property
    def usesCluster(self) -> bool:
        """Returns whether any rule uses the Cluster list: under eTP Local too, for the short cut of Pods and
        the node itself.
        """
        return not self.internalLocal or self.external

    @property
    def usesLocal(self) -> bool:
        return self.internalLocal or (self.externalLocal and self.external)


class EndpointChoice(NamedTuple):
    """Holds the endpoints that one node may use for one Service port. A list that no traffic policy asks for
    is empty.
    """

    cluster: tuple[EndpointFacts, ...]
    local: tuple[EndpointFacts, ...]
    hasAny: bool  # an endpoint somewhere in the cluster is usable

    @property
    def reachable(self) -> tuple[EndpointFacts, ...]:
        """Returns both lists as one, without duplicates, sorted by address."""
        if not self.local:
            return self.cluster
        return tuple(sorted({*self.cluster, *self.local}, key=_by_address))


def _by_address(endpoint: EndpointFacts) -> str:
    return endpoint.address


def _addresses(texts: Sequence[str], family: Family) -> tuple[Address, ...]:
    """Returns those of ``texts`` that are no addresses of the other family."""
    return tuple([address(a, family) for a in texts if a and family_of(a) in (family, None)]) if texts else ()


def _hints(hints: EndpointHints) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(h.name for h in hints.forZones), frozenset(h.name for h in hints.forNodes)


def _endpoints(
    slices: Iterable[EndpointSlice], port: ServicePort, family: Family
) -> tuple[tuple[EndpointFacts, ...], tuple[EndpointFacts, ...]]:
    """Returns the endpoints behind ``port``, each address once, and the further entries for those addresses.
    Slice ports are matched by name and protocol.
    """
    found: dict[str, EndpointFacts] = {}
    doubles: list[EndpointFacts] = []
    name, protocol = port.name, port.protocol
    for item in slices:
        if item.addressType != family.word:
            continue
        for slice_port in item.ports:
            port_number = slice_port.port
            if port_number is None or (slice_port.name or "") != name or slice_port.protocol != protocol:
                continue
            number(port_number)
            for endpoint in item.endpoints:
                if not endpoint.addresses:
                    continue
                # further addresses of an endpoint are equivalent by definition; kube-proxy takes the first
                ip = address(endpoint.addresses[0], family)
                key = endpoint_text(ip, port_number)
                ready, hints = endpoint.ready, endpoint.hints
                draining = not ready and endpoint.serving and endpoint.terminating
                zones, nodes = _hints(hints) if hints else (_NONE, _NONE)
                facts = EndpointFacts(
                    ip, port_number, key, endpoint.nodeName or "", ready, draining, zones, nodes
                )
                if found.setdefault(key, facts) is not facts:
                    doubles.append(facts)
    return tuple([found[key] for key in sorted(found)]), tuple(doubles)


def protocol_of(value: TransportProtocol) -> TransportProtocol:
    if value not in ("TCP", "UDP", "SCTP"):
        raise UnsafeTextError("protocol", value)
    return value


def ports_of(service: Service, slices: Iterable[EndpointSlice], family: Family) -> Sequence[ServicePortFacts]:
    """Returns the ports of ``service`` that kube-proxy serves in ``family``, sorted by name and protocol;
    ``slices`` are those of this Service.

    Raises ``UnsafeTextError`` for an invalid address, prefix, number or protocol.
    """
    spec, metadata = service.spec, service.metadata
    cluster_ips = _addresses(spec.clusterIPs or (spec.clusterIP,), family) if service.proxied else ()
    if not cluster_ips:
        return ()
    external_ips = _addresses(spec.externalIPs, family)
    ingress, ranges = service.status.loadBalancer.ingress, spec.loadBalancerSourceRanges
    vips = _addresses([i.ip for i in ingress if i.ipMode == "VIP"], family) if ingress else ()
    source_ranges = (
        tuple([network(r, family) for r in ranges if family_of(r.strip()) in (family, None)])
        if ranges
        else ()
    )
    affinity = (
        number(spec.sessionAffinityConfig.clientIP.timeoutSeconds)
        if spec.sessionAffinity == "ClientIP"
        else 0
    )
    internal_local = spec.internalTrafficPolicy == "Local"
    external_local = spec.externalTrafficPolicy == "Local" and (
        spec.type != "ClusterIP" or bool(spec.externalIPs)
    )
    health_check = (
        number(spec.healthCheckNodePort or 0) if external_local and spec.type == "LoadBalancer" else 0
    )
    ports = [
        ServicePortFacts(
            namespace=metadata.namespace,
            service=metadata.name,
            portName=port.name,
            protocol=protocol_of(port.protocol),
            clusterIP=cluster_ips[0],
            port=number(port.port),
            nodePort=number(port.nodePort or 0),
            externalIPs=external_ips,
            loadBalancerVIPs=vips,
            sourceRanges=source_ranges,
            affinitySeconds=affinity,
            internalLocal=internal_local,
            externalLocal=external_local,
            healthCheckNodePort=health_check,
            endpoints=endpoints,
            doubles=doubles,
        )
        for port in spec.ports
        for endpoints, doubles in (_endpoints(slices, port, family),)
    ]
    return ports if len(ports) == 1 else sorted(ports, key=attrgetter("portName", "protocol"))


def services_with_slices(state: ClusterState) -> Iterator[tuple[Service, Sequence[EndpointSlice]]]:
    """Yields each Service with its EndpointSlices, in the order of the state: by namespace and name.

    Facts about one Service can be dropped before the next: ten thousand take no more memory than one.
    """
    slices = state.slices_of
    for service in state.services:
        yield service, slices.get(service.key, ())


def service_ports(state: ClusterState) -> tuple[ServicePortFacts, ...]:
    """Returns every Service port that kube-proxy serves, sorted by namespace, Service, port name and
    protocol; the same for all nodes.

    Raises ``UnsafeTextError`` for an invalid address, prefix, number or protocol.
    """
    return tuple(
        [
            port
            for service, slices in services_with_slices(state)
            for port in ports_of(service, slices, state.family)
        ]
    )


def _hinted(ready: tuple[EndpointFacts, ...], node: Node) -> tuple[EndpointFacts, ...]:
    """Returns ``ready`` narrowed by topology hints: node hints first, then zone hints, each all or
    nothing.
    """
    if not ready:
        return ()
    if ready[0].nodes and all(e.nodes for e in ready):
        same_node = tuple([e for e in ready if node.name in e.nodes])
        if same_node:
            return same_node
    if ready[0].zones and all(e.zones for e in ready):
        zone = node.metadata.labels.get(ZONE_LABEL)
        if zone:
            return tuple([e for e in ready if zone in e.zones]) or ready
    return ready


def choose(port: ServicePortFacts, node: Node) -> EndpointChoice:
    """Returns the endpoints that ``node`` may use for ``port``.

    These are the ready endpoints; only without any, those that are serving while they terminate. Hints narrow
    the Cluster list alone, and never among terminating endpoints.
    """
    endpoints = port.seen_from(node.name) if port.doubles else port.endpoints
    ready = tuple([e for e in endpoints if e.ready])
    draining = () if ready else tuple([e for e in endpoints if e.draining])
    cluster = (_hinted(ready, node) or draining) if port.usesCluster else ()
    if not port.usesLocal:
        return EndpointChoice(cluster, (), bool(cluster))
    here = [e for e in endpoints if e.node == node.name]
    local = tuple([e for e in here if e.ready]) or tuple([e for e in here if e.draining])
    return EndpointChoice(cluster, local, bool(ready) or any(e.draining for e in endpoints))
