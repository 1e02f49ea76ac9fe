"""Finds the Services that differ between two cluster states, as kube-proxy's change trackers do
(pkg/proxy/servicechangetracker.go).

Objects that both states share are compared by identity, so that one changed Service among ten thousand costs
next to nothing; states that share none may still be compared. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress, count
from operator import is_not
from typing import NamedTuple, TypeVar

from ..cluster.state import ClusterState
from ..net import Family
from ..objects.kinds import EndpointSlice, Service
from .endpoints import ServicePortFacts, ports_of

T = TypeVar("T")


class ServiceChange(NamedTuple):
    """Holds a Service's ports as they were and as they are; empty if there was, or is, no such Service."""

    key: str  # namespace/name
    old: Sequence[ServicePortFacts]
    new: Sequence[ServicePortFacts]


class Index(NamedTuple):
    """Holds the Services of a state and the EndpointSlices of each, by namespace/name."""

    family: Family
    services: Mapping[str, Service]
    slices: Mapping[str, tuple[EndpointSlice, ...]]

    def ports(self, key: str) -> Sequence[ServicePortFacts]:
        return (
            ports_of(self.services[key], self.slices.get(key, ()), self.family)
            if key in self.services
            else ()
        )

    @classmethod
    def of(cls, state: ClusterState) -> Index:
        """Returns the index of ``state``, built from the whole state."""
        return cls(state.family, state.service, state.slices_of)

    def changes(self, old: ClusterState, new: ClusterState) -> tuple[Index, tuple[ServiceChange, ...]]:
        """Returns the index of ``new``, and the Services that change for kube-proxy, sorted by name. This is
        the index of ``old``.
        """
        services = _differing(old.services, new.services)
        slices = _differing(old.endpointSlices, new.endpointSlices)
        now = Index(
            new.family, _with_services(self.services, *services), _with_slices(self.slices, *slices, new)
        )
        keys = {service.key for side in services for service in side} | {
            _service_of(item) for side in slices for item in side
        }
        ports = ((key, self.ports(key), now.ports(key)) for key in sorted(keys))
        return now, tuple([ServiceChange(*change) for change in ports if change[1] != change[2]])


def service_changes(old: ClusterState, new: ClusterState) -> tuple[ServiceChange, ...]:
    """Returns the Services that change for kube-proxy, sorted by name."""
    return Index.of(old).changes(old, new)[1]


def _with_services(
    known: Mapping[str, Service], gone: Sequence[Service], fresh: Sequence[Service]
) -> Mapping[str, Service]:
    services = dict(known)
    for service in gone:
        del services[service.key]
    return services | {service.key: service for service in fresh}


def _with_slices(
    known: Mapping[str, tuple[EndpointSlice, ...]],
    gone: Sequence[EndpointSlice],
    fresh: Sequence[EndpointSlice],
    state: ClusterState,
) -> Mapping[str, tuple[EndpointSlice, ...]]:
    """Returns ``known`` for ``state``: without ``gone``, with ``fresh``."""
    lost = {id(item) for item in gone}
    slices = dict(known)
    for key in {_service_of(item) for item in gone}:
        slices[key] = tuple([item for item in slices[key] if id(item) not in lost])
    for item in fresh:
        key = _service_of(item)
        slices[key] = (*slices.get(key, ()), item)
    if any(len(slices[_service_of(item)]) > 1 for item in fresh):
        return state.slices_of  # the first of duplicate endpoints is used, so order counts
    return slices


def _differing(old: Sequence[T], new: Sequence[T]) -> tuple[list[T], list[T]]:
    """Returns the items that only one of them holds, compared by identity."""
    begin = next(compress(count(), map(is_not, old, new)), min(len(old), len(new)))
    rest = min(len(old), len(new)) - begin
    end = min(next(compress(count(), map(is_not, reversed(old), reversed(new))), rest), rest)
    was, now = ({id(item): item for item in side[begin : len(side) - end]} for side in (old, new))
    return [was[i] for i in was.keys() - now.keys()], [now[i] for i in now.keys() - was.keys()]


def _service_of(item: EndpointSlice) -> str:
    return f"{item.metadata.namespace}/{item.serviceName}"
