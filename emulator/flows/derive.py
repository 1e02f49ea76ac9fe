"""Derives the flows to send when the user wrote none: every kind of communication, every Service port, chosen
from the objects alone. Pure.

A Service port is dialled at each of its addresses by each kind of client: a Pod beside an endpoint, one
elsewhere, one that meets itself, a node with and one without an endpoint (node ports at localhost, too), and
from outside, within the source ranges and not. Each kind has one representative; the same state always gives
the same flows in the same order. Flows that need something that the cluster does not have (no Pod, no
external client, a single node) are left out. A load-balancer address of the host network is announced by a
node, or the balancer's (``ipMode: Proxy``); any other one, an externalIP or a ClusterIP, is reached from
outside because the router has a route for it to a node (``via``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import get_args

from ..cluster.state import ClusterState
from ..model.flows import (
    Client,
    Destination,
    Flow,
    FlowKind,
    ServiceAddress,
)
from ..net import Address, localhost
from ..objects.config import ExternalServer, FlowProtocol
from ..objects.kinds import Node, Pod
from ..oracle.endpoints import (
    PortEndpoints,
    cluster_ips,
    external_ips,
    load_balancer_ips,
)
from ..oracle.expectations import Expectations
from ..oracle.parties import (
    address_destination,
    external_client,
    health_check_destination,
    loopback_destination,
    node_client,
    pod_client,
    pod_destination,
    service_destination,
)
from .client_choice import ClientChoice, served_ports
from .flowbook import FlowBook, flow_name

# Service ports that are dialled at every address by every kind of client; the others by representatives
MOST_PORTS = 100
_LOOPBACK_PODS = 2  # Pods whose containers talk over loopback
_LOOPBACK_PORTS = 4  # ports of each of them
_ATTEMPTS = 8000  # connections of all derived flows together
_HEALTH_CHECKS = 500  # asked of all nodes together


def derive_flows(state: ClusterState, expectations: Expectations | None = None) -> tuple[Flow, ...]:
    """Returns the flows of ``state`` and their controls, by kind of communication, the controls last."""
    deriver = _Deriver(expectations or Expectations(state))
    deriver.containers()
    deriver.pods_to_pods()
    deriver.nodes_and_pods()
    deriver.outside_and_pods()
    deriver.servers_outside()
    for number, endpoints in enumerate(deriver.expectations.table.ports):
        if number < MOST_PORTS:
            deriver.service(endpoints)
        else:
            deriver.representatives(endpoints)
    deriver.health_checks()
    order = get_args(FlowKind)
    return within_budget(
        sorted(deriver.book.flows(), key=lambda flow: (flow.control, order.index(flow.kind)))
    )


def count_represented(state: ClusterState) -> int:
    """Returns how many Service ports :func:`derive_flows` dials by representatives alone, since there are so
    many.
    """
    return max(0, sum(len(service.spec.ports) for service in state.services if service.proxied) - MOST_PORTS)


def within_budget(flows: Sequence[Flow]) -> tuple[Flow, ...]:
    """Returns the flows, those of many attempts cut so that all together stay within the budget: each
    Service's endpoints are then sampled (:attr:`Expectation.partial`), which a FlowCheck with ``attempts``
    does not do.
    """
    for most in (400, 200, 100, 50, 25, 12, 6, 3):
        if sum(min(flow.attempts, most) for flow in flows) <= _ATTEMPTS:
            break
    return tuple(replace(flow, attempts=most) if flow.attempts > most else flow for flow in flows)


def all_pairs(state: ClusterState) -> tuple[Flow, ...]:
    """Returns the flows of every Pod to every other Pod's TCP ports and to every Service's TCP ports by
    ClusterIP, one attempt each, without controls.

    Pods with hostNetwork are left out on both sides: they are their nodes.
    """
    pods = [pod for pod in state.pods if not pod.spec.hostNetwork]
    served = served_ports(state)
    to_pods = [
        (pod.key, pod_destination(pod, listener.port))
        for pod in pods
        for listener in served.get(pod.key, ())
        if listener.protocol == "TCP"
    ]
    to_services = [
        service_destination(service, port, "clusterIP", ip)
        for service in state.services
        if service.proxied
        for ip in cluster_ips(service, state.family)[:1]
        for port in service.spec.ports
        if port.protocol == "TCP"
    ]
    flows: list[Flow] = []
    for pod in pods:
        client = pod_client(pod)
        arrow = f"{client.label} → "
        flows += [
            Flow(name=arrow + to.label, kind="pod-to-pod", client=client, to=to, protocol="TCP", attempts=1)
            for key, to in to_pods
            if key != pod.key
        ]
        flows += [
            Flow(
                name=arrow + to.label, kind="pod-to-service", client=client, to=to, protocol="TCP", attempts=1
            )
            for to in to_services
        ]
    return tuple(flows)


class _Deriver:
    def __init__(self, expectations: Expectations) -> None:
        self.expectations = expectations
        self.state = expectations.state
        self.book = FlowBook(expectations)
        self.choice = ClientChoice(self.state)

    def add(
        self, client: Client, to: Destination, protocol: FlowProtocol, note: str = "", via: str = ""
    ) -> None:
        self.book.add(flow_name(client, to, protocol, note), client, to, protocol, via=via)

    # --- without Services ---------------------------------------------------------------------------------

    def containers(self) -> None:
        """Adds containers of one Pod over 127.0.0.1; Pods with several containers before others, one for each
        owner. (A real command need not listen at 127.0.0.1.)
        """
        commands = self.state.commands
        served = {
            key: [x for x in own if x.container not in commands.get(key, ())]
            for key, own in self.choice.served.items()
        }
        pods = [pod for pod in self.state.pods if served.get(pod.key) and not pod.spec.hostNetwork]
        by_owner: dict[str, Pod] = {}
        for pod in sorted(pods, key=lambda pod: -len({x.container for x in served[pod.key]})):
            by_owner.setdefault(_owner(pod), pod)
        for pod in list(by_owner.values())[:_LOOPBACK_PODS]:
            listeners = [x for x in served[pod.key] if x.protocol != "SCTP"]
            for listener in listeners[:_LOOPBACK_PORTS]:
                to = loopback_destination(listener.port, self.state.family)
                self.add(pod_client(pod), to, listener.protocol, f"container {listener.container}")

    def pods_to_pods(self) -> None:
        """Adds one pair on a node and one across nodes for each protocol that is served; ICMP for every node
        and round the nodes.
        """
        for protocol in ("TCP", "UDP", "SCTP"):
            listeners = [
                x
                for x in chain.from_iterable(self.choice.served.values())
                if x.protocol == protocol and x.ip in self.state.pod_by_ip
            ]
            for same, note in ((True, "same node"), (False, "other node")):
                pair = next(self.choice.pairs(listeners, same), None)
                if pair:
                    client, listener = pair
                    to = pod_destination(self.state.pod[listener.pod], listener.port)
                    self.add(pod_client(client), to, listener.protocol, note)
        for node, following in self.choice.ring():
            mine, theirs = self.choice.pods_on.get(node.name, []), self.choice.pods_on.get(following.name, [])
            if len(mine) > 1:
                self.add(pod_client(mine[0]), pod_destination(mine[-1], 0), "ICMP", "same node")
            if mine and theirs and node is not following:
                self.add(pod_client(mine[0]), pod_destination(theirs[-1], 0), "ICMP", "other node")

    def nodes_and_pods(self) -> None:
        """Adds each node to a Pod of its own and to the next node's; a Pod to its node, to another node and
        to the API server.
        """
        for node, following in self.choice.ring():
            mine, theirs = self.choice.pods_on.get(node.name, []), self.choice.pods_on.get(following.name, [])
            if mine:
                self._dial_pod(node_client(node), mine[-1], "same node")
            if theirs and node is not following:
                self._dial_pod(node_client(node), theirs[-1], "other node")
        slices = self.state.slices_of.get("default/kubernetes", ())
        api_server_ports = {port.port for one in slices for port in one.ports}
        for pod in self.choice.pods[:1]:
            client = pod_client(pod)
            own = self.state.node[pod.spec.nodeName]
            self.add(client, self._to_node(own, 0), "ICMP", "own node")
            for other in [n for n in self.choice.nodes if n is not own][:1]:
                self.add(client, self._to_node(other, 0), "ICMP", "other node")
            for listener in self.state.listeners:
                if (
                    listener.port in api_server_ports
                    and listener.netns in self.state.node
                    and not listener.refused
                ):
                    self.add(
                        client,
                        self._to_node(self.state.node[listener.netns], listener.port),
                        "TCP",
                        "API server",
                    )

    def outside_and_pods(self) -> None:
        for outside in self.state.clients[:1]:
            client = external_client(outside)
            for pod in self.choice.pods[-1:]:
                self.add(client, pod_destination(pod, 0), "ICMP")
            for pod in self.choice.pods[:1]:
                self.add(
                    pod_client(pod),
                    address_destination(self.expectations.owners, Address(outside.address), 0),
                    "ICMP",
                )

    def servers_outside(self) -> None:
        """Adds each port of each server outside, dialled by a Pod."""
        for server in (client for client in self.state.clients if isinstance(client, ExternalServer)):
            for pod in self.choice.pods[:1]:
                for port in server.ports:
                    to = address_destination(self.expectations.owners, Address(server.address), port.port)
                    self.add(pod_client(pod), to, port.protocol)

    # --- Services -----------------------------------------------------------------------------------------

    def health_checks(self) -> None:
        """Adds every node's healthCheckNodePort of every Service that has one, dialled from outside as a load
        balancer does (without a client outside: by a node).
        """
        client = next(
            (external_client(outside) for outside in self.state.clients), node_client(self.choice.nodes[0])
        )
        checks = self.expectations.health_checks
        ways = (
            (service, node)
            for port, service in checks.services.items()
            for node in self.choice.nodes
            if checks.at(node.name, port, "TCP") is service
        )
        for service, node in islice(ways, _HEALTH_CHECKS):
            self.add(
                client, health_check_destination(service, Address(node.internalIPs[0]), node.name), "TCP"
            )

    def service(self, endpoints: PortEndpoints) -> None:
        """Adds every address of one Service port, dialled by every kind of client; none where nothing is
        promised of an endpoint.
        """
        if self.expectations.is_nested(endpoints):
            return
        for to, entries in self._addresses(endpoints):
            protocol = endpoints.port.protocol
            for pod, note in self.choice.pods_for(endpoints, to.how):
                self.add(pod_client(pod), to, protocol, note)
            for node, note in (
                self.choice.nodes_for(endpoints) if self._is_promised_to_nodes(endpoints, to) else ()
            ):
                self.add(node_client(node), to, protocol, note)
            self._from_outside(endpoints, [(to, via, note) for note, via in entries])
        if endpoints.port.nodePort:
            self._node_port(endpoints)

    def representatives(self, endpoints: PortEndpoints) -> None:
        """Adds one Service port among very many: its first address from a Pod, and one way to it from outside
        that real clients have.
        """
        if self.expectations.is_nested(endpoints):
            return
        addresses = list(self._addresses(endpoints))
        for to, _ in addresses[:1]:
            for pod, note in self.choice.pods_for(endpoints, to.how)[-1:]:
                self.add(pod_client(pod), to, endpoints.port.protocol, note)
        external = [
            (to, via, note) for to, entries in addresses if to.how != "clusterIP" for note, via in entries
        ]
        node, note = self.choice.nodes_for(endpoints)[-1]
        if endpoints.port.nodePort:
            external.append((self._to_node_port(endpoints, node), "", f"svc {endpoints.service.key}, {note}"))
        for to, via, note in external[:1]:
            for outside, _ in self.choice.outside_for(endpoints)[:1]:
                self.add(external_client(outside), to, endpoints.port.protocol, note, via)

    def _node_port(self, endpoints: PortEndpoints) -> None:
        """Adds Pods and nodes, each at its own node (nodes at localhost too), and clients outside at a node
        with and at one without an endpoint.
        """
        name, protocol = f"svc {endpoints.service.key}", endpoints.port.protocol
        ways = self.choice.nodes_for(endpoints)
        for pod, note in self.choice.pods_for(endpoints, "nodePort"):
            if note not in ("hairpin", "no endpoints"):
                note = "with an endpoint" if pod.spec.nodeName in endpoints.nodes else "without an endpoint"
            to = self._to_node_port(endpoints, self.state.node[pod.spec.nodeName])
            self.add(pod_client(pod), to, protocol, f"{name}, own node, {note}")
        for node, note in ways:
            self.add(node_client(node), self._to_node_port(endpoints, node), protocol, f"{name}, {note}")
            if protocol != "SCTP":
                own = localhost(self.state.family)
                to = service_destination(endpoints.service, endpoints.port, "nodePort", own, node.name)
                self.add(node_client(node), to, protocol, name)
        self._from_outside(
            endpoints, [(self._to_node_port(endpoints, node), "", f"{name}, {note}") for node, note in ways]
        )

    def _addresses(self, endpoints: PortEndpoints) -> Iterator[tuple[Destination, list[tuple[str, str]]]]:
        """Yields every address of a Service port but its node port, if it is this Service that has it, each
        with the entries from outside: their names, and the node through which the router has a route (""
        where none is needed).
        """
        service, port, family = endpoints.service, endpoints.port, endpoints.family
        through = [(f"via {node.name}, {note}", node.name) for node, note in self.choice.nodes_for(endpoints)]
        candidates: list[tuple[ServiceAddress, Address]] = [
            *(("clusterIP", ip) for ip in cluster_ips(service, family)),
            *(("externalIP", ip) for ip in external_ips(service, family)),
            *(("loadBalancer", ip) for ip in load_balancer_ips(service, family)),
        ]
        for how, ip in candidates:
            owner = self.expectations.owners.get(ip)
            if self.expectations.table.addresses.get((ip, port.port, port.protocol)) != (endpoints, how):
                continue
            to = service_destination(service, port, how, ip)
            if owner is not None:
                if owner.kind == "node":
                    yield to, [(f"an address of {owner.node}", "")]
            elif speaker := self.state.speakers.get(ip):
                yield to, [(f"announced by {speaker}", "")]
            else:
                yield to, through
        for ip in self.state.balancer_ips(service):
            if self.expectations.table.balanced.get((ip, port.port, port.protocol)) is endpoints:
                yield service_destination(service, port, "loadBalancer", ip), [("through the balancer", "")]

    def _is_promised_to_nodes(self, endpoints: PortEndpoints, to: Destination) -> bool:
        """Returns whether nodes are promised something. False for on-link addresses without endpoints:
        iptables mode does not reject the node's own packets to them (docs/semantics 7), and the result
        (time-out or EHOSTUNREACH) depends on ARP timing.
        """
        on_link = to.ip not in self.expectations.owners and self.state.is_host(to.ip)
        return bool(endpoints.usable) or not on_link

    def _from_outside(self, endpoints: PortEndpoints, ways: Sequence[tuple[Destination, str, str]]) -> None:
        """Adds a client inside the source ranges by every way (destination, ``via``, note), and one outside
        them by the first.
        """
        for index, (client, which) in enumerate(self.choice.outside_for(endpoints)):
            for to, via, note in ways[:1] if index else ways:
                self.add(
                    external_client(client),
                    to,
                    endpoints.port.protocol,
                    ", ".join(filter(None, (which, note))),
                    via,
                )

    # --- destinations -------------------------------------------------------------------------------------

    def _dial_pod(self, client: Client, pod: Pod, note: str) -> None:
        self.add(client, pod_destination(pod, 0), "ICMP", note)
        for listener in self.choice.served.get(pod.key, [])[:1]:
            self.add(client, pod_destination(pod, listener.port), listener.protocol, note)

    def _to_node(self, node: Node, port: int) -> Destination:
        return address_destination(self.expectations.owners, Address(node.internalIPs[0]), port)

    def _to_node_port(self, endpoints: PortEndpoints, node: Node) -> Destination:
        return service_destination(
            endpoints.service, endpoints.port, "nodePort", Address(node.internalIPs[0]), node.name
        )


def _owner(pod: Pod) -> str:
    controllers = [o for o in pod.metadata.ownerReferences if o.controller]
    return f"{pod.namespace}/{controllers[0].kind}/{controllers[0].name}" if controllers else pod.key
