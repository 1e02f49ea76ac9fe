"""Notices: what a reader must know to judge a report. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Notice(NamedTuple):
    """A sentence, and ``detail`` where the kernel has said more about the same."""

    text: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.detail})" if self.detail else self.text
