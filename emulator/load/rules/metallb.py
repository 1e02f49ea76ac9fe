"""Checks MetalLB's objects by what its webhooks refuse (v0.14, internal/config)."""

from __future__ import annotations

from dataclasses import replace

from ...errors import worded
from ...objects.kinds import LabelSelector
from ...objects.metallb import IPAddressPool, L2Advertisement, ServiceAllocation
from ..faults import FieldPath, shown
from .checks import LABEL, SUBDOMAIN, Checks, address_range, check_metadata


def check_pool(pool: IPAddressPool, namespaced: bool, checks: Checks) -> IPAddressPool:
    spec = pool.spec
    if not spec.addresses:
        checks.required(("spec", "addresses"), ": a pool has addresses", "172.18.255.200-172.18.255.250, say")
    addresses = tuple(
        address_range(("spec", "addresses", i), text, checks) for i, text in enumerate(spec.addresses)
    )
    if spec.serviceAllocation:
        _check_allocation(("spec", "serviceAllocation"), spec.serviceAllocation, checks)
    return replace(
        pool, metadata=check_metadata(pool, namespaced, checks), spec=replace(spec, addresses=addresses)
    )


def check_l2_advertisement(value: L2Advertisement, namespaced: bool, checks: Checks) -> L2Advertisement:
    spec = value.spec
    names = [(("spec", "ipAddressPools", i), name) for i, name in enumerate(spec.ipAddressPools)]
    for path, name in names:
        checks.name(path, name, SUBDOMAIN)
    checks.unique(names, "name")
    _check_selectors(("spec", "ipAddressPoolSelectors"), spec.ipAddressPoolSelectors, checks)
    _check_selectors(("spec", "nodeSelectors"), spec.nodeSelectors, checks)
    return replace(value, metadata=check_metadata(value, namespaced, checks))


def _check_allocation(path: FieldPath, allocation: ServiceAllocation, checks: Checks) -> None:
    if allocation.priority < 0:
        checks.fault((*path, "priority"), worded("must be 0 or more, is {}", shown(allocation.priority)))
    names = [((*path, "namespaces", i), name) for i, name in enumerate(allocation.namespaces)]
    for at, name in names:
        checks.name(at, name, LABEL)
    checks.unique(names, "namespace")
    _check_selectors((*path, "namespaceSelectors"), allocation.namespaceSelectors, checks)
    _check_selectors((*path, "serviceSelectors"), allocation.serviceSelectors, checks)


def _check_selectors(path: FieldPath, selectors: tuple[LabelSelector, ...], checks: Checks) -> None:
    for i, selector in enumerate(selectors):
        checks.label_selector((*path, i), selector)
