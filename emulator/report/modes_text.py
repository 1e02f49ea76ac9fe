"""Writes a comparison of modes for a person who must decide. Pure.

The first questions are answered first: which Services change, for which clients and why, and what to do. The
packets that show it follow.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

from ..errors import printable
from ..model.reasons import Reason
from ..model.results import FlowResult
from ..net import is_loopback
from ..verdicts.compare import (
    answers,
    counted,
    dialled,
    few,
    named_counts,
    outcome_word,
)
from ..verdicts.modes import (
    DIALLED,
    ComparedFlow,
    Comparison,
    ServiceDifference,
    Status,
)
from .advice import advise, expect_text
from .layout import table
from .prose import say, say_of_modes
from .prose_of_verdicts import say_ending, say_requirement, say_verdict

# groups of Services whose changes are explained; the others are named
MOST_BLOCKS = 20
MOST_FLOWS = 40  # differing flows whose packets are shown
MOST_BACKENDS = 3  # backends of one flow that are named
MOST_CLIENTS = 4  # clients with the same result that are named
MOST_ACCEPTED = 5  # flows of FlowChecks for which accepting a mode's difference is explained
MOST_REASONS = 20  # flows that are not as promised and explained
_FIRST: tuple[Status, ...] = ("unexplained", "unknown", "unwanted", "known")  # the order for a reader


def render_comparison(comparison: Comparison, *, width: int, pods: Mapping[str, str]) -> str:
    """Returns the whole comparison within ``width`` columns, ending in a newline. ``pods`` maps an address to
    ``namespace/name``.
    """
    differing = sorted(comparison.differing, key=lambda compared: _FIRST.index(compared.status))
    rows = [row for compared in differing[:MOST_FLOWS] for row in _rows(compared, pods)]
    sections = [
        printable(f"podwire: {comparison.topology}  {' → '.join(comparison.modes)}: {_in_short(comparison)}"),
        *_changes(comparison, width),
        "\n".join(_wrapped(_unchanged(comparison.services), width)),
        "\n".join(_advice(comparison, width)),
        table(("THE PACKETS", "MODE", "OUTCOME", "BACKENDS", "SOURCE", "REPLY FROM"), rows, width),
        f"{len(differing) - MOST_FLOWS} more flows differ; -o json has every flow"
        if len(differing) > MOST_FLOWS
        else "",
        "\n".join(_broken_promises(comparison)),
        "\n".join(f"note: {printable(notice)}" for notice in comparison.notices),
        "\n".join(map(printable, _kernels(comparison))),
        _totals(comparison),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


# --- what to decide on ------------------------------------------------------------------------------------


def _in_short(comparison: Comparison) -> str:
    proxied = [change for change in comparison.services if change.service and change.proxied]
    changed = sum(bool(change.changed) for change in proxied)
    status = Counter(compared.status for compared in comparison.flows)
    text = f"{changed} of {len(proxied)} Services {'changes' if changed == 1 else 'change'}"
    more = [
        f"{_flows(status['unwanted'])} not as a FlowCheck says" if status["unwanted"] else "",
        f"{_flows(status['unexplained'])} UNEXPLAINED, which is a bug" if status["unexplained"] else "",
        f"{_flows(status['unknown'])} UNKNOWN" if status["unknown"] else "",
    ]
    return ", ".join([text, *filter(None, more)])


def _changes(comparison: Comparison, width: int) -> Iterator[str]:
    """Yields a block for all Services that change alike: the first in full, and the names of the others."""
    of: dict[str, list[ComparedFlow]] = {}
    for compared in comparison.differing:
        if not compared.flow.control:
            of.setdefault(compared.flow.to.service, []).append(compared)
    likewise: dict[frozenset[tuple[object, ...]], list[ServiceDifference]] = {}
    for change in comparison.services:
        if change.changed:
            likewise.setdefault(frozenset(map(_kind, of[change.service])), []).append(change)
    groups = list(likewise.values())
    for first, *others in groups[:MOST_BLOCKS]:
        yield "\n".join(
            [_headline(first), *_alike(of[first.service], width), *_wrapped(_likewise(others), width, "  ")]
        )
    if unsaid := [
        f"{_who(change)} ({counted(change.how.items())})"
        for group in groups[MOST_BLOCKS:]
        for change in group
    ]:
        yield "\n".join(_wrapped([f"More that change: {', '.join(unsaid)}; -o json has every flow"], width))


def _kind(compared: ComparedFlow) -> tuple[object, ...]:
    """Returns the key that is equal for Services that change alike: all but names, addresses and ports."""
    flow = compared.flow
    reasons = tuple((modes, reason.kinds) for reason, modes in _explaining(compared).items())
    return _what(compared), flow.client.kind, flow.to.how, is_loopback(flow.to.ip), reasons


def _likewise(changes: Sequence[ServiceDifference]) -> Iterator[str]:
    if changes:
        yield f"likewise: {', '.join(f'{_who(c)} ({c.changed} of {_flows(c.flows)})' for c in changes)}"


def _headline(change: ServiceDifference) -> str:
    return printable(
        f"{_who(change)}: {change.changed} of {_flows(change.flows)} "
        f"{'changes' if change.changed == 1 else 'change'}"
    )


def _alike(flows: Iterable[ComparedFlow], width: int) -> Iterator[str]:
    """Yields the change of each group of flows, then why; clients with the same change come together."""
    clients: dict[tuple[str, ...], dict[str, None]] = {}
    for compared in flows:
        alike = (_what(compared), _where(compared), *_reasons(compared))
        clients.setdefault(alike, {})[_short(compared.flow.client.label)] = None
    for (what, where, *why), names in clients.items():
        yield from _wrapped([f"{what}  from {few(names, MOST_CLIENTS)} to {where}"], width, "  ", 4)
        yield from _wrapped(why, width, "      ", 2)


def _what(compared: ComparedFlow) -> str:
    if compared.status == "known":
        return compared.change
    return (
        f"{compared.change} "
        f"({_wanted(compared) if compared.status == 'unwanted' else compared.status.upper()})"
    )


def _wanted(compared: ComparedFlow) -> str:
    failed = [result for result in compared.results.values() if result.verdict == "fail"]
    wanted = failed[0].expected
    more = f"answer {wanted.health}" if wanted.health else f"source {wanted.source}" if wanted.source else ""
    more = f", {more}" if more and "outcome" not in compared.aspects else ""
    return f"FlowCheck {compared.flow.check} wants it {outcome_word(wanted)}{more}"


def _where(compared: ComparedFlow) -> str:
    flow = compared.flow
    through = f" through {flow.via}" if flow.via and flow.to.how != "nodePort" else ""
    address = "" if flow.to.how == "nodePort" and is_loopback(flow.to.ip) else str(dialled(flow))
    return f"{_short(flow.to.label)}{through}" + ("" if address in flow.to.label else f" ({address})")


def _explaining(compared: ComparedFlow) -> Mapping[Reason, tuple[str, ...]]:
    """Returns each reason that explains the difference, with its modes; for a bug all promises."""
    telling = compared.telling if compared.status in ("known", "unwanted") else compared.promises
    modes: dict[Reason, tuple[str, ...]] = {}
    for mode, promise in telling.items():
        modes[promise.because] = (*modes.get(promise.because, ()), mode)
    return modes


def _reasons(compared: ComparedFlow) -> Iterator[str]:
    """Yields each reason as a sentence, with its modes."""
    for reason, modes in _explaining(compared).items():
        yield say_of_modes(reason, modes)


def _unchanged(changes: Sequence[ServiceDifference]) -> Iterator[str]:
    same = [c for c in changes if not c.changed]
    served = [f"{_who(c)} ({c.flows})" for c in same if c.proxied and c.flows]
    if served:
        yield f"Nothing changes (and so many flows show it): {', '.join(served)}"
    if silent := [_who(c) for c in same if c.proxied and not c.flows]:
        yield f"No flow dials: {', '.join(silent)}"
    if unproxied := [_who(c) for c in same if not c.proxied]:
        yield f"kube-proxy has no part in: {', '.join(unproxied)}"


def _who(change: ServiceDifference) -> str:
    return change.service or "no Service's port"


def _advice(comparison: Comparison, width: int) -> Iterator[str]:
    flows = [compared for compared in comparison.differing if not compared.flow.control]
    if lines := [f"- {line}" for line in (*advise(flows), *_how_to_accept(comparison, flows))]:
        yield "What to do:"
        yield from _wrapped(lines, width)


def _how_to_accept(comparison: Comparison, flows: Iterable[ComparedFlow]) -> Iterator[str]:
    """Yields the entry of a FlowCheck that would accept a mode's result, each once."""
    said: dict[str, None] = {}
    for compared in flows:
        if compared.status == "unwanted":
            modes = ", ".join(
                f"{mode}: {expect_text(comparison.accepted(compared, mode))}" for mode in compared.failed
            )
            what = (
                f"What FlowCheck {compared.flow.check} does not want of “{compared.flow.entry}”, and "
                "you accept, it can say: "
            )
            said[f"{what}expect: {{modes: {{{modes}}}}} beside what it expects in the others."] = None
    yield from list(said)[:MOST_ACCEPTED]
    if len(said) > MOST_ACCEPTED:
        yield (
            f"{len(said) - MOST_ACCEPTED} more flows of FlowChecks can be accepted likewise; -o json "
            "says what each may expect (accept)."
        )


def _wrapped(lines: Iterable[str], width: int, indent: str = "", further: int = 2) -> list[str]:
    """Returns ``lines``, indented and folded; continuation lines are indented ``further``."""
    return [
        line
        for text in lines
        for line in textwrap.wrap(
            printable(text),
            width,
            initial_indent=indent,
            subsequent_indent=indent + " " * further,
            break_on_hyphens=False,
        )
    ]


def _flows(number: int) -> str:
    return f"{number} flow" if number == 1 else f"{number} flows"


# --- what shows it ----------------------------------------------------------------------------------------


def _rows(compared: ComparedFlow, pods: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Yields a row for all modes with the same result: the first has the flow's name, the second the
    difference.
    """
    modes: dict[tuple[str, ...], list[str]] = {}
    for mode, result in compared.results.items():
        source = ", ".join(compared.sources(mode)) or "none"
        cells = (
            printable(_outcome(result)),
            _backends(result, pods),
            printable(source),
            printable(_heard(compared, mode)),
        )
        modes.setdefault(cells, []).append(mode)
    lines = [(", ".join(named), *cells) for cells, named in modes.items()]
    lines += [("",) * len(lines[0])] * (2 - len(lines))
    titles = [printable(_short(title)) for title in (compared.flow.name, _verdict(compared))]
    yield from ((title, *line) for title, line in zip_longest(titles, lines, fillvalue=""))


def _short(text: str) -> str:
    """Returns ``text`` without the default namespace, which kubectl leaves out too."""
    return re.sub(r"(?<![\w-])default/", "", text)


def _backends(result: FlowResult, pods: Mapping[str, str]) -> str:
    """Returns one printable line for each backend; if there are many, only the first ones."""
    names = [printable(_short(name)) for name in sorted(named_counts(result.observed.backends, pods))]
    more = [f"(+{len(names) - MOST_BACKENDS} more)"] if len(names) > MOST_BACKENDS else []
    return "\n".join([*names[:MOST_BACKENDS], *more]) or "none"


def _verdict(compared: ComparedFlow) -> str:
    if compared.status == "unknown":
        return "UNKNOWN: see below"
    if compared.status == "unexplained":
        return "BUG: unexplained"
    sections = f"docs/semantics {', '.join(map(str, compared.sections))}"
    if compared.status == "unwanted":
        return f"{_wanted(compared)}; promised: {sections}"
    return f"known: {sections}"


def _outcome(result: FlowResult) -> str:
    said = f": {answers(result)}" if result.observed.health else ""
    return (", ".join(sorted(result.observed.outcomes)) or "nothing was observed") + said


def _heard(compared: ComparedFlow, mode: str) -> str:
    """Returns the addresses that replied; for packets that did not arrive, the evidence."""
    heard = ["the address dialled" if reply == DIALLED else reply for reply in compared.reply(mode)]
    evidence = dict.fromkeys(
        ending
        for journey in compared.results[mode].journeys
        if journey.outcome != "delivered" and (ending := say_ending(journey.ending))
    )
    return "; ".join([*heard, *list(evidence)[:1]]) or "nobody"


def _broken_promises(comparison: Comparison) -> Iterator[str]:
    """Yields the flows and requirements that are not as promised, whether they differ or not, except those
    explained above.
    """
    lines = [
        (
            f"{result.verdict.upper()} in mode {mode}: {result.flow.name}: {say_verdict(result)} "
            f"(promised: {say(result.expected.because)})"
        )
        for compared in comparison.flows
        for mode, result in compared.results.items()
        if result.verdict != "pass" and compared.status != "unwanted"
    ]
    lines += [
        f"FAIL in mode {mode}: {requirement.text} {say_requirement(requirement)}"
        for mode, report in comparison.reports.items()
        for requirement in report.requirements
        if requirement.verdict == "fail"
    ]
    yield from map(printable, lines[:MOST_REASONS])
    if len(lines) > MOST_REASONS:
        yield f"{len(lines) - MOST_REASONS} more are not as promised; -o json has every flow"


def _kernels(comparison: Comparison) -> Iterator[str]:
    """Yields the kernels of the modes, if one ran in another kernel than the others."""
    here = [mode for mode in comparison.modes if mode not in comparison.guests]
    if comparison.guests and here:
        yield f"{', '.join(here)}: kernel {comparison.reports[here[0]].machine['kernel']}"
    for mode, lacked in comparison.guests.items():
        kernel = comparison.reports[mode].machine["kernel"]
        yield f"{mode}: kernel {kernel} in user-mode Linux, because this machine's has no {lacked}"


def _totals(comparison: Comparison) -> str:
    count = Counter(compared.status for compared in comparison.flows)
    parts = [
        (
            f"{_flows(len(comparison.flows))} in {len(comparison.modes)} modes: {count['same']} the "
            f"same, {count['known']} known to differ, "
        )
        + (f"{count['unwanted']} not as a FlowCheck says, " if count["unwanted"] else "")
        + f"{count['unexplained']} unexplained"
        + (f", {count['unknown']} unknown" if count["unknown"] else ""),
    ]
    for mode, report in comparison.reports.items():
        promised = report.summary["pass"]
        parts.append(
            f"{mode}: {promised} as promised"
            + (f", {len(report.flows) - promised} not" if promised < len(report.flows) else "")
        )
    return "; ".join(parts)
