"""Tracks which Service has which load-balancer address, and which others may share it.

Source: MetalLB v0.14, ``internal/allocator`` (checkSharing) and ``k8salloc`` (BackendKey). Services with one
sharing key share an address if no two use one port of it, and if one announcement serves all: under
externalTrafficPolicy Local they have the same Pods. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ..net import Address, AddressRange
from ..objects.kinds import Service
from ..objects.warnings import NoAddress
from .pools import Pool

PREFIXES = (
    "metallb.io",
    "metallb.universe.tf",
)  # the second is the old one


@dataclass(frozen=True, slots=True)
class Unfit:
    """Says why a Service gets no address: the pools in question, the Service that has the address, and the
    ``port`` (number/protocol) that both serve at it.
    """

    why: NoAddress
    pools: tuple[str, ...] = ()
    holder: str = ""
    port: str = ""


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

    def refusal(self, ip: str, service: Service) -> Unfit | None:
        """Returns why ``service`` may not have ``ip``."""
        if ip in self._reserved:
            return Unfit(NoAddress.TAKEN)
        return next((why for holder in self.holders(ip) if (why := _why_not_shared(holder, service))), None)

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


def _why_not_shared(holder: Service, service: Service) -> Unfit | None:
    if not sharing_key(service) or sharing_key(holder) != sharing_key(service):
        return Unfit(NoAddress.NOT_SHARED, holder=holder.key)
    if _backends(holder) != _backends(service):
        return Unfit(NoAddress.OTHER_SELECTOR, holder=holder.key)
    taken = {(port.port, port.protocol) for port in holder.spec.ports}
    both = next((port for port in service.spec.ports if (port.port, port.protocol) in taken), None)
    if both is None:
        return None
    return Unfit(NoAddress.SAME_PORT, holder=holder.key, port=f"{both.port}/{both.protocol}")


def _backends(service: Service) -> frozenset[tuple[str, str]] | None:
    """Returns what Services that share an address must have in common; None under externalTrafficPolicy
    Cluster, where every node leads to every endpoint.
    """
    return frozenset(service.spec.selector.items()) if service.spec.externalTrafficPolicy == "Local" else None
