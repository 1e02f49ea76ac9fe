"""Defines the table ``ip kube-proxy`` of nftables mode: its sets and maps, and the claims of Services on
them.

Pure: imports ``plan.rules``. Invariant: if two Services claim one key or chain, the first gets it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, TypeVar

from emulator.net import (
    Address,
)
from emulator.plan.checked import quoted
from emulator.plan.nft import NftChain, NftSet, NftTable

T = TypeVar("T")

TABLE = "ip kube-proxy"
AFFINITY_CLIENTS = 65535  # clients at most in the set of one endpoint

# The fields of a packet's key: the dialled address, protocol and port, or for node ports protocol and port
# alone.
BY_ADDRESS = "ip daddr . meta l4proto . th dport"
BY_NODE_PORT = "meta l4proto . th dport"
_ENDPOINT = "ip daddr . th dport"
_INDEX = "numgen random mod 2"  # the type of an index, whatever the modulus

# Sets and maps: kind, type, and purpose.
_VERDICT_BY_ADDRESS = "type ipv4_addr . inet_proto . inet_service : verdict"
_VERDICT_BY_NODE_PORT = "type inet_proto . inet_service : verdict"
SETS: Mapping[str, tuple[Literal["set", "map"], str, str]] = {
    "cluster-ips": ("set", "type ipv4_addr", "the ClusterIP of every Service"),
    "nodeport-ips": ("set", "type ipv4_addr", "addresses of this node that serve node ports"),
    "hairpin-connections": (
        "set",
        "type ipv4_addr . ipv4_addr",
        "an endpoint that its Service leads back to itself",
    ),
    "no-endpoint-services": (
        "map",
        _VERDICT_BY_ADDRESS,
        "nobody to send to: reject; or drop under a Local policy",
    ),
    "no-endpoint-nodeports": ("map", _VERDICT_BY_NODE_PORT, "the same for node ports"),
    "firewall-ips": ("map", _VERDICT_BY_ADDRESS, "load-balancer addresses that some sources may not reach"),
    "service-ips": ("map", _VERDICT_BY_ADDRESS, "ClusterIPs and externalIPs and load-balancer addresses"),
    "service-nodeports": ("map", _VERDICT_BY_NODE_PORT, "node ports"),
}
# Endpoints, in a map for each list of each chain that picks one: it comes and goes with the chain. (nft 1.0.6
# takes no new rule with a map that exists already and whose key has "th dport".) The prefix of its name
# tells its list.
_LISTS: Mapping[bool, tuple[str, str]] = {
    False: (
        f"typeof {BY_ADDRESS} . {_INDEX} : {_ENDPOINT}",
        "endpoints by the address that was dialled and an index",
    ),
    True: (f"typeof {BY_NODE_PORT} . {_INDEX} : {_ENDPOINT}", "endpoints by node port and index"),
}

Claim: TypeAlias = tuple[str, T]  # a key, and its value


class Parts:
    """Holds the claims of Services on the table, one after the other."""

    __slots__ = ("affinity", "chains", "elements")

    def __init__(self) -> None:
        # by set or map; an element as nft writes it
        self.elements: defaultdict[str, list[Claim[str]]] = defaultdict(list)
        self.chains: list[Claim[NftChain]] = []
        self.affinity: dict[str, int] = {}  # sets that remember clients → seconds

    def extend(self, others: Parts) -> None:
        for where, claims in others.elements.items():
            self.elements[where] += claims
        self.chains += others.chains
        self.affinity |= others.affinity


def declare(name: str, elements: Mapping[str, str]) -> NftSet:
    kind, type_, what = SETS.get(name) or ("map", *_LISTS[name.startswith("nodeport-")])
    return NftSet(kind, (type_, f"comment {quoted(what)}"), elements)


def declare_affinity(seconds: int) -> NftSet:
    return NftSet(
        "set",
        ("type ipv4_addr", f"size {AFFINITY_CLIENTS}", "flags dynamic,timeout", f"timeout {seconds}s"),
        {},
    )


def make_table(parts: Parts, frame: Mapping[str, NftChain], node_port_ips: Iterable[Address]) -> NftTable:
    """Returns the table of the frame and of what all Services claim, one claim after the other."""
    sets = {name: declare(name, {}) for name in SETS}
    sets["nodeport-ips"] = declare("nodeport-ips", {str(ip): str(ip) for ip in node_port_ips})
    sets |= {name: declare(name, first_of(claims)) for name, claims in parts.elements.items()}
    sets |= {name: declare_affinity(seconds) for name, seconds in parts.affinity.items()}
    return NftTable(TABLE, "rules for kube-proxy", sets, {**frame, **first_of(parts.chains)})


def first_of(claims: Iterable[Claim[T]]) -> dict[str, T]:
    """Returns each key with its first claim."""
    held: dict[str, T] = {}
    for key, value in claims:
        held.setdefault(key, value)
    return held
