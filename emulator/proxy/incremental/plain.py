"""Recognises plain Services: nothing but a ClusterIP, and the same endpoints from every node. Most Services
of a large cluster are plain.

A shorter way to the results of :mod:`emulator.proxy.endpoints` for them. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from emulator.net import (
    IPV4,
    IPV6,
    Address,
    Endpoint,
    TransportProtocol,
    family_of,
)
from emulator.objects.kinds import EndpointSlice, Service
from emulator.plan.checked import address, number
from emulator.proxy.endpoints import port_name, protocol_of


class PlainPort(NamedTuple):
    """Describes the port of a Service that has one port, nothing but a ClusterIP, and from every node the
    same endpoints, all of them ready.

    Most Services of a large cluster are so. ``endpoints``: their addresses in the order of ``ip:port``, at
    least one.
    """

    name: str
    protocol: TransportProtocol
    clusterIP: str
    port: int
    targetPort: int
    endpoints: Sequence[Address]


def plain_port(service: Service, slices: Sequence[EndpointSlice]) -> PlainPort | None:
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
    if (
        service.headless
        or not ip
        or family_of(ip) is IPV6
        or port.nodePort
        or item.addressType != IPV4.word
        or not item.endpoints
    ):
        return None
    if target.port is None or (target.name or "") != port.name or target.protocol != port.protocol:
        return None
    # by the endpoint's text, as kube-proxy sorts them: 10.0.0.10:80 comes before 10.0.0.1:80
    found: dict[str, Address] = {}
    target_port = number(target.port)
    for endpoint in item.endpoints:
        if not endpoint.addresses or endpoint.hints or not endpoint.ready:
            return None
        server = address(endpoint.addresses[0])
        found[str(Endpoint(server, target_port))] = server
    name = port_name(service.metadata.namespace, service.metadata.name, port.name)
    return PlainPort(
        name,
        protocol_of(port.protocol),
        address(ip),
        number(port.port),
        target_port,
        [found[key] for key in sorted(found)],
    )
