"""The base of every operation: what a kind of operation declares, and the plan that holds operations.

A kind of operation is one module of this package. It declares, beside its fields, its stage, the shell
commands that a person would type for it, and, if it makes something, what tells that thing from others, what
it rests on, what goes with it, and how it is undone. ``kernel.operations`` has one handler for each kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, auto
from typing import ClassVar, TypeAlias

Identity: TypeAlias = tuple[str, ...]
# Something of a kernel that operations rest on, and lose: ("device", netns, name), for example.
Thing: TypeAlias = tuple[str, ...]


class Stage(IntEnum):
    """The order in which the operations of a plan are done: what goes, goes before what comes."""

    DELETE_NEIGHBOURS = auto()
    DELETE_ROUTES = auto()
    DELETE_ADDRESSES = auto()
    DELETE_LINKS = auto()
    DELETE_NAMESPACES = auto()
    NAMESPACES = auto()  # and their sysctls, which new devices copy
    DEVICES = auto()  # links that stand alone
    PAIRS = auto()  # links that may be ports of others
    ADDRESSES = auto()
    ROUTES = auto()  # may name a source address
    NEIGHBOURS = auto()
    SETS = auto()
    SERVERS = auto()
    RULES = auto()  # name the sets that they look into
    CONNECTIONS = auto()  # are forgotten once the new rules hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(ABC):
    """``netns`` is the network namespace that the operation happens in, a safe file name; ``why`` is its
    reason, a sentence.
    """

    stage: ClassVar[Stage]
    tools: ClassVar[tuple[str, ...]] = ()  # that its commands need, beyond those of every script
    preamble: ClassVar[str] = ""  # lines of shell that a script with such an operation begins with

    netns: str
    why: str

    @abstractmethod
    def commands(self) -> Iterator[str]:
        """Yields the lines of shell that do it. Raises ``UnsafeTextError`` for a value that could be read as
        an option or as syntax.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion(Operation):
    """Takes something away. It may be part of a change only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition(Operation):
    """Makes one thing, and may be applied twice."""

    # A changed one is written over the old one; else the old one is undone first.
    in_place: ClassVar[bool] = True

    @property
    @abstractmethod
    def identity(self) -> Identity:
        """Returns what tells the thing from others: of two operations that have the same the later counts."""

    @property
    def carriers(self) -> tuple[Thing, ...]:
        """Returns the things of which each takes this one along when it goes."""
        return ()

    @property
    def supports(self) -> tuple[Thing, ...]:
        """Returns the things with which this one may be lost, or must be made again."""
        return self.carriers

    @property
    def provides(self) -> tuple[Thing, ...]:
        """Returns the things that are lost when this one goes."""
        return ()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Returns the namespaces in which it lies: when they all go, the kernel takes it along."""
        return (self.netns,)

    def is_like(self, other: Addition) -> bool:
        """Returns whether both make the same thing, for whatever reason."""
        return self == other or replace(self, why="") == replace(other, why="")

    def change_from(self, was: Addition) -> Iterator[Operation]:
        """Yields what makes a kernel that holds ``was``, of the same identity, hold this instead."""
        if not self.is_like(was):
            yield self

    @abstractmethod
    def undo(self) -> Iterator[Operation]:
        """Yields what takes the thing away. Raises :class:`UsageError` where that cannot be done."""

    @property
    def no_longer(self) -> str:
        """Returns the reason of what takes the thing away."""
        return f"no longer: {self.why}"


def device(netns: str, name: str) -> Thing:
    """A link, by its name in ``netns``."""
    return "device", netns, name
