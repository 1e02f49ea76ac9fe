"""Adds and deletes neighbour entries, and sets how a link resolves neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...errors import UsageError
from ...net import Address, Family
from ..sysctls import NEIGHBOUR_DEFAULTS
from . import words
from .operation import Addition, Deletion, Identity, Stage, Thing, device


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNeighbour(Addition):
    """Adds a permanent neighbour entry (ARP, or NDP for IPv6): ``address`` has ``mac`` on
    ``dev``.
    """

    stage = Stage.NEIGHBOURS

    dev: str
    address: Address
    mac: str

    @property
    def identity(self) -> Identity:
        return "neighbour", self.netns, self.dev, self.address

    @property
    def carriers(self) -> tuple[Thing, ...]:
        return (device(self.netns, self.dev),)

    def commands(self) -> Iterator[str]:
        yield words.ip(
            self.netns,
            f"neighbour replace {words.word(self.address)} lladdr {words.word(self.mac)}",
            f"dev {words.name(self.dev)} nud permanent",
        )

    def undo(self) -> Iterator[Deletion]:
        yield DelNeighbour(netns=self.netns, dev=self.dev, address=self.address, why=self.no_longer)


@dataclass(frozen=True, slots=True, kw_only=True)
class DelNeighbour(Deletion):
    """Deletes what :class:`AddNeighbour` added."""

    stage = Stage.DELETE_NEIGHBOURS

    dev: str
    address: Address

    def commands(self) -> Iterator[str]:
        yield words.ip(self.netns, f"neighbour delete {words.word(self.address)} dev {words.name(self.dev)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNeighbourDefaults(Addition):
    """Gives ``dev`` the kernel's own neighbour parameters (:data:`emulator.plan.sysctls.NEIGHBOUR_DEFAULTS`)
    in place of those that new devices copy from the host. ``reachable``: base_reachable_time in milliseconds,
    the mean lifetime of a REACHABLE neighbour entry.
    """

    stage = Stage.NEIGHBOURS

    dev: str
    family: Family
    reachable: int = 30_000

    @property
    def identity(self) -> Identity:
        return "reachable", self.netns, self.dev, self.family.word

    @property
    def carriers(self) -> tuple[Thing, ...]:
        return (device(self.netns, self.dev),)

    def commands(self) -> Iterator[str]:
        parameters = (("base_reachable", self.reachable), *NEIGHBOUR_DEFAULTS)
        yield words.ip(
            self.netns,
            f"ntable change name {self.family.neighbour_table} dev {words.name(self.dev)}",
            *(f"{name} {value:d}" for name, value in parameters),
        )

    def undo(self) -> Iterator[Deletion]:
        raise UsageError(
            f"how long {self.dev} in {self.netns} believes its neighbours was set, "
            "and the time before is not known: start a new run"
        )
