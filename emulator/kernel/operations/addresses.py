"""Adds and deletes addresses of links (linux/if_addr.h)."""

from __future__ import annotations

from collections.abc import Sequence

from ...net import InterfaceAddress
from ...plan.operations.addresses import AddAddress, DelAddress
from ..applied import Applied
from ..netlink import (
    IFA_ADDRESS,
    IFA_LOCAL,
    IFADDR,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    RT_SCOPE_UNIVERSE,
    RTM_NEWADDR,
    attribute,
    message,
)
from .registry import handles

RTM_DELADDR = 21


@handles(AddAddress)
def add(ops: Sequence[AddAddress], kernel: Applied) -> None:
    for op in ops:
        kernel.links.queue(op, new_address(kernel.links.index(op.netns, op.dev), op.address))


@handles(DelAddress)
def delete(ops: Sequence[DelAddress], kernel: Applied) -> None:
    for op in ops:
        kernel.links.queue(op, delete_address(kernel.links.index(op.netns, op.dev), op.address))


def new_address(index: int, address: InterfaceAddress) -> bytes:
    """Adds ``address`` to the link ``index``."""
    return message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, _address(index, address))


def delete_address(index: int, address: InterfaceAddress) -> bytes:
    """Deletes ``address`` from the link ``index``."""
    return message(RTM_DELADDR, 0, _address(index, address))


def _address(index: int, address: InterfaceAddress) -> bytes:
    local = address.address.packed
    header = IFADDR.pack(address.address.family.number, address.length, 0, RT_SCOPE_UNIVERSE, index)
    return header + attribute(IFA_LOCAL, local) + attribute(IFA_ADDRESS, local)
