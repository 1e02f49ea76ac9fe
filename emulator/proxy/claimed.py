"""The table ``ip kube-proxy`` of one node as the sum of what its Services claim: keys of sets and maps, and
chains.

Many Services claim the same chain (all with the same policy and as many endpoints share one), and two may
claim one key with different meanings, of which the first has it. So a table remembers how often each is
claimed, and a change of some Services is told from their claims alone. Imports ``plan.rules``. Invariant: the
table after a change is the one that the Services would make anew, or :class:`ContestedError`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar

from emulator.plan.rules import NftSet, NftTable, change_nft, compose_nft, quoted

T = TypeVar("T")

TABLE = "ip kube-proxy"
AFFINITY_CLIENTS = 65535  # that one endpoint's set can remember

# How a packet's key is spelled: by the address that was dialled, or for node ports by protocol and port
# alone.
BY_ADDRESS = "ip daddr . meta l4proto . th dport"
BY_NODE_PORT = "meta l4proto . th dport"
_ENDPOINT = "ip daddr . th dport"
_INDEX = "numgen random mod 2"  # the type of an index, whatever the modulus

# Sets and maps: kind, type, and what it is for.
_VERDICT_BY_ADDRESS = "type ipv4_addr . inet_proto . inet_service : verdict"
_VERDICT_BY_NODE_PORT = "type inet_proto . inet_service : verdict"
_SETS: Mapping[str, tuple[Literal["set", "map"], str, str]] = {
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
# takes no new rule with a map that is there already and whose key has "th dport".) The first letters of its
# name tell which of these it is.
_LISTS: Mapping[bool, tuple[str, str]] = {
    False: (
        f"typeof {BY_ADDRESS} . {_INDEX} : {_ENDPOINT}",
        "endpoints by the address that was dialled and an index",
    ),
    True: (f"typeof {BY_NODE_PORT} . {_INDEX} : {_ENDPOINT}", "endpoints by node port and index"),
}

Claim: TypeAlias = tuple[str, T]  # a key, and what it is to be


class Parts:
    """What Services put into the table, one after the other. Two may claim one key or chain."""

    __slots__ = ("affinity", "chains", "elements")

    def __init__(self) -> None:
        # of each set or map; an element as nft writes it
        self.elements: defaultdict[str, list[Claim[str]]] = defaultdict(list)
        self.chains: list[Claim[Sequence[str]]] = []
        self.affinity: dict[str, int] = {}  # sets that remember clients → seconds

    def extend(self, others: Parts) -> None:
        for where, claims in others.elements.items():
            self.elements[where] += claims
        self.chains += others.chains
        self.affinity |= others.affinity


_CHAINS = ""  # stands for the chains where names of sets do

_Claims: TypeAlias = dict[str, tuple[T, int]]  # key → what it is to be, and how many say so


class Table(NamedTuple):
    """One node's table; ``again``: set, or "" for chains → key → how many more than one claim it."""

    table: NftTable
    again: Mapping[str, Mapping[str, int]]


def _set(name: str, elements: Mapping[str, str]) -> NftSet:
    kind, type_, what = _SETS.get(name) or ("map", *_LISTS[name.startswith("nodeport-")])
    return NftSet(kind, (type_, f"comment {quoted(what)}"), elements)


def _affinity_set(seconds: int) -> NftSet:
    return NftSet(
        "set",
        ("type ipv4_addr", f"size {AFFINITY_CLIENTS}", "flags dynamic,timeout", f"timeout {seconds}s"),
        {},
    )


def _first(claims: Sequence[Claim[T]], again: dict[str, int]) -> dict[str, T]:
    """Each key with what was claimed for it first; ``again`` is told how often it was claimed after that."""
    held = dict(claims)
    if len(held) < len(claims):
        again |= {key: count - 1 for key, count in Counter([key for key, _ in claims]).items() if count > 1}
        first = dict(reversed(claims))
        held |= {key: first[key] for key in again}
    return held


def make_table(
    parts: Parts, frame: Mapping[str, Sequence[str]], node_port_ips: Iterable[IPv4Address]
) -> Table:
    """The table that the frame and all Services make. Where two claim one key, the first has it."""
    again: defaultdict[str, dict[str, int]] = defaultdict(dict)
    sets = {name: _set(name, {}) for name in _SETS}
    sets["nodeport-ips"] = _set("nodeport-ips", {str(ip): str(ip) for ip in node_port_ips})
    sets |= {name: _set(name, _first(claims, again[name])) for name, claims in parts.elements.items()}
    sets |= {name: _affinity_set(seconds) for name, seconds in parts.affinity.items()}
    chains = {**frame, **_first(parts.chains, again[_CHAINS])}
    return Table(
        NftTable(TABLE, "rules for kube-proxy", sets, chains),
        {where: counts for where, counts in again.items() if counts},
    )


class ContestedError(Exception):
    """Several Services claim one key of a map: which of them has it, only the order of all of them tells."""


def _claims(rows: Iterable[Claim[T]]) -> _Claims[T]:
    claims: _Claims[T] = {}
    for key, value in rows:
        first, count = claims.get(key, (value, 0))
        if first != value:
            raise ContestedError
        claims[key] = (value, count + 1)
    return claims


@dataclass(frozen=True, slots=True)
class _Moved(Generic[T]):
    """What becomes of the keys that a change touches: as they were, as they are, and who else claims any key
    now.
    """

    before: dict[str, T]
    after: dict[str, T]
    again: dict[str, int]

    def applied(self, known: Mapping[str, T]) -> dict[str, T]:
        elements = {**known, **self.after}
        for key in self.before.keys() - self.after.keys():
            del elements[key]
        return elements


def _moved(
    known: Mapping[str, T], again: Mapping[str, int], was: _Claims[T], now: _Claims[T], contestable: bool
) -> _Moved[T]:
    """``known`` when the claims ``was`` are given up for ``now``. ``contestable``: claims of others may say
    something else.
    """
    moved: _Moved[T] = _Moved({}, {}, dict(again))
    for key in {**was, **now}:
        if was.get(key) == now.get(key):
            continue
        others = (1 + moved.again.pop(key, 0) if key in known else 0) - (was[key][1] if key in was else 0)
        claims = others + (now[key][1] if key in now else 0)
        if others and contestable:
            raise ContestedError
        if claims > 1:
            moved.again[key] = claims - 1
        if key in known:
            moved.before[key] = known[key]
        if claims:
            moved.after[key] = known[key] if others else now[key][0]
    return moved


def change_table(held: Table, gone: Parts, fresh: Parts) -> tuple[Table, str]:
    """``held`` without ``gone`` and with ``fresh``, and the text that makes the kernel's so. Raises
    :class:`ContestedError`.
    """
    table, again = held.table, dict(held.again)
    chains = _moved(table.chains, again.get(_CHAINS, {}), _claims(gone.chains), _claims(fresh.chains), False)
    again[_CHAINS] = chains.again
    sets, before, after = dict(table.sets), dict[str, NftSet](), dict[str, NftSet]()
    for where in {**gone.elements, **fresh.elements}:
        was, now = (_claims(parts.elements.get(where, ())) for parts in (gone, fresh))
        known = table.sets.get(where) or _set(where, {})
        moved = _moved(known.elements, again.get(where, {}), was, now, known.kind == "map")
        again[where] = moved.again
        elements = moved.applied(known.elements)
        if where in table.sets:
            before[where] = replace(known, elements=moved.before)
        if elements or where in _SETS:
            after[where] = replace(known, elements=moved.after)
            sets[where] = replace(known, elements=elements)
        else:
            del sets[where]
    before |= {name: _affinity_set(seconds) for name, seconds in gone.affinity.items()}
    after |= (remembering := {name: _affinity_set(seconds) for name, seconds in fresh.affinity.items()})
    sets = {name: s for name, s in sets.items() if name not in gone.affinity} | remembering
    now_there = replace(table, sets=sets, chains=chains.applied(table.chains))
    text = change_nft(
        replace(table, sets=before, chains=chains.before), replace(table, sets=after, chains=chains.after)
    )
    again = {where: counts for where, counts in again.items() if counts}
    return Table(now_there, again), compose_nft(now_there) if text is None else text
