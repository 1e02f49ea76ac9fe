"""Writes a report for GitHub Actions: annotations at the lines that FlowChecks stand on, and the summary of a
step. Pure.

The form of an annotation is that of "Setting an error message" in
https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands; a step shows ten of them. A
summary has at most 1 MiB, a comment on a pull request 65,536 characters.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from itertools import islice

from ..errors import printable
from ..model.results import FlowResult, Report
from .prose_of_verdicts import say_verdict
from .tables import render_difference

MOST_ANNOTATIONS = 10
MOST_BYTES = 60_000  # the longest summary: it can be pasted into a comment
_WIDTH = 100


def annotate(report: Report) -> str:
    """Returns a workflow command for each of the first flows that are not as expected, a line each."""
    return "".join(islice(map(_annotation, _wrong(report)), MOST_ANNOTATIONS))


def summarize(report: Report, pods: Mapping[str, str]) -> str:
    """Returns Markdown: the totals, and each flow that is not as expected, as far as there is room.

    ``pods`` maps an address to ``namespace/name``.
    """
    counts, broken = report.summary, [r for r in report.requirements if r.verdict == "fail"]
    state = "all as expected" if report.ok else "not as expected"
    head = [
        f"### podwire: {_text(report.topology)}: {state}",
        "",
        "| flows | PASS | FAIL | UNKNOWN |",
        "|---|---|---|---|",
        f"| {counts['flows']} | {counts['pass']} | {counts['fail']} | {counts['unknown']} |",
        "",
        *(f"- requirement not kept: {_text(one.text)}" for one in broken),
        *(f"- {_text(notice)}" for notice in report.notices),
    ]
    text = "\n".join(head).rstrip() + "\n"
    left = counts["fail"] + counts["unknown"]
    for result in _wrong(report):
        block = _block(result, pods)
        if len((text + block).encode()) > MOST_BYTES - 100:
            return text + f"\n{left} more flows are not as expected: the JSON report has them.\n"
        text, left = text + block, left - 1
    return text


def _wrong(report: Report) -> Iterator[FlowResult]:
    return (result for result in report.flows if result.verdict != "pass")


def _annotation(result: FlowResult) -> str:
    place = result.flow.place
    where = [f"file={_property(place.file)}"] if place.file else []
    where += [f"line={place.line}"] if place.file and place.line else []
    properties = ",".join([*where, f"title={_property(result.flow.name)}"])
    return f"::error {properties}::{_data(say_verdict(result))}\n"


def _data(text: str) -> str:
    """Returns ``text`` as the message of a command: a line break would begin another command."""
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _block(result: FlowResult, pods: Mapping[str, str]) -> str:
    place = result.flow.place
    where = f" ({_text(place.file)}:{place.line})" if place.file else ""
    title = f"{result.verdict.upper()} {_text(result.flow.name)}{where}"
    difference = html.escape(render_difference(result, pods, _WIDTH), quote=False)
    return f"\n<details><summary>{title}</summary>\n<pre>\n{difference}\n</pre></details>\n"


def _text(text: str) -> str:
    """Returns ``text`` so that Markdown and HTML show it as it is."""
    escaped = html.escape(printable(text), quote=False)
    return "".join(f"\\{c}" if c in "\\`*_[]|~#" else c for c in escaped)
