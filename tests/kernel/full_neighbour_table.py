"""Gives the machine that it runs on, which is to be a guest, a small neighbour table, and keeps it full from
a network namespace of its own until it is killed. Says so once it is full:  python -m
tests.kernel.full_neighbour_table
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

from emulator.kernel import linux, netlink
from emulator.kernel.operations.addresses import new_address
from emulator.kernel.operations.links import new_bridge
from emulator.kernel.operations.neighbours import new_neighbour
from emulator.net import Address, InterfaceAddress

ROOM = 40
NUD_REACHABLE = 0x02
_STATE = 16 + 8  # bytes before ndm_state: the message's header, and what is before it in struct ndmsg


def learnt(address: str) -> bytes:
    """Returns the message that adds a neighbour as if it had answered just now."""
    message = bytearray(new_neighbour(2, Address(address), "02:00:00:00:00:02"))
    struct.pack_into("=H", message, _STATE, NUD_REACHABLE)
    return bytes(message)


if __name__ == "__main__":
    for number in (1, 2, 3):
        Path(f"/proc/sys/net/ipv4/neigh/default/gc_thresh{number}").write_text(str(ROOM))
    linux.unshare(linux.CLONE_NEWNET)
    sock = netlink.NetlinkSocket()
    sock.send([new_bridge(2, "full", "02:00:00:00:00:01"), new_address(2, InterfaceAddress("10.0.0.1/16"))])
    print("full", flush=True)
    while True:
        for number in range(2, ROOM + 22):
            sock.send([learnt(f"10.0.0.{number}")])
        time.sleep(0.3)
