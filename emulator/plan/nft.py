"""Holds tables of nftables as values, and changes of them.

A change names only what differs. It is rendered where it is loaded or shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .checked import quoted


@dataclass(frozen=True, slots=True)
class NftSet:
    """Describes a set or map of nftables. ``elements``: key → the element as nft writes it (key, comment,
    value).
    """

    kind: Literal["set", "map"]
    declaration: tuple[str, ...]
    elements: Mapping[str, str]


class NftChain(NamedTuple):
    """Describes a chain of nftables. ``hook`` declares the hook of a base chain. ``maps`` are those that its
    rules read, beside verdicts.
    """

    rules: tuple[str, ...]
    hook: str = ""
    maps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NftTable:
    """Describes a table of nftables that has one owner. ``name`` includes its family."""

    name: str
    comment: str
    sets: Mapping[str, NftSet]
    chains: Mapping[str, NftChain]

    @property
    def text(self) -> str:
        """Returns the text for one ``nft -f -`` that makes the table hold exactly this: it is deleted and
        written again in one transaction.
        """
        return "".join(
            (
                f"add table {self.name}\ndelete table {self.name}\n",
                f"table {self.name} {{\n\tcomment {quoted(self.comment)}\n",
                *(
                    _block(f"{s.kind} {name}", (*s.declaration, *_elements(s)))
                    for name, s in self.sets.items()
                ),
                *(
                    _block(f"chain {name}", (chain.hook, *chain.rules) if chain.hook else chain.rules)
                    for name, chain in self.chains.items()
                ),
                "}\n",
            )
        )

    def pieces(self, most: int) -> Iterator[str]:
        """Yields texts of some ``most`` characters that make the same table one after the other, each in a
        transaction of its own: the hooks come last, so that no packet meets an unfinished table.
        """
        piece, length = list[str](), 0
        for lines in self._units(most):
            size = sum(len(line) + 1 for line in lines)
            if piece and length + size > most:
                yield "".join(piece)
                piece, length = [], 0
            piece += (f"{line}\n" for line in lines)
            length += size
        yield "".join(piece)

    def _units(self, most: int) -> Iterator[Sequence[str]]:
        """Yields the lines that must stay in one piece: what is referred to is there before.

        A map is declared with the rules that read it (see :func:`compare_tables`).
        """
        name, plain = self.name, {chain: c for chain, c in self.chains.items() if not c.hook}
        yield (
            f"add table {name}",
            f"delete table {name}",
            f"add table {name} {{ comment {quoted(self.comment)}; }}",
        )
        yield from ((f"add chain {name} {chain}",) for chain in plain)
        read = {where for c in plain.values() for where in c.maps}
        yield from ((_declaration(name, where, s),) for where, s in self.sets.items() if where not in read)
        for maps, chains in _readers(plain):
            yield (
                *(_declaration(name, where, self.sets[where]) for where in maps),
                *(f"add rule {name} {chain} {rule}" for chain in chains for rule in self.chains[chain].rules),
            )
        for where, s in self.sets.items():
            for elements in _chunks(list(s.elements.values()), most):
                yield (f"add element {name} {where} {{ {', '.join(elements)} }}",)
        for chain, c in plain.items():
            yield from ((f"add rule {name} {chain} {rule}",) for rule in c.rules if not c.maps)
        for chain, c in self.chains.items():
            if c.hook:
                rules = (f"add rule {name} {chain} {rule}" for rule in c.rules)
                yield f"add chain {name} {chain} {{ {c.hook} }}", *rules


def _readers(chains: Mapping[str, NftChain]) -> Sequence[tuple[set[str], set[str]]]:
    """Returns the maps that rules of ``chains`` read, with the chains that read them: those that have a map
    in common together.
    """
    groups = list[tuple[set[str], set[str]]]()
    for name, chain in chains.items():
        if chain.maps:
            met = [group for group in groups if not group[0].isdisjoint(chain.maps)]
            groups = [group for group in groups if group not in met]
            maps = set(chain.maps).union(*(group[0] for group in met))
            groups.append((maps, {name}.union(*(group[1] for group in met))))
    return groups


def _chunks(texts: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """Yields ``texts`` in their order, some ``most`` characters at once."""
    chunk, length = list[str](), 0
    for text in texts:
        if chunk and length + len(text) > most // 2:
            yield chunk
            chunk, length = [], 0
        chunk.append(text)
        length += len(text)
    if chunk:
        yield chunk


def _declaration(table: str, where: str, nft_set: NftSet) -> str:
    return f"add {nft_set.kind} {table} {where} {{ {'; '.join(nft_set.declaration)}; }}"


def _elements(nft_set: NftSet) -> Iterable[str]:
    if nft_set.elements:
        yield "elements = {\n\t\t\t" + ",\n\t\t\t".join(nft_set.elements.values()) + " }"


def _block(head: str, lines: Iterable[str]) -> str:
    return "".join((f"\t{head} {{\n", *(f"\t\t{line}\n" for line in lines), "\t}\n"))


@dataclass(frozen=True, slots=True, kw_only=True)
class NftChange:
    """Describes a change of the table ``name``, element by element.

    ``sets`` and ``chains`` come, ``gone_sets`` and ``gone_chains`` go. ``removed`` and ``added``: set → keys,
    or elements as nft writes them. ``flushed`` chains lose their rules, ``filled`` get some.
    """

    name: str
    sets: Mapping[str, NftSet]
    chains: Sequence[str]
    removed: Mapping[str, Sequence[str]]
    flushed: Sequence[str]
    filled: Mapping[str, NftChain]
    added: Mapping[str, Sequence[str]]
    gone_chains: Sequence[str]
    gone_sets: Mapping[str, NftSet]

    def __bool__(self) -> bool:
        parts = (self.sets, self.chains, self.removed, self.flushed, self.filled, self.added)
        return any(parts) or bool(self.gone_chains or self.gone_sets)

    @property
    def text(self) -> str:
        """Returns the text for one ``nft -f -``."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        """Yields the lines: what is referred to is there before, and goes after."""
        name = self.name
        for where, s in self.sets.items():
            yield _declaration(name, where, s)
        for chain in self.chains:
            yield f"add chain {name} {chain}"
        for where, keys in self.removed.items():
            yield f"delete element {name} {where} {{ {', '.join(keys)} }}"
        for chain in self.flushed:
            yield f"flush chain {name} {chain}"
        for chain, filling in self.filled.items():
            for rule in filling.rules:
                yield f"add rule {name} {chain} {rule}"
        for where, elements in self.added.items():
            yield f"add element {name} {where} {{ {', '.join(elements)} }}"
        for chain in self.gone_chains:
            yield f"delete chain {name} {chain}"
        for where, s in self.gone_sets.items():
            yield f"delete {s.kind} {name} {where}"


@dataclass(frozen=True, slots=True)
class NftRemoval:
    """Deletes the table ``name``."""

    name: str

    @property
    def text(self) -> str:
        """Returns the text for one ``nft -f -``."""
        return f"delete table {self.name}\n"


def compare_tables(old: NftTable, new: NftTable) -> NftChange | None:
    """Returns the change that turns ``old`` into ``new``, element by element; None if the table must be
    loaded again as a whole.

    Session affinity (the sets that remember an endpoint's clients) survives for the endpoints that stay.
    ``old`` and ``new`` may leave out what they have in common. The table must be loaded again if the
    declaration of a set or the hook of a chain changes, and for a new rule with a map that exists already:
    nft 1.0.6 takes none whose key has "th dport" and is not declared in the same load ("conflicting protocols
    specified: tcp vs. th").
    """
    if _frame(old, new) != _frame(new, old) or old.name != new.name:
        return None
    filled = {name: chain for name, chain in new.chains.items() if old.chains.get(name) != chain}
    if any(where in old.sets for chain in filled.values() for where in chain.maps):
        return None
    removed, added = dict[str, Sequence[str]](), dict[str, Sequence[str]]()
    for name, s in new.sets.items():
        before = old.sets[name].elements if name in old.sets else {}
        if gone := [key for key, element in before.items() if s.elements.get(key) != element]:
            removed[name] = gone
        if fresh := [element for key, element in s.elements.items() if before.get(key) != element]:
            added[name] = fresh
    vanished = [name for name in old.chains if name not in new.chains]
    return NftChange(
        name=new.name,
        sets={name: s for name, s in new.sets.items() if name not in old.sets},
        chains=[name for name in new.chains if name not in old.chains],
        removed=removed,
        flushed=[*(name for name in filled if name in old.chains and old.chains[name].rules), *vanished],
        filled={name: chain for name, chain in filled.items() if chain.rules},
        added=added,
        gone_chains=vanished,
        gone_sets={name: s for name, s in old.sets.items() if name not in new.sets},
    )


def _frame(table: NftTable, other: NftTable) -> tuple[object, ...]:
    """Returns what of ``table`` cannot be changed piece by piece: base chains, and the declarations of sets
    that ``other`` has, too.
    """
    hooked = {name: chain for name, chain in table.chains.items() if chain.hook}
    return hooked, {name: (s.kind, s.declaration) for name, s in table.sets.items() if name in other.sets}
