"""Defines an endpoint, an address and a port: where a packet comes from or goes to, and where a connection
ends.
"""

from __future__ import annotations

from typing import NamedTuple

from .address import Address, AddressError


class Endpoint(NamedTuple):
    """Describes an address and a port. Port 0 is that of ICMP, which has none."""

    address: Address
    port: int

    @classmethod
    def of(cls, address: str, port: int) -> Endpoint:
        """Returns the endpoint at ``address``. Raises :class:`AddressError`."""
        return cls(Address(address), port)

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Reads ``10.0.0.1:80``, ``[fd00::1]:80``, or an address alone (port 0). Raises
        :class:`AddressError`.
        """
        if text.startswith("["):
            address, bracket, tail = text[1:].partition("]")
            if not bracket or not tail or ":" not in address:
                raise AddressError("an address and a port", text)
            colon, port = tail[:1], tail[1:]
        elif text.count(":") == 1:
            address, colon, port = text.partition(":")
        else:
            return cls(Address(text), 0)
        if colon != ":" or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise AddressError("an address and a port", text)
        return cls(Address(address), int(port))

    def __str__(self) -> str:
        return endpoint_text(*self)


def endpoint_text(address: str, port: int) -> str:
    """Returns the text of the endpoint at ``address``, which is in canonical form, without making one."""
    if not port:
        return str(address)
    # joined: to format an Address takes ten times as long
    return f"[{address}]:{port}" if ":" in address else address + f":{port}"
