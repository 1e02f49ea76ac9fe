"""Deletes Pods whose node does not want them, or is gone (pkg/controller/tainteviction and podgc).

A taint NoExecute evicts a Pod that does not tolerate it, or that tolerates it for some seconds only. A node
that is deleted takes its Pods along at once: its machine is gone here, while a real one would go on serving
until the garbage collector of Pods comes round. A Pod that is bound to a node that never was waits as long as
there, or its controller would replace it without end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...objects.kinds import Taint, Toleration
from ...store.manifests import render
from ...store.objects import Key, Stored
from ...store.store import Event
from ..placement import tolerates
from ..plane import Controller, ControlPlane
from .documents import ENDED, Document, number, rows, seconds_between, set_condition
from .events import record
from .pods import delete_pod

NAME = "taints"
_COMPONENT = "taint-eviction-controller"
_QUARANTINE = 40  # seconds that a node may be missing (pkg/controller/podgc, quarantineTime)


def _run(plane: ControlPlane, events: Sequence[Event] | None) -> None:
    nodes = {one.key.name: one for one in plane.store.list("Node")}
    keys = None if events is None else {event.stored.key for event in events}
    for name, node in nodes.items():
        if keys is None or node.key in keys:
            nodes[name] = _stamped(plane, node)
    gone = {one.stored.key.name for one in events or () if one.stored.key.kind == "Node"} - nodes.keys()
    for pod in plane.store.list("Pod"):
        name = pod.object.spec.nodeName
        if not name:
            if pod.deletionTimestamp:  # nobody else will
                plane.store.finalize(pod.key)
        elif keys is None or pod.key in keys or Key("Node", "", name) in keys:
            if name not in nodes:
                age = seconds_between(pod.creationTimestamp, plane.now)
                if name in gone or age >= _QUARANTINE:
                    _collect(plane, pod)
                else:
                    plane.wake(_QUARANTINE - age, NAME)
            elif pod.deletionTimestamp is None:
                _evict(plane, pod, nodes[name])


def _stamped(plane: ControlPlane, node: Stored) -> Stored:
    """Returns the node after its new taints NoExecute have got the time from which seconds count."""
    if not any(one.effect == "NoExecute" for one in node.object.spec.taints):
        return node
    document = render(node)
    for taint in rows(document, "spec", "taints"):
        if taint.get("effect") == "NoExecute" and not taint.get("timeAdded"):
            taint["timeAdded"] = plane.now
    return plane.store.write(document)


def _collect(plane: ControlPlane, pod: Stored) -> None:
    """Ends and deletes a Pod whose node is gone."""
    document = render(pod)
    if pod.object.status.phase not in ENDED:
        status = document.setdefault("status", {})
        status["phase"] = "Failed"
        message = "PodGC: node no longer exists"
        set_condition(status, "DisruptionTarget", "True", "DeletionByPodGC", message, plane.now)
        plane.store.write(document)
    plane.store.finalize(pod.key)


def _evict(plane: ControlPlane, pod: Stored, node: Stored) -> None:
    taints = [one for one in rows(node.manifest, "spec", "taints") if one.get("effect") == "NoExecute"]
    if not taints or _is_static(pod):
        return
    left = _seconds_left(pod, taints, plane.now)
    if left is None:
        return
    if left > 0:
        plane.wake(left, NAME)
        return
    document = render(pod)
    status = document.setdefault("status", {})
    message = "Taint manager: deleting due to NoExecute taint"
    set_condition(status, "DisruptionTarget", "True", "DeletionByTaintManager", message, plane.now)
    told = f"Marking for deletion Pod {pod.key.namespace}/{pod.key.name}"
    record(plane, document, "Normal", "TaintManagerEviction", told, _COMPONENT)
    delete_pod(plane, plane.store.write(document))


def _is_static(pod: Stored) -> bool:
    return any(one.kind == "Node" for one in pod.owners)


def _seconds_left(pod: Stored, taints: Sequence[Document], now: str) -> float | None:
    """Returns after how many seconds the Pod has to go; None if it may stay."""
    tolerations = rows(pod.manifest, "spec", "tolerations")
    shortest: float | None = None
    for taint in taints:
        matching = [one for one in tolerations if tolerates(_toleration(one), _taint(taint))]
        if not matching:
            return 0
        limits = [one["tolerationSeconds"] for one in matching if one.get("tolerationSeconds") is not None]
        if limits:
            since = str(taint.get("timeAdded") or pod.creationTimestamp)
            left = max(0, min(number(limit, 0) for limit in limits)) - seconds_between(since, now)
            shortest = left if shortest is None else min(shortest, left)
    return None if shortest is None else max(0.0, shortest)


def _toleration(document: Mapping[str, Any]) -> Toleration:
    return Toleration(
        key=document.get("key") or "",
        operator=document.get("operator") or "Equal",
        value=document.get("value") or "",
        effect=document.get("effect") or "",
    )


def _taint(document: Mapping[str, Any]) -> Taint:
    return Taint(key=document["key"], value=document.get("value") or "", effect=document["effect"])


def _concerns(event: Event) -> bool:
    kind = event.stored.key.kind
    if kind == "Pod" and event.type == "MODIFIED" and event.old is not None:
        was, now = event.old.object, event.stored.object
        return (was.spec, was.metadata) != (now.spec, now.metadata)
    return kind in ("Node", "Pod") and (kind == "Node" or event.type != "DELETED")


CONTROLLER = Controller(NAME, _run, _concerns)
