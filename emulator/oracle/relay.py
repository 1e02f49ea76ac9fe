"""What comes of dialling a Service in userspace mode: a process of the node accepts, and dials an endpoint
(docs/semantics 15). Pure.
"""

from __future__ import annotations

from dataclasses import replace

from emulator.model.expectations import Possibilities, Possibility
from emulator.model.flows import Flow
from emulator.objects.config import Outcome
from emulator.oracle.attempts import attempts_to_meet
from emulator.oracle.choice import choose
from emulator.oracle.destination import Translation
from emulator.oracle.direct import answer
from emulator.oracle.facts import Facts
from emulator.oracle.promise import Promise, answers, ending
from emulator.oracle.services import STICKY

_TRIES = 4  # endpoints that the proxy dials for one TCP client, before it gives up


def promise_relayed(facts: Facts, flow: Flow, met: Translation) -> Promise:
    """A proxy on the node accepts, whatever the policies say, and dials the ready endpoints in their turn."""
    service, tcp = met.endpoints.service, flow.protocol == "TCP"
    chosen = choose(facts, met)
    if nested := next((b for b in chosen if facts.service_at(b, flow.protocol)), None):
        why = f"the endpoint {nested} is itself an address of svc {facts.service_at(nested, flow.protocol)}: what comes of that is not promised"
        return replace(ending("dropped", why, relayed=True), unpromised=why)
    ends = {b: answer(facts, b.ip, b.port, flow.protocol) for b in chosen}
    unserved = [str(b) for b, outcome in ends.items() if outcome != "delivered"]
    if len(unserved) == len(ends):
        why = (
            f"nobody serves {', '.join(unserved)}" if unserved else f"svc {service.key} has no ready endpoint"
        )
        if tcp and "dropped" not in ends.values():
            return ending(
                "rejected", f"{why}: the proxy accepts, then closes (docs/semantics 15)", relayed=True
            )
        # A client that waits until the proxy has tried them all sees its connection closed; one that does
        # not, silence.
        outcomes: list[Outcome] = ["dropped", "rejected"] if tcp else ["dropped"]
        because = f"{why}: the proxy has nothing to answer (docs/semantics 15)"
        return Promise(
            Possibilities(Possibility(outcome=outcome) for outcome in outcomes), because, relayed=True
        )
    if not tcp and _dials_itself(facts, flow, met.node):
        why = f"the node sends from {flow.to.ip} to itself, and the proxy's reply from there, too, which nothing translates back"
        return ending("dropped", f"{why} (docs/semantics 15)", relayed=True)
    reached = [b for b, outcome in ends.items() if outcome == "delivered"]
    possible = [*answers(dict.fromkeys(reached, "node"))]
    if not tcp:  # nothing tells the proxy that nobody serves
        possible += [
            Possibility(outcome="dropped", backend=b) for b, outcome in ends.items() if outcome != "delivered"
        ]
    elif len(unserved) >= _TRIES:
        possible.append(Possibility(outcome="rejected"))
        possible += [Possibility(outcome="dropped")] if "dropped" in ends.values() else []
    needed = attempts_to_meet(service, len(reached) if tcp else len(ends))
    because = f"a proxy on {met.node} accepts and dials any ready endpoint itself: the node's address, whatever the policies (docs/semantics 15)"
    because += ("" if needed else STICKY) + (f"; nobody serves {', '.join(unserved)}" if unserved else "")
    return Promise(Possibilities(possible), because, "node", needed, relayed=True)


def _dials_itself(facts: Facts, flow: Flow, node: str) -> bool:
    """Whether ``node`` dials an address of its own that is not the one to which its rules send what is its
    own.
    """
    ip, client = flow.to.ip, flow.client
    local = ip.startswith("127.") or facts.node_at(ip) == node
    return (
        local
        and client.kind == "node"
        and client.node == node
        and ip != facts.state.node[node].internalIPs[0]
    )
