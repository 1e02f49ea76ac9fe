"""What is local to a node: the packets that its kube-proxy takes for its Pods', and the addresses at which it
serves NodePorts.

Imports the cluster state and ``plan.rules`` for reading addresses; each mode spells the answers in its own
rules. Invariant: every address and prefix that is returned is a canonical IPv4 one.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from emulator.cluster.state import ClusterState
from emulator.objects.kinds import Node
from emulator.plan.rules import address, network

LOOPBACK = IPv4Network("127.0.0.0/8")
EVERYTHING = IPv4Network("0.0.0.0/0")


class Detector(NamedTuple):
    """The local-traffic detector: a source prefix, or the interface that a packet came in by (or its name's
    beginning).
    """

    source: str = ""
    interface: str = ""
    prefix: str = ""


def detector_of(state: ClusterState, node: str) -> Detector | None:
    """The detector of ``node``; ``None`` when the settings name none, or the prefix that it needs is not
    known.
    """
    mode = state.proxy.localMode
    if mode == "BridgeInterface":
        return Detector(interface=state.podNetwork.interface)
    if mode == "InterfaceNamePrefix":
        return Detector(prefix=state.podNetwork.interfacePrefix)
    prefixes = {"ClusterCIDR": state.proxy.clusterCIDR, "NodeCIDR": state.podCIDR(node)}.get(mode, "")
    source = next((network(p) for p in prefixes.split(",") if p and ":" not in p), "")
    return Detector(source=source) if source else None


def primary_ip(node: Node) -> str:
    """The address by which ``node`` is known ("" if it has none of this family)."""
    return next((address(ip) for ip in node.internalIPs if ":" not in ip), "")


def node_port_prefixes(words: tuple[str, ...], primary: str) -> tuple[IPv4Network, ...]:
    """``nodePortAddresses`` of this family, "primary" being the node's ``primary`` address; everything when
    there are none or one of them is everything.
    """
    of_family = (primary if w == "primary" else w for w in words if ":" not in w)
    prefixes = tuple(IPv4Network(network(word)) for word in of_family)
    return (EVERYTHING,) if not prefixes or EVERYTHING in prefixes else prefixes


def local_addresses(state: ClusterState, node: str) -> tuple[IPv4Address, ...]:
    """Returns the addresses of ``node`` that others can dial: its own, and the one in the Pod network."""
    addresses = [ip for ip in state.node[node].internalIPs if ":" not in ip]
    if state.podCIDR(node) and ":" not in state.podCIDR(node):
        addresses.append(state.gateway(node))
    return tuple(sorted({IPv4Address(address(a)) for a in addresses}))
