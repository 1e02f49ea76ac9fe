"""Connections that a change made wrong, and that a node would go on translating, or not translating, for as
long as packets come.

Rules are asked for a connection's first packet only; TCP clients notice when an endpoint is gone, UDP has
nobody who would. kube-proxy forgets what became wrong (pkg/proxy/conntrack/cleanup.go in v1.30): connections
to an endpoint that no longer serves, to an address that is no longer a Service's, and those that were let
through untranslated before the address had an endpoint. An endpoint that is terminating but still serving
keeps its clients. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emulator.cluster.state import ClusterState
from emulator.plan.operations import DelConnections
from emulator.proxy.changes import ServiceChange
from emulator.proxy.endpoints import ServicePortFacts, service_ports
from emulator.proxy.local import local_addresses

_Serving = dict[str, frozenset[str]]  # what is dialled (ip:port) → endpoints that serve there (ip:port)


def stale_connections(
    old: ClusterState, new: ClusterState, changes: Sequence[ServiceChange]
) -> Iterator[DelConnections]:
    """Yields what every node that was there before must forget, once its rules are those of ``new``."""
    if not any(port.protocol == "UDP" for change in changes for port in (*change.old, *change.new)):
        return
    before, after = _udp_ports(old), _udp_ports(new)
    for node in new.nodes:
        if node.name in old.node:
            yield from _stale(node.name, _serving(old, node.name, before), _serving(new, node.name, after))


def _stale(node: str, before: _Serving, after: _Serving) -> Iterator[DelConnections]:
    for dialled in sorted(before | after):
        was, serves = before.get(dialled, frozenset()), after.get(dialled, frozenset())
        for endpoint in sorted(was - serves):
            why = f"{endpoint} no longer serves {dialled}: a UDP client that never stops sending would be sent there for ever"
            yield DelConnections(netns=node, protocol="UDP", dialled=dialled, server=endpoint, why=why)
        if serves and not was:
            why = f"{dialled} is served from now on: what a UDP client sent before went its way untranslated, and would for ever"
            yield DelConnections(netns=node, protocol="UDP", dialled=dialled, server=dialled, why=why)


def _udp_ports(state: ClusterState) -> tuple[ServicePortFacts, ...]:
    return tuple(port for port in service_ports(state) if port.protocol == "UDP")


def _serving(state: ClusterState, node: str, ports: tuple[ServicePortFacts, ...]) -> _Serving:
    """Every address that leads to a Service on ``node``. Where two Services claim one address, both serve
    there.
    """
    serving: dict[str, frozenset[str]] = {}
    own = ("127.0.0.1", *map(str, local_addresses(state, node)))
    for port in ports:
        endpoints = frozenset(e.address for e in port.endpoints if e.ready or e.draining)
        dialled = [f"{ip}:{port.port}" for ip in (port.clusterIP, *port.externalIPs, *port.loadBalancerVIPs)]
        dialled += [f"{ip}:{port.nodePort}" for ip in own if port.nodePort]
        for address in dialled:
            serving[address] = serving.get(address, frozenset()) | endpoints
    return serving
