"""A plan as a bash script that builds the same network with ``ip``, ``sysctl`` and ``iptables-restore`` (or
``nft``) alone; in ipvs mode with ``ipset`` and ``ipvsadm``, too.

Pure; imports the plan's values and ``emulator.errors``. Invariant: every value is checked and quoted, so that
no name in a manifest can become a command or an option; each step is preceded by its reason.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from functools import singledispatch
from itertools import groupby

from emulator.errors import printable
from emulator.plan.ipvs import edits, ipvsadm_text, ipvsadm_words, timeout_words
from emulator.plan.operations import (
    AddAddress,
    AddBridge,
    AddDummy,
    AddNeighbour,
    AddNetns,
    AddRoute,
    AddVeth,
    DelAddress,
    DelConnections,
    DelLink,
    DelNeighbour,
    DelNetns,
    DelRoute,
    LoadIpset,
    LoadIpvs,
    LoadRules,
    Operation,
    Plan,
    ResetDevices,
    SetNeighbourDefaults,
    SetSysctl,
)
from emulator.plan.rules import UnsafeTextError
from emulator.plan.sysctls import DEVICE_DEFAULTS, NEIGHBOUR_DEFAULTS, SCOPES

DELIMITER = "PODWIRE_EOF"
IPSET = ("ipset", "-exist", "restore")
LOADERS = {"iptables-restore": ("iptables-restore", "--noflush"), "nft": ("nft", "-f", "-")}

# network namespaces and devices: never an option, never a way into a directory
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]*")  # addresses, prefixes, MACs, sysctl keys

_HEADER = """\
#!/usr/bin/env bash
# {title}
# Written by podwire: builds the network with {tools} alone.
#
# It makes network namespaces and nothing outside them. To keep their names off this machine too, run it in a sandbox
# of its own, as root, and look around in the shell that follows (ip netns list; ip netns exec NAME ...):
#
#   unshare --net --mount sh -c 'mount -t tmpfs tmpfs /run && bash script.sh && exec bash'
set -euo pipefail
"""


# The module makes the sysctls of IPVS; who builds a network in a user namespace has to have it loaded before.
_IPVS_HEADER = """\
# ipvs mode: the one thing that concerns this machine, its kernel's IPVS
[[ -e /proc/net/ip_vs ]] || modprobe ip_vs
"""


def render_shell(plan: Plan, *, title: str, changes: Iterable[tuple[str, Plan]] = ()) -> str:
    """The script. ``title`` is its first comment. Operations that follow each other for the same reason share
    one comment. Each of ``changes``, (title, plan), comes after what it changes.

    Raises ``UnsafeTextError`` for a value that could be read as an option, and for rule text that holds the
    here-document's delimiter as a line.
    """
    tools, more = "ip, bridge, sysctl, iptables-restore and nft", []
    if any(isinstance(op, LoadIpvs) for op in plan.operations):
        tools, more = "ip, bridge, sysctl, iptables-restore, ipset and ipvsadm", [_IPVS_HEADER]
    lines = [_HEADER.format(title=printable(title), tools=tools), *more, *_operations(plan)]
    for heading, change in changes:
        lines += [f"# {'-' * 100}", f"# {printable(heading)}", "", *_operations(change)]
    return "\n".join(lines)


def _operations(plan: Plan) -> Iterator[str]:
    for why, operations in groupby(plan.operations, key=lambda op: op.why):
        yield f"# {printable(why)}"
        for operation in operations:
            yield from _commands(operation)
        yield ""


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise UnsafeTextError("name", text)
    return shlex.quote(text)


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise UnsafeTextError("word of a command", text)
    return shlex.quote(text)


def _ip(netns: str, *words: str) -> str:
    """``ip`` in ``netns``; ``words`` are ready for the shell."""
    return " ".join(("ip -n", _name(netns), *words))


def shell_commands(operation: Operation) -> str:
    """The lines of one operation: what a person would type for it."""
    return "\n".join(_commands(operation))


@singledispatch
def _commands(operation: Operation) -> Iterator[str]:
    raise TypeError(f"no shell form for {operation!r}")


@_commands.register
def _(op: AddNetns) -> Iterator[str]:
    yield f"ip netns add {_name(op.netns)}"
    yield _ip(op.netns, "link set dev lo up")


@_commands.register
def _(op: ResetDevices) -> Iterator[str]:
    scopes = ",".join(SCOPES)
    words = " ".join(
        f"net.ipv4.conf.{{{scopes}}}.{{{','.join(keys)}}}={value}" for value, keys in DEVICE_DEFAULTS
    )
    yield f"ip netns exec {_name(op.netns)} sysctl -eqw {words}"  # -e: not every kernel has every key


@_commands.register
def _(op: SetSysctl) -> Iterator[str]:
    command = f"ip netns exec {_name(op.netns)} sysctl -qw {_word(op.key)}={shlex.quote(op.value)}"
    yield f"{command} 2>/dev/null || true" if op.optional else command


@_commands.register
def _(op: AddBridge) -> Iterator[str]:
    yield _ip(op.netns, f"link add name {_name(op.name)} address {_word(op.mac)} type bridge")
    yield _ip(op.netns, f"link set dev {_name(op.name)} up")


@_commands.register
def _(op: AddDummy) -> Iterator[str]:
    yield _ip(op.netns, f"link add name {_name(op.name)} type dummy")


@_commands.register
def _(op: AddVeth) -> Iterator[str]:
    peer = f"peer name {_name(op.peer)} address {_word(op.peer_mac)} netns {_name(op.peer_netns)}"
    yield _ip(op.netns, f"link add name {_name(op.name)} address {_word(op.mac)} type veth {peer}")
    ends = (
        (op.netns, op.name, op.bridge, op.hairpin, op.peer_mac),
        (op.peer_netns, op.peer, op.peer_bridge, op.peer_hairpin, op.mac),
    )
    for netns, name, bridge, hairpin, other in ends:
        dev = f"link set dev {_name(name)}"
        if bridge:
            yield _ip(netns, f"{dev} master {_name(bridge)}")
            yield f"bridge -n {_name(netns)} fdb replace {_word(other)} dev {_name(name)} master static"
        if hairpin:
            yield _ip(netns, f"{dev} type bridge_slave hairpin on")
        yield _ip(netns, f"{dev} up")


@_commands.register
def _(op: AddAddress) -> Iterator[str]:
    yield _ip(op.netns, f"address add {_word(op.address)} dev {_name(op.dev)}")


@_commands.register
def _(op: AddRoute) -> Iterator[str]:
    words = [f"route add {_word(op.dst)}"]
    words += [f"via {_word(op.via)}"] if op.via else []
    words += [f"dev {_name(op.dev)}"]
    words += [f"src {_word(op.src)}"] if op.src else []
    words += ["onlink"] if op.onlink else []
    words += [] if op.via else ["scope link"]
    yield _ip(op.netns, *words)


@_commands.register
def _(op: AddNeighbour) -> Iterator[str]:
    yield _ip(
        op.netns,
        f"neighbour replace {_word(op.address)} lladdr {_word(op.mac)} dev {_name(op.dev)} nud permanent",
    )


@_commands.register
def _(op: SetNeighbourDefaults) -> Iterator[str]:
    words = " ".join(
        f"{name} {value:d}" for name, value in (("base_reachable", op.reachable), *NEIGHBOUR_DEFAULTS)
    )
    yield _ip(op.netns, f"ntable change name arp_cache dev {_name(op.dev)} {words}")


@_commands.register
def _(op: LoadRules) -> Iterator[str]:
    yield from _fed(op.netns, LOADERS[op.tool], op.text)


@_commands.register
def _(op: LoadIpset) -> Iterator[str]:
    yield from _fed(op.netns, IPSET, op.text)


@_commands.register
def _(op: LoadIpvs) -> Iterator[str]:
    ipvsadm = f"ip netns exec {_name(op.netns)} ipvsadm"
    if any(op.timeouts):
        yield f"{ipvsadm} {timeout_words(op.timeouts)}"
    if op.was is None:
        yield f"{ipvsadm} -C"
        yield from _fed(op.netns, ("ipvsadm", "-R"), ipvsadm_text(op.servers))
        return
    for edit in edits(op.was, op.servers):
        command = f"{ipvsadm} {ipvsadm_words(edit)}"
        # it may be there, with weight 0
        yield f"{command} 2>/dev/null || true" if edit.verb == "add real" else command


def _fed(netns: str, command: Sequence[str], text: str) -> Iterator[str]:
    """``command`` with ``text`` on its standard input."""
    if DELIMITER in text.splitlines() or "\0" in text:
        raise UnsafeTextError("here-document", text)
    yield f"ip netns exec {_name(netns)} {shlex.join(command)} <<'{DELIMITER}'"
    yield text.rstrip("\n")
    yield DELIMITER


@_commands.register
def _(op: DelNetns) -> Iterator[str]:
    yield f"ip netns delete {_name(op.netns)}"


@_commands.register
def _(op: DelLink) -> Iterator[str]:
    yield _ip(op.netns, f"link delete dev {_name(op.name)}")


@_commands.register
def _(op: DelAddress) -> Iterator[str]:
    yield _ip(op.netns, f"address delete {_word(op.address)} dev {_name(op.dev)}")


@_commands.register
def _(op: DelRoute) -> Iterator[str]:
    words = [f"route delete {_word(op.dst)}"]
    words += [f"via {_word(op.via)}"] if op.via else []
    words += [f"dev {_name(op.dev)}"]
    words += [] if op.via else ["scope link"]
    yield _ip(op.netns, *words)


@_commands.register
def _(op: DelNeighbour) -> Iterator[str]:
    yield _ip(op.netns, f"neighbour delete {_word(op.address)} dev {_name(op.dev)}")


@_commands.register
def _(op: DelConnections) -> Iterator[str]:
    (ip, port), (server, server_port) = (_word(end).split(":") for end in (op.dialled, op.server))
    dialled = f"--orig-dst {ip} --orig-port-dst {port}"
    answered = f"--reply-src {server} --reply-port-src {server_port}"
    command = f"conntrack -D -p {_word(op.protocol.lower())} {dialled} {answered}"
    yield f"ip netns exec {_name(op.netns)} {command} >/dev/null 2>&1 || true"
