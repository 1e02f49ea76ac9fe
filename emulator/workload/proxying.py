"""Runs the proxies of kube-proxy's userspace mode: one process is the proxy of every Service port on every
node.

A proxy's sockets, for listening and dialling, are opened inside the node's network namespace, so the kernel
gives them the node's addresses as it would there. ``proxy.userspace`` decides the ports and endpoints. Bytes
pass as in kube-proxy v1.25 (pkg/proxy/userspace/proxysocket.go): one connection after the other is accepted
and its endpoint dialled. If client or endpoint ends a stream, or one direction of it, all of it ends. A UDP
client is an address and port, with a socket of its own, and is dropped when it is idle.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..cluster.state import ClusterState
from ..errors import EXHAUSTED
from ..kernel.netns import Namespaces
from ..model.notices import RunNotice
from ..net import Endpoint, Family
from ..proxy.backends import backend_of
from ..proxy.userspace import DIAL_TIMEOUTS, UDP_IDLE, Relay, RoundRobin
from .worker import Inbox, Worker

_BACKLOG = 4096
_CHUNK = 32 << 10
_DATAGRAM = 4096  # "should be enough for most whole-packets"; longer ones are cut
_AT_ONCE = 64  # datagrams that are read before others have their turn
_LATE = 10.0  # seconds in which an endpoint that waits for a busy machine may still answer a UDP client

_Dial = Callable[[Family, int], socket.socket]  # a new socket of the node: SOCK_STREAM or SOCK_DGRAM


class _TcpProxy:
    """Listens for one Service port on one node."""

    def __init__(self, sock: socket.socket, choice: RoundRobin, new_socket: _Dial) -> None:
        self.choice = choice
        self._listening, self._new_socket = sock, new_socket
        self._loop = asyncio.get_running_loop()
        self._streams: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly
        self.dialling = False
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Accepts no more; accepted connections go on."""
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _accept(self) -> None:
        try:
            client, peer = self._listening.accept()
        except OSError as error:
            _raise_if_exhausted(error)
            return  # it was gone before it could be accepted
        client.setblocking(False)
        self._loop.remove_reader(self._listening)  # until its endpoint is dialled
        self.dialling = True
        stream = self._loop.create_task(self._serve(client, peer[0]))
        self._streams.add(stream)
        stream.add_done_callback(self._streams.discard)

    async def _serve(self, client: socket.socket, address: str) -> None:
        server = await self._dial(address)
        self.dialling = False
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._accept)
        if server is None:
            client.close()
        else:
            await _relay(client, server)

    async def _dial(self, client: str) -> socket.socket | None:
        """Returns a connection to the endpoint whose turn it is, or to the next one that accepts; None if
        there is none.
        """
        for number, timeout in enumerate(DIAL_TIMEOUTS):
            endpoint = self.choice.next(client, self._loop.time(), again=number > 0)
            if endpoint is None:
                return None
            server = self._new_socket(endpoint.address.family, socket.SOCK_STREAM)
            try:
                await asyncio.wait_for(self._loop.sock_connect(server, endpoint), timeout)
            except (OSError, asyncio.TimeoutError) as error:
                server.close()
                _raise_if_exhausted(error)
                continue
            return server
        return None


def _raise_if_exhausted(error: Exception) -> None:
    """Raises ``error`` if it is a limit of this process, which no client or endpoint causes: the process ends
    with it (:func:`_run`).
    """
    if isinstance(error, OSError) and error.errno in EXHAUSTED:
        raise error


async def _relay(client: socket.socket, server: socket.socket) -> None:
    ways = [asyncio.create_task(_copy(client, server)), asyncio.create_task(_copy(server, client))]
    _, other = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in other:
        way.cancel()
    await asyncio.wait(ways)
    client.close()
    server.close()


async def _copy(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(source, _CHUNK):
            await loop.sock_sendall(target, data)
    except OSError:
        return  # reset by either side: the same as its end


class _UdpProxy:
    """Listens for one Service port on one node. Has a socket towards the endpoint for every client.

    A client is dropped when both sides have been silent for ``UDP_IDLE``: its next datagram goes to the
    endpoint whose turn it is. If the endpoint has not answered, the socket stays for ``_LATE`` more.
    kube-proxy closes it at once, but the endpoints there have processors of their own; one that waits for a
    busy machine here is not silent.
    """

    def __init__(self, sock: socket.socket, choice: RoundRobin, new_socket: _Dial) -> None:
        self.choice = choice
        self._listening, self._new_socket = sock, new_socket
        self._loop = asyncio.get_running_loop()
        self._clients: dict[Endpoint, _UdpClient] = {}
        self._forgotten: set[_UdpClient] = set()
        self._loop.add_reader(sock, self._receive)

    def close(self) -> None:
        """Closes its clients' sockets too: an answer would need the socket that received the request."""
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for client in [*self._clients.values(), *self._forgotten]:
            client.close()

    def forget(self, client: _UdpClient) -> None:
        """Drops a client: the next datagram of its address is a new client's."""
        if self._clients.get(client.peer) is client:
            del self._clients[client.peer]
            self._forgotten.add(client)

    def let_go(self, client: _UdpClient) -> None:
        """Drops ``client``, which is closed."""
        self.forget(client)
        self._forgotten.discard(client)

    def answer(self, peer: Endpoint, data: bytes) -> None:
        """Sends an answer from the address that routing gives. It is the dialled one, except for
        127.0.0.1.
        """
        self._listening.sendto(data, peer)

    def _receive(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, peer = self._listening.recvfrom(_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error about an answer
            client = self._clients.get(peer) or self._new_client(peer)
            if client:
                client.send(data)

    def _new_client(self, peer: Endpoint) -> _UdpClient | None:
        endpoint = self.choice.next(peer[0], self._loop.time())
        if endpoint is None:
            return None
        server = self._new_socket(endpoint.address.family, socket.SOCK_DGRAM)
        try:
            server.connect(endpoint)
        except OSError as error:  # no route
            server.close()
            _raise_if_exhausted(error)
            return None
        client = self._clients[peer] = _UdpClient(self, peer, server)
        return client


class _UdpClient:
    """Carries one client's datagrams to its endpoint and back."""

    def __init__(self, proxy: _UdpProxy, peer: Endpoint, server: socket.socket) -> None:
        self.peer = peer
        self._proxy, self._server = proxy, server
        self._loop = asyncio.get_running_loop()
        self._used = self._loop.time()
        self._answered = False  # for the datagrams so far
        self._loop.add_reader(server, self._receive)
        self._idle = self._loop.call_at(self._used + UDP_IDLE, self._end_if_idle)

    def send(self, data: bytes) -> None:
        try:
            self._server.send(data)
        except OSError:
            return  # an earlier refusal of the endpoint's side: reading it ends this
        self._used, self._answered = self._loop.time(), False

    def close(self) -> None:
        self._idle.cancel()
        self._loop.remove_reader(self._server)
        self._server.close()
        self._proxy.let_go(self)

    def _receive(self) -> None:
        try:
            data = self._server.recv(_DATAGRAM)
            self._used, self._answered = self._loop.time(), True
            self._proxy.answer(self.peer, data)
        except BlockingIOError:
            return
        except OSError:  # refused
            self.close()

    def _end_if_idle(self) -> None:
        if self._loop.time() < self._used + UDP_IDLE:
            self._idle = self._loop.call_at(self._used + UDP_IDLE, self._end_if_idle)
        elif self._answered:
            self.close()
        else:
            self._proxy.forget(self)
            self._idle = self._loop.call_later(_LATE, self.close)


# Place and identity of a proxy, by which an earlier one is recognised as the same.
_Place = tuple[str, str, str, int]  # node, Service port, protocol, proxy port


class _Proxies:
    """Holds every proxy of every node."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._open: dict[_Place, _TcpProxy | _UdpProxy] = {}

    def update(self, state: ClusterState) -> tuple[RunNotice, ...]:
        """Listens for exactly the relays of ``state``; a proxy that was there before goes on, with its
        clients. Raises OSError for a port that cannot be bound.
        """
        gone = self._namespaces.refresh()
        wanted = _wanted(state)
        for place in [place for place in self._open if place not in wanted or place[0] in gone]:
            self._open.pop(place).close()
        for place, relay in wanted.items():
            if place in self._open:
                self._open[place].choice.update(relay)
            else:
                self._open[place] = self._listen(place[0], relay)
        self._namespaces.leave()
        return ()

    def dialling(self) -> bool:
        """Returns whether an accepted client still waits for its endpoint: dialling takes seconds if none
        answers.
        """
        return any(isinstance(proxy, _TcpProxy) and proxy.dialling for proxy in self._open.values())

    def _listen(self, node: str, relay: Relay) -> _TcpProxy | _UdpProxy:
        new_socket = partial(self._new_socket, node)
        tcp = relay.protocol == "TCP"
        sock = new_socket(relay.family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        if tcp:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((relay.family.unspecified, relay.port))
        except OSError as error:
            raise OSError(
                f"no proxy for {relay.name} on {node}, port {relay.port}: {error.strerror}"
            ) from None
        if not tcp:
            return _UdpProxy(sock, RoundRobin(relay), new_socket)
        sock.listen(_BACKLOG)
        return _TcpProxy(sock, RoundRobin(relay), new_socket)

    def _new_socket(self, node: str, family: Family, kind: int) -> socket.socket:
        self._namespaces.enter(node)
        return socket.socket(family.number, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def _wanted(state: ClusterState) -> Mapping[_Place, Relay]:
    relays = backend_of(state).relays
    every = relays(state) if relays else ()
    return {
        (node.name, relay.name, relay.protocol, relay.port): relay for node in state.nodes for relay in every
    }


async def _run(inbox: Inbox, namespaces: Namespaces) -> None:
    loop = asyncio.get_running_loop()
    proxies, failed = _Proxies(namespaces), loop.create_future()

    def take() -> None:
        try:
            inbox.take(proxies.update, proxies.dialling)
        # the parent is gone, or a bug, which the reader's callback would report again and again
        except BaseException as error:
            loop.remove_reader(inbox.fileno())
            failed.set_exception(error)

    def fail(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not failed.done():
            failed.set_exception(context.get("exception") or RuntimeError(context["message"]))

    loop.set_exception_handler(fail)
    take()
    loop.add_reader(inbox.fileno(), take)
    await failed


def proxies(namespaces: Namespaces) -> Worker:
    """Returns the process that relays as its state says: nothing where the mode has no relays."""

    def work(inbox: Inbox) -> None:
        asyncio.run(_run(inbox, namespaces))

    return Worker("the proxies", work)
