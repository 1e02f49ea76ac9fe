"""Knows the limits that a run shares with everything else on the machine, or that its namespaces have, and
doubts verdicts where one was met.

Pure. Each limit is a row of :data:`LIMITS`: which counters say that a packet was dropped for it.
``kernel.counters`` reads them before and after. A packet that is dropped so leaves no trace: what looks like
a rule's silence may be the limit's, and the verdict is "unknown". No row is needed for what is refused aloud
(descriptors, processes, memory: an error ends the run), nor for ICMP errors, which are exempt from their
limits in every namespace (``hostnet.network``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..model.findings import Finding, FlowFault, Limit, LimitKind, Reached
from ..model.results import FlowResult

Counters = Mapping[str, int]


LIMITS: tuple[Limit, ...] = (
    Limit(
        kind=LimitKind.NEIGHBOURS,
        place="machine",
        counters=("arp_cache table_fulls",),
        setting="net.ipv4.neigh.default.gc_thresh3",
    ),
    Limit(
        kind=LimitKind.BACKLOG,
        place="machine",
        counters=("softnet dropped",),
        setting="net.core.netdev_max_backlog",
    ),
    Limit(
        kind=LimitKind.CONNTRACK,
        place="namespace",
        counters=("conntrack drop", "conntrack early_drop", "conntrack chain_toolong"),
        setting="net.netfilter.nf_conntrack_max",
    ),
    Limit(
        kind=LimitKind.UDP_BUFFER,
        place="namespace",
        counters=("Udp RcvbufErrors", "Udp MemErrors"),
        setting="net.core.rmem_default",
    ),
    Limit(
        kind=LimitKind.ACCEPT_QUEUE,
        place="namespace",
        counters=("TcpExt ListenOverflows",),
        setting="net.core.somaxconn",
    ),
    Limit(
        kind=LimitKind.TCP_MEMORY,
        place="namespace",
        counters=("TcpExt TCPAbortOnMemory", "TcpExt PFMemallocDrop", "TcpExt TCPBacklogDrop"),
        setting="net.ipv4.tcp_mem",
    ),
)


def find_reached(
    before: Counters, after: Counters, settings: Mapping[str, str], netns: str = ""
) -> tuple[Reached, ...]:
    """Returns the limits that were met between two readings of the machine's counters, or of those of
    ``netns``. A counter that this kernel does not have is 0.
    """
    place = "namespace" if netns else "machine"
    reached = []
    for limit in LIMITS:
        times = sum(_growth(before.get(name, 0), after.get(name, 0)) for name in limit.counters)
        if limit.place == place and times > 0:
            reached.append(
                Reached(limit=limit, times=times, netns=netns, value=settings.get(limit.setting, ""))
            )
    return tuple(reached)


def _growth(before: int, after: int) -> int:
    """Returns how much a counter has grown. One that is smaller than before belongs to a network namespace
    that was made since.
    """
    return after - before if after >= before else after


def doubt(result: FlowResult, reached: Sequence[Reached]) -> FlowResult:
    """Returns ``result``, doubted where its verdict rests on silence and packets of the flow may have met the
    limits ``reached``.
    """
    if not reached or not result.silent:
        return result
    finding = result.finding or Finding(fault=FlowFault.SILENCE)
    return replace(result, verdict="unknown", finding=replace(finding, limits=tuple(reached)))


def group_by_limit(doubted: Iterable[Reached]) -> tuple[tuple[Reached, ...], ...]:
    """Returns the limits that made verdicts "unknown", each time once, by limit."""
    groups: dict[LimitKind, list[Reached]] = {}
    for one in dict.fromkeys(doubted):
        groups.setdefault(one.limit.kind, []).append(one)
    return tuple(map(tuple, groups.values()))
