"""Expectations against the published semantics, one id per row of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.control.state import ClusterState, ProxySettings
from emulator.objects.config import ExternalClient, FlowProtocol, IPVSTimeouts
from emulator.objects.kinds import EndpointPort, EndpointSlice, LoadBalancerIngress, Service, ServicePort
from emulator.probe.expect import MAX_ATTEMPTS, Expectations, attempts_for, expect, remember
from emulator.probe.model import Backend, Expectation, FlowResult, Observation
from tests.unit.probe.states import (
    BOTH,
    BRIDGE_IP,
    CLIENT,
    ENDPOINT_0,
    ENDPOINT_1,
    EXTERNAL_IP,
    NODE_IP,
    NODE_PORT,
    OTHER,
    OUTSIDE,
    PODS,
    VIP,
    WEB_0,
    WEB_1,
    WEB_IP,
    listeners_of,
    load_balancer_service,
    make_endpoint,
    make_flow,
    make_node,
    make_pod,
    make_service,
    make_slice,
    make_state,
    node_port_service,
)

ON_1, ON_2 = Backend(WEB_0, 8080), Backend(WEB_1, 8080)
WORKER_1 = frozenset({NODE_IP["worker-1"], BRIDGE_IP["worker-1"]})
HOSTED = (make_pod("host", "worker-1", ports=[8080]),)
WORKER_2 = frozenset({NODE_IP["worker-2"], BRIDGE_IP["worker-2"]})


def promised(state: ClusterState, who: str, ip: str, port: int, **more: Any) -> Expectation:
    return expect(state, make_flow(state, who, ip, port, **more))


def sources(expectation: Expectation) -> dict[str, frozenset[str]]:
    """Per backend address the addresses that it may see."""
    return {str(backend): expectation.addresses[rule] for backend, rule in expectation.backends.items()}


# --- 5: whose address the backend sees ---------------------------------------------------------------------

LOCAL = {"externalTrafficPolicy": "Local"}
SERVICES = {
    "Cluster": load_balancer_service(externalIPs=(EXTERNAL_IP,)),
    "Local": load_balancer_service(externalIPs=(EXTERNAL_IP,), **LOCAL),
}
# how, eTP, client, via → source rule and the nodes whose endpoints are met
SOURCE_TABLE = [
    ("clusterIP", "Cluster", "client", "", "preserved", "12"),
    ("clusterIP", "Cluster", "worker-1", "", "node", "12"),
    ("clusterIP", "Cluster", "control-plane", "", "node", "12"),
    ("clusterIP", "Cluster", "client-1", "worker-1", "node", "12"),
    ("clusterIP", "Local", "client", "", "preserved", "12"),
    ("clusterIP", "Local", "worker-1", "", "node", "12"),
    ("clusterIP", "Local", "client-1", "worker-1", "node", "12"),
    *(
        row
        for how in ("nodePort", "externalIP", "loadBalancer")
        for row in (
            (how, "Cluster", "client", "", "node", "12"),
            (how, "Cluster", "worker-1", "", "node", "12"),
            (how, "Cluster", "client-1", "worker-1", "node", "12"),
            (how, "Local", "client", "", "preserved", "12"),
            (how, "Local", "worker-1", "", "node", "12"),
            (how, "Local", "client-1", "worker-1", "preserved", "1"),
        )
    ),
]
DIALLED = {
    "clusterIP": (WEB_IP, 80),
    "nodePort": (NODE_IP["worker-1"], NODE_PORT),
    "externalIP": (EXTERNAL_IP, 80),
    "loadBalancer": (VIP, 80),
}


@pytest.mark.parametrize(("how", "policy", "who", "via", "rule", "nodes"), SOURCE_TABLE, ids=lambda value: str(value) or "-")
def test_source_address_table(how: str, policy: str, who: str, via: str, rule: str, nodes: str) -> None:
    state = make_state(SERVICES[policy])
    result = promised(state, who, *DIALLED[how], via="" if how == "nodePort" else via)
    assert result.outcome == "delivered"
    assert result.backends == {{"1": ON_1, "2": ON_2}[n]: rule for n in nodes}
    assert result.source == rule
    assert "docs/semantics 5" in result.because
    if rule == "node":
        assert result.addresses["node"] == (WORKER_1 if who != "control-plane" else {"172.18.0.2", "10.244.0.1"})
    elif who == "client":
        assert result.addresses["preserved"] == {CLIENT}


@pytest.mark.parametrize(
    ("how", "policy", "who", "rule"),
    [
        ("clusterIP", "Cluster", "client", "node"),
        ("clusterIP", "Local", "client", "node"),
        ("nodePort", "Cluster", "client", "node"),
        ("nodePort", "Local", "client", "preserved"),
        ("nodePort", "Local", "client-1", "preserved"),
    ],
)
def test_masquerade_all_changes_only_cluster_ips(how: str, policy: str, who: str, rule: str) -> None:
    state = make_state(SERVICES[policy], proxy={"masqueradeAll": True})
    assert promised(state, who, *DIALLED[how]).source == rule


@pytest.mark.parametrize(
    ("how", "policy", "who", "rule", "met"),
    [
        ("clusterIP", "Cluster", "client", "preserved", [ON_1, ON_2]),
        ("clusterIP", "Cluster", "worker-1", "preserved", [ON_1, ON_2]),
        ("nodePort", "Cluster", "client", "node", [ON_1, ON_2]),
        ("nodePort", "Local", "client", "preserved", [ON_1]),  # an outside client now
        ("nodePort", "Local", "worker-1", "node", [ON_1, ON_2]),  # keeps its short cut
    ],
)
@pytest.mark.parametrize("proxy", [{"localMode": ""}, {"clusterCIDR": ""}], ids=["no mode", "no clusterCIDR"])
def test_without_a_local_traffic_detector(
    proxy: dict[str, Any], how: str, policy: str, who: str, rule: str, met: Sequence[Backend]
) -> None:
    state = make_state(SERVICES[policy], proxy=proxy)
    assert promised(state, who, *DIALLED[how]).backends == dict.fromkeys(met, rule)


@pytest.mark.parametrize(
    ("mode", "rule", "met"),
    [("ClusterCIDR", "preserved", [ON_1, ON_2]), ("NodeCIDR", "preserved", [ON_1]), ("BridgeInterface", "preserved", [ON_1])],
)
def test_a_pod_of_another_node_is_local_by_cluster_cidr_only(mode: str, rule: str, met: Sequence[Backend]) -> None:
    state = make_state(SERVICES["Local"], proxy={"localMode": mode})
    assert promised(state, "other", NODE_IP["worker-1"], NODE_PORT).backends == dict.fromkeys(met, rule)


@pytest.mark.parametrize(
    ("who", "proxy", "to", "astray"),
    [
        pytest.param("other", {}, (NODE_IP["worker-1"], NODE_PORT), {ON_2}, id="a Pod, Local, another node"),
        pytest.param("client", {}, (NODE_IP["worker-1"], NODE_PORT), set(), id="a Pod, Local, its own node"),
        pytest.param("client-1", {}, (NODE_IP["worker-1"], NODE_PORT), set(), id="outside, Local"),
        pytest.param("client-1", {"clusterCIDR": ""}, (WEB_IP, 80), {ON_2}, id="outside, ClusterIP, no detector"),
        pytest.param("client-1", {}, (WEB_IP, 80), set(), id="outside, ClusterIP, masqueraded"),
        pytest.param("worker-1", {"clusterCIDR": ""}, (WEB_IP, 80), set(), id="a node, ClusterIP, no detector"),
    ],
)
def test_what_is_not_masqueraded_is_answered_past_a_node_that_has_neither_end(
    who: str, proxy: dict[str, Any], to: tuple[str, int], astray: set[Backend]
) -> None:
    state = make_state(SERVICES["Local"], proxy=proxy)
    promise = promised(state, who, *to, via="worker-1" if who == "client-1" and to[0] == WEB_IP else "")
    assert (promise.outcome, promise.astray) == ("delivered", astray)
    assert ("past worker-1" in promise.because) is bool(astray)


@pytest.mark.parametrize(("mode", "outcome"), [("iptables", "dropped"), ("nftables", "delivered")])
def test_iptables_mode_drops_such_an_answer_before_the_pod(mode: str, outcome: str) -> None:
    state = make_state(SERVICES["Local"], slices=[make_slice(make_endpoint(WEB_1, "worker-2"))], proxy={"mode": mode})
    promise = promised(state, "client", NODE_IP["control-plane"], NODE_PORT)
    assert promise.outcome == outcome
    assert "past control-plane" in promise.because


@pytest.mark.parametrize("mode", ["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"])
def test_every_detector_knows_a_nodes_own_pods(mode: str) -> None:
    assert promised(make_state(SERVICES["Cluster"], proxy={"localMode": mode}), "client", WEB_IP, 80).source == "preserved"


def test_a_pod_outside_the_cluster_cidr_is_masqueraded() -> None:
    state = make_state(SERVICES["Cluster"], proxy={"clusterCIDR": "10.244.2.0/24"})
    assert promised(state, "client", WEB_IP, 80).source == "node"
    assert promised(state, "other", WEB_IP, 80).source == "preserved"


def test_a_node_port_dialled_at_another_node_is_masqueraded_there() -> None:
    state = make_state(SERVICES["Cluster"])
    for who in ("client", "worker-1"):
        assert promised(state, who, NODE_IP["worker-2"], NODE_PORT).addresses["node"] == WORKER_2


def test_a_node_is_an_outside_client_of_another_nodes_local_policy() -> None:
    state = make_state(SERVICES["Local"])
    result = promised(state, "worker-1", NODE_IP["worker-2"], NODE_PORT)
    assert result.backends == {ON_2: "preserved"}
    assert result.addresses["preserved"] == WORKER_1
    assert promised(state, "worker-1", NODE_IP["control-plane"], NODE_PORT).outcome == "dropped"


def test_the_control_plane_masquerades_to_every_address_of_its_own() -> None:
    nodes = (make_node("control-plane", 0, more_ips=["172.18.7.7"]), make_node("worker-1", 1), make_node("worker-2", 2))
    state = make_state(SERVICES["Cluster"], nodes=nodes)
    assert promised(state, "control-plane", WEB_IP, 80).addresses["node"] == {"172.18.0.2", "172.18.7.7", "10.244.0.1"}


# --- hairpin -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
@pytest.mark.parametrize("how", ["clusterIP", "nodePort", "externalIP", "loadBalancer"])
def test_hairpin_is_masqueraded(how: str, policy: str) -> None:
    result = promised(make_state(SERVICES[policy]), "web-0", *DIALLED[how])
    preserved = how == "clusterIP" or policy == "Local"
    assert result.backends == {ON_1: "node", ON_2: "preserved" if preserved else "node"}
    assert sources(result)[str(ON_1)] == WORKER_1
    assert result.source == ("preserved; node on hairpin" if preserved else "node")


def test_hairpin_alone_is_the_sentence() -> None:
    result = promised(make_state(SERVICES["Cluster"], slices=[make_slice(ENDPOINT_0)]), "web-0", WEB_IP, 80)
    assert result.source == "node"
    assert result.because.startswith("hairpin")


def test_a_node_that_meets_itself_is_not_taken_for_the_client_before() -> None:
    """Its slice says that the endpoint on worker-1's address were on worker-2: there worker-1 is a client like others, but for the hairpin."""
    state = make_state(node_port_service(**LOCAL), slices=[make_slice(make_endpoint(NODE_IP["worker-1"], "worker-2"))], pods=HOSTED)
    expectations = Expectations(state)
    rules = [expectations.expect(make_flow(state, who, NODE_IP["worker-2"], NODE_PORT)).source for who in ("client-1", "worker-1")]
    assert rules == ["preserved", "node"]


def test_hairpin_without_a_detector_is_masqueraded_too() -> None:
    state = make_state(SERVICES["Cluster"], proxy={"localMode": ""})
    assert promised(state, "web-0", WEB_IP, 80).backends == {ON_1: "node", ON_2: "preserved"}


# --- hostNetwork -------------------------------------------------------------------------------------------

API = Backend("172.18.0.2", 6443)
KUBERNETES = make_service(
    "kubernetes", "10.96.0.1", [ServicePort(port=443, name="https", targetPort=6443, nodePort=30443)], type="NodePort"
)
API_SLICE = make_slice(make_endpoint("172.18.0.2", "control-plane"), service="kubernetes", ports=[EndpointPort(name="https", port=6443)])


@pytest.mark.parametrize(
    ("who", "ip", "port", "rule"),
    [
        ("client", "10.96.0.1", 443, "preserved"),
        ("worker-1", "10.96.0.1", 443, "node"),
        ("control-plane", "10.96.0.1", 443, "node"),  # its own address either way
        ("api", "10.96.0.1", 443, "node"),  # a hostNetwork Pod is its node
        ("client-1", "172.18.0.3", 30443, "node"),
        ("client-1", "172.18.0.2", 30443, "preserved"),  # delivered locally: POSTROUTING is not passed
        ("client", "172.18.0.2", 30443, "preserved"),
        ("control-plane", "172.18.0.2", 30443, "node"),
    ],
)
def test_an_endpoint_on_a_nodes_address(who: str, ip: str, port: int, rule: str) -> None:
    result = promised(make_state(KUBERNETES, slices=[API_SLICE]), who, ip, port)
    assert result.backends == {API: rule}
    assert ("delivered locally" in result.because) == (ip == "172.18.0.2" and rule == "preserved")


# --- 2, 3: endpoint lists ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoints", "met"),
    [
        pytest.param([make_endpoint(WEB_0, ready=True), make_endpoint(WEB_1, ready=False)], [ON_1], id="not ready"),
        pytest.param([make_endpoint(WEB_0, ready=False, serving=True, terminating=True), ENDPOINT_1], [ON_2], id="ready before draining"),
        pytest.param([make_endpoint(WEB_0, ready=False, serving=True, terminating=True)], [ON_1], id="draining if none is ready"),
        pytest.param(
            [
                make_endpoint(WEB_0, ready=False, serving=False, terminating=True),
                make_endpoint(WEB_1, ready=False, serving=True, terminating=True),
            ],
            [ON_2],
            id="terminating and not serving",
        ),
        pytest.param([make_endpoint(WEB_0, ready=False, serving=True)], [], id="serving alone does not count"),
        pytest.param([ENDPOINT_0, ENDPOINT_0], [ON_1], id="listed twice"),
        pytest.param(
            [make_endpoint(ip, ready=False, serving=True, terminating=True, zone=zone) for ip, zone in ((WEB_0, "a"), (WEB_1, "b"))],
            [ON_1, ON_2],
            id="hints do not apply to the draining",
        ),
    ],
)
def test_cluster_list(endpoints: list[Any], met: list[Backend]) -> None:
    nodes = (make_node("control-plane", 0), make_node("worker-1", 1, "a"), make_node("worker-2", 2, "b"))
    result = promised(make_state(make_service(), slices=[make_slice(*endpoints)], nodes=nodes), "client", WEB_IP, 80)
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
def test_local_list(endpoints: list[Any], outcome: str, met: list[Backend]) -> None:
    nodes = (make_node("control-plane", 0), make_node("worker-1", 1, "a"), make_node("worker-2", 2, "b"))
    slices = [make_slice(*endpoints)]
    internal = promised(make_state(make_service(internalTrafficPolicy="Local"), slices=slices, nodes=nodes), "client", WEB_IP, 80)
    external = promised(make_state(node_port_service(**LOCAL), slices=slices, nodes=nodes), "client-1", NODE_IP["worker-1"], NODE_PORT)
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
        pytest.param("b", [("a", "worker-1"), ("b", "worker-2")], "PreferSameNode", [ON_1], id="node hints first"),
        pytest.param("b", [("a", "worker-2"), ("b", "worker-2")], "PreferSameNode", [ON_2], id="nothing hinted for the node, then zones"),
        pytest.param("b", [("a", "worker-1"), ("b", "")], "PreferSameNode", [ON_2], id="node hints incomplete, then zones"),
        pytest.param("b", [("a", "worker-1"), ("b", "worker-2")], "PreferClose", [ON_1], id="node hints count whatever the Service says"),
    ],
)
def test_topology_hints(zone: str, hints: list[tuple[str, str]], distribution: str, met: list[Backend]) -> None:
    nodes = (make_node("control-plane", 0), make_node("worker-1", 1, zone), make_node("worker-2", 2))
    endpoints = [
        make_endpoint(ip, node, zone=z, on_node=n)
        for (ip, node), (z, n) in zip([(WEB_0, "worker-1"), (WEB_1, "worker-2")], hints, strict=True)
    ]
    state = make_state(make_service(trafficDistribution=distribution), slices=[make_slice(*endpoints)], nodes=nodes)
    assert list(promised(state, "client", WEB_IP, 80).backends) == met


def test_hints_of_endpoints_that_are_not_ready_do_not_count() -> None:
    nodes = (make_node("control-plane", 0), make_node("worker-1", 1, "a"), make_node("worker-2", 2))
    endpoints = [make_endpoint(WEB_0, zone="a"), make_endpoint("10.244.2.9", zone="b"), make_endpoint(WEB_1, ready=False)]
    state = make_state(make_service(), slices=[make_slice(*endpoints)], nodes=nodes)
    assert list(promised(state, "client", WEB_IP, 80).backends) == [ON_1]


def test_slices_of_another_family_are_not_used() -> None:
    slices = [make_slice(ENDPOINT_0), replace(make_slice(make_endpoint("fd00::1")), addressType="IPv6")]
    assert list(promised(make_state(make_service(), slices=slices), "client", WEB_IP, 80).backends) == [ON_1]


def test_slice_ports_are_matched_by_name_and_protocol() -> None:
    ports = [ServicePort(port=53, name="dns", protocol="UDP"), ServicePort(port=53, name="dns-tcp"), ServicePort(port=54)]
    slice_ports = [
        EndpointPort(name="dns", protocol="UDP", port=1053),
        EndpointPort(name="dns-tcp", port=2053),
        EndpointPort(name=None, port=8080),
        EndpointPort(name="dns-tcp", protocol="UDP", port=7),
    ]
    pods = (*PODS, make_pod("dns", "worker-2", "10.244.2.9", [(1053, "UDP"), 2053, 8080]))
    state = make_state(make_service(ports=ports), slices=[make_slice(make_endpoint("10.244.2.9"), ports=slice_ports)], pods=pods)
    assert list(promised(state, "client", WEB_IP, 53, protocol="UDP").backends) == [Backend("10.244.2.9", 1053)]
    assert list(promised(state, "client", WEB_IP, 53).backends) == [Backend("10.244.2.9", 2053)]
    assert list(promised(state, "client", WEB_IP, 54).backends) == [Backend("10.244.2.9", 8080)]


# --- 4, 7: policies, reject and drop -----------------------------------------------------------------------


@pytest.mark.parametrize("who", ["client", "worker-1", "client-1"])
@pytest.mark.parametrize("how", ["clusterIP", "nodePort", "externalIP", "loadBalancer"])
@pytest.mark.parametrize("policy", ["Cluster", "Local"])
@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_without_endpoints_everything_is_rejected(mode: str, policy: str, how: str, who: str) -> None:
    service = load_balancer_service(externalIPs=(EXTERNAL_IP,), externalTrafficPolicy=policy, internalTrafficPolicy=policy)
    via = "worker-1" if who == "client-1" else ""
    outcome = promised(make_state(service, slices=[], proxy={"mode": mode}), who, *DIALLED[how], via=via).outcome
    left_alone = mode == "iptables" and who == "worker-1" and how in ("externalIP", "loadBalancer")
    assert (outcome != "rejected") == left_alone


@pytest.mark.parametrize(("speaker", "outcome"), [("worker-1", "dropped"), ("worker-2", "rejected")])
def test_what_a_node_sends_past_its_own_rules_another_one_refuses_that_announces_the_address(speaker: str, outcome: str) -> None:
    serving = make_slice(make_endpoint(WEB_0, "worker-1", ready=False, serving=True))
    state = make_state(load_balancer_service(), slices=[serving], speakers={VIP: speaker})
    assert promised(state, "worker-1", VIP, 80).outcome == outcome


@pytest.mark.parametrize(
    ("ip", "outcome"),
    [
        pytest.param("192.0.2.1", "unreachable", id="no route"),
        pytest.param("172.18.0.77", "dropped", id="a neighbour that nobody is"),
        pytest.param(NODE_IP["worker-1"], "rejected", id="its own address comes to INPUT"),
        pytest.param(NODE_IP["worker-2"], "rejected", id="another node's address comes to its INPUT"),
    ],
)
def test_iptables_mode_refuses_no_nodes_own_packets_to_an_external_address(ip: str, outcome: str) -> None:
    state = make_state(make_service(externalIPs=(ip,)), slices=[])
    assert promised(state, "worker-1", ip, 80).outcome == outcome


@pytest.mark.parametrize(
    ("how", "who", "outcome"),
    [
        ("nodePort", "client-1", "dropped"),
        ("externalIP", "client-1", "dropped"),
        ("loadBalancer", "client-1", "dropped"),
        ("nodePort", "client", "delivered"),
        ("loadBalancer", "client", "delivered"),
        ("nodePort", "worker-1", "delivered"),
        ("externalIP", "worker-1", "delivered"),
        ("clusterIP", "client-1", "delivered"),
        ("clusterIP", "client", "delivered"),
    ],
)
def test_external_policy_local_without_local_endpoint(how: str, who: str, outcome: str) -> None:
    state = make_state(SERVICES["Local"], slices=[make_slice(ENDPOINT_1)])
    assert promised(state, who, *DIALLED[how], via="worker-1" if who == "client-1" else "").outcome == outcome


@pytest.mark.parametrize("who", ["client", "worker-1", "client-1"])
def test_internal_policy_local_without_local_endpoint_drops_for_everyone(who: str) -> None:
    service = node_port_service(internalTrafficPolicy="Local")
    state = make_state(service, slices=[make_slice(ENDPOINT_1)])
    assert promised(state, who, WEB_IP, 80, via="worker-1" if who == "client-1" else "").outcome == "dropped"
    assert promised(state, who, NODE_IP["worker-1"], NODE_PORT).outcome == "delivered"


# --- 6: source ranges --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranges", "who", "how", "outcome"),
    [
        (["203.0.113.0/24"], "client-1", "loadBalancer", "delivered"),
        ([" 203.0.113.0/24 "], "client-1", "loadBalancer", "delivered"),
        (["198.51.100.0/24"], "client-1", "loadBalancer", "dropped"),
        (["203.0.113.0/24"], "client", "loadBalancer", "dropped"),
        (["203.0.113.0/24"], "worker-1", "loadBalancer", "dropped"),
        (["203.0.113.0/24", "10.244.0.0/16"], "client", "loadBalancer", "delivered"),
        (["198.51.100.0/24"], "client-1", "nodePort", "delivered"),
        (["198.51.100.0/24"], "client-1", "externalIP", "delivered"),
        (["198.51.100.0/24"], "client", "clusterIP", "delivered"),
    ],
)
def test_source_ranges_act_at_load_balancer_addresses_only(ranges: list[str], who: str, how: str, outcome: str) -> None:
    service = load_balancer_service(externalIPs=(EXTERNAL_IP,), loadBalancerSourceRanges=tuple(ranges))
    result = promised(make_state(service), who, *DIALLED[how], via="worker-1" if who == "client-1" and how != "nodePort" else "")
    assert result.outcome == outcome
    assert ("docs/semantics 6" in result.because) == (outcome == "dropped")


@pytest.mark.parametrize(("ranges", "outcome"), [("172.18.0.3/32", "delivered"), ("172.18.0.4/32", "dropped")])
def test_a_services_own_address_as_source_passes_where_the_nodes_does(ranges: str, outcome: str) -> None:
    state = make_state(load_balancer_service(loadBalancerSourceRanges=(ranges,)), clients=(ExternalClient(name="vip", address=VIP),))
    assert promised(state, "vip", VIP, 80, via="worker-1").outcome == outcome


def test_source_ranges_do_not_hide_that_there_are_no_endpoints() -> None:
    state = make_state(load_balancer_service(loadBalancerSourceRanges=("198.51.100.0/24",)), slices=[])
    assert promised(state, "client", VIP, 80).outcome == "rejected"


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
    assert "still sends to worker-1" in found.because
    assert from_outside(replace(empty, nodes=tuple(n for n in empty.nodes if n.name != "worker-1")), asked).outcome == "dropped"


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
def test_in_ipvs_mode_without_strict_arp_every_node_refuses_what_nobody_announces(strict: bool, outcome: str) -> None:
    state = make_state(load_balancer_service(), slices=[], proxy={"mode": "ipvs", "strictARP": strict})
    assert promised(state, "client-1", VIP, 80).outcome == outcome


def test_what_nobody_announces_is_asked_for_in_vain() -> None:
    expected = promised(make_state(load_balancer_service(), slices=[]), "client-1", VIP, 80)
    assert expected.outcome == "dropped"
    assert "no node announces 172.18.255.200: svc default/web has no serving endpoint" in expected.because


@pytest.mark.parametrize(
    ("strict", "source"), [(True, {NODE_IP["worker-1"], BRIDGE_IP["worker-1"]}), (False, {*NODE_IP.values(), *BRIDGE_IP.values()})]
)
def test_in_ipvs_mode_without_strict_arp_any_node_may_take_an_announced_address(strict: bool, source: set[str]) -> None:
    proxy = {"mode": "ipvs", "strictARP": strict}
    state = make_state(load_balancer_service(), speakers={VIP: "worker-1"}, proxy=proxy)
    assert promised(state, "client-1", VIP, 80).addresses["node"] == source
    assert promised(state, "client-1", VIP, 80, via="worker-1").addresses["node"] == {NODE_IP["worker-1"], BRIDGE_IP["worker-1"]}


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
def test_who_is_looked_for_in_vain(who: str, ip: str, slices: Sequence[EndpointSlice], unanswered: bool) -> None:
    expected = promised(make_state(load_balancer_service(), slices=slices), who, ip, 80)
    assert (expected.outcome, expected.unanswered) == ("dropped" if unanswered else "unreachable", unanswered)


def test_what_a_policy_drops_nobody_is_looked_for() -> None:
    state = make_state(node_port_service(**LOCAL), slices=(make_slice(ENDPOINT_1),))
    expected = promised(state, "client-1", NODE_IP["worker-1"], NODE_PORT)
    assert (expected.outcome, expected.unanswered) == ("dropped", False)


# --- 13: ipvs, and endpoints whose slice does not say where they are ------------------------------------------

ADRIFT = make_slice(make_endpoint(WEB_0))
IPVS = {"mode": "ipvs"}


@pytest.mark.parametrize(
    ("slices", "outcome"), [pytest.param((BOTH,), "delivered", id="its node's"), pytest.param((ADRIFT,), "dropped", id="nobody's")]
)
def test_in_ipvs_mode_a_pod_meets_itself_only_if_its_slice_says_where_it_is(slices: Sequence[EndpointSlice], outcome: str) -> None:
    assert promised(make_state(make_service(), slices=slices, proxy=IPVS), "web-0", WEB_IP, 80).outcome == outcome


@pytest.mark.parametrize(("node", "astray"), [("worker-1", set()), ("worker-2", {ON_1})])
def test_in_ipvs_mode_an_answer_goes_past_the_node_unless_the_endpoint_is_there(node: str, astray: set[Backend]) -> None:
    state = make_state(node_port_service(**LOCAL), slices=(ADRIFT,), proxy=IPVS)
    assert promised(state, "client-1", NODE_IP[node], NODE_PORT).astray == astray


BALANCER_IP = "172.18.255.254"
NODE_ADDRESSES = frozenset({NODE_IP["worker-1"], NODE_IP["worker-2"], BRIDGE_IP["worker-1"], BRIDGE_IP["worker-2"]})


def balanced(nodes: tuple[str, ...] = ("worker-1", "worker-2"), slices: Sequence[EndpointSlice] = (BOTH,), **spec: Any) -> ClusterState:
    return make_state(load_balancer_service("Proxy", **spec), slices=slices, balancerIP=BALANCER_IP, balanced={"default/web": nodes})


@pytest.mark.parametrize("who", ["client", "worker-1", "client-1", "web-0"])
@pytest.mark.parametrize(("policy", "rule", "addresses"), [("Cluster", "node", NODE_ADDRESSES), ("Local", "balancer", {BALANCER_IP})])
def test_behind_a_balancer_nobody_sees_the_client(policy: str, rule: str, addresses: set[str], who: str) -> None:
    expected = promised(balanced(externalTrafficPolicy=policy), who, VIP, 80)
    assert (expected.outcome, expected.source) == ("delivered", rule)
    assert expected.backends == {Backend(WEB_0, 8080): rule, Backend(WEB_1, 8080): rule}
    assert expected.addresses[rule] == addresses
    assert "balancer" in expected.because


def test_a_balancer_meets_only_what_its_nodes_do() -> None:
    expected = promised(balanced(("worker-2",), externalTrafficPolicy="Local"), "client-1", VIP, 80)
    assert expected.backends == {Backend(WEB_1, 8080): "balancer"}


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        pytest.param(balanced(()), "rejected", id="no healthy node"),
        pytest.param(balanced(slices=[]), "rejected", id="no endpoint: the node refuses"),
        pytest.param(balanced(("control-plane",), externalTrafficPolicy="Local"), "dropped", id="a node that lost its endpoint"),
        pytest.param(balanced(loadBalancerSourceRanges=("198.51.100.0/24",)), "dropped", id="outside the ranges"),
        pytest.param(balanced(loadBalancerSourceRanges=("203.0.113.0/24",)), "delivered", id="inside the ranges"),
    ],
)
def test_what_a_balancer_refuses(state: ClusterState, outcome: str) -> None:
    assert promised(state, "client-1", VIP, 80).outcome == outcome


@pytest.mark.parametrize(("port", "protocol", "outcome"), [(81, "TCP", "rejected"), (80, "UDP", "rejected"), (0, "ICMP", "delivered")])
def test_a_balancers_address_is_a_machines(port: int, protocol: FlowProtocol, outcome: str) -> None:
    assert promised(balanced(), "client", VIP, port, protocol=protocol).outcome == outcome


def test_an_endpoint_that_few_nodes_lead_to_needs_more_attempts() -> None:
    alone, pair = make_endpoint(WEB_0, "worker-1"), [make_endpoint(f"10.244.2.{n}", "worker-2") for n in (3, 4, 5)]
    state = balanced(slices=[make_slice(alone, *pair)], externalTrafficPolicy="Local")
    expectations = Expectations(state)
    flow = make_flow(state, "client-1", VIP, 80)
    assert len(expectations.expect(flow).backends) == 4
    assert expectations.attempts(flow) == attempts_for(6) > attempts_for(4)
    assert not expectations.expect(replace(flow, attempts=attempts_for(6))).partial


def test_an_endpoint_on_a_node_may_see_the_balancer_or_another_node() -> None:
    state = replace(balanced(slices=[make_slice(make_endpoint(NODE_IP["worker-1"], "worker-1"))]), pods=(*PODS, *HOSTED))
    state = replace(state, listeners=listeners_of(state.pods))
    expected = promised(state, "client-1", VIP, 80)
    assert expected.addresses["node"] == NODE_ADDRESSES | {BALANCER_IP}


def test_ip_mode_proxy_is_not_captured() -> None:
    assert promised(make_state(load_balancer_service("Proxy")), "client", VIP, 80).outcome == "dropped"
    outside = make_service(vips=[LoadBalancerIngress(ip="198.51.100.9", ipMode="Proxy")], type="LoadBalancer")
    assert promised(make_state(outside), "client", "198.51.100.9", 80).outcome == "unreachable"


# --- 8: nothing matches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "ip", "port", "protocol", "via", "iptables", "nftables"),
    [
        pytest.param("client", WEB_IP, 81, "TCP", "", "unreachable", "rejected", id="wrong port"),
        pytest.param("client", WEB_IP, 80, "UDP", "", "unreachable", "rejected", id="wrong protocol"),
        pytest.param("worker-1", WEB_IP, 81, "TCP", "", "unreachable", "rejected", id="wrong port, from a node"),
        pytest.param("client", WEB_IP, 0, "ICMP", "", "unreachable", "rejected", id="ping"),
        pytest.param("client", "10.96.0.99", 80, "TCP", "", "unreachable", "dropped", id="unknown ClusterIP"),
        pytest.param("client-1", "10.96.0.99", 80, "TCP", "worker-1", "unreachable", "dropped", id="unknown ClusterIP, from outside"),
        pytest.param("client-1", WEB_IP, 80, "TCP", "", "unreachable", "unreachable", id="ClusterIP from outside, through no node"),
    ],
)
@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_nothing_matches(mode: str, who: str, ip: str, port: int, protocol: Any, via: str, iptables: str, nftables: str) -> None:
    state = make_state(make_service(), proxy={"mode": mode})
    result = promised(state, who, ip, port, protocol=protocol, via=via)
    assert result.outcome == {"iptables": iptables, "nftables": nftables}[mode]
    assert not result.backends


@pytest.mark.parametrize("spec", [{"type": "ExternalName"}, {}], ids=["ExternalName", "headless"])
def test_not_proxied(spec: dict[str, Any]) -> None:
    service = make_service(ip=WEB_IP if spec else "None", externalIPs=(EXTERNAL_IP,), **spec)
    assert promised(make_state(service), "client", EXTERNAL_IP, 80).outcome == "unreachable"
    assert promised(make_state(service), "client", WEB_IP, 80).outcome == "unreachable"


# --- 9: NodePort addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxy", "who", "ip", "served"),
    [
        pytest.param({}, "client-1", "172.18.0.3", True, id="InternalIP"),
        pytest.param({}, "client-1", "10.244.1.1", True, id="any local address: the bridge"),
        pytest.param({}, "worker-1", "127.0.0.1", True, id="localhost"),
        pytest.param({}, "client", "127.0.0.1", False, id="a Pod's localhost is its own"),
        pytest.param({"localhostNodePorts": False}, "worker-1", "127.0.0.1", False, id="localhostNodePorts false"),
        pytest.param({"localhostNodePorts": False}, "worker-1", "172.18.0.3", True, id="localhostNodePorts false, InternalIP"),
        pytest.param({"nodePortAddresses": ("172.18.0.0/16",)}, "client-1", "172.18.0.3", True, id="inside nodePortAddresses"),
        pytest.param({"nodePortAddresses": ("172.18.0.0/16",)}, "client-1", "10.244.1.1", False, id="outside nodePortAddresses"),
        pytest.param({"nodePortAddresses": ("172.18.0.0/16",)}, "worker-1", "127.0.0.1", False, id="loopback excluded"),
        pytest.param({"nodePortAddresses": ("127.0.0.0/8", "172.18.0.0/16")}, "worker-1", "127.0.0.1", True, id="loopback included"),
        pytest.param({"mode": "nftables"}, "client-1", "172.18.0.3", True, id="nftables, primary"),
        pytest.param({"mode": "nftables"}, "client-1", "10.244.1.1", False, id="nftables, bridge"),
        pytest.param({"mode": "nftables"}, "worker-1", "127.0.0.1", False, id="nftables, localhost"),
        pytest.param(
            {"mode": "nftables", "nodePortAddresses": ("127.0.0.0/8",)}, "worker-1", "127.0.0.1", False, id="nftables, loopback included"
        ),
        pytest.param({"nodePortAddresses": ("primary",)}, "client-1", "172.18.0.3", True, id="the primary one"),
        pytest.param({"nodePortAddresses": ("primary",)}, "client-1", "10.244.1.1", False, id="the primary one, at the bridge"),
        pytest.param({"nodePortAddresses": ("fd00::/8",)}, "client-1", "10.244.1.1", True, id="said for the other family alone"),
        pytest.param(
            {"mode": "nftables", "nodePortAddresses": ("fd00::/8",)},
            "client-1",
            "10.244.1.1",
            True,
            id="nftables, said for the other alone",
        ),
    ],
)
def test_node_port_addresses(proxy: dict[str, Any], who: str, ip: str, served: bool) -> None:
    result = promised(make_state(node_port_service(), proxy=proxy), who, ip, NODE_PORT)
    assert result.outcome == ("delivered" if served else "rejected")
    assert result.source == ("node" if served else "")


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
@pytest.mark.parametrize(
    ("who", "ip", "endpoints", "iptables"),
    [
        pytest.param("worker-1", "127.0.0.1", (ENDPOINT_1,), "dropped", id="localhost, none is local"),
        pytest.param("client-1", "10.244.1.1", (ENDPOINT_1,), "dropped", id="the bridge, none is local"),
        pytest.param("worker-1", "127.0.0.1", (ENDPOINT_0,), "rejected", id="localhost, one is local: a closed port"),
        pytest.param("worker-1", "127.0.0.1", (), "rejected", id="localhost, none at all"),
    ],
)
def test_where_no_node_ports_are_served_iptables_mode_filters_them(
    who: str, ip: str, endpoints: Sequence[Any], iptables: str, mode: str
) -> None:
    proxy = {"mode": mode, "nodePortAddresses": ("172.18.0.0/16",)}
    state = make_state(node_port_service(**LOCAL), slices=[make_slice(*endpoints)], proxy=proxy)
    assert promised(state, who, ip, NODE_PORT).outcome == (iptables if mode == "iptables" else "rejected")


def test_the_same_number_on_another_protocol_is_another_port() -> None:
    assert promised(make_state(node_port_service()), "client-1", "172.18.0.3", NODE_PORT, protocol="UDP").outcome == "rejected"


# --- 12: session affinity; attempts ------------------------------------------------------------------------


def test_session_affinity_meets_one_of_them() -> None:
    result = promised(make_state(make_service(sessionAffinity="ClientIP")), "client", WEB_IP, 80)
    assert result.partial
    assert set(result.backends) == {ON_1, ON_2}
    alone = make_state(make_service(sessionAffinity="ClientIP"), slices=[make_slice(ENDPOINT_0)])
    assert not promised(alone, "client", WEB_IP, 80).partial


@pytest.mark.parametrize(
    ("backends", "attempts"), [(0, 1), (1, 1), (2, 21), (3, 37), (5, 70), (24, 400), (25, MAX_ATTEMPTS), (5000, MAX_ATTEMPTS)]
)
def test_attempts_for(backends: int, attempts: int) -> None:
    assert attempts_for(backends) == attempts


@given(st.integers(2, 24))
def test_attempts_are_the_fewest_that_meet_every_backend(backends: int) -> None:
    def risk(attempts: int) -> float:
        return backends * (1 - 1 / backends) ** attempts

    assert risk(attempts_for(backends)) < 1e-6 <= risk(attempts_for(backends) - 1)


@pytest.mark.parametrize(("attempts", "partial"), [(None, False), (21, False), (20, True), (1, True)])
def test_too_few_attempts_need_not_meet_every_backend(attempts: int | None, partial: bool) -> None:
    assert promised(make_state(make_service()), "client", WEB_IP, 80, attempts=attempts).partial is partial


# --- endpoints that nobody serves --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ips", "outcome"),
    [
        pytest.param([CLIENT], "rejected", id="a Pod without a listener"),
        pytest.param(["10.244.2.77"], "dropped", id="nobody's, in a podCIDR"),
        pytest.param(["192.0.2.1"], "unreachable", id="nobody's, anywhere"),
        pytest.param([OUTSIDE], "rejected", id="an external client"),
        pytest.param([CLIENT, "192.0.2.1", "10.244.2.77"], "dropped", id="the slowest"),
        pytest.param([WEB_0, "10.244.2.77"], "delivered", id="some served"),
    ],
)
def test_endpoints_that_nobody_serves(ips: list[str], outcome: str) -> None:
    result = promised(make_state(make_service(), slices=[make_slice(*map(make_endpoint, ips))]), "client", WEB_IP, 80)
    assert result.outcome == outcome
    assert f"nobody serves {ips[-1] if outcome == 'delivered' else ips[0]}" in result.because
    assert len(result.backends) == (len(ips) if outcome == "delivered" else 0)


# --- direct --------------------------------------------------------------------------------------------------

DIRECT = [
    ("client", WEB_1, 8080, "TCP", "delivered", {CLIENT}),
    ("client", WEB_0, 8080, "TCP", "delivered", {CLIENT}),
    ("web-0", WEB_0, 8080, "TCP", "delivered", {WEB_0}),
    ("client", WEB_0, 8081, "TCP", "rejected", None),
    ("client", WEB_0, 8080, "UDP", "rejected", None),
    ("client", WEB_0, 8080, "SCTP", "rejected", None),
    ("client", WEB_1, 0, "ICMP", "delivered", {CLIENT}),
    ("client", "172.18.0.2", 6443, "TCP", "delivered", {CLIENT}),
    ("client", "172.18.0.3", 6443, "TCP", "rejected", None),
    ("client", "172.18.0.4", 0, "ICMP", "delivered", {CLIENT}),
    ("client", "10.244.2.1", 0, "ICMP", "delivered", {CLIENT}),
    ("client", "172.18.0.1", 0, "ICMP", "delivered", {CLIENT}),
    ("client", OUTSIDE, 0, "ICMP", "delivered", WORKER_1),
    ("client", OUTSIDE, 80, "TCP", "rejected", None),
    ("worker-1", OUTSIDE, 0, "ICMP", "delivered", WORKER_1),
    ("worker-1", WEB_0, 8080, "TCP", "delivered", WORKER_1),
    ("worker-2", WEB_0, 8080, "TCP", "delivered", WORKER_2),
    ("api", WEB_0, 8080, "TCP", "delivered", {"172.18.0.2", "10.244.0.1"}),
    ("worker-1", "172.18.0.3", 0, "ICMP", "delivered", WORKER_1),
    ("client-1", WEB_0, 8080, "TCP", "delivered", {OUTSIDE}),
    ("client-1", WEB_0, 0, "ICMP", "delivered", {OUTSIDE}),
    ("client-1", "172.18.0.2", 6443, "TCP", "delivered", {OUTSIDE}),
    ("web-0", "127.0.0.1", 8080, "TCP", "delivered", {"127.0.0.1"}),
    ("web-0", "127.0.0.1", 0, "ICMP", "delivered", {"127.0.0.1"}),
    ("web-0", "127.0.0.1", 8081, "TCP", "rejected", None),
    ("control-plane", "127.0.0.1", 6443, "TCP", "delivered", {"127.0.0.1"}),
    ("client", "192.0.2.1", 80, "TCP", "unreachable", None),
    ("client", "10.244.1.77", 80, "TCP", "dropped", None),
    ("client", "10.244.99.1", 80, "TCP", "unreachable", None),
    ("client", "172.18.9.9", 80, "TCP", "dropped", None),
    ("client-1", "172.18.9.9", 80, "TCP", "dropped", None),
    ("client-1", VIP, 80, "TCP", "dropped", None),
]


@pytest.mark.parametrize(("who", "ip", "port", "protocol", "outcome", "seen"), DIRECT)
def test_direct(who: str, ip: str, port: int, protocol: Any, outcome: str, seen: set[str] | None) -> None:
    result = promised(make_state(SERVICES["Cluster"]), who, ip, port, protocol=protocol)
    assert result.outcome == outcome
    assert result.because
    if seen is None:
        assert not result.backends
    else:
        assert sources(result) == {str(Backend(ip, port)): seen}


def test_sctp_is_answered_where_it_is_declared() -> None:
    pods = (*PODS, make_pod("diameter", "worker-2", "10.244.2.9", [(3868, "SCTP")]))
    service = make_service(ports=[ServicePort(port=3868, protocol="SCTP")])
    slices = [make_slice(make_endpoint("10.244.2.9"), ports=[EndpointPort(protocol="SCTP", port=3868)])]
    state = make_state(service, slices=slices, pods=pods)
    assert promised(state, "client", "10.244.2.9", 3868, protocol="SCTP").outcome == "delivered"
    assert list(promised(state, "client", WEB_IP, 3868, protocol="SCTP").backends) == [Backend("10.244.2.9", 3868)]
    assert promised(state, "client", WEB_IP, 3868).outcome == "unreachable"


def test_a_listener_that_could_not_bind_serves_nothing() -> None:
    state = make_state()
    refused = replace(state, listeners=tuple(replace(x, refused="port 8080/TCP is taken by container a") for x in state.listeners))
    assert promised(refused, "client", WEB_0, 8080).outcome == "rejected"


def test_a_real_command_serves_the_ports_that_it_declares() -> None:
    state = replace(make_state(), listeners=(), commands={"default/web-0": ("main",)})
    assert promised(state, "client", WEB_0, 8080).outcome == "delivered"
    assert promised(state, "client", WEB_1, 8080).outcome == "rejected"


# --- as a whole ----------------------------------------------------------------------------------------------


@given(
    service=st.sampled_from(
        [*SERVICES.values(), node_port_service(internalTrafficPolicy="Local"), make_service(sessionAffinity="ClientIP")]
    ),
    slices=st.sampled_from([[], [BOTH], [make_slice(ENDPOINT_1)], [make_slice(make_endpoint(WEB_0))]]),
    mode=st.sampled_from(["ClusterCIDR", "NodeCIDR", "BridgeInterface", ""]),
    who=st.sampled_from(["client", "web-0", "other", "api", "worker-1", "control-plane", "client-1"]),
    ip=st.sampled_from([WEB_IP, VIP, EXTERNAL_IP, WEB_0, OTHER, OUTSIDE, "127.0.0.1", "192.0.2.1", "10.96.9.9", *NODE_IP.values()]),
    port=st.sampled_from([80, NODE_PORT, 8080, 6443]),
    via=st.sampled_from(["", "worker-2"]),
)
def test_every_expectation_is_complete(service: Service, slices: Any, mode: str, who: str, ip: str, port: int, via: str) -> None:
    state = make_state(service, slices=slices, proxy={"localMode": mode})
    expectations = Expectations(state)
    flow = make_flow(state, who, ip, port, via=via if who == "client-1" else "")
    result = expectations.expect(flow)
    assert result == expectations.expect(flow)
    assert result.because
    assert (result.outcome == "delivered") == bool(result.backends) == bool(result.source)
    assert all(result.addresses[rule] for rule in result.backends.values())
    assert set(result.backends) <= set(expectations.may_meet(flow))


# --- 11: a connection that is open already ------------------------------------------------------------------------


DRAINS = make_endpoint(WEB_0, "worker-1", ready=False, serving=True, terminating=True)


def answered(protocol: Any, who: str = "client", ip: str = WEB_IP, port: int = 80, seen: str = CLIENT) -> FlowResult:
    """What the first flow of a connection was answered with, by the endpoint on worker-1."""
    state = udp_state(ENDPOINT_0, ENDPOINT_1) if protocol == "UDP" else make_state(node_port_service(), slices=[BOTH])
    flow = replace(make_flow(state, who, ip, port, protocol=protocol), connection="c")
    observed = Observation(outcomes={"delivered": 1}, backends={ON_1: 1}, sources=(seen,))
    return FlowResult(flow=flow, expected=expect(state, flow), observed=observed, journeys=(), verdict="pass", reason="")


def udp_state(*endpoints: Any, services: bool = True) -> ClusterState:
    """A UDP Service with ``endpoints``, whose Pods all serve."""
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
    "slices", [[BOTH], [make_slice(ENDPOINT_1)], []], ids=["both endpoints", "the other endpoint alone", "no endpoint"]
)
def test_an_open_tcp_connection_goes_on_to_its_endpoint(services: Sequence[Service], slices: Sequence[Any]) -> None:
    found = kept(make_state(*services, slices=slices), answered("TCP"))
    assert (found.outcome, sources(found), found.partial) == ("delivered", {str(ON_1): frozenset({CLIENT})}, True)


def test_who_was_masqueraded_stays_so() -> None:
    before = answered("TCP", "client-1", NODE_IP["worker-2"], NODE_PORT, seen=NODE_IP["worker-2"])
    found = kept(make_state(), before)
    assert sources(found) == {str(ON_1): frozenset({NODE_IP["worker-2"]})}
    assert found.source == "node"


def test_an_open_tcp_connection_ends_with_its_pod() -> None:
    state = make_state(node_port_service(), slices=[make_slice(ENDPOINT_1)], pods=[p for p in PODS if p.ip != WEB_0])
    found = kept(replace(state, listeners=tuple(li for li in state.listeners if li.ip != WEB_0)), answered("TCP"))
    assert found.outcome == "dropped"
    assert f"the connection goes to {ON_1} for as long as it lives" in found.because


@pytest.mark.parametrize(
    ("state", "outcome", "met"),
    [
        pytest.param(udp_state(ENDPOINT_0, ENDPOINT_1), "delivered", [ON_1], id="its endpoint is there"),
        pytest.param(udp_state(DRAINS, ENDPOINT_1), "delivered", [ON_1], id="its endpoint drains"),
        pytest.param(
            udp_state(make_endpoint(WEB_0, "worker-1", ready=False), ENDPOINT_1), "delivered", [ON_2], id="its endpoint serves no more"
        ),
        pytest.param(udp_state(ENDPOINT_1), "delivered", [ON_2], id="its endpoint is gone"),
        pytest.param(udp_state(), "rejected", [], id="all are gone"),
        pytest.param(udp_state(ENDPOINT_0, services=False), "unreachable", [], id="the Service is deleted"),
    ],
)
def test_a_udp_client_that_never_stops(state: ClusterState, outcome: str, met: list[Backend]) -> None:
    found = kept(state, answered("UDP"))
    assert (found.outcome, list(found.backends)) == (outcome, met)


@pytest.mark.parametrize(("seconds", "met"), [(0, {ON_1}), (1, {ON_1, ON_2})])
def test_in_ipvs_mode_a_time_out_may_have_forgotten_a_udp_client(seconds: int, met: set[Backend]) -> None:
    proxy = ProxySettings(mode="ipvs", clusterCIDR="10.244.0.0/16", ipvsTimeouts=IPVSTimeouts(udp=seconds))
    assert set(kept(replace(udp_state(ENDPOINT_0, ENDPOINT_1), proxy=proxy), answered("UDP")).backends) == met


@pytest.mark.parametrize(
    ("who", "ip", "port", "outcome"),
    [
        pytest.param("client", WEB_IP, 80, "dropped", id="a ClusterIP: no route, and an open connection waits"),
        pytest.param("client-1", NODE_IP["worker-2"], NODE_PORT, "rejected", id="a node port: the node knows no such connection"),
        pytest.param("client", WEB_0, 8080, "delivered", id="the Pod itself: no Service of its"),
    ],
)
def test_in_ipvs_mode_a_connection_ends_with_its_service(who: str, ip: str, port: int, outcome: str) -> None:
    found = kept(make_state(slices=[], proxy={"mode": "ipvs"}), answered("TCP", who, ip, port))
    assert found.outcome == outcome


@pytest.mark.parametrize(
    ("mode", "endpoints", "outcome", "met"),
    [
        pytest.param("ipvs", [DRAINS, ENDPOINT_1], "delivered", [ON_2], id="ipvs: what drains beside others keeps no UDP client"),
        pytest.param("ipvs", [DRAINS], "delivered", [ON_1], id="ipvs: unless nothing else is left"),
        pytest.param("userspace", [DRAINS, ENDPOINT_1], "delivered", [ON_1], id="userspace: a proxy's client stays while it sends"),
        pytest.param("userspace", [ENDPOINT_1], "delivered", [ON_1], id="userspace: even if its endpoint is none any more"),
    ],
)
def test_a_udp_client_that_never_stops_in_other_modes(mode: Any, endpoints: list[Any], outcome: str, met: list[Backend]) -> None:
    state = udp_state(*endpoints)
    found = kept(replace(state, proxy=replace(state.proxy, mode=mode)), answered("UDP"))
    assert (found.outcome, list(found.backends)) == (outcome, met)


def test_a_proxy_s_udp_client_is_not_told_that_its_pod_is_gone() -> None:
    state = udp_state(ENDPOINT_1)
    without = replace(state, pods=tuple(p for p in state.pods if p.ip != WEB_0), proxy=replace(state.proxy, mode="userspace"))
    without = replace(without, listeners=tuple(li for li in state.listeners if li.ip != WEB_0))
    assert kept(without, answered("UDP")).outcome == "dropped"


def test_a_new_connection_meets_one_of_the_endpoints() -> None:
    assert answered("TCP").expected.partial
