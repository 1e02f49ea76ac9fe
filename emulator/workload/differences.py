"""Encodes a state as its difference from the one before: the fields that differ, and of long ones only the
part between their common beginning and end. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from operator import is_
from typing import Any, NamedTuple

from ..cluster.state import ClusterState

# no server, speaker or proxy needs these
_NOT_TOLD = frozenset({"namespaces", "workloads", "endpoints", "uninterpreted", "notices", "warnings"})
# those that the kernel, or a process beside the rules, depends on
TOLD = tuple(field.name for field in fields(ClusterState) if field.name not in _NOT_TOLD)


class Splice(NamedTuple):
    """Describes a splice: ``middle`` replaces the part of an old tuple between its first ``begin`` and its
    last ``end`` elements.
    """

    begin: int
    end: int
    middle: tuple[Any, ...]


Difference = Mapping[str, Any]


def difference(old: ClusterState, new: ClusterState) -> Difference:
    """Returns the difference with which :func:`patch` turns ``old`` into ``new``. It costs what differs, if
    the states share the rest.
    """
    changed = {}
    for name in TOLD:
        was, now = getattr(old, name), getattr(new, name)
        if was is not now:
            changed[name] = _splice(was, now) if isinstance(now, tuple) else now
    return changed


def patch(old: ClusterState, changed: Difference) -> ClusterState:
    """Returns the state for the difference ``changed``."""
    return replace(old, **{name: _patched(getattr(old, name), part) for name, part in changed.items()})


def _splice(was: tuple[Any, ...], now: tuple[Any, ...]) -> Splice:
    shared = min(len(was), len(now))
    begin = next((i for i, same in enumerate(map(is_, was, now)) if not same), shared)
    rest = shared - begin
    backwards = map(is_, reversed(was), reversed(now))
    end = min(next((i for i, same in enumerate(backwards) if not same), rest), rest)
    return Splice(begin, end, now[begin : len(now) - end])


def _patched(was: Any, part: Any) -> Any:
    if not isinstance(part, Splice):
        return part
    return (*was[: part.begin], *part.middle, *was[len(was) - part.end :])
