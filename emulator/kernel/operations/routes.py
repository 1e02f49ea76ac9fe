"""Adds and deletes routes of the main table (linux/rtnetlink.h)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ...net import Address, Prefix
from ...plan.operations.routes import AddRoute, DelRoute
from ..applied import Applied
from ..netlink import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    U32,
    attribute,
    message,
)
from .registry import handles

RTM_NEWROUTE, RTM_DELROUTE = 24, 25
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC = 1, 4, 5, 7
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST, RTNH_F_ONLINK = 254, 4, 1, 4


@handles(AddRoute)
def add(ops: Sequence[AddRoute], kernel: Applied) -> None:
    for op in ops:
        index = kernel.links.index(op.netns, op.dev)
        kernel.links.queue(op, new_route(index, op.dst, op.via, op.onlink, op.src))


@handles(DelRoute)
def delete(ops: Sequence[DelRoute], kernel: Applied) -> None:
    for op in ops:
        index = kernel.links.index(op.netns, op.dev)
        kernel.links.queue(op, delete_route(index, op.dst, op.via))


def new_route(index: int, dst: Prefix, via: Address | None, onlink: bool, src: Address | None) -> bytes:
    """Adds or replaces the route to ``dst`` (of length 0: the default route) through the link ``index``;
    ``via`` None is on-link.
    """
    return message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, _route(index, dst, via, onlink, src))


def delete_route(index: int, dst: Prefix, via: Address | None) -> bytes:
    """Deletes the route that :func:`new_route` made with these values."""
    return message(RTM_DELROUTE, 0, _route(index, dst, via, False, None))


def _route(index: int, dst: Prefix, via: Address | None, onlink: bool, src: Address | None) -> bytes:
    scope = RT_SCOPE_UNIVERSE if via else RT_SCOPE_LINK
    flags = RTNH_F_ONLINK if onlink else 0
    payload = struct.pack(
        "=BBBBBBBBI",
        dst.family.number,
        dst.length,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_STATIC,
        scope,
        RTN_UNICAST,
        flags,
    )
    if dst.length:
        payload += attribute(RTA_DST, dst.first.packed)
    payload += attribute(RTA_OIF, U32.pack(index))
    if via:
        payload += attribute(RTA_GATEWAY, via.packed)
    if src:
        payload += attribute(RTA_PREFSRC, src.packed)
    return payload
