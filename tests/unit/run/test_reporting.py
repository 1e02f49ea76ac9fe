"""Tests the notices of a report beside its flows, and the delivery of its page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emulator.model.notices import EvidenceMissing
from emulator.model.results import FlowResult
from emulator.oracle.expectations import attempts_for, expect
from emulator.run.reporting import Delivery, is_sample, relative_path
from tests.unit.report.samples import FAILED, PASSED, PODS, REPORT
from tests.unit.states import (
    WEB_IP,
    make_flow,
    make_service,
    make_state,
)

ENOUGH = attempts_for(2)


@pytest.mark.parametrize(
    ("affinity", "attempts", "more"),
    [("None", 3, True), ("None", ENOUGH, False), ("ClientIP", ENOUGH, False)],
    ids=["few", "enough", "sticky"],
)
def test_more_attempts_would_meet_more_endpoints(affinity: str, attempts: int, more: bool) -> None:
    state = make_state(make_service(sessionAffinity=affinity))
    flow = make_flow(state, "client", WEB_IP, 80, attempts=attempts)
    assert is_sample(flow, expect(state, flow)) is more


@pytest.mark.parametrize(
    ("directory", "file", "path"),
    [
        ("captures/a", "report.html", "captures/a"),
        ("captures/a", "out/report.html", "../captures/a"),
        ("/srv/captures/a", "/srv/report.html", "captures/a"),
        ("captures/a", "/dev/stdout", "captures/a"),
    ],
)
def test_links_are_relative_to_the_page(directory: str, file: str, path: str) -> None:
    assert relative_path(Path(directory), Path(file)) == path


def test_a_page_follows_the_evidence_that_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, captures = tmp_path / "r.html", tmp_path / "c"
    report = replace(REPORT, flows=(replace(FAILED, captures=("01-a.pcapng",)),))
    delivery = Delivery(PODS, "table", None, None, captures, html=page)
    delivery.tell_verdicts(report)
    assert 'href="./c/01-a.pcapng"' in page.read_text()
    lost = replace(report, flows=(FAILED,), notices=(EvidenceMissing("disk full"),))
    delivery.tell_evidence(lost)
    assert "01-a.pcapng" not in page.read_text()
    assert "evidence is not complete: disk full" in page.read_text()
    assert not delivery.failed
    assert "1 FAIL" in capsys.readouterr().out


def test_a_page_that_cannot_be_written_costs_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    delivery = Delivery(PODS, "table", None, None, None, html=tmp_path / "nowhere" / "r.html")
    delivery.tell_verdicts(REPORT)
    said = capsys.readouterr()
    assert delivery.failed
    assert said.err == (
        f"podwire: cannot write {tmp_path}/nowhere/r.html: No such file or directory (name another place)\n"
    )
    assert "1 FAIL" in said.out


@pytest.mark.parametrize(
    ("output", "flows", "printed"),
    [("table", (PASSED,), False), ("table", (PASSED, FAILED), True), ("json", (PASSED,), True)],
    ids=["as expected", "not as expected", "a document"],
)
def test_quiet_prints_nothing_where_all_is_as_expected(
    output: str,
    flows: tuple[FlowResult, ...],
    printed: bool,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    report = replace(REPORT, flows=flows, requirements=())
    delivery = Delivery(PODS, output, tmp_path / "r.json", None, tmp_path / "captures", quiet=True)
    delivery.tell_verdicts(report)
    delivery.tell_evidence(report)
    assert bool(capsys.readouterr().out) is printed
    assert (tmp_path / "r.json").is_file()
