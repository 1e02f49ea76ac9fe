"""Tests verdicts after a limit of the machine, or of a network namespace, was met."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulator.model.findings import Reached
from emulator.model.results import FlowResult
from emulator.report.prose_of_limits import say_doubted, say_reached
from emulator.report.prose_of_verdicts import say_verdict
from emulator.verdicts.limits import (
    LIMITS,
    doubt,
    find_reached,
    group_by_limit,
)
from tests.unit.report.samples import FAILED, PASSED

NEIGHBOURS, BACKLOG, CONNTRACK = LIMITS[0], LIMITS[1], LIMITS[2]
SETTINGS = {"net.ipv4.neigh.default.gc_thresh3": "1024"}


def test_a_limit_was_met_where_its_counter_has_grown() -> None:
    before = {"arp_cache table_fulls": 5, "softnet dropped": 7, "conntrack drop": 0}
    after = {"arp_cache table_fulls": 480, "softnet dropped": 7, "conntrack drop": 9}
    (reached,) = find_reached(before, after, SETTINGS)
    assert reached == Reached(limit=NEIGHBOURS, times=475, value="1024")
    assert say_reached(reached).endswith(
        "had no room for an entry, 475 times (net.ipv4.neigh.default.gc_thresh3 = 1024)"
    )


def test_counters_of_a_namespace_begin_with_nothing_and_are_added_up() -> None:
    after = {"arp_cache table_fulls": 480, "conntrack drop": 2, "conntrack early_drop": 1}
    (reached,) = find_reached({}, after, {}, "worker-1")
    assert reached == Reached(limit=CONNTRACK, times=3, netns="worker-1")
    assert (
        say_reached(reached)
        == "connection tracking dropped a packet in worker-1, 3 times (net.netfilter.nf_conntrack_max)"
    )


def test_a_namespace_that_was_made_anew_counts_from_nothing() -> None:
    (reached,) = find_reached({"conntrack drop": 5}, {"conntrack drop": 1}, {}, "worker-1")
    assert reached.times == 1


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.setting)
def test_every_counter_of_a_limit_is_heeded(limit: object) -> None:
    for row in (row for row in LIMITS if row is limit):
        for counter in row.counters:
            (reached,) = find_reached({}, {counter: 1}, {}, "x" if row.place == "namespace" else "")
            assert reached.limit is row
            assert " once " in say_reached(reached)


MET = (
    Reached(limit=NEIGHBOURS, times=475, value="1024"),
    Reached(limit=CONNTRACK, times=1, netns="worker-1"),
)


@pytest.mark.parametrize(
    ("result", "verdict", "reason"),
    [
        (replace(FAILED, silent=True), "unknown", f": for that perhaps {say_verdict(FAILED)}"),
        (FAILED, "fail", say_verdict(FAILED)),
        (PASSED, "pass", ""),
        (replace(PASSED, silent=True), "unknown", ": so silence proves nothing"),
    ],
    ids=["a silence that breaks a promise", "a wrong answer", "an answer", "a silence as promised"],
)
def test_only_what_rests_on_silence_is_doubted(result: FlowResult, verdict: str, reason: str) -> None:
    doubted = doubt(result, MET)
    assert doubted.verdict == verdict
    assert say_verdict(doubted).endswith(reason)
    assert (doubted == result) == (verdict != "unknown")
    assert verdict != "unknown" or "gc_thresh3 = 1024" in say_verdict(doubted)


def test_without_a_limit_nothing_is_doubted() -> None:
    assert doubt(silent := replace(FAILED, silent=True), ()) == silent


def test_a_notice_names_limit_value_and_remedy_once() -> None:
    more = Reached(limit=CONNTRACK, times=4, netns="worker-2")
    first, second = map(say_doubted, group_by_limit([*MET, more, *MET]))
    assert "475 times (net.ipv4.neigh.default.gc_thresh3 = 1024)" in first
    assert "sysctl -w net.ipv4.neigh.default.gc_thresh3=" in first
    assert "in worker-1, once (net.netfilter.nf_conntrack_max), and in 1 more network namespace" in second
