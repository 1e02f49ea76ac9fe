"""Implements the store: create, replace, apply, delete, list, watch, with a version for each write.

A write of a manifest passes admission (:mod:`emulator.load.admit`); a controller writes typed objects, which
it has from the store. No thread, clock or random number: whoever writes says the time. Invariants: a
resourceVersion is given once, and only grows; an object never changes, a write puts another in its place; a
write that changes nothing has no version and no event; a list that nobody changed is the same tuple.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from ..load.admit import Admission, admit, admit_uninterpreted
from ..load.faults import Fault, required
from ..load.schema import LeftOut, identify
from ..objects.kinds import Loaded, Node, Origin, Pod, Service
from ..objects.metallb import IPAddressPool, L2Advertisement
from .errors import (
    AlreadyExistsError,
    ConflictError,
    ExpiredError,
    InvalidError,
    NotFoundError,
)
from .merge import merge
from .objects import Key, Stored, key_of

HISTORY = 100_000  # events that a watch may still ask for
EventType = Literal["ADDED", "MODIFIED", "DELETED"]
_NOWHERE = Origin("the API")
# metadata that the store gives: a manifest that comes back need not bring it
_GIVEN = frozenset({"uid", "resourceVersion", "generation", "creationTimestamp"})


class Event(NamedTuple):
    """Describes a write. ``stored`` is the object after it, for DELETED the last one; ``old`` the one before,
    if any. A DELETED event has a version of its own.
    """

    type: EventType
    stored: Stored
    old: Stored | None
    resourceVersion: int


class Store:
    def __init__(self, *, history: int = HISTORY) -> None:
        """Starts empty; ``history``: how many events are kept for watches."""
        self._kinds: dict[str, dict[Key, Stored]] = {}
        self._lists: dict[str, tuple[Stored, ...]] = {}  # unchanged kinds only
        self._version = 0
        self._events: deque[Event] = deque(maxlen=history)
        self.unnamespaced: frozenset[str] = frozenset()  # kinds of custom resources without a namespace

    def fork(self) -> Store:
        """Returns a store with the same objects and history, which goes its own way from here."""
        twin = copy(self)
        twin._kinds = {kind: dict(objects) for kind, objects in self._kinds.items()}
        twin._lists = dict(self._lists)
        twin._events = self._events.copy()
        return twin

    # --- reading ------------------------------------------------------------------------------------------

    @property
    def resourceVersion(self) -> int:
        """Returns the version of the last write: what a list is of, and where a watch begins."""
        return self._version

    def get(self, key: Key) -> Stored | None:
        return self._kinds.get(key.kind, {}).get(key)

    def kinds(self) -> tuple[str, ...]:
        """Returns the kinds that there are objects of."""
        return tuple(kind for kind, objects in self._kinds.items() if objects)

    def list(self, kind: str, namespace: str = "") -> tuple[Stored, ...]:
        """Returns the objects of ``kind`` in the order of their creation; ``namespace`` "": of all
        namespaces.
        """
        if kind not in self._lists:
            self._lists[kind] = tuple(self._kinds.get(kind, {}).values())
        rows = self._lists[kind]
        return tuple(one for one in rows if one.key.namespace == namespace) if namespace else rows

    def watch(self, since: int, kind: str = "") -> Iterator[Event]:
        """Yields the events after version ``since``, oldest first; ``kind`` "": of all kinds. Raises
        ExpiredError at once if some of them are forgotten.
        """
        if since > self._version:
            raise ExpiredError(f"resourceVersion {since} is not there yet: the last one is {self._version}")
        oldest = self._events[0].resourceVersion if self._events else self._version + 1
        if since < oldest - 1:
            raise ExpiredError(
                f"resourceVersion {since} is too old: events before {oldest} are forgotten, list again"
            )
        return self._since(since, kind)

    def forget(self) -> None:
        """Forgets all events, where nobody watches who has not seen them."""
        self._events.clear()

    def _since(self, since: int, kind: str) -> Iterator[Event]:
        newest = []
        for event in reversed(self._events):
            if event.resourceVersion <= since:
                break
            if not kind or event.stored.key.kind == kind:
                newest.append(event)
        yield from reversed(newest)

    # --- manifests ----------------------------------------------------------------------------------------

    def create(self, manifest: Mapping[str, Any], *, now: str, origin: Origin = _NOWHERE) -> Stored:
        """Adds the object of ``manifest``. Raises InvalidError, AlreadyExistsError."""
        new = self._admitted(manifest, origin)
        if self.get(key_of(new.object)):
            raise AlreadyExistsError(f"{key_of(new.object)} is there already")
        return self._add(new, now)

    def replace(self, manifest: Mapping[str, Any], *, origin: Origin = _NOWHERE) -> Stored:
        """Replaces the object of ``manifest``, which keeps the values that were given out to it. Raises
        InvalidError, NotFoundError, ConflictError (the manifest has a resourceVersion or a uid that is not
        the object's).
        """
        new = self._admitted(manifest, origin)
        old = self._must(key_of(new.object))
        _check_precondition(old, manifest)
        return self._update(old, new)

    def apply(self, manifest: Mapping[str, Any], *, now: str, origin: Origin = _NOWHERE) -> Stored:
        """Creates the object, or replaces it as it is now. Raises InvalidError, ConflictError."""
        new = self._admitted(manifest, origin)
        if old := self.get(key_of(new.object)):
            _check_precondition(old, manifest)
        return self.apply_loaded(new, now=now)

    def write(self, manifest: Mapping[str, Any], *, now: str = "", origin: Origin = _NOWHERE) -> Stored:
        """Puts a whole object in its place as it is, with its status and the values that were given out: what
        a controller or a kubelet writes. The object is created if it is not there and ``now`` says the time.
        Raises InvalidError, NotFoundError, ConflictError.
        """
        new = self._admitted(_without_identity(manifest), origin)
        old = self.get(key_of(new.object))
        if old is None and now:
            return self._add(new, now)
        old = self._must(key_of(new.object))
        _check_precondition(old, manifest)
        return self._exchange(old, new, new.object)

    def apply_loaded(self, new: Loaded[Any], *, now: str, base: str = "") -> Stored:
        """Applies an object that loading has admitted already; its manifest may be of another cluster, whose
        versions mean nothing here. Raises InvalidError.
        """
        old = self.get(key_of(new.object))
        return self._update(old, new) if old else self._add(new, now, base)

    def _admitted(self, manifest: Mapping[str, Any], origin: Origin) -> Loaded[Any]:
        kind = identify(manifest)
        if isinstance(kind, Fault):
            raise InvalidError("the object", [kind])
        if isinstance(kind, LeftOut) or kind.type is dict or kind.name == "FlowCheck":  # it has a definition
            admission = self._without_namespace(admit_uninterpreted(manifest))
        elif kind.exact and kind.type not in (IPAddressPool, L2Advertisement):
            what = f"{kind.name} is no object of a cluster's API"
            raise InvalidError(
                "the object", [Fault(("kind",), what, "give it to podwire on the command line")]
            )
        else:
            admission = admit(kind, manifest)
        _check_name(admission)
        if admission.faults:
            name = key_of(admission.object) if admission.object else manifest.get("kind")
            raise InvalidError(str(name), admission.faults)
        return Loaded(admission.object, manifest, origin)

    def _without_namespace(self, admission: Admission) -> Admission:
        """Takes the namespace from an object of a custom kind that has none."""
        one = admission.object
        if one is None or key_of(one).kind not in self.unnamespaced:
            return admission
        bare = replace(one, metadata=replace(one.metadata, namespace=""))
        return Admission(bare, admission.faults, admission.notices)

    def _must(self, key: Key) -> Stored:
        found = self.get(key)
        if found is None:
            raise NotFoundError(f"there is no {key}")
        return found

    def _add(self, new: Loaded[Any], now: str, base: str = "") -> Stored:
        version = self._version + 1
        stored = Stored(
            key=key_of(new.object),
            object=new.object,
            written=new.object,
            manifest=new.raw,
            origin=new.origin,
            base=base,
            created=version,
            resourceVersion=version,
            generation=1,
            creationTimestamp=now,
        )
        return self._record("ADDED", stored, None)

    def _update(self, old: Stored, new: Loaded[Any]) -> Stored:
        merged, faults = merge(old.object, new.object)
        if faults:
            raise InvalidError(str(old.key), faults)
        return self._exchange(old, new, merged)

    def _exchange(self, old: Stored, new: Loaded[Any], merged: Any) -> Stored:
        """Puts ``merged``, the typed object of the manifest ``new``, in the place of ``old``."""
        stamp = old.deletionTimestamp
        if stamp and not merged.metadata.deletionTimestamp:  # nobody takes a deletion back
            merged = replace(merged, metadata=replace(merged.metadata, deletionTimestamp=stamp))
        if merged == old.object and new.raw == old.manifest:
            return old
        stored = old._replace(object=merged, written=new.object, manifest=new.raw, origin=new.origin, base="")
        if stamp and old.finalizers and not (stored.finalizers or _grace_of(stored)):
            return self._remove(stored)
        return self._put(old, stored)

    # --- typed writes ---------------------------------------------------------------------------------------

    def add(self, new: Any, *, now: str, origin: Origin, base: str = "") -> Stored:
        """Adds an object that a controller made. Raises AlreadyExistsError."""
        if self.get(key_of(new)):
            raise AlreadyExistsError(f"{key_of(new)} is there already")
        return self._add(Loaded(new, {}, origin), now, base)

    def update(self, new: Any, seen: int | None = None) -> Stored:
        """Replaces an object by a controller's result. ``seen`` is the resourceVersion from which the result
        was made. Raises NotFoundError, ConflictError.
        """
        old = self._must(key_of(new))
        if seen is not None and seen != old.resourceVersion:
            raise ConflictError(f"{old.key} has changed: it has resourceVersion {old.resourceVersion}")
        if new is old.object or new == old.object:
            return old
        return self._put(old, old._replace(object=new))

    def delete(self, key: Key, *, now: str, grace: bool = False) -> Stored:
        """Deletes an object. With ``grace``, or finalizers, it only gets its deletionTimestamp, and is gone
        when it is deleted without grace, or when the last finalizer goes. Raises NotFoundError.
        """
        old = self._must(key)
        if not (grace or old.finalizers):
            return self._remove(old)
        if old.deletionTimestamp:
            return old
        ending = replace(old.object, metadata=replace(old.object.metadata, deletionTimestamp=now))
        return self._put(old, old._replace(object=ending))

    def finalize(self, key: Key) -> Stored:
        """Removes an object, all of whose finalizers have acted. Raises NotFoundError."""
        return self._remove(self._must(key))

    # --- the log ------------------------------------------------------------------------------------------

    def _put(self, old: Stored, new: Stored) -> Stored:
        version = self._version + 1
        generation = old.generation + (_desired(old) != _desired(new))
        return self._record("MODIFIED", new._replace(resourceVersion=version, generation=generation), old)

    def _remove(self, old: Stored) -> Stored:
        self._version += 1
        del self._kinds[old.key.kind][old.key]
        self._lists.pop(old.key.kind, None)
        self._events.append(Event("DELETED", old, old, self._version))
        return old

    def _record(self, type_: EventType, stored: Stored, old: Stored | None) -> Stored:
        self._version = stored.resourceVersion
        self._kinds.setdefault(stored.key.kind, {})[stored.key] = stored
        self._lists.pop(stored.key.kind, None)
        self._events.append(Event(type_, stored, old, self._version))
        return stored


def _desired(stored: Stored) -> tuple[Any, ...]:
    """Returns what a change of makes another generation: the spec, and the wish to delete. Values that are
    given out to the spec (a Pod's node, a Service's addresses) are no wish.
    """
    given_out = stored.manifest and isinstance(stored.object, Pod | Service | Node)
    typed = None if given_out else getattr(stored.object, "spec", None)
    spec = stored.manifest.get("spec")
    if isinstance(stored.object, Pod) and isinstance(spec, Mapping):
        spec = {key: value for key, value in spec.items() if key != "nodeName"}
    return typed, stored.deletionTimestamp is None, spec


def _grace_of(stored: Stored) -> Any:
    """Returns the seconds that a Pod which is being deleted may still take: its kubelet ends it."""
    metadata = stored.manifest.get("metadata")
    return metadata.get("deletionGracePeriodSeconds") if isinstance(metadata, Mapping) else None


def _without_identity(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns ``manifest`` without the metadata that the store itself gives."""
    metadata = manifest.get("metadata")
    if not isinstance(metadata, Mapping) or not _GIVEN & metadata.keys():
        return manifest
    return {**manifest, "metadata": {key: item for key, item in metadata.items() if key not in _GIVEN}}


def _check_precondition(old: Stored, manifest: Mapping[str, Any]) -> None:
    """Raises ConflictError if ``manifest`` names another version of the object, or another object."""
    metadata = manifest.get("metadata")
    if not isinstance(metadata, Mapping):
        return
    version, uid = metadata.get("resourceVersion"), metadata.get("uid")
    if version and str(version) != str(old.resourceVersion):
        raise ConflictError(
            f"{old.key} has changed: it has resourceVersion {old.resourceVersion}, not {version}"
        )
    if uid and uid != old.uid:
        raise ConflictError(f"{old.key} is another object: it has uid {old.uid}, not {uid}")


def _check_name(admission: Admission) -> None:
    """Adds the fault of an object without a name: whoever generates names does it before."""
    if admission.object is not None and not admission.object.metadata.name and not admission.faults:
        admission.faults.append(required(("metadata", "name")))
