"""Writes a comparison of modes for a person who must decide. Pure.

The first questions are answered first: whether ordinary clients notice, then cause by cause who is affected,
why, what to do, and for which Services. The packets that show it are for those who ask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ..errors import printable
from ..model.reasons import Reason
from ..model.results import FlowResult
from ..net import is_loopback
from ..verdicts.compare import (
    answers,
    dialled,
    few,
    named_counts,
    outcome_word,
)
from ..verdicts.modes import (
    DIALLED,
    ComparedFlow,
    Comparison,
    Status,
)
from .advice import CAUSES, AdviceCause, cause_of, expect_text, is_usual, not_examined
from .flows_text import short
from .layout import BOLD, Screen, table, words
from .phrases import count
from .prose import say, say_of_modes
from .prose_of_requirements import say_requirement, say_sentence
from .prose_of_verdicts import say_ending, say_verdict
from .prose_of_warnings import count_warnings, render_warnings
from .run_text import notes

MOST_CAUSES = 20  # groups of flows that differ for one cause
MOST_FLOWS = 40  # differing flows whose packets are shown
MOST_BACKENDS = 3  # backends of one flow that are named
MOST_NAMES = 4  # clients and destinations of one cause that are named
MOST_SERVICES = 8  # Services of one cause, or unchanged ones, that are named
MOST_WHYS = 3  # reasons of one cause that are told
MOST_ACCEPTED = 5  # flows of FlowChecks for which accepting a mode's difference is explained
MOST_REASONS = 20  # flows that are not as promised and explained
_FIRST: tuple[Status, ...] = ("unexplained", "unknown", "unwanted", "known")  # the order for a reader
_CLIENTS: Mapping[str, tuple[str, str]] = {
    "node": ("node", "nodes"),
    "pod": ("Pod", "Pods"),
    "external": ("client outside", "clients outside"),
}
_KEY = 6  # columns of a fact's name
_INDENT = "   "


@dataclass(frozen=True, slots=True)
class Group:
    """Holds the flows that differ for one cause (None: no row of advice says it)."""

    cause: AdviceCause | None
    flows: Sequence[ComparedFlow]

    @property
    def title(self) -> str:
        first = self.flows[0]
        said = {
            "unexplained": "UNEXPLAINED, which is a bug",
            "unknown": "UNKNOWN: frames or a control are missing",
            "unwanted": f"Not as FlowCheck {first.flow.check} says",
        }.get(first.status)
        return said or (self.cause.title if self.cause else "Other differences")

    @property
    def changes(self) -> str:
        """Returns ``delivered → rejected``, and other changes behind it."""
        return "; ".join(dict.fromkeys(flow.change for flow in self.flows))

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, (flow.flow.to.service for flow in self.flows))))


def group_causes(comparison: Comparison) -> list[Group]:
    """Returns the flows that differ by cause: bugs first, then what ordinary clients meet, then the rest.
    Controls, which no mode touches, are among them only if they differ unexplained.
    """
    groups: dict[tuple[int, bool, int, str], list[ComparedFlow]] = {}
    for compared in comparison.differing:
        if compared.flow.control and compared.status in ("known", "unwanted"):
            continue
        cause = cause_of(compared)
        row = CAUSES.index(cause) if cause and compared.status == "known" else len(CAUSES)
        check = compared.flow.check if compared.status == "unwanted" else ""
        key = (_FIRST.index(compared.status), not is_usual(compared), row, check)
        groups.setdefault(key, []).append(compared)
    return [Group(cause_of(groups[key][0]), groups[key]) for key in sorted(groups)]


def render_comparison(
    comparison: Comparison,
    *,
    width: int,
    pods: Mapping[str, str],
    wide: bool = False,
    wide_width: int | None = None,
    color: bool = False,
) -> str:
    """Returns the whole comparison within ``width`` columns, ending in a newline.

    ``pods`` maps an address to ``namespace/name``; ``wide``: with the packets of every flow that differs,
    in a table within ``wide_width`` columns (None: as wide as it is).
    """
    screen, groups = Screen(width, color), group_causes(comparison)
    title = [words(f"podwire diff {comparison.topology}", BOLD), words(" → ".join(comparison.modes))]
    sections = [
        "\n".join(screen.pack(title, hang="  ")),
        "\n".join(screen.say(headline(comparison))),
        "\n".join(
            line
            for number, group in enumerate(groups[:MOST_CAUSES], 1)
            for line in _told(number, group, comparison, screen)
        ),
        f"{len(groups) - MOST_CAUSES} more causes; -o json has every flow"
        if len(groups) > MOST_CAUSES
        else "",
        "\n".join(line for text in _rest(comparison) for line in screen.say(text, hang="  ")),
        packets(comparison, pods, wide_width) if wide else "",
        "\n".join(line for text in _broken_promises(comparison) for line in screen.say(text, hang="  ")),
        render_warnings(comparison.warnings, width),
        notes(comparison.notices, screen),
        "\n".join(line for text in _kernels(comparison) for line in screen.say(text, hang="  ")),
        _end(comparison, screen, wide),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


# --- what to decide on ------------------------------------------------------------------------------------


def headline(comparison: Comparison) -> str:
    """Returns whether clients that dial what is there notice, and how many flows differ."""
    usual = [flow for flow in comparison.differing if is_usual(flow) and not flow.flow.control]
    services = sorted({flow.flow.to.service for flow in usual if flow.flow.to.service})
    proxied = sum(change.proxied and bool(change.service) for change in comparison.services)
    if services:
        changes = "changes" if len(services) == 1 else "change"
        said = (
            f"{len(services)} of {count(proxied, 'Service')} {changes} for clients that dial what is there "
            f"({few(map(short, services), MOST_SERVICES)})"
        )
    elif usual:
        said = f"{count(len(usual), 'flow')} to no Service's port change for clients that dial what is there"
    else:
        said = "Nothing changes for clients inside or outside that dial what is there"
    return f"{said}: {totals(comparison)}."


def totals(comparison: Comparison) -> str:
    """Returns how many flows are the same, and how the others differ."""
    statuses = Counter(compared.status for compared in comparison.flows)
    parts = [
        f"{statuses['same']} of {count(len(comparison.flows), 'flow')} {_are(statuses['same'])} the same",
        f"{statuses['known']} {'differs' if statuses['known'] == 1 else 'differ'} as documented",
        f"{count(statuses['unwanted'], 'flow')} not as a FlowCheck says" if statuses["unwanted"] else "",
        f"{statuses['unexplained']} unexplained" + (", which is a bug" if statuses["unexplained"] else ""),
        f"{statuses['unknown']} UNKNOWN" if statuses["unknown"] else "",
        count_warnings(comparison.warnings, strict=comparison.strict),
    ]
    return ", ".join(filter(None, parts))


def _told(number: int, group: Group, comparison: Comparison, screen: Screen) -> Iterator[str]:
    """Yields the lines of one cause."""
    services = len(group.services)
    size = count(services, "Service") if services else count(len(group.flows), "flow")
    title = words(f"{group.title}: {group.changes}", BOLD)
    yield from screen.spread(title, words(size), f"{number:<{len(_INDENT)}}", _INDENT)
    for key, text in facts(group, comparison):
        yield from screen.say(text, f"{_INDENT}{key:{_KEY}}", _INDENT + " " * _KEY)


def facts(group: Group, comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Yields who is affected by a cause, why, what to do, and of which Services it is."""
    yield "who", _who(group.flows)
    explained = group.flows[0].status == "known" and not is_usual(group.flows[0])
    for text in [] if explained else _whys(group.flows):
        yield "why", text
    if group.cause and group.flows[0].status in ("known", "unwanted"):
        yield "do", group.cause.advice
    for text in _how_to_accept(comparison, group.flows):
        yield "do", text
    if group.services:
        yield "of", few(map(short, group.services), MOST_SERVICES)
    if explained:
        sections = sorted({section for compared in group.flows for section in compared.sections})
        yield "see", f"podwire doc semantics {' '.join(map(str, sections))}"


def _who(flows: Sequence[ComparedFlow]) -> str:
    clients = [
        f"{one if len(names) == 1 else several} {few(names, MOST_NAMES)}"
        for kind, (one, several) in _CLIENTS.items()
        if (names := _clients(flows, kind))
    ]
    dials = "dials" if len({compared.flow.client.label for compared in flows}) == 1 else "dial"
    return f"{' and '.join(clients)} that {dials} {few(dict.fromkeys(map(_where, flows)), MOST_NAMES)}"


def _clients(flows: Sequence[ComparedFlow], kind: str) -> Sequence[str]:
    clients = (compared.flow.client for compared in flows)
    return list(dict.fromkeys(short(one.label.partition(" ")[2]) for one in clients if one.kind == kind))


def _where(compared: ComparedFlow) -> str:
    flow = compared.flow
    through = f" through {flow.via}" if flow.via and flow.to.how != "nodePort" else ""
    address = str(dialled(flow))
    if flow.to.how == "nodePort":
        return f"localhost:{flow.to.port}" if is_loopback(flow.to.ip) else address
    return f"{short(flow.to.label)}{through}" + ("" if address in flow.to.label else f" ({address})")


def _whys(flows: Iterable[ComparedFlow]) -> list[str]:
    """Returns each reason as a sentence, with its modes; alike ones once, the first few."""
    said: dict[tuple[object, ...], str] = {}
    for compared in flows:
        for reason, modes in _explaining(compared).items():
            said.setdefault((modes, reason.kinds), say_of_modes(reason, modes))
        if compared.status == "unwanted":
            said.setdefault((compared.flow.check, compared.flow.entry), _wanted(compared))
    every = list(said.values())
    more = [f"and otherwise ({len(every) - MOST_WHYS} more): -o json"] if len(every) > MOST_WHYS else []
    return [*every[:MOST_WHYS], *more]


def _explaining(compared: ComparedFlow) -> Mapping[Reason, tuple[str, ...]]:
    """Returns each reason that explains the difference, with its modes; for a bug all promises."""
    telling = compared.telling if compared.status in ("known", "unwanted") else compared.promises
    modes: dict[Reason, tuple[str, ...]] = {}
    for mode, promise in telling.items():
        modes[promise.because] = (*modes.get(promise.because, ()), mode)
    return modes


def _wanted(compared: ComparedFlow) -> str:
    failed = [result for result in compared.results.values() if result.verdict == "fail"]
    wanted = failed[0].expected
    more = f"answer {wanted.health}" if wanted.health else f"source {wanted.source}" if wanted.source else ""
    more = f", {more}" if more and "outcome" not in compared.aspects else ""
    return f"FlowCheck {compared.flow.check} wants it {outcome_word(wanted)}{more}"


def _how_to_accept(comparison: Comparison, flows: Iterable[ComparedFlow]) -> Iterator[str]:
    """Yields the entry of a FlowCheck that would accept a mode's result, each once."""
    said: dict[str, None] = {}
    for compared in flows:
        if compared.status == "unwanted":
            modes = ", ".join(
                f"{mode}: {expect_text(comparison.accepted(compared, mode))}" for mode in compared.failed
            )
            said[
                f"to accept it, “{compared.flow.entry}” of FlowCheck {compared.flow.check} can say "
                f"expect: {{modes: {{{modes}}}}} beside what it expects in the others."
            ] = None
    yield from list(said)[:MOST_ACCEPTED]
    if len(said) > MOST_ACCEPTED:
        yield (
            f"{len(said) - MOST_ACCEPTED} more flows of FlowChecks can be accepted likewise; -o json "
            "says what each may expect (accept)."
        )


def _rest(comparison: Comparison) -> Iterator[str]:
    """Yields the Services that do not change, and what was not examined."""
    same = [c for c in comparison.services if c.service and not c.changed]
    for title, names in (
        ("Unchanged", [c.service for c in same if c.proxied and c.flows]),
        ("Dialled by no flow", [c.service for c in same if c.proxied and not c.flows]),
        ("Not kube-proxy's", [c.service for c in same if not c.proxied]),
    ):
        if names:
            yield f"{title}: {few(map(short, names), MOST_SERVICES)}"
    yield f"Not examined: {not_examined(comparison.modes)}"


def _end(comparison: Comparison, screen: Screen, wide: bool) -> str:
    """Returns where to read on."""
    facts = [] if wide or not comparison.differing else [words("Every packet: -o wide")]
    if comparison.directories:
        facts.append(words(f"Evidence: {say_directories(comparison.directories)}"))
    return "\n".join(screen.pack(facts))


def say_directories(directories: Mapping[str, str]) -> str:
    """Returns the directories of each mode; as a shell's braces where the modes are all that differs."""
    bases = {directory.removesuffix(mode) for mode, directory in directories.items()}
    ends = all(directory.endswith(mode) for mode, directory in directories.items())
    if len(directories) > 1 and len(bases) == 1 and ends:
        return f"{bases.pop()}{{{','.join(directories)}}}/"
    return ", ".join(f"{directory}/" for directory in directories.values())


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


# --- what shows it ----------------------------------------------------------------------------------------


def packets(comparison: Comparison, pods: Mapping[str, str], width: int | None = None) -> str:
    """Returns a table of the packets of the first flows that differ, within ``width`` columns (None: as wide
    as it is).
    """
    differing = sorted(comparison.differing, key=lambda compared: _FIRST.index(compared.status))
    rows = [row for compared in differing[:MOST_FLOWS] for row in _rows(compared, pods)]
    text = table(("THE PACKETS", "MODE", "OUTCOME", "BACKENDS", "SOURCE", "REPLY FROM"), rows, width)
    if len(differing) > MOST_FLOWS:
        text += f"\n\n{len(differing) - MOST_FLOWS} more flows differ; -o json has every flow"
    return text


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
    titles = [printable(short(title)) for title in (compared.flow.name, _verdict(compared))]
    yield from ((title, *line) for title, line in zip_longest(titles, lines, fillvalue=""))


def _backends(result: FlowResult, pods: Mapping[str, str]) -> str:
    """Returns one printable line for each backend; if there are many, only the first ones."""
    names = [printable(short(name)) for name in sorted(named_counts(result.observed.backends, pods))]
    more = [f"(+{len(names) - MOST_BACKENDS} more)"] if len(names) > MOST_BACKENDS else []
    return "\n".join([*names[:MOST_BACKENDS], *more]) or "none"


def _verdict(compared: ComparedFlow) -> str:
    if compared.status == "unknown":
        return "UNKNOWN: see below"
    if compared.status == "unexplained":
        return "BUG: unexplained"
    sections = f"podwire doc semantics {' '.join(map(str, compared.sections))}"
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
        f"FAIL in mode {mode}: {say_sentence(requirement)} {say_requirement(requirement)}"
        for mode, report in comparison.reports.items()
        for requirement in report.requirements
        if requirement.verdict == "fail"
    ]
    yield from lines[:MOST_REASONS]
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
