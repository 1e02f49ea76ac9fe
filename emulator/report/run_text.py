"""Writes the report of a run as text for people: the result first, then what it rests on. Pure.

Invariants: PASS, FAIL and UNKNOWN are words, never colours only; no text of a manifest reaches the terminal
with a control character in it; no address, endpoint or name is broken by the end of a line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from ..errors import printable
from ..model.notices import Notice
from ..model.results import FlowResult, Report
from .captures import ALL_FRAMES
from .describe import name_proxy
from .failures_text import failure_blocks
from .flows_text import flow_records, flow_table, group_flows
from .layout import BOLD, DIM, Screen, words
from .phrases import count
from .prose_of_notices import say_notice
from .prose_of_requirements import say_requirement, say_sentence
from .prose_of_warnings import count_warnings, render_warnings
from .tables import node_table, render_journey, service_table, step_changes

# wide: every node, Service, flow, backend and rewrite; journeys: every hop
Form = Literal["table", "wide", "journeys"]
FORMS: tuple[Form, ...] = get_args(Form)
# more than these are counted instead of listed, save in wide output; controls that passed are always
MOST_FLOWS = 60
MOST_ROWS = 10  # nodes and Services that are shown without being asked for
ONE_SCREEN = 24  # lines: behind a longer report that is not as promised the result is said again
_NO_PODS: Mapping[str, str] = {}


def render_text(
    report: Report,
    *,
    form: Form = "table",
    color: bool = False,
    width: int = 80,
    wide_width: int | None = None,
    pods: Mapping[str, str] = _NO_PODS,
    directory: str = "",
    called: bool = False,
) -> str:
    """Returns the whole report within ``width`` columns, ending in a newline; the tables of the form "wide"
    within ``wide_width`` (None: they are as wide as they are).

    ``pods`` maps an address to ``namespace/name``; ``directory`` is where the evidence goes, with a slash
    behind it ("": nowhere). ``called``: by a program, which has no command line.
    """
    screen, broad, wide = Screen(width, color), Screen(wide_width, color), form == "wide"
    result = _result(report, screen)
    sections = [
        _headline(report, screen),
        result,
        _cluster(report, broad if wide else screen, wide=wide),
        render_warnings(report.warnings, width, called=called),
        *_flows(report, form, broad if wide else screen, pods),
        _requirements(report, screen, every=wide),
        failure_blocks(report, screen, pods, directory),
        notes(report.notices, screen),
        _machine(report, screen) if wide else "",
    ]
    text = "\n\n".join(section for section in sections if section) + "\n"
    scrolled = not report.ok and text.count("\n") > ONE_SCREEN
    return f"{text}\n{result}\n" if scrolled else text


def _headline(report: Report, screen: Screen) -> str:
    nodes = sum(bool(row.podCIDR) for row in report.cluster)
    pods = sum(len(row.pods) for row in report.cluster)
    about = [
        name_proxy(report),
        f"seed {report.seed}",
        *(
            count(number, noun)
            for number, noun in ((nodes, "node"), (pods, "Pod"), (len(report.services), "Service"))
            if report.cluster
        ),
    ]
    facts = [words(f"podwire {report.topology}", BOLD), words(", ".join(about))]
    return "\n".join(screen.pack(facts, hang="  "))


def tell_cause(report: Report) -> str:
    """Returns on one line why ``report`` is not as expected: how many flows, and the first of them by name;
    else the first requirement that is not kept.
    """
    counts = report.summary
    for verdict in ("fail", "unknown"):
        if counts[verdict]:
            first = next(result.flow.name for result in report.flows if result.verdict == verdict)
            more = f" and {counts[verdict] - 1} more" if counts[verdict] > 1 else ""
            total = count(len(report.flows), "flow")
            return printable(f"{counts[verdict]} {verdict.upper()} of {total}: {first}{more}")
    broken = [say_sentence(one) for one in report.requirements if one.verdict == "fail"]
    return printable(": ".join([*_kept(report), *broken[:1]]))


def _result(report: Report, screen: Screen) -> str:
    """Returns the totals: how many flows went as promised, how many requirements are kept."""
    counts, total = report.summary, len(report.flows)
    wrong = [f"{counts[verdict]} {verdict.upper()}" for verdict in ("fail", "unknown") if counts[verdict]]
    if wrong:
        kept = [f"{counts['pass']} as promised"] if counts["pass"] else []
        flows = f"{wrong[0]} of {count(total, 'flow')}, {', '.join([*wrong[1:], *kept])}".removesuffix(", ")
    else:
        flows = f"{count(total, 'flow')} as promised" if total else "no flow was sent"
    if report.empty:
        flows = f"nothing to check: {flows}"
    said = count_warnings(report.warnings, strict=report.strict)
    parts = [*filter(None, (flows, *_kept(report), said))]
    seconds = report.machine.get("seconds", "")
    return "\n".join(
        screen.spread(words(", ".join(parts), BOLD), words(f"{_rounded(seconds)} s" if seconds else ""))
    )


def _kept(report: Report) -> list[str]:
    verdicts = Counter(requirement.verdict for requirement in report.requirements)
    asked = verdicts["pass"] + verdicts["fail"]
    if verdicts["fail"]:
        return [f"{verdicts['fail']} of {count(asked, 'network requirement')} FAIL"]
    return [f"{count(asked, 'network requirement')} kept"] if asked else []


def _rounded(seconds: str) -> str:
    try:
        return f"{float(seconds):.1f}"
    except ValueError:
        return seconds


def _cluster(report: Report, screen: Screen, *, wide: bool) -> str:
    """Returns the nodes and Services if they are few, and how steps change them. Where something is not as
    promised, that comes first: the blocks of failures name the objects.
    """
    most = max(
        len(report.cluster) + len(report.services),
        *(len(step.cluster) + len(step.services) for step in report.steps),
        0,
    )
    if not wide and (not report.kept or most > MOST_ROWS):
        return ""
    tables = [
        "At the beginning:" if report.steps else "",
        node_table(report.cluster, screen.width, wide=wide),
        service_table(report.services, screen.width, wide=wide),
        step_changes(report, screen, wide=wide),
    ]
    return "\n\n".join(filter(None, tables))


# --- flows ------------------------------------------------------------------------------------------------


def _flows(report: Report, form: Form, screen: Screen, pods: Mapping[str, str]) -> list[str]:
    """Returns the flows. Where some are not as promised the others are counted: those are told in full."""
    if form == "journeys":
        return [_journeys(report.flows, screen, pods)]
    if form == "wide":
        return [flow_table(report.flows, screen, pods)]
    if report.summary["pass"] < len(report.flows):
        return []
    listed = [result for result in report.flows if not result.flow.control]
    controls = len(report.flows) - len(listed)
    protocols = any(result.flow.protocol != "TCP" for result in report.flows)
    if len(listed) > MOST_FLOWS:
        return [_counts(report.flows, screen), _only_checks(listed, screen)]
    records = flow_records(listed, screen, pods, protocols=protocols)
    aside = [_set_aside(controls, screen), _only_checks(listed, screen)]
    return [records, "\n".join(filter(None, aside))]


def _counts(results: Sequence[FlowResult], screen: Screen) -> str:
    """Returns how many flows of each kind, FlowCheck or step passed, if they are too many to list."""
    facts = [words(f"{title} ({len(group)})") for title, group in group_flows(results).items()]
    return "\n".join(
        [*screen.say("As promised (-o wide lists every flow):"), *screen.pack(facts, "  ", "  ")]
    )


def _set_aside(controls: int, screen: Screen) -> str:
    """Returns the number of controls that passed and are not listed: the verdicts of the flows that they
    control include them.
    """
    if not controls:
        return ""
    text = f"and {count(controls, 'control')}: the same clients straight to the Pods (-o wide lists them)"
    return "\n".join(screen.say(text, code=DIM))


def _only_checks(listed: Sequence[FlowResult], screen: Screen) -> str:
    """Returns that the flows which the objects call for were not sent, if FlowChecks stand in their place."""
    if not listed or not all(result.flow.check for result in listed):
        return ""
    text = "flows of FlowChecks only (derive: true or --derive adds those of the objects)"
    return "\n".join(screen.say(text, code=DIM))


def _journeys(results: Sequence[FlowResult], screen: Screen, pods: Mapping[str, str]) -> str:
    """Returns every journey of every flow, hop by hop."""
    blocks = []
    for result in results:
        lines: list[str] = []
        for line in "\n".join(render_journey(result, one, pods) for one in result.journeys).split("\n"):
            indent = " " * (len(line) - len(line.lstrip()))
            lines += screen.say(line.lstrip(), indent, f"{indent}    ")
        blocks.append("\n".join(lines))
    return "\n\n".join(filter(None, blocks))


# --- requirements and notes -------------------------------------------------------------------------------


def _requirements(report: Report, screen: Screen, *, every: bool) -> str:
    """Returns the requirements that are not kept, with the reason (``every``: those that are kept as well).
    One that no flow of this run bears on says nothing.
    """
    lines: list[str] = []
    for requirement in report.requirements:
        told = every or requirement.about  # one of a step is always of interest
        if requirement.verdict == "fail" or (told and requirement.verdict == "pass"):
            word = screen.paint.verdict(requirement.verdict)
            facts = f" ({count(requirement.checked, 'fact')})" if every else ""
            lines += screen.say(f"{say_sentence(requirement)}{facts}", f"{word}  ", "      ")
            if why := say_requirement(requirement):
                lines += screen.say(why, "      ", "      ")
    return "\n".join(lines)


def notes(notices: Sequence[Notice], screen: Screen) -> str:
    """Returns each of ``notices``, folded."""
    said = map(say_notice, notices)
    return "\n".join(line for one in said for line in screen.say(f"note: {one}", hang="  "))


def _machine(report: Report, screen: Screen) -> str:
    kernel = report.machine.get("kernel", "")
    return "\n".join(screen.say(f"kernel {kernel}")) if kernel else ""


def evidence(report: Report, directory: str, width: int) -> str:
    """Returns where the evidence is, for the end of the report: the file of every frame, and those of single
    flows as far as there are any.
    """
    own = sum(any(name != ALL_FRAMES for name in result.captures) for result in report.flows)
    each = (
        "one file per flow" if own == len(report.flows) else f"one file for each of {own} that did not pass"
    )
    beside = [words(f"(and {each})")] if own else []
    facts = [words(f"Evidence: {directory}{ALL_FRAMES}"), *beside]
    return "\n".join(["", *Screen(width).pack(facts, hang="  "), ""])
