"""Tests that a terminal, and only a terminal, shows the phase and how much of it is done."""

from __future__ import annotations

import io
import sys

import pytest

from emulator.run.progress import phase


class Screen(io.StringIO):
    """Stands for a terminal."""

    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, screen: io.StringIO, total: int, **how: bool) -> str:
    monkeypatch.setattr(sys, "stderr", screen)
    with phase("sending", total, **how) as step:
        for _ in range(3):
            step(1)
    return screen.getvalue()


def test_a_terminal_shows_phase_and_total_and_is_left_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Screen(), 10)
    assert "podwire: sending 0/10 [00:00]" in text
    assert text.rpartition("\r")[0].rpartition("\r")[2].strip() == ""  # the line is blank again


def test_a_phase_without_a_total_has_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "podwire: sending [00:00]" in shown(monkeypatch, Screen(), 0)


@pytest.mark.parametrize(("screen", "wanted"), [(io.StringIO(), True), (Screen(), False)])
def test_elsewhere_nothing_is_shown(
    screen: io.StringIO, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown(monkeypatch, screen, 10, shown=wanted) == ""
