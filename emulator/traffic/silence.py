"""When silence is silence. Imports the clock alone; a slow machine stretches it by itself, and so does
whoever still has to answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SILENCE = 0.5  # seconds without any event before what is still silent counts as silent
_GLANCE = 0.02  # seconds of silence at most that one look can prove


class Silence:
    """How long nothing has happened anywhere, as far as somebody looked. A machine, or a guest, that stood
    still between two looks let nobody act: then silence proves nothing, so that no look counts for more than
    :data:`_GLANCE`. And before it counts, those who answer are asked: one that was not let near a processor
    has not been silent.
    """

    def __init__(
        self,
        enough: float = SILENCE,
        clock: Callable[[], float] = time.monotonic,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """``enough``: seconds. ``busy`` is whether somebody is still at work on an answer; when it returns,
        everybody has seen what had come to him.
        """
        self._enough, self._clock, self._busy = enough, clock, busy
        self.end()

    def end(self) -> None:
        """Something happened."""
        self._seconds, self._looked, self._asked = 0.0, self._clock(), False

    def lasted(self) -> bool:
        """Whether it has lasted long enough by now: to be asked again and again."""
        now = self._clock()
        self._seconds += min(now - self._looked, _GLANCE)
        self._looked = now
        if self._seconds <= self._enough or self._asked:
            return self._asked
        if self._busy():
            self.end()
        else:
            self._asked = True  # what was answered only now is heard before the next look
        return False


class PatientClock:
    """Seconds in which somebody looked, as :class:`Silence` counts them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now, self._looked = 0.0, clock()

    def look(self) -> float:
        """Returns the seconds until now."""
        now = self._clock()
        self._now += min(now - self._looked, _GLANCE)
        self._looked = now
        return self._now
