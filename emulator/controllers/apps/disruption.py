"""Counts how many Pods of a PodDisruptionBudget may be evicted, and says whether one may
(pkg/controller/disruption, pkg/registry/core/pod/storage/eviction.go).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from ...load.schema import full_name
from ...objects.kinds import LabelSelector
from ...objects.selectors import matches
from ...store.manifests import render
from ...store.objects import Key, Stored
from ...store.store import Event, Store
from ..plane import Controller, ControlPlane
from .documents import (
    ENDED,
    Document,
    controller_of,
    is_controlled_by,
    is_ready,
    number,
    part,
    scaled,
    seconds_between,
    set_condition,
)

NAME = "disruption"
KIND = full_name("PodDisruptionBudget", "policy/v1")
_SCALED = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")
_TIMEOUT = 120  # seconds after which an eviction that deleted nothing is forgotten
_TOO_MANY, _FAULT = 429, 500
_SELECTOR = TypeAdapter(LabelSelector)


class Refusal(NamedTuple):
    """Says why a Pod may not be evicted: the HTTP ``code``, the ``message``, and the message of the cause
    DisruptionBudget ("" for none).
    """

    code: int
    message: str
    cause: str


def may_evict(store: Store, pod: Key, *, now: str) -> Refusal | None:
    """Returns why the Pod may not be evicted now; None if it may, which its budget then counts: whoever asks
    deletes the Pod.
    """
    stored = store.get(pod)
    if stored is None or stored.deletionTimestamp or stored.object.status.phase in (*ENDED, "Pending", ""):
        return None
    budgets = [one for one in store.list(KIND, pod.namespace) if _selects(one, stored)]
    if not budgets:
        return None
    if len(budgets) > 1:
        message = (
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
        return Refusal(_FAULT, message, "")
    document = render(budgets[0])
    status, name = document.setdefault("status", {}), budgets[0].key.name
    healthy, desired = number(status.get("currentHealthy"), 0), number(status.get("desiredHealthy"), 0)
    if not is_ready(stored):
        policy = part(document, "spec").get("unhealthyPodEvictionPolicy", "IfHealthyBudget")
        if policy == "AlwaysAllow" or (healthy >= desired and desired > 0):
            return None
    words = "Cannot evict pod as it would violate the pod's disruption budget."
    if number(status.get("observedGeneration"), 0) < budgets[0].generation:
        return Refusal(
            _TOO_MANY, words, f"The disruption budget {name} is still being processed by the server."
        )
    allowed = number(status.get("disruptionsAllowed"), 0)
    if allowed <= 0:
        cause = f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        return Refusal(_TOO_MANY, words, cause)
    status["disruptionsAllowed"] = allowed - 1
    status["disruptedPods"] = {**part(status, "disruptedPods"), pod.name: now}
    store.write(document)
    return None


def _selects(budget: Stored, pod: Stored) -> bool:
    """Returns whether a budget is about a Pod. An empty selector selects every Pod, none selects none."""
    written = part(budget.manifest, "spec").get("selector")
    if not isinstance(written, dict):
        return False
    try:
        selector = _SELECTOR.validate_python({key: item for key, item in written.items() if item is not None})
    except ValidationError:
        return False
    return budget.key.namespace == pod.key.namespace and matches(selector, pod.object.metadata.labels)


# --- the controller ---------------------------------------------------------------------------------------


def _run(plane: ControlPlane, events: Sequence[Event] | None) -> None:
    for budget in plane.store.list(KIND):
        if events is None or any(event.stored.key.namespace == budget.key.namespace for event in events):
            _sync(plane, budget)


def _sync(plane: ControlPlane, budget: Stored) -> None:
    document = render(budget)
    spec, old = part(document, "spec"), part(document, "status")
    pods = [one for one in plane.store.list("Pod", budget.key.namespace) if _selects(budget, one)]
    pods = [one for one in pods if one.object.status.phase not in ENDED]
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if most is not None:
        expected = _expected(plane.store, pods)
        desired = max(0, expected - scaled(most, expected, up=True))
    elif isinstance(least, str):
        expected = _expected(plane.store, pods)
        desired = scaled(least, expected, up=True)
    else:
        expected, desired = len(pods), number(least, 1)
    gone = _disrupted(plane, old, pods)
    healthy = sum(
        is_ready(one) and one.deletionTimestamp is None and one.key.name not in gone for one in pods
    )
    allowed = max(0, healthy - desired) if expected > 0 else 0
    status: Document = {
        "observedGeneration": budget.generation,
        **({"disruptedPods": gone} if gone else {}),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "conditions": old.get("conditions") or [],
    }
    enough = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    set_condition(status, "DisruptionAllowed", *enough, "", plane.now, observedGeneration=budget.generation)
    status["conditions"] = [{"message": "", **one} for one in status["conditions"]]  # meta/v1, Condition
    document["status"] = status
    plane.store.write(document)


def _disrupted(plane: ControlPlane, old: Document, pods: Sequence[Stored]) -> dict[str, str]:
    """Returns the Pods whose eviction was allowed and that are not being deleted yet."""
    alive = {one.key.name for one in pods if one.deletionTimestamp is None}
    gone = {}
    for name, since in part(old, "disruptedPods").items():
        left = _TIMEOUT - seconds_between(str(since), plane.now)
        if name in alive and left > 0:
            gone[name] = str(since)
            plane.wake(left, NAME)
    return gone


def _expected(store: Store, pods: Sequence[Stored]) -> int:
    """Returns how many Pods the controllers of ``pods`` want together; Pods without one do not count."""
    scales: dict[Key, int] = {}
    for pod in pods:
        owner = _controller(store, pod)
        above = _controller(store, owner) if owner is not None else None
        owner = above or owner
        if owner is not None and owner.key.kind in _SCALED:
            scales[owner.key] = number(part(owner.manifest, "spec").get("replicas"), 1)
    return sum(scales.values())


def _controller(store: Store, one: Stored) -> Stored | None:
    reference = controller_of(one)
    if reference is None:
        return None
    owner = store.get(Key(reference.kind, one.key.namespace, reference.name))
    return owner if owner is not None and is_controlled_by(one, owner) else None


def _concerns(event: Event) -> bool:
    return event.stored.key.kind in (KIND, "Pod", *_SCALED)


CONTROLLER = Controller(NAME, _run, _concerns)
