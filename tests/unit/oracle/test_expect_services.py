"""Tests dialling a Service: policies, source ranges, reject and drop, session affinity (docs/semantics 4, 6,
7, 12).
"""

from __future__ import annotations

import pytest

from emulator.cluster.scenario import Scenario
from emulator.objects.config import ExternalClient
from emulator.objects.kinds import EndpointPort, ServicePort
from emulator.report.prose import say
from emulator.schedule.schedule import plan_flows
from tests.unit.oracle.promises import (
    DIALLED,
    ON_1,
    ON_2,
    SERVICES,
    promised,
)
from tests.unit.states import (
    CLIENT,
    ENDPOINT_0,
    ENDPOINT_1,
    EXTERNAL_IP,
    NODE_IP,
    NODE_PORT,
    OUTSIDE,
    VIP,
    WEB_0,
    WEB_IP,
    load_balancer_service,
    make_endpoint,
    make_service,
    make_slice,
    make_state,
    node_port_service,
)


@pytest.mark.parametrize("who", ["client", "worker-1", "client-1"])
@pytest.mark.parametrize("how", ["clusterIP", "nodePort", "externalIP", "loadBalancer"])
@pytest.mark.parametrize("policy", ["Cluster", "Local"])
@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_without_endpoints_everything_is_rejected(mode: str, policy: str, how: str, who: str) -> None:
    service = load_balancer_service(
        externalIPs=(EXTERNAL_IP,), externalTrafficPolicy=policy, internalTrafficPolicy=policy
    )
    via = "worker-1" if who == "client-1" else ""
    outcome = promised(
        make_state(service, slices=[], proxy={"mode": mode}), who, *DIALLED[how], via=via
    ).outcome
    left_alone = mode == "iptables" and who == "worker-1" and how in ("externalIP", "loadBalancer")
    assert (outcome != "rejected") == left_alone


@pytest.mark.parametrize(("speaker", "outcome"), [("worker-1", "dropped"), ("worker-2", "rejected")])
def test_what_a_node_sends_past_its_own_rules_another_one_refuses_that_announces_the_address(
    speaker: str, outcome: str
) -> None:
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
def test_source_ranges_act_at_load_balancer_addresses_only(
    ranges: list[str], who: str, how: str, outcome: str
) -> None:
    service = load_balancer_service(externalIPs=(EXTERNAL_IP,), loadBalancerSourceRanges=tuple(ranges))
    result = promised(
        make_state(service),
        who,
        *DIALLED[how],
        via="worker-1" if who == "client-1" and how != "nodePort" else "",
    )
    assert result.outcome == outcome
    assert (6 in result.because.sections) == (outcome == "dropped")


@pytest.mark.parametrize(
    ("ranges", "outcome"), [("172.18.0.3/32", "delivered"), ("172.18.0.4/32", "dropped")]
)
def test_a_services_own_address_as_source_passes_where_the_nodes_does(ranges: str, outcome: str) -> None:
    state = make_state(
        load_balancer_service(loadBalancerSourceRanges=(ranges,)),
        clients=(ExternalClient(name="vip", address=VIP),),
    )
    assert promised(state, "vip", VIP, 80, via="worker-1").outcome == outcome


def test_source_ranges_do_not_hide_that_there_are_no_endpoints() -> None:
    state = make_state(load_balancer_service(loadBalancerSourceRanges=("198.51.100.0/24",)), slices=[])
    assert promised(state, "client", VIP, 80).outcome == "rejected"


# --- 12: session affinity ----------------------------------------------------------------------------------


def test_session_affinity_meets_one_of_them() -> None:
    result = promised(make_state(make_service(sessionAffinity="ClientIP")), "client", WEB_IP, 80)
    assert result.partial
    assert set(result.backends) == {ON_1, ON_2}
    alone = make_state(make_service(sessionAffinity="ClientIP"), slices=[make_slice(ENDPOINT_0)])
    assert not promised(alone, "client", WEB_IP, 80).partial


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
    result = promised(
        make_state(make_service(), slices=[make_slice(*map(make_endpoint, ips))]), "client", WEB_IP, 80
    )
    assert result.outcome == outcome
    assert f"no server listens at {ips[-1] if outcome == 'delivered' else ips[0]}" in say(result.because)
    assert [b.address for b in result.backends] == [ip for ip in ips if ip == WEB_0]
    assert {b.address for b in result.endpoints} == set(ips)


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs", "userspace"])
@pytest.mark.parametrize(
    ("ip", "port"), [("10.96.0.11", 80), (NODE_IP["worker-2"], NODE_PORT)], ids=["a ClusterIP", "a node port"]
)
def test_nothing_is_promised_of_an_endpoint_that_is_a_service_s_address(
    mode: str, ip: str, port: int
) -> None:
    """Derives no flow to it either."""
    ports = [ServicePort(port=80, name="http", targetPort=8080, nodePort=NODE_PORT)]
    other = make_service("other", "10.96.0.11", ports, type="NodePort")
    slices = [
        make_slice(
            make_endpoint(WEB_0, "worker-1"), make_endpoint(ip), ports=[EndpointPort(name="http", port=port)]
        ),
        make_slice(make_endpoint(WEB_0, "worker-1"), service="other"),
    ]
    state = make_state(make_service(), other, slices=slices, proxy={"mode": mode})
    assert f"{ip}:{port} is itself an address of svc default/other" in say(
        promised(state, "client", WEB_IP, 80).unpromised
    )
    scenario = Scenario(state=state)
    services = {flow.to.service for pairs in (True, False) for flow in plan_flows(scenario, pairs=pairs)[0]}
    assert "default/other" in services
    assert "default/web" not in services
