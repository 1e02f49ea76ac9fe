"""The operations that a plan is made of. Each is a frozen value, says ``why``, and can be printed, compared
and applied.

``netns`` is the network namespace that the operation happens in (``ip netns exec`` form), a safe file name.
MACs are ``aa:bb:cc:dd:ee:ff``; addresses and routes are CIDR strings. Imports ``plan.rules`` and
``plan.ipvs`` alone. Invariant: a plan of a whole cluster only adds, and may be applied twice; the plan of a
change (:mod:`emulator.plan.difference`) also deletes, and is applied once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from emulator.objects.config import IPVSTimeouts
from emulator.plan.ipvs import AddressSet, VirtualServer
from emulator.plan.rules import RuleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNetns:
    """A network namespace of its own, with ``lo`` up."""

    netns: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSysctl:
    """``key`` in dotted form (``net.ipv4.ip_forward``)."""

    netns: str
    key: str
    value: str
    why: str
    # not every kernel has this key in a namespace of its own: where it is absent, go on
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetDevices:
    """Gives a new namespace the kernel's own ``net.ipv4.conf``, whatever the host has:
    :mod:`emulator.plan.sysctls`.
    """

    netns: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddBridge:
    """A bridge that is up. ``mac`` is fixed, or the bridge would take its lowest port's."""

    netns: str
    name: str
    mac: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddDummy:
    """A dummy interface that is down: it carries nothing, and its addresses are local ones."""

    netns: str
    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddVeth:
    """A veth pair, both ends up: ``name`` in ``netns`` and ``peer`` in ``peer_netns``.

    ``bridge`` / ``peer_bridge``: the bridge that end is a port of ("" if none). It knows the MAC of the other
    end: who has permanent neighbour entries sends no ARP request that it could learn from, and a frame for an
    unknown MAC goes to every port. ``hairpin``: that port may send a frame back out where it came in.
    """

    netns: str
    name: str
    mac: str
    peer_netns: str
    peer: str
    peer_mac: str
    why: str
    bridge: str = ""
    peer_bridge: str = ""
    hairpin: bool = False
    peer_hairpin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAddress:
    """``address`` is ``a.b.c.d/len``."""

    netns: str
    dev: str
    address: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRoute:
    """``dst`` is a prefix or "default"; ``via`` "" means on-link (scope link). ``onlink``: ``via`` needs no
    route of its own.
    """

    netns: str
    dst: str
    dev: str
    why: str
    via: str = ""
    onlink: bool = False
    src: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNeighbour:
    """A permanent neighbour entry (ARP, or NDP for IPv6): ``address`` (without length) has ``mac`` on
    ``dev``.
    """

    netns: str
    dev: str
    address: str
    mac: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNeighbourDefaults:
    """Gives ``dev`` the kernel's own way to ask for neighbours
    (:data:`emulator.plan.sysctls.NEIGHBOUR_DEFAULTS`), whatever new devices copy from the host.
    ``reachable``: milliseconds that an answer is believed on average without asking again
    (base_reachable_time).
    """

    netns: str
    dev: str
    why: str
    reachable: int = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRules:
    """One atomic load of rule text: ``tool`` reads ``text`` on its standard input (iptables-restore
    --noflush, nft -f -).

    ``rules``: what the tables hold after it, from which a later change is worked out; without it a change
    loads everything again.
    """

    netns: str
    tool: Literal["iptables-restore", "nft"]
    text: str
    why: str
    rules: RuleSet | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadIpset:
    """Sets of addresses: ``ipset -exist restore`` reads ``text``. ``sets``: what they hold after it, from
    which a later change is worked out.
    """

    netns: str
    text: str
    why: str
    sets: tuple[AddressSet, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadIpvs:
    """The kernel's IPVS balances ``servers``: exactly these if ``was`` is None; else they take the place of
    ``was``, and others are left alone. ``timeouts`` are set where they are not 0.
    """

    netns: str
    servers: tuple[VirtualServer, ...]
    why: str
    was: tuple[VirtualServer, ...] | None = None
    timeouts: IPVSTimeouts = IPVSTimeouts()


@dataclass(frozen=True, slots=True, kw_only=True)
class DelNetns:
    """The namespace's name goes, and our hold on it; the kernel takes the rest when the last socket in it is
    closed.
    """

    netns: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DelLink:
    """A link, with its addresses, routes and neighbours; of a veth pair the other end too."""

    netns: str
    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DelAddress:
    """What :class:`AddAddress` added."""

    netns: str
    dev: str
    address: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DelRoute:
    """What :class:`AddRoute` added with these values."""

    netns: str
    dst: str
    dev: str
    why: str
    via: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelNeighbour:
    """What :class:`AddNeighbour` added."""

    netns: str
    dev: str
    address: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DelConnections:
    """Forget connections to ``dialled`` that ``server`` answers (both ``ip:port``; the same one where nothing
    was translated).

    The next packet is a new connection's, and meets the rules as they are now. There may be no such
    connection.
    """

    netns: str
    protocol: Literal["UDP"]
    dialled: str
    server: str
    why: str


Addition: TypeAlias = (
    AddNetns
    | ResetDevices
    | SetSysctl
    | AddBridge
    | AddDummy
    | AddVeth
    | AddAddress
    | AddRoute
    | AddNeighbour
    | SetNeighbourDefaults
    | LoadIpset
    | LoadIpvs
    | LoadRules
)
Deletion: TypeAlias = DelNetns | DelLink | DelAddress | DelRoute | DelNeighbour | DelConnections
Operation: TypeAlias = Addition | Deletion


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Operations in the order in which they must be applied."""

    name: str
    operations: tuple[Operation, ...]

    @property
    def netns(self) -> tuple[str, ...]:
        """The network namespaces that the plan makes, in order."""
        return tuple(op.netns for op in self.operations if isinstance(op, AddNetns))
