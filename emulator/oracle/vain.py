"""Who gets no connection with an endpoint in ipvs mode, whoever serves there, since packets come to a machine
that has their source for its own.

docs/semantics 13. Pure; imports ``objects`` and the pure modules of ``probe``.
"""

from __future__ import annotations

from collections.abc import Iterable

from emulator.model.flows import Flow
from emulator.model.frames import Backend
from emulator.oracle.destination import Translation
from emulator.oracle.facts import Facts
from emulator.oracle.source import comes_from_what_it_dialled, masqueraded


def is_in_vain(facts: Facts, flow: Flow, met: Translation, backend: Backend) -> bool:
    """Whether ``flow`` gets no connection where ``met`` leads it to ``backend``."""
    return is_lost(facts, met, backend) or is_echo(facts, flow, met, backend)


def is_lost(facts: Facts, met: Translation, backend: Backend) -> bool:
    """Whether what a node sends to ``backend`` comes from the address that it dialled, which the endpoint's
    node has for its own, too. (What it dials at its own address comes from there, which no other node has.)
    """
    return (
        comes_from_what_it_dialled(facts, met)
        and backend.ip in facts.owners
        and not facts.is_on(met.node, backend.ip)
    )


def is_echo(facts: Facts, flow: Flow, met: Translation, backend: Backend) -> bool:
    """Whether a client that meets itself is sent its own address. A Pod is, where nobody masquerades; a node
    is, where another one leads it back.
    """
    client = flow.client
    if not facts.deviates("hairpins by EndpointSlice"):
        return False
    if backend.ip != client.ip or masqueraded(facts, met)[0]:
        return False
    return client.node != met.node if client.kind == "node" else not _hairpin_node(facts, flow, met, backend)


def home_of_hairpin(
    facts: Facts, flow: Flow, met: Translation, backends: Iterable[Backend]
) -> Backend | None:
    """The one of ``backends`` that is the client itself, masqueraded by its own node alone as it comes back
    there: a Pod that dials itself by another node's port in ipvs mode. It hears from itself.
    """
    itself = next((backend for backend in backends if backend.ip == flow.client.ip), None)
    if not facts.deviates("hairpins by EndpointSlice"):
        return None
    if itself is None or flow.client.kind != "pod" or masqueraded(facts, met)[0]:
        return None
    return itself if _hairpin_node(facts, flow, met, itself) not in ("", met.node) else None


def _hairpin_node(facts: Facts, flow: Flow, met: Translation, backend: Backend) -> str:
    """The node that masquerades a Pod that meets itself at ``backend``, "" if none does: the one that
    translates, else the Pod's own, by which the packet comes back. Both do it for what some EndpointSlice
    says to be theirs.
    """
    said = facts.said_to_be_on(backend, flow.protocol)
    return next((node for node in (met.node, flow.client.node) if node in said), "")
