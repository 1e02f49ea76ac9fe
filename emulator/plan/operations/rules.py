"""Loads rules of netfilter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ...net import Family
from ..nft import NftChange, NftRemoval, NftTable, compare_tables
from ..rulechange import RuleChange, compare
from ..rules import RuleSet, RuleTool, compose
from . import words
from .operation import Addition, Identity, Operation, Stage


def loader(tool: RuleTool, family: Family) -> tuple[str, ...]:
    """Returns the command that loads rules of ``family``."""
    return ("nft", "-f", "-") if tool == "nft" else (family.restore, "--noflush")


# A table of nftables that must be loaded anew is a change, too.
Change: TypeAlias = RuleChange | NftChange | NftTable | NftRemoval


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRules(Addition):
    """Loads all rules of one tool at once: ``tool`` reads them on its standard input (iptables-restore
    --noflush, nft -f -). For nft they are the table of ``rules``, otherwise its tables.
    """

    stage = Stage.RULES

    tool: RuleTool
    family: Family
    rules: RuleSet = field(hash=False, repr=False)

    @property
    def text(self) -> str:
        """Returns the input of ``tool``, rendered each time."""
        return self.rules.nft if self.tool == "nft" else compose(self.rules)

    @property
    def identity(self) -> Identity:
        return "rules", self.netns, self.tool, self.family.word

    def commands(self) -> Iterator[str]:
        yield from words.feed(self.netns, loader(self.tool, self.family), self.text)

    def change_from(self, was: Addition) -> Iterator[Operation]:
        if not isinstance(was, LoadRules) or was.rules == self.rules:
            return
        why = f"{self.why}: what changed"
        old, new = was.rules, self.rules
        change: RuleChange | NftChange | None = None
        if self.tool == "iptables-restore":
            change = compare(old, new)
        elif old.table and new.table:
            change = compare_tables(old.table, new.table)
        if change is None:
            yield replace(self, why=why)
        elif change:
            yield ChangeRules(netns=self.netns, why=why, tool=self.tool, family=self.family, change=change)

    def undo(self) -> Iterator[Operation]:
        table = self.rules.table
        change = NftRemoval(table.name) if table else compare(self.rules, RuleSet({}))
        yield ChangeRules(
            netns=self.netns, why=self.no_longer, tool=self.tool, family=self.family, change=change
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRules(Operation):
    """Changes rules that were loaded, in one transaction. It may be part of a change only."""

    stage = Stage.RULES

    tool: RuleTool
    family: Family
    change: Change

    @property
    def text(self) -> str:
        """Returns the input of ``tool``, rendered each time."""
        return self.change.text

    def commands(self) -> Iterator[str]:
        yield from words.feed(self.netns, loader(self.tool, self.family), self.text)
