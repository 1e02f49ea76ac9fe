"""Computes hints by the zones' CPUs (the annotation ``service.kubernetes.io/topology-mode: Auto``).

Source: kubernetes v1.34, staging/src/k8s.io/endpointslice/topologycache. The controller iterates zones in no
order; they are sorted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from math import ceil

from ..objects.kinds import Endpoint, EndpointHints, EndpointSlice, ForZone, Node

OVERLOAD_THRESHOLD = 0.2  # a part of the equal share of an endpoint
ZONE_LABEL = "topology.kubernetes.io/zone"
_EXCLUDED = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_SUFFIXES = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9}


@dataclass(frozen=True, slots=True)
class _Allocation:
    """Holds how many endpoints a zone should have."""

    minimum: int
    desired: float


def add_hints(slices: Sequence[EndpointSlice], nodes: Iterable[Node]) -> tuple[list[EndpointSlice], str]:
    """Returns the slices of one Service with a zone for each ready endpoint, and ""; or the slices as they
    are, and why there are no hints.
    """
    ready = [endpoint for item in slices for endpoint in item.endpoints if endpoint.ready]
    allocations, why = _allocate(len(ready), *_ratios(nodes))
    if why:
        return list(slices), why
    if any(not endpoint.zone for endpoint in ready):
        return list(slices), "an endpoint is on a node without a zone"
    moves = _moves(allocations, Counter(endpoint.zone or "" for endpoint in ready))
    return [
        replace(item, endpoints=tuple(_hinted(endpoint, moves) for endpoint in item.endpoints))
        for item in slices
    ], ""


def _hinted(endpoint: Endpoint, moves: dict[str, list[str]]) -> Endpoint:
    """Returns the endpoint with the hint of its own zone, or of one that its zone gives to (removed from
    ``moves``).
    """
    if not endpoint.ready:
        return endpoint
    zone = endpoint.zone or ""
    zone = moves[zone].pop(0) if moves.get(zone) else zone
    return replace(endpoint, hints=EndpointHints(forZones=(ForZone(name=zone),)))


def cpu_of(node: Node) -> int:
    """Returns the node's allocatable CPU in thousandths; 0 if its status has none."""
    text = str(node.status.allocatable.get("cpu", "")).strip()
    number, power = (text[:-1], _SUFFIXES[text[-1]]) if text[-1:] in _SUFFIXES else (text, 0)
    try:
        value = Decimal(number)
    except InvalidOperation:
        return 0
    if not value.is_finite() or not 0 < value < Decimal(10) ** 15:
        return 0
    return ceil(value.scaleb(power + 3))


def _ratios(nodes: Iterable[Node]) -> tuple[Mapping[str, float], str]:
    """Returns each zone's share of the CPUs; or nothing, and why."""
    cpus: Counter[str] = Counter()
    for node in nodes:
        if any(label in node.metadata.labels for label in _EXCLUDED) or not node.ready:
            continue
        zone, cpu = node.metadata.labels.get(ZONE_LABEL), cpu_of(node)
        if not zone:
            return {}, f"node {node.name} has no label {ZONE_LABEL}"
        if not cpu:
            return {}, f"node {node.name} does not say its CPUs (status.allocatable.cpu)"
        cpus[zone] += cpu
    if len(cpus) < 2:
        return {}, "the ready nodes are not in two zones"
    return {zone: cpu / cpus.total() for zone, cpu in sorted(cpus.items())}, ""


def _allocate(count: int, ratios: Mapping[str, float], why: str) -> tuple[dict[str, _Allocation], str]:
    """Returns each zone's allocation of ``count`` endpoints; or nothing, and why."""
    if why:
        return {}, why
    if len(ratios) > count:
        return {}, f"there are fewer ready endpoints ({count}) than zones ({len(ratios)})"
    allocations = {}
    for zone, ratio in ratios.items():
        desired = ratio * count
        minimum = ceil(desired * (1 / (1 + OVERLOAD_THRESHOLD)))
        allocations[zone] = _Allocation(minimum, max(desired, float(minimum)))
    if sum(each.minimum for each in allocations.values()) > count:
        return {}, f"{count} endpoints would overload those of a zone by more than {OVERLOAD_THRESHOLD:.0%}"
    return allocations, ""


def _moves(allocations: Mapping[str, _Allocation], have: Mapping[str, int]) -> dict[str, list[str]]:
    """Returns zone → the zones that it gives one endpoint to each."""
    surplus = {zone: have.get(zone, 0) - each.desired for zone, each in allocations.items()}
    giving = {zone: number for zone, number in surplus.items() if number > 0}
    receiving = {zone: -number for zone, number in surplus.items() if number < 0}
    gives: Counter[str] = Counter()
    receives: Counter[str] = Counter()
    while giving and receiving:
        giver, taker = max(giving, key=lambda zone: giving[zone]), max(receiving, key=lambda z: receiving[z])
        give, take = giving[giver], receiving[taker]
        if (give < 1 and take < 1) or give < 0.5 or take < 0.5:
            break
        gives[giver] += 1
        receives[taker] += 1
        giving[giver] -= 1
        receiving[taker] -= 1
    takers = [zone for zone, number in sorted(receives.items()) for _ in range(number)]
    moves: dict[str, list[str]] = {}
    for zone, number in sorted(gives.items()):
        moves[zone], takers = takers[:number], takers[number:]
    return moves
