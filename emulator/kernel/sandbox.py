"""Makes one run's sandbox: its own user (when not root), mount, PID and network namespaces, which end
together.

Four processes, each with one job::

    supervisor   the caller: passes signals on, answers `podwire ps/exec`, returns the result
      keeper     leaves the host's namespaces; exists because PID namespaces begin with a child
        init     PID 1: reaps orphans; when it ends, the kernel ends everything in the sandbox
          worker runs the given function

Each dies by SIGKILL when the one above it does, so nothing stays when one of them is killed: namespaces live
only in file descriptors and mounts of these processes. Nothing is written to the host: a running sandbox is
announced by an *abstract* Unix socket (unix(7)), which has no file and vanishes with its owner.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, cast

from ..errors import Exit, MissingCapabilityError, PodwireError
from . import linux
from .limits import explain
from .signals import (
    ENDING,
    Interrupted,
    heeded,
    waking,
)

T = TypeVar("T")

ADDRESS_PREFIX = "podwire/"
_GRACE = 10  # seconds after which a process that was asked to end, or has ended, must be gone
_WAITED_FOR = frozenset({signal.SIGINT, signal.SIGCHLD})
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}  # to build networks, and to send and see packets


class SandboxDiedError(PodwireError):
    """Reports that the sandbox ended without a result: it was killed, or memory ran out. No flow was seen to
    fail.
    """

    exit_code = Exit.MACHINE_LACKS


class Channel:
    """Connects the sandbox to the supervisor: a pipe that carries pairs of the kind of message and a value.

    One process writes at a time. A message longer than PIPE_BUF (4,096 bytes) is several writes, and another
    process' message could come between them (pipe(7)).
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def announce(self, info: dict[str, Any]) -> None:
        """Announces what runs here to ``podwire ps`` and ``exec`` of other terminals (JSON-safe)."""
        self.send("announcement", info)

    def close(self) -> None:
        """Closes this process' end."""
        self._connection.close()

    def send(self, kind: Literal["announcement", "result", "error"], value: object) -> None:
        """Sends the supervisor one message."""
        self._connection.send((kind, value))


def run(function: Callable[[Channel], T]) -> T:
    """Runs ``function`` in a fresh sandbox and returns its result, or raises its exception.

    Must be called from the main thread of a process with no other threads that hold locks (it forks). Raises
    MissingCapabilityError where the kernel refuses such a sandbox, SandboxDiedError when it was killed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    listener = _listen()  # in the host's network namespace: other terminals must find it
    reader, writer = Pipe(duplex=False)
    supervisor = os.getpid()
    # none is lost between the fork and the handlers
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        keeper = os.fork()
        if keeper == 0:
            reader.close()
            listener.close()
            _keeper(function, writer, supervisor)
        writer.close()
        return cast(T, _supervise(keeper, reader, listener, previous))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


# --- supervisor -------------------------------------------------------------------------------------------


def _listen() -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"\0{ADDRESS_PREFIX}{os.geteuid()}/{os.getpid()}/{os.urandom(4).hex()}")
    listener.listen(8)
    return listener


def _supervise(keeper: int, reader: Connection, listener: socket.socket, mask: Collection[int]) -> Any:
    """Waits for the result; meanwhile passes signals on and answers ``podwire ps``.

    ``mask``: the signals that stay blocked.
    """
    info: dict[str, Any] = {}
    asked = _Asked(keeper)
    status = 0
    with waking(heeded(), mask) as wake, listener, reader:
        poll = select.poll()
        for fd in (reader.fileno(), wake, listener.fileno()):
            poll.register(fd, select.POLLIN)
        try:
            while True:
                ready = {fd for fd, _ in poll.poll(asked.patience())}
                if wake in ready:
                    asked.to_end(os.read(wake, 64))
                if listener.fileno() in ready:
                    _answer(listener, info)
                if reader.fileno() in ready:
                    message = _receive(reader)
                    if message is None:
                        break
                    kind, value = message
                    if kind == "result":
                        return value
                    if kind == "error":
                        raise (
                            Interrupted(asked.number)
                            if isinstance(value, KeyboardInterrupt) and asked.number
                            else value
                        )
                    info.update(value)
        finally:
            status = _reap(keeper)
    raise Interrupted(asked.number) if asked.number else SandboxDiedError(_how_it_died(status))


class _Asked:
    """Passes signals that ask for an end on to the keeper: the first as SIGINT, a second as SIGKILL."""

    def __init__(self, keeper: int) -> None:
        self._keeper = keeper
        self._deadline = 0.0
        self.number = 0  # the first signal's

    def to_end(self, numbers: bytes) -> None:
        """Passes on the signals ``numbers``."""
        for number in numbers:
            if number in ENDING:
                os.kill(self._keeper, signal.SIGKILL if self.number else signal.SIGINT)
                if not self.number:
                    self.number, self._deadline = number, time.monotonic() + _GRACE

    def patience(self) -> int | None:
        """Returns how many milliseconds to wait from now on (None: without end).

        Kills the keeper when it has not ended ``_GRACE`` seconds after the first signal.
        """
        if not self._deadline:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            os.kill(self._keeper, signal.SIGKILL)
            self._deadline = 0.0
            return None
        return int(left * 1000) + 1


def _reap(keeper: int) -> int:
    """Waits for ``keeper``, ``_GRACE`` seconds at the most; returns its exit status, 128 + n for signal n.

    A PID namespace does not end before its last zombie is reaped (pid_namespaces(7)). An orphaned process
    that entered it by nsenter(1) is a child of the machine's PID 1, which does not reap in some containers.
    """
    try:
        fd = os.pidfd_open(keeper)
    except OSError:  # a kernel before 5.3
        pass
    else:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(_GRACE * 1000):
            os.kill(keeper, signal.SIGKILL)
            print(
                "podwire: the sandbox's first process does not end: "
                "a process that entered it has ended, and PID 1 of this machine does not reap it",
                file=sys.stderr,
            )
        os.close(fd)
    try:
        _, status = os.waitpid(keeper, 0)
    except ChildProcessError:  # the caller of run ignores SIGCHLD
        return 0
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _how_it_died(status: int) -> str:
    text = "the sandbox ended before its work was done: "
    try:
        name = signal.Signals(status - 128).name
    except ValueError:
        return text + f"one of its processes ended with exit code {status}; run again"
    if name == "SIGKILL":
        return text + (
            "one of its processes was killed (SIGKILL: by a user, or by the kernel when memory is "
            "short: see dmesg); run again"
        )
    return text + f"one of its processes was ended by {name}; run again"


def _receive(reader: Connection) -> tuple[str, Any] | None:
    """Returns the next message; None if the other end is gone."""
    try:
        return cast(tuple[str, Any], reader.recv())
    except EOFError:
        return None
    except OSError as error:
        if error.errno is None:  # the end of the pipe in the middle of a message
            return None
        raise


def _answer(listener: socket.socket, info: dict[str, Any]) -> None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return  # the asking process has gone, or there are no descriptors left: it asks again
    with connection:
        connection.settimeout(1)
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid in (0, os.geteuid()):
            try:
                connection.sendall(json.dumps(info).encode())
            except OSError:
                return  # the asking process has gone


# --- keeper, init, worker ---------------------------------------------------------------------------------


def _keeper(function: Callable[[Channel], object], writer: Connection, supervisor: int) -> NoReturn:
    status = 1
    channel = Channel(writer)
    try:
        status = _enter(function, channel, supervisor)
    except BaseException as error:
        channel.send("error", picklable(error))
    finally:
        os._exit(status)


def _enter(function: Callable[[Channel], object], channel: Channel, supervisor: int) -> int:
    """Leaves the host's namespaces, starts PID 1 of new ones, and waits for its end; returns its exit
    status.
    """
    _start_afresh()
    linux.die_with_parent(signal.SIGKILL)
    if os.getppid() != supervisor:
        return 1
    _leave_host()
    linux.die_with_parent(signal.SIGKILL)  # the new credentials cleared it
    if os.getppid() != supervisor:
        return 1
    alive_reader, alive_writer = os.pipe()
    init = os.fork()
    if init == 0:
        os.close(alive_writer)
        _init(function, channel, alive_reader)
    os.close(alive_reader)
    channel.announce({"init": init})
    channel.close()
    with suppress(BrokenPipeError):  # init has ended already
        os.write(alive_writer, b"\n")  # from now on the processes below this one write to the channel
    status = _wait_for(init)
    os.close(alive_writer)  # kept so far: its closing tells PID 1 that the keeper is gone
    return status


def _start_afresh() -> None:
    """Starts a process group of our own, and sets signals to their defaults.

    So the terminal's Ctrl-C reaches the supervisor alone, which passes it on once. A process group in the
    background may write to the terminal under ``stty tostop`` only if it ignores SIGTTOU (termios(3)).
    """
    # sigwait finds only signals that are blocked, and not ignored: see _wait_for
    signal.pthread_sigmask(signal.SIG_SETMASK, _WAITED_FOR)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.setpgid(0, 0)


def _leave_host() -> None:
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWPID
    uid, gid = os.geteuid(), os.getegid()
    try:
        if uid != 0:
            linux.unshare(linux.CLONE_NEWUSER)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        linux.unshare(flags)
    except OSError as error:
        if error.errno not in (
            errno.EPERM,
            errno.EACCES,
            errno.ENOSPC,
            errno.EINVAL,
            errno.EUSERS,
            errno.ENOSYS,
        ):
            raise
        raise MissingCapabilityError(*_why_no_namespaces(uid, error)) from None
    if lacked := [name for name, bit in _CAPABILITIES.items() if not _effective_capabilities() >> bit & 1]:
        raise MissingCapabilityError(
            " and ".join(lacked), "root is without it here: give it to this container (--cap-add)"
        )


def _effective_capabilities() -> int:
    """Returns a bit for each effective capability (capabilities(7))."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))


def _why_no_namespaces(uid: int, error: OSError) -> tuple[str, str]:
    """Returns the name of the missing feature, and the remedy, as far as the kernel's own switches
    show it.
    """
    if uid == 0:
        return (
            f"the right to make namespaces ({error.strerror})",
            "root in this container lacks CAP_SYS_ADMIN: run it with that capability",
        )
    switches = {
        "kernel.unprivileged_userns_clone": ("/proc/sys/kernel/unprivileged_userns_clone", "0", "1"),
        "kernel.apparmor_restrict_unprivileged_userns": (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "0",
        ),
        "user.max_user_namespaces": ("/proc/sys/user/max_user_namespaces", "0", "15000"),
    }
    for name, (path, bad, good) in switches.items():
        try:
            value = Path(path).read_text().strip()
        except OSError:
            continue
        if value == bad:
            return (
                "unprivileged user namespaces",
                f"run with sudo, or allow them: sudo sysctl -w {name}={good}",
            )
    return f"unprivileged user namespaces ({error.strerror})", "run with sudo"


def _init(function: Callable[[Channel], object], channel: Channel, alive: int) -> NoReturn:
    """Runs as PID 1 of the sandbox."""
    try:
        linux.die_with_parent(signal.SIGKILL)
        told = os.read(alive, 1)  # waits until the keeper has written its last message
        if not told or select.select([alive], [], [], 0)[0]:  # end of file: the keeper is gone
            os._exit(1)
        os.close(alive)
        _prepare_mounts()
        worker = os.fork()
        if worker == 0:
            _worker(function, channel)
        channel.close()
        os._exit(_wait_for(worker))
    except BaseException as error:
        channel.send("error", picklable(error))
        os._exit(1)


def _prepare_mounts() -> None:
    """Mounts a ``/run`` with ``/run/netns`` and ``/run/xtables.lock`` of its own, and a ``/proc`` of this PID
    namespace.
    """
    try:
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    except OSError as error:
        raise MissingCapabilityError(
            f"a root directory that is a mount point ({error.strerror})",
            "in a chroot, first: mount --bind DIRECTORY DIRECTORY",
        ) from None
    _renew_run()
    try:
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    except OSError as error:
        # In a container whose own /proc is masked the kernel refuses (EPERM). The old /proc still serves the
        # reader's
        # own /proc/sys/net, but its "self" belongs to another PID namespace: no process would be found
        # there.
        raise MissingCapabilityError(
            f"a /proc of its own ({error.strerror})",
            "run outside the container, or with --security-opt systempaths=unconfined",
        ) from None


def _renew_run() -> None:
    """Mounts a new ``/run`` that shows all of the old one (a checkout or a socket may be there) but the files
    that network tools keep in it.
    """
    old = os.open("/run", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    linux.mount("podwire", "/run", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755")
    for entry in os.scandir(old):
        if entry.name in ("netns", "xtables.lock"):
            continue
        new = f"/run/{entry.name}"
        try:
            if entry.is_symlink():
                os.symlink(os.readlink(entry.name, dir_fd=old), new)
                continue
            if entry.is_dir():
                os.mkdir(new)
            else:
                os.close(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            linux.mount(f"/proc/self/fd/{old}/{entry.name}", new, None, linux.MS_BIND | linux.MS_REC)
        except OSError:
            continue  # no permission
    os.close(old)
    os.mkdir("/run/netns")


def _worker(function: Callable[[Channel], object], channel: Channel) -> NoReturn:
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED_FOR)
        result = function(channel)
        sys.stdout.flush()
        sys.stderr.flush()
        channel.send("result", result)
    except BaseException as error:
        sys.stdout.flush()
        channel.send("error", picklable(error))
    os._exit(0)


def picklable(error: BaseException) -> BaseException:
    """Returns ``error`` as it can cross to the supervisor: explained, or with its traceback as text."""
    if isinstance(error, KeyboardInterrupt):
        return KeyboardInterrupt()
    explained = explain(error)
    if explained is None:
        return RuntimeError("".join(traceback.format_exception(error)))
    try:
        return cast(PodwireError, pickle.loads(pickle.dumps(explained)))  # noqa: S301 - only to see whether it survives
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))


def _wait_for(child: int) -> int:
    """Reaps until ``child`` has ended, passing SIGINT on to it; returns its exit status, 128 + n for signal
    n.

    Both signals are blocked and taken one by one, so that none can come between looking and waiting.
    """
    while True:
        if signal.sigwait(_WAITED_FOR) == signal.SIGINT:
            os.kill(child, signal.SIGINT)
            continue
        pid = 1
        while pid:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
