"""Finds stale conntrack entries: connections that a node would go on translating, or not translating, by old
rules for as long as packets come.

Rules apply to a connection's first packet only. TCP clients notice when an endpoint is gone, UDP clients do
not. kube-proxy deletes stale entries (pkg/proxy/conntrack/cleanup.go in v1.30): connections to an endpoint
that no longer serves, to an address that is no longer a Service's, and those that passed untranslated before
the address had an endpoint. An endpoint that is terminating but still serving keeps its clients. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..cluster.state import ClusterState
from ..net import Endpoint, localhost
from ..plan.operations import DelConnections
from .changes import ServiceChange
from .endpoints import ServicePortFacts, service_ports
from .local import local_addresses

_Serving = dict[Endpoint, frozenset[Endpoint]]  # dialled address → endpoints that serve there


def stale_connections(
    old: ClusterState, new: ClusterState, changes: Sequence[ServiceChange]
) -> Iterator[DelConnections]:
    """Yields the entries that every node that existed before must delete, once it has the rules of
    ``new``.
    """
    if not any(port.protocol == "UDP" for change in changes for port in (*change.old, *change.new)):
        return
    before, after = _udp_ports(old), _udp_ports(new)
    for node in new.nodes:
        if node.name in old.node:
            yield from _stale(node.name, _serving(old, node.name, before), _serving(new, node.name, after))


def _stale(node: str, before: _Serving, after: _Serving) -> Iterator[DelConnections]:
    for dialled in sorted(before | after, key=str):
        was, serves = before.get(dialled, frozenset()), after.get(dialled, frozenset())
        for endpoint in sorted(was - serves, key=str):
            why = (
                f"{endpoint} no longer serves {dialled}: a UDP client that never stops sending would be "
                "sent there for ever"
            )
            yield DelConnections(netns=node, protocol="UDP", dialled=dialled, server=endpoint, why=why)
        if serves and not was:
            why = (
                f"{dialled} is served from now on: what a UDP client sent before went its way "
                "untranslated, and would for ever"
            )
            yield DelConnections(netns=node, protocol="UDP", dialled=dialled, server=dialled, why=why)


def _udp_ports(state: ClusterState) -> tuple[ServicePortFacts, ...]:
    return tuple(port for port in service_ports(state) if port.protocol == "UDP")


def _serving(state: ClusterState, node: str, ports: tuple[ServicePortFacts, ...]) -> _Serving:
    """Returns every address that leads to a Service on ``node``. If two Services claim one address, both
    serve there.
    """
    serving: dict[Endpoint, frozenset[Endpoint]] = {}
    own = (localhost(state.family), *local_addresses(state, node))
    for port in ports:
        endpoints = frozenset(Endpoint.of(e.ip, e.port) for e in port.endpoints if e.ready or e.draining)
        ips = (port.clusterIP, *port.externalIPs, *port.loadBalancerVIPs)
        dialled = [Endpoint.of(ip, port.port) for ip in ips]
        dialled += [Endpoint(ip, port.nodePort) for ip in own if port.nodePort]
        for address in dialled:
            serving[address] = serving.get(address, frozenset()) | endpoints
    return serving
