"""Taps network namespaces: one AF_PACKET socket with a memory-mapped ring in each, unbound, so that it sees
every link there.

TPACKET_V2 (Documentation/networking/packet_mmap.rst): the kernel writes each frame with its nanosecond stamp,
interface index and direction into a slot. Reading one costs no system call, and unlike a socket's receive
buffer the ring's size needs no privilege. Frames lost to a full ring are counted: :meth:`Taps.lost`.

One epoll reports which rings hold frames: the cost of a read depends on these, not on the namespaces of the
cluster. It is level-triggered: a ring is ready as long as the newest frame that the kernel wrote into it is
unread (packet_poll in net/packet/af_packet.c), so that one that was read in part stays ready.
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from ..kernel import linux
from ..kernel.limits import is_address_space_limited
from ..kernel.netns import Entered, Namespaces
from ..kernel.threads import Thread, for_each
from ..model.frames import Captured
from ..net import IPV4, IPV6

ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 5, 6, 10
SO_ATTACH_FILTER = 26
TPACKET_V2 = 1
TP_STATUS_KERNEL, TP_STATUS_USER = 0, 1
PACKET_OTHERHOST, PACKET_OUTGOING = 3, 4

# struct tpacket2_hdr, padded to 32 bytes, and the struct sockaddr_ll behind it
_SLOT = struct.Struct("=IIIHHIIHH4xHHiHBB")
_STATUS = struct.Struct("=I")
_REQUEST = struct.Struct("=IIII")
_THREADS = 64
# bytes of a ring that are contiguous in memory: a page at least
_LEAST_BLOCK, _MOST_BLOCK = 4 << 10, 64 << 10

# A frame in a ring: time (ns), netns, interface, outgoing, length on the wire, the memory in which it lies
# from one offset to another until the next one is asked for, and whether it is a stray (:class:`Captured`).
InRing: TypeAlias = tuple[int, str, str, bool, int, memoryview, int, int, bool]

BpfProgram = Sequence[tuple[int, int, int, int]]  # classic BPF: code, jt, jf, k

# Frames that open, accept or refuse a connection, and ICMP: the evidence for verdicts on TCP flows. 65535:
# the whole frame. (ICMP: all; of ICMPv6 errors and echoes, not neighbour discovery; TCP, first fragment: SYN
# set, or RST with sequence number 0, which is how a closed port refuses; IPv6 without extension headers)
HANDSHAKES: BpfProgram = (
    (0x28, 0, 0, 12),  # ldh [12]              EtherType
    (0x15, 0, 7, IPV6.ethertype),  # jeq IPv6, else 9
    (0x30, 0, 0, 20),  # ldb [20]              next header
    (0x15, 3, 0, 6),  # jeq TCP → 7
    (0x15, 0, 16, IPV6.icmp),  # jeq ICMPv6
    (0x30, 0, 0, 54),  # ldb [54]              type
    (0x35, 14, 13, 130),  # jge 130 → reject, else accept
    (0x01, 0, 0, 40),  # ldx #40               IP header length
    (0x05, 0, 0, 5),  # ja 14
    (0x15, 0, 11, IPV4.ethertype),  # jeq IPv4
    (0x30, 0, 0, 23),  # ldb [23]              protocol
    (0x15, 8, 0, IPV4.icmp),  # jeq ICMP → accept
    (0x15, 0, 8, 6),  # jeq TCP
    (0xB1, 0, 0, 14),  # ldxb 4*([14]&0xf)     IP header length
    (0x50, 0, 0, 27),  # ldb [x + 27]          TCP flags
    (0x45, 4, 0, 0x02),  # jset SYN → accept
    (0x45, 0, 4, 0x04),  # jset RST
    (0x40, 0, 0, 18),  # ld [x + 18]           sequence number
    (0x15, 1, 0, 0),  # jeq 0 → accept
    (0x05, 0, 0, 1),  # ja reject
    (0x06, 0, 0, 0xFFFF),  # accept
    (0x06, 0, 0, 0),  # reject
)

# Every frame but the IPv4 TCP segments of an accepted connection that say nothing: no data, neither SYN nor
# FIN, and RST in no refusal. A verdict needs those only where it depends on how a connection ended.
WITHOUT_BARE_SEGMENTS: BpfProgram = (
    (0x28, 0, 0, 12),  # ldh [12]              EtherType
    (0x15, 0, 18, IPV4.ethertype),  # jeq IPv4, else accept
    (0x30, 0, 0, 23),  # ldb [23]              protocol
    (0x15, 0, 16, 6),  # jeq TCP, else accept
    (0x28, 0, 0, 20),  # ldh [20]              fragment offset
    (0x45, 14, 0, 0x1FFF),  # jset → accept
    (0xB1, 0, 0, 14),  # ldxb 4*([14]&0xf)     IP header length
    (0x50, 0, 0, 27),  # ldb [x + 27]          TCP flags
    (0x45, 11, 0, 0x03),  # jset FIN or SYN → accept
    (0x45, 0, 2, 0x04),  # jset RST, else 12
    (0x40, 0, 0, 18),  # ld [x + 18]           sequence number
    (0x15, 8, 0, 0),  # jeq 0 → accept
    (0x50, 0, 0, 26),  # ldb [x + 26]          TCP header length, in the upper four bits
    (0x74, 0, 0, 4),  # rsh #4
    (0x64, 0, 0, 2),  # lsh #2
    (0x0C, 0, 0, 0),  # add x
    (0x07, 0, 0, 0),  # tax                    length of both headers
    (0x28, 0, 0, 16),  # ldh [16]              total length
    (0x1C, 0, 0, 0),  # sub x                  bytes of data
    (0x15, 1, 0, 0),  # jeq 0 → reject
    (0x06, 0, 0, 0xFFFF),  # accept
    (0x06, 0, 0, 0),  # reject
)


class _Tap:
    __slots__ = ("block", "interfaces", "map", "name", "next", "ports", "slots", "socket", "width")

    def __init__(self, name: str, slots: int, width: int, program: BpfProgram | None) -> None:
        """Opens the socket in the calling thread's namespace; :meth:`set_up` makes it a tap."""
        self.name, self.width = name, width
        self.interfaces: dict[int, str] = {}
        self.ports: set[int] = set()
        self.map: memoryview | None = None
        self.block = min(max(_LEAST_BLOCK, width, slots * width // 8), _MOST_BLOCK)
        self.block = 1 << self.block.bit_length() - 1  # a power of two, as the kernel wants it
        per_block = self.block // width
        self.slots, self.next = max(1, -(-slots // per_block)) * per_block, 0
        self.socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(ETH_P_ALL)
        )
        if program:
            _attach(self.socket, program)

    def set_up(self) -> None:
        """Makes the socket a tap. May run in any thread: it takes an RCU grace period (some 10 ms, kernel
        6.18).
        """
        size = self.slots * self.width
        self.socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
        request = _REQUEST.pack(self.block, size // self.block, self.width, self.slots)
        linux.setsockopt(self.socket.fileno(), SOL_PACKET, PACKET_RX_RING, request)
        self.map = linux.map_shared(self.socket.fileno(), size)

    def close(self) -> None:
        mapping, self.map = self.map, None
        if mapping is not None:  # unmapped only if opening was interrupted before it was set up
            linux.unmap(mapping)
        self.socket.close()


def _attach(sock: socket.socket, program: BpfProgram) -> None:
    instructions = b"".join(struct.pack("=HBBI", *row) for row in program)
    buffer = ctypes.create_string_buffer(instructions)
    sock.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HL", len(program), ctypes.addressof(buffer))
    )


def _for_each(taps: Sequence[_Tap], function: Callable[[_Tap], None]) -> None:
    """Calls ``function`` for each of ``taps``, many at once, since each waits.

    One after the other if address space is limited: a thread without memory for its first frame ends without
    a notice, and threading.Thread.start waits for it for ever (CPython 3.11).
    """
    if is_address_space_limited():
        for tap in taps:
            function(tap)
        return
    for_each(taps, function, _THREADS)


class Taps:
    """Holds all taps of a run. Frames come out of :meth:`drain` in each namespace's order."""

    def __init__(self) -> None:
        self._taps: list[_Tap] = []
        self._epoll: select.epoll | None = None
        self._by_descriptor: dict[int, _Tap] = {}  # those that are registered there
        self._lost = 0
        self._closing: Thread | None = None

    def open(
        self,
        namespaces: Namespaces | Entered,
        interfaces: Mapping[str, dict[int, str]],
        ports: Mapping[str, Collection[int]],
        slots: Mapping[str, int],
        *,
        width: int = 2048,
        program: BpfProgram | None = None,
    ) -> None:
        """Opens a tap in every namespace of ``slots``: name → how many frames its ring holds between two
        drains. ``interfaces`` names their interface indexes, ``ports`` are those of bridge ports, whose
        incoming frames are for others. Both are updated for namespaces that have a tap already, since their
        links may have changed; an index is never reused.

        ``width`` is the size of a slot in bytes, a power of two; some 80 of them are headers, longer frames
        are cut. ``program`` (classic BPF) leaves frames out in the kernel.
        """
        new = [
            namespaces.call_in(name, partial(_Tap, name, count, width, program))
            for name, count in slots.items()
        ]
        self._taps += new
        for tap in self._taps:
            tap.interfaces |= interfaces.get(tap.name, {})
            tap.ports |= set(ports.get(tap.name, ()))
        _for_each(new, _Tap.set_up)
        if self._epoll is None:
            self._epoll = select.epoll()
        for tap in new:
            self._epoll.register(tap.socket, select.EPOLLIN)  # ready at once if frames have come already
            self._by_descriptor[tap.socket.fileno()] = tap

    def fileno(self) -> int:
        """Returns the descriptor that poll(2) finds readable when frames have come; -1 without a tap."""
        return self._epoll.fileno() if self._epoll else -1

    def drain(self) -> list[Captured]:
        """Returns every frame that has come since the last call."""
        return [
            Captured(time, netns, interface, outgoing, length, bytes(ring[begin:end]), stray)
            for time, netns, interface, outgoing, length, ring, begin, end, stray in self.read()
        ]

    def read(self) -> Iterator[InRing]:
        """Yields every frame that has come since the last call, without a copy. Must be read to its end."""
        unpack = _SLOT.unpack_from
        for tap in self._find_ready():
            ring, width, slots, name, interfaces, ports = (
                tap.map,
                tap.width,
                tap.slots,
                tap.name,
                tap.interfaces,
                tap.ports,
            )
            index = tap.next
            assert ring is not None  # noqa: S101 - for the type: it is set up
            for _ in range(slots):  # a sender that is faster than this would keep it here for ever
                offset = index * width
                status, length, captured, mac, _, sec, nsec, _, _, _, _, ifindex, _, kind, _ = unpack(
                    ring, offset
                )
                if not status & TP_STATUS_USER:
                    break
                begin = offset + mac
                yield (
                    sec * 1_000_000_000 + nsec,
                    name,
                    interfaces.get(ifindex) or f"if{ifindex}",
                    kind == PACKET_OUTGOING,
                    length,
                    ring,
                    begin,
                    begin + captured,
                    kind == PACKET_OTHERHOST and ifindex not in ports,
                )
                _STATUS.pack_into(ring, offset, TP_STATUS_KERNEL)
                index += 1
                if index == slots:
                    index = 0
            tap.next = index

    def _find_ready(self) -> list[_Tap]:
        """Returns the taps whose rings hold frames, in the order of their descriptors."""
        if self._epoll is None or not self._by_descriptor:
            return []
        events = self._epoll.poll(0, len(self._by_descriptor))  # epoll reports maxevents at most
        return [self._by_descriptor[descriptor] for descriptor, _ in sorted(events)]

    def lost(self) -> int:
        """Returns how many frames found their ring full, so far."""
        for tap in self._taps:
            # reading resets the counter
            _, drops = struct.unpack("=II", tap.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
            self._lost += drops
        return self._lost

    def close_in(self, names: Collection[str]) -> None:
        """Closes the taps in the namespaces ``names``, which are deleted; unread frames are lost.

        A thread waits for the RCU grace period of each (:meth:`wait_until_closed`).
        """
        gone = [tap for tap in self._taps if tap.name in names]
        self._taps = [tap for tap in self._taps if tap.name not in names]
        for tap in gone:
            # a forked process may hold the socket: closing it would not remove it from the epoll
            descriptor = tap.socket.fileno()
            if self._epoll is not None and descriptor in self._by_descriptor:
                del self._by_descriptor[descriptor]
                self._epoll.unregister(descriptor)
        self.wait_until_closed()
        if is_address_space_limited() or not self._close_beside(gone):
            _for_each(gone, _Tap.close)

    def _close_beside(self, taps: Sequence[_Tap]) -> bool:
        """Has a thread close ``taps``; returns False if none can be started."""
        closing = Thread(partial(_for_each, taps, _Tap.close))
        try:
            closing.start()
        except RuntimeError:
            return False
        self._closing = closing
        return True

    def wait_until_closed(self) -> None:
        """Waits until the taps in deleted namespaces are closed: no thread of theirs runs any more."""
        if self._closing:
            self._closing.join()
        self._closing = None

    def close(self) -> None:
        """Closes all rings, in parallel: the kernel waits for an RCU grace period for each."""
        self.wait_until_closed()
        if self._epoll is not None:
            self._epoll.close()
        self._epoll, self._by_descriptor = None, {}
        _for_each(self._taps, _Tap.close)
        self._taps = []
