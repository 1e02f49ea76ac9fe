"""Parses durations as Go writes them (time.ParseDuration), which is how Kubernetes' configuration files have
them: ``15m0s``, ``1.5h``. Pure.
"""

from __future__ import annotations

import re
from fractions import Fraction

_SECONDS = {
    unit: Fraction(1, 10**digits) for unit, digits in (("ns", 9), ("us", 6), ("µs", 6), ("μs", 6), ("ms", 3))
}
_SECONDS |= {"s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)}
_PART = r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)"
_DURATION = re.compile(rf"([-+]?)(?:0|((?:{_PART})+))\Z")


def parse_duration(text: str) -> Fraction | None:
    """Returns the seconds of ``text``; None if it is no duration."""
    match = _DURATION.match(text)
    if not match:
        return None
    seconds = sum(
        (Fraction(number) * _SECONDS[unit] for number, unit in re.findall(_PART, match[2] or "")), Fraction()
    )
    return -seconds if match[1] == "-" else seconds
