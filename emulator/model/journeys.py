"""Holds journeys: the hops of one attempt there and back, the rewrites between them, and how it ended.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..cluster.state import BALANCER
from ..net import Address, Endpoint
from ..objects.config import Outcome


class Connection(NamedTuple):
    """Describes the two ends of a packet: where it comes from, and where it goes."""

    src: Endpoint
    dst: Endpoint

    def __str__(self) -> str:
        return f"{self.src} → {self.dst}"


class Hop(NamedTuple):
    """Describes a hop: ``netns/interface`` in or out, with the addresses that the packet had there. ``frame``
    is the Frame's number.
    """

    time: int
    netns: str
    interface: str
    direction: Literal["in", "out"]
    src: Endpoint
    dst: Endpoint
    ttl: int
    frame: int

    def __str__(self) -> str:
        return f"{self.netns}/{self.interface} {self.direction} {self.src} → {self.dst} ttl {self.ttl}"


@dataclass(frozen=True, slots=True)
class Change:
    """Describes a rewrite by a node between two hops. ``frame`` is the first Frame that shows it.

    ``before`` and ``after`` are an address and port each; of a relayed request, ``A → B`` each: a process
    that was reached by the one connection sent the same on another, which it opened.
    """

    what: Literal["DNAT", "SNAT", "un-DNAT", "un-SNAT", "relayed"]
    where: str  # network namespace
    before: Endpoint | Connection
    after: Endpoint | Connection
    frame: int

    def __str__(self) -> str:
        return (
            f"{self.what} at {self.where}: {self.before} {'becomes' if self.what == 'relayed' else '→'} "
            f"{self.after}"
        )

    @property
    def led_to(self) -> Endpoint:
        """Returns the endpoint that it led to."""
        return self.after.dst if isinstance(self.after, Connection) else self.after

    @property
    def readdressed(self) -> bool:
        """Returns whether an address changed, and not a port alone."""
        return _addresses(self.before) != _addresses(self.after)


def _addresses(ends: Endpoint | Connection) -> tuple[Address, ...]:
    return (ends.src.address, ends.dst.address) if isinstance(ends, Connection) else (ends.address,)


def find_dialled(dialled: Endpoint, there: Sequence[Hop]) -> Endpoint:
    """Returns the endpoint that the serving node is asked for: the one that the client ``dialled``,
    or the one that a balancer in the path made of it.
    """
    return next((hop.dst for hop in reversed(there) if hop.netns == BALANCER), dialled)


EndingKind = Literal[
    "answered",  # the client heard a reply
    "arrived",  # it came in (``last``) at a server that owes no reply
    "icmp",  # an ICMP error (``code``: type/code) ``by`` an address
    "rst",  # a TCP RST ``by`` an address and port
    "abort",  # an SCTP ABORT ``by`` an address and port
    "closed",  # accepted, then closed without an answer: ``code`` is "FIN" or "RST", ``by`` as in rst
    "no route",  # the client's socket met the errno ``code``
    "filtered",  # the client's own rules let nothing out (EPERM)
    "silence",  # no reply: last seen at ``last``; without it no packet left the namespace ``place``
    "reply lost",  # a reply (a refusal: ``after``) went back as far as ``last``
    "late refusal",  # silence, and in the end a kernel says that no neighbour has answered (``after``)
    "server refused",  # nothing listens at ``endpoint``: the server of ``pods`` sent the refusal ``after``
    "server silent",  # the server of ``pods`` did not accept what came in at ``last``
    "proxy silent",  # a proxy let it in (``last``), and nothing came in at the servers of ``pods``
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Describes how an attempt ended, by its frames, its socket and its server. ``full``: the server's accept
    queue had overflowed.
    """

    kind: EndingKind
    by: Endpoint | None = None
    code: str = ""
    place: str = ""
    last: Hop | None = None
    after: Ending | None = None
    pods: tuple[str, ...] = ()
    endpoint: Endpoint | None = None
    full: bool = False

    @property
    def no_neighbour(self) -> bool:
        """Returns whether a kernel says that its ARP requests were not answered (net/ipv4/arp.c,
        arp_error_report).
        """
        return (self.kind, self.code) in (("icmp", "3/1"), ("no route", "EHOSTUNREACH"))


ANSWERED = Ending(kind="answered")


@dataclass(frozen=True, slots=True)
class Journey:
    """Describes one attempt's way there and back."""

    token: int
    crafted: bool
    sent: Connection  # as the client sent it
    there: tuple[Hop, ...]
    back: tuple[Hop, ...]
    changes: tuple[Change, ...]
    outcome: Outcome
    backend: Endpoint | None = None
    source_seen: Address | None = None  # the client's address as the backend saw it
    reply_from: Endpoint | None = None  # the endpoint that the client heard from
    ending: Ending = ANSWERED
    # namespace/name of the Pods that it may have come to, whose real command did not take it
    unserved: tuple[str, ...] = ()

    def last_change(self, what: str) -> Change | None:
        """Returns the last rewrite of the kind ``what``, or the relaying, by which a proxy gave the packet
        another source and destination; None if there was none.
        """
        return next((c for c in reversed(self.changes) if c.what in (what, "relayed")), None)
