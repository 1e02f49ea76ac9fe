"""Writes a comparison of modes for programs, as JSON and YAML (documented in ``docs/report.md``). Pure. It
makes the same promises of stability as the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..verdicts.compare import backend_name, dialled
from ..verdicts.modes import ComparedFlow, Comparison
from .advice import expect_to_dict
from .prose import say
from .prose_of_notices import say_notice
from .prose_of_verdicts import say_ending, say_verdict
from .report_json import expectation_to_dict, health_to_dict, warning_to_dict

SCHEMA = "podwire.dev/diff/v1"


def comparison_to_dict(comparison: Comparison, pods: Mapping[str, str]) -> dict[str, Any]:
    """Returns ``comparison`` as values that JSON knows. ``pods`` maps an address to ``namespace/name``."""
    count = Counter(compared.status for compared in comparison.flows)
    return {
        "schema": SCHEMA,
        "topology": comparison.topology,
        "seed": next(iter(comparison.reports.values())).seed,
        "modes": list(comparison.modes),
        "machine": {
            mode: {**report.machine, "guest": comparison.guests.get(mode, "")}
            for mode, report in comparison.reports.items()
        },
        "services": [
            {
                "name": c.service,
                "proxied": c.proxied,
                "flows": c.flows,
                "changed": c.changed,
                "unwanted": c.unwanted,
                "unexplained": c.unexplained,
                "how": dict(c.how),
            }
            for c in comparison.services
        ],
        "flows": [_flow_to_dict(comparison, compared, pods) for compared in comparison.flows],
        "summary": {
            "ok": comparison.ok,
            "flows": len(comparison.flows),
            "same": count["same"],
            "known": count["known"],
            "unwanted": count["unwanted"],
            "unexplained": count["unexplained"],
            "unknown": count["unknown"],
            "warnings": len(comparison.warnings),
            "strict": comparison.strict,
            "notAsPromised": sum(
                report.summary["flows"] - report.summary["pass"] for report in comparison.reports.values()
            ),
        },
        "notices": [say_notice(one) for one in comparison.notices],
        "warnings": [warning_to_dict(one) for one in comparison.warnings],
    }


def _flow_to_dict(comparison: Comparison, compared: ComparedFlow, pods: Mapping[str, str]) -> dict[str, Any]:
    flow = compared.flow
    return {
        "name": flow.name,
        "kind": flow.kind,
        "service": flow.to.service,
        "from": flow.client.label,
        "to": flow.to.label,
        "protocol": flow.protocol,
        "via": flow.via,
        "dialled": str(dialled(flow)),
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
                "health": [health_to_dict(health) for health in result.observed.health],
                "evidence": next(filter(None, (say_ending(j.ending) for j in result.journeys)), ""),
                "expected": expectation_to_dict(result.expected, pods),
                "promised": say(compared.promises[mode].because),
                "accept": expect_to_dict(comparison.accepted(compared, mode)),
                "verdict": result.verdict,
                "reason": say_verdict(result),
                "captures": list(result.captures),
            }
            for mode, result in compared.results.items()
        },
    }
