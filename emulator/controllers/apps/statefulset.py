"""Keeps the Pods of StatefulSets, which have names, an order, and a volume claim each
(pkg/controller/statefulset, stateful_set_control.go).

OrderedReady changes one Pod at a time, and waits until all before it are available; Parallel changes all at
once. A rolling update replaces Pods from the highest ordinal down to the partition.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...store.manifests import render
from ...store.objects import Key, Stored
from ...store.store import Event
from ..plane import Controller, ControlPlane
from .children import Children, concerned, look_until_settled, selected_by
from .documents import (
    ENDED,
    Document,
    is_available,
    is_ready,
    number,
    part,
    rows,
    scaled,
    until_available,
)
from .pods import RETRY, PodMaker, as_now, new_pod
from .revisions import HASH, Revisions, template_of

NAME = "statefulsets"
_COMPONENT = "statefulset-controller"


def _run(plane: ControlPlane, events: Sequence[Event] | None) -> None:

    def look(one: Stored, pods: Children, history: Children) -> None:
        _Look(plane, one, pods, history).sync()

    look_until_settled(plane, events, "StatefulSet", ("Pod", "ControllerRevision"), look)


class _Look:
    """Looks once at a StatefulSet."""

    def __init__(self, plane: ControlPlane, one: Stored, pods: Children, history: Children) -> None:
        self.plane, self.stored = plane, one
        self.document = render(one)
        spec = part(self.document, "spec")
        self.replicas = number(spec.get("replicas"), 1)
        self.start = number(part(spec, "ordinals").get("start"), 0)
        self.monotonic = spec.get("podManagementPolicy") != "Parallel"
        self.minReady = number(spec.get("minReadySeconds"), 0)
        strategy = part(spec, "updateStrategy")
        self.rolls = strategy.get("type", "RollingUpdate") == "RollingUpdate"
        rolling = part(strategy, "rollingUpdate")
        self.partition = number(rolling.get("partition"), 0) if self.rolls else 0
        self.budget = max(1, scaled(rolling.get("maxUnavailable", 1), self.replicas, up=True))
        matches = selected_by(one)
        self.own = pods.claim(
            one,
            lambda pod: matches(pod) and _ordinal(one, pod.key.name) is not None,
            adopts=lambda pod: pod.object.status.phase not in ENDED,
        )
        self.revisions = Revisions(plane, one, history)
        self.update = self.revisions.newest
        self.current = self.revisions.named(part(self.document, "status").get("currentRevision", ""))
        self.current = self.current or self.update
        self.maker = PodMaker(plane, one, _COMPONENT)

    def sync(self) -> None:
        """Does the next step, and writes the status."""
        if self.stored.deletionTimestamp is None:
            self._change()
        self.own = as_now(self.plane, self.own)
        self._report()
        used = {pod.object.metadata.labels.get(HASH, "") for pod in self.own}
        self.revisions.clean_up({*used, self.current.key.name if self.current else ""})
        if self.maker.failure:
            self.plane.wake(RETRY, NAME)
        if wait := until_available(self.own, self.minReady, self.plane.now):
            self.plane.wake(wait, NAME)

    # --- one step -----------------------------------------------------------------------------------------

    def _change(self) -> None:
        by_ordinal = {_ordinal(self.stored, pod.key.name): pod for pod in self.own}
        wanted = range(self.start, self.start + self.replicas)
        for ordinal in wanted:
            pod = by_ordinal.get(ordinal)
            if not self._keep(ordinal, pod) and (self.monotonic or self.maker.failure):
                return
        condemned = sorted(ordinal for ordinal in by_ordinal if ordinal is not None and ordinal not in wanted)
        sick = [ordinal for ordinal in condemned if not self._is_healthy(by_ordinal[ordinal])]
        for ordinal in reversed(condemned):
            pod = by_ordinal[ordinal]
            waits = self.monotonic and ordinal in sick[1:]  # for the first one to get well
            if pod.deletionTimestamp is None and not waits:
                self._delete(pod)
            if self.monotonic:
                return
        if self.rolls:
            self._roll([pod for ordinal in wanted if (pod := by_ordinal.get(ordinal))])

    def _keep(self, ordinal: int, pod: Stored | None) -> bool:
        """Makes the Pod of an ordinal if it is missing. Returns whether it is there and available."""
        if pod is None:
            self._create(ordinal)
            return False
        if pod.object.status.phase in ENDED and pod.deletionTimestamp is None:
            self._delete(pod)  # another one is made when it is gone
        return self._is_healthy(pod)

    def _is_healthy(self, pod: Stored) -> bool:
        """Returns whether the Pod runs, is ready, has been so for long enough, and is not being deleted."""
        running = pod.object.status.phase == "Running" and pod.deletionTimestamp is None
        return running and is_available(pod, self.minReady, self.plane.now)

    def _roll(self, pods: Sequence[Stored]) -> None:
        """Deletes outdated Pods from the highest ordinal down, while no more are unavailable than may be."""
        budget = self.budget
        for pod in reversed(pods):
            ordinal = _ordinal(self.stored, pod.key.name)
            if budget <= 0 or ordinal is None or ordinal < self.start + self.partition:
                return
            outdated = pod.object.metadata.labels.get(HASH) != self.update.key.name
            if outdated and pod.deletionTimestamp is None:
                self._delete(pod)
                budget -= 1
            elif not self._is_healthy(pod):
                budget -= 1

    def _create(self, ordinal: int) -> None:
        old = self.rolls and ordinal < self.start + self.partition
        revision = self.current if old and self.current else self.update
        template = template_of(revision)
        name = f"{self.stored.key.name}-{ordinal}"
        more: Document = {"hostname": name}
        if subdomain := part(self.document, "spec").get("serviceName"):
            more["subdomain"] = subdomain
        if claims := self._claims(name):
            given = [one for one in rows(template, "spec", "volumes") if one.get("name") not in claims]
            more["volumes"] = [
                *given,
                *(
                    {"name": volume, "persistentVolumeClaim": {"claimName": claim}}
                    for volume, claim in claims.items()
                ),
            ]
        labels = {
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(ordinal),
            HASH: revision.key.name,
        }
        made = new_pod(self.plane, self.stored, template, name=name, labels=labels, spec=more)
        made["metadata"]["generateName"] = f"{self.stored.key.name}-"
        pod = self.maker.create(made, f"create Pod {name} in StatefulSet {self.stored.key.name} successful")
        if pod is not None:
            self.own.append(pod)

    def _claims(self, pod: str) -> dict[str, str]:
        """Makes the volume claims of a Pod that are missing; returns them by volume."""
        claims = {}
        for template in rows(self.document, "spec", "volumeClaimTemplates"):
            volume = str(part(template, "metadata").get("name", ""))
            name = claims[volume] = f"{volume}-{pod}"
            if self.plane.store.get(Key("PersistentVolumeClaim", self.stored.key.namespace, name)) is None:
                labels = part(self.document, "spec", "selector", "matchLabels")
                metadata = {**part(template, "metadata"), "name": name, "labels": labels}
                metadata["namespace"] = self.stored.key.namespace
                claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
                claim |= {"spec": part(template, "spec"), "status": {"phase": "Pending"}}
                self.plane.store.create(claim, now=self.plane.now)
        return claims

    def _delete(self, pod: Stored) -> None:
        name = self.stored.key.name
        self.maker.delete(pod, f"delete Pod {pod.key.name} in StatefulSet {name} successful")

    # --- status -------------------------------------------------------------------------------------------

    def _report(self) -> None:
        def of(revision: Stored | None) -> int:
            mark = revision.key.name if revision else ""
            alive = (pod for pod in self.own if pod.deletionTimestamp is None)
            return sum(pod.object.metadata.labels.get(HASH) == mark for pod in alive)

        ready = [pod for pod in self.own if pod.object.status.phase == "Running" and is_ready(pod)]
        available = [pod for pod in ready if is_available(pod, self.minReady, self.plane.now)]
        updated, current = of(self.update), self.current
        if self.rolls and updated == len(self.own) == len(ready) == self.replicas:
            current = self.update
        old = part(self.document, "status")
        status: Document = {
            "observedGeneration": self.stored.generation,
            "replicas": len(self.own),
            "readyReplicas": len(ready),
            "currentReplicas": of(current),
            "updatedReplicas": updated,
            "currentRevision": current.key.name if current else "",
            "updateRevision": self.update.key.name,
        }
        status = {key: value for key, value in status.items() if value or key == "replicas"}
        status |= {"collisionCount": 0, "availableReplicas": len(available)}
        if old.get("conditions"):
            status["conditions"] = old["conditions"]
        self.current = current
        document = render(self.plane.store.get(self.stored.key) or self.stored)
        document["status"] = status
        self.plane.store.write(document)


def _ordinal(owner: Stored, name: str) -> int | None:
    """Returns the ordinal in the name of a Pod; None if it is no name of a Pod of ``owner``."""
    found = re.fullmatch(rf"{re.escape(owner.key.name)}-(0|[1-9][0-9]*)", name)
    return int(found[1]) if found else None


CONTROLLER = Controller(NAME, _run, concerned(("StatefulSet", "Pod", "ControllerRevision")))
