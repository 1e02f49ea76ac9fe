"""Writes a time line as it comes: requests that end, and events of the cluster. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

from ..errors import printable
from ..model.flows import Attempt, Flow
from ..model.timeline import SECOND, ClusterEvent, FlowSummary, ending_of

Form = Literal["table", "wide", "json"]
_WIDTH = 32  # columns of a flow's or an object's name, at least
_MOST_HELD = SECOND  # ns for which requests are counted before they are shown


@dataclass(slots=True)
class _Held:
    """Holds requests of a flow that follow each other and are all good, or all lost."""

    flow: str
    since: int  # when the first of them was sent
    lost: bool
    src: str  # where the first of them was sent from
    words: Counter[str] = field(default_factory=Counter)  # by endpoint that answered, or by ending


class TimeLine:
    """Writes one time line. In the form ``table`` good requests that follow each other are one line, at most
    a second's worth, and so are lost ones; ``wide`` has a line for each, ``json`` an object for each (JSON
    lines).
    """

    def __init__(self, flows: Sequence[Flow], form: Form) -> None:
        self._form = form
        self._width = max((_WIDTH, *(len(flow.name) for flow in flows)))
        self._held: dict[str, _Held] = {}  # by flow: those not shown yet

    def request(self, one: Attempt) -> str:
        """Returns the lines that a request brings."""
        if self._form == "json":
            return f"{json.dumps(_as_json(one))}\n"
        ending = ending_of(one)
        if self._form == "wide":
            took = f"{(one.finished - one.started) / 1e6:.1f} ms"
            who = f" by {_answered(one)}" if one.answer else ""
            word = "ok" if ending == "ok" else f"LOST  {ending}"
            return self._line(one.started, one.flow, f"{word}{who} after {took}, from {one.src}")
        said = ""
        for old in [old for old in self._held.values() if one.started - old.since >= _MOST_HELD]:
            said += self._release(old)
        held = self._held.get(one.flow)
        if held and held.lost != bool(one.error):
            said += self.rest()
            held = None
        if held is None:
            held = self._held[one.flow] = _Held(one.flow, one.started, bool(one.error), str(one.src))
        held.words[_answered(one) if ending == "ok" else ending] += 1
        return said

    def _release(self, held: _Held) -> str:
        """Returns the line of requests that were held back."""
        del self._held[held.flow]
        words = ", ".join(f"{word} ×{count}" for word, count in sorted(held.words.items()))
        first = f", the first from {held.src}" if held.lost else ""
        word = "LOST" if held.lost else "ok"
        return self._line(held.since, held.flow, f"{word} ×{sum(held.words.values())}  {words}{first}")

    def event(self, one: ClusterEvent) -> str:
        """Returns the lines that an event brings."""
        if self._form == "json":
            row = {"at": _rfc3339(one.at), "event": one.kind, "object": one.name, "what": one.what}
            return f"{json.dumps(row)}\n"
        said = printable(f"{one.kind} {one.name}".rstrip())
        return self.rest() + self._line(one.at, said, printable(one.what))

    def rest(self) -> str:
        """Returns the lines about the requests that were held back."""
        held = sorted(self._held.values(), key=lambda one: one.since)
        return "".join(self._release(one) for one in held)

    def conclude(self, summaries: Sequence[FlowSummary], most_lost: int | None) -> str:
        """Returns the summary; ``most_lost``: how many requests may be lost (None: it was not said)."""
        lost, sent = sum(one.lost for one in summaries), sum(one.sent for one in summaries)
        if self._form == "json":
            rows = [_summary_as_json(one) for one in summaries]
            return f"{json.dumps({'summary': {'sent': sent, 'lost': lost, 'flows': rows}})}\n"
        lines = [""]
        for one in summaries:
            how = ", ".join(f"{count} {ending}" for ending, count in one.endings.items() if ending != "ok")
            lines.append(
                f"{printable(one.flow)}: {one.sent} sent, {one.lost} lost{f' ({how})' if how else ''}, "
                f"longest gap {one.gap:.2f} s"
            )
            for share in one.endpoints:
                name = share.name or "somebody who does not say their name"
                image = f" ({printable(share.image)})" if share.image else ""
                when = f"{clock(share.first)} to {clock(share.last)}"
                lines.append(f"  {printable(name)}{image}  {share.answered}, {when}")
        if most_lost is not None and lost > most_lost:
            lines.append(f"FAIL: {lost} lost, and no more than {most_lost} may be")
        return self.rest() + "\n".join(lines) + "\n"

    def _line(self, at: int, who: str, said: str) -> str:
        return f"{clock(at)}  {printable(who):{self._width}}  {said}\n"


def _answered(one: Attempt) -> str:
    return printable(one.answer.pod) if one.answer else "answered"


def clock(at: int) -> str:
    """Returns the local time of day, with milliseconds."""
    return datetime.fromtimestamp(at / SECOND).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _rfc3339(at: int) -> str:
    return datetime.fromtimestamp(at / SECOND, timezone.utc).isoformat(timespec="microseconds")


def _as_json(one: Attempt) -> dict[str, Any]:
    row: dict[str, Any] = {
        "at": _rfc3339(one.started),
        "flow": one.flow,
        "verdict": ending_of(one),
        "seconds": round((one.finished - one.started) / SECOND, 6),
        "from": str(one.src),
        "dialled": str(one.dst),
    }
    if one.answer:
        row |= {"pod": one.answer.pod, "node": one.answer.node, "image": one.answer.image}
        row |= {"seenFrom": str(one.answer.client)}
    return row


def _summary_as_json(one: FlowSummary) -> dict[str, Any]:
    return {
        "flow": one.flow,
        "sent": one.sent,
        "lost": one.lost,
        "endings": dict(one.endings),
        "longestGap": round(one.gap, 3),
        "endpoints": [
            {
                "pod": share.name,
                "image": share.image,
                "answered": share.answered,
                "first": _rfc3339(share.first),
                "last": _rfc3339(share.last),
            }
            for share in one.endpoints
        ],
    }
