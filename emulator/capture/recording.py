"""Records the frames that the taps deliver while flows are sent. Reads the clock only to know when to empty
the taps (:mod:`.ring`).

The bytes of every frame go into a :class:`Capture`. Fields that correlation may need stay decoded until the
moment is judged.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import itemgetter
from struct import Struct
from typing import overload

from ..model.frames import Captured, Frame
from .decode import decode_at
from .ring import Taps
from .spill import Spill

LOOK_EVERY = 0.004  # seconds between two looks at the taps
_LOOK_AFTER = 32  # packets sent between two looks at the taps

MOST_BYTES = 4 << 30  # bytes of the whole capture; later frames are lost
# bytes of frames that belong to no flow, among them: traffic between real commands, ARP
MOST_OTHER_BYTES = 1 << 30
# decoded frames of a moment; beyond that, frames within a connection are in the capture alone
_MANY_FRAMES = 2_000_000

_HEADER = Struct("=qIIHB")  # time, tap, length on the wire, length captured, flags
_OFFSET = Struct("=Q")
_OUTGOING, _STRAY = 1, 2
_ENDS = frozenset("FR")  # flags of a TCP segment that ends its connection


class Capture(Sequence[Captured]):
    """Holds all frames of a run, those of each moment in order of time: a frame's number is its place.

    Memory holds no more than so many bytes of them, and the offsets of one moment.
    """

    def __init__(self) -> None:
        self._spill = Spill()
        self._taps: list[tuple[str, str]] = []  # netns, interface
        self._tap_numbers: dict[tuple[str, str], int] = {}
        self._index = Spill()  # the offset of every frame whose number is final
        self._settled = 0  # how many those are
        self._offsets = array("Q")  # offsets of the others
        self._longest = 0  # bytes of the longest frame

    def __len__(self) -> int:
        return self._settled + len(self._offsets)

    @overload
    def __getitem__(self, number: int) -> Captured: ...
    @overload
    def __getitem__(self, number: slice) -> list[Captured]: ...
    def __getitem__(self, number: int | slice) -> Captured | list[Captured]:
        if isinstance(number, slice):
            return [self[index] for index in range(*number.indices(len(self)))]
        row, at = self._spill.find(self._find(number), _HEADER.size + self._longest)
        stamp, tap, length, captured, flags = _HEADER.unpack_from(row, at)
        at += _HEADER.size
        netns, interface = self._taps[tap]
        data = bytes(row[at : at + captured])
        return tuple.__new__(
            Captured, (stamp, netns, interface, flags & _OUTGOING != 0, length, data, flags & _STRAY != 0)
        )

    def _find(self, number: int) -> int:
        """Returns the offset of frame ``number``; raises IndexError if there is none."""
        number = range(len(self))[number]
        if number >= self._settled:
            return self._offsets[number - self._settled]
        row, at = self._index.find(number * _OFFSET.size, _OFFSET.size)
        offset: int = _OFFSET.unpack_from(row, at)[0]
        return offset

    def __iter__(self) -> Iterator[Captured]:
        return map(self.__getitem__, range(len(self)))

    def append(
        self,
        stamp: int,
        netns: str,
        interface: str,
        outgoing: bool,
        length: int,
        data: memoryview,
        begin: int,
        end: int,
        stray: bool,
    ) -> bool:
        """Adds a frame (:class:`Captured`) whose bytes are those of ``data`` from ``begin`` to ``end``;
        returns whether there was room.
        """
        place = (netns, interface)
        tap = self._tap_numbers.get(place)
        if tap is None:
            tap = self._tap_numbers[place] = len(self._taps)
            self._taps.append(place)
        spill, captured = self._spill, end - begin
        at = spill.size
        if at > MOST_BYTES:
            return False
        try:
            spill.append(_HEADER.pack(stamp, tap, length, captured, outgoing | stray << 1), data[begin:end])
        except OSError:
            return False
        self._offsets.append(at)
        if captured > self._longest:
            self._longest = captured
        return True

    def reorder(self, order: Sequence[int]) -> None:
        """Puts the frames whose numbers are not final into ``order``: their places among these."""
        self._offsets = array("Q", map(self._offsets.__getitem__, order))

    def settle(self) -> None:
        """Makes the numbers of the frames so far final."""
        with suppress(OSError), memoryview(self._offsets) as offsets:  # on failure they stay in memory
            self._index.append(b"", offsets.cast("B"))
            self._settled, self._offsets = len(self), array("Q")

    def close(self) -> None:
        self._spill.close()
        self._index.close()


class Recording:
    """Records all frames that the taps deliver.

    ``capture`` holds them all, if they are to be kept (``keep``). ``frames`` are those of the present moment,
    decoded, that concern a flow: the others are neither TCP nor carry a token. ``count`` is how many frames
    came so far.
    """

    def __init__(self, taps: Taps, *, keep: bool = True) -> None:
        self._taps, self._keep = taps, keep
        self._drained, self._unseen = 0.0, 0
        self.capture = Capture()
        self.frames: list[Frame] = []
        self.count = 0
        self.left_out = 0  # frames of no flow for which there was no room
        self._first = 0  # the number of the present moment's first frame
        self._stamps = array("q")  # times of the present moment's frames, in order of arrival
        self._others = 0  # bytes of frames that belong to no flow
        self._refused = 0  # frames for which there was no room
        self._lost_before = 0

    def drain(self) -> int:
        """Takes the frames that have come; returns how many."""
        before, number, keep = self.count, self._first + len(self._stamps), self._keep
        append, stamped, frames = self.capture.append, self._stamps.append, self.frames
        for stamp, netns, interface, outgoing, length, data, begin, end, stray in self._taps.read():
            self.count += 1
            frame = decode_at(number, stamp, netns, interface, outgoing, length, data, begin, end, stray)
            concerns_flows = frame[12] or frame[5] == "TCP"  # its token, its protocol
            if keep and not concerns_flows:
                self._others += end - begin
                if self._others > MOST_OTHER_BYTES:
                    self.left_out += 1
                    continue
            if keep and not append(stamp, netns, interface, outgoing, length, data, begin, end, stray):
                self._refused += 1
                continue
            stamped(stamp)
            number += 1
            if concerns_flows and (
                frame[12] or len(frames) < _MANY_FRAMES or not _ENDS.isdisjoint(frame[11])
            ):
                frames.append(frame)
        return self.count - before

    def look(self) -> bool:
        """Takes the frames that have come, before the rings can be full: at every so many calls (one for each
        packet sent), or after so much time. Returns whether any had come.
        """
        self._unseen += 1
        now = time.monotonic()
        if self._unseen < _LOOK_AFTER and now - self._drained <= LOOK_EVERY:
            return False
        self._drained, self._unseen = now, 0
        return bool(self.drain())

    def finish(self) -> None:
        """Takes the last frames of the moment. If they are kept, puts them in order of time: a frame's number
        is then its place in the capture that Wireshark shows. Else it is its place among those that came.
        """
        self.drain()
        if not self._keep:
            return
        stamps, first, count = self._stamps, self._first, len(self._stamps)
        self.frames.sort(key=itemgetter(1))
        order = sorted(range(count), key=stamps.__getitem__)
        self.capture.reorder(order)
        places = array("Q", bytes(8 * count))
        for place, index in enumerate(order, first):
            places[index] = place
        self._stamps = array("q", map(stamps.__getitem__, order))
        new = tuple.__new__
        self.frames = [new(Frame, (places[frame[0] - first], *frame[1:])) for frame in self.frames]

    def begin_moment(self) -> None:
        """Drops the decoded frames of the moment that was judged."""
        self._first += len(self._stamps)
        self.frames, self._stamps = [], array("q")
        self.capture.settle()
        self._lost_before = self.lost()

    def lost(self) -> int:
        """Returns how many frames were lost so far: their ring was full, or the capture."""
        return self._taps.lost() + self._refused

    def lost_now(self) -> int:
        """Returns how many of them were lost in the present moment."""
        return self.lost() - self._lost_before

    def close(self) -> None:
        self.capture.close()
