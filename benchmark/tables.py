"""Renders figures as Markdown tables: those of single runs one a line, those that differ in the number of
Services with a column for each. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from benchmark.figures import Figure, Skipped


def render(figures: Sequence[Figure], skipped: Sequence[Skipped] = (), *, terminal: bool = False) -> str:
    """Returns all figures; for a ``terminal`` with columns in line, notes, and the figures that a page shows
    in a chart only.
    """
    shown = [f for f in figures if terminal or not f.charted]
    parts = [
        _by_run([f for f in shown if not f.services], terminal),
        _by_services([f for f in shown if f.services], terminal),
        "\n".join(f"Not measured: {what} ({why})." for what, why in skipped),
    ]
    return "\n\n".join(part for part in parts if part)


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _by_run(figures: Sequence[Figure], terminal: bool) -> str:
    rows = []
    for f in figures:
        reference = f"{number(f.reference)} ({f.reference_name})" if f.reference is not None else ""
        verdict = {True: "met", False: "MISSED", None: ""}[f.met]
        row = (
            f.name,
            f"{number(f.value)} {f.unit}",
            reference,
            f"{f.ratio:.2f} x" if f.ratio else "",
            f"{f.target} {verdict}".strip(),
        )
        rows.append((*row, f.note) if terminal else row)
    headers = ("measured", "podwire", "reference", "ratio", "target", "note")
    return _table(rows, headers[: 6 if terminal else 5], terminal)


def _by_services(figures: Sequence[Figure], terminal: bool) -> str:
    sizes = sorted({f.services for f in figures})
    cells: dict[str, dict[int, Figure]] = {}
    for f in figures:
        cells.setdefault(f.name, {})[f.services] = f
    rows = [
        (
            name,
            *(_cell(by_size[size]) if size in by_size else "" for size in sizes),
            next(iter(by_size.values())).reference_name,
            _target(list(by_size.values())),
        )
        for name, by_size in cells.items()
    ]
    return _table(
        rows, ("Services", *(f"{size:,}" for size in sizes), "x is the ratio to", "target"), terminal
    )


def _cell(f: Figure) -> str:
    """Returns the median, the 99th percentile of a figure with a tail, and the ratio."""
    tail = f" (p99 {number(f.p99)})" if f.tail else ""
    ratio = f" = {f.ratio:.2f} x" if f.ratio else ""
    return f"{number(f.value)} {f.unit}{tail}{ratio}"


def _target(figures: Sequence[Figure]) -> str:
    """Returns ``≤ 1.3 x met``, or the sizes at which it was missed. A target holds for the sizes that it was
    set for.
    """
    bound = [f for f in figures if f.target]
    if not bound:
        return ""
    missed = ", ".join(f"{f.services:,}" for f in bound if not f.met)
    everywhere = "" if len(bound) == len(figures) else f" at {', '.join(f'{f.services:,}' for f in bound)}"
    return f"{bound[0].target}{everywhere} " + (
        f"MISSED at {missed}" if missed and not everywhere else "MISSED" if missed else "met"
    )


def _table(rows: Sequence[Sequence[str]], headers: Sequence[str], terminal: bool) -> str:
    if not rows:
        return ""
    if terminal:
        return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
    return "\n".join(f"| {' | '.join(row)} |" for row in (headers, ["---"] * len(headers), *rows))
