"""Gives every network namespace that is made from now on other settings than the kernel's own, as a host's
administrator may have done.

As a program it does so to the machine it runs on, which is to be a guest:  python -m
tests.kernel.unlucky_host
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

DEVICES = Path("/proc/sys/net/ipv4/conf")
NEIGHBOURS = Path("/proc/sys/net/ipv4/neigh/default")
# Not 0 and 1 turned round. arp_ignore 1: every Kubernetes node of ipvs mode with strictARP; 8: the worst of
# all
SPECIAL = {
    "arp_ignore": "8",
    "arp_announce": "2",
    "rp_filter": "1",
    "medium_id": "-1",
    "force_igmp_version": "0",
}


def turn_round(scopes: tuple[str, ...] = ("all", "default")) -> int:
    """Writes values that nobody expects into ``net.ipv4.conf`` of the calling thread's network namespace;
    returns their number.
    """
    written = 0
    for scope in scopes:
        for path, value in _turned_round(DEVICES / scope):
            path.write_text(value)
            written += 1
    return written


def _turned_round(directory: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(directory.iterdir()):
        if path.name in SPECIAL:
            yield path, SPECIAL[path.name]
        elif path.name != "mc_forwarding" and (value := path.read_text().strip()) in ("0", "1"):
            yield path, str(1 - int(value))


if __name__ == "__main__":
    written = turn_round()
    for name, value in (
        ("mcast_solicit", "1"),
        ("ucast_solicit", "1"),
        ("retrans_time_ms", "50"),
        ("unres_qlen", "1"),
    ):
        (NEIGHBOURS / name).write_text(value)
    print(f"{written} settings of new network namespaces are other ones now")
