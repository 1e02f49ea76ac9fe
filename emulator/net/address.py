"""Defines addresses, prefixes and the addresses of interfaces: texts in canonical form that know what they
are.

Each is a ``str``, so that it is equal to the canonical text that a manifest or a tool has, and hashes as
fast. ``<`` compares numbers: IPv4 before IPv6, then from low to high. Parsing builds on the standard
library's ipaddress; a plain IPv4 address takes a shorter way, since a large cluster has ten thousand.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple, NoReturn

from .family import FAMILIES, IPV4, IPV6, Family

_OCTETS = {str(number): number for number in range(256)}
_LENGTH = re.compile(r"[0-9]{1,3}")
_LEADING_ZERO = re.compile(r"(?<![0-9a-fA-F:])0+(?=[0-9]+(?:[./]|\Z))")  # in the parts of an IPv4 address


class AddressError(ValueError):
    """Reports text that is no address, prefix or endpoint. ``what`` is what it should have been."""

    def __init__(self, what: str, text: str) -> None:
        super().__init__(f"{text!r} is not {what}")


class _Text(str):
    """Describes a text that cannot change, with an order of its own."""

    __slots__ = ()

    def __setattr__(self, name: str, _value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot change: {name}")

    def __reduce__(self) -> tuple[type[_Text], tuple[str]]:
        return type(self), (str(self),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @property
    def _order(self) -> tuple[int, ...]:
        raise NotImplementedError

    def __lt__(self, other: str) -> bool:
        return self._order < other._order if isinstance(other, _Text) else NotImplemented

    def __le__(self, other: str) -> bool:
        return self._order <= other._order if isinstance(other, _Text) else NotImplemented

    def __gt__(self, other: str) -> bool:
        return self._order > other._order if isinstance(other, _Text) else NotImplemented

    def __ge__(self, other: str) -> bool:
        return self._order >= other._order if isinstance(other, _Text) else NotImplemented


class Address(_Text):
    """Describes an IPv4 or IPv6 address in canonical form (RFC 5952).

    ``Address(text)`` raises :class:`AddressError` for what Kubernetes refuses: leading zeros, an IPv4-mapped
    address, a zone (``fe80::1%eth0``), blanks. :func:`parse_sloppy` takes what older releases took.
    """

    __slots__ = ("family", "number")
    family: Family
    number: int

    def __new__(cls, text: str) -> Address:
        return text if type(text) is Address else _address(text)

    @staticmethod
    def of_number(family: Family, number: int) -> Address:
        """Returns the address of that ``number``. Raises OverflowError beyond the family's bits."""
        if family is IPV4 and 0 <= number < 1 << 32:
            octets = (number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255)
            return _made(IPV4, number, "%d.%d.%d.%d" % octets)  # noqa: UP031 - twice as fast
        return Address.of_packed(number.to_bytes(family.octets, "big"))

    @staticmethod
    @lru_cache(maxsize=1 << 16)
    def of_packed(packed: bytes) -> Address:
        """Returns the address of 4 or 16 bytes in network order. Raises :class:`AddressError`."""
        if len(packed) == IPV4.octets:
            return _address(".".join(map(str, packed)))
        if len(packed) == IPV6.octets:
            # not read again: the last address of ::/80 is an IPv4-mapped one
            return _made(IPV6, int.from_bytes(packed, "big"), str(ipaddress.IPv6Address(packed)))
        raise AddressError("an IP address", packed.hex())

    @property
    def packed(self) -> bytes:
        """Returns the bytes of it, in network order."""
        return self.number.to_bytes(self.family.octets, "big")

    @property
    def host(self) -> Prefix:
        """Returns the prefix of this address alone."""
        return Prefix.of(self, self.family.bits)

    @property
    def routable(self) -> bool:
        """Returns whether it is none of the unspecified, loopback, link-local and multicast addresses."""
        ip = ipaddress.ip_address(str(self))
        return not (ip.is_unspecified or ip.is_loopback or ip.is_link_local or ip.is_multicast)

    @property
    def unicast(self) -> bool:
        """Returns whether a kernel takes it for one machine's, whatever its routes say: it is no multicast
        address, and not IPv4's limited broadcast. (Linux routes 0.1.2.3 as any other since 5.3.)
        """
        if self.family is IPV4:
            return not (self.number >> 28 == 0xE or self.number == 0xFFFFFFFF)
        return self.number >> 120 != 0xFF

    def offset(self, number: int) -> Address:
        """Returns the address that is ``number`` further on (or back)."""
        return Address.of_number(self.family, self.number + number)

    @property
    def _order(self) -> tuple[int, ...]:
        return self.family.version, self.number


class InterfaceAddress(_Text):
    """Describes an address on an interface, with the length of the prefix that it is in:
    ``10.244.1.1/24``.
    """

    __slots__ = ("address", "length")
    address: Address
    length: int

    def __new__(cls, text: str) -> InterfaceAddress:
        """Reads ``address/length``. Raises :class:`AddressError`."""
        return cls.of(*_pair(text))

    @classmethod
    def of(cls, address: str, length: int | None = None) -> InterfaceAddress:
        """Returns ``address`` in a prefix of ``length`` bits; by itself without one."""
        address = Address(address)
        length = address.family.bits if length is None else length
        _check_length(address, length)
        made = str.__new__(cls, f"{address}/{length}")
        object.__setattr__(made, "address", address)
        object.__setattr__(made, "length", length)
        return made

    @property
    def _order(self) -> tuple[int, ...]:
        return *self.address._order, self.length


class Prefix(_Text):
    """Describes a prefix in canonical form: ``10.244.0.0/16``, ``fd00::/64``.

    ``Prefix(text)`` drops host bits, as Kubernetes does, and raises :class:`AddressError` where the text has
    no length.
    """

    __slots__ = ("first", "length")
    first: Address
    length: int

    def __new__(cls, text: str) -> Prefix:
        return text if type(text) is Prefix else _prefix(text)

    @staticmethod
    def of(address: str, length: int) -> Prefix:
        """Returns the prefix of ``length`` bits that ``address`` is in. Raises :class:`AddressError`."""
        address = Address(address)
        _check_length(address, length)
        low = address.family.bits - length
        first = Address.of_number(address.family, address.number >> low << low)
        made = str.__new__(Prefix, f"{first}/{length}")
        object.__setattr__(made, "first", first)
        object.__setattr__(made, "length", length)
        return made

    @property
    def family(self) -> Family:
        return self.first.family

    @property
    def size(self) -> int:
        """Returns the number of addresses, the first and the last one among them."""
        return 1 << self.family.bits - self.length

    @property
    def last(self) -> Address:
        """Returns the last address: of IPv4 the broadcast address."""
        return self.first.offset(self.size - 1)

    @property
    def broadcast(self) -> Address | None:
        """Returns the address of all its hosts: of IPv4 the last, if it has more than two (RFC 3021)."""
        return self.last if self.family is IPV4 and self.size > 2 else None

    def nth(self, number: int) -> Address:
        """Returns the address ``number`` places after the first; from behind if negative. Raises
        IndexError.
        """
        number = number + self.size if number < 0 else number
        if not 0 <= number < self.size:
            raise IndexError(number)
        return self.first.offset(number)

    def numbers(self) -> range:
        """Returns the numbers of the addresses that hosts of a subnet may have: all but the first and, of
        IPv4, the last.
        """
        return range(self.first.number + 1, self.first.number + self.size - (self.family is IPV4))

    def hosts(self) -> Iterator[Address]:
        """Yields the addresses of :meth:`numbers`; of one or two addresses both (RFC 3021, RFC 6164)."""
        family, first = self.family, self.first.number
        numbers = self.numbers() if self.size > 2 else range(first, first + self.size)
        return (Address.of_number(family, number) for number in numbers)

    def has_host(self, address: Address) -> bool:
        """Returns whether a host of the subnet may have ``address``."""
        return address.family is self.family and address.number in self.numbers()

    def subnets(self, length: int) -> Iterator[Prefix]:
        """Yields the prefixes of ``length`` bits inside. Raises :class:`AddressError` if it is longer
        itself.
        """
        if length < self.length:
            raise AddressError(f"longer than {self}", f"/{length}")
        step = 1 << self.family.bits - length
        numbers = range(self.first.number, self.first.number + self.size, step)
        return (Prefix.of(Address.of_number(self.family, number), length) for number in numbers)

    def is_within(self, other: Prefix) -> bool:
        """Returns whether ``other`` has every address of this prefix."""
        return other.length <= self.length and self.first in other

    def overlaps(self, other: Prefix) -> bool:
        return self.first in other or other.first in self

    def without(self, inner: Prefix) -> Iterator[Prefix]:
        """Yields the prefixes that are left when ``inner``, which lies within, is taken away: first the
        largest.
        """
        rest = self
        while rest.length < inner.length:
            one, other = rest.subnets(rest.length + 1)
            rest, left = (one, other) if inner.is_within(one) else (other, one)
            yield left

    def __contains__(self, address: object) -> bool:
        """Returns whether ``address`` lies in the prefix. Raises :class:`AddressError` if it is none."""
        address = Address(address)  # type: ignore[arg-type]
        if address.family is not self.first.family:
            return False
        low = self.first.family.bits - self.length
        return address.number >> low == self.first.number >> low

    @property
    def _order(self) -> tuple[int, ...]:
        return *self.first._order, self.length


# --- reading ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1 << 16)
def _address(text: str) -> Address:
    octets = text.split(".")
    if len(octets) == 4:
        try:
            a, b, c, d = octets
            number = _OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d]
        except KeyError:
            pass  # 64:ff9b::192.0.2.33 may be an address
        else:
            return _made(IPV4, number, text)
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise AddressError("an IP address", text) from None
    if address.scope_id or address.ipv4_mapped:
        raise AddressError("an IP address", text)
    return _made(IPV6, int(address), str(address))


def _made(family: Family, number: int, text: str) -> Address:
    made = str.__new__(Address, text)
    object.__setattr__(made, "family", family)
    object.__setattr__(made, "number", number)
    return made


@lru_cache(maxsize=1 << 14)
def _prefix(text: str) -> Prefix:
    return Prefix.of(*_pair(text))


def _pair(text: str) -> tuple[Address, int]:
    address, _, length = text.partition("/")
    if not _LENGTH.fullmatch(length):
        raise AddressError("a prefix", text)
    return Address(address), int(length)


def _check_length(address: Address, length: int) -> None:
    if not 0 <= length <= address.family.bits:
        raise AddressError("a prefix", f"{address}/{length}")


def parse_sloppy(text: str) -> Address:
    """Reads an address as k8s.io/utils/net ParseIPSloppy does: ``010.1.2.3`` is 10.1.2.3, ``::ffff:10.1.2.3``
    too. Raises :class:`AddressError`.
    """
    plain = _LEADING_ZERO.sub("", text)
    try:
        mapped = ipaddress.IPv6Address(plain).ipv4_mapped if ":" in plain and "%" not in plain else None
    except ValueError:
        raise AddressError("an IP address", text) from None
    return Address(str(mapped)) if mapped else Address(plain)


def is_loopback(text: str) -> bool:
    """Returns whether ``text`` is an address of the loopback prefix of its family."""
    family = family_of(text)
    return family is not None and Address(text) in _LOOPBACK[family.word]


def everything(family: Family) -> Prefix:
    """Returns the prefix of all addresses of ``family``: the destination of the default route."""
    return Prefix(family.everything)


def loopback(family: Family) -> Prefix:
    """Returns the loopback prefix of ``family``."""
    return Prefix(family.loopback)


def localhost(family: Family) -> Address:
    """Returns the address of ``family`` by which a machine reaches itself."""
    return Address(family.localhost)


@lru_cache(maxsize=1 << 16)
def host_prefix(address: str) -> Prefix:
    """Returns the prefix of ``address`` alone. Raises :class:`AddressError`."""
    return Address(address).host


def host_text(address: str, family: Family) -> str:
    """Returns the text of the prefix of ``address`` alone, which is in canonical form, without making one."""
    return f"{address}/{family.bits}"


def parse_sloppy_prefix(text: str) -> Prefix:
    """Reads a prefix with blanks around it, its address as :func:`parse_sloppy` does. Raises
    :class:`AddressError`.
    """
    address, _, length = text.strip().partition("/")
    if not _LENGTH.fullmatch(length):
        raise AddressError("a prefix", text)
    return Prefix.of(parse_sloppy(address), int(length))


def forgiven(text: str) -> Literal["", "leading zeros", "IPv4-mapped"]:
    """Returns what :func:`parse_sloppy` or :func:`parse_sloppy_prefix` forgave when it read ``text``."""
    if ":" not in text:
        return "leading zeros" if _LEADING_ZERO.search(text) else ""
    return "IPv4-mapped" if parse_sloppy(text.strip().partition("/")[0]).family is IPV4 else ""


# --- several ----------------------------------------------------------------------------------------------


def family_of(text: str) -> Family | None:
    """Returns the family of an address or prefix; None for what is neither ("", "None", a name)."""
    if type(text) is Address:
        return text.family
    if text in ("", "None"):  # as most Services have
        return None
    try:
        return (Prefix(text) if "/" in text else Address(text)).family
    except AddressError:
        return None


def are_canonical(family: Family, texts: Iterable[str]) -> bool:
    """Returns whether each of ``texts`` is an address of ``family`` in canonical form."""
    try:
        for text in texts:
            address = _address(text)
            if address.family is not family or address != text:
                return False
    except AddressError:
        return False
    return True


def addresses_of(family: Family, texts: Iterable[str]) -> tuple[Address, ...]:
    """Returns those of ``texts`` that are addresses of ``family``."""
    return tuple([Address(text) for text in texts if family_of(text) is family])


def prefixes_of(family: Family, texts: Iterable[str]) -> tuple[Prefix, ...]:
    """Returns those of ``texts``, with blanks around them, that are prefixes of ``family``."""
    stripped = map(str.strip, texts)
    return tuple([Prefix(text) for text in stripped if "/" in text and family_of(text) is family])


def prefixes_in(family: Family, text: str) -> tuple[Prefix, ...]:
    """Returns the prefixes of ``family`` in a list with commas (``10.244.0.0/16,fd00:10:244::/56``)."""
    return prefixes_of(family, text.split(","))


class AddressRange(NamedTuple):
    """Holds the first and the last address of a range."""

    first: Address
    last: Address

    @classmethod
    def parse(cls, text: str) -> AddressRange:
        """Reads ``first-last``, or the range of a prefix, with blanks; addresses as kubectl forgives them.

        Raises AddressError.
        """
        first, dash, last = (part.strip() for part in text.partition("-"))
        if dash:
            return cls(parse_sloppy(first), parse_sloppy(last))
        prefix = parse_sloppy_prefix(first)
        return cls(prefix.first, prefix.last)

    def __str__(self) -> str:
        """Returns ``first-last``."""
        return f"{self.first}-{self.last}"


_LOOPBACK = {family.word: Prefix(family.loopback) for family in FAMILIES.values()}


def collapse_prefixes(prefixes: Iterable[Prefix]) -> Iterator[Prefix]:
    """Yields the fewest prefixes that have the same addresses, in order."""
    networks = [ipaddress.ip_network(str(prefix)) for prefix in prefixes]
    for version in sorted({network.version for network in networks}):
        same = [network for network in networks if network.version == version]
        yield from (Prefix(str(network)) for network in ipaddress.collapse_addresses(same))  # type: ignore[type-var]


def smallest_prefix(prefixes: Iterable[Prefix]) -> Prefix:
    """Returns the longest prefix that has every address of ``prefixes``, which are of one family."""
    firsts, lasts = zip(*((prefix.first, prefix.last) for prefix in prefixes), strict=True)
    low, high = min(firsts), max(lasts)
    return Prefix.of(low, low.family.bits - (low.number ^ high.number).bit_length())
