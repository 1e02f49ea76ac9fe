"""Lists kube-proxy's modes: the only table that finds rules by the name of a mode. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ..cluster.state import ClusterState
from ..objects.config import ProxyMode
from . import ipvs, userspace
from .backend import Backend, Tool
from .incremental import iptables, nftables
from .iptables import explain as explain_iptables
from .nftables import explain as explain_nftables
from .real import real
from .stale import stale_connections

_RESTORE = Tool("iptables-restore", "iptables", every_run=True)

BACKENDS: Mapping[ProxyMode, Backend] = {
    "iptables": Backend(
        tools=(_RESTORE,),
        kernel=("iptables",),
        rules=iptables.rules,
        explain=explain_iptables,
        stale=stale_connections,
        prints=("iptables-save", "-t", "nat"),
    ),
    "nftables": Backend(
        tools=(Tool("nft", "nftables"),),
        kernel=("nf_tables",),
        rules=nftables.rules,
        explain=explain_nftables,
        stale=stale_connections,
        layout="Services alike share a chain here; kube-proxy gives each Service and endpoint one "
        "(service-…, endpoint-…)",
        prints=("nft", "list", "table", "ip", "kube-proxy"),
    ),
    "ipvs": Backend(
        tools=(_RESTORE, Tool("ipset", "ipset")),
        kernel=("iptables", "ip_vs"),
        rules=ipvs.rules,
        explain=ipvs.explain,
        stale=partial(stale_connections, cleanup="of what went"),
        fresh_ports=True,
        prints=("ipvsadm-save", "-n"),
    ),
    "userspace": Backend(
        tools=(_RESTORE,),
        kernel=("iptables",),
        rules=userspace.rules,
        explain=userspace.explain,
        stale=userspace.stale_relays,
        relays=userspace.relays,
    ),
}


def backend_of(state: ClusterState) -> Backend:
    """Returns the mode that ``state`` names, without rules of ours where a real kube-proxy makes them."""
    backend = BACKENDS[state.proxy.mode]
    return real(backend) if state.proxy.program else backend
