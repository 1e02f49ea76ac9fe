"""Completes Namespaces: makes those that every cluster has, gives each its default ServiceAccount and the
cluster's certificate, and empties one that is deleted.

The rules are pkg/controller/namespace/deletion's, pkg/controller/serviceaccount's and
pkg/controller/certificates/rootcacertpublisher's. The certificate is the one in the ConfigMap
kube-system/kube-root-ca.crt, which whoever serves the API writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ...store.manifests import render
from ...store.objects import Key, Stored
from ...store.store import Event
from ..plane import Controller, ControlPlane
from .deletion import delete_object
from .documents import Document, set_condition

NAME = "namespaces"
SYSTEM = ("default", "kube-node-lease", "kube-public", "kube-system")
ROOT_CA = "kube-root-ca.crt"
_NAME_LABEL = "kubernetes.io/metadata.name"
_FINALIZER = "kubernetes"
_NOTE = "kubernetes.io/description"
_ABOUT_CA = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such "
    "as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions "
    "of Kubernetes clusters."
)


def _run(plane: ControlPlane, events: Sequence[Event] | None) -> None:
    if events is None:
        inhabited = {one.key.namespace for kind in plane.store.kinds() for one in plane.store.list(kind)}
        for name in sorted({*SYSTEM, *inhabited} - {""}):
            if plane.store.get(Key("Namespace", "", name)) is None:
                plane.store.create(_namespace(name), now=plane.now)
    for event in events or ():
        is_home = event.type == "DELETED" and event.stored.key.kind == "Namespace"
        if is_home and plane.store.get(event.stored.key) is None:
            for one in contents(plane, event.stored.key.name):
                delete_object(plane, one)
    for stored in plane.store.list("Namespace"):
        if stored.deletionTimestamp:
            if events is None or any(stored.key.name in event.stored.key[1:] for event in events):
                _empty(plane, stored)
        elif events is None or any(_completes(stored.key.name, event.stored.key) for event in events):
            _complete(plane, stored)


def _completes(name: str, key: Key) -> bool:
    """Returns whether a change of the object ``key`` may leave the Namespace ``name`` incomplete."""
    if key.name == ROOT_CA:
        return key.namespace in (name, "kube-system")
    return key == Key("Namespace", "", name) or key == Key("ServiceAccount", name, "default")


def _namespace(name: str) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _complete(plane: ControlPlane, stored: Stored) -> None:
    name = stored.key.name
    document = render(stored)
    document["metadata"].setdefault("labels", {})[_NAME_LABEL] = name
    document.setdefault("spec", {}).setdefault("finalizers", [_FINALIZER])
    document.setdefault("status", {}).setdefault("phase", "Active")
    plane.store.write(document)
    if plane.store.get(Key("ServiceAccount", name, "default")) is None:
        account = {"apiVersion": "v1", "kind": "ServiceAccount"}
        plane.store.create({**account, "metadata": {"name": "default", "namespace": name}}, now=plane.now)
    root = plane.store.get(Key("ConfigMap", "kube-system", ROOT_CA))
    if root is None or name == "kube-system":
        return
    present = plane.store.get(Key("ConfigMap", name, ROOT_CA))
    data = root.manifest.get("data")
    if present is None:
        metadata = {"name": ROOT_CA, "namespace": name, "annotations": {_NOTE: _ABOUT_CA}}
        published = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        plane.store.create(published, now=plane.now)
    elif present.manifest.get("data") != data:
        plane.store.write({**render(present), "data": data})


# --- deletion ---------------------------------------------------------------------------------------------


def contents(plane: ControlPlane, name: str) -> list[Stored]:
    """Returns all objects of a Namespace."""
    return [one for kind in plane.store.kinds() for one in plane.store.list(kind, name)]


def _empty(plane: ControlPlane, stored: Stored) -> None:
    """Deletes what is in a Namespace, says what is left, and ends it when nothing is."""
    name = stored.key.name
    for one in contents(plane, name):
        delete_object(plane, one)
    left = contents(plane, name)
    if not left and not stored.finalizers:
        plane.store.finalize(stored.key)
        return
    document = render(stored)
    status = document.setdefault("status", {})
    status["phase"] = "Terminating"
    document.setdefault("spec", {})["finalizers"] = [_FINALIZER] if left else []
    for type_, value, reason, message in _conditions(left):
        present = next((one for one in status.get("conditions", []) if one["type"] == type_), None)
        if present is not None and present["status"] == value:
            present |= {"reason": reason, "message": message}
        else:
            set_condition(status, type_, value, reason, message, plane.now)
    plane.store.write(document)


def _conditions(left: Sequence[Stored]) -> Iterator[tuple[str, str, str, str]]:
    """Yields the conditions of a Namespace that is deleted: type, status, reason, message
    (pkg/controller/namespace/deletion/status_condition_utils.go).
    """
    yield (
        "NamespaceDeletionDiscoveryFailure",
        "False",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    )
    yield (
        "NamespaceDeletionGroupVersionParsingFailure",
        "False",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    )
    yield (
        "NamespaceDeletionContentFailure",
        "False",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    )
    kinds = Counter(map(_resource, left))
    finalizers = Counter(name for one in left for name in one.finalizers)
    remaining = ", ".join(f"{what} has {count} resource instances" for what, count in sorted(kinds.items()))
    waiting = ", ".join(f"{what} in {count} resource instances" for what, count in sorted(finalizers.items()))
    yield (
        (
            "NamespaceContentRemaining",
            "True",
            "SomeResourcesRemain",
            f"Some resources are remaining: {remaining}",
        )
        if kinds
        else ("NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed")
    )
    yield (
        (
            "NamespaceFinalizersRemaining",
            "True",
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {waiting}",
        )
        if finalizers
        else (
            "NamespaceFinalizersRemaining",
            "False",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        )
    )


def _resource(stored: Stored) -> str:
    """Returns the resource of an object and its group, as in ``deployments.apps`` and ``pods.``."""
    kind = stored.key.kind.partition(".")[0].lower()
    if kind.endswith(("s", "x", "ch")) and kind != "endpoints":
        kind += "es"
    elif kind.endswith("y") and kind[-2:-1] not in "aeiou":
        kind = f"{kind[:-1]}ies"
    elif kind != "endpoints":
        kind += "s"
    version = stored.manifest.get("apiVersion")
    return f"{kind}.{version.rpartition('/')[0] if isinstance(version, str) else ''}"


def _concerns(event: Event) -> bool:
    """Returns whether a Namespace may have to be completed or emptied, or may be empty now."""
    kind, _, name = event.stored.key
    if event.type == "MODIFIED":
        return kind == "Namespace" or (kind == "ConfigMap" and name == ROOT_CA)
    return True


CONTROLLER = Controller(NAME, _run, _concerns)
