"""Which of a Service port's endpoint lists applies on the node that takes a flow up (docs/semantics 4, 13).
Pure.
"""

from __future__ import annotations

from emulator.model.frames import Backend
from emulator.oracle.destination import Translation
from emulator.oracle.endpoints import PortEndpoints, external_ips, load_balancer_ips
from emulator.oracle.facts import Facts


def choose(facts: Facts, met: Translation) -> tuple[Backend, ...]:
    """The list that applies: every ready endpoint in userspace mode, which has but one list; in ipvs mode,
    where a Local list is empty, the Cluster list of a Service that has external addresses (docs/semantics
    13).
    """
    if facts.mode == "userspace":
        return met.endpoints.ready
    if is_local(facts, met):
        own = met.endpoints.local_list(met.node)
        if own or not (facts.mode == "ipvs" and _has_external(met.endpoints)):
            return own
    return met.endpoints.cluster_list(met.node, facts.state.node[met.node].metadata.labels)


def is_local(facts: Facts, met: Translation) -> bool:
    """Whether a Local policy applies."""
    spec = met.endpoints.service.spec
    if met.how == "clusterIP":
        return spec.internalTrafficPolicy == "Local"
    return spec.externalTrafficPolicy == "Local" and (met.origin == "outside" or facts.mode == "ipvs")


def is_ipvs_local(facts: Facts, met: Translation) -> bool:
    """Whether it is an external address under externalTrafficPolicy Local in ipvs mode, which has a short cut
    for nobody, and masquerades nobody (docs/semantics 13).
    """
    return facts.mode == "ipvs" and met.how != "clusterIP" and is_local(facts, met)


def _has_external(endpoints: PortEndpoints) -> bool:
    return bool(
        endpoints.port.nodePort or external_ips(endpoints.service) or load_balancer_ips(endpoints.service)
    )
