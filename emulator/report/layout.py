"""Lays out tables for a terminal, in columns that fit into its width, with colours or without. Pure.

tabulate sets the columns, wcwidth says how many of them text takes and folds it. The widths are ours, as is
the indent of a folded line: rich, which would decide them, cuts words apart to make all columns equal
(``172.18.0.3:3008`` / ``0``), has no indent, and takes five times as long (60 flows 185 ms in place of 37;
3,000 flows 7 s). Colours are four codes of ECMA-48; for them no library is worth its import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import wcwidth
from tabulate import tabulate

from ..model.results import Verdict

BOLD = "1"
VERDICT_COLOURS: Mapping[Verdict, str] = {"pass": "32", "fail": "1;31", "unknown": "1;33"}
_NARROWEST = 10  # columns are wrapped down to this, not further
_GAP = 2  # spaces between two columns in tabulate's plain format


def wants_color(environment: Mapping[str, str], terminal: bool) -> bool:
    """Returns whether output is coloured, as https://no-color.org and https://force-color.org say."""
    if environment.get("NO_COLOR"):
        return False
    return bool(environment.get("FORCE_COLOR")) or (terminal and environment.get("TERM") != "dumb")


class Paint:
    """Adds terminal colours, or none. ``paint(code, text)``: ``code`` as in ECMA-48's SGR."""

    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color else text

    def verdict(self, verdict: Verdict) -> str:
        return self(VERDICT_COLOURS[verdict], verdict.upper())


def table(headers: Sequence[str] | None, rows: Sequence[Sequence[str]], width: int | None) -> str:
    """Returns ``rows`` under ``headers`` within ``width`` columns; "" when there is no row."""
    return lay_out(headers, fit(headers, rows, width)) if rows else ""


def lay_out(headers: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> str:
    """Returns ``rows`` under ``headers`` in columns as wide as their cells."""
    # The header goes in as a row: tabulate would make its columns wider than they need to be.
    text = tabulate([headers, *rows] if headers else rows, tablefmt="plain", disable_numparse=True)
    return "\n".join(line.rstrip() for line in text.split("\n"))


def fit(
    headers: Sequence[str] | None, rows: Sequence[Sequence[str]], width: int | None
) -> Sequence[Sequence[str]]:
    """Returns ``rows`` with cells wrapped until all columns fit into ``width``: the widest is narrowed first.

    A cell may have several lines; apart from their ends it must be printable already.
    """
    if width is None or not rows:
        return rows
    floors = [len(header) for header in headers or [""] * len(rows[0])]
    columns = list(zip(*rows, strict=True))
    widths = [
        max(floor, *(wcwidth.width(line) for cell in column for line in cell.split("\n")))
        for floor, column in zip(floors, columns, strict=True)
    ]
    floors = [min(natural, max(floor, _NARROWEST)) for natural, floor in zip(widths, floors, strict=True)]
    while sum(widths) + _GAP * (len(widths) - 1) > width:
        wrappable = [index for index, floor in enumerate(floors) if widths[index] > floor]
        if not wrappable:
            break
        widths[max(wrappable, key=widths.__getitem__)] -= 1
    return [[_wrapped(cell, room) for cell, room in zip(row, widths, strict=True)] for row in rows]


def _wrapped(cell: str, width: int) -> str:
    indent = " " if width > _NARROWEST else ""
    lines: list[str] = []
    for line in cell.split("\n"):
        fits = wcwidth.width(line) <= width
        lines += (
            [line] if fits else wcwidth.wrap(line, width, break_on_hyphens=False, subsequent_indent=indent)
        )
    return "\n".join(lines)
