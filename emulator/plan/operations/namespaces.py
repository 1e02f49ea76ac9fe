"""Makes and deletes network namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from . import words
from .operation import Addition, Deletion, Identity, Stage, Thing


def namespace(netns: str) -> Thing:
    """Names the namespace ``netns``."""
    return "netns", netns


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNetns(Addition):
    """Makes a network namespace with ``lo`` up."""

    stage = Stage.NAMESPACES

    @property
    def identity(self) -> Identity:
        return namespace(self.netns)

    @property
    def provides(self) -> tuple[Thing, ...]:
        return (namespace(self.netns),)

    @property
    def namespaces(self) -> tuple[str, ...]:
        return ()

    def commands(self) -> Iterator[str]:
        yield f"ip netns add {words.name(self.netns)}"
        yield words.ip(self.netns, "link set dev lo up")

    def undo(self) -> Iterator[Deletion]:
        yield DelNetns(netns=self.netns, why=self.no_longer)


@dataclass(frozen=True, slots=True, kw_only=True)
class DelNetns(Deletion):
    """Deletes the namespace's name, and podwire's reference to it. The kernel deletes the namespace when the
    last socket in it is closed.
    """

    stage = Stage.DELETE_NAMESPACES

    def commands(self) -> Iterator[str]:
        yield f"ip netns delete {words.name(self.netns)}"
