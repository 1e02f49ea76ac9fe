"""Finds the local traffic and addresses of a node: the packets that its kube-proxy takes for its Pods', and
the addresses at which it serves NodePorts.

Each mode turns the answers into its own rules. Invariant: every address and prefix that is returned is a
canonical one of the cluster's family.
"""

from __future__ import annotations

from typing import NamedTuple

from ..cluster.state import ClusterState
from ..net import (
    Address,
    Family,
    Prefix,
    addresses_of,
    everything,
    prefixes_in,
    prefixes_of,
)
from ..objects.kinds import Node


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
    source = next(iter(prefixes_in(state.family, prefixes)), "")
    return Detector(source=source) if source else None


def primary_ip(node: Node, family: Family) -> str:
    """Returns the primary address of ``node`` in ``family`` ("" if it has none)."""
    return next(iter(addresses_of(family, node.internalIPs)), "")


def node_port_prefixes(words: tuple[str, ...], primary: str, family: Family) -> tuple[Prefix, ...]:
    """Returns ``nodePortAddresses`` of ``family``, "primary" being the node's ``primary`` address;
    everything when there are none or one of them is everything.
    """
    prefixes = prefixes_of(family, (Address(primary).host if word == "primary" else word for word in words))
    all_of_them = everything(family)
    return (all_of_them,) if not prefixes or all_of_them in prefixes else prefixes


def local_addresses(state: ClusterState, node: str) -> tuple[Address, ...]:
    """Returns the addresses of ``node`` that others can dial: its own, and the one in the Pod network."""
    gateway = (state.gateway(node),) if state.podCIDR(node) else ()
    addresses = addresses_of(state.family, (*state.node[node].internalIPs, *gateway))
    return tuple(sorted(set(addresses)))
