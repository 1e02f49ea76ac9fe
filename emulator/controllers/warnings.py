"""Finds what is suspicious about the objects of a settled cluster, and the place of each warning.

Other modules of this room warn while they decide; this one looks at the result: Services that lead nowhere,
scheduling rules that nobody reads, an input with nothing to ask. Invariant: a warning that the annotation
``podwire.dev/ignore`` of its object names is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from ..cluster.state import ClusterState
from ..load.faults import near
from ..objects.config import Inventory
from ..objects.kinds import Loaded, Origin, Pod, Service, Workload
from ..objects.references import ObjectRef, service_ref
from ..objects.selectors import matches_labels
from ..objects.warnings import IGNORE_ANNOTATION, Code, ManifestWarning, read_codes
from .controlplane import api_server_pod
from .findings import Findings
from .services import KUBERNETES

_PER_POD = ("pod", "holder_pod")  # parts in which equal warnings about several Pods may differ
_MOST_NAMED = 3  # namespaces and workloads that a warning names
_BUILT_IN = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})  # every cluster has them
_MOST_COMPARED = 200  # Services whose labels are compared with those of all Pods


class Written(NamedTuple):
    """Describes an object as the store has it: its place, the path from there to it, and its annotations."""

    origin: Origin
    base: str
    annotations: Mapping[str, str]


def find_warnings(state: ClusterState, inventory: Inventory, findings: Findings) -> None:
    """Adds the warnings about the cluster as it is to ``findings``, which has those of the controllers."""
    known = {one.object.name for one in findings.warnings if one.code is Code.NO_SUCH_PORT_NAME}
    known |= {KUBERNETES, *_expected(inventory)}
    crowd = _Crowd(state)
    for service in state.services:
        if service.key not in known and service.spec.type != "ExternalName":
            _check_endpoints(service, state, crowd, findings)
    given: tuple[Loaded[Any], ...] = (*inventory.pods, *inventory.workloads)
    for loaded in given:
        _check_scheduling(loaded, findings)
    _check_namespaces(inventory, findings)
    static = {api_server_pod(node.name) for node in state.nodes}
    runs = any(pod.key not in static for pod in state.pods)
    serves = any(service.key != KUBERNETES for service in state.services)
    if not (runs or serves or inventory.flowChecks):
        findings.warn(Code.NOTHING, ObjectRef("", ""))


def place_warnings(
    warnings: Iterable[ManifestWarning],
    written: Callable[[ObjectRef], Written | None],
    owners: Mapping[Origin, ObjectRef],
    annotations: Mapping[ObjectRef, Mapping[str, str]],
) -> tuple[ManifestWarning, ...]:
    """Returns ``warnings`` with their places, those about a Pod as warnings about the object that makes it.

    Warnings that an annotation silences are left out; equal ones about several Pods of one object are one.
    """
    placed: dict[object, ManifestWarning] = {}
    for one in warnings:
        about, found = one.object, written(one.object)
        now = one
        if found is not None:
            path = f"{found.base}{about.field}"
            owner = owners.get(found.origin, about) if found.base and about.kind == "Pod" else about
            said = (found.annotations, annotations.get(ObjectRef(owner.kind, owner.name), {}))
            if one.code in read_codes(notes.get(IGNORE_ANNOTATION, "") for notes in said)[0]:
                continue
            ref = ObjectRef(owner.kind, owner.name, path)
            now = replace(one, object=ref, file=found.origin.file, line=found.origin.line(path))
        parts = tuple(part for part in now.parts if part[0] not in _PER_POD)
        key = (now.code, now.object, parts)
        first = placed.get(key)
        placed[key] = replace(first, alike=first.alike + 1) if first else now
    return tuple(placed.values())


def _expected(inventory: Inventory) -> Iterator[str]:
    """Yields the Services that a FlowCheck expects to deliver nothing."""
    for check in (loaded.object for loaded in inventory.flowChecks):
        for flow in (*check.flows, *(flow for step in check.steps for flow in step.flows)):
            if flow.expect is not None and flow.expect.outcome in ("rejected", "dropped", "unreachable"):
                yield f"{flow.to.namespace}/{flow.to.service or flow.to.loadBalancer}"


# --- Services that lead nowhere ----------------------------------------------------------------------------


class _Crowd:
    """Holds the Pods of a cluster, and the templates that would make some, by what selectors ask of them."""

    def __init__(self, state: ClusterState) -> None:
        self.compared = 0
        self._running = [pod for pod in state.pods if pod.ips]
        self._waiting = [row.pod for row in state.waiting if not row.lost]
        self._workloads = state.workloads

    def running(self, selector: Mapping[str, str]) -> list[Pod]:
        return [pod for pod in self._running if matches_labels(selector, pod.metadata.labels)]

    def waiting(self, service: Service) -> int:
        return sum(
            pod.namespace == service.namespace and matches_labels(service.spec.selector, pod.metadata.labels)
            for pod in self._waiting
        )

    def idle(self, service: Service) -> tuple[str, ...]:
        """Returns the workloads without replicas that would make Pods for ``service``."""
        return tuple(
            f"{workload.kind} {workload.key}"
            for workload in self._workloads
            if workload.namespace == service.namespace
            and workload.kind != "DaemonSet"
            and not workload.replicas
            and matches_labels(service.spec.selector, workload.spec.template.metadata.labels)
        )[:_MOST_NAMED]

    def nearest(self, service: Service) -> str:
        """Returns the likely intended labels ("" if none comes near): those of the Pods in the namespace that
        match most of the selector.
        """
        selector = service.spec.selector
        best: tuple[int, float, str] = (-1, 0.0, "")
        for labels in {
            tuple(sorted(pod.metadata.labels.items()))
            for pod in self._running
            if pod.namespace == service.namespace
        }:
            have = dict(labels)
            missing = [(key, value) for key, value in selector.items() if have.get(key) != value]
            meant = [_meant(key, value, have) for key, value in missing]
            if all(meant):
                wanted = ",".join(map("=".join, missing))
                likeness = SequenceMatcher(None, wanted, ",".join(meant)).ratio()
                best = max(best, (len(selector) - len(missing), likeness, ",".join(meant)))
        return best[2]


def _meant(key: str, value: str, labels: Mapping[str, str]) -> str:
    """Returns the label among ``labels`` that is near to ``key=value``, as text."""
    if key in labels:
        return f"{key}={labels[key]}" if near(value, [labels[key]]) else ""
    keys = [name for name in near(key, labels) if labels[name] == value]
    same = keys or [name for name, other in labels.items() if other == value]
    return f"{same[0]}={value}" if same else ""


def _check_endpoints(service: Service, state: ClusterState, crowd: _Crowd, findings: Findings) -> None:
    """Reports a Service that leads to nothing."""
    slices = state.slices_of.get(service.key, ())
    endpoints = [endpoint for item in slices for endpoint in item.endpoints if endpoint.addresses]
    if any(one.ready or (one.serving and one.terminating) for one in endpoints):
        return
    if service.spec.selector and not endpoints:
        if crowd.compared < _MOST_COMPARED:
            crowd.compared += 1
            _warn_of_selector(service, crowd, findings)
        else:
            _warn(service, findings)
    elif service.proxied or service.headless:
        findings.warn(
            Code.NO_READY_ENDPOINT,
            service_ref(service.key, "spec"),
            endpoints=len(endpoints),
            slices=len(slices),
            pods=0,
        )


def _warn_of_selector(service: Service, crowd: _Crowd, findings: Findings) -> None:
    running = crowd.running(service.spec.selector)
    own = [pod for pod in running if pod.namespace == service.namespace]
    if own:  # an EndpointSlice of the input says otherwise
        findings.warn(
            Code.NO_READY_ENDPOINT, service_ref(service.key, "spec"), endpoints=0, slices=1, pods=len(own)
        )
        return
    elsewhere = tuple(dict.fromkeys(pod.namespace for pod in running))
    _warn(
        service,
        findings,
        waiting=crowd.waiting(service),
        idle=crowd.idle(service),
        elsewhere=elsewhere[:_MOST_NAMED],
        nearest="" if elsewhere else crowd.nearest(service),
    )


def _warn(
    service: Service,
    findings: Findings,
    *,
    waiting: int = 0,
    idle: tuple[str, ...] = (),
    elsewhere: tuple[str, ...] = (),
    nearest: str = "",
) -> None:
    findings.warn(
        Code.SELECTS_NO_POD,
        service_ref(service.key, "spec.selector"),
        labels=",".join(f"{key}={value}" for key, value in service.spec.selector.items()),
        waiting=waiting,
        idle=idle,
        elsewhere=elsewhere,
        nearest=nearest,
    )


# --- scheduling rules that are not read ---------------------------------------------------------------------


def _check_scheduling(loaded: Loaded[Pod] | Loaded[Workload], findings: Findings) -> None:
    """Reports rules that a scheduler would follow and podwire does not; not of Pods that were placed."""
    one = loaded.object
    if one.metadata.uid:
        return
    spec: Any = loaded.raw.get("spec")
    base = "spec."
    if isinstance(one, Workload):
        template = spec.get("template") if isinstance(spec, Mapping) else None
        spec, base = template.get("spec") if isinstance(template, Mapping) else None, "spec.template.spec."
    elif one.spec.nodeName:
        return
    fields = tuple(dict.fromkeys(_ignored_rules(spec))) if isinstance(spec, Mapping) else ()
    if fields:
        kind = one.kind if isinstance(one, Workload) else "Pod"
        findings.warn(Code.SCHEDULING, ObjectRef(kind, one.key, base.rstrip(".")), fields=fields)


def _ignored_rules(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yields the scheduling rules of a Pod's spec that are not read: another scheduler, devices."""
    scheduler = spec.get("schedulerName")
    if isinstance(scheduler, str) and scheduler not in ("", "default-scheduler"):
        yield f"schedulerName {scheduler}"
    if spec.get("resourceClaims"):
        yield "resourceClaims"
    containers = [one for key in ("containers", "initContainers") for one in spec.get(key) or ()]
    for container in (one for one in containers if isinstance(one, Mapping)):
        resources = container.get("resources")
        for group in ("limits", "requests"):
            wanted = resources.get(group) if isinstance(resources, Mapping) else None
            yield from (f"{name}" for name in wanted or () if _is_device(name))


def _is_device(resource: object) -> bool:
    """Returns whether ``resource`` is one that few nodes have (extended resources, huge pages)."""
    return isinstance(resource, str) and ("/" in resource or resource.startswith("hugepages-"))


# --- namespaces -------------------------------------------------------------------------------------------


def _check_namespaces(inventory: Inventory, findings: Findings) -> None:
    """Reports the first object of each namespace that an input with Namespaces does not declare, if the name
    comes near to one that it does: another may well be in the cluster already.
    """
    declared = {loaded.object.metadata.name for loaded in inventory.namespaces}
    given: tuple[Loaded[Any], ...] = (*inventory.workloads, *inventory.pods, *inventory.services)
    known = declared | _BUILT_IN
    for loaded in given if declared else ():
        one = loaded.object
        if one.metadata.namespace in known or one.metadata.uid:
            continue
        known.add(one.metadata.namespace)
        if found := near(one.metadata.namespace, declared):
            kind = one.kind if isinstance(one, Workload) else type(one).__name__
            findings.warn(
                Code.UNDECLARED_NAMESPACE,
                ObjectRef(kind, one.key, "metadata.namespace"),
                namespace=one.metadata.namespace,
                nearest=found[0],
            )
