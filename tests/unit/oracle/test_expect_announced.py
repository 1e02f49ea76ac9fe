"""Tests addresses that nodes announce to clients outside, and their state when no node announces them
(docs/semantics 14).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from emulator.cluster.state import ClusterState
from emulator.model.expectations import Expectation
from emulator.objects.kinds import EndpointPort, EndpointSlice, ServicePort
from emulator.oracle.expectations import Expectations, remember
from emulator.report.prose import say
from tests.unit.oracle.promises import LOCAL, promised
from tests.unit.states import (
    BOTH,
    BRIDGE_IP,
    ENDPOINT_1,
    NODE_IP,
    NODE_PORT,
    OTHER,
    VIP,
    WEB_IP,
    load_balancer_service,
    make_endpoint,
    make_flow,
    make_service,
    make_slice,
    make_state,
    node_port_service,
)


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
@pytest.mark.parametrize("speaker", ["worker-1", "control-plane"])
def test_from_outside_an_announced_address_is_entered_at_its_speaker(speaker: str, policy: str) -> None:
    service = load_balancer_service(externalTrafficPolicy=policy)
    announced, routed = make_state(service, speakers={VIP: speaker}), make_state(service)
    for who, via in (("client-1", ""), ("client", ""), ("worker-2", ""), ("client-1", "worker-2")):
        asked = speaker if who == "client-1" and not via else via
        assert promised(announced, who, VIP, 80, via=via) == promised(routed, who, VIP, 80, via=asked)


def from_outside(state: ClusterState, asked: Mapping[str, str]) -> Expectation:
    return Expectations(state, asked).expect(make_flow(state, "client-1", VIP, 80))


def test_who_has_asked_before_sends_to_the_node_that_announced_last() -> None:
    announced = make_state(load_balancer_service(), speakers={VIP: "worker-1"})
    empty = make_state(load_balancer_service(), slices=[])
    asked = remember({}, announced, [make_flow(announced, "client-1", VIP, 80)])
    assert from_outside(empty, {}).outcome == "dropped"
    found = from_outside(empty, asked)
    assert found.outcome == "rejected"
    assert "still send to worker-1" in say(found.because)
    assert (
        from_outside(
            replace(empty, nodes=tuple(n for n in empty.nodes if n.name != "worker-1")), asked
        ).outcome
        == "dropped"
    )


def test_nobody_has_learnt_what_was_not_asked_from_outside() -> None:
    state = make_state(load_balancer_service(), speakers={VIP: "worker-1"})
    flows = [
        make_flow(state, "client", VIP, 80),
        make_flow(state, "client-1", VIP, 80, via="worker-2"),
        make_flow(state, "client-1", WEB_IP, 80),
    ]
    assert remember({}, state, flows) == {}


def test_a_node_that_takes_an_address_over_tells_everybody_who_has_asked() -> None:
    later = make_state(load_balancer_service(), speakers={VIP: "worker-2", "172.18.255.9": "worker-1"})
    assert remember({VIP: "worker-1"}, later, []) == {VIP: "worker-2"}
    assert remember({VIP: "worker-1"}, make_state(), []) == {VIP: "worker-1"}


@pytest.mark.parametrize(("strict", "outcome"), [(False, "rejected"), (True, "dropped")])
def test_in_ipvs_mode_without_strict_arp_every_node_refuses_what_nobody_announces(
    strict: bool, outcome: str
) -> None:
    state = make_state(load_balancer_service(), slices=[], proxy={"mode": "ipvs", "strictARP": strict})
    assert promised(state, "client-1", VIP, 80).outcome == outcome


def test_what_nobody_announces_is_asked_for_in_vain() -> None:
    expected = promised(make_state(load_balancer_service(), slices=[]), "client-1", VIP, 80)
    assert expected.outcome == "dropped"
    assert "no node announces 172.18.255.200: svc default/web has no serving endpoint" in say(
        expected.because
    )


@pytest.mark.parametrize(
    ("strict", "source"),
    [(True, {NODE_IP["worker-1"], BRIDGE_IP["worker-1"]}), (False, {*NODE_IP.values(), *BRIDGE_IP.values()})],
)
def test_in_ipvs_mode_without_strict_arp_any_node_may_take_an_announced_address(
    strict: bool, source: set[str]
) -> None:
    proxy = {"mode": "ipvs", "strictARP": strict}
    state = make_state(load_balancer_service(), speakers={VIP: "worker-1"}, proxy=proxy)
    assert promised(state, "client-1", VIP, 80).addresses["node"] == source
    assert promised(state, "client-1", VIP, 80, via="worker-1").addresses["node"] == {
        NODE_IP["worker-1"],
        BRIDGE_IP["worker-1"],
    }


NOBODYS, UNSERVED = "172.18.0.99", make_slice(make_endpoint("10.244.1.99", "worker-1"))


@pytest.mark.parametrize(
    ("who", "ip", "slices", "unanswered"),
    [
        pytest.param("client", NOBODYS, (BOTH,), True, id="an address of the host network"),
        pytest.param("worker-1", "10.244.2.99", (BOTH,), True, id="one of a Pod that is gone"),
        pytest.param("client", WEB_IP, (UNSERVED,), True, id="the same behind a Service"),
        pytest.param("client-1", VIP, (), True, id="what nobody announces"),
        pytest.param("client", "192.0.2.9", (BOTH,), False, id="no route"),
    ],
)
def test_who_is_looked_for_in_vain(
    who: str, ip: str, slices: Sequence[EndpointSlice], unanswered: bool
) -> None:
    expected = promised(make_state(load_balancer_service(), slices=slices), who, ip, 80)
    assert (expected.outcome, expected.possibilities.late) == (
        "dropped" if unanswered else "unreachable",
        unanswered,
    )


def test_where_no_endpoint_is_served_each_has_an_outcome_of_its_own() -> None:
    slices = make_slice(
        make_endpoint("10.244.1.99", "worker-1"),
        make_endpoint("192.0.2.99"),
        make_endpoint(OTHER, "worker-2"),
    )
    expected = promised(make_state(make_service(), slices=(slices,)), "client", WEB_IP, 80)
    assert (expected.outcome, expected.outcomes) == ("dropped", {"dropped", "unreachable", "rejected"})
    assert "no server listens at 10.244.1.99:8080, 192.0.2.99:8080, 10.244.2.2:8080" in say(expected.because)


@pytest.mark.parametrize(("protocol", "outcomes"), [("TCP", {"dropped", "rejected"}), ("UDP", {"dropped"})])
def test_a_proxy_that_finds_nobody_closes_late_or_soon(protocol: Any, outcomes: set[str]) -> None:
    slices = make_slice(
        make_endpoint("10.244.1.99", "worker-1"),
        make_endpoint("192.0.2.99"),
        ports=[EndpointPort(name="http", port=8080, protocol=protocol)],
    )
    web = make_service(ports=[ServicePort(port=80, name="http", targetPort=8080, protocol=protocol)])
    state = make_state(web, slices=(slices,), proxy={"mode": "userspace"})
    assert promised(state, "client", WEB_IP, 80, protocol=protocol).outcomes == outcomes


def test_what_a_policy_drops_nobody_is_looked_for() -> None:
    state = make_state(node_port_service(**LOCAL), slices=(make_slice(ENDPOINT_1),))
    expected = promised(state, "client-1", NODE_IP["worker-1"], NODE_PORT)
    assert (expected.outcome, expected.possibilities.late) == ("dropped", False)
