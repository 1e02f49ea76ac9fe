"""Holds the facts that every promise rests on: the owner of each address, its servers, and the node that a
client's packets meet first.

Pure; built once for a cluster state.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from ..cluster.state import ClusterState
from ..model.flows import Client, Flow
from ..net import Address, Endpoint, Prefix
from ..objects.config import FlowProtocol
from .detector import LocalDetector
from .endpoints import PortEndpoints, ServiceTable
from .health import HealthChecks
from .modes import SEMANTICS, Deviates, deviations_of
from .parties import Owner, find_owners

Identity = tuple[str, frozenset[tuple[str, str]]]  # a Pod's namespace and labels
# all that a promise depends on beside the cluster, and all that a policy may select the client by
Likeness = tuple[tuple[object, ...], Identity]


class Facts:
    """Holds one cluster state with its indexes. ``remembered``: announced address → the node that still is in
    the neighbour entries of clients outside.
    """

    def __init__(self, state: ClusterState, asked: Mapping[Address, str]) -> None:
        """Builds the indexes; ``asked`` is the ARP cache of clients outside
        (:func:`emulator.oracle.expectations.remember`).
        """
        self.state = state
        self.mode = state.proxy.mode
        self.semantics = SEMANTICS[self.mode]
        self._deviations = deviations_of(self.mode)
        self.remembered = {
            ip: node for ip, node in asked.items() if ip not in state.speakers and node in state.node
        }
        self.table = ServiceTable(state)
        self.owners: Mapping[str, Owner] = find_owners(state)
        self.health_checks = HealthChecks(state)
        self.detector = LocalDetector(state)
        self.node_ips = {n.name: frozenset((*n.internalIPs, state.gateway(n.name))) for n in state.nodes}
        self.pod_cidrs = tuple(Prefix(state.podCIDR(n.name)) for n in state.nodes)
        self.service_ips = frozenset(ip for ip, _, _ in self.table.addresses)
        self._identities: dict[str, Identity] = {}
        self._equal: dict[Identity, Identity] = {}
        self._served = {
            (x.netns, x.port, x.protocol) for x in state.listeners if not x.refused
        } | state.commanded_ports.keys()

    def deviates(self, what: Deviates) -> bool:
        """Returns whether the mode was seen to do that, against the published semantics of Services."""
        return what in self._deviations

    def is_local_everywhere(self, ip: str) -> bool:
        """Returns whether every node has ``ip``, a Service's address, on an interface of its own."""
        return bool(self.semantics.service_interface) and ip in self.service_ips

    def identity(self, client: Client) -> Identity:
        """Returns what a policy may select ``client`` by: the namespace and labels of its Pod ("" and none of
        nodes and of clients outside).
        """
        known = self._identities.get(client.ip)
        if known is None:
            pod = self.state.pod_by_ip.get(client.ip) if client.kind == "pod" else None
            known = (pod.namespace, frozenset(pod.metadata.labels.items())) if pod else ("", frozenset())
            # one object for what is equal: it is found by identity
            known = self._identities[client.ip] = self._equal.setdefault(known, known)
        return known

    def serves(self, netns: str, port: int, protocol: FlowProtocol) -> bool:
        """Returns whether a server in ``netns`` listens there."""
        return (netns, port, protocol) in self._served

    def service_at(self, backend: Endpoint, protocol: FlowProtocol) -> str:
        """Returns the Service that kube-proxy or a balancer leads ``backend`` on to, as it is an address of
        one itself; "" if there is none.
        """
        key = (backend.address, backend.port, protocol)
        entry = self.table.addresses.get(key)
        found = entry[0] if entry else self.table.balanced.get(key)
        if found is None and self.node_at(backend.address):
            found = self.table.node_ports.get((backend.port, protocol))
        return found.service.key if found is not None else ""

    def said_to_be_on(self, backend: Endpoint, protocol: FlowProtocol) -> frozenset[str]:
        """Returns the nodes that ``backend`` is on by the EndpointSlices of all Services ("" for a slice that
        names none).
        """
        return self._said.get((backend, protocol), frozenset())

    @cached_property
    def nested(self) -> frozenset[PortEndpoints]:
        """Returns the Service ports of which an endpoint that some node may use is itself an address of a
        Service.
        """
        ports = (
            endpoints
            for endpoints in self.table.ports
            for c in endpoints.entries
            if (c.ready or c.draining) and self.service_at(c.backend, endpoints.port.protocol)
        )
        return frozenset(ports)

    @cached_property
    def _said(self) -> Mapping[tuple[Endpoint, str], frozenset[str]]:
        said: dict[tuple[Endpoint, str], set[str]] = {}
        for port in self.table.ports:
            for candidate in port.entries:
                said.setdefault((candidate.backend, port.port.protocol), set()).add(candidate.node)
        return {key: frozenset(nodes) for key, nodes in said.items()}

    def node_at(self, ip: str) -> str:
        """Returns the node that has ``ip`` for an address of its own; "" if none has."""
        owner = self.owners.get(ip)
        return owner.node if owner is not None and owner.kind == "node" else ""

    @cached_property
    def shared(self) -> frozenset[str]:
        """Returns the network namespaces of nodes and Pods with an address that all nodes have as well, since
        a Service has it, too (docs/semantics 13): packets to or from them are delivered to the
        wrong machine.
        """
        if not self.semantics.service_interface or (owners := self.owners.keys() & self.service_ips) == set():
            return frozenset()
        alone = len(self.state.nodes) == 1
        found = (self.owners[ip] for ip in owners)
        return frozenset(
            one.netns for one in found if one.kind == "pod" or (one.kind == "node" and not alone)
        )

    def is_machines(self, node: str, ip: Address) -> bool:
        """Returns whether ``node`` sees ``ip`` as an address of one machine: no multicast address, and no
        broadcast address of a network that it is in.
        """
        hosts = self.state.hostSubnet
        own = [Prefix(self.state.podCIDR(node))]
        own += [hosts] if any(address in hosts for address in self.state.node[node].internalIPs) else []
        return ip.unicast and all(ip != network.broadcast for network in own)

    def is_on_link(self, ip: str) -> bool:
        """Returns whether ``ip`` is a Service's address, and some machine takes it for a neighbour's or for a
        network's own: one of a podCIDR, or the first or last of the host network, that nobody else has.
        """
        if ip in self.owners or ip not in self.table.ips:
            return False
        address, hosts = Address(ip), self.state.hostSubnet
        ends = (hosts.first, hosts.last)
        return address in ends or any(address in cidr for cidr in self.pod_cidrs)

    def is_on(self, node: str, ip: str) -> bool:
        """Returns whether the owner of ``ip`` is on ``node`` (or is that node), whatever an EndpointSlice
        says of that.
        """
        owner = self.owners.get(ip)
        return owner is not None and owner.node == node

    def first_node(self, flow: Flow) -> str:
        """Returns the first node on the way of ``flow`` ("" if it passes none)."""
        owner = self.owners.get(flow.to.ip)
        return flow.client.node or flow.via or self.announcer(flow.to.ip) or (owner.node if owner else "")

    def announcer(self, ip: Address) -> str:
        """Returns the node that clients outside have in their neighbour entry for ``ip``, now or from before
        (of several any one); "" if there is none.
        """
        any_node = self.state.nodes[0].name if self._is_answered_by_every_node(ip) else ""
        return self.state.speakers.get(ip, "") or self.remembered.get(ip, "") or any_node

    def has_arp_flux(self, flow: Flow) -> bool:
        """Returns whether every node answers ARP for the address dialled, so that any may be the first
        one.
        """
        return flow.client.kind == "external" and not flow.via and self._is_answered_by_every_node(flow.to.ip)

    def _is_answered_by_every_node(self, ip: str) -> bool:
        """Returns whether every node answers ARP for ``ip``."""
        return (
            self.is_local_everywhere(ip)
            and not self.state.proxy.strictARP
            and self.state.is_host(ip)
            and ip not in self.owners
        )
