"""Names and MACs that planners give to links: deterministic, short enough for the kernel, the same in every
run. Pure.
"""

from __future__ import annotations

from hashlib import sha1
from ipaddress import IPv4Address

IFNAMSIZ = 15  # characters that an interface name may have (linux/if.h: 16 with the NUL)


def short_hash(text: str, digits: int = 8) -> str:
    """Hex digits that stand for ``text``; not for secrets."""
    return sha1(text.encode(), usedforsecurity=False).hexdigest()[:digits]


def interface_name(prefix: str, text: str) -> str:
    """``text`` itself where it fits an interface name, else ``prefix`` and 8 hex digits that stand for it."""
    return text if len(text) <= IFNAMSIZ else f"{prefix}{short_hash(text)}"


def mac_of_ip(ip: str) -> str:
    """``0a:58`` and the address' four bytes: how CNI's bridge plug-in names an interface that has one
    address.
    """
    return ":".join(f"{b:02x}" for b in (0x0A, 0x58, *IPv4Address(ip).packed))


def mac_of_name(text: str) -> str:
    """A locally administered unicast MAC that stands for ``text``."""
    digits = short_hash(text, 10)
    return "0e:" + ":".join(digits[i : i + 2] for i in range(0, 10, 2))
