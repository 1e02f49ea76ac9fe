"""Keeps the history of a StatefulSet's or a DaemonSet's templates as ControllerRevisions
(pkg/controller/history). `kubectl rollout history` and `undo` read them.
"""

from __future__ import annotations

from ...objects.kinds import Workload
from ...store.manifests import render
from ...store.objects import Key, Stored
from ..names import template_hash
from ..plane import ControlPlane
from .children import Children, api_version
from .documents import (
    Document,
    controller_reference,
    is_controlled_by,
    normal_template,
    number,
    part,
    same_template,
)

HASH = "controller-revision-hash"  # the label of Pods, and of a DaemonSet's revisions
_HASH = "controller.kubernetes.io/hash"
_LIMIT = 10


class Revisions:
    """Holds the revisions of ``owner``, oldest first. ``newest`` has its present template: it is made, or
    becomes the newest one again.
    """

    def __init__(self, plane: ControlPlane, owner: Stored, children: Children) -> None:
        self._plane, self._owner = plane, owner
        workload: Workload = owner.object
        selector = workload.spec.selector
        labels = selector.matchLabels if selector else {}
        mine = children.claim(
            owner,
            lambda one: labels.items() <= one.object.metadata.labels.items(),
            adopts=lambda one: api_version(one) == "apps/v1",
        )
        self.all = sorted(mine, key=_number)
        self.newest = self._newest(part(owner.manifest, "spec", "template"))

    def _newest(self, template: Document) -> Stored:
        same = [one for one in self.all if same_template(template_of(one), template)]
        last = _number(self.all[-1]) if self.all else 0
        if not same:
            made = self._make(template, last + 1)
            self.all.append(made)
            return made
        found = same[-1]
        if found is not self.all[-1]:
            document = render(found)
            document["revision"] = last + 1
            self.all.remove(found)
            found = self._plane.store.write(document)
            self.all.append(found)
        return found

    def _make(self, template: Document, revision: int) -> Stored:
        owner, plane = self._owner, self._plane
        key = f"{owner.key.kind} {owner.key.namespace}/{owner.key.name}"
        collisions = 0
        while True:
            identity = f"{key} {collisions}" if collisions else key
            mark = template_hash(plane.seed, identity, normal_template(template))
            name = f"{owner.key.name}-{mark}"
            if plane.store.get(Key("ControllerRevision", owner.key.namespace, name)) is None:
                break
            collisions += 1
        label = HASH if owner.key.kind == "DaemonSet" else _HASH
        document = {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": name,
                "namespace": owner.key.namespace,
                "labels": {**part(template, "metadata", "labels"), label: mark},
                "annotations": {
                    key: value
                    for key, value in owner.object.metadata.annotations.items()
                    if key != "kubectl.kubernetes.io/last-applied-configuration"
                },
                "ownerReferences": [controller_reference(owner, api_version(owner))],
            },
            "data": {"spec": {"template": {**template, "$patch": "replace"}}},
            "revision": revision,
        }
        return plane.store.create(document, now=plane.now)

    def named(self, name: str) -> Stored | None:
        """Returns the revision ``name``; None if it is gone."""
        return next((one for one in self.all if one.key.name == name), None)

    def clean_up(self, used: set[str]) -> None:
        """Deletes the oldest revisions beyond the history limit of those that are not ``used``."""
        limit = number(part(self._owner.manifest, "spec").get("revisionHistoryLimit"), _LIMIT)
        old = [one for one in self.all if one.key.name not in used and one is not self.newest]
        for one in old[: max(0, len(old) - limit)]:
            if is_controlled_by(one, self._owner):
                self._plane.store.delete(one.key, now=self._plane.now)


def template_of(revision: Stored) -> Document:
    """Returns the Pod template that a revision keeps."""
    kept = part(revision.manifest, "data", "spec", "template")
    return {key: value for key, value in kept.items() if key != "$patch"}


def hash_of(revision: Stored) -> str:
    """Returns the hash in a revision's name."""
    labels = revision.object.metadata.labels
    mark: str = labels.get(HASH) or labels.get(_HASH) or revision.key.name.rpartition("-")[2]
    return mark


def _number(revision: Stored) -> int:
    return number(revision.manifest.get("revision"), 0)
