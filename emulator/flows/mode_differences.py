"""Derives flows to destinations that kube-proxy's modes treat differently (docs/semantics 8 and 9), chosen
from the objects alone. Pure.

Clients seldom come here, and notice first when the mode changes: node ports at a node's other addresses and
at localhost, a port that a ClusterIP does not have, an address that no Service has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..cluster.state import ClusterState
from ..model.flows import Client, Destination, Flow
from ..net import Address, addresses_of, is_loopback, localhost
from ..objects.config import FlowProtocol
from ..objects.kinds import Node, Pod
from ..oracle.endpoints import PortEndpoints, cluster_ips
from ..oracle.expectations import Expectations
from ..oracle.parties import (
    address_destination,
    external_client,
    node_client,
    pod_client,
    service_destination,
)
from .derive import within_budget
from .flowbook import FlowBook, flow_name

MOST_SERVICES = 100  # their node ports are dialled where modes differ
_MOST_PORTS = 65535


class _Edge(NamedTuple):
    client: Client
    to: Destination
    protocol: FlowProtocol
    note: str


def derive_mode_differences(expectations: Expectations, flows: Sequence[Flow] = ()) -> tuple[Flow, ...]:
    """Returns the flows with their controls, without those that are among ``flows`` already; the controls
    last.
    """
    state = expectations.state
    there = {_key(flow.client, flow.to, flow.protocol) for flow in flows}
    names = {flow.name for flow in flows}
    book = FlowBook(expectations)
    for edge in (*_node_ports(expectations), *_service_cidr(expectations, _asker(state))):
        if _key(edge.client, edge.to, edge.protocol) not in there:
            book.add(
                flow_name(edge.client, edge.to, edge.protocol, edge.note), edge.client, edge.to, edge.protocol
            )
    return within_budget([flow for flow in book.flows() if flow.name not in names])


def _key(client: Client, to: Destination, protocol: str) -> tuple[str, str, int, str]:
    """Returns what makes two flows the same; one node's localhost is as good as another's."""
    return "" if to.how == "nodePort" and is_loopback(to.ip) else client.netns, to.ip, to.port, protocol


def _asker(state: ClusterState) -> Pod | None:
    """Returns a Pod, one that serves nothing if there is one."""
    serving = {listener.pod for listener in state.listeners}
    return next(
        iter(sorted((p for p in state.pods if not p.spec.hostNetwork), key=lambda pod: pod.key in serving)),
        None,
    )


def _node_ports(expectations: Expectations) -> Iterator[_Edge]:
    """Yields one node port of each Service: on localhost (TCP), at the node's bridge, and from outside at
    another InternalIP, where there is one.
    """
    state, seen = expectations.state, set[str]()
    for endpoints in expectations.table.ports:
        service = endpoints.service
        if (
            not endpoints.port.nodePort
            or not endpoints.usable
            or service.key in seen
            or expectations.is_nested(endpoints)
        ):
            continue
        seen.add(service.key)
        if len(seen) > MOST_SERVICES:
            return
        node = next((state.node[name] for name in endpoints.nodes if name in state.node), state.nodes[0])
        protocol = endpoints.port.protocol
        if protocol == "TCP":
            yield _Edge(
                node_client(node),
                _at(endpoints, node, localhost(state.family)),
                protocol,
                f"svc {service.key}",
            )
        if not state.madeUpBridges:
            bridge = _at(endpoints, node, state.gateway(node.name))
            yield _Edge(node_client(node), bridge, protocol, f"svc {service.key}, at its bridge's address")
            pods = [pod for pod in state.pods_on[node.name] if not pod.spec.hostNetwork]
            for pod in sorted(pods, key=lambda pod: pod.ip in endpoints.ips)[:1]:
                yield _Edge(pod_client(pod), bridge, protocol, f"svc {service.key}, at its bridge's address")
        for outside in state.clients[:1]:
            for ip in addresses_of(state.family, node.internalIPs[1:])[:1]:
                yield _Edge(
                    external_client(outside),
                    _at(endpoints, node, ip),
                    protocol,
                    f"svc {service.key}, at {ip}",
                )


def _at(endpoints: PortEndpoints, node: Node, ip: Address) -> Destination:
    return service_destination(endpoints.service, endpoints.port, "nodePort", ip, node.name)


def _service_cidr(expectations: Expectations, pod: Pod | None) -> Iterator[_Edge]:
    """Yields flows from ``pod``: to a port that a live ClusterIP (of a Service that a user wrote, if there is
    one) does not have, and to an address that no machine has.
    """
    if pod is None:
        return
    table = expectations.table
    live = [
        e for e in table.ports if e.usable and cluster_ips(e.service, e.family) and e.port.protocol == "TCP"
    ]
    for endpoints in sorted(live, key=lambda e: e.service.key == "default/kubernetes")[:1]:
        service, ip = endpoints.service, cluster_ips(endpoints.service, endpoints.family)[0]
        port = next(
            p for p in range(endpoints.port.port, _MOST_PORTS) if (ip, p, "TCP") not in table.addresses
        )
        # no Service's: it has no such port
        to = Destination(label=f"svc {service.key}:{port}", ip=ip, port=port, how="clusterIP")
        yield _Edge(pod_client(pod), to, "TCP", "a port that it does not have")
    taken = {ip for ip, _, _ in table.addresses} | table.cluster_ips | expectations.owners.keys()
    cidr = expectations.state.serviceSubnet
    free = next((cidr.nth(-n) for n in range(2, cidr.size) if cidr.nth(-n) not in taken), None)
    if free:
        yield _Edge(
            pod_client(pod),
            address_destination(expectations.owners, free, 80),
            "TCP",
            "an address that no Service has",
        )
