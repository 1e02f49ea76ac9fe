"""Holds a figure: a quantity, its rounds, its reference and its target. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Holds one measured quantity. ``rounds`` are the single measurements, in ``unit``; ``reference_rounds``
    those of the reference.

    ``target`` bounds ``value`` ("≤ 20"), or its ratio to ``reference`` ("≤ 1.3 x"); "" is no target.
    ``services`` is the size of the cluster where the figure is one of several that differ in it (else 0);
    ``mode`` and ``case`` tell such figures apart. With ``tail`` the rounds are samples of one distribution,
    whose 99th percentile says as much as its median. ``charted``: a page shows it in a chart alone.
    """

    name: str
    unit: str
    rounds: tuple[float, ...]
    reference_name: str = ""
    reference_rounds: tuple[float, ...] = ()
    target: str = ""
    note: str = ""
    services: int = 0
    mode: str = ""
    case: str = ""
    tail: bool = False
    charted: bool = False

    @property
    def value(self) -> float:
        return median(self.rounds)

    @property
    def p99(self) -> float:
        return percentile(self.rounds, 99)

    @property
    def reference(self) -> float | None:
        return median(self.reference_rounds) if self.reference_rounds else None

    @property
    def ratio(self) -> float | None:
        return self.value / self.reference if self.reference else None

    @property
    def met(self) -> bool | None:
        """Returns whether the target is met; None without one."""
        if not self.target:
            return None
        relation, bound, *times = self.target.split()
        value = self.ratio if times else self.value
        if value is None:
            return None
        return value <= float(bound) if relation == "≤" else value >= float(bound)


class Skipped(NamedTuple):
    """Holds a measurement that is impossible here, and why."""

    what: str
    why: str


def percentile(values: Sequence[float], percent: float) -> float:
    """Returns the smallest of ``values`` that at least ``percent`` % of them do not exceed (the nearest-rank
    definition).
    """
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]
