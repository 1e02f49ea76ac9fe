"""Whose address a backend sees: the client's own or a node's, the sentence that says so, and which addresses
those are.

docs/semantics 5; for ipvs 13. Every case is a row of a table. Pure; imports ``objects`` and the pure modules
of ``probe``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from emulator.model.expectations import SourceRule
from emulator.model.flows import Client, Flow
from emulator.model.frames import Backend
from emulator.oracle.choice import is_local_for_everyone
from emulator.oracle.destination import Origin, Translation
from emulator.oracle.facts import Facts
from emulator.oracle.parties import ServiceAddress

# a ClusterIP, or an external address under that externalTrafficPolicy
Dialled = Literal["ClusterIP", "Cluster", "Local"]

HOW: Mapping[ServiceAddress, str] = {
    "clusterIP": "ClusterIP",
    "nodePort": "NodePort",
    "externalIP": "externalIP",
    "loadBalancer": "load-balancer IP",
}
# Masqueraded or not, and the sentence. {how} is the kind of address dialled.
_SOURCE: Mapping[tuple[Dialled, Origin], tuple[bool, str]] = {
    ("ClusterIP", "pod"): (False, "ClusterIP from a Pod: the client's own address"),
    ("ClusterIP", "node"): (True, "ClusterIP from a node: masqueraded to the node's address"),
    ("ClusterIP", "outside"): (True, "ClusterIP from outside the cluster: masqueraded to the node's address"),
    ("Cluster", "pod"): (
        True,
        "{how} under externalTrafficPolicy Cluster from a Pod: masqueraded to the node's address",
    ),
    ("Cluster", "node"): (
        True,
        "{how} under externalTrafficPolicy Cluster from the node: masqueraded to its address",
    ),
    ("Cluster", "outside"): (
        True,
        "{how} under externalTrafficPolicy Cluster from outside: masqueraded to the node's address",
    ),
    ("Local", "pod"): (
        False,
        "{how} under externalTrafficPolicy Local from a Pod: any endpoint, the client's own address",
    ),
    ("Local", "node"): (
        True,
        "{how} under externalTrafficPolicy Local from the node: any endpoint, masqueraded to its address",
    ),
    ("Local", "outside"): (
        False,
        "{how} under externalTrafficPolicy Local from outside: its own endpoints, the client's own address",
    ),
}
# The same under externalTrafficPolicy Local where it is for everyone: nobody is masqueraded.
_LOCAL_FOR_EVERYONE: Mapping[Origin, str] = {
    "pod": "{how} under externalTrafficPolicy Local from a Pod: the node's own endpoints, the client's own address",
    "node": "{how} under externalTrafficPolicy Local from the node: its own endpoints, the address that it dialled",
    "outside": _SOURCE["Local", "outside"][1],
}


def masqueraded(facts: Facts, met: Translation) -> tuple[bool, str]:
    """Whether what ``met`` says is masqueraded (hairpin aside), and the sentence that says so."""
    if is_local_for_everyone(facts, met):
        return False, _LOCAL_FOR_EVERYONE[met.origin].format(how=HOW[met.how])
    if met.how != "clusterIP":
        does, because = _SOURCE[met.endpoints.service.spec.externalTrafficPolicy, met.origin]
        return does, because.format(how=HOW[met.how])
    if facts.state.proxy.masqueradeAll:
        return True, "ClusterIP under masqueradeAll: masqueraded to the node's address"
    own = met.origin == "node" and facts.deviates("masquerades a node's own packets")
    if not facts.detector.works and not own:
        return False, "ClusterIP without a local-traffic detector: the client's own address"
    return _SOURCE["ClusterIP", met.origin]


def translated_source(facts: Facts, client: Client, met: Translation, backend: Backend) -> SourceRule:
    """Whose address ``backend`` sees of a flow that ``met`` takes up."""
    if facts.semantics.relays:
        return "node"
    if backend.ip in facts.node_ips[met.node] and met.origin != "node":
        return "preserved"  # delivered locally: POSTROUTING, where masquerading happens, is not passed
    if (
        client.kind == "pod"
        and client.node == met.node
        and direct_source(facts, client, backend.ip) == "node"
    ):
        return "node"  # what leaves the cluster: masqueraded whatever the Service says
    hairpin = backend.ip == client.ip and not comes_from_what_it_dialled(facts, met)
    return "node" if hairpin or masqueraded(facts, met)[0] else "preserved"


def comes_from_what_it_dialled(facts: Facts, met: Translation) -> bool:
    """Returns whether a node's own packets have the address that they go to as their source, and keep it: a
    Service's, which is local to every node (docs/semantics 13).
    """
    return met.origin == "node" and not met.own and is_local_for_everyone(facts, met)


def direct_source(facts: Facts, client: Client, ip: str) -> SourceRule:
    """Whose address is seen at ``ip`` by whom no Service leads there: what a Pod sends out of the cluster is
    masqueraded.
    """
    owner = facts.owners.get(ip)
    leaves = owner is not None and (
        owner.kind == "external" or (owner.kind == "balancer" and not facts.state.is_host(ip))
    )
    return "node" if client.kind == "pod" and leaves else "preserved"


def say_source(facts: Facts, client: Client, met: Translation, rules: Mapping[Backend, SourceRule]) -> str:
    """The sentences of the semantics behind ``rules``."""
    hidden, because = masqueraded(facts, met)
    if not hidden and any(b.ip == client.ip and rule == "node" for b, rule in rules.items()):
        hairpin = "hairpin, the backend is the client itself: masqueraded to the node's address"
        because = hairpin if all(b.ip == client.ip for b in rules) else f"{because}; {hairpin}"
    because += " (docs/semantics 13)" if is_local_for_everyone(facts, met) else " (docs/semantics 5)"
    if hidden and "preserved" in rules.values():
        because += (
            f"; an endpoint on {met.node}'s own address is delivered locally, which nothing masquerades"
        )
    return because


def name_source(rules: Iterable[SourceRule], *, hairpin: bool = False) -> str:
    """What a report calls it; ``hairpin``: that the client itself is among the backends is why they differ."""
    kinds = set(rules)
    if len(kinds) == 1:
        return kinds.pop()
    return "preserved; node on hairpin" if hairpin else "node; preserved on the node itself"


def seen_addresses(facts: Facts, flow: Flow, node: str) -> Mapping[SourceRule, frozenset[str]]:
    """The addresses that satisfy each source rule; "node" is that of ``node``, which translates, "" if no
    node does.
    """
    if facts.is_contended(flow):
        masquerading = frozenset(ip for ips in facts.node_ips.values() for ip in ips)
    else:
        masquerading = facts.node_ips.get(node, frozenset())
    return {"preserved": _own_addresses(facts, flow), "node": masquerading}


def _own_addresses(facts: Facts, flow: Flow) -> frozenset[str]:
    client, ip = flow.client, flow.to.ip
    if ip.startswith("127."):
        return frozenset({"127.0.0.1"})
    if client.kind == "node":
        # it dials such an address from that very address
        return frozenset({ip}) if facts.is_local_everywhere(ip) else facts.node_ips[client.node]
    pod = facts.state.pod_by_ip.get(client.ip) if client.kind == "pod" else None
    return frozenset(a.ip for a in pod.status.podIPs) if pod is not None else frozenset({client.ip})
