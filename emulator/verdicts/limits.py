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

from ..model.findings import Finding, FlowFault, Limit, Reached
from ..model.results import FlowResult

Counters = Mapping[str, int]


LIMITS: tuple[Limit, ...] = (
    Limit(
        name="the kernel's neighbour table, which all network namespaces share, had no room for an entry",
        place="machine",
        counters=("arp_cache table_fulls",),
        setting="net.ipv4.neigh.default.gc_thresh3",
        remedy="end what else fills it (ip neighbour), or raise it: sysctl -w "
        "net.ipv4.neigh.default.gc_thresh3=8192",
    ),
    Limit(
        name="a processor's queue of received packets was full",
        place="machine",
        counters=("softnet dropped",),
        setting="net.core.netdev_max_backlog",
        remedy="run again when the machine is less busy, or raise it: sysctl -w "
        "net.core.netdev_max_backlog=10000",
    ),
    Limit(
        name="connection tracking dropped a packet",
        place="namespace",
        counters=("conntrack drop", "conntrack early_drop", "conntrack chain_toolong"),
        setting="net.netfilter.nf_conntrack_max",
        remedy="raise it: sysctl -w net.netfilter.nf_conntrack_max=262144",
    ),
    Limit(
        name="a UDP socket's buffer had no room for a datagram",
        place="namespace",
        counters=("Udp RcvbufErrors", "Udp MemErrors"),
        setting="net.core.rmem_default",
        remedy="raise it: sysctl -w net.core.rmem_default=212992",
    ),
    Limit(
        name="a server's queue of connections to accept was full",
        place="namespace",
        counters=("TcpExt ListenOverflows",),
        setting="net.core.somaxconn",
        remedy="have the server listen with a longer backlog, or send it fewer attempts",
    ),
    Limit(
        name="TCP was short of memory",
        place="namespace",
        counters=("TcpExt TCPAbortOnMemory", "TcpExt PFMemallocDrop", "TcpExt TCPBacklogDrop"),
        setting="net.ipv4.tcp_mem",
        remedy="run again when the machine has more memory to spare",
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


def notices(doubted: Iterable[Reached]) -> tuple[str, ...]:
    """Returns the notices of limits that made verdicts "unknown": one sentence a limit, and the remedy."""
    rows: dict[str, list[Reached]] = {}
    for one in dict.fromkeys(doubted):
        rows.setdefault(one.limit.name, []).append(one)
    said = []
    for group in rows.values():
        more = (
            f", and in {len(group) - 1} more network namespace{'s' if len(group) > 2 else ''}"
            if len(group) > 1
            else ""
        )
        said.append(
            f"{group[0]}{more}: flows whose verdict rests on silence are UNKNOWN; {group[0].limit.remedy}"
        )
    return tuple(said)
