"""What comes of dialling a load balancer in the path, which connects to nodes of its own choice (docs/semantics 14). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from emulator.probe.endpoints import in_source_ranges
from emulator.probe.expect.attempts import attempts_to_meet_each, chances
from emulator.probe.expect.facts import Facts
from emulator.probe.expect.promise import SLOWEST
from emulator.probe.expect.source import seen_addresses
from emulator.probe.model import Backend, Expectation, Flow, SourceRule


def expect_balanced(facts: Facts, flow: Flow, promises: Sequence[Expectation]) -> Expectation:
    """The promise for ``flow``, given those for each of its legs (:func:`emulator.probe.expect.destination.find_legs`)."""
    service = facts.table.balanced[flow.to.ip, flow.to.port, flow.protocol].service
    if not in_source_ranges(service, _seen_by_balancer(facts, flow)):
        because = f"the client is outside loadBalancerSourceRanges of svc {service.key}, which the balancer keeps out (docs/semantics 14)"
        return Expectation(outcome="dropped", because=because)
    if not promises:
        why = f"the balancer knows no node that serves svc {service.key}: a closed port (docs/semantics 14)"
        return Expectation(outcome="rejected", because=why)
    delivered = [p for p in promises if p.outcome == "delivered"]
    if not delivered:
        refused = min(promises, key=lambda p: SLOWEST.index(p.outcome))
        because = f"through the balancer, which connects to node ports: {refused.because}"
        others = frozenset().union(*(p.outcomes for p in promises)) - {refused.outcome}
        return Expectation(outcome=refused.outcome, because=because, or_else=others, relayed=refused.relayed)
    met: dict[Backend, set[SourceRule]] = {}
    for promise in delivered:
        for backend, rule in promise.backends.items():
            met.setdefault(backend, set()).add("balancer" if rule == "preserved" else rule)
    node = frozenset(ip for p in delivered for ip in p.addresses.get("node", ()))
    balancer = frozenset({facts.state.balancerIP})
    if any(len(rules) > 1 for rules in met.values()):  # an endpoint on a node's own address: masqueraded by the other nodes alone
        node |= balancer
    backends: dict[Backend, SourceRule] = {b: "node" if "node" in rules else "balancer" for b, rules in met.items()}
    return Expectation(
        outcome="delivered",
        because=f"the balancer is the nodes' client, and its clients are hidden (docs/semantics 14); {delivered[0].because}",
        backends=backends,
        addresses={**seen_addresses(facts, flow, ""), "node": node, "balancer": balancer},
        source="; ".join(sorted(set(backends.values()), reverse=True)),
        partial=any(p.partial for p in promises) or flow.attempts < attempts_to_meet_each(chances(delivered)),
        relayed=facts.mode == "userspace",
    )


def _seen_by_balancer(facts: Facts, flow: Flow) -> str:
    """The client's address as the balancer sees it: what leaves the cluster's networks, its node has masqueraded."""
    client, state = flow.client, facts.state
    return state.node[client.node].internalIPs[0] if client.kind == "pod" and not state.is_host(flow.to.ip) else client.ip
