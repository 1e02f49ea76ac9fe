"""Deletes an object together with its dependents, as the garbage collector and the controllers of namespaces,
nodes and Pods do. Finalizers count as done: nothing here waits for another machine.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..objects.kinds import EndpointSlice, Service, Workload
from ..store.objects import Key, Stored
from ..store.store import Store
from .slices import MANAGED_BY_LABEL
from .workloads import controls


def delete(store: Store, key: Key) -> bool:
    """Deletes the object and its dependents at once. Returns whether there was anything to delete: a
    Namespace may have objects in it without being one itself.
    """
    stored = store.get(key)
    dependents = list(_dependents(store, key, stored))
    if stored is not None:
        store.finalize(key)
    for one in dependents:
        if store.get(one.key):
            delete(store, one.key)
    return stored is not None or bool(dependents)


def _dependents(store: Store, key: Key, stored: Stored | None) -> Iterator[Stored]:
    if key.kind == "Namespace":
        for kind in store.kinds():
            yield from store.list(kind, key.name)
    elif stored is None:
        return
    elif key.kind == "Node":
        yield from (one for one in store.list("Pod") if one.object.spec.nodeName == key.name)
    elif isinstance(stored.object, Workload):
        workload = stored.object
        yield from (one for one in store.list("ReplicaSet", key.namespace) if one.is_owned_by(stored))
        yield from (one for one in store.list("Pod", key.namespace) if controls(workload, one.object))
    elif isinstance(stored.object, Service):
        for one in store.list("EndpointSlice", key.namespace):
            item: EndpointSlice = one.object
            # a user's slice without an owner is left behind
            managed = item.metadata.labels.get(MANAGED_BY_LABEL, "").endswith(".k8s.io")
            if item.serviceName == key.name and (managed or one.is_owned_by(stored)):
                yield one
        yield from (one for one in store.list("Endpoints", key.namespace) if one.key.name == key.name)
