"""Writes text into Markdown. Pure."""

from __future__ import annotations

import html

from ..errors import printable

_MARKUP = frozenset("\\`*_[]|~#")


def escape(text: str) -> str:
    """Returns ``text`` so that Markdown and HTML show it as it is."""
    escaped = html.escape(printable(text), quote=False)
    return "".join(f"\\{character}" if character in _MARKUP else character for character in escaped)
