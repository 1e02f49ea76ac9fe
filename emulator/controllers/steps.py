"""A step of a FlowCheck: what it deletes, applies, scales and terminates, as a new input for
:func:`emulator.controllers.settle.settle`.

May import ``objects`` and this room. The new input is what a live dump of the cluster as it is would say
(Pods with their nodes and addresses, Services with theirs), with the step's changes made to it; so what a
step does not touch stays as it is, and settling fills in what is new. In the order delete, apply, scale,
terminate, and all at once: nobody sees the cluster in between.

What the API server and the controllers would do, is done here: an applied object takes the place of the one
that it names, but keeps what was given out to that one (placement, addresses, node ports:
pkg/registry/core/service/storage/alloc.go, patchAllocatedValues); what is deleted takes its dependents along;
and each controller of which Pods went, came or are wanted otherwise makes what is missing, and removes what
is too much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from emulator.cluster.state import ClusterState
from emulator.controllers.findings import Findings
from emulator.controllers.room import room_for_pods
from emulator.controllers.slices import MANAGED_BY_LABEL
from emulator.controllers.workloads import controls, missing_pods
from emulator.load.faults import did_you_mean
from emulator.objects.config import (
    ClusterConfig,
    ExternalServer,
    FlowStep,
    Inventory,
    StepDelete,
    StepScale,
    StepTerminate,
)
from emulator.objects.kinds import (
    Endpoints,
    EndpointSlice,
    Loaded,
    Namespace,
    Node,
    ObjectMeta,
    Origin,
    Pod,
    PodCondition,
    Service,
    Workload,
)
from emulator.objects.selectors import matches_labels

_Key = tuple[str, str, str]  # kind, namespace, name
T = TypeVar("T")

NOW = "0001-01-01T00:00:00Z"  # a deletionTimestamp says that it is set; when, nobody here asks


def live_inventory(inventory: Inventory, state: ClusterState) -> Inventory:
    """What a dump of ``state``, which ``inventory`` was settled into, would hold."""
    origins = {_key(loaded.object): loaded.origin for loaded in _objects(inventory)}
    nowhere = Origin(inventory.name)

    def loaded(objects: Iterable[T]) -> tuple[Loaded[T], ...]:
        return tuple(Loaded(one, {}, origins.get(_key(one), nowhere)) for one in objects)

    given = inventory.cluster or Loaded(ClusterConfig(), {}, nowhere)
    networking = replace(
        given.object.networking,
        podSubnet=str(state.podSubnet),
        serviceSubnet=str(state.serviceSubnet),
        hostSubnet=str(state.hostSubnet),
    )
    clients = tuple(client for client in state.clients if not isinstance(client, ExternalServer))
    config = replace(given.object, nodes=(), externalClients=clients, networking=networking)
    return replace(
        inventory,
        nodes=loaded(state.nodes),
        pods=loaded((*state.pods, *(row.pod for row in state.waiting))),
        services=loaded(state.services),
        cluster=replace(given, object=config),
        flowChecks=(),
    )


def edit(
    live: Inventory,
    state: ClusterState,
    step: FlowStep,
    applied: Iterable[Loaded[Any]],
    origin: Origin,
    path: str,
    names: Mapping[str, set[str]],
    findings: Findings,
) -> Inventory:
    """``live`` of ``state``, with what ``step`` changes. ``origin`` and ``path`` say where the step is
    written, ``names`` (by namespace) which names Pods have had before: a controller gives none of them again.
    """
    edits = _Edits(live, state, origin, path, findings)
    for index, gone in enumerate(step.delete):
        edits.delete(gone, f"delete[{index}]")
    for loaded in applied:
        edits.apply(loaded)
    if step.scale:
        edits.scale(step.scale)
    if step.terminate:
        edits.terminate(step.terminate)
    edits.reconcile(names)
    return edits.inventory()


class _Edits:
    """The objects of a cluster while a step is done to them."""

    def __init__(
        self, live: Inventory, state: ClusterState, origin: Origin, path: str, findings: Findings
    ) -> None:
        self._live, self._state, self._findings = live, state, findings
        self._origin, self._path = origin, path
        self._objects: dict[_Key, Loaded[Any]] = {_key(loaded.object): loaded for loaded in _objects(live)}
        self._touched: set[_Key] = set()  # workloads whose wishes changed

    def inventory(self) -> Inventory:
        """What there is now, without the EndpointSlices that their controller makes anew because their
        Service or its Pods are others.
        """
        services = {s.key: s for s in self._of(Service)}
        changed = {
            key
            for key, service in services.items()
            if service != self._state.service.get(key)
            or _selected(service, self._of(Pod)) != _selected(service, self._state.pods)
        }
        return replace(
            self._live,
            nodes=self._loaded(Node),
            namespaces=self._loaded(Namespace),
            pods=self._loaded(Pod),
            workloads=self._loaded(Workload),
            services=self._loaded(Service),
            endpointSlices=tuple(
                s
                for s in self._loaded(EndpointSlice)
                if not (_managed(s.object) and _service_of(s.object) in changed)
            ),
            endpoints=self._loaded(Endpoints),
        )

    def _loaded(self, type_: type[T]) -> tuple[Loaded[T], ...]:
        return tuple(loaded for loaded in self._objects.values() if isinstance(loaded.object, type_))

    def _of(self, type_: type[T]) -> Iterator[T]:
        return (loaded.object for loaded in self._loaded(type_))

    def _problem(self, path: str, what: str, hint: str = "") -> None:
        self._findings.problem(self._origin, f"{self._path}.{path}", what, hint)

    def _find(self, kind: str, namespace: str, name: str, path: str) -> Loaded[Any] | None:
        """The object that a step names at ``path``; None, with a problem, if there is none now."""
        found = self._objects.get((kind, namespace, name))
        if found is None:
            full = f"{namespace}/{name}" if namespace else name
            known = [key[2] for key in self._objects if key[:2] == (kind, namespace)]
            hint = did_you_mean(name, known) or (f"there is: {', '.join(sorted(known)[:8])}" if known else "")
            self._problem(path, f"there is no {kind} {full} at this step", hint)
        return found

    def _put(self, new: Any, loaded: Loaded[Any]) -> None:
        self._objects[_key(new)] = replace(loaded, object=new)

    def _remove(self, of: Callable[[Any], bool]) -> None:
        for key in [key for key, loaded in self._objects.items() if of(loaded.object)]:
            del self._objects[key]

    # --- delete -------------------------------------------------------------------------------------------

    def delete(self, gone: StepDelete, path: str) -> None:
        namespace = "" if gone.kind in ("Node", "Namespace") else gone.namespace
        if gone.kind == "Namespace":
            self._delete_namespace(gone.name, f"{path}.name")
            return
        found = self._find(gone.kind, namespace, gone.name, f"{path}.name")
        if found is None:
            return
        del self._objects[gone.kind, namespace, gone.name]
        old = found.object
        if isinstance(old, Node):
            if not any(self._of(Node)):
                self._problem(f"{path}.name", f"{old.name} is the last node")
            self._remove(lambda one: isinstance(one, Pod) and one.spec.nodeName == old.name)
        elif isinstance(old, Workload):
            sets = [
                w
                for w in self._of(Workload)
                if w.kind == "ReplicaSet" and _owns(old.kind, old.metadata, w.metadata)
            ]
            self._remove(
                lambda one: (
                    one in sets or (isinstance(one, Pod) and any(controls(w, one) for w in (old, *sets)))
                )
            )
        elif isinstance(old, Service):
            self._remove(
                lambda one: (
                    isinstance(one, EndpointSlice) and _service_of(one) == old.key and _dependent(one, old)
                )
            )
            self._remove(
                lambda one: (
                    isinstance(one, Endpoints)
                    and (one.metadata.namespace, one.metadata.name) == (old.namespace, old.name)
                )
            )

    def _delete_namespace(self, name: str, path: str) -> None:
        if not any(key[1] == name or key == ("Namespace", "", name) for key in self._objects):
            self._problem(path, f"there is no Namespace {name} at this step, nor anything in it")
        self._remove(
            lambda one: (
                one.metadata.namespace == name or (isinstance(one, Namespace) and one.metadata.name == name)
            )
        )

    # --- apply --------------------------------------------------------------------------------------------

    def apply(self, loaded: Loaded[Any]) -> None:
        new = loaded.object
        if not new.metadata.name:
            self._findings.problem(loaded.origin, "metadata.name", "is required: what is applied has a name")
            return
        there = self._objects.get(_key(new))
        if there is not None:
            if isinstance(new, Pod):
                new = self._same_pod(there.object, new, loaded.origin)
            elif isinstance(new, Service):
                new = _same_service(there.object, new)
            elif isinstance(new, Node):
                new = self._same_node(there.object, new, loaded.origin)
            elif isinstance(new, Workload) and new.spec.template != there.object.spec.template:
                self._roll(new)
        if isinstance(new, Node) and self._state.routerIP in new.internalIPs:
            self._findings.problem(
                loaded.origin, "status.addresses", f"{self._state.routerIP} is the router's address already"
            )
        if isinstance(new, Workload):
            self._touched.add(_key(new))
        self._put(new, loaded)

    def _same_pod(self, old: Pod, new: Pod, origin: Origin) -> Pod:
        """``new`` where ``old`` runs: the scheduler's and the network's decisions stand."""
        if (
            new.spec.nodeName not in ("", old.spec.nodeName)
            or new.spec.hostNetwork != old.spec.hostNetwork
            or new.ip not in ("", old.ip)
        ):
            hint = "delete it in a step before"
            self._findings.problem(
                origin,
                "spec",
                f"Pod {old.key} runs on {old.spec.nodeName} with {old.ip} and cannot change that",
                hint,
            )
        return replace(
            new,
            metadata=replace(
                new.metadata, ownerReferences=new.metadata.ownerReferences or old.metadata.ownerReferences
            ),
            spec=replace(new.spec, nodeName=old.spec.nodeName),
            status=replace(old.status, conditions=new.status.conditions or old.status.conditions),
        )

    def _same_node(self, old: Node, new: Node, origin: Origin) -> Node:
        given = new.spec.podCIDRs or ((new.spec.podCIDR,) if new.spec.podCIDR else ())
        if (given and given != old.spec.podCIDRs) or (new.internalIPs and new.internalIPs != old.internalIPs):
            what = f"node {old.name} has {', '.join(old.internalIPs)} and {', '.join(old.spec.podCIDRs)} and cannot change them"
            self._findings.problem(origin, "spec", what, "delete it in a step before")
        return replace(
            new,
            spec=replace(new.spec, podCIDR=old.spec.podCIDR, podCIDRs=old.spec.podCIDRs),
            status=old.status,
        )

    def _roll(self, new: Workload) -> None:
        """Another template: all its Pods are replaced (a StatefulSet's under their own names)."""
        self._remove(lambda one: isinstance(one, Pod) and controls(new, one))

    # --- scale, terminate -----------------------------------------------------------------------------------

    def scale(self, wanted: StepScale) -> None:
        found = self._find(wanted.kind, wanted.namespace, wanted.name, "scale.name")
        if found is None:
            return
        new = found.object.scaled(wanted.replicas)
        self._touched.add(_key(new))
        self._put(new, found)

    def terminate(self, ending: StepTerminate) -> None:
        found = self._find("Pod", ending.namespace, ending.pod, "terminate.pod")
        if found is None:
            return
        pod: Pod = found.object
        ready = PodCondition(type="Ready", status="True" if ending.serving else "False")
        others = tuple(c for c in pod.status.conditions if c.type != "Ready")
        status = replace(pod.status, conditions=(*others, ready))
        self._put(replace(pod, metadata=replace(pod.metadata, deletionTimestamp=NOW), status=status), found)

    # --- what the workload controllers make of it ---------------------------------------------------------

    def reconcile(self, names: Mapping[str, set[str]]) -> None:
        before = {pod.key: pod for pod in self._state.pods}
        after = {pod.key: pod for pod in self._of(Pod)}
        left = [pod for key, pod in before.items() if key not in after or _ending(after[key]) != _ending(pod)]
        nodes = tuple(self._of(Node))
        moved = {node.name for node in nodes} != set(self._state.node)
        for loaded in self._loaded(Workload):
            workload = loaded.object
            joins = workload.kind == "DaemonSet" and moved
            if _key(workload) in self._touched or joins or any(controls(workload, pod) for pod in left):
                self._reconcile(loaded, nodes, names)

    def _reconcile(
        self, loaded: Loaded[Workload], nodes: Sequence[Node], names: Mapping[str, set[str]]
    ) -> None:
        workload = loaded.object
        own = [pod for pod in self._of(Pod) if controls(workload, pod)]
        namespace = workload.metadata.namespace
        taken = {pod.name for pod in self._of(Pod) if pod.namespace == namespace} | names.get(
            namespace, set()
        )
        if workload.kind == "StatefulSet":
            taken = {pod.name for pod in self._of(Pod) if pod.namespace == namespace}
        room = room_for_pods(nodes, len(self._state.pods) - len(own))
        addresses = 0 if workload.spec.template.spec.hostNetwork else workload.replicas
        if workload.kind != "DaemonSet" and (refusal := room.refusal(workload.replicas, addresses)):
            self._problem(
                "scale.replicas",
                f"{workload.replicas:,} replicas: {refusal}",
                "fewer replicas, or more nodes",
            )
            return
        for pod in _surplus(workload, own):
            del self._objects[_key(pod)]
        for draft in missing_pods(loaded, own, nodes, self._state.seed, taken, self._findings):
            self._objects[_key(draft.object)] = Loaded(draft.object, {}, draft.origin)


def _surplus(workload: Workload, own: Sequence[Pod]) -> list[Pod]:
    """The Pods that go when there are too many. A ReplicaSet takes those that are not ready first, then those
    that share their node with most others of its Pods, then the newest (pkg/controller/controller_utils.go,
    ActivePodsWithRanks); a StatefulSet the highest ordinals.
    """
    if workload.kind == "StatefulSet":
        kept = {
            f"{workload.metadata.name}-{ordinal}"
            for ordinal in range(min(workload.spec.replicas, len(own) + 1_000))
        }
        return [pod for pod in own if pod.name not in kept]
    active = [pod for pod in own if not _ending(pod)]
    if workload.kind == "DaemonSet" or len(active) <= workload.replicas:
        return []
    together = Counter(pod.spec.nodeName for pod in active)
    ranked = sorted(
        enumerate(active), key=lambda row: (row[1].ready, -together[row[1].spec.nodeName], -row[0])
    )
    return [pod for _, pod in ranked[: len(active) - workload.replicas]]


def _same_service(old: Service, new: Service) -> Service:
    """``new`` with what was given out to ``old``, where it says nothing itself, and with ``old``'s status."""
    spec = new.spec
    if old.addressed and new.spec.type != "ExternalName" and not (spec.clusterIP or spec.clusterIPs):
        spec = replace(spec, clusterIP=old.spec.clusterIP, clusterIPs=old.spec.clusterIPs)
    if "ClusterIP" not in (old.spec.type, spec.type):
        had = {port.name: port.nodePort for port in old.spec.ports}
        used = {port.nodePort for port in spec.ports}
        ports = tuple(
            p if p.nodePort or had.get(p.name) in used else replace(p, nodePort=had.get(p.name))
            for p in spec.ports
        )
        spec = replace(
            spec, ports=ports, healthCheckNodePort=spec.healthCheckNodePort or old.spec.healthCheckNodePort
        )
    keeps = spec.type == "LoadBalancer" and not new.status.loadBalancer.ingress
    return replace(new, spec=spec, status=old.status if keeps else new.status)


def _objects(inventory: Inventory) -> Iterator[Loaded[Any]]:
    yield from inventory.nodes
    yield from inventory.namespaces
    yield from inventory.pods
    yield from inventory.workloads
    yield from inventory.services
    yield from inventory.endpointSlices
    yield from inventory.endpoints


def _key(one: Any) -> _Key:
    kind = one.kind if isinstance(one, Workload) else type(one).__name__
    return kind, one.metadata.namespace, one.metadata.name


def _owns(kind: str, owner: ObjectMeta, meta: ObjectMeta) -> bool:
    return meta.namespace == owner.namespace and any(
        (o.kind, o.name) == (kind, owner.name) for o in meta.ownerReferences
    )


def _service_of(item: EndpointSlice) -> str:
    return f"{item.metadata.namespace}/{item.serviceName}"


def _managed(item: EndpointSlice) -> bool:
    return item.metadata.labels.get(MANAGED_BY_LABEL, "").endswith(".k8s.io")


def _dependent(item: EndpointSlice, service: Service) -> bool:
    """Whether the slice goes with its Service. One that somebody wrote and that nobody owns is left behind."""
    return _managed(item) or _owns("Service", service.metadata, item.metadata)


def _ending(pod: Pod) -> bool:
    return pod.metadata.deletionTimestamp is not None


def _selected(service: Service, pods: Iterable[Pod]) -> list[tuple[str, bool, bool]]:
    """What the EndpointSlice controller sees of a Service's Pods."""
    if not service.spec.selector:
        return []
    mine = (
        pod
        for pod in pods
        if pod.namespace == service.namespace and matches_labels(service.spec.selector, pod.metadata.labels)
    )
    return [(pod.key, pod.ready, _ending(pod)) for pod in mine]
