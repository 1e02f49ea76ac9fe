"""FlowChecks: what a user wrote becomes flows, and overrides what the objects promise.

References were checked when the state was settled; what still cannot be resolved is an :class:`InputError`, all of it at once. Imports
``objects``, ``control.state``, ``errors`` and the pure modules of ``probe``. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import TypeVar

from emulator.control.state import ClusterState
from emulator.errors import InputError, Problem
from emulator.objects.config import FlowCheck, FlowExpect, FlowSpec
from emulator.objects.kinds import Loaded, Origin, Pod, Service, ServicePort
from emulator.probe.endpoints import cluster_ips, load_balancer_ips
from emulator.probe.expect import Expectations
from emulator.probe.flowbook import FlowBook
from emulator.probe.model import Backend, Client, Destination, Expectation, Flow, Health, SourceRule
from emulator.probe.parties import (
    ServiceAddress,
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
    state: ClusterState, expectations: Expectations | None = None, step: str = ""
) -> tuple[tuple[Flow, ...], Mapping[str, FlowExpect]]:
    """The flows of every FlowCheck with their controls, and by flow name what the user expects in this mode (controls have no
    entry).

    A flow is named ``<check>: <flow>``, that of a step ``<check>, <step>: <flow>``; a selector gives one flow for each Pod that it matches,
    " (from …)" or " (to …)" added. ``step`` names the moment at which they are sent.
    Raises InputError with everything that cannot be resolved.
    """
    resolver = _Resolver(expectations or Expectations(state), step)
    for loaded in state.flowChecks:
        resolver.read(loaded)
    if resolver.problems:
        raise InputError(resolver.problems)
    return resolver.book.flows(), resolver.expects


def apply_expect(
    expectation: Expectation, wanted: FlowExpect, flow: Flow, expectations: Expectations, *, kept: bool = False
) -> Expectation:
    """``expectation`` of ``flow`` with what the user wrote in place of what the objects promise; what is not said stays promised.

    A source, backends or a health check's answer without an outcome want it delivered. Where delivery is wanted and none is promised, the
    backends are those that the Service port has. ``kept``: it goes over an open connection, whose endpoint goes on seeing the address that
    it saw. What of ``wanted`` leads nowhere :func:`flows_from_checks` has told before.
    """
    if wanted == FlowExpect():
        return expectation
    said = f"FlowCheck {flow.check}" if flow.check else "the FlowCheck"
    arrived = expectation.outcome == "delivered"
    arrives = wanted.source is not None or wanted.backends is not None or _wants_health(wanted)
    outcome = wanted.outcome or ("delivered" if arrives else expectation.outcome)
    if outcome != "delivered":
        because = f"{said} wants it {outcome}; the objects promise: {expectation.because}"
        return Expectation(outcome=outcome, because=because, relayed=expectation.relayed, unanswered=expectation.unanswered)
    if wanted.backends is not None:
        backends = tuple(dict.fromkeys(b for text in wanted.backends for b in _backends_named(text, expectation, flow, expectations)))
        result = _kept(expectation, backends) if kept and arrived else expectations.expect_delivered(flow, backends)
    elif expectation.outcome != "delivered":
        result = replace(expectations.expect_delivered(flow, expectations.may_meet(flow)), partial=True)
    else:
        result = expectation
    if wanted.source is not None:
        balancer = expectations.state.balancerIP
        if wanted.source == "balancer" and not balancer:
            raise _UnresolvableError("source", "there is no balancer: no Service has a load-balancer address of ipMode Proxy")
        result = _with_source(result, wanted.source, balancer)
    result = replace(result, health=_health(expectation.health, wanted))
    because = f"{said} says so; the objects promise: {expectation.because}"
    return replace(result, because=because, astray=frozenset())  # who wants it delivered wants to be answered


def check_connections(flows: Sequence[Flow]) -> None:
    """Raises InputError unless the flows of each connection have the same client and destination."""
    first: dict[tuple[str, str], Flow] = {}
    problems = []
    for flow in (flow for flow in flows if flow.connection):
        other = first.setdefault((flow.check, flow.connection), flow)
        if _ends(flow) != _ends(other):
            what = f"{flow.name}: connection {flow.connection} goes from {_ends(other)}, not from {_ends(flow)}"
            problems.append(Problem(file=f"FlowCheck {flow.check}", path="connection", what=what, hint="give it another name"))
    if problems:
        raise InputError(problems)


def _ends(flow: Flow) -> str:
    return f"{flow.client.label} to {flow.protocol} {Backend(flow.to.ip, flow.to.port)}" + (f" via {flow.via}" if flow.via else "")


def _kept(expectation: Expectation, backends: Sequence[Backend]) -> Expectation:
    rule: SourceRule = next(iter(expectation.backends.values()), "preserved")
    return replace(expectation, backends=dict.fromkeys(backends, rule))


def _with_source(expectation: Expectation, source: str, balancer: str) -> Expectation:
    named: Mapping[str, SourceRule] = {"preserved": "preserved", "node": "node", "balancer": "balancer"}
    rule = named.get(source, "preserved")
    addresses = {**expectation.addresses, "balancer": frozenset({balancer})}
    if source not in named:
        addresses[rule] = frozenset({source})
    return replace(expectation, backends=dict.fromkeys(expectation.backends, rule), addresses=addresses, source=source)


def _wants_health(wanted: FlowExpect) -> bool:
    return wanted.status is not None or wanted.localEndpoints is not None


def _health(promised: Health | None, wanted: FlowExpect) -> Health | None:
    """The answer that is wanted of a health check. Status and count say much of each other; what neither says stays promised, or open."""
    status, count = wanted.status, wanted.localEndpoints
    if not _wants_health(wanted):
        return promised
    if count is None:
        count = 0 if status == 503 else promised.localEndpoints if promised and promised.status == status else None
    return Health(status or (200 if count else 503), count)


def _backends_named(text: str, promised: Expectation, flow: Flow, expectations: Expectations) -> Sequence[Backend]:
    """The backends that "default/web-0", "default/web-0:8080" or "10.244.1.7:8080" stands for.

    Without a port: those that the flow may meet at that Pod, else the port that is dialled at it.
    """
    name, _, port = text.partition(":")
    if "/" in name:
        pod = expectations.state.pod.get(name)
        if pod is None:
            raise _UnresolvableError("backends", f"there is no Pod {name}")
        ips = {a.ip for a in pod.status.podIPs}
        ip = pod.ip
    else:
        pod, ip = None, name
        try:
            ips = {str(ip_address(name))}
        except ValueError:
            raise _UnresolvableError("backends", f"{text!r} is neither namespace/pod nor an address") from None
    if port.isdecimal():
        return [Backend(ip, int(port))]
    if port:
        raise _UnresolvableError("backends", f"{port!r} is not a port number")
    met = expectations.translation(flow)
    known = [*promised.backends, *expectations.may_meet(flow), *(c.backend for c in (met.endpoints.candidates if met else ()))]
    found = [b for b in dict.fromkeys(known) if b.ip in ips]
    if found or flow.protocol == "ICMP":
        return found or [Backend(ip, 0)]
    if met is None:
        return [Backend(ip, flow.to.port)]
    target = met.endpoints.port.targetPort
    number = _container_port(pod, target, flow.protocol) if pod is not None and target is not None else None
    if number is None:
        raise _UnresolvableError("backends", f"{text} is no endpoint of {flow.to.label}: which port is meant?")
    return [Backend(ip, number)]


def _container_port(pod: Pod, port: int | str, protocol: str) -> int | None:
    """``port`` by number, or by the name that a container of ``pod`` gives it; None if none does."""
    if isinstance(port, int):
        return port
    containers = (*pod.spec.initContainers, *pod.spec.containers)
    return next((p.containerPort for c in containers for p in c.ports if p.name == port and p.protocol == protocol), None)


class _UnresolvableError(Exception):
    """A reference of one flow leads nowhere: where in the flow, and what is wrong."""

    def __init__(self, path: str, what: str) -> None:
        self.path, self.what = path, what


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
        except _UnresolvableError as error:
            where = f"{path}.{error.path}"
            full = ".".join(filter(None, (origin.prefix, where)))
            self.problems.append(Problem(origin.file, error.what, "", origin.document, full, origin.line(where)))

    def _add_flow(self, check: FlowCheck, spec: FlowSpec) -> None:
        clients = self._clients(spec)
        destinations = self._destinations(spec)
        if spec.via and spec.via not in self.state.node:
            raise _UnresolvableError("via", f"there is no node {spec.via}")
        if spec.via and not spec.from_.external:
            raise _UnresolvableError("via", "only an external client's packets enter through a node")
        for _, to in destinations:
            _check_health(spec, to)
        title = ", ".join(filter(None, (check.metadata.name, check.step)))
        for client_note, client in clients:
            for to_note, to in destinations:
                name = f"{title}: {spec.name}{client_note}{to_note}"
                flow = self.book.add(
                    name,
                    client,
                    to,
                    spec.protocol,
                    via=spec.via,
                    attempts=spec.attempts,
                    check=check.metadata.name,
                    connection=spec.connection,
                )
                self.expects[flow.name] = self._expected(spec.expect, flow)

    def _expected(self, expect: FlowExpect, flow: Flow) -> FlowExpect:
        """What is expected in this mode, if all that it names is there."""
        mode = self.state.proxy.mode
        wanted, where = expect.under(mode), f"expect.modes.{mode}" if mode in expect.modes else "expect"
        try:
            apply_expect(self.expectations.expect(flow), wanted, flow, self.expectations)
        except _UnresolvableError as error:
            raise _UnresolvableError(f"{where}.{error.path}", error.what) from None
        return wanted

    # --- from ---------------------------------------------------------------------------------------------

    def _clients(self, spec: FlowSpec) -> list[tuple[str, Client]]:
        who = spec.from_
        if who.podSelector:
            return [(f" (from {p.key})", pod_client(p)) for p in self._matching(who.podSelector, who.namespace, "from.podSelector")]
        if who.pod:
            return [("", pod_client(self._pod(who.namespace, who.pod, "from.pod")))]
        if who.node:
            return [("", node_client(_found(self.state.node, who.node, "from.node", "node")))]
        return [("", external_client(_found(self.state.client, who.external, "from.external", "external client")))]

    def _pod(self, namespace: str, name: str, path: str) -> Pod:
        return _found(self.state.pod, f"{namespace}/{name}", path, "Pod")

    def _matching(self, selector: Mapping[str, str], namespace: str, path: str) -> list[Pod]:
        pods = [p for p in self.state.pods if p.namespace == namespace and selector.items() <= p.metadata.labels.items()]
        if not pods:
            raise _UnresolvableError(path, f"no Pod of namespace {namespace} has these labels")
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
        number = 0 if spec.protocol == "ICMP" else _number(to.nodePort if to.nodePort is not None else to.port)
        ip = _found(self.state.node, to.node, "to.node", "node").internalIPs[0] if to.node else to.ip
        return [("", self._to_address(ip, number, spec))]

    def _to_pod(self, pod: Pod, spec: FlowSpec) -> Destination:
        if spec.protocol == "ICMP":
            return pod_destination(pod, 0)
        if spec.to.port is None:
            raise _UnresolvableError("to.port", "a port is needed")
        number = _container_port(pod, spec.to.port, spec.protocol)
        if number is None:
            raise _UnresolvableError("to.port", f"no container of Pod {pod.key} names a {spec.protocol} port {spec.to.port!r}")
        return pod_destination(pod, number)

    def _to_service(self, spec: FlowSpec) -> Destination:
        to = spec.to
        how: ServiceAddress = "clusterIP" if to.service else "loadBalancer"
        path = "to.service" if to.service else "to.loadBalancer"
        service = _found(self.state.service, f"{to.namespace}/{to.service or to.loadBalancer}", path, "Service")
        if not service.proxied:
            raise _UnresolvableError(
                path, f"Service {service.key} is headless or ExternalName and has no address of its own: dial its Pods"
            )
        addresses = cluster_ips(service) if to.service else (*load_balancer_ips(service), *self.state.balancer_ips(service))
        if not addresses:
            raise _UnresolvableError(path, f"Service {service.key} has no {how}")
        if spec.protocol == "ICMP":
            return Destination(label=f"svc {service.key}", ip=addresses[0], port=0, how=how)
        port = self._service_port(service, spec)
        if isinstance(port, int):
            return Destination(label=f"svc {service.key}:{port}", ip=addresses[0], port=port, how=how)
        return service_destination(service, port, how, addresses[0])

    def _to_health_check(self, spec: FlowSpec) -> Destination:
        node = _found(self.state.node, spec.to.node, "to.node", "node")
        service = _found(self.state.service, f"{spec.to.namespace}/{spec.to.healthCheck}", "to.healthCheck", "Service")
        if service.spec.healthCheckNodePort is None:
            raise _UnresolvableError("to.healthCheck", f"Service {service.key} has no healthCheckNodePort")
        return health_check_destination(service, node.internalIPs[0], node.name)

    def _service_port(self, service: Service, spec: FlowSpec) -> ServicePort | int:
        """The Service's port, or the number that was asked for where the Service has no such port: dialled all the same."""
        wanted = spec.to.port
        ports = [p for p in service.spec.ports if p.protocol == spec.protocol]
        if wanted is None:
            if len(ports) == 1:
                return ports[0]
            raise _UnresolvableError("to.port", f"Service {service.key} has {len(ports)} {spec.protocol} ports: which one is meant?")
        if isinstance(wanted, int):
            return next((p for p in ports if p.port == wanted), wanted)
        for port in ports:
            if port.name == wanted:
                return port
        raise _UnresolvableError("to.port", f"Service {service.key} has no {spec.protocol} port named {wanted!r}")

    def _to_address(self, ip: str, number: int, spec: FlowSpec) -> Destination:
        """``ip:number``, named after the Service behind it if there is one."""
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
        return loopback_destination(number) if loopback else address_destination(self.expectations.owners, ip, number)


def _check_health(spec: FlowSpec, to: Destination) -> None:
    """Only a health check answers with a status; it is asked once a connection."""
    if to.how == "healthCheck" and spec.connection:
        raise _UnresolvableError("connection", f"{to.label} is asked over a connection of its own each time")
    for path, expect in spec.expect.each():
        if to.how != "healthCheck" and _wants_health(expect):
            said = "status" if expect.status is not None else "localEndpoints"
            raise _UnresolvableError(f"{path}.{said}", f"{to.label} is no healthCheckNodePort: nothing else answers with it")


T = TypeVar("T")


def _found(objects: Mapping[str, T], key: str, path: str, kind: str) -> T:
    if key not in objects:
        raise _UnresolvableError(path, f"there is no {kind} {key}")
    return objects[key]


def _number(port: int | str | None) -> int:
    if isinstance(port, int):
        return port
    raise _UnresolvableError("to.port", "a port number is needed")
