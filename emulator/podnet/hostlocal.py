"""Gives Pods addresses of their node's podCIDR, as CNI's host-local plug-in does. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..cluster.podnetwork import PodNetworkFacts
from ..net import Address, Prefix

NOT_FOR_PODS = 3  # in a podCIDR: its first and last address, and the gateway


def host_local(facts: PodNetworkFacts, cidr: Prefix) -> Iterator[Address]:
    """Yields the addresses that Pods of a node with ``cidr`` may have, from low to high: all but the
    gateway's, the first one and, of IPv4, the broadcast address.
    """
    gateway = facts.gateway(cidr).number
    return (Address.of_number(cidr.family, number) for number in cidr.numbers() if number != gateway)
