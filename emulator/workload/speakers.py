"""Runs the speakers: one process answers ARP on every node's eth0 for the load-balancer addresses that the
node announces, as MetalLB's does in L2 mode.

The node's kernel does not have such an address: kube-proxy's rules take its packets. So the ARP reply, with
the node's MAC, is sent from here. A new speaker sends gratuitous ARP, and neighbours with an entry for
another MAC update it. As in MetalLB's ``internal/layer2/announcer.go`` (``spamLoop``), it is sent again every
1.1 s for 5 s, as long as the node has the address: for a second after an update, Linux accepts no other one
but a gratuitous request.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Collection, Sequence
from contextlib import suppress

from ..cluster.state import ClusterState
from ..kernel.netns import Namespaces
from ..model.notices import RunNotice
from ..net import Address
from . import arp
from .worker import Inbox, Worker

DEVICE = "eth0"
AGAIN_AFTER = (1.1, 2.2, 3.3, 4.4)  # seconds after the first time


class Reminders:
    """Schedules the repeated announcements of each address, in seconds of the caller's clock."""

    def __init__(self) -> None:
        self._due: list[tuple[float, Address]] = []  # the next one first

    def change(self, new: Collection[Address], kept: Collection[Address], now: float) -> None:
        """Schedules ``new`` addresses, which have just been announced for the first time, and drops those
        that are neither new nor ``kept``.
        """
        due = [(at, ip) for at, ip in self._due if ip in kept and ip not in new]
        self._due = sorted([*due, *((now + after, ip) for after in AGAIN_AFTER for ip in new)])

    def take(self, now: float) -> tuple[Address, ...]:
        """Returns the addresses to announce now, each once."""
        due = tuple(ip for at, ip in self._due if at <= now)
        self._due = self._due[len(due) :]
        return tuple(dict.fromkeys(due))

    def wait(self, now: float) -> float | None:
        """Returns the seconds until the next one; None if there is none."""
        return max(0.0, self._due[0][0] - now) if self._due else None


class _Speaker:
    """Announces addresses of one node, in whose namespace it is made."""

    def __init__(self) -> None:
        self.socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        self.socket.bind((DEVICE, arp.ETH_P_ARP))
        self._mac: bytes = self.socket.getsockname()[4]
        self.announced: frozenset[Address] = frozenset()
        self.reminders = Reminders()

    def announce(self, addresses: frozenset[Address], now: float) -> None:
        """Announces these addresses from now on, and no others."""
        new = sorted(addresses - self.announced)
        self.announced = addresses
        self.reminders.change(new, addresses, now)
        for ip in new:
            self._tell(ip)

    def remind(self, now: float) -> None:
        """Sends the announcements that are due."""
        for ip in self.reminders.take(now):
            with suppress(OSError):  # the network is down: the node is about to be deleted
                self._tell(ip)

    def _tell(self, ip: Address) -> None:
        for frame in arp.gratuitous(ip, self._mac):
            self.socket.send(frame)

    def hear(self) -> None:
        """Answers the ARP requests that came."""
        while True:
            try:
                frame, (*_, kind, _, _) = self.socket.recvfrom(2048)
            except OSError:
                return  # no more for now; or the network is down: the node is about to be deleted
            if kind != socket.PACKET_OUTGOING and (reply := arp.answer(frame, self._mac, self.announced)):
                self.socket.send(reply)


class _Speakers:
    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._speakers: dict[str, _Speaker] = {}
        self._epoll = select.epoll()

    def update(self, state: ClusterState) -> Sequence[RunNotice]:
        """Announces the addresses of ``state``. An address leaves one node before it comes to another."""
        gone = self._namespaces.refresh()
        wanted: dict[str, set[Address]] = {}
        for ip, node in state.speakers.items():
            wanted.setdefault(node, set()).add(ip)
        for node in [node for node in self._speakers if node in gone or node not in wanted]:
            self._speakers.pop(node).socket.close()
        for node, speaker in self._speakers.items():
            speaker.announced &= wanted[node]
        for node, addresses in wanted.items():
            if node not in self._speakers:
                self._speakers[node] = speaker = self._namespaces.call_in(node, _Speaker)
                self._epoll.register(speaker.socket, select.EPOLLIN)
            self._speakers[node].announce(frozenset(addresses), time.monotonic())
        return ()

    def _remind(self) -> float | None:
        """Sends the announcements that are due on any node; returns the seconds until the next."""
        now = time.monotonic()
        for speaker in self._speakers.values():
            speaker.remind(now)
        return min(
            (wait for s in self._speakers.values() if (wait := s.reminders.wait(now)) is not None),
            default=None,
        )

    def loop(self, inbox: Inbox) -> None:
        self._epoll.register(inbox.fileno(), select.EPOLLIN)
        while True:
            ready = {fd for fd, _ in self._epoll.poll(self._remind())}
            if inbox.fileno() in ready:
                inbox.take(self.update)
            else:
                for speaker in self._speakers.values():
                    if speaker.socket.fileno() in ready:
                        speaker.hear()


def speakers(namespaces: Namespaces) -> Worker:
    """Returns the process that announces the load-balancer addresses of its state."""

    def work(inbox: Inbox) -> None:
        own = _Speakers(namespaces)
        inbox.take(own.update)
        own.loop(inbox)

    return Worker("the load-balancer speakers", work)
