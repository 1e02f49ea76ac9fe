"""The flows to send when the user wrote none: every kind of communication, every Service port, chosen from the objects alone.

Representatives, not the cross product; the same state always gives the same flows in the same order. What needs something that the
cluster does not have (no Pod, no external client, a single node) is left out. A load-balancer address of the host network is announced by a
node, or the balancer's (``ipMode: Proxy``); any other one, or an externalIP, is reached from outside because the router has a route for it to
a node (``via``). Imports ``objects``, ``control.state`` and the pure modules of ``probe``.
Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import get_args

from emulator.control.state import API_SERVER_PORT, ClusterState, Listener
from emulator.objects.config import FlowProtocol
from emulator.objects.kinds import Node, Pod
from emulator.probe.endpoints import PortEndpoints, cluster_ips, in_source_ranges, load_balancer_ips
from emulator.probe.expect import Expectations
from emulator.probe.flowbook import FlowBook, flow_name
from emulator.probe.model import Client, Destination, Flow, Kind
from emulator.probe.parties import (
    ServiceAddress,
    address_destination,
    external_client,
    loopback_destination,
    node_client,
    pod_client,
    pod_destination,
    service_destination,
)

_LOOPBACK_PODS = 2  # Pods whose containers talk over loopback
_LOOPBACK_PORTS = 4  # ports of each of them
_ATTEMPTS = 8000  # connections of all derived flows together
_RING = 8  # nodes that are joined pairwise


def derive_flows(state: ClusterState, expectations: Expectations | None = None) -> tuple[Flow, ...]:
    """The flows of ``state`` and their controls, by kind of communication, the controls last."""
    deriver = _Deriver(expectations or Expectations(state))
    deriver.containers()
    deriver.pods_to_pods()
    deriver.nodes_and_pods()
    deriver.outside_and_pods()
    for endpoints in deriver.expectations.table.ports:
        deriver.service(endpoints)
    order = get_args(Kind)
    return within_budget(sorted(deriver.book.flows(), key=lambda flow: (flow.control, order.index(flow.kind))))


def within_budget(flows: Sequence[Flow]) -> tuple[Flow, ...]:
    """The flows, those of many attempts cut to as many as let all together stay within the budget: each Service's endpoints are then
    sampled (:attr:`Expectation.partial`), which a FlowCheck with ``attempts`` does not do."""
    for most in (400, 200, 100, 50, 25, 12, 6, 3):
        if sum(min(flow.attempts, most) for flow in flows) <= _ATTEMPTS:
            break
    return tuple(replace(flow, attempts=most) if flow.attempts > most else flow for flow in flows)


def all_pairs(state: ClusterState) -> tuple[Flow, ...]:
    """Every Pod to every other Pod's TCP ports and to every Service's TCP ports by ClusterIP, one attempt each, without controls.

    Pods with hostNetwork are left out on both sides: they are their nodes.
    """
    pods = [pod for pod in state.pods if not pod.spec.hostNetwork]
    served = _served(state)
    to_pods = [
        (pod.key, pod_destination(pod, listener.port)) for pod in pods for listener in served.get(pod.key, ()) if listener.protocol == "TCP"
    ]
    to_services = [
        service_destination(service, port, "clusterIP", ip)
        for service in state.services
        if service.proxied
        for ip in cluster_ips(service)[:1]
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
            Flow(name=arrow + to.label, kind="pod-to-service", client=client, to=to, protocol="TCP", attempts=1) for to in to_services
        ]
    return tuple(flows)


class _Deriver:
    def __init__(self, expectations: Expectations) -> None:
        self.expectations = expectations
        self.state = expectations.state
        self.book = FlowBook(expectations)
        self._served = _served(self.state)
        own = [pod for pod in self.state.pods if not pod.spec.hostNetwork]
        # a Pod that serves nothing is what a client looks like
        self._clients = sorted(own, key=lambda pod: pod.key in self._served)
        self._clients_on: dict[str, list[Pod]] = {}
        for pod in self._clients:
            self._clients_on.setdefault(pod.spec.nodeName, []).append(pod)
        self._nodes = sorted(self.state.nodes, key=_is_special)
        self._localhost_dialled = False

    def add(self, client: Client, to: Destination, protocol: FlowProtocol, note: str = "", via: str = "") -> None:
        self.book.add(flow_name(client, to, protocol, note), client, to, protocol, via=via)

    # --- without Services ---------------------------------------------------------------------------------

    def containers(self) -> None:
        """Containers of one Pod over 127.0.0.1; Pods with several containers before others, one for each owner."""
        pods = [pod for pod in self.state.pods if pod.key in self._served and not pod.spec.hostNetwork]
        by_owner: dict[str, Pod] = {}
        for pod in sorted(pods, key=lambda pod: -len({x.container for x in self._served[pod.key]})):
            by_owner.setdefault(_owner(pod), pod)
        for pod in list(by_owner.values())[:_LOOPBACK_PODS]:
            listeners = [x for x in self._served[pod.key] if x.protocol != "SCTP"]
            for listener in listeners[:_LOOPBACK_PORTS]:
                to = loopback_destination(listener.port)
                self.add(pod_client(pod), to, listener.protocol, f"container {listener.container}")

    def pods_to_pods(self) -> None:
        """One pair on a node and one across nodes for each protocol that is served; ICMP for every node and round the nodes."""
        for protocol in ("TCP", "UDP", "SCTP"):
            listeners = [x for x in chain.from_iterable(self._served.values()) if x.protocol == protocol and x.ip in self.state.pod_by_ip]
            for same, note in ((True, "same node"), (False, "other node")):
                pair = next(self._pairs(listeners, same), None)
                if pair:
                    client, listener = pair
                    to = pod_destination(self.state.pod[listener.pod], listener.port)
                    self.add(pod_client(client), to, listener.protocol, note)
        for node, following in self._ring():
            mine, theirs = self._clients_on.get(node.name, []), self._clients_on.get(following.name, [])
            if len(mine) > 1:
                self.add(pod_client(mine[0]), pod_destination(mine[-1], 0), "ICMP", "same node")
            if mine and theirs and node is not following:
                self.add(pod_client(mine[0]), pod_destination(theirs[-1], 0), "ICMP", "other node")

    def nodes_and_pods(self) -> None:
        """Each node to a Pod of its own and to the next node's; a Pod to its node, to another node and to the API server."""
        for node, following in self._ring():
            mine, theirs = self._clients_on.get(node.name, []), self._clients_on.get(following.name, [])
            if mine:
                self._dial_pod(node_client(node), mine[-1], "same node")
            if theirs and node is not following:
                self._dial_pod(node_client(node), theirs[-1], "other node")
        for pod in self._clients[:1]:
            client = pod_client(pod)
            own = self.state.node[pod.spec.nodeName]
            self.add(client, self._to_node(own, 0), "ICMP", "own node")
            for other in [n for n in self._nodes if n is not own][:1]:
                self.add(client, self._to_node(other, 0), "ICMP", "other node")
            for listener in self.state.listeners:
                if listener.port == API_SERVER_PORT and listener.netns in self.state.node and not listener.refused:
                    self.add(client, self._to_node(self.state.node[listener.netns], listener.port), "TCP", "API server")

    def outside_and_pods(self) -> None:
        for outside in self.state.clients[:1]:
            client = external_client(outside)
            for pod in self._clients[-1:]:
                self.add(client, pod_destination(pod, 0), "ICMP")
            for pod in self._clients[:1]:
                self.add(pod_client(pod), address_destination(self.expectations.owners, outside.address, 0), "ICMP")

    # --- Services -----------------------------------------------------------------------------------------

    def service(self, endpoints: PortEndpoints) -> None:
        """Every way to one Service port: from Pods, from nodes, and through its node port."""
        service, port = endpoints.service, endpoints.port
        nodes = endpoints.nodes
        near, far, itself = self._service_clients(endpoints)
        for ip in cluster_ips(service)[:1]:
            to = service_destination(service, port, "clusterIP", ip)
            if not endpoints.usable:
                for pod in self._clients[:1]:
                    self.add(pod_client(pod), to, port.protocol, "no endpoints")
            if itself:
                self.add(pod_client(itself), to, port.protocol, "hairpin")
            if near:
                self.add(pod_client(near), to, port.protocol, "same node")
            if far:
                self.add(pod_client(far), to, port.protocol, "node without an endpoint" if far.spec.nodeName not in nodes else "other node")
            for node, note in self._with_and_without(endpoints):
                self.add(node_client(node), to, port.protocol, note)
        other = far or near or itself or next(iter(self._clients), None)
        if port.nodePort:
            self._node_port(endpoints, other)
        for how, ip in self._external_addresses(endpoints):
            self._external_address(endpoints, service_destination(service, port, how, ip), other)

    def _node_port(self, endpoints: PortEndpoints, pod: Pod | None) -> None:
        """From outside through a node with and one without an endpoint; from ``pod`` and from a node, each at its own node."""
        service, port = endpoints.service, endpoints.port
        name = f"svc {service.key}"
        ways = self._with_and_without(endpoints)
        for outside in self.state.clients[:1]:
            for node, note in ways:
                self.add(external_client(outside), self._to_node_port(endpoints, node), port.protocol, f"{name}, {note}")
        if pod:
            self.add(pod_client(pod), self._to_node_port(endpoints, self.state.node[pod.spec.nodeName]), port.protocol, f"{name}, own node")
        node, note = ways[-1]
        self.add(node_client(node), self._to_node_port(endpoints, node), port.protocol, f"{name}, {note}")
        if not self._localhost_dialled and endpoints.usable and port.protocol == "TCP":
            self._localhost_dialled = True
            to = service_destination(service, port, "nodePort", "127.0.0.1", node.name)
            self.add(node_client(node), to, port.protocol, name)

    def _external_addresses(self, endpoints: PortEndpoints) -> Iterator[tuple[ServiceAddress, str]]:
        """The first externalIP and the first load-balancer address, if it is this Service that has them, and nobody else."""
        service, port = endpoints.service, endpoints.port
        candidates: tuple[tuple[ServiceAddress, Sequence[str]], ...] = (
            ("externalIP", service.spec.externalIPs),
            ("loadBalancer", load_balancer_ips(service)),
        )
        for how, ips in candidates:
            for ip in ips[:1]:
                entry = self.expectations.table.addresses.get((ip, port.port, port.protocol))
                if entry == (endpoints, how) and ip not in self.expectations.owners:
                    yield how, ip
        for ip in self.state.balancer_ips(service)[:1]:
            if self.expectations.table.balanced.get((ip, port.port, port.protocol)) is endpoints:
                yield "loadBalancer", ip

    def _external_address(self, endpoints: PortEndpoints, to: Destination, pod: Pod | None) -> None:
        """From outside through a node with and one without an endpoint, from a client outside the source ranges, from ``pod`` and from a node."""
        ways = self._with_and_without(endpoints)
        protocol = endpoints.port.protocol
        allowed = {c.name: to.how != "loadBalancer" or in_source_ranges(endpoints.service, c.address) for c in self.state.clients}
        inside = [c for c in self.state.clients if allowed[c.name]][:1]
        outside = [c for c in self.state.clients if not allowed[c.name]][:1]
        entries = [(f"via {node.name}, {note}", node.name) for node, note in ways]
        if speaker := self.state.speakers.get(to.ip):
            entries = [(f"announced by {speaker}", "")]
        elif to.ip in self.expectations.owners:
            entries = [("through the balancer", "")]
        for client in inside:
            for note, via in entries:
                self.add(external_client(client), to, protocol, note, via)
        for client in outside:
            note, via = entries[0]
            self.add(external_client(client), to, protocol, f"outside the source ranges, {note}", via)
        if pod:
            self.add(pod_client(pod), to, protocol)
        node, note = ways[-1]
        if endpoints.usable:  # without, iptables mode leaves a node's own packets to routing, which says nothing of the Service
            self.add(node_client(node), to, protocol, note)

    def _service_clients(self, endpoints: PortEndpoints) -> tuple[Pod | None, Pod | None, Pod | None]:
        """A Pod beside an endpoint, a Pod away from them, and an endpoint that can meet itself; None where there is none.

        Endpoints are the last choice for the first two.
        """
        if not endpoints.usable:
            return None, None, None
        itself = next((pod for pod in self._endpoint_pods(endpoints) if self._meets_itself(pod, endpoints)), None)
        taken = {itself.key} if itself else set()
        near = self._pick(endpoints, (n for n in endpoints.nodes), taken)
        taken |= {near.key} if near else set()
        without = (n for n in self._clients_on if n not in endpoints.nodes)
        far = self._pick(endpoints, without, taken)
        if far is None and near is not None:
            far = self._pick(endpoints, (n for n in self._clients_on if n != near.spec.nodeName), taken)
        return near, far, itself

    def _pick(self, endpoints: PortEndpoints, nodes: Iterable[str], taken: Collection[str]) -> Pod | None:
        spare = None
        for node in nodes:
            for pod in self._clients_on.get(node, ()):
                if pod.ip not in endpoints.ips:
                    return pod
                if spare is None and pod.key not in taken:
                    spare = pod
        return spare

    def _endpoint_pods(self, endpoints: PortEndpoints) -> Iterator[Pod]:
        for candidate in endpoints.usable:
            pod = self.state.pod_by_ip.get(candidate.backend.ip)
            if pod is not None:
                yield pod

    def _meets_itself(self, pod: Pod, endpoints: PortEndpoints) -> bool:
        node = self.state.node[pod.spec.nodeName]
        if endpoints.service.spec.internalTrafficPolicy == "Local":
            usable = endpoints.local_list(node.name)
        else:
            usable = endpoints.cluster_list(node.name, node.metadata.labels)
        return any(backend.ip == pod.ip for backend in usable)

    def _with_and_without(self, endpoints: PortEndpoints) -> list[tuple[Node, str]]:
        """A node with a usable endpoint of its own and one without, as far as there are; any node when there are no endpoints."""
        if not endpoints.usable:
            return [(self._nodes[0], "no endpoints")]
        having = endpoints.nodes
        with_one = [(n, "node with an endpoint") for n in self._nodes if n.name in having]
        without = [(n, "node without an endpoint") for n in self._nodes if n.name not in having]
        return with_one[:1] + without[:1]

    # --- choosing -----------------------------------------------------------------------------------------

    def _ring(self) -> list[tuple[Node, Node]]:
        """Nodes, those with Pods before others, each with the next that has Pods."""
        busy = [n for n in self._nodes if n.name in self._clients_on][:_RING]
        idle = [n for n in self._nodes if n.name not in self._clients_on][: _RING - len(busy)]
        if not busy:
            return []
        return [*zip(busy, busy[1:] + busy[:1], strict=True), *((node, busy[i % len(busy)]) for i, node in enumerate(idle))]

    def _pairs(self, listeners: Sequence[Listener], same_node: bool) -> Iterator[tuple[Pod, Listener]]:
        for listener in listeners:
            for pod in self._clients:
                if pod.key != listener.pod and (pod.spec.nodeName == listener.node) == same_node:
                    yield pod, listener

    def _dial_pod(self, client: Client, pod: Pod, note: str) -> None:
        self.add(client, pod_destination(pod, 0), "ICMP", note)
        for listener in self._served.get(pod.key, [])[:1]:
            self.add(client, pod_destination(pod, listener.port), listener.protocol, note)

    def _to_node(self, node: Node, port: int) -> Destination:
        return address_destination(self.expectations.owners, node.internalIPs[0], port)

    def _to_node_port(self, endpoints: PortEndpoints, node: Node) -> Destination:
        return service_destination(endpoints.service, endpoints.port, "nodePort", node.internalIPs[0], node.name)


def _served(state: ClusterState) -> dict[str, list[Listener]]:
    """What each Pod serves, by ``namespace/name``; Pods that serve nothing have no entry."""
    served: dict[str, list[Listener]] = {}
    for listener in state.listeners:
        if not listener.refused:
            served.setdefault(listener.pod, []).append(listener)
    return served


def _owner(pod: Pod) -> str:
    controllers = [o for o in pod.metadata.ownerReferences if o.controller]
    return f"{pod.namespace}/{controllers[0].kind}/{controllers[0].name}" if controllers else pod.key


def _is_special(node: Node) -> bool:
    """A control plane or an etcd member: the last choice where any node will do."""
    return any(f"node-role.kubernetes.io/{role}" in node.metadata.labels for role in ("control-plane", "etcd"))
