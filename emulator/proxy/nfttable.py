"""Defines the table ``kube-proxy`` of nftables mode: its sets and maps, and the claims of Services on them.

Pure. Invariant: if two Services claim one key or chain, the first gets it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal, TypeAlias, TypeVar

from ..net import Address, Family
from ..objects.references import ObjectRef
from ..plan.checked import quoted
from ..plan.nft import NftChain, NftSet, NftTable
from ..plan.origins import UNASKED

T = TypeVar("T")

AFFINITY_CLIENTS = 65535  # clients at most in the set of one endpoint

# How the key of a packet to a node port is spelled: the same in both families.
BY_NODE_PORT = "meta l4proto . th dport"
_INDEX = "numgen random mod 2"  # the type of an index, whatever the modulus
_VERDICT_BY_NODE_PORT = "type inet_proto . inet_service : verdict"

Declaration: TypeAlias = tuple[Literal["set", "map"], str, str]  # kind, type, and purpose


class Words:
    """Spells one address family for nft. ``sets`` are the declarations of the sets and maps that are always
    there, ``lists`` those of the maps of endpoints, by address and by node port.

    Endpoints are in a map for each list of each chain that picks one: it comes and goes with the chain. (nft
    1.0.6 takes no new rule with a map that is there already and whose key has "th dport".)
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self.table = f"{family.nft} kube-proxy"
        self.source, self.destination = f"{family.nft} saddr", f"{family.nft} daddr"
        self.by_address = f"{self.destination} . meta l4proto . th dport"
        self.translate = f"dnat {family.nft} to"
        endpoint = f"{self.destination} . th dport"
        self.lists: Mapping[bool, Declaration] = {
            False: (
                "map",
                f"typeof {self.by_address} . {_INDEX} : {endpoint}",
                "endpoints by the address that was dialled and an index",
            ),
            True: (
                "map",
                f"typeof {BY_NODE_PORT} . {_INDEX} : {endpoint}",
                "endpoints by node port and index",
            ),
        }
        address = f"type {family.nft_type}"
        by_address = f"{address} . inet_proto . inet_service : verdict"
        self.sets: Mapping[str, Declaration] = {
            "cluster-ips": ("set", address, "the ClusterIP of every Service"),
            "nodeport-ips": ("set", address, "addresses of this node that serve node ports"),
            "hairpin-connections": (
                "set",
                f"{address} . {family.nft_type}",
                "an endpoint that its Service leads back to itself",
            ),
            "no-endpoint-services": (
                "map",
                by_address,
                "nobody to send to: reject; or drop under a Local policy",
            ),
            "no-endpoint-nodeports": ("map", _VERDICT_BY_NODE_PORT, "the same for node ports"),
            "firewall-ips": ("map", by_address, "load-balancer addresses that some sources may not reach"),
            "service-ips": ("map", by_address, "ClusterIPs and externalIPs and load-balancer addresses"),
            "service-nodeports": ("map", _VERDICT_BY_NODE_PORT, "node ports"),
        }

    def declare(self, name: str, elements: Mapping[str, str]) -> NftSet:
        """Returns the set or map ``name``: the first letters of a map of endpoints tell which kind it is."""
        kind, type_, what = self.sets.get(name) or self.lists[name.startswith("nodeport-")]
        return NftSet(kind, (type_, f"comment {quoted(what)}"), elements)

    def declare_affinity(self, seconds: int) -> NftSet:
        """Returns a set that remembers clients for ``seconds``."""
        flags, timeout = "flags dynamic,timeout", f"timeout {seconds}s"
        return NftSet("set", (f"type {self.family.nft_type}", f"size {AFFINITY_CLIENTS}", flags, timeout), {})

    def make_table(self, sets: Mapping[str, NftSet], chains: Mapping[str, NftChain]) -> NftTable:
        """Returns kube-proxy's table."""
        return NftTable(self.table, "rules for kube-proxy", sets, chains)


@cache
def words_of(family: Family) -> Words:
    """Returns how nft spells ``family``."""
    return Words(family)


CHAINS = ""  # the key for chains, among the names of sets

Claim: TypeAlias = tuple[str, T]  # a key, and its value


class Parts:
    """Holds the claims of Services on the table, one after the other."""

    __slots__ = ("affinity", "causes", "chains", "elements", "origins", "words")

    def __init__(self, words: Words) -> None:
        self.words = words
        self.origins = UNASKED  # those of the Service that claims next
        # set or map ("" for chains), key → the origin of the first claim
        self.causes: dict[tuple[str, str], ObjectRef] = {}
        # by set or map; an element as nft writes it
        self.elements: defaultdict[str, list[Claim[str]]] = defaultdict(list)
        self.chains: list[Claim[NftChain]] = []
        self.affinity: dict[str, int] = {}  # sets that remember clients → seconds

    def claim(self, where: str, key: str, element: str, origin: ObjectRef | None) -> None:
        """Adds an element of the set or map ``where``."""
        self.elements[where].append((key, element))
        if origin:
            self.causes.setdefault((where, key), origin)

    def claim_chain(self, name: str, chain: NftChain, origin: ObjectRef | None) -> None:
        """Adds a chain."""
        self.chains.append((name, chain))
        if origin:
            self.causes.setdefault((CHAINS, name), origin)

    def extend(self, others: Parts) -> None:
        for where, claims in others.elements.items():
            self.elements[where] += claims
        self.chains += others.chains
        self.affinity |= others.affinity


def make_table(parts: Parts, frame: Mapping[str, NftChain], node_port_ips: Iterable[Address]) -> NftTable:
    """Returns the table of the frame and of what all Services claim, one claim after the other."""
    words = parts.words
    sets = {name: words.declare(name, {}) for name in words.sets}
    sets["nodeport-ips"] = words.declare("nodeport-ips", {ip: ip for ip in node_port_ips})
    sets |= {name: words.declare(name, first_of(claims)) for name, claims in parts.elements.items()}
    sets |= {name: words.declare_affinity(seconds) for name, seconds in parts.affinity.items()}
    return words.make_table(sets, {**frame, **first_of(parts.chains)})


def first_of(claims: Iterable[Claim[T]]) -> dict[str, T]:
    """Returns each key with its first claim."""
    held: dict[str, T] = {}
    for key, value in claims:
        held.setdefault(key, value)
    return held
