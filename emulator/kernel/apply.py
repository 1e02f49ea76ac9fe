"""Applies a plan: a loop over its operations, each kind of which has its handler in ``kernel.operations``.

Nothing is decided here. A cluster's plan may be applied twice, with the effect of once; the plan of a change
is applied once.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from ..plan.operations import Operation, Plan
from .applied import Applied
from .operations.registry import HANDLERS

__all__ = ["Applied", "apply", "do"]


def apply(plan: Plan, applied: Applied | None = None) -> Applied:
    """Applies ``plan``; ``applied`` is the result of an earlier plan of the same cluster.

    Raises KernelError at the first refusal.
    """
    applied = applied or Applied()
    try:
        do(plan.operations, applied)
        applied.links.close_sockets()
        applied.sysctls.close()
    finally:
        applied.namespaces.leave()
    return applied


def do(operations: Iterable[Operation], applied: Applied) -> None:
    """Does ``operations``, in the order in which they must be applied. Sockets stay open, and the calling
    thread stays in the last namespace. Raises KernelError at the first refusal.
    """
    for kind, run in groupby(operations, key=type):
        HANDLERS[kind](tuple(run), applied)
    applied.links.flush()
