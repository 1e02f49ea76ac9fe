"""The values that probing is about: flows, expectations, frames, journeys, results. Pure; imports names of
``objects.config`` and ``control.state`` only.

The order of a flow's life: ``Flow`` (what to send) + ``Expectation`` (what Kubernetes promises) → packets → ``Frame`` (what a tap saw) →
``Journey`` (one token's frames in order) → ``Observation`` (what the journeys say) → ``FlowResult`` (the verdict).
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from emulator.control.state import BALANCER
from emulator.objects.config import FlowProtocol, Outcome

Verdict = Literal["pass", "fail", "unknown"]
SourceRule = Literal["preserved", "node", "balancer"]
SOURCE_RULES: tuple[SourceRule, ...] = ("node", "preserved", "balancer")
ReplyFrom = Literal["dialled", "endpoint"]
OUTCOMES: tuple[Outcome, ...] = ("delivered", "dropped", "unreachable", "rejected")  # the slowest of those that do not deliver first

# The kinds of communication, in the order in which reports show them.
Kind = Literal[
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


class Health(NamedTuple):
    """What a healthCheckNodePort answers: the HTTP status, and of how many ready endpoints on that node (None: it is not said)."""

    status: int
    localEndpoints: int | None = None

    def __str__(self) -> str:
        if self.localEndpoints is None:
            return str(self.status)
        return f"{self.status}, {self.localEndpoints} local endpoint{'' if self.localEndpoints == 1 else 's'}"

    def keeps(self, wanted: Health) -> bool:
        """Whether it is as ``wanted``, which may leave the count open."""
        return self.status == wanted.status and wanted.localEndpoints in (None, self.localEndpoints)


class Backend(NamedTuple):
    """Where a connection ended: the endpoint's address and port (port 0 for ICMP)."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"{self.ip}:{self.port}" if self.port else self.ip


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who sends. ``label`` is what a person calls it: ``pod default/client``, ``node worker-1``, ``external client-1``."""

    kind: Literal["pod", "node", "external"]
    label: str
    netns: str
    ip: str  # the address it sends from unless routing chooses another (a node may have several)
    node: str = ""  # the node it is (on); "" for an external client


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What is dialled. ``label``: ``svc default/web:80``, ``pod default/web-0:8080``, ``node worker-1:30080``.

    ``service`` is the one behind the address ("" when the address is nobody's Service), ``how`` by which of its addresses it is reached.
    """

    label: str
    ip: str
    port: int  # 0 for ICMP
    service: str = ""  # namespace/name
    how: Literal["clusterIP", "nodePort", "externalIP", "loadBalancer", "healthCheck", "pod", "node", "loopback", "ip"] = "ip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One client talking to one destination, ``attempts`` times."""

    name: str
    kind: Kind
    client: Client
    to: Destination
    protocol: FlowProtocol
    attempts: int
    via: str = ""  # the node whose eth0 an external client's packets enter through
    controls: tuple[str, ...] = ()  # names of the flows that are this one's control
    control: bool = False  # this flow is itself a control
    check: str = ""  # the FlowCheck that it comes from
    entry: str = ""  # the name of that FlowCheck's flow; a selector makes several of one
    connection: str = ""  # flows of a FlowCheck with the same one send over the same socket; "": each attempt has its own
    step: str = ""  # the step after which it is sent (its name is FlowCheck, step); "": at the beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class Possibility:
    """One way in which an attempt may end. An attempt that fits none of an expectation's possibilities breaks it.

    ``backend`` is the endpoint that the attempt is led to; None: whichever, or none. ``source`` says whose address that endpoint
    sees; None: anybody's. ``reply`` says whom the client hears from: the address that it dialled, or the endpoint itself, past the
    node that translated. Then there is no connection: the client knows nothing of that address.
    """

    outcome: Outcome
    backend: Backend | None = None
    source: SourceRule | None = None
    reply: ReplyFrom = "dialled"
    late: bool = False  # dropped since nobody answers ARP: a client that waits some seconds more is told "host unreachable"


class Possibilities(tuple[Possibility, ...]):
    """All ways in which an attempt may end, with what follows from them. Flows that are promised the same share one value."""

    @cached_property
    def outcomes(self) -> frozenset[Outcome]:
        """All that an attempt may come to."""
        return frozenset(p.outcome for p in self)

    @cached_property
    def delivering(self) -> tuple[Possibility, ...]:
        """Those in which the endpoint answers and the client hears it."""
        return tuple(p for p in self if p.outcome == "delivered")

    @cached_property
    def sources(self) -> Mapping[Backend, frozenset[SourceRule]]:
        """Each endpoint that may answer → whose address it may see."""
        found: dict[Backend, set[SourceRule]] = {}
        for p in self.delivering:
            if p.backend is not None:
                found.setdefault(p.backend, set()).update([p.source] if p.source else [])
        return {backend: frozenset(rules) for backend, rules in found.items()}

    @cached_property
    def backends(self) -> Mapping[Backend, SourceRule]:
        """Each endpoint that may answer → whose address it sees; "node" where it may be a node's or the client's own."""
        return {b: next((rule for rule in SOURCE_RULES if rule in rules), "preserved") for b, rules in self.sources.items()}

    @cached_property
    def each_backend(self) -> tuple[frozenset[Backend], ...]:
        """A group for each endpoint that may answer (:attr:`Expectation.must_meet`)."""
        return tuple(frozenset({backend}) for backend in self.sources)

    @cached_property
    def endpoints(self) -> frozenset[Backend]:
        """Each endpoint that an attempt may be led to, whatever comes of that."""
        return frozenset(p.backend for p in self if p.backend is not None)

    @cached_property
    def astray(self) -> frozenset[Backend]:
        """The endpoints whose reply may come to the client from themselves, and not from the address that it dialled."""
        return frozenset(p.backend for p in self.delivering if p.backend is not None and p.reply == "endpoint")

    @cached_property
    def straight(self) -> frozenset[Backend]:
        """The endpoints whose reply may come from the address that the client dialled."""
        return frozenset(p.backend for p in self.delivering if p.backend is not None and p.reply == "dialled")

    @cached_property
    def late(self) -> bool:
        """Returns whether a client that waits some seconds more may be told "host unreachable" where silence is promised."""
        return any(p.late for p in self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the objects promise for a flow: every attempt ends in one of ``possibilities``, and of each group in ``must_meet`` at least
    one endpoint answers.

    ``addresses`` maps each source rule to the addresses that satisfy it ("preserved" → the client's; "node" → those of the
    masquerading node; "balancer" → that of the load balancer in the path). ``because`` is the sentence of the semantics, ``source``
    what a report prints ("preserved", "node", an address, "preserved; node on hairpin"). ``relayed``: a process of the node accepts
    the connection and dials the endpoint, so that there are two connections and two packets; it says how attempts are followed.
    ``unpromised``: why nothing is promised of the flow ("" where something is); then its verdict is unknown.
    """

    possibilities: Possibilities
    because: str
    must_meet: tuple[frozenset[Backend], ...] = ()
    addresses: Mapping[SourceRule, frozenset[str]] = field(default_factory=dict)
    source: str = ""
    relayed: bool = False
    health: Health | None = None  # what a health check is answered
    unpromised: str = ""

    @property
    def outcome(self) -> Outcome:
        """The outcome that reports name: delivered where any attempt may be, else the slowest one."""
        return next(outcome for outcome in OUTCOMES if outcome in self.outcomes)

    @property
    def outcomes(self) -> frozenset[Outcome]:
        """All that an attempt may come to."""
        return self.possibilities.outcomes

    @property
    def backends(self) -> Mapping[Backend, SourceRule]:
        """Each endpoint that may answer → whose address it sees."""
        return self.possibilities.backends

    @property
    def endpoints(self) -> frozenset[Backend]:
        """Each endpoint that an attempt may be led to, whatever comes of that."""
        return self.possibilities.endpoints

    @property
    def astray(self) -> frozenset[Backend]:
        """The endpoints from whose own address the client may hear."""
        return self.possibilities.astray

    @property
    def straight(self) -> frozenset[Backend]:
        """The endpoints of which the client may hear from the address that it dialled."""
        return self.possibilities.straight

    @property
    def partial(self) -> bool:
        """Returns whether some endpoint that may answer need not be met: the endpoints are many, or affinity leads to one of them."""
        return not set(self.possibilities.each_backend) <= set(self.must_meet)

    def rules_at(self, backend: Backend | None) -> frozenset[SourceRule]:
        """Whose address ``backend`` may see (None, or an endpoint of which nothing is said: anybody's that some endpoint may see)."""
        sources = self.possibilities.sources
        if backend is not None and backend in sources:
            return sources[backend]
        return frozenset().union(*sources.values()) or frozenset(self.addresses)


PROTOCOL_NUMBER: Mapping[str, int] = {"ICMP": 1, "TCP": 6, "UDP": 17, "SCTP": 132}
REQUEST_MAGIC = b"podwire?"  # then 16 hex digits: the cookie of a UDP datagram, an ICMP echo or a TCP request, at the start of its payload
HTTP_REQUEST_MAGIC = b"GET /?podwire="  # the same in what a real command is asked
REPLY_MAGIC = b"podwire!"  # the same in what an echo server sends back
HTTP_REPLY_MAGIC = b"HTTP/1.1 200 OK\r\nX-Podwire: " + REPLY_MAGIC  # the same, to who asked by HTTP


def make_token(protocol: str, value: int) -> int:
    """What identifies a packet across NAT: ``value`` is the TCP initial sequence number or SCTP initiate tag (32 bits) or the cookie
    (64 bits) of UDP and ICMP; the protocol's number above it keeps the four apart. Of TCP, the cookie of a request
    (64 bits) identifies what is said, across a proxy too, where there are two connections with an initial sequence number each."""
    return PROTOCOL_NUMBER[protocol] << 64 | value


def errno_name(code: int | None) -> str:
    """``ECONNREFUSED`` and the like: how an :class:`Attempt` names what its socket met."""
    return errno.errorcode.get(code or 0, str(code or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an echo server said of itself and of the client as it saw it."""

    pod: str
    container: str
    node: str
    client: str  # address:port
    dialled: str  # address:port, from the connection tracking of the nodes ("" if it could not tell)
    local: str = ""  # address:port of the server's own socket: the endpoint that was met, even where no tap sees the rewritten packet


class RealServer(NamedTuple):
    """A container's own command behind an endpoint: it owes no answer as podwire's servers do. ``own``: the network namespace is its Pod's."""

    pod: str
    netns: str
    backend: Backend
    own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One connection, datagram or crafted packet that a client sent.

    ``token`` is 0 for a TCP socket, whose initial sequence number only the first tap can tell: it is found by ``src`` in ``netns``
    between ``started`` and ``finished`` (ns since the epoch). ``error`` is the errno name that the client's socket met ("" if none,
    "ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH", "timeout"…; always "" for crafted packets, save when sending failed).
    ``relayed`` as in :class:`Expectation`: then a TCP socket's token is that of its request, if it came to send one.
    ``servers``: the real commands that it may meet. Then ``error`` is what connecting met, for what a command does to a connection
    is its own affair, and ``heard`` says that it answered a datagram.
    """

    flow: str
    protocol: FlowProtocol
    netns: str
    src: tuple[str, int]
    dst: tuple[str, int]
    token: int
    crafted: bool
    started: int
    finished: int
    error: str = ""
    answer: Answer | None = None
    health: Health | None = None  # the answer to a health check
    relayed: bool = False
    continued: bool = False  # a request on a connection that an earlier flow had opened
    servers: frozenset[RealServer] = frozenset()
    heard: bool = False


class Captured(NamedTuple):
    """A raw frame as a tap delivered it. ``time`` is ns since the epoch; ``data`` starts at the link header (Ethernet, on ``lo`` too)
    and may be cut; ``length`` is its length on the wire. ``stray``: a bridge flooded it to somebody it was not addressed to, whose kernel
    drops it; it is evidence, but no hop of anything."""

    time: int
    netns: str
    interface: str
    outgoing: bool
    length: int
    data: bytes
    stray: bool = False


class Frame(NamedTuple):
    """What one tap saw, decoded as far as correlation needs. ``time`` is ns since the epoch.

    ``token`` identifies the packet across NAT: TCP initial sequence number, UDP/ICMP cookie, SCTP initiate tag (0: none of
    ours). ``reply`` says that it travels back to the client. For an ICMP error, ``token`` is that of the packet it quotes.
    """

    number: int  # index in the capture, from 0
    time: int
    netns: str
    interface: str
    outgoing: bool
    protocol: str  # TCP UDP ICMP SCTP, "ICMP error", ARP, other
    src: str
    sport: int
    dst: str
    dport: int
    ttl: int
    flags: str  # TCP: "S", "SA", "R"…; ICMP error: "type/code"; SCTP: chunk name
    token: int
    reply: bool
    length: int


@dataclass(frozen=True, slots=True)
class Hop:
    """``netns/interface`` in or out, with the addresses that the packet had there. ``frame`` is the Frame's number."""

    time: int
    netns: str
    interface: str
    direction: Literal["in", "out"]
    src: str  # address:port
    dst: str
    ttl: int
    frame: int

    def __str__(self) -> str:
        return f"{self.netns}/{self.interface} {self.direction} {self.src} → {self.dst} ttl {self.ttl}"


@dataclass(frozen=True, slots=True)
class Change:
    """What a node did to a packet between two hops. ``frame`` is the first Frame that shows it.

    ``before`` and ``after`` are an address and port each; of what was relayed, ``A → B`` each: a process that was reached by the one
    connection said the same on another, which it opened.
    """

    what: Literal["DNAT", "SNAT", "un-DNAT", "un-SNAT", "relayed"]
    where: str  # network namespace
    before: str
    after: str
    frame: int

    def __str__(self) -> str:
        return f"{self.what} at {self.where}: {self.before} {'becomes' if self.what == 'relayed' else '→'} {self.after}"

    @property
    def led_to(self) -> str:
        """The address and port that it led to."""
        return self.after.rpartition(" → ")[2]


def find_dialled(dialled: str, there: Sequence[Hop]) -> str:
    """The address and port that the node which serves is asked for: what the client ``dialled``, or what a balancer in the path made of it."""
    return next((hop.dst for hop in reversed(there) if hop.netns == BALANCER), dialled)


@dataclass(frozen=True, slots=True)
class Journey:
    """One attempt's way there and back."""

    token: int
    crafted: bool
    sent: tuple[str, str]  # src, dst as the client sent it (address:port)
    there: tuple[Hop, ...]
    back: tuple[Hop, ...]
    changes: tuple[Change, ...]
    outcome: Outcome
    backend: Backend | None = None
    source_seen: str = ""  # the client address (without port) as the backend saw it
    reply_from: str = ""  # address:port that the client heard from
    evidence: str = ""  # for rejected/unreachable: "ICMP port unreachable from 172.18.0.3", "RST from …", "no route"
    unserved: str = ""  # namespace/name of the Pod that it came to, whose real command did not take it


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What all attempts of a flow together say. ``outcomes`` counts attempts by outcome."""

    outcomes: Mapping[str, int]
    backends: Mapping[Backend, int] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    reply_from: tuple[str, ...] = ()
    health: tuple[Health, ...] = ()  # what health checks were answered, each answer once
    lost_frames: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowResult:
    flow: Flow
    expected: Expectation
    observed: Observation
    journeys: tuple[Journey, ...]  # one for each distinct way, at least one crafted and one by socket where both were sent
    verdict: Verdict
    reason: str  # why not "pass" ("" when it is)
    captures: tuple[str, ...] = ()  # file names inside the captures directory
    frames: tuple[int, ...] = ()  # the numbers of every frame of the flow
    silent: bool = False  # the verdict rests on silence: a packet that was lost without a trace would explain it


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One sentence of the Kubernetes network model, and what the packets and interfaces say about it."""

    name: str
    text: str
    verdict: Verdict
    checked: int  # how many facts it rests on
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a run found; tables, JSON, JUnit and pcapng are made from this alone."""

    topology: str
    seed: int
    proxy_mode: str
    machine: Mapping[str, str]  # kernel, iptables flavour, podwire version, started (RFC 3339), seconds
    cluster: tuple[tuple[str, ...], ...]  # rows: node, role, address, podCIDR, Pods (names)
    services: tuple[tuple[str, ...], ...]  # rows: namespace/name, type, clusterIP, ports, endpoints (how many)
    flows: tuple[FlowResult, ...]
    requirements: tuple[Requirement, ...]
    notices: tuple[str, ...] = ()

    @property
    def summary(self) -> Mapping[str, int]:
        counts = {"flows": len(self.flows), "pass": 0, "fail": 0, "unknown": 0}
        for result in self.flows:
            counts[result.verdict] += 1
        return counts

    @property
    def ok(self) -> bool:
        """Whether every flow is as expected and no requirement is broken (one that no flow of this run bears on is no failure)."""
        return all(f.verdict == "pass" for f in self.flows) and all(r.verdict != "fail" for r in self.requirements)
