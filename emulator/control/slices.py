"""EndpointSlices: as given, mirrored from Endpoints, or made from a Service's selector as the EndpointSlice controller does.

May import ``objects`` and this room. Invariant: a Service of which the input holds an EndpointSlice gets none from here; every port of
a made slice is a number. Sources: the Kubernetes documentation, "EndpointSlices" (conditions, distribution, mirroring), and for
``trafficDistribution`` kubernetes v1.34, staging/src/k8s.io/endpointslice/trafficdist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, ip_address

from emulator.control.controlplane import kubernetes_slice
from emulator.control.findings import Draft, Findings
from emulator.control.names import generate_name
from emulator.control.placement import serving_containers
from emulator.control.services import KUBERNETES
from emulator.objects.config import Inventory
from emulator.objects.faults import did_you_mean
from emulator.objects.kinds import (
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
from emulator.objects.selectors import matches_labels

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
HEADLESS_LABEL = "service.kubernetes.io/headless"
ZONE_LABEL = "topology.kubernetes.io/zone"
MAX_ENDPOINTS = 100  # kube-controller-manager --max-endpoints-per-slice


class _PodIndex:
    """Finds the Pods of a selector without looking at all of them."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        self._by_label: dict[tuple[str, str, str], list[Pod]] = {}
        for pod in pods:
            for key, value in pod.metadata.labels.items():
                self._by_label.setdefault((pod.namespace, key, value), []).append(pod)

    def select(self, namespace: str, selector: Mapping[str, str]) -> list[Pod]:
        """The Pods of ``namespace`` that match ``selector``, which is not empty."""
        rarest = min((self._by_label.get((namespace, key, value), []) for key, value in selector.items()), key=len)
        return [pod for pod in rarest if matches_labels(selector, pod.metadata.labels)]


def make_slices(
    inventory: Inventory, services: Sequence[Draft[Service]], pods: Sequence[Pod], nodes: Sequence[Node], seed: int, findings: Findings
) -> list[EndpointSlice]:
    """Every EndpointSlice of the cluster: the given ones, then each Service's made or mirrored ones, in the Services' order."""
    slices = list(_given(inventory, findings))
    have = {(s.metadata.namespace, s.serviceName) for s in slices}
    taken: dict[str, set[str]] = {}
    for item in slices:
        taken.setdefault(item.metadata.namespace, set()).add(item.metadata.name)
    endpoints = {(e.object.metadata.namespace, e.object.metadata.name): e.object for e in inventory.endpoints}
    index = _PodIndex(pods)
    zones = {node.name: node.metadata.labels.get(ZONE_LABEL) for node in nodes}
    for draft in services:
        service = draft.object
        key = (service.namespace, service.name)
        if key in have or service.spec.type == "ExternalName":
            continue
        names = taken.setdefault(service.namespace, set())
        if service.spec.selector:
            matching = [pod for pod in index.select(service.namespace, service.spec.selector) if pod.ip]
            slices += _from_pods(draft, matching, zones, seed, names, findings)
        elif key in endpoints:
            slices += _mirrored(service, endpoints[key], seed, names)
        elif service.key == KUBERNETES:
            slices.append(kubernetes_slice(nodes, findings))
    return slices


def _given(inventory: Inventory, findings: Findings) -> Iterator[EndpointSlice]:
    """The slices of the input that any Service could use: kube-proxy looks neither at a slice without the Service's name nor, in an
    IPv4 cluster, at another address type."""
    for loaded in inventory.endpointSlices:
        item = loaded.object
        if item.addressType == "IPv6":
            findings.ipv6_left_out()
        elif item.addressType == "FQDN":
            findings.notice(f"left out: EndpointSlice {item.metadata.namespace}/{item.metadata.name} of type FQDN, which nothing proxies")
        elif not item.serviceName:
            findings.notice(
                f"left out: EndpointSlice {item.metadata.namespace}/{item.metadata.name} without the label {SERVICE_NAME_LABEL}"
            )
        else:
            yield item


# --- from a selector --------------------------------------------------------------------------------------


def _from_pods(
    draft: Draft[Service], pods: Sequence[Pod], zones: Mapping[str, str | None], seed: int, names: set[str], findings: Findings
) -> Iterator[EndpointSlice]:
    """Slices of at most 100 endpoints, one group for each set of port numbers that the Service's ports resolve to."""
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
                p.name for pod in pods for c in serving_containers(pod.spec) for p in c.ports if p.name and p.protocol == port.protocol
            }
            hint = did_you_mean(str(port.targetPort), declared)
            if not hint:
                hint = f"named ports: {', '.join(sorted(declared))}" if declared else "name the containerPort, or write its number"
            findings.problem(
                draft.origin,
                f"spec.ports[{index}].targetPort",
                f"unknown port name {port.targetPort}: no Pod of Service {service.key} has a {port.protocol} port of that name",
                hint,
            )
    labels = {SERVICE_NAME_LABEL: service.name, MANAGED_BY_LABEL: "endpointslice-controller.k8s.io"}
    if service.headless:
        labels[HEADLESS_LABEL] = ""
    for slice_ports, endpoints in resolved.items():
        yield from _chunks(service, labels, endpoints, slice_ports, seed, names)


def target_port(pod: Pod, port: ServicePort) -> int | None:
    """The number that ``port.targetPort`` means on ``pod``: by name among its containers' ports of that protocol (None: none has it)."""
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
    zone = zones.get(pod.spec.nodeName)
    return Endpoint(
        addresses=(pod.ip,),
        conditions=EndpointConditions(ready=ready, serving=pod.ready, terminating=terminating),
        nodeName=pod.spec.nodeName,
        zone=zone,
        hints=_hints(service.spec.trafficDistribution, zone, pod.spec.nodeName) if ready else None,
        hostname=pod.spec.hostname if pod.spec.hostname and pod.spec.subdomain == service.name else None,
        targetRef=ObjectReference(kind="Pod", namespace=pod.namespace, name=pod.name),
    )


def _hints(distribution: str, zone: str | None, node: str) -> EndpointHints | None:
    """Where a ready endpoint is to be used: in its own zone; under PreferSameNode, before that, on its own node."""
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
    labels = {SERVICE_NAME_LABEL: service.name, MANAGED_BY_LABEL: "endpointslicemirroring-controller.k8s.io"}
    for subset in endpoints.subsets:
        rows = [(address, True) for address in subset.addresses] + [(address, False) for address in subset.notReadyAddresses]
        mirrored = [_mirror(address, ready) for address, ready in rows if isinstance(ip_address(address.ip), IPv4Address)]
        yield from _chunks(service, labels, mirrored, subset.ports, seed, names)


def _mirror(address: EndpointAddress, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=(address.ip,),
        conditions=EndpointConditions(ready=ready),
        nodeName=address.nodeName,
        hostname=address.hostname,
        targetRef=address.targetRef,
    )
