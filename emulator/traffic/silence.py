"""Decides when an attempt counts as silent. A slow machine makes the wait longer, and so does a server that
still has to answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SILENCE = 0.5  # seconds without any event after which a silent attempt counts as silent
_GLANCE = 0.02  # seconds of silence at most that one look can prove


class Silence:
    """Measures how long nothing has happened. If this process was not scheduled between two looks, the
    elapsed time proves nothing: one look counts for at most :data:`_GLANCE`. Before silence counts, every
    server is asked whether it still has work: one that was not scheduled has not been silent.
    """

    def __init__(
        self,
        enough: float = SILENCE,
        clock: Callable[[], float] = time.monotonic,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """Starts the wait.

        ``enough``: seconds. ``busy`` returns whether a server is still at work on an answer; when it returns,
        every server has seen the requests that had come to it.
        """
        self._enough, self._clock, self._busy = enough, clock, busy
        self.end()

    def end(self) -> None:
        """Starts anew: something happened."""
        self._seconds, self._looked, self._asked = 0.0, self._clock(), False

    def lasted(self) -> bool:
        """Returns whether the silence is long enough; called again and again."""
        now = self._clock()
        self._seconds += min(now - self._looked, _GLANCE)
        self._looked = now
        if self._seconds <= self._enough or self._asked:
            return self._asked
        if self._busy():
            self.end()
        else:
            self._asked = True  # an answer that was sent just now is read before the next look
        return False


class PatientClock:
    """Counts the seconds in which this process ran, as :class:`Silence` counts them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now, self._looked = 0.0, clock()

    def look(self) -> float:
        """Returns the seconds until now."""
        now = self._clock()
        self._now += min(now - self._looked, _GLANCE)
        self._looked = now
        return self._now
