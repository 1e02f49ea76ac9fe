"""What kube-proxy's ipvs mode keeps outside the tables of iptables: virtual servers and sets of addresses, and the texts that load them.

Texts are those that ``ipvsadm -R`` and ``ipset restore`` read, as ``ipvsadm -Sn`` and ``ipset save`` print them. Imports ``plan.rules`` for
reading addresses. Invariant: a text holds checked addresses, prefixes and numbers, and words of our own, alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from emulator.objects.kinds import Protocol
from emulator.plan.rules import address, number

SetKind = Literal["hash:ip", "hash:ip,port", "hash:ip,port,ip", "hash:ip,port,net", "bitmap:port"]

_SERVICE = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}
_HASH = "family inet hashsize 1024 maxelem 65536 bucketsize 12"


class RealServer(NamedTuple):
    """An endpoint: reached by masquerading (the kernel's word for address translation), with weight 1."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualServer:
    """What the kernel's IPVS balances. ``persistence``: seconds for which a client keeps its real server, 0 for none."""

    protocol: Protocol
    ip: str
    port: int
    scheduler: str
    persistence: int = 0
    servers: tuple[RealServer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressSet:
    """An ipset. ``entries`` are spelled as ``ipset save`` prints them."""

    name: str
    kind: SetKind
    entries: tuple[str, ...] = ()


def ipvsadm_text(servers: Iterable[VirtualServer]) -> str:
    """The text for ``ipvsadm -R``."""
    return "".join(f"{line}\n" for server in servers for line in _ipvsadm_lines(server))


def _ipvsadm_lines(server: VirtualServer) -> Iterator[str]:
    service = f"{_SERVICE[server.protocol]} {address(server.ip)}:{number(server.port)}"
    persistence = f" -p {number(server.persistence)}" if server.persistence else ""
    yield f"-A {service} -s {server.scheduler}{persistence}"
    for real in server.servers:
        yield f"-a {service} -r {address(real.ip)}:{number(real.port)} -m -w 1"


def create_line(item: AddressSet) -> str:
    """The line that makes an empty set."""
    return f"create {item.name} {item.kind} {'range 0-65535' if item.kind == 'bitmap:port' else _HASH}"


def ipset_text(sets: Iterable[AddressSet]) -> str:
    """The text for ``ipset -exist restore`` that makes the sets hold exactly their entries, whatever they held."""
    lines: list[str] = []
    for item in sets:
        lines += [create_line(item), f"flush {item.name}", *(f"add {item.name} {entry}" for entry in item.entries)]
    return "".join(f"{line}\n" for line in lines)
