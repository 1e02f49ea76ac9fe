"""Describes the state that kube-proxy's ipvs mode keeps outside the tables of iptables (virtual servers and
ipsets), and the texts that load or change it.

Texts are those that ``ipvsadm -R`` and ``ipset restore`` read, as ``ipvsadm -Sn`` and ``ipset save`` print
them. Invariant: a text holds checked addresses, prefixes and numbers, and words of our own, and nothing else.

An endpoint that goes keeps its TCP connections, with weight 0: it gets no new ones. kube-proxy does the same
(pkg/proxy/ipvs/graceful_termination.go), and deletes the real server when its last connection has ended; no
packet shows the difference. UDP and SCTP endpoints are deleted at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..net import Address, Endpoint, Family, TransportProtocol
from ..objects.config import IPVSTimeouts
from .checked import address, number

Verb = Literal["add server", "edit server", "delete server", "add real", "edit real", "delete real"]
SetKind = Literal["hash:ip", "hash:ip,port", "hash:ip,port,ip", "hash:ip,port,net", "bitmap:port"]

_SERVICE = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}
_HASH = "hashsize 1024 maxelem 65536 bucketsize 12"


class RealServer(NamedTuple):
    """Describes an endpoint, reached by masquerading (IPVS's name for address translation)."""

    ip: Address
    port: int
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualServer:
    """Describes a virtual server of the kernel's IPVS. ``persistence``: seconds for which a client keeps its
    real server, 0 for none.
    """

    protocol: TransportProtocol
    ip: Address
    port: int
    scheduler: str
    persistence: int = 0
    servers: tuple[RealServer, ...] = ()

    @property
    def key(self) -> tuple[TransportProtocol, Address, int]:
        """Returns the key that distinguishes it from others."""
        return self.protocol, self.ip, self.port


class Edit(NamedTuple):
    """Describes one command to the kernel's IPVS, about ``server`` or about ``real`` behind it."""

    verb: Verb
    server: VirtualServer
    real: RealServer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressSet:
    """Describes an ipset. ``entries`` are spelled as ``ipset save`` prints them."""

    name: str
    kind: SetKind
    entries: tuple[str, ...] = ()
    family: Family


def edits(was: Iterable[VirtualServer], servers: Iterable[VirtualServer]) -> Iterator[Edit]:
    """Yields the commands that turn a kernel that has ``was`` into one that has ``servers``, in an order that
    can be applied. They are as many as the differences.

    A new real server may exist already, with weight 0: so it is added, which has no effect then, and edited.
    """
    before, after = {server.key: server for server in was}, {server.key: server for server in servers}
    for key, server in before.items():
        if key not in after:
            yield Edit("delete server", server)
    for key, server in after.items():
        old = before.get(key)
        if old is None:
            yield Edit("add server", server)
            yield from (Edit("add real", server, real) for real in server.servers)
        elif old != server:
            yield from _changes(old, server)


def _changes(old: VirtualServer, new: VirtualServer) -> Iterator[Edit]:
    if (old.scheduler, old.persistence) != (new.scheduler, new.persistence):
        yield Edit("edit server", new)
    for real in new.servers:
        if real not in old.servers:
            yield Edit("add real", new, real)
            yield Edit("edit real", new, real)
    for real in old.servers:
        if real not in new.servers:
            yield (
                Edit("edit real", new, real._replace(weight=0))
                if new.protocol == "TCP"
                else Edit("delete real", new, real)
            )


def ipvsadm_text(servers: Iterable[VirtualServer]) -> str:
    """Returns the text for ``ipvsadm -R``."""
    return "".join(f"{ipvsadm_words(edit)}\n" for edit in edits((), servers))


_OPTION: Mapping[Verb, str] = {
    **{"add server": "-A", "edit server": "-E", "delete server": "-D"},
    **{"add real": "-a", "edit real": "-e", "delete real": "-d"},
}


def ipvsadm_words(edit: Edit) -> str:
    """Returns the options of ``ipvsadm`` for one command."""
    server, real = edit.server, edit.real
    words = f"{_OPTION[edit.verb]} {_SERVICE[server.protocol]} {_at(server)}"
    if real is not None:
        words += f" -r {_at(real)}"
        return words if edit.verb == "delete real" else f"{words} -m -w {number(real.weight)}"
    if edit.verb == "delete server":
        return words
    words += f" -s {server.scheduler}" + (f" -p {number(server.persistence)}" if server.persistence else "")
    # kube-proxy makes it hash the client's port, too
    return f"{words} -b mh-port" if server.scheduler == "mh" else words


def _at(server: VirtualServer | RealServer) -> Endpoint:
    """Returns where ``server`` is. Raises ``UnsafeTextError`` for what is no address or port."""
    return Endpoint(address(server.ip), number(server.port))


def timeout_words(timeouts: IPVSTimeouts) -> str:
    """Returns the options of ``ipvsadm`` that set the time-outs; 0 leaves one as it is."""
    return "--set " + " ".join(str(number(seconds)) for seconds in timeouts)


def create_line(item: AddressSet) -> str:
    """Returns the line that makes an empty set."""
    options = "range 0-65535" if item.kind == "bitmap:port" else f"family {item.family.ipset} {_HASH}"
    return f"create {item.name} {item.kind} {options}"


def ipset_text(sets: Iterable[AddressSet]) -> str:
    """Returns the text for ``ipset -exist restore`` that makes the sets hold exactly their entries, whatever
    they held.
    """
    lines: list[str] = []
    for item in sets:
        lines += [
            create_line(item),
            f"flush {item.name}",
            *(f"add {item.name} {entry}" for entry in item.entries),
        ]
    return "".join(f"{line}\n" for line in lines)


def ipset_change(old: Iterable[AddressSet], new: Iterable[AddressSet]) -> str:
    """Returns the text for ``ipset -exist restore`` that turns sets that hold ``old`` into ``new``, entry by
    entry; "" when they are equal. Sets may be added, but not deleted: rules may refer to them.
    """
    before = {item.name: item for item in old}
    lines: list[str] = []
    for item in new:
        was = before.pop(item.name, None)
        if was is None:
            lines.append(create_line(item))
        elif was.kind != item.kind:
            raise ValueError(f"set {item.name} was {was.kind}")
        had, has = dict.fromkeys(was.entries if was else ()), dict.fromkeys(item.entries)
        lines += [f"del {item.name} {entry}" for entry in had if entry not in has]
        lines += [f"add {item.name} {entry}" for entry in has if entry not in had]
    if before:
        raise ValueError(f"sets would go: {', '.join(before)}")
    return "".join(f"{line}\n" for line in lines)
