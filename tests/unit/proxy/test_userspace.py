"""Tests kube-proxy's userspace mode: the targets of its rules, the port of a proxy, and the turns of
endpoints.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState, Listener
from emulator.errors import UsageError
from emulator.net import IPV4, Endpoint
from emulator.objects.kinds import LoadBalancerIngress, Service, ServicePort
from emulator.proxy import rules_for, userspace
from emulator.proxy.userspace import FIRST_PORT, PORTS, Relay, RoundRobin, relays, stale_relays
from tests.objects import node, service, slice_of, state

NODE = node("worker-1", ip="172.18.0.3")
HTTP = ServicePort(name="http", port=80, targetPort=8080)
NODE_PORT = ServicePort(name="http", port=80, targetPort=8080, nodePort=30080)
A, B, C = ("10.244.1.5", 8080), ("10.244.1.6", 8080), ("10.244.2.5", 8080)
READY = {"ip": "10.244.1.5"}
WEB = '-m comment --comment "default/web:http"'


def cluster(*services: Service, **settings: Any) -> ClusterState:
    return state(
        nodes=[NODE],
        services=services,
        slices=[slice_of(s, READY) for s in services],
        mode="userspace",
        **settings,
    )


def rules(svc: Service, **settings: Any) -> dict[str, list[str]]:
    """Returns the rules of each chain, the proxy's port written PROXY."""
    built = cluster(svc, **settings)
    port = str(relays(built)[0].port) if relays(built) else "none"
    tables = rules_for(built, "worker-1").tables
    return {
        chain: [rule.replace(port, "PROXY") for rule in rows]
        for chains in tables.values()
        for chain, rows in chains.items()
    }


# --- rules ------------------------------------------------------------------------------------------------


def test_portals_come_before_node_ports() -> None:
    found = rules(service())
    for chain, kind in (("PREROUTING", "CONTAINER"), ("OUTPUT", "HOST")):
        assert [rule.split(" -j ")[1] for rule in found[chain]] == [
            f"KUBE-PORTALS-{kind}",
            f"KUBE-NODEPORT-{kind}",
        ]
        assert "--dst-type LOCAL" in found[chain][1]
    assert found["INPUT"][0].endswith("-j KUBE-NODEPORT-NON-LOCAL")


def test_a_cluster_ip_leads_to_the_proxy() -> None:
    found = rules(service())
    to = f"-d 10.96.0.10/32 -p tcp {WEB} -m tcp --dport 80"
    assert found["KUBE-PORTALS-CONTAINER"] == [f"{to} -j REDIRECT --to-ports PROXY"]
    assert found["KUBE-PORTALS-HOST"] == [f"{to} -j DNAT --to-destination 172.18.0.3:PROXY"]
    assert (
        not found["KUBE-NODEPORT-CONTAINER"] + found["KUBE-NODEPORT-HOST"] + found["KUBE-NODEPORT-NON-LOCAL"]
    )


def test_a_node_port_leads_to_the_proxy_at_any_address() -> None:
    found = rules(
        service(ports=[NODE_PORT], type="NodePort"),
        nodePortAddresses=("192.0.2.0/24",),
        localhostNodePorts=False,
    )
    assert found["KUBE-NODEPORT-CONTAINER"] == [
        f"-p tcp {WEB} -m tcp --dport 30080 -j REDIRECT --to-ports PROXY"
    ]
    assert found["KUBE-NODEPORT-HOST"] == [
        f"-p tcp {WEB} -m tcp --dport 30080 -j DNAT --to-destination 172.18.0.3:PROXY"
    ]
    assert found["KUBE-NODEPORT-NON-LOCAL"] == [
        f"-p tcp {WEB} -m tcp --dport PROXY -m state --state NEW -j ACCEPT"
    ]


@pytest.mark.parametrize("mode", ["VIP", "Proxy"])
def test_a_load_balancers_address_is_taken_up_for_everybody(mode: Any) -> None:
    found = rules(service(type="LoadBalancer", vips=[LoadBalancerIngress(ip="192.0.2.9", ipMode=mode)]))
    assert [rule for rule in found["KUBE-PORTALS-CONTAINER"] if "192.0.2.9" in rule] == [
        f"-d 192.0.2.9/32 -p tcp {WEB} -m tcp --dport 80 -j REDIRECT --to-ports PROXY"
    ]
    assert any(rule.startswith("-d 192.0.2.9/32") for rule in found["KUBE-PORTALS-HOST"])


def test_an_external_ip_is_taken_up_for_outsiders_or_where_it_is_local() -> None:
    found = rules(service(externalIPs=("192.0.2.8",)))
    to = f"-d 192.0.2.8/32 -p tcp {WEB} -m tcp --dport 80"
    assert found["KUBE-PORTALS-CONTAINER"][1:] == [
        f"{to} -m physdev ! --physdev-is-in -j REDIRECT --to-ports PROXY",
        f"{to} -m addrtype --dst-type LOCAL -j REDIRECT --to-ports PROXY",
    ]
    assert found["KUBE-PORTALS-HOST"][1:] == [
        f"{to} -m addrtype --dst-type LOCAL -j DNAT --to-destination 172.18.0.3:PROXY"
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"},
        {"loadBalancerSourceRanges": ("203.0.113.0/24",), "healthCheckNodePort": 32123},
    ],
)
def test_policies_make_no_rule(spec: dict[str, Any]) -> None:
    plain = {"ports": [NODE_PORT], "type": "LoadBalancer", "vips": ["192.0.2.9"]}
    assert rules(service(**plain, **spec)) == rules(service(**plain))
    assert rules(service(**plain), masqueradeAll=True, clusterCIDR="", localMode="") == rules(
        service(**plain)
    )


def test_sctp_has_neither_rules_nor_a_proxy() -> None:
    svc = service(ports=[ServicePort(name="s", port=80, protocol="SCTP", nodePort=30080)], type="NodePort")
    assert relays(cluster(svc)) == ()
    assert not any("default/web" in rule for rows in rules(svc).values() for rule in rows)


# --- proxies ----------------------------------------------------------------------------------------------


def test_every_ready_endpoint_and_no_other_is_relayed_to() -> None:
    svc = service(sessionAffinity="ClientIP")
    rows = [
        {"ip": "10.244.2.5", "hints": {"forZones": [{"name": "a"}]}},
        {"ip": "10.244.1.6", "conditions": {"ready": False}},
        {"ip": "10.244.1.7", "conditions": {"ready": False, "serving": True, "terminating": True}},
        {"ip": "10.244.1.5", "nodeName": "worker-9"},
    ]
    (relay,) = relays(state(nodes=[NODE], services=[svc], slices=[slice_of(svc, *rows)], mode="userspace"))
    assert (relay.name, relay.protocol, relay.endpoints) == ("default/web:http", "TCP", (A, C))
    assert relay.affinitySeconds == 10_800


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=60))
def test_each_service_port_has_a_proxy_port_of_its_own(numbers: set[int]) -> None:
    services = [service(f"web-{n}", clusterIP=f"10.96.{n % 200}.{n % 250}") for n in numbers]
    ports = [relay.port for relay in relays(cluster(*services))]
    assert len(set(ports)) == len(services)
    assert all(FIRST_PORT <= port < FIRST_PORT + PORTS for port in ports)


def test_a_proxy_port_stays_when_other_services_come_and_go() -> None:
    web, other = service("web"), service("other", clusterIP="10.96.0.11")
    alone, together = relays(cluster(web)), relays(cluster(other, web))
    assert alone[0] in together


def test_a_port_that_is_taken_on_a_node_is_passed_over() -> None:
    built = cluster(service())
    (port,) = (relay.port for relay in relays(built))
    taken = Listener(
        pod="default/x",
        netns="worker-1",
        node="worker-1",
        container="x",
        ip="172.18.0.3",
        port=port,
        protocol="TCP",
    )
    assert [relay.port for relay in relays(replace(built, listeners=(taken,)))] == [port + 1]
    assert [
        relay.port for relay in relays(replace(built, listeners=(replace(taken, netns="default_x"),)))
    ] == [port]


def test_more_service_ports_than_proxy_ports_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(userspace, "PORTS", 3)
    three = [service(f"web-{n}", clusterIP=f"10.96.0.{n + 10}") for n in range(3)]
    assert {relay.port for relay in relays(cluster(*three))} == {FIRST_PORT, FIRST_PORT + 1, FIRST_PORT + 2}
    with pytest.raises(UsageError, match="userspace mode has 3 proxy ports"):
        relays(cluster(*three, service("one-more", clusterIP="10.96.0.20")))


# --- whose turn it is -------------------------------------------------------------------------------------


def turns(*endpoints: tuple[str, int], seconds: int = 0) -> Relay:
    return Relay("default/web", "TCP", 10_000, endpoints, seconds, IPV4)


def test_each_endpoint_has_its_turn() -> None:
    choice = RoundRobin(turns(A, B, C))
    assert [choice.next("c", 0) for _ in range(5)] == [A, B, C, A, B]


def test_without_endpoints_nobody_has() -> None:
    assert RoundRobin(turns()).next("c", 0) is None


def test_a_client_keeps_its_endpoint_while_it_comes_back_in_time() -> None:
    choice = RoundRobin(turns(A, B, seconds=10))
    assert [choice.next("one", now) for now in (0, 9, 18)] == [A, A, A]
    assert choice.next("two", 18) == B
    assert choice.next("one", 28) == A  # ten seconds after it came last: its turn is drawn anew
    assert choice.next("one", 37) == A
    assert choice.next("two", 37) == B


def test_an_endpoint_that_did_not_answer_is_given_up_by_its_client() -> None:
    choice = RoundRobin(turns(A, B, seconds=10))
    assert [choice.next("one", 0), choice.next("one", 0, again=True), choice.next("one", 1)] == [A, B, B]


def test_an_endpoint_that_is_gone_is_forgotten_and_one_that_joins_has_its_turn() -> None:
    choice = RoundRobin(turns(A, B, seconds=10))
    assert [choice.next(client, 0) for client in ("one", "two")] == [A, B]
    choice.update(turns(B, C, seconds=10))
    assert choice.next("two", 1) == B
    assert {choice.next(client, 1) for client in ("one", "three")} == {B, C}


def test_turns_go_on_where_no_endpoint_changed() -> None:
    choice = RoundRobin(turns(A, B))
    choice.next("c", 0)
    choice.update(turns(A, B))
    assert choice.next("c", 0) == B


# --- changes ----------------------------------------------------------------------------------------------

UDP = ServicePort(name="dns", port=53, protocol="UDP")


def test_what_was_dialled_at_a_udp_service_that_is_gone_is_forgotten() -> None:
    old = cluster(service("dns", ports=[UDP]), service("web", clusterIP="10.96.0.11"))
    (port,) = (relay.port for relay in relays(old) if relay.protocol == "UDP")
    gone = {(op.netns, op.dialled, op.server) for op in stale_relays(old, cluster())}
    assert gone == {
        ("worker-1", Endpoint.of("10.96.0.10", 53), Endpoint.of(ip, port))
        for ip in ("172.18.0.3", "10.244.1.1")
    }


def test_what_was_dialled_at_an_address_that_a_udp_service_has_no_more_is_forgotten() -> None:
    [port] = (relay.port for relay in relays(cluster(service("dns", ports=[UDP]))))
    node_port = replace(UDP, nodePort=30053)
    old = cluster(service("dns", type="NodePort", ports=[node_port], externalIPs=("192.0.2.1",)))
    gone = {(op.dialled, op.server) for op in stale_relays(old, cluster(service("dns", ports=[UDP])))}
    own = ("172.18.0.3", "10.244.1.1")
    assert {dialled for dialled, _ in gone} == {
        Endpoint.of("192.0.2.1", 53),
        Endpoint.of("127.0.0.1", 30053),
        *(Endpoint.of(ip, 30053) for ip in own),
    }
    assert {server for _, server in gone} == {Endpoint.of(ip, port) for ip in own}


def test_what_the_proxy_knows_itself_needs_no_forgetting() -> None:
    svc = service("dns", ports=[UDP])
    emptied = state(nodes=[NODE], services=[svc], mode="userspace")
    assert list(stale_relays(cluster(svc), emptied)) == list(stale_relays(emptied, cluster(svc))) == []
