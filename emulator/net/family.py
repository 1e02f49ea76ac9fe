"""Defines the two address families, as two rows of one table: a word for each tool, a number for each
protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Family:
    """Describes an address family. ``word`` is Kubernetes' (``ipFamilies`` of a Service, ``addressType`` of a
    slice).
    """

    word: Literal["IPv4", "IPv6"]
    version: Literal[4, 6]
    number: int  # AF_INET, AF_INET6 (linux/socket.h)
    bits: int
    ethertype: int  # linux/if_ether.h
    iproute2: str  # the option of ip(8)
    nft: Literal["ip", "ip6"]  # the family of a table, and the protocol in an expression
    nft_type: Literal["ipv4_addr", "ipv6_addr"]  # type of a set's elements
    iptables: Literal["iptables", "ip6tables"]
    ipset: Literal["inet", "inet6"]  # the option ``family`` of ipset(8)
    icmp: int  # the protocol number of ICMP or ICMPv6
    reject_port: str  # ``--reject-with`` of a closed port
    reject_host: str
    unreachable: int  # the ICMP type "destination unreachable" (RFC 792, RFC 4443)
    port_unreachable: int  # its code "port unreachable"
    neighbours: Literal["ARP", "ND"]  # the protocol that finds a neighbour's MAC
    neighbour_table: Literal["arp_cache", "ndisc_cache"]  # the kernel's name of what it found
    loopback: str  # the prefix
    everything: str
    unspecified: str
    localhost: str
    reject_net: str  # ``--reject-with`` of a router without a route
    route_localnet: str  # the sysctl that lets node ports answer at ``localhost``; "": they cannot

    @property
    def octets(self) -> int:
        return self.bits // 8

    @property
    def mask(self) -> str:
        """Returns the mask of one address, as iptables-save prints it."""
        return "255.255.255.255" if self.version == 4 else ":".join(["ffff"] * 8)

    @property
    def restore(self) -> str:
        return f"{self.iptables}-restore"

    @property
    def save(self) -> str:
        return f"{self.iptables}-save"

    def __str__(self) -> str:
        return self.word

    def __reduce__(self) -> str:
        return self.word.upper()


IPV4 = Family(
    word="IPv4",
    version=4,
    number=2,
    bits=32,
    ethertype=0x0800,
    iproute2="-4",
    nft="ip",
    nft_type="ipv4_addr",
    iptables="iptables",
    ipset="inet",
    icmp=1,
    reject_port="icmp-port-unreachable",
    reject_host="icmp-host-unreachable",
    unreachable=3,
    port_unreachable=3,
    neighbours="ARP",
    neighbour_table="arp_cache",
    loopback="127.0.0.0/8",
    everything="0.0.0.0/0",
    unspecified="0.0.0.0",  # noqa: S104
    localhost="127.0.0.1",
    reject_net="icmp-net-unreachable",
    route_localnet="net.ipv4.conf.all.route_localnet",
)
IPV6 = Family(
    word="IPv6",
    version=6,
    number=10,
    bits=128,
    ethertype=0x86DD,
    iproute2="-6",
    nft="ip6",
    nft_type="ipv6_addr",
    iptables="ip6tables",
    ipset="inet6",
    icmp=58,
    reject_port="icmp6-port-unreachable",
    reject_host="icmp6-addr-unreachable",
    unreachable=1,
    port_unreachable=4,
    neighbours="ND",
    neighbour_table="ndisc_cache",
    loopback="::1/128",
    everything="::/0",
    unspecified="::",
    localhost="::1",
    reject_net="icmp6-no-route",
    route_localnet="",
)
FAMILIES: Mapping[str, Family] = {family.word: family for family in (IPV4, IPV6)}
