"""Checks limits of this process and machine.

Checks before a run that it fits into the limits whose need is known, and explains every error that a limit
causes (getrlimit(2), cgroups(7), namespaces(7)).
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..errors import Exit, PodwireError

PER_NAMESPACE = (
    2  # descriptors: the namespace and its tap (while the first plan is applied, its netlink socket)
)
_INHERITED = 1  # those of a server process, which is forked before the taps are opened
_PER_NODE = 2  # besides: libnftables' socket, and the one that deletes rules of iptables-nft
_CONNTRACK = 1  # for each node, in the process of the servers
_PER_TOOL = 4  # while rules are loaded: the pipes of a process, and one for its errors before it runs
_LEAST_SOCKETS = 64  # that send at once
_OTHERS = 64  # descriptors of Python, files, pipes and tools
TOO_LONG = os.strerror(errno.EMSGSIZE)  # the tools' message about a netlink message that does not fit
_THREADS = 80  # and processes, at once
_CODE = Path(__file__).resolve().parents[1]


class LimitError(PodwireError):
    """Reports that a limit of this process or machine is too low: its name, and the need if known."""

    exit_code = Exit.MACHINE_LACKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Holds the parts of a cluster that take descriptors: the most of each that exist at once.

    ``changed`` are the namespaces that one step changes; ``listeners`` the sockets on which the servers
    listen, ``proxies`` the sockets of userspace mode's proxies and of their relayed connections,
    ``connections`` those that flows keep open.
    """

    namespaces: int
    nodes: int = 0
    changed: int = 0
    listeners: int = 0
    proxies: int = 0
    connections: int = 0


def descriptors_needed(size: Size) -> int:
    """Returns the largest number of descriptors that one of our processes needs: ours, the servers', or the
    proxies'.
    """
    tools = _PER_TOOL * ((os.cpu_count() or 1) + 1)
    ours = (
        PER_NAMESPACE * size.namespaces
        + _PER_NODE * size.nodes
        + max(size.changed, tools)
        + size.connections
        + 2 * _LEAST_SOCKETS  # as many again for crafted packets
    )
    inherited = _INHERITED * size.namespaces + _PER_NODE * size.nodes
    servers = inherited + _CONNTRACK * size.nodes + size.listeners + size.connections + _LEAST_SOCKETS
    proxies = inherited + size.proxies
    return max(ours, servers, proxies) + _OTHERS


def sockets_at_once(size: Size) -> int:
    """Returns how many sockets may send at once under the hard limit of descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return sys.maxsize
    return _LEAST_SOCKETS + max(0, hard - descriptors_needed(size))


def check_limits(size: Size) -> None:
    """Raises LimitError if a cluster of that size does not fit."""
    need, namespaces = descriptors_needed(size), size.namespaces
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and need > hard:
        raise LimitError(
            f"this cluster of {namespaces} network namespaces needs {need} open files; the hard "
            f"limit is {hard} (RLIMIT_NOFILE): "
            f"raise it (ulimit -Hn {need} as root, LimitNOFILE={need} in a systemd unit), or run fewer Pods"
        )
    allowed = _read_number("/proc/sys/user/max_net_namespaces")
    if allowed is not None and namespaces + 1 > allowed:
        raise LimitError(
            f"this cluster needs {namespaces + 1} network namespaces; user.max_net_namespaces is {allowed}: "
            f"raise it (sudo sysctl -w user.max_net_namespaces={2 * namespaces + 2}), or run fewer Pods"
        )


def explain(error: BaseException) -> PodwireError | None:
    """Returns the message for ``error``; None for errors that only a mistake in podwire can cause."""
    if isinstance(error, PodwireError):
        return error
    if isinstance(error, MemoryError):
        return LimitError(_memory())
    if isinstance(error, ImportError):  # from a shared library
        return _explain_text(str(error))
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return LimitError(_processes("threads"))
    if isinstance(error, OSError):
        return _explain_os(error)
    return None


def _explain_text(text: str) -> PodwireError | None:
    if "Too many open files" in text:
        return LimitError(_descriptors())
    if "failed to map" in text or "annot allocate memory" in text:
        return LimitError(_memory())
    return None


def _explain_os(error: OSError) -> PodwireError:
    match error.errno:
        case errno.EMFILE:
            return LimitError(_descriptors())
        case errno.ENFILE:
            return LimitError(
                f"this machine has no more open files: fs.file-max is {_read_number('/proc/sys/fs/file-max')}"
            )
        case errno.ENOMEM | errno.ENOBUFS:
            return LimitError(_memory())
        case errno.EAGAIN:
            return LimitError(_processes("processes"))
        case errno.ENOSPC if str(error.filename).startswith("unshare"):
            return LimitError(f"no more namespaces can be made: {_namespaces()}")
        case errno.EPERM | errno.EACCES:
            return LimitError(
                f"this machine does not permit what podwire needs: {_told(error)}: podwire doctor "
                "names what is missing"
            )
    return (error.errno is None and _explain_text(str(error))) or LimitError(_told(error))


def too_long(netns: str) -> LimitError:
    """Returns the message about rules of ``netns`` that do not fit into one netlink message (socket(7),
    netlink(7)).

    The limit is the send buffer of a netlink socket. A tool raises it, and only root may (SO_SNDBUFFORCE).
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as sock:
        size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    return LimitError(
        f"the rules of {netns} are too long for one message to the kernel: without root it may have "
        f"{size} bytes "
        f"(net.core.wmem_default): run as root, or raise it (sudo sysctl -w net.core.wmem_default={16 << 20})"
    )


def _told(error: OSError) -> str:
    """Returns the system's error text and its place in podwire, for an error that is not expected there."""
    what = (
        f"{error.strerror}: {error.filename}"
        if error.strerror and error.filename
        else error.strerror or str(error)
    )
    where = _place(error.__traceback__)
    return f"{what} ({where})" if where else what


def _place(trace: TracebackType | None) -> str:
    """Returns the innermost line of ours, as ``emulator/capture/ring.py:69``."""
    place = ""
    while trace:
        path = Path(trace.tb_frame.f_code.co_filename)
        if _CODE in path.parents:
            place = f"{path.relative_to(_CODE.parent)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _descriptors() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"too many open files: the limit is {soft}, its hard limit {hard} (RLIMIT_NOFILE): raise it "
        "(ulimit -n), or run fewer Pods"
    )


def _memory() -> str:
    causes = _met(
        ("RLIMIT_AS", _mebibytes(_soft(resource.RLIMIT_AS)), "ulimit -v"),
        ("RLIMIT_DATA", _mebibytes(_soft(resource.RLIMIT_DATA)), "ulimit -d"),
        ("memory.max", _mebibytes(_cgroup("memory.max")), "of this control group"),
        ("MemAvailable", _mebibytes(_available()), "of this machine"),
    )
    return f"not enough memory: {causes}: raise the limit, or run fewer Pods and Services"


def _processes(what: str) -> str:
    causes = _met(
        ("RLIMIT_NPROC", _soft(resource.RLIMIT_NPROC), "ulimit -u, for all processes of this user"),
        ("pids.max", _cgroup("pids.max"), "of this control group"),
        ("kernel.threads-max", _read_number("/proc/sys/kernel/threads-max"), "of this machine"),
        ("RLIMIT_AS", _mebibytes(_soft(resource.RLIMIT_AS)), "ulimit -v"),
    )
    return f"no more {what} can be started, and podwire needs some {_THREADS}: {causes}: raise the limit"


def _met(*limits: tuple[str, object, str]) -> str:
    return (
        ", ".join(f"{name} is {value} ({where})" for name, value, where in limits if value is not None)
        or "no limit is known"
    )


def _mebibytes(size: int | None) -> str | None:
    return None if size is None else f"{size >> 20} MiB"


def _namespaces() -> str:
    values = {
        kind: _read_number(f"/proc/sys/user/max_{kind}_namespaces") for kind in ("user", "net", "mnt", "pid")
    }
    return ", ".join(
        f"user.max_{kind}_namespaces is {value}" for kind, value in values.items() if value is not None
    )


def _soft(limit: int) -> int | None:
    soft, _ = resource.getrlimit(limit)
    return None if soft == resource.RLIM_INFINITY else soft


def _cgroup(name: str) -> int | None:
    """Returns the lowest limit of our control group and those above it (cgroup v2)."""
    try:
        path = next(
            line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")
        )[3:]
    except (OSError, StopIteration):
        return None
    root = Path("/sys/fs/cgroup")
    groups = [root / path.lstrip("/"), *(root / path.lstrip("/")).parents]
    values = [_read_number(str(group / name)) for group in groups if root in (group, *group.parents)]
    return min((value for value in values if value is not None), default=None)


def _read_number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def _available() -> int | None:
    """Returns how many bytes of memory are free, or can be made free."""
    try:
        rows = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(row.split()[1]) << 10 for row in rows if row.startswith("MemAvailable:")), None)


def is_address_space_limited() -> bool:
    """Returns whether this process may run out of addresses before the machine runs out of memory."""
    return _soft(resource.RLIMIT_AS) is not None or _soft(resource.RLIMIT_DATA) is not None


def use_limits() -> None:
    """Raises this process' limit of open files to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:  # which the kernel does not accept as a soft limit
        hard = _read_number("/proc/sys/fs/nr_open") or os.sysconf("SC_OPEN_MAX")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
