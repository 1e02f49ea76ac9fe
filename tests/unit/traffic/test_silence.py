"""Tests when silence counts: only if this process ran meanwhile."""

from __future__ import annotations

from emulator.traffic.silence import SILENCE, PatientClock, Silence


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def looks(silence: Silence, clock: Clock, step: float) -> int:
    """Returns how often it is looked, every ``step`` seconds, until it counts as silence."""
    number = 0
    while True:
        number += 1
        clock.now += step
        if silence.lasted():
            return number


def test_who_looks_often_hears_it_in_its_time() -> None:
    clock = Clock()
    silence = Silence(clock=clock)
    looks(silence, clock, 0.005)
    assert SILENCE < clock.now < SILENCE + 0.02


def test_a_machine_that_stood_still_was_not_silent() -> None:
    clock = Clock()
    silence = Silence(clock=clock)
    clock.now += 100 * SILENCE
    assert not silence.lasted()
    assert looks(silence, clock, 0.005) > 50
    silence.end()
    assert looks(silence, clock, SILENCE) > 20


def test_who_is_still_at_work_on_an_answer_is_waited_for() -> None:
    clock, answers = Clock(), iter([True, True, False])
    silence = Silence(clock=clock, busy=lambda: next(answers))
    looks(silence, clock, 0.005)
    assert 3 * SILENCE < clock.now < 3 * SILENCE + 0.1


def test_what_was_answered_when_it_was_asked_for_is_heard() -> None:
    clock = Clock()
    asked: list[float] = []

    def busy() -> bool:
        asked.append(clock.now)
        return False

    silence = Silence(clock=clock, busy=busy)
    while not asked:
        clock.now += 0.005
        assert not silence.lasted()
    silence.end()
    assert not silence.lasted()
    looks(silence, clock, 0.005)
    assert len(asked) == 2


def test_whatever_happens_ends_it() -> None:
    clock = Clock()
    silence = Silence(clock=clock)
    for _ in range(1000):
        clock.now += 0.01
        assert not silence.lasted()
        silence.end()


def test_a_machine_that_stood_still_was_not_patient_meanwhile() -> None:
    clock = Clock()
    patient = PatientClock(clock)
    clock.now += 0.01
    assert patient.look() == 0.01
    clock.now += 60
    assert 0.01 < patient.look() < 0.1
