"""Apply a plan: a loop over its operations, each kind of which has its handler in ``kernel.operations``.

Nothing is decided here. To apply a cluster's plan twice is to apply it once; the plan of a change is applied
once.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from emulator.kernel.applied import Applied
from emulator.kernel.operations.registry import HANDLERS
from emulator.plan.operations import Operation, Plan

__all__ = ["Applied", "apply", "do"]


def apply(plan: Plan, applied: Applied | None = None) -> Applied:
    """Make the kernel hold what ``plan`` says; ``applied`` is what an earlier plan of the same cluster left.

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
    """Do ``operations``, in the order in which they must be applied. Sockets stay open, and the calling thread
    stays in the namespace in which it was last. Raises KernelError at the first refusal.
    """
    for kind, run in groupby(operations, key=type):
        HANDLERS[kind](tuple(run), applied)
    applied.links.flush()
