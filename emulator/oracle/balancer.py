"""Promises what comes of dialling a load balancer in the path, which connects to nodes of its own choice
(docs/semantics 14). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..model.expectations import OUTCOMES, Expectation, Possibility
from ..model.flows import Flow
from ..model.reasons import Reason, Why
from ..objects.references import service_ref
from .attempts import attempts_to_meet_each, chances, find_required
from .endpoints import in_source_ranges
from .facts import Facts
from .promise import just, merged
from .source import seen_addresses


def expect_balanced(facts: Facts, flow: Flow, promises: Sequence[Expectation]) -> Expectation:
    """Returns the expectation of ``flow``, given those of its legs
    (:func:`emulator.oracle.destination.find_legs`).
    """
    service = facts.table.balanced[flow.to.ip, flow.to.port, flow.protocol].service
    if not in_source_ranges(service, _seen_by_balancer(facts, flow)):
        ranges = service_ref(service.key, "spec.loadBalancerSourceRanges")
        because = Reason(why=Why.BALANCER_SOURCE_RANGES, objects=(ranges,))
        return Expectation(possibilities=just("dropped"), because=because)
    if not promises:
        because = Reason(why=Why.BALANCER_NO_NODE, objects=(service_ref(service.key),))
        return Expectation(possibilities=just("rejected"), because=because)
    ends = merged(map(_behind_balancer, promise.possibilities) for promise in promises)
    unpromised = next((p.unpromised for p in promises if p.unpromised), None)
    delivered = [p for p in promises if p.outcome == "delivered"]
    if not delivered:
        refused = min(promises, key=lambda p: OUTCOMES.index(p.outcome))
        because = Reason(why=Why.THROUGH_BALANCER, then=(refused.because,))
        return Expectation(possibilities=ends, because=because, unpromised=unpromised)
    node = frozenset(ip for p in delivered for ip in p.addresses.get("node", ()))
    sampled = any(p.partial for p in promises)
    needed = attempts_to_meet_each(chances(promises))
    return Expectation(
        possibilities=ends,
        because=Reason(why=Why.BALANCER_HIDES_CLIENTS, then=(delivered[0].because,)),
        must_meet=() if sampled else find_required(ends, flow.attempts, needed),
        addresses={
            **seen_addresses(facts, flow, ""),
            "node": node,
            "balancer": frozenset(filter(None, [facts.state.balancerIP])),
        },
        source="; ".join(sorted({end.source for end in ends if end.source}, reverse=True)),
        unpromised=unpromised,
    )


def _behind_balancer(end: Possibility) -> Possibility:
    """Returns ``end``, which is a leg's, as the balancer's own client meets it."""
    return replace(end, source="balancer") if end.source == "preserved" else end


def _seen_by_balancer(facts: Facts, flow: Flow) -> str:
    """Returns the client's address as the balancer sees it: packets that leave the cluster's networks are
    masqueraded by their node.
    """
    client, state = flow.client, facts.state
    return (
        state.node[client.node].internalIPs[0]
        if client.kind == "pod" and not state.is_host(flow.to.ip)
        else client.ip
    )
