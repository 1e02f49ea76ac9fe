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
from ..objects.warnings import NoHints

OVERLOAD_THRESHOLD = 0.2  # a part of the equal share of an endpoint
ZONE_LABEL = "topology.kubernetes.io/zone"
_EXCLUDED = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_SUFFIXES = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9}


@dataclass(frozen=True, slots=True)
class _Allocation:
    """Holds how many endpoints a zone should have."""

    minimum: int
    desired: float


@dataclass(frozen=True, slots=True)
class Lack:
    """Says why there are no hints: the first ``node`` that lacks something, or how many ready ``endpoints``
    and ``zones`` do not go together.
    """

    why: NoHints
    node: str = ""
    endpoints: int = 0
    zones: int = 0


def add_hints(
    slices: Sequence[EndpointSlice], nodes: Iterable[Node]
) -> tuple[list[EndpointSlice], Lack | None]:
    """Returns the slices of one Service with a zone for each ready endpoint; or the slices as they are, and
    why there are no hints.
    """
    ready = [endpoint for item in slices for endpoint in item.endpoints if endpoint.ready]
    ratios = _ratios(nodes)
    allocations = ratios if isinstance(ratios, Lack) else _allocate(len(ready), ratios)
    if isinstance(allocations, Lack):
        return list(slices), allocations
    if any(not endpoint.zone for endpoint in ready):
        return list(slices), Lack(NoHints.ENDPOINT_WITHOUT_ZONE)
    moves = _moves(allocations, Counter(endpoint.zone or "" for endpoint in ready))
    return [
        replace(item, endpoints=tuple(_hinted(endpoint, moves) for endpoint in item.endpoints))
        for item in slices
    ], None


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


def _ratios(nodes: Iterable[Node]) -> Mapping[str, float] | Lack:
    """Returns each zone's share of the CPUs."""
    cpus: Counter[str] = Counter()
    for node in nodes:
        if any(label in node.metadata.labels for label in _EXCLUDED) or not node.ready:
            continue
        zone, cpu = node.metadata.labels.get(ZONE_LABEL), cpu_of(node)
        if not zone:
            return Lack(NoHints.NODE_WITHOUT_ZONE, node=node.name)
        if not cpu:
            return Lack(NoHints.NODE_WITHOUT_CPUS, node=node.name)
        cpus[zone] += cpu
    if len(cpus) < 2:
        return Lack(NoHints.ONE_ZONE)
    return {zone: cpu / cpus.total() for zone, cpu in sorted(cpus.items())}


def _allocate(count: int, ratios: Mapping[str, float]) -> dict[str, _Allocation] | Lack:
    """Returns each zone's allocation of ``count`` endpoints."""
    if len(ratios) > count:
        return Lack(NoHints.FEW_ENDPOINTS, endpoints=count, zones=len(ratios))
    allocations = {}
    for zone, ratio in ratios.items():
        desired = ratio * count
        minimum = ceil(desired * (1 / (1 + OVERLOAD_THRESHOLD)))
        allocations[zone] = _Allocation(minimum, max(desired, float(minimum)))
    if sum(each.minimum for each in allocations.values()) > count:
        return Lack(NoHints.OVERLOAD, endpoints=count)
    return allocations


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
