"""Writes flows as text for people: a record each, or a row of a table where all columns fit. Pure.

A reader looks for changes: the address that a backend saw and the backend that a Service address led to are
bold, addresses that stay as they were dialled are dim.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import printable
from ..model.results import FlowResult
from ..net import Endpoint
from ..verdicts.compare import (
    KIND_TITLES,
    answers,
    backend_name,
    counted,
    dialled,
    few,
    named_counts,
    sources_sent,
)
from .layout import BOLD, DIM, TABLES_FROM, Screen, Text, fit, lay_out, measure, records, words
from .prose_of_verdicts import say_ending

_INDENT = "  "
_SECOND_FACT = 38  # columns behind which the second fact of a record does not begin for another's sake


def flow_records(
    results: Sequence[FlowResult], screen: Screen, pods: Mapping[str, str], *, protocols: bool
) -> str:
    """Returns ``results`` under a heading for each FlowCheck, kind of communication or step. ``pods`` maps an
    address to ``namespace/name``; ``protocols``: each flow's is said.
    """
    groups = group_flows(results)
    rows = [
        _Row(result, words(short(result.flow.title)), flow_facts(result, pods, protocols=protocols))
        for group in groups.values()
        for result in group
    ]
    blocks = iter(_columns(rows, screen) or [_record(row, screen) for row in rows])
    lines: list[str] = []
    for title, group in groups.items():
        lines += ["", *screen.say(_heading(title, group), code=BOLD)]
        for _ in group:
            lines += next(blocks)
    return "\n".join(lines[1:])


class _Row(NamedTuple):
    result: FlowResult
    title: Text
    facts: Sequence[Text]


def _columns(rows: Sequence[_Row], screen: Screen) -> list[list[str]]:
    """Returns a line for each of ``rows``; none if the screen has no room for columns."""
    if not rows or (screen.width is not None and screen.width < TABLES_FROM):
        return []
    unfolded = Screen(None, screen.paint.color)
    many = max(len(row.facts) for row in rows)
    cells = [
        [
            screen.paint.verdict(row.result.verdict),
            *(unfolded.fold(text)[0] for text in (row.title, *row.facts)),
            *[""] * (many - len(row.facts)),
        ]
        for row in rows
    ]
    lines = [f"{_INDENT}{line}" for line in lay_out(None, cells).split("\n")]
    fits = screen.width is None or max(map(measure, lines)) <= screen.width
    return [[line] for line in lines] if fits else []


def _record(row: _Row, screen: Screen) -> list[str]:
    verdict = screen.paint.verdict(row.result.verdict)
    hang = " " * (len(_INDENT) + measure(verdict) + 2)
    return [
        *screen.fold(row.title, f"{_INDENT}{verdict}  ", hang),
        *screen.pack(row.facts, hang, hang, stop=len(hang) + _SECOND_FACT),
    ]


def group_flows(results: Sequence[FlowResult]) -> Mapping[str, list[FlowResult]]:
    """Returns title → results: by step and FlowCheck, in order of time; else by kind of communication."""
    groups: dict[str, list[FlowResult]] = {}
    if not any(result.flow.step or result.flow.check for result in results):
        groups = {title: [] for title in KIND_TITLES.values()}
    stepped = any(result.flow.step for result in results)
    for result in results:
        flow = result.flow
        at_first = f"{flow.check}, at the beginning" if flow.check else "At the beginning"
        title = flow.step or (at_first if stepped else flow.check) or KIND_TITLES[flow.kind]
        groups.setdefault(title, []).append(result)
    return {title: group for title, group in groups.items() if group}


def _heading(title: str, group: Sequence[FlowResult]) -> str:
    verdicts = Counter(result.verdict for result in group)
    bad = [f"{verdicts[v]} {v.upper()}" for v in ("fail", "unknown") if verdicts[v]]
    return f"{title} ({', '.join(bad)} of {len(group)})" if bad else title


def short(text: str) -> str:
    """Returns ``text`` without the default namespace, which kubectl leaves out too."""
    return re.sub(r"(?<![\w-])default/", "", text)


# --- facts ------------------------------------------------------------------------------------------------


def flow_facts(result: FlowResult, pods: Mapping[str, str], *, protocols: bool) -> list[Text]:
    """Returns what the packets of ``result`` show: the source address, the destination, the rewrites, and how
    those ended that did not arrive.
    """
    said = [f"answered {answers(result)}"] if result.observed.health else []
    changes = _changes(result, pods)
    every: list[Text] = [
        _source(result),
        _destination(result, changes, protocols=protocols),
        *(words(text) for text in [*_rewrites(changes), *_endings(result), *said]),
    ]
    return [fact for fact in every if fact]


def _source(result: FlowResult) -> Text:
    sent, seen = ", ".join(sources_sent(result)), ", ".join(result.observed.sources)
    outcomes = result.observed.outcomes
    if not outcomes:
        return [*words(sent, DIM), *words("not observed", BOLD)]
    if set(outcomes) != {"delivered"}:
        ends = list(outcomes) if len(outcomes) == 1 else [counted(outcomes.items())]
        as_promised = " (as promised)" if result.verdict == "pass" else ""
        return [*words(sent), *words(f"{', '.join(ends)}{as_promised}", BOLD)]
    if not seen or seen == sent:
        return words(f"{sent} preserved" if seen else sent, DIM)
    return [*words(f"{sent} seen as"), *words(seen, BOLD)]


def _destination(result: FlowResult, changes: Sequence[_Rewrites], *, protocols: bool) -> Text:
    flow = result.flow
    via = f" via {flow.via}" if flow.via else ""
    text = f"{f'{flow.protocol} ' if protocols else ''}{dialled(flow)}{via}"
    led_to = [name for change in changes if (name := change.led_to)]
    if not led_to:
        return words(text, "" if via else DIM)
    return [*words(f"{text} →"), *words(" → ".join(led_to), BOLD)]


class _Rewrites(NamedTuple):
    """Holds the rewrites of one node on the way there, and the backends that they led to."""

    where: str
    what: tuple[str, ...]
    led_to: str


def _changes(result: FlowResult, pods: Mapping[str, str]) -> list[_Rewrites]:
    """Returns the rewrites on the way there by node.

    The address that an SNAT gave is the source that the backend saw, which is a fact of its own.
    """
    own_namespace = result.flow.to.service.split("/")[0] + "/"
    rewrites: dict[str, dict[str, None]] = {}
    led_to: dict[str, dict[str, int]] = {}
    for journey in result.journeys:
        leading = "relayed" if any(change.what == "relayed" for change in journey.changes) else "DNAT"
        for change in journey.changes:
            if change.what in ("DNAT", "SNAT", "relayed"):
                rewrites.setdefault(change.where, {})[change.what] = None
            if change.what == leading:
                name, count = _named(change.led_to, result.observed.backends, pods)
                led_to.setdefault(change.where, {})[name.removeprefix(own_namespace)] = count
    return [
        _Rewrites(where, tuple(what), _backends(led_to[where]) if where in led_to else "")
        for where, what in rewrites.items()
    ]


def _rewrites(changes: Sequence[_Rewrites]) -> list[str]:
    """Returns ``DNAT, SNAT at worker-1``."""
    text = "; ".join(f"{', '.join(change.what)} at {change.where}" for change in changes)
    return [text] if text else []


def _backends(counts: Mapping[str, int]) -> str:
    """Returns the one backend that was met, or how many there were and how often each of them was met.
    Targets that are no backends are named (a balancer leads to node ports).
    """
    if len(counts) == 1 or not any(counts.values()):
        return few(list(counts), 4)
    often = [f"×{count}" for count in counts.values()]
    return (
        f"{len(counts)} backends "
        f"({', '.join(often) if len(often) <= 4 else f'×{min(counts.values())} to ×{max(counts.values())}'})"
    )


def _named(endpoint: Endpoint, backends: Mapping[Endpoint, int], pods: Mapping[str, str]) -> tuple[str, int]:
    """Returns the name of ``endpoint`` and how many attempts it answered."""
    if endpoint in backends:
        return backend_name(endpoint, pods), backends[endpoint]
    return str(endpoint), 0


def _endings(result: FlowResult) -> list[str]:
    """Returns how attempts ended that did not arrive, each outcome once."""
    evidence: dict[str, str] = {}
    for journey in result.journeys:
        if journey.outcome != "delivered":
            evidence.setdefault(journey.outcome, say_ending(journey.ending))
    return [text for text in evidence.values() if text]


# --- wide tables ------------------------------------------------------------------------------------------


def flow_table(results: Sequence[FlowResult], screen: Screen, pods: Mapping[str, str]) -> str:
    """Returns one table of all ``results``, with every backend and every rewrite; records, where it does not
    fit into the width of ``screen``.
    """
    groups = group_flows(results)
    ordered = [result for group in groups.values() for result in group]
    if not ordered:
        return ""
    headers = ("FLOW", "PROTO", "DIALLED", "SOURCE SENT → SEEN", "CHANGES, AND WHERE", "BACKENDS", "VERDICT")
    rows = [(*_cells(result, pods), screen.paint.verdict(result.verdict)) for result in ordered]
    fitted = fit(headers, rows, screen.width)
    lines, row = iter(lay_out(headers, fitted or rows).split("\n")), iter(fitted or rows)
    text = [next(lines)] if fitted else []
    for title, group in groups.items():
        text += ["", *screen.say(_heading(title, group), code=BOLD)]
        own = [next(row) for _ in group]
        if fitted:
            text += [next(lines) for cells in own for _ in range(max(cell.count("\n") + 1 for cell in cells))]
        else:
            text.append(records((*headers[:4], "CHANGE", *headers[5:]), own, screen.width))
    return "\n".join(text).lstrip("\n")


def _cells(result: FlowResult, pods: Mapping[str, str]) -> tuple[str, ...]:
    flow, observed = result.flow, result.observed
    name = flow.title if flow.step or flow.check else flow.name  # the heading has the rest
    ended = [
        counted([(outcome, number)]) + (f": {evidence}" if evidence else "")
        for outcome, number, evidence in _not_delivered(result)
    ]
    said = [f"answered {answers(result)}"] if observed.health else []
    every = dict.fromkeys(str(change) for journey in result.journeys for change in journey.changes)
    return (
        printable(name),
        flow.protocol,
        printable(f"{dialled(flow)}{f' via {flow.via}' if flow.via else ''}"),
        printable(f"{', '.join(sources_sent(result))} → {', '.join(observed.sources) or 'none'}"),
        "\n".join(map(printable, [*ended, *said, *every])) or "none",
        printable(counted(sorted(named_counts(observed.backends, pods).items()))),
    )


def _not_delivered(result: FlowResult) -> Iterable[tuple[str, int, str]]:
    evidence: dict[str, str] = {}
    for journey in result.journeys:
        evidence.setdefault(journey.outcome, say_ending(journey.ending))
    return [
        (outcome, number, evidence.get(outcome, ""))
        for outcome, number in result.observed.outcomes.items()
        if outcome != "delivered"
    ]
