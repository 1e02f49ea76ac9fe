"""Collects objects whose owners are gone, and keeps the promises of a deletion in the foreground and of one
that orphans (pkg/controller/garbagecollector).

An object that the input of the cluster brought along stays though its owner may be missing: a manifest is
often a part of a cluster. An object that is made while the cluster lives needs its owner.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...objects.kinds import OwnerReference
from ...store.manifests import render
from ...store.objects import Key, Stored
from ...store.store import Event
from ..plane import Controller, ControlPlane
from .deletion import FOREGROUND, ORPHAN, delete_object, drop_finalizer
from .documents import part

NAME = "garbage collector"


def _run(plane: ControlPlane, events: Sequence[Event] | None) -> None:
    while events is None or events:
        before = plane.store.resourceVersion
        _Collector(plane).collect(events)
        events = [event for event in plane.store.watch(before) if _concerns(event)]  # these, too, may own


class _Collector:
    """Looks once at all objects."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane, self.store = plane, plane.store
        self._index: dict[tuple[str, str], list[Key]] | None = None

    def collect(self, events: Sequence[Event] | None) -> None:
        """Serves the objects that are being deleted, then collects the dependents of those that went."""
        if events is None:
            deleting = [one for kind in self.store.kinds() for one in self.store.list(kind)]
        else:
            keys = dict.fromkeys(event.stored.key for event in events)
            deleting = [one for key in keys if (one := self.store.get(key))]
            gone: list[Stored] = [event.stored for event in events if event.type == "DELETED"]
            waiting = {key for one in gone for key in self._owner_keys(one)}
            deleting += [one for key in waiting if (one := self.store.get(key))]
            for went in gone:
                for below in self._dependents(went):
                    self._release(below, went.uid)
            for event in events:
                new = self.store.get(event.stored.key) if event.type == "ADDED" else None
                if new is not None:
                    self._check_owners(new)
        for ending in deleting:
            if ending.deletionTimestamp and ORPHAN in ending.finalizers:
                for below in self._dependents(ending):
                    self._forget(below, ending.uid)
                drop_finalizer(self.plane, ending, ORPHAN)
            elif ending.deletionTimestamp and FOREGROUND in ending.finalizers:
                self._wait(ending)

    # --- who owns whom ------------------------------------------------------------------------------------

    def _dependents(self, owner: Stored) -> list[Stored]:
        """Returns the objects that name ``owner`` as one of theirs, as they are now."""
        if self._index is None:
            self._index = {}
            for kind in self.store.kinds():
                if kind == "Event":
                    continue
                for one in self.store.list(kind):
                    for reference in one.owners:
                        self._index.setdefault((reference.kind, reference.name), []).append(one.key)
        keys = self._index.get((_plain(owner.key.kind), owner.key.name), ())
        found = [now for key in keys if (now := self.store.get(key))]
        return [one for one in found if any(_is(owner, one, reference) for reference in one.owners)]

    def _owner_keys(self, one: Stored) -> list[Key]:
        return [owner.key for reference in one.owners if (owner := self._owner(one, reference))]

    def _owner(self, one: Stored, reference: OwnerReference) -> Stored | None:
        for kind in self.store.kinds():
            if _plain(kind) != reference.kind:
                continue
            for namespace in {one.key.namespace, ""}:
                owner = self.store.get(Key(kind, namespace, reference.name))
                if owner is not None and _is(owner, one, reference):
                    return owner
        return None

    # --- what becomes of a dependent ----------------------------------------------------------------------

    def _release(self, dependent: Stored, gone: str) -> None:
        """Deletes an object whose last owner went; takes the reference from one that has others left."""
        owners = [owner for reference in dependent.owners if (owner := self._owner(dependent, reference))]
        if any(owner.deletionTimestamp is None or FOREGROUND not in owner.finalizers for owner in owners):
            self._forget(dependent, gone)
        else:
            delete_object(self.plane, dependent)

    def _check_owners(self, new: Stored) -> None:
        """Deletes a new object all of whose owners are missing."""
        if new.owners and all(one.uid for one in new.owners) and not self._owner_keys(new):
            delete_object(self.plane, new)

    def _forget(self, dependent: Stored, uid: str) -> None:
        document = render(dependent)
        references = document["metadata"].get("ownerReferences") or []
        kept = [one for one in references if one.get("uid") != uid]
        if kept != references:
            document["metadata"]["ownerReferences"] = kept
            self.store.write(document)

    def _wait(self, owner: Stored) -> None:
        """Deletes the dependents of ``owner``, which goes when none is left that blocks it."""
        for dependent in self._dependents(owner):
            if dependent.deletionTimestamp is None:
                self._delete_below(dependent)
        left = [one for one in self._dependents(owner) if _blocks(one, owner)]
        now = self.store.get(owner.key)
        if not left and now is not None:
            drop_finalizer(self.plane, now, FOREGROUND)

    def _delete_below(self, dependent: Stored) -> None:
        foreground = any(_blocks(one, dependent) for one in self._dependents(dependent))
        delete_object(self.plane, dependent, foreground=foreground)
        now = self.store.get(dependent.key)
        if foreground and now is not None:
            self._wait(now)


def _plain(kind: str) -> str:
    """Returns the kind without its API group, as a reference has it."""
    return kind.partition(".")[0]


def _is(owner: Stored, one: Stored, reference: OwnerReference) -> bool:
    """Returns whether ``reference``, of ``one``, names ``owner``: in its namespace, or of no namespace."""
    same = (reference.kind, reference.name) == (_plain(owner.key.kind), owner.key.name)
    near = owner.key.namespace in ("", one.key.namespace)
    return same and near and reference.uid in ("", owner.uid)


def _blocks(dependent: Stored, owner: Stored) -> bool:
    """Returns whether the dependent keeps an owner that is deleted in the foreground."""
    metadata = part(render(dependent), "metadata")
    return any(
        one.get("uid") == owner.uid and one.get("blockOwnerDeletion")
        for one in metadata.get("ownerReferences") or []
    )


def _concerns(event: Event) -> bool:
    """Returns whether an object went, is going, or is new and has an owner."""
    if event.stored.key.kind == "Event":
        return False
    if event.type == "ADDED":
        return bool(event.stored.owners)
    return event.type == "DELETED" or event.stored.deletionTimestamp is not None


CONTROLLER = Controller(NAME, _run, _concerns)
