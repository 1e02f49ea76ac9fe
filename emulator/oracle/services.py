"""What comes of dialling a Service where a node's rules translate it: in iptables, nftables and ipvs mode.

docs/semantics 5 to 7 and 12; for ipvs 13. Pure; imports ``objects`` and the pure modules of ``probe``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from emulator.model.expectations import Possibilities, Possibility, SourceRule
from emulator.model.flows import Client, Flow
from emulator.model.frames import Backend
from emulator.oracle.attempts import attempts_to_meet
from emulator.oracle.choice import choose, is_local_for_everyone
from emulator.oracle.destination import Translation
from emulator.oracle.direct import answer, is_unanswered
from emulator.oracle.endpoints import in_source_ranges, load_balancer_ips
from emulator.oracle.facts import Facts
from emulator.oracle.promise import Promise, ending
from emulator.oracle.replies import Reply, find_ways, say_ways
from emulator.oracle.source import (
    HOW,
    comes_from_what_it_dialled,
    name_source,
    say_source,
    translated_source,
)
from emulator.oracle.vain import (
    home_of_hairpin,
    is_echo,
    is_in_vain,
    is_lost,
)

STICKY = "; session affinity ClientIP: always the same one (docs/semantics 12)"


def promise_by_client(facts: Facts, flow: Flow, met: Translation) -> Promise | None:
    """What is promised to this very client, whatever the endpoints; None if nothing is."""
    service = met.endpoints.service
    if (
        met.how == "loadBalancer"
        and _asks_source_ranges(facts, met)
        and not _in_source_ranges(facts, flow.client, met)
    ):
        return ending(
            "dropped",
            f"the client is outside loadBalancerSourceRanges of svc {service.key} (docs/semantics 6)",
        )
    if met.endpoints.usable_at(met.node) or not _is_left_alone(facts, flow, met):
        return None
    because = f"svc {service.key} has no usable endpoint, but {facts.mode} mode refuses no node's own packets (docs/semantics 7)"
    outcome = answer(facts, flow.to.ip, flow.to.port, flow.protocol)
    return ending(outcome, because, late=is_unanswered(facts, flow.to.ip))


def promise_by_endpoints(facts: Facts, flow: Flow, met: Translation) -> Promise:
    """What the endpoints promise: each has an end of its own. The same for two clients that
    :func:`service_likeness` finds alike.
    """
    if not met.endpoints.usable_at(met.node):
        return ending(
            "rejected",
            f"svc {met.endpoints.service.key} has no usable endpoint: rejected at once (docs/semantics 7)",
        )
    chosen = choose(facts, met)
    if not chosen:
        return _without_own(facts, met)
    if all(is_lost(facts, met, b) for b in chosen):
        where = f"{HOW[met.how]} under externalTrafficPolicy Local from {met.node}, which has no endpoint"
        why = f"it sends from that very address, which the node of {chosen[0]} has for its own"
        return ending("dropped", f"{where}: {why} (docs/semantics 13)")
    if all(is_echo(facts, flow, met, b) for b in chosen):
        because = f"the only endpoint is the client itself, and by its EndpointSlice not on {met.node}: not masqueraded (docs/semantics 13)"
        return ending("dropped", because)
    if nested := next((b for b in chosen if facts.service_at(b, flow.protocol)), None):
        why = f"the endpoint {nested} is itself an address of svc {facts.service_at(nested, flow.protocol)}: what comes of that is not promised"
        return replace(ending("dropped", why), unpromised=why)
    rules = {b: translated_source(facts, flow.client, met, b) for b in chosen}
    ways = find_ways(facts, flow, met.node, rules)
    if home := home_of_hairpin(facts, flow, met, chosen):
        ways = {**ways, home: "astray"}
    vain = [b for b in chosen if is_in_vain(facts, flow, met, b)]
    silent = {*vain, *(b for b, way in ways.items() if way == "lost")}
    ends = Possibilities(
        end
        for b in chosen
        for end in (
            (Possibility(outcome="dropped", backend=b),)
            if b in silent
            else _ends(facts, flow, met, b, rules[b], ways[b])
        )
    )
    unserved = [b for b in chosen if b not in ends.backends and b not in silent]
    but = (
        say_ways(met.node, ways)
        + _list("no connection comes about with", vain, " (docs/semantics 13)")
        + _list("nobody serves", unserved)
    )
    if "delivered" not in ends.outcomes:
        return Promise(ends, f"svc {met.endpoints.service.key} leads to its endpoints{but}")
    return _delivered(facts, flow, met, ends, but)


def _ends(
    facts: Facts, flow: Flow, met: Translation, backend: Backend, rule: SourceRule, way: Reply
) -> Iterator[Possibility]:
    """Yields what may come of an attempt that is led to ``backend``."""
    outcome = answer(facts, backend.ip, backend.port, flow.protocol)
    if outcome == "delivered":
        yield Possibility(
            outcome=outcome, backend=backend, source=rule, reply="endpoint" if way == "astray" else "dialled"
        )
        return
    refused_elsewhere = comes_from_what_it_dialled(facts, met) and not facts.is_on(met.node, backend.ip)
    # the refusal is sent to the dialled address, and nothing leads it back, unless the node announces that
    if refused_elsewhere:
        yield Possibility(outcome="dropped", backend=backend)
    if not refused_elsewhere or met.how == "loadBalancer":
        yield Possibility(outcome=outcome, backend=backend, late=is_unanswered(facts, backend.ip))


def service_likeness(flow: Flow, met: Translation) -> tuple[object, ...]:
    """All that :func:`promise_by_endpoints` depends on, beside the cluster."""
    itself = flow.client.ip if flow.client.ip in met.endpoints.ips else ""
    return met.endpoints, met.how, met.node, met.origin, met.own, itself, flow.client.kind, flow.client.node


def _delivered(facts: Facts, flow: Flow, met: Translation, ends: Possibilities, but: str) -> Promise:
    """Of ``ends`` some deliver; ``but`` is what is to be said of some of them."""
    client = flow.client
    rules = ends.backends
    source = name_source(rules.values(), hairpin=any(b.ip == client.ip for b in rules))
    if ends.astray and is_local_for_everyone(facts, met):
        because = f"externalTrafficPolicy Local, and {met.node} has no endpoint: {facts.mode} mode takes any, which answers past it (docs/semantics 13)"
        return Promise(ends, because, source, needed=0)
    needed = attempts_to_meet(met.endpoints.service, len(ends))
    because = say_source(facts, client, met, rules) + but + ("" if needed else STICKY)
    by_turns = facts.state.proxy.scheduler in ("rr", "wrr")  # others go by load, by client…
    uneven = facts.semantics.scheduler and (ends.astray or not by_turns)
    return Promise(ends, because, source, needed=0 if uneven else needed)


def _without_own(facts: Facts, met: Translation) -> Promise:
    """Under a Local policy, where ``met`` has no endpoint of its own."""
    if facts.deviates("rejects an empty Local list"):
        because = f"internalTrafficPolicy Local, and {met.node} has no usable endpoint: {facts.mode} mode rejects (docs/semantics 13)"
        return ending("rejected", because)
    policy = "internalTrafficPolicy" if met.how == "clusterIP" else "externalTrafficPolicy"
    return ending(
        "dropped", f"{policy} Local, and {met.node} has no usable endpoint: dropped (docs/semantics 7)"
    )


def _is_left_alone(facts: Facts, flow: Flow, met: Translation) -> bool:
    """Returns whether nothing refuses a node's own packets to an external address without endpoints.

    iptables mode refuses them in INPUT and FORWARD only (docs/semantics 7). A node's own packets pass these
    if they come to a node: one that has the address, or another one that announces it (as it does for an
    endpoint that serves and is not ready).
    """
    if (
        not facts.deviates("leaves a node's own packets alone")
        or met.origin != "node"
        or met.how not in ("externalIP", "loadBalancer")
    ):
        return False
    return not facts.node_at(flow.to.ip) and facts.state.speakers.get(flow.to.ip, met.node) == met.node


def _asks_source_ranges(facts: Facts, met: Translation) -> bool:
    """Returns whether source ranges come before the want of an endpoint; never for the node's own packets
    (docs/semantics 13).
    """
    return bool(met.endpoints.usable_at(met.node)) or (
        facts.deviates("source ranges without endpoints") and met.origin != "node"
    )


def _in_source_ranges(facts: Facts, client: Client, met: Translation) -> bool:
    """docs/semantics 6."""
    service = met.endpoints.service
    sources = [client.ip]
    if client.ip in load_balancer_ips(service):
        sources.append(facts.state.node[met.node].internalIPs[0])
    return any(in_source_ranges(service, source) for source in sources)


def _list(what: str, backends: Sequence[Backend], why: str = "") -> str:
    return f"; {what} {', '.join(map(str, backends))}{why}" if backends else ""
