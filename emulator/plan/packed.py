"""Keeps a plan that is needed later in little memory: its operations are compressed, and read when they are
asked for.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast, overload

from .operations import Operation, Plan

_LEVEL = 1  # zlib's fastest, with which operations take a seventh of their size


def pack(plan: Plan) -> Plan:
    """Returns ``plan`` with its operations compressed."""
    data = zlib.compress(pickle.dumps(tuple(plan.operations), pickle.HIGHEST_PROTOCOL), _LEVEL)
    return replace(plan, operations=_Packed(data, len(plan.operations)))


class _Packed(Sequence[Operation]):
    """Reads the operations anew each time that one of them, or all, are asked for."""

    __slots__ = ("_count", "_data")

    def __init__(self, data: bytes, count: int) -> None:
        self._data, self._count = data, count

    def _unpack(self) -> tuple[Operation, ...]:
        return cast(tuple[Operation, ...], pickle.loads(zlib.decompress(self._data)))  # noqa: S301 - our own

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Operation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Operation]: ...
    def __getitem__(self, index: int | slice) -> Operation | Sequence[Operation]:
        return self._unpack()[index]

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._unpack() if self._count else ())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))
