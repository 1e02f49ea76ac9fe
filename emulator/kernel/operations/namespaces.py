"""Makes and deletes network namespaces."""

from __future__ import annotations

from collections.abc import Sequence

from ...plan.operations.namespaces import AddNetns, DelNetns
from ..applied import Applied
from ..netlink import link_up
from .registry import handles


@handles(AddNetns)
def add(ops: Sequence[AddNetns], kernel: Applied) -> None:
    for op in ops:
        if op.netns not in kernel.namespaces:
            kernel.namespaces.create(op.netns)
            kernel.links.add_namespace(op.netns)
            kernel.links.queue(op, link_up(kernel.links.index(op.netns, "lo")))


@handles(DelNetns)
def delete(ops: Sequence[DelNetns], kernel: Applied) -> None:
    kernel.links.flush()
    for op in ops:
        kernel.links.forget_namespace(op.netns)
        kernel.rules.forget_namespace(op.netns)
        kernel.namespaces.delete(op.netns)
