"""Loads the kernel's IPVS and its ipsets."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import KernelError
from ...plan.operations.ipvs import IPSET, LoadIpset, LoadIpvs
from ...plan.shell import shell_commands
from ..applied import Applied
from ..ipvs import load_servers
from ..netns import finish, start
from .registry import handles


@handles(LoadIpset)
def load_sets(ops: Sequence[LoadIpset], kernel: Applied) -> None:
    kernel.links.flush()
    for op in ops:
        finish(start(kernel.namespaces, op.netns, list(IPSET)), op.netns, op.text)


@handles(LoadIpvs)
def load(ops: Sequence[LoadIpvs], kernel: Applied) -> None:
    kernel.links.flush()
    for op in ops:
        kernel.namespaces.enter(op.netns)
        if refusal := load_servers(op):
            raise KernelError("", shell_commands(op), refusal)
