"""Runs the echo servers: one process answers on every container port of every Pod, TCP, UDP and SCTP, and for
kube-proxy's health checks.

Sockets are opened inside the Pods' namespaces and then served by one epoll loop, wherever they are, which
also takes the states that the cluster changes to. A client that connects without sending is accepted and
waited for; a connection test needs no more. SCTP is answered without kernel sockets, which some kernels lack:
an INIT gets its INIT-ACK (RFC 9260 §5.1), or an ABORT when no container declares the port.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from ..cluster.state import ClusterState, Listener
from ..kernel.conntrack import Conntrack
from ..kernel.netns import Namespaces
from ..model.frames import Answer
from ..model.notices import PortRefused, RunNotice
from ..net import IPV4, IPV6, PROTOCOL_NUMBER, Endpoint, Family, TransportProtocol
from . import sctp
from .answer import Dialogue, is_http, reply_line
from .journal import Journal
from .pktinfo import ask_local, read_local, send_from
from .worker import Inbox, Worker

_BACKLOG = 4096
_MOST_LINE = 200  # bytes of a request's first line that are logged
# bytes that wait at most: of all that is sent by hand at once, each packet takes 768 or more
_SCTP_BUFFER = 4 << 20
SO_RCVBUFFORCE = 33


class _Port:
    """Holds a port that is served: its listener in the last state, and the sockets that are open for it."""

    __slots__ = ("listener", "sockets")

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.sockets: set[socket.socket] = set()  # its listening socket, and the connections to it


# Place and identity of a port, by which an earlier one is recognised as the same.
_Place = tuple[str, str, str, TransportProtocol, int]  # network namespace, Pod, container, protocol, port


def _place(listener: Listener) -> _Place:
    return listener.netns, listener.pod, listener.container, listener.protocol, listener.port


class _Server:
    def __init__(self, namespaces: Namespaces, journal: Journal | None = None) -> None:
        self._namespaces, self._journal = namespaces, journal
        self._images: Mapping[tuple[str, str], str] = {}  # by Pod and container, where requests are logged
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._ports: dict[_Place, _Port] = {}
        # by network namespace and family: the ports, and the raw socket that answers for them
        self._sctp: dict[tuple[str, Family], tuple[Collection[int], socket.socket]] = {}
        self._conntracks: dict[str, Conntrack] = {}
        self._node_of: dict[str, str] = {}  # by address of a Pod or node

    # --- opening ---

    def update(self, state: ClusterState) -> list[RunNotice]:
        """Serves exactly the listeners of ``state``; ports that were served before go on, with their
        connections. Returns the kernel's error for each listener that must be refused. Raises OSError for any
        other that cannot be opened.
        """
        gone = self._namespaces.refresh()
        sockets = [listener for listener in state.listeners if listener.protocol != "SCTP"]
        wanted = {_place(listener): listener for listener in sockets if not listener.refused}
        for place, port in list(self._ports.items()):
            if place in wanted and place[0] not in gone:
                port.listener = wanted[place]  # the counts of a health check may have changed
            else:
                self._close(self._ports.pop(place))
        self._open_all(listener for place, listener in wanted.items() if place not in self._ports)
        refusals = self._refusals(sockets)
        self._update_sctp(state.listeners, gone)
        self._update_conntracks([node.name for node in state.nodes], gone)
        self._node_of = {ip: pod.spec.nodeName for ip, pod in state.pod_by_ip.items()} | {
            ip: node.name for ip, node in state.node_by_ip.items()
        }
        self._namespaces.leave()
        if self._journal:
            self._images = {
                (pod.key, one.name): one.image for pod in state.pods for one in pod.spec.containers
            }
        return refusals

    def _open_all(self, listeners: Iterable[Listener]) -> None:
        for listener in listeners:
            try:
                self._open(listener)
            except OSError as error:
                raise OSError(f"cannot open a server socket: {error}") from None

    def _refusals(self, listeners: Iterable[Listener]) -> list[RunNotice]:
        refusals: list[RunNotice] = []
        for listener in listeners:
            if holder := listener.refused:  # the holders of these ports are open
                try:
                    self._open(listener)
                except OSError as error:
                    refusals.append(PortRefused(listener, holder, error.strerror or ""))
        return refusals

    def _open(self, listener: Listener) -> None:
        self._namespaces.enter(listener.netns)
        port = _Port(listener)
        if listener.protocol == "TCP":
            self._open_tcp(port)
        else:
            self._open_udp(port)
        self._ports[_place(listener)] = port

    def _open_tcp(self, port: _Port) -> None:
        family = port.listener.ip.family
        sock = _socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((family.unspecified, port.listener.port))
        sock.listen(_BACKLOG)
        self._register(port, sock, lambda: self._accept(sock, port))

    def _open_udp(self, port: _Port) -> None:
        family = port.listener.ip.family
        sock = _socket(family, socket.SOCK_DGRAM)
        ask_local(sock, family)  # the reply must leave from the dialled address
        sock.bind((family.unspecified, port.listener.port))
        self._register(port, sock, lambda: self._datagrams(sock, port))

    def _register(self, port: _Port, sock: socket.socket, handler: Callable[[], None]) -> None:
        port.sockets.add(sock)
        self.watch(sock.fileno(), handler)

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        """Calls ``handler`` whenever ``fd`` can be read."""
        self._handlers[fd] = handler
        self._epoll.register(fd, select.EPOLLIN)

    def _close(self, port: _Port) -> None:
        for sock in list(port.sockets):
            self._drop(port, sock)

    def _drop(self, port: _Port, sock: socket.socket) -> None:
        port.sockets.discard(sock)
        self._forget(sock)

    def _forget(self, sock: socket.socket) -> None:
        del self._handlers[sock.fileno()]
        self._epoll.unregister(sock.fileno())
        sock.close()

    def _update_sctp(self, listeners: Sequence[Listener], gone: Collection[str]) -> None:
        wanted: dict[tuple[str, Family], set[int]] = {}
        for listener in listeners:
            if listener.protocol == "SCTP" and not listener.refused:
                wanted.setdefault((listener.netns, listener.ip.family), set()).add(listener.port)
        for place, (ports, sock) in list(self._sctp.items()):
            if place[0] in gone or ports != wanted.get(place):
                self._forget(sock)
                del self._sctp[place]
        for place in wanted.keys() - self._sctp.keys():
            self._open_sctp(*place, wanted[place])

    def _open_sctp(self, netns: str, family: Family, ports: Collection[int]) -> None:
        self._namespaces.enter(netns)
        sock = _socket(family, socket.SOCK_RAW, PROTOCOL_NUMBER["SCTP"])
        ask_local(sock, family)
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _SCTP_BUFFER)
        except PermissionError:  # an ordinary user has what net.core.rmem_max allows
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SCTP_BUFFER)
        self._sctp[netns, family] = ports, sock
        self.watch(sock.fileno(), lambda: _answer_sctp(sock, family, ports))

    def _update_conntracks(self, nodes: Sequence[str], gone: Collection[str]) -> None:
        for node in [node for node in self._conntracks if node in gone or node not in nodes]:
            self._conntracks.pop(node).close()
        for node in nodes:
            if node not in self._conntracks:
                self._conntracks[node] = self._namespaces.call_in(node, Conntrack)

    # --- serving ---

    def loop(self) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                handler = self._handlers.get(fd)
                if handler:
                    handler()

    def _accept(self, listening: socket.socket, port: _Port) -> None:
        for _ in range(64):
            try:
                sock, peer = listening.accept()
            except (BlockingIOError, ConnectionError):
                return
            sock.setblocking(False)
            self._register(port, sock, partial(self._receive, sock, peer, Dialogue(), port))

    def _receive(self, sock: socket.socket, peer: tuple[Any, ...], dialogue: Dialogue, port: _Port) -> None:
        listener = port.listener
        try:
            data = sock.recv(4096)
            if data:
                said: list[Answer] = []

                def answer() -> Answer:
                    said.append(self._answer(listener, peer, sock.getsockname()))
                    return said[-1]

                reply = dialogue.hear(data, answer, listener.healthCheck)
                if reply:
                    sock.send(reply)
                for one in said if self._journal else ():
                    self._note(listener, one, data)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # reset by the client
        if not data or dialogue.over:
            self._drop(port, sock)

    def _datagrams(self, sock: socket.socket, port: _Port) -> None:
        listener = port.listener
        for _ in range(64):
            try:
                data, control, _, peer = sock.recvmsg(2048, 64)
                local = read_local(control, listener.ip.family)
                answer = self._answer(listener, peer, (local, listener.port))
                sock.sendmsg([reply_line(data, answer)], send_from(local), 0, peer)
                self._note(listener, answer, b"")
            except BlockingIOError:
                return
            except OSError:
                continue  # the client is gone, or refused the reply with an ICMP error

    def _answer(self, listener: Listener, peer: tuple[Any, ...], local: tuple[Any, ...]) -> Answer:
        client, own = Endpoint.of(*peer[:2]), Endpoint.of(*local[:2])  # IPv6 has a flow and a scope behind
        return Answer(
            pod=listener.pod,
            container=listener.container,
            node=listener.node,
            client=client,
            dialled=self._dialled(listener, client, own),
            local=own,
            image=self._images.get((listener.pod, listener.container), ""),
        )

    def _note(self, listener: Listener, answer: Answer, data: bytes) -> None:
        """Logs a request: who came, what was dialled, and the first line of HTTP."""
        if self._journal is None or not listener.pod:
            return
        line = f"{listener.protocol} {answer.client} → {answer.dialled or answer.local}"
        if answer.dialled and answer.dialled != answer.local:
            line += f" at {answer.local}"
        if is_http(data):
            first, _, _ = data[:_MOST_LINE].partition(b"\r\n")
            line += f' "{first.decode(errors="replace")}"'
        self._journal.write(listener.pod, listener.container, line)

    def _dialled(self, listener: Listener, peer: Endpoint, local: Endpoint) -> Endpoint:
        """Returns the address that the client dialled, by the conntrack entry of the node that rewrote the
        destination. Without a rewrite it is the Pod's own address.

        A node that the client is, or is on, sees all of its packets: if it has the entry, no other has to be
        asked.
        """
        protocol, home = PROTOCOL_NUMBER[listener.protocol], self._node_of.get(peer[0], "")
        dialled = local
        for node in dict.fromkeys([*([home] if home else []), *self._conntracks]):
            conntrack = self._conntracks.get(node)
            found = conntrack.original(protocol, local, peer) if conntrack else None
            if found and found[1] != local:
                dialled = found[1]
            if found and node == home:
                break
        return dialled


def _socket(family: Family, kind: int, protocol: int = 0) -> socket.socket:
    sock = socket.socket(family.number, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    if family is IPV6 and kind != socket.SOCK_RAW:  # IPv4 has sockets of its own
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def _answer_sctp(sock: socket.socket, family: Family, ports: Collection[int]) -> None:
    for _ in range(64):
        try:
            packet, control, _, peer = sock.recvmsg(2048, 64)
            # a raw socket of IPv4 brings the header along, one of IPv6 does not (raw(7), ipv6(7))
            begin = (packet[0] & 0xF) * 4 if family is IPV4 else 0
            reply = sctp.answer(packet[begin:], ports)
            if reply:
                sock.sendmsg([reply], send_from(read_local(control, family)), 0, (peer[0], 0))
        except BlockingIOError:
            return
        except OSError:
            continue


def servers(namespaces: Namespaces, journal: Journal | None = None) -> Worker:
    """Returns the process that serves every Listener of its state; it is forked with the first one.
    ``journal``: where it logs each request, in a cluster that lives.
    """

    def work(inbox: Inbox) -> None:
        server = _Server(namespaces, journal)
        inbox.take(server.update)
        server.watch(inbox.fileno(), lambda: inbox.take(server.update))
        server.loop()

    return Worker("the echo servers", work)
