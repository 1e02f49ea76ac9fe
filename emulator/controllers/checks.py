"""Whether FlowChecks speak of things that exist.

May import ``objects`` and this room. It looks at names and ports alone: what a flow ought to meet is the
expectations' affair. A port that does not exist may be dialled by a check which expects that nothing is
delivered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address

from emulator.cluster.state import Listener, WaitingPod, pod_netns
from emulator.controllers.findings import Findings
from emulator.controllers.listeners import host_ports, say_host_port
from emulator.load.faults import did_you_mean
from emulator.objects.config import ASYMMETRIC, ExternalClient, FlowCheck, FlowSpec
from emulator.objects.kinds import Loaded, Node, Origin, Pod, Protocol, Service
from emulator.objects.selectors import matches_labels


class _Known:
    """What a FlowCheck may name."""

    def __init__(
        self,
        pods: Sequence[Pod],
        waiting: Sequence[WaitingPod],
        services: Sequence[Service],
        nodes: Sequence[Node],
        clients: Sequence[ExternalClient],
        listeners: Iterable[Listener],
        commands: Mapping[str, Sequence[str]],
    ) -> None:
        self.pods = {pod.key: pod for pod in pods}
        self.waiting = {row.pod.key: row.reason for row in waiting}
        self.services = {service.key: service for service in services}
        self.nodes = {node.name: node for node in nodes}
        self.clients = {client.name: client for client in clients}
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
        self.node_at = {ip: node.name for node in nodes for ip in node.internalIPs}
        # A real command listens where it likes.
        self.unpredictable = {pod_netns(pod) for pod in pods if pod.key in commands}

    def serves(self, netns: str, port: int, protocol: str) -> bool:
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
    """Report every reference of every flow that leads nowhere."""
    if not checks:
        return
    known = _Known(pods, waiting, services, nodes, clients, listeners, commands)
    for loaded in checks:
        for index, flow in enumerate(loaded.object.flows):
            _Flow(flow, loaded.origin, f"{loaded.object.path}.flows[{index}]", known, findings).check()


def dialled_ports(checks: Iterable[Loaded[FlowCheck]]) -> Iterator[tuple[str, int, Protocol]]:
    """Yields Pod key, port and protocol of what a FlowCheck means to reach by the Pod's name."""
    for flow in (flow for loaded in checks for flow in loaded.object.flows):
        wanted = all(expect.outcome in (None, "delivered") for _, expect in flow.expect.each())
        if flow.to.pod and wanted and isinstance(flow.to.port, int) and flow.protocol != "ICMP":
            yield f"{flow.to.namespace}/{flow.to.pod}", flow.to.port, flow.protocol


class _Flow:
    """One flow of a check while its references are looked up."""

    def __init__(self, flow: FlowSpec, origin: Origin, path: str, known: _Known, findings: Findings) -> None:
        self.flow, self.origin, self.path, self.known, self.findings = flow, origin, path, known, findings
        self.may_miss = bool(flow.connection)  # which may be older than what is there
        self.may_miss |= any(
            expect.outcome not in (None, "delivered", ASYMMETRIC) for _, expect in flow.expect.each()
        )

    def problem(self, path: str, what: str, hint: str = "") -> None:
        self.findings.problem(self.origin, f"{self.path}.{path}", what, hint)

    def check(self) -> None:
        self._source()
        to = self.flow.to
        if to.service:
            self._service(to.service)
        elif to.loadBalancer:
            self._load_balancer(to.loadBalancer)
        elif to.pod:
            if pod := self._pod(to.pod, to.namespace, "to.pod"):
                self._pod_port(pod)
        elif to.podSelector:
            for pod in self._selected(to.podSelector, to.namespace, "to.podSelector"):
                self._pod_port(pod)
        elif to.node:
            self._node_port(to.node)
        elif to.ip:
            self._address(to.ip)
        elif to.external:
            self._outside(to.external)
        for path, expect in self.flow.expect.each():
            for index, backend in enumerate(expect.backends or ()):
                self._backend(backend, f"{path}.backends[{index}]")

    # --- who sends ----------------------------------------------------------------------------------------

    def _source(self) -> None:
        source = self.flow.from_
        if source.pod:
            self._pod(source.pod, source.namespace, "from.pod")
        if source.podSelector:
            self._selected(source.podSelector, source.namespace, "from.podSelector")
        if source.node:
            self._named("node", source.node, self.known.nodes, "from.node")
        if source.external:
            self._named("external client", source.external, self.known.clients, "from.external")
        if self.flow.via:
            self._named("node", self.flow.via, self.known.nodes, "via")

    # --- names --------------------------------------------------------------------------------------------

    def _named(self, kind: str, name: str, known: Iterable[str], path: str) -> bool:
        if name in known:
            return True
        names = sorted(known)
        self.problem(
            path,
            f"there is no {kind} {name}",
            did_you_mean(name, names) or f"there is: {', '.join(names[:8])}",
        )
        return False

    def _in_namespace(self, kind: str, name: str, namespace: str, keys: Iterable[str], path: str) -> None:
        """Say that ``namespace/name`` is none of ``keys``, with what comes near in that namespace, or where
        else the name is.
        """
        keys = list(keys)
        if kind == "Pod" and (reason := self.known.waiting.get(f"{namespace}/{name}")):
            self.problem(path, f"Pod {namespace}/{name} runs nowhere: {reason}")
            return
        elsewhere = [key for key in keys if key.endswith(f"/{name}")]
        hint = f"it is in namespace {elsewhere[0].split('/')[0]}" if elsewhere else ""
        if not hint:
            hint = did_you_mean(name, [key.split("/")[1] for key in keys if key.startswith(f"{namespace}/")])
        self.problem(path, f"there is no {kind} {namespace}/{name}", hint)

    def _pod(self, name: str, namespace: str, path: str) -> Pod | None:
        pod = self.known.pods.get(f"{namespace}/{name}")
        if pod is None:
            self._in_namespace("Pod", name, namespace, self.known.pods, path)
        return pod

    def _selected(self, selector: Mapping[str, str], namespace: str, path: str) -> list[Pod]:
        pods = [
            p
            for p in self.known.pods.values()
            if p.namespace == namespace and matches_labels(selector, p.metadata.labels)
        ]
        if not pods:
            text = ",".join(f"{key}={value}" for key, value in selector.items())
            self.problem(path, f"no Pod that runs in namespace {namespace} has the labels {text}")
        return pods

    # --- ports --------------------------------------------------------------------------------------------

    def _service_port(self, service: Service) -> None:
        port, protocol = self.flow.to.port, self.flow.protocol
        if protocol == "ICMP":
            return
        there = ", ".join(
            f"{p.port}/{p.protocol}" + (f" ({p.name})" if p.name else "") for p in service.spec.ports
        )
        if isinstance(port, str):
            if not any(p.name == port and p.protocol == protocol for p in service.spec.ports):
                hint = did_you_mean(port, [p.name for p in service.spec.ports if p.name]) or f"it has {there}"
                self.problem("to.port", f"Service {service.key} has no {protocol} port named {port}", hint)
        elif not self.may_miss and not any(
            p.port == port and p.protocol == protocol for p in service.spec.ports
        ):
            self.problem("to.port", f"Service {service.key} has no port {port}/{protocol}", f"it has {there}")

    def _service_named(self, name: str, path: str) -> Service | None:
        service = self.known.services.get(f"{self.flow.to.namespace}/{name}")
        if service is None:
            self._in_namespace("Service", name, self.flow.to.namespace, self.known.services, path)
        return service

    def _service(self, name: str) -> None:
        service = self._service_named(name, "to.service")
        if service is None:
            return
        if service.addressed:
            self._service_port(service)
            return
        reason = "is headless" if service.headless else "is of type ExternalName"
        self.problem(
            "to.service",
            f"Service {service.key} {reason}: it has no address to dial",
            "name one of its Pods instead",
        )

    def _load_balancer(self, name: str) -> None:
        service = self._service_named(name, "to.loadBalancer")
        if service is None:
            return
        if any(ingress.ip for ingress in service.status.loadBalancer.ingress):
            self._service_port(service)
        else:
            what = f"Service {service.key} has no load-balancer address"
            self.problem("to.loadBalancer", what, "give it status.loadBalancer.ingress[].ip")

    def _pod_port(self, pod: Pod) -> None:
        port, protocol = self.flow.to.port, self.flow.protocol
        declared = [p for c in (*pod.spec.initContainers, *pod.spec.containers) for p in c.ports]
        if protocol == "ICMP" or port is None:
            return
        if isinstance(port, str):
            if not any(p.name == port and p.protocol == protocol for p in declared):
                hint = did_you_mean(port, [p.name for p in declared if p.name])
                self.problem("to.port", f"Pod {pod.key} has no {protocol} port named {port}", hint)
        elif not self.may_miss and pod.ip and not self.known.serves(pod_netns(pod), port, protocol):
            there = ", ".join(f"{p.containerPort}/{p.protocol}" for p in declared)
            self.problem(
                "to.port",
                f"nothing in Pod {pod.key} listens on {port}/{protocol}",
                f"it has {there}" if there else "",
            )

    def _node_port(self, name: str) -> None:
        to, protocol = self.flow.to, self.flow.protocol
        if not self._named("node", name, self.known.nodes, "to.node") or protocol == "ICMP":
            return
        if to.healthCheck:
            self._health_check(to.healthCheck)
            return
        if to.nodePort is not None:
            if not self.may_miss and (to.nodePort, protocol) not in self.known.node_ports:
                there = ", ".join(f"{port}/{p}" for port, p in sorted(self.known.node_ports)[:8])
                hint = f"there is: {there}" if there else ""
                if self._host_port(name, to.nodePort, "to.nodePort"):
                    return
                if checked := self.known.health_checks.get(to.nodePort):
                    hint = f"it is the healthCheckNodePort of {checked}: write port: {to.nodePort}, or healthCheck:"
                self.problem("to.nodePort", f"no Service has the node port {to.nodePort}/{protocol}", hint)
            return
        if not isinstance(to.port, int) or self.may_miss or (to.port, protocol) in self.known.node_ports:
            return
        if not self.known.serves(name, to.port, protocol) and not self._host_port(name, to.port, "to.port"):
            self.problem("to.port", f"nothing on node {name} listens on {to.port}/{protocol}")

    def _host_port(self, node: str, port: int, path: str) -> bool:
        """Report, if it is so, that ``port`` is some Pod's hostPort on ``node``. Returns whether it is."""
        pod = self.known.host_ports.get((node, port, self.flow.protocol))
        if pod is not None:
            self.problem(
                path,
                say_host_port(pod, port, self.flow.protocol),
                "dial the Pod itself, or a Service with a node port",
            )
        return pod is not None

    def _outside(self, name: str) -> None:
        port, protocol = self.flow.to.port, self.flow.protocol
        if (
            not self._named("machine outside the cluster", name, self.known.clients, "to.external")
            or self.may_miss
        ):
            return
        if isinstance(port, int) and protocol != "ICMP" and not self.known.serves(name, port, protocol):
            self.problem(
                "to.port",
                f"{name} serves no {port}/{protocol}",
                "declare it: externalServers of the Cluster, with ports",
            )

    def _address(self, ip: str) -> None:
        """A node's address, or localhost on one, where the port may be a Pod's hostPort."""
        node = self.flow.from_.node if ip.startswith("127.") else self.known.node_at.get(ip, "")
        port, protocol = self.flow.to.port, self.flow.protocol
        if (
            not node
            or self.may_miss
            or not isinstance(port, int)
            or (port, protocol) in self.known.node_ports
        ):
            return
        if not self.known.serves(node, port, protocol):
            self._host_port(node, port, "to.port")

    def _health_check(self, name: str) -> None:
        service = self._service_named(name, "to.healthCheck")
        if service is not None and service.spec.healthCheckNodePort is None:
            what = f"Service {service.key} has no healthCheckNodePort"
            self.problem(
                "to.healthCheck", what, "only type LoadBalancer under externalTrafficPolicy Local has one"
            )

    # --- backends -----------------------------------------------------------------------------------------

    def _backend(self, text: str, path: str) -> None:
        """``namespace/pod``, ``namespace/pod:port``, ``ip:port`` (for ICMP an address alone)."""
        head, colon, port = text.partition(":")
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
        good = 0 < number < 65536 if colon else True
        namespace, slash, name = head.partition("/")
        if slash:
            good = good and bool(namespace and name)
            if good and head not in self.known.pods:
                self._in_namespace("Pod", name, namespace, self.known.pods, path)
        else:
            good = good and _is_address(head) and (bool(colon) or self.flow.protocol == "ICMP")
        if not good:
            self.problem(
                path, f"{text!r} is no backend", "write namespace/pod, namespace/pod:port or ip:port"
            )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
