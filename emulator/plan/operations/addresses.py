"""Adds and deletes addresses of links."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...net import Address, InterfaceAddress
from . import words
from .operation import Addition, Deletion, Identity, Stage, Thing, device


def source(netns: str, address: Address | None) -> Thing:
    """Names an address of ``netns`` that routes may have as their source."""
    return "source", netns, address or ""


def addresses_of(netns: str, dev: str) -> Thing:
    """Names all addresses of ``dev``: with the last one it loses its routes (net/ipv4/fib_frontend.c)."""
    return "addresses", netns, dev


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAddress(Addition):
    """Gives ``dev`` an ``address``."""

    stage = Stage.ADDRESSES

    dev: str
    address: InterfaceAddress

    @property
    def identity(self) -> Identity:
        return "address", self.netns, self.dev, self.address

    @property
    def carriers(self) -> tuple[Thing, ...]:
        return (device(self.netns, self.dev),)

    @property
    def supports(self) -> tuple[Thing, ...]:
        return device(self.netns, self.dev), self._subnets

    @property
    def provides(self) -> tuple[Thing, ...]:
        address, length = self.address.address, self.address.length
        things = source(self.netns, address), addresses_of(self.netns, self.dev)
        return things if length == address.family.bits else (*things, self._subnets)

    @property
    def _subnets(self) -> Thing:
        """Names the subnets of an interface: a primary address takes its subnet's secondary ones along
        (net/ipv4/devinet.c).
        """
        return "subnets", self.netns, self.dev

    def commands(self) -> Iterator[str]:
        yield words.ip(self.netns, f"address add {words.word(self.address)} dev {words.name(self.dev)}")

    def undo(self) -> Iterator[Deletion]:
        yield DelAddress(netns=self.netns, dev=self.dev, address=self.address, why=self.no_longer)


@dataclass(frozen=True, slots=True, kw_only=True)
class DelAddress(Deletion):
    """Deletes what :class:`AddAddress` added."""

    stage = Stage.DELETE_ADDRESSES

    dev: str
    address: InterfaceAddress

    def commands(self) -> Iterator[str]:
        yield words.ip(self.netns, f"address delete {words.word(self.address)} dev {words.name(self.dev)}")
