"""Keeps a Pod of each DaemonSet on every node that may run it (pkg/controller/daemon).

A rolling update replaces Pods in place, as many at once as maxUnavailable says, or beside the old ones, as
many as maxSurge says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...objects.kinds import Node, PodSpec, Workload
from ...store.manifests import render
from ...store.objects import Stored
from ...store.store import Event
from ..affinity import wants_node
from ..placement import DAEMON_TOLERATIONS, HOST_NETWORK_TOLERATIONS, obstacle, tolerates
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
from .pods import RETRY, PodMaker, as_now, delete_pod, new_pod
from .revisions import HASH, Revisions, hash_of

NAME = "daemonsets"
_COMPONENT = "daemonset-controller"
_GENERATION = "deprecated.daemonset.template.generation"


def _run(plane: ControlPlane, events: Sequence[Event] | None) -> None:
    if events is not None and any(event.stored.key.kind == "Node" for event in events):
        events = None

    def look(one: Stored, pods: Children, history: Children) -> None:
        _Look(plane, one, pods, history).sync()

    look_until_settled(plane, events, "DaemonSet", ("Pod", "ControllerRevision"), look)


class _Look:
    """Looks once at a DaemonSet. ``nodes`` are those that should run a Pod, ``kept`` those whose Pod may
    stay.
    """

    def __init__(self, plane: ControlPlane, one: Stored, pods: Children, history: Children) -> None:
        self.plane, self.stored = plane, one
        self.document = render(one)
        spec = part(self.document, "spec")
        self.template = part(spec, "template")
        self.minReady = number(spec.get("minReadySeconds"), 0)
        strategy = part(spec, "updateStrategy")
        self.rolls = strategy.get("type", "RollingUpdate") == "RollingUpdate"
        workload: Workload = one.object
        own = workload.spec.template.spec
        more = (*DAEMON_TOLERATIONS, *(HOST_NETWORK_TOLERATIONS if own.hostNetwork else ()))
        own = replace(own, tolerations=(*own.tolerations, *more))
        nodes: list[Node] = [each.object for each in plane.store.list("Node")]
        self.nodes = [each.name for each in nodes if _fits(each, own)]
        self.kept = {each.name for each in nodes if _may_stay(each, own)}
        rolling = part(strategy, "rollingUpdate")
        count = len(self.nodes)
        self.surge = scaled(rolling.get("maxSurge", 0), count, up=True)
        self.unavailable = scaled(rolling.get("maxUnavailable", 1), count, up=True)
        if not self.surge and not self.unavailable:
            self.unavailable = 1
        self.own = pods.claim(one, selected_by(one), adopts=lambda pod: pod.object.status.phase not in ENDED)
        self.revisions = Revisions(plane, one, history)
        self.mark = hash_of(self.revisions.newest)
        self.maker = PodMaker(plane, one, _COMPONENT)

    def sync(self) -> None:
        """Does the next step, and writes the status."""
        if self.stored.deletionTimestamp is None:
            self._manage()
            self.own = as_now(self.plane, self.own)
            if self.rolls:
                self._roll()
        self.own = as_now(self.plane, self.own)
        self._report()
        marks = {pod.object.metadata.labels.get(HASH) for pod in self.own}
        self.revisions.clean_up({one.key.name for one in self.revisions.all if hash_of(one) in marks})
        if self.maker.failure:
            self.plane.wake(RETRY, NAME)
        if wait := until_available(self.own, self.minReady, self.plane.now):
            self.plane.wake(wait, NAME)

    # --- where Pods are -----------------------------------------------------------------------------------

    def _by_node(self) -> dict[str, list[Stored]]:
        found: dict[str, list[Stored]] = {}
        for pod in self.own:
            found.setdefault(pod.object.spec.nodeName, []).append(pod)
        return found

    def _is_new(self, pod: Stored) -> bool:
        mark: str = pod.object.metadata.labels.get(HASH, "")
        return mark == self.mark

    def _is_available(self, pod: Stored) -> bool:
        return is_available(pod, self.minReady, self.plane.now)

    def _manage(self) -> None:
        """Makes the Pods that nodes lack, and deletes those that ended or are on the wrong node."""
        by_node = self._by_node()
        for node in self.nodes:
            alive = []
            for pod in by_node.get(node, ()):
                if pod.deletionTimestamp is not None:
                    alive.append(pod)
                elif pod.object.status.phase in ENDED:
                    self._tell_of_ended(pod, node)
                    delete_pod(self.plane, pod)
                else:
                    alive.append(pod)
            staying = [pod for pod in alive if pod.deletionTimestamp is None]
            if not alive or (self.surge and not staying):
                self._create(node)
            most = 2 if self.surge and len({self._is_new(pod) for pod in staying}) == 2 else 1
            for pod in sorted(staying, key=lambda pod: (pod.object.status.phase != "Running", pod.created))[
                most:
            ]:
                self.maker.delete(pod)
        for node, pods in by_node.items():
            for pod in pods:
                if node not in self.kept and pod.deletionTimestamp is None:
                    self.maker.delete(pod)

    def _tell_of_ended(self, pod: Stored, node: str) -> None:
        name = f"{pod.key.namespace}/{pod.key.name}"
        if pod.object.status.phase == "Failed":
            message = f"Found failed daemon pod {name} on node {node}, will try to kill it"
            self.maker.tell("Warning", "FailedDaemonPod", message)
        else:
            message = f"Found succeeded daemon pod {name} on node {node}, will try to delete it"
            self.maker.tell("Normal", "SucceededDaemonPod", message)

    def _create(self, node: str) -> None:
        spec = part(self.template, "spec")
        more = [*DAEMON_TOLERATIONS, *(HOST_NETWORK_TOLERATIONS if spec.get("hostNetwork") else ())]
        tolerations = [
            *rows(spec, "tolerations"),
            *({"key": one.key, "operator": one.operator, "effect": one.effect} for one in more),
        ]
        labels = {HASH: self.mark, "pod-template-generation": self._generation()}
        made = new_pod(
            self.plane,
            self.stored,
            self.template,
            labels=labels,
            spec={"nodeName": node, "tolerations": tolerations},
        )
        pod = self.maker.create(made)
        if pod is not None:
            self.own.append(pod)

    def _generation(self) -> str:
        notes = self.stored.object.metadata.annotations
        return str(notes.get(_GENERATION) or self.stored.generation)

    # --- rolling ------------------------------------------------------------------------------------------

    def _roll(self) -> None:
        by_node = self._by_node()
        if self.surge:
            self._surge(by_node)
        else:
            self._replace(by_node)

    def _replace(self, by_node: dict[str, list[Stored]]) -> None:
        """Deletes old Pods: those that are not available, and others as far as enough are."""
        missing, candidates = 0, []
        for node in self.nodes:
            staying = [pod for pod in by_node.get(node, ()) if pod.deletionTimestamp is None]
            old = [pod for pod in staying if not self._is_new(pod)]
            if not staying or not self._is_available(staying[0]):
                missing += 1
                for pod in old:
                    self.maker.delete(pod)
            else:
                candidates += old
        for pod in candidates[: max(0, self.unavailable - missing)]:
            self.maker.delete(pod)

    def _surge(self, by_node: dict[str, list[Stored]]) -> None:
        """Makes new Pods beside old ones, and deletes an old one when its new one is available."""
        surging = 0
        free: list[str] = []
        candidates: list[str] = []
        for node in self.nodes:
            staying = [pod for pod in by_node.get(node, ()) if pod.deletionTimestamp is None]
            old = [pod for pod in staying if not self._is_new(pod)]
            new = [pod for pod in staying if self._is_new(pod)]
            if not old:
                continue
            if not new:
                (candidates if self._is_available(old[0]) else free).append(node)
                continue
            if self._is_available(new[0]) or not self._is_available(old[0]):
                self.maker.delete(old[0])
            if not self._is_available(new[0]):
                surging += 1
        for node in [*free, *candidates[: max(0, self.surge - surging)]]:
            self._create(node)

    # --- status -------------------------------------------------------------------------------------------

    def _report(self) -> None:
        by_node = self._by_node()
        placed = [self._best(by_node[node]) for node in self.nodes if by_node.get(node)]
        placed = [pod for pod in placed if pod is not None]
        available = sum(map(self._is_available, placed))
        document = render(self.plane.store.get(self.stored.key) or self.stored)
        status: Document = {
            "currentNumberScheduled": len(placed),
            "numberMisscheduled": sum(node not in self.nodes for node in by_node),
            "desiredNumberScheduled": len(self.nodes),
            "numberReady": sum(map(is_ready, placed)),
            "observedGeneration": self.stored.generation,
            "updatedNumberScheduled": sum(map(self._is_new, placed)),
            "numberAvailable": available,
            "numberUnavailable": len(self.nodes) - available,
        }
        optional = ("updatedNumberScheduled", "numberAvailable", "numberUnavailable")
        status = {key: value for key, value in status.items() if value or key not in optional}
        document["status"] = status
        document["metadata"].setdefault("annotations", {}).setdefault(_GENERATION, self._generation())
        self.plane.store.write(document)

    def _best(self, pods: Sequence[Stored]) -> Stored:
        """Returns the Pod that counts for its node: one that stays, the oldest."""
        return min(pods, key=lambda pod: (pod.deletionTimestamp is not None, pod.created))


def _fits(node: Node, spec: PodSpec) -> bool:
    return spec.nodeName in ("", node.name) and not obstacle(node, spec)


def _may_stay(node: Node, spec: PodSpec) -> bool:
    """Returns whether a Pod that is there may stay: a taint NoSchedule drives nobody out."""
    expelling = [taint for taint in node.spec.taints if taint.effect == "NoExecute"]
    tolerated = all(any(tolerates(one, taint) for one in spec.tolerations) for taint in expelling)
    return spec.nodeName in ("", node.name) and tolerated and wants_node(spec, node)


CONTROLLER = Controller(NAME, _run, concerned(("DaemonSet", "Pod", "Node", "ControllerRevision")))
