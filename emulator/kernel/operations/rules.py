"""Loads rules of netfilter."""

from __future__ import annotations

from collections.abc import Sequence

from emulator.kernel.applied import Applied
from emulator.kernel.operations.registry import handles
from emulator.plan.operations.rules import ChangeRules, LoadRules


@handles(LoadRules)
def load(ops: Sequence[LoadRules], kernel: Applied) -> None:
    kernel.links.flush()
    kernel.rules.load(ops)


@handles(ChangeRules)
def change(ops: Sequence[ChangeRules], kernel: Applied) -> None:
    kernel.links.flush()
    kernel.rules.load(ops)
