"""Says in a few words what a write to the store means for traffic: Pods that come, are ready, end and go,
endpoints that change, nodes that go. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..objects.kinds import Endpoint, EndpointSlice, Node, Pod
from ..store.objects import Key
from ..store.store import Event

Said = tuple[str, str, str]  # kind, namespace/name, words


def tell(events: Iterable[Event]) -> Iterator[Said]:
    """Yields what ``events`` mean together, nothing for most writes: each object once, however often it was
    written, for nobody saw it in between.
    """
    for event in _together(events):
        now = event.stored.object
        if isinstance(now, Pod):
            if words := ", ".join(_of_pod(event, now)):
                yield "Pod", now.key, words
        elif isinstance(now, EndpointSlice):
            name = f"{now.metadata.namespace}/{now.serviceName}"
            yield from (("Service", name, what) for what in _of_slice(event, now))
        elif isinstance(now, Node) and event.type != "MODIFIED":
            yield "Node", now.name, "gone" if event.type == "DELETED" else "created"


def _together(events: Iterable[Event]) -> Iterator[Event]:
    """Yields one event for each object: from what it was at first to what it is at last."""
    first: dict[Key, Event] = {}
    last: dict[Key, Event] = {}
    for event in events:
        first.setdefault(event.stored.key, event)
        last[event.stored.key] = event
    for key, event in last.items():
        old = first[key].old if first[key].type != "DELETED" else first[key].stored
        if event.type != "DELETED":
            yield event._replace(type="MODIFIED" if old else "ADDED", old=old)
        elif old:
            yield event._replace(old=old)


def _of_pod(event: Event, now: Pod) -> Iterator[str]:
    was: Pod | None = event.old.object if event.old else None
    if was is None:
        yield "created"
    if now.spec.nodeName and not (was and was.spec.nodeName):
        yield f"scheduled to {now.spec.nodeName}"
    if event.stored.deletionTimestamp and not (event.old and event.old.deletionTimestamp):
        yield "terminating"
    if event.type == "DELETED":
        yield "gone"
    elif now.ready != (was is not None and was.ready):
        yield "ready" if now.ready else "not ready"


def _of_slice(event: Event, now: EndpointSlice) -> Iterator[str]:
    were = _conditions(event.old.object if event.old else None)
    are = _conditions(None if event.type == "DELETED" else now)
    for name in (*are, *(name for name in were if name not in are)):
        if were.get(name) != are.get(name):
            yield f"endpoint {name} {are.get(name, 'removed')}"


def _conditions(item: EndpointSlice | None) -> Mapping[str, str]:
    """Returns the words for each endpoint of a slice, by the Pod's name, or by its address."""
    return {_name(one): _words(one) for one in item.endpoints} if item else {}


def _name(endpoint: Endpoint) -> str:
    target = endpoint.targetRef
    return target.name if target and target.name else ", ".join(endpoint.addresses)


def _words(endpoint: Endpoint) -> str:
    if endpoint.conditions.terminating:
        return "terminating, serving" if endpoint.serving else "terminating, not serving"
    return "ready" if endpoint.ready else "not ready"
