"""Tests the logs of containers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emulator.workload import journal
from emulator.workload.journal import Journal


def test_a_line_has_its_time_and_no_control_characters(tmp_path: Path) -> None:
    logs = Journal(tmp_path)
    logs.write("default/web", "nginx", "GET /\x1b[2J\n")
    text = logs.path("default/web", "nginx").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z GET /\\x1b\[2J\\n\n", text)


def test_a_full_file_becomes_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST", 100)
    logs = Journal(tmp_path)
    for number in range(5):
        logs.write("default/web", "nginx", f"line {number}")
    kept = logs.older("default/web", "nginx").read_text() + logs.path("default/web", "nginx").read_text()
    assert kept.split()[-1] == "4"
    assert len(logs.older("default/web", "nginx").read_text()) <= 100 + 60


def test_a_place_that_is_gone_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    Journal(tmp_path / "gone").write("default/web", "nginx", "a line")
    assert not (tmp_path / "gone").exists()
