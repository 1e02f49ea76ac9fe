"""Send every attempt of every flow: real sockets in the clients' namespaces, and crafted packets through raw sockets there.

One epoll loop drives all sockets at once and empties the taps while it does, so that silent flows are waited for together: an attempt is given up
when *nothing at all* has happened anywhere for :data:`SILENCE`, which a slow machine stretches by itself. Imports the kernel room;
decides nothing about what an outcome means.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import cycle, islice
from random import Random

from emulator.kernel.netns import Namespaces
from emulator.kernel.ring import Taps
from emulator.objects.config import FlowProtocol
from emulator.probe.chatter import Chatter, forget_answers
from emulator.probe.crafted import Crafted, craft
from emulator.probe.decode import decode
from emulator.probe.model import Answer, Attempt, Captured, Flow, Frame, make_token
from emulator.workload.answer import read_reply, request_line

SILENCE = 0.5  # seconds without any event before what is still silent counts as silent
_GLANCE = 0.02  # seconds of silence at most that one look can prove
_WINDOW = 2000  # sockets open at once; the hard limit of descriptors is 20,000 on many machines
_RELAYED = 200  # of them those that proxies accept, in processes of their own: each makes some 40 frames on a node, whose ring holds 8192
_DRAIN_EVERY = 0.004  # seconds between two looks at the taps
_DRAIN_AFTER = 32  # packets sent between two looks at the taps
_REST = 0.05  # seconds between two looks at the taps while nothing is sent
_LINGER_ABORT = struct.pack("ii", 1, 0)  # close() sends RST: no TIME_WAIT, one packet less
_FIRST_PORT, _LAST_PORT = 20000, 29999  # source ports of crafted packets: below node ports and ephemeral ports
_FIRST_FRESH, _LAST_FRESH = 32768, 60999  # where the kernel takes those of sockets from (net.ipv4.ip_local_port_range)

Progress = Callable[[int], None]


class Recording:
    """All that the taps delivered, raw and decoded, index by index."""

    def __init__(self, taps: Taps) -> None:
        self._taps = taps
        self.captured: list[Captured] = []
        self.frames: list[Frame] = []

    def drain(self) -> list[Frame]:
        """Take what has come; the new frames, decoded."""
        new = self._taps.drain()
        first = len(self.captured)
        self.captured += new
        frames = [decode(number, captured) for number, captured in enumerate(new, first)]
        self.frames += frames
        return frames

    def finish(self) -> None:
        """Put everything in order of time: a frame's number is then its place in the capture that Wireshark shows."""
        self.drain()
        order = sorted(range(len(self.captured)), key=lambda number: self.captured[number].time)
        self.captured = [self.captured[number] for number in order]
        self.frames = [self.frames[number]._replace(number=place) for place, number in enumerate(order)]

    def lost(self) -> int:
        return self._taps.lost()


class _Job:
    """One attempt by socket on its way."""

    __slots__ = ("answer", "buffer", "continued", "cookie", "flow", "relayed", "seen", "sock", "src", "started", "talk")

    def __init__(self, flow: Flow, talk: bool, relayed: bool = False) -> None:
        self.flow, self.talk, self.relayed = flow, talk, relayed
        self.cookie = 0
        self.started = 0
        self.src: tuple[str, int] = ("", 0)
        self.buffer = b""
        self.answer: Answer | None = None
        self.sock: socket.socket | None = None
        self.continued = False
        self.seen = 0  # how many frames there were when it began


def socket_jobs(flows: Sequence[Flow], *, talk: bool, relayed: Collection[str] = ()) -> list[_Job]:
    """The attempts of ``flows`` by socket. With ``talk`` the first of a flow asks the server who it is, and so do all of a node's own, whose
    packets are rewritten before any tap sees them; the others connect and leave. Those of ``relayed`` flows all ask: whoever only connects
    has met the proxy and no server."""
    return [
        _Job(flow, flow.name in relayed or (talk and (number == 0 or flow.client.kind == "node")), flow.name in relayed)
        for flow in flows
        if flow.protocol in ("TCP", "UDP")
        for number in range(flow.attempts)
    ]


class Silence:
    """How long nothing has happened anywhere, as far as somebody looked. A machine, or a guest, that stood still between two looks let nobody
    act: then silence proves nothing, so that no look counts for more than :data:`_GLANCE`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.end()

    def end(self) -> None:
        """Something happened."""
        self._seconds, self._looked = 0.0, self._clock()

    def lasted(self) -> bool:
        """Whether it is :data:`SILENCE` by now: to be asked again and again."""
        now = self._clock()
        self._seconds += min(now - self._looked, _GLANCE)
        self._looked = now
        return self._seconds > SILENCE


class Prober:
    """Sends from inside the namespaces; everything it saw is in ``recording``."""

    def __init__(
        self, namespaces: Namespaces, recording: Recording, seed: int, progress: Progress | None = None, *, fresh_ports: bool = False
    ) -> None:
        """``fresh_ports``: no socket takes the port of an earlier one, as IPVS needs it (docs/semantics 13)."""
        self._fresh_ports = cycle(range(_FIRST_FRESH, _LAST_FRESH + 1)) if fresh_ports else None
        self._namespaces, self.recording, self._progress = namespaces, recording, progress or (lambda _: None)
        self._random = Random(seed)
        self._tokens: set[int] = set()
        self._port = _FIRST_PORT
        self._epoll = select.epoll()
        self._open: dict[int, _Job] = {}
        self._done: list[Attempt] = []
        self._connections: dict[tuple[str, str], socket.socket] = {}  # those that are open, by FlowCheck and name
        self._silence = Silence()
        self._drained, self._unseen = 0.0, 0
        self._relaying = False

    def probe(self, flows: Sequence[Flow], *, crafted: bool = True, talk: bool = True, relayed: Collection[str] = ()) -> list[Attempt]:
        """Send all attempts of ``flows``; returns when each was answered or silent for :data:`SILENCE`. ``relayed``: the names of those that
        a proxy is meant to accept. Of these no crafted packets are sent: a SYN would end at it, and what it makes of a datagram is its own."""
        self._done = []
        self._silence.end()
        sent = self._send_crafted([flow for flow in flows if flow.name not in relayed]) if crafted else []
        self._relaying = any(flow.name in relayed for flow in flows)
        self._drive(iter(socket_jobs(flows, talk=talk, relayed=relayed)))
        self._await_replies([a for a in sent if not a.error])
        self._namespaces.leave()
        return [*sent, *self._done]

    def chatter(self) -> Chatter:
        """While the context that it gives lasts, open UDP connections send on and on; nothing may be probed meanwhile."""
        return Chatter([sock for sock in self._connections.values() if sock.type & socket.SOCK_DGRAM])

    def rest(self, seconds: float) -> None:
        """Send nothing for so long, and empty the taps meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _REST))
            self.recording.drain()

    # --- crafted packets ---

    def _new_value(self, protocol: FlowProtocol) -> int:
        while True:
            value = self._random.getrandbits(64 if protocol in ("UDP", "ICMP") else 32)
            if value and value not in self._tokens:
                self._tokens.add(value)
                return value

    def _next_port(self) -> int:
        self._port = _FIRST_PORT if self._port == _LAST_PORT else self._port + 1
        return self._port

    def _send_crafted(self, flows: Sequence[Flow]) -> list[Attempt]:
        plans = []
        # One a flow is evidence enough beside its sockets; SCTP and ICMP have no sockets here.
        flows = [flow for flow in flows if not flow.connection]  # another source port would be another connection
        each = [flow for flow in flows for _ in range(1 if flow.protocol in ("TCP", "UDP") else flow.attempts)]
        for flow in each:
            src = self._source(flow)
            value = self._new_value(flow.protocol)
            plans.append(Crafted(protocol=flow.protocol, src=(src, self._next_port()), dst=(flow.to.ip, flow.to.port), value=value))
        out: list[Attempt] = []
        sockets: dict[str, socket.socket] = {}
        for flow, packet, data in zip(each, plans, craft(plans), strict=True):
            netns = flow.client.netns
            if netns not in sockets:
                sockets[netns] = self._namespaces.call_in(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
            started, error = time.time_ns(), ""
            try:
                sockets[netns].sendto(data, (flow.to.ip, 0))
            except OSError as failure:
                error = _errno_name(failure.errno or 0)
            echo = flow.protocol == "ICMP"
            out.append(
                Attempt(
                    flow=flow.name,
                    protocol=flow.protocol,
                    netns=netns,
                    src=(packet.src[0], 0 if echo else packet.src[1]),
                    dst=(flow.to.ip, 0 if echo else flow.to.port),
                    token=make_token(flow.protocol, packet.value),
                    crafted=True,
                    started=started,
                    finished=time.time_ns(),
                    error=error,
                )
            )
            self._look()
        for sock in sockets.values():
            sock.close()
        self._silence.end()
        return out

    def _source(self, flow: Flow) -> str:
        """The address that the client's kernel would send from. A node has several, and what it dials may be one of them: it is asked."""
        if flow.client.kind != "node":
            return flow.to.ip if flow.to.ip.startswith("127.") else flow.client.ip

        def ask() -> str:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                if sock.connect_ex((flow.to.ip, 9)):
                    return flow.client.ip  # no route: nor will the packet find one
                return str(sock.getsockname()[0])

        return self._namespaces.call_in(flow.client.netns, ask)

    def _await_replies(self, sent: Sequence[Attempt]) -> None:
        """Until each crafted packet had its reply at the client, or nothing moves any more."""
        waiting = {(a.token, a.netns) for a in sent}
        seen = 0
        while True:
            self.recording.drain()
            frames = self.recording.frames
            for frame in frames[seen:]:
                if frame.reply and (not frame.outgoing or frame.interface == "lo"):
                    waiting.discard((frame.token, frame.netns))
            if 0 < seen < len(frames):
                self._silence.end()
            seen = len(frames)
            if not waiting or self._silence.lasted():
                return
            time.sleep(0.005)

    # --- sockets ---

    def _drive(self, jobs: Iterator[_Job]) -> None:
        more, window = True, _RELAYED if self._relaying else _WINDOW
        while more or self._open:
            while more and len(self._open) < window:
                job = next(jobs, None)
                if job is None:
                    more = False
                    break
                self._begin(job)
                self._look()
                if len(self._open) % 64 == 63:
                    self._handle(self._epoll.poll(0))
            self._handle(self._epoll.poll(_DRAIN_EVERY))
            self._look()
            if self._silence.lasted():
                for job in list(self._open.values()):
                    self._end(job, "timeout")
                if more:
                    self._silence.end()  # what is begun now has a silence of its own

    def _look(self) -> None:
        """Empty the taps' rings before they can be full: after so many packets, or so much time. While proxies have to let many in and dial for
        them before the first hears an answer, their packets are events too."""
        self._unseen += 1
        now = time.monotonic()
        if self._unseen >= _DRAIN_AFTER or now - self._drained > _DRAIN_EVERY:
            if self.recording.drain() and self._relaying:
                self._silence.end()
            self._drained, self._unseen = now, 0

    def _begin(self, job: _Job) -> None:
        flow = job.flow
        job.seen = len(self.recording.frames)
        if flow.connection and (flow.check, flow.connection) in self._connections:
            self._go_on(job, self._connections[flow.check, flow.connection])
            return
        self._namespaces.enter(flow.client.netns)
        tcp = flow.protocol == "TCP"
        kind = (socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        job.sock = sock = socket.socket(socket.AF_INET, kind)
        if tcp:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ABORT)
        if self._fresh_ports:
            self._bind(sock, self._fresh_ports)
        job.started = time.time_ns()
        code = sock.connect_ex((flow.to.ip, flow.to.port))
        job.src = sock.getsockname()
        self._open[sock.fileno()] = job
        if code not in (0, errno.EINPROGRESS):
            self._end(job, _errno_name(code))
            return
        if tcp:
            self._epoll.register(sock.fileno(), select.EPOLLOUT)
            return
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._ask(job, sock)

    def _go_on(self, job: _Job, sock: socket.socket) -> None:
        """Send the request of ``job`` over a connection that is open."""
        job.sock, job.src, job.continued = sock, sock.getsockname(), True
        if job.flow.protocol == "UDP":
            forget_answers(sock)
        job.started = time.time_ns()
        self._open[sock.fileno()] = job
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._ask(job, sock)

    def _ask(self, job: _Job, sock: socket.socket) -> None:
        job.cookie = self._new_value("UDP")
        try:
            sock.send(request_line(job.cookie))
        except OSError as error:
            self._end(job, _errno_name(error.errno or 0))

    @staticmethod
    def _bind(sock: socket.socket, ports: Iterator[int]) -> None:
        """To the next port that nobody has."""
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
            if not self._is_late(job):
                self._end(job, _errno_name(code))
            return
        tcp = job.flow.protocol == "TCP"
        try:
            if tcp and not job.talk:
                self._end(job, "")
            elif tcp and not job.cookie:
                self._epoll.modify(sock.fileno(), select.EPOLLIN)
                self._ask(job, sock)
            else:
                data = sock.recv(4096)
                if not tcp and b"%016x" % job.cookie not in data:
                    return  # the answer to something that was sent before
                job.buffer += data
                if not data and tcp:
                    self._end(job, "EOF")
                elif job.buffer.endswith(b"\n"):
                    job.answer = read_reply(job.buffer)
                    self._end(job, "")
        except BlockingIOError:
            return
        except OSError as error:
            if not self._is_late(job):
                self._end(job, _errno_name(error.errno or 0))

    def _is_late(self, job: _Job) -> bool:
        """Whether an error that a socket tells is about something that was sent over it before: no tap at the client saw it."""
        if not job.continued or job.flow.protocol != "UDP":
            return False
        self.recording.drain()
        token, netns = make_token("UDP", job.cookie), job.flow.client.netns
        return not any(frame.reply and frame.token == token and frame.netns == netns for frame in self.recording.frames[job.seen :])

    def _end(self, job: _Job, error: str) -> None:
        sock, flow = job.sock, job.flow
        if sock is None:
            return
        del self._open[sock.fileno()]
        if flow.connection and (flow.protocol == "UDP" or not error):
            self._connections[flow.check, flow.connection] = sock
            self._epoll.unregister(sock.fileno())
        else:  # a request that a TCP connection did not answer is its last one
            self._connections.pop((flow.check, flow.connection), None)
            sock.close()
        self._done.append(
            Attempt(
                flow=flow.name,
                protocol=flow.protocol,
                netns=flow.client.netns,
                src=job.src,
                dst=(flow.to.ip, flow.to.port),
                token=make_token(flow.protocol, job.cookie)
                if job.cookie and (job.relayed or job.continued or flow.protocol == "UDP")
                else 0,
                crafted=False,
                started=job.started,
                finished=time.time_ns(),
                error=error,
                answer=job.answer,
                relayed=job.relayed,
                continued=job.continued,
            )
        )
        self._progress(1)


def _errno_name(code: int) -> str:
    return errno.errorcode.get(code, str(code))
