"""Holds rules of iptables as values: a single rule, and one node's tables.

A rule set keeps rules as ``iptables-save`` prints them, without the leading ``-A CHAIN``, so that it can be
compared with what a kernel holds and one chain at a time with another rule set. Text that came from outside
enters a rule through :mod:`emulator.plan.checked`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from ..objects.references import ObjectRef
from .checked import comment
from .nft import NftTable

# The built-in chains of each table, in the order of the kernel's hooks (net/ipv4/netfilter/iptable_*.c).
BUILTIN: Mapping[str, tuple[str, ...]] = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}

NO_CHAINS: Mapping[str, Iterable[str]] = {}

RuleTool: TypeAlias = Literal["iptables-restore", "nft"]


class Match(NamedTuple):
    """Describes the packets of a rule, as ``iptables-save`` prints it before and after the rule's comment.
    ``hosts``: the single addresses in it.
    """

    before: str = ""
    after: str = ""
    hosts: tuple[str, ...] = ()


class Marks(NamedTuple):
    """Holds the parts of a rule that the kernel keeps byte by byte, by which it is found among others."""

    comment: str
    hosts: tuple[str, ...]
    chain: str  # that it leads to


class Rule(NamedTuple):
    """Describes one rule. ``target`` is a chain, a verdict or an extension ("" if the rule only counts),
    ``options`` are those of an extension. ``origin`` is the object and the field that caused it, if that was
    asked for.
    """

    table: str
    chain: str
    match: Match
    target: str
    comment: str = ""
    options: str = ""
    origin: ObjectRef | None = None

    @property
    def text(self) -> str:
        """Returns the rule as ``iptables-save`` prints it, without ``-A CHAIN``. Raises ``UnsafeTextError``
        for a comment that would need escaping.
        """
        before, after, _ = self.match
        words = [before] if before else []
        if self.comment:
            words.append(comment(self.comment))
        if after:
            words.append(after)
        if self.target:
            words.append(f"-j {self.target} {self.options}" if self.options else f"-j {self.target}")
        return " ".join(words)

    @property
    def marks(self) -> Marks:
        return Marks(self.comment, self.match.hosts, "" if self.options else self.target)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Holds the rules of one owner or node. ``tables``: table → chain → that chain's rules in order. A chain
    without rules is declared all the same.

    ``table`` is a table of nftables of the owner's own, which no other owner touches.
    """

    tables: Mapping[str, Mapping[str, tuple[str, ...]]]
    table: NftTable | None = None

    @classmethod
    def of(cls, rules: Iterable[Rule], chains: Mapping[str, Iterable[str]] = NO_CHAINS) -> RuleSet:
        """Returns the rule set of ``rules``, in their order. ``chains`` of each table come first, and are
        declared without rules as well.
        """
        tables: dict[str, dict[str, list[str]]] = {
            table: {chain: [] for chain in names} for table, names in chains.items()
        }
        for rule in rules:
            tables.setdefault(rule.table, {}).setdefault(rule.chain, []).append(rule.text)
        return cls(
            {
                table: {chain: tuple(texts) for chain, texts in named.items()}
                for table, named in tables.items()
            }
        )

    @property
    def nft(self) -> str:
        """Returns the text for one ``nft -f -`` that loads ``table``; "" if there is none."""
        return self.table.text if self.table else ""


def merge(*rulesets: RuleSet) -> RuleSet:
    """Returns one rule set out of those of several owners.

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
    """Returns the text for one ``iptables-restore --noflush`` that makes the tables hold exactly these rules
    in these chains.

    Loading it twice has the same effect as loading it once: with ``--noflush`` a declared chain is emptied
    unless it is built in (iptables 1.8.9, legacy and nf_tables alike), so each built-in chain gets a ``-F``
    of its own.

    Two things are for speed (measured with iptables 1.8.9 and 10,000 Services). ``-Z`` of counters that are
    zero anyway is the one harmless command that names no chain: after it iptables-nft-restore asks for all
    chains once, instead of looking each line's chain up in a sorted list; it loads in 2 s instead of 20 (80
    with chains unsorted). And chains come in the order of ``rulesets``, a Service's one after the other, as
    packets pass them. They lie in memory in that order, and for each later change the kernel follows every
    jump, in 45 ms instead of 80.
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
