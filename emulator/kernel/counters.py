"""Reads the kernel's counters of packets dropped for lack of room: the whole machine's, and one network
namespace's.

Names are "source counter", as the kernel or iproute2 spells both. Formats: linux/neighbour.h (struct
ndt_stats), net/core/net-procfs.c (softnet_stat), linux/netfilter/nfnetlink_conntrack.h,
Documentation/networking/snmp_counter.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from .conntrack import NETLINK_NETFILTER, NFNL_SUBSYS_CTNETLINK
from .netlink import attributes, dump

RTM_NEWNEIGHTBL, RTM_GETNEIGHTBL = 64, 66
NDTA_NAME, NDTA_THRESH3, NDTA_STATS = 1, 4, 7
IPCTNL_MSG_CT_GET_STATS_CPU = 4
_TABLE_FULLS = 10  # struct ndt_stats: the place of ndts_table_fulls among its 64-bit numbers
_CONNTRACK = {10: "drop", 11: "early_drop", 15: "chain_toolong"}  # CTA_STATS_…
_ARP = "arp_cache"
# in the machine's first namespace only; netlink has it everywhere
_GC_THRESH3 = "net.ipv4.neigh.default.gc_thresh3"
SETTINGS = (
    "net.core.netdev_max_backlog",
    "net.netfilter.nf_conntrack_max",
    "net.core.rmem_default",
    "net.core.somaxconn",
    "net.ipv4.tcp_mem",
)


def read_machine() -> dict[str, int]:
    """Returns the counters that all network namespaces share; any namespace shows them."""
    counters = {f"{name} table_fulls": fulls for name, fulls, _ in _neighbour_tables()}
    rows = Path("/proc/thread-self/net/softnet_stat").read_text().splitlines()
    return counters | {"softnet dropped": sum(int(row.split()[1], 16) for row in rows)}


def read_namespace() -> dict[str, int]:
    """Returns the counters of the calling thread's network namespace; in a new one all are 0."""
    counters: dict[str, int] = {}
    for file in ("snmp", "netstat"):
        lines = Path("/proc/thread-self/net", file).read_text().splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            protocol = names.partition(":")[0]
            counters |= {
                f"{protocol} {name}": int(value)
                for name, value in zip(names.split()[1:], values.split()[1:], strict=True)
            }
    kind = NFNL_SUBSYS_CTNETLINK << 8
    for data in dump(
        kind | IPCTNL_MSG_CT_GET_STATS_CPU, kind | IPCTNL_MSG_CT_GET_STATS_CPU, bytes(4), NETLINK_NETFILTER
    ):
        for number, value in attributes(data, 4).items():
            if number in _CONNTRACK:
                name = f"conntrack {_CONNTRACK[number]}"
                counters[name] = counters.get(name, 0) + struct.unpack("!I", value)[0]
    return counters


def read_settings() -> dict[str, str]:
    """Returns the limits' values, as far as they can be read: several are shown in the machine's first
    network namespace only.
    """
    settings = {}
    for name, _, most in _neighbour_tables():
        if name == _ARP:
            settings[_GC_THRESH3] = str(most)
    for key in SETTINGS:
        path = Path("/proc/sys", key.replace(".", "/"))
        if path.exists():
            settings[key] = " ".join(path.read_text().split())
    return settings


def _neighbour_tables() -> Iterator[tuple[str, int, int]]:
    """Yields name, table_fulls and gc_thresh3 of each of the kernel's neighbour tables."""
    for data in dump(RTM_GETNEIGHTBL, RTM_NEWNEIGHTBL, bytes(4)):
        table = attributes(data, 4)
        # other messages have a device's parameters
        if NDTA_STATS in table and len(table[NDTA_STATS]) > 8 * _TABLE_FULLS:
            name = table[NDTA_NAME].rstrip(b"\0").decode()
            (most,) = struct.unpack("=I", table[NDTA_THRESH3])
            yield name, struct.unpack_from("=Q", table[NDTA_STATS], 8 * _TABLE_FULLS)[0], most
