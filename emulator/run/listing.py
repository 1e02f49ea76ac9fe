"""Lists running clusters and their Pods, as a table, as values and as names. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..report.layout import Screen, table
from .clusters import Running
from .naming import Member

_MOST = 50  # Pods of one cluster in the table; -o wide has all


def list_text(running: Sequence[Running], *, wide: bool = False, width: int | None = None) -> str:
    """Returns a table of the clusters, then one of the Pods of each that stays up, within ``width`` columns
    (None: as wide as they are). ``wide``: with nodes and clients, and all Pods.
    """
    parts = [_clusters(running, width)]
    for one in running:
        if one.stays and one.members:
            title = f"{one.topology} (PID {one.pid}):\n" if len(running) > 1 else ""
            parts.append(title + _members(one, wide, width))
    return "\n\n".join(parts) + "\n"


def _clusters(running: Sequence[Running], width: int | None) -> str:
    headers = ["PID", "TOPOLOGY", "NODES", "PODS", "SERVICES", "STARTED"]
    rows = [
        [
            str(one.pid),
            *(
                "?" if value in ("", None) else str(value)
                for value in (one.topology, one.nodes, one.pods, one.services, one.started)
            ),
        ]
        for one in running
    ]
    if any(one.note for one in running):
        headers.append("NOTE")
        rows = [[*row, one.note] for row, one in zip(rows, running, strict=True)]
    return table(headers, rows, width)


def _members(one: Running, wide: bool, width: int | None) -> str:
    shown = one.members if wide else one.members[:_MOST]
    rows = [[member.name, member.node, _address(member, wide), _state(member)] for member in shown]
    headers = ["POD", "NODE", "IP", "READY"]
    if wide:
        rows = [[*row, member.controller or "-"] for row, member in zip(rows, shown, strict=True)]
        headers.append("CONTROLLER")
    text = table(headers, rows, width)
    if len(shown) < len(one.members):
        text += f"\nand {len(one.members) - len(shown)} more Pods (podwire ps -o wide)"
    if wide and (others := _others(one)):
        said = f"Nodes, clients and others: {', '.join(others)}"
        text += "\n\n" + "\n".join(Screen(width).say(said, hang="  "))
    return text


def _address(member: Member, wide: bool) -> str:
    return ", ".join(member.addresses if wide else member.addresses[:1]) or "-"


def _state(member: Member) -> str:
    return "yes" if member.ready else "no"


def _others(one: Running) -> list[str]:
    """Returns the names that are no Pod's."""
    return [name for name, netns in one.names.items() if name == netns]


def list_values(running: Sequence[Running]) -> list[dict[str, Any]]:
    """Returns every cluster with its Pods and its other names, as JSON holds it."""
    return [
        {
            "pid": one.pid,
            "topology": one.topology,
            "started": one.started,
            "release": one.release,
            "stays": one.stays,
            "nodes": one.nodes,
            "services": one.services,
            "pods": [
                {
                    "name": member.name,
                    "node": member.node,
                    "ips": list(member.addresses),
                    "ready": member.ready,
                    "controller": member.controller,
                }
                for member in one.members
            ],
            "machines": _others(one),
        }
        for one in running
    ]


def list_names(running: Sequence[Running]) -> str:
    """Returns the names that exec takes, a line each."""
    return "".join(f"{name}\n" for name in dict.fromkeys(_names(running)))


def _names(running: Sequence[Running]) -> Iterator[str]:
    for one in running:
        yield from (member.name for member in one.members)
        yield from _others(one)
