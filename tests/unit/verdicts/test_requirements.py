"""Tests requirements: each sentence of the network model against journeys and interfaces, with the fact that
breaks it.
"""

from __future__ import annotations

from typing import Any

import pytest

from emulator.cluster.state import ClusterState
from emulator.model.flows import FlowKind
from emulator.model.journeys import Change, Connection, Ending, Hop, Journey
from emulator.model.requirements import Sentence, Translated
from emulator.model.results import (
    FlowResult,
    Observation,
    Requirement,
    Verdict,
)
from emulator.net import Endpoint
from emulator.report.prose_of_requirements import say_requirement
from emulator.verdicts.requirements import check_requirements, merge_requirements
from tests.unit.expectations import expectation_of
from tests.unit.states import (
    CLIENT,
    NODE_IP,
    OTHER,
    WEB_1,
    WEB_IP,
    make_flow,
    make_service,
    make_state,
)

STATE = make_state(make_service())
ADDRESSES = {
    "default_client": frozenset({"10.244.1.2"}),
    "default_web-0": frozenset({"10.244.1.3"}),
    "default_other": frozenset({"10.244.2.2"}),
    "default_web-1": frozenset({"10.244.2.3"}),
    "control-plane": frozenset({"172.18.0.2", "10.244.0.1"}),
    "worker-1": frozenset({"172.18.0.3", "10.244.1.1"}),
    "worker-2": frozenset({"172.18.0.4", "10.244.2.1"}),
}
SNAT = Change("SNAT", "worker-1", Endpoint.parse(f"{CLIENT}:4000"), Endpoint.parse("172.18.0.3:4000"), 1)


def result(
    who: str, ip: str, kind: FlowKind, expected: Any = "delivered", lost: int = 0, **fields: Any
) -> FlowResult:
    """Returns a flow to ``ip``:8080 with one journey that is as it should be, but for ``fields``."""
    flow = make_flow(STATE, who, ip, 8080)
    assert flow.kind == kind
    hop = Hop(
        1,
        "default_web-1",
        "eth0",
        "in",
        Endpoint.parse(f"{flow.client.ip}:4000"),
        Endpoint.parse(f"{ip}:8080"),
        62,
        0,
    )
    plain: dict[str, Any] = {
        "token": 1,
        "crafted": False,
        "sent": Connection(Endpoint.parse(f"{flow.client.ip}:4000"), Endpoint.parse(f"{ip}:8080")),
        "there": (hop,),
        "back": (),
        "changes": (),
        "outcome": "delivered",
        "backend": Endpoint.of(ip, 8080),
        "source_seen": flow.client.ip,
    }
    return FlowResult(
        flow=flow,
        expected=expectation_of(expected),
        observed=Observation(outcomes={}, lost_frames=lost),
        journeys=(Journey(**plain | fields),),
        verdict="pass",
    )


def check(
    name: str, *results: FlowResult, state: ClusterState = STATE, addresses: Any = ADDRESSES
) -> Requirement:
    return {r.name: r for r in check_requirements(state, results, addresses)}[name]


REACH: dict[str, tuple[str, FlowKind]] = {
    "pods-reach-pods": ("client", "pod-to-pod"),
    "nodes-reach-pods": ("worker-1", "node-to-pod"),
}


@pytest.mark.parametrize("name", REACH)
def test_reached_without_nat(name: str) -> None:
    requirement = check(name, result(*_way(name)), result(*_way(name)))
    assert (requirement.verdict, requirement.checked, say_requirement(requirement)) == ("pass", 2, "")


def test_another_port_is_no_other_address() -> None:
    """Takes two connections that DNAT would make one, which conntrack itself prevents."""
    moved = Change(
        "SNAT", "worker-1", Endpoint.parse(f"{CLIENT}:40000"), Endpoint.parse(f"{CLIENT}:25572"), 0
    )
    assert check("pods-reach-pods", result("client", WEB_1, "pod-to-pod", changes=(moved,))).verdict == "pass"


def _way(name: str) -> tuple[str, str, FlowKind]:
    who, kind = REACH[name]
    return who, WEB_1, kind


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    # id: (how the journey differs, words of the reason)
    "translated": ({"changes": (SNAT,)}, "SNAT at worker-1"),
    "not-reached": (
        {"outcome": "dropped", "ending": Ending(kind="silence", place="default_client"), "source_seen": ""},
        "dropped, silence: no packet left default_client",
    ),
    "another-source": ({"source_seen": "172.18.0.9"}, "172.18.0.9 was seen"),
}


@pytest.mark.parametrize("name", REACH)
@pytest.mark.parametrize("case", BROKEN)
def test_not_reached_or_not_without_nat(name: str, case: str) -> None:
    fields, words = BROKEN[case]
    requirement = check(
        name, result(*_way(name)), result(*_way(name), **fields), result(*_way(name), **fields)
    )
    assert (requirement.verdict, requirement.checked) == ("fail", 3)
    assert words in say_requirement(requirement)
    assert say_requirement(requirement).endswith("(and 1 more)")


SILENT = {
    "no-flow": [],
    "another-kind": [result("client", NODE_IP["worker-2"], "pod-to-node", outcome="dropped")],
    "from-a-node": [result("worker-1", WEB_1, "node-to-pod", outcome="dropped")],
    "to-itself": [result("client", CLIENT, "pod-to-pod", changes=(SNAT,))],
    "a-refusal-that-was-promised": [
        result(
            "client",
            OTHER,
            "pod-to-pod",
            expected="rejected",
            outcome="rejected",
            backend=None,
            source_seen=None,
        )
    ],
    "frames-lost": [result("client", WEB_1, "pod-to-pod", lost=1, changes=(SNAT,))],
}


@pytest.mark.parametrize("case", SILENT)
@pytest.mark.parametrize("name", ["pods-reach-pods", "same-address-inside-and-outside"])
def test_without_a_fact_nothing_is_known(name: str, case: str) -> None:
    requirement = check(name, *SILENT[case])
    assert (requirement.verdict, requirement.checked) == ("unknown", 0)
    assert say_requirement(requirement)


def test_a_pod_that_refuses_in_person_was_reached() -> None:
    refused = result("client", OTHER, "pod-to-pod", expected="rejected", outcome="rejected")
    assert check("pods-reach-pods", refused).verdict == "pass"


def test_the_address_that_others_see_is_the_pod_s_own() -> None:
    assert check("same-address-inside-and-outside", result("client", WEB_1, "pod-to-pod")).verdict == "pass"
    requirement = check(
        "same-address-inside-and-outside", result("client", WEB_1, "pod-to-pod", source_seen="172.18.0.3")
    )
    assert requirement.verdict == "fail"
    assert (
        say_requirement(requirement) == f"pod default/client has {CLIENT}, and {WEB_1}:8080 saw 172.18.0.3"
        or "saw 172.18.0.3" in say_requirement(requirement)
    )


def test_every_pod_s_address_is_on_its_own_interface() -> None:
    requirement = check("pod-address-on-its-own-interface")
    assert (requirement.verdict, requirement.checked) == ("pass", 4)  # not the hostNetwork Pod


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        (
            {**ADDRESSES, "default_client": frozenset()},
            "10.244.1.2 of pod default/client is on no interface of default_client",
        ),
        (
            {**ADDRESSES, "worker-2": frozenset({"10.244.1.2"})},
            "10.244.1.2 of pod default/client is on an interface of worker-2 too",
        ),
    ],
    ids=["nowhere", "twice"],
)
def test_a_pod_s_address_elsewhere(addresses: dict[str, frozenset[str]], reason: str) -> None:
    requirement = check("pod-address-on-its-own-interface", addresses=addresses)
    assert (requirement.verdict, say_requirement(requirement)) == ("fail", reason)


def test_a_cluster_ip_is_on_no_interface() -> None:
    requirement = check("cluster-ip-on-no-interface")
    assert (requirement.verdict, requirement.checked) == ("pass", 1)


def test_a_cluster_ip_on_an_interface() -> None:
    requirement = check(
        "cluster-ip-on-no-interface", addresses={**ADDRESSES, "worker-1": frozenset({WEB_IP})}
    )
    assert (requirement.verdict, say_requirement(requirement)) == (
        "fail",
        f"{WEB_IP} of svc default/web is on an interface of worker-1",
    )


def test_a_headless_service_has_no_cluster_ip() -> None:
    requirement = check("cluster-ip-on-no-interface", state=make_state(make_service(ip="None")))
    assert (requirement.verdict, requirement.checked) == ("unknown", 0)


def test_no_pods_no_pod_address() -> None:
    assert (
        check("pod-address-on-its-own-interface", state=make_state(make_service(), pods=())).verdict
        == "unknown"
    )


@pytest.mark.parametrize(
    ("verdicts", "merged"),
    [
        (("pass", "fail"), "fail"),
        (("unknown", "pass"), "pass"),
        (("unknown", "unknown"), "unknown"),
        (("fail", "unknown"), "fail"),
    ],
)
def test_a_sentence_that_is_broken_once_is_broken(verdicts: tuple[Verdict, ...], merged: Verdict) -> None:
    def row(verdict: Verdict, checked: int) -> Requirement:
        breach = Translated("a-flow", SNAT) if verdict == "fail" else None
        return Requirement(
            sentence=Sentence.NODES_REACH_PODS, verdict=verdict, checked=checked, breach=breach
        )

    assert merge_requirements([[row(verdict, 2)] for verdict in verdicts]) == (row(merged, 4),)


def test_a_sentence_is_unknown_where_its_evidence_was_lost_and_else_left_out() -> None:
    """Reserves UNKNOWN for lost evidence, since newcomers read it as half a failure."""
    lost = result("client", WEB_1, "pod-to-pod", lost=1, changes=(SNAT,))
    merged = {row.name: row for row in merge_requirements([check_requirements(STATE, [lost], ADDRESSES)])}
    assert merged["pods-reach-pods"].verdict == "unknown"
    assert "nodes-reach-pods" not in merged  # no node sent anything
    answered = merge_requirements([check_requirements(STATE, [], ADDRESSES)])
    assert [(row.name, row.verdict) for row in answered] == [
        ("pod-address-on-its-own-interface", "pass"),
        ("cluster-ip-on-no-interface", "pass"),
    ]


@pytest.mark.parametrize("name", REACH)
def test_a_server_that_does_not_take_what_came_breaks_no_sentence(name: str) -> None:
    refused: dict[str, Any] = {"outcome": "rejected", "unserved": ("default/web-1",)}
    requirement = check(name, result(*_way(name), **refused), result(*_way(name)))
    assert (requirement.verdict, requirement.checked) == ("pass", 1)
    assert check(name, result(*_way(name), changes=(SNAT,), **refused)).verdict == "fail"
