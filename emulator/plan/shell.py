"""Renders a plan as a bash script that builds the same network with ``ip``, ``sysctl`` and
``iptables-restore`` (or ``nft``) alone; in ipvs mode with ``ipset`` and ``ipvsadm``, too.

Pure. Invariant: every value is checked and quoted (:mod:`emulator.plan.operations.words`), so that no name in
a manifest can become a command or an option; each step is preceded by its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from ..errors import printable
from .operations import AddNetns, DelNetns, Operation, Plan, words

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
#
# Without a sandbox, "bash script.sh clean" deletes the namespaces of these names.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin # Debian leaves them out of an ordinary user's
"""

# {every}: the namespaces that are made at any time; {first}: those that may not be there
_NAMESPACES = """\
if (( $# )) && [[ $* != clean ]]; then
  echo "usage: bash script.sh [clean]" >&2
  exit 2
fi
if [[ ${{1-}} == clean ]]; then
  for name in {every}; do
    [[ ! -e /run/netns/$name ]] || ip netns delete "$name"
  done
  exit
fi
for name in {first}; do
  if [[ -e /run/netns/$name ]]; then
    echo "the network namespace $name is there already, made by this script or by somebody else;" >&2
    echo "with clean as its argument, this script deletes all network namespaces of these names:" >&2
    echo "{every}" >&2
    exit 1
  fi
done
"""


def render_shell(plan: Plan, *, title: str, note: str = "", changes: Iterable[tuple[str, Plan]] = ()) -> str:
    """Returns the script. ``title`` is its first comment, ``note`` a later one. Consecutive operations with
    the same reason share one comment. Each of ``changes``, (title, plan), comes after the plan that it
    changes.

    Raises ``UnsafeTextError`` for a value that could be read as an option, and for rule text that holds the
    here-document's delimiter as a line.
    """
    changes = tuple(changes)
    kinds: dict[type[Operation], None] = dict.fromkeys(map(type, plan.operations))
    extra = [*dict.fromkeys(tool for kind in kinds for tool in kind.tools)] or ["nft"]
    *tools, last = ("ip", "bridge", "sysctl", "iptables-restore", *extra)
    lines = [
        _HEADER.format(title=printable(title), tools=f"{', '.join(tools)} and {last}"),
        *([f"# {printable(note)}", ""] if note else []),
        *(kind.preamble for kind in kinds if kind.preamble),
        *_namespaces(plan, changes),
        *_operations(plan),
    ]
    for heading, change in changes:
        lines += [f"# {'-' * 100}", f"# {printable(heading)}", "", *_operations(change)]
    return "\n".join(lines)


def _namespaces(plan: Plan, changes: Iterable[tuple[str, Plan]]) -> Iterator[str]:
    """Yields what removes the namespaces again, and what stops a second run; nothing if none is made."""
    gone = {op.netns for op in plan.operations if isinstance(op, DelNetns)}
    first = [
        words.name(op.netns) for op in plan.operations if isinstance(op, AddNetns) and op.netns not in gone
    ]
    later = [
        words.name(op.netns) for _, change in changes for op in change.operations if isinstance(op, AddNetns)
    ]
    if first:
        yield _NAMESPACES.format(every=" ".join(dict.fromkeys([*first, *later])), first=" ".join(first))


def _operations(plan: Plan) -> Iterator[str]:
    for why, operations in groupby(plan.operations, key=lambda op: op.why):
        yield f"# {printable(why)}"
        for operation in operations:
            yield from operation.commands()
        yield ""


def shell_commands(operation: Operation) -> str:
    """Returns the lines of shell of one operation, as a person would type them."""
    return "\n".join(operation.commands())
