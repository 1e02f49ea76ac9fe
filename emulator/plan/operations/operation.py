"""Defines the base of every operation: the declarations of a kind of operation, and the plan that holds
operations.

A kind of operation is one module of this package. Beside its fields it declares its stage and the shell
commands that a person would type for it. If it makes a thing, it also declares the identity of that thing,
what it rests on, what goes with it, and how it is undone. ``kernel.operations`` has one handler for each
kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, auto
from typing import ClassVar, TypeAlias

Identity: TypeAlias = tuple[str, ...]
# A thing of a kernel that operations rest on, and lose: ("device", netns, name), for example.
Thing: TypeAlias = tuple[str, ...]


class Stage(IntEnum):
    """Orders the operations of a plan: deletions come before additions."""

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
    CONNECTIONS = auto()  # deleted once the new rules are loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(ABC):
    """Describes one operation. ``netns`` is the network namespace in which it happens, a safe file name;
    ``why`` is its reason, a sentence.
    """

    stage: ClassVar[Stage]
    tools: ClassVar[tuple[str, ...]] = ()  # tools of its commands, beyond those of every script
    preamble: ClassVar[str] = ""  # lines of shell at the beginning of a script with such an operation

    netns: str
    why: str

    @abstractmethod
    def commands(self) -> Iterator[str]:
        """Yields its lines of shell. Raises ``UnsafeTextError`` for a value that could be read as an option
        or as syntax.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion(Operation):
    """Deletes a thing. It may be part of a change only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition(Operation):
    """Makes one thing, and may be applied twice."""

    # A changed one is written over the old one; without this the old one is undone first.
    in_place: ClassVar[bool] = True

    @property
    @abstractmethod
    def identity(self) -> Identity:
        """Returns the identity of its thing: the later of two operations with the same identity counts."""

    @property
    def carriers(self) -> tuple[Thing, ...]:
        """Returns the things each of which takes this one along when it goes."""
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
        """Returns the namespaces that hold it: when they all go, the kernel deletes it with them."""
        return (self.netns,)

    def is_like(self, other: Addition) -> bool:
        """Returns whether both make the same thing, for whatever reason."""
        return self == other or replace(self, why="") == replace(other, why="")

    def change_from(self, was: Addition) -> Iterator[Operation]:
        """Yields the operations that turn ``was`` (of the same identity) into this."""
        if not self.is_like(was):
            yield self

    @abstractmethod
    def undo(self) -> Iterator[Operation]:
        """Yields the operations that delete the thing. Raises :class:`UsageError` if that cannot be done."""

    @property
    def no_longer(self) -> str:
        """Returns the reason of its deletion."""
        return f"no longer: {self.why}"


def device(netns: str, name: str) -> Thing:
    """Names a link ``name`` in ``netns``."""
    return "device", netns, name
