"""Tests the sentences of limits that were met."""

from __future__ import annotations

import pytest

from emulator.model.findings import Limit, Reached
from emulator.report.prose_of_limits import say_doubted, say_reached
from emulator.verdicts.limits import LIMITS


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.kind.value)
def test_every_limit_has_a_sentence_and_a_remedy(limit: Limit) -> None:
    once = Reached(limit=limit, times=1, netns="worker-1", value="8")
    assert say_reached(once).endswith(f" in worker-1, once ({limit.setting} = 8)")
    said, remedy = say_doubted([once]).split("; ")
    assert said == f"{say_reached(once)}: flows whose verdict rests on silence are UNKNOWN"
    assert remedy


@pytest.mark.parametrize(
    ("others", "told"),
    [(0, ""), (1, ", and in 1 more network namespace"), (2, ", and in 2 more network namespaces")],
)
def test_a_limit_that_was_met_at_several_places_is_told_of_once(others: int, told: str) -> None:
    first, *more = (Reached(limit=LIMITS[2], times=3, netns=f"worker-{n}") for n in range(others + 1))
    assert say_doubted([first, *more]) == (
        "connection tracking dropped a packet in worker-0, 3 times (net.netfilter.nf_conntrack_max)"
        f"{told}: flows whose verdict rests on silence are UNKNOWN; raise it: sysctl -w "
        "net.netfilter.nf_conntrack_max=262144"
    )
