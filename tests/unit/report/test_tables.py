"""Tests the report as people read it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.model.findings import Fault, Finding
from emulator.model.frames import Health
from emulator.model.journeys import Change, Connection, Ending, Journey
from emulator.net import Endpoint
from emulator.report.tables import render_difference, render_text
from tests.unit.report.samples import (
    CLIENT,
    DELIVERED,
    DNAT,
    FAILED,
    PASSED,
    PODS,
    REPORT,
    WEB_1,
    WORKER_1,
    flow,
    node_row,
    service_row,
)

SNAT = Change("SNAT", "worker-1", Endpoint.parse(f"{CLIENT}:40000"), Endpoint.parse(f"{WORKER_1}:1234"), 2)
RELAYED = Change(
    "relayed",
    "worker-1",
    Connection(Endpoint.of(CLIENT, 40000), Endpoint.of("10.244.1.1", 10042)),
    Connection(Endpoint.of("172.18.0.3", 33000), Endpoint.of(WEB_1, 8080)),
    2,
)


def text(*, wide: bool = False, color: bool = False, width: int = 140, **fields: object) -> str:
    return render_text(replace(REPORT, **fields), wide=wide, color=color, width=width, pods=PODS)  # type: ignore[arg-type]  # by test


def test_the_whole_report(golden: Callable[[str, str], None]) -> None:
    golden("evidence/report.txt", text(width=120))


def test_the_whole_report_wide(golden: Callable[[str, str], None]) -> None:
    golden("evidence/report-wide.txt", text(wide=True))


@pytest.mark.parametrize("width", [100, 120, 140])
def test_lines_stay_within_the_width(width: int) -> None:
    lines = text(width=width).splitlines()
    assert max(map(len, lines)) <= width


def test_rows_of_a_kind_stand_under_its_heading() -> None:
    direct = replace(PASSED, flow=flow("direct", kind="pod-to-pod"))
    shown = text(flows=(PASSED, direct, FAILED))
    order = [
        shown.index(part)
        for part in ("Pod to Pod (1)", "direct", "Pod to Service (2, 1 FAIL)", "(other node)", "gone:80")
    ]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("journeys", "line"),
    [
        pytest.param(
            (DELIVERED,),
            "DNAT at worker-1 → web-1:8080  ",
            id="one backend by name, without the Service's namespace",
        ),
        pytest.param(
            PASSED.journeys, "DNAT at worker-1 → 2 backends (×8, ×9)  ", id="two backends with their counts"
        ),
        pytest.param(
            (replace(DELIVERED, changes=(DNAT, SNAT)),),
            "DNAT, SNAT at worker-1 → web-1:8080  ",
            id="masqueraded too",
        ),
        pytest.param(
            (replace(DELIVERED, changes=(replace(DNAT, after=Endpoint.parse("10.244.1.1:10042")), RELAYED)),),
            "DNAT, relayed at worker-1 → web-1:8080  ",
            id="translated to a proxy, and relayed by it",
        ),
        pytest.param((replace(DELIVERED, changes=(SNAT,)),), "SNAT at worker-1  ", id="masqueraded alone"),
        pytest.param((replace(DELIVERED, changes=()),), "10.244.1.2  none  ", id="nothing"),
        pytest.param(
            (replace(DELIVERED, changes=(replace(DNAT, after=Endpoint.parse("10.0.0.9:80")),)),),
            "DNAT at worker-1 → 10.0.0.9:80  ",
            id="an unnamed backend",
        ),
    ],
)
def test_what_was_rewritten_and_where(journeys: tuple[Journey, ...], line: str) -> None:
    assert line in text(flows=(replace(PASSED, journeys=journeys),), width=400)


def test_many_backends_show_the_range_of_their_counts() -> None:
    backends = {Endpoint.of(f"10.244.1.{n}", 80): n for n in range(10, 16)}
    journeys = tuple(replace(DELIVERED, changes=(replace(DNAT, after=backend),)) for backend in backends)
    many = replace(PASSED, journeys=journeys, observed=replace(PASSED.observed, backends=backends))
    assert "DNAT at worker-1 → 6 backends (×10 to ×15)" in text(flows=(many,), width=400)


def test_the_source_that_was_seen() -> None:
    masqueraded = replace(PASSED, observed=replace(PASSED.observed, sources=(WORKER_1, CLIENT)))
    assert f"{CLIENT} → {WORKER_1}, {CLIENT}" in text(flows=(masqueraded,), width=400)


def test_an_outcome_that_was_promised_stands_among_the_changes() -> None:
    refused = replace(
        FAILED.journeys[0], outcome="rejected", ending=Ending(kind="rst", by=Endpoint.parse("10.244.1.3:80"))
    )
    result = replace(
        FAILED,
        verdict="pass",
        journeys=(refused,),
        observed=replace(FAILED.observed, outcomes={"rejected": 2}),
    )
    assert "rejected ×2: RST from 10.244.1.3:80" in text(flows=(result,), width=400)


def test_the_answer_of_a_health_check_stands_among_the_changes() -> None:
    healthy = replace(PASSED, journeys=(), observed=replace(PASSED.observed, health=(Health(200, 2),)))
    assert "  answered 200, 2 local endpoints  " in text(flows=(healthy,), width=400)


def test_the_default_namespace_is_left_out_of_names_unless_wide() -> None:
    named = replace(PASSED, flow=flow("pod default/a → svc not-default/b"))
    assert "\npod a → svc not-default/b  " in text(flows=(named,), width=400)
    assert "\npod default/a → svc not-default/b  " in text(flows=(named,), wide=True)


def test_controls_that_passed_are_counted_and_those_that_did_not_are_listed() -> None:
    passed = replace(PASSED, flow=flow("a quiet one", control=True))
    shown = text(
        flows=(*(passed for _ in range(100)), replace(FAILED, flow=flow("a loud one", control=True)), PASSED)
    )
    assert "a quiet one" not in shown
    assert "a loud one" in shown
    assert "\n100 controls passed too" in shown
    assert "102 flows: 101 PASS, 1 FAIL" in shown
    assert "a quiet one" in text(flows=(passed,), wide=True)


def test_the_node_that_packets_enter_through() -> None:
    assert "10.96.0.10:80 via worker-2" in text(
        flows=(replace(PASSED, flow=flow("x", via="worker-2")),), width=400
    )


@pytest.mark.parametrize("wide", [False, True])
def test_a_thousand_passing_flows_are_counted_unless_wide(wide: bool) -> None:
    many = tuple(replace(PASSED, flow=flow(f"flow-{number}-")) for number in range(1000))
    shown = text(wide=wide, flows=(*many, FAILED))
    assert ("flow-999-" in shown) == wide
    assert ("1001 flows, the 1 that did not pass are listed; -o wide lists every flow" in shown) == (not wide)
    assert re.search(r"^Pod to Service +1001 +1000 +1 +0$", shown, re.MULTILINE) or wide
    assert "pod default/client → svc default/gone:80" in shown


def test_only_the_first_failures_are_explained() -> None:
    shown = text(flows=(FAILED,) * 25)
    assert shown.count("← differs") == 2 * 20
    assert "5 more flows did not pass; -o json explains every flow" in shown


def test_verdicts_are_words_and_colours_only_where_asked_for() -> None:
    plain, painted = text(), text(color=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == plain
    assert "\x1b[32mPASS\x1b[0m" in painted
    assert "\x1b[1;31mFAIL\x1b[0m" in painted


def test_many_pods_are_abbreviated_unless_wide() -> None:
    cluster = (node_row("worker-1", WORKER_1, "10.244.1.0/24", *(f"pod-{n}" for n in range(100))),)
    assert "pod-11 (+88 more)" in text(cluster=cluster, width=400)
    assert "pod-99" in text(cluster=cluster, wide=True)


def test_a_failure_shows_both_sides_and_the_hop() -> None:
    shown = render_difference(FAILED, PODS)
    assert re.search(r"^outcome +delivered +dropped ×2 +← differs$", shown, re.MULTILINE)
    assert re.search(r"^where +ended at default_client/eth0 out", shown, re.MULTILINE)


def test_a_flow_without_a_journey() -> None:
    assert "no journey was seen in default_client" in render_difference(replace(FAILED, journeys=()), PODS)


def test_an_empty_report() -> None:
    shown = text(flows=(), requirements=(), cluster=(), services=(), notices=(), machine={})
    assert (
        shown
        == "podwire: three-networks  proxy mode iptables, seed 7\n\n0 flows: none; 0 requirements: none\n"
    )


@given(st.text(max_size=40), st.booleans(), st.booleans())
def test_no_control_character_of_a_manifest_reaches_the_terminal(
    hostile: str, wide: bool, color: bool
) -> None:
    result = replace(
        FAILED, flow=flow(hostile, via=hostile), finding=Finding(fault=Fault.CONTROL, control=hostile)
    )
    requirement = replace(REPORT.requirements[0], text=hostile, reason=hostile)
    shown = text(
        wide=wide,
        color=color,
        topology=hostile,
        flows=(result,),
        requirements=(requirement,),
        notices=(hostile,),
        cluster=(node_row(hostile, hostile, hostile, hostile),),
        services=(replace(service_row(hostile, hostile), type=hostile, external=(hostile,)),),
        machine={"seconds": hostile, "kernel": hostile},
    )
    shown.encode()
    assert all(line.isprintable() for line in re.sub(r"\x1b\[[0-9;]*m", "", shown).split("\n"))
    assert color or "\x1b" not in shown


def test_flows_of_steps_stand_in_order_of_time_under_their_step() -> None:
    later = [
        replace(PASSED, flow=flow(f"c, {step}: who", called="who", kind=kind, step=f"c, {step}"))
        for step, kind in (("b", "other"), ("a", "pod-to-pod"))
    ]
    shown = text(flows=(PASSED, *later))
    order = [shown.index(part) for part in ("At the beginning (1)", "c, b (1)", "c, a (1)")]
    assert order == sorted(order)
    assert shown.count("c, a") == 1
    assert "Pod to Pod" not in shown
