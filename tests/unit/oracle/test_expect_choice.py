"""Tests the endpoints that are met: the Cluster list, the Local list and hints (docs/semantics 2, 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from emulator.net import Endpoint
from emulator.objects.kinds import EndpointPort, ServicePort
from tests.unit.oracle.promises import (
    LOCAL,
    ON_1,
    ON_2,
    promised,
)
from tests.unit.states import (
    ENDPOINT_0,
    ENDPOINT_1,
    NODE_IP,
    NODE_PORT,
    PODS,
    WEB_0,
    WEB_1,
    WEB_IP,
    make_endpoint,
    make_node,
    make_pod,
    make_service,
    make_slice,
    make_state,
    node_port_service,
)


@pytest.mark.parametrize(
    ("endpoints", "met"),
    [
        pytest.param(
            [make_endpoint(WEB_0, ready=True), make_endpoint(WEB_1, ready=False)], [ON_1], id="not ready"
        ),
        pytest.param(
            [make_endpoint(WEB_0, ready=False, serving=True, terminating=True), ENDPOINT_1],
            [ON_2],
            id="ready before draining",
        ),
        pytest.param(
            [make_endpoint(WEB_0, ready=False, serving=True, terminating=True)],
            [ON_1],
            id="draining if none is ready",
        ),
        pytest.param(
            [
                make_endpoint(WEB_0, ready=False, serving=False, terminating=True),
                make_endpoint(WEB_1, ready=False, serving=True, terminating=True),
            ],
            [ON_2],
            id="terminating and not serving",
        ),
        pytest.param(
            [make_endpoint(WEB_0, ready=False, serving=True)], [], id="serving alone does not count"
        ),
        pytest.param([ENDPOINT_0, ENDPOINT_0], [ON_1], id="listed twice"),
        pytest.param(
            [
                make_endpoint(ip, ready=False, serving=True, terminating=True, zone=zone)
                for ip, zone in ((WEB_0, "a"), (WEB_1, "b"))
            ],
            [ON_1, ON_2],
            id="hints do not apply to the draining",
        ),
    ],
)
def test_cluster_list(endpoints: list[Any], met: list[Endpoint]) -> None:
    nodes = (make_node("control-plane", 0), make_node("worker-1", 1, "a"), make_node("worker-2", 2, "b"))
    result = promised(
        make_state(make_service(), slices=[make_slice(*endpoints)], nodes=nodes), "client", WEB_IP, 80
    )
    assert list(result.backends) == met
    assert result.outcome == ("delivered" if met else "rejected")


@pytest.mark.parametrize(
    ("endpoints", "outcome", "met"),
    [
        pytest.param([ENDPOINT_0, ENDPOINT_1], "delivered", [ON_1], id="own ready"),
        pytest.param(
            [make_endpoint(WEB_0, "worker-1", ready=False, serving=True, terminating=True), ENDPOINT_1],
            "delivered",
            [ON_1],
            id="own draining",
        ),
        pytest.param([ENDPOINT_1], "dropped", [], id="only elsewhere"),
        pytest.param([make_endpoint(WEB_0)], "dropped", [], id="no nodeName is remote"),
        pytest.param(
            [make_endpoint(WEB_0, "worker-1", zone="b"), make_endpoint(WEB_1, "worker-2", zone="a")],
            "delivered",
            [ON_1],
            id="hints do not apply",
        ),
        pytest.param([], "rejected", [], id="none anywhere"),
    ],
)
def test_local_list(endpoints: list[Any], outcome: str, met: list[Endpoint]) -> None:
    nodes = (make_node("control-plane", 0), make_node("worker-1", 1, "a"), make_node("worker-2", 2, "b"))
    slices = [make_slice(*endpoints)]
    internal = promised(
        make_state(make_service(internalTrafficPolicy="Local"), slices=slices, nodes=nodes),
        "client",
        WEB_IP,
        80,
    )
    external = promised(
        make_state(node_port_service(**LOCAL), slices=slices, nodes=nodes),
        "client-1",
        NODE_IP["worker-1"],
        NODE_PORT,
    )
    assert [internal.outcome, external.outcome] == [outcome, outcome]
    assert [list(internal.backends), list(external.backends)] == [met, met]


@pytest.mark.parametrize(
    ("zone", "hints", "distribution", "met"),
    [
        pytest.param("a", [("a", ""), ("b", "")], "", [ON_1], id="own zone"),
        pytest.param("b", [("a", ""), ("b", "")], "", [ON_2], id="other zone"),
        pytest.param("c", [("a", ""), ("b", "")], "", [ON_1, ON_2], id="nothing hinted for the zone"),
        pytest.param("", [("a", ""), ("b", "")], "", [ON_1, ON_2], id="node without zone"),
        pytest.param("a", [("a", ""), ("", "")], "", [ON_1, ON_2], id="one without a hint"),
        pytest.param(
            "b", [("a", "worker-1"), ("b", "worker-2")], "PreferSameNode", [ON_1], id="node hints first"
        ),
        pytest.param(
            "b",
            [("a", "worker-2"), ("b", "worker-2")],
            "PreferSameNode",
            [ON_2],
            id="nothing hinted for the node, then zones",
        ),
        pytest.param(
            "b",
            [("a", "worker-1"), ("b", "")],
            "PreferSameNode",
            [ON_2],
            id="node hints incomplete, then zones",
        ),
        pytest.param(
            "b",
            [("a", "worker-1"), ("b", "worker-2")],
            "PreferClose",
            [ON_1],
            id="node hints count whatever the Service says",
        ),
    ],
)
def test_topology_hints(
    zone: str, hints: list[tuple[str, str]], distribution: str, met: list[Endpoint]
) -> None:
    nodes = (make_node("control-plane", 0), make_node("worker-1", 1, zone), make_node("worker-2", 2))
    endpoints = [
        make_endpoint(ip, node, zone=z, on_node=n)
        for (ip, node), (z, n) in zip([(WEB_0, "worker-1"), (WEB_1, "worker-2")], hints, strict=True)
    ]
    state = make_state(
        make_service(trafficDistribution=distribution), slices=[make_slice(*endpoints)], nodes=nodes
    )
    assert list(promised(state, "client", WEB_IP, 80).backends) == met


def test_hints_of_endpoints_that_are_not_ready_do_not_count() -> None:
    nodes = (make_node("control-plane", 0), make_node("worker-1", 1, "a"), make_node("worker-2", 2))
    endpoints = [
        make_endpoint(WEB_0, zone="a"),
        make_endpoint("10.244.2.9", zone="b"),
        make_endpoint(WEB_1, ready=False),
    ]
    state = make_state(make_service(), slices=[make_slice(*endpoints)], nodes=nodes)
    assert list(promised(state, "client", WEB_IP, 80).backends) == [ON_1]


def test_slices_of_another_family_are_not_used() -> None:
    slices = [make_slice(ENDPOINT_0), replace(make_slice(make_endpoint("fd00::1")), addressType="IPv6")]
    assert list(promised(make_state(make_service(), slices=slices), "client", WEB_IP, 80).backends) == [ON_1]


def test_slice_ports_are_matched_by_name_and_protocol() -> None:
    ports = [
        ServicePort(port=53, name="dns", protocol="UDP"),
        ServicePort(port=53, name="dns-tcp"),
        ServicePort(port=54),
    ]
    slice_ports = [
        EndpointPort(name="dns", protocol="UDP", port=1053),
        EndpointPort(name="dns-tcp", port=2053),
        EndpointPort(name=None, port=8080),
        EndpointPort(name="dns-tcp", protocol="UDP", port=7),
    ]
    pods = (*PODS, make_pod("dns", "worker-2", "10.244.2.9", [(1053, "UDP"), 2053, 8080]))
    state = make_state(
        make_service(ports=ports),
        slices=[make_slice(make_endpoint("10.244.2.9"), ports=slice_ports)],
        pods=pods,
    )
    assert list(promised(state, "client", WEB_IP, 53, protocol="UDP").backends) == [
        Endpoint.of("10.244.2.9", 1053)
    ]
    assert list(promised(state, "client", WEB_IP, 53).backends) == [Endpoint.of("10.244.2.9", 2053)]
    assert list(promised(state, "client", WEB_IP, 54).backends) == [Endpoint.of("10.244.2.9", 8080)]
