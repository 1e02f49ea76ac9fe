"""Sends requests steadily: so many a second for each flow, over new connections or kept ones, whatever
happens to those before. Decides nothing about what an ending means.

One epoll loop in one thread, which opens sockets in the clients' network namespaces. TCP requests are lines
of podwire's own (:mod:`emulator.workload.answer`), or HTTP where a real command may answer.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from random import Random

from ..errors import EXHAUSTED
from ..model.flows import Attempt, Flow
from ..model.frames import Answer, errno_name, make_token
from ..net import Endpoint
from ..workload import http
from ..workload.answer import http_request, read_http_reply, read_reply, request_line

MOST_RATE = 1000.0  # requests a second of a flow
_LINGER_ABORT = struct.pack("ii", 1, 0)  # close() sends RST: no TIME_WAIT
_NOWHERE = Endpoint.of("0.0.0.0", 0)  # noqa: S104 - until the socket has an address
_LOOK_EVERY = 0.05  # seconds at most between two looks whether it is to end

# opens a socket of a family and type in a network namespace
OpenSocket = Callable[[str, int, int], socket.socket]


class _Request:
    """Holds a request that is under way."""

    __slots__ = (
        "asked",
        "buffer",
        "continued",
        "cookie",
        "deadline",
        "flow",
        "http",
        "sock",
        "src",
        "started",
    )

    def __init__(self, flow: Flow, cookie: int, deadline: float) -> None:
        self.flow, self.cookie, self.deadline = flow, cookie, deadline
        self.started = time.time_ns()
        self.sock: socket.socket | None = None
        self.src = _NOWHERE
        self.http: http.Client | None = None
        self.buffer = b""
        self.asked, self.continued = False, False


class SteadySender:
    """Sends for ``flows``. ``note`` gets each request when it has ended, in the thread that runs."""

    def __init__(
        self,
        flows: Sequence[Flow],
        open_socket: OpenSocket,
        note: Callable[[Attempt], None],
        *,
        rate: float,
        timeout: float,
        keep: bool = False,
        commands: frozenset[str] = frozenset(),
        seed: int | None = None,
    ) -> None:
        """Prepares to send ``rate`` requests a second for each flow; each is given up after ``timeout``
        seconds. ``keep``: over one connection, or from one port, as long as it answers. ``commands``: the
        names of flows that may meet real commands.
        """
        self._flows, self._open_socket, self._note = flows, open_socket, note
        self._interval, self._timeout, self._keep, self._commands = 1 / rate, timeout, keep, commands
        self._random = Random(seed)  # None: from the system
        self._epoll = select.epoll()
        self._waiting: dict[int, list[_Request]] = {}  # by descriptor, oldest first
        self._kept: dict[str, socket.socket] = {}  # by flow

    def run(self, is_over: Callable[[], bool]) -> None:
        """Sends until ``is_over``, then waits for the requests that are under way. Raises OSError where a
        limit of this machine is met.
        """
        next_ = time.monotonic()
        try:
            while not is_over():
                now = time.monotonic()
                if now >= next_:
                    for flow in self._flows:
                        self._begin(flow, now)
                    next_ = max(next_ + self._interval, now)  # missed requests are not sent later
                self._turn(min(next_ - time.monotonic(), _LOOK_EVERY))
            while self._waiting:
                self._turn(_LOOK_EVERY)
        finally:
            for waiting in self._waiting.values():
                for request in waiting:
                    if request.sock:
                        request.sock.close()
            for sock in self._kept.values():
                sock.close()
            self._epoll.close()

    def _turn(self, seconds: float) -> None:
        """Handles what comes within so many seconds, and gives up what is late."""
        late = min((one.deadline for some in self._waiting.values() for one in some[:1]), default=None)
        if late is not None:
            seconds = min(seconds, late - time.monotonic())
        for fd, _ in self._epoll.poll(max(seconds, 0)):
            self._advance(fd)
        now = time.monotonic()
        for fd in [fd for fd, some in self._waiting.items() if some and some[0].deadline <= now]:
            for request in [one for one in self._waiting.get(fd, ()) if one.deadline <= now]:
                self._end(request, "timeout")

    # --- one request ----------------------------------------------------------------------------------------

    def _begin(self, flow: Flow, now: float) -> None:
        tcp = flow.protocol == "TCP"
        kept = self._kept.get(flow.name)
        if kept is not None and tcp:
            if self._waiting.get(kept.fileno()):
                return  # a connection carries one request at a time
            self._drop(kept.fileno())
            kept = self._kept.get(flow.name)
        request = _Request(flow, self._random.getrandbits(64) or 1, now + self._timeout)
        if kept is not None:
            request.continued = True
            self._take(request, kept)
            self._ask(request)
            return
        kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
        flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        sock = self._open_socket(flow.client.netns, flow.to.ip.family.number, kind | flags)
        if tcp:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ABORT)
        code = sock.connect_ex((str(flow.to.ip), flow.to.port))
        self._take(request, sock)
        if code not in (0, errno.EINPROGRESS):
            self._end(request, _named(code))
            return
        self._epoll.register(sock.fileno(), select.EPOLLOUT if tcp else select.EPOLLIN)
        if self._keep:
            self._kept[flow.name] = sock
        if not tcp:
            self._ask(request)

    def _take(self, request: _Request, sock: socket.socket) -> None:
        request.sock, request.src = sock, Endpoint.of(*sock.getsockname()[:2])
        self._waiting.setdefault(sock.fileno(), []).append(request)

    def _ask(self, request: _Request) -> None:
        flow, sock = request.flow, request.sock
        if sock is None:
            return
        request.asked = True
        if flow.name in self._commands and flow.protocol == "TCP":
            server = Endpoint(flow.to.ip, flow.to.port)
            request.http = http_request(request.cookie, server, keep=self._keep)
        try:
            sock.send(request.http.request if request.http else request_line(request.cookie))
        except OSError as error:
            self._end(request, _named(error.errno))

    def _advance(self, fd: int) -> None:
        """Takes what a socket reports."""
        request = next(iter(self._waiting.get(fd, ())), None)
        if request is None or request.sock is None:
            self._drop(fd)
            return
        sock = request.sock
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._end(request, _named(code))
            return
        if request.flow.protocol == "TCP" and not request.asked:
            self._epoll.modify(fd, select.EPOLLIN)
            self._ask(request)
            return
        try:
            data = sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(request, _named(error.errno))
            return
        if request.flow.protocol == "UDP":
            self._hear_datagram(fd, data)
        else:
            self._hear(request, data)

    def _drop(self, fd: int) -> None:
        """Closes a kept connection that ended while nothing was asked on it: the next request opens another,
        as a client library's pool does.
        """
        for name, sock in list(self._kept.items()):
            if sock.fileno() == fd:
                try:
                    alive = bool(sock.recv(1 << 16)) or sock.type == socket.SOCK_DGRAM
                except BlockingIOError:
                    alive = True
                except OSError:  # for UDP: an ICMP error about a datagram that was given up
                    alive = sock.type == socket.SOCK_DGRAM
                if not alive:
                    del self._kept[name]
                    sock.close()

    def _hear_datagram(self, fd: int, data: bytes) -> None:
        for request in list(self._waiting.get(fd, ())):
            if request.flow.name in self._commands or b"%016x" % request.cookie in data:
                self._end(request, "", read_reply(data))
                return

    def _hear(self, request: _Request, data: bytes) -> None:
        if request.http:
            if response := request.http.hear(data):
                closes = response.headers.get("connection", "").lower() == "close"
                self._end(request, "", read_http_reply(response), over=closes)
            elif not data:
                self._end(request, "EOF")
            return
        request.buffer += data
        if request.buffer.endswith(b"\n"):
            self._end(request, "", read_reply(request.buffer))
        elif not data:
            self._end(request, "EOF")

    def _end(
        self, request: _Request, error: str, answer: Answer | None = None, *, over: bool = False
    ) -> None:
        """Ends a request; its socket goes, unless it is kept and good. A UDP socket stays: its client has no
        connection that could break.
        """
        flow, sock = request.flow, request.sock
        if sock is None:
            return
        fd, udp = sock.fileno(), flow.protocol == "UDP"
        waiting = self._waiting[fd]
        waiting.remove(request)
        if not waiting:
            del self._waiting[fd]
        if not self._keep or (not udp and (error or over)):
            self._kept.pop(flow.name, None)
            sock.close()
        elif flow.name not in self._kept:  # it could not even be dialled
            sock.close()
        named = flow.protocol == "UDP" or request.continued
        self._note(
            Attempt(
                flow=flow.name,
                protocol=flow.protocol,
                netns=flow.client.netns,
                src=request.src,
                dst=Endpoint(flow.to.ip, flow.to.port),
                token=make_token(flow.protocol, request.cookie) if named else 0,
                crafted=False,
                started=request.started,
                finished=time.time_ns(),
                error=error,
                answer=answer,
                continued=request.continued,
            )
        )


def _named(code: int | None) -> str:
    """Returns the name of the error that a socket met. Raises OSError for a limit of this machine."""
    if code in EXHAUSTED:
        raise OSError(code, os.strerror(code or 0))
    return "timeout" if code == errno.ETIMEDOUT else errno_name(code)
