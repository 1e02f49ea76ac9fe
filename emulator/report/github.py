"""Writes a report for GitHub Actions: annotations at the lines of FlowChecks and of objects with warnings,
and the summary of a step. Pure.

The form of an annotation is that of "Setting an error message" in
https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands; a step shows ten of each
kind. A summary has at most 1 MiB, a comment on a pull request 65,536 characters.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from ..errors import printable
from ..model.flows import SourcePlace
from ..model.results import FlowResult, Report
from ..objects.warnings import ManifestWarning
from .markdown import escape, unlinked
from .prose_of_notices import say_notice
from .prose_of_requirements import say_sentence
from .prose_of_verdicts import say_verdict
from .prose_of_warnings import count_warnings, fold_warnings, name_object, say_warning
from .tables import render_difference

MOST_ANNOTATIONS = 10
MOST_NOTICES = 20  # and warnings, each, in a summary
MOST_BYTES = 60_000  # the longest summary: it can be pasted into a comment
_WIDTH = 100


def annotate(report: Report) -> str:
    """Returns a workflow command for each of the first flows that are not as expected, and of the first
    warnings, a line each.
    """
    wrong = islice(_wrong(report), MOST_ANNOTATIONS)
    errors = "".join(_annotation(report, result) for result in wrong)
    return errors + annotate_warnings(report.warnings, strict=report.strict)


def annotate_warnings(warnings: Sequence[ManifestWarning], *, strict: bool) -> str:
    """Returns a workflow command for each of the first of ``warnings``, a line each: an error where they
    count as failures (``strict``).
    """
    level = "error" if strict else "warning"
    return "".join(
        _command(
            level,
            SourcePlace(one.file, one.line),
            f"{one.code.value} {name_object(one)}".strip(),
            say_warning(one),
        )
        for one in warnings[:MOST_ANNOTATIONS]
    )


def summarize(report: Report, pods: Mapping[str, str]) -> str:
    """Returns Markdown: the totals, and each flow that is not as expected, as far as there is room.

    ``pods`` maps an address to ``namespace/name``.
    """
    counts, broken = report.summary, [r for r in report.requirements if r.verdict == "fail"]
    head = [
        f"### podwire: {escape(report.topology)}: {_state(report)}",
        "",
        "| flows | PASS | FAIL | UNKNOWN | warnings |",
        "|---|---|---|---|---|",
        f"| {counts['flows']} | {counts['pass']} | {counts['fail']} | {counts['unknown']} | "
        f"{len(report.warnings)} |",
        "",
        *(f"- {line}" for line in islice(list_warnings(report.warnings), MOST_NOTICES)),
        *(f"- requirement not kept: {escape(say_sentence(one))}" for one in broken),
        *(f"- {escape(say_notice(notice))}" for notice in report.notices[:MOST_NOTICES]),
    ]
    text = "\n".join(head).rstrip() + "\n"
    left = counts["fail"] + counts["unknown"]
    for result in _wrong(report):
        block = _block(report, result, pods)
        if len((text + block).encode()) > MOST_BYTES - 100:
            return text + f"\n{left} more flows are not as expected: the JSON report has them.\n"
        text, left = text + block, left - 1
    return text


def _state(report: Report) -> str:
    """Returns whether the run succeeded, and the cause if it did not: each is said once."""
    if not report.kept:
        return "not as expected"
    nothing = "nothing to check" if report.empty else ""
    if report.ok:
        return nothing or "all as expected"
    others = "" if nothing and len(report.warnings) == 1 else count_warnings(report.warnings, strict=False)
    return f"failed: {', '.join(filter(None, (nothing, others)))} (--strict)"


def _wrong(report: Report) -> Iterator[FlowResult]:
    return (result for result in report.flows if result.verdict != "pass")


def _annotation(report: Report, result: FlowResult) -> str:
    return _command("error", report.place_of(result.flow), result.flow.name, say_verdict(result))


def _command(name: str, place: SourcePlace, title: str, text: str) -> str:
    where = [f"file={_property(place.file)}"] if place.file else []
    where += [f"line={place.line}"] if place.file and place.line else []
    properties = ",".join([*where, f"title={_property(title)}"])
    return f"::{name} {properties}::{_data(text)}\n"


def list_warnings(warnings: Sequence[ManifestWarning]) -> Iterator[str]:
    """Yields a line of Markdown for each cause of ``warnings``."""
    for row in fold_warnings(warnings):
        where = f" ({escape(row.places[0])})" if row.places else ""
        more = f" and {row.number - 1} more of this kind" if row.number > 1 else ""
        yield f"warning {row.code.value}: {escape(row.text)}{where}{more}"


def _data(text: str) -> str:
    """Returns ``text`` as the message of a command: a line break would begin another command."""
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _block(report: Report, result: FlowResult, pods: Mapping[str, str]) -> str:
    place = report.place_of(result.flow)
    where = f" ({place.file}:{place.line})" if place.file else ""
    # an HTML element, in which Markdown has no escapes
    title = unlinked(printable(f"{result.verdict.upper()} {result.flow.name}{where}"))
    difference = html.escape(render_difference(result, pods, _WIDTH), quote=False)
    return f"\n<details><summary>{title}</summary>\n<pre>\n{difference}\n</pre></details>\n"
