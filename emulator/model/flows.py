"""Holds flows: their clients and destinations, and each attempt. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..net import Address, Endpoint
from ..objects.config import FlowProtocol
from .frames import Answer, Health

# The kinds of communication, in the order in which reports show them.
FlowKind = Literal[
    "container-to-container",
    "pod-to-pod",
    "pod-to-service",
    "external-to-service",
    "node-to-service",
    "health-check",
    "node-to-pod",
    "pod-to-node",
    "external-to-pod",
    "pod-to-external",
    "other",
]

# The kinds of address by which a Service is dialled.
ServiceAddress = Literal["clusterIP", "nodePort", "externalIP", "loadBalancer"]


class SourcePlace(NamedTuple):
    """Names a place in the input: ``file`` as the user named it, ``line`` from 1."""

    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Describes a sender. ``label`` is the name that a person knows: ``pod default/client``, ``node
    worker-1``, ``external client-1``.
    """

    kind: Literal["pod", "node", "external"]
    label: str
    netns: str
    ip: Address  # the address it sends from unless routing chooses another (a node may have several)
    node: str = ""  # the node it is (on); "" for an external client


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Describes the address dialled. ``label``: ``svc default/web:80``, ``pod default/web-0:8080``, ``node
    worker-1:30080``.

    ``service`` is the one behind the address ("" when the address is no Service's), ``how`` the kind of
    address.
    """

    label: str
    ip: Address
    port: int  # 0 for ICMP
    service: str = ""  # namespace/name
    how: Literal[
        "clusterIP", "nodePort", "externalIP", "loadBalancer", "healthCheck", "pod", "node", "loopback", "ip"
    ] = "ip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Describes one client that talks to one destination, ``attempts`` times. ``called``: its name without
    the FlowCheck and the step ("": it has no other name).

    ``enough`` attempts are the last ones, if every endpoint that must be met was met (0: all are sent).
    """

    name: str
    called: str = ""
    kind: FlowKind
    client: Client
    to: Destination
    protocol: FlowProtocol
    attempts: int
    enough: int = 0
    via: str = ""  # the node whose eth0 an external client's packets enter through
    controls: tuple[str, ...] = ()  # names of the flows that are this one's control
    control: bool = False  # this flow is itself a control
    check: str = ""  # the FlowCheck that it comes from
    entry: str = ""  # the name of that FlowCheck's flow; a selector makes several of one
    # flows of a FlowCheck with the same one send over the same socket; "": each attempt has its own
    connection: str = ""
    # where that is written; "": the flow was derived from the objects; line 0: not known
    place: SourcePlace = SourcePlace()
    step: str = ""  # the step after which it is sent (its name is FlowCheck, step); "": at the beginning

    @property
    def title(self) -> str:
        """Returns the name of the flow where FlowCheck and step stand beside it."""
        return self.called or self.name


class CommandServer(NamedTuple):
    """Describes a container's own command behind an endpoint: it owes no answer as podwire's servers do.
    ``own``: the network namespace is its Pod's.
    """

    pod: str
    netns: str
    backend: Endpoint
    own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Describes one connection, datagram or crafted packet that a client sent.

    ``token`` is 0 for a TCP socket, whose initial sequence number only the first tap can tell: it is found by
    ``src`` in ``netns`` between ``started`` and ``finished`` (ns since the epoch). ``error`` is the errno
    name that the client's socket met ("" if none, "ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH", "timeout"…;
    always "" for crafted packets, save when sending failed). ``relayed`` as in :class:`Expectation`: then a
    TCP socket's token is that of its request, if it came to send one. ``servers``: the real commands that it
    may meet. Then ``error`` is what connecting met, for what a command does to a connection is its own
    affair, and ``heard`` says that it answered a datagram.
    """

    flow: str
    protocol: FlowProtocol
    netns: str
    src: Endpoint
    dst: Endpoint
    token: int
    crafted: bool
    started: int
    finished: int
    error: str = ""
    answer: Answer | None = None
    health: Health | None = None  # the answer to a health check
    relayed: bool = False
    continued: bool = False  # a request on a connection that an earlier flow had opened
    servers: frozenset[CommandServer] = frozenset()
    heard: bool = False
