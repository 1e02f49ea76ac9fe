"""Finds running clusters, and the user's names for the network namespaces in them
(:mod:`emulator.run.naming`).

A running sandbox listens on an abstract Unix socket ``podwire/<uid>/<pid>/<random>`` of the host's network
namespace, and describes itself to processes of its own uid (:mod:`emulator.kernel.sandbox`).
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import UsageError, printable
from ..kernel.sandbox import ADDRESS_PREFIX
from ..net import Address
from .naming import Member, check_container, resolve

_START = "start one with podwire up or --keep"
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Describes one running cluster.

    ``init`` is the pid of its PID 1 here. ``names`` maps a user's name for a Pod, node or client to its
    network namespace. ``nodes``, ``pods`` and ``services`` are counts. ``stays``: it was started with
    ``--keep``. ``members`` are its Pods; ``addresses`` maps each address to its name in captures. A cluster
    of another ``release`` may lack some of them: then they are 0, empty and None, and ``stays`` is true. All
    text is printable.
    """

    pid: int
    init: int
    topology: str
    started: str
    nodes: int | None
    pods: int | None
    services: int | None
    names: Mapping[str, str]
    release: str
    stays: bool = True
    members: tuple[Member, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    kubeconfig: str = ""  # where its kubeconfig lies; "": it has no API, or is not ready
    control: str = ""  # the name of the socket at which it is asked (:mod:`.control`); "": it is not ready

    @property
    def note(self) -> str:
        """Returns that another release of podwire runs it, or that it ends by itself; "" if neither."""
        notes = []
        if self.release != __version__:
            notes.append(f"another release ({self.release or 'unnamed'})")
        if not self.stays:
            notes.append("ends by itself")
        return ", ".join(notes)

    def __str__(self) -> str:
        return f"{self.pid} ({self.topology or '?'})"


def find_running() -> list[Running]:
    """Returns every cluster that runs under this uid, oldest first."""
    found = []
    for path in sorted(_listeners() | _listeners()):
        _, _, pid, _ = path.split("/", 3)
        info = _ask("\0" + path[1:])
        if info and "topology" in info:  # without it, it is not built yet
            found.append(read_announcement(int(pid), info))
    return sorted(found, key=lambda running: running.started)


def read_announcement(pid: int, info: Mapping[str, object]) -> Running:
    """Returns the cluster that ``info`` describes. It may come from another release: each field is
    checked.
    """
    names = info.get("names")
    init = _count(info.get("init"))
    return Running(
        pid=pid,
        init=init if init and init > 1 else 0,
        topology=_text(info.get("topology")),
        started=_text(info.get("started")),
        nodes=_count(info.get("nodes")),
        pods=_count(info.get("pods")),
        services=_count(info.get("services")),
        names={name: netns for name, netns in names.items() if _is_entry(name, netns)}
        if isinstance(names, dict)
        else {},
        release=_text(info.get("release")),
        stays=info.get("stays") is not False,
        members=tuple(_members(info.get("members"))),
        addresses={ip: printable(name) for ip, name in _pairs(info.get("addresses")) if _is_address(ip)},
        kubeconfig=_text(info.get("kubeconfig")),
        control=_text(info.get("control")),
    )


def _members(values: object) -> Iterator[Member]:
    """Yields the Pods that are announced well."""
    for value in values if isinstance(values, list) else ():
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            addresses, containers = value.get("addresses"), value.get("containers")
            yield Member(
                name=_text(value["name"]),
                node=_text(value.get("node")),
                addresses=tuple(map(_text, addresses)) if isinstance(addresses, list) else (),
                controller=_text(value.get("controller")),
                ready=value.get("ready") is not False,
                containers=tuple(map(_text, containers)) if isinstance(containers, list) else (),
            )


def _is_address(text: str) -> bool:
    try:
        Address(text)
    except ValueError:
        return False
    return True


def _pairs(values: object) -> Iterator[tuple[str, str]]:
    for key, value in values.items() if isinstance(values, dict) else ():
        if isinstance(key, str) and isinstance(value, str):
            yield key, value


def _text(value: object) -> str:
    return printable(value) if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _is_entry(name: object, netns: object) -> bool:
    """Returns whether ``netns`` is a plain file name, and ``name`` one that can be typed."""
    return (
        isinstance(name, str)
        and name.isprintable()
        and isinstance(netns, str)
        and bool(_FILE_NAME.fullmatch(netns))
    )


def _listeners() -> set[str]:
    """Returns our own sandboxes' addresses. The kernel writes this file a page at a time, and may skip one
    while others' sockets come and go, so it is read twice.
    """
    paths = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    return {path for path in paths if re.fullmatch(rf"@{ADDRESS_PREFIX}{os.geteuid()}/\d+/\w+", path)}


def _ask(address: str) -> dict[str, Any] | None:
    """Returns the listener's description of itself; None when it is gone, or belongs to another user (any
    user may bind any abstract name).
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1)
        try:
            sock.connect(address)
            _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid != os.geteuid():
                return None
            data = b""
            while chunk := sock.recv(1 << 16):
                data += chunk
            info = json.loads(data)
        except (OSError, ValueError, RecursionError):
            return None
    return info if isinstance(info, dict) else None


def choose(name: str, cluster: str, namespace: str = "", container: str = "") -> tuple[Running, str]:
    """Returns the running cluster to enter, and the network namespace of ``name`` there: a Pod, node or
    client, or ``deploy/web`` as kubectl has it. ``namespace`` is that of the Pod (``-n``), ``container`` one
    that it must have (``-c``).

    Raises UsageError with the running clusters, or with the names that come near.
    """
    chosen = choose_cluster(cluster)
    netns = chosen.names[resolve(name, chosen.names, chosen.members, chosen.topology, namespace)]
    if container:
        member = next((one for one in chosen.members if chosen.names.get(one.name) == netns), None)
        check_container(container, name, member)
    return chosen, netns


def choose_cluster(cluster: str) -> Running:
    """Returns the running cluster that is meant.

    ``cluster`` is its topology's name or its pid. Among several with one name, those that stay up count. If
    it is "", the only cluster that stays up is taken: one that ends by itself would end the command with it,
    and is entered by name or pid alone. Raises UsageError with the running clusters.
    """
    running = find_running()
    if cluster:
        running = [r for r in running if cluster in (r.topology, str(r.pid))]
    staying = [r for r in running if r.stays]
    if cluster and not staying:
        staying = running
    if not staying:
        raise UsageError(_nothing_to_enter(cluster, running))
    if len(staying) > 1:
        raise UsageError(f"several clusters are running: {_listed(staying)}: say which with --cluster PID")
    (chosen,) = staying
    if not chosen.init or not chosen.names:
        raise UsageError(f"cluster {chosen} is of {chosen.note}: enter it with that one")
    return chosen


def _nothing_to_enter(cluster: str, running: Sequence[Running]) -> str:
    """Returns the message that no cluster stays up; ``running`` are those that end by themselves."""
    if cluster:
        return f"no cluster is running as {cluster!r}: {_START} (podwire ps lists them)"
    if not running:
        return f"no cluster is running: {_START} (podwire ps lists them)"
    end = "ends by itself" if len(running) == 1 else "end by themselves"
    return f"no cluster stays up, and {_listed(running)} {end}: {_START}, or say --cluster " + (
        str(running[0].pid) if len(running) == 1 else "PID"
    )


def _listed(running: Sequence[Running], most: int = 5) -> str:
    """Returns the clusters, with their start times where names are equal, which do not tell them apart."""
    more = f" and {len(running) - most} more" if len(running) > most else ""
    alike = len({one.topology for one in running}) < len(running)
    shown = (
        f"{one.pid} ({one.topology or '?'}, started {one.started or '?'})" if alike else str(one)
        for one in running[:most]
    )
    return ", ".join(shown) + more
