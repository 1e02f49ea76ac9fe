"""Lays out text for a terminal: folded sentences, records, and tables where their columns fit. Pure.

tabulate sets the columns of tables, wcwidth says how many columns text takes. Folding is ours: no word is
ever broken, since half an address or half a name reads as another one, and libraries that fold (rich,
textwrap, wcwidth.wrap) break what is longer than a line. A line is longer than the terminal only where it
holds one word that is. Colours are codes of ECMA-48; for them no library is worth its import.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import wcwidth
from tabulate import tabulate

from ..errors import printable
from ..model.results import Verdict

BOLD = "1"
DIM = "2"
VERDICT_COLOURS: Mapping[Verdict, str] = {"pass": "32", "fail": "1;31", "unknown": "1;33"}
TABLES_FROM = 100  # columns: below, flows are records
_READABLE = 24  # a column of sentences is not folded to less
_GAP = 2  # spaces between two columns in tabulate's plain format
_APART = 3  # spaces between two facts on one line
_WIDEST = 100  # columns: what stands at the right end of a line does so here at most
NARROW_HEAD = 24  # a name up to this wide has its record beside it, not below
_LABELS = re.compile(r"[^,]*,|[^,]+")
_PARTS = re.compile(r"\(podwire doc semantics \d+\)[^ ]*|[^ ]+")


def wants_color(environment: Mapping[str, str], terminal: bool) -> bool:
    """Returns whether output is coloured, as https://no-color.org and https://force-color.org say."""
    if environment.get("NO_COLOR"):
        return False
    return bool(environment.get("FORCE_COLOR")) or (terminal and environment.get("TERM") != "dumb")


class Paint:
    """Adds terminal colours, or none. ``paint(code, text)``: ``code`` as in ECMA-48's SGR ("": none)."""

    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and code and text else text

    def verdict(self, verdict: Verdict) -> str:
        return self(VERDICT_COLOURS[verdict], verdict.upper())


class Word(NamedTuple):
    """Holds a word, which is never broken, and its colour. ``glued``: no space goes before it."""

    text: str
    code: str = ""
    glued: bool = False


Text = Sequence[Word]


def words(text: str, code: str = "") -> list[Word]:
    """Returns the words of ``text``, printable. Between two wide characters a line may be folded, as it is in
    the scripts that have them; then they are words. A section that is cited is one word: it can be pasted.
    Each label of a selector is a word, too.
    """
    found: list[Word] = []
    for part in _PARTS.findall(printable(text)):
        labels = _LABELS.findall(part)
        if not all("=" in label for label in labels):
            labels = [part]
        pieces = [piece for label in labels for piece in ([label] if label.isascii() else _pieces(label))]
        found += [Word(piece, code, glued=number > 0) for number, piece in enumerate(pieces) if piece]
    return found


def _pieces(word: str) -> list[str]:
    pieces = [""]
    for character in word:
        wide = wcwidth.wcwidth(character) == 2
        last = pieces[-1]
        if last and (wide or wcwidth.wcwidth(last[-1]) == 2) and wcwidth.wcwidth(character) > 0:
            pieces.append(character)
        else:
            pieces[-1] += character
    return pieces


def measure(text: str) -> int:
    """Returns how many columns ``text`` takes on a terminal."""
    return len(text) if text.isascii() and "\x1b" not in text else wcwidth.width(text)


def _measured(text: Text) -> int:
    spaces = sum(not word.glued for word in text[1:])
    return sum(measure(word.text) for word in text) + spaces


class Screen:
    """Folds text to the width of a terminal (None: nothing is folded), with colours or without.

    Each method returns lines. ``first`` begins the first line, ``hang`` the others: both are printable.
    """

    def __init__(self, width: int | None, color: bool = False) -> None:
        self.width = width
        self.paint = Paint(color)

    def fold(self, text: Text, first: str = "", hang: str = "") -> list[str]:
        """Returns ``text``, folded between words."""
        return [line.painted for line in self._fold(text, _Line(self.paint, first), hang)]

    def say(self, text: str, first: str = "", hang: str = "", code: str = "") -> list[str]:
        """Returns :meth:`fold` of a sentence."""
        return self.fold(words(text, code), first, hang)

    def pack(self, facts: Iterable[Text], first: str = "", hang: str = "", stop: int = 0) -> list[str]:
        """Returns ``facts``, as many on a line as fit; one is folded only where a line is too short for it.
        The second stands at column ``stop`` or behind.
        """
        lines = [_Line(self.paint, first)]
        for fact in facts:
            size = _measured(fact)
            if lines[-1].filled:
                gap = max(_APART, stop - lines[-1].size if lines[-1].facts == 1 else 0)
                if self._room(lines[-1].size + gap + size):
                    lines[-1].add(" " * gap, fact)
                    continue
                if self._room(lines[-1].size + _APART + size):
                    lines[-1].add(" " * _APART, fact)
                    continue
                lines.append(_Line(self.paint, hang))
            last = lines.pop()
            lines += self._fold(fact, last, hang)
            lines[-1].facts = 1
        return [line.painted for line in lines if line.filled]

    def spread(self, left: Text, right: Text, first: str = "", hang: str = "") -> list[str]:
        """Returns ``left``, with ``right`` at the right end of the line; of the next one, where it has no
        room.
        """
        if self.width is None or not right:
            return self.pack([left, right] if right else [left], first, hang)
        lines = self._fold(left, _Line(self.paint, first), hang)
        edge = min(self.width, _WIDEST) - _measured(right)
        if edge - lines[-1].size < _APART:
            lines.append(_Line(self.paint, hang))
        if edge >= lines[-1].size:
            lines[-1].add(" " * (edge - lines[-1].size), right)
        else:
            lines[-1:] = self._fold(right, lines[-1], hang)
        return [line.painted for line in lines]

    def _room(self, size: int) -> bool:
        return self.width is None or size <= self.width

    def _fold(self, text: Text, line: _Line, hang: str) -> list[_Line]:
        lines = [line]
        for word in text:
            space = "" if word.glued or not lines[-1].filled else " "
            if lines[-1].filled and not self._room(lines[-1].size + len(space) + measure(word.text)):
                lines.append(_Line(self.paint, hang))
                space = ""
            lines[-1].add(space, [word])
        return lines


class _Line:
    """Collects one line."""

    def __init__(self, paint: Paint, begin: str) -> None:
        self._paint, self._begin = paint, begin
        self._runs: list[tuple[str, str]] = []  # colour, text
        self.size = measure(begin)
        self.facts = 0

    @property
    def filled(self) -> bool:
        return bool(self._runs)

    def add(self, gap: str, text: Text) -> None:
        self.facts += 1
        for number, word in enumerate(text):
            space = gap if number == 0 else "" if word.glued else " "
            self.size += len(space) + measure(word.text)
            if self._runs and self._runs[-1][0] == word.code and len(space) < 2:
                self._runs[-1] = (word.code, f"{self._runs[-1][1]}{space}{word.text}")
            else:
                self._runs += [("", space)] if space else []
                self._runs.append((word.code, word.text))

    @property
    def painted(self) -> str:
        return (self._begin + "".join(self._paint(code, text) for code, text in self._runs)).rstrip()


# --- tables -----------------------------------------------------------------------------------------------


def table(headers: Sequence[str] | None, rows: Sequence[Sequence[str]], width: int | None) -> str:
    """Returns ``rows`` under ``headers`` in columns, if they fit into ``width`` with no word broken and no
    sentence squeezed; else as records. "" when there is no row.
    """
    if not rows:
        return ""
    fitted = fit(headers, rows, width)
    return lay_out(headers, fitted) if fitted is not None else records(headers, rows, width)


def lay_out(headers: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> str:
    """Returns ``rows`` under ``headers`` in columns as wide as their cells."""
    # The header goes in as a row: tabulate would make its columns wider than they need to be.
    text = tabulate([headers, *rows] if headers else rows, tablefmt="plain", disable_numparse=True)
    return "\n".join(line.rstrip() for line in text.split("\n"))


def fit(
    headers: Sequence[str] | None, rows: Sequence[Sequence[str]], width: int | None
) -> Sequence[Sequence[str]] | None:
    """Returns ``rows`` with cells folded until all columns fit into ``width``: the widest is narrowed first.
    None: they do not fit.

    A cell may have several lines; apart from their ends it must be printable already.
    """
    if width is None or not rows:
        return rows
    every = [headers, *rows] if headers else rows
    columns = list(zip(*every, strict=True))
    widths = [max(measure(line) for cell in column for line in cell.split("\n")) for column in columns]
    floors = [
        max(min(natural, _READABLE), *(_narrowest(line) for cell in column for line in cell.split("\n")))
        for natural, column in zip(widths, columns, strict=True)
    ]
    while sum(widths) + _GAP * (len(widths) - 1) > width:
        wrappable = [index for index, floor in enumerate(floors) if widths[index] > floor]
        if not wrappable:
            return None
        widths[max(wrappable, key=widths.__getitem__)] -= 1
    return [[_folded(cell, room) for cell, room in zip(row, widths, strict=True)] for row in rows]


def _narrowest(line: str) -> int:
    """Returns the columns that a cell's line needs, folded as far as its words allow: lines that continue
    one are indented.
    """
    found = _plain_words(line)
    return max((measure(word.text) for word in found), default=0) + (len(found) > 1)


def _plain_words(line: str) -> list[Word]:
    """Returns the words of a cell's line, which may be painted."""
    return [Word(line)] if "\x1b" in line else words(line)


def _folded(cell: str, width: int) -> str:
    lines: list[str] = []
    for line in cell.split("\n"):
        lines += [line] if measure(line) <= width else Screen(width).fold(_plain_words(line), hang=" ")
    return "\n".join(lines)


def records(headers: Sequence[str] | None, rows: Sequence[Sequence[str]], width: int | None) -> str:
    """Returns each of ``rows`` as a record: its first cell, and the others with the names of their columns
    beside or below it.
    """
    screen = Screen(width)
    names = [re.sub(r"[A-Z]+", lambda found: found[0].lower(), header) for header in headers or ()]
    heads = max(measure(row[0]) for row in rows)
    hang = heads + _GAP if heads <= NARROW_HEAD else _GAP
    lines: list[str] = []
    for row in rows:
        facts = [
            [*words(name), *_plain_words(line)]
            for name, cell in zip(names[1:] or [""] * len(row), row[1:], strict=False)
            for line in cell.split("\n")
            if line
        ]
        head, beside = row[0], heads <= NARROW_HEAD and "\n" not in row[0]
        first = f"{head}{' ' * (hang - measure(head))}" if beside else " " * hang
        lines += [] if beside or not head else (_folded(head, width) if width else head).split("\n")
        lines += screen.pack(facts, first, " " * hang) or ([head] if beside else [])
    return "\n".join(lines)
