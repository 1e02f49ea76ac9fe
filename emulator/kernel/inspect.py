"""Reads a namespace's state: addresses for the requirements, and everything for an evidence bundle.

Links, addresses, routes and neighbours come through pyroute2, which decodes far more of them than our own
messages; rules and conntrack entries come from the tools that the user would call.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import KernelError
from ..net import Family, is_loopback
from ..plan.ipvs import ipvsadm_text
from .ipvs import is_loaded, read_servers
from .netlink import dump_addresses
from .netns import Namespaces, check_output
from .rules import command_of


def read_addresses(namespaces: Namespaces, names: Iterable[str]) -> dict[str, frozenset[str]]:
    """Returns every address on an interface (``lo``'s own and link-local ones left out) of each namespace of
    ``names``.
    """
    return {
        name: frozenset(
            ip
            for index, ip in namespaces.call_in(name, dump_addresses)
            if not (index == 1 and is_loopback(ip))
        )
        for name in names
    }


def count_overflows(namespaces: Namespaces, names: Iterable[str]) -> dict[str, int]:
    """Returns how many connections each namespace of ``names`` has dropped so far because a listener's queue
    was full (proc(5), net/netstat).
    """
    return {name: namespaces.call_in(name, _overflows) for name in names}


def _overflows() -> int:
    rows = [
        line.split()
        for line in Path("/proc/thread-self/net/netstat").read_text().splitlines()
        if line.startswith("TcpExt:")
    ]
    counters = dict(zip(*rows, strict=True))
    return sum(int(counters.get(name, 0)) for name in ("ListenOverflows", "TCPReqQFullDrop"))


def collect_state(namespaces: Namespaces, netns: str, iptables: str, family: Family) -> dict[str, str]:
    """Returns title → text of everything in ``netns``: rules with their counters, routes, addresses,
    neighbours, links, conntrack.

    ``iptables`` is IPv4's restore command in use; the save command of its flavour and of ``family`` prints
    the rules, and nft kube-proxy's own table of that family, if there is one. Virtual servers are as
    ``ipvsadm -Sn`` prints them. The text of an unreadable part is its error.
    """
    texts = {
        title: json.dumps(rows, indent=1, sort_keys=True)
        for title, rows in _netlink_state(namespaces, netns).items()
    }
    texts["rules"] = _read(namespaces, netns, [command_of(family, iptables.replace("restore", "save")), "-c"])
    if shutil.which("nft") and '"kube-proxy"' in _read(namespaces, netns, ["nft", "-j", "list", "tables"]):
        texts["nftables"] = _read(namespaces, netns, ["nft", "list", "table", family.nft, "kube-proxy"])
    if namespaces.call_in(netns, is_loaded) and (servers := namespaces.call_in(netns, read_servers)):
        texts["ipvs"] = ipvsadm_text(servers)
        texts["ipset"] = _read(namespaces, netns, ["ipset", "save"])
    texts["conntrack"] = (
        _read(namespaces, netns, ["conntrack", "-L", "-o", "extended"])
        if shutil.which("conntrack")
        else "the tool conntrack is not installed (Debian: conntrack)"
    )
    return texts


def _read(namespaces: Namespaces, netns: str, command: list[str]) -> str:
    try:
        return check_output(namespaces, netns, command)
    except KernelError as error:
        return f"could not be read: {error}"


def _netlink_state(namespaces: Namespaces, netns: str) -> Mapping[str, list[dict[str, Any]]]:
    from pyroute2 import IPRoute

    route = namespaces.call_in(netns, IPRoute)  # its socket stays in the namespace
    try:
        return {
            "links": [
                _plain(m, ("index", "state"), ("IFLA_IFNAME", "IFLA_ADDRESS", "IFLA_MASTER", "IFLA_MTU"))
                for m in route.get_links()
            ],
            "addresses": [
                _plain(m, ("index", "prefixlen"), ("IFA_LABEL", "IFA_ADDRESS")) for m in route.get_addr()
            ],
            "routes": [
                _plain(m, ("dst_len", "table", "scope"), ("RTA_DST", "RTA_GATEWAY", "RTA_OIF", "RTA_PREFSRC"))
                for m in route.get_routes()
            ],
            "neighbours": [
                _plain(m, ("ifindex", "state"), ("NDA_DST", "NDA_LLADDR")) for m in route.get_neighbours()
            ],
        }
    finally:
        route.close()


def _plain(message: Any, fields: tuple[str, ...], attributes: tuple[str, ...]) -> dict[str, Any]:
    row = {field: message.get(field) for field in fields}
    row.update(
        {
            name.split("_", 1)[1].lower(): value
            for name in attributes
            if (value := message.get_attr(name)) is not None
        }
    )
    return row
