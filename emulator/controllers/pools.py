"""Reads the pools of addresses for LoadBalancer Services: for which Services they are, and which nodes may
announce them.

The pools are MetalLB's IPAddressPools and L2Advertisements if there are any, else the Cluster's, else a
default one. Source: MetalLB v0.14, ``internal/config`` and ``internal/allocator``. Invariant: no two pools
hold one address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from ..errors import worded
from ..net import (
    Address,
    AddressRange,
    Prefix,
)
from ..objects.config import Inventory
from ..objects.families import BUILT
from ..objects.kinds import LabelSelector, Loaded, Node, Service
from ..objects.metallb import IPAddressPool, L2Advertisement, ServiceAllocation
from ..objects.references import ObjectRef
from ..objects.selectors import matches
from ..objects.warnings import Code
from .findings import Findings

# 172.18.255.200-172.18.255.250 in kind's network, as its users configure MetalLB
DEFAULT_SIZE, DEFAULT_BELOW_BROADCAST = 51, 5
NAMESPACE_LABEL = "kubernetes.io/metadata.name"  # the label of every Namespace


@dataclass(frozen=True, slots=True)
class Pool:
    """Describes a pool of addresses. ``namespaces``: the namespaces whose Services may use it, by its
    ``allocation``. ``announcers``: selectors of the nodes that may announce its addresses.
    """

    ranges: tuple[AddressRange, ...]
    name: str = ""
    autoAssign: bool = True
    avoidBuggyIPs: bool = False  # addresses that end in .0 and .255
    allocation: ServiceAllocation | None = None
    namespaces: frozenset[str] = frozenset()
    announcers: tuple[LabelSelector, ...] = (LabelSelector(),)

    def __contains__(self, ip: object) -> bool:
        return (
            isinstance(ip, Address)
            and any(first <= ip <= last for first, last in self.ranges)
            and not self._avoids(ip)
        )

    def __iter__(self) -> Iterator[Address]:
        every = chain.from_iterable(
            _addresses(first, range(first.number, last.number + 1)) for first, last in self.ranges
        )
        return (ip for ip in every if not self._avoids(ip))

    def __str__(self) -> str:
        return f"{self.name} ({self.addresses})" if self.name else self.addresses

    @property
    def addresses(self) -> str:
        return ", ".join(map(str, self.ranges))

    def is_for(self, service: Service) -> bool:
        """Returns whether ``service`` may have an address of it."""
        wanted = self.allocation.serviceSelectors if self.allocation else ()
        if self.namespaces and service.namespace not in self.namespaces:
            return False
        return not wanted or any(matches(selector, service.metadata.labels) for selector in wanted)

    def is_pinned_to(self, service: Service) -> bool:
        """Returns whether it is meant for Services like ``service``."""
        named = service.namespace in self.namespaces or bool(
            self.allocation and self.allocation.serviceSelectors
        )
        return named and self.is_for(service)

    def may_be_announced_by(self, node: Node) -> bool:
        return any(matches(selector, node.metadata.labels) for selector in self.announcers)

    def _avoids(self, ip: Address) -> bool:
        return self.avoidBuggyIPs and ip.number & 0xFF in (0, 255)


@dataclass(frozen=True, slots=True)
class Pools:
    """Holds all pools. ``said``: the user configured them, so Services of a dump without an address get one,
    too.
    """

    pools: tuple[Pool, ...]
    mode: Literal["L2", "Proxy"]
    said: bool

    def __contains__(self, ip: object) -> bool:
        return any(ip in pool for pool in self.pools)

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the names of the pools, with their addresses."""
        return tuple(map(str, self.pools))

    def outside(self, network: Prefix) -> tuple[range, ...]:
        """Returns the numbers of ``network``'s addresses that lie in no pool, in order, but for its first and
        last. A pool may be as large as the network, so none is iterated.
        """
        free, end = [], network.last.number
        begin = network.first.number + 1
        for first, last in sorted(
            (first.number, last.number) for pool in self.pools for first, last in pool.ranges
        ):
            free.append(range(begin, min(first, end)))
            begin = max(begin, last + 1)
        return tuple(numbers for numbers in (*free, range(begin, end)) if numbers)

    def inside(self, network: Prefix) -> Iterator[Address]:
        """Yields the other addresses of ``network``, lazily."""
        usable = range(network.first.number + 1, network.last.number)
        for first, last in sorted(one for pool in self.pools for one in pool.ranges):
            numbers = range(max(first.number, usable.start), min(last.number + 1, usable.stop))
            yield from _addresses(first, numbers)

    @property
    def have_names(self) -> bool:
        """Returns whether they are MetalLB's."""
        return any(pool.name for pool in self.pools)

    def of(self, ip: str) -> Pool | None:
        return next((pool for pool in self.pools if Address(ip) in pool), None)

    def named(self, name: str) -> Pool | None:
        return next((pool for pool in self.pools if pool.name == name), None)

    def automatic(self, service: Service) -> tuple[Pool, ...]:
        """Returns the pools for a ``service`` that asks for none, in the order in which they are tried: those
        for Services like it, by priority, then those for all.
        """
        pinned = [pool for pool in self.pools if pool.autoAssign and pool.is_pinned_to(service)]
        pinned.sort(key=lambda pool: (pool.allocation and pool.allocation.priority) or float("inf"))
        return (*pinned, *(pool for pool in self.pools if pool.autoAssign and pool.allocation is None))


def choose_pools(
    inventory: Inventory,
    namespaces: Mapping[str, Mapping[str, str]],
    hosts: Prefix,
    findings: Findings,
) -> Pools:
    """Returns MetalLB's pools, those that the Cluster asks for, or the default one. A mistake is a problem.
    ``namespaces`` are the labels of the Namespaces, by name.
    """
    cluster = inventory.cluster
    said = cluster.object.loadBalancer if cluster else None
    if inventory.addressPools:
        if cluster and said:
            what = worded(
                "IPAddressPool {} already defines the addresses",
                inventory.addressPools[0].object.metadata.name,
            )
            findings.problem(cluster.origin, "loadBalancer", what, "leave one of the two out")
        return Pools(tuple(_metallb_pools(inventory, namespaces, findings)), "L2", True)
    if cluster is None or said is None or not said.addresses:
        return Pools((Pool((_default_range(hosts),)),), said.mode if said else "L2", said is not None)
    ranges = []
    for index, text in enumerate(said.addresses):
        one = AddressRange.parse(text)
        if one.first in hosts and one.last in hosts:
            ranges.append(one)
            continue
        what = worded(
            "{} is not inside hostSubnet {}, where load-balancer addresses are announced", text, hosts
        )
        hint = "give addresses of the host network, or set networking.hostSubnet"
        findings.problem(cluster.origin, f"loadBalancer.addresses[{index}]", what, hint)
    return Pools((Pool(tuple(ranges)),), said.mode, True)


def _addresses(like: Address, numbers: Iterable[int]) -> Iterator[Address]:
    """Yields the addresses of ``numbers``, of the family of ``like``."""
    return (Address.of_number(like.family, number) for number in numbers)


def _default_range(hosts: Prefix) -> AddressRange:
    """Returns a range near the end of ``hosts``, where nodes get addresses last; a quarter of a small
    network.
    """
    small = hosts.size < 256
    last = hosts.last.offset(-(2 if small else DEFAULT_BELOW_BROADCAST))
    return AddressRange(last.offset(1 - min(DEFAULT_SIZE, hosts.size // 4)), last)


# --- MetalLB's objects ------------------------------------------------------------------------------------


def _metallb_pools(
    inventory: Inventory, labels: Mapping[str, Mapping[str, str]], findings: Findings
) -> Iterator[Pool]:
    taken: list[tuple[AddressRange, str]] = []
    for loaded in inventory.addressPools:
        meta, spec = loaded.object.metadata, loaded.object.spec
        ranges = tuple(_free_ranges(loaded, taken, findings))
        taken += [(one, meta.name) for one in ranges]
        announcers = tuple(_announcers(loaded.object, inventory.l2Advertisements))
        if not announcers:
            name = f"{meta.namespace}/{meta.name}"
            findings.warn(Code.UNANNOUNCED_POOL, ObjectRef("IPAddressPool", name), pool=meta.name)
        yield Pool(
            ranges,
            name=meta.name,
            autoAssign=spec.autoAssign,
            avoidBuggyIPs=spec.avoidBuggyIPs,
            allocation=spec.serviceAllocation,
            namespaces=_namespaces(spec.serviceAllocation, labels),
            announcers=announcers,
        )


def _free_ranges(
    loaded: Loaded[IPAddressPool], taken: list[tuple[AddressRange, str]], findings: Findings
) -> Iterator[AddressRange]:
    for index, text in enumerate(loaded.object.spec.addresses):
        one = AddressRange.parse(text)
        if one.first.family is not BUILT:
            findings.ipv6_left_out()
            continue
        other = next((name for (low, high), name in taken if one.first <= high and low <= one.last), None)
        if other is None:
            yield one
        else:
            what = worded("{} overlaps an address range of IPAddressPool {}", text, other)
            findings.problem(
                loaded.origin, f"spec.addresses[{index}]", what, "an address belongs to one pool"
            )


def _announcers(
    pool: IPAddressPool, advertisements: tuple[Loaded[L2Advertisement], ...]
) -> Iterator[LabelSelector]:
    for spec in (loaded.object.spec for loaded in advertisements):
        by_name = pool.metadata.name in spec.ipAddressPools
        by_labels = any(matches(selector, pool.metadata.labels) for selector in spec.ipAddressPoolSelectors)
        if by_name or by_labels or not (spec.ipAddressPools or spec.ipAddressPoolSelectors):
            yield from spec.nodeSelectors or (LabelSelector(),)


def _namespaces(
    allocation: ServiceAllocation | None, labels: Mapping[str, Mapping[str, str]]
) -> frozenset[str]:
    """Returns the namespaces that ``allocation`` names, or selects among those of ``labels``."""
    if allocation is None:
        return frozenset()
    selected = (
        name
        for name, own in labels.items()
        if any(
            matches(selector, {NAMESPACE_LABEL: name, **own}) for selector in allocation.namespaceSelectors
        )
    )
    return frozenset((*allocation.namespaces, *selected))
