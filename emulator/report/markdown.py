"""Writes text into Markdown. Pure.

GitHub makes links of more than Markdown's own marks: people and teams (@name, who get a message), issues
(#1), addresses, emoji (:name:) and formulas ($x$). It looks for them in the text between HTML elements, so an
empty comment inside keeps each as it is written; a backslash does not.
"""

from __future__ import annotations

import html
import re

from ..errors import printable

_MARKUP = frozenset("\\`*_[]|~#$")
_COMMENT = "<!-- -->"
# behind each of these begins what GitHub takes for more than text
_LINKED = re.compile(
    r"@(?=\w)|#(?=\d)|\bgh-(?=\d)|:(?=[\w+-]+:)|\b(?:https?|ftp):(?=//)|\bwww(?=\.)", re.IGNORECASE
)


def escape(text: str) -> str:
    """Returns ``text`` so that Markdown and HTML show it as it is, with no link in it and nobody called."""
    escaped = unlinked(printable(text))
    return "".join(f"\\{character}" if character in _MARKUP else character for character in escaped)


def unlinked(text: str) -> str:
    """Returns ``text`` so that an HTML element in Markdown shows it as it is."""
    pieces = _LINKED.sub(lambda found: f"{found[0]}\0", text.replace("\0", "")).split("\0")
    return _COMMENT.join(html.escape(piece, quote=False) for piece in pieces)
