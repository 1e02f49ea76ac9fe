"""Runs a command in a running cluster, with this terminal. The command ends when the caller does.

Three processes::

    caller       joins the sandbox's namespaces and waits; it is still a process of the host
      subreaper  a process of the sandbox: starts the command, adopts its orphans, and ends all of
                 them when the caller is gone
        command

The subreaper is a child of the sandbox's PID 1, not of the caller. A child of the caller would
become a child of the host's PID 1 when the caller is killed. Where that one does not reap (in some
containers), a zombie stays, and a PID namespace cannot end before its last zombie is reaped
(pid_namespaces(7)). nsenter(1) enters the same namespaces, but it is such a parent, outside the
sandbox: it would replace ``_join`` alone, and add a process between the terminal and the command.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import termios
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

from ..errors import UsageError, printable
from ..kernel import linux
from ..kernel.signals import Interrupted, heeded, waking
from ..report.output import complain
from .shells import DIRECTORY
from .terminal import Terminal

GRACE = 1.0  # seconds that a command has to end after SIGTERM
_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_RELAYED = (signal.SIGTERM, signal.SIGHUP)
_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)  # ignored by Python when it starts
_KILLED = 128 + signal.SIGKILL
_GO = b"\0"  # tells the subreaper that its first parent has been reaped; no signal has this number


@dataclass(frozen=True, slots=True)
class Setting:
    """Holds what a command finds: its host name, a terminal of its own if ``terminal``, what is added to its
    environment, and files in ``shells.DIRECTORY``.
    """

    hostname: str
    terminal: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def execute(init: int, netns: str, command: Sequence[str], setting: Setting) -> int:
    """Runs ``command`` in the network namespace ``netns`` of the sandbox whose PID 1 is ``init``, with UTS
    and mount namespaces of its own.

    Returns its exit code (127: no such command, 128 + n: signal n). SIGTERM and SIGHUP are passed on,
    processes that have not ended ``GRACE`` seconds later are killed, and Interrupted is raised.
    """
    terminal = Terminal() if setting.terminal else None
    try:
        _join(init, netns)
    except OSError as error:
        raise UsageError(
            f"cannot enter {netns}: {error.strerror} (the cluster may just have ended; podwire ps lists them)"
        ) from None
    ignored = [number for number in (*_TERMINAL, *_RELAYED) if signal.getsignal(number) is signal.SIG_IGN]
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # the terminal sends them to the command, too
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _RELAYED)  # blocked until _await can pass them on
    ours, theirs = socket.socketpair()
    with ours, _keeping_terminal():
        child = os.fork()  # the PID namespace is entered by children only
        if child == 0:
            _leave_to_init(ours, theirs, partial(_become, command, setting, terminal, ignored))
        theirs.close()
        os.waitpid(child, 0)
        with suppress(OSError):  # the cluster has ended meanwhile: _await reports it
            ours.send(_GO)
        with terminal.attached() if terminal else nullcontext():
            code = _await(ours, mask, terminal)
        return _tell_end() if code is None else code


def _join(init: int, netns: str) -> None:
    where = os.getcwd()
    proc = Path(f"/proc/{init}/ns")
    foreign_user = os.stat(proc / "user").st_ino != os.stat("/proc/self/ns/user").st_ino
    fds = [
        os.open(proc / kind, os.O_RDONLY | os.O_CLOEXEC)
        for kind in (["user"] if foreign_user else []) + ["mnt", "pid"]
    ]
    for fd in fds:
        linux.setns(fd)
        os.close(fd)
    fd = os.open(f"/run/netns/{netns}", os.O_RDONLY | os.O_CLOEXEC)
    linux.setns(fd, linux.CLONE_NEWNET)
    os.close(fd)
    try:
        os.chdir(where)
    except OSError:
        os.chdir("/")


# --- the caller --------------------------------------------------------------------------------------------


@contextmanager
def _keeping_terminal() -> Iterator[None]:
    """Takes the terminal's foreground back at the end.

    A shell with job control takes it, and cannot give it back to a process group that its PID namespace does
    not know. Without it, the program that started podwire could not read from the terminal.
    """
    fd = next((fd for fd in range(3) if os.isatty(fd)), -1)
    mine = fd >= 0 and os.tcgetpgrp(fd) == os.getpgrp()
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # it stops processes in the background
            with suppress(OSError):  # the terminal is gone
                os.tcsetpgrp(fd, os.getpgrp())


def _tell_end() -> int:
    """Reports that the cluster has ended, and drops input that was meant for it; returns the exit code."""
    said = "the command was killed: its cluster has ended"
    if os.isatty(0):
        termios.tcflush(0, termios.TCIFLUSH)
        said += f". This is {os.uname().nodename} again"
    complain(said)
    return _KILLED


def _await(subreaper: socket.socket, mask: Collection[int], terminal: Terminal | None) -> int | None:
    """Waits for the command's exit code and returns it; None if the cluster has ended. ``mask``: the signals
    blocked meanwhile.
    """
    asked, deadline = 0, 0.0
    resized = {signal.SIGWINCH} if terminal else set()
    with waking(heeded() & set(_RELAYED) | resized, mask) as wake:
        while not asked or time.monotonic() < deadline:
            poll = select.poll()
            for fd in (subreaper.fileno(), wake):
                poll.register(fd, select.POLLIN)
            for fd, events in (terminal.wanted() if terminal else {}).items():
                poll.register(fd, events)
            ready = {fd for fd, _ in poll.poll(100 if asked else None)}
            if terminal:
                terminal.relay(ready)
            if wake in ready:
                numbers = bytes(number for number in os.read(wake, 64) if number in _RELAYED)
                if terminal:
                    terminal.resize()
                if numbers:
                    asked, deadline = asked or numbers[0], deadline or time.monotonic() + 3 * GRACE
                    with suppress(OSError):
                        subreaper.send(numbers)
            if subreaper.fileno() in ready:
                answer = subreaper.recv(1)
                if asked:
                    break
                if answer:
                    return answer[0]
                return None
    raise Interrupted(asked)


# --- inside the sandbox -----------------------------------------------------------------------------------


def _leave_to_init(
    caller: socket.socket, subreaper: socket.socket, become: Callable[[int], NoReturn]
) -> NoReturn:
    """Starts the subreaper and ends, so that PID 1 of the sandbox becomes its parent."""
    try:
        caller.close()
        if os.fork() == 0:
            _attend(subreaper, become)
    finally:
        os._exit(0)


def _attend(caller: socket.socket, become: Callable[[int], NoReturn]) -> NoReturn:
    """Starts the command by ``become``, which gets this pid, and tells ``caller`` its exit code.

    The command starts when the caller has reaped the process that started this one. A caller that is killed
    earlier would leave a zombie of the sandbox. Ends the command with all its descendants when the caller
    says so or is gone.
    """
    try:
        for number in (*_TERMINAL, *_RELAYED):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if caller.recv(1) != _GO:
            os._exit(0)
        linux.collect_orphans()
        with waking({signal.SIGCHLD}) as wake:
            me = os.getpid()
            child = os.fork()
            if child == 0:
                become(me)
            code, asked = _watch(child, caller, wake)
        if asked:
            _kill_all()
        if code is not None:
            caller.send(bytes([code]))
    finally:
        os._exit(0)


def _watch(child: int, caller: socket.socket, wake: int) -> tuple[int | None, bool]:
    """Waits until ``child`` has ended or must be killed.

    Returns its exit code, None if it has not ended, and whether the caller wanted its end.
    """
    poll = select.poll()
    for fd in (caller.fileno(), wake):
        poll.register(fd, select.POLLIN)
    deadline = 0.0
    while not deadline or time.monotonic() < deadline:
        ready = {fd for fd, _ in poll.poll(50 if deadline else None)}
        if wake in ready:
            os.read(wake, 64)
            if (code := _reap(child)) is not None:
                return code, bool(deadline)
        if caller.fileno() in ready:
            numbers = caller.recv(64)
            if not numbers:
                break
            deadline = deadline or time.monotonic() + GRACE
            for pid in _descendants():
                for number in (*numbers, signal.SIGCONT):
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
    return None, True


def _reap(child: int) -> int | None:
    """Returns the exit code of ``child`` if it has ended. Reaps orphans that have ended, too."""
    found = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                found = code if code >= 0 else 128 - code
    return found


def _kill_all() -> None:
    """Kills every descendant. One that the kernel cannot end soon (it waits for a disk) is left to PID 1."""
    deadline = time.monotonic() + GRACE
    while (pids := _descendants()) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
        _reap(0)


def _descendants() -> list[int]:
    """Returns every process below this one. Orphans are among them: this process is their subreaper."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text(errors="replace").rsplit(")", 1)[1].split()
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, queue = [], [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _become(
    command: Sequence[str],
    setting: Setting,
    terminal: Terminal | None,
    ignored: Sequence[int],
    subreaper: int,
) -> NoReturn:
    """Replaces this process by ``command`` in its ``setting``, with the signals that podwire was started
    with.
    """
    for number in (*_TERMINAL, *_RELAYED, *_BY_PYTHON, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
    linux.die_with_parent(signal.SIGKILL)
    if os.getppid() != subreaper:
        os._exit(_KILLED)
    _arrange(setting)
    if terminal:
        terminal.adopt()
    name = printable(command[0])
    try:
        os.execvp(command[0], list(command))  # noqa: S606 - argv, no shell
    except FileNotFoundError:
        _complain(f"{name or repr(name)}: not found on this machine (Pods share its file system)")
        os._exit(127)
    except OSError as error:
        _complain(f"{name}: {error.strerror}")
    os._exit(126)


def _arrange(setting: Setting) -> None:
    """Makes UTS and mount namespaces for this process: its host name, the sysfs of its network namespace, and
    files. The mounts of the sandbox are private, so nothing reaches the host, nor the other processes here.

    A kernel that refuses (a container whose /sys is masked) leaves what there was.
    """
    with suppress(OSError):
        linux.unshare(linux.CLONE_NEWUTS)
        linux.set_hostname(setting.hostname)
    try:
        linux.unshare(linux.CLONE_NEWNS)
    except OSError:
        return
    with suppress(OSError):  # one that is mounted now shows the network namespace of this process
        linux.mount("sysfs", "/sys", "sysfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    if setting.files:
        os.makedirs(DIRECTORY, exist_ok=True)
        linux.mount("podwire", DIRECTORY, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755")
        for name, text in setting.files.items():
            Path(DIRECTORY, name).write_text(text)
    os.environ.update(setting.environment)


def _complain(text: str) -> None:
    with suppress(OSError):  # standard error is closed or full
        os.write(2, f"podwire exec: {text}\n".encode())
