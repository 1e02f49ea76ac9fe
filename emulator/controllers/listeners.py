"""Makes listeners: the ports that Pods serve, and kube-proxy's health checks.

Invariant: at most one listener that is not refused per network namespace, port and protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..cluster.state import (
    HealthCheck,
    Holder,
    Listener,
    pod_netns,
)
from ..net import (
    Address,
    TransportProtocol,
)
from ..objects.config import ExternalClient, ExternalServer
from ..objects.families import BUILT
from ..objects.kinds import EndpointSlice, Node, Pod, Service
from ..objects.references import ObjectRef, service_ref
from ..objects.warnings import Code
from .controlplane import api_server_pod, api_servers
from .findings import Findings
from .placement import serving_containers


class _Table:
    """Collects listeners; the second listener of a port is refused."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.served: dict[tuple[str, int, TransportProtocol], Listener] = {}

    def add(self, pod: Pod, container: str, port: int, protocol: TransportProtocol) -> Listener:
        return self._add(
            Listener(
                pod=pod.key,
                netns=pod_netns(pod),
                node=pod.spec.nodeName,
                container=container,
                ip=pod.ip,
                port=port,
                protocol=protocol,
            )
        )

    def add_health_check(self, node: Node, port: int, check: HealthCheck) -> Listener:
        return self._add(
            Listener(
                pod="",
                netns=node.name,
                node=node.name,
                container="kube-proxy",
                ip=Address(node.internalIPs[0]),
                port=port,
                protocol="TCP",
                healthCheck=check,
            )
        )

    def add_server(self, server: ExternalServer) -> None:
        for port in server.ports:
            self._add(
                Listener(
                    pod="",
                    netns=server.name,
                    node="",
                    container=server.name,
                    ip=Address(server.address),
                    port=port.port,
                    protocol=port.protocol,
                )
            )

    def _add(self, listener: Listener) -> Listener:
        key = (listener.netns, listener.port, listener.protocol)
        first = self.served.setdefault(key, listener)
        if first is not listener:
            holder = Holder(first.container, first.pod if first.pod != listener.pod else "")
            listener = replace(listener, refused=holder)
        self.listeners.append(listener)
        return listener


def make_listeners(
    pods: Sequence[Pod],
    nodes: Sequence[Node],
    clients: Iterable[ExternalClient],
    slices: Sequence[EndpointSlice],
    commands: Mapping[str, Sequence[str]],
    findings: Findings,
    before: Iterable[Listener] = (),
) -> tuple[Listener, ...]:
    """Returns every listener but health checks. First the declared container ports in the Pods' order, then
    the ports that EndpointSlices lead to though no container declares them (``containerPort`` is
    informational in Kubernetes), then the API servers, then servers outside the cluster.
    Listeners in ``before`` go on as long as their Pod runs, even if no slice leads to them any more.
    """
    placed = [pod for pod in pods if pod.ips and pod.spec.nodeName]
    table = _Table()
    for pod in placed:
        _declared(pod, commands.get(pod.key, ()), table, findings)
    _undeclared(placed, slices, commands, table, findings)
    by_key = {pod.key: pod for pod in placed}
    servers = api_servers(nodes, (), slices, ())
    for name, port in servers.items():
        api_server = by_key.get(api_server_pod(name))
        if api_server is not None and not _serves(table, api_server, port, "TCP"):
            table.add(api_server, api_server.spec.containers[0].name, port, "TCP")
    for listener in before:
        if listener.pod in by_key and not listener.refused:
            _go_on(by_key[listener.pod], listener, table)
    for server in (client for client in clients if isinstance(client, ExternalServer)):
        table.add_server(server)
    return tuple(table.listeners)


def add_health_checks(
    listeners: tuple[Listener, ...],
    services: Iterable[Service],
    nodes: Sequence[Node],
    slices: Iterable[EndpointSlice],
    findings: Findings,
) -> tuple[Listener, ...]:
    """Returns ``listeners`` and kube-proxy's HTTP server at each healthCheckNodePort, on every node."""
    checked = {
        service.key: service.spec.healthCheckNodePort
        for service in services
        if service.spec.healthCheckNodePort and service.proxied
    }
    if not checked:
        return listeners
    table = _Table()
    table.listeners += listeners
    for listener in listeners:
        table.served.setdefault((listener.netns, listener.port, listener.protocol), listener)
    _health_checks(checked, nodes, slices, table, findings)
    return tuple(table.listeners)


def _go_on(pod: Pod, listener: Listener, table: _Table) -> None:
    same = (pod_netns(pod), pod.spec.nodeName, pod.ip) == (listener.netns, listener.node, listener.ip)
    if same and not _serves(table, pod, listener.port, listener.protocol):
        table.add(pod, listener.container, listener.port, listener.protocol)


def _health_checks(
    checked: Mapping[str, int],
    nodes: Sequence[Node],
    slices: Iterable[EndpointSlice],
    table: _Table,
    findings: Findings,
) -> None:
    """Adds a listener on every node for each healthCheckNodePort; ``checked`` has it by Service. kube-proxy
    counts the addresses of ready endpoints whose ``nodeName`` is the node's, each once
    (pkg/proxy/endpointschangetracker.go, LocalReadyEndpoints).
    """
    local: dict[tuple[str, str], set[str]] = {}
    for item in slices:
        key = f"{item.metadata.namespace}/{item.serviceName}"
        for endpoint in (
            item.endpoints if key in checked and item.ports and item.addressType == BUILT.word else ()
        ):
            if endpoint.ready and endpoint.addresses:
                local.setdefault((key, endpoint.nodeName or ""), set()).add(endpoint.addresses[0])
    for key, port in checked.items():
        for node in nodes:
            if not node.internalIPs:
                continue  # no port was free, which is a problem
            check = HealthCheck(service=key, localEndpoints=len(local.get((key, node.name), ())))
            listener = table.add_health_check(node, port, check)
            _warn_if_refused(listener, service_ref(key, "spec"), findings)


def _warn_if_refused(listener: Listener, about: ObjectRef, findings: Findings) -> None:
    if holder := listener.refused:
        findings.warn(
            Code.PORT_TAKEN,
            about,
            container=listener.container,
            port=listener.port,
            protocol=listener.protocol,
            holder=holder.container,
            holder_pod=holder.pod,
            pod=listener.pod,
            node="" if listener.pod else listener.node,
        )


def _serves(table: _Table, pod: Pod, port: int, protocol: TransportProtocol) -> bool:
    return (pod_netns(pod), port, protocol) in table.served


def _declared(pod: Pod, commanded: Sequence[str], table: _Table, findings: Findings) -> None:
    for container in serving_containers(pod.spec):
        if container.name in commanded:
            continue
        own = dict.fromkeys((port.containerPort, port.protocol) for port in container.ports)
        for port, protocol in own:
            listener = table.add(pod, container.name, port, protocol)
            _warn_if_refused(listener, ObjectRef("Pod", pod.key, "spec"), findings)


def _undeclared(
    pods: Sequence[Pod],
    slices: Iterable[EndpointSlice],
    commands: Mapping[str, Sequence[str]],
    table: _Table,
    findings: Findings,
) -> None:
    """Adds a listener in the Pod's first container for each port that a slice leads to: a real image would
    usually listen there, declared or not. A Pod with a real command gets none: that command may be the one
    which listens. Pods that declare other ports are warned of; one that declares none says nothing about it.
    """
    by_ip = {address.ip: pod for pod in pods if not pod.spec.hostNetwork for address in pod.status.podIPs}
    by_key = {pod.key: pod for pod in pods}
    added: dict[str, list[Listener]] = {}
    for item in slices:
        service = f"{item.metadata.namespace}/{item.serviceName}"
        for address, reference in _targets(item):
            pod = by_ip.get(address) or by_key.get(reference)
            if pod is None or not any(own.ip == address for own in pod.status.podIPs):
                continue
            if pod.key in commands or not pod.spec.containers:
                continue
            for port in item.ports:
                if port.port and not _serves(table, pod, port.port, port.protocol):
                    listener = table.add(pod, pod.spec.containers[0].name, port.port, port.protocol)
                    if any(one.ports for one in serving_containers(pod.spec)):
                        added.setdefault(service, []).append(listener)
    for service, listeners in added.items():
        pods_of = dict.fromkeys(listener.pod for listener in listeners)
        ports = dict.fromkeys(
            f"{li.port}" if li.protocol == "TCP" else f"{li.port}/{li.protocol}" for li in listeners
        )
        findings.warn(
            Code.UNDECLARED_PORT,
            service_ref(service, "spec.ports"),
            ports=tuple(ports),
            pod=next(iter(pods_of)),
            more=len(pods_of) - 1,
        )


def _targets(item: EndpointSlice) -> Iterator[tuple[str, str]]:
    """Yields (address, Pod key that the endpoint names or "") of every endpoint."""
    for endpoint in item.endpoints:
        reference = endpoint.targetRef
        key = (
            f"{reference.namespace or item.metadata.namespace}/{reference.name}"
            if reference and reference.kind == "Pod"
            else ""
        )
        for address in endpoint.addresses:
            yield address, key


def host_ports(pods: Iterable[Pod]) -> Mapping[tuple[str, int, TransportProtocol], Pod]:
    """Returns the Pod that asks for each hostPort, by node, port and protocol: Pods with a network of their
    own, to which their node would lead it.
    """
    wanted: dict[tuple[str, int, TransportProtocol], Pod] = {}
    for pod in pods:
        for port in (
            port
            for c in serving_containers(pod.spec)
            for port in c.ports
            if port.hostPort and not pod.spec.hostNetwork
        ):
            wanted.setdefault((pod.spec.nodeName, port.hostPort or 0, port.protocol), pod)
    return wanted


def say_host_port(pod: Pod, port: int, protocol: str) -> str:
    """Returns the message about a flow that dials a hostPort."""
    return f"Pod {pod.key} wants hostPort {port}/{protocol}, which podwire does not emulate yet"


def notice_host_ports(pods: Iterable[Pod], findings: Findings) -> None:
    """Reports the Pods that ask for a hostPort, which podwire does not serve."""
    for (_, port, protocol), pod in host_ports(pods).items():
        about = ObjectRef("Pod", pod.key, "spec")
        findings.warn(Code.HOST_PORT, about, port=port, protocol=protocol, pod=pod.key)
