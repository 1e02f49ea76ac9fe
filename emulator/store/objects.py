"""Defines an object as the store keeps it: the manifest as written, its typed view, and the fields that the
API server adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

from ..load.schema import full_name
from ..objects.kinds import Origin, OwnerReference, Uninterpreted, Workload


class Key(NamedTuple):
    """Describes an object's identity. ``kind`` has its API group where that is not Kubernetes' own;
    ``namespace`` is "" for a kind without one.
    """

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        full = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {full}"


def key_of(one: Any) -> Key:
    """Returns the identity of a typed object."""
    if isinstance(one, Uninterpreted):
        kind = full_name(one.kind, one.apiVersion)
    else:
        kind = one.kind if isinstance(one, Workload) else type(one).__name__
    return Key(kind, one.metadata.namespace, one.metadata.name)


def uid_of(key: Key, created: int) -> str:
    """Returns the uid of the object that is created with version ``created``."""
    digest = blake2b("\0".join((*key, str(created))).encode(), digest_size=16).digest()
    return str(UUID(bytes=digest, version=4))


class Stored(NamedTuple):
    """Holds an object. ``object`` is the typed view now, with the values that controllers have given out;
    ``written`` is the typed view of ``manifest`` alone. An object that a controller made has no manifest of
    its own.

    ``created`` is the resourceVersion of its creation, which no two objects share. ``origin`` and ``base``
    say where the user wrote it, or the object that it was made for (:class:`Origin`).
    """

    key: Key
    object: Any
    written: Any
    manifest: Mapping[str, Any]
    origin: Origin
    base: str
    created: int
    resourceVersion: int
    generation: int
    creationTimestamp: str

    @property
    def uid(self) -> str:
        """Returns the uid that the manifest brings along, or one that only this object has."""
        given: str = self.object.metadata.uid
        if given:
            return given
        return uid_of(self.key, self.created)

    @property
    def deletionTimestamp(self) -> str | None:
        stamp: str | None = self.object.metadata.deletionTimestamp
        return stamp

    @property
    def finalizers(self) -> tuple[str, ...]:
        """Returns who must act before the object may go; the manifest says so."""
        metadata = self.manifest.get("metadata")
        given = metadata.get("finalizers") if isinstance(metadata, Mapping) else None
        return tuple(name for name in given if isinstance(name, str)) if isinstance(given, list) else ()

    @property
    def owners(self) -> tuple[OwnerReference, ...]:
        references: tuple[OwnerReference, ...] = self.object.metadata.ownerReferences
        return references

    def is_owned_by(self, owner: Stored) -> bool:
        """Returns whether an owner reference names ``owner``: by name, and by uid where both manifests have
        one. An owner has no namespace, or that of the object.
        """
        if owner.key.namespace not in ("", self.key.namespace):
            return False
        return any(
            (one.kind, one.name) == (owner.key.kind, owner.key.name)
            and (one.uid in ("", owner.uid) or not owner.object.metadata.uid)
            for one in self.owners
        )
