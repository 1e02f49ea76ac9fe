"""Holds what a time line shows: what happens in a cluster, and how requests sent steadily end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from .flows import Attempt

Ending = Literal["ok", "refused", "reset", "timed out", "unreachable", "closed", "prohibited"]
# by the name of the error that the client's socket met (errno(3)); any other is "unreachable"
_ENDINGS: Mapping[str, Ending] = {
    "": "ok",
    "ECONNREFUSED": "refused",
    "ECONNRESET": "reset",
    "EPIPE": "reset",
    "timeout": "timed out",
    "ETIMEDOUT": "timed out",
    "EOF": "closed",
    "EACCES": "prohibited",
    "EPERM": "prohibited",
}
SECOND = 1_000_000_000  # ns


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """Describes a change in a cluster at a time (ns since the epoch). ``kind`` and ``name`` say of which
    object, ``what`` in a few words.
    """

    at: int
    kind: str
    name: str
    what: str


def ending_of(attempt: Attempt) -> Ending:
    """Returns how a request ended for its client."""
    return _ENDINGS.get(attempt.error, "unreachable")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointShare:
    """Counts the requests that one endpoint answered, and when (ns since the epoch) the first and the last of
    them were sent.
    """

    name: str
    image: str
    answered: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSummary:
    """Counts the requests of one flow. ``lost`` are those without an answer;
    ``gap`` is the longest time in seconds between two requests that were answered, or from an end of the time
    line to one.
    """

    flow: str
    sent: int
    lost: int
    endings: Mapping[Ending, int]
    gap: float
    endpoints: tuple[EndpointShare, ...]


def summarize(flow: str, attempts: Iterable[Attempt]) -> FlowSummary:
    """Returns the summary of the requests of ``flow``, in whatever order they ended."""
    own = sorted((one for one in attempts if one.flow == flow), key=lambda one: one.started)
    endings: dict[Ending, int] = {}
    for one in own:
        endings[ending_of(one)] = endings.get(ending_of(one), 0) + 1
    answered = [one for one in own if not one.error]
    shares: dict[tuple[str, str], list[Attempt]] = {}
    for one in answered:
        shares.setdefault((one.answer.pod, one.answer.image) if one.answer else ("", ""), []).append(one)
    return FlowSummary(
        flow=flow,
        sent=len(own),
        lost=len(own) - len(answered),
        endings=endings,
        gap=longest_gap(own),
        endpoints=tuple(
            EndpointShare(
                name=name, image=image, answered=len(some), first=some[0].started, last=some[-1].started
            )
            for (name, image), some in shares.items()
        ),
    )


def longest_gap(attempts: Sequence[Attempt]) -> float:
    """Returns the longest time in seconds between two of ``attempts`` that were answered, or from the first
    or last of them to one; they are in order of time.
    """
    if not attempts:
        return 0.0
    good = [one.started for one in attempts if not one.error]
    marks = [attempts[0].started, *good, attempts[-1].started]
    return max(later - earlier for earlier, later in pairwise(marks)) / SECOND
