"""Sends every attempt of every flow: by real sockets in the clients' namespaces, and as crafted packets
(:mod:`emulator.traffic.send_crafted`).

One epoll loop drives all sockets at once and empties the taps while it does, so that silent flows are waited
for together: an attempt is given up when *nothing at all* has happened anywhere for long enough
(:mod:`emulator.traffic.silence`). Decides nothing about what an outcome means.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from random import Random
from types import MappingProxyType

from ..capture.recording import LOOK_EVERY, Recording
from ..errors import EXHAUSTED
from ..kernel.netns import Namespaces
from ..model.flows import Attempt, CommandServer, Flow
from ..model.frames import (
    Answer,
    Health,
    errno_name,
    make_token,
)
from ..net import Endpoint
from ..objects.config import FlowProtocol
from ..workload import http
from ..workload.answer import (
    health_request,
    http_request,
    read_health,
    read_http_reply,
    read_reply,
    request_line,
)
from .chatter import Chatter, forget_answers
from .send_crafted import CraftedSender
from .servers import (
    CONNECT,
    DATAGRAM,
    QUIET,
    RELAY,
    Turns,
)
from .silence import SILENCE, PatientClock, Silence

_WINDOW = 2000  # sockets open at once; the hard limit of descriptors is 20,000 on many machines
# sockets among them that proxies accept, in processes of their own: each makes some 40 frames on a node,
# whose
# ring holds 8192
_RELAYED = 200
# UDP requests unanswered at once: a socket holds 212,992 bytes (net.core.rmem_default), at least 768 for each
_DATAGRAMS = 200
_RESETS = (errno.ECONNRESET, errno.EPIPE)  # errors that only an accepted connection can meet
_REST = 0.05  # seconds between two looks at the taps while nothing is sent
_NOWHERE = Endpoint.of("0.0.0.0", 0)  # noqa: S104 - until the socket has an address
_LINGER_ABORT = struct.pack("ii", 1, 0)  # close() sends RST: no TIME_WAIT, one packet less
# the kernel's source ports for sockets (net.ipv4.ip_local_port_range)
_FIRST_FRESH, _LAST_FRESH = 32768, 60999

Progress = Callable[[int], None]


class _Job:
    """Holds one attempt by socket that is under way."""

    __slots__ = (
        *(
            "answer",
            "began",
            "buffer",
            "connected",
            "continued",
            "cookie",
            "flow",
            "health",
            "heard",
            "http",
            "relayed",
            "seen",
            "servers",
        ),
        *("since", "sock", "src", "started", "talk"),
    )

    def __init__(
        self, flow: Flow, talk: bool, relayed: bool = False, servers: frozenset[CommandServer] = frozenset()
    ) -> None:
        self.flow, self.talk, self.relayed, self.servers = flow, talk, relayed, servers
        self.cookie = 0
        self.started = 0
        self.src = _NOWHERE
        self.buffer = b""
        self.http: http.Client | None = None  # that asks, where HTTP is spoken
        self.answer: Answer | None = None
        self.health: Health | None = None
        self.sock: socket.socket | None = None
        self.continued = False
        self.seen = 0  # how many frames were captured when it began
        self.connected, self.heard = False, False
        # by the patient clock: when it began, and when it last made progress
        self.began, self.since = 0.0, 0.0

    @property
    def client(self) -> str:
        """Returns the client ("" for any other) whose connections can be told apart only by time: a node,
        which translates them.
        """
        return (
            self.flow.client.netns if self.flow.client.kind == "node" and self.flow.protocol == "TCP" else ""
        )

    def patience(self, answer: float) -> float:
        """Returns how many seconds it waits after its last progress; ``answer``: for the first bytes of its
        servers.
        """
        if self.flow.protocol == "UDP":
            return DATAGRAM
        if not self.connected:
            return CONNECT
        if self.heard:
            return QUIET
        return max(answer, RELAY) if self.cookie and (self.relayed or self.continued) else answer

    def ask(self) -> bytes:
        """Returns the request that carries the cookie."""
        server = Endpoint(self.flow.to.ip, self.flow.to.port)
        if self.servers and self.flow.protocol == "TCP":
            self.http = http_request(self.cookie, server, keep=bool(self.flow.connection))
        elif self.flow.to.how == "healthCheck":
            self.http = health_request(server)
        return self.http.request if self.http else request_line(self.cookie)

    def hear(self, data: bytes) -> bool:
        """Takes bytes that came over TCP (b"": its end), or one datagram; returns whether the answer is
        complete.
        """
        if self.http:
            response = self.http.hear(data)
            self.health = read_health(response) if response else None
            return self.health is not None
        self.buffer += data
        if not self.buffer.endswith(b"\n"):
            return False
        self.answer = read_reply(self.buffer)
        return True

    def hear_server(self, data: bytes) -> None:
        """Takes the bytes of a real command, whatever they are, or the answer of an echo server behind the
        same Service.
        """
        self.heard = True
        if not self.http:
            self.answer = read_reply(data)
        elif response := self.http.hear(data):
            self.answer = read_http_reply(response)


def socket_jobs(
    flows: Sequence[Flow],
    *,
    talk: bool,
    relayed: Collection[str] = (),
    hidden: Collection[str] = (),
    servers: Mapping[str, frozenset[CommandServer]] = MappingProxyType({}),
) -> list[_Job]:
    """Returns the attempts of ``flows`` by socket. With ``talk`` the first attempt of a flow sends a request
    to which the server answers with its identity, and the others connect and leave. These flows send a
    request in every attempt: a node's own, whose packets are rewritten before any tap sees them; health
    checks; ``relayed`` flows, which otherwise meet the proxy and no server; ``hidden`` flows, whose endpoint
    no tap may see; and flows that may meet real commands, ``servers``.
    """
    always = {*relayed, *hidden, *servers}
    return [
        _Job(
            flow,
            flow.name in always or (talk and (number == 0 or _always_asks(flow))),
            flow.name in relayed,
            servers.get(flow.name, frozenset()),
        )
        for flow in flows
        if flow.protocol in ("TCP", "UDP")
        for number in range(flow.attempts)
    ]


def _always_asks(flow: Flow) -> bool:
    return flow.client.kind == "node" or flow.to.how == "healthCheck"


def _outcome(code: int | None) -> str:
    """Returns the name of the error that a client's socket met. Raises OSError for an error that no network
    causes: a limit of our own. Where the kernel gave up before we did, that is silence, too.
    """
    if code in EXHAUSTED:
        raise OSError(code, os.strerror(code))
    return "timeout" if code == errno.ETIMEDOUT else errno_name(code)


class Prober:
    """Sends from inside the namespaces; every captured frame is in ``recording``."""

    def __init__(
        self,
        namespaces: Namespaces,
        recording: Recording,
        seed: int,
        progress: Progress | None = None,
        *,
        fresh_ports: bool = False,
        silence: float = SILENCE,
        busy: Callable[[], bool] = lambda: False,
        window: int = _WINDOW,
    ) -> None:
        """Prepares to send.

        ``fresh_ports``: no socket takes the port of an earlier one, as IPVS needs it (docs/semantics 13).
        ``silence``: seconds without an event after which an attempt counts as silent, unless ``busy`` returns
        True: a server is at work on an answer (:class:`Silence`). ``window``: how many sockets may be open at
        once.
        """
        self._window = min(window, _WINDOW)
        self._fresh_ports = cycle(range(_FIRST_FRESH, _LAST_FRESH + 1)) if fresh_ports else None
        self._namespaces, self.recording, self._progress = namespaces, recording, progress or (lambda _: None)
        self._random = Random(seed)
        self._tokens: set[int] = set()
        self._crafted = CraftedSender(namespaces, recording, self._new_value)
        self._epoll = select.epoll()
        self._open: dict[int, _Job] = {}
        self._done: list[Attempt] = []
        # open connections, by FlowCheck and name
        self._connections: dict[tuple[str, str], socket.socket] = {}
        self._datagrams = 0  # UDP requests without an answer so far
        self._silence = Silence(silence, busy=busy)
        self._clock = PatientClock()
        self._turns: Turns[_Job] = Turns()
        self._relaying = False

    def probe(
        self,
        flows: Sequence[Flow],
        *,
        crafted: bool = True,
        talk: bool = True,
        relayed: Collection[str] = (),
        hidden: Collection[str] = (),
        servers: Mapping[str, frozenset[CommandServer]] = MappingProxyType({}),
    ) -> list[Attempt]:
        """Sends all attempts of ``flows``; returns them when each was answered or silent for long enough.

        ``relayed``: the names of flows that a proxy accepts. They send no crafted packets: a SYN would end at
        the proxy, and it opens its own socket for a datagram. ``hidden``: the names of flows whose endpoint
        no tap may see (:func:`emulator.traffic.servers.find_hidden`). ``servers``: by name, the real commands
        that a flow may meet. Such flows are sent last and one by one, by sockets alone: half a connection
        would take the place of a whole one.
        """
        self._done = []
        plain = [flow for flow in flows if flow.name not in relayed and flow.name not in servers]
        sent = self._crafted.send(plain) if crafted else []
        self._silence.end()
        self._relaying = any(flow.name in relayed for flow in flows)
        jobs = socket_jobs(flows, talk=talk, relayed=relayed, hidden=hidden, servers=servers)
        self._drive(job for job in jobs if not job.servers)
        self._take_turns(job for job in jobs if job.servers)
        self._crafted.await_replies(sent, self._silence)
        self._namespaces.leave()
        return [*sent, *self._done]

    def pass_over(self, attempts: int) -> None:
        """Counts ``attempts`` that need not be sent as done."""
        if attempts:
            self._progress(attempts)

    def close(self) -> None:
        """Closes the connections that flows have kept open."""
        for sock in self._connections.values():
            sock.close()
        self._epoll.close()

    def chatter(self) -> Chatter:
        """Returns a context in which open UDP connections go on sending; no flow may be sent meanwhile."""
        return Chatter([sock for sock in self._connections.values() if sock.type & socket.SOCK_DGRAM])

    def rest(self, seconds: float) -> None:
        """Sends nothing for so many seconds, and empties the taps meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _REST))
            self.recording.drain()

    def _new_value(self, protocol: FlowProtocol) -> int:
        while True:
            value = self._random.getrandbits(64 if protocol in ("UDP", "ICMP") else 32)
            if value and value not in self._tokens:
                self._tokens.add(value)
                return value

    # --- sockets ---

    def _drive(self, jobs: Iterator[_Job]) -> None:
        more, window = True, min(_RELAYED, self._window) if self._relaying else self._window
        while more or self._open:
            while more and len(self._open) < window and self._datagrams < _DATAGRAMS:
                job = next(jobs, None)
                if job is None:
                    more = False
                    break
                self._begin(job)
                self._look()
                if len(self._open) % 64 == 63:
                    self._handle(self._epoll.poll(0))
            self._handle(self._epoll.poll(LOOK_EVERY))
            self._look()
            if self._silence.lasted():
                for job in list(self._open.values()):
                    self._end(job, "timeout")
                if more:
                    self._silence.end()  # attempts that begin now have a silence of their own

    def _take_turns(self, jobs: Iterable[_Job]) -> None:
        """Sends to real commands, to each from one client at a time (:class:`Turns`)."""
        for waiting in jobs:
            self._turns.add(
                waiting, waiting.servers if waiting.flow.protocol == "TCP" else frozenset(), waiting.client
            )
        while self._turns.waiting() or self._open:
            self._clock.look()
            while len(self._open) < _WINDOW and self._datagrams < _DATAGRAMS and (job := self._turns.next()):
                self._begin(job)
                self._look()
            self._handle(self._epoll.poll(LOOK_EVERY))
            self._look()
            now = self._clock.look()
            for late in [
                job
                for job in self._open.values()
                if now - job.since > job.patience(self._turns.patience(job.servers))
            ]:
                self._end(late, "timeout")

    def _look(self) -> None:
        """Reads the taps. While proxies accept many connections and dial for them before the first client
        gets an answer, their packets are events too.
        """
        if self.recording.look() and self._relaying:
            self._silence.end()

    def _begin(self, job: _Job) -> None:
        flow = job.flow
        job.seen = len(self.recording.frames)
        job.began = job.since = self._clock.look()
        if flow.connection and (flow.check, flow.connection) in self._connections:
            self._go_on(job, self._connections[flow.check, flow.connection])
            return
        self._namespaces.enter(flow.client.netns)
        tcp = flow.protocol == "TCP"
        kind = (socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        job.sock = sock = socket.socket(flow.to.ip.family.number, kind)
        if tcp:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ABORT)
        if self._fresh_ports:
            self._bind(sock, self._fresh_ports)
        job.started = time.time_ns()
        # a plain str: Python takes any other through the codec of domain names
        code = sock.connect_ex((str(flow.to.ip), flow.to.port))
        job.src = Endpoint.of(*sock.getsockname()[:2])
        self._keep(job, sock)
        if code not in (0, errno.EINPROGRESS):
            self._end(job, _outcome(code))
            return
        if tcp:
            self._epoll.register(sock.fileno(), select.EPOLLOUT)
            return
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._ask(job, sock)

    def _go_on(self, job: _Job, sock: socket.socket) -> None:
        """Sends the request of ``job`` over a connection that is open."""
        job.sock, job.src = sock, Endpoint.of(*sock.getsockname()[:2])
        job.continued = job.connected = True
        if job.flow.protocol == "UDP":
            forget_answers(sock)
        job.started = time.time_ns()
        self._keep(job, sock)
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._ask(job, sock)

    def _keep(self, job: _Job, sock: socket.socket) -> None:
        self._open[sock.fileno()] = job
        self._datagrams += job.flow.protocol == "UDP"

    def _ask(self, job: _Job, sock: socket.socket) -> None:
        job.cookie = self._new_value("UDP")
        try:
            sock.send(job.ask())
        except OSError as error:
            self._end(job, _outcome(error.errno))

    @staticmethod
    def _bind(sock: socket.socket, ports: Iterator[int]) -> None:
        """Binds to the next free port."""
        for port in islice(ports, _LAST_FRESH - _FIRST_FRESH):
            try:
                return sock.bind(("", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        return None

    def _handle(self, events: list[tuple[int, int]]) -> None:
        if events:
            self._silence.end()
        for fd, _ in events:
            job = self._open.get(fd)
            if job and job.sock:
                self._advance(job, job.sock)
                self._look()

    def _advance(self, job: _Job, sock: socket.socket) -> None:
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            job.connected |= bool(job.servers) and code in _RESETS
            if not self._is_late(job):
                self._end(job, _outcome(code))
            return
        tcp = job.flow.protocol == "TCP"
        job.connected, job.since = tcp, self._clock.look()
        try:
            if tcp and not job.talk:
                self._end(job, "")
            elif tcp and not job.cookie:
                self._epoll.modify(sock.fileno(), select.EPOLLIN)
                self._ask(job, sock)
            elif job.servers:
                data = sock.recv(4096)
                job.hear_server(data)
                if not tcp or not data:  # a real command may go on speaking until it closes
                    self._end(job, "" if data else "EOF")
            else:
                data = sock.recv(4096)
                if not tcp and b"%016x" % job.cookie not in data:
                    return  # the answer to something that was sent before
                if job.hear(data):
                    self._end(job, "")
                elif not data and tcp:
                    self._end(job, "EOF")
        except BlockingIOError:
            return
        except OSError as error:
            if not self._is_late(job):
                self._end(job, _outcome(error.errno))

    def _is_late(self, job: _Job) -> bool:
        """Returns whether a socket's error is about an earlier packet on it: no tap at the client saw it."""
        if not job.continued or job.flow.protocol != "UDP":
            return False
        self.recording.drain()
        token, netns = make_token("UDP", job.cookie), job.flow.client.netns
        return not any(
            frame.reply and frame.token == token and frame.netns == netns
            for frame in self.recording.frames[job.seen :]
        )

    def _leave_turn(self, job: _Job, error: str) -> str:
        """Ends the turn of ``job``, which ended with ``error``, at its servers; returns the part of the error
        that the network caused.
        """
        tcp = job.flow.protocol == "TCP"
        heard = job.heard or error not in ("", "timeout")
        servers = job.servers if tcp else frozenset()
        self._turns.leave(
            servers, job.client, self._clock.look() - job.began, connected=job.connected, heard=heard
        )
        owed = not tcp or job.relayed or job.continued  # more than a handshake
        return "" if job.heard or (job.connected and not owed) else error

    def _end(self, job: _Job, error: str) -> None:
        sock, flow = job.sock, job.flow
        if sock is None:
            return
        del self._open[sock.fileno()]
        self._datagrams -= flow.protocol == "UDP"
        broken = error not in ("", "timeout") if job.servers else bool(error)
        if job.servers:
            error = self._leave_turn(job, error)
        if flow.connection and (flow.protocol == "UDP" or not (broken or error)):
            self._connections[flow.check, flow.connection] = sock
            self._epoll.unregister(sock.fileno())
        else:  # a TCP connection with an unanswered request is not used again
            self._connections.pop((flow.check, flow.connection), None)
            sock.close()
        self._done.append(
            Attempt(
                flow=flow.name,
                protocol=flow.protocol,
                netns=flow.client.netns,
                src=job.src,
                dst=Endpoint(flow.to.ip, flow.to.port),
                token=make_token(flow.protocol, job.cookie)
                if job.cookie and (job.relayed or job.continued or flow.protocol == "UDP")
                else 0,
                crafted=False,
                started=job.started,
                finished=time.time_ns(),
                error=error,
                answer=job.answer,
                health=job.health,
                relayed=job.relayed,
                continued=job.continued,
                servers=job.servers,
                heard=job.heard,
            )
        )
        self._progress(1)
