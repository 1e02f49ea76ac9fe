"""Promises what comes of dialling a Service where a node's rules translate it.

docs/semantics 5 to 7 and 12; deviations of one mode: 13. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..model.expectations import Possibilities, Possibility, SourceRule
from ..model.flows import Client, Flow
from ..model.reasons import Reason, Why
from ..net import Address, Endpoint
from ..objects.references import ObjectRef, node_ref, service_ref
from .attempts import attempts_to_meet
from .choice import choose_endpoints, is_local_for_everyone, left_out
from .destination import Translation
from .direct import is_unanswered, outcome_at
from .endpoints import in_source_ranges, load_balancer_ips
from .facts import Facts, Likeness
from .martian import (
    home_of_hairpin,
    is_martian,
    is_martian_at_endpoint,
    is_martian_hairpin,
)
from .promise import Promise, ending
from .replies import Reply, explain_ways, find_ways
from .source import (
    comes_from_what_it_dialled,
    explain_source,
    name_source,
    translated_source,
)


def promise_by_client(facts: Facts, flow: Flow, met: Translation) -> Promise | None:
    """Returns the promise that this very client has, whatever the endpoints; None if it has none."""
    service = met.endpoints.service
    if (
        met.how == "loadBalancer"
        and _asks_source_ranges(facts, met)
        and not _in_source_ranges(facts, flow.client, met)
    ):
        ranges = service_ref(service.key, "spec.loadBalancerSourceRanges")
        return ending("dropped", Reason(why=Why.SOURCE_RANGES, objects=(ranges,)))
    if met.endpoints.usable_at(met.node) or not _is_left_alone(facts, flow, met):
        return None
    because = Reason(why=Why.NO_ENDPOINT_OWN_PACKETS, objects=(service_ref(service.key),), mode=facts.mode)
    outcome = outcome_at(facts, flow.to.ip, flow.to.port, flow.protocol)
    return ending(outcome, because, late=is_unanswered(facts, flow.to.ip))


def promise_by_endpoints(facts: Facts, flow: Flow, met: Translation) -> Promise:
    """Returns the promise that the endpoints make: each has an end of its own. It is the same for two clients
    that :func:`service_likeness` finds alike.
    """
    service = service_ref(met.endpoints.service.key)
    if not met.endpoints.usable_at(met.node):
        return ending("rejected", Reason(why=Why.NO_ENDPOINT, objects=(service,)))
    chosen, out = choose_endpoints(facts, met), left_out(facts, met)
    not_taken = [Reason(why=Why.NOT_TAKEN, objects=(node_ref(met.node),), endpoints=out)] if out else []
    if not chosen:
        return ending("rejected", not_taken[0]) if not_taken else _without_own(facts, met)
    if all(is_martian_at_endpoint(facts, met, b) for b in chosen):
        because = Reason(
            why=Why.SENDS_FROM_SERVICE_ADDRESS,
            objects=(node_ref(met.node),),
            endpoints=chosen[:1],
            how=met.how,
        )
        return ending("dropped", because)
    if all(is_martian_hairpin(facts, flow, met, b) for b in chosen):
        return ending("dropped", Reason(why=Why.ONLY_ITSELF, objects=(node_ref(met.node),)))
    if nested := next((b for b in chosen if facts.service_at(b, flow.protocol)), None):
        why = nested_endpoint(facts, nested, flow)
        return replace(ending("dropped", why), unpromised=why)
    rules = {b: translated_source(facts, flow.client, met, b) for b in chosen}
    ways = find_ways(facts, flow, met.node, rules)
    if home := home_of_hairpin(facts, flow, met, chosen):
        ways = {**ways, home: "asymmetric"}
    martian = [b for b in chosen if is_martian(facts, flow, met, b)]
    silent = {*martian, *(b for b, way in ways.items() if way == "lost")}
    ends = Possibilities(
        end
        for b in chosen
        for end in (
            (Possibility(outcome="dropped", backend=b),)
            if b in silent
            else _ends(facts, flow, met, b, rules[b], ways[b])
        )
    )
    unserved = tuple(b for b in chosen if b not in ends.backends and b not in silent)
    exceptions = [
        *explain_ways(met.node, ways),
        *([Reason(why=Why.NO_CONNECTION_WITH, endpoints=tuple(martian))] if martian else []),
        *([Reason(why=Why.UNSERVED, endpoints=unserved)] if unserved else []),
        *not_taken,
    ]
    if "delivered" not in ends.outcomes:
        because = Reason(why=Why.LEADS_TO_ENDPOINTS, objects=(service,), then=tuple(exceptions))
        return Promise(ends, because)
    return _delivered(facts, flow, met, ends, exceptions)


def nested_endpoint(facts: Facts, endpoint: Endpoint, flow: Flow) -> Reason:
    """Returns the reason why nothing is promised where ``endpoint`` is itself an address of a Service."""
    service = service_ref(facts.service_at(endpoint, flow.protocol))
    return Reason(why=Why.NESTED, objects=(service,), endpoints=(endpoint,))


def _ends(
    facts: Facts, flow: Flow, met: Translation, backend: Endpoint, rule: SourceRule, way: Reply
) -> Iterator[Possibility]:
    """Yields what may come of an attempt that is led to ``backend``."""
    outcome = outcome_at(facts, backend.address, backend.port, flow.protocol)
    if outcome == "delivered":
        yield Possibility(
            outcome=outcome,
            backend=backend,
            source=rule,
            reply="endpoint" if way == "asymmetric" else "dialled",
        )
        return
    refused_elsewhere = comes_from_what_it_dialled(facts, met) and not facts.is_on(met.node, backend.address)
    # the refusal is sent to the dialled address, and nothing leads it back, unless the node announces that
    if refused_elsewhere:
        yield Possibility(outcome="dropped", backend=backend)
    if not refused_elsewhere or met.how == "loadBalancer":
        yield Possibility(outcome=outcome, backend=backend, late=is_unanswered(facts, backend.address))


def service_likeness(facts: Facts, flow: Flow, met: Translation) -> Likeness:
    """Returns all that :func:`promise_by_endpoints` depends on, beside the cluster, and all that a policy may
    select the client by.
    """
    client = flow.client
    itself = client.ip if client.ip in met.endpoints.ips else ""
    place = (met.endpoints, met.how, met.node, met.origin, met.own, itself, client.kind, client.node)
    return place, facts.identity(client)


def _delivered(
    facts: Facts, flow: Flow, met: Translation, ends: Possibilities, exceptions: Sequence[Reason]
) -> Promise:
    """Returns the promise of ``ends``, some of which deliver; ``exceptions`` explain others."""
    client = flow.client
    rules = ends.backends
    source = name_source(rules.values(), hairpin=any(b.address == client.ip for b in rules))
    if ends.asymmetric and is_local_for_everyone(facts, met):
        because = Reason(
            why=Why.EMPTY_LOCAL_LIST_ANY, objects=_policy(met, "spec.externalTrafficPolicy"), mode=facts.mode
        )
        return Promise(ends, because, source, needed=0)
    needed = attempts_to_meet(met.endpoints.service, len(ends))
    because = explain_source(facts, client, met, rules).beside(
        *exceptions, None if needed else Reason(why=Why.AFFINITY)
    )
    by_turns = facts.state.proxy.scheduler in ("rr", "wrr")  # others go by load, by client…
    uneven = facts.semantics.scheduler and (ends.asymmetric or not by_turns)
    return Promise(ends, because, source, needed=0 if uneven else needed)


def _without_own(facts: Facts, met: Translation) -> Promise:
    """Returns the promise under a Local policy where ``met`` has no endpoint of its own."""
    if facts.deviates("rejects an empty Local list"):
        objects = _policy(met, "spec.internalTrafficPolicy")
        because = Reason(why=Why.EMPTY_LOCAL_LIST_REJECTED, objects=objects, mode=facts.mode)
        return ending("rejected", because)
    field = "spec.internalTrafficPolicy" if met.how == "clusterIP" else "spec.externalTrafficPolicy"
    return ending("dropped", Reason(why=Why.NO_LOCAL_ENDPOINT, objects=_policy(met, field)))


def _policy(met: Translation, field: str) -> tuple[ObjectRef, ...]:
    return service_ref(met.endpoints.service.key, field), node_ref(met.node)


def _is_left_alone(facts: Facts, flow: Flow, met: Translation) -> bool:
    """Returns whether kube-proxy leaves the flow alone where there are no endpoints.

    Its iptables mode refuses packets to an external address in INPUT and FORWARD alone (docs/semantics 7). A
    node's own packets pass these only if they come to a node: one that has the address, or another one that
    announces it (as it does for an endpoint that serves and is not ready).
    """
    if (
        not facts.deviates("leaves a node's own packets alone")
        or met.origin != "node"
        or met.how not in ("externalIP", "loadBalancer")
    ):
        return False
    return not facts.node_at(flow.to.ip) and facts.state.speakers.get(flow.to.ip, met.node) == met.node


def _asks_source_ranges(facts: Facts, met: Translation) -> bool:
    """Returns whether source ranges are checked first: without an endpoint only where a mode deviates, and
    not for the node's own packets (docs/semantics 13).
    """
    return bool(met.endpoints.usable_at(met.node)) or (
        facts.deviates("source ranges without endpoints") and met.origin != "node"
    )


def _in_source_ranges(facts: Facts, client: Client, met: Translation) -> bool:
    """Returns whether the client is inside loadBalancerSourceRanges (docs/semantics 6)."""
    service = met.endpoints.service
    sources = [client.ip]
    if client.ip in load_balancer_ips(service, client.ip.family):
        sources.append(Address(facts.state.node[met.node].internalIPs[0]))
    return any(in_source_ranges(service, source) for source in sources)
