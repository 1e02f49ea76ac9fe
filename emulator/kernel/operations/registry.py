"""Which function tells the kernel of which kind of operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from emulator.kernel.applied import Applied
from emulator.plan.operations.operation import Operation

Op = TypeVar("Op", bound=Operation)
Handler: TypeAlias = Callable[[Sequence[Op], Applied], None]

HANDLERS: dict[type[Operation], Handler[Any]] = {}


def handles(kind: type[Op]) -> Callable[[Handler[Op]], Handler[Op]]:
    """Make a function the handler of ``kind``. It is given operations of that kind that follow each other.

    It does them at once, or queues messages (``kernel.links.queue``). One that acts in another way first
    sends what waits (``kernel.links.flush``). It raises KernelError at the first refusal.
    """

    def register(handler: Handler[Op]) -> Handler[Op]:
        HANDLERS[kind] = handler
        return handler

    return register
