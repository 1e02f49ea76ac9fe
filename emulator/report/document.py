"""Cuts sections out of a document in Markdown, and fits it to a terminal. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from ..errors import UsageError
from .layout import Screen

_HEADING = re.compile(r"(##+) +(\S.*)")
_ITEM = re.compile(r" *(?:[-*]|\d+\.) +")
_OWN_LINE = ("|", "#", "<")  # a row of a table, a heading, HTML: no other line goes on behind it


class _Heading(NamedTuple):
    line: int
    rank: int
    title: str


def section(document: str, text: str, wanted: str) -> str:
    """Returns the section of ``text`` whose heading begins with the word ``wanted``, or else contains it, to
    the next heading of its rank or above. Raises UsageError with the headings there are.
    """
    lines = text.split("\n")
    headings = list(_headings(lines))
    low = wanted.lower().rstrip(".")
    begins = (one for one in headings if one.title.lower().split()[0].rstrip(".") == low)
    contains = (one for one in headings if low in one.title.lower())
    chosen = next(chain(begins, contains), None)
    if chosen is None:
        known = "; ".join(one.title for one in headings)
        raise UsageError(f"{document} has no section {wanted!r}" + (f": there are {known}" if known else ""))
    ends = (one.line for one in headings if one.line > chosen.line and one.rank <= chosen.rank)
    return "\n".join(lines[chosen.line : next(ends, len(lines))]).rstrip() + "\n"


def _headings(lines: Sequence[str]) -> Iterator[_Heading]:
    """Yields the headings below the title; a comment in a block of code is none."""
    is_code = False
    for number, line in enumerate(lines):
        is_code ^= line.startswith("```")
        if not is_code and (match := _HEADING.fullmatch(line)):
            yield _Heading(number, len(match[1]), match[2])


def reflow(text: str, width: int) -> str:
    """Returns ``text`` with its paragraphs and list items folded anew, no word broken; blocks of code stay as
    they are.
    """
    screen, done, paragraph = Screen(width), list[str](), list[str]()
    first, is_code = "", False

    def end_paragraph() -> None:
        done.extend(screen.say(" ".join(paragraph), first, " " * len(first)) if paragraph else [])
        paragraph.clear()

    for line in text.split("\n"):
        words = line.strip()
        indent, item = line[: len(line) - len(line.lstrip())], _ITEM.match(line)
        is_fence = words.startswith("```")
        if is_code or is_fence or not words:
            end_paragraph()
            done.append(line)
            is_code ^= is_fence
        elif words.startswith(_OWN_LINE):
            end_paragraph()
            done.extend(screen.say(words, indent, f"{indent}  "))
        else:
            if item:
                end_paragraph()
            if not paragraph:
                first = item[0] if item else indent
                words = line[len(first) :]
            paragraph.append(words)
    end_paragraph()
    return "\n".join(done)
