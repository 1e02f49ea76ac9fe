"""Rolls Deployments out: makes a ReplicaSet for each template, and moves replicas from the old ones to the
new one (pkg/controller/deployment).

It sees Pods only through the status of its ReplicaSets, so the controller of those runs before it. Invariants
of a rolling update: ReplicaSets together ask for no more than replicas + maxSurge Pods, and none is scaled
down while fewer than replicas - maxUnavailable are available.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...store.manifests import render
from ...store.objects import Key, Stored
from ...store.store import Event
from ..names import template_hash
from ..plane import Controller, ControlPlane
from .children import Children, api_version, concerned, owner_of, revision_of, selected_by, touched
from .documents import (
    ENDED,
    HASH_LABEL,
    Document,
    condition,
    controller_reference,
    normal_template,
    number,
    part,
    same_template,
    scaled,
    seconds_between,
    set_condition,
    without_condition,
)
from .events import record

NAME = "deployments"
COMPONENT = "deployment-controller"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"
_FOREVER = 2**31 - 1  # a progressDeadlineSeconds that means none
_DEADLINE, _HISTORY = 600, 10
_LONGEST_HISTORY = 2000  # characters of the annotation of revisions
# annotations of a Deployment that its ReplicaSets do not get
_OWN_ANNOTATIONS = (
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MOST,
    "deprecated.deployment.rollback.to",
    "deprecated.daemonset.template.generation",
)


class _Wanted(NamedTuple):
    """Holds the parts of a Deployment's spec that a roll-out follows, defaults filled in."""

    replicas: int
    recreates: bool
    surge: int
    unavailable: int
    minReady: int
    deadline: int | None
    history: int
    paused: bool

    @property
    def most(self) -> int:
        """Returns how many Pods there may be at once."""
        return self.replicas + self.surge

    @property
    def least(self) -> int:
        """Returns how many Pods must be available."""
        return self.replicas - self.unavailable


def _wanted(document: Document) -> _Wanted:
    spec = part(document, "spec")
    replicas = number(spec.get("replicas"), 1)
    rolling = part(spec, "strategy", "rollingUpdate")
    recreates = part(spec, "strategy").get("type") == "Recreate"
    surge = scaled(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = scaled(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    deadline = number(spec.get("progressDeadlineSeconds"), _DEADLINE)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return _Wanted(
        replicas=replicas,
        recreates=recreates,
        surge=0 if recreates else surge,
        unavailable=0 if recreates else min(unavailable, replicas),
        minReady=number(spec.get("minReadySeconds"), 0),
        deadline=None if deadline >= _FOREVER else deadline,
        history=number(spec.get("revisionHistoryLimit"), _HISTORY),
        paused=bool(spec.get("paused")),
    )


def _run(plane: ControlPlane, events: Sequence[Event] | None) -> None:
    changed = touched(plane, events, ("Deployment",), ("ReplicaSet",))
    for pod in _gone(events or ()):  # a Recreate waits for the last Pod
        own = owner_of(plane, pod)
        deployment = own and owner_of(plane, own)
        if deployment and part(deployment.manifest, "spec", "strategy").get("type") == "Recreate":
            changed.append(deployment)
    if changed:
        sets = Children(plane, "ReplicaSet")
        for key in dict.fromkeys(one.key for one in changed):
            stored = plane.store.get(key)
            if stored is not None:
                _Rollout(plane, stored, sets).sync()


def _gone(events: Iterable[Event]) -> Iterable[Stored]:
    """Yields the Pods that went or ended."""
    for event in events:
        if event.stored.key.kind == "Pod" and (
            event.type == "DELETED" or event.stored.object.status.phase in ENDED
        ):
            yield event.stored


class _Rollout:
    """Looks once at a Deployment. ``new`` is the ReplicaSet of its present template, ``old`` are the others,
    both as they are after the writes of this look.
    """

    def __init__(self, plane: ControlPlane, deployment: Stored, sets: Children) -> None:
        self.plane, self.store = plane, plane.store
        self.key, self.stored = deployment.key, deployment
        self.document = render(deployment)
        self.wanted = _wanted(self.document)
        self.template = part(self.document, "spec", "template")
        found = sets.claim(deployment, selected_by(deployment), adopts=lambda _: True)
        same = [one for one in found if same_template(part(one.manifest, "spec", "template"), self.template)]
        self.new: Stored | None = same[0] if same else None
        self.old = [one for one in found if self.new is None or one.key != self.new.key]

    # --- one look -----------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Does the next step of the roll-out, and writes the status."""
        if self.stored.deletionTimestamp:
            self._report(progresses=False)
            return
        self._note_pause()
        if self.wanted.paused or self._is_scaling():
            self._find_new(create=False)
            self._scale()
            if self.wanted.paused:
                self._clean_up()
            self._report(progresses=False)
        elif self.wanted.recreates:
            self._recreate()
        else:
            self._roll()

    def _recreate(self) -> None:
        self._find_new(create=False)
        if [self._resize(one, 0) for one in _scaled_up(self.old)] or self._has_old_pods():
            self._report(progresses=True)
            return
        self._find_new(create=True)
        if self.new is not None:
            self._resize(self.new, self.wanted.replicas)
        if self._is_complete(self._status()):
            self._clean_up()
        self._report(progresses=True)

    def _has_old_pods(self) -> bool:
        old = {one.key.name for one in self.old}
        return any(
            pod.object.status.phase not in ENDED
            and any(ref.controller and ref.kind == "ReplicaSet" and ref.name in old for ref in pod.owners)
            for pod in (self.store.list("Pod", self.key.namespace) if old else ())
        )

    def _roll(self) -> None:
        self._find_new(create=True)
        if self.new is None:
            return
        size = self._size_of_new()
        if size != _size(self.new):
            self._resize(self.new, size)
        elif not self._shrink_old(self.new) and self._is_complete(self._status()):
            self._clean_up()
        self._report(progresses=True)

    def _size_of_new(self) -> int:
        """Returns the size that the new ReplicaSet may have now."""
        wanted, present = self.wanted, _size(self.new) if self.new else 0
        if wanted.recreates or present >= wanted.replicas:
            return wanted.replicas
        spare = wanted.most - sum(map(_size, self._all()))
        return present + max(0, min(spare, wanted.replicas - present))

    def _shrink_old(self, new: Stored) -> bool:
        """Scales old ReplicaSets down as far as enough Pods stay available: first those Pods that are not.
        Returns whether it scaled one.
        """
        if not sum(map(_size, self.old)):
            return False
        missing = _size(new) - _count(new, "availableReplicas")
        spare = sum(map(_size, self._all())) - self.wanted.least - missing
        if spare <= 0:
            return False
        shrunk = False
        for one in [*_scaled_up(self.old)]:
            unhealthy = min(spare, _size(one) - _count(one, "availableReplicas"))
            if unhealthy > 0:
                spare -= unhealthy
                shrunk |= self._resize(one, _size(one) - unhealthy)
        spare = sum(_count(one, "availableReplicas") for one in self._all()) - self.wanted.least
        for one in [*_scaled_up(self.old)]:
            step = min(spare, _size(one))
            if step > 0:
                spare -= step
                shrunk |= self._resize(one, _size(one) - step)
        return shrunk

    # --- ReplicaSets --------------------------------------------------------------------------------------

    def _all(self) -> list[Stored]:
        return [*self.old, *([self.new] if self.new else [])]

    def _find_new(self, *, create: bool) -> None:
        """Gives the new ReplicaSet the next revision; makes it if there is none, and ``create``."""
        newest = max((_revision(one) for one in self.old), default=0) + 1
        if self.new is not None:
            self._mark(self.new, newest)
            if self.wanted.deadline is not None and not self._condition("Progressing"):
                message = f'Found new replica set "{self.new.key.name}"'
                self._set("Progressing", "True", "FoundNewReplicaSet", message)
        elif create:
            self._make(newest)
        if self.new is not None:
            revision = str(max(newest, _revision(self.new)))
            self.document["metadata"].setdefault("annotations", {})[REVISION] = revision

    def _mark(self, one: Stored, revision: int) -> None:
        """Gives a ReplicaSet the Deployment's annotations, ``revision`` unless it has a later one, and the
        minReadySeconds.
        """
        document = render(one)
        notes = document["metadata"].setdefault("annotations", {})
        for key, value in part(self.document, "metadata", "annotations").items():
            if key not in _OWN_ANNOTATIONS:
                notes[key] = value
        before = _revision(one)
        if before < revision:
            notes[REVISION] = str(revision)
            past = [*filter(None, [notes.get(REVISION_HISTORY, "")]), *([str(before)] if before else [])]
            if past:
                notes[REVISION_HISTORY] = ",".join(past)[-_LONGEST_HISTORY:].lstrip(",")
        notes.setdefault(DESIRED, str(self.wanted.replicas))
        notes.setdefault(MOST, str(self.wanted.most))
        document["spec"]["minReadySeconds"] = self.wanted.minReady
        if not self.wanted.minReady:
            del document["spec"]["minReadySeconds"]
        self.new = self.store.write(document)

    def _make(self, revision: int) -> None:
        collisions = number(part(self.document, "status").get("collisionCount"), 0)
        namespace, name = self.key.namespace, self.key.name
        home = self.store.get(Key("Namespace", "", namespace))
        if home is not None and home.deletionTimestamp:
            return
        identity = f"{namespace}/{name}" + (f" {collisions}" if collisions else "")
        mark = template_hash(self.plane.seed, identity, normal_template(self.template))
        set_name = f"{name}-{mark}"
        metadata = part(self.template, "metadata")
        labels = {**part(metadata, "labels"), HASH_LABEL: mark}
        selector = part(self.document, "spec", "selector")
        spec: Document = {
            "replicas": self._size_of_new(),
            "selector": {
                **selector,
                "matchLabels": {**part(selector, "matchLabels"), HASH_LABEL: mark},
            },
            "template": {**self.template, "metadata": {**metadata, "labels": labels}},
        }
        if self.wanted.minReady:
            spec["minReadySeconds"] = self.wanted.minReady
        notes = {
            key: value
            for key, value in part(self.document, "metadata", "annotations").items()
            if key not in _OWN_ANNOTATIONS
        }
        made = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": set_name,
                "namespace": namespace,
                "labels": labels,
                "annotations": {
                    **notes,
                    REVISION: str(revision),
                    DESIRED: str(self.wanted.replicas),
                    MOST: str(self.wanted.most),
                },
                "ownerReferences": [controller_reference(self.stored, api_version(self.stored))],
            },
            "spec": spec,
            "status": {"replicas": 0},
        }
        if self.store.get(Key("ReplicaSet", namespace, set_name)) is not None:
            self.document.setdefault("status", {})["collisionCount"] = collisions + 1
            self._make(revision)  # with another hash
            return
        self.new = self.store.create(made, now=self.plane.now)
        if spec["replicas"]:
            self._tell(f"Scaled up replica set {set_name} from 0 to {spec['replicas']}")
        if self.wanted.deadline is not None:
            message = f'Created new replica set "{set_name}"'
            self._set("Progressing", "True", "NewReplicaSetCreated", message)

    def _resize(self, one: Stored, size: int) -> bool:
        """Scales a ReplicaSet, and notes on it how large the Deployment is. Returns whether its size was
        another one.
        """
        before = _size(one)
        document = render(one)
        document["spec"]["replicas"] = size
        notes = document["metadata"].setdefault("annotations", {})
        notes |= {DESIRED: str(self.wanted.replicas), MOST: str(self.wanted.most)}
        now = self.store.write(document)
        if self.new is not None and one.key == self.new.key:
            self.new = now
        self.old = [now if each.key == now.key else each for each in self.old]
        if before != size:
            direction = "up" if size > before else "down"
            self._tell(f"Scaled {direction} replica set {one.key.name} from {before} to {size}")
        return before != size

    def _clean_up(self) -> None:
        """Deletes the oldest ReplicaSets beyond the history limit, those without Pods."""
        alive = [one for one in self.old if one.deletionTimestamp is None]
        for one in sorted(alive, key=_revision)[: max(0, len(alive) - self.wanted.history)]:
            status = part(one.manifest, "status")
            seen = number(status.get("observedGeneration"), 0) >= one.generation
            if _size(one) or number(status.get("replicas"), 0) or not seen:
                continue
            self.store.delete(one.key, now=self.plane.now)
            self.old.remove(one)

    # --- scaling ------------------------------------------------------------------------------------------

    def _is_scaling(self) -> bool:
        """Returns whether the Deployment's size has changed since its ReplicaSets got theirs."""
        return any(
            revision_of(one.object.metadata.annotations, DESIRED) != self.wanted.replicas
            for one in _scaled_up(self._all())
            if DESIRED in one.object.metadata.annotations
        )

    def _scale(self) -> None:
        """Scales without rolling: the only ReplicaSet that has Pods, or all of them in proportion."""
        active = _scaled_up(self._all())
        if len(active) <= 1:
            latest = max(self.old, key=lambda one: one.created, default=None)
            one = active[0] if active else self.new or latest
            if one is not None and (one in active or _size(one) != self.wanted.replicas):
                self._resize(one, self.wanted.replicas)
            return
        new = self.new
        if (
            new is not None
            and _size(new) == self.wanted.replicas
            and revision_of(new.object.metadata.annotations, DESIRED) == self.wanted.replicas
            and _count(new, "availableReplicas") == self.wanted.replicas
        ):
            for one in _scaled_up(self.old):
                self._resize(one, 0)
        elif not self.wanted.recreates:
            self._scale_in_proportion(active)

    def _scale_in_proportion(self, active: list[Stored]) -> None:
        allowed = self.wanted.most if self.wanted.replicas > 0 else 0
        missing = allowed - sum(map(_size, active))
        newer = -1 if missing > 0 else 1  # the first one gets what rounding leaves
        ranked = sorted(active, key=lambda one: (-_size(one), newer * one.created))
        sizes, added = {}, 0
        for one in ranked:
            share = self._share(one, missing, added) if missing else 0
            sizes[one.key] = _size(one) + share
            added += share
        if missing:
            first = ranked[0].key
            sizes[first] = max(0, sizes[first] + missing - added)
        for one in ranked:
            self._resize(one, sizes[one.key])

    def _share(self, one: Stored, missing: int, added: int) -> int:
        """Returns how many replicas a ReplicaSet gets (or, below 0, loses) of those that are missing
        (deployment_util.go, GetReplicaSetProportion).
        """
        size = _size(one)
        if not size or missing == added:
            return 0
        if not self.wanted.replicas:
            fair = -size
        else:
            was = revision_of(one.object.metadata.annotations, MOST)
            was = was or number(part(self.document, "status").get("replicas"), 0) or self.wanted.most
            fair = int(size * self.wanted.most / was + 0.5) - size
        left = missing - added
        return min(fair, left) if missing > 0 else max(fair, left)

    # --- status -------------------------------------------------------------------------------------------

    def _condition(self, type_: str) -> Document | None:
        return condition(part(self.document, "status"), type_)

    def _set(self, type_: str, value: str, reason: str, message: str) -> None:
        """Sets a condition in the document, which the report writes."""
        status = self.document.setdefault("status", {})
        _set(status, type_, value, reason, message, self.plane.now)

    def _note_pause(self) -> None:
        if self.wanted.deadline is None:
            return
        now = self._condition("Progressing")
        reason = now.get("reason") if now else ""
        if reason == "ProgressDeadlineExceeded":
            return
        if self.wanted.paused and reason != "DeploymentPaused":
            self._set("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
        elif not self.wanted.paused and reason == "DeploymentPaused":
            self._set("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed")

    def _status(self) -> Document:
        """Returns the status as the ReplicaSets are now, with the conditions so far."""
        every, old = self._all(), part(self.document, "status")
        available = sum(_count(one, "availableReplicas") for one in every)
        status: Document = {
            "observedGeneration": self.stored.generation,
            "replicas": sum(_count(one, "replicas") for one in every),
            "updatedReplicas": _count(self.new, "replicas") if self.new else 0,
            "readyReplicas": sum(_count(one, "readyReplicas") for one in every),
            "availableReplicas": available,
            "unavailableReplicas": max(0, sum(map(_size, every)) - available),
            "collisionCount": number(old.get("collisionCount"), 0),
            "conditions": [*without_condition(old)],
        }
        status = {key: value for key, value in status.items() if value}
        status["terminatingReplicas"] = sum(_count(one, "terminatingReplicas") for one in every)
        if available >= self.wanted.least:
            words = "True", "MinimumReplicasAvailable", "Deployment has minimum availability."
        else:
            words = "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
        _set(status, "Available", *words, self.plane.now)
        return status

    def _is_complete(self, status: Document) -> bool:
        replicas = self.wanted.replicas
        counts = ("updatedReplicas", "replicas", "availableReplicas")
        return all(number(status.get(key), 0) == replicas for key in counts)

    def _report(self, *, progresses: bool) -> None:
        """Writes the status, and the annotations and conditions that this look changed. ``progresses``: it
        may say how far the roll-out is, which a pause or a change of size does not.
        """
        before = part(self.stored.manifest, "status")
        status = self._status()
        if self.wanted.deadline is None:
            status["conditions"] = without_condition(status, "Progressing")
        elif progresses:
            self._judge(before, status)
        failure = self._failure()
        kept = without_condition(status, "ReplicaFailure")
        status["conditions"] = [*kept, failure] if failure else kept
        document = render(self.store.get(self.key) or self.stored)
        notes = part(self.document, "metadata", "annotations")
        if REVISION in notes:
            document["metadata"].setdefault("annotations", {})[REVISION] = notes[REVISION]
        document["status"] = status
        self.store.write(document)
        progress = condition(status, "Progressing")
        done = progress is None or progress.get("reason") in (
            "NewReplicaSetAvailable",
            "ProgressDeadlineExceeded",
        )
        if progresses and self.wanted.deadline is not None and not done and progress is not None:
            passed = seconds_between(str(progress.get("lastUpdateTime")), self.plane.now)
            self.plane.wake(max(1.0, self.wanted.deadline - passed + 1), NAME)

    def _judge(self, before: Document, status: Document) -> None:
        """Sets the condition Progressing from how the counts changed since ``before``."""
        now = self.plane.now
        progress = condition(status, "Progressing")
        counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        is_now, was = ({key: number(one.get(key), 0) for key in counts} for one in (status, before))
        known = progress.get("reason") if progress else ""
        if is_now["replicas"] == is_now["updatedReplicas"] and known == "NewReplicaSetAvailable":
            return
        about = f'ReplicaSet "{self.new.key.name}"' if self.new else f'Deployment "{self.key.name}"'
        if self._is_complete(status):
            message = f"{about} has successfully progressed."
            _set(status, "Progressing", "True", "NewReplicaSetAvailable", message, now)
        elif (
            is_now["updatedReplicas"] > was["updatedReplicas"]
            or is_now["replicas"] - is_now["updatedReplicas"] < was["replicas"] - was["updatedReplicas"]
            or is_now["readyReplicas"] > was["readyReplicas"]
            or is_now["availableReplicas"] > was["availableReplicas"]
        ):
            since = progress["lastTransitionTime"] if progress and progress.get("status") == "True" else now
            status["conditions"] = without_condition(status, "Progressing")
            _set(status, "Progressing", "True", "ReplicaSetUpdated", f"{about} is progressing.", now, since)
        elif progress is not None and self.wanted.deadline is not None:
            passed = seconds_between(str(progress.get("lastUpdateTime")), now)
            if known != "NewReplicaSetAvailable" and passed > self.wanted.deadline:
                message = f"{about} has timed out progressing."
                _set(status, "Progressing", "False", "ProgressDeadlineExceeded", message, now)

    def _failure(self) -> Document | None:
        """Returns the condition that a ReplicaSet cannot make its Pods, as the new one has it, or another."""
        found = (
            condition(part(one.manifest, "status"), "ReplicaFailure")
            for one in [*([self.new] if self.new else []), *self.old]
        )
        failure = next(filter(None, found), None)
        if failure is None:
            return None
        present = self._condition("ReplicaFailure")
        if present and present.get("message") == failure.get("message"):
            return present
        return {**failure, "lastUpdateTime": failure.get("lastTransitionTime")}

    def _tell(self, message: str) -> None:
        record(self.plane, self.document, "Normal", "ScalingReplicaSet", message, COMPONENT)


# --- small questions --------------------------------------------------------------------------------------


def _set(
    status: Document, type_: str, value: str, reason: str, message: str, now: str, since: str = ""
) -> None:
    set_condition(status, type_, value, reason, message, now, lastUpdateTime=now)
    if since:
        status["conditions"][-1]["lastTransitionTime"] = since


def _size(one: Stored) -> int:
    return number(part(one.manifest, "spec").get("replicas"), 1)


def _count(one: Stored, key: str) -> int:
    return number(part(one.manifest, "status").get(key), 0)


def _revision(one: Stored) -> int:
    return revision_of(one.object.metadata.annotations, REVISION)


def _scaled_up(sets: Iterable[Stored]) -> list[Stored]:
    return [one for one in sets if _size(one) > 0]


CONTROLLER = Controller(NAME, _run, concerned(("Deployment", "ReplicaSet", "Pod")))
