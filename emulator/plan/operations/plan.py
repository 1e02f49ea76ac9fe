"""Defines a plan: operations in the order in which they must be applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .namespaces import AddNetns
from .operation import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Holds operations in the order in which they must be applied."""

    name: str
    operations: Sequence[Operation]

    @property
    def netns(self) -> tuple[str, ...]:
        """Returns the network namespaces that the plan makes, in order."""
        return tuple(op.netns for op in self.operations if isinstance(op, AddNetns))
