"""Tests expected beside observed, and the hop that shows the difference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulator.model.frames import Health
from emulator.model.journeys import ANSWERED, Change, Journey
from emulator.model.results import FlowResult, Observation
from emulator.net import Endpoint
from emulator.report.prose_of_verdicts import say_difference
from emulator.verdicts.compare import (
    Row,
    backend_name,
    few,
    side_by_side,
    telling_journey,
    where_it_differs,
)
from tests.unit.report.samples import (
    CLIENT,
    DELIVERED,
    DROPPED,
    FAILED,
    PASSED,
    PODS,
    SERVICE,
    WEB_0,
    WEB_1,
    WORKER_1,
    expectation,
    flow,
)

SNAT = Change("SNAT", "worker-1", Endpoint.parse(f"{CLIENT}:40000"), Endpoint.parse(f"{WORKER_1}:1234"), 2)


def observed(result: FlowResult, **fields: object) -> FlowResult:
    return replace(result, observed=replace(result.observed, **fields))  # type: ignore[arg-type]  # fields differ by test


@pytest.mark.parametrize(
    ("result", "differs"),
    [
        pytest.param(PASSED, set(), id="as promised"),
        pytest.param(FAILED, {"outcome", "backends"}, id="dropped instead of delivered"),
        pytest.param(
            observed(PASSED, sources=(WORKER_1,)), {"source"}, id="masqueraded instead of preserved"
        ),
        pytest.param(
            observed(PASSED, backends={Endpoint.of(WEB_0, 8080): 1}), {"backends"}, id="a backend never met"
        ),
        pytest.param(
            observed(PASSED, backends={Endpoint.of(WEB_0, 8080): 1, Endpoint.of(WEB_1, 81): 1}),
            {"backends"},
            id="another backend met",
        ),
        pytest.param(
            replace(
                observed(PASSED, backends={Endpoint.of(WEB_0, 8080): 1}), expected=expectation(partial=True)
            ),
            set(),
            id="many backends",
        ),
        pytest.param(
            observed(PASSED, reply_from=(Endpoint.parse(f"{WEB_0}:8080"),)),
            {"reply from"},
            id="answered by a stranger",
        ),
        pytest.param(observed(PASSED, lost_frames=3), {"lost frames"}, id="lost frames"),
        pytest.param(
            replace(PASSED, expected=expectation(outcome="dropped", backends={})),
            {"outcome", "backends"},
            id="delivered instead of dropped",
        ),
        pytest.param(
            replace(PASSED, observed=Observation(outcomes={})), {"outcome", "backends"}, id="nothing observed"
        ),
        pytest.param(
            replace(PASSED, expected=expectation(backends={}, addresses={}, source="")),
            set(),
            id="nothing promised but the outcome",
        ),
    ],
)
def test_the_aspects_that_differ(result: FlowResult, differs: set[str]) -> None:
    assert {row.what for row in side_by_side(result, PODS) if not row.same} == differs


CHECKED = replace(PASSED, expected=expectation(health=Health(200, 1)))


@pytest.mark.parametrize(
    ("answers", "said", "same"),
    [
        ((Health(200, 1),), "200, 1 local endpoint", True),
        ((Health(503, 0),), "503, 0 local endpoints", False),
        ((Health(200, 1), Health(200, 2)), "200, 1 local endpoint; 200, 2 local endpoints", False),
        ((), "none", False),
    ],
)
def test_the_answer_of_a_health_check(answers: tuple[Health, ...], said: str, same: bool) -> None:
    assert Row("answer", "200, 1 local endpoint", said, same) in side_by_side(
        observed(CHECKED, health=answers), PODS
    )


def test_where_another_answer_came() -> None:
    ill = observed(CHECKED, health=(Health(503, 0),))
    difference = where_it_differs(ill, DELIVERED)
    assert difference
    assert say_difference(ill, DELIVERED, difference).startswith(
        "the answer (503, 0 local endpoints) came as default_client/eth0 in "
    )
    assert where_it_differs(ill, replace(DELIVERED, crafted=True)) is None
    assert where_it_differs(observed(CHECKED, health=(Health(200, 1),)), DELIVERED) is None


def test_both_sides_in_words() -> None:
    assert side_by_side(PASSED, PODS) == (
        Row("outcome", "delivered", "delivered ×17", True),
        Row("source", f"preserved ({CLIENT})", CLIENT, True),
        Row(
            "backends",
            "default/web-0:8080, default/web-1:8080",
            "default/web-0:8080 ×9, default/web-1:8080 ×8",
            True,
        ),
        Row("reply from", f"{SERVICE}:80", f"{SERVICE}:80", True),
    )


def test_an_icmp_reply_has_no_port() -> None:
    ping = flow("ping", protocol="ICMP", to=replace(PASSED.flow.to, ip=WEB_0, port=0))
    result = observed(replace(PASSED, flow=ping), reply_from=(Endpoint.of(WEB_0, 0), Endpoint.of(WEB_0, 7)))
    assert Row("reply from", WEB_0, f"{WEB_0}, {WEB_0}:7", True) in side_by_side(result, PODS)


@pytest.mark.parametrize(
    ("journey", "where"),
    [
        pytest.param(DELIVERED, "", id="as promised"),
        pytest.param(
            DROPPED,
            f"ended at default_client/eth0 out {CLIENT}:40001 → 10.96.0.20:80 ttl 64 (silence: last "
            "seen at default_client/eth0 out)",
            id="the last hop",
        ),
        pytest.param(
            replace(DROPPED, there=(), ending=ANSWERED), "no packet left default_client", id="no hop"
        ),
        pytest.param(
            replace(DELIVERED, source_seen=WORKER_1, changes=(*DELIVERED.changes, SNAT)),
            str(SNAT),
            id="the rewrite of the source",
        ),
        pytest.param(
            replace(DELIVERED, backend=Endpoint.of(WEB_1, 81)),
            str(DELIVERED.changes[0]),
            id="the rewrite of the destination",
        ),
        pytest.param(
            replace(DELIVERED, reply_from=Endpoint.parse(f"{WEB_1}:8080")),
            f"the reply came as default_client/eth0 in {SERVICE}:80 → {CLIENT}:40000 ttl 62",
            id="the reply",
        ),
    ],
)
def test_where_a_journey_differs(journey: Journey, where: str) -> None:
    difference = where_it_differs(PASSED, journey)
    assert (say_difference(PASSED, journey, difference) if difference else "") == where
    if difference and "(" in where:  # how it ended is said once
        reason = f"the client met this: {where.partition('(')[2].removesuffix(')')}"
        assert say_difference(PASSED, journey, difference, reason) == where.partition(" (")[0]


def test_the_source_is_judged_by_the_rule_of_the_backend_that_was_met() -> None:
    hairpin = expectation(backends={Endpoint.of(WEB_0, 8080): "node", Endpoint.of(WEB_1, 8080): "preserved"})
    result = replace(PASSED, expected=hairpin)
    assert where_it_differs(result, replace(DELIVERED, source_seen=WORKER_1))
    assert (
        where_it_differs(result, replace(DELIVERED, source_seen=WORKER_1, backend=Endpoint.of(WEB_0, 8080)))
        is None
    )


def test_the_telling_journey_is_the_first_that_differs() -> None:
    assert telling_journey(replace(PASSED, journeys=(DELIVERED, DROPPED))) == DROPPED
    assert telling_journey(PASSED) == DELIVERED
    assert telling_journey(replace(PASSED, journeys=())) is None


def test_names_of_backends() -> None:
    assert backend_name(Endpoint.of(WEB_0, 8080), PODS) == "default/web-0:8080"
    assert backend_name(Endpoint.of(WEB_0, 0), PODS) == "default/web-0"
    assert backend_name(Endpoint.of(WORKER_1, 6443), PODS) == f"{WORKER_1}:6443"


def test_few() -> None:
    assert few("abc", 3) == "a, b, c"
    assert few("abcd", 3) == "a, b, c (+1 more)"
