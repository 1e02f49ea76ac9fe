"""A report as JUnit XML, which CI systems show: a testsuite per kind of communication, a testcase per flow, one suite of requirements.

Imports the standard library and the model; pure. A verdict of "fail" is a ``failure``, one of "unknown" an ``error``: nothing was shown
to be wrong, but nothing was shown. Invariant: the output is well-formed XML 1.0, whatever the names in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from xml.etree import ElementTree

from emulator.evidence.compare import KIND_TITLES
from emulator.evidence.tables import render_difference
from emulator.probe.model import Report, Verdict

_ELEMENT: Mapping[Verdict, str] = {"pass": "", "fail": "failure", "unknown": "error"}
# Everything outside the Char production of XML 1.0 (section 2.2).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_Case = tuple[str, Verdict, str, str]  # name, verdict, reason, details


def to_junit(report: Report, pods: Mapping[str, str]) -> bytes:
    """The XML document in UTF-8. ``pods`` maps an address to ``namespace/name``."""
    root = ElementTree.Element("testsuites", _counts(_verdicts(report)) | {"name": "podwire", "time": _seconds(report)})
    for kind, title in KIND_TITLES.items():
        flows = [result for result in report.flows if result.flow.kind == kind]
        cases = [(r.flow.name, r.verdict, r.reason, render_difference(r, pods) if r.verdict != "pass" else "") for r in flows]
        _suite(root, report, title, kind, cases)
    _suite(root, report, "Requirements", "requirements", [(r.name, r.verdict, r.reason, r.text) for r in report.requirements])
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _suite(root: ElementTree.Element, report: Report, title: str, classname: str, cases: list[_Case]) -> None:
    if not cases:
        return
    counts = _counts(verdict for _, verdict, _, _ in cases)
    suite = ElementTree.SubElement(root, "testsuite", {"name": _xml(f"{report.topology}: {title}"), **counts, "time": "0"})
    if started := report.machine.get("started"):
        suite.set("timestamp", _xml(started))
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (("seed", str(report.seed)), ("proxyMode", report.proxy_mode), *sorted(report.machine.items())):
        ElementTree.SubElement(properties, "property", {"name": _xml(name), "value": _xml(value)})
    for name, verdict, reason, details in cases:
        case = ElementTree.SubElement(suite, "testcase", {"classname": f"podwire.{classname}", "name": _xml(name), "time": "0"})
        if element := _ELEMENT[verdict]:
            ElementTree.SubElement(case, element, {"message": _xml(reason), "type": verdict}).text = _xml(details)


def _verdicts(report: Report) -> list[Verdict]:
    return [result.verdict for result in report.flows] + [requirement.verdict for requirement in report.requirements]


def _counts(verdicts: Iterable[Verdict]) -> dict[str, str]:
    every = list(verdicts)
    return {"tests": str(len(every)), "failures": str(every.count("fail")), "errors": str(every.count("unknown"))}


def _seconds(report: Report) -> str:
    text = report.machine.get("seconds", "")
    return text if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else "0"


def _xml(text: str) -> str:
    return _NOT_XML.sub("", text)
