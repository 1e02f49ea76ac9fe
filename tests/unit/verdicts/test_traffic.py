"""Tests the verdict on the requests that are sent while a roll-out goes on."""

from __future__ import annotations

from dataclasses import replace

from emulator.controllers.rollout import Progress
from emulator.model.journeys import Change, Connection, Hop, Journey
from emulator.model.requirements import Lost, Stuck
from emulator.model.timeline import SECOND, ClusterEvent
from emulator.net import Endpoint
from emulator.report.prose_of_requirements import say_requirement, say_sentence
from emulator.verdicts.traffic import PodPlaces, judge_rollout, judge_traffic
from tests.unit.model.test_timeline import DST, SRC, attempt
from tests.unit.states import make_flow, make_state

FLOW = replace(make_flow(make_state(), "worker-1", "10.244.1.3", 80), name="f")
FLOW = replace(FLOW, to=replace(FLOW.to, service="default/web"))
POD = Endpoint.parse("10.244.1.3:8080")
PLACES = PodPlaces({"10.244.1.3": "default/a"}, {"default/a": "worker-1", "default/b": "worker-2"})
EVENTS = [
    ClusterEvent(1 * SECOND, "Pod", "default/b", "ready"),
    ClusterEvent(2 * SECOND, "Pod", "default/a", "terminating, gone"),
    ClusterEvent(2 * SECOND, "Service", "default/web", "endpoint a removed"),
    ClusterEvent(2 * SECOND, "Service", "default/other", "endpoint a removed"),
    ClusterEvent(3 * SECOND, "Pod", "default/a", "network down"),
    ClusterEvent(3 * SECOND, "kube-proxy", "", "rules synced on 3 nodes"),
]


def journey(*, translated: bool) -> Journey:
    hop = Hop(0, "worker-1", "eth0", "in", SRC, DST, 64, 1)
    changes = (Change("DNAT", "worker-1", DST, POD, 1),) if translated else ()
    return Journey(
        token=1,
        crafted=False,
        sent=Connection(SRC, DST),
        there=(hop,),
        back=(),
        changes=changes,
        outcome="dropped",
    )


def test_as_many_may_be_lost_as_are_allowed() -> None:
    sent = [attempt(0), attempt(1, "timeout"), attempt(2, "timeout", flow="g")]
    allowed = judge_traffic(FLOW, sent, {}, EVENTS, PLACES, 1)
    assert (allowed.verdict, say_requirement(allowed).partition(";")[0]) == ("pass", "1 of 2 lost")
    found = judge_traffic(FLOW, sent, {}, EVENTS, PLACES, 0)
    assert (found.verdict, found.checked, found.name) == ("fail", 2, "traffic: f")
    assert isinstance(found.breach, Lost)
    assert (found.breach.sent, found.breach.lost) == (2, 1)


def test_nothing_sent_proves_nothing() -> None:
    assert judge_traffic(FLOW, [], {}, EVENTS, PLACES, 0).verdict == "unknown"


def test_a_failure_names_the_request_its_hop_and_the_end_of_its_endpoint() -> None:
    sent = [attempt(2.5, "timeout"), attempt(2.6, "timeout"), attempt(0)]
    said = say_requirement(judge_traffic(FLOW, sent, {0: journey(translated=True)}, EVENTS, PLACES, 0))
    assert said.startswith("2 of 3 lost; the first at ")
    assert "from 10.244.1.2:40000 to 10.96.1.0:80: timed out, last seen at worker-1/eth0 in" in said
    assert "; it was led to default/a; Pod default/a: terminating, gone " in said
    assert ", network down " in said
    assert "; kube-proxy: rules synced on 3 nodes " in said
    assert "default/b" not in said


def test_without_an_endpoint_the_pods_of_the_node_are_told_of_or_else_the_service() -> None:
    sent = [attempt(2.5, "timeout")]
    at_node = say_requirement(judge_traffic(FLOW, sent, {0: journey(translated=False)}, EVENTS, PLACES, 0))
    assert "it was led to" not in at_node
    assert "Pod default/a: terminating, gone" in at_node
    nowhere = say_requirement(judge_traffic(FLOW, sent, {}, EVENTS, PLACES, 0))
    assert "Service default/web: endpoint a removed" in nowhere
    assert "default/other" not in nowhere


def test_a_roll_out_that_does_not_end_says_what_it_waits_for() -> None:
    good = judge_rollout("step 1, Deployment default/web", Progress(True, False, "done"))
    assert good.verdict == "pass"
    assert say_sentence(good) == (
        "step 1, Deployment default/web: the roll-out ends within its progress deadline."
    )
    bad = judge_rollout("web", Progress(False, True, "exceeded"))
    assert (bad.verdict, bad.breach, say_requirement(bad)) == ("fail", Stuck("exceeded"), "exceeded")
