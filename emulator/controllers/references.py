"""Resolves the references of FlowChecks' flows: names and ports become objects, or problems with a hint.

The one resolver: settling reports its problems (``checks`` adds ports that no container serves), and
``flows`` makes flows of its objects. Pure. Invariant: a reference resolves to objects exactly if no problem
is reported for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from ..cluster.state import ClusterState, WaitingPod
from ..errors import Words, worded
from ..load.faults import did_you_mean
from ..net import AddressError, Endpoint
from ..objects.config import ExternalClient, FlowSpec
from ..objects.kinds import ContainerPort, Node, Pod, Service, ServicePort
from ..objects.selectors import matches_labels

T = TypeVar("T")

Report: TypeAlias = Callable[[str, str, str], None]  # place in the flow, fault, hint
Source: TypeAlias = "Pod | Node | ExternalClient"


@dataclass(frozen=True, slots=True)
class Names:
    """Holds the names that a FlowCheck may use; Pods and Services by namespace/name. ``waiting``: why a Pod
    runs nowhere.
    """

    pods: Mapping[str, Pod]
    waiting: Mapping[str, str]
    services: Mapping[str, Service]
    nodes: Mapping[str, Node]
    clients: Mapping[str, ExternalClient]

    @classmethod
    def of(cls, state: ClusterState) -> Names:
        """Returns the names of a settled cluster."""
        return cls(state.pod, reasons(state.waiting), state.service, state.node, state.client)


def reasons(waiting: Iterable[WaitingPod]) -> Mapping[str, str]:
    """Returns why each of the ``waiting`` Pods runs nowhere, by namespace/name."""
    return {row.pod.key: row.reason for row in waiting}


@dataclass(frozen=True, slots=True)
class ToPod:
    pod: Pod
    port: int  # 0: ICMP


@dataclass(frozen=True, slots=True)
class ToService:
    """Describes an address of a Service. ``port`` is a number if the Service has no such port, None
    for ICMP.
    """

    service: Service
    how: Literal["clusterIP", "loadBalancer"]
    port: ServicePort | int | None


@dataclass(frozen=True, slots=True)
class ToHealthCheck:
    service: Service
    node: Node


@dataclass(frozen=True, slots=True)
class ToAddress:
    """Describes a written address, or that of the node or external machine ``owner``."""

    ip: str
    port: int  # 0: ICMP
    owner: str = ""


Target: TypeAlias = "ToPod | ToService | ToHealthCheck | ToAddress"


@dataclass(frozen=True, slots=True)
class BackendName:
    """Holds a backend as FlowChecks write it: a Pod (namespace/name) or an address; ``port`` 0: none
    written.
    """

    pod: str
    ip: str
    port: int


class References:
    """Resolves the references of one flow."""

    def __init__(self, flow: FlowSpec, names: Names, report: Report) -> None:
        self._flow, self._names, self._report = flow, names, report

    def sources(self) -> Sequence[Source]:
        """Returns the clients: one, or each Pod that a selector matches."""
        source, names = self._flow.from_, self._names
        found: Sequence[Source | None] = ()
        if source.pod:
            found = [self._pod(source.pod, source.namespace, "from.pod")]
        elif source.podSelector:
            found = self._selected(source.podSelector, source.namespace, "from.podSelector")
        elif source.node:
            found = [self._named("node", source.node, names.nodes, "from.node")]
        elif source.external:
            found = [self._named("external client", source.external, names.clients, "from.external")]
        if self._flow.via:
            self._named("node", self._flow.via, names.nodes, "via")
        return [one for one in found if one]

    def targets(self) -> Sequence[Target]:
        """Returns the destinations: one, or each Pod that a selector matches."""
        to = self._flow.to
        if to.service:
            found: Sequence[Target | None] = [self._service(to.service)]
        elif to.loadBalancer:
            found = [self._load_balancer(to.loadBalancer)]
        elif to.pod:
            pod = self._pod(to.pod, to.namespace, "to.pod")
            found = [self._pod_port(pod)] if pod else []
        elif to.podSelector:
            pods = self._selected(to.podSelector, to.namespace, "to.podSelector")
            found = [self._pod_port(pod) for pod in pods]
        elif to.node:
            found = [self._node(to.node)]
        elif to.external:
            names = self._names.clients
            outside = self._named("machine outside the cluster", to.external, names, "to.external")
            found = [self._address(outside.address, to.port, outside.name)] if outside else []
        else:
            found = [self._address(to.ip, to.port)]
        return [one for one in found if one]

    def check_backends(self) -> None:
        """Reports each backend that ``expect`` names, in any mode, and that is none."""
        for path, expect in self._flow.expect.each():
            for index, text in enumerate(expect.backends or ()):
                self._check_backend(text, f"{path}.backends[{index}]")

    # --- names --------------------------------------------------------------------------------------------

    def _named(self, kind: str, name: str, known: Mapping[str, T], path: str) -> T | None:
        if name not in known:
            names = sorted(known)
            hint = did_you_mean(name, names) or f"there is: {', '.join(names[:8])}"
            self._report(path, worded("there is no {} {}", Words(kind), name), hint)
        return known.get(name)

    def _in_namespace(self, kind: str, name: str, namespace: str, keys: Iterable[str], path: str) -> None:
        """Reports that ``namespace/name`` is none of ``keys``, with similar names in that namespace, or the
        namespaces that have the name.
        """
        keys = list(keys)
        if kind == "Pod" and (reason := self._names.waiting.get(f"{namespace}/{name}")):
            self._report(path, worded("Pod {}/{} runs nowhere: {}", namespace, name, reason), "")
            return
        elsewhere = [key for key in keys if key.endswith(f"/{name}")]
        hint = f"it is in namespace {elsewhere[0].split('/')[0]}" if elsewhere else ""
        if not hint:
            hint = did_you_mean(name, [key.split("/")[1] for key in keys if key.startswith(f"{namespace}/")])
        self._report(path, worded("there is no {} {}/{}", Words(kind), namespace, name), hint)

    def _pod(self, name: str, namespace: str, path: str) -> Pod | None:
        pod = self._names.pods.get(f"{namespace}/{name}")
        if pod is None:
            self._in_namespace("Pod", name, namespace, self._names.pods, path)
        return pod

    def _selected(self, selector: Mapping[str, str], namespace: str, path: str) -> list[Pod]:
        pods = [
            p
            for p in self._names.pods.values()
            if p.namespace == namespace and matches_labels(selector, p.metadata.labels)
        ]
        if not pods:
            text = ",".join(f"{key}={value}" for key, value in selector.items())
            elsewhere = sorted(
                {
                    p.namespace
                    for p in self._names.pods.values()
                    if matches_labels(selector, p.metadata.labels)
                }
            )
            hint = f"Pods with them are in namespace {', '.join(elsewhere[:3])}" if elsewhere else ""
            what = worded("no Pod that runs in namespace {} has the labels {}", namespace, text)
            self._report(path, what, hint)
        return pods

    def _service_named(self, name: str, path: str) -> Service | None:
        service = self._names.services.get(f"{self._flow.to.namespace}/{name}")
        if service is None:
            self._in_namespace("Service", name, self._flow.to.namespace, self._names.services, path)
        return service

    # --- ports --------------------------------------------------------------------------------------------

    def _service(self, name: str) -> ToService | None:
        service = self._service_named(name, "to.service")
        if service is None:
            return None
        if service.addressed:
            return self._service_port(service, "clusterIP")
        reason = "is headless" if service.headless else "is of type ExternalName"
        what = worded("Service {} {}: it has no address to dial", service.key, Words(reason))
        self._report("to.service", what, "name one of its Pods instead")
        return None

    def _load_balancer(self, name: str) -> ToService | None:
        service = self._service_named(name, "to.loadBalancer")
        if service is None:
            return None
        if any(ingress.ip for ingress in service.status.loadBalancer.ingress):
            return self._service_port(service, "loadBalancer")
        what = worded("Service {} has no load-balancer address", service.key)
        self._report("to.loadBalancer", what, "give it status.loadBalancer.ingress[].ip")
        return None

    def _service_port(self, service: Service, how: Literal["clusterIP", "loadBalancer"]) -> ToService | None:
        port, protocol = self._flow.to.port, self._flow.protocol
        if protocol == "ICMP":
            return ToService(service, how, None)
        ports = [p for p in service.spec.ports if p.protocol == protocol]
        if isinstance(port, str):
            named = next((p for p in ports if p.name == port), None)
            if named is None:
                hint = did_you_mean(port, [p.name for p in service.spec.ports if p.name])
                what = worded("Service {} has no {} port named {}", service.key, Words(protocol), port)
                self._report("to.port", what, hint or f"it has {list_ports(service)}")
            return ToService(service, how, named) if named else None
        number = self._number(port)
        return (
            ToService(service, how, next((p for p in ports if p.port == number), number)) if number else None
        )

    def _pod_port(self, pod: Pod) -> ToPod | None:
        port, protocol = self._flow.to.port, self._flow.protocol
        if protocol == "ICMP":
            return ToPod(pod, 0)
        number = container_port(pod, port, protocol) if isinstance(port, str) else self._number(port)
        if isinstance(port, str) and number is None:
            hint = did_you_mean(port, [p.name for p in declared_ports(pod) if p.name])
            what = worded("Pod {} has no {} port named {}", pod.key, Words(protocol), port)
            self._report("to.port", what, hint)
        return ToPod(pod, number) if number else None

    def _node(self, name: str) -> ToHealthCheck | ToAddress | None:
        to = self._flow.to
        node = self._named("node", name, self._names.nodes, "to.node")
        if node is None:
            return None
        if not to.healthCheck:
            number = to.port if to.nodePort is None else to.nodePort
            return self._address(node.internalIPs[0], number, node.name)
        service = self._service_named(to.healthCheck, "to.healthCheck")
        if service is not None and service.spec.healthCheckNodePort is None:
            what = worded("Service {} has no healthCheckNodePort", service.key)
            hint = "only type LoadBalancer under externalTrafficPolicy Local has one"
            self._report("to.healthCheck", what, hint)
            return None
        return ToHealthCheck(service, node) if service else None

    def _address(self, ip: str, port: int | str | None, owner: str = "") -> ToAddress | None:
        if self._flow.protocol == "ICMP":
            return ToAddress(ip, 0, owner)
        number = self._number(port)
        return ToAddress(ip, number, owner) if number else None

    def _number(self, port: int | str | None) -> int:
        """Returns ``port``; 0 and a report if it is no number."""
        if isinstance(port, int):
            return port
        self._report("to.port", "a port number is needed", "")
        return 0

    # --- backends -----------------------------------------------------------------------------------------

    def _check_backend(self, text: str, path: str) -> None:
        backend = read_backend(text)
        if backend is None or (backend.ip and not backend.port and self._flow.protocol != "ICMP"):
            hint = "write namespace/pod, namespace/pod:port or ip:port"
            self._report(path, worded("{!r} is no backend", text), hint)
        elif backend.pod and backend.pod not in self._names.pods:
            namespace, _, name = backend.pod.partition("/")
            self._in_namespace("Pod", name, namespace, self._names.pods, path)


def read_backend(text: str) -> BackendName | None:
    """Returns the backend that ``namespace/pod``, ``namespace/pod:port``, ``ip:port`` or ``ip`` names; None
    for any other ``text``.
    """
    if "/" not in text:
        try:
            return BackendName("", *Endpoint.parse(text))
        except AddressError:
            return None
    pod, colon, port = text.partition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    if colon and not 0 < number < 65536:
        return None
    namespace, _, name = pod.partition("/")
    return BackendName(pod, "", number) if namespace and name else None


def container_port(pod: Pod, port: int | str, protocol: str) -> int | None:
    """Returns ``port`` by number, or by the name that a container of ``pod`` gives it; None if none does."""
    if isinstance(port, int):
        return port
    ports = (p for p in declared_ports(pod) if p.name == port and p.protocol == protocol)
    return next((p.containerPort for p in ports), None)


def declared_ports(pod: Pod) -> Sequence[ContainerPort]:
    """Returns the ports that the containers of ``pod`` declare."""
    return [p for c in (*pod.spec.initContainers, *pod.spec.containers) for p in c.ports]


def list_ports(service: Service) -> str:
    """Returns the ports of ``service`` as a hint lists them."""
    return ", ".join(
        f"{p.port}/{p.protocol}" + (f" ({p.name})" if p.name else "") for p in service.spec.ports
    )
