"""Defines MetalLB's own objects that podwire reads, as frozen values with MetalLB's field names
(metallb.io/v1beta1): the addresses for LoadBalancer Services, for which Services they are, and which nodes
announce them in layer 2 mode.

Fields about what a cluster here does not have (several interfaces to announce on, BGP) are not typed.
"""

from __future__ import annotations

from dataclasses import dataclass

from .kinds import LabelSelector, ObjectMeta

METALLB = "metallb.io/v1beta1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAllocation:
    """Selects the Services of a pool: those of some namespaces, or with some labels. ``priority``: 1 is tried
    first, 0 last.
    """

    priority: int = 0
    namespaces: tuple[str, ...] = ()
    namespaceSelectors: tuple[LabelSelector, ...] = ()
    serviceSelectors: tuple[LabelSelector, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IPAddressPoolSpec:
    """Holds a pool; ``addresses`` are prefixes and ranges (``first-last``, as they are after validation)."""

    addresses: tuple[str, ...] = ()
    autoAssign: bool = True
    avoidBuggyIPs: bool = False
    serviceAllocation: ServiceAllocation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IPAddressPool:
    metadata: ObjectMeta
    spec: IPAddressPoolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class L2AdvertisementSpec:
    """Selects the pools to announce, and the nodes that announce them. An empty list selects all."""

    ipAddressPools: tuple[str, ...] = ()
    ipAddressPoolSelectors: tuple[LabelSelector, ...] = ()
    nodeSelectors: tuple[LabelSelector, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class L2Advertisement:
    metadata: ObjectMeta
    spec: L2AdvertisementSpec = L2AdvertisementSpec()
