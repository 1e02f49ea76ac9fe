"""Tests the answers of a healthCheckNodePort: counted from the objects, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from emulator.cluster.state import ClusterState, HealthCheck, Holder, Listener
from emulator.model.expectations import Expectation
from emulator.model.frames import Health
from emulator.objects.kinds import EndpointPort, EndpointSlice
from emulator.oracle.expectations import Expectations
from emulator.oracle.health import HealthChecks
from emulator.oracle.parties import health_check_destination
from emulator.report.prose import say
from tests.unit.states import (
    BOTH,
    CLIENT,
    ENDPOINT_0,
    NODE_IP,
    WEB_0,
    WEB_1,
    load_balancer_service,
    make_endpoint,
    make_flow,
    make_slice,
    make_state,
)

PORT = 32123
CHECKED = load_balancer_service(externalTrafficPolicy="Local", healthCheckNodePort=PORT)


def served(node: str, refused: Holder | None = None) -> Listener:
    check = HealthCheck(service="default/web", localEndpoints=99)  # which the promise must not be taken from
    return Listener(
        pod="",
        netns=node,
        node=node,
        container="kube-proxy",
        ip=NODE_IP[node],
        port=PORT,
        protocol="TCP",
        refused=refused,
        healthCheck=check,
    )


def checked(*slices: EndpointSlice, refused: Holder | None = None, mode: str = "iptables") -> ClusterState:
    state = make_state(CHECKED, slices=slices, proxy={"mode": mode})
    listeners = [served(node.name, refused) for node in state.nodes] if mode != "userspace" else []
    return replace(state, listeners=(*state.listeners, *listeners))


def asked(state: ClusterState, node: str, who: str = "client-1", ip: str = "") -> Expectation:
    to = health_check_destination(CHECKED, ip or NODE_IP[node], node)
    return Expectations(state).expect(replace(make_flow(state, who, to.ip, PORT), to=to))


@pytest.mark.parametrize(
    ("slices", "node", "answer"),
    [
        pytest.param([BOTH], "worker-1", Health(200, 1), id="one"),
        pytest.param(
            [make_slice(make_endpoint(WEB_1, "worker-2"))],
            "worker-2",
            Health(200, 1),
            id="one, on another node",
        ),
        pytest.param([BOTH], "control-plane", Health(503, 0), id="none"),
        pytest.param([], "worker-1", Health(503, 0), id="no slice"),
        pytest.param(
            [make_slice(ENDPOINT_0, make_endpoint(CLIENT, "worker-1"))], "worker-1", Health(200, 2), id="two"
        ),
        pytest.param(
            [make_slice(make_endpoint(WEB_0, "worker-1", ready=False))],
            "worker-1",
            Health(503, 0),
            id="not ready",
        ),
        pytest.param(
            [make_slice(make_endpoint(WEB_0, "worker-1", ready=False, serving=True, terminating=True))],
            "worker-1",
            Health(503, 0),
            id="what drains is served still, but not counted",
        ),
        pytest.param(
            [make_slice(make_endpoint(WEB_0))], "worker-1", Health(503, 0), id="nobody says that it is here"
        ),
        pytest.param(
            [
                make_slice(
                    ENDPOINT_0,
                    ports=[EndpointPort(name="http", port=8080), EndpointPort(name="dns", port=53)],
                )
            ],
            "worker-1",
            Health(200, 1),
            id="two ports of one endpoint",
        ),
        pytest.param(
            [BOTH, make_slice(ENDPOINT_0)], "worker-1", Health(200, 1), id="one endpoint in two slices"
        ),
        pytest.param(
            [make_slice(ENDPOINT_0, service="other")], "worker-1", Health(503, 0), id="of another Service"
        ),
        pytest.param(
            [make_slice(ENDPOINT_0, ports=[])],
            "worker-1",
            Health(503, 0),
            id="without a port there is no endpoint",
        ),
        pytest.param(
            [replace(make_slice(make_endpoint("fd00::1", "worker-1")), addressType="IPv6")],
            "worker-1",
            Health(503, 0),
            id="of another family",
        ),
    ],
)
def test_ready_endpoints_of_the_node_are_counted(
    slices: Sequence[EndpointSlice], node: str, answer: Health
) -> None:
    promise = asked(checked(*slices), node)
    assert (promise.outcome, promise.health) == ("delivered", answer)
    assert f"{answer.status} (podwire doc semantics 10)" in say(promise.because)


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs"])
@pytest.mark.parametrize(
    ("who", "ip"),
    [
        ("client", ""),
        ("worker-2", ""),
        ("worker-1", ""),
        ("worker-1", "127.0.0.1"),
        ("client-1", "10.244.1.1"),
    ],
)
def test_everybody_is_answered_at_every_address(who: str, ip: str, mode: str) -> None:
    promise = asked(checked(BOTH, mode=mode), "worker-1", who, ip)
    assert (promise.outcome, promise.health, promise.source) == ("delivered", Health(200, 1), "preserved")


def test_userspace_mode_answers_nobody() -> None:
    promise = asked(checked(BOTH, mode="userspace"), "worker-1")
    assert (promise.outcome, promise.health) == ("rejected", None)
    assert "userspace mode answers no health checks" in say(promise.because)


def test_of_a_port_that_somebody_else_has_nothing_is_promised_but_that_he_answers() -> None:
    state = checked(BOTH, refused=Holder("a", "default/p"))
    holder = replace(served("worker-1"), pod="default/api", healthCheck=None)
    assert asked(replace(state, listeners=(*state.listeners, holder)), "worker-1").health is None
    assert HealthChecks(state).at("worker-1", PORT, "TCP") is None


@pytest.mark.parametrize(
    ("port", "protocol", "found"), [(PORT, "TCP", True), (PORT, "UDP", False), (80, "TCP", False)]
)
def test_what_is_a_health_check(port: int, protocol: str, found: bool) -> None:
    service = HealthChecks(checked(BOTH)).at("worker-1", port, protocol)
    assert (service is not None) is found


@pytest.mark.parametrize(
    ("said", "wanted", "kept"),
    [
        (Health(200, 2), Health(200, 2), True),
        (Health(200, 2), Health(200), True),
        (Health(200, 2), Health(200, 1), False),
        (Health(200), Health(200, 1), False),
        (Health(503, 0), Health(200), False),
    ],
)
def test_an_answer_beside_what_is_wanted(said: Health, wanted: Health, kept: bool) -> None:
    assert said.keeps(wanted) is kept


def test_answers_in_words() -> None:
    assert [str(health) for health in (Health(200, 1), Health(503, 0), Health(200))] == [
        "200, 1 local endpoint",
        "503, 0 local endpoints",
        "200",
    ]
