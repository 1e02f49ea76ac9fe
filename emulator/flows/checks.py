"""Turns FlowChecks into flows. (:mod:`emulator.flows.wanted` puts their expectations in place of the objects'
promise.)

References are resolved by ``controllers.references``; their problems were reported when the state was
settled. Problems that only the promises show (a Service without an address, a status for a flow that is no
health check) are one :class:`InputError`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from ..controllers.references import (
    Names,
    References,
    Source,
    Target,
    ToHealthCheck,
    ToPod,
    ToService,
)
from ..errors import InputError, Problem, worded
from ..load.faults import field_of, path_of
from ..model.flows import Client, Destination, Flow, SourcePlace
from ..net import Address, Endpoint, is_loopback
from ..objects.config import FlowCheck, FlowExpect, FlowSpec
from ..objects.kinds import Loaded, Node, Origin, Pod, ServicePort
from ..oracle.endpoints import cluster_ips, load_balancer_ips
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
from .flowbook import FlowBook
from .wanted import (
    UnresolvableError,
    apply_expect,
    wants_health,
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
            what = worded(
                "{}: connection {} goes from {}, not from {}",
                flow.name,
                flow.connection,
                _ends(other),
                _ends(flow),
            )
            problems.append(
                Problem(
                    file=f"FlowCheck {flow.check}", path="connection", what=what, hint="give it another name"
                )
            )
    if problems:
        raise InputError(problems)


def _ends(flow: Flow) -> str:
    return f"{flow.client.label} to {flow.protocol} {Endpoint.of(flow.to.ip, flow.to.port)}" + (
        f" via {flow.via}" if flow.via else ""
    )


class _Resolver:
    def __init__(self, expectations: Expectations, step: str) -> None:
        self.expectations = expectations
        self.state = expectations.state
        self.names = Names.of(self.state)
        self.book = FlowBook(expectations, step)
        self.expects: dict[str, FlowExpect] = {}
        self.problems: list[Problem] = []

    def read(self, loaded: Loaded[FlowCheck]) -> None:
        for index, spec in enumerate(loaded.object.flows):
            report = partial(self._report, loaded.origin, f"{loaded.object.path}.flows[{index}]")
            known = len(self.problems)
            references = References(spec, self.names, report)
            sources, targets = references.sources(), references.targets()
            references.check_backends()
            if len(self.problems) > known:
                continue
            try:
                place = SourcePlace(
                    loaded.origin.file, loaded.origin.line(f"{loaded.object.path}.flows[{index}]")
                )
                self._add_flow(loaded.object, spec, place, sources, targets)
            except UnresolvableError as error:
                report(error.path, error.what)

    def _report(self, origin: Origin, flow: str, path: str, what: str, hint: str = "") -> None:
        where = f"{flow}.{path}"
        full = ".".join(filter(None, (origin.prefix, where)))
        field = field_of(path_of(where))
        self.problems.append(
            Problem(origin.file, what, hint, origin.document, full, origin.line(where), field)
        )

    def _add_flow(
        self,
        check: FlowCheck,
        spec: FlowSpec,
        place: SourcePlace,
        sources: Sequence[Source],
        targets: Sequence[Target],
    ) -> None:
        several = spec.from_.podSelector, spec.to.podSelector
        clients = [
            (f" (from {pod.key})" if several[0] and isinstance(pod, Pod) else "", self._client(pod))
            for pod in sources
        ]
        destinations = [
            (
                f" (to {target.pod.key})" if several[1] and isinstance(target, ToPod) else "",
                self._destination(target, spec),
            )
            for target in targets
        ]
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
                    place=place,
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

    # --- ends ---------------------------------------------------------------------------------------------

    def _client(self, source: Source) -> Client:
        if isinstance(source, Pod):
            return pod_client(source)
        return node_client(source) if isinstance(source, Node) else external_client(source)

    def _destination(self, target: Target, spec: FlowSpec) -> Destination:
        if isinstance(target, ToPod):
            return pod_destination(target.pod, target.port)
        if isinstance(target, ToService):
            return self._to_service(target)
        if isinstance(target, ToHealthCheck):
            node = target.node
            return health_check_destination(target.service, Address(node.internalIPs[0]), node.name)
        return self._to_address(Address(target.ip), target.port, spec)

    def _to_service(self, target: ToService) -> Destination:
        service, how, port = target.service, target.how, target.port
        family = self.state.family
        addresses = (
            cluster_ips(service, family)
            if how == "clusterIP"
            else (*load_balancer_ips(service, family), *self.state.balancer_ips(service))
        )
        if not addresses:
            path = "to.service" if how == "clusterIP" else "to.loadBalancer"
            raise UnresolvableError(path, f"Service {service.key} has no {how}")
        if isinstance(port, ServicePort):
            return service_destination(service, port, how, Address(addresses[0]))
        label = f"svc {service.key}" if port is None else f"svc {service.key}:{port}"
        return Destination(label=label, ip=Address(addresses[0]), port=port or 0, how=how)

    def _to_address(self, ip: Address, number: int, spec: FlowSpec) -> Destination:
        """Returns ``ip:number``, named after the Service behind it if there is one."""
        table, key = self.expectations.table, (number, spec.protocol)
        entry = table.addresses.get((ip, *key))
        if entry is not None:
            return service_destination(entry[0].service, entry[0].port, entry[1], ip)
        if balanced := table.balanced.get((ip, *key)):
            return service_destination(balanced.service, balanced.port, "loadBalancer", ip)
        owner = self.expectations.owners.get(ip)
        loopback = is_loopback(ip)
        node = spec.from_.node if loopback else owner.node if owner and owner.kind == "node" else ""
        if node and key in table.node_ports:
            endpoints = table.node_ports[key]
            return service_destination(endpoints.service, endpoints.port, "nodePort", ip, node)
        if node and (checked := self.expectations.health_checks.at(node, *key)):
            return health_check_destination(checked, ip, node)
        return (
            loopback_destination(number, ip.family)
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
