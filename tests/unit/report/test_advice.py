"""Tests the advice about a known difference: the right one among those of a section, and none about anything
else.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulator.model.reasons import Reason
from emulator.model.results import FlowResult, Observation
from emulator.net import Endpoint
from emulator.report.advice import cause_of, is_usual, not_examined
from emulator.verdicts.modes import ComparedFlow, compare_modes
from tests.unit.expectations import expectation_of, resting_on
from tests.unit.report.samples import (
    DELIVERED,
    DROPPED,
    PASSED,
    REPORT,
    WEB_0,
    WEB_1,
    expectation,
)

BOTH = replace(
    PASSED,
    observed=replace(PASSED.observed, backends={Endpoint.of(WEB_0, 8080): 1, Endpoint.of(WEB_1, 8080): 1}),
)


def lost(outcome: str, because: Reason, ip: str = "172.18.0.3") -> tuple[FlowResult, FlowResult]:
    """Returns a flow to ``ip`` that one mode delivers, and another one not: as promised."""
    flow = replace(PASSED.flow, to=replace(PASSED.flow.to, ip=ip, port=30080, how="nodePort"))
    expected = expectation_of(outcome, because)  # type: ignore[arg-type]
    observed = Observation(outcomes={outcome: 1})
    journey = replace(DROPPED, outcome=outcome)  # type: ignore[arg-type]
    return replace(BOTH, flow=flow), replace(
        BOTH, flow=flow, expected=expected, observed=observed, journeys=(journey,)
    )


def to_one(because: Reason, asymmetric: bool = False) -> tuple[FlowResult, FlowResult]:
    """Returns a flow that one mode delivers to fewer endpoints."""
    backend = Endpoint.of(WEB_1, 8080)
    expected = expectation(
        backends={backend: "preserved"},
        because=because,
        asymmetric=frozenset({backend} if asymmetric else ()),
    )
    observed = replace(PASSED.observed, backends={backend: 1})
    if asymmetric:
        observed = replace(observed, reply_from=(f"{WEB_1}:8080",))
    return BOTH, replace(BOTH, expected=expected, observed=observed, journeys=(DELIVERED,))


def compared(results: tuple[FlowResult, FlowResult]) -> ComparedFlow:
    reports = {
        mode: replace(REPORT, flows=(result,))
        for mode, result in zip(("iptables", "other"), results, strict=True)
    }
    [flow] = compare_modes("shop", reports).flows
    return flow


@pytest.mark.parametrize(
    ("results", "title"),
    [
        pytest.param(lost("rejected", resting_on(9), "127.0.0.1"), "Node ports at localhost", id="localhost"),
        pytest.param(
            lost("rejected", resting_on(9)),
            "Node ports at other addresses than the primary InternalIP",
            id="another address",
        ),
        pytest.param(
            lost("rejected", resting_on(8)),
            "Addresses and ports that no Service has",
            id="nothing matches",
        ),
        pytest.param(
            lost("dropped", resting_on(7)),
            "A Local policy on a node without an endpoint",
            id="a Local policy",
        ),
        pytest.param(lost("rejected", resting_on(7)), "A Service without endpoints", id="no endpoints"),
        pytest.param(
            lost("dropped", resting_on(7).beside(resting_on(15))),
            "userspace mode",
            id="userspace mode",
        ),
        pytest.param(lost("rejected", resting_on(13)), "ipvs mode's own ways", id="ipvs mode"),
        pytest.param(
            to_one(resting_on(13)),
            "externalTrafficPolicy Local from Pods and nodes",
            id="ipvs mode's own endpoints",
        ),
        pytest.param(
            to_one(resting_on(13), asymmetric=True),
            "externalTrafficPolicy Local from outside",
            id="asymmetric",
        ),
    ],
)
def test_a_cause_fits_what_the_difference_rests_on(
    results: tuple[FlowResult, FlowResult], title: str
) -> None:
    flow = compared(results)
    assert flow.status == "known"
    cause = cause_of(flow)
    assert cause is not None
    assert cause.title == title


def test_habits_are_told_from_what_ordinary_clients_do() -> None:
    inside = lost("rejected", resting_on(9))
    assert not is_usual(compared(inside))
    outside = replace(inside[0].flow.client, kind="external")
    one, other = (replace(result, flow=replace(result.flow, client=outside)) for result in inside)
    assert is_usual(compared((one, other)))
    assert is_usual(compared(to_one(resting_on(13))))
    assert not is_usual(compared((BOTH, BOTH)))


def test_a_comparison_says_what_it_leaves_out() -> None:
    assert "kernel 5.13 and nft 1.0.1" in not_examined(("iptables", "nftables"))
    assert "nft" not in not_examined(("iptables", "ipvs"))


@pytest.mark.parametrize(
    "results",
    [
        (BOTH, BOTH),
        lost("rejected", resting_on(0)),
        (BOTH, replace(lost("rejected", resting_on(9))[1], flow=BOTH.flow, verdict="fail")),
    ],
    ids=["the same", "no section", "a bug"],
)
def test_nothing_is_the_cause_of_what_is_not_known(results: tuple[FlowResult, FlowResult]) -> None:
    assert cause_of(compared(results)) is None
