"""Makes MAC addresses, and names and MAC addresses that planners give to links: the same in every run."""

from __future__ import annotations

import re
from hashlib import sha1

from .address import Address

IFNAMSIZ = 15  # characters that an interface name may have (linux/if.h: 16 with the NUL)

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_NAME = re.compile(r"[!-.0-9;-~]+")  # no blank, no "/" and no ":" (net/core/dev.c, dev_valid_name)


class MacAddress(str):
    """Describes a 48-bit MAC address, ``aa:bb:cc:dd:ee:ff``. Raises ValueError for other text."""

    __slots__ = ()

    def __new__(cls, text: str) -> MacAddress:
        if not _MAC.fullmatch(text):
            raise ValueError(f"not a MAC address: {text!r}")
        return super().__new__(cls, text)

    @classmethod
    def of_packed(cls, packed: bytes) -> MacAddress:
        return cls(packed.hex(":"))

    @property
    def packed(self) -> bytes:
        return bytes.fromhex(self.replace(":", ""))


class InterfaceName(str):
    """Describes a name that Linux lets an interface have. Raises ValueError for other text."""

    __slots__ = ()

    def __new__(cls, text: str) -> InterfaceName:
        if not _NAME.fullmatch(text) or len(text.encode()) > IFNAMSIZ or text in (".", ".."):
            raise ValueError(f"not an interface name: {text!r}")
        return super().__new__(cls, text)


def short_hash(text: str, digits: int = 8) -> str:
    """Returns hex digits that stand for ``text``; not for secrets."""
    return sha1(text.encode(), usedforsecurity=False).hexdigest()[:digits]


def interface_name(prefix: str, text: str) -> InterfaceName:
    """Returns ``text`` itself where it fits an interface name, else ``prefix`` and 8 hex digits that stand
    for it.
    """
    return InterfaceName(text if len(text) <= IFNAMSIZ else f"{prefix}{short_hash(text)}")


def mac_of_ip(ip: str) -> MacAddress:
    """Returns ``0a:58`` and the last four bytes of ``ip``: the MAC address that CNI's bridge plug-in gives to
    an interface with that address.
    """
    return MacAddress.of_packed(b"\x0a\x58" + Address(ip).packed[-4:])


def mac_of_name(text: str) -> MacAddress:
    """Returns a locally administered unicast MAC address that stands for ``text``."""
    return MacAddress.of_packed(b"\x0e" + bytes.fromhex(short_hash(text, 10)))
