"""Chooses the endpoint list of a Service port that applies on the node that takes a flow up (docs/semantics
4, 13). Pure.
"""

from __future__ import annotations

from ..net import Endpoint
from .destination import Translation
from .endpoints import PortEndpoints, external_ips, load_balancer_ips
from .facts import Facts


def choose_endpoints(facts: Facts, met: Translation) -> tuple[Endpoint, ...]:
    """Returns the endpoints that attempts are led to: those of the list that applies, without
    :func:`left_out`.
    """
    listed, out = _listed(facts, met), left_out(facts, met)
    return tuple(endpoint for endpoint in listed if endpoint not in out) if out else listed


def left_out(facts: Facts, met: Translation) -> tuple[Endpoint, ...]:
    """Returns the endpoints of the list that applies that the node's kernel does not take (docs/semantics
    13).
    """
    if not facts.deviates("leaves out what is no machine's"):
        return ()
    return tuple(e for e in _listed(facts, met) if not facts.is_machines(met.node, e.address))


def _listed(facts: Facts, met: Translation) -> tuple[Endpoint, ...]:
    """Returns the list that applies: every ready endpoint where policies are unknown. Some modes use the
    Cluster list of a Service with external addresses in place of an empty Local list (docs/semantics 13, 15).
    """
    if not facts.semantics.policies:
        return met.endpoints.ready
    if is_local(facts, met):
        own = met.endpoints.local_list(met.node)
        if own or not (
            facts.deviates("any endpoint for an empty Local list") and _has_external(met.endpoints)
        ):
            return own
    return met.endpoints.cluster_list(met.node, facts.state.node[met.node].metadata.labels)


def is_local(facts: Facts, met: Translation) -> bool:
    """Returns whether a Local policy applies."""
    spec = met.endpoints.service.spec
    if met.how == "clusterIP":
        return spec.internalTrafficPolicy == "Local"
    return spec.externalTrafficPolicy == "Local" and (
        met.origin == "outside" or facts.deviates("Local for everyone")
    )


def is_local_for_everyone(facts: Facts, met: Translation) -> bool:
    """Returns whether an external address under externalTrafficPolicy Local is dialled in a mode that
    then neither short-cuts nor masquerades local traffic (docs/semantics 13).
    """
    return facts.deviates("Local for everyone") and met.how != "clusterIP" and is_local(facts, met)


def _has_external(endpoints: PortEndpoints) -> bool:
    return bool(
        endpoints.port.nodePort
        or external_ips(endpoints.service, endpoints.family)
        or load_balancer_ips(endpoints.service, endpoints.family)
    )
