"""Writes the Endpoints of Services with a selector, the older form of their EndpointSlices, which clients may
still read (pkg/controller/endpoint). The API server's own Endpoints default/kubernetes are left alone.

They are typed objects, as the slices are: there may be as many as Services.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...objects.kinds import (
    Endpoint,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    ObjectMeta,
    Origin,
    Service,
)
from ...store.objects import Key, Stored
from ...store.store import Event
from ..plane import Controller, ControlPlane
from ..slices import HEADLESS_LABEL

NAME = "endpoints"
_MANAGED_BY = ("endpoints.kubernetes.io/managed-by", "endpoint-controller")
_KUBERNETES = ("default", "kubernetes")
_ORIGIN = Origin("the endpoints controller")
_Service = tuple[str, str]


def _run(plane: ControlPlane, events: Sequence[Event] | None) -> None:
    names = None if events is None else {_service_of(event.stored) for event in events}
    slices: dict[_Service, list[EndpointSlice]] = {}
    for stored in plane.store.list("EndpointSlice"):
        if names is None or _service_of(stored) in names:
            slices.setdefault(_service_of(stored), []).append(stored.object)
    if names is None:
        services = [one.key for one in plane.store.list("Service")]
    else:
        services = [Key("Service", *name) for name in names]
    for key in services:
        stored_service = plane.store.get(key)
        if stored_service is not None:
            _sync(plane, stored_service, slices.get(key[1:], []))
        elif plane.store.get(key._replace(kind="Endpoints")):
            plane.store.delete(key._replace(kind="Endpoints"), now=plane.now)


def _service_of(stored: Stored) -> _Service:
    """Returns the namespace and the name of the Service that a Service, slice or Endpoints object is of."""
    if isinstance(stored.object, EndpointSlice):
        return stored.key.namespace, stored.object.serviceName
    return stored.key.namespace, stored.key.name


def _sync(plane: ControlPlane, stored: Stored, slices: Sequence[EndpointSlice]) -> None:
    service: Service = stored.object
    if not service.spec.selector or stored.deletionTimestamp or stored.key[1:] == _KUBERNETES:
        return
    labels = dict([*service.metadata.labels.items(), _MANAGED_BY])
    if service.headless:
        labels[HEADLESS_LABEL] = ""
    present = plane.store.get(Key("Endpoints", service.namespace, service.name))
    subsets = make_subsets(slices)
    if present is None:
        metadata = ObjectMeta(name=service.name, namespace=service.namespace, labels=labels)
        new = Endpoints(metadata=metadata, subsets=subsets)
        plane.store.add(new, now=plane.now, origin=_ORIGIN)
    else:
        before: Endpoints = present.object
        plane.store.update(Endpoints(metadata=_labelled(before.metadata, labels), subsets=subsets))


def _labelled(metadata: ObjectMeta, labels: dict[str, str]) -> ObjectMeta:
    return ObjectMeta(
        name=metadata.name,
        namespace=metadata.namespace,
        labels=labels,
        annotations=metadata.annotations,
        ownerReferences=metadata.ownerReferences,
        creationTimestamp=metadata.creationTimestamp,
        deletionTimestamp=metadata.deletionTimestamp,
        uid=metadata.uid,
    )


def make_subsets(slices: Sequence[EndpointSlice]) -> tuple[EndpointSubset, ...]:
    """Returns the endpoints of a Service's slices as subsets, one for each set of ports, addresses in order.
    Endpoints that are being deleted are left out, unless they count as ready.
    """
    ready: dict[tuple[EndpointPort, ...], set[EndpointAddress]] = {}
    others: dict[tuple[EndpointPort, ...], set[EndpointAddress]] = {}
    for one in slices:
        if one.addressType == "FQDN":
            continue
        for endpoint in one.endpoints:
            if endpoint.ready:
                ready.setdefault(one.ports, set()).update(_addresses(endpoint))
            elif not endpoint.terminating:
                others.setdefault(one.ports, set()).update(_addresses(endpoint))
    return tuple(
        EndpointSubset(
            addresses=tuple(sorted(ready.get(ports, ()), key=lambda address: address.ip)),
            notReadyAddresses=tuple(sorted(others.get(ports, ()), key=lambda address: address.ip)),
            ports=ports,
        )
        for ports in sorted({*ready, *others}, key=str)
    )


def _addresses(endpoint: Endpoint) -> list[EndpointAddress]:
    return [
        EndpointAddress(
            ip=ip, nodeName=endpoint.nodeName, hostname=endpoint.hostname, targetRef=endpoint.targetRef
        )
        for ip in endpoint.addresses
    ]


def _concerns(event: Event) -> bool:
    return event.stored.key.kind in ("EndpointSlice", "Service", "Endpoints")


CONTROLLER = Controller(NAME, _run, _concerns)
