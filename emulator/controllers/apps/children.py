"""Keeps the dependents of a controlling object: adopts those that its selector matches, and releases those
that it no longer does. Finds the controlling objects that an event concerns.

The rules are pkg/controller/controller_ref_manager.go's. An object belongs to the one controller that its
ownerReferences name; one without controller belongs to whoever selects it first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...load.schema import api_version_of
from ...objects.kinds import Workload
from ...objects.selectors import matches
from ...store.manifests import render
from ...store.objects import Key, Stored
from ...store.store import Event
from ..plane import ControlPlane
from .documents import controller_of, controller_reference, is_active, is_controlled_by

MOST_LOOKS = 50  # at the objects of one kind, until a look changes nothing
_Owner = tuple[str, str, str]  # namespace, kind, name


class Children:
    """Holds the objects of one kind as they were when it was made: by controller, and those without one."""

    def __init__(self, plane: ControlPlane, kind: str) -> None:
        self._plane, self._kind = plane, kind
        self._owned: dict[_Owner, list[Stored]] = {}
        self._orphans: dict[str, list[Stored]] = {}
        for stored in plane.store.list(kind):
            reference = controller_of(stored)
            if reference is None:
                self._orphans.setdefault(stored.key.namespace, []).append(stored)
            else:
                owner = (stored.key.namespace, reference.kind, reference.name)
                self._owned.setdefault(owner, []).append(stored)

    def of(self, owner: Stored) -> list[Stored]:
        """Returns the objects whose controller ``owner`` is, in the order of their creation."""
        key = owner.key
        mine = self._owned.get((key.namespace, key.kind, key.name), ())
        return [one for one in mine if one.is_owned_by(owner)]

    def claim(
        self, owner: Stored, selects: Callable[[Stored], bool], *, adopts: Callable[[Stored], bool]
    ) -> list[Stored]:
        """Returns the objects of ``owner`` after it has adopted the ones without controller that it
        ``selects`` and ``adopts``, and has released its own ones that it no longer selects.
        """
        claimed = []
        for one in self.of(owner):
            if selects(one):
                claimed.append(one)
            elif owner.deletionTimestamp is None and one.deletionTimestamp is None:
                _release(self._plane, one, owner)
        if owner.deletionTimestamp is None:
            for one in self._orphans.get(owner.key.namespace, ()):
                now = self._plane.store.get(one.key)
                free = now is not None and now.deletionTimestamp is None and controller_of(now) is None
                if now is not None and free and adopts(now) and selects(now):
                    claimed.append(_adopt(self._plane, now, owner))
        return sorted(claimed, key=lambda one: one.created)


def selected_by(owner: Stored) -> Callable[[Stored], bool]:
    """Returns whether a workload's selector matches an object."""
    workload: Workload = owner.object
    selector = workload.spec.selector
    return lambda one: selector is not None and matches(selector, one.object.metadata.labels)


def api_version(stored: Stored) -> str:
    """Returns the apiVersion of an object."""
    given = stored.manifest.get("apiVersion")
    return given if isinstance(given, str) else api_version_of(stored.key.kind)


def _adopt(plane: ControlPlane, one: Stored, owner: Stored) -> Stored:
    document = render(one)
    references = document["metadata"].get("ownerReferences") or []
    document["metadata"]["ownerReferences"] = [*references, controller_reference(owner, api_version(owner))]
    return plane.store.write(document)


def _release(plane: ControlPlane, one: Stored, owner: Stored) -> None:
    document = render(one)
    document["metadata"]["ownerReferences"] = [
        reference
        for reference in document["metadata"].get("ownerReferences") or []
        if not (reference.get("controller") and reference.get("name") == owner.key.name)
    ]
    plane.store.write(document)


# --- whom events concern ----------------------------------------------------------------------------------


def touched(
    plane: ControlPlane, events: Sequence[Event] | None, kinds: Collection[str], children: Collection[str]
) -> list[Stored]:
    """Returns the objects of ``kinds`` that ``events`` concern, all of them for None: those that changed, the
    controllers of ``children`` that changed, and those that select a child without controller.
    """
    if events is None:
        return [one for kind in kinds for one in plane.store.list(kind)]
    keys: dict[Key, None] = {}
    for event in events:
        kind = event.stored.key.kind
        if kind in kinds:
            keys[event.stored.key] = None
        elif kind in children:
            for child in _states(event):
                keys.update(dict.fromkeys(_controllers(plane, child, kinds)))
    return [one for key in keys if (one := plane.store.get(key)) is not None]


def _states(event: Event) -> Iterator[Stored]:
    """Yields the object of an event as it was and as it is."""
    if event.old is not None and event.old is not event.stored:
        yield event.old
    yield event.stored


def _controllers(plane: ControlPlane, child: Stored, kinds: Collection[str]) -> Iterator[Key]:
    reference = controller_of(child)
    if reference is not None:
        if reference.kind in kinds:
            yield Key(reference.kind, child.key.namespace, reference.name)
        return
    for kind in kinds:
        for owner in plane.store.list(kind, child.key.namespace):
            if isinstance(owner.object, Workload) and selected_by(owner)(child):
                yield owner.key


def concerned(kinds: Iterable[str]) -> Callable[[Event], bool]:
    """Returns the question whether an event is about an object of ``kinds``."""
    known = frozenset(kinds)
    return lambda event: event.stored.key.kind in known


def look_until_settled(
    plane: ControlPlane,
    events: Sequence[Event] | None,
    kind: str,
    children: Sequence[str],
    look: Callable[..., None],
) -> None:
    """Calls ``look`` with each object of ``kind`` that ``events`` concern, and the :class:`Children` of each
    kind of ``children``, again and again until a round changes nothing: a change of a child may call for the
    next one.
    """
    changed = touched(plane, events, (kind,), children)
    for _ in range(MOST_LOOKS if changed else 0):
        before = plane.store.resourceVersion
        every = [Children(plane, each) for each in children]
        for one in changed:
            now = plane.store.get(one.key)
            if now is not None:
                look(now, *every)
        if not _has_changed(plane, before):
            return


def _has_changed(plane: ControlPlane, since: int) -> bool:
    """Returns whether an object other than an event has changed after version ``since``."""
    return any(event.stored.key.kind != "Event" for event in plane.store.watch(since))


def owner_of(plane: ControlPlane, child: Stored) -> Stored | None:
    """Returns the controller of an object; None if it has none, or if it is gone."""
    reference = controller_of(child)
    if reference is None:
        return None
    owner = plane.store.get(Key(reference.kind, child.key.namespace, reference.name))
    return owner if owner is not None and is_controlled_by(child, owner) else None


def active(pods: Iterable[Stored]) -> list[Stored]:
    """Returns the Pods that neither have ended nor are being deleted."""
    return [pod for pod in pods if is_active(pod)]


def revision_of(annotations: Mapping[str, Any], key: str) -> int:
    """Returns the revision that an annotation says; 0 if it says none."""
    text = annotations.get(key)
    return int(text) if isinstance(text, str) and text.isdigit() else 0
