"""Keeps the number of Pods of ReplicaSets and ReplicationControllers (pkg/controller/replicaset).

A Pod belongs to one by its ownerReferences; Pods that have ended, or are being deleted, count no more, and
are replaced at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...store.manifests import render
from ...store.objects import Stored
from ...store.store import Event
from ..plane import Controller, ControlPlane
from .children import Children, active, api_version, concerned, owner_of, selected_by, touched
from .documents import (
    ENDED,
    Document,
    condition,
    is_active,
    is_available,
    is_ready,
    number,
    part,
    set_condition,
    until_available,
    without_condition,
)
from .pods import RETRY, PodMaker, as_now, first_to_go, new_pod

NAME = "replicasets"
KINDS = ("ReplicaSet", "ReplicationController")
_COMPONENTS = {"ReplicaSet": "replicaset-controller", "ReplicationController": "replication-controller"}


def _run(plane: ControlPlane, events: Sequence[Event] | None) -> None:
    changed = touched(plane, events, KINDS, ("Pod",))
    if not changed:
        return
    pods = Children(plane, "Pod")
    siblings = Children(plane, "ReplicaSet")
    for one in changed:
        _sync(plane, one, pods, siblings)


def _sync(plane: ControlPlane, one: Stored, pods: Children, siblings: Children) -> None:
    wanted = number(part(one.manifest, "spec").get("replicas"), 1)
    own = pods.claim(one, selected_by(one), adopts=is_active)
    alive = active(own)
    maker = PodMaker(plane, one, _COMPONENTS[one.key.kind])
    missing = 0 if one.deletionTimestamp else wanted - len(alive)
    if missing > 0:
        own += _create(plane, one, maker, missing)
    elif missing < 0:
        deployment = owner_of(plane, one)
        sets = siblings.of(deployment) if deployment else [one]
        related = [pod for each in sets for pod in pods.of(each)]
        for pod in first_to_go(alive, related, plane.now)[:-missing]:
            maker.delete(pod)
    if maker.failure:
        plane.wake(RETRY, NAME)
    _report(plane, plane.store.get(one.key) or one, as_now(plane, own), maker.failure)


def _create(plane: ControlPlane, one: Stored, maker: PodMaker, count: int) -> list[Stored]:
    template, made = part(one.manifest, "spec", "template"), []
    for _ in range(count):
        pod = maker.create(new_pod(plane, one, template))
        if pod is None:
            break
        made.append(pod)
    return made


def _report(plane: ControlPlane, one: Stored, own: list[Stored], failure: str) -> None:
    alive = active(own)
    terminating = sum(
        pod.deletionTimestamp is not None and pod.object.status.phase not in ENDED for pod in own
    )
    document = render(one)
    spec, old = part(document, "spec"), part(document, "status")
    min_ready = number(spec.get("minReadySeconds"), 0)
    labels = part(spec, "template", "metadata", "labels").items()
    available = [pod for pod in alive if is_available(pod, min_ready, plane.now)]
    status: Document = {
        **({"conditions": old["conditions"]} if old.get("conditions") else {}),
        "replicas": len(alive),
        "fullyLabeledReplicas": sum(labels <= pod.object.metadata.labels.items() for pod in alive),
        "readyReplicas": sum(map(is_ready, alive)),
        "availableReplicas": len(available),
        "observedGeneration": one.generation,
    }
    status = {key: value for key, value in status.items() if value or key == "replicas"}
    if one.key.kind == "ReplicaSet":
        status["terminatingReplicas"] = terminating
    if failure and not condition(status, "ReplicaFailure"):
        set_condition(status, "ReplicaFailure", "True", "FailedCreate", failure, plane.now)
    elif not failure and condition(status, "ReplicaFailure"):
        status["conditions"] = without_condition(status, "ReplicaFailure")
        if not status["conditions"]:
            del status["conditions"]
    if status != old:
        document["status"] = status
        document.setdefault("apiVersion", api_version(one))
        plane.store.write(document)
    if wait := until_available(alive, min_ready, plane.now):
        plane.wake(wait, NAME)


CONTROLLER = Controller(NAME, _run, concerned((*KINDS, "Pod")))
