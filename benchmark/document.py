"""Replaces the figures of docs/figures.md: the benchmark writes the text between two marks. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from benchmark.figures import Figure, Skipped
from benchmark.tables import render

BEGIN, END = "<!-- begin of what scripts/bench --update-docs writes -->", "<!-- end of it -->"


def replace_figures(document: str, block: str) -> str:
    """Returns ``document`` with ``block`` between its marks. Raises ValueError when it does not have both,
    once, in order.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after or END in before:
        raise ValueError(f"docs/figures.md must have these lines once, in order: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{block.strip()}\n{END}{after}"


def compose_block(
    machine: Mapping[str, str],
    rounds: Mapping[str, int],
    figures: Sequence[Figure],
    skipped: Sequence[Skipped],
    charts: Mapping[str, str],
) -> str:
    """Returns the machine, how often each measurement was taken, the tables, and the charts (path → what they
    show).
    """
    where = ", ".join(f"{key} {value}" for key, value in machine.items())
    times = "; ".join(
        f"rounds: {n}"
        + (
            f" ({', '.join(name for name in rounds if rounds[name] == n)})"
            if len(set(rounds.values())) > 1
            else ""
        )
        for n in sorted(set(rounds.values()), reverse=True)
    )
    pictures = "\n".join(f"![{text}]({path})" for path, text in charts.items())
    measured = textwrap.fill(f"Measured on: {where}; {times}.", 110)
    return "\n\n".join(part for part in (measured, render(figures, skipped), pictures) if part)
