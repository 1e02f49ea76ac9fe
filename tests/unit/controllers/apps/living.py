"""Provides a cluster that lives without a kernel: a control plane, a clock, and the least of a kubelet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emulator.controllers.apps import APPS
from emulator.controllers.apps.documents import part, time_after
from emulator.controllers.plane import ControlPlane
from emulator.objects.config import Inventory
from emulator.store.manifests import render
from emulator.store.objects import Key, Stored
from tests.unit.controllers.clusters import cluster, inventory_of

START = "2026-12-01T12:00:00Z"
Document = dict[str, Any]


class Living:
    """Holds a cluster with some workers. Time passes only by :meth:`step` and :meth:`pass_time`."""

    def __init__(self, *manifests: str, workers: int = 3, inventory: Inventory | None = None) -> None:
        nodes = ", ".join(["{role: control-plane}", *["{role: worker}"] * workers])
        given = inventory or inventory_of(cluster(nodes), *manifests)
        self.plane = ControlPlane(given, workloads=APPS)
        self.plane.now = START
        self.keeps_unready: Callable[[Stored], bool] = lambda _: False
        self.ends: Callable[[Stored], str] = lambda _: ""  # the phase in which a running Pod ends
        self.lingers: Callable[[Stored], bool] = lambda _: False  # on deletion
        self.reconcile()

    def reconcile(self) -> None:
        self.plane.reconcile()

    # --- what users do ------------------------------------------------------------------------------------

    def create(self, document: Document) -> Stored:
        stored = self.plane.store.create(document, now=self.plane.now)
        self.reconcile()
        return stored

    def change(
        self, kind: str, name: str, change: Callable[[Document], object], namespace: str = "default"
    ) -> None:
        document = self.document(kind, name, namespace)
        change(document)
        self.plane.store.write(document)
        self.reconcile()

    def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        self.plane.store.delete(Key(kind, namespace, name), now=self.plane.now)
        self.reconcile()

    # --- what a kubelet does ------------------------------------------------------------------------------

    def step(self, seconds: float = 1) -> None:
        """Lets time pass; each Pod goes one step on: it runs, gets ready, or is gone."""
        self.pass_time(seconds, reconcile=False)
        for pod in self.plane.store.list("Pod"):
            if pod.object.spec.nodeName and pod.key.namespace != "kube-system":
                self._kubelet(pod)
        self.reconcile()

    def _kubelet(self, pod: Stored) -> None:
        if pod.deletionTimestamp:
            if not self.lingers(pod):
                self.plane.store.finalize(pod.key)
            return
        phase, ready = pod.object.status.phase, False
        if phase in ("Succeeded", "Failed"):
            return
        if phase == "Running":
            phase = self.ends(pod) or "Running"
            ready = phase == "Running" and not self.keeps_unready(pod)
        else:
            phase = "Running"
        self.say(pod, phase, ready)

    def say(self, pod: Stored, phase: str, ready: bool) -> None:
        """Writes a Pod's status as its kubelet does."""
        document = render(pod)
        before = {one["type"]: one for one in part(document, "status").get("conditions") or []}
        old = before.get("Ready", {})
        value = "True" if ready else "False"
        since = old.get("lastTransitionTime") if old.get("status") == value else self.plane.now
        row = {"type": "Ready", "status": value, "lastTransitionTime": since}
        document.setdefault("status", {}).update({"phase": phase, "conditions": [row]})
        if phase in ("Succeeded", "Failed"):
            ended = {"name": "main", "state": {"terminated": {"finishedAt": self.plane.now}}}
            document["status"]["containerStatuses"] = [ended]
        self.plane.store.write(document)

    def pass_time(self, seconds: float, *, reconcile: bool = True) -> None:
        self.plane.now = time_after(self.plane.now, seconds)
        for name, due in [*self.plane.due.items()]:
            if due <= seconds:
                self.plane.elapse(name)
            else:
                self.plane.due[name] = due - seconds
        if reconcile:
            self.reconcile()

    def settle(self, most: int = 60) -> None:
        """Lets steps pass until one writes nothing."""
        for _ in range(most):
            before = self.plane.store.resourceVersion
            self.step()
            if self.plane.store.resourceVersion == before:
                return
        raise AssertionError("it does not settle")

    # --- what is there ------------------------------------------------------------------------------------

    def document(self, kind: str, name: str, namespace: str = "default") -> Document:
        stored = self.plane.store.get(Key(kind, namespace, name))
        assert stored is not None, f"{kind} {name}"
        return render(stored)

    def status(self, kind: str, name: str, namespace: str = "default") -> Document:
        return part(self.document(kind, name, namespace), "status")

    def conditions(self, kind: str, name: str) -> dict[str, tuple[str, str]]:
        rows = self.status(kind, name).get("conditions") or []
        return {one["type"]: (one["status"], one.get("reason", "")) for one in rows}

    def all(self, kind: str, namespace: str = "default") -> list[Stored]:
        return [*self.plane.store.list(kind, namespace)]

    def names(self, kind: str, namespace: str = "default") -> list[str]:
        return [one.key.name for one in self.all(kind, namespace)]

    def events(self, reason: str) -> list[Document]:
        return [one for each in self.plane.store.list("Event") if (one := render(each))["reason"] == reason]

    def messages(self, reason: str) -> list[str]:
        return [one["message"] for one in self.events(reason)]


def workload(kind: str, name: str, replicas: int | None = 3, image: str = "web:1", **spec: Any) -> Document:
    """Returns a workload of the group apps, or a ReplicationController, with one container."""
    old = kind == "ReplicationController"
    labels = {"app": name}
    return {
        "apiVersion": "v1" if old else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": labels if old else {"matchLabels": labels},
            "template": template(labels, image),
            **spec,
        },
    }


def template(labels: Document, image: str = "web:1") -> Document:
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}


def set_image(image: str) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        document["spec"]["template"]["spec"]["containers"][0]["image"] = image

    return change


def set_spec(**fields: Any) -> Callable[[Document], None]:
    return lambda document: document["spec"].update(fields)
