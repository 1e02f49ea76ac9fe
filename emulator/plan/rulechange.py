"""Holds changes of iptables' rules as values.

A change names only what differs, so it costs what changed. It is rendered where it is loaded or shown. A
deletion has the marks by which the kernel's rule is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .rules import BUILTIN, Marks, RuleSet, compose

NO_MARKS: Mapping[str, Marks] = {}


class RuleDeletion(NamedTuple):
    """Describes a deleted rule, wherever it stands. ``marks`` is None if only its text is known."""

    rule: str
    marks: Marks | None = None


class Insertion(NamedTuple):
    """Describes an inserted rule. ``place`` is its number in the chain, from 1 on; 0 is the head of the
    chain.

    iptables-nft 1.8.9 asks the kernel for all rules of a chain when a number is named, and need not
    otherwise.
    """

    place: int
    rule: str


@dataclass(frozen=True, slots=True)
class ChainEdit:
    """Describes the edits of one chain, in this order. ``inserted`` lists the first rule first."""

    chain: str
    deleted: tuple[RuleDeletion, ...] = ()
    inserted: tuple[Insertion, ...] = ()
    appended: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """Yields the lines for ``iptables-restore``."""
        for rule, _ in self.deleted:
            yield f"-D {self.chain} {rule}"
        for place, rule in reversed(self.inserted):
            if not place:
                yield f"-I {self.chain} {rule}"
        for place, rule in self.inserted:
            if place:
                yield f"-I {self.chain} {place} {rule}"
        for rule in self.appended:
            yield f"-A {self.chain} {rule}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChange:
    """Describes the change of one table.

    ``declared`` are chains of its own that come, or are emptied; ``emptied`` are the built-in chains among
    them. ``vanished`` chains are emptied before they go (they refer to each other): each with whether it has
    rules.
    """

    table: str
    declared: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()
    edits: tuple[ChainEdit, ...] = ()
    vanished: tuple[tuple[str, bool], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.declared or self.emptied or self.edits or self.vanished)

    @property
    def only_removes(self) -> bool:
        """Returns whether nothing comes."""
        return not self.declared and not any(edit.inserted or edit.appended for edit in self.edits)

    def lines(self) -> Iterator[str]:
        """Yields the lines for ``iptables-restore``. Every chain is declared before a rule leads to it."""
        yield f"*{self.table}"
        for chain in self.declared:
            yield f":{chain} - [0:0]"
        for chain in self.emptied:
            yield f"-F {chain}"
        for edit in self.edits:
            yield from edit.lines()
        for chain, has_rules in self.vanished:
            if has_rules:
                yield f"-F {chain}"
        for chain, _ in self.vanished:
            yield f"-X {chain}"
        yield "COMMIT"


@dataclass(frozen=True, slots=True)
class RuleChange:
    """Describes the change of a node's tables. ``fresh`` are tables that did not exist."""

    tables: tuple[TableChange, ...]
    fresh: RuleSet = RuleSet({})

    def __bool__(self) -> bool:
        return bool(self.tables or self.fresh.tables)

    @property
    def only_removes(self) -> bool:
        """Returns whether nothing comes."""
        return not self.fresh.tables and all(table.only_removes for table in self.tables)

    @property
    def text(self) -> str:
        """Returns the text for one ``iptables-restore --noflush``."""
        lines = "".join(f"{line}\n" for table in self.tables for line in table.lines())
        return lines + (compose(self.fresh) if self.fresh.tables else "")


def compare(old: RuleSet, new: RuleSet) -> RuleChange:
    """Returns the change that turns tables that hold ``old`` into ``new``."""
    changes = (
        compare_chains(table, old.tables.get(table, {}), new.tables.get(table, {}))
        for table in BUILTIN
        if table in old.tables
    )
    fresh = {table: chains for table, chains in new.tables.items() if table not in old.tables}
    return RuleChange(tuple([change for change in changes if change]), RuleSet(fresh))


def compare_chains(
    table: str,
    before: Mapping[str, Sequence[str]],
    after: Mapping[str, Sequence[str]],
    edits: Sequence[ChainEdit] = (),
) -> TableChange:
    """Returns the change of a table with the chains ``before`` into one with the chains ``after``.

    A chain of which little changed is edited: one Service is a line of KUBE-SERVICES, which has a line for
    each of them. ``edits`` are those of other chains.
    """
    builtin = BUILTIN[table]
    declared, emptied = list[str](), list[str]()
    edits = list(edits)
    for chain in (*builtin, *sorted(chain for chain in after if chain not in builtin)):
        was, rules = before.get(chain, ()), after.get(chain, ())
        if chain in before or chain in builtin:
            if was == rules:
                continue
            if edit := _edit(chain, was, rules):
                edits.append(edit)
                continue
        (emptied if chain in builtin else declared).append(chain)
        if rules:
            edits.append(ChainEdit(chain, appended=tuple(rules)))
    vanished = sorted(chain for chain in before if chain not in after and chain not in builtin)
    return TableChange(
        table=table,
        declared=tuple(declared),
        emptied=tuple(emptied),
        edits=tuple(edits),
        vanished=tuple([(chain, bool(before[chain])) for chain in vanished]),
    )


def _edit(chain: str, old: Sequence[str], new: Sequence[str]) -> ChainEdit | None:
    """Returns the deletions and insertions that turn ``old`` into ``new``; None if writing the whole chain
    again is shorter, or a rule has moved.
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
    head = sum(number == place for place, (number, _) in enumerate(inserted, 1))
    return ChainEdit(
        chain,
        tuple(map(RuleDeletion, deleted)),
        tuple(
            [Insertion(0 if place < head else number, rule) for place, (number, rule) in enumerate(inserted)]
        ),
    )
