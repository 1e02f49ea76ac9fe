"""Counts how often each key and chain of a node's table ``kube-proxy`` is claimed, so that the table can
change.

Many Services claim the same chain (all with the same policy and as many endpoints share one), and two may
claim one key with different values, of which the first counts. So a table keeps the number of claims for
each, and a change of some Services is computed from their claims alone. Pure. Invariant: the table after a
change is the one that all Services would make together, or :class:`ContestedError`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from ...net import Address
from ...plan.nft import NftChain, NftChange, NftSet, NftTable, compare_tables
from ..nfttable import CHAINS, Claim, Parts

T = TypeVar("T")

_Claims: TypeAlias = dict[str, tuple[T, int]]  # key → its value, and how many claims have it


class Table(NamedTuple):
    """Holds one node's table; ``again``: set, or "" for chains → key → how many further claims it has."""

    table: NftTable
    again: Mapping[str, Mapping[str, int]]


def _first(claims: Sequence[Claim[T]], again: dict[str, int]) -> dict[str, T]:
    """Returns each key with its first claim; adds the number of its further claims to ``again``."""
    held = dict(claims)
    if len(held) < len(claims):
        again |= {key: count - 1 for key, count in Counter([key for key, _ in claims]).items() if count > 1}
        first = dict(reversed(claims))
        held |= {key: first[key] for key in again}
    return held


def count_claims(parts: Parts, frame: Mapping[str, NftChain], node_port_ips: Iterable[Address]) -> Table:
    """Returns the table that the frame and all Services make, with how often each key is claimed."""
    again: defaultdict[str, dict[str, int]] = defaultdict(dict)
    words = parts.words
    sets = {name: words.declare(name, {}) for name in words.sets}
    sets["nodeport-ips"] = words.declare("nodeport-ips", {ip: ip for ip in node_port_ips})
    sets |= {
        name: words.declare(name, _first(claims, again[name])) for name, claims in parts.elements.items()
    }
    sets |= {name: words.declare_affinity(seconds) for name, seconds in parts.affinity.items()}
    chains = {**frame, **_first(parts.chains, again[CHAINS])}
    return Table(
        words.make_table(sets, chains),
        {where: counts for where, counts in again.items() if counts},
    )


class ContestedError(Exception):
    """Reports that several Services claim one key of a map: only the order of all of them decides which
    counts.
    """


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
    """Holds the keys that a change touches: as they were, as they are, and the number of further
    claims now.
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
    """Returns ``known`` when the claims ``now`` replace ``was``. ``contestable``: other claims may have
    another value.
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


def change_table(held: Table, gone: Parts, fresh: Parts) -> tuple[Table, NftChange | NftTable]:
    """Returns ``held`` without ``gone`` and with ``fresh``, and what makes the kernel's so: a change, or the
    table where it must be loaded anew. Raises :class:`ContestedError`.
    """
    table, again, words = held.table, dict(held.again), fresh.words
    chains = _moved(table.chains, again.get(CHAINS, {}), _claims(gone.chains), _claims(fresh.chains), False)
    again[CHAINS] = chains.again
    sets, before, after = dict(table.sets), dict[str, NftSet](), dict[str, NftSet]()
    for where in {**gone.elements, **fresh.elements}:
        was, now = (_claims(parts.elements.get(where, ())) for parts in (gone, fresh))
        known = table.sets.get(where) or words.declare(where, {})
        moved = _moved(known.elements, again.get(where, {}), was, now, known.kind == "map")
        again[where] = moved.again
        elements = moved.applied(known.elements)
        if where in table.sets:
            before[where] = replace(known, elements=moved.before)
        if elements or where in words.sets:
            after[where] = replace(known, elements=moved.after)
            sets[where] = replace(known, elements=elements)
        else:
            del sets[where]
    before |= {name: words.declare_affinity(seconds) for name, seconds in gone.affinity.items()}
    after |= (
        remembering := {name: words.declare_affinity(seconds) for name, seconds in fresh.affinity.items()}
    )
    sets = {name: s for name, s in sets.items() if name not in gone.affinity} | remembering
    now_there = replace(table, sets=sets, chains=chains.applied(table.chains))
    change = compare_tables(
        replace(table, sets=before, chains=chains.before), replace(table, sets=after, chains=chains.after)
    )
    again = {where: counts for where, counts in again.items() if counts}
    return Table(now_there, again), now_there if change is None else change
