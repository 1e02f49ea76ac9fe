"""Finds connections that fail because the receiving node owns the packet's source address (martian source),
where nodes have all Service addresses: in ipvs mode (docs/semantics 13). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..model.flows import Flow
from ..net import Endpoint
from .destination import Translation
from .facts import Facts
from .source import comes_from_what_it_dialled, masqueraded


def is_martian(facts: Facts, flow: Flow, met: Translation, backend: Endpoint) -> bool:
    """Returns whether ``flow`` gets no connection where ``met`` leads it to ``backend``, since its packets
    are martian.
    """
    return is_martian_at_endpoint(facts, met, backend) or is_martian_hairpin(facts, flow, met, backend)


def is_martian_at_endpoint(facts: Facts, met: Translation, backend: Endpoint) -> bool:
    """Returns whether a node sends to ``backend`` from the address that it dialled, which the endpoint's node
    owns, too. (Packets to a node's own address come from there, and no other node has it.)
    """
    return (
        comes_from_what_it_dialled(facts, met)
        and backend.address in facts.owners
        and not facts.is_on(met.node, backend.address)
    )


def is_martian_hairpin(facts: Facts, flow: Flow, met: Translation, backend: Endpoint) -> bool:
    """Returns whether a client that meets itself is sent its own address: a Pod where no node masquerades, a
    node where another one leads it back.
    """
    client = flow.client
    if not facts.deviates("hairpins by EndpointSlice"):
        return False
    if backend.address != client.ip or masqueraded(facts, met)[0]:
        return False
    return client.node != met.node if client.kind == "node" else not _hairpin_node(facts, flow, met, backend)


def home_of_hairpin(
    facts: Facts, flow: Flow, met: Translation, backends: Iterable[Endpoint]
) -> Endpoint | None:
    """Returns the backend that is the client Pod itself, if only the Pod's own node masquerades the hairpin
    packet (the Pod dials another node's NodePort in ipvs mode). The reply comes from the Pod's own address.
    """
    itself = next((backend for backend in backends if backend.address == flow.client.ip), None)
    if not facts.deviates("hairpins by EndpointSlice"):
        return None
    if itself is None or flow.client.kind != "pod" or masqueraded(facts, met)[0]:
        return None
    return itself if _hairpin_node(facts, flow, met, itself) not in ("", met.node) else None


def _hairpin_node(facts: Facts, flow: Flow, met: Translation, backend: Endpoint) -> str:
    """Returns the node that masquerades a Pod that meets itself at ``backend``, "" if none does: the one that
    translates, else the Pod's own, by which the packet comes back. Both do it for endpoints that some
    EndpointSlice says to be theirs.
    """
    said = facts.said_to_be_on(backend, flow.protocol)
    return next((node for node in (met.node, flow.client.node) if node in said), "")
