"""Keeps the journeys of earlier moments out of memory: the report reads them again, flow by flow."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, overload

from ..capture.spill import Spill
from ..model.journeys import Journey
from ..model.results import FlowResult

_IN_MEMORY = 1 << 18  # bytes


class Journeys:
    """Stores journeys as bytes: few of them in memory, more in a file without a name."""

    def __init__(self) -> None:
        self._spill = Spill(_IN_MEMORY)
        self._last: tuple[int, Sequence[Journey]] = (-1, ())  # the last ones read, and where they begin

    def put(self, result: FlowResult) -> FlowResult:
        """Returns ``result`` with its journeys stored here; as it is if there is no place for them."""
        if not result.journeys or isinstance(result.journeys, _Stored):
            return result
        data = pickle.dumps(tuple(result.journeys), pickle.HIGHEST_PROTOCOL)
        begin = self._spill.size
        try:
            self._spill.append(data, memoryview(b""))
        except OSError:  # the disk is full
            return result
        return replace(result, journeys=_Stored(self, begin, len(data), len(result.journeys)))

    def get(self, begin: int, length: int) -> Sequence[Journey]:
        """Returns the journeys that lie in ``length`` bytes from ``begin`` on."""
        if self._last[0] != begin:
            data, at = self._spill.find(begin, length)
            self._last = begin, pickle.loads(data[at : at + length])  # noqa: S301 - our own
        return self._last[1]


class _Stored(Sequence[Journey]):
    """Reads the journeys of one flow when they are asked for. Another process gets them as they are."""

    __slots__ = ("_begin", "_count", "_length", "_place")

    def __init__(self, place: Journeys, begin: int, length: int, count: int) -> None:
        self._place, self._begin, self._length, self._count = place, begin, length, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Journey: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Journey]: ...
    def __getitem__(self, index: int | slice) -> Journey | Sequence[Journey]:
        return self._place.get(self._begin, self._length)[index]

    def __iter__(self) -> Iterator[Journey]:
        return iter(self._place.get(self._begin, self._length))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (tuple(self),)
