"""Numbers the links of every namespace with interface indexes of podwire's own choosing, and queues netlink
messages for the kernel.

Indexes are counted per namespace, so nothing needs to be looked up. Messages wait in a queue per namespace
and keep their order in it; an operation that needs them done in another namespace sends them first
(:meth:`Links.flush`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from ..errors import KernelError
from ..plan.operations.operation import Operation
from ..plan.shell import shell_commands
from .limits import is_address_space_limited
from .netlink import NetlinkSocket, find_idle_links
from .netns import Namespaces
from .threads import for_each

_THREADS = 16  # that send at once


class Links:
    """Holds the links. While a plan is applied it has a netlink socket in each namespace that needs one."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self.ports: dict[str, set[int]] = {}  # bridge ports by namespace
        self._indexes: dict[str, dict[str, int]] = {}  # namespace → link → interface index
        self._next: dict[str, int] = {}
        self._peers: dict[tuple[str, str], tuple[str, str]] = {}  # the other end of each veth
        self._sockets: dict[str, NetlinkSocket] = {}
        self._queues: dict[str, list[tuple[bytes, Operation]]] = {}
        # namespace → its ends of pairs that were made since all were up
        self._rising: dict[str, list[str]] = {}

    # --- which there are ---

    def add_namespace(self, netns: str) -> None:
        """Adds ``netns``, which has just been made and entered, with its ``lo``."""
        self._sockets[netns] = NetlinkSocket()
        self._indexes[netns] = {"lo": 1}
        self._next[netns] = 2

    def forget_namespace(self, netns: str) -> None:
        """Removes ``netns``, which was deleted, its links and their other ends."""
        for name in list(self._indexes[netns]):
            self.forget((netns, name))
        if held := self._sockets.pop(netns, None):
            held.close()
        del self._next[netns], self._indexes[netns]
        self._rising.pop(netns, None)

    def new(self, netns: str, name: str) -> int:
        """Returns the index of a link that is to be made, or was made before."""
        links = self._indexes[netns]
        if name not in links:
            links[name] = self._next[netns]
            self._next[netns] += 1
        return links[name]

    def index(self, netns: str, name: str) -> int:
        """Returns the index of a link that a plan has made. Raises KeyError."""
        return self._indexes[netns][name]

    def pair(self, end: tuple[str, str], other: tuple[str, str]) -> None:
        """Marks both ends (namespace, name) as a veth pair."""
        self._peers |= {end: other, other: end}
        for netns, name in (end, other):
            self._rising.setdefault(netns, []).append(name)

    def forget(self, link: tuple[str, str]) -> None:
        """Removes ``link`` (namespace, name) and its other end, which were deleted; their indexes are not
        reused.
        """
        ends = [link]
        if link in self._peers:
            ends.append(self._peers[link])
        for end in ends:
            self._peers.pop(end, None)
            self.ports.get(end[0], set()).discard(self._indexes[end[0]].pop(end[1]))

    def names(self, netns: str) -> dict[int, str]:
        """Returns interface index → name of every link in ``netns`` that a plan made, and ``lo``."""
        return {index: name for name, index in self._indexes[netns].items()}

    # --- what waits ---

    def queue(self, op: Operation, message: bytes, netns: str = "") -> None:
        """Queues ``message`` for the next :meth:`flush`; it is sent in ``netns``, or else in the namespace of
        ``op``.
        """
        self._queues.setdefault(netns or op.netns, []).append((message, op))

    def flush(self) -> None:
        """Sends the queued messages. KernelError names the first operation that the kernel refused, as a
        command to paste.
        """
        queues, self._queues = self._queues, {}
        for netns, rows in queues.items():
            _send(self._socket(netns), rows)

    def flush_at_once(self) -> None:
        """Does the same in all namespaces at once, where their order means nothing: a deletion waits for RCU
        after it has left the kernel's lock.
        """
        queues, self._queues = self._queues, {}
        waiting = [(self._socket(netns), rows) for netns, rows in queues.items()]
        most = 1 if is_address_space_limited() else _THREADS
        for_each(waiting, lambda pair: _send(*pair), most)

    def _socket(self, netns: str) -> NetlinkSocket:
        if netns not in self._sockets:
            self._sockets[netns] = self._namespaces.call_in(netns, NetlinkSocket)
        return self._sockets[netns]

    def close_sockets(self) -> None:
        """Closes the netlink sockets: later plans open those that they need. A cluster of thousands of Pods
        needs its descriptors for other things.
        """
        sockets, self._sockets = self._sockets, {}
        for held in sockets.values():
            held.close()

    def wait_until_up(self, seconds: float) -> None:
        """Waits until every pair that was made since the last time carries packets; KernelError names an end
        that does not within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        for netns, names in self._rising.items():
            idle = [self._indexes[netns][name] for name in names if name in self._indexes[netns]]
            while idle := self._namespaces.call_in(netns, partial(find_idle_links, idle)):
                if time.monotonic() > deadline:
                    name = self.names(netns)[idle[0]]
                    raise KernelError(
                        "",
                        f"ip -n {netns} -d link show dev {name}",
                        f"{name} in {netns} has no carrier after {seconds:.0f} s",
                    )
                time.sleep(0.002)
        self._rising.clear()


def _send(sock: NetlinkSocket, rows: Sequence[tuple[bytes, Operation]]) -> None:
    for index, error in sock.send([message for message, _ in rows]):
        raise KernelError("", shell_commands(rows[index][1]), error)
