"""Tests addresses, prefixes and addresses of interfaces: the texts that are read and refused, and their
order.
"""

from __future__ import annotations

import copy
import ipaddress
import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.net import (
    FAMILIES,
    IPV4,
    IPV6,
    Address,
    AddressError,
    AddressRange,
    InterfaceAddress,
    Prefix,
    addresses_of,
    are_canonical,
    collapse_prefixes,
    family_of,
    host_text,
    parse_sloppy,
    prefixes_in,
    prefixes_of,
    smallest_prefix,
)

V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6).filter(lambda ip: ip.ipv4_mapped is None)  # type: ignore[union-attr]
ANY = st.one_of(V4, V6)
NETWORKS = st.builds(
    lambda ip, share: ipaddress.ip_network((ip, int(share * ip.max_prefixlen)), strict=False),
    ANY,
    st.floats(0, 1),
)
REFUSED = (
    "",
    "None",
    "10.0.0",
    "10.0.0.256",
    "10.0.0.01",
    " 10.0.0.1",
    "10.0.0.1 ",
    "10.0.0.1/32",
    "10.0.0.-1",
    "10.0.0.١",
    "fe80::1%eth0",
    "::ffff:10.0.0.1",
    "[::1]",
    ":::",
    "fd00::10000",
    "a.b.c.d",
)


@given(ANY)
def test_text_of_an_address_is_canonical_and_read_again(ip: ipaddress.IPv4Address) -> None:
    address = Address(str(ip))
    assert address == str(ip) == str(address) == f"{address}"
    assert type(str(address)) is str
    assert (address.family.version, address.number, address.packed) == (ip.version, int(ip), ip.packed)
    assert Address(ip.exploded) == address == Address.of_packed(ip.packed)
    assert Address.of_number(address.family, int(ip)) == address
    assert hash(address) == hash(str(ip))


@given(ANY, ANY)
def test_addresses_are_in_the_order_of_family_and_number(
    one: ipaddress.IPv4Address, other: ipaddress.IPv4Address
) -> None:
    low, high = sorted((one, other), key=lambda ip: (ip.version, int(ip)))
    a, b = Address(str(low)), Address(str(high))
    assert sorted((b, a)) == [a, b]
    assert (a < b, a <= b, a > b, a >= b) == (low != high, True, False, low == high)


@pytest.mark.parametrize("text", REFUSED)
def test_what_kubernetes_refuses_is_no_address(text: str) -> None:
    with pytest.raises(AddressError, match="is not an IP address"):
        Address(text)
    assert family_of(text) is (IPV4 if text == "10.0.0.1/32" else None)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("010.000.01.1", "10.0.1.1"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::ffff:a01:203", "10.1.2.3"),
        ("FD00::0:1", "fd00::1"),
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
    ],
)
def test_older_releases_took_more(text: str, meant: str) -> None:
    assert parse_sloppy(text) == meant


@pytest.mark.parametrize("text", [text for text in REFUSED if text not in ("10.0.0.01", "::ffff:10.0.0.1")])
def test_older_releases_did_not_take_everything(text: str) -> None:
    with pytest.raises(AddressError):
        parse_sloppy(text)


def test_an_address_cannot_change_and_survives_copies() -> None:
    for value in (Address("fd00::1"), Prefix("fd00::/64"), InterfaceAddress("10.0.0.1/8")):
        for name in ("family", "number", "length", "anything"):
            with pytest.raises(AttributeError):
                setattr(value, name, 1)
        for again in (copy.copy(value), copy.deepcopy(value)):
            assert again == value
            assert type(again) is type(value)
        assert json.dumps([value]) == f'["{value}"]'
        assert repr(value) == f"{type(value).__name__}({str(value)!r})"
    assert copy.deepcopy(Address("fd00::1")).family is IPV6


@pytest.mark.parametrize("packed", [b"", b"\0" * 5, b"\0" * 17])
def test_bytes_of_another_length_are_no_address(packed: bytes) -> None:
    with pytest.raises(AddressError):
        Address.of_packed(packed)


@given(NETWORKS)
def test_text_of_a_prefix_is_canonical_and_read_again(network: ipaddress.IPv4Network) -> None:
    prefix = Prefix(str(network))
    assert prefix == str(network) == Prefix(f"{network[-1]}/{network.prefixlen}")
    assert (prefix.length, prefix.size) == (network.prefixlen, network.num_addresses)
    assert (prefix.first, prefix.last) == (str(network[0]), str(network[-1]))
    assert prefix.nth(-1) == prefix.last
    assert prefix.nth(0) == prefix.first
    assert prefix.first in prefix
    assert prefix.last in prefix


@given(NETWORKS, NETWORKS)
def test_prefixes_relate_as_ipaddress_says(one: ipaddress.IPv4Network, other: ipaddress.IPv4Network) -> None:
    a, b = Prefix(str(one)), Prefix(str(other))
    same = one.version == other.version
    assert a.overlaps(b) == (same and one.overlaps(other))
    assert a.is_within(b) == (same and one.subnet_of(other))
    assert (a < b) == (one < other if same else one.version < other.version)
    if same:
        assert list(collapse_prefixes((a, b))) == list(map(str, ipaddress.collapse_addresses((one, other))))
        around = smallest_prefix((a, b))
        assert a.is_within(around)
        assert b.is_within(around)
        halves = around.subnets(around.length + 1) if around.length < around.family.bits else ()
        assert not any(a.is_within(half) and b.is_within(half) for half in halves)


@given(NETWORKS, st.integers(0, 6))
def test_subnets_and_what_is_left_without_one(network: ipaddress.IPv4Network, more: int) -> None:
    prefix = Prefix(str(network))
    length = min(prefix.length + more, prefix.family.bits)
    subnets = list(prefix.subnets(length))
    assert subnets == list(map(str, network.subnets(new_prefix=length)))
    for inner in (subnets[0], subnets[-1]):
        left = list(map(str, network.address_exclude(ipaddress.ip_network(inner))))
        assert list(prefix.without(inner)) == left


def test_hosts_have_neither_the_first_nor_the_last_address() -> None:
    prefix = Prefix("10.0.0.0/30")
    assert list(prefix.hosts()) == ["10.0.0.1", "10.0.0.2"]
    assert [prefix.has_host(Address(ip)) for ip in ("10.0.0.0", "10.0.0.1", "10.0.0.3", "::1")] == [
        False,
        True,
        False,
        False,
    ]
    assert "10.0.0.3" in prefix
    assert "10.0.0.4" not in prefix
    with pytest.raises(IndexError):
        prefix.nth(4)
    with pytest.raises(AddressError):
        prefix.subnets(29)


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "fd00::/129", "10.0.0.0/255.0.0.0", "10.0.0.0/-1"]
)
def test_what_is_no_prefix_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        Prefix(text)
    with pytest.raises(AddressError):
        InterfaceAddress(text)


@given(ANY)
def test_an_address_of_an_interface_keeps_its_host_bits(ip: ipaddress.IPv4Address) -> None:
    for length in (0, 24, ip.max_prefixlen):
        made = InterfaceAddress.of(str(ip), length)
        assert made == f"{ip}/{length}"
        assert InterfaceAddress(made).address == str(ip)
    assert InterfaceAddress.of(str(ip)) == Address(str(ip)).host


def test_texts_are_sorted_out_by_family() -> None:
    texts = ("None", "10.0.0.1", "", "fd00::1", "10.0.0.2")
    assert addresses_of(IPV4, texts) == ("10.0.0.1", "10.0.0.2")
    assert addresses_of(IPV6, texts) == ("fd00::1",)
    assert prefixes_of(IPV4, ("10.0.0.1/8 ", "primary", "fd00::/8", "10.0.0.1")) == ("10.0.0.0/8",)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=str)
def test_a_family_is_one_row_of_words(family: object) -> None:
    assert copy.deepcopy(family) is family
    assert family_of(family.everything) is family  # type: ignore[attr-defined]
    assert family_of(family.loopback) is family  # type: ignore[attr-defined]


def test_numbers_of_the_families_are_those_of_linux() -> None:
    assert (IPV4.number, IPV6.number) == (socket.AF_INET, socket.AF_INET6)
    assert (IPV4.icmp, IPV6.icmp) == (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6)
    assert (IPV4.octets, IPV6.octets) == (4, 16)
    assert (IPV4.restore, IPV6.save) == ("iptables-restore", "ip6tables-save")


@given(st.ip_addresses().filter(lambda ip: getattr(ip, "ipv4_mapped", None) is None))
def test_the_text_of_a_host_prefix_needs_none(ip: ipaddress.IPv4Address) -> None:
    address = Address(str(ip))
    assert host_text(str(ip), address.family) == str(address.host)


@pytest.mark.parametrize(
    ("texts", "canonical"),
    [
        (("10.0.0.1", "10.0.0.2"), True),
        ((), True),
        (("10.0.0.1", "fd00::1"), False),
        (("10.0.0.1", "010.0.0.2"), False),
        (("10.0.0.1", "web"), False),
        (("10.0.0.1", ""), False),
    ],
)
def test_canonical_addresses_of_a_family_are_told(texts: tuple[str, ...], canonical: bool) -> None:
    assert are_canonical(IPV4, texts) is canonical
    assert not are_canonical(IPV6, ("FD00::1",))


def test_a_prefix_may_end_in_an_ipv4_mapped_address() -> None:
    prefix = Prefix("::/80")
    assert prefix.last.number == (1 << 48) - 1
    assert prefix.is_within(Prefix("::/0"))


@pytest.mark.parametrize(
    ("text", "unicast"),
    [
        *(("0.1.2.3", True), ("1.0.0.0", True), ("223.255.255.255", True), ("224.0.0.1", False)),
        *(("239.255.255.255", False), ("240.0.0.1", True), ("255.255.255.254", True)),
        *(("255.255.255.255", False), ("ff02::1", False), ("fe80::1", True), ("::1", True)),
    ],
)
def test_address_of_one_machine(text: str, unicast: bool) -> None:
    """Follows what the IPVS of kernel 6.1 took for a real server, and RFC 4291."""
    assert Address(text).unicast == unicast


@pytest.mark.parametrize(
    ("prefix", "broadcast"),
    [
        *(("10.244.1.0/24", "10.244.1.255"), ("10.0.0.0/30", "10.0.0.3"), ("10.0.0.0/31", None)),
        *(("10.0.0.1/32", None), ("fd00::/64", None)),
    ],
)
def test_broadcast_address(prefix: str, broadcast: str | None) -> None:
    """Follows fib_add_ifaddr (net/ipv4/fib_frontend.c): none of prefixes of one or two addresses."""
    assert Prefix(prefix).broadcast == broadcast


def test_a_range_is_read_from_two_addresses_or_a_prefix() -> None:
    assert AddressRange.parse(" 10.0.0.1 - 10.0.0.9 ") == (Address("10.0.0.1"), Address("10.0.0.9"))
    assert str(AddressRange.parse("10.0.0.0/30")) == "10.0.0.0-10.0.0.3"
    assert str(AddressRange.parse("fd00::1-fd00::2")) == "fd00::1-fd00::2"
    for text in ("", "-", "10.0.0.1", "10.0.0.1-x", "10.0.0.0/33"):
        with pytest.raises(AddressError):
            AddressRange.parse(text)


def test_prefixes_stand_in_a_list_with_commas() -> None:
    assert prefixes_in(IPV4, "10.0.0.0/8, fd00::/8") == ("10.0.0.0/8",)
    assert prefixes_in(IPV4, "") == ()
