"""Writes the limits of the machine that were met as sentences. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..model.findings import LimitKind, Reached


class _Text(NamedTuple):
    what: str
    remedy: str


_TEXTS: Mapping[LimitKind, _Text] = {
    LimitKind.NEIGHBOURS: _Text(
        "the kernel's neighbour table, which all network namespaces share, had no room for an entry",
        "end what else fills it (ip neighbour), or raise it: sysctl -w "
        "net.ipv4.neigh.default.gc_thresh3=8192",
    ),
    LimitKind.BACKLOG: _Text(
        "a processor's queue of received packets was full",
        "run again when the machine is less busy, or raise it: sysctl -w net.core.netdev_max_backlog=10000",
    ),
    LimitKind.CONNTRACK: _Text(
        "connection tracking dropped a packet",
        "raise it: sysctl -w net.netfilter.nf_conntrack_max=262144",
    ),
    LimitKind.UDP_BUFFER: _Text(
        "a UDP socket's buffer had no room for a datagram",
        "raise it: sysctl -w net.core.rmem_default=212992",
    ),
    LimitKind.ACCEPT_QUEUE: _Text(
        "a server's queue of connections to accept was full",
        "have the server listen with a longer backlog, or send it fewer attempts",
    ),
    LimitKind.TCP_MEMORY: _Text(
        "TCP was short of memory",
        "run again when the machine has more memory to spare",
    ),
}


def say_reached(reached: Reached) -> str:
    """Returns that a limit was met, how often, and its current setting."""
    where = f" in {reached.netns}" if reached.netns else ""
    value = f" = {reached.value}" if reached.value else ""
    times = "once" if reached.times == 1 else f"{reached.times} times"
    return f"{_TEXTS[reached.limit.kind].what}{where}, {times} ({reached.limit.setting}{value})"


def say_doubted(reached: Sequence[Reached]) -> str:
    """Returns that a limit, met at one or several places, made verdicts UNKNOWN, and the remedy."""
    first, others = reached[0], len(reached) - 1
    more = f", and in {others} more network namespace{'s' if others > 1 else ''}" if others else ""
    doubted = f"{say_reached(first)}{more}: flows whose verdict rests on silence are UNKNOWN"
    return f"{doubted}; {_TEXTS[first.limit.kind].remedy}"
