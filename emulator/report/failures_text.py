"""Writes flows that are not as promised, by cause: flows that failed alike are one block. Pure.

A block is a few facts: what was expected and what came instead, why by the objects, where they are written,
what was dialled, where it ended, and the files to look at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..model.findings import FlowFault
from ..model.reasons import Reason, Why
from ..model.results import FlowResult, PodRow, Report
from ..objects.references import ObjectRef, service_ref
from ..verdicts.compare import dialled, few, keeps, side_by_side, telling_journey, where_it_differs
from .bundle import dump_stem
from .flows_text import short
from .layout import BOLD, VERDICT_COLOURS, Screen, Word, words
from .prose import say
from .prose_of_verdicts import say_difference, say_end, say_ending, say_verdict
from .prose_of_warnings import say_warning

MOST_FAILURES = 20  # a report that fails everywhere is read from its first failures
_MOST_NAMES = 4  # clients and destinations that are named
_MOST_WARNINGS = 2  # about the objects of one flow, that its block tells again
_KEY = 9  # columns of a fact's name
_INDENT = "  "
# findings that the rows "expected …, was …" tell in full
_TOLD = frozenset({FlowFault.OUTCOME, FlowFault.SOURCE, FlowFault.BACKEND, FlowFault.HEALTH})
# the number of a flow in the name of its file or directory, and a pattern for it
_NUMBERED, _PATTERN = re.compile(r"(^|/)(\d+)-[^/]*?(\.pcapng)?$"), r"\1\2-*\3"
_REFUSALS = ("icmp", "rst", "abort", "closed")


def failure_blocks(report: Report, screen: Screen, pods: Mapping[str, str], directory: str) -> str:
    """Returns a block for each cause. ``pods`` maps an address to ``namespace/name``, ``directory`` is the
    place of the evidence ("": there is none).
    """
    blocks = by_cause(report.flows)
    texts = ["\n".join(_block(report, group, screen, pods, directory)) for group in blocks[:MOST_FAILURES]]
    if left := sum(map(len, blocks[MOST_FAILURES:])):
        more = "1 more flow did" if left == 1 else f"{left} more flows did"
        texts.append("\n".join(screen.say(f"{more} not pass; -o json explains every flow")))
    return "\n\n".join(texts)


def by_cause(results: Iterable[FlowResult]) -> list[list[FlowResult]]:
    """Returns the flows that are not as promised; those that failed alike are together."""
    groups: dict[tuple[object, ...], list[FlowResult]] = {}
    for result in results:
        if result.verdict != "pass":
            groups.setdefault(_cause(result), []).append(result)
    return list(groups.values())


def _cause(result: FlowResult) -> tuple[object, ...]:
    """Returns the key that is equal for flows that failed alike: of one entry of a FlowCheck, or to one
    destination, with the same finding.
    """
    flow, finding, journey = result.flow, result.finding, telling_journey(result)
    if finding and finding.fault is FlowFault.CONTROL:
        return result.verdict, finding.control
    about = (flow.check, flow.step, flow.entry) if flow.check else (flow.kind, flow.to.label, flow.to.ip)
    return (
        result.verdict,
        *about,
        flow.step,
        finding.fault if finding else None,
        result.expected.because.kinds,
        tuple(sorted(result.observed.outcomes)),
        (journey.ending.kind, journey.ending.code) if journey else None,
    )


def _block(
    report: Report, group: Sequence[FlowResult], screen: Screen, pods: Mapping[str, str], directory: str
) -> Iterator[str]:
    first = group[0]
    place = first.flow.place
    where = f"{place.file}:{place.line}" if place.line else place.file
    title = [Word(first.verdict.upper(), VERDICT_COLOURS[first.verdict]), *words(title_of(group), BOLD)]
    yield from screen.spread(title, words(where), hang=_INDENT)
    who = words(_clients(report, group) if len(group) > 1 else "")
    for number, text in enumerate(_expected_and_was(first, pods)):
        if number == 0:
            yield from screen.spread(words(text), who, _INDENT, _INDENT * 2)
        else:
            yield from screen.say(text, _INDENT, _INDENT * 2)
    room = None if screen.width is None else screen.width - len(_INDENT) - _KEY
    for key, texts in _facts(report, group, directory, room):
        for number, text in enumerate(texts):
            name = key if number == 0 else ""
            yield from screen.say(text, f"{_INDENT}{name:{_KEY}}", _INDENT + " " * _KEY)


def title_of(group: Sequence[FlowResult]) -> str:
    """Returns the title of flows that failed alike."""
    flow = group[0].flow
    if len(group) == 1:
        return short(flow.name)
    if flow.check:
        return ": ".join(filter(None, (flow.step or flow.check, flow.entry)))
    finding = group[0].finding
    if finding and finding.fault is FlowFault.CONTROL:
        return f"{len(group)} flows, whose control “{short(finding.control)}” failed"
    return f"{len(group)} flows to {short(flow.to.label)}"


def _expected_and_was(result: FlowResult, pods: Mapping[str, str]) -> list[str]:
    """Returns ``expected delivered, was rejected ×2`` and the like, for each aspect that differs."""
    return [
        f"expected {'' if row.what == 'outcome' else f'{row.what} '}{short(row.expected)}, "
        f"was {short(row.observed)}"
        for row in side_by_side(result, pods)
        if not row.same and (row.what == "outcome" or result.observed.outcomes.keys() & {"delivered"})
    ]


def _facts(
    report: Report, group: Sequence[FlowResult], directory: str, room: int | None
) -> Iterator[tuple[str, Sequence[str]]]:
    result = group[0]
    flow, finding = result.flow, result.finding
    if finding and finding.fault not in _TOLD:
        yield "reason", [say_verdict(result)]
    yield _why(report, result)
    if written := list(written_at(report, result)):
        yield "object", written
    protocol = "" if flow.protocol == "TCP" else f"{flow.protocol} "
    via = f" via {flow.via}" if flow.via else ""
    yield (
        "dialled",
        [f"{protocol}{dialled(flow)}{via} ({short(flow.to.label)}) by {_named_client(group)}"],
    )
    key, ended = _ended(result)
    if ended:
        yield key, [ended]
    if look := list(_look(report, result, directory, room)):
        yield "look", look


def _why(report: Report, result: FlowResult) -> tuple[str, Sequence[str]]:
    """Returns why it ended so, if the cluster did as its objects say and a FlowCheck wants otherwise: what is
    odd about those objects, and what they promise. Else what was promised.
    """
    promise, because = result.expected.promised, result.expected.because
    if promise is None or not result.journeys or not keeps(result, promise):
        return "promised", [say(because)]
    about = set(_about(result))
    odd = [one for one in report.warnings if one.object._replace(field="") in about]
    warned = [f"{say_warning(one)} ({one.code.value})" for one in odd[:_MOST_WARNINGS]]
    return "because", [*map(short, warned), say(promise.because)]


def written_at(report: Report, result: FlowResult) -> Iterator[str]:
    """Yields the objects that decide the flow, and where each is written."""
    for ref in _about(result):
        if place := report.places.get(ref):
            yield f"{_object(ref)}, {place.file}" + (f":{place.line}" if place.line else "")


def _about(result: FlowResult) -> Sequence[ObjectRef]:
    """Returns the objects that decide the flow."""
    promised = (result.expected.promised or result.expected).because
    refs = [ref for reason in _reasons(promised) for ref in reason.objects]
    refs += [service_ref(result.flow.to.service)] if result.flow.to.service else []
    return list(dict.fromkeys(ref._replace(field="") for ref in refs))


def _reasons(reason: Reason) -> Iterator[Reason]:
    return (one for one in reason.each() if one.why is not Why.FLOW_CHECK)


def _object(ref: ObjectRef) -> str:
    return f"{ref.kind} {short(ref.name)}"


def _ended(result: FlowResult) -> tuple[str, str]:
    """Returns the place where the packets ended or were rewritten otherwise, with the word for it."""
    journey = telling_journey(result)
    if journey is None:
        return "ended", f"no journey was seen in {result.flow.client.netns}"
    difference = where_it_differs(result, journey)
    if difference is None:
        return "", ""
    if difference.what != "ended":
        return "seen", say_difference(result, journey, difference)
    ending = say_ending(journey.ending)
    if ending and journey.ending.kind in _REFUSALS and journey.back:
        return "ended", f"{journey.back[0].netns}: {ending}"
    return "ended", ending or say_end(result, journey)


def _look(report: Report, result: FlowResult, directory: str, room: int | None) -> Iterator[str]:
    """Yields the files to look at. A name that has no ``room`` on a line is a pattern of the shell: no other
    begins with its number.
    """
    if not directory:
        return
    words = [(f"wireshark {directory}", name, "") for name in result.captures[:1]]
    if result.bundle:
        words.append((directory, result.bundle, f"/{dump_stem(_node(report, result))}.*"))
    for before, name, behind in words:
        whole = f"{before}{name}{behind}"
        fits = room is None or len(whole) <= room
        yield whole if fits else f"{before}{_NUMBERED.sub(_PATTERN, name)}{behind}"


def _node(report: Report, result: FlowResult) -> str:
    """Returns the node whose rules the packets met last; the client's network namespace if they met none."""
    nodes = {row.name for row in report.cluster if row.podCIDR}
    hops = [hop.netns for journey in result.journeys for hop in (*journey.there, *journey.back[:1])]
    flow = result.flow
    return next(
        (name for name in reversed(hops) if name in nodes), flow.via or flow.client.node or flow.client.netns
    )


# --- clients ----------------------------------------------------------------------------------------------


def _named_client(group: Sequence[FlowResult]) -> str:
    client = group[0].flow.client
    return short(client.label) + (f" and {len(group) - 1} more" if len(group) > 1 else "")


def _clients(report: Report, group: Sequence[FlowResult]) -> str:
    """Returns ``2 of 2 Pods of deployment/web``, or the clients' names."""
    of, sizes = _workloads(report)
    labels = list(dict.fromkeys(result.flow.client.label for result in group))
    counts: dict[str, int] = {}
    names = []
    for label in labels:
        if workload := of.get(label, ""):
            counts[workload] = counts.get(workload, 0) + 1
        else:
            names.append(short(label))
    said = [f"{count} of {sizes[name]} Pods of {short(name)}" for name, count in counts.items()]
    return few([*said, *names], _MOST_NAMES)


def _workloads(report: Report) -> tuple[Mapping[str, str], Mapping[str, int]]:
    """Returns the workload of each Pod, by the label that flows have for it, and how many Pods each has."""
    pods: dict[str, PodRow] = {}
    for rows in (report.cluster, *(step.cluster for step in report.steps)):
        pods |= {f"pod {pod.namespace}/{pod.name}": pod for row in rows for pod in row.pods if pod.workload}
    of = {label: _qualified(pod) for label, pod in pods.items()}
    sizes: dict[str, int] = {}
    for name in of.values():
        sizes[name] = sizes.get(name, 0) + 1
    return of, sizes


def _qualified(pod: PodRow) -> str:
    return pod.workload if pod.namespace == "default" else f"{pod.workload} in {pod.namespace}"
