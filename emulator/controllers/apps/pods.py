"""Creates and deletes Pods for their controllers, with the events that tell of it.

The facts are pkg/controller/controller_utils.go's, and those of the admission plugins that see every new Pod:
ServiceAccount, DefaultTolerationSeconds, Priority.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import log2
from typing import Any

from ...store.errors import StoreError
from ...store.manifests import render
from ...store.objects import Key, Stored
from ..names import generate_name
from ..plane import ControlPlane
from ..room import room_for_pods
from .children import api_version
from .documents import (
    ENDED,
    Document,
    annotation,
    controller_reference,
    is_active,
    is_ready,
    number,
    part,
    ready_since,
    restarts,
    seconds_between,
    time_after,
)
from .events import record

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
RETRY = 30  # seconds until a controller tries again to make Pods
GRACE = 30  # seconds: terminationGracePeriodSeconds of a Pod that says none
_TOLERATED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_TOLERATION_SECONDS = 300
_PHASES = {"": 0, "Pending": 0, "Unknown": 1, "Running": 2}


class PodMaker:
    """Creates the Pods of one controller object. ``failure`` says why the last one could not be made."""

    def __init__(self, plane: ControlPlane, owner: Stored, component: str) -> None:
        self._plane, self._owner, self._component = plane, owner, component
        self._document = render(owner)
        self._before = len(plane.store.list("Pod"))
        self._room = room_for_pods([one.object for one in plane.store.list("Node")], self._before)
        self._made = 0
        self.failure = ""

    def create(self, pod: Document, told: str = "") -> Stored | None:
        """Creates a Pod that :func:`new_pod` made, and records ``told``. Returns None, and records why, if
        that is not possible.
        """
        plane, namespace = self._plane, self._owner.key.namespace
        home = plane.store.get(Key("Namespace", "", namespace))
        made = self._made + 1
        addressed = 0 if part(pod, "spec").get("hostNetwork") else self._before + made
        if home is not None and home.deletionTimestamp:
            self.failure = (
                f'pods "{pod["metadata"]["name"]}" is forbidden: unable to create new content in namespace '
                f"{namespace} because it is being terminated"
            )
            return None  # without an event: nothing new is made there
        self.failure = self._room.refusal(made, addressed)
        new = None
        if not self.failure:
            try:
                new = plane.store.create(pod, now=plane.now)
            except StoreError as error:
                self.failure = str(error)
        if new is None:
            self.tell("Warning", "FailedCreate", f"Error creating: {self.failure}")
            return None
        self._made = made
        self.tell("Normal", "SuccessfulCreate", told or f"Created pod: {new.key.name}")
        return new

    def delete(self, pod: Stored, told: str = "") -> None:
        """Deletes a Pod of the controller, with its grace period, and records ``told``."""
        delete_pod(self._plane, pod)
        self.tell("Normal", "SuccessfulDelete", told or f"Deleted pod: {pod.key.name}")

    def tell(self, type_: str, reason: str, message: str) -> None:
        """Records an event about the controller object."""
        record(self._plane, self._document, type_, reason, message, self._component)


def as_now(plane: ControlPlane, pods: Sequence[Stored]) -> list[Stored]:
    """Returns the Pods as they are now, without those that are gone."""
    found = ((pod, plane.store.get(pod.key)) for pod in pods)
    return [now for pod, now in found if now is not None and now.created == pod.created]


def new_pod(
    plane: ControlPlane,
    owner: Stored,
    template: Mapping[str, Any],
    *,
    name: str = "",
    base: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Document:
    """Returns a Pod of ``template`` that ``owner`` controls, as it is before anybody has placed it. Its name
    is ``name``, or begins with ``base``, or with the owner's name. ``labels``, ``annotations`` and fields of
    ``spec`` are added.
    """
    metadata = part(template, "metadata")
    generated = {} if name else {"generateName": base or f"{owner.key.name}-"}
    pod: Document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name or unused_name(plane, "Pod", owner, generated["generateName"]),
            **generated,
            "namespace": owner.key.namespace,
            "labels": {**part(metadata, "labels"), **(labels or {})},
            "annotations": {**part(metadata, "annotations"), **(annotations or {})},
            "ownerReferences": [controller_reference(owner, api_version(owner))],
        },
        "spec": {**part(template, "spec"), **(spec or {})},
        "status": {"phase": "Pending"},
    }
    for key in ("labels", "annotations"):
        if not pod["metadata"][key]:
            del pod["metadata"][key]
    if metadata.get("finalizers"):
        pod["metadata"]["finalizers"] = metadata["finalizers"]
    return _admitted(pod)


def unused_name(plane: ControlPlane, kind: str, owner: Stored, base: str) -> str:
    """Returns a name with ``base`` that no object of ``kind`` beside ``owner`` has, and none has had."""
    taken: set[str] = set()
    while True:
        version = plane.store.resourceVersion
        name = generate_name(base, plane.seed, kind, owner.key, owner.created, version, taken=taken)
        if plane.store.get(Key(kind, owner.key.namespace, name)) is None:
            return name


def _admitted(pod: Document) -> Document:
    """Returns the Pod with what admission adds to every Pod."""
    spec = {"serviceAccountName": "default", "enableServiceLinks": True, "priority": 0} | pod["spec"]
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    given = [one for one in spec.get("tolerations") or [] if isinstance(one, dict)]
    spec["tolerations"] = [
        *given,
        *(
            {
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": _TOLERATION_SECONDS,
            }
            for key in _TOLERATED
            if not any(
                one.get("key") in (key, None, "") and one.get("effect") in ("NoExecute", None, "")
                for one in given
            )
        ),
    ]
    return {**pod, "spec": spec}


def delete_pod(plane: ControlPlane, pod: Stored, grace: int | None = None) -> None:
    """Deletes a Pod as the API server does (pkg/registry/core/pod/strategy.go, CheckGracefulDelete): one that
    no node runs, or that has ended, is gone at once; others get their deletionTimestamp, and their kubelet
    ends them. ``grace``: seconds in place of the Pod's own.
    """
    now = plane.store.get(pod.key)
    if now is None or now.created != pod.created:
        return
    own = number(part(now.manifest, "spec").get("terminationGracePeriodSeconds"), GRACE)
    seconds = own if grace is None else grace
    if not now.object.spec.nodeName or now.object.status.phase in ENDED:
        seconds = 0
    if seconds == 0 and not now.finalizers:
        plane.store.finalize(now.key)
        return
    if now.deletionTimestamp:
        return
    document = render(now)
    document["metadata"] |= {
        "deletionTimestamp": time_after(plane.now, seconds),
        "deletionGracePeriodSeconds": seconds,
    }
    plane.store.write(document)


def first_to_go(pods: Sequence[Stored], related: Sequence[Stored], now: str) -> list[Stored]:
    """Returns Pods in the order in which a ReplicaSet deletes them (pkg/controller/controller_utils.go,
    ActivePodsWithRanks). ``related`` are the active Pods beside which a node counts as crowded.
    """
    crowd = Counter(pod.object.spec.nodeName for pod in related if is_active(pod))

    def rank(pod: Stored) -> tuple[Any, ...]:
        node, ready = pod.object.spec.nodeName, is_ready(pod)
        since = ready_since(pod) or pod.creationTimestamp
        return (
            bool(node),
            _PHASES.get(pod.object.status.phase, 2),
            ready,
            _deletion_cost(pod),
            -crowd[node],
            _magnitude(since, now) if ready else 0,
            -restarts(pod),
            _magnitude(pod.creationTimestamp, now),
            pod.uid,
        )

    return sorted(pods, key=rank)


def _deletion_cost(pod: Stored) -> int:
    text = annotation(pod, DELETION_COST)
    try:
        return int(text) if text else 0
    except ValueError:
        return 0


def _magnitude(since: str, now: str) -> int:
    """Returns the binary logarithm of an age: ages of one magnitude count as equal."""
    age = seconds_between(since, now)
    return int(log2(age * 1e9)) if age > 0 else 0
