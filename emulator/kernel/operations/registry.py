"""Registers the handler of each kind of operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from ...plan.operations.operation import Operation
from ..applied import Applied

Op = TypeVar("Op", bound=Operation)
Handler: TypeAlias = Callable[[Sequence[Op], Applied], None]

HANDLERS: dict[type[Operation], Handler[Any]] = {}


def handles(kind: type[Op]) -> Callable[[Handler[Op]], Handler[Op]]:
    """Makes a function the handler of ``kind``. It gets consecutive operations of that kind.

    It does them at once, or queues messages (``kernel.links.queue``). A handler that acts in another way
    first sends the queued ones (``kernel.links.flush``). It raises KernelError at the first refusal.
    """

    def register(handler: Handler[Op]) -> Handler[Op]:
        HANDLERS[kind] = handler
        return handler

    return register
