"""Tests the source address that each backend sees (docs/semantics 5), one id per row of its table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from emulator.model.flows import Client, Flow
from emulator.net import IPV4, IPV6, Endpoint, Family, localhost
from emulator.objects.kinds import EndpointPort, ServicePort
from emulator.oracle.expectations import Expectations
from emulator.oracle.facts import Facts
from emulator.oracle.parties import loopback_destination
from emulator.oracle.source import seen_addresses
from emulator.report.prose import say
from tests.unit.oracle.promises import (
    DIALLED,
    HOSTED,
    LOCAL,
    ON_1,
    ON_2,
    SERVICES,
    WORKER_1,
    WORKER_2,
    promised,
    sources,
)
from tests.unit.states import (
    CLIENT,
    ENDPOINT_0,
    NODE_IP,
    NODE_PORT,
    WEB_1,
    WEB_IP,
    make_endpoint,
    make_flow,
    make_node,
    make_service,
    make_slice,
    make_state,
    node_port_service,
)

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


@pytest.mark.parametrize(
    ("how", "policy", "who", "via", "rule", "nodes"), SOURCE_TABLE, ids=lambda value: str(value) or "-"
)
def test_source_address_table(how: str, policy: str, who: str, via: str, rule: str, nodes: str) -> None:
    state = make_state(SERVICES[policy])
    result = promised(state, who, *DIALLED[how], via="" if how == "nodePort" else via)
    assert result.outcome == "delivered"
    assert result.backends == {{"1": ON_1, "2": ON_2}[n]: rule for n in nodes}
    assert result.source == rule
    assert 5 in result.because.sections
    if rule == "node":
        assert result.addresses["node"] == (
            WORKER_1 if who != "control-plane" else {"172.18.0.2", "10.244.0.1"}
        )
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
    proxy: dict[str, Any], how: str, policy: str, who: str, rule: str, met: Sequence[Endpoint]
) -> None:
    state = make_state(SERVICES[policy], proxy=proxy)
    assert promised(state, who, *DIALLED[how]).backends == dict.fromkeys(met, rule)


@pytest.mark.parametrize(
    ("mode", "rule", "met"),
    [
        ("ClusterCIDR", "preserved", [ON_1, ON_2]),
        ("NodeCIDR", "preserved", [ON_1]),
        ("BridgeInterface", "preserved", [ON_1]),
    ],
)
def test_a_pod_of_another_node_is_local_by_cluster_cidr_only(
    mode: str, rule: str, met: Sequence[Endpoint]
) -> None:
    state = make_state(SERVICES["Local"], proxy={"localMode": mode})
    assert promised(state, "other", NODE_IP["worker-1"], NODE_PORT).backends == dict.fromkeys(met, rule)


@pytest.mark.parametrize(
    ("who", "proxy", "to", "asymmetric"),
    [
        pytest.param("other", {}, (NODE_IP["worker-1"], NODE_PORT), {ON_2}, id="a Pod, Local, another node"),
        pytest.param("client", {}, (NODE_IP["worker-1"], NODE_PORT), set(), id="a Pod, Local, its own node"),
        pytest.param("client-1", {}, (NODE_IP["worker-1"], NODE_PORT), set(), id="outside, Local"),
        pytest.param(
            "client-1", {"clusterCIDR": ""}, (WEB_IP, 80), {ON_2}, id="outside, ClusterIP, no detector"
        ),
        pytest.param("client-1", {}, (WEB_IP, 80), set(), id="outside, ClusterIP, masqueraded"),
        pytest.param(
            "worker-1", {"clusterCIDR": ""}, (WEB_IP, 80), set(), id="a node, ClusterIP, no detector"
        ),
    ],
)
def test_what_is_not_masqueraded_is_answered_past_a_node_that_has_neither_end(
    who: str, proxy: dict[str, Any], to: tuple[str, int], asymmetric: set[Endpoint]
) -> None:
    state = make_state(SERVICES["Local"], proxy=proxy)
    promise = promised(state, who, *to, via="worker-1" if who == "client-1" and to[0] == WEB_IP else "")
    assert (promise.outcome, promise.asymmetric) == ("delivered", asymmetric)
    assert ("past worker-1" in say(promise.because)) is bool(asymmetric)


@pytest.mark.parametrize(("mode", "outcome"), [("iptables", "dropped"), ("nftables", "delivered")])
def test_iptables_mode_drops_such_an_answer_before_the_pod(mode: str, outcome: str) -> None:
    state = make_state(
        SERVICES["Local"], slices=[make_slice(make_endpoint(WEB_1, "worker-2"))], proxy={"mode": mode}
    )
    promise = promised(state, "client", NODE_IP["control-plane"], NODE_PORT)
    assert promise.outcome == outcome
    assert "past control-plane" in say(promise.because)


@pytest.mark.parametrize("mode", ["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"])
def test_every_detector_knows_a_nodes_own_pods(mode: str) -> None:
    assert (
        promised(make_state(SERVICES["Cluster"], proxy={"localMode": mode}), "client", WEB_IP, 80).source
        == "preserved"
    )


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
    nodes = (
        make_node("control-plane", 0, more_ips=["172.18.7.7"]),
        make_node("worker-1", 1),
        make_node("worker-2", 2),
    )
    state = make_state(SERVICES["Cluster"], nodes=nodes)
    assert promised(state, "control-plane", WEB_IP, 80).addresses["node"] == {
        "172.18.0.2",
        "172.18.7.7",
        "10.244.0.1",
    }


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
    assert say(result.because).startswith("hairpin")


def test_a_node_that_meets_itself_is_not_taken_for_the_client_before() -> None:
    """Places the endpoint on worker-1's address on worker-2, by its slice: worker-1 is a client like others
    there, but for the hairpin.
    """
    state = make_state(
        node_port_service(**LOCAL),
        slices=[make_slice(make_endpoint(NODE_IP["worker-1"], "worker-2"))],
        pods=HOSTED,
    )
    expectations = Expectations(state)
    rules = [
        expectations.expect(make_flow(state, who, NODE_IP["worker-2"], NODE_PORT)).source
        for who in ("client-1", "worker-1")
    ]
    assert rules == ["preserved", "node"]


def test_hairpin_without_a_detector_is_masqueraded_too() -> None:
    state = make_state(SERVICES["Cluster"], proxy={"localMode": ""})
    assert promised(state, "web-0", WEB_IP, 80).backends == {ON_1: "node", ON_2: "preserved"}


# --- hostNetwork -------------------------------------------------------------------------------------------

API = Endpoint.of("172.18.0.2", 6443)
KUBERNETES = make_service(
    "kubernetes",
    "10.96.0.1",
    [ServicePort(port=443, name="https", targetPort=6443, nodePort=30443)],
    type="NodePort",
)
API_SLICE = make_slice(
    make_endpoint("172.18.0.2", "control-plane"),
    service="kubernetes",
    ports=[EndpointPort(name="https", port=6443)],
)


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
    assert ("delivered locally" in say(result.because)) == (ip == "172.18.0.2" and rule == "preserved")


@pytest.mark.parametrize(("family", "address"), [(IPV4, "127.0.0.1"), (IPV6, "::1")])
def test_localhost_is_dialled_from_localhost_of_its_family(family: Family, address: str) -> None:
    client = Client(
        kind="node", label="node worker-1", netns="worker-1", ip=localhost(family), node="worker-1"
    )
    flow = Flow(
        name="to itself",
        client=client,
        to=loopback_destination(8080, family),
        protocol="TCP",
        attempts=1,
        kind="container-to-container",
    )
    seen = seen_addresses(Facts(make_state(), {}), flow, "")
    assert seen["preserved"] == {address}
