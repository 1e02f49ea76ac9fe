"""Adds and deletes routes of the main table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...net import IPV6, Address, Prefix
from . import words
from .addresses import addresses_of, source
from .operation import Addition, Deletion, Identity, Stage, Thing, device


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRoute(Addition):
    """Adds or replaces the route to ``dst``; one of length 0 is the default route. ``via`` None means on-link
    (scope link). ``onlink``: ``via`` needs no route of its own.
    """

    stage = Stage.ROUTES

    dst: Prefix
    dev: str
    via: Address | None = None
    onlink: bool = False
    src: Address | None = None

    @property
    def identity(self) -> Identity:
        return "route", self.netns, self.dst

    @property
    def carriers(self) -> tuple[Thing, ...]:
        return (device(self.netns, self.dev),)

    @property
    def supports(self) -> tuple[Thing, ...]:
        """Returns the device, its addresses and the source: its routes may go with an address, and adding
        them again does no harm.
        """
        return device(self.netns, self.dev), addresses_of(self.netns, self.dev), source(self.netns, self.src)

    def commands(self) -> Iterator[str]:
        yield words.ip(
            self.netns,
            _route(self.dst, "add"),
            *([f"via {words.word(self.via)}"] if self.via else []),
            f"dev {words.name(self.dev)}",
            *([f"src {words.word(self.src)}"] if self.src else []),
            *(["onlink"] if self.onlink else []),
            *([] if self.via else ["scope link"]),
        )

    def undo(self) -> Iterator[Deletion]:
        yield DelRoute(netns=self.netns, dst=self.dst, dev=self.dev, via=self.via, why=self.no_longer)


@dataclass(frozen=True, slots=True, kw_only=True)
class DelRoute(Deletion):
    """Deletes what :class:`AddRoute` added with these values."""

    stage = Stage.DELETE_ROUTES

    dst: Prefix
    dev: str
    via: Address | None = None

    def commands(self) -> Iterator[str]:
        yield words.ip(
            self.netns,
            _route(self.dst, "delete"),
            *([f"via {words.word(self.via)}"] if self.via else []),
            f"dev {words.name(self.dev)}",
            *([] if self.via else ["scope link"]),
        )


def _route(dst: Prefix, verb: str) -> str:
    """Returns iproute2's words. Without the option, the default route is IPv4's."""
    option = f"{dst.family.iproute2} " if dst.family is IPV6 else ""
    return f"{option}route {verb} {words.word(dst) if dst.length else 'default'}"
