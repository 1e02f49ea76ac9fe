"""Deletes objects for controllers as the API server would for a client, whatever their kind."""

from __future__ import annotations

from ...store.manifests import render
from ...store.objects import Stored
from ..plane import ControlPlane
from .pods import delete_pod

FOREGROUND = "foregroundDeletion"  # finalizers that the garbage collector serves
ORPHAN = "orphan"


def delete_object(plane: ControlPlane, stored: Stored, *, foreground: bool = False) -> None:
    """Deletes an object: a Pod with its grace period, another at once unless somebody's finalizer keeps it.
    ``foreground``: it stays until its dependents are gone.
    """
    now = plane.store.get(stored.key)
    if now is None or now.created != stored.created:
        return
    if foreground and now.deletionTimestamp is None:
        document = render(now)
        document["metadata"]["finalizers"] = [*now.finalizers, FOREGROUND]
        document["metadata"]["deletionTimestamp"] = plane.now
        document["metadata"]["deletionGracePeriodSeconds"] = 0
        plane.store.write(document)
    elif now.key.kind == "Pod":
        delete_pod(plane, now)
    elif now.key.kind == "Namespace":
        plane.store.delete(now.key, now=plane.now, grace=True)  # its controller empties it first
    else:
        plane.store.delete(now.key, now=plane.now)


def drop_finalizer(plane: ControlPlane, stored: Stored, name: str) -> None:
    """Takes a finalizer from an object, which goes with the last one."""
    document = render(stored)
    document["metadata"]["finalizers"] = [one for one in stored.finalizers if one != name]
    plane.store.write(document)
