"""Ask a node's connection tracking what a client had dialled, and list its table.

One ctnetlink GET by the reply tuple finds a connection in constant time (linux/netfilter/nfnetlink_conntrack.h). Only the server of
echo answers needs it, so it is encoded here; listing goes through the conntrack(8) tool where evidence is collected.
"""

from __future__ import annotations

import socket
import struct

from emulator.kernel.netlink import attribute, attributes

NETLINK_NETFILTER = 12
NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET = 1, 1
NLM_F_REQUEST = 1
NLA_F_NESTED = 0x8000
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY = 1, 2
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_IP_V4_SRC, CTA_IP_V4_DST = 1, 2
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3

Address = tuple[str, int]


def _tuple(kind: int, protocol: int, src: Address, dst: Address) -> bytes:
    ip = attribute(CTA_IP_V4_SRC, socket.inet_aton(src[0])) + attribute(CTA_IP_V4_DST, socket.inet_aton(dst[0]))
    proto = (
        attribute(CTA_PROTO_NUM, bytes([protocol]))
        + attribute(CTA_PROTO_SRC_PORT, struct.pack("!H", src[1]))
        + attribute(CTA_PROTO_DST_PORT, struct.pack("!H", dst[1]))
    )
    return attribute(kind | NLA_F_NESTED, attribute(CTA_TUPLE_IP | NLA_F_NESTED, ip) + attribute(CTA_TUPLE_PROTO | NLA_F_NESTED, proto))


class Conntrack:
    """A ctnetlink socket of the network namespace in which it is made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._socket.settimeout(1)
        self._sequence = 0

    def original(self, protocol: int, src: Address, dst: Address) -> tuple[Address, Address] | None:
        """(source, destination) as the client sent them, of the connection whose replies go from ``src`` to ``dst``; None if unknown."""
        self._sequence += 1
        payload = struct.pack("!BBH", socket.AF_INET, 0, 0) + _tuple(CTA_TUPLE_REPLY, protocol, src, dst)
        kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET
        self._socket.send(struct.pack("=IHHII", 16 + len(payload), kind, NLM_F_REQUEST, self._sequence, 0) + payload)
        while True:
            data = self._socket.recv(8192)
            length, answer, _, sequence, _ = struct.unpack_from("=IHHII", data)
            if sequence == self._sequence:
                break
        if answer >> 8 != NFNL_SUBSYS_CTNETLINK:
            return None  # NLMSG_ERROR: ENOENT
        row = attributes(attributes(data[20:length])[CTA_TUPLE_ORIG])
        ip, proto = attributes(row[CTA_TUPLE_IP]), attributes(row[CTA_TUPLE_PROTO])
        ports = [struct.unpack("!H", proto[k])[0] if k in proto else 0 for k in (CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT)]
        return (socket.inet_ntoa(ip[CTA_IP_V4_SRC]), ports[0]), (socket.inet_ntoa(ip[CTA_IP_V4_DST]), ports[1])
