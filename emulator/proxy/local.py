"""Finds the local traffic and addresses of a node: the packets that its kube-proxy takes for its Pods', and
the addresses at which it serves NodePorts.

Imports the cluster state and ``plan.rules`` for reading addresses; each mode turns the answers into its own
rules. Invariant: every address and prefix that is returned is a canonical IPv4 one.
"""

from __future__ import annotations

from typing import NamedTuple

from ..cluster.state import ClusterState
from ..net import (
    IPV4,
    Address,
    Prefix,
    addresses_of,
    prefixes_of,
)
from ..objects.kinds import Node

LOOPBACK = Prefix(IPV4.loopback)
LOCALHOST = Address(IPV4.localhost)
EVERYTHING = Prefix(IPV4.everything)


class Detector(NamedTuple):
    """Describes the local-traffic detector: a source prefix, or the input interface (or the prefix of its
    name).
    """

    source: str = ""
    interface: str = ""
    prefix: str = ""


def detector_of(state: ClusterState, node: str) -> Detector | None:
    """Returns the detector of ``node``; ``None`` when the settings name none, or the prefix that it needs is
    not known.
    """
    mode = state.proxy.localMode
    if mode == "BridgeInterface":
        return Detector(interface=state.podNetwork.interface)
    if mode == "InterfaceNamePrefix":
        return Detector(prefix=state.podNetwork.interfacePrefix)
    prefixes = {"ClusterCIDR": state.proxy.clusterCIDR, "NodeCIDR": state.podCIDR(node)}.get(mode, "")
    source = next(iter(prefixes_of(IPV4, prefixes.split(","))), "")
    return Detector(source=source) if source else None


def primary_ip(node: Node) -> str:
    """Returns the primary address of ``node`` ("" if it has none of this family)."""
    return next(iter(addresses_of(IPV4, node.internalIPs)), "")


def node_port_prefixes(words: tuple[str, ...], primary: str) -> tuple[Prefix, ...]:
    """Returns ``nodePortAddresses`` of this family, "primary" being the node's ``primary`` address;
    everything when there are none or one of them is everything.
    """
    prefixes = prefixes_of(IPV4, (Address(primary).host if word == "primary" else word for word in words))
    return (EVERYTHING,) if not prefixes or EVERYTHING in prefixes else prefixes


def local_addresses(state: ClusterState, node: str) -> tuple[Address, ...]:
    """Returns the addresses of ``node`` that others can dial: its own, and the one in the Pod network."""
    gateway = (state.gateway(node),) if state.podCIDR(node) else ()
    addresses = addresses_of(IPV4, (*state.node[node].internalIPs, *gateway))
    return tuple(sorted(set(addresses)))
