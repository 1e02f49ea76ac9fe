"""Puts expected beside observed, aspect by aspect, and finds where the two sides differ. Pure.

It never changes a verdict: ``verdicts.judge`` has given that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

from ..model.expectations import OUTCOMES, Expectation
from ..model.flows import Flow, FlowKind
from ..model.journeys import Change, Journey
from ..model.results import FlowResult
from ..net import Endpoint
from ..objects.config import ASYMMETRIC
from .judge import ends_of

KIND_TITLES: Mapping[FlowKind, str] = {
    "container-to-container": "Containers of one Pod",
    "pod-to-pod": "Pod to Pod",
    "pod-to-service": "Pod to Service",
    "external-to-service": "Outside to Service",
    "node-to-service": "Node to Service",
    "health-check": "Health checks",
    "node-to-pod": "Node to Pod",
    "pod-to-node": "Pod to node",
    "external-to-pod": "Outside to Pod",
    "pod-to-external": "Pod to outside",
    "other": "Other flows",
}


class Row(NamedTuple):
    """Holds one aspect of a flow: the promise, what the packets say, and whether the two agree."""

    what: str
    expected: str
    observed: str
    same: bool


class Difference(NamedTuple):
    """Describes how a journey differs from its expectation: its ending, the rewrite (``change``), the address
    that replied, or the answer of a health check.
    """

    what: Literal["ended", "rewritten", "reply", "answer"]
    change: Change | None = None


def dialled(flow: Flow) -> Endpoint:
    """Returns the endpoint that the client of ``flow`` dials."""
    return Endpoint.of(flow.to.ip, flow.to.port)


def backend_name(backend: Endpoint, pods: Mapping[str, str]) -> str:
    """Returns ``namespace/pod:port`` where ``pods`` (address → namespace/name) knows the address, else
    ``ip:port``; no port for ICMP.
    """
    pod = pods.get(backend.address)
    if pod is None:
        return str(backend)
    return f"{pod}:{backend.port}" if backend.port else pod


def counted(counts: Iterable[tuple[str, int]]) -> str:
    """Returns ``a ×3, b ×1``."""
    return ", ".join(f"{name} ×{number}" for name, number in counts)


def few(items: Iterable[str], limit: int) -> str:
    """Returns ``items`` joined by commas, the first ``limit`` of them if there are more, with the number of
    the others.
    """
    every = list(items)
    return (
        ", ".join(every)
        if len(every) <= limit
        else f"{', '.join(every[:limit])} (+{len(every) - limit} more)"
    )


def outcome_word(expected: Expectation) -> str:
    """Returns the name of ``expected`` in a sentence: its outcome; asymmetric where clients hear from the
    endpoint itself alone.
    """
    return ASYMMETRIC if _all_asymmetric(expected) else expected.outcome


def sources_sent(result: FlowResult) -> tuple[str, ...]:
    """Returns the addresses that the client sent from, as its packets say; the client's own where there was
    none.
    """
    return tuple(dict.fromkeys(j.sent.src.address for j in result.journeys)) or (result.flow.client.ip,)


def side_by_side(result: FlowResult, pods: Mapping[str, str]) -> tuple[Row, ...]:
    """Returns the expectation and the observation of ``result``, aspect by aspect; aspects that say nothing
    are left out.
    """
    expected, observed = result.expected, result.observed
    rows = [
        Row(
            "outcome",
            " or ".join(outcome for outcome in OUTCOMES if outcome in expected.outcomes),
            counted(observed.outcomes.items()) or "nothing was observed",
            bool(observed.outcomes) and expected.outcomes.issuperset(observed.outcomes),
        )
    ]
    if expected.outcome == "delivered":
        rows += [_source_row(result), _backends_row(result, pods), *_health_row(result)]
    elif observed.backends:
        rows.append(Row("backends", "none", _counted_names(observed.backends, pods), False))
    if observed.reply_from:
        same = all(_as_promised(result, reply) for reply in observed.reply_from)
        answering = ([] if _all_asymmetric(expected) else [str(dialled(result.flow))]) + (
            ["the endpoint itself"] if expected.asymmetric else []
        )
        meant = " or ".join(answering)
        rows.append(Row("reply from", meant, ", ".join(map(str, observed.reply_from)), same))
    if observed.lost_frames:
        rows.append(Row("lost frames", "0", str(observed.lost_frames), False))
    return tuple(rows)


def _source_row(result: FlowResult) -> Row:
    allowed, seen = _allowed_sources(result), result.observed.sources
    text = result.expected.source or "any"
    if allowed and allowed != {text}:
        text += f" ({few(sorted(allowed), 4)})"
    return Row("source", text, ", ".join(seen) or "none", not allowed or allowed >= set(seen))


def _backends_row(result: FlowResult, pods: Mapping[str, str]) -> Row:
    promised, met, partial = (
        set(result.expected.backends),
        set(result.observed.backends),
        result.expected.partial,
    )
    text = ", ".join(sorted(backend_name(b, pods) for b in promised)) or "any"
    same = not promised or (met <= promised and (partial or met == promised))
    return Row(
        "backends",
        f"some of: {text}" if partial else text,
        _counted_names(result.observed.backends, pods),
        same,
    )


def _health_row(result: FlowResult) -> list[Row]:
    wanted, heard = result.expected.health, result.observed.health
    return (
        [Row("answer", str(wanted), answers(result) or "none", bool(heard) and not unlike(result))]
        if wanted
        else []
    )


def answers(result: FlowResult) -> str:
    """Returns the answers of a health check, each once; "" for other flows."""
    return "; ".join(map(str, result.observed.health))


def unlike(result: FlowResult) -> bool:
    """Returns whether a health check answered otherwise than expected."""
    wanted = result.expected.health
    return wanted is not None and not all(health.keeps(wanted) for health in result.observed.health)


def _counted_names(backends: Mapping[Endpoint, int], pods: Mapping[str, str]) -> str:
    return counted(sorted(named_counts(backends, pods).items())) or "none"


def named_counts(backends: Mapping[Endpoint, int], pods: Mapping[str, str]) -> Mapping[str, int]:
    """Returns ``backends`` by name; the addresses of one Pod count together."""
    counts: dict[str, int] = {}
    for backend, number in backends.items():
        name = backend_name(backend, pods)
        counts[name] = counts.get(name, 0) + number
    return counts


def heard_from(flow: Flow, reply: Endpoint) -> bool:
    """Returns whether ``reply`` is the address dialled; an ICMP reply has no port."""
    return reply == dialled(flow) or (not flow.to.port and reply.address == flow.to.ip)


def _as_promised(result: FlowResult, reply: Endpoint) -> bool:
    """Returns whether the client is meant to hear from ``reply``."""
    expected = result.expected
    if reply in expected.asymmetric:
        return True
    return heard_from(result.flow, reply) and not _all_asymmetric(expected)


def _all_asymmetric(expected: Expectation) -> bool:
    return bool(expected.asymmetric) and not expected.symmetric


def telling_journey(result: FlowResult) -> Journey | None:
    """Returns the journey to show for ``result``: the first that differs from the expectation, else the
    first.
    """
    return next(
        (j for j in result.journeys if where_it_differs(result, j)),
        result.journeys[0] if result.journeys else None,
    )


def where_it_differs(result: FlowResult, journey: Journey) -> Difference | None:
    """Returns where ``journey`` differs from the expectation, None where it does not."""
    expected = result.expected
    if journey.outcome not in ends_of(expected, journey):
        return Difference("ended")
    if journey.outcome != "delivered":
        return None
    if journey.backend is not None and expected.backends and journey.backend not in expected.backends:
        return _rewritten(journey, "DNAT")
    allowed = _allowed_sources(result, journey.backend)
    if journey.source_seen and allowed and journey.source_seen not in allowed:
        return _rewritten(journey, "SNAT")
    if journey.reply_from and journey.back and not _as_promised(result, journey.reply_from):
        return Difference("reply")
    if journey.back and not journey.crafted and unlike(result):
        return Difference("answer")
    return None


def keeps(result: FlowResult, promise: Expectation) -> bool:
    """Returns whether ``result`` is as ``promise`` says, whatever its own expectation is."""
    as_promised = replace(result, expected=promise)
    return all(row.same for row in side_by_side(as_promised, {})) and not any(
        where_it_differs(as_promised, journey) for journey in result.journeys
    )


def _rewritten(journey: Journey, what: str) -> Difference:
    change = journey.last_change(what)
    return Difference("rewritten", change) if change else Difference("ended")


def _allowed_sources(result: FlowResult, backend: Endpoint | None = None) -> frozenset[str]:
    """Returns the addresses that the expectation accepts at ``backend`` (``None``: at any backend)."""
    expected = result.expected
    return frozenset().union(
        *(expected.addresses.get(rule, frozenset()) for rule in expected.rules_at(backend))
    )
