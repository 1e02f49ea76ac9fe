"""Writes a report as text for people: tables of the cluster, the flows and the requirements, and a block for
every flow that is not as promised.

Pure: the result depends on the arguments alone. Invariants: PASS, FAIL and UNKNOWN are words, never colours
only; no text of a manifest reaches the terminal with a control character in it.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..errors import printable
from ..model.journeys import Journey
from ..model.results import FlowResult, NodeRow, Report, ServiceRow, Verdict
from ..net import Endpoint
from ..verdicts.compare import (
    KIND_TITLES,
    answers,
    backend_name,
    counted,
    dialled,
    few,
    named_counts,
    side_by_side,
    sources_sent,
    telling_journey,
    where_it_differs,
)
from .layout import (
    BOLD,
    VERDICT_COLOURS,
    Paint,
    fit,
    lay_out,
    table,
)
from .prose import say
from .prose_of_verdicts import say_difference, say_ending, say_requirement, say_verdict
from .report_json import PENDING

# more than these are counted instead of listed, save in wide output; controls that passed are always
MOST_FLOWS = 60
MOST_FAILURES = 20  # a report that fails everywhere is read from its first failures
_NO_PODS: Mapping[str, str] = {}


def render_text(
    report: Report, *, wide: bool, color: bool, width: int, pods: Mapping[str, str] = _NO_PODS
) -> str:
    """Returns the whole report, ending in a newline.

    ``width`` is the number of columns to stay within (as far as words of ten characters allow); ``wide``
    ignores it and shows every flow, backend, rewrite and hop. ``pods`` maps an address to ``namespace/name``.
    """
    paint = Paint(color)
    limit = None if wide else width
    listed = [r for r in report.flows if wide or r.verdict != "pass" or not r.flow.control]
    too_many = not wide and len(listed) > MOST_FLOWS
    if too_many:
        listed = [r for r in listed if r.verdict != "pass"]
    sections = [
        paint(BOLD, printable(f"podwire: {report.topology}"))
        + printable(f"  proxy mode {report.proxy_mode}, seed {report.seed}"),
        _nodes(report.cluster, None if wide else 12, limit),
        _services(report.services, wide, limit),
        _counts(report, len(listed)) if too_many else "",
        _flows(listed, wide, paint, limit, pods),
        "" if too_many else _set_aside(len(report.flows) - len(listed)),
        _journeys(listed, pods) if wide else "",
        table(
            ("REQUIREMENT", "CHECKED", "VERDICT", "REASON"),
            [
                (printable(r.text), str(r.checked), paint.verdict(r.verdict), printable(say_requirement(r)))
                for r in report.requirements
            ],
            limit,
        ),
        _failures([r for r in report.flows if r.verdict != "pass"], paint, limit, pods),
        "\n".join(f"note: {printable(notice)}" for notice in report.notices),
        _totals(report, paint),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def render_difference(result: FlowResult, pods: Mapping[str, str], width: int | None = None) -> str:
    """Returns why ``result`` is not "pass": the reason, expected beside observed, and the hop where its
    journey ended or differed.
    """
    rows = [
        (row.what, row.expected, row.observed, "" if row.same else "← differs")
        for row in side_by_side(result, pods)
    ]
    reason = say_verdict(result)
    journey = telling_journey(result)
    where = f"no journey was seen in {result.flow.client.netns}"
    if journey:
        difference = where_it_differs(result, journey)
        where = say_difference(result, journey, difference, reason) if difference else ""
    facts = [
        ("reason", reason),
        ("promised", say(result.expected.because)),
        (
            "dialled",
            f"{dialled(result.flow)} ({result.flow.to.label}) by {result.flow.client.label}{_via(result)}",
        ),
        ("where", where),
        ("evidence", ", ".join(result.captures)),
    ]
    return "\n".join(
        (
            table(None, [(what, printable(text)) for what, text in facts if text], width),
            table(("", "EXPECTED", "OBSERVED", ""), [tuple(map(printable, row)) for row in rows], width),
        )
    )


def render_journey(result: FlowResult, journey: Journey, pods: Mapping[str, str]) -> str:
    """Returns a line about one path of ``result``'s packets, then its hops there and (after an arrow)
    back.
    """
    by = "crafted packet" if journey.crafted else "socket"
    where = f" to {backend_name(journey.backend, pods)}" if journey.backend else ""
    ending = say_ending(journey.ending)
    evidence = f" ({ending})" if ending else ""
    title = f"{result.flow.name}: {by}, {journey.sent}, {journey.outcome}{where}{evidence}"
    hops = [*(f"    {hop}" for hop in journey.there), *(f"  ← {hop}" for hop in journey.back)]
    return "\n".join(map(printable, [title, *hops]))


# --- flows ------------------------------------------------------------------------------------------------


def _flows(
    results: Sequence[FlowResult], wide: bool, paint: Paint, limit: int | None, pods: Mapping[str, str]
) -> str:
    """Returns one table of all ``results``, with a heading line before each kind of communication; if the
    cluster changed, before each step.
    """
    groups = _by_step(results) if any(result.flow.step for result in results) else _by_kind(results)
    ordered = [result for group in groups.values() for result in group]
    if not ordered:
        return ""
    headers: tuple[str, ...] = ("FLOW", "PROTO", "DIALLED", "SOURCE SENT → SEEN", "CHANGES, AND WHERE")
    columns: list[tuple[str, ...]] = [_cells(result, wide, pods) for result in ordered]
    if wide:
        headers = (*headers, "BACKENDS")
        met = [counted(sorted(named_counts(result.observed.backends, pods).items())) for result in ordered]
        columns = [(*cells, printable(backends)) for cells, backends in zip(columns, met, strict=True)]
    rows = fit(
        (*headers, "VERDICT"),
        [(*cells, paint.verdict(r.verdict)) for cells, r in zip(columns, ordered, strict=True)],
        limit,
    )
    lines = iter(lay_out((*headers, "VERDICT"), rows).split("\n"))
    text, row = [next(lines)], iter(rows)
    for title, group in groups.items():
        text += ["", paint(BOLD, printable(_heading(title, group)))]
        for _ in group:
            text += [next(lines) for _ in range(max(cell.count("\n") + 1 for cell in next(row)))]
    return "\n".join(text)


def _by_kind(results: Iterable[FlowResult]) -> Mapping[str, list[FlowResult]]:
    """Returns title → the results of each kind that occurs, in the order of reports."""
    groups: dict[str, list[FlowResult]] = {title: [] for title in KIND_TITLES.values()}
    for result in results:
        groups[KIND_TITLES[result.flow.kind]].append(result)
    return {title: group for title, group in groups.items() if group}


def _by_step(results: Iterable[FlowResult]) -> Mapping[str, list[FlowResult]]:
    """Returns title → the results of each step, in order of time."""
    groups: dict[str, list[FlowResult]] = {}
    for result in results:
        groups.setdefault(result.flow.step or "At the beginning", []).append(result)
    return groups


def _heading(title: str, group: Sequence[FlowResult]) -> str:
    verdicts = Counter(result.verdict for result in group)
    bad = [f"{verdicts[v]} {v.upper()}" for v in ("fail", "unknown") if verdicts[v]]
    return f"{title} ({', '.join([str(len(group)), *bad])})"


def _cells(result: FlowResult, wide: bool, pods: Mapping[str, str]) -> tuple[str, ...]:
    flow = result.flow
    source = f"{', '.join(sources_sent(result))} → {', '.join(result.observed.sources) or 'none'}"
    changes = _every_change(result) if wide else _changes(result, pods)
    name = flow.title if flow.step else flow.name  # the heading has the step
    # as kubectl leaves the default namespace out
    name = name if wide else re.sub(r"(?<![\w-])default/", "", name)
    said = [f"answered {answers(result)}"] if result.observed.health else []
    lines = "\n".join(map(printable, [*_not_delivered(result), *said, *changes])) or "none"
    return (
        printable(name),
        flow.protocol,
        printable(f"{dialled(flow)}{_via(result)}"),
        printable(source),
        lines,
    )


def _via(result: FlowResult) -> str:
    return f" via {result.flow.via}" if result.flow.via else ""


def _not_delivered(result: FlowResult) -> list[str]:
    """Returns ``rejected ×2: ICMP port unreachable from 172.18.0.3`` for each way in which attempts did not
    arrive.
    """
    evidence: dict[str, str] = {}
    for journey in result.journeys:
        evidence.setdefault(journey.outcome, say_ending(journey.ending))
    return [
        counted([(outcome, number)]) + (f": {evidence[outcome]}" if evidence.get(outcome) else "")
        for outcome, number in result.observed.outcomes.items()
        if outcome != "delivered"
    ]


def _changes(result: FlowResult, pods: Mapping[str, str]) -> list[str]:
    """Returns the rewrites on the way there, a line for each node: ``DNAT, SNAT at worker-1 → web-0:8080``.

    The address that an SNAT gave is the source that the backend saw, which has a column of its own.
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
        f"{', '.join(what)} at {where}" + (f" → {_backends(led_to[where])}" if where in led_to else "")
        for where, what in rewrites.items()
    ]


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


def _every_change(result: FlowResult) -> list[str]:
    return list(dict.fromkeys(str(change) for journey in result.journeys for change in journey.changes))


def _counts(report: Report, shown: int) -> str:
    """Returns how many flows of each kind passed, if they are too many to list."""
    rows = []
    for title, group in _by_kind(report.flows).items():
        verdicts = Counter(result.verdict for result in group)
        rows.append((title, str(len(group)), *(str(verdicts[v]) for v in VERDICT_COLOURS)))
    which = f"the {shown} that did not pass are listed" if shown else "all passed"
    return (
        table(("KIND", "FLOWS", "PASS", "FAIL", "UNKNOWN"), rows, None)
        + f"\n{len(report.flows)} flows, {which}; -o wide lists every flow"
    )


def _set_aside(controls: int) -> str:
    """Returns the number of controls that passed and are not listed: the verdicts of the flows that they
    control include them.
    """
    return (
        f"{controls} controls passed too (the same clients straight to the Pods); -o wide lists them"
        if controls
        else ""
    )


def _journeys(results: Sequence[FlowResult], pods: Mapping[str, str]) -> str:
    """Returns every journey of every flow, hop by hop."""
    texts = [render_journey(result, journey, pods) for result in results for journey in result.journeys]
    return "\n".join(["JOURNEYS", *texts]) if texts else ""


# --- failures and totals ----------------------------------------------------------------------------------


def _failures(results: Sequence[FlowResult], paint: Paint, limit: int | None, pods: Mapping[str, str]) -> str:
    blocks = [
        f"{paint.verdict(result.verdict)} {paint(BOLD, printable(result.flow.name))}\n"
        + textwrap.indent(render_difference(result, pods, None if limit is None else limit - 2), "  ")
        for result in results[:MOST_FAILURES]
    ]
    if len(results) > MOST_FAILURES:
        blocks.append(f"{len(results) - MOST_FAILURES} more flows did not pass; -o json explains every flow")
    return "\n\n".join(blocks)


def _totals(report: Report, paint: Paint) -> str:
    def total(verdicts: Iterable[Verdict]) -> str:
        counts = Counter(verdicts)
        said = [f"{counts[v]} {paint.verdict(v)}" for v in VERDICT_COLOURS if counts[v]]
        return ", ".join(said) or "none"

    seconds = report.machine.get("seconds", "")
    parts = [
        f"{len(report.flows)} flows: {total(r.verdict for r in report.flows)}",
        f"{len(report.requirements)} requirements: {total(r.verdict for r in report.requirements)}",
    ]
    if kernel := report.machine.get("kernel", ""):
        parts.append(f"kernel {printable(kernel)}")
    if seconds:
        parts.append(f"{printable(seconds)} s")
    return "; ".join(parts)


# --- the cluster ------------------------------------------------------------------------------------------


def _nodes(rows: Sequence[NodeRow], most: int | None, limit: int | None) -> str:
    """Returns the nodes with their Pods, the first ``most`` by name (None: all)."""
    cells = [
        (
            row.name,
            ", ".join(row.roles),
            ", ".join(row.addresses),
            row.podCIDR,
            _list([pod.name + (" (hostNetwork)" if pod.hostNetwork else "") for pod in row.pods], most),
        )
        for row in rows
    ]
    headers = ("NODE", "ROLE", "ADDRESS", "POD CIDR", "PODS")
    return table(headers, [tuple(map(printable, row)) for row in cells], limit)


def _services(rows: Sequence[ServiceRow], wide: bool, limit: int | None) -> str:
    """Returns the Services; their external addresses only if some have any."""
    most = None if wide else 6
    columns = {
        "SERVICE": [row.name for row in rows],
        "TYPE": [row.type for row in rows],
        "CLUSTER-IP": [row.address for row in rows],
        "EXTERNAL-IP": [PENDING if row.pending else ", ".join(row.external) for row in rows],
        "PORTS": [_list(list(map(str, row.ports)), most) for row in rows],
        "ENDPOINTS": [str(row.endpoints) for row in rows],
    }
    if not any(columns["EXTERNAL-IP"]):
        del columns["EXTERNAL-IP"]
    cells = zip(*columns.values(), strict=True)
    return table(tuple(columns), [tuple(map(printable, row)) for row in cells], limit)


def _list(items: Sequence[str], most: int | None) -> str:
    return ", ".join(items) if most is None else few(items, most)
