"""Defines the values of the network: address families, addresses, prefixes, endpoints, MAC addresses and
protocol numbers.

Pure, and the lowest room. Invariant: no other room takes the text of an address, of a prefix or of an
endpoint apart, puts one together, or tells the family of an address by its punctuation (a test greps for
that).
"""

from .address import (
    Address,
    AddressError,
    AddressRange,
    InterfaceAddress,
    Prefix,
    addresses_of,
    are_canonical,
    collapse_prefixes,
    everything,
    family_of,
    forgiven,
    host_prefix,
    host_text,
    is_loopback,
    localhost,
    loopback,
    parse_sloppy,
    parse_sloppy_prefix,
    prefixes_in,
    prefixes_of,
    smallest_prefix,
)
from .endpoint import Endpoint, endpoint_text
from .family import FAMILIES, IPV4, IPV6, Family
from .link import (
    IFNAMSIZ,
    InterfaceName,
    MacAddress,
    interface_name,
    mac_of_ip,
    mac_of_name,
    short_hash,
)
from .protocols import PROTOCOL_NUMBER, TransportProtocol

__all__ = [
    "FAMILIES",
    "IFNAMSIZ",
    "IPV4",
    "IPV6",
    "PROTOCOL_NUMBER",
    "Address",
    "AddressError",
    "AddressRange",
    "Endpoint",
    "Family",
    "InterfaceAddress",
    "InterfaceName",
    "MacAddress",
    "Prefix",
    "TransportProtocol",
    "addresses_of",
    "are_canonical",
    "collapse_prefixes",
    "endpoint_text",
    "everything",
    "family_of",
    "forgiven",
    "host_prefix",
    "host_text",
    "interface_name",
    "is_loopback",
    "localhost",
    "loopback",
    "mac_of_ip",
    "mac_of_name",
    "parse_sloppy",
    "parse_sloppy_prefix",
    "prefixes_in",
    "prefixes_of",
    "short_hash",
    "smallest_prefix",
]
