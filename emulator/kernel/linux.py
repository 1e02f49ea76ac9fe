"""Wraps the few system calls that Python's standard library lacks (3.10 has no ``unshare``, ``setns``,
``mount``).

Constants are those of the kernel's uapi headers (linux/sched.h, linux/mount.h, linux/prctl.h).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Collection

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MS_REMOUNT = 0x20
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 47, 2, 4
PR_SET_KEEPCAPS = 8
CAP_NET_ADMIN, CAP_NET_RAW = 12, 13

_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64  # more than any kernel has
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
# the same numbers on every architecture but Alpha
_MOUNT_SETATTR, _FSOPEN, _FSCONFIG, _FSMOUNT = 442, 430, 431, 432
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC, _FSCONFIG_CMD_CREATE = 1, 1, 6
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID = 1, 2
# numbers of the system call
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}
_KEYCTL_JOIN_SESSION_KEYRING = 1

PROT_READ, PROT_WRITE, MAP_SHARED = 1, 2, 1
_MAP_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_ssize_t,
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags: int) -> None:
    """Leaves the namespaces named by ``flags`` (CLONE_NEW*) for new ones."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, kind: int = 0) -> None:
    """Moves the calling thread into the namespace behind ``fd``."""
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, fstype: str | None, flags: int, data: str | None = None) -> None:
    _check(
        _libc.mount(
            source.encode(),
            target.encode(),
            fstype.encode() if fstype else None,
            flags,
            data.encode() if data else None,
        ),
        f"mount {target}",
    )


def unmount(target: str) -> None:
    """Detaches the mount from ``target`` at once; processes that have it open may go on."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def die_with_parent(signal: int) -> None:
    """Makes the kernel send ``signal`` to this process when its parent ends (cleared by the kernel on a
    change of credentials).
    """
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def collect_orphans() -> None:
    """Makes this process the parent of every descendant that loses its own (Linux 3.4)."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


def set_hostname(name: str) -> None:
    """Sets the host name of the calling process' UTS namespace (64 bytes at the most)."""
    raw = name.encode()[:64]
    _check(_libc.sethostname(raw, len(raw)), "sethostname")


def make_read_only(path: str) -> None:
    """Makes every mount at ``path`` and below read-only, with set-user-ID bits ignored, in this mount
    namespace (Linux 5.12).
    """
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID)
    number, size = ctypes.c_long(_MOUNT_SETATTR), ctypes.c_size_t(ctypes.sizeof(attributes))
    result = _libc.syscall(number, _AT_FDCWD, path.encode(), ctypes.c_uint(_AT_RECURSIVE), attributes, size)
    _check(result, f"mount_setattr {path}")


def open_proc() -> int:
    """Returns a descriptor of a new procfs of this PID namespace, which is mounted nowhere and ends with it
    (Linux 5.8; before that all share one). Raises OSError.
    """
    context = _call("fsopen", _FSOPEN, b"proc", ctypes.c_uint(_FSOPEN_CLOEXEC))
    try:
        _call("fsconfig", _FSCONFIG, context, ctypes.c_uint(_FSCONFIG_CMD_CREATE), None, None, 0)
        flags = ctypes.c_uint(MS_NOSUID | MS_NODEV | MS_NOEXEC)  # MOUNT_ATTR_* have the same values
        return _call("fsmount", _FSMOUNT, context, ctypes.c_uint(_FSMOUNT_CLOEXEC), flags)
    finally:
        os.close(context)


def _call(what: str, number: int, *arguments: object) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        _check(result, what)
    return result


def drop_bounding_capabilities(but: Collection[int] = ()) -> None:
    """Drops every capability from the bounding set, for all programs that this process will become; ``but``:
    those that stay.
    """
    for capability in (number for number in range(_CAPABILITIES) if number not in but):
        if _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            if ctypes.get_errno() == errno.EINVAL:
                return  # this kernel has no more
            _check(-1, "prctl(PR_CAPBSET_DROP)")


def drop_capabilities(but: Collection[int] = ()) -> None:
    """Drops every capability of this process, inheritable ones too (capset(2)); ``but``: those that stay, for
    all programs that it will become, too (capabilities(7), ambient set). Each is below 32.
    """
    _check(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl(PR_CAP_AMBIENT)")
    kept = sum(1 << capability for capability in but)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, kept)), "capset")
    for capability in but:
        result = _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)
        _check(result, "prctl(PR_CAP_AMBIENT_RAISE)")


def keep_capabilities() -> None:
    """Lets this process keep its permitted capabilities when it becomes another user (prctl(2))."""
    _check(_libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl(PR_SET_KEEPCAPS)")


def set_no_new_privileges() -> None:
    """Makes the kernel ignore set-user-ID bits and file capabilities for ever, here and in all children."""
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def join_new_session_keyring() -> None:
    """Leaves the caller's session keyring for an empty one: a process that inherits it may read its keys
    (keyrings(7)).
    """
    number = _KEYCTL.get(platform.machine())
    if (
        number is None
        or _libc.syscall(ctypes.c_long(number), ctypes.c_long(_KEYCTL_JOIN_SESSION_KEYRING), None) >= 0
    ):
        return
    # no keys in this kernel, or a filter that forbids the whole call
    if ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):
        _check(-1, "keyctl(KEYCTL_JOIN_SESSION_KEYRING)")


def setsockopt(fd: int, level: int, option: int, value: bytes) -> None:
    """Calls ``socket.setsockopt`` but lets other threads run: some packet(7) options wait for an RCU grace
    period.
    """
    _check(_libc.setsockopt(fd, level, option, value, len(value)), f"setsockopt({level}, {option})")


def map_shared(fd: int, size: int) -> memoryview:
    """Returns ``size`` bytes of ``fd``, mapped for reading and writing. (``mmap.mmap`` keeps a second
    descriptor of ``fd`` open before Python 3.13.) :func:`unmap` unmaps them.
    """
    address = _libc.mmap(None, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    if address == _MAP_FAILED:
        _check(-1, "mmap")
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")


def unmap(mapping: memoryview) -> None:
    """Unmaps the result of :func:`map_shared`, which must not be used afterwards."""
    address, size = ctypes.addressof(mapping.obj), len(mapping)  # type: ignore[arg-type]
    mapping.release()
    _check(_libc.munmap(address, size), "munmap")
