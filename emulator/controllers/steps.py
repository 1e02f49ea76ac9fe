"""Writes a step of a FlowCheck to the store: its deletions, applied manifests, scalings and terminations.

The writes are in the order delete, apply, rollout, scale, terminate, and all at once: the controllers run
after the last one (:meth:`emulator.controllers.plane.ControlPlane.reconcile`), so nothing sees the cluster in
between. Dependents of a deleted object are deleted at once, too. Where the cluster does not live, a roll-out
is over at once: the Pods of another template take the place of the old ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..errors import worded
from ..load.faults import did_you_mean, path_text
from ..objects.config import FlowStep, StepDelete, StepRollout, StepScale, StepTerminate
from ..objects.kinds import Loaded, Node, Origin, Pod, PodCondition, Workload
from ..objects.selectors import matches_labels
from ..store.errors import InvalidError
from ..store.objects import Key, Stored
from .findings import Findings
from .garbage import delete
from .plane import ControlPlane

_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"  # kubectl rollout restart writes it


def write_step(
    plane: ControlPlane,
    step: FlowStep,
    applied: Iterable[Loaded[Any]],
    origin: Origin,
    path: str,
    findings: Findings,
) -> None:
    """Writes the changes of ``step``; ``applied`` are the objects of its manifests. ``origin`` and ``path``
    are the step's place. Faulty parts are reported and not written.
    """
    writer = _Writer(plane, origin, path, findings)
    for index, gone in enumerate(step.delete):
        writer.delete(gone, f"delete[{index}].name")
    since = plane.store.resourceVersion
    for loaded in applied:
        writer.apply(loaded)
    if step.rollout:
        writer.roll_out(step.rollout)
    if not plane.lives:
        plane.replace_outdated(tuple(plane.store.watch(since)))
    if step.scale:
        writer.scale(step.scale)
    if step.terminate:
        writer.terminate(step.terminate)
    plane.blame = (origin, f"{path}.scale.replicas")


class _Writer:
    def __init__(self, plane: ControlPlane, origin: Origin, path: str, findings: Findings) -> None:
        self._plane, self._store = plane, plane.store
        self._origin, self._path, self._findings = origin, path, findings

    def _problem(self, path: str, what: str, hint: str = "") -> None:
        self._findings.problem(self._origin, f"{self._path}.{path}", what, hint)

    def _find(self, key: Key, path: str) -> Stored | None:
        """Returns the object that the step names at ``path``; None, with a problem, if it does not
        exist now.
        """
        found = self._store.get(key)
        if found is None:
            known = [one.key.name for one in self._store.list(key.kind, key.namespace)]
            hint = did_you_mean(key.name, known) or (
                f"there is: {', '.join(sorted(known)[:8])}" if known else ""
            )
            self._problem(path, worded("there is no {} at this step", key), hint)
        return found

    def delete(self, gone: StepDelete, path: str) -> None:
        namespace = "" if gone.kind in ("Node", "Namespace") else gone.namespace
        key = Key(gone.kind, namespace, gone.name)
        if gone.kind == "Namespace":
            if not delete(self._store, key):
                self._problem(
                    path, worded("there is no Namespace {} at this step, nor anything in it", gone.name)
                )
        elif self._find(key, path):
            delete(self._store, key)
            if gone.kind == "Node" and not self._store.list("Node"):
                self._problem(path, worded("{} is the last node", gone.name))

    def apply(self, loaded: Loaded[Any]) -> None:
        new, last = loaded.object, self._plane.last
        if not new.metadata.name:
            what = "is required: an applied object has a name"
            self._findings.problem(loaded.origin, "metadata.name", what)
            return
        if isinstance(new, Node) and last and last.routerIP in new.internalIPs:
            what = worded("{} is the router's address already", last.routerIP)
            self._findings.problem(loaded.origin, "status.addresses", what)
        try:
            self._store.apply_loaded(loaded, now=self._plane.now)
        except InvalidError as error:
            for fault in error.faults:
                self._findings.problem(loaded.origin, path_text(fault.path), fault.what, fault.hint)

    def scale(self, wanted: StepScale) -> None:
        found = self._find(Key(wanted.kind, wanted.namespace, wanted.name), "scale.name")
        if found:
            self._store.update(found.object.scaled(wanted.replicas))

    def roll_out(self, wanted: StepRollout) -> None:
        """Gives a Deployment's template the image, or the annotation that a restart writes."""
        found = self._find(Key("Deployment", wanted.namespace, wanted.deployment), "rollout.deployment")
        if found is None:
            return
        workload: Workload = found.object
        template = workload.spec.template
        if wanted.restart:
            notes = {**template.metadata.annotations, _RESTARTED_AT: self._plane.now}
            template = replace(template, metadata=replace(template.metadata, annotations=notes))
        else:
            containers = template.spec.containers
            name = wanted.container or containers[0].name
            if name not in [one.name for one in containers]:
                there = f"there is: {', '.join(one.name for one in containers)}"
                self._problem("rollout.container", f"{found.key} has no container {name}", there)
                return
            changed = tuple(
                replace(one, image=wanted.image) if one.name == name else one for one in containers
            )
            template = replace(template, spec=replace(template.spec, containers=changed))
        self._store.update(replace(workload, spec=replace(workload.spec, template=template)))

    def terminate(self, ending: StepTerminate) -> None:
        """Sets the deletionTimestamp of Pods that go on running, and their readiness."""
        for key in self._ending(ending):
            self._terminate(key, ending)

    def _ending(self, ending: StepTerminate) -> list[Key]:
        """Returns the Pods that ``ending`` names; none, with a problem, if there are none now."""
        if not ending.podSelector:
            found = self._find(Key("Pod", ending.namespace, ending.pod), "terminate.pod")
            return [found.key] if found else []
        pods = self._store.list("Pod", ending.namespace)
        keys = [one.key for one in pods if matches_labels(ending.podSelector, one.object.metadata.labels)]
        if not keys:
            labels = ",".join(f"{key}={value}" for key, value in ending.podSelector.items())
            what = worded("there is no Pod with {} in namespace {} at this step", labels, ending.namespace)
            self._problem("terminate.podSelector", what)
        return keys

    def _terminate(self, key: Key, ending: StepTerminate) -> None:
        pod: Pod = self._store.delete(key, now=self._plane.now, grace=True).object
        ready = PodCondition(type="Ready", status="True" if ending.serving else "False")
        others = tuple(c for c in pod.status.conditions if c.type != "Ready")
        self._store.update(replace(pod, status=replace(pod.status, conditions=(*others, ready))))
