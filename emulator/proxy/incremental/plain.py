"""Recognises plain Services: nothing but a ClusterIP, and the same endpoints from every node. Most Services
of a large cluster are plain.

A shorter way to the results of :mod:`emulator.proxy.endpoints` for them. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...net import (
    Family,
    TransportProtocol,
    are_canonical,
)
from ...objects.kinds import EndpointSlice, Service
from ...plan.checked import number
from ..endpoints import port_name, protocol_of


class PlainPort(NamedTuple):
    """Describes the port of a Service that has one port, nothing but a ClusterIP, and from every node the
    same endpoints, all of them ready.

    Most Services of a large cluster are so. ``endpoints``: their addresses in the order of ``ip:port``, at
    least one. All addresses are canonical ones of ``family``, as the plain texts of which rules are written
    fastest.
    """

    name: str
    protocol: TransportProtocol
    clusterIP: str
    port: int
    targetPort: int
    endpoints: Sequence[str]
    family: Family


def plain_port(service: Service, slices: Sequence[EndpointSlice], family: Family) -> PlainPort | None:
    """Returns the results of :func:`ports_of` and :func:`choose` for a plain Service, at a third of their
    cost; None if it is not obviously plain.

    Raises as :func:`ports_of`.
    """
    spec = service.spec
    if (
        spec.type != "ClusterIP"
        or spec.externalIPs
        or spec.loadBalancerSourceRanges
        or spec.sessionAffinity != "None"
        or spec.internalTrafficPolicy != "Cluster"
        or service.status.loadBalancer.ingress
        or not (len(spec.clusterIPs) == len(spec.ports) == len(slices) == 1 == len(slices[0].ports))
    ):
        return None
    (ip,), (port,), (item,) = spec.clusterIPs, spec.ports, slices
    (target,) = item.ports
    if service.headless or not ip or port.nodePort or item.addressType != family.word or not item.endpoints:
        return None
    if target.port is None or (target.name or "") != port.name or target.protocol != port.protocol:
        return None
    # by "ip:", which sorts them as "ip:port" does: 10.0.0.10:80 comes before 10.0.0.1:80
    found: dict[str, str] = {}
    for endpoint in item.endpoints:
        if not endpoint.addresses or endpoint.hints or not endpoint.ready:
            return None
        server = endpoint.addresses[0]
        found[server + ":"] = server
    cluster_ip = str(ip)
    if not are_canonical(family, (cluster_ip, *found.values())):
        return None  # ports_of refuses what is no address
    name = port_name(service.metadata.namespace, service.metadata.name, port.name)
    return PlainPort(
        name,
        protocol_of(port.protocol),
        cluster_ip,
        number(port.port),
        number(target.port),
        [found[key] for key in sorted(found)],
        family,
    )
