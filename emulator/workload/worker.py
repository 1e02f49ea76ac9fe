"""Runs processes beside the rules. A worker gets the cluster's first state, then the differences of every
later one.

Its work (servers, proxies, speakers) is a function that gets an :class:`Inbox`. It holds resources for the
state, mostly sockets, and makes them match each state that it receives. It ends with the process that started
it, however that one ends.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any, NoReturn

from ..cluster.state import ClusterState
from ..errors import Exit, PodwireError
from ..kernel import linux
from ..kernel.limits import explain
from ..model.notices import RunNotice
from .differences import difference, patch

# The channels of this process' workers. A Connection without a reference is closed, and its worker would end
# before the process that started it.
_STARTED: list[Connection] = []
_ENDING = 1.0  # seconds that a process whose channel is closed may still take to end


class WorkerError(PodwireError):
    """Reports that a server, proxy or speaker cannot do its work, or has ended: a fault of the machine, or it
    was killed.
    """

    exit_code = Exit.MACHINE_LACKS


class _LastWords(str):
    """Holds a worker's last message: why it ends, and, behind a line feed, more lines about it."""


class Inbox:
    """Receives the states in the worker. A worker that waits for several things waits for :meth:`fileno` to
    be readable, and then calls :meth:`take`.
    """

    def __init__(self, channel: Connection, born_with: ClusterState) -> None:
        """Starts with ``born_with``, the first state, which the process has already."""
        self._channel = channel
        self._state, self._told = born_with, False

    def fileno(self) -> int:
        return self._channel.fileno()

    def receive(self) -> ClusterState | None:
        """Returns the next state: at once the first time, later when one comes. It needs an :meth:`answer`.
        None is a question (:meth:`Worker.busy`). Raises EOFError when the other end is gone.
        """
        if self._told:
            changed = _receive(self._channel)
            if changed is None:
                return None
            self._state = patch(self._state, changed)
        self._told = True
        return self._state

    def answer(self, refusals: Sequence[RunNotice] = (), error: str = "") -> None:
        """Reports that the state is in force, but for ``refusals``: one notice for each thing that the kernel
        refused as expected. ``error``: it is not in force, and why.
        """
        self._channel.send((tuple(refusals), error))

    def say_busy(self, busy: bool) -> None:
        """Answers the question whether a client still waits for work here."""
        self._channel.send(busy)

    def say_last(self, why: str) -> None:
        """Sends the reason why this process is about to end; more lines about it may follow the first."""
        self._channel.send(_LastWords(why))

    def take(
        self, update: Callable[[ClusterState], Sequence[RunNotice]], busy: Callable[[], bool] = lambda: False
    ) -> None:
        """Receives a state, and answers with the result of ``update``: refusals, or OSError. To the question
        whether a client still waits for work here it answers ``busy``.
        """
        state = self.receive()
        if state is None:
            self.say_busy(busy())
            return
        try:
            self.answer(update(state))
        except OSError as error:
            self.answer(error=str(error))


class Worker:
    """Describes a process that receives states, and lives as long as the process that started it. ``name`` is
    its name in an error.
    """

    def __init__(self, name: str, work: Callable[[Inbox], object]) -> None:
        """Prepares the worker. ``work`` runs in a process of its own, forked by the first :meth:`tell`, and
        must not end. It takes its first state from the inbox like every other. It knows the network
        namespaces of that time; ``Namespaces.refresh`` adds the others.
        """
        self._name, self._work = name, work
        self._channel: Connection | None = None
        self._state: ClusterState | None = None  # the last one sent
        self._pid = 0
        self._status: int | None = None  # its exit status, as waitpid has it
        self._oom_kills = 0  # on the machine, when it was started
        self._last_words = ""

    def tell(self, state: ClusterState) -> list[RunNotice]:
        """Sends ``state`` to the worker; returns once it matches, with the kernel's refusals. Raises
        WorkerError when it cannot, or has ended.
        """
        with self._alive():
            if self._channel is None or self._state is None:
                self._channel = self._start(state)
            else:
                self._channel.send(difference(self._state, state))
            self._state = state
            refusals, error = self._hear()
        if error:
            raise WorkerError(f"{self._name}: {error}")
        return list(refusals)

    def busy(self) -> bool:
        """Returns whether the worker still has work that a client waits for. Raises WorkerError when it has
        ended.
        """
        if self._channel is None:
            return False
        with self._alive():
            self._channel.send(None)
            return bool(self._hear())

    def fileno(self) -> int | None:
        """Returns the descriptor that becomes readable when the process ends; None before it has started."""
        return None if self._channel is None else self._channel.fileno()

    def check(self) -> None:
        """Raises WorkerError when the process has ended."""
        if self._channel is not None and self._has_ended():
            with self._alive():
                self._hear()  # its last message, or the end of the file

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionResetError):
            how, feed, more = self._how_it_ended().partition("\n")
            raise WorkerError(
                f"the process of {self._name} {how}: no flow says anything any more; run again{feed}{more}"
            ) from None

    def _hear(self) -> Any:
        """Returns the worker's next message. Raises EOFError if that was its last."""
        assert self._channel is not None  # noqa: S101 - for the type: it was started
        value = _receive(self._channel)
        if isinstance(value, _LastWords):
            self._last_words = value
            raise EOFError
        return value

    def _has_ended(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def _how_it_ended(self) -> str:
        with suppress(EOFError, ConnectionResetError):
            while not self._last_words:
                self._hear()
        if self._last_words:
            return f"has ended: {self._last_words}"
        deadline = time.monotonic() + _ENDING
        while not self._has_ended() and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._status is None or os.WIFEXITED(self._status):
            return "has ended by itself"
        number = os.WTERMSIG(self._status)
        killed = f"was killed by {signal.Signals(number).name}"
        if number != signal.SIGKILL:
            return killed
        if _count_oom_kills() > self._oom_kills:
            return f"{killed}, probably by the kernel, out of memory (see dmesg)"
        return f"{killed}, by a user or by a memory watchdog"

    def _start(self, state: ClusterState) -> Connection:
        ours, theirs = Pipe()
        parent = os.getpid()
        self._oom_kills = _count_oom_kills()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            self._run(Inbox(theirs, state), parent)
        theirs.close()
        _STARTED.append(ours)
        return ours

    def _run(self, inbox: Inbox, parent: int) -> NoReturn:
        try:
            linux.die_with_parent(signal.SIGKILL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if os.getppid() == parent:
                self._work(inbox)
        except EOFError:
            os._exit(1)  # the parent is gone, and its signal on the way: no cleaning up first
        except BaseException as error:
            if explained := explain(error):
                with suppress(OSError, MemoryError):
                    inbox.say_last(str(explained))
            else:
                traceback.print_exc()
        finally:
            os._exit(1)


def _count_oom_kills() -> int:
    """Returns how many processes of the machine the kernel has killed for lack of memory; 0 if it does not
    count them.
    """
    with suppress(OSError), open("/proc/vmstat") as file:
        return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    return 0


def any_busy(workers: Collection[Worker]) -> bool:
    """Returns whether one of ``workers`` is busy. Each is asked twice: it may see the question before
    requests that came at the same time.
    """
    return any(worker.busy() for _ in range(2) for worker in workers)


def _receive(channel: Connection) -> Any:
    """Returns the next message. Raises EOFError also if the other end went in the middle of a message."""
    try:
        return channel.recv()
    except OSError as error:
        if error.errno is None:
            raise EOFError from None
        raise
