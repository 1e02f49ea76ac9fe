"""Tracks which Service has which load-balancer address, and which others may share it.

Source: MetalLB v0.14, ``internal/allocator`` (checkSharing) and ``k8salloc`` (BackendKey). Services with one
sharing key share an address if no two use one port of it, and if one announcement serves all: under
externalTrafficPolicy Local they have the same Pods. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..net import Address, AddressRange
from ..objects.kinds import Service
from .pools import Pool

PREFIXES = (
    "metallb.io",
    "metallb.universe.tf",
)  # the second is the old one


class Claims:
    """Holds the addresses given so far. ``reserved`` are addresses that no Service may have."""

    def __init__(self, reserved: Collection[str]) -> None:
        self._reserved = frozenset(reserved)
        self._holders: dict[str, list[Service]] = {}
        self._shared: dict[str, dict[str, None]] = {}  # sharing key → addresses
        # by the ranges of a pool: the first address that may be free, and those after it
        self._free: dict[tuple[AddressRange, ...], tuple[Iterator[Address], Address | None]] = {}

    def add(self, ip: str, service: Service) -> None:
        self._holders.setdefault(ip, []).append(service)
        if key := sharing_key(service):
            self._shared.setdefault(key, {})[ip] = None

    def holders(self, ip: str) -> tuple[Service, ...]:
        return tuple(self._holders.get(ip, ()))

    def refusal(self, ip: str, service: Service) -> str:
        """Returns why ``service`` may not have ``ip``; "" if it may."""
        if ip in self._reserved:
            return "is taken"
        return next((why for holder in self.holders(ip) if (why := _why_not_shared(holder, service))), "")

    def first(self, pool: Pool, service: Service) -> str:
        """Returns the first address of ``pool`` that ``service`` may have; "" if there is none."""
        shared = (
            Address(ip) for ip in self._shared.get(sharing_key(service), ()) if not self.refusal(ip, service)
        )
        found = [ip for ip in (*shared, self._first_free(pool)) if ip is not None and ip in pool]
        return str(min(found)) if found else ""

    def _first_free(self, pool: Pool) -> Address | None:
        left, first = self._free.get(pool.ranges) or (iter(pool), None)
        while first is None or str(first) in self._reserved or str(first) in self._holders:
            first = next(left, None)
            if first is None:
                break
        self._free[pool.ranges] = left, first
        return first


def annotation(service: Service, name: str) -> tuple[str, str]:
    """Returns MetalLB's annotation of that name as (key, value); ("", "") if there is none."""
    keys = (f"{prefix}/{name}" for prefix in PREFIXES)
    return next(
        ((key, service.metadata.annotations[key]) for key in keys if key in service.metadata.annotations),
        ("", ""),
    )


def sharing_key(service: Service) -> str:
    return annotation(service, "allow-shared-ip")[1]


def _why_not_shared(holder: Service, service: Service) -> str:
    if not sharing_key(service) or sharing_key(holder) != sharing_key(service):
        return f"Service {holder.key} has, and the two do not share it"
    if _backends(holder) != _backends(service):
        return (
            f"Service {holder.key} has: under externalTrafficPolicy Local only Services with the same "
            "selector share an address"
        )
    taken = {(port.port, port.protocol) for port in holder.spec.ports}
    both = next((port for port in service.spec.ports if (port.port, port.protocol) in taken), None)
    return f"Service {holder.key} shares, but for {both.port}/{both.protocol}" if both else ""


def _backends(service: Service) -> frozenset[tuple[str, str]] | None:
    """Returns what Services that share an address must have in common; None under externalTrafficPolicy
    Cluster, where every node leads to every endpoint.
    """
    return frozenset(service.spec.selector.items()) if service.spec.externalTrafficPolicy == "Local" else None
