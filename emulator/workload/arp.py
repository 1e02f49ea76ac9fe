"""Makes ARP replies and gratuitous ARP for IPv4 over Ethernet (RFC 826, RFC 5227 §3), as a load balancer's
speaker sends them for addresses that its kernel does not have. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Container

from ..net import IPV4, Address

ETH_P_ARP = 0x0806
REQUEST, REPLY = 1, 2
BROADCAST = b"\xff" * 6
# Ethernet; types of address, operation; sender's and target's MAC and address
_FRAME = struct.Struct("!6s6sH HHBBH 6s4s6s4s")
_ETHERNET_IPV4 = (1, IPV4.ethertype, 6, IPV4.octets)


def answer(frame: bytes, mac: bytes, announced: Container[Address]) -> bytes | None:
    """Returns the reply to ``frame`` from ``mac``, if it asks for one of ``announced``; None for anything
    else.
    """
    if len(frame) < _FRAME.size:
        return None
    to, _, ethertype, *kinds, operation, asker, asker_ip, _, wanted = _FRAME.unpack_from(frame)
    if (
        ethertype != ETH_P_ARP
        or tuple(kinds) != _ETHERNET_IPV4
        or operation != REQUEST
        or to not in (BROADCAST, mac)
    ):
        return None
    if Address.of_packed(wanted) not in announced:
        return None
    return _frame(asker, REPLY, mac, wanted, asker, asker_ip)


def gratuitous(ip: Address, mac: bytes) -> tuple[bytes, bytes]:
    """Returns gratuitous ARP for ``ip`` at ``mac``: a request and a reply, since some hosts accept only the
    one and some only the other.
    """
    address = ip.packed
    return _frame(BROADCAST, REQUEST, mac, address, BROADCAST, address), _frame(
        BROADCAST, REPLY, mac, address, BROADCAST, address
    )


def _frame(to: bytes, operation: int, mac: bytes, ip: bytes, target_mac: bytes, target_ip: bytes) -> bytes:
    return _FRAME.pack(to, mac, ETH_P_ARP, *_ETHERNET_IPV4, operation, mac, ip, target_mac, target_ip)
