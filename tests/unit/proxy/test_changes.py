"""Tests that a change of Services gives the same rules as writing all of them again, at the cost of the
change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState
from emulator.objects.kinds import EndpointSlice, Service, ServicePort
from emulator.plan.operations import ChangeRules
from emulator.plan.rulechange import RuleChange, compare
from emulator.plan.rules import RuleSet, compose
from emulator.proxy import iptables as slow_iptables
from emulator.proxy import nftables as slow_nftables
from emulator.proxy.changes import service_changes
from emulator.proxy.incremental import iptables, nftables
from emulator.proxy.planner import ProxyPlanner
from emulator.schedule.planner import plan_change
from tests.objects import node, service, slice_of, state
from tests.unit.plan.test_difference import Tables, load_rules

NODES = [node("worker-1", ip="172.18.0.3"), node("worker-2", ip="172.18.0.4", podCIDR="10.244.2.0/24")]
IPS = {"10.244.1.2": "worker-1", "10.244.1.3": "worker-1", "10.244.2.2": "worker-2"}
TWO_PORTS = [
    ServicePort(name="http", port=80, nodePort=30080),
    ServicePort(name="dns", port=53, protocol="UDP", nodePort=30053),
]
SHAPES = {  # several want the same addresses
    "plain": {},
    "local": {"internalTrafficPolicy": "Local"},
    "remembering": {"sessionAffinity": "ClientIP"},
    "external": {"externalIPs": ("192.0.2.1",)},
    "external local": {"externalIPs": ("192.0.2.1", "192.0.2.2"), "externalTrafficPolicy": "Local"},
    "balanced": {
        "type": "LoadBalancer",
        "vips": ("192.0.2.2",),
        "loadBalancerSourceRanges": ("172.18.0.0/16",),
        "ports": TWO_PORTS,
    },
    "by node port": {"type": "NodePort", "externalTrafficPolicy": "Local", "ports": TWO_PORTS[1:]},
}


@st.composite
def objects(draw: st.DrawFn, name: str, number: int) -> tuple[Service, EndpointSlice]:
    made = service(name, clusterIP=f"10.96.0.{number}", **SHAPES[draw(st.sampled_from(sorted(SHAPES)))])
    ips = draw(st.lists(st.sampled_from(sorted(IPS)), unique=True))
    ports = [{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    return made, slice_of(made, *({"ip": ip, "nodeName": IPS[ip]} for ip in ips), ports=ports)


@st.composite
def histories(draw: st.DrawFn, mode: str) -> list[ClusterState]:
    """Draws states that follow each other, each of which shares the objects that did not change."""
    known = [draw(objects(name, number)) for number, name in enumerate("abcd", 1)]
    present = draw(st.sets(st.integers(0, 3)))
    states = []
    for _ in range(4):
        for index in draw(st.sets(st.integers(0, 3), max_size=2)):
            if draw(st.booleans()):
                known[index] = draw(objects("abcd"[index], index + 1))
            else:
                present ^= {index}
        pairs = [known[index] for index in sorted(present)]
        states.append(
            state(nodes=NODES, services=[s for s, _ in pairs], slices=[s for _, s in pairs], mode=mode)
        )
    return states


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories("nftables"))
def test_nftables_changed_are_nftables_written_anew(states: Sequence[ClusterState]) -> None:
    known = nftables.rules(states[0])
    for old, new in pairwise(states):
        changed = known.changed(service_changes(old, new))
        known = nftables.rules(new)
        if changed:  # else two Services claim one address: then everything is written anew
            assert changed[0] == known
            for name in new.node:
                assert changed[0].on(name).table == slow_nftables.node_rules(new, name).table


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories("iptables"))
def test_iptables_changed_are_iptables_written_anew(states: Sequence[ClusterState]) -> None:
    known = iptables.rules(states[0])
    kernel: dict[str, Tables] = {n.name: {} for n in NODES}
    for name, tables in kernel.items():
        load_rules(tables, compose(known.on(name)))
    for old, new in pairwise(states):
        changed = known.changed(service_changes(old, new))
        before = known
        known, changes = changed or (iptables.rules(new), None)
        for name, tables in kernel.items():
            # a Service that claims another one's address has everything compared
            change = changes[name] if changes else compare(before.on(name), known.on(name))
            load_rules(tables, change.text)
            anew: Tables = {}
            load_rules(anew, compose(slow_iptables.node_rules(new, name)))
            assert in_order(tables) == in_order(anew)
            assert in_order(loaded(known.on(name))) == in_order(anew)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs", "userspace"])
@given(data=st.data())
def test_a_planner_that_follows_plans_what_one_that_begins_does(mode: str, data: st.DataObject) -> None:
    states = data.draw(histories(mode))
    follows = ProxyPlanner()
    follows.rules(states[0])
    for old, new in pairwise(states):
        followed, begun = follows.change(old, new), ProxyPlanner().change(old, new)
        assert (followed.changes is None) == (begun.changes is None)
        assert list(followed.stale) == list(begun.stale)
        for name in new.node:
            assert in_order(loaded(followed.after.on(name))) == in_order(loaded(begun.after.on(name)))
            assert followed.after.on(name).table == begun.after.on(name).table


def loaded(rules: RuleSet) -> Tables:
    tables: Tables = {}
    if rules.tables:
        load_rules(tables, compose(rules))
    return tables


def in_order(tables: Tables) -> Tables:
    """Sorts the lines of several Services; the jump to the node ports stays the last rule."""
    shared = {"KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL"}
    return {
        table: {
            chain: [*sorted(rules[:-1]), *rules[-1:]]
            if (table, chain) == ("nat", "KUBE-SERVICES")
            else sorted(rules)
            if chain in shared
            else rules
            for chain, rules in chains.items()
        }
        for table, chains in tables.items()
    }


def many(mode: str, count: int = 500) -> ClusterState:
    services = [service(f"s{n:03}", clusterIP=f"10.96.{n // 250}.{n % 250 + 1}") for n in range(count)]
    return state(
        nodes=NODES,
        services=services,
        slices=[slice_of(s, {"ip": "10.244.1.2"}) for s in services],
        mode=mode,
    )


def with_slice(old: ClusterState, index: int, *ips: str) -> ClusterState:
    slices = list(old.endpointSlices)
    slices[index] = slice_of(old.services[index], *({"ip": ip} for ip in ips))
    return replace(old, endpointSlices=tuple(slices))


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
@pytest.mark.parametrize(
    "ips", [(), ("10.244.1.3",), ("10.244.1.2", "10.244.1.3"), ("10.244.1.2", "10.244.1.3", "10.244.2.2")]
)
def test_the_text_of_a_change_is_as_long_as_the_change(mode: str, ips: Sequence[str]) -> None:
    old = many(mode)
    loads = [
        op for op in plan_change(old, with_slice(old, 250, *ips)).operations if isinstance(op, ChangeRules)
    ]
    assert {op.netns for op in loads} == {"worker-1", "worker-2"}
    assert all("s250" in op.text or "10.96.1.1" in op.text for op in loads)
    assert all(len(op.text) < 3000 for op in loads)


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_objects_made_anew_that_are_equal_are_no_change(mode: str) -> None:
    assert service_changes(many(mode), many(mode)) == ()
    assert plan_change(many(mode), many(mode)).operations == ()


def test_a_change_is_named_with_the_service_as_it_was_and_is() -> None:
    old = many("iptables", 5)
    without = replace(
        old,
        services=old.services[:2] + old.services[3:],
        endpointSlices=old.endpointSlices[:2] + old.endpointSlices[3:],
    )
    (change,) = service_changes(old, without)
    assert (change.key, len(change.old), len(change.new)) == ("default/s002", 1, 0)
    assert [c.key for c in service_changes(without, with_slice(old, 4))] == ["default/s002", "default/s004"]


@pytest.mark.parametrize("index", [0, 7, 19])
def test_a_service_that_goes_is_taken_away_by_the_marks_of_its_rules(index: int) -> None:
    old = many("iptables", 20)
    services, slices = list(old.services), list(old.endpointSlices)
    del services[index], slices[index]
    change = plan_change(old, replace(old, services=tuple(services), endpointSlices=tuple(slices)))
    changes = [op.change for op in change.operations if isinstance(op, ChangeRules)]
    assert len(changes) == len(NODES)
    for made in changes:
        assert isinstance(made, RuleChange)
        assert made.only_removes
        deleted = [deletion for table in made.tables for edit in table.edits for deletion in edit.deleted]
        assert [deletion.marks and deletion.marks.comment for deletion in deleted] == [
            f"default/s{index:03}:http cluster IP"
        ]


def test_only_a_claim_of_another_ones_address_has_iptables_written_anew() -> None:
    first = service("a", externalIPs=("192.0.2.1",))
    other = service("b", clusterIP="10.96.0.11", externalIPs=("192.0.2.1",))
    alone = service("b", clusterIP="10.96.0.11", externalIPs=("192.0.2.2",))
    states = {
        name: state(
            nodes=NODES, services=services, slices=[slice_of(s, {"ip": "10.244.1.2"}) for s in services]
        )
        for name, services in {"one": [first], "both": [first, other], "apart": [first, alone]}.items()
    }
    for old, new, anew in (
        ("one", "both", True),
        ("apart", "both", True),
        ("both", "apart", False),
        ("both", "one", False),
        ("one", "apart", False),
    ):
        changes = service_changes(states[old], states[new])
        assert (iptables.rules(states[old]).changed(changes) is None) == anew, (old, new)


def test_a_change_past_the_large_cluster_writes_comments_anew() -> None:
    old = many("iptables", iptables.LARGE_CLUSTER)
    more = with_slice(old, 7, "10.244.1.2", "10.244.1.3")
    assert iptables.rules(old).changed(service_changes(old, more)) is None
    (load, _) = [op for op in plan_change(old, more).operations if isinstance(op, ChangeRules)]
    assert load.text.count("KUBE-SEP-") > iptables.LARGE_CLUSTER
