"""Tests promises for open connections (docs/semantics 11, 13, 15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from emulator.cluster.state import ClusterState, ProxySettings
from emulator.model.expectations import Expectation
from emulator.model.results import FlowResult, Observation
from emulator.net import Endpoint
from emulator.objects.config import IPVSTimeouts
from emulator.objects.kinds import EndpointPort, Service, ServicePort
from emulator.oracle.expectations import Expectations, expect
from emulator.report.prose import say
from tests.unit.oracle.promises import ON_1, ON_2, sources
from tests.unit.states import (
    BOTH,
    CLIENT,
    ENDPOINT_0,
    ENDPOINT_1,
    NODE_IP,
    NODE_PORT,
    PODS,
    WEB_0,
    WEB_IP,
    make_endpoint,
    make_flow,
    make_service,
    make_slice,
    make_state,
    node_port_service,
)

DRAINS = make_endpoint(WEB_0, "worker-1", ready=False, serving=True, terminating=True)


def answered(
    protocol: Any, who: str = "client", ip: str = WEB_IP, port: int = 80, seen: str = CLIENT
) -> FlowResult:
    """Returns the result of a connection's first flow, answered by the endpoint on worker-1."""
    state = (
        udp_state(ENDPOINT_0, ENDPOINT_1)
        if protocol == "UDP"
        else make_state(node_port_service(), slices=[BOTH])
    )
    flow = replace(make_flow(state, who, ip, port, protocol=protocol), connection="c")
    observed = Observation(outcomes={"delivered": 1}, backends={ON_1: 1}, sources=(seen,))
    return FlowResult(flow=flow, expected=expect(state, flow), observed=observed, journeys=(), verdict="pass")


def udp_state(*endpoints: Any, services: bool = True) -> ClusterState:
    """Returns a UDP Service with ``endpoints``, whose Pods all serve."""
    ports = [ServicePort(port=80, name="http", targetPort=8080, protocol="UDP", nodePort=NODE_PORT)]
    service = make_service(ports=ports, type="NodePort")
    slices = [make_slice(*endpoints, ports=[EndpointPort(name="http", port=8080, protocol="UDP")])]
    state = make_state(*([service] if services else []), slices=slices)
    return replace(state, listeners=tuple(replace(li, protocol="UDP") for li in state.listeners))


def kept(state: ClusterState, before: FlowResult) -> Expectation:
    flow = replace(before.flow, name="later")
    return Expectations(state).expect(flow, before)


@pytest.mark.parametrize("services", [(node_port_service(),), ()], ids=["a Service", "a deleted Service"])
@pytest.mark.parametrize(
    "slices",
    [[BOTH], [make_slice(ENDPOINT_1)], []],
    ids=["both endpoints", "the other endpoint alone", "no endpoint"],
)
def test_an_open_tcp_connection_goes_on_to_its_endpoint(
    services: Sequence[Service], slices: Sequence[Any]
) -> None:
    found = kept(make_state(*services, slices=slices), answered("TCP"))
    assert (found.outcome, sources(found), found.partial) == (
        "delivered",
        {str(ON_1): frozenset({CLIENT})},
        True,
    )


def test_who_was_masqueraded_stays_so() -> None:
    before = answered("TCP", "client-1", NODE_IP["worker-2"], NODE_PORT, seen=NODE_IP["worker-2"])
    found = kept(make_state(), before)
    assert sources(found) == {str(ON_1): frozenset({NODE_IP["worker-2"]})}
    assert found.source == "node"


def test_an_open_tcp_connection_ends_with_its_pod() -> None:
    state = make_state(
        node_port_service(), slices=[make_slice(ENDPOINT_1)], pods=[p for p in PODS if p.ip != WEB_0]
    )
    found = kept(
        replace(state, listeners=tuple(li for li in state.listeners if li.ip != WEB_0)), answered("TCP")
    )
    assert found.outcome == "dropped"
    assert f"the connection goes to {ON_1} for as long as it lives" in say(found.because)


def of_release(state: ClusterState, release: str) -> ClusterState:
    return replace(state, proxy=replace(state.proxy, release=release))


@pytest.mark.parametrize(
    ("state", "outcome", "met"),
    [
        pytest.param(udp_state(ENDPOINT_0, ENDPOINT_1), "delivered", [ON_1], id="its endpoint is there"),
        pytest.param(udp_state(DRAINS, ENDPOINT_1), "delivered", [ON_1], id="its endpoint drains"),
        pytest.param(
            udp_state(make_endpoint(WEB_0, "worker-1", ready=False), ENDPOINT_1),
            "delivered",
            [ON_2],
            id="its endpoint serves no more",
        ),
        pytest.param(udp_state(ENDPOINT_1), "delivered", [ON_2], id="its endpoint is gone"),
        pytest.param(udp_state(), "rejected", [], id="all are gone"),
        pytest.param(udp_state(ENDPOINT_0, services=False), "delivered", [ON_1], id="the Service is deleted"),
        pytest.param(
            of_release(udp_state(ENDPOINT_0, services=False), "v1.31"),
            "unreachable",
            [],
            id="the Service is deleted, v1.31",
        ),
        pytest.param(of_release(udp_state(), "v1.32"), "rejected", [], id="all are gone, v1.32"),
        pytest.param(of_release(udp_state(), "v1.34"), "delivered", [ON_1], id="all are gone, v1.34"),
    ],
)
def test_a_udp_client_that_never_stops(state: ClusterState, outcome: str, met: list[Endpoint]) -> None:
    found = kept(state, answered("UDP"))
    assert (found.outcome, list(found.backends)) == (outcome, met)


@pytest.mark.parametrize(("seconds", "met"), [(0, {ON_1}), (1, {ON_1, ON_2})])
def test_in_ipvs_mode_a_time_out_may_have_forgotten_a_udp_client(seconds: int, met: set[Endpoint]) -> None:
    proxy = ProxySettings(mode="ipvs", clusterCIDR="10.244.0.0/16", ipvsTimeouts=IPVSTimeouts(udp=seconds))
    assert set(kept(replace(udp_state(ENDPOINT_0, ENDPOINT_1), proxy=proxy), answered("UDP")).backends) == met


@pytest.mark.parametrize(
    ("who", "ip", "port", "outcome"),
    [
        pytest.param(
            "client", WEB_IP, 80, "dropped", id="a ClusterIP: no route, and an open connection waits"
        ),
        pytest.param(
            "client-1",
            NODE_IP["worker-2"],
            NODE_PORT,
            "rejected",
            id="a node port: the node knows no such connection",
        ),
        pytest.param("client", WEB_0, 8080, "delivered", id="the Pod itself: no Service of its"),
    ],
)
def test_in_ipvs_mode_a_connection_ends_with_its_service(who: str, ip: str, port: int, outcome: str) -> None:
    found = kept(make_state(slices=[], proxy={"mode": "ipvs"}), answered("TCP", who, ip, port))
    assert found.outcome == outcome


@pytest.mark.parametrize(
    ("mode", "endpoints", "outcome", "met"),
    [
        pytest.param(
            "ipvs",
            [DRAINS, ENDPOINT_1],
            "delivered",
            [ON_2],
            id="ipvs: what drains beside others keeps no UDP client",
        ),
        pytest.param("ipvs", [DRAINS], "delivered", [ON_1], id="ipvs: unless nothing else is left"),
        pytest.param(
            "userspace",
            [DRAINS, ENDPOINT_1],
            "delivered",
            [ON_1],
            id="userspace: a proxy's client stays while it sends",
        ),
        pytest.param(
            "userspace",
            [ENDPOINT_1],
            "delivered",
            [ON_1],
            id="userspace: even if its endpoint is none any more",
        ),
    ],
)
def test_a_udp_client_that_never_stops_in_other_modes(
    mode: Any, endpoints: list[Any], outcome: str, met: list[Endpoint]
) -> None:
    state = udp_state(*endpoints)
    found = kept(replace(state, proxy=replace(state.proxy, mode=mode)), answered("UDP"))
    assert (found.outcome, list(found.backends)) == (outcome, met)


def test_a_proxy_s_udp_client_is_not_told_that_its_pod_is_gone() -> None:
    state = udp_state(ENDPOINT_1)
    without = replace(
        state,
        pods=tuple(p for p in state.pods if p.ip != WEB_0),
        proxy=replace(state.proxy, mode="userspace"),
    )
    without = replace(without, listeners=tuple(li for li in state.listeners if li.ip != WEB_0))
    assert kept(without, answered("UDP")).outcome == "dropped"


def test_a_new_connection_meets_one_of_the_endpoints() -> None:
    assert answered("TCP").expected.partial
