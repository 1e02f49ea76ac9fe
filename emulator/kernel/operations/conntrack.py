"""Deletes conntrack entries."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import KernelError
from ...net import PROTOCOL_NUMBER
from ...plan.operations.conntrack import DelConnections
from ...plan.shell import shell_commands
from ..applied import Applied
from ..conntrack import Conntrack
from .registry import handles


@handles(DelConnections)
def forget(ops: Sequence[DelConnections], kernel: Applied) -> None:
    kernel.links.flush()
    stale: dict[str, list[DelConnections]] = {}
    for op in ops:
        stale.setdefault(op.netns, []).append(op)
    for netns, rows in stale.items():
        conntrack = kernel.namespaces.call_in(netns, Conntrack)
        try:
            conntrack.forget({(PROTOCOL_NUMBER[op.protocol], op.dialled, op.server) for op in rows})
        except OSError as error:
            raise KernelError("", shell_commands(rows[0]), error.strerror or "") from None
        finally:
            conntrack.close()
