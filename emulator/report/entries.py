"""Lays out entries of a title and a text for a terminal: lines are folded between words, never inside one.
Pure.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

_GAP = 2  # spaces between title and text


def entries(rows: Sequence[tuple[str, str]], width: int) -> str:
    """Returns a line for each of ``rows``, the titles in a column; texts go on below their beginning."""
    column = max((len(title) for title, _ in rows), default=0) + _GAP
    return "".join(f"{_entry(title.ljust(column), text, width, column)}\n" for title, text in rows)


def folded(text: str, width: int, indent: str = "") -> str:
    """Returns ``text`` in lines of at most ``width`` columns, all but the first indented; a longer word has
    a line of its own.
    """
    return _entry("", text, width, len(indent))


def _entry(title: str, text: str, width: int, indent: int) -> str:
    if not text.strip():
        return title.rstrip()
    return textwrap.fill(
        text,
        max(width, indent + 1),
        initial_indent=title,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
