"""Reads and writes parts of JSON documents that all controllers here have in common: times, conditions,
numbers that may be percentages, owner references.

Pure. Times are RFC 3339 in UTC, by the second, as the API writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

from ...objects.kinds import OwnerReference, Pod
from ...store.objects import Stored

Document: TypeAlias = dict[str, Any]
HASH_LABEL = "pod-template-hash"
ENDED = ("Succeeded", "Failed")

# Fields of a Pod template that the API server fills in, with what it fills in (pkg/apis/core/v1/defaults.go).
# A template with such a value is the same as one without the field.
_DEFAULTS: Mapping[str, Any] = {
    "dnsPolicy": "ClusterFirst",
    "failureThreshold": 3,
    "periodSeconds": 10,
    "procMount": "Default",
    "protocol": "TCP",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "scheme": "HTTP",
    "successThreshold": 1,
    "terminationGracePeriodSeconds": 30,
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "timeoutSeconds": 1,
}
# the same for fields that only mean this inside another one
_DEFAULTS_INSIDE: Mapping[tuple[str, str], Any] = {
    ("httpGet", "path"): "/",
    ("grpc", "service"): "",
    ("fieldRef", "apiVersion"): "v1",
    ("configMap", "defaultMode"): 420,
    ("secret", "defaultMode"): 420,
    ("projected", "defaultMode"): 420,
    ("downwardAPI", "defaultMode"): 420,
}


# --- times ------------------------------------------------------------------------------------------------


def parse_time(text: str) -> datetime:
    """Returns the time that ``text`` says. Raises ValueError if it is no RFC 3339 time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def format_time(time: datetime) -> str:
    """Returns ``time`` as the API writes it, without fractions of a second."""
    return time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def seconds_between(earlier: str, later: str) -> float:
    """Returns the seconds from ``earlier`` to ``later``; 0 if one of them is no time."""
    try:
        return (parse_time(later) - parse_time(earlier)).total_seconds()
    except (TypeError, ValueError, AttributeError):
        return 0.0


def time_after(time: str, seconds: float) -> str:
    """Returns the time ``seconds`` after ``time``."""
    return format_time(parse_time(time) + timedelta(seconds=seconds))


# --- numbers ----------------------------------------------------------------------------------------------


def number(value: Any, default: int) -> int:
    """Returns ``value``, or ``default`` if it is no whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def scaled(value: Any, total: int, *, up: bool) -> int:
    """Returns a number of objects that ``value`` says: a number, or a percentage of ``total``, rounded ``up``
    or down (apimachinery/pkg/util/intstr, GetScaledValueFromIntOrPercent). Anything else is 0.
    """
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit():
        hundredfold = int(value[:-1]) * total
        return -(-hundredfold // 100) if up else hundredfold // 100
    return max(0, number(value, 0))


# --- parts of documents -----------------------------------------------------------------------------------


def part(document: Mapping[str, Any], *path: str) -> Document:
    """Returns the object under ``path``; an empty one if there is none."""
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, dict) else {}


def rows(document: Mapping[str, Any], *path: str) -> list[Document]:
    """Returns the objects in the list under ``path``; none if there is no list."""
    *parents, last = path
    value = part(document, *parents).get(last)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def annotation(stored: Stored, key: str) -> str:
    """Returns the value of an annotation; "" if there is none."""
    value: str = stored.object.metadata.annotations.get(key, "")
    return value


def condition(status: Mapping[str, Any], type_: str) -> Document | None:
    """Returns the condition ``type_`` of a status; None if it has none."""
    return next((one for one in rows(status, "conditions") if one.get("type") == type_), None)


def without_condition(status: Mapping[str, Any], *types: str) -> list[Document]:
    """Returns the conditions of a status but those of ``types``."""
    return [one for one in rows(status, "conditions") if one.get("type") not in types]


def set_condition(
    status: Document, type_: str, value: str, reason: str, message: str, now: str, **more: Any
) -> None:
    """Sets a condition. One that has the same status and reason stays as it is; one with the same status
    keeps its lastTransitionTime.
    """
    old = condition(status, type_)
    if old and (old.get("status"), old.get("reason")) == (value, reason):
        return
    since = old.get("lastTransitionTime", now) if old and old.get("status") == value else now
    new = {"type": type_, "status": value, **more, "lastTransitionTime": since}
    new |= {"reason": reason} if reason else {}
    new |= {"message": message} if message else {}
    status["conditions"] = [*without_condition(status, type_), new]


def without_zeros(status: Mapping[str, Any]) -> Document:
    """Returns a status without numbers that are 0 and lists that are empty, which the API leaves out."""
    return {key: value for key, value in status.items() if value not in (0, None) and value != []}


# --- templates --------------------------------------------------------------------------------------------


def same_template(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Returns whether two Pod templates make the same Pods, whatever the label of their hash."""
    return normal_template(one) == normal_template(other)


def normal_template(template: Mapping[str, Any]) -> str:
    """Returns the template as text, without its hash label and the fields that have their default."""
    metadata = part(template, "metadata")
    labels = {key: value for key, value in part(metadata, "labels").items() if key != HASH_LABEL}
    bare = {**template, "metadata": {**metadata, "labels": labels}}
    return json.dumps(_without_defaults(bare, ""), sort_keys=True, separators=(",", ":"))


def _without_defaults(value: Any, inside: str) -> Any:
    if isinstance(value, list):
        return [_without_defaults(item, inside) for item in value]
    if not isinstance(value, Mapping):
        return value
    if inside in ("labels", "annotations", "nodeSelector", "matchLabels"):
        return dict(value)
    kept = {}
    for key, item in value.items():
        default = _DEFAULTS_INSIDE.get((inside, key), _DEFAULTS.get(key))
        if item is None or item == default or (key == "imagePullPolicy" and item == _pull_policy(value)):
            continue
        lean = _without_defaults(item, key)
        if lean not in ({}, []) or key in ("emptyDir", "preStop", "postStart"):
            kept[key] = lean
    return kept


def _pull_policy(container: Mapping[str, Any]) -> str:
    image = str(container.get("image", "")).partition("@")
    tag = image[0].rpartition("/")[2].partition(":")[2]
    return "Always" if not image[1] and tag in ("", "latest") else "IfNotPresent"


# --- owners -----------------------------------------------------------------------------------------------


def controller_reference(owner: Stored, api_version: str) -> Document:
    """Returns the reference that makes ``owner`` the controller of an object."""
    return {
        "apiVersion": api_version,
        "kind": owner.key.kind,
        "name": owner.key.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(stored: Stored) -> OwnerReference | None:
    """Returns the reference to the controller of an object; None if it has none."""
    return next((one for one in stored.owners if one.controller), None)


def is_controlled_by(stored: Stored, owner: Stored) -> bool:
    """Returns whether ``owner`` is the controller of an object."""
    return controller_of(stored) is not None and stored.is_owned_by(owner)


# --- Pods -------------------------------------------------------------------------------------------------


def is_active(pod: Stored) -> bool:
    """Returns whether a Pod counts as a replica: it neither has ended nor is being deleted."""
    return pod.object.status.phase not in ENDED and pod.deletionTimestamp is None


def is_ready(pod: Stored) -> bool:
    """Returns whether the Pod's kubelet says that it is ready."""
    typed: Pod = pod.object
    return any(one.type == "Ready" and one.status == "True" for one in typed.status.conditions)


def ready_since(pod: Stored) -> str:
    """Returns the time at which the Pod's readiness changed last; "" if nobody said it."""
    found = condition(part(pod.manifest, "status"), "Ready")
    since = found.get("lastTransitionTime") if found else None
    return since if isinstance(since, str) else ""


def is_available(pod: Stored, min_ready: int, now: str) -> bool:
    """Returns whether a Pod has been ready for ``min_ready`` seconds (pkg/api/v1/pod, IsPodAvailable)."""
    return is_ready(pod) and not until_available([pod], min_ready, now)


def until_available(pods: Iterable[Stored], min_ready: int, now: str) -> float:
    """Returns in how many seconds the first ready Pod that is not yet available will be; 0 if there is
    none.
    """
    if min_ready <= 0:
        return 0.0
    waits = (
        min_ready - seconds_between(ready_since(pod) or pod.creationTimestamp, now)
        for pod in pods
        if is_ready(pod)
    )
    return min((wait for wait in waits if wait > 0), default=0.0)


def restarts(pod: Stored) -> int:
    """Returns how often the container of the Pod that restarted most has restarted."""
    found = rows(pod.manifest, "status", "containerStatuses")
    return max((number(one.get("restartCount"), 0) for one in found), default=0)


def names(pods: Sequence[Stored]) -> list[str]:
    """Returns the names of the objects."""
    return [one.key.name for one in pods]
