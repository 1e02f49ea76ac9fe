"""Finds the destination that a flow dials: a Service port that a node's kube-proxy takes up there, a balancer
in the path, or neither.

docs/semantics 1, 9 and 14. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ..model.flows import Client, Flow, ServiceAddress
from ..net import Address, is_loopback, prefixes_of
from .endpoints import PortEndpoints, load_balancer_ips
from .facts import Facts
from .parties import balancer_client, service_destination

TrafficOrigin = Literal["pod", "node", "outside"]


@dataclass(frozen=True, slots=True)
class Translation:
    """Describes where kube-proxy takes a flow up: on ``node``, for ``endpoints`` dialled by ``how``, from
    ``origin`` as that node sees it. ``own``: at one of the node's own addresses.
    """

    node: str
    endpoints: PortEndpoints
    how: ServiceAddress
    origin: TrafficOrigin
    own: bool


def find_legs(facts: Facts, flow: Flow) -> tuple[Flow, ...] | None:
    """Returns the flows that the balancer in the path makes of ``flow``: one to the node port of each node
    that it uses. None where no balancer is dialled.
    """
    key = (flow.to.ip, flow.to.port, flow.protocol)
    endpoints = facts.table.balanced.get(key)
    if endpoints is None:
        return None
    if key in facts.table.addresses and flow.protocol != "SCTP" and facts.first_node(flow):
        # a mode without ipMode: a node that is passed takes it up itself (docs/semantics 15)
        return None
    service, port, client = endpoints.service, endpoints.port, balancer_client(facts.state)
    nodes = (facts.state.node[name] for name in facts.state.balanced[service.key]) if port.nodePort else ()
    return tuple(
        replace(
            flow,
            client=client,
            via="",
            to=service_destination(service, port, "nodePort", Address(node.internalIPs[0]), node.name),
        )
        for node in nodes
    )


def find_translation(facts: Facts, flow: Flow) -> Translation | None:
    """Returns the node whose kube-proxy takes ``flow`` up, and for which Service port (with a balancer in the
    path: one of the nodes). None where no Service is dialled, or no node is passed.
    """
    if legs := find_legs(facts, flow):
        return find_translation(facts, legs[0])
    if flow.protocol == "SCTP" and not facts.semantics.sctp:
        return None
    if is_loopback(flow.to.ip):
        return _at_node_port(facts, flow, flow.client.node) if flow.client.kind == "node" else None
    return _at_service_address(facts, flow) or _at_node_port(facts, flow, facts.node_at(flow.to.ip))


def is_martian_client(facts: Facts, flow: Flow) -> bool:
    """Returns whether a client outside has a source address that the first node on the way owns as well,
    since every node has all Service addresses in this mode: the node drops its packets as martian.
    """
    client = flow.client
    return (
        bool(facts.semantics.service_interface)
        and client.kind == "external"
        and client.ip in facts.service_ips
        and bool(facts.first_node(flow))
    )


def _at_service_address(facts: Facts, flow: Flow) -> Translation | None:
    entry = facts.table.addresses.get((flow.to.ip, flow.to.port, flow.protocol))
    if entry is None:
        return None
    endpoints, how = entry
    if not facts.deviates("externalIP first") and flow.to.ip in load_balancer_ips(
        endpoints.service, endpoints.family, ip_mode=facts.semantics.ip_mode
    ):
        how = "loadBalancer"
    node = facts.first_node(flow)
    if how == "externalIP" and flow.client.node and facts.deviates("externalIP for clients outside"):
        node = facts.node_at(flow.to.ip)  # on its way out nothing takes it up (docs/semantics 15)
    return (
        Translation(
            node, endpoints, how, _origin(facts, flow.client, node), facts.node_at(flow.to.ip) == node
        )
        if node
        else None
    )


def _at_node_port(facts: Facts, flow: Flow, node: str) -> Translation | None:
    endpoints = facts.table.node_ports.get((flow.to.port, flow.protocol))
    if endpoints is None or not node or not _is_node_port_address(facts, node, flow.to.ip):
        return None
    return Translation(node, endpoints, "nodePort", _origin(facts, flow.client, node), own=True)


def _origin(facts: Facts, client: Client, node: str) -> TrafficOrigin:
    if client.kind == "node" and client.node == node:
        return "node"
    return "pod" if facts.detector.is_local(client, node) else "outside"


def _is_node_port_address(facts: Facts, node: str, ip: str) -> bool:
    """Returns whether node ports are served at ``ip``, an address of ``node`` (docs/semantics 9)."""
    settings, primary = facts.state.proxy, facts.state.node[node].internalIPs[0]
    default = facts.semantics.node_port_addresses
    if default is None:
        return True
    if is_loopback(ip) and (facts.semantics.localhost == "never" or not settings.localhostNodePorts):
        return False
    words = settings.nodePortAddresses or default
    prefixes = prefixes_of(
        Address(ip).family, (Address(primary).host if word == "primary" else word for word in words)
    )
    return not prefixes or any(ip in prefix for prefix in prefixes)
