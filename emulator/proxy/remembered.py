"""What was worked out of a state, for as long as somebody has that state. Pure: to have forgotten costs time,
and changes nothing.
"""

from __future__ import annotations

from typing import Generic, TypeVar
from weakref import ref

from emulator.cluster.state import ClusterState

T = TypeVar("T")


class Remembered(Generic[T]):
    """One value a state, told by identity: states are large, and to compare two of them costs more than most
    of what is remembered.
    """

    def __init__(self) -> None:
        self._values: dict[int, tuple[ref[ClusterState], T]] = {}

    def get(self, state: ClusterState) -> T | None:
        found = self._values.get(id(state))
        return found[1] if found else None

    def put(self, state: ClusterState, value: T) -> T:
        key = id(state)
        self._values[key] = (ref(state, lambda _: self._values.pop(key, None)), value)
        return value
