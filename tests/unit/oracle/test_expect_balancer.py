"""Tests promises behind a load balancer in the path (docs/semantics 14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from emulator.cluster.state import ClusterState
from emulator.net import Endpoint
from emulator.objects.config import FlowProtocol
from emulator.objects.kinds import EndpointSlice, LoadBalancerIngress
from emulator.oracle.expectations import Expectations, attempts_for
from emulator.report.prose import say
from tests.unit.oracle.promises import HOSTED, promised
from tests.unit.states import (
    BOTH,
    BRIDGE_IP,
    NODE_IP,
    PODS,
    VIP,
    WEB_0,
    WEB_1,
    listeners_of,
    load_balancer_service,
    make_endpoint,
    make_flow,
    make_service,
    make_slice,
    make_state,
)

BALANCER_IP = "172.18.255.254"
NODE_ADDRESSES = frozenset(
    {NODE_IP["worker-1"], NODE_IP["worker-2"], BRIDGE_IP["worker-1"], BRIDGE_IP["worker-2"]}
)


def balanced(
    nodes: tuple[str, ...] = ("worker-1", "worker-2"), slices: Sequence[EndpointSlice] = (BOTH,), **spec: Any
) -> ClusterState:
    return make_state(
        load_balancer_service("Proxy", **spec),
        slices=slices,
        balancerIP=BALANCER_IP,
        balanced={"default/web": nodes},
    )


@pytest.mark.parametrize("who", ["client", "worker-1", "client-1", "web-0"])
@pytest.mark.parametrize(
    ("policy", "rule", "addresses"),
    [("Cluster", "node", NODE_ADDRESSES), ("Local", "balancer", {BALANCER_IP})],
)
def test_behind_a_balancer_nobody_sees_the_client(
    policy: str, rule: str, addresses: set[str], who: str
) -> None:
    expected = promised(balanced(externalTrafficPolicy=policy), who, VIP, 80)
    assert (expected.outcome, expected.source) == ("delivered", rule)
    assert expected.backends == {Endpoint.of(WEB_0, 8080): rule, Endpoint.of(WEB_1, 8080): rule}
    assert expected.addresses[rule] == addresses
    assert "balancer" in say(expected.because)


def test_a_balancer_meets_only_what_its_nodes_do() -> None:
    expected = promised(balanced(("worker-2",), externalTrafficPolicy="Local"), "client-1", VIP, 80)
    assert expected.backends == {Endpoint.of(WEB_1, 8080): "balancer"}


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        pytest.param(balanced(()), "rejected", id="no healthy node"),
        pytest.param(balanced(slices=[]), "rejected", id="no endpoint: the node refuses"),
        pytest.param(
            balanced(("control-plane",), externalTrafficPolicy="Local"),
            "dropped",
            id="a node that lost its endpoint",
        ),
        pytest.param(
            balanced(loadBalancerSourceRanges=("198.51.100.0/24",)), "dropped", id="outside the ranges"
        ),
        pytest.param(
            balanced(loadBalancerSourceRanges=("203.0.113.0/24",)), "delivered", id="inside the ranges"
        ),
    ],
)
def test_what_a_balancer_refuses(state: ClusterState, outcome: str) -> None:
    assert promised(state, "client-1", VIP, 80).outcome == outcome


@pytest.mark.parametrize(
    ("port", "protocol", "outcome"),
    [(81, "TCP", "rejected"), (80, "UDP", "rejected"), (0, "ICMP", "delivered")],
)
def test_a_balancers_address_is_a_machines(port: int, protocol: FlowProtocol, outcome: str) -> None:
    assert promised(balanced(), "client", VIP, port, protocol=protocol).outcome == outcome


def test_an_endpoint_that_few_nodes_lead_to_needs_more_attempts() -> None:
    alone, pair = (
        make_endpoint(WEB_0, "worker-1"),
        [make_endpoint(f"10.244.2.{n}", "worker-2") for n in (3, 4, 5)],
    )
    state = balanced(slices=[make_slice(alone, *pair)], externalTrafficPolicy="Local")
    expectations = Expectations(state)
    flow = make_flow(state, "client-1", VIP, 80)
    assert len(expectations.expect(flow).endpoints) == 4
    assert expectations.with_attempts(flow).attempts == attempts_for(6) > attempts_for(4)
    assert not expectations.expect(replace(flow, attempts=attempts_for(6))).partial


def test_an_endpoint_on_a_node_may_see_the_balancer_or_another_node() -> None:
    state = replace(
        balanced(slices=[make_slice(make_endpoint(NODE_IP["worker-1"], "worker-1"))]), pods=(*PODS, *HOSTED)
    )
    state = replace(state, listeners=listeners_of(state.pods))
    expected = promised(state, "client-1", VIP, 80)
    assert expected.rules_at(Endpoint.of(NODE_IP["worker-1"], 8080)) == {"node", "balancer"}
    assert (expected.addresses["node"], expected.addresses["balancer"]) == (NODE_ADDRESSES, {BALANCER_IP})


def test_ip_mode_proxy_is_not_captured() -> None:
    assert promised(make_state(load_balancer_service("Proxy")), "client", VIP, 80).outcome == "dropped"
    outside = make_service(vips=[LoadBalancerIngress(ip="198.51.100.9", ipMode="Proxy")], type="LoadBalancer")
    assert promised(make_state(outside), "client", "198.51.100.9", 80).outcome == "unreachable"
