"""Tests the promises that differ in userspace mode (docs/semantics 15)."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.net import Endpoint
from emulator.objects.kinds import EndpointPort, LoadBalancerIngress, ServicePort
from emulator.oracle.expectations import Expectations, expect
from emulator.report.prose import say
from tests.unit.oracle.promises import ON_1, ON_2
from tests.unit.states import (
    BRIDGE_IP,
    EXTERNAL_IP,
    NODE_IP,
    NODE_PORT,
    VIP,
    WEB_0,
    WEB_1,
    WEB_IP,
    load_balancer_service,
    make_endpoint,
    make_flow,
    make_pod,
    make_service,
    make_slice,
    make_state,
    node_port_service,
)

NOBODY = Endpoint.of("10.244.1.99", 8080)
USERSPACE: dict[str, Any] = {"proxy": {"mode": "userspace"}}
LOCAL: dict[str, Any] = {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"}


@pytest.mark.parametrize("who", ["client", "other", "worker-1", "client-1", "web-0"])
@pytest.mark.parametrize("ip", [WEB_IP, NODE_IP["worker-1"], BRIDGE_IP["worker-1"], VIP])
def test_any_ready_endpoint_sees_the_node_that_dials_it(who: str, ip: str) -> None:
    state = make_state(
        load_balancer_service("Proxy", **LOCAL, loadBalancerSourceRanges=("192.0.2.0/24",)), **USERSPACE
    )
    port = NODE_PORT if ip in (NODE_IP["worker-1"], BRIDGE_IP["worker-1"]) else 80
    flow = make_flow(state, who, ip, port, via="worker-2" if who == "client-1" else "")
    promise = expect(state, flow)
    assert (promise.outcome, promise.relayed, promise.source) == ("delivered", True, "node")
    assert promise.backends == {ON_1: "node", ON_2: "node"}
    met = Expectations(state).translation(flow)
    assert met is not None
    assert promise.addresses["node"] == {NODE_IP[met.node], BRIDGE_IP[met.node]}
    assert 15 in promise.because.sections


def test_sctp_goes_to_the_balancer_in_the_path() -> None:
    ports = [ServicePort(port=80, protocol="SCTP", nodePort=NODE_PORT)]
    ranges, vips = ("203.0.113.0/24",), [LoadBalancerIngress(ip=VIP, ipMode="Proxy")]
    state = make_state(
        make_service(ports=ports, type="LoadBalancer", vips=vips, loadBalancerSourceRanges=ranges),
        balancerIP="172.18.255.254",
        balanced={"default/web": ("worker-1",)},
        **USERSPACE,
    )
    outcomes = {
        who: expect(state, make_flow(state, who, VIP, 80, protocol="SCTP")).outcome
        for who in ("client", "worker-1", "client-1")
    }
    assert outcomes == {"client": "dropped", "worker-1": "dropped", "client-1": "rejected"}, (
        "no proxy serves its node ports"
    )


def test_what_no_service_has_is_not_relayed() -> None:
    state = make_state(make_service(), **USERSPACE)
    promise = expect(state, make_flow(state, "client", WEB_1, 8080))
    assert (promise.outcome, promise.relayed, promise.source) == ("delivered", False, "preserved")


@pytest.mark.parametrize(
    ("protocol", "outcome"),
    [("TCP", "rejected"), ("UDP", "dropped")],
)
@pytest.mark.parametrize(
    "conditions",
    [{"ready": False}, {"ready": False, "serving": True, "terminating": True}],
    ids=["not ready", "draining"],
)
def test_without_a_ready_endpoint(protocol: Any, outcome: str, conditions: dict[str, bool]) -> None:
    svc = make_service(ports=[ServicePort(port=80, name="http", targetPort=8080, protocol=protocol)])
    row = make_slice(
        make_endpoint(WEB_0, "worker-1", **conditions),
        ports=(EndpointPort(name="http", port=8080, protocol=protocol),),
    )
    state = make_state(svc, slices=(row,), **USERSPACE)
    promise = expect(state, make_flow(state, "client", WEB_IP, 80, protocol=protocol))
    assert (promise.outcome, promise.backends, promise.relayed) == (outcome, {}, True)


def test_endpoints_that_nobody_serves_are_passed_over() -> None:
    rows = make_slice(make_endpoint(NOBODY.address, "worker-1"), make_endpoint(WEB_1, "worker-2"))
    state = make_state(make_service(), slices=(rows,), **USERSPACE)
    promise = expect(state, make_flow(state, "client", WEB_IP, 80))
    assert (promise.outcome, set(promise.backends)) == ("delivered", {ON_2})
    assert f"no server listens at {NOBODY}" in say(promise.because)


@pytest.mark.parametrize(
    ("ip", "outcome"),
    [(NODE_IP["worker-2"], "rejected"), ("10.244.1.99", "dropped")],
    ids=["refused at once", "silent longer than the client waits"],
)
def test_when_nobody_serves_any(ip: str, outcome: str) -> None:
    state = make_state(make_service(), slices=(make_slice(make_endpoint(ip, "worker-1")),), **USERSPACE)
    assert expect(state, make_flow(state, "client", WEB_IP, 80)).outcome == outcome


@pytest.mark.parametrize(
    ("who", "outcome", "relayed"),
    [("client", "unreachable", False), ("worker-1", "unreachable", False), ("client-1", "delivered", True)],
)
def test_external_ips_are_for_outsiders(who: str, outcome: str, relayed: bool) -> None:
    state = make_state(make_service(externalIPs=(EXTERNAL_IP,)), **USERSPACE)
    promise = expect(
        state, make_flow(state, who, EXTERNAL_IP, 80, via="worker-1" if who == "client-1" else "")
    )
    assert (promise.outcome, promise.relayed) == (outcome, relayed)
    assert 15 in promise.because.sections


@pytest.mark.parametrize("who", ["client", "worker-1", "other"])
def test_an_external_ip_that_is_a_nodes_is_taken_up_there(who: str) -> None:
    state = make_state(make_service(externalIPs=(BRIDGE_IP["worker-1"],)), **USERSPACE)
    flow = make_flow(state, who, BRIDGE_IP["worker-1"], 80)
    met = Expectations(state).translation(flow)
    assert met is not None
    assert (met.node, expect(state, flow).relayed) == ("worker-1", True)


@pytest.mark.parametrize(("protocol", "outcome"), [("TCP", "delivered"), ("UDP", "dropped")])
def test_node_ports_on_localhost(protocol: Any, outcome: str) -> None:
    ports = [ServicePort(port=80, name="http", targetPort=8080, nodePort=NODE_PORT, protocol=protocol)]
    rows = make_slice(
        make_endpoint(WEB_0, "worker-1"), ports=(EndpointPort(name="http", port=8080, protocol=protocol),)
    )
    pods = (make_pod("web-0", "worker-1", WEB_0, [(8080, protocol)]),)
    svc = make_service(ports=ports, type="NodePort")
    state = make_state(
        svc, slices=(rows,), pods=pods, proxy={"mode": "userspace", "localhostNodePorts": False}
    )
    promise = expect(state, make_flow(state, "worker-2", "127.0.0.1", NODE_PORT, protocol=protocol))
    assert (promise.outcome, "is not translated back" in say(promise.because)) == (
        outcome,
        protocol == "UDP",
    )


@pytest.mark.parametrize(
    ("who", "ip", "outcome"),
    [
        ("worker-1", BRIDGE_IP["worker-1"], "dropped"),
        ("worker-1", NODE_IP["worker-1"], "delivered"),
        ("worker-1", BRIDGE_IP["worker-2"], "delivered"),
        ("client", BRIDGE_IP["worker-1"], "delivered"),
    ],
)
def test_udp_that_a_node_sends_to_itself(who: str, ip: str, outcome: str) -> None:
    ports = [ServicePort(port=80, name="http", targetPort=8080, nodePort=NODE_PORT, protocol="UDP")]
    rows = make_slice(
        make_endpoint(WEB_0, "worker-1"), ports=(EndpointPort(name="http", port=8080, protocol="UDP"),)
    )
    pods = (
        make_pod("web-0", "worker-1", WEB_0, [(8080, "UDP")]),
        make_pod("client", "worker-1", "10.244.1.2"),
    )
    state = make_state(make_service(ports=ports, type="NodePort"), slices=(rows,), pods=pods, **USERSPACE)
    assert expect(state, make_flow(state, who, ip, NODE_PORT, protocol="UDP")).outcome == outcome


def test_sctp_is_left_alone() -> None:
    ports = [ServicePort(port=80, name="s", targetPort=8080, nodePort=NODE_PORT, protocol="SCTP")]
    state = make_state(make_service(ports=ports, type="NodePort"), **USERSPACE)
    to_cluster_ip = expect(state, make_flow(state, "client", WEB_IP, 80, protocol="SCTP"))
    to_node_port = expect(state, make_flow(state, "client", NODE_IP["worker-1"], NODE_PORT, protocol="SCTP"))
    assert (to_cluster_ip.outcome, to_node_port.outcome) == ("unreachable", "rejected")
    assert 15 in to_cluster_ip.because.sections
    assert 15 in to_node_port.because.sections


def test_session_affinity_meets_one() -> None:
    state = make_state(node_port_service(sessionAffinity="ClientIP"), **USERSPACE)
    assert expect(state, make_flow(state, "client", WEB_IP, 80)).partial
