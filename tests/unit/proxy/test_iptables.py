"""Tests iptables rules beyond the golden objects: settings, policies, and values that must never become
syntax.
"""

from __future__ import annotations

from typing import Any

import pytest

from emulator.cluster.state import ClusterState, ProxySettings
from emulator.errors import UsageError
from emulator.net import IPV4
from emulator.objects.kinds import ObjectMeta, Service, ServicePort
from emulator.plan.checked import UnsafeTextError
from emulator.plan.rules import RuleSet, compose
from emulator.proxy import rules_for
from emulator.proxy.iptables import serves_localhost
from tests.objects import node, service, slice_of, state

HTTP = ServicePort(name="http", port=80, targetPort=8080, nodePort=30080)
NODE = node("worker-1", ip="172.18.0.3")
ON_NODE = {"ip": "10.244.1.2", "nodeName": "worker-1"}
ELSEWHERE = {"ip": "10.244.2.2", "nodeName": "worker-2"}


def rules(svc: Service, *endpoints: dict[str, Any], **settings: Any) -> RuleSet:
    return rules_for(
        state(nodes=[NODE], services=[svc], slices=[slice_of(svc, *endpoints)], **settings), "worker-1"
    )


def chain(ruleset: RuleSet, start: str, table: str = "nat") -> tuple[str, ...]:
    """Returns the rules of the one chain whose name starts so."""
    (found,) = [rules for name, rules in ruleset.tables[table].items() if name.startswith(start)]
    return found


def brief(rules: tuple[str, ...]) -> list[str]:
    """Returns the rules without comments."""
    return [
        " ".join(p for i, p in enumerate(rule.split('"')) if i % 2 == 0)
        .replace("-m comment --comment   ", "")
        .strip()
        for rule in rules
    ]


# --- the local-traffic detector ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "first"),
    [
        pytest.param(
            {},
            "! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ",
            id="ClusterCIDR",
        ),
        pytest.param(
            {"localMode": "NodeCIDR"},
            "! -s 10.244.1.0/24 -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ",
            id="NodeCIDR",
        ),
        pytest.param(
            {"localMode": "BridgeInterface"},
            "-d 10.96.0.10/32 ! -i cbr0 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ",
            id="BridgeInterface",
        ),
        pytest.param(
            {"localMode": "InterfaceNamePrefix"},
            "-d 10.96.0.10/32 ! -i cbr+ -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ",
            id="InterfaceNamePrefix",
        ),
        pytest.param(
            {"masqueradeAll": True},
            "-d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ",
            id="masqueradeAll",
        ),
        pytest.param({"localMode": ""}, "-j KUBE-SEP-UIQK3OSOSTRHRPBX", id="none"),
        pytest.param({"clusterCIDR": ""}, "-j KUBE-SEP-UIQK3OSOSTRHRPBX", id="ClusterCIDR without one"),
        pytest.param(
            {"clusterCIDR": "fd00::/48"}, "-j KUBE-SEP-UIQK3OSOSTRHRPBX", id="ClusterCIDR of the other family"
        ),
        pytest.param(
            {"clusterCIDR": "fd00::/48,10.0.0.0/8"},
            "! -s 10.0.0.0/8 -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ",
            id="ClusterCIDR of both families",
        ),
    ],
)
def test_who_is_masqueraded_to_a_cluster_ip(settings: dict[str, Any], first: str) -> None:
    assert brief(chain(rules(service(), ON_NODE, **settings), "KUBE-SVC-"))[0] == first


def test_a_detector_that_covers_everything_is_refused() -> None:
    with pytest.raises(UsageError, match="every address local"):
        rules(service(), ON_NODE, clusterCIDR="0.0.0.0/0")


@pytest.mark.parametrize(
    ("mode", "first"),
    [("ClusterCIDR", ["-s 10.244.0.0/16 -j SVC"]), ("BridgeInterface", ["-i cbr0 -j SVC"]), ("", [])],
    ids=["ClusterCIDR", "BridgeInterface", "none"],
)
def test_short_cut_of_pods_under_external_local(mode: str, first: list[str]) -> None:
    ext = brief(
        chain(
            rules(
                service(type="NodePort", ports=[HTTP], externalTrafficPolicy="Local"),
                ELSEWHERE,
                localMode=mode,
            ),
            "KUBE-EXT-",
        )
    )
    node_itself = ["-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ", "-m addrtype --src-type LOCAL -j SVC"]
    assert [rule.replace("KUBE-SVC-CDGGSHYLG3RE2FKL", "SVC") for rule in ext] == first + node_itself


# --- endpoints, policies, verdicts ------------------------------------------------------------------------


def test_every_endpoint_has_the_same_chance() -> None:
    endpoints = [{"ip": f"10.244.1.{n}", "nodeName": "worker-1"} for n in range(1, 6)]
    svc = chain(rules(service(), *endpoints, localMode=""), "KUBE-SVC-")
    chances = [rule.partition("--probability ")[2].partition(" ")[0] for rule in svc]
    # 31 bits of fraction
    assert chances == ["0.20000000019", "0.25000000000", "0.33333333349", "0.50000000000", ""]


def test_internal_local_uses_the_local_chain_and_masquerades_there() -> None:
    nat = rules(service(internalTrafficPolicy="Local"), ON_NODE, ELSEWHERE).tables["nat"]
    assert not [name for name in nat if name.startswith("KUBE-SVC-")]
    assert len([name for name in nat if name.startswith("KUBE-SEP-")]) == 1
    assert brief(nat["KUBE-SVL-CDGGSHYLG3RE2FKL"]) == [
        "! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ",
        "-j KUBE-SEP-UIQK3OSOSTRHRPBX",
    ]


EVERYWHERE: dict[str, Any] = {
    "type": "LoadBalancer",
    "ports": [HTTP],
    "externalIPs": ("192.0.2.1",),
    "vips": ("192.0.2.2",),
}

ALL = {"clusterIP", "externalIP", "vip", "nodePort"}


@pytest.mark.parametrize(
    ("policies", "endpoints", "target", "refused"),
    [
        pytest.param({}, (), "-j REJECT", ALL, id="no endpoints"),
        pytest.param({}, (ELSEWHERE,), "", set(), id="an endpoint elsewhere"),
        pytest.param(
            {"internalTrafficPolicy": "Local"}, (ELSEWHERE,), "-j DROP", {"clusterIP"}, id="iTP Local"
        ),
        pytest.param(
            {"externalTrafficPolicy": "Local"},
            (ELSEWHERE,),
            "-j DROP",
            {"externalIP", "vip", "nodePort"},
            id="eTP Local",
        ),
        pytest.param(
            {"externalTrafficPolicy": "Local"}, (ON_NODE,), "", set(), id="eTP Local with a local endpoint"
        ),
        pytest.param({"internalTrafficPolicy": "Local"}, (), "-j REJECT", ALL, id="Local and none at all"),
    ],
)
def test_refusals(
    policies: dict[str, Any], endpoints: tuple[dict[str, Any], ...], target: str, refused: set[str]
) -> None:
    tables = rules(service(**EVERYWHERE, **policies), *endpoints).tables["filter"]
    refusals = (*tables["KUBE-SERVICES"], *tables["KUBE-EXTERNAL-SERVICES"])
    where = {
        "-d 10.96.0.10/32": "clusterIP",
        "-d 192.0.2.1/32": "externalIP",
        "-d 192.0.2.2/32": "vip",
        "--dst-type LOCAL": "nodePort",
    }
    assert {name for rule in refusals for match, name in where.items() if match in rule} == refused
    assert all(target in rule for rule in refusals)


def test_a_service_without_endpoints_has_no_nat_rules() -> None:
    nat = rules(service(**EVERYWHERE)).tables["nat"]
    assert not [
        name for name in nat if name.startswith(("KUBE-SVC", "KUBE-SVL", "KUBE-EXT", "KUBE-FW", "KUBE-SEP"))
    ]


def test_tcp_and_udp_of_one_number_are_two_ports() -> None:
    svc = service(ports=[ServicePort(name="t", port=53), ServicePort(name="u", port=53, protocol="UDP")])
    ruleset = rules_for(
        state(
            nodes=[NODE], services=[svc], slices=[slice_of(svc, ON_NODE, ports=[{"name": "t", "port": 5353}])]
        ),
        "worker-1",
    )
    assert "-p tcp" in ruleset.tables["nat"]["KUBE-SERVICES"][0]
    assert "-p udp" in ruleset.tables["filter"]["KUBE-SERVICES"][0]


def test_affinity_of_both_policies_remembers_by_endpoint() -> None:
    svc = service(type="NodePort", ports=[HTTP], externalTrafficPolicy="Local", sessionAffinity="ClientIP")
    ruleset = rules(svc, ON_NODE)
    for start in ("KUBE-SVC-", "KUBE-SVL-"):
        assert any(
            "--rcheck --seconds 10800 --reap --name KUBE-SEP-" in rule for rule in chain(ruleset, start)
        )
    assert "--set --name KUBE-SEP-" in chain(ruleset, "KUBE-SEP-")[1]


# --- load balancers ---------------------------------------------------------------------------------------


def firewall(*ranges: str) -> list[str]:
    svc = service(
        type="LoadBalancer", ports=[HTTP], vips=("192.0.2.2", "192.0.2.3"), loadBalancerSourceRanges=ranges
    )
    return [
        rule.replace("KUBE-EXT-CDGGSHYLG3RE2FKL", "EXT")
        for rule in brief(chain(rules(svc, ON_NODE), "KUBE-FW-"))
    ]


def test_source_ranges() -> None:
    assert firewall("203.0.113.0/24", " 198.51.100.0/24 ")[:-1] == [
        "-s 203.0.113.0/24 -j EXT",
        "-s 198.51.100.0/24 -j EXT",
    ]


def test_the_nodes_own_traffic_where_the_node_is_in_a_range() -> None:
    assert firewall("172.18.0.0/24")[:-1] == [
        "-s 172.18.0.0/24 -j EXT",
        "-s 192.0.2.2/32 -j EXT",
        "-s 192.0.2.3/32 -j EXT",
    ]


def test_a_range_of_everything_matches_everything() -> None:
    assert firewall("0.0.0.0/0")[0] == "-j EXT"


def test_without_ranges_there_is_no_firewall() -> None:
    ruleset = rules(service(type="LoadBalancer", ports=[HTTP], vips=("192.0.2.2",)), ON_NODE)
    assert not [name for name in ruleset.tables["nat"] if name.startswith("KUBE-FW-")]
    assert ruleset.tables["filter"]["KUBE-PROXY-FIREWALL"] == ()


def test_the_health_check_port_is_open_without_a_local_endpoint() -> None:
    svc = service(type="LoadBalancer", ports=[HTTP], externalTrafficPolicy="Local", healthCheckNodePort=30999)
    (rule,) = rules(svc, nodePortAddresses=("10.0.0.0/8",)).tables["filter"]["KUBE-NODEPORTS"]
    assert brief((rule,)) == ["-p tcp -m tcp --dport 30999 -j ACCEPT"]


# --- node ports -------------------------------------------------------------------------------------------

LOCAL = "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"


@pytest.mark.parametrize(
    ("settings", "tail"),
    [
        pytest.param({}, [LOCAL], id="everywhere"),
        pytest.param(
            {"localhostNodePorts": False}, [f"! -d 127.0.0.0/8 {LOCAL}"], id="everywhere but localhost"
        ),
        pytest.param({"nodePortAddresses": ("172.18.0.0/16", "0.0.0.0/0")}, [LOCAL], id="a zero prefix"),
        pytest.param(
            {"nodePortAddresses": ("172.18.0.0/16",)},
            ["-d 172.18.0.3/32 -j KUBE-NODEPORTS"],
            id="the node's own",
        ),
        pytest.param(
            {"nodePortAddresses": ("10.244.0.0/16",)},
            ["-d 10.244.1.1/32 -j KUBE-NODEPORTS"],
            id="the bridge's",
        ),
        pytest.param(
            {"nodePortAddresses": ("127.0.0.0/8", "172.18.0.3/32")},
            ["-d 127.0.0.1/32 -j KUBE-NODEPORTS", "-d 172.18.0.3/32 -j KUBE-NODEPORTS"],
            id="localhost too",
        ),
        pytest.param(
            {"nodePortAddresses": ("127.0.0.0/8",), "localhostNodePorts": False},
            [],
            id="localhost, but switched off",
        ),
        pytest.param(
            {"nodePortAddresses": ("primary",)}, ["-d 172.18.0.3/32 -j KUBE-NODEPORTS"], id="the primary one"
        ),
        pytest.param({"nodePortAddresses": ("192.0.2.0/24",)}, [], id="nowhere"),
        pytest.param({"nodePortAddresses": ("fd00::/8",)}, [LOCAL], id="the other family only"),
    ],
)
def test_node_port_addresses(settings: dict[str, Any], tail: list[str]) -> None:
    services = rules(service(type="NodePort", ports=[HTTP]), ON_NODE, **settings).tables["nat"][
        "KUBE-SERVICES"
    ]
    assert "cluster IP" in services[0]
    assert brief(services[1:]) == tail


@pytest.mark.parametrize(
    ("settings", "served"),
    [
        ({}, True),
        ({"localhostNodePorts": False}, False),
        ({"nodePortAddresses": ("172.18.0.0/16",)}, False),
        ({"nodePortAddresses": ("127.0.0.1/32",)}, True),
        ({"nodePortAddresses": ("fd00::/8",)}, True),
        ({"nodePortAddresses": ("primary",)}, False),
    ],
    ids=["default", "off", "excluded", "named", "other family", "primary"],
)
def test_localhost_is_guarded_exactly_where_it_is_served(settings: dict[str, Any], served: bool) -> None:
    assert serves_localhost(ProxySettings(**settings), IPV4) is served
    assert bool(rules(service(), **settings).tables["filter"]["KUBE-FIREWALL"]) is served


# --- the whole --------------------------------------------------------------------------------------------


def many(count: int) -> ClusterState:
    services = [service(f"s{n}", clusterIP=f"10.96.{n // 250}.{n % 250 + 1}") for n in range(count)]
    return state(nodes=[NODE], services=services, slices=[slice_of(s, ON_NODE) for s in services])


@pytest.mark.parametrize(("endpoints", "commented"), [(1000, True), (1001, False)])
def test_large_clusters_go_without_comments_on_endpoints(endpoints: int, commented: bool) -> None:
    nat = rules_for(many(endpoints), "worker-1").tables["nat"]
    assert all(
        ("--comment" in rule) is commented
        for name, chain in nat.items()
        if name.startswith("KUBE-SEP-")
        for rule in chain
    )
    assert all("--comment" in rule for rule in nat["KUBE-SERVICES"])


def test_order_of_the_objects_does_not_matter() -> None:
    forth = many(20)
    back = state(nodes=[NODE], services=forth.services[::-1], slices=forth.endpointSlices[::-1])
    assert compose(rules_for(forth, "worker-1")) == compose(rules_for(back, "worker-1"))


@pytest.mark.parametrize("hostile", ['a" -j ACCEPT', "a\n-F", "a\\", "a'b", "a$b", "-A\tX", "é"])
@pytest.mark.parametrize("field", ["name", "namespace", "portName"])
def test_hostile_names_never_become_rules(field: str, hostile: str) -> None:
    ports = [ServicePort(name=hostile if field == "portName" else "http", port=80)]
    svc = Service(
        metadata=ObjectMeta(
            name=hostile if field == "name" else "web",
            namespace=hostile if field == "namespace" else "default",
        ),
        spec=service(ports=ports).spec,
    )
    with pytest.raises(UnsafeTextError):
        rules(svc, ON_NODE)
