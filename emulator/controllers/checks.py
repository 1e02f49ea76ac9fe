"""Checks that the names and ports in FlowChecks exist.

It looks at names (``references``) and ports only; the outcome of a flow is the expectations' concern. A check
that expects that nothing is delivered may dial a port that does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from ..cluster.state import Listener, WaitingPod, pod_netns
from ..errors import Words, worded
from ..net import TransportProtocol, is_loopback
from ..objects.config import ASYMMETRIC, ExternalClient, FlowCheck, FlowSpec
from ..objects.kinds import Loaded, Node, Origin, Pod, Service
from .findings import Findings
from .listeners import host_ports, say_host_port
from .references import (
    Names,
    References,
    Report,
    Target,
    ToAddress,
    ToPod,
    ToService,
    declared_ports,
    list_ports,
    reasons,
)


class _Served:
    """Knows which ports are served."""

    def __init__(
        self,
        pods: Sequence[Pod],
        services: Sequence[Service],
        nodes: Sequence[Node],
        listeners: Iterable[Listener],
        commands: Mapping[str, Sequence[str]],
    ) -> None:
        self.listening = {(li.netns, li.port, li.protocol) for li in listeners}
        self.node_ports = {
            (port.nodePort, port.protocol)
            for service in services
            for port in service.spec.ports
            if port.nodePort is not None
        }
        self.health_checks = {
            service.spec.healthCheckNodePort: service.key
            for service in services
            if service.spec.healthCheckNodePort is not None
        }
        self.host_ports: Mapping[tuple[str, int, str], Pod] = dict(host_ports(pods).items())
        self.node_at: Mapping[str, str] = {ip: node.name for node in nodes for ip in node.internalIPs}
        # a real command listens on any ports
        self.unpredictable = {pod_netns(pod) for pod in pods if pod.key in commands}

    def serves(self, netns: str, port: int, protocol: str) -> bool:
        """Returns whether a container in ``netns`` listens there, or may."""
        return netns in self.unpredictable or (netns, port, protocol) in self.listening


def check_flows(
    checks: Sequence[Loaded[FlowCheck]],
    pods: Sequence[Pod],
    waiting: Sequence[WaitingPod],
    services: Sequence[Service],
    nodes: Sequence[Node],
    clients: Sequence[ExternalClient],
    listeners: Iterable[Listener],
    commands: Mapping[str, Sequence[str]],
    findings: Findings,
) -> None:
    """Reports every reference of every flow that does not resolve."""
    if not checks:
        return
    names = Names(
        {pod.key: pod for pod in pods},
        reasons(waiting),
        {service.key: service for service in services},
        {node.name: node for node in nodes},
        {client.name: client for client in clients},
    )
    served = _Served(pods, services, nodes, listeners, commands)
    for loaded in checks:
        for index, flow in enumerate(loaded.object.flows):
            report = partial(_report, findings, loaded.origin, f"{loaded.object.path}.flows[{index}]")
            references = References(flow, names, report)
            references.sources()
            ports = _Ports(flow, served, report)
            for target in references.targets():
                ports.check(target)
            references.check_backends()


def dialled_ports(checks: Iterable[Loaded[FlowCheck]]) -> Iterator[tuple[str, int, TransportProtocol]]:
    """Yields Pod key, port and protocol that a FlowCheck dials by the Pod's name."""
    for flow in (flow for loaded in checks for flow in loaded.object.flows):
        wanted = all(expect.outcome in (None, "delivered") for _, expect in flow.expect.each())
        if flow.to.pod and wanted and isinstance(flow.to.port, int) and flow.protocol != "ICMP":
            yield f"{flow.to.namespace}/{flow.to.pod}", flow.to.port, flow.protocol


def _report(findings: Findings, origin: Origin, flow: str, path: str, what: str, hint: str) -> None:
    findings.problem(origin, f"{flow}.{path}", what, hint)


class _Ports:
    """Checks that the port that a flow dials is served, unless the flow expects that nothing is delivered."""

    def __init__(self, flow: FlowSpec, served: _Served, report: Report) -> None:
        self._flow, self._served, self._report = flow, served, report
        self._may_miss = bool(flow.connection)  # it may be older than the objects now
        self._may_miss |= any(
            expect.outcome not in (None, "delivered", ASYMMETRIC) for _, expect in flow.expect.each()
        )

    def check(self, target: Target) -> None:
        """Reports ``target`` if no container serves it."""
        if self._may_miss or self._flow.protocol == "ICMP":
            return
        if isinstance(target, ToService):
            self._service(target)
        elif isinstance(target, ToPod):
            self._pod(target)
        elif isinstance(target, ToAddress) and self._flow.to.node:
            self._node(target)
        elif isinstance(target, ToAddress) and self._flow.to.external:
            self._outside(target)
        elif isinstance(target, ToAddress):
            self._address(target)

    def _service(self, target: ToService) -> None:
        if isinstance(target.port, int):
            what = worded(
                "Service {} has no port {}/{}", target.service.key, target.port, Words(self._flow.protocol)
            )
            self._report("to.port", what, f"it has {list_ports(target.service)}")

    def _pod(self, target: ToPod) -> None:
        pod, port, protocol = target.pod, target.port, self._flow.protocol
        if isinstance(self._flow.to.port, str) or not pod.ips:
            return
        if not self._served.serves(pod_netns(pod), port, protocol):
            there = ", ".join(f"{p.containerPort}/{p.protocol}" for p in declared_ports(pod))
            what = worded("nothing in Pod {} listens on {}/{}", pod.key, port, Words(protocol))
            self._report("to.port", what, f"it has {there}" if there else "")

    def _node(self, target: ToAddress) -> None:
        node, port, protocol, served = target.owner, target.port, self._flow.protocol, self._served
        if (port, protocol) in served.node_ports:
            return
        if self._flow.to.nodePort is None:
            if not served.serves(node, port, protocol) and not self._host_port(node, port, "to.port"):
                what = worded("nothing on node {} listens on {}/{}", node, port, Words(protocol))
                self._report("to.port", what, "")
            return
        if self._host_port(node, port, "to.nodePort"):
            return
        there = ", ".join(f"{port}/{p}" for port, p in sorted(served.node_ports)[:8])
        hint = f"there is: {there}" if there else ""
        if checked := served.health_checks.get(port):
            hint = f"it is the healthCheckNodePort of {checked}: write port: {port}, or healthCheck:"
        self._report("to.nodePort", worded("no Service has the node port {}/{}", port, Words(protocol)), hint)

    def _host_port(self, node: str, port: int, path: str) -> bool:
        """Reports ``port`` if it is some Pod's hostPort on ``node``. Returns whether it is."""
        pod = self._served.host_ports.get((node, port, self._flow.protocol))
        if pod is not None:
            what = say_host_port(pod, port, self._flow.protocol)
            self._report(path, what, "dial the Pod itself, or a Service with a node port")
        return pod is not None

    def _outside(self, target: ToAddress) -> None:
        if not self._served.serves(target.owner, target.port, self._flow.protocol):
            what = worded("{} serves no {}/{}", target.owner, target.port, Words(self._flow.protocol))
            self._report("to.port", what, "declare it: externalServers of the Cluster, with ports")

    def _address(self, target: ToAddress) -> None:
        """Checks a node's address, or localhost on one, where the port may be a Pod's hostPort."""
        ip, port, protocol, served = target.ip, target.port, self._flow.protocol, self._served
        node = self._flow.from_.node if is_loopback(ip) else served.node_at.get(ip, "")
        if not node or (port, protocol) in served.node_ports or served.serves(node, port, protocol):
            return
        self._host_port(node, port, "to.port")
