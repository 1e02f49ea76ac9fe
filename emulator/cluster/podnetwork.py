"""What every room may know of the Pod network, as values. A room that wants more asks ``podnet``. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetworkFacts:
    """The facts of a Pod network that rules, promises and reports depend on.

    ``gatewayOffset``: the place of the node's own address in its podCIDR, the Pods' gateway. ``interface`` is
    the node's interface by which its Pods' packets come in, ``interfacePrefix`` what the names of all such
    interfaces begin with. ``mtu`` is that of the Pods' interfaces: 1,500 bytes, the kernel's default for
    Ethernet (net/ethernet/eth.c: ether_setup). ``encapsulation`` of packets between nodes; "" is none.
    """

    name: str
    gatewayOffset: int
    interface: str
    interfacePrefix: str
    mtu: int = 1500
    encapsulation: str = ""
