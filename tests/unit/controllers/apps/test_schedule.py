"""Tests the times of schedules."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.controllers.apps.schedule import Schedule


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("schedule", "after", "wanted"),
    [
        ("* * * * *", "2026-12-01T12:00:00", "2026-12-01T12:01:00"),
        ("*/15 * * * *", "2026-12-01T12:15:00", "2026-12-01T12:30:00"),
        ("5/20 * * * *", "2026-12-01T12:26:00", "2026-12-01T12:45:00"),
        ("0 3 * * *", "2026-12-01T12:00:00", "2026-12-02T03:00:00"),
        ("0 0 29 2 *", "2026-12-01T12:00:00", "2028-02-29T00:00:00"),
        ("0 9-17/4 * * MON-FRI", "2026-12-04T17:30:00", "2026-12-07T09:00:00"),
        ("0 0 13 * fri", "2026-12-01T12:00:00", "2026-12-04T00:00:00"),  # one of the two is enough
        ("0 0 */2 * fri", "2026-12-01T12:00:00", "2026-12-11T00:00:00"),  # a star restricts nothing
        ("0 0 1 jan,jul ?", "2026-12-01T12:00:00", "2027-01-01T00:00:00"),
        ("@hourly", "2026-12-01T12:00:01", "2026-12-01T13:00:00"),
        ("@weekly", "2026-12-01T12:00:00", "2026-12-06T00:00:00"),
        ("@every 1h30m", "2026-12-01T12:00:00", "2026-12-01T13:30:00"),
    ],
)
def test_the_next_time(schedule: str, after: str, wanted: str) -> None:
    assert Schedule(schedule).after(at(after)) == at(wanted)


def test_a_day_that_never_comes_has_no_time() -> None:
    assert Schedule("0 0 31 2 *").after(at("2026-12-01T12:00:00")) is None
    assert Schedule("0 0 31 2 *").latest(at("2026-11-01T12:00:00"), at("2026-12-01T12:00:00")) is None


def test_a_zone_of_its_own() -> None:
    schedule = Schedule("0 12 * * *", ZoneInfo("Asia/Tokyo"))
    assert schedule.after(at("2026-12-01T00:00:00")) == at("2026-12-01T03:00:00")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "60 * * * *",
        "* * 0 * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "a * * * *",
        "@never",
        "@every x",
    ],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Schedule(text)


@given(
    st.sampled_from(["* * * * *", "*/7 3 * * *", "0 */5 * * 1", "@every 90s", "0 0 1 * *"]),
    st.integers(0, 500_000),
    st.integers(0, 5_000_000),
)
def test_the_latest_time_is_one_with_none_after_it(text: str, start: int, length: int) -> None:
    schedule, since = Schedule(text), at("2026-01-01T00:00:00") + timedelta(seconds=start)
    now = since + timedelta(seconds=length)
    found = schedule.latest(since, now)
    first = schedule.after(since)
    assert first is not None
    if found is None:
        assert first > now
        return
    assert since < found <= now
    following = schedule.after(found)
    assert following is not None
    assert following > now
