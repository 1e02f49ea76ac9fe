"""Chooses the flavour of iptables that loads the rules: the tool exists, and this kernel accepts its
messages.
"""

from __future__ import annotations

import platform
import re
import shutil

from ..errors import KernelError, MissingCapabilityError, ToolKilledError, printable
from ..model.notices import LoaderMissing, LoaderRefused
from ..plan.operations import Plan
from .apply import Applied, apply

_OWN_NAME = re.compile(r"\A\S+ v[0-9.]+ \([a-z_]+\):")
NFT, LEGACY = "iptables-nft-restore", "iptables-legacy-restore"


def find_iptables(flavour: str) -> str:
    """Returns the restore command to use. Raises MissingCapabilityError when the requested one, or any, is
    missing.
    """
    names = [f"iptables-{flavour}-restore"] if flavour else [NFT, LEGACY, "iptables-restore"]
    for name in names:
        if shutil.which(name):
            return name
    raise MissingCapabilityError(
        f"the tool {names[0]}", "apt-get install iptables (podwire doctor has details)"
    )


def apply_with_iptables(plan: Plan, flavour: str) -> Applied:
    """Applies ``plan``, with the other flavour of iptables if none was requested and the first is refused.

    It is refused if the kernel lacks it, or lets an ordinary user send it no more than
    ``net.core.wmem_default`` bytes at once. A notice reports that. A tool that was killed was not refused.
    """
    applied = Applied(find_iptables(flavour))
    if not flavour and applied.iptables != NFT:
        applied.notices.append(LoaderMissing(NFT, applied.iptables))
    try:
        return apply(plan, applied)
    except ToolKilledError:
        raise
    except KernelError as error:
        if flavour or applied.iptables != NFT or NFT not in error.command or not shutil.which(LEGACY):
            raise
        applied.rules.empty_tables()  # two flavours at once would both translate
        applied.rules.iptables = LEGACY
        applied.notices.append(LoaderRefused(NFT, platform.release(), _reason(error), LEGACY))
        try:
            return apply(plan, applied)
        except ToolKilledError:
            raise
        except KernelError:
            raise error from None


def _reason(error: KernelError) -> str:
    """Returns the tool's first line after its own name and version: it names the cause."""
    lines = _OWN_NAME.sub("", error.error.strip()).splitlines()
    return printable(next(filter(None, map(str.strip, lines)), "it says nothing"))
