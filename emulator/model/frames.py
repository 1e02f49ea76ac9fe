"""Holds values on the wire and on a tap: tokens, what servers answer, raw and decoded frames. Pure."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import NamedTuple

from ..net import PROTOCOL_NUMBER, Address, Endpoint


class Health(NamedTuple):
    """Holds the answer of a healthCheckNodePort: the HTTP status, and the count of ready endpoints on that
    node (None: it is not said).
    """

    status: int
    localEndpoints: int | None = None

    def __str__(self) -> str:
        if self.localEndpoints is None:
            return str(self.status)
        return f"{self.status}, {self.localEndpoints} local endpoint{'' if self.localEndpoints == 1 else 's'}"

    def keeps(self, wanted: Health) -> bool:
        """Returns whether it is as ``wanted``, which may leave the count open."""
        return self.status == wanted.status and wanted.localEndpoints in (None, self.localEndpoints)


# then 16 hex digits: the cookie of a UDP datagram, an ICMP echo or a TCP request, at the start of its payload
REQUEST_MAGIC = b"podwire?"


REPLY_MAGIC = b"podwire!"  # the same in what an echo server sends back


# The same where HTTP is spoken: the target of a request, and a reply's first header. The decoder of frames
# looks for the first bytes of both; a parser of HTTP would see segments, not messages.
HTTP_TARGET, REPLY_HEADER = "/?podwire=", "X-Podwire"
HTTP_REQUEST_MAGIC = b"GET " + HTTP_TARGET.encode()
HTTP_REPLY_MAGIC = b"HTTP/1.1 200 OK\r\n" + REPLY_HEADER.encode() + b": " + REPLY_MAGIC


def make_token(protocol: str, value: int) -> int:
    """Returns what identifies a packet across NAT: ``value`` is the TCP initial sequence number or SCTP
    initiate tag (32 bits) or the cookie (64 bits) of UDP and ICMP; the protocol's number above it keeps the
    four apart.

    Over TCP, the cookie of a request (64 bits) identifies its data, across a proxy too, where there are two
    connections with an initial sequence number each.
    """
    return PROTOCOL_NUMBER[protocol] << 64 | value


def errno_name(code: int | None) -> str:
    """Returns ``ECONNREFUSED`` and the like, as an :class:`Attempt` names what its socket met."""
    return errno.errorcode.get(code or 0, str(code or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Holds what an echo server said of itself and of the client as it saw it."""

    pod: str
    container: str
    node: str
    client: Endpoint
    dialled: Endpoint | None  # from the connection tracking of the nodes (None: it could not tell)
    # the server's own socket: the endpoint that was met, even where no tap sees the rewritten packet
    local: Endpoint | None = None
    image: str = ""  # its container's, in a cluster that lives: versions are told apart by it


class Captured(NamedTuple):
    """Describes a raw frame as a tap delivered it. ``time`` is ns since the epoch; ``data`` starts at the
    link header (Ethernet, on ``lo`` too) and may be cut; ``length`` is its length on the wire. ``stray``: a
    bridge flooded it to a machine that it was not addressed to, whose kernel drops it; it is evidence, but no
    hop of anything.
    """

    time: int
    netns: str
    interface: str
    outgoing: bool
    length: int
    data: bytes
    stray: bool = False


class Frame(NamedTuple):
    """Holds what one tap saw, decoded as far as correlation needs. ``time`` is ns since the epoch.

    ``token`` identifies the packet across NAT: TCP initial sequence number, UDP/ICMP cookie, SCTP initiate
    tag (0: none of ours). ``reply`` says that it travels back to the client. For an ICMP error, ``token`` is
    that of the packet it quotes. A frame without an IP packet has the unspecified address twice.
    """

    number: int  # index in the capture, from 0
    time: int
    netns: str
    interface: str
    outgoing: bool
    protocol: str  # TCP UDP ICMP SCTP, "ICMP error", ARP, other
    src: Address
    sport: int
    dst: Address
    dport: int
    ttl: int
    flags: str  # TCP: "S", "SA", "R"…; ICMP error: "type/code"; SCTP: chunk name
    token: int
    reply: bool
    length: int
