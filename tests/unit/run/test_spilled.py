"""Tests that journeys which are put away come back as they were."""

from __future__ import annotations

import pickle

import pytest

from emulator.capture.spill import Spill
from emulator.run.examine import RunResults
from emulator.run.spilled import Journeys
from tests.unit.report.samples import REPORT


def test_journeys_come_back_as_they_were() -> None:
    found = RunResults()
    found.results += REPORT.flows
    found.put_away()
    for before, after in zip(REPORT.flows, found.results, strict=True):
        assert after.journeys == before.journeys
        assert list(after.journeys) == [after.journeys[n] for n in range(len(after.journeys))]
        assert bool(after.journeys) == bool(before.journeys)
        assert pickle.loads(pickle.dumps(after)) == before  # noqa: S301 - our own
    assert any(type(result.journeys) is not tuple for result in found.results)
    again = list(found.results)
    found.put_away()
    assert all(was is now for was, now in zip(again, found.results, strict=True))


def test_journeys_stay_where_there_is_no_place_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Spill, "append", refuse)
    assert all(Journeys().put(result) is result for result in REPORT.flows)
