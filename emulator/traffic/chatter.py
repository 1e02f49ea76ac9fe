"""Keeps UDP clients sending: while verdicts are found and the cluster changes, every kept socket goes on from
its own port.

So a node's conntrack entry of such a client never expires by itself, which is what makes a stale one matter
(docs/semantics 11). The datagrams carry the cookie 0, so that they count as no attempt; answers are dropped.
One thread, which only sends and receives.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from ..kernel.threads import Thread
from ..workload.answer import request_line

_PAUSE = 0.01  # seconds between two datagrams of a client
# datagrams of each that come after the change: ipvs mode drops the first, and deletes the client's entry with
# its
# next timer tick
_AFTERWARDS = 3


class Chatter:
    """Sends from all of the connected, non-blocking UDP ``sockets`` inside ``with Chatter(sockets):``. No
    other code may use them meanwhile.
    """

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets
        self._stop = threading.Event()
        self._thread = Thread(self._talk)

    def __enter__(self) -> Chatter:
        if self._sockets:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._sockets:
            self._thread.join()

    def _talk(self) -> None:
        while not self._stop.wait(_PAUSE):
            self._send()
        for _ in range(_AFTERWARDS):
            self._send()
            time.sleep(_PAUSE)

    def _send(self) -> None:
        for sock in self._sockets:
            forget_answers(sock)
            with suppress(OSError):  # no server is there at the moment
                sock.send(request_line(0))


def forget_answers(sock: socket.socket) -> None:
    """Drops the datagrams and errors that have come in on a non-blocking UDP socket."""
    while True:
        try:
            sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            continue  # an ICMP error about an earlier datagram: reading clears it
