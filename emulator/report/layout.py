"""Tables on a terminal: columns that fit into its width, and colours or none. Imports tabulate; pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from emulator.model.results import Verdict

BOLD = "1"
VERDICT_COLOURS: Mapping[Verdict, str] = {"pass": "32", "fail": "1;31", "unknown": "1;33"}
_NARROWEST = 10  # columns are wrapped down to this, not further
_GAP = 2  # what tabulate's plain format puts between two columns


class Paint:
    """Terminal colours, or none. ``paint(code, text)``: ``code`` as in ECMA-48's SGR."""

    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color else text

    def verdict(self, verdict: Verdict) -> str:
        return self(VERDICT_COLOURS[verdict], verdict.upper())


def table(headers: Sequence[str] | None, rows: Sequence[Sequence[str]], width: int | None) -> str:
    """``rows`` under ``headers`` within ``width`` columns; "" when there is no row."""
    return lay_out(headers, fit(headers, rows, width)) if rows else ""


def lay_out(headers: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> str:
    """``rows`` under ``headers`` in columns as wide as their cells."""
    # The header goes in as a row: tabulate would make its columns wider than they need to be.
    text = tabulate([headers, *rows] if headers else rows, tablefmt="plain", disable_numparse=True)
    return "\n".join(line.rstrip() for line in text.split("\n"))


def fit(
    headers: Sequence[str] | None, rows: Sequence[Sequence[str]], width: int | None
) -> Sequence[Sequence[str]]:
    """``rows`` with cells wrapped until all columns fit into ``width``: the widest gives way first.

    A cell may have several lines; apart from their ends it must be printable already.
    """
    if width is None or not rows:
        return rows
    floors = [len(header) for header in headers or [""] * len(rows[0])]
    columns = list(zip(*rows, strict=True))
    widths = [
        max(floor, *(_visible(line) for cell in column for line in cell.split("\n")))
        for floor, column in zip(floors, columns, strict=True)
    ]
    floors = [min(natural, max(floor, _NARROWEST)) for natural, floor in zip(widths, floors, strict=True)]
    while sum(widths) + _GAP * (len(widths) - 1) > width:
        wrappable = [index for index, floor in enumerate(floors) if widths[index] > floor]
        if not wrappable:
            break
        widths[max(wrappable, key=widths.__getitem__)] -= 1
    return [[_wrapped(cell, room) for cell, room in zip(row, widths, strict=True)] for row in rows]


def _visible(line: str) -> int:
    """How many columns ``line`` takes on a terminal: colours take none."""
    return len(re.sub(r"\x1b\[[0-9;]*m", "", line))


def _wrapped(cell: str, width: int) -> str:
    indent = " " if width > _NARROWEST else ""
    lines: list[str] = []
    for line in cell.split("\n"):
        fits = _visible(line) <= width
        lines += (
            [line] if fits else textwrap.wrap(line, width, break_on_hyphens=False, subsequent_indent=indent)
        )
    return "\n".join(lines)
