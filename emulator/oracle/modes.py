"""Defines two tables of what depends on the mode of kube-proxy: its published semantics, one row a mode, and
the observed deviations from them, one row each. Pure.

No other module of the oracle knows a mode by its name: it asks for a column or a deviation. A column is named
after what it decides; the number behind it is the section of docs/semantics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from ..objects.config import ProxyMode

Localhost = Literal["as set", "never", "always"]
UdpStays = Literal["while it serves", "while it is chosen", "until it is refused"]


class Semantics(NamedTuple):
    """Describes the published semantics of a mode: what Kubernetes' documents and kube-proxy's source say it
    is to do.
    """

    relays: bool  # 15: a process of the node accepts, and dials an endpoint itself
    policies: bool  # 4, 15: traffic policies and hints narrow the endpoints
    sctp: bool  # 15: SCTP ports are served
    ip_mode: bool  # 14, 15: an address of ipMode Proxy is left to the balancer
    health_checks: bool  # 10, 15: healthCheckNodePorts answer
    # 9, 15: nodePortAddresses where none are set, () for all; None: node ports are at every address, always
    node_port_addresses: tuple[str, ...] | None
    localhost: Localhost  # 9, 15: whether node ports answer at 127.0.0.1; "as set": by localhostNodePorts
    guards_service_subnet: bool  # 8: rejects unknown ports of ClusterIPs, drops addresses that no Service has
    service_interface: str  # 13: the node's interface that has all Service addresses, "" if none has
    scheduler: bool  # 13: ipvs.scheduler chooses the endpoint; else each has the same chance
    udp_stays: UdpStays  # 11, 13, 15: how long a UDP client keeps its endpoint


SEMANTICS: Mapping[ProxyMode, Semantics] = {
    "iptables": Semantics(
        relays=False,
        policies=True,
        sctp=True,
        ip_mode=True,
        health_checks=True,
        node_port_addresses=(),
        localhost="as set",
        guards_service_subnet=False,
        service_interface="",
        scheduler=False,
        udp_stays="while it serves",
    ),
    "nftables": Semantics(
        relays=False,
        policies=True,
        sctp=True,
        ip_mode=True,
        health_checks=True,
        node_port_addresses=("primary",),
        localhost="never",
        guards_service_subnet=True,
        service_interface="",
        scheduler=False,
        udp_stays="while it serves",
    ),
    "ipvs": Semantics(
        relays=False,
        policies=True,
        sctp=True,
        ip_mode=True,
        health_checks=True,
        node_port_addresses=(),
        localhost="never",
        guards_service_subnet=False,
        service_interface="kube-ipvs0",
        scheduler=True,
        udp_stays="while it is chosen",
    ),
    "userspace": Semantics(
        relays=True,
        policies=False,
        sctp=False,
        ip_mode=False,
        health_checks=False,
        node_port_addresses=None,
        localhost="always",
        guards_service_subnet=False,
        service_interface="",
        scheduler=False,
        udp_stays="until it is refused",
    ),
}

Deviates = Literal[
    # if a load-balancer address is an externalIP too, the rule for the externalIP comes first
    "externalIP first",
    # a node's own packets to an external address without endpoints are not refused
    "leaves a node's own packets alone",
    # a node port without (local) endpoints is refused at every address of the node, served there or not
    "refuses at every local address",
    # a Pod's node drops replies to a connection whose beginning it has not seen
    "drops invalid replies",
    # externalTrafficPolicy Local binds Pods and nodes too, and nothing is masqueraded under it
    "Local for everyone",
    # a node without an endpoint uses all, if the Service has an external address
    "any endpoint for an empty Local list",
    # internalTrafficPolicy Local without a local endpoint: rejected, not dropped
    "rejects an empty Local list",
    # a hairpin is masqueraded only by a node that some EndpointSlice says to have the endpoint
    "hairpins by EndpointSlice",
    # source ranges are checked before endpoints
    "source ranges without endpoints",
    # a node's own packets to a ClusterIP are masqueraded without a local-traffic detector, too
    "masquerades a node's own packets",
    # an endpoint at a broadcast or multicast address is left out where the node sees it as one
    "leaves out what is no machine's",
    # an open connection ends with its Service
    "ends connections with the Service",
    # an address that several Services claim is in the sets of each
    "shares a contested address",
    # packets of Pods and nodes to an externalIP are left alone, unless the node that they come to has it
    "externalIP for clients outside",
]


class Deviation(NamedTuple):
    """Describes a mode was seen to do other than the published semantics of Services. ``test`` is a piece of
    the name of a test in tests/kernel that shows it with packets.
    """

    what: Deviates
    mode: ProxyMode
    seen: str  # with which kube-proxy and kernel
    section: int  # in docs/semantics
    test: str


_RULES = "kube-proxy v1.30.5 (pkg/proxy/iptables/proxier.go), kernel 6.18"
_IPVS = "kube-proxy v1.30.5 (pkg/proxy/ipvs/proxier.go), kernel 6.1"
_RELAYS = "kube-proxy v1.25 (pkg/proxy/userspace/proxier.go), kernel 6.18"

DEVIATIONS: tuple[Deviation, ...] = (
    Deviation("drops invalid replies", "iptables", _RULES, 5, "iptables: dropped before a Pod elsewhere"),
    Deviation("externalIP first", "iptables", _RULES, 6, "an address that is an externalIP too"),
    Deviation(
        "leaves a node's own packets alone", "iptables", _RULES, 7, "externalIP from the node: left alone"
    ),
    Deviation("refuses at every local address", "iptables", _RULES, 9, "localhost-filtered"),
    Deviation("Local for everyone", "ipvs", _IPVS, 13, "from a Pod: the node's own endpoints"),
    Deviation(
        "any endpoint for an empty Local list", "ipvs", _IPVS, 13, "any endpoint where the node has none"
    ),
    Deviation(
        "rejects an empty Local list",
        "ipvs",
        _IPVS,
        13,
        "a ClusterIP alone: rejected without a local endpoint",
    ),
    Deviation("hairpins by EndpointSlice", "ipvs", _IPVS, 13, "another Service's slice will do"),
    Deviation(
        "source ranges without endpoints",
        "ipvs",
        _IPVS,
        13,
        "source ranges come before the want of an endpoint",
    ),
    Deviation(
        "masquerades a node's own packets", "ipvs", _IPVS, 13, "from the very address, and masqueraded"
    ),
    Deviation(
        "leaves out what is no machine's",
        "ipvs",
        _IPVS,
        13,
        "an endpoint at its own network's broadcast address is left out",
    ),
    Deviation(
        "ends connections with the Service",
        "ipvs",
        _IPVS,
        13,
        "a deleted service is gone and another one stays",
    ),
    Deviation("shares a contested address", "ipvs", _IPVS, 1, "ipvs-contested"),
    Deviation("externalIP for clients outside", "userspace", _RELAYS, 15, "15 externalIPs and SCTP"),
)


def deviations_of(mode: ProxyMode) -> frozenset[Deviates]:
    """Returns what ``mode`` was seen to do otherwise."""
    return frozenset(row.what for row in DEVIATIONS if row.mode == mode)
