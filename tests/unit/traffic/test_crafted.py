"""Tests that crafted packets are, byte by byte, those that Scapy makes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.sctp import SCTP, SCTPChunkInit

from emulator.capture.decode import decode_frame
from emulator.model.frames import REQUEST_MAGIC, Captured, make_token
from emulator.net import IPV4, Endpoint
from emulator.objects.config import FlowProtocol
from emulator.traffic.crafted import Crafted, craft

_PORTS = st.integers(1, 65535)
_IPV4 = st.ip_addresses(v=4)
_IPV6 = st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None)
_ADDRESSES = st.one_of(st.tuples(_IPV4, _IPV4), st.tuples(_IPV6, _IPV6))


def _by_scapy(packet: Crafted) -> bytes:
    (src, sport), (dst, dport) = packet.src, packet.dst
    ipv4 = src.family is IPV4
    ip = (IP if ipv4 else IPv6)(src=str(src), dst=str(dst))
    payload = REQUEST_MAGIC + b"%016x\n" % packet.value
    if packet.protocol == "TCP":
        ip /= TCP(sport=sport, dport=dport, flags="S", seq=packet.value, options=[("MSS", 1460)])
    elif packet.protocol == "UDP":
        ip /= UDP(sport=sport, dport=dport) / payload
    elif packet.protocol == "ICMP":
        ip /= ICMP(id=sport, seq=1) / payload if ipv4 else ICMPv6EchoRequest(id=sport, seq=1, data=payload)
    else:
        ip /= SCTP(sport=sport, dport=dport, tag=0) / SCTPChunkInit(
            init_tag=packet.value, a_rwnd=65536, n_out_streams=1, n_in_streams=1, init_tsn=1
        )
    return bytes(ip)


@pytest.mark.parametrize("protocol", ["TCP", "UDP", "ICMP", "SCTP"])
def test_the_bytes_are_scapys_and_carry_the_token(protocol: FlowProtocol) -> None:
    @given(_ADDRESSES, _PORTS, _PORTS, st.integers(1, 2**32 - 1))
    def check(addresses: tuple[object, object], sport: int, dport: int, value: int) -> None:
        src, dst = (
            Endpoint.of(str(address), port) for address, port in zip(addresses, (sport, dport), strict=True)
        )
        packet = Crafted(protocol=protocol, src=src, dst=dst, value=value)
        [made] = craft([packet])
        assert made == _by_scapy(packet)
        ethertype = src.address.family.ethertype.to_bytes(2, "big")
        frame = decode_frame(
            0, Captured(0, "n", "eth0", True, len(made) + 14, bytes(12) + ethertype + made, False)
        )
        assert (frame.token, frame.reply) == (make_token(protocol, value), False)
        assert (frame.src, frame.dst) == (src.address, dst.address)

    check()
