"""Starts threads, or reports that they did not start.

``threading.Thread.start`` waits until the new thread reports that it runs. A thread without memory for its
first frame ends without a report, and start waits for it for ever (CPython 3.11, under RLIMIT_AS).
"""

from __future__ import annotations

import _thread
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

_PATIENCE = 60.0  # seconds that a thread may take to begin, on a busy machine too


class Thread:
    """Runs ``function`` in one thread. The process may end without it."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._begun, self._ended = _thread.allocate_lock(), _thread.allocate_lock()

    def start(self) -> None:
        """Starts the thread. Raises RuntimeError if it does not run, as ``threading`` words it
        (limits.explain); :meth:`join` waits for nothing then.
        """
        self._begun.acquire()
        self._ended.acquire()
        try:
            _thread.start_new_thread(self._run, ())
            if not self._begun.acquire(timeout=_PATIENCE):
                raise RuntimeError("can't start new thread: it has ended at once")
        except RuntimeError:
            self._ended.release()
            raise

    def join(self) -> None:
        """Waits until a thread that was started has ended."""
        with self._ended:
            return

    def _run(self) -> None:
        self._begun.release()
        try:
            self._function()
        finally:
            self._ended.release()


def for_each(values: Iterable[T], function: Callable[[T], object], most: int) -> None:
    """Calls ``function`` with each of ``values``, ``most`` at once, or as many as threads can be started.

    Raises the exception of a call, or the signal that interrupted this thread, when no call runs any more;
    then values may be left.
    """
    waiting, errors = deque(values), deque[BaseException]()

    def fail(error: BaseException) -> None:
        errors.append(error)
        waiting.clear()

    def work() -> None:
        try:
            while waiting:
                try:
                    value = waiting.popleft()
                except IndexError:
                    return  # another thread took it
                function(value)
        except BaseException as error:
            fail(error)

    threads: list[threading.Thread] = []
    for _ in range(min(most, len(waiting)) - 1):
        thread = threading.Thread(target=work, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            break  # a limit of threads is met: the running ones do the work
        threads.append(thread)
    work()
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join()
            except BaseException as error:  # a signal: only this thread gets those
                fail(error)
    if errors:
        raise errors[0]
