"""What the taps deliver while flows are sent. Imports the kernel room's taps; looks at the clock only to know when to empty them."""

from __future__ import annotations

import time

from emulator.kernel.ring import Taps
from emulator.probe.decode import decode
from emulator.probe.model import Captured, Frame

LOOK_EVERY = 0.004  # seconds between two looks at the taps
_LOOK_AFTER = 32  # packets sent between two looks at the taps


class Recording:
    """All that the taps delivered, raw and decoded, index by index."""

    def __init__(self, taps: Taps) -> None:
        self._taps = taps
        self._drained, self._unseen = 0.0, 0
        self.captured: list[Captured] = []
        self.frames: list[Frame] = []

    def drain(self) -> list[Frame]:
        """Take what has come; the new frames, decoded."""
        new = self._taps.drain()
        first = len(self.captured)
        self.captured += new
        frames = [decode(number, captured) for number, captured in enumerate(new, first)]
        self.frames += frames
        return frames

    def look(self) -> bool:
        """Take what has come before the rings can be full: with every so many calls (one a packet that is sent), or after so much time. Whether
        something had come."""
        self._unseen += 1
        now = time.monotonic()
        if self._unseen < _LOOK_AFTER and now - self._drained <= LOOK_EVERY:
            return False
        self._drained, self._unseen = now, 0
        return bool(self.drain())

    def finish(self) -> None:
        """Put everything in order of time: a frame's number is then its place in the capture that Wireshark shows."""
        self.drain()
        order = sorted(range(len(self.captured)), key=lambda number: self.captured[number].time)
        self.captured = [self.captured[number] for number in order]
        self.frames = [self.frames[number]._replace(number=place) for place, number in enumerate(order)]

    def lost(self) -> int:
        return self._taps.lost()
