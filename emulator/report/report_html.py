"""Writes a report as one HTML page that needs nothing else: no network, no other file but the captures that
it links to.

Pure: it reads the templates beside it, and nothing else. Jinja2 is imported when a page is asked for (0.1 s
with its template). Invariants: each value is escaped where it stands; the page's Content-Security-Policy
allows its own style and script by their hashes, and nothing else; every link is a fragment or a relative path
that begins with ".". The page is whole without its script, which filters flows.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from ..errors import printable
from ..model.flows import SourcePlace
from ..model.journeys import Journey
from ..model.results import FlowResult, NodeRow, Report, ServiceRow, Verdict
from ..objects.warnings import ManifestWarning
from ..verdicts.compare import KIND_TITLES, Row, backend_name, dialled, side_by_side, sources_sent
from ..verdicts.modes import ComparedFlow, Comparison, Status
from .captures import ALL_FRAMES
from .describe import name_proxy
from .failures_text import by_cause, title_of, written_at
from .modes_text import Group, facts, group_causes, headline
from .picture import WIDTH, Picture, draw_journey
from .prose import say
from .prose_of_notices import say_notice
from .prose_of_requirements import say_requirement, say_sentence
from .prose_of_verdicts import say_ending, say_verdict
from .prose_of_warnings import count_warnings, place_of, say_warning
from .report_json import PENDING

if TYPE_CHECKING:
    import jinja2

MOST_PICTURES = 500  # ways of packets on one page: some 3 MB
MOST_WAYS = 8  # for one flow
MOST_CAUSES = 50  # in the list before the flows
MOST_LINKS = 20  # to the flows of one cause
MOST_OPEN = 10  # flows that are open at first
_PAGE = Path(__file__).parent / "page"
_STATUSES: tuple[Status, ...] = ("unexplained", "unknown", "unwanted", "known", "same")
_TITLES: Mapping[str, str] = {
    "unexplained": "Differences that nothing explains: a bug",
    "unknown": "Not known: frames or a control were missing",
    "unwanted": "Known differences that a FlowCheck does not expect",
    "known": "Known differences",
    "same": "The same in every mode",
}
_ORDER: Mapping[Verdict, int] = {"fail": 0, "unknown": 1, "pass": 2}


class Warned(NamedTuple):
    """Holds a warning and its place in the input."""

    text: str
    place: str = ""


class CauseRow(NamedTuple):
    """Holds flows that failed alike: the ``id`` and name of the first, and how many ``more`` there are."""

    verdict: str
    title: str
    place: str
    lines: tuple[str, ...]
    flows: tuple[tuple[str, str], ...]
    more: int


class Way(NamedTuple):
    """Holds the pictures of one way of packets."""

    caption: str
    pictures: tuple[Picture, ...]


class RequirementRow(NamedTuple):
    """Holds a requirement, its verdict and the reason for it."""

    text: str
    checked: int
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowView:
    """Holds what the page shows of a flow; ``not_drawn`` says why a journey has no picture ("" if all
    have).
    """

    id: str
    name: str
    verdict: str
    reason: str
    place: str
    check: str
    protocol: str
    dialled: str
    sources: str
    facts: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    captures: tuple[tuple[str, str], ...]
    ways: tuple[Way, ...]
    not_drawn: str
    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Holds what the page shows. ``verdicts`` are those that flows are filtered by, with their numbers;
    ``wrong`` is the heading of the causes; ``all_frames`` are files of every frame, with their links.
    """

    title: str
    ok: bool
    headline: str
    about: tuple[str, ...]
    counts: tuple[str, ...]
    verdicts: tuple[tuple[str, int], ...]
    all_frames: tuple[tuple[str, str], ...]
    wrong: str
    causes: tuple[CauseRow, ...]
    more_causes: int
    warnings: tuple[Warned, ...]
    requirements: tuple[RequirementRow, ...]
    left_out: str
    checks: tuple[str, ...]
    groups: tuple[tuple[str, tuple[FlowView, ...]], ...]
    cluster: tuple[NodeRow, ...]
    services: tuple[ServiceRow, ...]
    notices: tuple[str, ...]
    release: str


def to_html(report: Report, pods: Mapping[str, str], captures: str | None) -> bytes:
    """Returns the page. ``pods`` maps an address to ``namespace/name``; ``captures`` is the path of the
    captures' directory, relative to the page's (None: there are none).
    """
    return _render(view(report, pods, captures))


def comparison_to_html(comparison: Comparison, pods: Mapping[str, str], captures: Mapping[str, str]) -> bytes:
    """Returns the page of a comparison of modes. ``captures`` maps a mode to the path of its captures'
    directory, relative to the page's; a mode without captures is not in it.
    """
    return _render(view_comparison(comparison, pods, captures))


def _render(page: Page) -> bytes:
    template, fixed = _template()
    return template.render(page=page, **fixed).encode()


@cache
def _template() -> tuple[jinja2.Template, Mapping[str, object]]:
    """Returns the template, and the values that every page has."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    style, script = ((_PAGE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return environment.get_template("report.html.j2"), {
        "width": WIDTH,
        "pending": PENDING,
        "style": Markup(style),  # noqa: S704 - our own files
        "script": Markup(script),  # noqa: S704
        "style_hash": _hash(style),
        "script_hash": _hash(script),
    }


def _shown(value: object) -> object:
    """Spells out control characters, and all that UTF-8 cannot carry, in what a template shows."""
    return printable(value) if type(value) is str else value


def _hash(text: str) -> str:
    """Returns the source expression of ``text`` (https://www.w3.org/TR/CSP3/, 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


# --- the page as values -----------------------------------------------------------------------------------


def view(report: Report, pods: Mapping[str, str], captures: str | None) -> Page:
    """Returns what the page shows of ``report``: flows that are not as expected come first."""
    numbers = {id(result): number for number, result in enumerate(report.flows, 1)}
    ordered = sorted(report.flows, key=lambda result: _ORDER[result.verdict])
    drawn = _distinct_ways(ordered)
    flows = [
        _flow(result, f"flow-{numbers[id(result)]}", pods, captures, ways, place < MOST_OPEN)
        for place, (result, ways) in enumerate(zip(ordered, drawn, strict=True))
    ]
    groups = by_cause(ordered)
    undrawn = sum(bool(flow.not_drawn) for flow in flows)
    counts = report.summary
    verdicts: tuple[Verdict, ...] = ("fail", "unknown", "pass")
    return Page(
        title=f"podwire: {report.topology}",
        ok=report.ok,
        headline=_headline(report),
        about=_about(report),
        counts=(
            _count("flow", (result.verdict for result in report.flows)),
            _count("requirement", (r.verdict for r in report.requirements if r.asked)),
            *filter(None, [count_warnings(report.warnings, strict=report.strict)]),
        ),
        verdicts=tuple((verdict, counts[verdict]) for verdict in verdicts),
        all_frames=((ALL_FRAMES, _link(captures, ALL_FRAMES)),) if captures is not None else (),
        wrong="Not as expected",
        causes=tuple(_cause(report, group, numbers) for group in groups[:MOST_CAUSES]),
        more_causes=len(groups[MOST_CAUSES:]),
        warnings=_warned(report.warnings),
        requirements=tuple(
            RequirementRow(say_sentence(r), r.checked, r.verdict, say_requirement(r))
            for r in report.requirements
            if r.asked
        ),
        left_out=_left_out(undrawn),
        checks=tuple(dict.fromkeys(result.flow.check for result in report.flows if result.flow.check)),
        groups=tuple(_groups(flows, ordered)),
        cluster=report.cluster,
        services=report.services,
        notices=tuple(map(say_notice, report.notices)),
        release=report.machine.get("podwire", ""),
    )


def _headline(report: Report) -> str:
    if not report.kept:
        return "Not as expected"
    if report.empty:
        return "Nothing to check"
    return "As expected" if report.ok else "As expected, but for warnings"


def _about(report: Report) -> tuple[str, ...]:
    machine = report.machine
    return (
        f"proxy mode {name_proxy(report)}",
        f"seed {report.seed}",
        *(
            value if value.startswith(name) else f"{name} {value}"
            for name, value in machine.items()
            if name != "seconds"
        ),
        *([f"{machine['seconds']} s"] if machine.get("seconds") else []),
    )


def _warned(warnings: Sequence[ManifestWarning]) -> tuple[Warned, ...]:
    return tuple(Warned(f"{one.code.value} {say_warning(one)}", place_of(one)) for one in warnings)


def _left_out(undrawn: int) -> str:
    if not undrawn:
        return ""
    return (
        f"Journeys of {undrawn} flows are not all drawn: a page has {MOST_PICTURES:,} pictures at most, "
        f"{MOST_WAYS} a flow, those of failures first."
    )


def _cause(report: Report, group: Sequence[FlowResult], numbers: Mapping[int, int]) -> CauseRow:
    first = group[0]
    return CauseRow(
        first.verdict,
        title_of(group),
        _place(first.flow.place),
        (say_verdict(first), "; ".join(written_at(report, first))),
        tuple((f"flow-{numbers[id(result)]}", result.flow.name) for result in group[:MOST_LINKS]),
        len(group[MOST_LINKS:]),
    )


def _count(noun: str, verdicts: Iterable[Verdict]) -> str:
    counts = Counter(verdicts)
    said = [
        f"{counts[verdict]} {verdict.upper()}" for verdict in ("pass", "fail", "unknown") if counts[verdict]
    ]
    number = counts.total()
    return f"{number} {noun}{'' if number == 1 else 's'}: {', '.join(said) or 'none'}"


def _groups(
    flows: Sequence[FlowView], results: Sequence[FlowResult]
) -> Iterator[tuple[str, tuple[FlowView, ...]]]:
    """Yields the flows that are not as expected, then the others by step or kind of communication."""
    stepped = any(result.flow.step for result in results)
    groups: dict[str, list[FlowView]] = {"Not as expected": []}
    if not stepped:
        groups |= {title: [] for title in KIND_TITLES.values()}
    for flow, result in zip(flows, results, strict=True):
        of = result.flow
        title = (of.step or "At the beginning") if stepped else KIND_TITLES[of.kind]
        groups.setdefault(title if flow.verdict == "pass" else "Not as expected", []).append(flow)
    for title, group in groups.items():
        if group:
            yield title, tuple(group)


def _flow(
    result: FlowResult,
    id: str,
    pods: Mapping[str, str],
    captures: str | None,
    ways: tuple[Sequence[Sequence[Journey]], int],
    first: bool,
) -> FlowView:
    flow = result.flow
    drawn, undrawn = ways
    facts = (
        ("check", flow.check),
        ("step", flow.step),
        ("place", _place(flow.place)),
        ("client", flow.client.label),
        ("destination", f"{flow.to.label}{f' via {flow.via}' if flow.via else ''}"),
        ("control", "a control: the same client straight to the Pod" if flow.control else ""),
        ("promised", say(result.expected.because)),
    )
    return FlowView(
        id=id,
        name=flow.name,
        verdict=result.verdict,
        reason=say_verdict(result) if result.verdict != "pass" else "",
        place=_place(flow.place),
        check=flow.check,
        protocol=flow.protocol,
        dialled=str(dialled(flow)),
        sources=f"{', '.join(sources_sent(result))} → {', '.join(result.observed.sources) or 'none'}",
        facts=tuple((what, text) for what, text in facts if text),
        rows=side_by_side(result, pods),
        captures=tuple((name, _link(captures, name)) for name in result.captures)
        if captures is not None
        else (),
        ways=tuple(_way(alike, flow.client.netns, pods) for alike in drawn),
        not_drawn=_not_drawn(undrawn),
        open=first and result.verdict != "pass",
    )


def _not_drawn(ways: int) -> str:
    if not ways:
        return ""
    return f"Ways of its packets that are not drawn here: {ways}. --json and the captures have them."


def _place(place: SourcePlace) -> str:
    return f"{place.file}:{place.line}" if place.line else place.file


def _link(directory: str | None, name: str) -> str:
    """Returns the URL of a file in ``directory``, a relative path: it has no scheme and no host."""
    return f"./{quote(f'{directory}/{name}' if directory else name, safe='/', errors='surrogateescape')}"


# --- a comparison of modes ---------------------------------------------------------------------------------


def view_comparison(comparison: Comparison, pods: Mapping[str, str], captures: Mapping[str, str]) -> Page:
    """Returns what the page shows of ``comparison``: flows that differ come first, by cause."""
    numbers = {id(compared): number for number, compared in enumerate(comparison.flows, 1)}
    ordered = sorted(comparison.flows, key=lambda compared: _STATUSES.index(compared.status))
    results = [result for compared in ordered for result in compared.results.values()]
    ways = iter(_distinct_ways(results))
    flows = [
        _compared(
            compared,
            f"flow-{numbers[id(compared)]}",
            pods,
            captures,
            [next(ways) for _ in compared.results],
        )
        for compared in ordered
    ]
    groups = group_causes(comparison)
    first = next(iter(comparison.reports.values()))
    counts = Counter(compared.status for compared in comparison.flows)
    return Page(
        title=f"podwire diff: {comparison.topology}, {' → '.join(comparison.modes)}",
        ok=comparison.ok,
        headline="All differences are known" if comparison.ok else "Not as expected",
        about=_about(first)[1:],  # without its mode
        counts=(headline(comparison),),
        verdicts=tuple((status, counts[status]) for status in _STATUSES),
        all_frames=tuple(
            (f"{mode}: {ALL_FRAMES}", _link(directory, ALL_FRAMES)) for mode, directory in captures.items()
        ),
        wrong="What differs",
        causes=tuple(_difference(comparison, group, numbers) for group in groups[:MOST_CAUSES]),
        more_causes=len(groups[MOST_CAUSES:]),
        warnings=_warned(comparison.warnings),
        requirements=tuple(
            RequirementRow(f"{mode}: {say_sentence(r)}", r.checked, r.verdict, say_requirement(r))
            for mode, report in comparison.reports.items()
            for r in report.requirements
            if r.asked
        ),
        left_out=_left_out(sum(bool(flow.not_drawn) for flow in flows)),
        checks=tuple(dict.fromkeys(flow.check for flow in flows if flow.check)),
        groups=tuple(_grouped(flows)),
        cluster=first.cluster,
        services=first.services,
        notices=tuple(map(say_notice, comparison.notices)),
        release=first.machine.get("podwire", ""),
    )


def _difference(comparison: Comparison, group: Group, numbers: Mapping[int, int]) -> CauseRow:
    return CauseRow(
        group.flows[0].status,
        f"{group.title}: {group.changes}",
        "",
        tuple(f"{what}: {text}" for what, text in facts(group, comparison)),
        tuple((f"flow-{numbers[id(compared)]}", compared.flow.name) for compared in group.flows[:MOST_LINKS]),
        len(group.flows[MOST_LINKS:]),
    )


def _compared(
    compared: ComparedFlow,
    id: str,
    pods: Mapping[str, str],
    captures: Mapping[str, str],
    ways: Sequence[tuple[Sequence[Sequence[Journey]], int]],
) -> FlowView:
    by_mode = [
        _flow(result, id, pods, captures.get(mode), of_mode, first=False)
        for (mode, result), of_mode in zip(compared.results.items(), ways, strict=True)
    ]
    first, undrawn = by_mode[0], sum(number for _, number in ways)
    named = list(zip(compared.results, by_mode, strict=True))
    shared = [fact for fact in first.facts if all(fact in flow.facts for flow in by_mode)]
    own = [(f"{what} ({mode})", text) for mode, flow in named for what, text in flow.facts]
    kept = {f"{what} ({mode})" for mode in compared.results for what, _ in shared}
    reasons = [f"{mode}: {flow.reason}" for mode, flow in named if flow.reason]
    return replace(
        first,
        verdict=compared.status,
        reason="; ".join(reasons),
        sources=compared.change,
        facts=(*shared, *(fact for fact in own if fact[0] not in kept)),
        captures=tuple((f"{mode}: {name}", link) for mode, flow in named for name, link in flow.captures),
        rows=tuple(row._replace(what=f"{mode}: {row.what}") for mode, flow in named for row in flow.rows),
        ways=tuple(
            way._replace(caption=f"{mode}: {way.caption}") for mode, flow in named for way in flow.ways
        ),
        not_drawn=_not_drawn(undrawn),
    )


def _grouped(flows: Iterable[FlowView]) -> Iterator[tuple[str, tuple[FlowView, ...]]]:
    for status, alike in groupby(flows, key=lambda flow: flow.verdict):
        yield _TITLES[status], tuple(alike)


# --- journeys ---------------------------------------------------------------------------------------------


def _distinct_ways(
    results: Sequence[FlowResult],
) -> Iterator[tuple[Sequence[Sequence[Journey]], int]]:
    """Yields, for each of ``results``, the journeys that are drawn, those alike together, and the number of
    ways that are not.
    """
    left = MOST_PICTURES
    for result in results:
        ways: dict[object, list[Journey]] = {}
        for journey in result.journeys:
            ways.setdefault(_shape(journey), []).append(journey)
        drawn = list(ways.values())[: min(MOST_WAYS, left)]
        left -= len(drawn)
        yield drawn, len(ways) - len(drawn)


def _shape(journey: Journey) -> object:
    """Returns what is equal for journeys that differ in the client's ports alone."""
    hops = tuple((hop.netns, hop.interface, hop.direction) for hop in journey.there + journey.back)
    changes = tuple((change.what, change.where) for change in journey.changes)
    ending = journey.ending
    return (
        hops,
        len(journey.there),
        changes,
        journey.outcome,
        journey.backend,
        journey.source_seen,
        journey.sent.src.address,
        journey.sent.dst,
        ending.kind,
        ending.code,
    )


def _way(alike: Sequence[Journey], client: str, pods: Mapping[str, str]) -> Way:
    first = alike[0]
    senders = dict.fromkeys("crafted packet" if journey.crafted else "socket" for journey in alike)
    to = f" to {backend_name(first.backend, pods)}" if first.backend else ""
    ending = say_ending(first.ending)
    caption = f"{first.sent} ({', '.join(senders)}): {first.outcome}{to}{f', {ending}' if ending else ''}"
    return Way(caption, draw_journey(first, client))
