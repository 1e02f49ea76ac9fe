"""Writes a report as JSON or YAML for programs. ``docs/report.md`` documents every field,
``report.schema.json`` is its JSON Schema.

Pure; yaml is imported only inside :func:`to_yaml`. Invariants: the same report gives the same text; every
number is an integer below 2**53, so that any JSON reader keeps it (stamps, which are larger, are strings).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..model.expectations import Expectation
from ..model.flows import Flow
from ..model.frames import Health
from ..model.journeys import Change, Hop, Journey
from ..model.results import (
    FlowResult,
    NodeRow,
    Observation,
    Report,
    ServiceRow,
    Verdict,
)
from ..objects.warnings import ManifestWarning
from ..verdicts.compare import (
    backend_name,
    dialled,
    heard_from,
    named_counts,
    sources_sent,
    telling_journey,
)
from .prose import say
from .prose_of_notices import say_notice
from .prose_of_requirements import say_requirement, say_sentence
from .prose_of_verdicts import say_ending, say_verdict
from .prose_of_warnings import name_object, say_warning

SCHEMA = "podwire.dev/report/v1"
PENDING = "<pending>"  # the external address of a Service without one yet, as kubectl shows it
_VERDICTS: tuple[Verdict, ...] = ("pass", "fail", "unknown")


def to_dict(report: Report, pods: Mapping[str, str]) -> dict[str, Any]:
    """Returns ``report`` as values that JSON knows. ``pods`` maps an address to ``namespace/name``."""
    return _around(report, [flow_to_dict(result, pods) for result in report.flows])


def _around(report: Report, flows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns ``report`` with ``flows`` as its flows."""
    requirements = Counter(r.verdict for r in report.requirements)
    return {
        "schema": SCHEMA,
        "topology": report.topology,
        "seed": report.seed,
        "proxyMode": report.proxy_mode,
        "kubeProxy": {"release": report.release, "program": report.program},
        "machine": dict(report.machine),
        "cluster": [_node(row) for row in report.cluster],
        "services": [_service(row) for row in report.services],
        "flows": flows,
        "requirements": [
            {
                "name": r.name,
                "text": say_sentence(r),
                "verdict": r.verdict,
                "checked": r.checked,
                "reason": say_requirement(r),
            }
            for r in report.requirements
        ],
        "summary": {
            "ok": report.ok,
            **report.summary,
            "warnings": len(report.warnings),
            "strict": report.strict,
            "requirements": {v: requirements[v] for v in _VERDICTS},
        },
        "notices": [say_notice(one) for one in report.notices],
        "warnings": [warning_to_dict(one) for one in report.warnings],
    }


def warning_to_dict(one: ManifestWarning) -> dict[str, Any]:
    """Returns one element of ``warnings``."""
    return {
        "code": one.code.value,
        "object": name_object(one),
        "field": one.object.field,
        "file": one.file,
        "line": one.line,
        "text": say_warning(one),
    }


def to_json(report: Report, pods: Mapping[str, str]) -> str:
    """Returns :func:`to_dict` as indented JSON, ending in a newline."""
    return "".join(json_pieces(report, pods))


def json_pieces(report: Report, pods: Mapping[str, str]) -> Iterator[str]:
    """Yields the text of :func:`to_json` flow by flow: that of a long run takes hundreds of megabytes."""
    before, marker, after = dump_json(_around(report, [])).partition('\n  "flows": [')
    yield before + marker
    for index, result in enumerate(report.flows):
        text = dump_json(flow_to_dict(result, pods)).rstrip().replace("\n", "\n    ")
        yield f"{',' if index else ''}\n    {text}"
    yield ("\n  " if report.flows else "") + after


def to_yaml(report: Report, pods: Mapping[str, str]) -> str:
    """Returns the content of :func:`to_json` as YAML."""
    return dump_yaml(to_dict(report, pods))


def dump_yaml(value: Mapping[str, Any]) -> str:
    """Returns ``value`` as YAML (half of a surrogate pair becomes "?": YAML cannot carry it)."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    content = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    text: str = yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True, width=140)
    return text


def dump_json(value: Mapping[str, Any]) -> str:
    """Returns indented JSON, ending in a newline; half of a surrogate pair, which a manifest may hold, stays
    an escape for UTF-8 to carry.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace").decode()


def flow_to_dict(result: FlowResult, pods: Mapping[str, str]) -> dict[str, Any]:
    """Returns one element of ``flows``."""
    flow, journey = result.flow, telling_journey(result)
    return {
        "name": flow.name,
        "kind": flow.kind,
        "from": flow.client.label,
        "to": flow.to.label,
        "protocol": flow.protocol,
        "via": flow.via,
        "dialled": str(dialled(flow)),
        "sourceSent": list(sources_sent(result)),
        "control": flow.control,
        "check": flow.check,
        "file": flow.place.file,
        "line": flow.place.line,
        "step": flow.step,
        "connection": flow.connection,
        "attempts": flow.attempts,
        "expected": expectation_to_dict(result.expected, pods),
        "observed": _observation(flow, result.observed, pods),
        "journey": {
            "hops": [str(hop) for hop in journey.there] if journey else [],
            "replyHops": [str(hop) for hop in journey.back] if journey else [],
            "changes": [str(change) for change in journey.changes] if journey else [],
        },
        "journeys": [_journey(j, pods) for j in result.journeys],
        "verdict": result.verdict,
        "reason": say_verdict(result),
        "captures": list(result.captures),
    }


def expectation_to_dict(expected: Expectation, pods: Mapping[str, str]) -> dict[str, Any]:
    """Returns ``expected`` of a flow."""
    return {
        "outcome": expected.outcome,
        "source": expected.source,
        "backends": sorted({backend_name(backend, pods) for backend in expected.backends}),
        "health": health_to_dict(expected.health) if expected.health else {},
        "because": say(expected.because),
        "connection": _connection(bool(expected.symmetric), bool(expected.asymmetric)),
        "possibilities": [
            {
                "outcome": end.outcome,
                "backend": backend_name(end.backend, pods) if end.backend else "",
                "source": end.source or "",
                "replyFrom": end.reply if end.outcome == "delivered" else "",
            }
            for end in expected.possibilities
        ],
    }


def health_to_dict(health: Health) -> dict[str, int]:
    """Returns the answer of a health check, with its count only if it has one."""
    return {"status": health.status} | (
        {} if health.localEndpoints is None else {"localEndpoints": health.localEndpoints}
    )


def _connection(dialled: bool, endpoint: bool) -> str:
    """Returns whether clients with an answer get a connection: not with an asymmetric reply, past the node
    that translated.
    """
    return "some" if dialled and endpoint else "yes" if dialled else "no" if endpoint else ""


def _observation(flow: Flow, observed: Observation, pods: Mapping[str, str]) -> dict[str, Any]:
    outcomes = sorted(observed.outcomes)
    return {
        "outcome": outcomes[0] if len(outcomes) == 1 else "mixed" if outcomes else "none",
        "sources": list(map(str, observed.sources)),
        "backends": dict(sorted(named_counts(observed.backends, pods).items())),
        "replyFrom": ", ".join(map(str, observed.reply_from)),
        "health": [health_to_dict(health) for health in observed.health],
        "outcomes": {outcome: observed.outcomes[outcome] for outcome in outcomes},
        "lostFrames": observed.lost_frames,
        "connection": _connection(
            any(heard_from(flow, reply) for reply in observed.reply_from),
            not all(heard_from(flow, reply) for reply in observed.reply_from),
        ),
    }


def _journey(journey: Journey, pods: Mapping[str, str]) -> dict[str, Any]:
    return {
        "crafted": journey.crafted,
        "outcome": journey.outcome,
        "backend": backend_name(journey.backend, pods) if journey.backend else "",
        "sourceSent": journey.sent.src.address,
        "sourceSeen": journey.source_seen or "",
        "replyFrom": str(journey.reply_from or ""),
        "evidence": say_ending(journey.ending),
        "hops": [_hop(hop) for hop in journey.there],
        "replyHops": [_hop(hop) for hop in journey.back],
        "changes": [_change(change) for change in journey.changes],
    }


def _hop(hop: Hop) -> dict[str, Any]:
    return {
        "time": f"{hop.time // 10**9}.{hop.time % 10**9:09}",
        "namespace": hop.netns,
        "interface": hop.interface,
        "direction": hop.direction,
        "src": str(hop.src),
        "dst": str(hop.dst),
        "ttl": hop.ttl,
        "frame": hop.frame,
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "what": change.what,
        "where": change.where,
        "before": str(change.before),
        "after": str(change.after),
        "frame": change.frame,
    }


def _node(row: NodeRow) -> dict[str, Any]:
    return {
        "node": row.name,
        "role": ", ".join(row.roles),
        "addresses": list(row.addresses),
        "podCIDR": row.podCIDR,
        "pods": [pod.name for pod in row.pods],
    }


def _service(row: ServiceRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "type": row.type,
        "clusterIP": row.address,
        "externalIPs": [PENDING] if row.pending else list(row.external),
        "ports": list(map(str, row.ports)),
        "endpoints": row.endpoints,
    }
