"""A process of its own beside the rules, which is told of the cluster's state, then of what differs in every
other state that it changes to.

What runs there (servers, proxies, speakers) is a function that is given an :class:`Inbox`. It holds what the
state asks for, sockets mostly, and makes what it holds match each state that it is told. It ends with the
process that started it, however that one ends.
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

from emulator.cluster.state import ClusterState
from emulator.errors import Exit, PodwireError
from emulator.kernel import linux
from emulator.kernel.limits import explain
from emulator.model.notices import Notice
from emulator.workload.differences import difference, patch

# The channels of this process' workers. A Connection that nobody refers to is closed, and its worker would end
# before the process that started it.
_STARTED: list[Connection] = []
_ENDING = 1.0  # seconds that a process whose channel is closed may still take to end


class WorkerError(PodwireError):
    """A server, proxy or speaker cannot do what it must, or has ended: the machine's fault, or somebody's who
    killed it.
    """

    exit_code = Exit.MACHINE_LACKS


class _LastWords(str):
    """What a worker sends before it ends by itself: why."""


class Inbox:
    """The worker's end. Whoever waits for several things waits for :meth:`fileno` to be readable, and then
    calls :meth:`take`.
    """

    def __init__(self, channel: Connection, born_with: ClusterState) -> None:
        """``born_with``: the first state, which is here already."""
        self._channel = channel
        self._state, self._told = born_with, False

    def fileno(self) -> int:
        return self._channel.fileno()

    def receive(self) -> ClusterState | None:
        """The next state: at once the first time, later when one is told. It wants an :meth:`answer`. None is
        a question (:meth:`Worker.busy`). Raises EOFError when nobody is left to tell.
        """
        if self._told:
            changed = _receive(self._channel)
            if changed is None:
                return None
            self._state = patch(self._state, changed)
        self._told = True
        return self._state

    def answer(self, refusals: Sequence[Notice] = (), error: str = "") -> None:
        """The state is in force, but for ``refusals``: what the kernel refused that it was expected to
        refuse, a sentence each. ``error``: it is not, and why.
        """
        self._channel.send((tuple(refusals), error))

    def say_last(self, why: str) -> None:
        """Tell why this process is about to end."""
        self._channel.send(_LastWords(why))

    def take(
        self, update: Callable[[ClusterState], Sequence[Notice]], busy: Callable[[], bool] = lambda: False
    ) -> None:
        """Receive a state, and answer what ``update`` makes of it: refusals, or OSError. Or the question
        whether anybody still waits for what is going on here: answer ``busy``.
        """
        state = self.receive()
        if state is None:
            self._channel.send(busy())
            return
        try:
            self.answer(update(state))
        except OSError as error:
            self.answer(error=str(error))


class Worker:
    """A process that is told of states, and lives as long as the process that told it first. ``name`` is what
    a person calls it in an error.
    """

    def __init__(self, name: str, work: Callable[[Inbox], object]) -> None:
        """``work`` runs in a process of its own, forked by the first :meth:`tell`, and is not meant to end.
        It takes its first state from the inbox like every other. Of network namespaces it knows those that
        existed then: ``Namespaces.refresh`` shows it the others.
        """
        self._name, self._work = name, work
        self._channel: Connection | None = None
        self._state: ClusterState | None = None  # that it was told last
        self._pid = 0
        self._status: int | None = None  # of its end, as waitpid has it
        self._oom_kills = 0  # of the machine, when it was started
        self._last_words = ""

    def tell(self, state: ClusterState) -> list[Notice]:
        """Have the worker match ``state``; returns once it does, with what the kernel refused. Raises
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
        """Returns whether somebody waits for what is still going on there. Raises WorkerError when it has
        ended.
        """
        if self._channel is None:
            return False
        with self._alive():
            self._channel.send(None)
            return bool(self._hear())

    def check(self) -> None:
        """Raises WorkerError when the process has ended."""
        if self._channel is not None and self._has_ended():
            with self._alive():
                self._hear()  # its last words, or the end of the file

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise WorkerError(
                f"the process of {self._name} {self._how_it_ended()}: no flow says anything any more; run again"
            ) from None

    def _hear(self) -> Any:
        """Returns what the worker sends next. Raises EOFError when that were its last words."""
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
            return f"{killed}, it seems by the kernel, which ran out of memory (dmesg tells)"
        return f"{killed}, by hand or by something that watches over memory"

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
            os._exit(1)  # who tells is gone, and the signal on its way: nothing is put away first
        except BaseException as error:
            if explained := explain(error):
                with suppress(OSError, MemoryError):
                    inbox.say_last(str(explained))
            else:
                traceback.print_exc()
        finally:
            os._exit(1)


def _count_oom_kills() -> int:
    """Returns how many processes of the machine the kernel has ended for want of memory; 0 where it does not
    tell.
    """
    with suppress(OSError), open("/proc/vmstat") as file:
        return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    return 0


def any_busy(workers: Collection[Worker]) -> bool:
    """Whether one of ``workers`` is. Each is asked twice: it may see the question before what came at the
    same time.
    """
    return any(worker.busy() for _ in range(2) for worker in workers)


def _receive(channel: Connection) -> Any:
    """Returns what comes next. Raises EOFError also where the other end went amid a message."""
    try:
        return channel.recv()
    except OSError as error:
        if error.errno is None:
            raise EOFError from None
        raise
