"""A comparison of modes for a person who must decide, and for programs (documented in ``docs/report.md``).

Imports the model and this room, and yaml only to write it; pure. What comes first is what is asked first: which Services change.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from emulator.errors import printable
from emulator.evidence.compare import backend_name, counted, dialled, named_counts
from emulator.evidence.modes import DIALLED, ComparedFlow, Comparison, ServiceChange, Status
from emulator.evidence.report_json import expectation_to_dict
from emulator.evidence.tables import table
from emulator.probe.model import FlowResult

SCHEMA = "podwire.dev/diff/v1"
MOST_FLOWS = 40  # that differ: so many are shown
MOST_BACKENDS = 3  # of one flow: so many are named
MOST_REASONS = 20  # flows that are not as promised: so many are explained
_FIRST: tuple[Status, ...] = ("unexplained", "unknown", "known")  # what a reader must see first


def render_comparison(comparison: Comparison, *, width: int, pods: Mapping[str, str]) -> str:
    """The whole comparison within ``width`` columns, ending in a newline. ``pods`` maps an address to ``namespace/name``."""
    modes = ", ".join(comparison.modes)
    differing = sorted(comparison.differing, key=lambda compared: _FIRST.index(compared.status))
    rows = [row for compared in differing[:MOST_FLOWS] for row in _rows(compared, pods)]
    sections = [
        f"podwire: {printable(comparison.topology)}  the same flows in modes {modes}",
        "\n".join(printable(_sentence(change)) for change in comparison.services),
        table(("FLOW", "MODE", "OUTCOME", "BACKENDS", "SOURCE", "REPLY FROM", "PROMISED"), rows, width),
        f"{len(differing) - MOST_FLOWS} more flows differ; -o json has every flow" if len(differing) > MOST_FLOWS else "",
        "\n".join(_broken_promises(comparison)),
        "\n".join(f"note: {printable(notice)}" for notice in _notices(comparison)),
        "\n".join(map(printable, _kernels(comparison))),
        _totals(comparison),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _sentence(change: ServiceChange) -> str:
    who = change.service or "no Service's port"
    if not change.proxied:
        return f"{who}: nothing changes (kube-proxy has no part in it)"
    if not change.flows:
        return f"{who}: no flow dials it"
    if not change.changed:
        return f"{who}: nothing changes ({_flows(change.flows)})"
    unexplained = f", {change.unexplained} of them unexplained" if change.unexplained else ""
    how = counted(change.how.items())
    return f"{who}: {change.changed} of {_flows(change.flows)} {'changes' if change.changed == 1 else 'change'} ({how}){unexplained}"


def _flows(number: int) -> str:
    return f"{number} flow" if number == 1 else f"{number} flows"


def _rows(compared: ComparedFlow, pods: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """A row for each mode: the first has the flow's name, the second what the difference is.

    Why a mode delivers is left out where another one does not: that is what has to be explained.
    """
    silent = any(result.expected.outcome != "delivered" for result in compared.results.values())
    titles = iter((compared.flow.name, _verdict(compared)))
    for mode, result in compared.results.items():
        source = ", ".join(compared.sources(mode)) or "none"
        why = "" if silent and result.expected.outcome == "delivered" and compared.status == "known" else result.expected.because
        cells = (_short(next(titles, "")), mode, _outcome(result), source, _heard(compared, mode), why)
        flow, *rest = map(printable, cells)
        yield flow, *rest[:2], _backends(result, pods), *rest[2:]


def _short(text: str) -> str:
    """As kubectl leaves the default namespace out."""
    return re.sub(r"(?<![\w-])default/", "", text)


def _backends(result: FlowResult, pods: Mapping[str, str]) -> str:
    """A line each, printable; of many the first."""
    names = [printable(_short(name)) for name in sorted(named_counts(result.observed.backends, pods))]
    more = [f"(+{len(names) - MOST_BACKENDS} more)"] if len(names) > MOST_BACKENDS else []
    return "\n".join([*names[:MOST_BACKENDS], *more]) or "none"


def _verdict(compared: ComparedFlow) -> str:
    if compared.status == "known":
        sections = ", ".join(map(str, compared.sections))
        return f"known: docs/semantics {sections}" if sections else "known"
    if compared.status == "unknown":
        return "UNKNOWN: see below"
    failed = any(result.verdict == "fail" for result in compared.results.values())
    return f"FAIL: not as FlowCheck {compared.flow.check} says" if failed and compared.flow.check else "BUG: unexplained"


def _outcome(result: FlowResult) -> str:
    return ", ".join(sorted(result.observed.outcomes)) or "nothing was observed"


def _heard(compared: ComparedFlow, mode: str) -> str:
    """Whose address replied; for what did not arrive, what shows that."""
    heard = ["the address dialled" if reply == DIALLED else reply for reply in compared.reply(mode)]
    evidence = dict.fromkeys(j.evidence for j in compared.results[mode].journeys if j.outcome != "delivered" and j.evidence)
    return "; ".join([*heard, *list(evidence)[:1]]) or "nobody"


def _broken_promises(comparison: Comparison) -> Iterator[str]:
    """The flows and requirements that are not as promised, whether they differ or not."""
    lines = [
        f"{result.verdict.upper()} in mode {mode}: {result.flow.name}: {result.reason} (promised: {result.expected.because})"
        for compared in comparison.flows
        for mode, result in compared.results.items()
        if result.verdict != "pass"
    ]
    lines += [
        f"FAIL in mode {mode}: {requirement.text} {requirement.reason}"
        for mode, report in comparison.reports.items()
        for requirement in report.requirements
        if requirement.verdict == "fail"
    ]
    yield from map(printable, lines[:MOST_REASONS])
    if len(lines) > MOST_REASONS:
        yield f"{len(lines) - MOST_REASONS} more are not as promised; -o json has every flow"


def _notices(comparison: Comparison) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notice for report in comparison.reports.values() for notice in report.notices))


def _kernels(comparison: Comparison) -> Iterator[str]:
    """Where the modes ran, if one ran elsewhere than the others."""
    here = [mode for mode in comparison.modes if mode not in comparison.guests]
    if comparison.guests and here:
        yield f"{', '.join(here)}: kernel {comparison.reports[here[0]].machine['kernel']}"
    for mode, lacked in comparison.guests.items():
        kernel = comparison.reports[mode].machine["kernel"]
        yield f"{mode}: kernel {kernel} in user-mode Linux, because this machine's has no {lacked}"


def _totals(comparison: Comparison) -> str:
    count = Counter(compared.status for compared in comparison.flows)
    parts = [
        f"{_flows(len(comparison.flows))} in {len(comparison.modes)} modes: {count['same']} the same, {count['known']} known to differ, "
        f"{count['unexplained']} unexplained" + (f", {count['unknown']} unknown" if count["unknown"] else ""),
    ]
    for mode, report in comparison.reports.items():
        promised = report.summary["pass"]
        parts.append(f"{mode}: {promised} as promised" + (f", {len(report.flows) - promised} not" if promised < len(report.flows) else ""))
    return "; ".join(parts)


# --- for programs -----------------------------------------------------------------------------------------


def comparison_to_dict(comparison: Comparison, pods: Mapping[str, str]) -> dict[str, Any]:
    """``comparison`` as values that JSON knows. ``pods`` maps an address to ``namespace/name``."""
    count = Counter(compared.status for compared in comparison.flows)
    return {
        "schema": SCHEMA,
        "topology": comparison.topology,
        "seed": next(iter(comparison.reports.values())).seed,
        "modes": list(comparison.modes),
        "machine": {mode: {**report.machine, "guest": comparison.guests.get(mode, "")} for mode, report in comparison.reports.items()},
        "services": [
            {
                "name": c.service,
                "proxied": c.proxied,
                "flows": c.flows,
                "changed": c.changed,
                "unexplained": c.unexplained,
                "how": dict(c.how),
            }
            for c in comparison.services
        ],
        "flows": [_flow_to_dict(compared, pods) for compared in comparison.flows],
        "summary": {
            "ok": comparison.ok,
            "flows": len(comparison.flows),
            "same": count["same"],
            "known": count["known"],
            "unexplained": count["unexplained"],
            "unknown": count["unknown"],
            "notAsPromised": sum(report.summary["flows"] - report.summary["pass"] for report in comparison.reports.values()),
        },
        "notices": list(_notices(comparison)),
    }


def _flow_to_dict(compared: ComparedFlow, pods: Mapping[str, str]) -> dict[str, Any]:
    flow = compared.flow
    return {
        "name": flow.name,
        "kind": flow.kind,
        "service": flow.to.service,
        "from": flow.client.label,
        "to": flow.to.label,
        "protocol": flow.protocol,
        "via": flow.via,
        "dialled": dialled(flow),
        "control": flow.control,
        "check": flow.check,
        "status": compared.status,
        "differs": list(compared.aspects),
        "sections": list(compared.sections),
        "modes": {
            mode: {
                "outcomes": sorted(result.observed.outcomes),
                "backends": sorted({backend_name(b, pods) for b in result.observed.backends}),
                "sources": list(compared.sources(mode)),
                "replyFrom": list(compared.reply(mode)),
                "evidence": next((j.evidence for j in result.journeys if j.evidence), ""),
                "expected": expectation_to_dict(result.expected, pods),
                "verdict": result.verdict,
                "reason": result.reason,
                "captures": list(result.captures),
            }
            for mode, result in compared.results.items()
        },
    }
