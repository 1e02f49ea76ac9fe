"""Loads the kernel's IPVS and its ipsets."""

from __future__ import annotations

from collections.abc import Sequence

from emulator.errors import KernelError
from emulator.kernel.applied import Applied
from emulator.kernel.ipvs import load_servers
from emulator.kernel.netns import finish, start
from emulator.kernel.operations.registry import handles
from emulator.plan.operations.ipvs import IPSET, LoadIpset, LoadIpvs
from emulator.plan.shell import shell_commands


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
