"""When silence is silence. Imports the clock alone; a slow machine stretches it by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

SILENCE = 0.5  # seconds without any event before what is still silent counts as silent
_GLANCE = 0.02  # seconds of silence at most that one look can prove


class Silence:
    """How long nothing has happened anywhere, as far as somebody looked. A machine, or a guest, that stood still between two looks let nobody
    act: then silence proves nothing, so that no look counts for more than :data:`_GLANCE`."""

    def __init__(self, enough: float = SILENCE, clock: Callable[[], float] = time.monotonic) -> None:
        """``enough``: seconds."""
        self._enough, self._clock = enough, clock
        self.end()

    def end(self) -> None:
        """Something happened."""
        self._seconds, self._looked = 0.0, self._clock()

    def lasted(self) -> bool:
        """Whether it has lasted long enough by now: to be asked again and again."""
        now = self._clock()
        self._seconds += min(now - self._looked, _GLANCE)
        self._looked = now
        return self._seconds > self._enough
