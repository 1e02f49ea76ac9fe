"""When silence is silence: not while nobody was let run to hear anything."""

from __future__ import annotations

import pytest

from emulator.probe import send


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(send, "time", clock)
    return clock


def look(silence: send.Silence, clock: Clock, looks: int, seconds: float) -> bool:
    """``looks`` looks that take ``seconds`` each; whether one of them found silence."""
    found = []
    for _ in range(looks):
        clock.now += seconds
        found.append(silence.lasts())
    return any(found)


def test_silence_after_many_looks_and_its_time(clock: Clock) -> None:
    assert look(send.Silence(), clock, 200, 0.004)


def test_a_process_that_was_stopped_has_heard_nothing_yet(clock: Clock) -> None:
    assert not look(send.Silence(), clock, 3, 60)


def test_many_quick_looks_are_not_time(clock: Clock) -> None:
    assert not look(send.Silence(), clock, 100_000, 0.000001)


def test_what_happens_begins_it_anew(clock: Clock) -> None:
    silence = send.Silence()
    for _ in range(10):
        assert not look(silence, clock, 100, 0.004)
        silence.broken()
