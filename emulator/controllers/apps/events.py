"""Records events about objects, as controllers and kubelets do, and forgets them after an hour.

The rules are client-go's (tools/record/events_cache.go): an event that happens again counts up; the eleventh
of a kind with yet another message within ten minutes is combined with those that follow. Here the name of an
event says which it is, so that nothing needs to be remembered beside the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...store.objects import Key
from ...store.store import Event
from ..names import draw
from ..plane import Controller, ControlPlane
from .documents import Document, part, seconds_between

NAME = "events"
LIFETIME = 3600  # seconds: kube-apiserver --event-ttl
_LEASE = 60  # seconds: events expire together, as by etcd's shared leases
_SIMILAR, _WINDOW = 10, 600  # messages, seconds
_LONGEST_NAME = 236  # 253 for a name, less the dot and 16 digits
_COMBINED = "(combined from similar events): "


def record(
    plane: ControlPlane, involved: Document, type_: str, reason: str, message: str, component: str
) -> None:
    """Records that something happened to the object ``involved``. ``type_`` is Normal or Warning.

    An object in a Namespace that is going gets no event, which would keep the Namespace.
    """
    about = part(involved, "metadata")
    namespace = about.get("namespace") or "default"
    home = plane.store.get(Key("Namespace", "", namespace))
    if home is not None and home.deletionTimestamp:
        return
    base = str(about.get("name", ""))[:_LONGEST_NAME]
    identity = (component, namespace, about.get("name"), about.get("uid"), type_, reason)
    for slot in range(_SIMILAR + 1):
        text = message if slot < _SIMILAR else f"{_COMBINED}{message}"
        name = f"{base}.{draw(0, 'event', *identity, slot):016x}"
        stored = plane.store.get(Key("Event", namespace, name))
        if stored is None:
            new = _event(involved, namespace, name, plane.now, type_, reason, text, component)
            plane.store.create(new, now=plane.now)
            return
        old = dict(stored.manifest)  # it was written whole
        is_old = seconds_between(str(old.get("lastTimestamp")), plane.now) > _WINDOW
        if slot < _SIMILAR and old.get("message") != message:
            if not is_old:
                continue
            old |= {"firstTimestamp": plane.now, "count": 0}
        old |= {"message": text, "count": old.get("count", 0) + 1, "lastTimestamp": plane.now}
        plane.store.write(old)
        return


def _event(
    involved: Document,
    namespace: str,
    name: str,
    now: str,
    type_: str,
    reason: str,
    message: str,
    component: str,
) -> Document:
    about = part(involved, "metadata")
    reference: dict[str, Any] = {
        "kind": involved.get("kind"),
        "namespace": about.get("namespace"),
        "name": about.get("name"),
        "uid": about.get("uid"),
        "apiVersion": involved.get("apiVersion"),
        "resourceVersion": about.get("resourceVersion"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {key: value for key, value in reference.items() if value},
        "reason": reason,
        "message": message,
        "source": {"component": component},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "type": type_,
        "eventTime": None,
        "reportingComponent": component,
        "reportingInstance": "",
    }


def _last_seen(document: Any) -> str:
    """Returns when an event happened last, whichever of the two forms of events it has."""
    return str(
        part(document, "series").get("lastObservedTime")
        or document.get("lastTimestamp")
        or document.get("eventTime")
        or ""
    )


def _run(plane: ControlPlane, events: Sequence[Event] | None) -> None:
    if events is not None:
        plane.wake(LIFETIME + _LEASE, NAME)
        return
    ages = []
    for stored in plane.store.list("Event"):
        age = seconds_between(_last_seen(stored.manifest) or stored.creationTimestamp, plane.now)
        if age >= LIFETIME:
            plane.store.finalize(stored.key)
        else:
            ages.append(age)
    if ages:
        plane.wake(max(_LEASE, LIFETIME - max(ages)), NAME)


def _concerns(event: Event) -> bool:
    return event.stored.key.kind == "Event" and event.type == "ADDED"


CONTROLLER = Controller(NAME, _run, _concerns)
