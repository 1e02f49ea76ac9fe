"""Lays out a journey as a picture: the machines that a packet passed, one below the other, with its addresses
between them and the rewrites inside them. Pure.

A picture is a list of shapes with coordinates; ``report.html`` writes them as SVG. It has one width, so that
two stand side by side on a wide screen and one below the other on a phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ..model.journeys import Change, Connection, Hop, Journey
from ..net import Endpoint

WIDTH = 344
_ROOM = 46  # small characters that a box holds
_NAME_ROOM = 40  # bold ones
_LEFT, _PAD, _LINE = 1, 10, 15
_ARROW = 26  # between two boxes, where nothing is said
_REWRITTEN = {
    "DNAT": "destination",
    "un-DNAT": "source, back",
    "SNAT": "source",
    "un-SNAT": "destination, back",
}

TextKind = Literal["name", "place", "packet", "change", "bad"]


class Span(NamedTuple):
    """Holds a part of a line; ``new``: it differs from the same part before."""

    text: str
    new: bool = False


class Text(NamedTuple):
    """Describes a line of text; ``full`` is all of it where that is longer ("": it is not)."""

    x: int
    y: int
    kind: TextKind
    spans: tuple[Span, ...]
    full: str = ""


class Rect(NamedTuple):
    """Describes the box of a machine; ``bad``: the packet went no further."""

    y: int
    height: int
    bad: bool = False


class Arrow(NamedTuple):
    """Describes an arrow downwards; ``bad``: nobody was reached."""

    top: int
    bottom: int
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """Holds the shapes of one way; ``title`` is over it, ``label`` says in words what it shows."""

    title: str
    label: str
    height: int
    rects: tuple[Rect, ...]
    arrows: tuple[Arrow, ...]
    texts: tuple[Text, ...]


@dataclass(slots=True)
class _Visit:
    """Holds the hops of a packet in one machine, from its coming to its leaving."""

    netns: str
    hops: list[Hop] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


def draw_journey(journey: Journey, client: str) -> tuple[Picture, ...]:
    """Returns the picture of the way there, and that of the way back if a frame came back. ``client``: the
    client's network namespace.
    """
    there, back = _visits(journey.there), _visits(journey.back)
    _place_changes(journey.changes, there, back)
    lost = journey.outcome != "delivered"
    pictures = [_draw("There", there or [_Visit(client)], lost, journey.outcome)]
    if back:
        lost_on_its_way = journey.ending.kind == "reply lost"
        pictures.append(_draw("Back", back, lost_on_its_way, "lost"))
    return tuple(pictures)


def machine_name(netns: str) -> str:
    """Returns ``Pod default/web-0`` for the network namespace of a Pod; others have their machine's name."""
    namespace, cut, name = netns.partition("_")
    return f"Pod {namespace}/{name}" if cut else netns


def _visits(hops: Sequence[Hop]) -> list[_Visit]:
    visits: list[_Visit] = []
    for hop in hops:
        if not visits or visits[-1].netns != hop.netns:
            visits.append(_Visit(hop.netns))
        visits[-1].hops.append(hop)
    return visits


def _place_changes(changes: Sequence[Change], there: Sequence[_Visit], back: Sequence[_Visit]) -> None:
    """Adds each of ``changes`` to the machine that made it, if it was visited twice to the visit whose frame
    shows it; where no frame of that machine was seen, to the next one.
    """
    for change in changes:
        way = back if change.what.startswith("un-") else there
        made = [visit for visit in way if visit.netns == change.where]
        shows = [visit for visit in way if any(hop.frame == change.frame for hop in visit.hops)]
        both = [visit for visit in made if visit in shows]
        for visit in (*both, *made, *shows)[:1]:
            visit.changes.append(change)


def _draw(title: str, visits: Sequence[_Visit], lost: bool, outcome: str) -> Picture:
    rects: list[Rect] = []
    arrows: list[Arrow] = []
    texts: list[Text] = []
    said: list[str] = []
    y, before = 1, None
    for number, visit in enumerate(visits):
        last = number == len(visits) - 1
        lines = list(_lines(visit))
        height = _LINE * len(lines) + 9
        rects.append(Rect(y, height, last and lost))
        texts += [
            _text(_LEFT + _PAD, y + _LINE * (n + 1), kind, [Span(line)])
            for n, (kind, line) in enumerate(lines)
        ]
        said.append(", ".join(line for _, line in lines))
        y += height
        if last and not (lost and visit.hops):
            break
        ends = (visit.hops[-1].src, visit.hops[-1].dst)
        if ends != before:
            texts.append(_packet(y + 17, ends, before))
        arrows.append(Arrow(y, y + _ARROW, bad=last))
        before = ends
        y += _ARROW
    if lost:
        y += _LINE
        where = "seen no further" if visits[-1].hops else "nothing left it"
        texts.append(_text(_LEFT + _PAD, y, "bad", [Span(f"✗ {outcome}: {where}")]))
        said.append(f"{outcome}: {where}")
        y += 6
    return Picture(
        title, f"{title}: {'; then '.join(said)}", y + 1, tuple(rects), tuple(arrows), tuple(texts)
    )


def _lines(visit: _Visit) -> Iterator[tuple[TextKind, str]]:
    yield "name", machine_name(visit.netns)
    if places := ", ".join(dict.fromkeys(f"{hop.interface} {hop.direction}" for hop in visit.hops)):
        yield "place", places
    for change in visit.changes:
        where = "" if change.where == visit.netns else f" at {change.where}"
        meaning = " by a proxy" if isinstance(change.before, Connection) else f": {_REWRITTEN[change.what]}"
        yield "change", f"{change.what}{where}{meaning}"
        before, after = str(change.before), str(change.after)
        if len(before) + len(after) + 3 <= _ROOM:
            yield "change", f"{before} → {after}"
        else:
            yield "change", before
            yield "change", f"→ {after}"


def _packet(y: int, ends: tuple[Endpoint, Endpoint], before: tuple[Endpoint, Endpoint] | None) -> Text:
    new = [before is not None and end != was for end, was in zip(ends, before or ends, strict=True)]
    spans = [Span(str(ends[0]), new[0]), Span(" → "), Span(str(ends[1]), new[1])]
    return _text(_LEFT + 34, y, "packet", spans)


def _text(x: int, y: int, kind: TextKind, spans: Sequence[Span]) -> Text:
    whole = "".join(span.text for span in spans)
    room = _NAME_ROOM if kind == "name" else _ROOM
    if len(whole) <= room:
        return Text(x, y, kind, tuple(spans))
    return Text(x, y, kind, (Span(f"{whole[: room // 2]}…{whole[-room // 2 + 1 :]}"),), whole)
