"""The echo servers: one process answers on every container port of every Pod, TCP, UDP and SCTP, and for kube-proxy's health checks.

Sockets are opened inside the Pods' namespaces and then served by one epoll loop, wherever they are. Whoever connects without saying a word is
let in and waited for; that is all a connection test needs. SCTP, which this process cannot speak through sockets where the kernel has none, is
answered by hand: an INIT gets its INIT-ACK (RFC 9260 §5.1), or an ABORT when no container declares the port.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial

from emulator.control.state import ClusterState, Listener
from emulator.kernel import linux
from emulator.kernel.conntrack import Address, Conntrack
from emulator.kernel.netns import Namespaces
from emulator.probe.model import PROTOCOL_NUMBER, Answer
from emulator.workload import sctp
from emulator.workload.answer import is_http, reply_health, reply_http, reply_line

_BACKLOG = 4096
_MAX_REQUEST = 16 << 10
IP_PKTINFO = 8


class _Server:
    def __init__(self, namespaces: Namespaces, nodes: Sequence[str]) -> None:
        self._namespaces = namespaces
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._conntracks = [namespaces.call_in(node, Conntrack) for node in nodes]

    # --- opening ---

    def open(self, listeners: Sequence[Listener]) -> list[str]:
        """Open every port; returns what the kernel said of those that must be refused, a sentence each. Raises OSError for any other."""
        refusals = []
        for listener in sorted(listeners, key=lambda listener: bool(listener.refused)):  # the ones that hold the port first
            if listener.protocol == "SCTP":
                continue
            self._namespaces.enter(listener.netns)
            try:
                if listener.protocol == "TCP":
                    self._open_tcp(listener)
                else:
                    self._open_udp(listener)
            except OSError as error:
                if not listener.refused:
                    raise
                refusals.append(f"{listener.refusal} ({error.strerror})")
        by_netns: dict[str, list[Listener]] = {}
        for listener in listeners:
            if listener.protocol == "SCTP" and not listener.refused:
                by_netns.setdefault(listener.netns, []).append(listener)
        for netns, rows in by_netns.items():
            self._namespaces.enter(netns)
            self._open_sctp(frozenset(row.port for row in rows))
        self._namespaces.leave()
        return refusals

    def _open_tcp(self, listener: Listener) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("0.0.0.0", listener.port))  # noqa: S104 - inside a Pod's namespace
        sock.listen(_BACKLOG)
        self._register(sock, lambda: self._accept(sock, listener))

    def _open_udp(self, listener: Listener) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)  # the reply must leave from the address that was asked
        sock.bind(("0.0.0.0", listener.port))  # noqa: S104 - inside a Pod's namespace
        self._register(sock, lambda: self._datagrams(sock, listener))

    def _open_sctp(self, ports: frozenset[int]) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, PROTOCOL_NUMBER["SCTP"])
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._register(sock, lambda: _answer_sctp(sock, ports))

    def _register(self, sock: socket.socket, handler: Callable[[], None]) -> None:
        self._handlers[sock.fileno()] = handler
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    # --- serving ---

    def loop(self) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                handler = self._handlers.get(fd)
                if handler:
                    handler()

    def _accept(self, listening: socket.socket, listener: Listener) -> None:
        for _ in range(64):
            try:
                sock, peer = listening.accept()
            except (BlockingIOError, ConnectionError):
                return
            sock.setblocking(False)
            buffer = bytearray()
            self._register(sock, partial(self._receive, sock, peer, buffer, listener))

    def _receive(self, sock: socket.socket, peer: Address, buffer: bytearray, listener: Listener) -> None:
        try:
            data = sock.recv(4096)
            if data:
                buffer += data
                request = bytes(buffer)
                if is_http(request):
                    if b"\r\n\r\n" in request:
                        check = listener.healthCheck
                        answer = (
                            reply_health(request, check) if check else reply_http(request, self._answer(listener, peer, sock.getsockname()))
                        )
                        sock.send(answer)
                        data = b""
                elif b"\n" in request:
                    sock.send(reply_line(request, self._answer(listener, peer, sock.getsockname())))
                    buffer.clear()
                if len(buffer) > _MAX_REQUEST:
                    data = b""
        except BlockingIOError:
            return
        except OSError:
            data = b""  # reset by the client
        if not data:
            fd = sock.fileno()
            self._epoll.unregister(fd)
            del self._handlers[fd]
            sock.close()

    def _datagrams(self, sock: socket.socket, listener: Listener) -> None:
        for _ in range(64):
            try:
                data, control, _, peer = sock.recvmsg(2048, 64)
                local = _asked_address(control)
                answer = self._answer(listener, peer, (local, listener.port))
                sock.sendmsg([reply_line(data, answer)], _from(local), 0, peer)
            except BlockingIOError:
                return
            except OSError:
                continue  # the client is gone, or refused the reply with an ICMP error

    def _answer(self, listener: Listener, peer: Address, local: Address) -> Answer:
        dialled = self._dialled(PROTOCOL_NUMBER[listener.protocol], peer, local)
        return Answer(
            pod=listener.pod,
            container=listener.container,
            node=listener.node,
            client=_spell(peer),
            dialled=_spell(dialled),
            local=_spell(local),
        )

    def _dialled(self, protocol: int, peer: Address, local: Address) -> Address:
        """What the client had dialled: the node that rewrote the destination remembers it. Without a rewrite it is the Pod's own address."""
        dialled = local
        for conntrack in self._conntracks:
            found = conntrack.original(protocol, local, peer)
            if found and found[1] != local:
                dialled = found[1]
        return dialled


def _spell(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def _asked_address(control: list[tuple[int, int, bytes]]) -> str:
    """The local address of struct in_pktinfo: where the reply must come from."""
    for level, kind, data in control:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            return socket.inet_ntoa(data[4:8])
    return "0.0.0.0"  # noqa: S104 - the kernel's own "any"


def _from(ip: str) -> list[tuple[int, int, bytes]]:
    return [(socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=I4s4s", 0, socket.inet_aton(ip), b"\0" * 4))]


def _answer_sctp(sock: socket.socket, ports: frozenset[int]) -> None:
    for _ in range(64):
        try:
            packet, control, _, peer = sock.recvmsg(2048, 64)
            reply = sctp.answer(packet[(packet[0] & 0xF) * 4 :], ports)
            if reply:
                sock.sendmsg([reply], _from(_asked_address(control)), 0, (peer[0], 0))
        except BlockingIOError:
            return
        except OSError:
            continue


def start_servers(state: ClusterState, namespaces: Namespaces) -> list[str]:
    """Fork the process that serves every Listener of ``state``; returns once every port is open, with what the kernel refused.

    Raises OSError when a port cannot be opened that nobody else has.
    """
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said = pipe.read()
        if not said.startswith("["):
            os.waitpid(pid, 0)
            raise OSError(said or "the server process ended")
        return list(json.loads(said))
    try:
        os.close(reader)
        linux.die_with_parent(signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if os.getppid() != parent:
            os._exit(1)
        server = _Server(namespaces, [node.name for node in state.nodes])
        with os.fdopen(writer, "w") as pipe:
            try:
                pipe.write(json.dumps(server.open(state.listeners)))
            except OSError as error:
                pipe.write(f"cannot open a server socket: {error}")
                raise
        server.loop()
    finally:
        os._exit(1)
