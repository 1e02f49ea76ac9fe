"""Promises what comes of dialling a Service where a process of the node accepts, and dials an endpoint
(docs/semantics 15). Pure.
"""

from __future__ import annotations

from dataclasses import replace

from ..model.expectations import Possibilities, Possibility
from ..model.flows import Flow
from ..model.reasons import Reason, Why
from ..net import Endpoint, is_loopback
from ..objects.config import Outcome
from ..objects.references import node_ref, service_ref
from .attempts import attempts_to_meet
from .choice import choose_endpoints
from .destination import Translation
from .direct import outcome_at
from .facts import Facts
from .promise import Promise, answers, ending
from .services import nested_endpoint

_TRIES = 4  # endpoints that the proxy dials for one TCP client, before it gives up


def promise_relayed(facts: Facts, flow: Flow, met: Translation) -> Promise:
    """Returns the promise of a proxy on the node, which accepts, whatever the policies say, and dials the
    ready endpoints in their turn.
    """
    service, tcp = met.endpoints.service, flow.protocol == "TCP"
    chosen = choose_endpoints(facts, met)
    if nested := next((b for b in chosen if facts.service_at(b, flow.protocol)), None):
        why = nested_endpoint(facts, nested, flow)
        return replace(ending("dropped", why, relayed=True), unpromised=why)
    ends = {b: outcome_at(facts, b.address, b.port, flow.protocol) for b in chosen}
    unserved = tuple(b for b, outcome in ends.items() if outcome != "delivered")
    if len(unserved) == len(ends):
        because = Reason(why=Why.PROXY_CLOSES, objects=(service_ref(service.key),), endpoints=unserved)
        if tcp and "dropped" not in ends.values():
            return ending("rejected", because, relayed=True)
        # A client that waits until the proxy has tried them all sees its connection closed; one that does
        # not, silence.
        outcomes: list[Outcome] = ["dropped", "rejected"] if tcp else ["dropped"]
        return Promise(
            Possibilities(Possibility(outcome=outcome, relayed=True) for outcome in outcomes),
            replace(because, why=Why.PROXY_SILENT),
        )
    if not tcp and _dials_itself(facts, flow, met.node):
        at = Endpoint.of(flow.to.ip, flow.to.port)
        return ending("dropped", Reason(why=Why.PROXY_REPLY_UNTRANSLATED, at=at), relayed=True)
    reached = [b for b, outcome in ends.items() if outcome == "delivered"]
    possible = [*answers(dict.fromkeys(reached, "node"), relayed=True)]
    if not tcp:  # the proxy does not learn that no server listens
        possible += [
            Possibility(outcome="dropped", backend=b, relayed=True)
            for b, outcome in ends.items()
            if outcome != "delivered"
        ]
    elif len(unserved) >= _TRIES:
        possible.append(Possibility(outcome="rejected", relayed=True))
        possible += [Possibility(outcome="dropped", relayed=True)] if "dropped" in ends.values() else []
    needed = attempts_to_meet(service, len(reached) if tcp else len(ends))
    because = Reason(why=Why.PROXY_ACCEPTS, objects=(node_ref(met.node),)).beside(
        None if needed else Reason(why=Why.AFFINITY),
        Reason(why=Why.UNSERVED, endpoints=unserved) if unserved else None,
    )
    return Promise(Possibilities(possible), because, "node", needed)


def _dials_itself(facts: Facts, flow: Flow, node: str) -> bool:
    """Returns whether ``node`` dials an address of its own that is not the one to which its rules
    redirect.
    """
    ip, client = flow.to.ip, flow.client
    local = is_loopback(ip) or facts.node_at(ip) == node
    return (
        local
        and client.kind == "node"
        and client.node == node
        and ip != facts.state.node[node].internalIPs[0]
    )
