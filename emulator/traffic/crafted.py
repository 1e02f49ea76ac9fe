"""Builds packets with Scapy that carry a token of our own choosing. The only module that imports Scapy.

Scapy's routing tables and interfaces belong to the namespace in which it was imported, so it must look
nothing up: addresses, ports and protocol are given, and the bytes leave through our own raw sockets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..model.frames import REQUEST_MAGIC
from ..net import IPV4, Endpoint
from ..objects.config import FlowProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Crafted:
    """Describes a packet to build: one of ``protocol`` from ``src`` to ``dst`` that carries ``value`` as its
    token's value.
    """

    protocol: FlowProtocol
    src: Endpoint
    dst: Endpoint
    value: int


def craft(packets: Sequence[Crafted]) -> list[bytes]:
    """Returns the bytes of each packet, IP header first, checksums filled in."""
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
    from scapy.layers.sctp import SCTP, SCTPChunkInit

    out: list[bytes] = []
    for packet in packets:
        (src, sport), (dst, dport) = packet.src, packet.dst
        ipv4 = src.family is IPV4
        ip = (IP if ipv4 else IPv6)(src=str(src), dst=str(dst))
        payload = REQUEST_MAGIC + b"%016x\n" % packet.value
        if packet.protocol == "TCP":
            ip /= TCP(sport=sport, dport=dport, flags="S", seq=packet.value, options=[("MSS", 1460)])
        elif packet.protocol == "UDP":
            ip /= UDP(sport=sport, dport=dport) / payload
        elif packet.protocol == "ICMP":
            ip /= (
                ICMP(id=sport, seq=1) / payload if ipv4 else ICMPv6EchoRequest(id=sport, seq=1, data=payload)
            )
        else:
            ip /= SCTP(sport=sport, dport=dport, tag=0) / SCTPChunkInit(
                init_tag=packet.value, a_rwnd=65536, n_out_streams=1, n_in_streams=1, init_tsn=1
            )
        out.append(bytes(ip))
    return out
