"""Adds and deletes neighbour entries, and sets neighbour parameters (linux/neighbour.h)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from ...net import Address, Family
from ...plan.operations.neighbours import AddNeighbour, DelNeighbour, SetNeighbourDefaults
from ...plan.sysctls import NEIGHBOUR_DEFAULTS
from ..applied import Applied
from ..netlink import NLM_F_CREATE, NLM_F_REPLACE, U32, attribute, mac_bytes, message
from .registry import handles

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_SETNEIGHTBL = 28, 29, 67
NDA_DST, NDA_LLADDR, NUD_PERMANENT = 1, 2, 0x80
NDTA_NAME, NDTA_PARMS, NDTPA_IFINDEX, NDTPA_BASE_REACHABLE_TIME = 1, 6, 1, 4
_NDTPA: Mapping[str, tuple[int, bool]] = {  # by iproute2's name: number, and whether it is a time
    "retrans": (5, True),
    "gc_stale": (6, True),
    "delay_probe": (7, True),
    "queue": (8, False),
    "app_probes": (9, False),
    "ucast_probes": (10, False),
    "mcast_probes": (11, False),
    "locktime": (15, True),
}


@handles(AddNeighbour)
def add(ops: Sequence[AddNeighbour], kernel: Applied) -> None:
    for op in ops:
        kernel.links.queue(op, new_neighbour(kernel.links.index(op.netns, op.dev), op.address, op.mac))


@handles(DelNeighbour)
def delete(ops: Sequence[DelNeighbour], kernel: Applied) -> None:
    for op in ops:
        kernel.links.queue(op, delete_neighbour(kernel.links.index(op.netns, op.dev), op.address))


@handles(SetNeighbourDefaults)
def set_defaults(ops: Sequence[SetNeighbourDefaults], kernel: Applied) -> None:
    for op in ops:
        index = kernel.links.index(op.netns, op.dev)
        kernel.links.queue(op, set_neighbour_parameters(index, op.family, op.reachable))


def new_neighbour(index: int, address: Address, mac: str) -> bytes:
    """Adds a permanent neighbour entry on the link ``index``."""
    payload = _neighbour(index, address, NUD_PERMANENT) + attribute(NDA_LLADDR, mac_bytes(mac))
    return message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, payload)


def set_neighbour_parameters(index: int, family: Family, reachable: int) -> bytes:
    """Sets how the link ``index`` asks for neighbours of ``family``, and the mean lifetime of a REACHABLE
    entry in milliseconds. (The sysctls do not exist for root of a user namespace only: net/core/neighbour.c,
    neigh_sysctl_register.)
    """
    parameters = attribute(NDTPA_IFINDEX, U32.pack(index)) + attribute(
        NDTPA_BASE_REACHABLE_TIME, struct.pack("=Q", reachable)
    )
    for name, value in NEIGHBOUR_DEFAULTS:
        kind, is_time = _NDTPA[name]
        parameters += attribute(kind, struct.pack("=Q" if is_time else "=I", value))
    payload = (
        struct.pack("=BBH", family.number, 0, 0)
        + attribute(NDTA_NAME, family.neighbour_table.encode() + b"\0")
        + attribute(NDTA_PARMS, parameters)
    )
    return message(RTM_SETNEIGHTBL, 0, payload)


def delete_neighbour(index: int, address: Address) -> bytes:
    """Deletes the neighbour entry of ``address`` from the link ``index``."""
    return message(RTM_DELNEIGH, 0, _neighbour(index, address, 0))


def _neighbour(index: int, address: Address, state: int) -> bytes:
    return struct.pack("=BBHiHBB", address.family.number, 0, 0, index, state, 0, 0) + attribute(
        NDA_DST, address.packed
    )
