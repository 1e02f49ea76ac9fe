"""Runs every case of tests/cases from the command line and compares the report with what is right
(tests/cases/README.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.forked import forked
from tests.sandboxed import ROOT

CASES = ROOT / "tests" / "cases"
_SUFFIX = ".want.yaml"
_SELECTS = ("from", "to", "name")


@dataclass(frozen=True)
class Run:
    """Describes one command on a case's input, and what must come of it. An unknown key is an error."""

    command: str = "run"
    args: list[str] = field(default_factory=list)
    needs: str = ""
    exit: int = 0
    flows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, int] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    shows: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


def _input(want: Path) -> Path:
    """Returns the input that ``want`` belongs to."""
    name = want.name.removesuffix(_SUFFIX)
    found = [
        path
        for path in CASES.iterdir()
        if path != want and path.name in (name, *(f"{name}{end}" for end in (".yaml", ".json", ".txt")))
    ]
    assert len(found) == 1, f"{want.name} has {len(found)} inputs"
    return found[0]


def _cases() -> Iterator[Any]:
    for want in sorted(CASES.glob(f"*{_SUFFIX}")):
        case = yaml.safe_load(want.read_text())
        assert set(case) == {"origin", "why", "runs"}, want.name
        for number, entry in enumerate(case["runs"], 1):
            run = Run(**entry)
            marks = [pytest.mark.kernel, *([pytest.mark.ipvs("cases")] if run.needs == "ipvs" else [])]
            suffix = f"-{number}" if len(case["runs"]) > 1 else ""
            yield pytest.param(_input(want), run, id=want.name.removesuffix(_SUFFIX) + suffix, marks=marks)


def test_every_case_says_what_is_right() -> None:
    inputs = {
        path.name for path in CASES.iterdir() if not path.name.endswith(_SUFFIX) and path.name != "README.md"
    }
    assert inputs == {_input(want).name for want in CASES.glob(f"*{_SUFFIX}")}


@pytest.mark.parametrize(("source", "run"), list(_cases()))
def test_case(source: Path, run: Run, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = {
        "plan": [],
        "diff": ["--captures", "none"],
        "run": ["--captures", "none", "--json", str(report)],
    }[run.command]
    done = forked(run.command, str(source), *options, *run.args, timeout=300)
    said = f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == run.exit, said
    assert "Traceback" not in done.stderr, said
    for text in run.shows:
        assert _folded(text) in _folded(done.stdout), said
    for text in run.problems:
        assert _folded(text) in _folded(done.stderr), said
    for text in run.absent:
        assert _folded(text) not in _folded(done.stdout + "\n" + done.stderr), said
    if run.flows or run.summary or run.notices or run.warnings:
        _compare(json.loads(report.read_text()), run)


def _compare(report: Mapping[str, Any], run: Run) -> None:
    told = [*report["notices"], *(warning["text"] for warning in report["warnings"])]
    for notice in run.notices:
        assert any(_folded(notice) in _folded(given) for given in told), told
    codes = {warning["code"] for warning in report["warnings"]}
    assert set(run.warnings) <= codes, codes
    assert {name: report["summary"][name] for name in run.summary} == run.summary
    for want in run.flows:
        flows = [
            flow
            for flow in report["flows"]
            if all(_selected(flow, key, str(want[key])) for key in _SELECTS if key in want)
        ]
        assert flows, f"no flow is {want}; there are: " + "\n".join(
            f"{flow['from']} → {flow['to']}" for flow in report["flows"]
        )
        for flow in flows:
            assert {key: _given(flow, key) for key in want if key not in _SELECTS} == {
                key: sorted(value) if isinstance(value, list) else value
                for key, value in want.items()
                if key not in _SELECTS
            }, f"{flow['name']}: {flow['from']} → {flow['to']} ({flow['reason']})"


def _selected(flow: Mapping[str, Any], key: str, part: str) -> bool:
    return part in flow[key] or (key == "to" and part in f"{flow['dialled']}/{flow['protocol']}")


def _given(flow: Mapping[str, Any], key: str) -> Any:
    """Returns what the report has of ``flow`` under a case's ``key``; lists are sorted."""
    observed = flow["observed"]
    match key:
        case "expected":
            return flow["expected"]["outcome"]
        case "outcome":
            return observed["outcome"]
        case "sources" | "backends":
            return sorted(observed[key])
        case "verdict":
            return flow["verdict"]
    raise AssertionError(f"a case knows no {key}")


def _folded(text: str) -> str:
    return " ".join(text.split())
