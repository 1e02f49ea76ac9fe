"""Speaks netlink: messages and attributes as bytes, one socket per network namespace that sends them in
batches, and dumps.

Plans' messages are encoded directly, beside the handler of each operation (``kernel.operations``): a message
costs about 3 µs, and through a general library 0.5 ms. Formats: netlink(7), rtnetlink(7), linux/if_link.h. A
message is built without its sequence number; the socket puts it in.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence

from ..net import Address

RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR = 16, 18, 20, 22
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
NLM_F_DUMP = 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
IFF_UP = 0x1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_QDISC, IFLA_OPERSTATE, IFLA_LINKINFO = 1, 3, 6, 16, 18
IFLA_INFO_KIND = 1
IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS = 29, 8
IF_OPER_UP = b"\x06"
IFA_ADDRESS, IFA_LOCAL = 1, 2
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
IFINFO = struct.Struct("=BBHiII")
IFADDR = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
U32 = struct.Struct("=I")


_WITHOUT_COUNTERS = _ATTRIBUTE.pack(8, IFLA_EXT_MASK) + U32.pack(RTEXT_FILTER_SKIP_STATS)


def attribute(kind: int, payload: bytes) -> bytes:
    """Returns a netlink attribute, padded."""
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def name_attribute(name: str) -> bytes:
    """Returns a link's name as an attribute."""
    return attribute(IFLA_IFNAME, name.encode() + b"\0")


def mac_attribute(mac: str) -> bytes:
    """Returns a link's hardware address as an attribute."""
    return attribute(IFLA_ADDRESS, mac_bytes(mac))


def mac_bytes(mac: str) -> bytes:
    """Returns the six bytes of ``aa:bb:cc:dd:ee:ff``."""
    return bytes.fromhex(mac.replace(":", ""))


def message(kind: int, flags: int, payload: bytes) -> bytes:
    """Returns a request without its sequence number."""
    return _HEADER.pack(_HEADER.size + len(payload), kind, NLM_F_REQUEST | flags, 0, 0) + payload


def link_up(index: int) -> bytes:
    """Sets the link ``index`` up."""
    return message(RTM_NEWLINK, 0, IFINFO.pack(0, 0, 0, index, IFF_UP, IFF_UP))


class NetlinkSocket:
    """Holds a netlink socket (a route socket by default) of the network namespace in which it is made. Not
    shared between threads.
    """

    _CHUNK = 128 << 10  # bytes in one sendmsg; the default send buffer is 208 KiB

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._sequence = 0

    def send(self, messages: Sequence[bytes]) -> list[tuple[int, str]]:
        """Sends all ``messages`` and waits until the kernel has done them.

        Returns the failures as (index, error text); "exists already" (EEXIST) is none, so a plan may be
        applied twice. Only the last message of each chunk asks for an acknowledgement: errors come unasked.
        """
        failures: list[tuple[int, str]] = []
        start = 0
        while start < len(messages):
            end, size = start, 0
            while end < len(messages) and (size == 0 or size + len(messages[end]) <= self._CHUNK):
                size += len(messages[end])
                end += 1
            failures += self._send_chunk(messages[start:end], start)
            start = end
        return failures

    def _send_chunk(self, messages: Sequence[bytes], first: int) -> list[tuple[int, str]]:
        numbers: dict[int, int] = {}  # sequence number → index; a message may hold several netlink messages
        out = bytearray()
        last = 0
        for index, message in enumerate(messages, first):
            begin = len(out)
            out += message
            while begin < len(out):
                self._sequence += 1
                numbers[self._sequence] = index
                struct.pack_into("=I", out, begin + 8, self._sequence)
                last = begin
                begin += struct.unpack_from("=I", out, begin)[0]
        flags = struct.unpack_from("=H", out, last + 6)[0]
        struct.pack_into("=H", out, last + 6, flags | NLM_F_ACK)
        self._socket.send(out)
        failures: list[tuple[int, str]] = []
        while True:
            for kind, sequence, payload in messages_in(self._socket.recv(1 << 16)):
                if kind == NLMSG_ERROR:
                    code = error_number(payload)
                    if code not in (0, errno.EEXIST):
                        failures.append((numbers[sequence], os.strerror(code)))
                    if sequence == self._sequence:
                        return failures

    def close(self) -> None:
        self._socket.close()


def dump_addresses() -> list[tuple[int, Address]]:
    """Returns (interface index, address) of every address but link-local ones in the calling thread's network
    namespace.
    """
    rows: list[tuple[int, Address]] = []
    for data in dump(RTM_GETADDR, RTM_NEWADDR, IFADDR.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        *_, scope, index = IFADDR.unpack_from(data)
        row = attributes(data, IFADDR.size)
        local = row.get(IFA_LOCAL) or row.get(IFA_ADDRESS)  # IPv6 has the former with a peer alone
        if local and scope < RT_SCOPE_LINK:
            rows.append((index, Address.of_packed(local)))
    return rows


def find_idle_links(indexes: Iterable[int]) -> list[int]:
    """Returns those of the links ``indexes`` of the calling thread's network namespace that are up, but do
    not carry packets.

    A link's carrier reaches its queueing discipline, and the bridge that it is a port of, through linkwatch:
    a hundred links at once, then a second's rest (net/core/link_watch.c). It comes to a link at once if that
    one is asked for by itself, and not in a dump (rtnl_getlink in net/core/rtnetlink.c).
    """
    idle: list[int] = []
    asked = [
        message(RTM_GETLINK, 0, IFINFO.pack(0, 0, 0, index, 0, 0) + _WITHOUT_COUNTERS) for index in indexes
    ]
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    ) as sock:
        sock.bind((0, 0))
        for request in asked:
            sock.send(request)
            for kind, _, data in messages_in(sock.recv(1 << 16)):
                if kind == NLMSG_ERROR:
                    code = error_number(data)
                    raise OSError(code, os.strerror(code))
                _, _, _, index, flags, _ = IFINFO.unpack_from(data)
                link = attributes(data, IFINFO.size)
                carries = link.get(IFLA_OPERSTATE) == IF_OPER_UP and link.get(IFLA_QDISC) != b"noop\0"
                if flags & IFF_UP and not carries:
                    idle.append(index)
    return idle


def dump(request: int, answer: int, payload: bytes, protocol: int = socket.NETLINK_ROUTE) -> Iterator[bytes]:
    """Yields the payload of every ``answer`` to a dump ``request``, in the calling thread's network
    namespace.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as sock:
        sock.bind((0, 0))
        sock.send(
            _HEADER.pack(_HEADER.size + len(payload), request, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + payload
        )
        for kind, row in dumped(sock, 1):
            if kind == answer:
                yield row


def dumped(sock: socket.socket, sequence: int) -> Iterator[tuple[int, bytes]]:
    """Yields type and payload of each message of the dump that was requested with that number. Raises
    OSError.
    """
    while True:
        for kind, number, payload in messages_in(sock.recv(1 << 16)):
            if number != sequence:
                continue
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                code = error_number(payload)
                raise OSError(code, os.strerror(code))
            yield kind, payload


def messages_in(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yields type, sequence number and payload of each netlink message in ``data``."""
    offset = 0
    while offset < len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
        yield kind, sequence, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def error_number(payload: bytes) -> int:
    """Returns the error number of an NLMSG_ERROR; 0 acknowledges."""
    return -int(struct.unpack_from("=i", payload)[0])


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Returns the netlink attributes in ``data`` from ``offset`` on, by kind."""
    rows: dict[int, bytes] = {}
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        rows[kind & 0x3FFF] = data[offset + 4 : offset + length]  # without NLA_F_NESTED, NLA_F_NET_BYTEORDER
        offset += (length + 3) & ~3
    return rows
