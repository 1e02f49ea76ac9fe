"""What must be done to a kernel that holds one plan so that it holds another one. Pure.

A plan of a whole cluster says what there is; each of its operations makes one thing, told by
:func:`_identity`. What is in both plans costs nothing. First goes what is no longer wanted: neighbours,
routes and addresses, then links, then namespaces; then comes what is new, in the order of the new plan, rules
last. What the kernel takes away together with something else (a link's addresses and routes, the routes whose
source address goes) is not deleted again, and is added again where it is still wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from emulator.errors import UsageError
from emulator.objects.config import IPVSTimeouts
from emulator.plan.ipvs import ipset_change
from emulator.plan.operations import (
    AddAddress,
    AddBridge,
    AddDummy,
    Addition,
    AddNeighbour,
    AddNetns,
    AddRoute,
    AddVeth,
    DelAddress,
    Deletion,
    DelLink,
    DelNeighbour,
    DelNetns,
    DelRoute,
    LoadIpset,
    LoadIpvs,
    LoadRules,
    Operation,
    Plan,
    ResetDevices,
    SetNeighbourDefaults,
    SetSysctl,
)
from emulator.plan.rules import RuleSet, compose_change, compose_nft_change

Identity: TypeAlias = tuple[str, ...]
Device: TypeAlias = tuple[str, str]  # namespace, name

_ORDER = (DelNeighbour, DelRoute, DelAddress, DelLink, DelNetns)
_NFT_TABLE = re.compile(r"^table (\w+ [\w-]+) \{", re.MULTILINE)


def difference(old: Plan, new: Plan) -> Plan:
    """The operations that turn a kernel that holds ``old`` into one that holds ``new``, in an order that can
    be applied.

    Both are plans of whole clusters: ``ValueError`` for one that deletes. Raises :class:`UsageError` for a
    sysctl that ``new`` no longer sets, since its value before is not known, and for IPVS and its sets, which
    nobody takes away. (Only another configuration of kube-proxy does that, which needs a restart in a
    cluster, too.)
    """
    before, after = _things(old), _things(new)
    lost = _Lost(before, after)
    deletions = sorted(lost.deletions(), key=lambda op: _ORDER.index(type(op)))
    additions: list[Operation] = []
    for identity, op in after.items():
        was = before.get(identity)
        if isinstance(op, LoadRules):
            additions += _changed_rules(was, op)
        elif isinstance(op, LoadIpset) and isinstance(was, LoadIpset):
            additions += _changed_sets(was, op)
        elif isinstance(op, LoadIpvs) and isinstance(was, LoadIpvs):
            additions += _changed_servers(was, op)
        elif was is None or lost.concerns(op) or not _same(was, op):
            additions.append(op)
    for identity, op in before.items():
        if isinstance(op, LoadRules) and identity not in after and op.netns not in lost.netns:
            additions += _no_rules(op)
    return Plan(name=new.name, operations=(*deletions, *additions))


def _things(plan: Plan) -> dict[Identity, Addition]:
    """What the plan makes, by what tells one thing from another; of two operations that make the same thing
    the later one counts.
    """
    things: dict[Identity, Addition] = {}
    for op in plan.operations:
        if isinstance(op, Deletion):
            raise ValueError(f"the plan of a change does not say what there is: {op}")
        identity = _identity(op)
        things.pop(identity, None)
        things[identity] = op
    return things


def _identity(op: Addition) -> Identity:
    match op:
        case AddNetns():
            return ("netns", op.netns)
        case ResetDevices():
            return ("devices", op.netns)
        case SetSysctl():
            return ("sysctl", op.netns, op.key)
        case AddBridge() | AddDummy() | AddVeth():
            return ("link", op.netns, op.name)
        case AddAddress():
            return ("address", op.netns, op.dev, op.address)
        case AddRoute():
            return ("route", op.netns, op.dst)
        case AddNeighbour():
            return ("neighbour", op.netns, op.dev, op.address)
        case SetNeighbourDefaults():
            return ("reachable", op.netns, op.dev)
        case LoadRules():
            return ("rules", op.netns, op.tool)
        case LoadIpset():
            return ("ipset", op.netns)
        case LoadIpvs():
            return ("ipvs", op.netns)


def _same(old: Addition, new: Addition) -> bool:
    """Whether both make the same thing, for whatever reason."""
    return old == new or replace(old, why="") == replace(new, why="")


class _Lost:
    """What a kernel that holds ``before`` must lose on its way to ``after``."""

    def __init__(self, before: Mapping[Identity, Addition], after: Mapping[Identity, Addition]) -> None:
        self._before, self._after = before, after
        self.netns = {
            op.netns for identity, op in before.items() if isinstance(op, AddNetns) and identity not in after
        }
        bridges = [op for op in before.values() if isinstance(op, AddBridge) and self._is_unwanted(op)]
        self._devices: set[Device] = {(op.netns, op.name) for op in bridges}
        dummies = [op for op in before.values() if isinstance(op, AddDummy) and self._is_unwanted(op)]
        self._devices |= {(op.netns, op.name) for op in dummies}
        pairs = [
            op
            for op in before.values()
            if isinstance(op, AddVeth) and (self._is_unwanted(op) or self._is_orphaned(op))
        ]
        self._devices |= {end for op in pairs for end in ((op.netns, op.name), (op.peer_netns, op.peer))}
        self._links: list[AddBridge | AddDummy | AddVeth] = [*bridges, *dummies, *pairs]
        self._thinned: set[Device] = set()  # devices that lose an address, but stay
        # those of them whose address may have had others of its subnet beside it
        self._primary: set[Device] = set()
        self._sources: set[Device] = set()  # namespace, address
        for op in before.values():
            if isinstance(op, AddAddress):
                device = (op.netns, op.dev)
                unwanted = _identity(op) not in after
                if unwanted:
                    self._thinned.add(device)
                if unwanted and not op.address.endswith("/32"):
                    self._primary.add(device)
                if unwanted or device in self._devices:
                    self._sources.add((op.netns, op.address.split("/")[0]))

    def _is_unwanted(self, op: Addition) -> bool:
        now = self._after.get(_identity(op))
        return now is None or not _same(op, now)

    def _is_orphaned(self, op: AddVeth) -> bool:
        """Whether an end is the port of a bridge that goes."""
        return bool({(op.netns, op.bridge), (op.peer_netns, op.peer_bridge)} & self._devices)

    def concerns(self, op: Addition) -> bool:
        """Whether the kernel loses the thing that ``op`` makes although both plans have it.

        A device that loses an address may lose others (secondary ones of its subnet), and with the last one
        all routes (net/ipv4/devinet.c, fib_frontend.c): to add them again does no harm.
        """
        match op:
            case AddBridge() | AddDummy() | AddVeth():
                return (op.netns, op.name) in self._devices
            case AddAddress():
                return (op.netns, op.dev) in self._devices or (op.netns, op.dev) in self._primary
            case AddRoute():
                return (op.netns, op.dev) in self._devices | self._thinned or (
                    op.netns,
                    op.src,
                ) in self._sources
            case AddNeighbour() | SetNeighbourDefaults():
                return (op.netns, op.dev) in self._devices
            case _:
                return False

    def deletions(self) -> Iterator[Deletion]:
        """In no order. Of what is in a namespace that goes, only the links that lead out of it."""
        for link in self._links:
            ends = {link.netns, link.peer_netns} if isinstance(link, AddVeth) else {link.netns}
            if ends - self.netns:
                yield DelLink(netns=link.netns, name=link.name, why=_gone(link))
        for identity, op in self._before.items():
            if identity in self._after:
                continue
            if isinstance(op, AddNetns):
                yield DelNetns(netns=op.netns, why=_gone(op))
            elif op.netns not in self.netns:
                yield from self._deletion(op)

    def _deletion(self, op: Addition) -> Iterator[Deletion]:
        match op:
            case SetSysctl():
                raise UsageError(
                    f"{op.key} in {op.netns} was set to {op.value}, and its value before is not known: start anew"
                )
            case SetNeighbourDefaults() if (op.netns, op.dev) not in self._devices:
                raise UsageError(
                    f"how long {op.dev} in {op.netns} believes its neighbours was set, and the time before is not known: start anew"
                )
            case LoadIpset() | LoadIpvs():
                raise UsageError(f"nobody takes IPVS and its sets away from {op.netns}: start anew")
            case AddAddress() if (op.netns, op.dev) not in self._devices:
                yield DelAddress(netns=op.netns, dev=op.dev, address=op.address, why=_gone(op))
            case AddRoute() if (op.netns, op.dev) not in self._devices:
                yield DelRoute(netns=op.netns, dst=op.dst, dev=op.dev, via=op.via, why=_gone(op))
            case AddNeighbour() if (op.netns, op.dev) not in self._devices:
                yield DelNeighbour(netns=op.netns, dev=op.dev, address=op.address, why=_gone(op))


def _gone(op: Addition) -> str:
    return f"no longer: {op.why}"


def _changed_rules(was: Addition | None, op: LoadRules) -> Iterator[LoadRules]:
    if not isinstance(was, LoadRules):
        yield op
    elif was.text != op.text:
        text = op.text
        if op.tool == "iptables-restore" and was.rules and op.rules:
            text = compose_change(was.rules, op.rules)
        elif op.tool == "nft" and was.rules and was.rules.table and op.rules and op.rules.table:
            text = compose_nft_change(was.rules.table, op.rules.table)
        if text:
            yield replace(op, text=text, why=f"{op.why}: what changed")


def _changed_sets(was: LoadIpset, op: LoadIpset) -> Iterator[LoadIpset]:
    if was.text != op.text:
        yield replace(op, text=ipset_change(was.sets, op.sets), why=f"{op.why}: what changed")


def _changed_servers(was: LoadIpvs, op: LoadIpvs) -> Iterator[LoadIpvs]:
    before, after = (
        {server.key: server for server in was.servers},
        {server.key: server for server in op.servers},
    )
    gone = tuple(server for key, server in before.items() if after.get(key) != server)
    fresh = tuple(server for key, server in after.items() if before.get(key) != server)
    timeouts = op.timeouts if op.timeouts != was.timeouts else IPVSTimeouts()
    if gone or fresh or any(timeouts):
        yield replace(op, servers=fresh, was=gone, timeouts=timeouts, why=f"{op.why}: what changed")


def _no_rules(op: LoadRules) -> Iterator[LoadRules]:
    """Take away what ``op`` loaded."""
    if op.tool == "nft":
        text = "".join(f"delete table {table}\n" for table in _NFT_TABLE.findall(op.text))
    elif op.rules:
        text = compose_change(op.rules, RuleSet({}))
    else:
        raise ValueError(f"nobody knows what these rules are: {op}")
    yield replace(op, text=text, rules=None, why=_gone(op))
