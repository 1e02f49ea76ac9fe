"""The few system calls that Python's standard library lacks (3.10 has no ``unshare``, ``setns``, ``mount``).

Constants are those of the kernel's uapi headers (linux/sched.h, linux/mount.h, linux/prctl.h).
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags: int) -> None:
    """Leave the namespaces named by ``flags`` (CLONE_NEW*) for new ones."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, kind: int = 0) -> None:
    """Move the calling thread into the namespace behind ``fd``."""
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, fstype: str | None, flags: int, data: str | None = None) -> None:
    _check(
        _libc.mount(source.encode(), target.encode(), fstype.encode() if fstype else None, flags, data.encode() if data else None),
        f"mount {target}",
    )


def unmount(target: str) -> None:
    """Take the mount from ``target`` at once; who has it open may go on."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def die_with_parent(signal: int) -> None:
    """Have the kernel send ``signal`` to this process when its parent ends (cleared by the kernel on a change of credentials)."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def set_hostname(name: str) -> None:
    """The host name of the calling process' UTS namespace (64 bytes at the most)."""
    raw = name.encode()[:64]
    _check(_libc.sethostname(raw, len(raw)), "sethostname")


def setsockopt(fd: int, level: int, option: int, value: bytes) -> None:
    """``socket.setsockopt`` that lets other threads run: some packet(7) options wait out an RCU grace period."""
    _check(_libc.setsockopt(fd, level, option, value, len(value)), f"setsockopt({level}, {option})")
