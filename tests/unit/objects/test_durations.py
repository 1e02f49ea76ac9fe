from __future__ import annotations

from fractions import Fraction

import pytest

from emulator.objects.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("15m0s", 900),
        ("1.5h", 5400),
        (".5s", Fraction(1, 2)),
        ("1.s", 1),
        ("1h2m3s4ms5us6ns", 3723 + Fraction(4_005_006, 10**9)),
        ("7µs", Fraction(7, 10**6)),
        ("7μs", Fraction(7, 10**6)),
        ("+1s", 1),
        ("-1m1s", -61),
    ],
)
def test_as_go_reads_them(text: str, seconds: int | Fraction) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "s", ".s", "1 s", "1d", "--1s", "1s-1s", "0x1s", "1e3s", "١s", "1s\n"]
)
def test_what_go_does_not_read(text: str) -> None:
    assert parse_duration(text) is None
