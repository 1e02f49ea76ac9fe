"""Loads rules: chooses the loader of each text, and how many run at once.

Large texts are loaded by processes (``iptables-restore``, ``nft``), one for each processor at a time; small
ones of nft by the library in this process; changes by a restore command that goes on running, or by one each
where it cannot; those that only delete rules of iptables-nft by handle. Loaders of one namespace run one
after the other: a transaction of nf_tables fails when another one gets in between.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from subprocess import Popen
from typing import TypeAlias

from ..errors import KernelError, ToolKilledError
from ..net import FAMILIES, Family
from ..plan.operations.rules import ChangeRules, LoadRules, loader
from ..plan.rulechange import RuleChange
from .limits import TOO_LONG, too_long
from .netns import Namespaces, finish, start
from .nf_tables import NfTables
from .nft import Nft, open_nft
from .restore import Restore, open_restore

# characters of a text for nft that this process loads itself; longer ones are loaded by processes, several at
# once
SMALL_TEXT = 65536
_NFT = "iptables-nft-restore"
_PIECE = 8192  # characters; as a message some 20 times as many bytes at most
LOAD_SECONDS = 600  # for one load of rules, which takes seconds for 10,000 Services

Load: TypeAlias = LoadRules | ChangeRules


def command_of(family: Family, iptables: str) -> str:
    """Returns the command of ``family`` that has the flavour and the task of IPv4's ``iptables``:
    ip6tables-nft-save for iptables-nft-save.
    """
    return family.iptables + "".join(iptables.partition("-")[1:])


class RuleLoader:
    """Loads rules into the namespaces of one cluster. ``iptables`` is the restore command in use."""

    def __init__(self, namespaces: Namespaces, iptables: str) -> None:
        self._namespaces = namespaces
        self.iptables = iptables
        self._nft: dict[str, Nft | None] = {}
        self._nf_tables: dict[tuple[str, Family], NfTables] = {}
        self._with_nft: set[str] = set()  # namespaces whose table has been loaded
        self._restores: dict[tuple[str, Family], Restore] = {}
        self._goes_on: bool | None = None  # the restore command can be kept running (None: that is not known)

    def load(self, ops: Sequence[Load]) -> None:
        """Loads the rules of ``ops``. Raises KernelError at the first refusal."""
        width = (os.cpu_count() or 1) + 1
        while ops:
            now: dict[str, Load] = {}
            later: list[Load] = []
            for op in ops:
                if op.netns in now or len(now) == width:
                    later.append(op)
                else:
                    now[op.netns] = op
            self._load_at_once(list(now.values()))
            ops = later

    def _load_at_once(self, ops: Sequence[Load]) -> None:
        """Loads ``ops``, each of another namespace. Each is rendered once."""
        small, running = list[tuple[Load, str]](), list[tuple[Popen[str], Load, str]]()
        changing: list[tuple[ChangeRules, Restore]] = []
        for op in ops:
            if self._taken_away(op):
                continue
            text = op.text
            if op.tool == "nft" and len(text) <= SMALL_TEXT and self._nft_in(op.netns):
                small.append((op, text))
            elif isinstance(op, ChangeRules) and (restore := self._restore_for(op)):
                restore.begin(text)
                changing.append((op, restore))
                if self.iptables != _NFT:  # that flavour has one lock for all namespaces, and does not wait
                    self._finish_change(*changing.pop())
            else:
                running.append((start(self._namespaces, op.netns, self._command(op)), op, text))
        for op, text in small:
            with self._piecewise(op):
                self._load_here(op, text)
        for process, op, text in running:
            with self._piecewise(op):
                finish(process, op.netns, text, LOAD_SECONDS)
        for change, restore in changing:
            self._finish_change(change, restore)
        self._with_nft |= {op.netns for op in ops if op.tool == "nft"}

    def _restore_for(self, op: ChangeRules) -> Restore | None:
        """Returns the restore command that goes on running in the namespace of ``op``; None if another tool
        is wanted, or if the command cannot be kept running.
        """
        if op.tool != "iptables-restore" or self._goes_on is False:
            return None
        key = op.netns, op.family
        if self._goes_on is None:
            opened = open_restore(self._namespaces, op.netns, self._command(op))
            self._goes_on = opened is not None
            if opened:
                self._restores[key] = opened
            return opened
        if key not in self._restores:
            self._restores[key] = Restore(self._namespaces, op.netns, self._command(op))
        return self._restores[key]

    def _finish_change(self, op: ChangeRules, restore: Restore) -> None:
        try:
            restore.finish(LOAD_SECONDS)
        except KernelError:  # it has ended: the next change needs another one
            self._restores.pop((op.netns, op.family)).close()
            raise

    @contextmanager
    def _piecewise(self, op: Load) -> Iterator[None]:
        """Loads in pieces where a transaction is larger than an ordinary user may send at once (socket(7)).

        That is for the first load alone, before any packet is sent. A later one must not be seen half done:
        then the error says which limit it meets. (iptables has another flavour, which meets none.)
        """
        try:
            yield
        except KernelError as error:
            if op.tool != "nft" or TOO_LONG not in error.error:
                raise
            table = op.rules.table if isinstance(op, LoadRules) else None
            if table is None or op.netns in self._with_nft:
                raise too_long(op.netns) from None
            for text in table.pieces(_PIECE):
                self._load_here(op, text)

    def _command(self, op: Load) -> list[str]:
        command = loader(op.tool, op.family)
        return (
            [command_of(op.family, self.iptables), *command[1:]]
            if op.tool == "iptables-restore"
            else [*command]
        )

    def _taken_away(self, op: Load) -> bool:
        """Returns whether ``op`` only deletes rules of iptables-nft, and that is done."""
        change = op.change if isinstance(op, ChangeRules) else None
        if not isinstance(change, RuleChange) or not change.only_removes or self.iptables != _NFT:
            return False
        key = op.netns, op.family
        if key not in self._nf_tables:
            self._nf_tables[key] = self._namespaces.call_in(op.netns, partial(NfTables, op.family))
        return self._nf_tables[key].take_away(change.tables)

    def _nft_in(self, netns: str) -> Nft | None:
        if netns not in self._nft:
            self._nft[netns] = self._namespaces.call_in(netns, open_nft)
        return self._nft[netns]

    def _load_here(self, op: Load, text: str) -> None:
        nft = self._nft_in(op.netns)
        if nft is None:
            finish(start(self._namespaces, op.netns, self._command(op)), op.netns, text, LOAD_SECONDS)
        elif refusal := nft.load(text):
            raise KernelError(op.netns, self._command(op), refusal, text)

    def empty_tables(self) -> None:
        """Deletes all iptables rules, by the flavour in use, wherever it works."""
        empty = "".join(f"*{table}\nCOMMIT\n" for table in ("mangle", "filter", "nat"))
        for netns in self._namespaces:
            try:
                finish(start(self._namespaces, netns, [self.iptables]), netns, empty)
            except ToolKilledError:
                raise
            except KernelError:
                continue  # it could not have loaded any here either

    def forget_namespace(self, netns: str) -> None:
        """Closes the sockets of ``netns``, which is about to be deleted."""
        self._with_nft.discard(netns)
        held_here = (
            self._nft.pop(netns, None),
            *(self._nf_tables.pop((netns, family), None) for family in FAMILIES.values()),
            *(self._restores.pop((netns, family), None) for family in FAMILIES.values()),
        )
        for held in held_here:
            if held:
                held.close()

    def close(self) -> None:
        """Closes sockets and libraries."""
        for netns in {*self._nft, *(netns for netns, _ in (*self._nf_tables, *self._restores))}:
            self.forget_namespace(netns)
