"""Reads the schedules of CronJobs and finds their times, as robfig/cron does (ParseStandard), which
kube-controller-manager uses.

Own code: libraries of cron differ from it in the macros, in @every, and in the rule for days.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone, tzinfo

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = {
    **{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6},
    **{"jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12},
}
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FIELDS: Sequence[tuple[int, int, Mapping[str, int]]] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_LONGEST = 5 * 366  # days in which a schedule that has any time has one


class Schedule:
    """Holds a schedule, whose times are of ``zone``. Raises ValueError if ``text`` is none."""

    def __init__(self, text: str, zone: tzinfo = timezone.utc) -> None:
        self._zone, self._every = zone, 0.0
        text = text.strip()
        if text.startswith("@every "):
            self._every = max(1.0, _duration(text.removeprefix("@every ")))
            return
        words = MACROS.get(text, text).split()
        if len(words) != len(_FIELDS):
            raise ValueError(f"{text!r} has {len(words)} fields, not {len(_FIELDS)}")
        minutes, hours, days, months, weekdays = (
            _numbers(word, *field) for word, field in zip(words, _FIELDS, strict=True)
        )
        self._minutes, self._hours, self._months = sorted(minutes), sorted(hours), months
        self._days, self._weekdays = days, weekdays
        self._either = words[2][0] not in "*?" and words[4][0] not in "*?"

    def after(self, time: datetime) -> datetime | None:
        """Returns the first time after ``time``; None if there is none in five years."""
        if self._every:
            return time.replace(microsecond=0) + timedelta(seconds=int(self._every))
        local = time.astimezone(self._zone)
        day = local.replace(hour=0, minute=0, second=0, microsecond=0)
        for _ in range(_LONGEST):
            if self._is_on(day):
                for hour in self._hours:
                    for minute in self._minutes:
                        found = day.replace(hour=hour, minute=minute).astimezone(timezone.utc)
                        if found > time:
                            return found
            day = (day + timedelta(days=1)).replace(hour=0)
        return None

    def latest(self, since: datetime, now: datetime) -> datetime | None:
        """Returns the last time after ``since`` that is not after ``now``; None if there is none."""
        found, following = None, self.after(since)
        if self._every and following is not None and following <= now:
            return following + timedelta(
                seconds=(now - following).total_seconds() // self._every * self._every
            )
        if following is None or following > now:
            return None
        # the times of a minute each: from near the end, then back as far as it takes
        back = timedelta(minutes=1)
        while found is None:
            start = max(since, now - back)
            following = self.after(start)
            while following is not None and following <= now:
                found, following = following, self.after(following)
            back *= 8
        return found

    def _is_on(self, day: datetime) -> bool:
        """Returns whether the schedule has a time on that day. Where both the day of the month and the
        weekday are restricted, one of them is enough.
        """
        if day.month not in self._months:
            return False
        of_month, of_week = day.day in self._days, day.isoweekday() % 7 in self._weekdays
        return of_month or of_week if self._either else of_month and of_week


def _numbers(word: str, first: int, last: int, names: Mapping[str, int]) -> frozenset[int]:
    """Returns the numbers that a field of a schedule says."""
    found: set[int] = set()
    for item in word.split(","):
        span, slash, step = item.partition("/")
        low, dash, high = span.partition("-")
        start = first if span in ("*", "?") else _number(low, names)
        end = last if span in ("*", "?") or (slash and not dash) else _number(high, names) if dash else start
        width = int(step) if step.isdigit() else 0 if slash else 1
        if not (first <= start <= end <= last and width > 0):
            raise ValueError(f"{item!r} is not between {first} and {last}")
        found.update(range(start, end + 1, width))
    return frozenset(found)


def _number(word: str, names: Mapping[str, int]) -> int:
    return names[word.lower()] if word.lower() in names else int(word)


def _duration(text: str) -> float:
    parts = _DURATION.findall(text)
    if not parts or "".join(f"{count}{unit}" for count, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration")
    return sum(float(count) * _UNITS[unit] for count, unit in parts)
