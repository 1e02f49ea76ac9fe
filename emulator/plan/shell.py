"""Renders a plan as a bash script that builds the same network with ``ip``, ``sysctl`` and
``iptables-restore`` (or ``nft``) alone; in ipvs mode with ``ipset`` and ``ipvsadm``, too.

Pure. Invariant: every value is checked and quoted (:mod:`emulator.plan.operations.words`), so that no name in
a manifest can become a command or an option; each step is preceded by its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from ..errors import printable
from .operations import Operation, Plan

_HEADER = """\
#!/usr/bin/env bash
# {title}
# Written by podwire: builds the network with {tools} alone.
#
# It makes network namespaces and nothing outside them. To keep their names off this
# machine too, run it as root in a sandbox of its own, and look around in the shell
# that follows (ip netns list; ip netns exec NAME ...):
#
#   unshare --net --mount sh -c 'mount -t tmpfs tmpfs /run && bash script.sh && exec bash'
set -euo pipefail
"""


def render_shell(plan: Plan, *, title: str, changes: Iterable[tuple[str, Plan]] = ()) -> str:
    """Returns the script. ``title`` is its first comment. Consecutive operations with the same reason share
    one comment. Each of ``changes``, (title, plan), comes after the plan that it changes.

    Raises ``UnsafeTextError`` for a value that could be read as an option, and for rule text that holds the
    here-document's delimiter as a line.
    """
    kinds: dict[type[Operation], None] = dict.fromkeys(map(type, plan.operations))
    extra = [*dict.fromkeys(tool for kind in kinds for tool in kind.tools)] or ["nft"]
    *tools, last = ("ip", "bridge", "sysctl", "iptables-restore", *extra)
    lines = [
        _HEADER.format(title=printable(title), tools=f"{', '.join(tools)} and {last}"),
        *(kind.preamble for kind in kinds if kind.preamble),
        *_operations(plan),
    ]
    for heading, change in changes:
        lines += [f"# {'-' * 100}", f"# {printable(heading)}", "", *_operations(change)]
    return "\n".join(lines)


def _operations(plan: Plan) -> Iterator[str]:
    for why, operations in groupby(plan.operations, key=lambda op: op.why):
        yield f"# {printable(why)}"
        for operation in operations:
            yield from operation.commands()
        yield ""


def shell_commands(operation: Operation) -> str:
    """Returns the lines of shell of one operation, as a person would type them."""
    return "\n".join(operation.commands())
