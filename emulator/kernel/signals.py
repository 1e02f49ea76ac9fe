"""Handles signals that ask this process to end, and inherited states that would keep it from ending.

A process inherits which signals are ignored and which are blocked (signal(7)):

* SIGHUP, SIGINT and SIGTERM that are ignored stay ignored. nohup(1), ``trap '' TERM`` of a shell and
  its background jobs want that.
* SIGCHLD is never left ignored. The kernel would then queue no SIGCHLD and keep no exit status, and
  every tool would seem to succeed (wait(2)).
* No signal stays blocked. No shell blocks a signal on purpose, and a blocked one could not end a run.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """Reports that a signal asked this process to end. ``number`` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def heeded() -> frozenset[signal.Signals]:
    """Returns those of ENDING that are not ignored."""
    return frozenset(number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN)


def prepare_signals() -> None:
    """Makes the signals that ask for an end raise Interrupted, and undoes inherited states that must not
    last.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in heeded():
        signal.signal(number, _interrupt)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def end_at_once() -> None:
    """Lets signals end this process at once, in its first and last moments: nothing is to be cleaned up."""
    for number in heeded():
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def waking(numbers: Collection[int], mask: Collection[int] | None = None) -> Iterator[int]:
    """Yields a descriptor that gives the numbers of those of the signals ``numbers`` that came.

    None of them ends this process or interrupts a call. ``mask``: the signals blocked from now on (None: as
    before).
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = {number: signal.signal(number, lambda *_: None) for number in numbers}
    previous_wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(previous_wakeup)
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)
