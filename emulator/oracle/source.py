"""Decides the source address that an endpoint sees, the client's own or a node's, and the reason.

docs/semantics 5; for ipvs 13. Every case is a row of a table. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from ..model.expectations import SourceRule
from ..model.flows import Client, Flow
from ..model.reasons import Reason, Why
from ..net import Address, Endpoint, is_loopback, localhost
from ..objects.references import node_ref
from .choice import is_local_for_everyone
from .destination import TrafficOrigin, Translation
from .facts import Facts

# a ClusterIP, or an external address under that externalTrafficPolicy
Dialled = Literal["ClusterIP", "Cluster", "Local"]

# masqueraded or not, and the reason
_SOURCE: Mapping[tuple[Dialled, TrafficOrigin], tuple[bool, Why]] = {
    ("ClusterIP", "pod"): (False, Why.CLUSTER_IP_FROM_POD),
    ("ClusterIP", "node"): (True, Why.CLUSTER_IP_FROM_NODE),
    ("ClusterIP", "outside"): (True, Why.CLUSTER_IP_FROM_OUTSIDE),
    ("Cluster", "pod"): (True, Why.CLUSTER_FROM_POD),
    ("Cluster", "node"): (True, Why.CLUSTER_FROM_NODE),
    ("Cluster", "outside"): (True, Why.CLUSTER_FROM_OUTSIDE),
    ("Local", "pod"): (False, Why.LOCAL_FROM_POD),
    ("Local", "node"): (True, Why.LOCAL_FROM_NODE),
    ("Local", "outside"): (False, Why.LOCAL_FROM_OUTSIDE),
}
# the same under externalTrafficPolicy Local where it is for everyone: nothing is masqueraded
_LOCAL_FOR_EVERYONE: Mapping[TrafficOrigin, Why] = {
    "pod": Why.LOCAL_FOR_EVERYONE_FROM_POD,
    "node": Why.LOCAL_FOR_EVERYONE_FROM_NODE,
    "outside": Why.LOCAL_FOR_EVERYONE_FROM_OUTSIDE,
}


def masqueraded(facts: Facts, met: Translation) -> tuple[bool, Why]:
    """Returns whether the flow that ``met`` takes up is masqueraded (hairpin aside), and the reason."""
    if is_local_for_everyone(facts, met):
        return False, _LOCAL_FOR_EVERYONE[met.origin]
    if met.how != "clusterIP":
        return _SOURCE[met.endpoints.service.spec.externalTrafficPolicy, met.origin]
    if facts.state.proxy.masqueradeAll:
        return True, Why.MASQUERADE_ALL
    own = met.origin == "node" and facts.deviates("masquerades a node's own packets")
    if not facts.detector.works and not own:
        return False, Why.NO_LOCAL_DETECTOR
    return _SOURCE["ClusterIP", met.origin]


def translated_source(facts: Facts, client: Client, met: Translation, backend: Endpoint) -> SourceRule:
    """Returns the source rule of ``backend`` for a flow that ``met`` takes up."""
    if facts.semantics.relays:
        return "node"
    if backend.address in facts.node_ips[met.node] and met.origin != "node":
        return "preserved"  # delivered locally: POSTROUTING, where masquerading happens, is not passed
    if (
        client.kind == "pod"
        and client.node == met.node
        and direct_source(facts, client, backend.address) == "node"
    ):
        return "node"  # packets that leave the cluster are masqueraded, whatever the Service
    hairpin = backend.address == client.ip and not comes_from_what_it_dialled(facts, met)
    return "node" if hairpin or masqueraded(facts, met)[0] else "preserved"


def comes_from_what_it_dialled(facts: Facts, met: Translation) -> bool:
    """Returns whether a node's packet has the dialled Service address as source (it is local to each node in
    this mode), and keeps it.
    """
    return met.origin == "node" and not met.own and is_local_for_everyone(facts, met)


def direct_source(facts: Facts, client: Client, ip: str) -> SourceRule:
    """Returns the source rule at ``ip`` where no Service leads there: packets from a Pod out of the cluster
    are masqueraded.
    """
    owner = facts.owners.get(ip)
    leaves = owner is not None and (
        owner.kind == "external" or (owner.kind == "balancer" and not facts.state.is_host(ip))
    )
    return "node" if client.kind == "pod" and leaves else "preserved"


def explain_source(
    facts: Facts, client: Client, met: Translation, rules: Mapping[Endpoint, SourceRule]
) -> Reason:
    """Returns the reason for ``rules``."""
    hidden, why = masqueraded(facts, met)
    reason = Reason(why=why, how=met.how)
    if not hidden and any(b.address == client.ip and rule == "node" for b, rule in rules.items()):
        local = is_local_for_everyone(facts, met)
        hairpin = Reason(why=Why.LOCAL_FOR_EVERYONE_HAIRPIN if local else Why.HAIRPIN)
        reason = hairpin if all(b.address == client.ip for b in rules) else reason.beside(hairpin)
    if hidden and "preserved" in rules.values():
        reason = reason.beside(Reason(why=Why.DELIVERED_LOCALLY, objects=(node_ref(met.node),)))
    return reason


def name_source(rules: Iterable[SourceRule], *, hairpin: bool = False) -> str:
    """Returns the name of ``rules`` in a report; ``hairpin``: they differ since the client itself is among
    the backends. "" where there are no backends.
    """
    kinds = set(rules)
    if len(kinds) < 2:
        return kinds.pop() if kinds else ""
    return "preserved; node on hairpin" if hairpin else "node; preserved on the node itself"


def seen_addresses(facts: Facts, flow: Flow, node: str) -> Mapping[SourceRule, frozenset[str]]:
    """Returns the addresses that satisfy each source rule; "node" is that of ``node``, which translates, ""
    if no node does.
    """
    if facts.has_arp_flux(flow):
        masquerading = frozenset(ip for ips in facts.node_ips.values() for ip in ips)
    else:
        masquerading = facts.node_ips.get(node, frozenset())
    return {"preserved": _own_addresses(facts, flow), "node": masquerading}


def _own_addresses(facts: Facts, flow: Flow) -> frozenset[str]:
    client, ip = flow.client, flow.to.ip
    if is_loopback(ip):
        return frozenset({localhost(Address(ip).family)})
    if client.kind == "node":
        # it dials such an address from that very address
        return frozenset({ip}) if facts.is_local_everywhere(ip) else facts.node_ips[client.node]
    pod = facts.state.pod_by_ip.get(client.ip) if client.kind == "pod" else None
    return frozenset(pod.ips) if pod is not None else frozenset({client.ip})
