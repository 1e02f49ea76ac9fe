"""Turns FlowChecks into flows. (:mod:`emulator.flows.wanted` puts their expectations in place of the objects'
promise.)

References were checked when the state was settled; what still cannot be resolved is an :class:`InputError`,
all of it at once. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from emulator.errors import InputError, Problem
from emulator.flows.flowbook import FlowBook
from emulator.flows.wanted import (
    UnresolvableError,
    apply_expect,
    container_port,
    wants_health,
)
from emulator.model.flows import Client, Destination, Flow, ServiceAddress
from emulator.model.frames import Backend
from emulator.objects.config import FlowCheck, FlowExpect, FlowSpec
from emulator.objects.kinds import Loaded, Origin, Pod, Service, ServicePort
from emulator.oracle.endpoints import cluster_ips, load_balancer_ips
from emulator.oracle.expectations import Expectations
from emulator.oracle.parties import (
    address_destination,
    external_client,
    health_check_destination,
    loopback_destination,
    node_client,
    pod_client,
    pod_destination,
    service_destination,
)


def flows_from_checks(
    checks: Iterable[Loaded[FlowCheck]], expectations: Expectations, step: str = ""
) -> tuple[tuple[Flow, ...], Mapping[str, FlowExpect]]:
    """Returns the flows of every FlowCheck with their controls, and by flow name what the user expects in
    this mode (controls have no entry).

    A flow is named ``<check>: <flow>``, that of a step ``<check>, <step>: <flow>``; a selector gives one flow
    for each Pod that it matches, " (from …)" or " (to …)" added. ``step`` names the moment at which they are
    sent. Raises InputError with everything that cannot be resolved.
    """
    resolver = _Resolver(expectations, step)
    for loaded in checks:
        resolver.read(loaded)
    if resolver.problems:
        raise InputError(resolver.problems)
    return resolver.book.flows(), resolver.expects


def check_connections(flows: Sequence[Flow]) -> None:
    """Raises InputError unless the flows of each connection have the same client and destination."""
    first: dict[tuple[str, str], Flow] = {}
    problems = []
    for flow in (flow for flow in flows if flow.connection):
        other = first.setdefault((flow.check, flow.connection), flow)
        if _ends(flow) != _ends(other):
            what = (
                f"{flow.name}: connection {flow.connection} goes from {_ends(other)}, not from {_ends(flow)}"
            )
            problems.append(
                Problem(
                    file=f"FlowCheck {flow.check}", path="connection", what=what, hint="give it another name"
                )
            )
    if problems:
        raise InputError(problems)


def _ends(flow: Flow) -> str:
    return f"{flow.client.label} to {flow.protocol} {Backend(flow.to.ip, flow.to.port)}" + (
        f" via {flow.via}" if flow.via else ""
    )


class _Resolver:
    def __init__(self, expectations: Expectations, step: str) -> None:
        self.expectations = expectations
        self.state = expectations.state
        self.book = FlowBook(expectations, step)
        self.expects: dict[str, FlowExpect] = {}
        self.problems: list[Problem] = []

    def read(self, loaded: Loaded[FlowCheck]) -> None:
        for index, spec in enumerate(loaded.object.flows):
            self._read_flow(loaded.object, spec, loaded.origin, f"{loaded.object.path}.flows[{index}]")

    def _read_flow(self, check: FlowCheck, spec: FlowSpec, origin: Origin, path: str) -> None:
        try:
            self._add_flow(check, spec)
        except UnresolvableError as error:
            where = f"{path}.{error.path}"
            full = ".".join(filter(None, (origin.prefix, where)))
            self.problems.append(
                Problem(origin.file, error.what, "", origin.document, full, origin.line(where))
            )

    def _add_flow(self, check: FlowCheck, spec: FlowSpec) -> None:
        clients = self._clients(spec)
        destinations = self._destinations(spec)
        if spec.via and spec.via not in self.state.node:
            raise UnresolvableError("via", f"there is no node {spec.via}")
        if spec.via and not spec.from_.external:
            raise UnresolvableError("via", "only an external client's packets enter through a node")
        for _, to in destinations:
            _check_health(spec, to)
        title = ", ".join(filter(None, (check.metadata.name, check.step)))
        for client_note, client in clients:
            for to_note, to in destinations:
                name = f"{spec.name}{client_note}{to_note}"
                flow = self.book.add(
                    name,
                    client,
                    to,
                    spec.protocol,
                    via=spec.via,
                    attempts=spec.attempts,
                    check=check.metadata.name,
                    entry=spec.name,
                    connection=spec.connection,
                    prefix=f"{title}: ",
                )
                self.expects[flow.name] = self._expected(spec.expect, flow)

    def _expected(self, expect: FlowExpect, flow: Flow) -> FlowExpect:
        """Returns what is expected in this mode, if all that it names is there."""
        mode = self.state.proxy.mode
        wanted, where = expect.under(mode), f"expect.modes.{mode}" if mode in expect.modes else "expect"
        try:
            apply_expect(self.expectations.expect(flow), wanted, flow, self.expectations)
        except UnresolvableError as error:
            raise UnresolvableError(f"{where}.{error.path}", error.what) from None
        return wanted

    # --- from ---------------------------------------------------------------------------------------------

    def _clients(self, spec: FlowSpec) -> list[tuple[str, Client]]:
        who = spec.from_
        if who.podSelector:
            return [
                (f" (from {p.key})", pod_client(p))
                for p in self._matching(who.podSelector, who.namespace, "from.podSelector")
            ]
        if who.pod:
            return [("", pod_client(self._pod(who.namespace, who.pod, "from.pod")))]
        if who.node:
            return [("", node_client(_found(self.state.node, who.node, "from.node", "node")))]
        return [
            ("", external_client(_found(self.state.client, who.external, "from.external", "external client")))
        ]

    def _pod(self, namespace: str, name: str, path: str) -> Pod:
        return _found(self.state.pod, f"{namespace}/{name}", path, "Pod")

    def _matching(self, selector: Mapping[str, str], namespace: str, path: str) -> list[Pod]:
        pods = [
            p
            for p in self.state.pods
            if p.namespace == namespace and selector.items() <= p.metadata.labels.items()
        ]
        if not pods:
            raise UnresolvableError(path, f"no Pod of namespace {namespace} has these labels")
        return pods

    # --- to -----------------------------------------------------------------------------------------------

    def _destinations(self, spec: FlowSpec) -> list[tuple[str, Destination]]:
        to = spec.to
        if to.podSelector:
            pods = self._matching(to.podSelector, to.namespace, "to.podSelector")
            return [(f" (to {pod.key})", self._to_pod(pod, spec)) for pod in pods]
        if to.pod:
            return [("", self._to_pod(self._pod(to.namespace, to.pod, "to.pod"), spec))]
        if to.service or to.loadBalancer:
            return [("", self._to_service(spec))]
        if to.healthCheck:
            return [("", self._to_health_check(spec))]
        if to.external:
            outside = _found(self.state.client, to.external, "to.external", "machine outside the cluster")
            return [
                (
                    "",
                    self._to_address(
                        outside.address, 0 if spec.protocol == "ICMP" else _number(to.port), spec
                    ),
                )
            ]
        number = (
            0 if spec.protocol == "ICMP" else _number(to.nodePort if to.nodePort is not None else to.port)
        )
        ip = _found(self.state.node, to.node, "to.node", "node").internalIPs[0] if to.node else to.ip
        return [("", self._to_address(ip, number, spec))]

    def _to_pod(self, pod: Pod, spec: FlowSpec) -> Destination:
        if spec.protocol == "ICMP":
            return pod_destination(pod, 0)
        if spec.to.port is None:
            raise UnresolvableError("to.port", "a port is needed")
        number = container_port(pod, spec.to.port, spec.protocol)
        if number is None:
            raise UnresolvableError(
                "to.port", f"no container of Pod {pod.key} names a {spec.protocol} port {spec.to.port!r}"
            )
        return pod_destination(pod, number)

    def _to_service(self, spec: FlowSpec) -> Destination:
        to = spec.to
        how: ServiceAddress = "clusterIP" if to.service else "loadBalancer"
        path = "to.service" if to.service else "to.loadBalancer"
        service = _found(
            self.state.service, f"{to.namespace}/{to.service or to.loadBalancer}", path, "Service"
        )
        if not service.addressed:
            raise UnresolvableError(
                path,
                f"Service {service.key} is headless or ExternalName and has no address of its own: dial its Pods",
            )
        addresses = (
            cluster_ips(service)
            if to.service
            else (*load_balancer_ips(service), *self.state.balancer_ips(service))
        )
        if not addresses:
            raise UnresolvableError(path, f"Service {service.key} has no {how}")
        if spec.protocol == "ICMP":
            return Destination(label=f"svc {service.key}", ip=addresses[0], port=0, how=how)
        port = self._service_port(service, spec)
        if isinstance(port, int):
            return Destination(label=f"svc {service.key}:{port}", ip=addresses[0], port=port, how=how)
        return service_destination(service, port, how, addresses[0])

    def _to_health_check(self, spec: FlowSpec) -> Destination:
        node = _found(self.state.node, spec.to.node, "to.node", "node")
        service = _found(
            self.state.service, f"{spec.to.namespace}/{spec.to.healthCheck}", "to.healthCheck", "Service"
        )
        if service.spec.healthCheckNodePort is None:
            raise UnresolvableError("to.healthCheck", f"Service {service.key} has no healthCheckNodePort")
        return health_check_destination(service, node.internalIPs[0], node.name)

    def _service_port(self, service: Service, spec: FlowSpec) -> ServicePort | int:
        """Returns the Service's port, or the number that was asked for where the Service has no such port: it
        is dialled all the same.
        """
        wanted = spec.to.port
        ports = [p for p in service.spec.ports if p.protocol == spec.protocol]
        if wanted is None:
            if len(ports) == 1:
                return ports[0]
            raise UnresolvableError(
                "to.port",
                f"Service {service.key} has {len(ports)} {spec.protocol} ports: which one is meant?",
            )
        if isinstance(wanted, int):
            return next((p for p in ports if p.port == wanted), wanted)
        for port in ports:
            if port.name == wanted:
                return port
        raise UnresolvableError(
            "to.port", f"Service {service.key} has no {spec.protocol} port named {wanted!r}"
        )

    def _to_address(self, ip: str, number: int, spec: FlowSpec) -> Destination:
        """Returns ``ip:number``, named after the Service behind it if there is one."""
        table, key = self.expectations.table, (number, spec.protocol)
        entry = table.addresses.get((ip, *key))
        if entry is not None:
            return service_destination(entry[0].service, entry[0].port, entry[1], ip)
        if balanced := table.balanced.get((ip, *key)):
            return service_destination(balanced.service, balanced.port, "loadBalancer", ip)
        owner = self.expectations.owners.get(ip)
        loopback = ip.startswith("127.")
        node = spec.from_.node if loopback else owner.node if owner and owner.kind == "node" else ""
        if node and key in table.node_ports:
            endpoints = table.node_ports[key]
            return service_destination(endpoints.service, endpoints.port, "nodePort", ip, node)
        if node and (checked := self.expectations.health_checks.at(node, *key)):
            return health_check_destination(checked, ip, node)
        return (
            loopback_destination(number)
            if loopback
            else address_destination(self.expectations.owners, ip, number)
        )


def _check_health(spec: FlowSpec, to: Destination) -> None:
    """Checks that only a health check is expected to answer with a status, once a connection."""
    if to.how == "healthCheck" and spec.connection:
        raise UnresolvableError("connection", f"{to.label} is asked over a connection of its own each time")
    for path, expect in spec.expect.each():
        if to.how != "healthCheck" and wants_health(expect):
            said = "status" if expect.status is not None else "localEndpoints"
            raise UnresolvableError(
                f"{path}.{said}", f"{to.label} is no healthCheckNodePort: nothing else answers with it"
            )


T = TypeVar("T")


def _found(objects: Mapping[str, T], key: str, path: str, kind: str) -> T:
    if key not in objects:
        raise UnresolvableError(path, f"there is no {kind} {key}")
    return objects[key]


def _number(port: int | str | None) -> int:
    if isinstance(port, int):
        return port
    raise UnresolvableError("to.port", "a port number is needed")
