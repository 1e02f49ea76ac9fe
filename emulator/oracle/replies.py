"""Which way an endpoint's reply takes: back through the node that translated the request, or past it
(docs/semantics 5). Pure.

What is masqueraded is answered to the node that translated, which translates back. What is not is answered to
the client itself. If neither client nor endpoint is on the node that translated, it never sees the reply: the
client hears from the endpoint's own address, of which it knows nothing, and resets. Two things may befall
such packets before (measured on kernel 6.18):

- A deviation of iptables mode: it drops what connection tracking calls invalid in FORWARD (kube-proxy v1.30.5,
  pkg/proxy/iptables/proxier.go, "ctstate INVALID"): on its way to a Pod, the answer to a connection whose
  beginning the Pod's node has not seen: TCP's SYN ACK and SCTP's INIT ACK, never a datagram.
- A node takes whoever comes with its own address for an impostor ("martian source", net/ipv4/fib_frontend.c):
  it drops a request of its own that another node has translated to one of its endpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from emulator.model.expectations import SourceRule
from emulator.model.flows import Client, Flow
from emulator.model.frames import Backend
from emulator.objects.config import FlowProtocol
from emulator.oracle.facts import Facts

Reply = Literal["back", "astray", "lost"]


def find_ways(
    facts: Facts, flow: Flow, translator: str, rules: Mapping[Backend, SourceRule]
) -> Mapping[Backend, Reply]:
    """For each backend of ``rules``, which ``translator`` sends ``flow`` to as they say."""
    owners = {backend: facts.owners.get(backend.ip) for backend in rules}
    drops = facts.deviates("drops invalid replies")
    return {
        backend: way_of_reply(flow.client, flow.protocol, translator, owner.node, drops)
        if owner and rules[backend] != "node"
        else "back"
        for backend, owner in owners.items()
    }


def say_ways(translator: str, ways: Mapping[Backend, Reply]) -> str:
    """What of the replies does not come back through ``translator``; "" if all do."""
    astray, lost = ([str(b) for b, way in ways.items() if way == kind] for kind in ("astray", "lost"))
    text = (
        f"; {', '.join(astray)}: the reply goes past {translator}, and there is no connection (docs/semantics 5)"
        if astray
        else ""
    )
    return text + (
        f"; {', '.join(lost)}: past {translator}, and is dropped on the way (docs/semantics 5)"
        if lost
        else ""
    )


def way_of_reply(
    client: Client, protocol: FlowProtocol, translator: str, endpoint_node: str, drops_invalid: bool
) -> Reply:
    """Returns the way of the reply to what ``translator`` sends on without masquerading it.
    ``endpoint_node`` is "" for an endpoint that is on no node. ``drops_invalid``: in FORWARD.
    """
    if translator in (client.node, endpoint_node):
        return "back"
    if client.kind == "node" and endpoint_node == client.node:
        return "lost"
    if client.kind == "pod" and endpoint_node != client.node and drops_invalid and protocol != "UDP":
        return "lost"
    return "astray"
