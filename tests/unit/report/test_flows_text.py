"""Tests flows as people read them: records, columns, and the wide table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from emulator.model.frames import Health
from emulator.model.journeys import Change, Connection, Ending, Journey
from emulator.model.results import FlowResult
from emulator.net import Endpoint
from emulator.report.flows_text import flow_records, flow_table
from emulator.report.layout import Screen
from tests.unit.report.samples import (
    CHECKED,
    CLIENT,
    DELIVERED,
    DNAT,
    FAILED,
    PASSED,
    PODS,
    WEB_1,
    WORKER_1,
    flow,
)

SNAT = Change("SNAT", "worker-1", Endpoint.parse(f"{CLIENT}:40000"), Endpoint.parse(f"{WORKER_1}:1234"), 2)
RELAYED = Change(
    "relayed",
    "worker-1",
    Connection(Endpoint.of(CLIENT, 40000), Endpoint.of("10.244.1.1", 10042)),
    Connection(Endpoint.of("172.18.0.3", 33000), Endpoint.of(WEB_1, 8080)),
    2,
)


def records(*results: FlowResult, width: int = 400, color: bool = False, protocols: bool = False) -> str:
    return flow_records(results, Screen(width, color), PODS, protocols=protocols)


def wide(results: Sequence[FlowResult]) -> str:
    return flow_table(results, Screen(None), PODS)


@pytest.mark.parametrize(
    ("journeys", "facts"),
    [
        pytest.param(
            (DELIVERED,),
            "10.96.0.10:80 → web-1:8080  DNAT at worker-1",
            id="one backend by name, without the Service's namespace",
        ),
        pytest.param(
            PASSED.journeys,
            "10.96.0.10:80 → 2 backends (×8, ×9)  DNAT at worker-1",
            id="two backends with their counts",
        ),
        pytest.param(
            (replace(DELIVERED, changes=(DNAT, SNAT)),),
            "10.96.0.10:80 → web-1:8080  DNAT, SNAT at worker-1",
            id="masqueraded too",
        ),
        pytest.param(
            (replace(DELIVERED, changes=(replace(DNAT, after=Endpoint.parse("10.244.1.1:10042")), RELAYED)),),
            "10.96.0.10:80 → web-1:8080  DNAT, relayed at worker-1",
            id="translated to a proxy, and relayed by it",
        ),
        pytest.param(
            (replace(DELIVERED, changes=(SNAT,)),), "10.96.0.10:80  SNAT at worker-1", id="masqueraded alone"
        ),
        pytest.param((replace(DELIVERED, changes=()),), "10.96.0.10:80", id="nothing"),
        pytest.param(
            (replace(DELIVERED, changes=(replace(DNAT, after=Endpoint.parse("10.0.0.9:80")),)),),
            "10.96.0.10:80 → 10.0.0.9:80  DNAT at worker-1",
            id="an unnamed backend",
        ),
    ],
)
def test_what_was_rewritten_and_where(journeys: tuple[Journey, ...], facts: str) -> None:
    (line,) = records(replace(PASSED, journeys=journeys)).splitlines()[1:]
    assert line.endswith(f"10.244.1.2 preserved  {facts}")


def test_many_backends_show_the_range_of_their_counts() -> None:
    backends = {Endpoint.of(f"10.244.1.{n}", 80): n for n in range(10, 16)}
    journeys = tuple(replace(DELIVERED, changes=(replace(DNAT, after=backend),)) for backend in backends)
    many = replace(PASSED, journeys=journeys, observed=replace(PASSED.observed, backends=backends))
    assert "→ 6 backends (×10 to ×15)" in records(many)


def test_a_source_that_was_changed() -> None:
    masqueraded = replace(PASSED, observed=replace(PASSED.observed, sources=(WORKER_1, CLIENT)))
    assert f"{CLIENT} seen as {WORKER_1}, {CLIENT}  " in records(masqueraded)
    assert f"{CLIENT} → {WORKER_1}, {CLIENT}  " in wide([masqueraded])


def test_changes_are_bold_and_what_is_as_dialled_is_dim() -> None:
    changed = replace(PASSED, observed=replace(PASSED.observed, sources=(WORKER_1,)))
    direct = replace(PASSED, journeys=(replace(DELIVERED, changes=()),))
    shown = records(changed, direct, color=True, width=80)
    assert f"seen as \x1b[1m{WORKER_1}\x1b[0m" in shown
    assert f"\x1b[2m{CLIENT} preserved\x1b[0m" in shown
    assert "\x1b[2m10.96.0.10:80\x1b[0m" in shown
    assert set(re.findall(r"\x1b\[32m(.*?)\x1b", shown)) == {"PASS"}


def test_an_outcome_that_was_promised_is_said_so() -> None:
    refused = replace(
        FAILED.journeys[0], outcome="rejected", ending=Ending(kind="rst", by=Endpoint.parse("10.244.1.3:80"))
    )
    result = replace(
        FAILED,
        verdict="pass",
        journeys=(refused,),
        observed=replace(FAILED.observed, outcomes={"rejected": 2}),
    )
    assert f"{CLIENT} rejected (as promised)  10.96.0.20:80  RST from 10.244.1.3:80" in records(result)
    assert "rejected ×2: RST from 10.244.1.3:80" in wide([result])


def test_the_answer_of_a_health_check_is_a_fact() -> None:
    healthy = replace(PASSED, journeys=(), observed=replace(PASSED.observed, health=(Health(200, 2),)))
    assert records(healthy).endswith("  answered 200, 2 local endpoints")
    assert "  answered 200, 2 local endpoints  " in wide([healthy])


def test_the_default_namespace_is_left_out_of_names_unless_wide() -> None:
    named = replace(PASSED, flow=flow("pod default/a → svc not-default/b"))
    assert "PASS  pod a → svc not-default/b  " in records(named)
    assert "\npod default/a → svc not-default/b  " in wide([named])


def test_the_node_that_packets_enter_through() -> None:
    assert "10.96.0.10:80 via worker-2 → 2 backends" in records(
        replace(PASSED, flow=flow("x", via="worker-2"))
    )


def test_protocols_are_said_where_not_all_are_tcp() -> None:
    assert "UDP 10.96.0.10:80 →" in records(replace(PASSED, flow=flow("x", protocol="UDP")), protocols=True)
    assert "TCP" not in records(PASSED)


def test_rows_of_a_kind_stand_under_its_heading() -> None:
    direct = replace(PASSED, flow=flow("direct", kind="pod-to-pod"))
    for shown in (records(PASSED, direct, FAILED), wide([PASSED, direct, FAILED])):
        order = [
            shown.index(part)
            for part in ("Pod to Pod", "direct", "Pod to Service (1 FAIL of 2)", "(other node)", "gone:80")
        ]
        assert order == sorted(order)


def test_flows_of_steps_stand_in_order_of_time_under_their_step() -> None:
    later = [
        replace(PASSED, flow=flow(f"c, {step}: who", called="who", kind=kind, step=f"c, {step}", check="c"))
        for step, kind in (("b", "other"), ("a", "pod-to-pod"))
    ]
    first = replace(PASSED, flow=flow("c: who", called="who", check="c"))
    for shown in (records(PASSED, first, *later), wide([PASSED, first, *later])):
        order = [
            shown.index(part) for part in ("At the beginning\n", "c, at the beginning\n", "c, b\n", "c, a\n")
        ]
        assert order == sorted(order)
        assert shown.count("c, a") == 2  # "c, at the beginning" is one
        assert "Pod to Pod" not in shown


def test_columns_are_for_screens_that_have_room_for_all_of_them() -> None:
    assert len(records(*CHECKED.flows[:3], width=200).splitlines()) == 6
    assert len(records(*CHECKED.flows[:3], width=80).splitlines()) > 9
    assert all(len(line) <= 120 for line in records(*CHECKED.flows[:3], width=120).splitlines())


def test_the_wide_table_is_records_where_it_does_not_fit() -> None:
    shown = flow_table([PASSED, FAILED], Screen(80), PODS)
    assert max(map(len, shown.splitlines())) <= 80
    assert "\n  proto TCP   dialled " in shown
    assert "verdict FAIL" in shown
