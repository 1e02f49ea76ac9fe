"""Tests the balancer in the path: its place, and its rules as iptables-save prints them."""

from __future__ import annotations

import pytest

from emulator.cluster.state import ClusterState
from emulator.hostnet.balancer import balancer_rules, explain_balancer, plan_balancer
from emulator.plan.operations import AddAddress, AddRoute
from tests.unit.controllers.clusters import (
    cluster,
    pod,
    service,
    settled,
)

WEB = pod("web", "app: web", "{containerPort: 80}", "nodeName: worker-1")


def balanced(
    spec: str = "", ports: str = "{port: 80, nodePort: 30080}", ip: str = "172.18.9.9", *pods: str
) -> ClusterState:
    text = service(
        "web", f"type: LoadBalancer, {spec} selector: {{app: web}}, ports: [{ports}]", status_of(ip)
    )
    return settled(
        cluster("{role: control-plane}, {role: worker}, {role: worker}, {role: worker}"), *pods, text
    )


def status_of(ip: str) -> str:
    return f"loadBalancer: {{ingress: [{{ip: {ip}, ipMode: Proxy}}]}}"


def test_nodes_take_turns_and_everything_comes_back() -> None:
    nat = balancer_rules(balanced()).tables["nat"]
    (chain,) = (name for name in nat if name.startswith("LB-"))
    note = '-m comment --comment "default/web"'
    assert nat["PREROUTING"] == (f"-d 172.18.9.9/32 -p tcp {note} -m tcp --dport 80 -j {chain}",)
    assert nat[chain] == (
        (
            '-p tcp -m comment --comment "node worker-1" -m statistic --mode nth --every 3 --packet 0 '
            "-m tcp -j DNAT --to-destination 172.18.0.3:30080"
        ),
        (
            '-p tcp -m comment --comment "node worker-2" -m statistic --mode nth --every 2 --packet 0 '
            "-m tcp -j DNAT --to-destination 172.18.0.4:30080"
        ),
        '-p tcp -m comment --comment "node worker-3" -m tcp -j DNAT --to-destination 172.18.0.5:30080',
    )
    assert nat["POSTROUTING"] == (
        (
            '-m conntrack --ctstate DNAT -m comment --comment "back through the balancer" -j SNAT '
            "--to-source 172.18.255.254"
        ),
    )


def test_source_ranges_are_kept_before_anything_is_translated() -> None:
    mangle = balancer_rules(balanced('loadBalancerSourceRanges: [203.0.113.0/24, "fd00::/8"],')).tables[
        "mangle"
    ]
    (chain,) = (name for name in mangle if name.startswith("LB-FW-"))
    assert mangle["PREROUTING"][0].endswith(f"--dport 80 -j {chain}")
    assert mangle[chain] == ("-s 203.0.113.0/24 -j RETURN", "-j DROP")


@pytest.mark.parametrize("spec", ["allocateLoadBalancerNodePorts: false,", "externalTrafficPolicy: Local,"])
def test_what_leads_nowhere_has_no_rule(spec: str) -> None:
    assert balancer_rules(balanced(spec, ports="{port: 80}")).tables["nat"]["PREROUTING"] == ()


def test_under_local_only_healthy_nodes_have_a_turn() -> None:
    nat = balancer_rules(
        balanced("externalTrafficPolicy: Local,", "{port: 80, nodePort: 30080}", "172.18.9.9", WEB)
    ).tables["nat"]
    turns = next(rules for name, rules in nat.items() if name.startswith("LB-"))
    assert turns == (
        '-p tcp -m comment --comment "node worker-1" -m tcp -j DNAT --to-destination 172.18.0.3:30080',
    )


@pytest.mark.parametrize(("ip", "routed"), [("172.18.9.9", False), ("192.0.2.7", True)])
def test_the_router_knows_the_way_to_addresses_elsewhere(ip: str, routed: bool) -> None:
    operations = list(plan_balancer(balanced(ip=ip)))
    assert any(isinstance(op, AddAddress) and op.address == f"{ip}/32" for op in operations)
    assert (
        any(
            isinstance(op, AddRoute)
            and (op.netns, op.dst, op.via) == ("router", f"{ip}/32", "172.18.255.254")
            for op in operations
        )
        is routed
    )


def test_without_a_service_for_it_there_is_none() -> None:
    assert list(plan_balancer(settled(cluster(), WEB))) == []


def test_every_rule_names_the_field_that_caused_it_but_the_one_of_every_balancer() -> None:
    state = balanced("loadBalancerSourceRanges: [203.0.113.0/24],")
    rules = [
        f"iptables -t {table} -A {chain} {rule}"
        for table, chains in balancer_rules(state).tables.items()
        for chain, texts in chains.items()
        for rule in texts
    ]
    found = dict(explain_balancer(state))
    assert sorted(found) == sorted(rules)
    assert {str(origin) for command, origin in found.items() if "LB-FW" in command} == {
        "Service default/web spec.loadBalancerSourceRanges"
    }
    assert {str(origin) for command, origin in found.items() if "DNAT --to" in command} == {
        "Service default/web spec.ports.nodePort"
    }
    assert [command.split()[4] for command, origin in found.items() if origin is None] == ["POSTROUTING"]
    local = balanced("externalTrafficPolicy: Local,", "{port: 80, nodePort: 30080}", "172.18.9.9", WEB)
    assert "Service default/web spec.externalTrafficPolicy" in map(
        str, dict(explain_balancer(local)).values()
    )


def test_a_cluster_without_a_balancer_has_none_of_its_rules() -> None:
    assert list(explain_balancer(settled(cluster("{role: control-plane}")))) == []
