"""Finds the way of an endpoint's reply: back through the node that translated the request, or past it
(docs/semantics 5). Pure.

A masqueraded request is answered to the node that translated, which translates back. Any other is answered to
the client itself. If neither client nor endpoint is on the node that translated, it never sees the reply,
which is asymmetric: the client hears from the endpoint's own address, has no connection with that, and
resets. Two things may befall such packets before (measured on kernel 6.18):

- iptables mode drops what connection tracking calls invalid in FORWARD (kube-proxy v1.30.5,
  pkg/proxy/iptables/proxier.go, "ctstate INVALID"): on its way to a Pod, the answer to a connection whose
  beginning the Pod's node has not seen: TCP's SYN ACK and SCTP's INIT ACK, never a datagram.
- A node drops packets whose source is its own address ("martian source", net/ipv4/fib_frontend.c): a request
  of its own that another node has translated to one of its endpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from ..model.expectations import SourceRule
from ..model.flows import Client, Flow
from ..model.reasons import Reason, Why
from ..net import Endpoint
from ..objects.config import FlowProtocol
from ..objects.references import node_ref
from .facts import Facts

Reply = Literal["back", "asymmetric", "lost"]


def find_ways(
    facts: Facts, flow: Flow, translator: str, rules: Mapping[Endpoint, SourceRule]
) -> Mapping[Endpoint, Reply]:
    """Returns the way of the reply of each backend of ``rules``, to which ``translator`` sends ``flow`` as
    they say.
    """
    owners = {backend: facts.owners.get(backend.address) for backend in rules}
    drops = facts.deviates("drops invalid replies")
    return {
        backend: way_of_reply(flow.client, flow.protocol, translator, owner.node, drops)
        if owner and rules[backend] != "node"
        else "back"
        for backend, owner in owners.items()
    }


def explain_ways(translator: str, ways: Mapping[Endpoint, Reply]) -> Iterator[Reason]:
    """Yields a reason for each kind of reply that does not come back through ``translator``."""
    kinds: Mapping[Reply, Why] = {"asymmetric": Why.REPLY_PAST_NODE, "lost": Why.REPLY_LOST}
    for kind, why in kinds.items():
        if endpoints := tuple(b for b, way in ways.items() if way == kind):
            yield Reason(why=why, objects=(node_ref(translator),), endpoints=endpoints)


def way_of_reply(
    client: Client, protocol: FlowProtocol, translator: str, endpoint_node: str, drops_invalid: bool
) -> Reply:
    """Returns the way of the reply to a request that ``translator`` sends on without masquerading;
    ``endpoint_node`` is "" for an endpoint that is on no node.
    """
    if translator in (client.node, endpoint_node):
        return "back"
    if client.kind == "node" and endpoint_node == client.node:
        return "lost"
    if client.kind == "pod" and endpoint_node != client.node and drops_invalid and protocol != "UDP":
        return "lost"
    return "asymmetric"
