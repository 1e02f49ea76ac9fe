"""Asks a socket for the local address of each datagram, reads it, and sends from it (ip(7), ipv6(7))."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from struct import Struct
from typing import NamedTuple

from ..net import IPV4, IPV6, Address, Family

Ancillary = tuple[int, int, bytes]  # level, type, data


class _Option(NamedTuple):
    level: int
    ask: int  # the option that asks for it
    kind: int  # the type of the ancillary message
    layout: Struct  # the local address, all else zero
    at: int  # where the local address lies


_OPTIONS: Mapping[Family, _Option] = {
    # IP_PKTINFO; struct in_pktinfo: interface index, local address, destination in the header
    IPV4: _Option(socket.IPPROTO_IP, 8, 8, Struct("=4x4s4x"), 4),
    # IPV6_RECVPKTINFO, IPV6_PKTINFO; struct in6_pktinfo: destination, interface index
    IPV6: _Option(socket.IPPROTO_IPV6, 49, 50, Struct("=16s4x"), 0),
}


def ask_local(sock: socket.socket, family: Family) -> None:
    """Makes every datagram of ``sock`` carry the address at which it came in."""
    option = _OPTIONS[family]
    sock.setsockopt(option.level, option.ask, 1)


def read_local(ancillary: list[Ancillary], family: Family) -> Address:
    """Returns the address to which a datagram came; the unspecified one if it is not said."""
    option = _OPTIONS[family]
    for level, kind, data in ancillary:
        if (level, kind) == (option.level, option.kind):
            return Address.of_packed(data[option.at : option.at + family.octets])
    return Address(family.unspecified)


def send_from(address: Address) -> list[Ancillary]:
    """Returns what makes a datagram leave from ``address``."""
    option = _OPTIONS[address.family]
    return [(option.level, option.kind, option.layout.pack(address.packed))]
