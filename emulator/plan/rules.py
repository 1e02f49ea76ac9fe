"""Rule sets as values: what one node's netfilter tables hold, and the texts that load it.

Rules are kept as ``iptables-save`` prints them, without the leading ``-A CHAIN``, so that a rule set can be
compared with what a kernel holds and one chain at a time with another rule set. Imports only
``emulator.errors``. Invariant: text that came from outside enters a rule through :func:`quoted`,
:func:`comment`, :func:`identifier`, :func:`address`, :func:`network` or :func:`number`, so no object's field
can become rule syntax.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from emulator.errors import PodwireError
from emulator.net import (
    IPV4,
    Address,
    AddressError,
    Family,
    Prefix,
)

# The built-in chains of each table, in the order of the kernel's hooks (net/ipv4/netfilter/iptable_*.c).
BUILTIN: Mapping[str, tuple[str, ...]] = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}

RuleTool: TypeAlias = Literal["iptables-restore", "nft"]

_COMMENT = re.compile(r"[A-Za-z0-9 ;:./>_-]{1,255}")  # XT_MAX_COMMENT_LEN is 256 with the closing NUL
# NFT_NAME_MAXLEN is 256: this leaves room for a kind's name before it
_IDENTIFIER = re.compile(r"[A-Za-z0-9_./-]{1,240}")

_LOOKUP = re.compile(r" map @(\S+)")


class UnsafeTextError(PodwireError):
    """A value that must not become part of a rule or a command: it could be read as syntax. Loading normally
    refuses it first.
    """

    def __init__(self, what: str, value: object) -> None:
        super().__init__(f"not a safe {what}: {value!r}")


def quoted(text: str) -> str:
    """``"text"``. Raises :class:`UnsafeTextError` for anything that would need escaping."""
    if not _COMMENT.fullmatch(text):
        raise UnsafeTextError("rule comment", text)
    return f'"{text}"'


def comment(text: str) -> str:
    """``-m comment --comment "text"``. Raises :class:`UnsafeTextError` for anything that would need escaping."""
    return f"-m comment --comment {quoted(text)}"


def identifier(text: str) -> str:
    """``text`` as (the end of) a name of a set or chain, which nft takes without quotes. Raises
    :class:`UnsafeTextError`.
    """
    if not _IDENTIFIER.fullmatch(text):
        raise UnsafeTextError("name", text)
    return text


def address(text: str, family: Family = IPV4) -> Address:
    """Returns ``text`` as an address of ``family``. Raises :class:`UnsafeTextError`."""
    try:
        found = Address(text)
    except AddressError:
        raise UnsafeTextError(f"{family} address", text) from None
    if found.family is not family:
        raise UnsafeTextError(f"{family} address", text)
    return found


def network(text: str, family: Family = IPV4) -> Prefix:
    """Returns ``text`` as a prefix of ``family``: blanks around it and host bits are dropped. Raises
    :class:`UnsafeTextError`.
    """
    try:
        prefix = Prefix(text.strip())
    except AddressError:
        raise UnsafeTextError(f"{family} prefix", text) from None
    if prefix.family is not family:
        raise UnsafeTextError(f"{family} prefix", text)
    return prefix


def number(value: int) -> int:
    """``value`` if it really is an integer that iptables would take: what a typed field promises, but does
    not enforce.
    """
    if type(value) is not int or not 0 <= value < 2**31:
        raise UnsafeTextError("number", value)
    return value


@dataclass(frozen=True, slots=True)
class NftSet:
    """A set or map of nftables. ``elements``: key → the element as nft writes it (key, comment, value)."""

    kind: Literal["set", "map"]
    declaration: tuple[str, ...]
    elements: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NftTable:
    """A table of nftables that has one owner. ``name`` with its family; a base chain's first line says where
    it is hooked in.
    """

    name: str
    comment: str
    sets: Mapping[str, NftSet]
    chains: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """``tables``: table → chain → that chain's rules in order. A chain without rules is declared all the
    same.

    ``nft`` is the text for one ``nft -f -`` that holds a table of the owner's own, which no other owner
    touches; ``table`` is that table.
    """

    tables: Mapping[str, Mapping[str, tuple[str, ...]]]
    nft: str = ""
    table: NftTable | None = None


def merge(*rulesets: RuleSet) -> RuleSet:
    """One rule set out of several owners' ones.

    The rules of a built-in chain follow each other in the order of ``rulesets``; any other chain has one
    owner, and a second one raises ``ValueError``.
    """
    tables: dict[str, dict[str, tuple[str, ...]]] = {}
    for ruleset in rulesets:
        for table, chains in ruleset.tables.items():
            known = tables.get(table, {})
            both = known.keys() & chains.keys()
            if foreign := sorted(both.difference(BUILTIN[table])):
                raise ValueError(f"two rule sets define chain {foreign[0]} of table {table}")
            tables[table] = {**known, **chains, **{chain: known[chain] + chains[chain] for chain in both}}
    return RuleSet(tables)


def compose(*rulesets: RuleSet) -> str:
    """The text for one ``iptables-restore --noflush`` that makes the tables hold exactly these rules in these
    chains.

    Loading it twice is loading it once: with ``--noflush`` a declared chain is emptied unless it is built in
    (iptables 1.8.9, legacy and nf_tables alike), so each built-in chain gets a ``-F`` of its own.

    Two things are for the sake of speed (measured with iptables 1.8.9 and 10,000 Services). ``-Z``, of
    counters that are zero anyway, is the one harmless command that names no chain: behind it
    iptables-nft-restore asks for all chains once, instead of looking each line's chain up in a sorted list;
    it loads in 2 s, not 20 (80 with chains unsorted). And chains come in the order of ``rulesets``, a
    Service's one after the other, as packets pass them: so they lie in memory, and for each later change the
    kernel follows every jump, in 45 ms instead of 80.
    """
    lines: list[str] = []
    tables = merge(*rulesets).tables
    for table, builtin in BUILTIN.items():
        if table not in tables:
            continue
        chains = tables[table]
        own = [chain for chain in chains if chain not in builtin]
        lines += [f"*{table}", "-Z"]
        lines += [f":{chain} ACCEPT [0:0]" for chain in builtin]
        lines += [f":{chain} - [0:0]" for chain in own]
        lines += [f"-F {chain}" for chain in builtin]
        for chain in (*builtin, *own):
            prefix = f"-A {chain} "
            lines += [prefix + rule for rule in chains.get(chain, ())]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def compose_change(old: RuleSet, new: RuleSet) -> str:
    """The text for one ``iptables-restore --noflush`` that turns tables that hold ``old`` into ``new``; ""
    when they are equal.

    Only what differs is named, so it costs what changed. A chain of which little changed is edited: one
    Service is a line of KUBE-SERVICES, which has a line for each of them. Chains that vanish are emptied
    before they are deleted (they refer to each other).
    """
    lines: list[str] = []
    for table, builtin in BUILTIN.items():
        if table not in old.tables and table in new.tables:
            lines += compose(RuleSet({table: new.tables[table]})).splitlines()
            continue
        before, after = old.tables.get(table, {}), new.tables.get(table, {})
        vanished = sorted(chain for chain in before if chain not in after and chain not in builtin)
        declared: list[str] = []
        edits: list[str] = []
        for chain in (*builtin, *sorted(chain for chain in after if chain not in builtin)):
            was, rules = before.get(chain, ()), after.get(chain, ())
            if chain not in before and chain not in builtin:
                edit = None
            elif was == rules:
                continue
            else:
                edit = _edit(chain, was, rules)
            if edit is not None:
                edits += edit
                continue
            declared.append(f"-F {chain}" if chain in builtin else f":{chain} - [0:0]")
            edits += [f"-A {chain} {rule}" for rule in rules]
        if vanished or declared or edits:
            # every chain is declared before a rule leads to it
            declared.sort(key=lambda line: line.startswith("-"))
            emptied = [f"-F {chain}" for chain in vanished if before[chain]]
            lines += [
                f"*{table}",
                *declared,
                *edits,
                *emptied,
                *(f"-X {chain}" for chain in vanished),
                "COMMIT",
            ]
    return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes from one table. ``rules``: chain → rules; ``emptied``: the chains of which no rule stays;
    ``chains`` go themselves.
    """

    table: str
    rules: Mapping[str, Sequence[str]]
    emptied: Sequence[str]
    chains: Sequence[str]


def removals(text: str) -> tuple[Removal, ...] | None:
    """What ``text`` for ``iptables-restore --noflush`` takes away, if it does nothing else; None if it does."""
    found: list[Removal] = []
    rules: dict[str, list[str]] = {}
    emptied, chains = list[str](), list[str]()
    table = ""
    for line in text.splitlines():
        match line.split(" ", 2):
            case [name] if name.startswith("*"):
                table, rules, emptied, chains = name[1:], {}, [], []
            case ["-D", chain, rule]:
                rules.setdefault(chain, []).append(rule)
            case ["-F", chain]:
                emptied.append(chain)
            case ["-X", chain]:
                chains.append(chain)
            case ["COMMIT"]:
                found.append(Removal(table, rules, emptied, chains))
            case _:
                return None
    return tuple(found)


def _edit(chain: str, old: Sequence[str], new: Sequence[str]) -> list[str] | None:
    """Deletions and insertions that turn ``old`` into ``new``; None when to write the chain anew is shorter,
    or a rule has moved.

    A rule is deleted as it is spelled, wherever it stands. One that comes first is put at the head without a
    number: iptables-nft 1.8.9 asks the kernel for all rules of a chain when a number is named, and need not
    otherwise.
    """
    shortest = min(len(old), len(new))
    begin = next((i for i in range(shortest) if old[i] != new[i]), shortest)
    shortest -= begin
    end = next((i for i in range(shortest) if old[-1 - i] != new[-1 - i]), shortest)
    was, now = old[begin : len(old) - end], new[begin : len(new) - end]
    known, wanted = set(was), set(now)
    deleted = [rule for rule in was if rule not in wanted]
    inserted = [(number, rule) for number, rule in enumerate(now, begin + 1) if rule not in known]
    moved = [r for r in was if r in wanted] != [r for r in now if r in known]
    if (
        moved
        or len(deleted) + len(inserted) > len(new)
        or not {*old[:begin], *old[len(old) - end :]}.isdisjoint(deleted)
    ):
        return None
    head = [rule for place, (number, rule) in enumerate(inserted, 1) if number == place]
    lines = [f"-D {chain} {rule}" for rule in deleted]
    lines += [f"-I {chain} {rule}" for rule in reversed(head)]
    return lines + [f"-I {chain} {number} {rule}" for number, rule in inserted[len(head) :]]


def compose_nft(table: NftTable) -> str:
    """The text for one ``nft -f -`` that makes the table hold exactly this: as it was it is forgotten, in one
    transaction.
    """
    return "".join(
        (
            f"add table {table.name}\ndelete table {table.name}\n",
            f"table {table.name} {{\n\tcomment {quoted(table.comment)}\n",
            *(
                _nft_block(f"{s.kind} {name}", (*s.declaration, *_nft_elements(s)))
                for name, s in table.sets.items()
            ),
            *(_nft_block(f"chain {name}", rules) for name, rules in table.chains.items()),
            "}\n",
        )
    )


def _nft_elements(nft_set: NftSet) -> Iterable[str]:
    if nft_set.elements:
        yield "elements = {\n\t\t\t" + ",\n\t\t\t".join(nft_set.elements.values()) + " }"


def _nft_block(head: str, lines: Iterable[str]) -> str:
    return "".join((f"\t{head} {{\n", *(f"\t\t{line}\n" for line in lines), "\t}\n"))


def compose_nft_change(old: NftTable, new: NftTable) -> str:
    """The text for one ``nft -f -`` that turns ``old`` into ``new``, element by element if that can be; ""
    when they are equal.
    """
    text = change_nft(old, new)
    return compose_nft(new) if text is None else text


def change_nft(old: NftTable, new: NftTable) -> str | None:
    """The text for one ``nft -f -`` that turns ``old`` into ``new``, element by element; None where the table
    must be loaded anew.

    What the sets of endpoints that stay have remembered of their clients, stays. ``old`` and ``new`` may
    leave out what they have in common. The table must be loaded anew where a set is declared or a chain
    hooked in in another way, and for a new rule with a map that is there already: nft 1.0.6 takes none whose
    key has "th dport" and is not declared in the same load ("conflicting protocols specified: tcp vs. th").
    """
    if _nft_frame(old, new) != _nft_frame(new, old) or old.name != new.name:
        return None
    name = new.name
    declared = [
        f"add {s.kind} {name} {n} {{ {'; '.join(s.declaration)}; }}"
        for n, s in new.sets.items()
        if n not in old.sets
    ]
    declared += [f"add chain {name} {n}" for n in new.chains if n not in old.chains]
    flushed, filled, removed, added = [], [], [], []
    for chain, rules in new.chains.items():
        was = old.chains.get(chain, ())
        if was != rules:
            flushed += [f"flush chain {name} {chain}"] if was else []
            filled += [f"add rule {name} {chain} {rule}" for rule in rules]
    for set_name, s in new.sets.items():
        before = old.sets[set_name].elements if set_name in old.sets else {}
        gone = [key for key, element in before.items() if s.elements.get(key) != element]
        fresh = [element for key, element in s.elements.items() if before.get(key) != element]
        removed += [f"delete element {name} {set_name} {{ {', '.join(gone)} }}"] if gone else []
        added += [f"add element {name} {set_name} {{ {', '.join(fresh)} }}"] if fresh else []
    if any(found[1] in old.sets for rule in filled for found in _LOOKUP.finditer(rule)):
        return None
    vanished = [chain for chain in old.chains if chain not in new.chains]
    flushed += [f"flush chain {name} {chain}" for chain in vanished]
    deleted = [f"delete chain {name} {chain}" for chain in vanished]
    deleted += [f"delete {s.kind} {name} {n}" for n, s in old.sets.items() if n not in new.sets]
    # what is referred to is there before, and goes after
    lines = (*declared, *removed, *flushed, *filled, *added, *deleted)
    return "".join(f"{line}\n" for line in lines)


def _nft_frame(table: NftTable, other: NftTable) -> tuple[object, ...]:
    """What of ``table`` cannot be changed piece by piece: base chains, and the declarations of sets that
    ``other`` has, too.
    """
    hooked = {name: rules for name, rules in table.chains.items() if rules and rules[0].startswith("type ")}
    return hooked, {name: (s.kind, s.declaration) for name, s in table.sets.items() if name in other.sets}
