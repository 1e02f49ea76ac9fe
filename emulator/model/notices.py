"""Defines notices: facts that a reader needs to judge a report. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Notice(NamedTuple):
    """Holds a sentence, and ``detail`` if the kernel has said more about it."""

    text: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.detail})" if self.detail else self.text
