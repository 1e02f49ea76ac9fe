"""Tests the promises that differ in ipvs mode (docs/semantics 13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import pytest

from emulator.cluster.state import ClusterState
from emulator.net import Endpoint
from emulator.objects import kinds
from emulator.objects.config import IPVSScheduler
from emulator.objects.kinds import EndpointPort, EndpointSlice
from emulator.oracle.expectations import expect
from emulator.report.prose import say
from emulator.report.prose_of_requirements import say_sentence
from emulator.verdicts.requirements import check_requirements
from tests.unit.oracle.promises import (
    LOCAL,
    ON_1,
    ON_2,
    promised,
)
from tests.unit.states import (
    BOTH,
    BRIDGE_IP,
    ENDPOINT_0,
    ENDPOINT_1,
    EXTERNAL_IP,
    NODE_IP,
    NODE_PORT,
    OUTSIDE,
    PODS,
    VIP,
    WEB_0,
    WEB_1,
    WEB_IP,
    load_balancer_service,
    make_client,
    make_endpoint,
    make_flow,
    make_pod,
    make_service,
    make_slice,
    make_state,
)
from tests.unit.states import node_port_service as node_ports

IPVS: dict[str, Any] = {"proxy": {"mode": "ipvs"}}


@pytest.mark.parametrize("who", ["client", "worker-1", "client-1"])
def test_external_policy_local_is_for_everyone(who: str) -> None:
    state = make_state(node_ports(externalTrafficPolicy="Local"), **IPVS)
    assert set(expect(state, make_flow(state, who, NODE_IP["worker-1"], NODE_PORT)).backends) == {ON_1}


@pytest.mark.parametrize(
    ("who", "asymmetric"), [("client-1", {ON_2}), ("client", set()), ("worker-1", set())]
)
def test_without_an_endpoint_on_the_node_any_answers(who: str, asymmetric: set[Endpoint]) -> None:
    only_there = make_slice(make_endpoint(WEB_1, "worker-2"))
    state = make_state(node_ports(externalTrafficPolicy="Local"), slices=(only_there,), **IPVS)
    promise = expect(state, make_flow(state, who, NODE_IP["worker-1"], NODE_PORT))
    assert (promise.outcome, set(promise.backends), promise.asymmetric) == ("delivered", {ON_2}, asymmetric)


@pytest.mark.parametrize(
    ("who", "ip", "port", "unpromised"),
    [
        ("worker-1", WEB_1, 8080, True),
        ("client", WEB_1, 8080, True),
        ("client-1", NODE_IP["worker-1"], NODE_PORT, True),
        ("client-1", NODE_IP["control-plane"], 6443, False),
        ("client-1", WEB_1, 8080, False),
    ],
)
def test_nothing_is_promised_of_a_node_whose_address_is_a_services(
    who: str, ip: str, port: int, unpromised: bool
) -> None:
    service, told = node_ports(externalIPs=(NODE_IP["worker-1"],)), {}
    for mode in ("ipvs", "iptables"):
        state = make_state(service, slices=(BOTH,), proxy={"mode": mode})
        told[mode] = expect(state, make_flow(state, who, ip, port)).unpromised
    assert told["iptables"] is None
    assert bool(told["ipvs"]) == unpromised
    if told["ipvs"]:
        assert "every node has the address of a machine on the way for its own" in say(told["ipvs"])


def test_nothing_is_promised_of_a_pod_whose_address_is_a_services() -> None:
    service = node_ports(externalIPs=(WEB_1,))
    for mode, expected in (("ipvs", True), ("iptables", False)):
        state = make_state(service, slices=(make_slice(ENDPOINT_0),), proxy={"mode": mode})
        told = [expect(state, make_flow(state, "client", ip, 8080)).unpromised for ip in (WEB_1, WEB_0)]
        assert [bool(why) for why in told] == [expected, False]


ON_A_NODE = make_pod("host-web", "worker-1", ports=[8080])
ITSELF = Endpoint.of(NODE_IP["worker-1"], 8080)


def announced(*endpoints: kinds.Endpoint, **spec: Any) -> ClusterState:
    """Returns a load-balancer address, whose speaker is worker-1; ``ON_A_NODE`` serves too."""
    slices, pods = (make_slice(*endpoints),), (*PODS, ON_A_NODE)
    return make_state(
        load_balancer_service(**spec), slices=slices, pods=pods, speakers={VIP: "worker-1"}, **IPVS
    )


def test_whichever_node_answers_arp_serves_its_own_endpoints() -> None:
    state = announced(ENDPOINT_0, ENDPOINT_1, externalTrafficPolicy="Local")
    promise = expect(state, make_flow(state, "client-1", VIP, 80, attempts=50))
    assert (promise.outcome, set(promise.backends), promise.partial) == ("delivered", {ON_1, ON_2}, True)
    assert (promise.asymmetric, promise.symmetric) == ({ON_1, ON_2}, {ON_1, ON_2})


def test_through_the_balanced_address_all_are_met_whoever_serves() -> None:
    """Lets another node be heard in the middle of a connection, which it resets."""
    state = announced(ENDPOINT_0, ENDPOINT_1)
    promise = expect(state, make_flow(state, "client-1", VIP, 80, attempts=50))
    assert all(possibility.wavers for possibility in promise.possibilities)
    assert (set(promise.backends), promise.partial, promise.asymmetric) == ({ON_1, ON_2}, False, set())


def test_a_node_s_own_endpoint_is_masqueraded_by_other_nodes_alone() -> None:
    state = announced(make_endpoint(ITSELF.address, "worker-1"))
    promise = expect(state, make_flow(state, "client-1", VIP, 80))
    assert promise.backends == {ITSELF: "node"}
    assert promise.rules_at(ITSELF) == {"node", "preserved"}
    assert promise.addresses == {"node": {*NODE_IP.values(), *BRIDGE_IP.values()}, "preserved": {OUTSIDE}}


def test_with_strict_arp_the_speaker_alone_serves() -> None:
    state = announced(ENDPOINT_0, ENDPOINT_1, externalTrafficPolicy="Local")
    state = replace(state, proxy=replace(state.proxy, strictARP=True))
    promise = expect(state, make_flow(state, "client-1", VIP, 80))
    assert set(promise.backends) == {ON_1}
    assert not any(possibility.wavers for possibility in promise.possibilities)


def test_a_node_that_meets_itself_by_a_service_s_address_comes_from_that() -> None:
    state = announced(make_endpoint(ITSELF.address, "worker-1"), externalTrafficPolicy="Local")
    promise = expect(state, make_flow(state, "worker-1", VIP, 80))
    assert (promise.source, promise.addresses["preserved"]) == ("preserved", {VIP})


@pytest.mark.parametrize(("port", "protocol"), [(81, "TCP"), (80, "UDP"), (0, "ICMP")])
def test_a_closed_port_of_a_cluster_ip_is_rejected(port: int, protocol: Any) -> None:
    state = make_state(make_service(), **IPVS)
    assert expect(state, make_flow(state, "client", WEB_IP, port, protocol=protocol)).outcome == "rejected"


def test_no_node_ports_on_localhost() -> None:
    state = make_state(node_ports(), **IPVS)
    assert expect(state, make_flow(state, "worker-1", "127.0.0.1", NODE_PORT)).outcome == "rejected"


@pytest.mark.parametrize(("netns", "verdict"), [("worker-1", "pass"), ("default_client", "fail")])
def test_a_cluster_ip_is_on_no_interface_but_the_nodes(netns: str, verdict: str) -> None:
    state = make_state(make_service(), **IPVS)
    found = {r.name: r for r in check_requirements(state, (), {netns: frozenset({WEB_IP})})}[
        "cluster-ip-on-no-interface"
    ]
    assert found.verdict == verdict
    assert "kube-ipvs0" in say_sentence(found)


def test_a_node_is_seen_as_the_address_that_it_dialled() -> None:
    """Masquerades nobody under externalTrafficPolicy Local: a Service's address is the node's own."""
    state = make_state(node_ports(externalTrafficPolicy="Local", externalIPs=(EXTERNAL_IP,)), **IPVS)
    promise = expect(state, make_flow(state, "worker-1", EXTERNAL_IP, 80))
    assert (promise.outcome, promise.backends) == ("delivered", {ON_1: "preserved"})
    assert promise.addresses["preserved"] == {EXTERNAL_IP}


@pytest.mark.parametrize(
    ("ip", "port", "outcome"), [(EXTERNAL_IP, 80, "dropped"), (NODE_IP["worker-1"], NODE_PORT, "delivered")]
)
def test_from_a_node_without_an_endpoint_a_node_port_alone_leads_anywhere(
    ip: str, port: int, outcome: str
) -> None:
    only_there = make_slice(make_endpoint(WEB_1, "worker-2"))
    service = node_ports(externalTrafficPolicy="Local", externalIPs=(EXTERNAL_IP,))
    state = make_state(service, slices=(only_there,), **IPVS)
    assert expect(state, make_flow(state, "worker-1", ip, port)).outcome == outcome


@pytest.mark.parametrize(("who", "source"), [("worker-1", "node"), ("client", "preserved")])
def test_without_a_detector_a_node_is_masqueraded_all_the_same(who: str, source: str) -> None:
    state = make_state(make_service(), proxy={"mode": "ipvs", "clusterCIDR": ""})
    assert expect(state, make_flow(state, who, WEB_IP, 80)).source == source


@pytest.mark.parametrize(("mode", "outcome"), [("ipvs", "dropped"), ("iptables", "delivered")])
def test_a_client_with_a_services_address_is_martian(mode: str, outcome: str) -> None:
    client = make_client(make_state(), "client-1")
    state = make_state(make_service(externalIPs=(client.ip,)), proxy={"mode": mode})
    assert expect(state, make_flow(state, "client-1", WEB_1, 8080)).outcome == outcome


@pytest.mark.parametrize(
    ("who", "outcome"),
    [("client-1", "dropped"), ("client", "dropped"), ("worker-1", "rejected")],
    ids=["outside", "a Pod", "a node"],
)
def test_source_ranges_come_before_the_want_of_an_endpoint(who: str, outcome: str) -> None:
    state = make_state(load_balancer_service(loadBalancerSourceRanges=("192.0.2.0/24",)), slices=(), **IPVS)
    assert (
        expect(state, make_flow(state, who, VIP, 80, via="worker-1" if who == "client-1" else "")).outcome
        == outcome
    )


def test_a_pod_that_meets_itself_by_another_nodes_port_is_masqueraded_at_home() -> None:
    state = make_state(
        node_ports(externalTrafficPolicy="Local"),
        slices=(make_slice(make_endpoint(WEB_0, "worker-1")),),
        **IPVS,
    )
    promise = expect(state, make_flow(state, "web-0", NODE_IP["worker-2"], NODE_PORT))
    assert (promise.outcome, promise.backends, promise.asymmetric) == ("delivered", {ON_1: "node"}, {ON_1})
    assert promise.addresses["node"] == {NODE_IP["worker-1"], BRIDGE_IP["worker-1"]}


def test_of_endpoints_that_a_node_takes_for_want_of_its_own_one_may_be_there() -> None:
    """Takes an endpoint that no slice places on the node: its reply goes by the node, the other one's past
    it.
    """
    adrift, elsewhere = make_endpoint(WEB_0), make_endpoint(WEB_1, "worker-2")
    for endpoints, asymmetric in (((adrift, elsewhere), {ON_2}), ((elsewhere,), {ON_2}), ((adrift,), set())):
        state = make_state(
            node_ports(externalTrafficPolicy="Local"), slices=(make_slice(*endpoints),), **IPVS
        )
        assert (
            expect(state, make_flow(state, "client-1", NODE_IP["worker-1"], NODE_PORT)).asymmetric
            == asymmetric
        )


def test_any_services_slice_says_where_a_pod_is_that_meets_itself() -> None:
    other = make_slice(make_endpoint(WEB_0, "worker-1"), service="other")
    services = (make_service(), make_service("other", ip="10.96.0.11"))
    for slices, outcome in (((), "dropped"), ((other,), "delivered")):
        state = make_state(*services, slices=(make_slice(make_endpoint(WEB_0)), *slices), **IPVS)
        assert expect(state, make_flow(state, "web-0", WEB_IP, 80)).outcome == outcome


def test_a_node_without_endpoints_reaches_those_that_are_there_whatever_their_slice_says() -> None:
    """Promises an end for each endpoint: one is reached, the others are not."""
    service = node_ports(externalTrafficPolicy="Local", externalIPs=(EXTERNAL_IP,))
    state = make_state(
        service, slices=(make_slice(make_endpoint(WEB_0), make_endpoint(WEB_1, "worker-2")),), **IPVS
    )
    promise = expect(state, make_flow(state, "worker-1", EXTERNAL_IP, 80))
    assert (promise.outcomes, set(promise.backends), promise.endpoints) == (
        {"delivered", "dropped"},
        {ON_1},
        {ON_1, ON_2},
    )
    assert f"no connection comes about with {ON_2}" in say(promise.because)


@pytest.mark.parametrize("scheduler", get_args(IPVSScheduler))
def test_round_robin_alone_meets_everybody_for_sure(scheduler: IPVSScheduler) -> None:
    state = make_state(make_service(), proxy={"mode": "ipvs", "scheduler": scheduler})
    assert expect(state, make_flow(state, "client", WEB_IP, 80, attempts=400)).partial is (
        scheduler not in ("rr", "wrr")
    )


@pytest.mark.parametrize(
    ("ip", "source"),
    [(EXTERNAL_IP, "preserved"), (NODE_IP["control-plane"], "node")],
    ids=["a Service's", "its own"],
)
def test_a_node_that_meets_itself_is_seen_as_what_it_dialled_unless_that_is_its_own_address(
    ip: str, source: str
) -> None:
    """Dials its own address too: that is a hairpin, masqueraded as the bridge's address for all that is
    promised.
    """
    service = node_ports(externalTrafficPolicy="Local", externalIPs=(ip,))
    slices = (
        make_slice(
            make_endpoint(NODE_IP["control-plane"], "control-plane"),
            ports=[EndpointPort(name="http", port=6443)],
        ),
    )
    state = make_state(service, slices=slices, **IPVS)
    assert expect(state, make_flow(state, "control-plane", ip, 80)).source == source


# --- endpoints whose slice does not say where they are -----------------------------------------------------

ADRIFT = make_slice(make_endpoint(WEB_0))


@pytest.mark.parametrize(
    ("slices", "outcome"),
    [pytest.param((BOTH,), "delivered", id="its node's"), pytest.param((ADRIFT,), "dropped", id="nobody's")],
)
def test_in_ipvs_mode_a_pod_meets_itself_only_if_its_slice_says_where_it_is(
    slices: Sequence[EndpointSlice], outcome: str
) -> None:
    assert promised(make_state(make_service(), slices=slices, **IPVS), "web-0", WEB_IP, 80).outcome == outcome


@pytest.mark.parametrize(("node", "asymmetric"), [("worker-1", set()), ("worker-2", {ON_1})])
def test_in_ipvs_mode_an_answer_goes_past_the_node_unless_the_endpoint_is_there(
    node: str, asymmetric: set[Endpoint]
) -> None:
    state = make_state(node_ports(**LOCAL), slices=(ADRIFT,), **IPVS)
    assert promised(state, "client-1", NODE_IP[node], NODE_PORT).asymmetric == asymmetric


@pytest.mark.parametrize(("policy", "promises"), [("Cluster", True), ("Local", False)])
def test_a_contested_address_is_promised_where_the_policies_are_equal(policy: str, promises: bool) -> None:
    """Puts the address into the ipsets of each Service that claims it; these decide about masquerading."""
    address = {"externalIPs": (EXTERNAL_IP,)}
    state = make_state(
        make_service(**address, externalTrafficPolicy=policy),
        make_service("web2", "10.96.0.11", **address),
        **IPVS,
    )
    promise = expect(state, make_flow(state, "other", EXTERNAL_IP, 80))
    assert (promise.outcome, not promise.unpromised) == ("delivered", promises)


@pytest.mark.parametrize(("ip", "promises"), [("10.96.0.10", False), (EXTERNAL_IP, True)])
def test_nothing_is_promised_of_a_cluster_ip_that_is_an_external_address_too(ip: str, promises: bool) -> None:
    """Puts the address into two ipsets, of which the one for externalIPs masquerades everybody."""
    state = make_state(make_service(externalIPs=(ip,)), **IPVS)
    promise = expect(state, make_flow(state, "other", "10.96.0.10", 80))
    assert (promise.outcome, not promise.unpromised) == ("delivered", promises)


@pytest.mark.parametrize(("who", "outcome"), [("worker-1", "dropped"), ("client", "unreachable")])
def test_a_refusal_from_outside_does_not_come_back_to_the_dialled_address(who: str, outcome: str) -> None:
    """Sends under externalTrafficPolicy Local from the address that the node dialled, which no router leads
    back to it.
    """
    service = make_service(externalIPs=(EXTERNAL_IP,), externalTrafficPolicy="Local")
    state = make_state(service, slices=(make_slice(make_endpoint("198.51.100.99", "worker-1")),), **IPVS)
    assert expect(state, make_flow(state, who, EXTERNAL_IP, 80)).outcome == outcome


@pytest.mark.parametrize(("who", "outcome"), [("client", "delivered"), ("other", "rejected")])
def test_an_address_of_two_entries_is_usable_where_the_node_takes_the_ready_one(
    who: str, outcome: str
) -> None:
    """Takes the last entry that is the node's own; every other node takes the first."""
    draining = make_slice(make_endpoint(WEB_0, "worker-2", ready=False))
    state = make_state(make_service(), slices=(draining, make_slice(ENDPOINT_0)), **IPVS)
    assert expect(state, make_flow(state, who, WEB_IP, 80)).outcome == outcome


@pytest.mark.parametrize(("policy", "section"), [("Local", 13), ("Cluster", 5)])
def test_a_hairpin_rests_on_the_section_of_its_policy(policy: str, section: int) -> None:
    """Names the section of ipvs mode's own rules under Local, by which advice goes."""
    state = make_state(node_ports(externalTrafficPolicy=policy), slices=[make_slice(ENDPOINT_0)], **IPVS)
    promise = promised(state, "web-0", NODE_IP["worker-1"], NODE_PORT)
    assert promise.backends == {ON_1: "node"}
    assert promise.because.sections == {section}


@pytest.mark.parametrize(
    ("who", "ends", "outcome", "backends"),
    [
        pytest.param("client", ("10.244.1.255",), "rejected", set(), id="alone"),
        pytest.param("client", ("255.255.255.255",), "rejected", set(), id="the limited broadcast"),
        pytest.param("worker-2", ("10.244.1.255",), "dropped", set(), id="seen from another node"),
        pytest.param("worker-2", ("172.18.255.255",), "rejected", set(), id="the nodes' network"),
        pytest.param("client", ("10.244.1.255", WEB_1), "delivered", {ON_2}, id="beside another"),
    ],
)
def test_an_endpoint_that_is_no_machines_is_left_out(
    who: str, ends: Sequence[str], outcome: str, backends: set[Endpoint]
) -> None:
    state = make_state(node_ports(), slices=(make_slice(*map(make_endpoint, ends)),), **IPVS)
    promise = expect(state, make_flow(state, who, WEB_IP, 80))
    assert (promise.outcome, set(promise.backends)) == (outcome, backends)
    left_out = "no broadcast or multicast address as an endpoint" in say(promise.because)
    assert left_out == (outcome != "dropped")
