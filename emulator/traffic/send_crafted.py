"""Sends packets that carry a token of our own choosing, through raw sockets in the clients' namespaces, and
awaits their replies.

One a flow is evidence enough beside its sockets; SCTP and ICMP have no sockets here.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from ..capture.recording import Recording
from ..kernel.netns import Namespaces
from ..model.flows import Attempt, Flow
from ..model.frames import errno_name, make_token
from ..net import Address, Endpoint, Family, is_loopback
from ..objects.config import FlowProtocol
from .crafted import Crafted, craft
from .silence import Silence

_FIRST_PORT, _LAST_PORT = 20000, 29999  # source ports: below node ports and ephemeral ports
_SOCKETS = 64  # open at once: thousands of Pods may send
_PAUSE = 0.005  # seconds between two reads of the taps


class CraftedSender:
    """Sends crafted packets. ``new_value`` gives each packet the value of its token."""

    def __init__(
        self, namespaces: Namespaces, recording: Recording, new_value: Callable[[FlowProtocol], int]
    ) -> None:
        self._namespaces, self._recording, self._new_value = namespaces, recording, new_value
        self._port = _FIRST_PORT
        self._since = 0  # how many frames were captured before the first packet was sent

    def send(self, flows: Sequence[Flow]) -> list[Attempt]:
        """Sends the packets of ``flows``, except flows over a connection: from another source port it would
        be another one.
        """
        self._since = len(self._recording.frames)
        flows = [flow for flow in flows if not flow.connection]
        each = [
            flow for flow in flows for _ in range(1 if flow.protocol in ("TCP", "UDP") else flow.attempts)
        ]
        packets = [self._plan(flow) for flow in each]
        attempts: list[Attempt] = []
        sockets: dict[tuple[str, Family], socket.socket] = {}
        with ExitStack() as stack:
            for flow, packet, data in zip(each, packets, craft(packets), strict=True):
                place = netns, family = flow.client.netns, flow.to.ip.family
                if place not in sockets:
                    if len(sockets) == _SOCKETS:
                        stack.close()
                        sockets.clear()
                    opened = self._namespaces.call_in(netns, partial(_open, family))
                    sockets[place] = stack.enter_context(opened)
                attempts.append(_send(sockets[place], flow, packet, data))
                self._recording.look()
        return attempts

    def await_replies(self, sent: Sequence[Attempt], silence: Silence) -> None:
        """Waits until each packet that left had its reply at the client, or nothing has happened for long
        enough.
        """
        waiting = {(a.token, a.netns) for a in sent if not a.error}
        seen, before = self._since, self._recording.count
        while True:
            self._recording.drain()
            for frame in self._recording.frames[seen:]:
                if frame.reply and (not frame.outgoing or frame.interface == "lo"):
                    waiting.discard((frame.token, frame.netns))
            seen = len(self._recording.frames)
            if before < self._recording.count:
                before = self._recording.count
                silence.end()
            if not waiting or silence.lasted():
                return
            time.sleep(_PAUSE)

    def _plan(self, flow: Flow) -> Crafted:
        src, value = self._source(flow), self._new_value(flow.protocol)
        return Crafted(
            protocol=flow.protocol,
            src=Endpoint(src, self._next_port()),
            dst=Endpoint(flow.to.ip, flow.to.port),
            value=value,
        )

    def _next_port(self) -> int:
        self._port = _FIRST_PORT if self._port == _LAST_PORT else self._port + 1
        return self._port

    def _source(self, flow: Flow) -> Address:
        """Returns the address that the client's kernel would send from. A node has several addresses, and may
        dial one of them: its kernel is asked.
        """
        if flow.client.kind != "node":
            return flow.to.ip if is_loopback(flow.to.ip) else flow.client.ip

        def ask() -> Address:
            with socket.socket(flow.to.ip.family.number, socket.SOCK_DGRAM) as sock:
                if sock.connect_ex((flow.to.ip, 9)):
                    return flow.client.ip  # no route: the packet finds none either
                return Address(sock.getsockname()[0])

        return self._namespaces.call_in(flow.client.netns, ask)


def _open(family: Family) -> socket.socket:
    return socket.socket(family.number, socket.SOCK_RAW, socket.IPPROTO_RAW)


def _send(sock: socket.socket, flow: Flow, packet: Crafted, data: bytes) -> Attempt:
    started, error = time.time_ns(), ""
    try:
        sock.sendto(data, (flow.to.ip, 0))
    except OSError as failure:
        error = errno_name(failure.errno)
    echo = flow.protocol == "ICMP"
    return Attempt(
        flow=flow.name,
        protocol=flow.protocol,
        netns=flow.client.netns,
        src=packet.src._replace(port=0) if echo else packet.src,
        dst=packet.dst._replace(port=0) if echo else packet.dst,
        token=make_token(flow.protocol, packet.value),
        crafted=True,
        started=started,
        finished=time.time_ns(),
        error=error,
    )
