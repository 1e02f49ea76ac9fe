"""Translates a plan for floor.c, the program that makes the kernel do the same operations and nothing else.
Writes the rules' texts to files.
"""

from __future__ import annotations

from pathlib import Path

from emulator.plan.operations import (
    AddAddress,
    AddBridge,
    AddNeighbour,
    AddNetns,
    AddRoute,
    AddVeth,
    LoadRules,
    Plan,
    ResetDevices,
    SetNeighbourDefaults,
    SetSysctl,
)

SOURCE = Path(__file__).resolve().parent / "floor.c"


def describe_for_floor(plan: Plan, iptables: str, directory: Path) -> str:
    """Returns ``plan`` for floor.c's standard input; rule texts go to files in ``directory``. Link indexes
    are counted as podwire counts them.
    """
    number: dict[str, int] = {}
    index: dict[tuple[str, str], int] = {}
    count: dict[str, int] = {}

    def link(netns: str, name: str) -> int:
        count[netns] = count.get(netns, 1) + 1
        return index.setdefault((netns, name), count[netns])

    def end(netns: str, name: str, mac: str, bridge: str, hairpin: bool) -> tuple[object, ...]:
        return (
            number[netns],
            link(netns, name),
            name,
            mac,
            index[netns, bridge] if bridge else 0,
            int(hairpin),
        )

    def fields(op: object) -> tuple[object, ...]:
        match op:
            case AddNetns():
                number[op.netns] = len(number)
                index[op.netns, "lo"] = 1
                return "netns", op.netns
            case SetSysctl():
                return "sysctl", number[op.netns], op.key.replace(".", "/"), op.value, int(op.optional)
            case AddBridge():
                return "bridge", number[op.netns], link(op.netns, op.name), op.name, op.mac
            case AddVeth():
                first = end(op.netns, op.name, op.mac, op.bridge, op.hairpin)
                return (
                    "veth",
                    *first,
                    *end(op.peer_netns, op.peer, op.peer_mac, op.peer_bridge, op.peer_hairpin),
                )
            case AddAddress():
                return "address", number[op.netns], index[op.netns, op.dev], *op.address.split("/")
            case AddRoute():
                dst = "0.0.0.0/0" if op.dst == "default" else op.dst
                via, src = op.via or "0.0.0.0", op.src or "0.0.0.0"  # noqa: S104 - floor.c's word for "none"
                return (
                    "route",
                    number[op.netns],
                    index[op.netns, op.dev],
                    *dst.split("/"),
                    via,
                    int(op.onlink),
                    src,
                )
            case AddNeighbour():
                return "neighbour", number[op.netns], index[op.netns, op.dev], op.address, op.mac
            case SetNeighbourDefaults():
                return "reachable", number[op.netns], index[op.netns, op.dev], op.reachable
            case LoadRules():
                file = directory / f"{op.netns}.rules"
                file.write_text(op.text)
                return "rules", number[op.netns], iptables, file
        raise TypeError(op)

    operations = [
        op for op in plan.operations if not isinstance(op, ResetDevices)
    ]  # a machine that has the kernel's defaults writes nothing
    return "".join("\t".join(str(field) for field in fields(op)) + "\n" for op in operations)
