"""Makes and deletes links: bridges, dummies, veth pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from . import words
from .operation import Addition, Deletion, Identity, Stage, Thing, device


@dataclass(frozen=True, slots=True, kw_only=True)
class AddLink(Addition):
    """Makes the link ``name``: the base of such operations. A link that changes is deleted and made again."""

    in_place = False

    name: str

    @property
    def identity(self) -> Identity:
        return "link", self.netns, self.name

    @property
    def provides(self) -> tuple[Thing, ...]:
        return (device(self.netns, self.name),)

    def undo(self) -> Iterator[Deletion]:
        yield DelLink(netns=self.netns, name=self.name, why=self.no_longer)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddBridge(AddLink):
    """Makes a bridge that is up. ``mac`` is fixed, or the bridge would take its lowest port's."""

    stage = Stage.DEVICES

    mac: str

    def commands(self) -> Iterator[str]:
        link = f"link add name {words.name(self.name)} address {words.word(self.mac)} type bridge"
        yield words.ip(self.netns, link)
        yield words.ip(self.netns, f"link set dev {words.name(self.name)} up")


@dataclass(frozen=True, slots=True, kw_only=True)
class AddDummy(AddLink):
    """Makes a dummy interface that is down: it carries no packets, and its addresses are local ones."""

    stage = Stage.DEVICES

    def commands(self) -> Iterator[str]:
        yield words.ip(self.netns, f"link add name {words.name(self.name)} type dummy")


@dataclass(frozen=True, slots=True, kw_only=True)
class AddVeth(AddLink):
    """Makes a veth pair, both ends up: ``name`` in ``netns`` and ``peer`` in ``peer_netns``.

    ``bridge`` / ``peer_bridge``: the bridge of which that end is a port ("" if none). The bridge gets a
    static entry for the MAC of the other end: a machine with permanent neighbour entries sends no ARP request
    that the bridge could learn from, and a frame for an unknown MAC is flooded to every port. ``hairpin``:
    that port may send a frame back out where it came in.
    """

    stage = Stage.PAIRS

    mac: str
    peer_netns: str
    peer: str
    peer_mac: str
    bridge: str = ""
    peer_bridge: str = ""
    hairpin: bool = False
    peer_hairpin: bool = False

    @property
    def supports(self) -> tuple[Thing, ...]:
        return device(self.netns, self.bridge), device(self.peer_netns, self.peer_bridge)

    @property
    def provides(self) -> tuple[Thing, ...]:
        return device(self.netns, self.name), device(self.peer_netns, self.peer)

    @property
    def namespaces(self) -> tuple[str, ...]:
        return self.netns, self.peer_netns

    def commands(self) -> Iterator[str]:
        peer = (
            f"peer name {words.name(self.peer)} address {words.word(self.peer_mac)} "
            f"netns {words.name(self.peer_netns)}"
        )
        link = f"link add name {words.name(self.name)} address {words.word(self.mac)} type veth {peer}"
        yield words.ip(self.netns, link)
        ends = (
            (self.netns, self.name, self.bridge, self.hairpin, self.peer_mac),
            (self.peer_netns, self.peer, self.peer_bridge, self.peer_hairpin, self.mac),
        )
        for netns, name, bridge, hairpin, other in ends:
            dev = f"link set dev {words.name(name)}"
            if bridge:
                yield words.ip(netns, f"{dev} master {words.name(bridge)}")
                entry = f"{words.word(other)} dev {words.name(name)} master static"
                yield f"bridge -n {words.name(netns)} fdb replace {entry}"
            if hairpin:
                yield words.ip(netns, f"{dev} type bridge_slave hairpin on")
            yield words.ip(netns, f"{dev} up")


@dataclass(frozen=True, slots=True, kw_only=True)
class DelLink(Deletion):
    """Deletes a link, with its addresses, routes and neighbours; with one end of a veth pair goes the
    other.
    """

    stage = Stage.DELETE_LINKS

    name: str

    def commands(self) -> Iterator[str]:
        yield words.ip(self.netns, f"link delete dev {words.name(self.name)}")
