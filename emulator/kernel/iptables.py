"""Which flavour of iptables loads the rules: the tool is there, and this kernel takes what it sends."""

from __future__ import annotations

import shutil

from emulator.errors import KernelError, MissingCapabilityError
from emulator.kernel.apply import Applied, apply
from emulator.plan.operations import Plan


def find_iptables(flavour: str) -> str:
    """The restore command to use. Raises MissingCapabilityError when the one asked for, or any, is not there."""
    names = [f"iptables-{flavour}-restore"] if flavour else ["iptables-nft-restore", "iptables-legacy-restore", "iptables-restore"]
    for name in names:
        if shutil.which(name):
            return name
    raise MissingCapabilityError(f"the tool {names[0]}", "apt-get install iptables (podwire doctor tells more)")


def apply_with_iptables(plan: Plan, flavour: str) -> Applied:
    """``plan`` in the kernel; with the other flavour of iptables where none was asked for and the first does not work here: the kernel
    lacks it, or lets an ordinary user send it no more than ``net.core.wmem_default`` bytes at once."""
    applied = Applied(find_iptables(flavour))
    try:
        return apply(plan, applied)
    except KernelError as error:
        if flavour or applied.iptables not in error.command or not shutil.which("iptables-legacy-restore"):
            raise
        applied.empty_tables()  # of the nodes whose load went well: two flavours at once would both translate
        applied.iptables = "iptables-legacy-restore"
        try:
            return apply(plan, applied)
        except KernelError:
            raise error from None
