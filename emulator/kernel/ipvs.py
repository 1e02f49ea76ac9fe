"""The kernel's IPVS by generic netlink: everything away, then each virtual server with its real ones (linux/ip_vs.h)."""

from __future__ import annotations

import shutil
import socket
import struct
from collections.abc import Iterator, Sequence

from emulator.errors import MissingCapabilityError
from emulator.kernel.generic_netlink import NETLINK_GENERIC, find_family
from emulator.kernel.netlink import NLM_F_REQUEST, NetlinkSocket, attribute
from emulator.plan.ipvs import RealServer, VirtualServer
from emulator.probe.model import PROTOCOL_NUMBER

FAMILY, VERSION = "IPVS", 1
CMD_NEW_SERVICE, CMD_NEW_DEST, CMD_FLUSH = 1, 5, 17
ATTR_SERVICE, ATTR_DEST = 1, 2
SVC_AF, SVC_PROTOCOL, SVC_ADDR, SVC_PORT, SVC_SCHED_NAME, SVC_FLAGS, SVC_TIMEOUT, SVC_NETMASK = 1, 2, 3, 4, 6, 7, 8, 9
DEST_ADDR, DEST_PORT, DEST_FWD_METHOD, DEST_WEIGHT, DEST_U_THRESH, DEST_L_THRESH, DEST_ADDR_FAMILY = 1, 2, 3, 4, 5, 6, 11
SVC_F_PERSISTENT, CONN_F_MASQ = 1, 0
NLA_F_NESTED = 0x8000

_HEADER = struct.Struct("=IHHIIBBH")  # struct nlmsghdr, struct genlmsghdr
_U16, _U32 = struct.Struct("=H"), struct.Struct("=I")


def require_ipvs() -> None:
    """Load the kernel's IPVS, whose sysctls are there from then on. Raises MissingCapabilityError where it, or the tool ipset, is not."""
    if find_family(FAMILY) is None:
        remedy = "kube-proxy's ipvs mode is the kernel's IPVS (modprobe ip_vs, as root), or run it where that is: scripts/uml COMMAND"
        raise MissingCapabilityError("ip_vs in its kernel", remedy)
    if not shutil.which("ipset"):
        raise MissingCapabilityError("the tool ipset", "apt-get install ipset")


def load_servers(servers: Sequence[VirtualServer]) -> str:
    """Make the IPVS of the calling thread's network namespace hold exactly ``servers``; the kernel's refusal, "" if there is none."""
    family = find_family(FAMILY)
    if family is None:
        return "no netlink family IPVS"
    messages = [_message(family, CMD_FLUSH)]
    for server in servers:
        service = _service(server)
        messages.append(_message(family, CMD_NEW_SERVICE, attribute(ATTR_SERVICE | NLA_F_NESTED, service + _settings(server))))
        key = attribute(ATTR_SERVICE | NLA_F_NESTED, service)
        messages += [_message(family, CMD_NEW_DEST, key + attribute(ATTR_DEST | NLA_F_NESTED, _destination(r))) for r in server.servers]
    netlink = NetlinkSocket(NETLINK_GENERIC)
    try:
        failures = netlink.send(messages)
    finally:
        netlink.close()
    return f"IPVS: {failures[0][1]}: {list(_names(servers))[failures[0][0]]}" if failures else ""


def _names(servers: Sequence[VirtualServer]) -> Iterator[str]:
    """What each message is about."""
    yield "flush"
    for server in servers:
        yield f"{server.protocol} {server.ip}:{server.port}"
        for real in server.servers:
            yield f"{server.protocol} {server.ip}:{server.port} to {real.ip}:{real.port}"


def _message(family: int, command: int, payload: bytes = b"") -> bytes:
    return _HEADER.pack(_HEADER.size + len(payload), family, NLM_F_REQUEST, 0, 0, command, VERSION, 0) + payload


def _ip(text: str) -> bytes:
    """union nf_inet_addr"""
    return socket.inet_aton(text) + bytes(12)


def _service(server: VirtualServer) -> bytes:
    """What tells a virtual server from others."""
    return (
        attribute(SVC_AF, _U16.pack(socket.AF_INET))
        + attribute(SVC_PROTOCOL, _U16.pack(PROTOCOL_NUMBER[server.protocol]))
        + attribute(SVC_ADDR, _ip(server.ip))
        + attribute(SVC_PORT, struct.pack("!H", server.port))
    )


def _settings(server: VirtualServer) -> bytes:
    flags = SVC_F_PERSISTENT if server.persistence else 0
    return (
        attribute(SVC_SCHED_NAME, server.scheduler.encode() + b"\0")
        + attribute(SVC_FLAGS, struct.pack("=II", flags, 0xFFFFFFFF))
        + attribute(SVC_TIMEOUT, _U32.pack(server.persistence))
        + attribute(SVC_NETMASK, b"\xff\xff\xff\xff")
    )


def _destination(real: RealServer) -> bytes:
    return (
        attribute(DEST_ADDR_FAMILY, _U16.pack(socket.AF_INET))
        + attribute(DEST_ADDR, _ip(real.ip))
        + attribute(DEST_PORT, struct.pack("!H", real.port))
        + attribute(DEST_FWD_METHOD, _U32.pack(CONN_F_MASQ))
        + attribute(DEST_WEIGHT, _U32.pack(1))
        + attribute(DEST_U_THRESH, _U32.pack(0))
        + attribute(DEST_L_THRESH, _U32.pack(0))
    )
