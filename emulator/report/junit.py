"""Writes a report, or a comparison of modes, as JUnit XML, which CI systems show. Pure.

A report has a testsuite for each kind of communication, one of requirements and one of warnings, a comparison
one for each Service in place of the kinds; a flow is a testcase. A verdict of "fail" is a ``failure``; one of
"unknown" is an ``error`` for a flow, since nothing was shown, but ``skipped`` for a requirement, which fails
no run. A warning is ``skipped`` with its text, or a ``failure`` if warnings count. So a document without
failures and errors is an exit code of 0. The properties stand in the first suite. Names hold no drawn names
of Pods, so that a test keeps its history when a template changes. Invariant: the output is well-formed XML
1.0, whatever the names in it. The standard library writes it: junitparser 5.0 would make the same elements,
but keeps characters that XML does not have, so that an escape in a name breaks the document.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from ..model.flows import SourcePlace
from ..model.results import Report, Verdict
from ..objects.warnings import ManifestWarning
from ..verdicts.compare import KIND_TITLES
from ..verdicts.modes import ComparedFlow, Comparison, Status
from .prose import say
from .prose_of_requirements import say_requirement, say_sentence
from .prose_of_verdicts import say_verdict
from .prose_of_warnings import name_object, say_warning
from .tables import render_difference

_FLOW: Mapping[Verdict, str] = {"pass": "", "fail": "failure", "unknown": "error"}
_REQUIREMENT: Mapping[Verdict, str] = {"pass": "", "fail": "failure", "unknown": "skipped"}
_VERDICT: Mapping[Status, Verdict] = {
    "same": "pass",
    "known": "pass",
    "unwanted": "fail",
    "unexplained": "fail",
    "unknown": "unknown",
}
_POD = re.compile(r"[a-z0-9.-]+/[a-z0-9.-]+")
# Everything outside the Char production of XML 1.0 (section 2.2).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Case(NamedTuple):
    name: str
    tag: str  # the element unless it is a success: "failure", "error", "skipped" or ""
    reason: str
    details: str
    place: SourcePlace = SourcePlace()
    took: int = 0  # nanoseconds


class _Suite(NamedTuple):
    title: str
    classname: str
    cases: Sequence[_Case]


def to_junit(report: Report, pods: Mapping[str, str]) -> bytes:
    """Returns the XML document in UTF-8. ``pods`` maps an address to ``namespace/name``."""
    suites = []
    for kind, title in KIND_TITLES.items():
        flows = [result for result in report.flows if result.flow.kind == kind]
        cases = [
            _Case(
                _stable(r.flow.name, report),
                _FLOW[r.verdict],
                say_verdict(r),
                render_difference(r, pods) if r.verdict != "pass" else "",
                report.place_of(r.flow),
                r.took,
            )
            for r in flows
        ]
        suites.append(_Suite(title, kind, cases))
    suites.append(
        _Suite(
            "Requirements",
            "requirements",
            [
                _Case(r.name, _REQUIREMENT[r.verdict], say_requirement(r), say_sentence(r))
                for r in report.requirements
            ],
        )
    )
    suites.append(_warnings(report.warnings, report.strict))
    properties = (
        ("seed", str(report.seed)),
        ("proxyMode", report.proxy_mode),
        ("kubeProxy", report.release),
        *sorted(report.machine.items()),
    )
    return _document(report.topology, suites, properties, [report])


def comparison_to_junit(comparison: Comparison, pods: Mapping[str, str]) -> bytes:
    """Returns the same for a comparison: a testcase is one flow in all modes together."""
    every = list(comparison.reports.values())
    flows: dict[str, list[ComparedFlow]] = {}
    for compared in comparison.flows:
        flows.setdefault(compared.flow.to.service, []).append(compared)
    suites = [
        _Suite(name or "no Service's port", name or "none", [_compared(c, pods, every[0]) for c in of])
        for name, of in flows.items()
    ]
    suites.append(_Suite("Requirements", "requirements", list(_requirements(comparison))))
    suites.append(_warnings(comparison.warnings, comparison.strict))
    machine = {
        f"{mode}.{name}": value
        for mode, report in comparison.reports.items()
        for name, value in report.machine.items()
    }
    guests = {f"{mode}.guest": lacked for mode, lacked in comparison.guests.items()}
    properties = (
        ("seed", str(every[0].seed)),
        ("modes", ",".join(comparison.modes)),
        *sorted((machine | guests).items()),
    )
    return _document(comparison.topology, suites, properties, every)


def _stable(name: str, report: Report) -> str:
    """Returns ``name`` with the drawn names of Pods replaced."""
    return _POD.sub(lambda found: report.replicas.get(found[0], found[0]), name)


def _warnings(warnings: Sequence[ManifestWarning], strict: bool) -> _Suite:
    tag = "failure" if strict else "skipped"
    cases = []
    for one in warnings:
        name = " ".join(filter(None, (one.code.value, name_object(one), one.object.field)))
        text = say_warning(one)
        explained = f"{text}\npodwire doc {one.code.value} explains it."
        cases.append(_Case(name, tag, text, explained, SourcePlace(one.file, one.line)))
    return _Suite("Warnings", "warnings", cases)


def _compared(compared: ComparedFlow, pods: Mapping[str, str], report: Report) -> _Case:
    """Returns a testcase with the difference, and every mode that is not as promised; a flow may fail alike
    in all of them.
    """
    wrong = {mode: result for mode, result in compared.results.items() if result.verdict != "pass"}
    verdicts = {result.verdict for result in wrong.values()} | {_VERDICT[compared.status]}
    reasons = [compared.change, *(f"{mode}: {say_verdict(result)}" for mode, result in wrong.items())]
    promises = [f"{mode}: promised: {say(promise.because)}" for mode, promise in compared.promises.items()]
    details = [f"mode {mode}\n{render_difference(result, pods)}" for mode, result in wrong.items()]
    return _Case(
        _stable(compared.flow.name, report),
        _FLOW[_worst(verdicts)],
        "; ".join(filter(None, reasons)),
        "\n\n".join(["\n".join(promises), *details]),
        report.place_of(compared.flow),
        sum(result.took for result in compared.results.values()),
    )


def _requirements(comparison: Comparison) -> Iterator[_Case]:
    for mode, report in comparison.reports.items():
        for requirement in report.requirements:
            yield _Case(
                f"{mode}: {requirement.name}",
                _REQUIREMENT[requirement.verdict],
                say_requirement(requirement),
                say_sentence(requirement),
            )


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    every = set(verdicts)
    return "fail" if "fail" in every else "unknown" if "unknown" in every else "pass"


def _document(
    topology: str, suites: Sequence[_Suite], properties: Sequence[tuple[str, str]], reports: Sequence[Report]
) -> bytes:
    cases = [case for suite in suites for case in suite.cases]
    seconds = f"{sum(map(_seconds, reports)):.10g}"
    root = ElementTree.Element("testsuites", _counts(cases) | {"name": "podwire", "time": seconds})
    started = reports[0].machine.get("started", "")
    for number, suite in enumerate(suite for suite in suites if suite.cases):
        _suite(root, topology, suite, () if number else properties, started)
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _suite(
    root: ElementTree.Element,
    topology: str,
    suite: _Suite,
    properties: Sequence[tuple[str, str]],
    started: str,
) -> None:
    counts = _counts(suite.cases)
    element = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": _xml(f"{topology}: {suite.title}"),
            **counts,
            "time": _time(sum(case.took for case in suite.cases)),
        },
    )
    if started:
        element.set("timestamp", _xml(started))
    about = ElementTree.SubElement(element, "properties") if properties else element
    for name, value in properties:
        ElementTree.SubElement(about, "property", {"name": _xml(name), "value": _xml(value)})
    for name, tag, reason, details, place, took in suite.cases:
        attributes = {
            "classname": _xml(f"podwire.{suite.classname}"),
            "name": _xml(name),
            "time": _time(took),
        }
        if place.file:
            attributes |= {"file": _xml(place.file)} | ({"line": str(place.line)} if place.line else {})
        case = ElementTree.SubElement(element, "testcase", attributes)
        if tag:
            ElementTree.SubElement(case, tag, {"message": _xml(reason)}).text = _xml(details)


def _time(nanoseconds: int) -> str:
    return f"{nanoseconds / 10**9:.3f}"


def _counts(cases: Sequence[_Case]) -> dict[str, str]:
    tags = Counter(case.tag for case in cases)
    return {
        "tests": str(len(cases)),
        "failures": str(tags["failure"]),
        "errors": str(tags["error"]),
        "skipped": str(tags["skipped"]),
    }


def _seconds(report: Report) -> float:
    text = report.machine.get("seconds", "")
    return float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else 0


def _xml(text: str) -> str:
    return _NOT_XML.sub("", text)
