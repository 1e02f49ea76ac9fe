"""Tests nftables rules beyond the golden objects: settings, policies, conflicts, and values that must never
become syntax.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from emulator.cluster.state import ClusterState
from emulator.objects.kinds import ObjectMeta, Service, ServicePort
from emulator.plan.checked import UnsafeTextError
from emulator.proxy import rules_for
from tests.nft_ruleset import Table, parse, promise
from tests.objects import node, service, slice_of, state

HTTP = ServicePort(name="http", port=80, targetPort=8080, nodePort=30080)
NODE = node("worker-1", ip="172.18.0.3")
ON_NODE = {"ip": "10.244.1.2", "nodeName": "worker-1"}
ELSEWHERE = {"ip": "10.244.2.2", "nodeName": "worker-2"}
BOTH = frozenset({"10.244.1.2:8080", "10.244.2.2:8080"})
CLUSTER_IP = "10.96.0.10 . tcp . 80"
MARK = "meta mark set meta mark | 0x4000"


def rules(svc: Service, *endpoints: dict[str, Any], **settings: Any) -> Table:
    built = state(
        nodes=[NODE], services=[svc], slices=[slice_of(svc, *endpoints)], mode="nftables", **settings
    )
    return parse(rules_for(built, "worker-1").nft)


def chain_of(table: Table, key: str, where: str = "service-ips") -> list[str]:
    return table.chains[table.elements[where][key].removeprefix("goto ")]


# --- the local-traffic detector ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "first"),
    [
        pytest.param({}, [f"ip saddr != 10.244.0.0/16 {MARK}"], id="ClusterCIDR"),
        pytest.param({"localMode": "NodeCIDR"}, [f"ip saddr != 10.244.1.0/24 {MARK}"], id="NodeCIDR"),
        pytest.param({"localMode": "BridgeInterface"}, [f'iifname != "cbr0" {MARK}'], id="BridgeInterface"),
        pytest.param(
            {"localMode": "InterfaceNamePrefix"}, [f'iifname != "cbr*" {MARK}'], id="InterfaceNamePrefix"
        ),
        pytest.param({"masqueradeAll": True}, [MARK], id="masqueradeAll"),
        pytest.param({"localMode": ""}, [], id="none"),
        pytest.param({"localMode": "", "masqueradeAll": True}, [MARK], id="none, and masqueradeAll"),
        pytest.param({"clusterCIDR": "fd00::/48"}, [], id="ClusterCIDR of the other family"),
    ],
)
def test_who_is_masqueraded_to_a_cluster_ip(settings: dict[str, Any], first: list[str]) -> None:
    assert chain_of(rules(service(), ON_NODE, **settings), CLUSTER_IP)[:-1] == first


@pytest.mark.parametrize(
    ("mode", "first"),
    [
        ("ClusterCIDR", "ip saddr 10.244.0.0/16 meta l4proto"),
        ("BridgeInterface", 'iifname "cbr0" meta l4proto'),
        ("", "fib saddr type local"),
    ],
    ids=["ClusterCIDR", "BridgeInterface", "none"],
)
def test_short_cut_of_pods_under_external_local(mode: str, first: str) -> None:
    table = rules(
        service(type="NodePort", ports=[HTTP], externalTrafficPolicy="Local"), ELSEWHERE, localMode=mode
    )
    chain = chain_of(table, "tcp . 30080", "service-nodeports")
    assert chain[0].startswith(first)
    assert chain[-1].startswith(f"fib saddr type local {MARK} ")  # outside clients find no rule


# --- endpoints, policies, verdicts ------------------------------------------------------------------------


def test_every_endpoint_has_an_index_of_its_own() -> None:
    endpoints = [{"ip": f"10.244.1.{n}", "nodeName": "worker-1"} for n in range(1, 6)]
    table = rules(service(), *endpoints)
    assert chain_of(table, CLUSTER_IP)[-1].endswith(". numgen random mod 5 map @cluster-ip-5-endpoints")
    assert sorted(table.elements["cluster-ip-5-endpoints"].values()) == [
        f"10.244.1.{n} . 8080" for n in range(1, 6)
    ]
    assert set(table.elements["cluster-ip-5-endpoints"]) == {f"{CLUSTER_IP} . {n}" for n in range(5)}


def test_internal_local_leads_to_endpoints_of_the_node_alone() -> None:
    table = rules(service(internalTrafficPolicy="Local"), ON_NODE, ELSEWHERE)
    found = promise(table, table.elements["service-ips"][CLUSTER_IP], CLUSTER_IP)
    assert (found.strangers, found.masqueraded) == (frozenset({"10.244.1.2:8080"}), "strangers")
    assert list(table.elements["hairpin-connections"]) == ["10.244.1.2 . 10.244.1.2"]


@pytest.mark.parametrize("affinity", ["None", "ClientIP"])
def test_external_local_has_two_lists(affinity: str) -> None:
    table = rules(
        service(type="NodePort", ports=[HTTP], externalTrafficPolicy="Local", sessionAffinity=affinity),
        ON_NODE,
        ELSEWHERE,
    )
    found = promise(table, table.elements["service-nodeports"]["tcp . 30080"], "tcp . 30080")
    assert (found.pods, found.strangers, found.masqueraded) == (BOTH, frozenset({"10.244.1.2:8080"}), "local")


EVERYWHERE: dict[str, Any] = {
    "type": "LoadBalancer",
    "ports": [HTTP],
    "externalIPs": ("192.0.2.1",),
    "vips": ("192.0.2.2",),
}
ADDRESSES = {
    CLUSTER_IP: "clusterIP",
    "192.0.2.1 . tcp . 80": "externalIP",
    "192.0.2.2 . tcp . 80": "vip",
    "tcp . 30080": "nodePort",
}
ALL = set(ADDRESSES.values())
OUTSIDE = ALL - {"clusterIP"}


@pytest.mark.parametrize(
    ("policies", "endpoints", "verdict", "refused", "translated"),
    [
        pytest.param({}, (), "goto reject-chain", ALL, set(), id="no endpoints"),
        pytest.param({}, (ELSEWHERE,), "", set(), ALL, id="an endpoint elsewhere"),
        pytest.param(
            {"internalTrafficPolicy": "Local"}, (ELSEWHERE,), "drop", {"clusterIP"}, OUTSIDE, id="iTP Local"
        ),
        pytest.param(
            {"externalTrafficPolicy": "Local"},
            (ELSEWHERE,),
            "drop",
            OUTSIDE,
            ALL,
            id="eTP Local: Pods and the node pass",
        ),
        pytest.param(
            {"externalTrafficPolicy": "Local"},
            (ON_NODE,),
            "",
            set(),
            ALL,
            id="eTP Local with a local endpoint",
        ),
        pytest.param(
            {"internalTrafficPolicy": "Local"},
            (),
            "goto reject-chain",
            ALL,
            set(),
            id="Local and none at all",
        ),
    ],
)
def test_refusals(
    policies: dict[str, Any],
    endpoints: tuple[Any, ...],
    verdict: str,
    refused: set[str],
    translated: set[str],
) -> None:
    sets = rules(service(**EVERYWHERE, **policies), *endpoints).elements
    refusals = sets["no-endpoint-services"] | sets["no-endpoint-nodeports"]
    assert {ADDRESSES[key] for key in refusals} == refused
    assert set(refusals.values()) <= {verdict}
    assert {ADDRESSES[key] for key in (*sets["service-ips"], *sets["service-nodeports"])} == translated


def test_a_service_without_endpoints_still_owns_its_cluster_ip() -> None:
    assert list(rules(service()).elements["cluster-ips"]) == ["10.96.0.10"]


def test_tcp_and_udp_of_one_number_are_two_ports() -> None:
    svc = service(ports=[ServicePort(name="t", port=53), ServicePort(name="u", port=53, protocol="UDP")])
    built = state(
        nodes=[NODE],
        services=[svc],
        slices=[slice_of(svc, ON_NODE, ports=[{"name": "t", "port": 5353}])],
        mode="nftables",
    )
    table = parse(rules_for(built, "worker-1").nft)
    assert list(table.elements["service-ips"]) == ["10.96.0.10 . tcp . 53"]
    assert table.elements["no-endpoint-services"] == {"10.96.0.10 . udp . 53": "goto reject-chain"}


def test_an_address_that_nobody_has_is_dropped_after_those_that_are_had() -> None:
    assert rules(service()).chains["cluster-ips-check"] == [
        "ip daddr @cluster-ips reject",
        "ip daddr 10.96.0.0/12 drop",
    ]


def test_of_two_services_with_one_external_ip_the_first_has_it() -> None:
    first, second = (
        service(name, clusterIP=ip, externalIPs=("192.0.2.1",))
        for name, ip in (("a", "10.96.0.1"), ("b", "10.96.0.2"))
    )
    slices = [slice_of(first, ON_NODE), slice_of(second, ELSEWHERE)]
    table = parse(
        rules_for(
            state(nodes=[NODE], services=[first, second], slices=slices, mode="nftables"), "worker-1"
        ).nft
    )
    assert table.elements["external-1-endpoints"]["192.0.2.1 . tcp . 80 . 0"] == "10.244.1.2 . 8080"


# --- session affinity -------------------------------------------------------------------------------------


def test_affinity_remembers_by_endpoint_for_both_lists() -> None:
    svc = service(type="NodePort", ports=[HTTP], externalTrafficPolicy="Local", sessionAffinity="ClientIP")
    table = rules(svc, ON_NODE)
    (endpoint,) = [name for name in table.chains if name.startswith("endpoint-")]
    name = f"affinity-{endpoint.removeprefix('endpoint-')}"
    assert table.chains[endpoint] == [
        f"update @{name} {{ ip saddr }}",
        "meta l4proto tcp dnat to 10.244.1.2:8080",
    ]
    for start in ("service-", "local-"):
        (chain,) = [
            rules for found, rules in table.chains.items() if found.startswith(start) and "/" in found
        ]
        assert chain[0] == f"ip saddr @{name} goto {endpoint}"
    assert not any(name.endswith("-endpoints") for name in table.elements)


def test_affinity_lasts_as_long_as_the_service_says() -> None:
    svc = service(sessionAffinity="ClientIP")
    built = state(nodes=[NODE], services=[svc], slices=[slice_of(svc, ON_NODE)], mode="nftables")
    assert re.findall(r"timeout (\d+)s", rules_for(built, "worker-1").nft) == ["10800"]


# --- load balancers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranges", "allowed"),
    [
        pytest.param(("203.0.113.0/24", " 198.51.100.0/24 "), "198.51.100.0/24, 203.0.113.0/24", id="two"),
        pytest.param(("10.0.0.0/8", "10.1.0.0/16"), "10.0.0.0/8", id="one inside the other"),
        pytest.param(("172.18.0.0/24",), "172.18.0.0/24, 192.0.2.2/31", id="the node itself"),
        pytest.param(("0.0.0.0/0",), None, id="everybody"),
        pytest.param((), None, id="none"),
    ],
)
def test_source_ranges(ranges: tuple[str, ...], allowed: str | None) -> None:
    svc = service(
        type="LoadBalancer", ports=[HTTP], vips=("192.0.2.2", "192.0.2.3"), loadBalancerSourceRanges=ranges
    )
    table = rules(svc, ON_NODE)
    chains = [rules for name, rules in table.chains.items() if "/" in name and name.startswith("firewall-")]
    assert chains == ([[f"ip saddr != {{ {allowed} }} drop"]] if allowed else [])
    assert set(table.elements["firewall-ips"]) == (
        {"192.0.2.2 . tcp . 80", "192.0.2.3 . tcp . 80"} if allowed else set()
    )


def test_source_ranges_do_not_stand_before_a_reject() -> None:
    svc = service(
        type="LoadBalancer", ports=[HTTP], vips=("192.0.2.2",), loadBalancerSourceRanges=("203.0.113.0/24",)
    )
    assert not rules(svc).elements["firewall-ips"]


# --- node ports -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "addresses"),
    [
        pytest.param((), ["172.18.0.3"], id="by default the primary one"),
        pytest.param(("primary",), ["172.18.0.3"], id="the primary one"),
        pytest.param(("0.0.0.0/0",), ["10.244.1.1", "172.18.0.3"], id="everywhere"),
        pytest.param(("10.244.0.0/16",), ["10.244.1.1"], id="the bridge's"),
        pytest.param(("127.0.0.0/8",), [], id="never localhost"),
        pytest.param(("192.0.2.0/24",), [], id="nowhere"),
        pytest.param(("fd00::/8",), ["10.244.1.1", "172.18.0.3"], id="the other family only"),
    ],
)
def test_node_port_addresses(words: tuple[str, ...], addresses: list[str]) -> None:
    table = rules(service(type="NodePort", ports=[HTTP]), ON_NODE, nodePortAddresses=words)
    assert sorted(table.elements["nodeport-ips"]) == addresses


# --- the whole --------------------------------------------------------------------------------------------


def many(count: int) -> ClusterState:
    services = [service(f"s{n}", clusterIP=f"10.96.{n // 250}.{n % 250 + 1}") for n in range(count)]
    return state(
        nodes=[NODE], services=services, slices=[slice_of(s, ON_NODE) for s in services], mode="nftables"
    )


def test_services_share_chains() -> None:
    assert len(parse(rules_for(many(50), "worker-1").nft).chains) == len(
        parse(rules_for(many(1), "worker-1").nft).chains
    )


def test_order_of_the_objects_does_not_matter() -> None:
    forth = many(20)
    back = state(
        nodes=[NODE], services=forth.services[::-1], slices=forth.endpointSlices[::-1], mode="nftables"
    )
    assert rules_for(forth, "worker-1").nft == rules_for(back, "worker-1").nft


def test_long_names_fit_a_comment() -> None:
    svc = service("n" * 63, namespace="s" * 63, ports=[ServicePort(name="p" * 15, port=80)])
    built = state(
        nodes=[NODE],
        services=[svc],
        slices=[slice_of(svc, ON_NODE, ports=[{"name": "p" * 15, "port": 8080}])],
        mode="nftables",
    )
    assert (
        max(len(note) for note in re.findall(r'comment "([^"]*)"', rules_for(built, "worker-1").nft)) == 128
    )


@pytest.mark.parametrize("hostile", ['a" drop', "a\n}", "a\\", "a'b", "a$b", "-A\tX", "é", "a{"])
@pytest.mark.parametrize("field", ["name", "namespace", "portName"])
@pytest.mark.parametrize("affinity", ["None", "ClientIP"])
def test_hostile_names_never_become_rules(field: str, hostile: str, affinity: str) -> None:
    ports = [ServicePort(name=hostile if field == "portName" else "http", port=80)]
    svc = Service(
        metadata=ObjectMeta(
            name=hostile if field == "name" else "web",
            namespace=hostile if field == "namespace" else "default",
        ),
        spec=service(ports=ports, sessionAffinity=affinity).spec,
    )
    with pytest.raises(UnsafeTextError):
        rules(svc, ON_NODE)


@pytest.mark.parametrize("hostile", ["a b", "a;b", "a:b", "a>b"])
@pytest.mark.parametrize(
    "spec",
    [{"sessionAffinity": "ClientIP"}, {"loadBalancerSourceRanges": ("203.0.113.0/24",)}],
    ids=["affinity", "ranges"],
)
def test_what_a_comment_may_hold_never_becomes_a_chains_name(spec: dict[str, Any], hostile: str) -> None:
    with pytest.raises(UnsafeTextError):
        rules(service(hostile, type="LoadBalancer", vips=("192.0.2.2",), **spec), ON_NODE)
