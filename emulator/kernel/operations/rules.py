"""Loads rules of netfilter."""

from __future__ import annotations

from collections.abc import Sequence

from ...plan.operations.rules import ChangeRules, LoadRules
from ..applied import Applied
from .registry import handles


@handles(LoadRules)
def load(ops: Sequence[LoadRules], kernel: Applied) -> None:
    kernel.links.flush()
    kernel.rules.load(ops)


@handles(ChangeRules)
def change(ops: Sequence[ChangeRules], kernel: Applied) -> None:
    kernel.links.flush()
    kernel.rules.load(ops)
