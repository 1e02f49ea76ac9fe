"""Confines the calling process before it becomes a container's command, so that it can change nothing of the
host.

The process has mount, UTS and IPC namespaces of its own, and a PID namespace (:func:`own_pid_namespace`). In
it

- the whole file system is read-only, ``/proc`` and with it every sysctl too; ``/sys`` is the Pod's own,
  without cgroups;
- ``/run``, ``/var``, ``/tmp`` and ``/dev/shm`` are empty, private and writable: no socket of a host's service
  is in reach;
- home directories, ``/mnt`` and ``/media`` are empty; ``/dev`` has a container's own devices, and no
  terminal;
- no capability is left, nor a way to gain one. In the Pod's network namespace every user may bind ports below
  1024, as container runtimes have it.

A program of a node (:class:`NodeProgram`) keeps the rights to the node's network namespace alone.

The user is ``nobody``: root could read every key of the host, and the caller of sudo has keys as well. A
sandbox that was made without root has one user only; the process stays that user, whose files are read-only
or hidden.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import MissingCapabilityError
from . import linux

NOBODY = 65534
WORKING_DIRECTORY = "/tmp"  # noqa: S108 - a private one; where a container names none
_EMPTY = ("/root", "/home", "/mnt", "/media")
_PRIVATE = ("/run", "/var", "/tmp", "/dev/shm")  # noqa: S108
_VAR = ("cache", "lib", "log", "opt", "spool", "tmp")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_PROGRAMS = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/etc",
    "/opt",
    "/dev",
    "/proc",
    "/sys",
)  # never hidden, though a service's user may live there
# RLIMIT_CORE: neither a file nor a program to which the kernel pipes it (core(5)); for 0 it starts the
# program
_NO_DUMP = 1

_MOST_WRITTEN = 64 << 20  # bytes of a file, its output included


PROGRAM = "/run/podwire/program"  # where a program of a node finds itself
NETWORK_RIGHTS = (linux.CAP_NET_ADMIN, linux.CAP_NET_RAW)


class NodeProgram(NamedTuple):
    """Describes a program of a node (kube-proxy) that writes the rules and sysctls of its network namespace,
    and nothing else: it keeps :data:`NETWORK_RIGHTS`. ``program`` is its path, wherever it lies: the process
    finds it as :data:`PROGRAM`. ``links`` are symbolic links in its private directories (path → target).
    """

    program: str
    links: Mapping[str, str]


@contextmanager
def own_pid_namespace() -> Iterator[None]:
    """Makes the first process that is forked in this context PID 1 of a PID namespace of its own, which ends
    with it.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.unshare(linux.CLONE_NEWPID)
        yield
    finally:
        linux.setns(own, linux.CLONE_NEWPID)
        os.close(own)


def contain(
    hostname: str,
    directory: str,
    homes: Sequence[str],
    files: Mapping[str, str] | None = None,
    private: str = "",
    node: NodeProgram | None = None,
) -> None:
    """Confines the calling process. It must be alone in its PID namespace and in the Pod's network namespace;
    ``homes`` are directories to hide, ``files`` are put into its private directories (path → content).
    ``private``: a directory whose subdirectories are those private ones, which others of the same Pod see
    too; "": they are new and empty. ``node``: the process is one of a node, which writes its rules.

    Raises OSError for a refusal of the kernel, MissingCapabilityError for a feature that it lacks.
    """
    user, group = _mapped("uid_map"), _mapped("gid_map")
    kept = NETWORK_RIGHTS if node else ()
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC)
    linux.set_hostname(hostname)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    program = os.open(node.program, os.O_PATH | os.O_CLOEXEC) if node else -1
    if not node:
        _open_ports(group)
    _limit_view(homes, private, network=node is not None)
    if node:
        _place_program(program, node)
    for path, content in (files or {}).items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_text(content)
    # it can be made in a private directory only; elsewhere chdir reports that it is missing
    with suppress(OSError):
        os.makedirs(directory)
    linux.join_new_session_keyring()
    _limit(resource.RLIMIT_CORE, _NO_DUMP)
    _limit(resource.RLIMIT_FSIZE, _MOST_WRITTEN)
    linux.drop_bounding_capabilities(kept)
    if user and group:
        if kept:
            linux.keep_capabilities()
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    linux.drop_capabilities(kept)
    linux.set_no_new_privileges()
    linux.die_with_parent(signal.SIGKILL)  # new credentials would have cleared it
    os.chdir(directory)


def _place_program(program: int, node: NodeProgram) -> None:
    """Shows the file behind the descriptor ``program`` as :data:`PROGRAM`, and makes the links."""
    os.makedirs(os.path.dirname(PROGRAM), exist_ok=True)
    os.close(os.open(PROGRAM, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o755))
    linux.mount(f"/proc/self/fd/{program}", PROGRAM, None, linux.MS_BIND)
    os.close(program)
    linux.make_read_only(PROGRAM)
    for path, target in node.links.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)


def hidden_homes(homes: Sequence[str]) -> tuple[str, ...]:
    """Returns those of ``homes`` that can be hidden: not the root directory, and none that holds or lies
    among programs and configuration.
    """
    return tuple(
        home
        for home in dict.fromkeys(homes)
        if home.startswith("/") and not any(_overlap(home, place) for place in _PROGRAMS)
    )


def _overlap(one: str, other: str) -> bool:
    return os.path.commonpath((one, other)) in (one.rstrip("/") or "/", other)


def _mapped(table: str) -> int:
    """Returns ``nobody`` if this user namespace has it in ``table`` (uid_map or gid_map), else 0."""
    rows = [
        [int(word) for word in line.split()] for line in Path(f"/proc/self/{table}").read_text().splitlines()
    ]
    return NOBODY if any(first <= NOBODY < first + count for first, _, count in rows) else 0


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (value, value))


def _open_ports(group: int) -> None:
    """Lets every user of this network namespace bind every port, and ping, as container runtimes do in a
    Pod's.
    """
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    with suppress(OSError):
        Path("/proc/sys/net/ipv4/ping_group_range").write_text(f"{group} {group}")


def _limit_view(homes: Sequence[str], private: str, *, network: bool = False) -> None:
    """Makes the file system what the module says. ``network``: the sysctls of the network namespace can be
    written.
    """
    kept = _open_private(private) if private else {}
    linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    sysctls = os.open("/proc/sys/net", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if network else -1
    try:
        linux.mount("sysfs", "/sys", "sysfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    except OSError:  # in a container that masks parts of its own
        _mount_empty("/sys", "0555")
    for path in dict.fromkeys(os.path.realpath(path) for path in (*_EMPTY, *homes)):
        if os.path.isdir(path):
            _mount_empty(path, "0555")
    _make_devices()
    try:
        linux.make_read_only("/")
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        raise MissingCapabilityError(
            "mount_setattr, which --run needs", "Linux 5.12 or later has it"
        ) from None
    if network:
        _mount_kept(sysctls, "/proc/sys/net")
        os.close(sysctls)
    for path in dict.fromkeys(os.path.realpath(path) for path in _PRIVATE):
        if path in kept:
            _mount_kept(kept[path], path)
        elif os.path.isdir(path):
            _mount_empty(path, "1777")
    for fd in kept.values():
        os.close(fd)
    with suppress(FileNotFoundError, FileExistsError):  # without /var, or another of the Pod has been here
        for name in _VAR:
            os.mkdir(f"/var/{name}")
            os.chmod(f"/var/{name}", 0o1777)  # noqa: S103 - as /tmp
        os.symlink("/run", "/var/run")


def _open_private(private: str) -> dict[str, int]:
    """Returns a descriptor of the directory that is to be each of the private ones, by path. They are opened
    before anything is mounted over them.
    """
    kept = {}
    for path in dict.fromkeys(os.path.realpath(path) for path in _PRIVATE):
        place = f"{private}/{path.strip('/').replace('/', '-')}"
        if os.path.isdir(path):
            os.makedirs(place, exist_ok=True)
            os.chmod(place, 0o1777)  # noqa: S103 - as /tmp
            kept[path] = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return kept


def _mount_kept(fd: int, path: str) -> None:
    """Mounts the directory ``fd`` at ``path``, writable: what it lies on has become read-only."""
    linux.mount(f"/proc/self/fd/{fd}", path, None, linux.MS_BIND)
    flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("podwire", path, None, flags)


def _mount_empty(path: str, mode: str) -> None:
    linux.mount("podwire", path, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, f"mode={mode},size=64m")


def _make_devices() -> None:
    """Replaces the host's ``/dev`` by one with a container's own devices."""
    devices = {
        name: os.open(f"/dev/{name}", os.O_PATH | os.O_CLOEXEC)
        for name in _DEVICES
        if os.path.exists(f"/dev/{name}")
    }
    linux.mount("podwire", "/dev", "tmpfs", linux.MS_NOSUID, "mode=0755,size=64k")
    for name, device in devices.items():
        os.close(os.open(f"/dev/{name}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        linux.mount(f"/proc/self/fd/{device}", f"/dev/{name}", None, linux.MS_BIND)
        os.close(device)
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/shm")  # noqa: S108
