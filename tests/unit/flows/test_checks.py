"""Tests FlowChecks: the dialled addresses, the flows' names, and the expectations in place of the promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from emulator.cluster.scenario import Scenario
from emulator.cluster.state import ClusterState, HealthCheck, Listener
from emulator.errors import InputError
from emulator.flows.checks import check_connections, flows_from_checks
from emulator.flows.wanted import apply_expect
from emulator.model.expectations import Expectation
from emulator.model.flows import Flow
from emulator.model.frames import Health
from emulator.model.reasons import Reason, Why
from emulator.net import Endpoint
from emulator.objects.config import FlowCheck, FlowExpect, FlowFrom, FlowSpec, FlowTo
from emulator.objects.kinds import EndpointPort, Loaded, ObjectMeta, Origin, Service, ServicePort
from emulator.oracle.expectations import Expectations, attempts_for
from emulator.report.prose import say
from tests.unit.expectations import expectation_of
from tests.unit.states import (
    BOTH,
    CLIENT,
    ENDPOINT_0,
    NODE_IP,
    NODE_PORT,
    OTHER,
    OUTSIDE,
    VIP,
    WEB_0,
    WEB_1,
    WEB_IP,
    load_balancer_service,
    make_endpoint,
    make_flow,
    make_service,
    make_slice,
    make_state,
    node_port_service,
)

ON_1, ON_2 = Endpoint.of(WEB_0, 8080), Endpoint.of(WEB_1, 8080)
POD, WEB = FlowFrom(pod="client"), FlowTo(service="web", port=80)


def with_checks(state: ClusterState, *checks: FlowCheck) -> Scenario:
    return Scenario(
        state=state,
        flowChecks=tuple(
            Loaded(check, {}, Origin("checks.yaml", 3, "items[1]", line=len)) for check in checks
        ),
    )


def resolved(scenario: Scenario, step: str = "") -> tuple[Sequence[Flow], Mapping[str, FlowExpect]]:
    return flows_from_checks(scenario.flowChecks, Expectations(scenario.state), step)


def check(*flows: FlowSpec, name: str = "keeps") -> FlowCheck:
    return FlowCheck(metadata=ObjectMeta(name=name, namespace="default"), flows=flows)


def read(
    who: FlowFrom, to: FlowTo, *services: Service, slices: Sequence[Any] = (BOTH,), **spec: Any
) -> list[Flow]:
    """Returns the flows of one flow of one check, without controls."""
    state = with_checks(
        make_state(*(services or (load_balancer_service(),)), slices=slices),
        check(FlowSpec(name="a flow", from_=who, to=to, **spec)),
    )
    return [flow for flow in resolved(state)[0] if not flow.control]


def problems(*flows: FlowSpec, services: Sequence[Service] = (load_balancer_service(),)) -> list[str]:
    with pytest.raises(InputError) as caught:
        resolved(with_checks(make_state(*services), check(*flows)))
    return [str(problem) for problem in caught.value.problems]


# --- flows -------------------------------------------------------------------------------------------------

FROM = [
    (FlowFrom(pod="client"), "pod default/client", "default_client", CLIENT),
    (FlowFrom(pod="api"), "pod default/api", "control-plane", "172.18.0.2"),
    (FlowFrom(node="worker-1"), "node worker-1", "worker-1", "172.18.0.3"),
    (FlowFrom(external="client-1"), "external client-1", "client-1", OUTSIDE),
]


@pytest.mark.parametrize(("who", "label", "netns", "ip"), FROM)
def test_from(who: FlowFrom, label: str, netns: str, ip: str) -> None:
    [flow] = read(who, FlowTo(pod="web-0", port=8080))
    assert (flow.client.label, flow.client.netns, flow.client.ip) == (label, netns, ip)
    assert flow.name == "keeps: a flow"
    assert flow.check == "keeps"


LB = make_service(
    "lb", "10.96.0.12", type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=32000
)
CHECK_OF_LB = "health check of svc default/lb at"

TO = [
    (FlowTo(service="web", port=80), "svc default/web:80", WEB_IP, 80, "clusterIP", "default/web"),
    (FlowTo(service="web", port="http"), "svc default/web:80", WEB_IP, 80, "clusterIP", "default/web"),
    (FlowTo(service="web", port=81), "svc default/web:81", WEB_IP, 81, "clusterIP", ""),
    (
        FlowTo(loadBalancer="web", port=80),
        f"loadBalancer of svc default/web ({VIP}:80)",
        VIP,
        80,
        "loadBalancer",
        "default/web",
    ),
    (FlowTo(pod="web-0", port=8080), "pod default/web-0:8080", WEB_0, 8080, "pod", ""),
    (FlowTo(pod="web-0", port="p8080"), "pod default/web-0:8080", WEB_0, 8080, "pod", ""),
    (FlowTo(pod="api", port=6443), "pod default/api:6443", "172.18.0.2", 6443, "node", ""),
    (
        FlowTo(node="worker-1", nodePort=NODE_PORT),
        f"node worker-1:{NODE_PORT}",
        "172.18.0.3",
        NODE_PORT,
        "nodePort",
        "default/web",
    ),
    (
        FlowTo(node="worker-1", port=NODE_PORT),
        f"node worker-1:{NODE_PORT}",
        "172.18.0.3",
        NODE_PORT,
        "nodePort",
        "default/web",
    ),
    (FlowTo(node="control-plane", port=6443), "node control-plane:6443", "172.18.0.2", 6443, "node", ""),
    (FlowTo(ip=WEB_IP, port=80), "svc default/web:80", WEB_IP, 80, "clusterIP", "default/web"),
    (FlowTo(ip=WEB_0, port=8080), "pod default/web-0:8080", WEB_0, 8080, "pod", ""),
    (
        FlowTo(ip="172.18.0.4", port=NODE_PORT),
        f"node worker-2:{NODE_PORT}",
        "172.18.0.4",
        NODE_PORT,
        "nodePort",
        "default/web",
    ),
    (FlowTo(ip="192.0.2.1", port=80), "192.0.2.1:80", "192.0.2.1", 80, "ip", ""),
    (
        FlowTo(ip="127.0.0.1", port=NODE_PORT),
        f"localhost:{NODE_PORT}",
        "127.0.0.1",
        NODE_PORT,
        "nodePort",
        "default/web",
    ),
    (FlowTo(ip="127.0.0.1", port=6443), "localhost:6443", "127.0.0.1", 6443, "loopback", ""),
    (
        FlowTo(node="worker-2", healthCheck="lb"),
        f"{CHECK_OF_LB} node worker-2:32000",
        "172.18.0.4",
        32000,
        "healthCheck",
        "default/lb",
    ),
    (
        FlowTo(node="worker-2", port=32000),
        f"{CHECK_OF_LB} node worker-2:32000",
        "172.18.0.4",
        32000,
        "healthCheck",
        "default/lb",
    ),
    (
        FlowTo(ip="10.244.1.1", port=32000),
        f"{CHECK_OF_LB} node worker-1:32000",
        "10.244.1.1",
        32000,
        "healthCheck",
        "default/lb",
    ),
    (
        FlowTo(ip="127.0.0.1", port=32000),
        f"{CHECK_OF_LB} localhost:32000",
        "127.0.0.1",
        32000,
        "healthCheck",
        "default/lb",
    ),
    (FlowTo(ip=WEB_0, port=32000), "pod default/web-0:32000", WEB_0, 32000, "pod", ""),
]


@pytest.mark.parametrize(("to", "label", "ip", "port", "how", "service"), TO)
def test_to(to: FlowTo, label: str, ip: str, port: int, how: str, service: str) -> None:
    [flow] = read(FlowFrom(node="worker-1"), to, load_balancer_service(), LB)
    assert (flow.to.label, flow.to.ip, flow.to.port, flow.to.how, flow.to.service) == (
        label,
        ip,
        port,
        how,
        service,
    )


@pytest.mark.parametrize(
    "to", [FlowTo(service="web"), FlowTo(pod="web-0"), FlowTo(node="worker-1"), FlowTo(ip=WEB_0)]
)
def test_icmp_needs_no_port(to: FlowTo) -> None:
    [flow] = read(POD, to, protocol="ICMP")
    assert (flow.to.port, flow.protocol, flow.controls) == (0, "ICMP", ())


@pytest.mark.parametrize(
    ("who", "to", "kind"),
    [
        (FlowFrom(pod="client"), FlowTo(pod="web-1", port=8080), "pod-to-pod"),
        (FlowFrom(pod="web-0"), FlowTo(ip="127.0.0.1", port=8080), "container-to-container"),
        (FlowFrom(pod="client"), FlowTo(service="web", port=80), "pod-to-service"),
        (FlowFrom(pod="client"), FlowTo(service="web", port=81), "pod-to-service"),
        (FlowFrom(pod="api"), FlowTo(service="web", port=80), "node-to-service"),
        (FlowFrom(node="worker-1"), FlowTo(ip="127.0.0.1", port=NODE_PORT), "node-to-service"),
        (FlowFrom(external="client-1"), FlowTo(node="worker-1", nodePort=NODE_PORT), "external-to-service"),
        (FlowFrom(external="client-1"), FlowTo(pod="web-0", port=8080), "external-to-pod"),
        (FlowFrom(node="worker-1"), FlowTo(pod="web-0", port=8080), "node-to-pod"),
        (FlowFrom(pod="client"), FlowTo(node="worker-2", port=22), "pod-to-node"),
        (FlowFrom(pod="client"), FlowTo(ip=OUTSIDE, port=80), "pod-to-external"),
        (FlowFrom(node="worker-1"), FlowTo(node="worker-2", port=22), "other"),
        (FlowFrom(external="client-1"), FlowTo(node="worker-2", healthCheck="lb"), "health-check"),
        (FlowFrom(pod="client"), FlowTo(ip="192.0.2.1", port=80), "other"),
    ],
)
def test_kind(who: FlowFrom, to: FlowTo, kind: str) -> None:
    assert [flow.kind for flow in read(who, to, load_balancer_service(), LB)] == [kind]


def test_selectors_give_a_flow_for_each_pod() -> None:
    flows = read(FlowFrom(podSelector={"app": "client"}), FlowTo(podSelector={"app": "web"}, port=8080))
    assert [flow.name for flow in flows] == [
        f"keeps: a flow (from default/{who}) (to default/{to})"
        for who in ("client", "other")
        for to in ("web-0", "web-1")
    ]


def test_attempts_and_controls() -> None:
    [flow] = read(POD, WEB)
    assert flow.attempts == attempts_for(2)
    assert flow.controls == (
        "pod default/client → pod default/web-0:8080 (control)",
        "pod default/client → pod default/web-1:8080 (control)",
    )
    assert read(POD, WEB, attempts=3)[0].attempts == 3
    assert read(POD, FlowTo(pod="web-0", port=8080))[0].controls == ()


def test_a_checked_flow_is_never_a_control() -> None:
    """Takes a checked flow that is expected to fail, which says nothing of the Pod."""
    direct = FlowSpec(
        name="direct", from_=POD, to=FlowTo(pod="web-0", port=8080), expect=FlowExpect(outcome="rejected")
    )
    flows, expects = resolved(
        with_checks(make_state(make_service()), check(direct, FlowSpec(name="svc", from_=POD, to=WEB)))
    )
    by_name = {flow.name: flow for flow in flows}
    assert all(by_name[name].control for name in by_name["keeps: svc"].controls)
    assert expects == {"keeps: direct": FlowExpect(outcome="rejected"), "keeps: svc": FlowExpect()}


def test_flows_keep_their_order_and_their_names_stay_apart() -> None:
    one = check(
        FlowSpec(name="b", from_=FlowFrom(node="worker-1"), to=WEB), FlowSpec(name="a", from_=POD, to=WEB)
    )
    flows, expects = resolved(with_checks(make_state(make_service()), one, one))
    assert [flow.name for flow in flows if not flow.control] == [
        "keeps: b",
        "keeps: a",
        "keeps: b #2",
        "keeps: a #2",
    ]
    assert list(expects) == ["keeps: b", "keeps: a", "keeps: b #2", "keeps: a #2"]


def test_via() -> None:
    [flow] = read(FlowFrom(external="client-1"), FlowTo(loadBalancer="web", port=80), via="worker-2")
    assert flow.via == "worker-2"
    assert flow.controls  # straight to the Pods


@pytest.mark.parametrize(
    ("spec", "path", "what"),
    [
        ({"from_": FlowFrom(pod="nobody")}, "from.pod", "there is no Pod default/nobody"),
        (
            {"from_": FlowFrom(podSelector={"app": "nobody"})},
            "from.podSelector",
            "no Pod that runs in namespace default has the labels app=nobody",
        ),
        ({"from_": FlowFrom(node="worker-9")}, "from.node", "there is no node worker-9"),
        ({"from_": FlowFrom(external="x")}, "from.external", "there is no external client x"),
        ({"to": FlowTo(service="nobody", port=80)}, "to.service", "there is no Service default/nobody"),
        ({"to": FlowTo(service="web", port="grpc")}, "to.port", "no TCP port named grpc"),
        (
            {"to": FlowTo(service="web", port="http"), "protocol": "UDP"},
            "to.port",
            "no UDP port named http",
        ),
        ({"to": FlowTo(service="web"), "protocol": "UDP"}, "to.port", "a port number is needed"),
        ({"to": FlowTo(service="none", port=80)}, "to.service", "headless"),
        ({"to": FlowTo(loadBalancer="plain", port=80)}, "to.loadBalancer", "has no load-balancer address"),
        ({"to": FlowTo(pod="web-0", port="p9")}, "to.port", "has no TCP port named p9"),
        ({"to": FlowTo(pod="web-0")}, "to.port", "a port number is needed"),
        ({"to": FlowTo(node="worker-1")}, "to.port", "a port number is needed"),
        (
            {"to": FlowTo(node="worker-1", healthCheck="nobody")},
            "to.healthCheck",
            "there is no Service default/nobody",
        ),
        (
            {"to": FlowTo(node="worker-1", healthCheck="plain")},
            "to.healthCheck",
            "has no healthCheckNodePort",
        ),
        (
            {"to": FlowTo(node="worker-1", healthCheck="lb"), "connection": "c"},
            "connection",
            "a connection of its own each time",
        ),
        ({"expect": FlowExpect(status=200)}, "expect.status", "svc default/web:80 is no healthCheckNodePort"),
        (
            {"expect": FlowExpect(modes={"ipvs": FlowExpect(status=200)})},
            "expect.modes.ipvs.status",
            "is no healthCheckNodePort",
        ),
        ({"expect": FlowExpect(localEndpoints=0)}, "expect.localEndpoints", "is no healthCheckNodePort"),
        ({"from_": FlowFrom(external="client-1"), "via": "worker-9"}, "via", "there is no node worker-9"),
    ],
)
def test_what_cannot_be_resolved_is_said_with_its_place(spec: dict[str, Any], path: str, what: str) -> None:
    services = (
        load_balancer_service(),
        make_service("none", "None"),
        make_service("plain", "10.96.0.11"),
        LB,
    )
    written: dict[str, Any] = {"name": "x", "from_": POD, "to": WEB} | spec
    [problem] = problems(FlowSpec(**written), services=services)
    line = len(f"spec.flows[0].{path}")  # as if a field had a line for each of its letters
    assert problem.startswith(f"checks.yaml:{line}: document 3: items[1].spec.flows[0].{path}: ")
    assert what in problem


def test_all_problems_at_once() -> None:
    wrong = FlowSpec(name="x", from_=FlowFrom(pod="nobody"), to=WEB)
    assert len(problems(wrong, FlowSpec(name="y", from_=POD, to=WEB), wrong)) == 2


# --- expect ------------------------------------------------------------------------------------------------


def applied(
    wanted: FlowExpect,
    who: FlowFrom = POD,
    to: FlowTo = WEB,
    *services: Service,
    slices: Sequence[Any] = (BOTH,),
    **spec: Any,
) -> Expectation:
    state = with_checks(
        make_state(*(services or (make_service(),)), slices=slices),
        check(FlowSpec(name="x", from_=who, to=to, expect=wanted, **spec)),
    )
    flows, expects = resolved(state)
    expectations = Expectations(state.state)
    return apply_expect(expectations.expect(flows[0]), expects["keeps: x"], flows[0], expectations)


def test_what_is_not_said_stays_promised() -> None:
    plain = applied(FlowExpect())
    assert say(plain.because).startswith("ClusterIP from a Pod")
    said = applied(FlowExpect(outcome="delivered"))
    assert (said.backends, said.source, said.addresses, said.partial) == (
        plain.backends,
        plain.source,
        plain.addresses,
        plain.partial,
    )
    assert (
        say(said.because) == f"FlowCheck keeps wants it delivered; the objects promise: {say(plain.because)}"
    )


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("iptables", FlowExpect(outcome="delivered", source="preserved")),
        ("nftables", FlowExpect(outcome="rejected")),
        ("ipvs", FlowExpect()),
    ],
)
def test_what_is_said_of_a_mode_is_in_place_of_all_the_rest(mode: Any, wanted: FlowExpect) -> None:
    modes: dict[Any, FlowExpect] = {"nftables": FlowExpect(outcome="rejected"), "ipvs": FlowExpect()}
    said = FlowExpect(outcome="delivered", source="preserved", modes=modes)
    state = with_checks(
        make_state(make_service(), proxy={"mode": mode}),
        check(FlowSpec(name="x", from_=POD, to=WEB, expect=said)),
    )
    assert resolved(state)[1] == {"keeps: x": wanted}


@pytest.mark.parametrize("outcome", ["rejected", "dropped", "unreachable"])
def test_another_outcome_has_no_backends(outcome: Any) -> None:
    result = applied(FlowExpect(outcome=outcome))
    assert (result.outcome, result.backends, result.addresses) == (outcome, {}, {})
    assert "the objects promise: ClusterIP" in say(result.because)


def test_delivery_where_none_is_promised() -> None:
    slices = [make_slice(make_endpoint(WEB_0, "worker-1", ready=False))]
    result = applied(FlowExpect(outcome="delivered"), slices=slices)
    assert (result.outcome, result.backends, result.partial) == ("delivered", {ON_1: "preserved"}, True)
    direct = applied(FlowExpect(outcome="delivered"), POD, FlowTo(pod="web-0", port=99))
    assert direct.backends == {Endpoint.of(WEB_0, 99): "preserved"}


@pytest.mark.parametrize(
    ("wanted", "source"),
    [
        (FlowExpect(outcome="delivered"), ""),
        (FlowExpect(source="node"), "node"),
        (FlowExpect(backends=()), ""),
        (FlowExpect(outcome="asymmetric"), ""),
    ],
    ids=["outcome", "source", "backends", "asymmetric"],
)
def test_delivery_where_there_is_no_endpoint_that_could_be_met(wanted: FlowExpect, source: str) -> None:
    result = applied(wanted, slices=[])
    assert (result.outcome, result.backends, result.source) == ("delivered", {}, source)
    assert "" not in result.addresses.get("balancer", ())


@pytest.mark.parametrize(
    "wanted",
    [FlowExpect(source="preserved"), FlowExpect(backends=("default/web-0",))],
    ids=["source", "backends"],
)
def test_a_source_or_backends_are_those_of_a_delivery(wanted: FlowExpect) -> None:
    """Expects delivery as well: a check of the source alone would pass where nothing arrives."""
    slices = [make_slice(make_endpoint(WEB_0, "worker-1", ready=False))]
    result = applied(wanted, slices=slices)
    assert (result.outcome, result.backends) == ("delivered", {ON_1: "preserved"})


@pytest.mark.parametrize(
    ("source", "who", "seen"),
    [
        ("preserved", POD, {CLIENT}),
        ("node", POD, {"172.18.0.3", "10.244.1.1"}),
        ("preserved", FlowFrom(node="worker-1"), {"172.18.0.3", "10.244.1.1"}),
        ("192.0.2.7", POD, {"192.0.2.7"}),
    ],
)
def test_source(source: str, who: FlowFrom, seen: set[str]) -> None:
    result = applied(FlowExpect(source=source), who)
    assert result.source == source
    assert set(result.backends) == {ON_1, ON_2}
    assert all(result.addresses[rule] == seen for rule in result.backends.values())


def test_the_balancers_address_is_a_source() -> None:
    state = make_state(
        load_balancer_service("Proxy"), balancerIP="172.18.255.254", balanced={"default/web": ("worker-1",)}
    )
    expectations = Expectations(state)
    flow = make_flow(state, "client", VIP, 80)
    result = apply_expect(expectations.expect(flow), FlowExpect(source="balancer"), flow, expectations)
    assert result.promised == expectations.expect(flow)
    assert (
        result.source,
        {result.addresses[rule] == {"172.18.255.254"} for rule in result.backends.values()},
    ) == ("balancer", {True})


def test_where_there_is_no_balancer_none_can_be_seen() -> None:
    with pytest.raises(InputError) as caught:
        applied(FlowExpect(source="balancer"))
    assert "there is no balancer" in caught.value.problems[0].what


@pytest.mark.parametrize(
    ("wanted", "health"),
    [
        (FlowExpect(), Health(200, 1)),
        (FlowExpect(outcome="delivered"), Health(200, 1)),
        (FlowExpect(status=200), Health(200, 1)),
        (FlowExpect(status=503), Health(503, 0)),
        (FlowExpect(localEndpoints=0), Health(503, 0)),
        (FlowExpect(localEndpoints=2), Health(200, 2)),
        (FlowExpect(outcome="rejected"), None),
    ],
)
def test_what_a_health_check_is_to_answer(wanted: FlowExpect, health: Health | None) -> None:
    """Infers the status from the count, and the count from the status, as far as one implies the other."""
    assert health_of(wanted, "worker-1", "iptables") == health


@pytest.mark.parametrize(
    ("node", "mode"),
    [("control-plane", "iptables"), ("worker-1", "userspace")],
    ids=["503 is promised", "no answer is"],
)
def test_200_where_it_is_not_promised_is_200_with_any_count(node: str, mode: str) -> None:
    assert health_of(FlowExpect(status=200), node, mode) == Health(200)


def health_of(wanted: FlowExpect, node: str, mode: str) -> Health | None:
    state = make_state(LB, slices=[make_slice(ENDPOINT_0, service="lb")], proxy={"mode": mode})
    check_of = HealthCheck(service="default/lb", localEndpoints=0)
    there = Listener(
        pod="",
        netns=node,
        node=node,
        container="kube-proxy",
        ip=NODE_IP[node],
        port=32000,
        protocol="TCP",
        healthCheck=check_of,
    )
    state = replace(state, listeners=(there,) if mode != "userspace" else ())
    flow = FlowSpec(
        name="x", from_=FlowFrom(external="client-1"), to=FlowTo(node=node, healthCheck="lb"), expect=wanted
    )
    [flow_], expects = resolved(with_checks(state, check(flow)))
    expectations = Expectations(state)
    result = apply_expect(expectations.expect(flow_), expects["keeps: x"], flow_, expectations)
    assert (result.health is not None) is (result.outcome == "delivered")
    return result.health


def test_source_of_an_external_client_straight_to_a_pod() -> None:
    result = applied(FlowExpect(source="node"), FlowFrom(external="client-1"), FlowTo(pod="web-0", port=8080))
    assert result.addresses[result.backends[ON_1]] == {"172.18.0.3", "10.244.1.1"}


@pytest.mark.parametrize(
    ("backends", "met"),
    [
        (["default/web-0"], [ON_1]),
        (["default/web-0:8080"], [ON_1]),
        (["default/web-0:9090"], [Endpoint.of(WEB_0, 9090)]),
        ([f"{WEB_1}:8080"], [ON_2]),
        (["default/web-0", f"{WEB_0}:8080", "default/web-1"], [ON_1, ON_2]),
        (["default/other"], [Endpoint.of(OTHER, 8080)]),  # no endpoint: the Service's targetPort
    ],
)
def test_backends(backends: list[str], met: list[Endpoint]) -> None:
    assert applied(FlowExpect(backends=tuple(backends))).backends == dict.fromkeys(met, "preserved")


@pytest.mark.parametrize(
    ("to", "protocol", "backend"),
    [(FlowTo(pod="web-0", port=8080), "TCP", ON_1), (FlowTo(pod="web-0"), "ICMP", Endpoint.of(WEB_0, 0))],
)
def test_backends_of_a_direct_flow(to: FlowTo, protocol: Any, backend: Endpoint) -> None:
    assert applied(FlowExpect(backends=("default/web-0",)), POD, to, protocol=protocol).backends == {
        backend: "preserved"
    }


def test_backends_keep_the_promised_sources() -> None:
    hairpin = applied(FlowExpect(backends=("default/web-0", "default/web-1")), FlowFrom(pod="web-0"))
    assert hairpin.backends == {ON_1: "node", ON_2: "preserved"}
    outside = FlowFrom(external="client-1")
    result = applied(
        FlowExpect(backends=("default/web-0",)),
        outside,
        FlowTo(node="worker-1", nodePort=NODE_PORT),
        node_port_service(),
    )
    assert result.backends == {ON_1: "node"}
    assert result.addresses["node"] >= {NODE_IP["worker-1"]}


@pytest.mark.parametrize(("attempts", "partial"), [(None, False), (1, True)])
def test_backends_that_too_few_attempts_can_meet(attempts: int | None, partial: bool) -> None:
    wanted = FlowExpect(backends=("default/web-0", "default/web-1"))
    assert applied(wanted, attempts=attempts).partial is partial


def test_a_named_target_port_finds_the_pods_own_number() -> None:
    service = make_service(ports=[ServicePort(port=80, name="http", targetPort="p8080")])
    slices = [make_slice(ENDPOINT_0, ports=[EndpointPort(name="http", port=8080)])]
    assert applied(FlowExpect(backends=("default/web-1",)), POD, WEB, service, slices=slices).backends == {
        ON_2: "preserved"
    }


@pytest.mark.parametrize(
    ("backend", "what"),
    [
        ("default/nobody", "there is no Pod"),
        ("web", "is no backend"),
        ("default/web-0:http", "is no backend"),
        (OUTSIDE, "is no backend"),
    ],
)
@pytest.mark.parametrize("path", ["expect", "expect.modes.iptables"])
def test_a_backend_that_cannot_be_resolved(backend: str, what: str, path: str) -> None:
    wanted = FlowExpect(backends=(backend,))
    expect = FlowExpect(modes={"iptables": wanted}) if "modes" in path else wanted
    [problem] = problems(FlowSpec(name="x", from_=POD, to=WEB, expect=expect))
    where = f"spec.flows[0].{path}.backends[0]"
    assert problem.startswith(f"checks.yaml:{len(where)}: document 3: items[1].{where}: ")
    assert what in problem


def test_of_a_backend_that_is_no_endpoint_the_port_must_be_known() -> None:
    named = make_service(ports=(ServicePort(name="http", port=80, targetPort="nowhere"),))
    expect = FlowExpect(backends=("default/other",))
    [problem] = problems(FlowSpec(name="x", from_=POD, to=WEB, expect=expect), services=(named,))
    assert problem.endswith(
        "expect.backends: default/other is no endpoint of svc default/web:80: which port is meant?"
    )


# --- steps and connections
# ----------------------------------------------------------------------------------------


def test_flows_of_a_step_are_named_after_it_and_so_are_their_controls() -> None:
    later = replace(
        check(FlowSpec(name="a flow", from_=POD, to=WEB, connection="c")), step="drain", path="spec.steps[1]"
    )
    state = with_checks(make_state(load_balancer_service()), later)
    flows, _ = resolved(state, step="keeps, drain")
    assert flows[0].name == "keeps, drain: a flow"
    assert all(flow.name.startswith("keeps, drain: pod default/client → ") for flow in flows[1:])
    assert {(flow.step, flow.check) for flow in flows} == {("keeps, drain", "keeps")}
    assert [(flow.connection, flow.attempts) for flow in flows[:2]] == [("c", 1), ("", 1)]


def test_a_problem_of_a_step_has_its_path() -> None:
    later = replace(
        check(FlowSpec(name="a flow", from_=FlowFrom(pod="nobody"), to=WEB)),
        step="drain",
        path="spec.steps[1]",
    )
    with pytest.raises(
        InputError,
        match=r"items\[1\]\.spec\.steps\[1\]\.flows\[0\]\.from\.pod: there is no Pod default/nobody",
    ):
        resolved(with_checks(make_state(load_balancer_service()), later))


def test_a_connection_has_one_client_and_one_destination() -> None:
    specs = [
        FlowSpec(name=name, from_=FlowFrom(pod=pod), to=WEB, connection="c")
        for name, pod in (("a", "client"), ("b", "client"), ("d", "other"))
    ]
    flows, _ = resolved(with_checks(make_state(load_balancer_service()), check(*specs)))
    check_connections([flow for flow in flows if not flow.name.endswith("d")])
    with pytest.raises(
        InputError,
        match=r"keeps: d: connection c goes from pod default/client to TCP 10\.96\.0\.10:80, not from pod "
        r"default/other",
    ):
        check_connections(flows)


def test_what_is_expected_of_an_open_connection_is_seen_from_where_it_was() -> None:
    state = with_checks(
        make_state(load_balancer_service()), check(FlowSpec(name="a flow", from_=POD, to=WEB))
    )
    flow, promised = resolved(state)[0][0], Expectations(state.state)
    goes_on = expectation_of(
        because=Reason(why=Why.NO_SERVICE),
        backends={ON_1: "node"},
        addresses={"node": frozenset({"1.2.3.4"})},
        partial=True,
    )
    found = apply_expect(goes_on, FlowExpect(backends=("default/web-1",)), flow, promised, kept=True)
    assert (found.backends, found.addresses) == ({ON_2: "node"}, goes_on.addresses)
