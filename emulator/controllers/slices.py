"""Makes EndpointSlices: as given, mirrored from Endpoints, or from a Service's selector as the EndpointSlice
controller does.

Invariant: a Service whose EndpointSlice by a controller is in the input gets none from that controller here;
slices by others stand beside. Every port of a made slice is a number. Sources: the Kubernetes documentation,
"EndpointSlices" (conditions, distribution, mirroring), pkg/controller/endpointslice (it lists by Service and
by the label managed-by), pkg/controller/endpointslicemirroring/utils.go (exceptions from mirroring), and for
``trafficDistribution`` kubernetes v1.34, staging/src/k8s.io/endpointslice/trafficdist.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..load.faults import near
from ..objects.families import is_other, names_other
from ..objects.kinds import (
    LEFT_TO_OTHERS,
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    ForZone,
    Node,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    Pod,
    Service,
    ServicePort,
)
from ..objects.notices import LeftToOtherProxy, NotMirrored
from ..objects.references import ObjectRef, service_ref
from ..objects.selectors import matches_labels
from ..objects.warnings import Code, UnusedSlice
from .controlplane import kubernetes_slice
from .findings import Draft, Findings
from .names import generate_name
from .placement import serving_containers
from .services import KUBERNETES
from .topologyhints import ZONE_LABEL, add_hints

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
# values of MANAGED_BY_LABEL
OWN, MIRROR = "endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR_LABEL = "endpointslice.kubernetes.io/skip-mirror"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
TOPOLOGY_MODE = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
HEADLESS_LABEL = "service.kubernetes.io/headless"
MAX_ENDPOINTS = 100  # kube-controller-manager --max-endpoints-per-slice


class PodIndex:
    """Finds the Pods of a selector through an index of labels."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        self._by_label: dict[tuple[str, str, str], list[Pod]] = {}
        for pod in pods:
            for key, value in pod.metadata.labels.items():
                self._by_label.setdefault((pod.namespace, key, value), []).append(pod)

    def select(self, namespace: str, selector: Mapping[str, str]) -> list[Pod]:
        """Returns the Pods of ``namespace`` that match ``selector``, which is not empty."""
        rarest = min(
            (self._by_label.get((namespace, key, value), []) for key, value in selector.items()), key=len
        )
        return [pod for pod in rarest if matches_labels(selector, pod.metadata.labels)]


class SelectorIndex:
    """Finds the Services that select a Pod through an index of one label of each selector."""

    def __init__(self, services: Iterable[Draft[Service]]) -> None:
        self._by_label: dict[tuple[str, str, str], list[Service]] = {}
        for service in (draft.object for draft in services):
            for key, value in sorted(service.spec.selector.items())[:1]:
                self._by_label.setdefault((service.namespace, key, value), []).append(service)

    def select(self, pod: Pod) -> set[tuple[str, str]]:
        """Returns the namespace and name of each Service whose selector matches ``pod``."""
        labels = pod.metadata.labels
        return {
            (service.namespace, service.name)
            for item in labels.items()
            for service in self._by_label.get((pod.namespace, *item), ())
            if matches_labels(service.spec.selector, labels)
        }


@dataclass(frozen=True, slots=True)
class Sources:
    """Holds the inputs of the EndpointSlice controllers. ``managers``: the managers of other slices, by
    Service (:func:`managers_of`); ``endpoints`` by namespace and name; ``zones``: each node's, None if it has
    none.
    """

    select: Callable[[str, Mapping[str, str]], Sequence[Pod]]  # namespace, selector
    nodes: Sequence[Node]
    zones: Mapping[str, str | None]
    endpoints: Mapping[tuple[str, str], Endpoints]
    managers: Mapping[tuple[str, str], set[str]]
    seed: int


def zones_of(nodes: Iterable[Node]) -> dict[str, str | None]:
    return {node.name: node.metadata.labels.get(ZONE_LABEL) for node in nodes}


def service_slices(
    draft: Draft[Service], sources: Sources, names: set[str], findings: Findings
) -> Sequence[EndpointSlice]:
    """Returns the slices that a controller makes for one Service: of its selector's Pods, or mirrored.

    ``names`` are the names of slices in its namespace; those of the new ones are added.
    """
    service, seed = draft.object, sources.seed
    key = (service.namespace, service.name)
    if service.spec.type == "ExternalName":
        return ()
    if service.addressed and not service.proxied:
        label = next(
            label for label in sorted(LEFT_TO_OTHERS, reverse=True) if label in service.metadata.labels
        )
        findings.notice(LeftToOtherProxy(service.key, label))
    by, endpoints = sources.managers.get(key, set()), sources.endpoints.get(key)
    if service.key == KUBERNETES:
        if by:
            return ()
        # the API server maintains it, Endpoints and slice alike
        if endpoints:
            return list(_mirrored(service, endpoints, seed, names))
        return [kubernetes_slice(service, sources.nodes, findings)]
    if service.spec.selector:
        if OWN in by:
            return ()
        selected = sources.select(service.namespace, service.spec.selector)
        matching = [pod for pod in selected if pod.ips and _is_listed(pod, service, sources.zones)]
        made = list(_from_pods(draft, matching, sources.zones, seed, names, findings))
        if key_of_mode := topology_mode(service):
            made, lack = add_hints(made, sources.nodes)
            if lack:
                findings.warn(
                    Code.NO_HINTS,
                    service_ref(service.key),
                    annotation=key_of_mode,
                    why=lack.why,
                    node=lack.node,
                    endpoints=lack.endpoints,
                    zones=lack.zones,
                )
        return made
    if endpoints and MIRROR not in by and _is_mirrored(endpoints, findings):
        return list(_mirrored(service, endpoints, seed, names))
    return ()


def managers_of(slices: Iterable[EndpointSlice]) -> dict[tuple[str, str], set[str]]:
    """Returns the managers of ``slices``, by Service; "" for those without a manager's label."""
    managers: dict[tuple[str, str], set[str]] = {}
    for item in slices:
        key = (item.metadata.namespace, item.serviceName)
        managers.setdefault(key, set()).add(item.metadata.labels.get(MANAGED_BY_LABEL, ""))
    return managers


def _is_mirrored(endpoints: Endpoints, findings: Findings) -> bool:
    """Returns whether the mirroring controller makes slices of ``endpoints``; kube-proxy reads no
    Endpoints.
    """
    meta = endpoints.metadata
    key = f"{meta.namespace}/{meta.name}"
    if meta.labels.get(SKIP_MIRROR_LABEL) == "true":
        findings.notice(NotMirrored(key, label=SKIP_MIRROR_LABEL))
        return False
    if LEADER_ANNOTATION in meta.annotations:
        findings.notice(NotMirrored(key, annotation=LEADER_ANNOTATION))
        return False
    return True


def given_slices(
    slices: Iterable[EndpointSlice], addressed: Container[str], findings: Findings
) -> Iterator[EndpointSlice]:
    """Yields the users' slices that a Service could use.

    kube-proxy ignores a slice without the Service's name, in an IPv4 cluster one of another address type, and
    one whose label hands it to another proxy (which is no loss to a headless Service). ``addressed`` are the
    Services with ClusterIPs.
    """
    for item in slices:
        if names_other(item.addressType):
            findings.ipv6_left_out()
        elif item.addressType == "FQDN":
            findings.warn(Code.UNUSED_SLICE, _slice_ref(item), why=UnusedSlice.FQDN, label="")
        elif (
            labels := sorted(LEFT_TO_OTHERS & item.metadata.labels.keys())
        ) and f"{item.metadata.namespace}/{item.serviceName}" in addressed:
            findings.warn(Code.UNUSED_SLICE, _slice_ref(item), why=UnusedSlice.OTHER_PROXY, label=labels[-1])
        elif not item.serviceName:
            findings.warn(
                Code.UNUSED_SLICE, _slice_ref(item), why=UnusedSlice.NO_SERVICE, label=SERVICE_NAME_LABEL
            )
        else:
            yield item


def _slice_ref(item: EndpointSlice) -> ObjectRef:
    return ObjectRef("EndpointSlice", f"{item.metadata.namespace}/{item.metadata.name}")


# --- from a selector --------------------------------------------------------------------------------------


def _is_listed(pod: Pod, service: Service, nodes: Container[str]) -> bool:
    """Returns False for a Pod whose node does not exist: the controller skips it unless the Service publishes
    addresses that are not ready (staging/src/k8s.io/endpointslice/reconciler.go).
    """
    return pod.spec.nodeName in nodes or service.spec.publishNotReadyAddresses


def _from_pods(
    draft: Draft[Service],
    pods: Sequence[Pod],
    zones: Mapping[str, str | None],
    seed: int,
    names: set[str],
    findings: Findings,
) -> Iterator[EndpointSlice]:
    """Yields slices of at most 100 endpoints, one group for each set of port numbers that the Service's ports
    resolve to.
    """
    service = draft.object
    resolved: dict[tuple[EndpointPort, ...], list[Endpoint]] = {}
    found = [False] * len(service.spec.ports)
    for pod in pods:
        numbers = [target_port(pod, port) for port in service.spec.ports]
        found = [seen or number is not None for seen, number in zip(found, numbers, strict=True)]
        ports = tuple(
            EndpointPort(name=port.name, protocol=port.protocol, port=number)
            for port, number in zip(service.spec.ports, numbers, strict=True)
            if number is not None
        )
        if ports or not service.spec.ports:
            resolved.setdefault(ports, []).append(_endpoint(pod, service, zones))
    for index, port in enumerate(service.spec.ports):
        if pods and not found[index]:
            declared = {
                p.name
                for pod in pods
                for c in serving_containers(pod.spec)
                for p in c.ports
                if p.name and p.protocol == port.protocol
            }
            findings.warn(
                Code.NO_SUCH_PORT_NAME,
                service_ref(service.key, f"spec.ports[{index}].targetPort"),
                target=str(port.targetPort),
                protocol=port.protocol,
                port=port.port,
                near=tuple(near(str(port.targetPort), declared)),
                declared=tuple(sorted(declared)),
            )
    labels = {SERVICE_NAME_LABEL: service.name, MANAGED_BY_LABEL: OWN}
    if service.headless:
        labels[HEADLESS_LABEL] = ""
    for slice_ports, endpoints in resolved.items():
        yield from _chunks(service, labels, endpoints, slice_ports, seed, names)


def target_port(pod: Pod, port: ServicePort) -> int | None:
    """Returns the number of ``port.targetPort`` on ``pod``: by name among its containers' ports of that
    protocol (None: none has it).
    """
    if not isinstance(port.targetPort, str):
        return port.port if port.targetPort is None else port.targetPort
    for container in serving_containers(pod.spec):
        for declared in container.ports:
            if declared.name == port.targetPort and declared.protocol == port.protocol:
                return declared.containerPort
    return None


def _endpoint(pod: Pod, service: Service, zones: Mapping[str, str | None]) -> Endpoint:
    terminating = pod.metadata.deletionTimestamp is not None
    ready = service.spec.publishNotReadyAddresses or (pod.ready and not terminating)
    distribution = "" if topology_mode(service) else service.spec.trafficDistribution
    zone = zones.get(pod.spec.nodeName)
    return Endpoint(
        addresses=(str(pod.ip),),
        conditions=EndpointConditions(ready=ready, serving=pod.ready, terminating=terminating),
        nodeName=pod.spec.nodeName,
        zone=zone,
        hints=_hints(distribution, zone, pod.spec.nodeName) if ready else None,
        hostname=pod.spec.hostname if pod.spec.hostname and pod.spec.subdomain == service.name else None,
        targetRef=ObjectReference(kind="Pod", namespace=pod.namespace, name=pod.name),
    )


def topology_mode(service: Service) -> str:
    """Returns the annotation that asks for hints by the zones' CPUs ("" if none does); trafficDistribution
    has no effect beside it.
    """
    return next(
        (key for key in TOPOLOGY_MODE if service.metadata.annotations.get(key, "").lower() == "auto"), ""
    )


def _hints(distribution: str, zone: str | None, node: str) -> EndpointHints | None:
    """Returns the hints of a ready endpoint: its own zone; under PreferSameNode also its own node, which
    comes first.
    """
    for_zones = (ForZone(name=zone),) if distribution and zone else ()
    for_nodes = (ForZone(name=node),) if distribution == "PreferSameNode" else ()
    return EndpointHints(forZones=for_zones, forNodes=for_nodes) if for_zones or for_nodes else None


def _chunks(
    service: Service,
    labels: Mapping[str, str],
    endpoints: Sequence[Endpoint],
    ports: tuple[EndpointPort, ...],
    seed: int,
    names: set[str],
) -> Iterator[EndpointSlice]:
    for start in range(0, len(endpoints), MAX_ENDPOINTS):
        yield EndpointSlice(
            metadata=ObjectMeta(
                name=generate_name(f"{service.name}-", seed, "slice", service.key, start, taken=names),
                namespace=service.namespace,
                labels=labels,
                ownerReferences=(OwnerReference(kind="Service", name=service.name, controller=True),),
            ),
            endpoints=tuple(endpoints[start : start + MAX_ENDPOINTS]),
            ports=ports,
        )


# --- mirrored ---------------------------------------------------------------------------------------------


def _mirrored(service: Service, endpoints: Endpoints, seed: int, names: set[str]) -> Iterator[EndpointSlice]:
    labels = {SERVICE_NAME_LABEL: service.name, MANAGED_BY_LABEL: MIRROR}
    for subset in endpoints.subsets:
        rows = [(address, True) for address in subset.addresses] + [
            (address, False) for address in subset.notReadyAddresses
        ]
        mirrored = [_mirror(address, ready) for address, ready in rows if not is_other(address.ip)]
        yield from _chunks(service, labels, mirrored, subset.ports, seed, names)


def _mirror(address: EndpointAddress, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=(address.ip,),
        conditions=EndpointConditions(ready=ready),
        nodeName=address.nodeName,
        hostname=address.hostname,
        targetRef=address.targetRef,
    )
