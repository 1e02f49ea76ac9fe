"""Writes the parts that many sentences share: numbers with their nouns, and lists. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MOST_NAMED = 3  # names of a longer list


def count(number: int, noun: str, plural: str = "") -> str:
    """Returns ``1 frame`` or ``2 frames``."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def and_more(more: int) -> str:
    """Returns `` (and 2 more)`` for the end of a phrase; "" for none."""
    return f" (and {more} more)" if more else ""


def list_some(names: Sequence[str]) -> str:
    """Returns the first of ``names``, and how many more there are."""
    shown, more = names[:MOST_NAMED], len(names) - MOST_NAMED
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def list_ports(ports: Iterable[tuple[int, str]]) -> str:
    """Returns ``53/UDP, 80/TCP``."""
    return ", ".join(f"{port}/{protocol}" for port, protocol in sorted(ports))
