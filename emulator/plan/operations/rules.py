"""Rules of netfilter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from emulator.plan.operations import words
from emulator.plan.operations.operation import Addition, Identity, Operation, Stage
from emulator.plan.rules import RuleSet, RuleTool, compose_change, compose_nft_change

LOADERS = {"iptables-restore": ("iptables-restore", "--noflush"), "nft": ("nft", "-f", "-")}

_NFT_TABLE = re.compile(r"^table (\w+ [\w-]+) \{", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRules(Addition):
    """Loads rule text at once: ``tool`` reads ``text`` on its standard input (iptables-restore --noflush,
    nft -f -).

    ``rules``: what the tables hold after it, from which a later change is worked out; without it a change
    loads everything again.
    """

    stage = Stage.RULES

    tool: RuleTool
    text: str
    rules: RuleSet | None = field(default=None, compare=False, repr=False)

    @property
    def identity(self) -> Identity:
        return "rules", self.netns, self.tool

    def commands(self) -> Iterator[str]:
        yield from words.feed(self.netns, LOADERS[self.tool], self.text)

    def change_from(self, was: Addition) -> Iterator[Operation]:
        if not isinstance(was, LoadRules) or was.text == self.text:
            return
        text = self.text
        if self.tool == "iptables-restore" and was.rules and self.rules:
            text = compose_change(was.rules, self.rules)
        elif self.tool == "nft" and was.rules and was.rules.table and self.rules and self.rules.table:
            text = compose_nft_change(was.rules.table, self.rules.table)
        if text:
            yield replace(self, text=text, why=f"{self.why}: what changed")

    def undo(self) -> Iterator[Operation]:
        if self.tool == "nft":
            text = "".join(f"delete table {table}\n" for table in _NFT_TABLE.findall(self.text))
        elif self.rules:
            text = compose_change(self.rules, RuleSet({}))
        else:
            raise ValueError(f"nobody knows what these rules are: {self}")
        yield replace(self, text=text, rules=None, why=self.no_longer)
