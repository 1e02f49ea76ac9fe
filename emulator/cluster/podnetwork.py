"""Holds the facts of the Pod network that every room may know, as values. A room that needs more calls
``podnet``. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..net import Address, Prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetworkFacts:
    """Holds the facts of a Pod network that rules, promises and reports depend on.

    ``gatewayOffset``: the place of the node's own address in its podCIDR, the Pods' gateway. ``interface`` is
    the node's interface by which its Pods' packets come in, ``interfacePrefix`` the common prefix of the
    names of all such interfaces. ``mtu`` is that of the Pods' interfaces: 1,500 bytes, the kernel's default
    for Ethernet (net/ethernet/eth.c: ether_setup).
    """

    name: str
    gatewayOffset: int
    interface: str
    interfacePrefix: str
    mtu: int = 1500

    def gateway(self, podCIDR: Prefix) -> Address:
        """Returns the address of a node with that ``podCIDR`` in the Pod network."""
        return podCIDR.nth(self.gatewayOffset)
