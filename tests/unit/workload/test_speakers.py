"""Tests when a speaker announces an address again."""

from __future__ import annotations

from emulator.workload.speakers import Reminders


def test_an_address_is_told_of_again_for_five_seconds() -> None:
    reminders = Reminders()
    reminders.change(["a"], ["a"], 100)
    told, now = [], 100.0
    while (wait := reminders.wait(now)) is not None:
        now += wait
        told.append((round(now - 100, 1), reminders.take(now)))
    assert told == [(1.1, ("a",)), (2.2, ("a",)), (3.3, ("a",)), (4.4, ("a",))]


def test_what_is_given_up_is_told_of_no_more_and_what_comes_back_begins_anew() -> None:
    reminders = Reminders()
    reminders.change(["a", "b"], ["a", "b"], 0)
    reminders.change([], ["b"], 1)
    assert reminders.take(1.1) == ("b",)
    reminders.change(["a"], ["a", "b"], 2)
    assert [(at, reminders.take(at)) for at in (2.2, 3.1, 3.3)] == [
        (2.2, ("b",)),
        (3.1, ("a",)),
        (3.3, ("b",)),
    ]


def test_who_was_late_says_it_once() -> None:
    reminders = Reminders()
    reminders.change(["a", "b"], ["a", "b"], 0)
    assert reminders.take(3) == ("a", "b")
    assert reminders.wait(3.5) == 0
