"""Tests node affinity, Pod affinity and anti-affinity, and topology spread, as the scheduler's filters mean
them.
"""

from __future__ import annotations

from collections import Counter

import pytest

from emulator.cluster.state import ClusterState
from tests.unit.controllers.clusters import (
    node,
    pod,
    settled,
    users_pods,
    workload,
)

REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)
NODES = [
    node(name, labels=f"zone: {zone}, cpus: '{cpus}'")
    for name, zone, cpus in (("a", "x", 4), ("b", "x", 8), ("c", "y", 16))
]
HOST, ZONE = "kubernetes.io/hostname", "zone"


def expressions(text: str, where: str = "matchExpressions") -> str:
    return f"affinity: {{nodeAffinity: {{{REQUIRED}: {{nodeSelectorTerms: [{{{where}: [{text}]}}]}}}}}}"


def pods_affinity(kind: str, term: str) -> str:
    return f"affinity: {{{kind}: {{{REQUIRED}: [{{{term}}}]}}}}"


def spread(key: str, more: str = "", skew: int = 1) -> str:
    fields = (
        f"maxSkew: {skew}, topologyKey: {key}, whenUnsatisfiable: DoNotSchedule, labelSelector: "
        f"{{matchLabels: {{app: web}}}}"
    )
    return f"topologySpreadConstraints: [{{{fields}{more}}}]"


def where(state: ClusterState) -> dict[str, str]:
    return {p.name: p.spec.nodeName for p in users_pods(state)}


def replicas(count: int, spec: str) -> str:
    return workload("Deployment", "web", count).replace("containers:", f"{spec}, containers:")


def spread_out(count: int, spec: str, *others: str) -> tuple[dict[str, int], int]:
    """Returns how many of ``count`` replicas each node runs, and how many wait."""
    state = settled(*NODES, *others, replicas(count, spec))
    return dict(Counter(p.spec.nodeName for p in users_pods(state) if p.name.startswith("web"))), len(
        state.waiting
    )


@pytest.mark.parametrize(
    ("requirement", "nodes"),
    [
        ("{key: zone, operator: In, values: [y, z]}", "c"),
        ("{key: zone, operator: NotIn, values: [x]}", "c"),
        ("{key: absent, operator: NotIn, values: [x]}", "abc"),
        ("{key: zone, operator: Exists}", "abc"),
        ("{key: absent, operator: Exists}", ""),
        ("{key: absent, operator: DoesNotExist}", "abc"),
        ("{key: cpus, operator: Gt, values: ['4']}", "bc"),
        ("{key: cpus, operator: Lt, values: ['8']}", "a"),
        ("{key: zone, operator: Gt, values: ['4']}", ""),
        ("{key: zone, operator: In, values: [x]}, {key: cpus, operator: Gt, values: ['4']}", "b"),
    ],
)
def test_required_node_affinity(requirement: str, nodes: str) -> None:
    state = settled(*NODES, *(pod(f"p{i}", spec=expressions(requirement)) for i in range(3)))
    assert {*where(state).values()} == {*nodes}
    assert bool(state.waiting) is not bool(nodes)


def test_fields_select_a_node_by_its_name() -> None:
    assert where(
        settled(
            *NODES,
            pod("p", spec=expressions("{key: metadata.name, operator: In, values: [b]}", "matchFields")),
        )
    ) == {"p": "b"}


def test_one_term_of_several_is_enough_and_node_selector_holds_beside_it() -> None:
    terms = ", ".join(
        f"{{matchExpressions: [{{key: {HOST}, operator: In, values: [{name}]}}]}}" for name in "bc"
    )
    either = f"affinity: {{nodeAffinity: {{{REQUIRED}: {{nodeSelectorTerms: [{terms}]}}}}}}"
    assert {*where(settled(*NODES, *(pod(f"p{i}", spec=either) for i in range(4)))).values()} == {"b", "c"}
    assert where(settled(*NODES, pod("p", spec=f"{either}, nodeSelector: {{zone: 'y'}}"))) == {"p": "c"}


def test_preferred_node_affinity_is_a_wish() -> None:
    preference = "matchExpressions: [{key: zone, operator: In, values: [%s]}]"
    wish = f"affinity: {{nodeAffinity: {{{PREFERRED}: [{{weight: 5, preference: {{{preference}}}}}]}}}}"
    assert where(settled(*NODES, pod("p", spec=wish % "'y'"))) == {"p": "c"}
    assert where(settled(*NODES, pod("p", spec=wish % "nowhere"))) == {"p": "a"}


def test_daemons_run_where_their_affinity_lets_them() -> None:
    daemon = workload("DaemonSet", "d", None).replace(
        "containers:", expressions("{key: zone, operator: In, values: [x]}") + ", containers:"
    )
    assert sorted(where(settled(*NODES, daemon)).values()) == ["a", "b"]


# --- other Pods -------------------------------------------------------------------------------------------

WEB = "labelSelector: {matchLabels: {app: web}}"


def test_anti_affinity_leaves_one_to_a_place_and_the_rest_wait() -> None:
    own = pods_affinity("podAntiAffinity", f"{WEB}, topologyKey: {HOST}")
    assert spread_out(5, own) == ({"a": 1, "b": 1, "c": 1}, 2)
    placed, waiting = spread_out(3, pods_affinity("podAntiAffinity", f"{WEB}, topologyKey: {ZONE}"))
    assert (len(placed), waiting) == (2, 1)


def test_anti_affinity_of_those_that_are_there_counts_too() -> None:
    loner = pod(
        "loner", spec="nodeName: a, " + pods_affinity("podAntiAffinity", f"{WEB}, topologyKey: {ZONE}")
    )
    state = settled(*NODES, loner, pod("p", "app: web"), pod("q", "app: other"))
    assert where(state)["p"] == "c"
    assert where(state)["q"] == "b"


def test_affinity_goes_where_others_are() -> None:
    near = pods_affinity("podAffinity", f"{WEB}, topologyKey: {ZONE}")
    state = settled(
        *NODES, pod("web", "app: web", spec="nodeName: c"), pod("p", spec=near), pod("q", spec=near)
    )
    assert where(state) == {"web": "c", "p": "c", "q": "c"}


def test_affinity_with_nobody_waits_but_with_its_own_kind_begins() -> None:
    near = pods_affinity("podAffinity", f"{WEB}, topologyKey: {ZONE}")
    assert [row.reason for row in settled(*NODES, pod("p", spec=near)).waiting] == [
        "0/3 nodes are available: 3 node(s) didn't match pod affinity rules"
    ]
    placed, waiting = spread_out(4, near)
    assert placed in ({"a": 2, "b": 2}, {"c": 4})
    assert waiting == 0


def test_a_term_is_about_its_pods_namespace_unless_it_names_others() -> None:
    other = pod("web", "app: web", spec="nodeName: c", meta="namespace: shop")
    blind = pods_affinity("podAffinity", f"{WEB}, topologyKey: {ZONE}")
    named = pods_affinity("podAffinity", f"{WEB}, topologyKey: {ZONE}, namespaces: [shop]")
    every = pods_affinity("podAffinity", f"{WEB}, topologyKey: {ZONE}, namespaceSelector: {{}}")
    chosen = pods_affinity(
        "podAffinity", f"{WEB}, topologyKey: {ZONE}, namespaceSelector: {{matchLabels: {{team: t}}}}"
    )
    space = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: t}}}"
    assert settled(*NODES, other, pod("p", spec=blind)).waiting
    for spec in (named, every, chosen):
        assert where(settled(*NODES, space, other, pod("p", spec=spec)))["p"] == "c"


def test_match_label_keys_tell_revisions_apart() -> None:
    term = f"{WEB}, topologyKey: {HOST}, matchLabelKeys: [rev]"
    first = pod("old", "app: web, rev: r1", spec="nodeName: a")
    same = pod(
        "p",
        "app: web, rev: r1",
        spec="nodeSelector: {kubernetes.io/hostname: a}, " + pods_affinity("podAntiAffinity", term),
    )
    new = pod(
        "p",
        "app: web, rev: r2",
        spec="nodeSelector: {kubernetes.io/hostname: a}, " + pods_affinity("podAntiAffinity", term),
    )
    assert settled(*NODES, first, same).waiting
    assert not settled(*NODES, first, new).waiting
    mismatch = term.replace("matchLabelKeys", "mismatchLabelKeys")
    assert settled(*NODES, first, new.replace(term, mismatch)).waiting


def test_preferred_anti_affinity_spreads_and_keeps_nobody_waiting() -> None:
    wish = (
        f"affinity: {{podAntiAffinity: {{{PREFERRED}: [{{weight: 100, podAffinityTerm: {{{WEB}, "
        f"topologyKey: {ZONE}}}}}]}}}}"
    )
    placed, waiting = spread_out(4, wish)
    assert (placed["c"], placed["a"] + placed["b"], waiting) == (2, 2, 0)


# --- topology spread --------------------------------------------------------------------------------------


def test_spread_keeps_domains_within_the_skew() -> None:
    placed, waiting = spread_out(6, spread(ZONE))
    assert (placed["c"], placed["a"] + placed["b"], waiting) == (3, 3, 0)


def test_spread_counts_the_pods_that_are_there() -> None:
    there = [pod(f"old{i}", "app: web", spec="nodeName: c") for i in range(2)]
    placed, waiting = spread_out(2, spread(ZONE), *there)
    assert (placed, waiting) == ({"a": 1, "b": 1}, 0)


def test_a_node_without_the_label_takes_none() -> None:
    state = settled(node("bare"), replicas(1, spread(ZONE)))
    assert [row.reason for row in state.waiting] == [
        (
            "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing "
            "required label)"
        )
    ]


def test_domains_that_node_affinity_leaves_out_do_not_count_unless_asked() -> None:
    only_x = expressions("{key: zone, operator: In, values: [x]}")
    assert spread_out(4, f"{only_x}, {spread(ZONE)}") == ({"a": 2, "b": 2}, 0)
    placed, waiting = spread_out(4, f"{only_x}, {spread(ZONE, ', nodeAffinityPolicy: Ignore')}")
    assert (sum(placed.values()), waiting) == (1, 3)


def test_tainted_nodes_count_unless_the_policy_honours_taints() -> None:
    nodes = [
        node("a", labels="zone: x"),
        node("b", labels="zone: 'y'", spec="taints: [{key: k, effect: NoSchedule}]"),
    ]
    assert len(settled(*nodes, replicas(3, spread(ZONE))).waiting) == 2
    assert not settled(*nodes, replicas(3, spread(ZONE, ", nodeTaintsPolicy: Honor"))).waiting


def test_too_few_domains_have_room_for_the_skew_alone() -> None:
    placed, waiting = spread_out(6, spread(ZONE, ", minDomains: 3"))
    assert (sum(placed.values()), waiting) == (2, 4)


def test_schedule_anyway_is_a_wish() -> None:
    placed, waiting = spread_out(4, spread(ZONE).replace("DoNotSchedule", "ScheduleAnyway"))
    assert (placed["c"], waiting) == (2, 0)
