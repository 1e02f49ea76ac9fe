"""Finds stale conntrack entries: connections that a node would go on translating, or not translating, by old
rules for as long as packets come.

Rules apply to a connection's first packet only. TCP clients notice when an endpoint is gone, UDP clients do
not. kube-proxy deletes stale entries (pkg/proxy/conntrack/cleanup.go): connections to an endpoint that no
longer serves, and those that passed untranslated before the address had an endpoint. Which of them it leaves
where nothing serves any more depends on its release (:mod:`emulator.objects.releases`). An endpoint that is
terminating but still serving keeps its clients. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from ..cluster.state import ClusterState
from ..net import Endpoint, localhost
from ..objects.releases import UdpCleanup
from ..plan.operations import DelConnections
from .changes import ServiceChange
from .endpoints import ServicePortFacts, service_ports
from .local import local_addresses

_Place = Literal["clusterIP", "address", "nodePort"]


class _Served(NamedTuple):
    """Holds the endpoints that serve where ``place`` is dialled."""

    place: _Place
    endpoints: frozenset[Endpoint]


_Serving = dict[Endpoint, _Served]  # by dialled address
_NOBODY: frozenset[Endpoint] = frozenset()


def stale_connections(
    old: ClusterState,
    new: ClusterState,
    changes: Sequence[ServiceChange],
    cleanup: UdpCleanup | None = None,
) -> Iterator[DelConnections]:
    """Yields the entries that every node that existed before must delete, once it has the rules of ``new``.
    ``cleanup`` None: as the release does.
    """
    if not any(port.protocol == "UDP" for change in changes for port in (*change.old, *change.new)):
        return
    before, after = _udp_ports(old), _udp_ports(new)
    cleanup = cleanup or new.proxy.behaviour.udp_cleanup
    for node in new.nodes:
        if node.name in old.node:
            was, serves = _serving(old, node.name, before), _serving(new, node.name, after)
            yield from _stale(node.name, was, serves, cleanup)


def _stale(node: str, before: _Serving, after: _Serving, cleanup: UdpCleanup) -> Iterator[DelConnections]:
    for dialled in sorted(before | after, key=str):
        was = before[dialled].endpoints if dialled in before else _NOBODY
        now = after.get(dialled)
        serves = now.endpoints if now else _NOBODY
        place = now.place if now else before[dialled].place
        if not _cleans(cleanup, place, there=now is not None, served=bool(serves)):
            continue
        for endpoint in sorted(was - serves, key=str):
            why = (
                f"{endpoint} no longer serves {dialled}: a UDP client that never stops sending would be "
                "sent there for ever"
            )
            yield DelConnections(netns=node, protocol="UDP", dialled=dialled, server=endpoint, why=why)
        if serves and not was:
            why = (
                f"{dialled} is served from now on: what a UDP client sent before went its way "
                "untranslated, or to an endpoint that is gone, and would for ever"
            )
            yield DelConnections(netns=node, protocol="UDP", dialled=dialled, server=None, why=why)


def _cleans(cleanup: UdpCleanup, place: _Place, *, there: bool, served: bool) -> bool:
    """Returns whether kube-proxy looks at the entries of an address. ``there``: it still is a Service's;
    ``served``: by an endpoint.
    """
    if not there:
        return cleanup == "of what went" and place == "clusterIP"
    if served or cleanup in ("of what went", "of every Service"):
        return True
    return cleanup == "of served node ports" and place != "nodePort"


def _udp_ports(state: ClusterState) -> tuple[ServicePortFacts, ...]:
    return tuple(port for port in service_ports(state) if port.protocol == "UDP")


def _serving(state: ClusterState, node: str, ports: tuple[ServicePortFacts, ...]) -> _Serving:
    """Returns every address that leads to a Service on ``node``. If two Services claim one address, both
    serve there.
    """
    serving: _Serving = {}
    own = (localhost(state.family), *local_addresses(state, node))
    for port in ports:
        endpoints = frozenset(Endpoint.of(e.ip, e.port) for e in port.endpoints if e.ready or e.draining)
        dialled: list[tuple[Endpoint, _Place]] = [(Endpoint.of(port.clusterIP, port.port), "clusterIP")]
        others = (*port.externalIPs, *port.loadBalancerVIPs)
        dialled += [(Endpoint.of(ip, port.port), "address") for ip in others]
        dialled += [(Endpoint(ip, port.nodePort), "nodePort") for ip in own if port.nodePort]
        for address, place in dialled:
            known = serving.get(address)
            serving[address] = _Served(place, endpoints | (known.endpoints if known else _NOBODY))
    return serving
