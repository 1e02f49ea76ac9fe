"""Which Services of two cluster states differ, as kube-proxy's change trackers find it (pkg/proxy/servicechangetracker.go).

Objects that both states share are told by identity, so that one changed Service among ten thousand costs next to nothing; states that
share none may still be compared. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from itertools import compress, count
from operator import is_not
from typing import NamedTuple, TypeVar

from emulator.control.state import ClusterState
from emulator.objects.kinds import EndpointSlice
from emulator.proxy.endpoints import ServicePortFacts, ports_of

T = TypeVar("T")


class ServiceChange(NamedTuple):
    """A Service's ports as they were and as they are; none where there was, or is, no such Service."""

    key: str  # namespace/name
    old: Sequence[ServicePortFacts]
    new: Sequence[ServicePortFacts]


def service_changes(old: ClusterState, new: ClusterState) -> tuple[ServiceChange, ...]:
    """The Services for which kube-proxy must do something, sorted by name."""
    services = _differing(old.services, new.services)
    slices = _differing(old.endpointSlices, new.endpointSlices)
    keys = {service.key for side in services for service in side} | {_service_of(item) for side in slices for item in side}
    was, now = _ports(old, keys), _ports(new, keys)
    return tuple([ServiceChange(key, was[key], now[key]) for key in sorted(keys) if was[key] != now[key]])


def _differing(old: Sequence[T], new: Sequence[T]) -> tuple[list[T], list[T]]:
    """What only one of them holds, told by identity."""
    begin = next(compress(count(), map(is_not, old, new)), min(len(old), len(new)))
    rest = min(len(old), len(new)) - begin
    end = min(next(compress(count(), map(is_not, reversed(old), reversed(new))), rest), rest)
    was, now = ({id(item): item for item in side[begin : len(side) - end]} for side in (old, new))
    return [was[i] for i in was.keys() - now.keys()], [now[i] for i in now.keys() - was.keys()]


def _service_of(item: EndpointSlice) -> str:
    return f"{item.metadata.namespace}/{item.serviceName}"


def _ports(state: ClusterState, keys: Set[str]) -> Mapping[str, Sequence[ServicePortFacts]]:
    """The ports of each Service of ``keys``."""
    names = {key.split("/")[1] for key in keys}
    slices: dict[str, list[EndpointSlice]] = {key: [] for key in keys}
    for item in [s for s in state.endpointSlices if s.serviceName in names]:
        slices.get(_service_of(item), []).append(item)
    found: dict[str, Sequence[ServicePortFacts]] = dict.fromkeys(keys, ())
    for service in [s for s in state.services if s.metadata.name in names]:
        if service.key in keys:
            found[service.key] = ports_of(service, slices[service.key])
    return found
