"""rtnetlink messages as bytes, and one socket per network namespace that sends them in batches.

Only what plans need, encoded directly (a message costs about 3 µs; through a general library 0.5 ms).
Formats: rtnetlink(7), linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h. A message is built without its
sequence number; the socket puts it in.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Interface, IPv4Network

from emulator.plan.sysctls import NEIGHBOUR_DEFAULTS

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 16, 17, 18, 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWNEIGH, RTM_DELNEIGH = 24, 25, 28, 29
RTM_SETNEIGHTBL = 67
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
NLM_F_DUMP = 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
IFF_UP = 0x1
(
    IFLA_ADDRESS,
    IFLA_IFNAME,
    IFLA_QDISC,
    IFLA_MASTER,
    IFLA_OPERSTATE,
    IFLA_LINKINFO,
    IFLA_GROUP,
    IFLA_NET_NS_FD,
) = 1, 3, 6, 10, 16, 18, 27, 28
IF_OPER_UP = b"\x06"
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
VETH_INFO_PEER = 1
IFLA_BRPORT_MODE = 4
IFA_ADDRESS, IFA_LOCAL = 1, 2
NDA_DST, NDA_LLADDR, NUD_NOARP, NUD_PERMANENT, NTF_MASTER = 1, 2, 0x40, 0x80, 0x04
AF_BRIDGE = 7
NDTA_NAME, NDTA_PARMS, NDTPA_IFINDEX, NDTPA_BASE_REACHABLE_TIME = 1, 6, 1, 4
_NDTPA: Mapping[str, tuple[int, bool]] = {  # by iproute2's name: number, and whether it is a time
    "retrans": (5, True),
    "gc_stale": (6, True),
    "delay_probe": (7, True),
    "queue": (8, False),
    "app_probes": (9, False),
    "ucast_probes": (10, False),
    "mcast_probes": (11, False),
    "locktime": (15, True),
}
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC = 1, 4, 5, 7
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST, RTNH_F_ONLINK = 254, 4, 1, 4
_DOOMED = 1  # the group of links that are about to be deleted; others are in group 0
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_HOST = 0, 253, 254

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_IFINFO = struct.Struct("=BBHiII")
_U32 = struct.Struct("=I")


def attribute(kind: int, payload: bytes) -> bytes:
    """A netlink attribute, padded."""
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def _name(name: str) -> bytes:
    return attribute(IFLA_IFNAME, name.encode() + b"\0")


def _mac(mac: str) -> bytes:
    return attribute(IFLA_ADDRESS, bytes.fromhex(mac.replace(":", "")))


def _message(kind: int, flags: int, payload: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(payload), kind, NLM_F_REQUEST | flags, 0, 0) + payload


def link_up(index: int) -> bytes:
    """Set the link ``index`` up."""
    return _message(RTM_NEWLINK, 0, _IFINFO.pack(0, 0, 0, index, IFF_UP, IFF_UP))


def new_bridge(index: int, name: str, mac: str) -> bytes:
    """Create a bridge that is up."""
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"bridge"))
    return _message(
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        _IFINFO.pack(0, 0, 0, index, IFF_UP, IFF_UP) + _name(name) + _mac(mac) + info,
    )


def new_dummy(index: int, name: str) -> bytes:
    """Create a dummy interface that is down."""
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"dummy"))
    return _message(
        RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _IFINFO.pack(0, 0, 0, index, 0, 0) + _name(name) + info
    )


def new_veth(
    index: int, name: str, mac: str, peer_fd: int, peer_index: int, peer: str, peer_mac: str
) -> bytes:
    """Create a veth pair, this end up, the other in the namespace behind ``peer_fd`` and down.

    The peer cannot be set up in the same message (ENOTCONN, kernel 6.18): raise it from inside.
    """
    other = (
        _IFINFO.pack(0, 0, 0, peer_index, 0, 0)
        + _name(peer)
        + _mac(peer_mac)
        + attribute(IFLA_NET_NS_FD, _U32.pack(peer_fd))
    )
    info = attribute(
        IFLA_LINKINFO,
        attribute(IFLA_INFO_KIND, b"veth") + attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, other)),
    )
    return _message(
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        _IFINFO.pack(0, 0, 0, index, IFF_UP, IFF_UP) + _name(name) + _mac(mac) + info,
    )


def bridge_port(index: int, bridge: int, hairpin: bool) -> bytes:
    """Make the link ``index`` a port of the bridge with index ``bridge``; with hairpin mode when asked."""
    message = _message(
        RTM_NEWLINK, 0, _IFINFO.pack(0, 0, 0, index, 0, 0) + attribute(IFLA_MASTER, _U32.pack(bridge))
    )
    if hairpin:
        slave = attribute(IFLA_INFO_SLAVE_KIND, b"bridge") + attribute(
            IFLA_INFO_SLAVE_DATA, attribute(IFLA_BRPORT_MODE, b"\x01")
        )
        message += _message(
            RTM_NEWLINK, 0, _IFINFO.pack(0, 0, 0, index, 0, 0) + attribute(IFLA_LINKINFO, slave)
        )
    return message


def bridge_knows(index: int, mac: str) -> bytes:
    """The bridge of port ``index`` sends what is for ``mac`` there, without having to learn it: a static
    entry of its forwarding database.
    """
    payload = struct.pack("=BBHiHBB", AF_BRIDGE, 0, 0, index, NUD_NOARP, NTF_MASTER, 0)
    return _message(
        RTM_NEWNEIGH,
        NLM_F_CREATE | NLM_F_REPLACE,
        payload + attribute(NDA_LLADDR, bytes.fromhex(mac.replace(":", ""))),
    )


def delete_link(index: int) -> bytes:
    """Take the link ``index`` away; of a veth pair the other end goes, too."""
    return _message(RTM_DELLINK, 0, _IFINFO.pack(0, 0, 0, index, 0, 0))


def delete_links(indexes: Sequence[int]) -> bytes:
    """Take the links ``indexes`` of one namespace away, all at once: the kernel waits out an RCU grace period
    for each request that deletes, some 10 ms (net/core/dev.c, unregister_netdevice_many_notify). A request
    can name a group of links (rtnetlink.c, rtnl_group_dellink).
    """
    group = attribute(IFLA_GROUP, _U32.pack(_DOOMED))
    joins = [_message(RTM_NEWLINK, 0, _IFINFO.pack(0, 0, 0, index, 0, 0) + group) for index in indexes]
    return b"".join([*joins, _message(RTM_DELLINK, 0, _IFINFO.pack(0, 0, 0, 0, 0, 0) + group)])


def new_address(index: int, address: str) -> bytes:
    """Add ``a.b.c.d/len`` to the link ``index``."""
    return _message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, _address(index, address))


def delete_address(index: int, address: str) -> bytes:
    """Take ``a.b.c.d/len`` from the link ``index``."""
    return _message(RTM_DELADDR, 0, _address(index, address))


def _address(index: int, address: str) -> bytes:
    interface = IPv4Interface(address)
    prefix = interface.network.prefixlen
    local = interface.ip.packed
    header = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, RT_SCOPE_UNIVERSE, index)
    return header + attribute(IFA_LOCAL, local) + attribute(IFA_ADDRESS, local)


def new_route(index: int, dst: str, via: str, onlink: bool, src: str) -> bytes:
    """Add or replace the route to ``dst`` ("default" or a prefix) through the link ``index``; ``via`` "" is
    on-link.
    """
    return _message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, _route(index, dst, via, onlink, src))


def delete_route(index: int, dst: str, via: str) -> bytes:
    """Take the route away that :func:`new_route` made with these values."""
    return _message(RTM_DELROUTE, 0, _route(index, dst, via, False, ""))


def _route(index: int, dst: str, via: str, onlink: bool, src: str) -> bytes:
    network = IPv4Network("0.0.0.0/0" if dst == "default" else dst)
    scope = RT_SCOPE_UNIVERSE if via else RT_SCOPE_LINK
    flags = RTNH_F_ONLINK if onlink else 0
    payload = struct.pack(
        "=BBBBBBBBI",
        socket.AF_INET,
        network.prefixlen,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_STATIC,
        scope,
        RTN_UNICAST,
        flags,
    )
    if network.prefixlen:
        payload += attribute(RTA_DST, network.network_address.packed)
    payload += attribute(RTA_OIF, _U32.pack(index))
    if via:
        payload += attribute(RTA_GATEWAY, socket.inet_aton(via))
    if src:
        payload += attribute(RTA_PREFSRC, socket.inet_aton(src))
    return payload


def new_neighbour(index: int, address: str, mac: str) -> bytes:
    """A permanent neighbour entry on the link ``index``."""
    payload = _neighbour(index, address, NUD_PERMANENT) + attribute(
        NDA_LLADDR, bytes.fromhex(mac.replace(":", ""))
    )
    return _message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, payload)


def set_neighbour_parameters(index: int, reachable: int) -> bytes:
    """How the link ``index`` asks by ARP, and for how many milliseconds on average an answer is believed.
    (The sysctls are not there for who is root in a user namespace alone: net/core/neighbour.c,
    neigh_sysctl_register.)
    """
    parameters = attribute(NDTPA_IFINDEX, _U32.pack(index)) + attribute(
        NDTPA_BASE_REACHABLE_TIME, struct.pack("=Q", reachable)
    )
    for name, value in NEIGHBOUR_DEFAULTS:
        kind, is_time = _NDTPA[name]
        parameters += attribute(kind, struct.pack("=Q" if is_time else "=I", value))
    payload = (
        struct.pack("=BBH", socket.AF_INET, 0, 0)
        + attribute(NDTA_NAME, b"arp_cache\0")
        + attribute(NDTA_PARMS, parameters)
    )
    return _message(RTM_SETNEIGHTBL, 0, payload)


def delete_neighbour(index: int, address: str) -> bytes:
    """Take the neighbour entry of ``address`` from the link ``index``."""
    return _message(RTM_DELNEIGH, 0, _neighbour(index, address, 0))


def _neighbour(index: int, address: str, state: int) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return struct.pack("=BBHiHBB", family, 0, 0, index, state, 0, 0) + attribute(
        NDA_DST, socket.inet_pton(family, address)
    )


class NetlinkSocket:
    """A netlink socket (a route socket unless told otherwise) of the network namespace in which it is made.
    Not shared between threads.
    """

    _CHUNK = 128 << 10  # bytes in one sendmsg; the default send buffer is 208 KiB

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._sequence = 0

    def send(self, messages: Sequence[bytes]) -> list[tuple[int, str]]:
        """Send all ``messages`` and wait until the kernel has done them.

        Returns the failures as (index, error text); "exists already" (EEXIST) is none: to apply twice is to
        apply once. Only the last message of each chunk asks for an acknowledgement: errors come unasked.
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
            data = self._socket.recv(1 << 16)
            offset = 0
            while offset < len(data):
                length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
                if kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", data, offset + _HEADER.size)[0]
                    if code not in (0, errno.EEXIST):
                        failures.append((numbers[sequence], os.strerror(code)))
                    if sequence == self._sequence:
                        return failures
                offset += (length + 3) & ~3

    def close(self) -> None:
        self._socket.close()


def dump_addresses() -> list[tuple[int, str]]:
    """(interface index, IPv4 address) of every address in the calling thread's network namespace."""
    rows: list[tuple[int, str]] = []
    for data in dump(RTM_GETADDR, RTM_NEWADDR, struct.pack("=BBBBI", socket.AF_INET, 0, 0, 0, 0)):
        index = struct.unpack_from("=I", data, 4)[0]
        local = attributes(data, 8).get(IFA_LOCAL)
        if local:
            rows.append((index, socket.inet_ntoa(local)))
    return rows


def dump_idle_links() -> list[int]:
    """Indexes of the links in the calling thread's network namespace that are up, but do not carry packets
    yet.

    A link's carrier reaches its queueing discipline, and the bridge that it is a port of, through linkwatch,
    which a busy kernel lets wait for up to a second (net/core/link_watch.c).
    """
    idle: list[int] = []
    for data in dump(RTM_GETLINK, RTM_NEWLINK, _IFINFO.pack(0, 0, 0, 0, 0, 0)):
        _, _, _, index, flags, _ = _IFINFO.unpack_from(data)
        link = attributes(data, _IFINFO.size)
        carries = link.get(IFLA_OPERSTATE) == IF_OPER_UP and link.get(IFLA_QDISC) != b"noop\0"
        kind = attributes(link.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND, b"")
        if flags & IFF_UP and not carries and kind.rstrip(b"\0") == b"veth":
            idle.append(index)
    return idle


def dump(request: int, answer: int, payload: bytes, protocol: int = socket.NETLINK_ROUTE) -> Iterator[bytes]:
    """The payload of every ``answer`` to a dump ``request``, in the calling thread's network namespace."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as sock:
        sock.bind((0, 0))
        sock.send(
            _HEADER.pack(_HEADER.size + len(payload), request, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + payload
        )
        while True:
            data = sock.recv(1 << 16)
            offset = 0
            while offset < len(data):
                length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", data, offset + _HEADER.size)[0]
                    raise OSError(code, os.strerror(code))
                if kind == answer:
                    yield data[offset + _HEADER.size : offset + length]
                offset += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The netlink attributes in ``data`` from ``offset`` on, by kind."""
    rows: dict[int, bytes] = {}
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        rows[kind & 0x3FFF] = data[offset + 4 : offset + length]  # without NLA_F_NESTED, NLA_F_NET_BYTEORDER
        offset += (length + 3) & ~3
    return rows
