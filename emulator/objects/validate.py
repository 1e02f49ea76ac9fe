"""The rules over one object, Kubernetes' own where it has any: names, labels, ports, addresses. Pure; imports ``objects`` only.

What comes back has its addresses and prefixes in canonical form, its namespace filled in, and 0 or "" of an optional port unset. What
needs a look at other objects (a node port given twice, a Pod that a FlowCheck names) is control's to find.

The rules are those of kubernetes/kubernetes v1.30: ``apimachinery/pkg/util/validation`` and ``pkg/apis/{core,apps,discovery}/validation``.
Every name that passes is safe as a file name, in a rule and on a command line: no quote, blank, control character or leading "-" does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import combinations
from typing import Any, TypeVar

from emulator.objects.config import (
    ClusterConfig,
    FlowCheck,
    FlowExpect,
    FlowFrom,
    FlowSpec,
    FlowStep,
    FlowTo,
    KubeProxyConfiguration,
    LoadBalancerPool,
    NodeShape,
)
from emulator.objects.faults import Fault, FieldPath, did_you_mean, shown
from emulator.objects.kinds import (
    Container,
    ContainerPort,
    Endpoint,
    EndpointAddress,
    EndpointHints,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    LabelSelector,
    LoadBalancerIngress,
    Namespace,
    Node,
    ObjectMeta,
    Pod,
    PodSpec,
    Service,
    ServicePort,
    ServiceSpec,
    Taint,
    Workload,
)
from emulator.objects.selectors import matches

T = TypeVar("T")

SELECTOR_DEFAULTS = ("extensions/v1beta1", "apps/v1beta1")  # old APIs in which a workload's selector is its template's labels
MAX_PORT = 65_535
MAX_INT32 = 2**31 - 1
MAX_AFFINITY_SECONDS = 86_400
MAX_ATTEMPTS = 10_000
MAX_WAIT = 3600
MAX_SLICE_ADDRESSES = 100
MAX_SLICE_ENDPOINTS = 1000
MAX_HINTS = 8
KUBELET_PORT = 10_250
TRAFFIC_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")  # the first is in v1.30, the others came with v1.34


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a name must look like."""

    pattern: re.Pattern[str]
    longest: int
    what: str


_ENDS = "a letter or digit at both ends"
_LABEL = _Rule(re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z"), 63, f"an RFC 1123 label: a-z, 0-9 and '-', {_ENDS}, at most 63 characters")
_LABEL_1035 = _Rule(
    re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z"),
    63,
    "an RFC 1035 label: a-z, 0-9 and '-', a letter first, a letter or digit last, at most 63 characters",
)
_SUBDOMAIN = _Rule(
    re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z"),
    253,
    f"an RFC 1123 subdomain: a-z, 0-9, '-' and '.', {_ENDS}, at most 253 characters",
)
_QUALIFIED = _Rule(
    re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z"),
    63,
    f"letters, digits, '-', '_' and '.', {_ENDS}, at most 63 characters",
)
_PORT_NAME = _Rule(
    re.compile(r"(?=[-0-9]*[a-z])[a-z0-9]+(-[a-z0-9]+)*\Z"),
    15,
    f"a port name (RFC 6335): a-z, 0-9 and single '-', a letter among them, {_ENDS}, at most 15 characters",
)
_NAMES: Mapping[type[Any], _Rule] = {Service: _LABEL_1035, Namespace: _LABEL}


class _Checks:
    """Collects faults; what gives a value back gives it in canonical form. ``written`` is the manifest as it came."""

    def __init__(self, written: Mapping[str, Any]) -> None:
        self.faults: list[Fault] = []
        self.written = written

    def said(self, *path: str) -> bool:
        """Whether the manifest itself has this field: what a default filled in contradicts nothing."""
        value: Any = self.written
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        return value is not None

    def fault(self, path: FieldPath, what: str, hint: str = "") -> None:
        self.faults.append(Fault(path, what, hint))

    def name(self, path: FieldPath, value: str, rule: _Rule) -> None:
        if not value:
            self.fault(path, "is required")
        elif len(value) > rule.longest or not rule.pattern.match(value):
            better = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[: rule.longest].rstrip("-")
            self.fault(path, f"{shown(value)} must be {rule.what}", f"{better}, say" if rule.pattern.match(better) else "")

    def optional_name(self, path: FieldPath, value: str | None, rule: _Rule) -> None:
        if value:
            self.name(path, value, rule)

    def port(self, path: FieldPath, value: int) -> None:
        if not 1 <= value <= MAX_PORT:
            self.fault(path, f"must be a port between 1 and {MAX_PORT}, is {shown(value)}")

    def optional_port(self, path: FieldPath, value: int | None) -> int | None:
        if value:
            self.port(path, value)
        return value or None

    def address(self, path: FieldPath, value: str) -> str:
        try:
            return str(_address(value))
        except ValueError:
            self.fault(path, f"must be an IP address, is {shown(value)}", "10.96.0.10, say")
            return value

    def optional_address(self, path: FieldPath, value: str) -> str:
        return self.address(path, value) if value else value

    def addresses(self, path: FieldPath, values: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.address((*path, i), value) for i, value in enumerate(values))

    def prefix(self, path: FieldPath, value: str) -> str:
        try:
            return str(_network(value))
        except ValueError:
            self.fault(path, f"must be a prefix in CIDR form, is {shown(value)}", "10.244.0.0/16, say")
            return value

    def optional_prefix(self, path: FieldPath, value: str) -> str:
        return self.prefix(path, value) if value else value

    def ipv4_prefix(self, path: FieldPath, value: str) -> str:
        if not value:
            return value
        if any(":" in part for part in value.split(",")):
            self.fault(path, f"{shown(value)}: podwire builds IPv4 networks only so far", "give an IPv4 prefix alone")
            return value
        return self.prefix(path, value)

    def prefixes(self, path: FieldPath, values: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.prefix((*path, i), value) for i, value in enumerate(values))

    def key(self, path: FieldPath, key: str) -> None:
        """A label's, annotation's or taint's key: ``[prefix/]name``."""
        prefix, slash, name = key.rpartition("/")
        if (slash and not _fits(prefix, _SUBDOMAIN)) or not _fits(name, _QUALIFIED):
            self.fault(path, f"the key {shown(key)} must be {_QUALIFIED.what}, with a DNS name and '/' before it if need be")

    def labels(self, path: FieldPath, labels: Mapping[str, str]) -> None:
        for key, value in labels.items():
            self.key((*path, key), key)
            self.label_value((*path, key), value)

    def label_value(self, path: FieldPath, value: str) -> None:
        if value and not _fits(value, _QUALIFIED):
            self.fault(path, f"{shown(value)} must be empty or {_QUALIFIED.what}")

    def unique(self, values: Iterable[tuple[FieldPath, Hashable]], what: str) -> None:
        """No two of ``values`` are equal; ``what`` says in words what they are."""
        first: dict[Hashable, FieldPath] = {}
        for path, value in values:
            if value in first:
                self.fault(path, f"{shown(value)} is the {what} of an earlier entry already", "give each its own")
            first.setdefault(value, path)


def _fits(value: str, rule: _Rule) -> bool:
    return len(value) <= rule.longest and bool(rule.pattern.match(value))


def _address(value: str) -> Any:
    address = ip_address(value)
    if isinstance(address, IPv6Address) and address.scope_id:
        raise ValueError(value)
    return address


def _network(value: str) -> IPv4Network | IPv6Network:
    address, slash, length = value.strip().partition("/")
    if not slash or not re.fullmatch(r"[0-9]{1,3}", length):
        raise ValueError(value)
    return ip_network(f"{_address(address)}/{length}", strict=False)


def validate(value: T, written: Mapping[str, Any], *, namespaced: bool) -> tuple[T, list[Fault]]:
    """``value``, which the manifest ``written`` was read into, in canonical form, and everything that is wrong with it alone."""
    checks = _Checks(written)
    return _CHECKS[type(value)](value, namespaced, checks), checks.faults


# --- metadata ---------------------------------------------------------------------------------------------


def _metadata(value: Any, namespaced: bool, checks: _Checks) -> ObjectMeta:
    meta: ObjectMeta = value.metadata
    rule = _NAMES.get(type(value), _SUBDOMAIN)
    if meta.generateName and not meta.name and isinstance(value, Pod):
        if not _fits(f"{meta.generateName[: rule.longest - 5]}xxxxx", rule):
            checks.fault(("metadata", "generateName"), f"{shown(meta.generateName)} must be the beginning of {rule.what}")
    else:
        checks.name(("metadata", "name"), meta.name, rule)
    checks.labels(("metadata", "labels"), meta.labels)
    for key in meta.annotations:
        checks.key(("metadata", "annotations", key), key)
    if not namespaced:
        return replace(meta, namespace="") if meta.namespace else meta
    if not meta.namespace:
        return replace(meta, namespace="default")
    checks.name(("metadata", "namespace"), meta.namespace, _LABEL)
    return meta


def _namespace(value: Namespace, namespaced: bool, checks: _Checks) -> Namespace:
    return replace(value, metadata=_metadata(value, namespaced, checks))


# --- Node -------------------------------------------------------------------------------------------------


def _node(node: Node, namespaced: bool, checks: _Checks) -> Node:
    spec = replace(
        node.spec,
        podCIDR=checks.optional_prefix(("spec", "podCIDR"), node.spec.podCIDR),
        podCIDRs=checks.prefixes(("spec", "podCIDRs"), node.spec.podCIDRs),
    )
    if spec.podCIDR and spec.podCIDRs and spec.podCIDR != spec.podCIDRs[0]:
        checks.fault(("spec", "podCIDRs", 0), f"must be the same as podCIDR, {shown(spec.podCIDR)}")
    _taints(("spec", "taints"), spec.taints, checks)
    addresses = tuple(
        replace(a, address=checks.address(("status", "addresses", i, "address"), a.address)) if a.type.endswith("IP") else a
        for i, a in enumerate(node.status.addresses)
    )
    return replace(node, metadata=_metadata(node, namespaced, checks), spec=spec, status=replace(node.status, addresses=addresses))


def _taints(path: FieldPath, taints: Sequence[Taint], checks: _Checks) -> None:
    for i, taint in enumerate(taints):
        checks.key((*path, i, "key"), taint.key)
        checks.label_value((*path, i, "value"), taint.value)


# --- Pod --------------------------------------------------------------------------------------------------


def _pod(pod: Pod, namespaced: bool, checks: _Checks) -> Pod:
    status = replace(
        pod.status,
        podIP=checks.optional_address(("status", "podIP"), pod.status.podIP),
        podIPs=tuple(
            replace(entry, ip=checks.address(("status", "podIPs", i, "ip"), entry.ip)) for i, entry in enumerate(pod.status.podIPs)
        ),
        hostIP=checks.optional_address(("status", "hostIP"), pod.status.hostIP),
    )
    return replace(pod, metadata=_metadata(pod, namespaced, checks), spec=_pod_spec(("spec",), pod.spec, checks), status=status)


def _pod_spec(path: FieldPath, spec: PodSpec, checks: _Checks) -> PodSpec:
    if not spec.containers:
        checks.fault((*path, "containers"), "is required: a Pod has at least one container")
    checks.optional_name((*path, "nodeName"), spec.nodeName, _SUBDOMAIN)
    checks.labels((*path, "nodeSelector"), spec.nodeSelector)
    checks.optional_name((*path, "hostname"), spec.hostname, _LABEL)
    checks.optional_name((*path, "subdomain"), spec.subdomain, _LABEL)
    for i, toleration in enumerate(spec.tolerations):
        if toleration.key:
            checks.key((*path, "tolerations", i, "key"), toleration.key)
        elif toleration.operator == "Equal":
            checks.fault((*path, "tolerations", i, "operator"), "must be Exists when no key is given")
    both = [((*path, field, i), c) for field in ("containers", "initContainers") for i, c in enumerate(getattr(spec, field))]
    checks.unique([((*at, "name"), c.name) for at, c in both if c.name], "name")
    return replace(
        spec,
        containers=tuple(_container((*path, "containers", i), c, checks) for i, c in enumerate(spec.containers)),
        initContainers=tuple(_container((*path, "initContainers", i), c, checks) for i, c in enumerate(spec.initContainers)),
    )


def _container(path: FieldPath, container: Container, checks: _Checks) -> Container:
    checks.name((*path, "name"), container.name, _LABEL)
    checks.unique([((*path, "ports", i, "name"), p.name) for i, p in enumerate(container.ports) if p.name], "name")
    return replace(container, ports=tuple(_container_port((*path, "ports", i), p, checks) for i, p in enumerate(container.ports)))


def _container_port(path: FieldPath, port: ContainerPort, checks: _Checks) -> ContainerPort:
    checks.port((*path, "containerPort"), port.containerPort)
    checks.optional_name((*path, "name"), port.name, _PORT_NAME)
    return replace(
        port,
        hostPort=checks.optional_port((*path, "hostPort"), port.hostPort),
        hostIP=checks.optional_address((*path, "hostIP"), port.hostIP),
    )


# --- workload controllers ---------------------------------------------------------------------------------


def _workload(workload: Workload, namespaced: bool, checks: _Checks) -> Workload:
    spec = workload.spec
    if not 0 <= spec.replicas <= MAX_INT32:
        checks.fault(("spec", "replicas"), f"must be 0 or more, is {shown(spec.replicas)}")
    checks.optional_name(("spec", "serviceName"), spec.serviceName, _SUBDOMAIN)
    labels = spec.template.metadata.labels
    checks.labels(("spec", "template", "metadata", "labels"), labels)
    for key in spec.template.metadata.annotations:
        checks.key(("spec", "template", "metadata", "annotations", key), key)
    if spec.selector is None and checks.written.get("apiVersion") in SELECTOR_DEFAULTS and labels:
        spec = replace(spec, selector=LabelSelector(matchLabels=labels))
    if spec.selector is None:
        checks.fault(("spec", "selector"), "is required", "matchLabels with the labels of the template")
    else:
        _label_selector(("spec", "selector"), spec.selector, checks)
        if not spec.selector.matchLabels and not spec.selector.matchExpressions:
            checks.fault(("spec", "selector"), f"must not be empty for a {workload.kind}", "matchLabels with the labels of the template")
        elif not matches(spec.selector, labels):
            what = "does not select the Pods of its own template: `selector` does not match template `labels`"
            checks.fault(("spec", "selector"), what, "give spec.template.metadata.labels the labels that matchLabels asks for")
    template = replace(spec.template, spec=_pod_spec(("spec", "template", "spec"), spec.template.spec, checks))
    return replace(workload, metadata=_metadata(workload, namespaced, checks), spec=replace(spec, template=template))


def _label_selector(path: FieldPath, selector: LabelSelector, checks: _Checks) -> None:
    checks.labels((*path, "matchLabels"), selector.matchLabels)
    for i, requirement in enumerate(selector.matchExpressions):
        at = (*path, "matchExpressions", i)
        checks.key((*at, "key"), requirement.key)
        if requirement.operator in ("In", "NotIn") and not requirement.values:
            checks.fault((*at, "values"), f"is required with {requirement.operator}")
        if requirement.operator in ("Exists", "DoesNotExist") and requirement.values:
            checks.fault((*at, "values"), f"must be empty with {requirement.operator}")
        for j, value in enumerate(requirement.values):
            checks.label_value((*at, "values", j), value)


# --- Service ----------------------------------------------------------------------------------------------


def _service(service: Service, namespaced: bool, checks: _Checks) -> Service:
    spec = service.spec
    checks.labels(("spec", "selector"), spec.selector)
    cluster_ip = spec.clusterIP
    cluster_ips: tuple[str, ...] = ()
    if spec.type == "ExternalName":
        checks.name(("spec", "externalName"), spec.externalName.removesuffix("."), _SUBDOMAIN)
        for name in ("clusterIP", "clusterIPs", "ipFamilies"):
            if getattr(spec, name) not in ("", "None", ()):
                checks.fault(("spec", name), "must not be set for an ExternalName Service")
    else:
        cluster_ip, cluster_ips = _cluster_ips(spec, checks)
    if service.headless and spec.type in ("NodePort", "LoadBalancer"):
        checks.fault(("spec", "clusterIP"), f"must not be None for a {spec.type} Service", "a headless Service has type ClusterIP")
    if not spec.ports and spec.type != "ExternalName" and not service.headless:
        checks.fault(("spec", "ports"), "is required", "only headless and ExternalName Services do without ports")
    _belongs_to_type(spec, checks)
    seconds = spec.sessionAffinityConfig.clientIP.timeoutSeconds
    if spec.sessionAffinity == "ClientIP" and not 1 <= seconds <= MAX_AFFINITY_SECONDS:  # under None the API server drops it
        path = ("spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds")
        checks.fault(path, f"must be between 1 and {MAX_AFFINITY_SECONDS}, is {shown(seconds)}")
    external_ips = checks.addresses(("spec", "externalIPs"), spec.externalIPs)
    for i, ip in enumerate(external_ips):
        _routable(("spec", "externalIPs", i), ip, checks)
    return replace(
        service,
        metadata=_metadata(service, namespaced, checks),
        spec=replace(
            spec,
            clusterIP=cluster_ip,
            clusterIPs=cluster_ips,
            ports=_service_ports(spec, checks),
            externalIPs=external_ips,
            loadBalancerIP=checks.optional_address(("spec", "loadBalancerIP"), spec.loadBalancerIP),
            loadBalancerSourceRanges=checks.prefixes(("spec", "loadBalancerSourceRanges"), spec.loadBalancerSourceRanges),
            healthCheckNodePort=checks.optional_port(("spec", "healthCheckNodePort"), spec.healthCheckNodePort),
        ),
        status=replace(service.status, loadBalancer=replace(service.status.loadBalancer, ingress=_ingress(service, checks))),
    )


def _belongs_to_type(spec: ServiceSpec, checks: _Checks) -> None:
    """Fields that only some types of Service may have (ValidateService; apiservice.ExternallyAccessible, NeedsHealthCheck)."""
    if spec.type != "LoadBalancer":
        for name in ("loadBalancerSourceRanges", "loadBalancerClass", "allocateLoadBalancerNodePorts"):
            if checks.said("spec", name) and getattr(spec, name) not in ("", ()):
                checks.fault(("spec", name), "may be set for a Service of type LoadBalancer only", "leave it out, or change spec.type")
    elif spec.loadBalancerClass:
        checks.key(("spec", "loadBalancerClass"), spec.loadBalancerClass)
    external = spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and bool(spec.externalIPs))
    if not external and checks.said("spec", "externalTrafficPolicy"):
        what = f"may be set for a Service with an external address only: this {spec.type} Service has none"
        checks.fault(("spec", "externalTrafficPolicy"), what, "leave it out; internalTrafficPolicy is for the ClusterIP")
    if spec.healthCheckNodePort and not (spec.type == "LoadBalancer" and spec.externalTrafficPolicy == "Local"):
        what = "may be set only with type LoadBalancer and externalTrafficPolicy Local"
        checks.fault(("spec", "healthCheckNodePort"), what, "leave it out")
    if spec.trafficDistribution and spec.trafficDistribution not in TRAFFIC_DISTRIBUTIONS:
        what = f"must be one of {', '.join(TRAFFIC_DISTRIBUTIONS)}, is {shown(spec.trafficDistribution)}"
        checks.fault(("spec", "trafficDistribution"), what, did_you_mean(spec.trafficDistribution, TRAFFIC_DISTRIBUTIONS))


def _ingress(service: Service, checks: _Checks) -> tuple[LoadBalancerIngress, ...]:
    path: FieldPath = ("status", "loadBalancer", "ingress")
    entries = service.status.loadBalancer.ingress
    if entries and service.spec.type != "LoadBalancer":
        checks.fault(path, "may be set for a Service of type LoadBalancer only", "leave it out, or change spec.type")
    for i, entry in enumerate(entries):
        checks.optional_name((*path, i, "hostname"), entry.hostname, _SUBDOMAIN)
    return tuple(replace(entry, ip=checks.optional_address((*path, i, "ip"), entry.ip)) for i, entry in enumerate(entries))


def _cluster_ips(spec: ServiceSpec, checks: _Checks) -> tuple[str, tuple[str, ...]]:
    def canonical(path: FieldPath, value: str) -> str:
        return value if value in ("", "None") else checks.address(path, value)

    first = canonical(("spec", "clusterIP"), spec.clusterIP)
    every = tuple(canonical(("spec", "clusterIPs", i), value) for i, value in enumerate(spec.clusterIPs))
    if first and every and first != every[0]:
        checks.fault(("spec", "clusterIPs", 0), f"must be the same as clusterIP, {shown(first)}")
    if every and not first:
        checks.fault(("spec", "clusterIPs"), "must be empty while clusterIP is", "write clusterIP alone")
    families = [(("spec", "clusterIPs", i), "IPv6" if ":" in ip else "IPv4") for i, ip in enumerate(every)]
    checks.unique(families, "address family")
    return first, every


def _service_ports(spec: ServiceSpec, checks: _Checks) -> tuple[ServicePort, ...]:
    checks.unique([(("spec", "ports", i, "name"), p.name) for i, p in enumerate(spec.ports) if p.name], "name")
    checks.unique([(("spec", "ports", i), f"{p.port}/{p.protocol}") for i, p in enumerate(spec.ports)], "port and protocol")
    ports = []
    for i, port in enumerate(spec.ports):
        path: FieldPath = ("spec", "ports", i)
        checks.port((*path, "port"), port.port)
        if port.name:
            checks.name((*path, "name"), port.name, _LABEL)
        elif len(spec.ports) > 1:
            checks.fault((*path, "name"), "is required: a Service with several ports must name each of them")
        target = port.targetPort or None
        if isinstance(target, int):
            checks.port((*path, "targetPort"), target)
        elif target and not _fits(target, _PORT_NAME):
            hint = "leave the quotes out" if target.isdecimal() else ""
            checks.fault((*path, "targetPort"), f"{shown(target)} must be a port number or {_PORT_NAME.what}", hint)
        node_port = checks.optional_port((*path, "nodePort"), port.nodePort)
        if node_port and spec.type in ("ClusterIP", "ExternalName"):
            checks.fault((*path, "nodePort"), f"must not be set for a {spec.type} Service", "set spec.type: NodePort, or leave it out")
        if spec.type == "LoadBalancer" and port.port == KUBELET_PORT:
            checks.fault((*path, "port"), f"must not be {KUBELET_PORT} for a LoadBalancer Service: it is the kubelet's")
        if port.appProtocol:
            checks.key((*path, "appProtocol"), port.appProtocol)
        ports.append(replace(port, targetPort=target, nodePort=node_port))
    return tuple(ports)


def _routable(path: FieldPath, value: str, checks: _Checks) -> None:
    try:
        address = _address(value)
    except ValueError:
        return  # said already
    if address.is_unspecified or address.is_loopback or address.is_link_local or address.is_multicast:
        checks.fault(path, f"{shown(value)} must not be an unspecified, loopback, link-local or multicast address")


# --- EndpointSlice, Endpoints -----------------------------------------------------------------------------


def _endpoint_slice(value: EndpointSlice, namespaced: bool, checks: _Checks) -> EndpointSlice:
    if not checks.said("addressType"):
        checks.fault(("addressType",), "is required", "write IPv4")
    if len(value.endpoints) > MAX_SLICE_ENDPOINTS:
        checks.fault(("endpoints",), f"must hold at most {MAX_SLICE_ENDPOINTS} endpoints, holds {len(value.endpoints)}")
    endpoints = tuple(_endpoint(("endpoints", i), e, value.addressType, checks) for i, e in enumerate(value.endpoints))
    _endpoint_ports(("ports",), value.ports, checks)
    return replace(value, metadata=_metadata(value, namespaced, checks), endpoints=endpoints)


def _endpoint(path: FieldPath, endpoint: Endpoint, address_type: str, checks: _Checks) -> Endpoint:
    at = (*path, "addresses")
    if not 1 <= len(endpoint.addresses) <= MAX_SLICE_ADDRESSES:
        checks.fault(at, f"must hold between 1 and {MAX_SLICE_ADDRESSES} addresses, holds {len(endpoint.addresses)}")
    checks.optional_name((*path, "nodeName"), endpoint.nodeName, _SUBDOMAIN)
    checks.optional_name((*path, "hostname"), endpoint.hostname, _LABEL)
    _hints((*path, "hints"), endpoint.hints or EndpointHints(), checks)
    if address_type == "FQDN":
        for i, name in enumerate(endpoint.addresses):
            checks.name((*at, i), name, _SUBDOMAIN)
        return endpoint
    addresses = checks.addresses(at, endpoint.addresses)
    for i, address in enumerate(addresses):
        if (":" in address) != (address_type == "IPv6"):
            checks.fault((*at, i), f"{shown(address)} is not of addressType {address_type}")
        else:
            _routable((*at, i), address, checks)
    return replace(endpoint, addresses=addresses)


def _hints(path: FieldPath, hints: EndpointHints, checks: _Checks) -> None:
    for kind, entries in (("forZones", hints.forZones), ("forNodes", hints.forNodes)):
        if len(entries) > MAX_HINTS:
            checks.fault((*path, kind), f"must hold at most {MAX_HINTS} hints, holds {len(entries)}")
        checks.unique([((*path, kind, i, "name"), entry.name) for i, entry in enumerate(entries)], "name")
    for i, zone in enumerate(hints.forZones):
        checks.label_value((*path, "forZones", i, "name"), zone.name)
    for i, node in enumerate(hints.forNodes):
        checks.name((*path, "forNodes", i, "name"), node.name, _SUBDOMAIN)


def _endpoint_ports(path: FieldPath, ports: Sequence[EndpointPort], checks: _Checks) -> None:
    checks.unique([((*path, i, "name"), p.name or "") for i, p in enumerate(ports)], "name")
    for i, port in enumerate(ports):
        checks.optional_name((*path, i, "name"), port.name, _LABEL)
        if port.port is not None:
            checks.port((*path, i, "port"), port.port)


def _endpoints(value: Endpoints, namespaced: bool, checks: _Checks) -> Endpoints:
    subsets = []
    for i, subset in enumerate(value.subsets):
        path: FieldPath = ("subsets", i)
        if not subset.addresses and not subset.notReadyAddresses:
            checks.fault(path, "must have addresses or notReadyAddresses")
        _endpoint_ports((*path, "ports"), subset.ports, checks)
        addresses = _endpoint_addresses((*path, "addresses"), subset.addresses, checks)
        not_ready = _endpoint_addresses((*path, "notReadyAddresses"), subset.notReadyAddresses, checks)
        subsets.append(replace(subset, addresses=addresses, notReadyAddresses=not_ready))
    return replace(value, metadata=_metadata(value, namespaced, checks), subsets=tuple(subsets))


def _endpoint_addresses(path: FieldPath, entries: Sequence[EndpointAddress], checks: _Checks) -> tuple[EndpointAddress, ...]:
    for i, entry in enumerate(entries):
        checks.optional_name((*path, i, "nodeName"), entry.nodeName, _SUBDOMAIN)
        checks.optional_name((*path, i, "hostname"), entry.hostname, _LABEL)
    canonical = tuple(replace(entry, ip=checks.address((*path, i, "ip"), entry.ip)) for i, entry in enumerate(entries))
    for i, entry in enumerate(canonical):
        _routable((*path, i, "ip"), entry.ip, checks)
    return canonical


# --- the cluster's shape and its proxy --------------------------------------------------------------------


def _cluster(cluster: ClusterConfig, _namespaced: bool, checks: _Checks) -> ClusterConfig:
    networking = cluster.networking
    if networking.ipFamily != "ipv4":
        checks.fault(
            ("networking", "ipFamily"), f"{networking.ipFamily}: podwire builds IPv4 networks only so far", "write ipv4, or leave it out"
        )
    names = ("podSubnet", "serviceSubnet", "hostSubnet")
    subnets = {name: checks.ipv4_prefix(("networking", name), getattr(networking, name)) for name in names}
    for one, other in combinations(names, 2):
        if _overlap(subnets[one], subnets[other]):
            what = f"{shown(subnets[other])} overlaps {one}, {shown(subnets[one])}"
            checks.fault(("networking", other), what, f"change {one} or {other}")
    checks.optional_name(("networking", "podNetwork"), networking.podNetwork, _LABEL)
    checks.optional_name(("metadata", "name"), cluster.metadata.name, _SUBDOMAIN)
    checks.unique([(("nodes", i, "name"), n.name) for i, n in enumerate(cluster.nodes) if n.name], "name")
    clients = cluster.externalClients
    for i, client in enumerate(clients):
        checks.name(("externalClients", i, "name"), client.name, _LABEL)
    addressed = tuple(replace(c, address=checks.address(("externalClients", i, "address"), c.address)) for i, c in enumerate(clients))
    for i, client in enumerate(addressed):
        if ":" in client.address:
            checks.fault(("externalClients", i, "address"), f"{shown(client.address)}: podwire builds IPv4 networks only so far")
        else:
            _routable(("externalClients", i, "address"), client.address, checks)
    checks.unique([(("externalClients", i, "name"), c.name) for i, c in enumerate(addressed) if c.name], "name")
    checks.unique([(("externalClients", i, "address"), c.address) for i, c in enumerate(addressed)], "address")
    return replace(
        cluster,
        nodes=tuple(_node_shape(("nodes", i), n, checks) for i, n in enumerate(cluster.nodes)),
        networking=replace(
            networking,
            podSubnet=subnets["podSubnet"],
            serviceSubnet=subnets["serviceSubnet"],
            hostSubnet=subnets["hostSubnet"],
        ),
        externalClients=addressed,
        loadBalancer=_pool(("loadBalancer",), cluster.loadBalancer, checks) if cluster.loadBalancer else None,
    )


def _pool(path: FieldPath, pool: LoadBalancerPool, checks: _Checks) -> LoadBalancerPool:
    return replace(pool, addresses=tuple(_range((*path, "addresses", i), text, checks) for i, text in enumerate(pool.addresses)))


def _range(path: FieldPath, text: str, checks: _Checks) -> str:
    """A prefix, or ``first-last``, as MetalLB's IPAddressPool has them; in canonical form ``first-last``."""
    first, dash, last = (part.strip() for part in text.partition("-"))
    try:
        ends = (_address(first), _address(last)) if dash else (_network(first)[0], _network(first)[-1])
    except ValueError:
        checks.fault(path, f"must be a prefix or a range of addresses, is {shown(text)}", "172.18.255.200-172.18.255.250, say")
        return text
    if any(end.version == 6 for end in ends):
        checks.fault(path, f"{shown(text)}: podwire builds IPv4 networks only so far")
    elif int(ends[0]) > int(ends[1]):
        checks.fault(path, f"{shown(text)} ends before it begins", f"{ends[1]}-{ends[0]}")
    return f"{ends[0]}-{ends[1]}"


def _overlap(one: str, other: str) -> bool:
    try:
        return IPv4Network(one).overlaps(IPv4Network(other))
    except ValueError:
        return False  # not given, or said already


def _node_shape(path: FieldPath, node: NodeShape, checks: _Checks) -> NodeShape:
    checks.optional_name((*path, "name"), node.name, _SUBDOMAIN)
    checks.labels((*path, "labels"), node.labels)
    _taints((*path, "taints"), node.taints, checks)
    return replace(
        node,
        podCIDR=checks.ipv4_prefix((*path, "podCIDR"), node.podCIDR),
        addresses=checks.addresses((*path, "addresses"), node.addresses),
    )


def _proxy(config: KubeProxyConfiguration, _namespaced: bool, checks: _Checks) -> KubeProxyConfiguration:
    addresses = tuple(
        value if value == "primary" else checks.prefix(("nodePortAddresses", i), value) for i, value in enumerate(config.nodePortAddresses)
    )
    if "primary" in addresses and len(addresses) > 1:
        checks.fault(("nodePortAddresses",), "must be primary alone, or prefixes alone")
    cidr = config.clusterCIDR
    return replace(
        config, clusterCIDR=checks.ipv4_prefix(("clusterCIDR",), cidr) if cidr is not None else None, nodePortAddresses=addresses
    )


# --- FlowCheck --------------------------------------------------------------------------------------------


def _flow_check(check: FlowCheck, namespaced: bool, checks: _Checks) -> FlowCheck:
    if not (check.flows or check.steps):
        checks.fault(("spec", "flows"), "must not be empty", "a FlowCheck without flows has steps")
    steps = tuple(_step(("spec", "steps", i), step, f"step {i + 1}", checks) for i, step in enumerate(check.steps))
    checks.unique([(("spec", "steps", i, "name"), step.name) for i, step in enumerate(steps)], "name")
    return replace(check, metadata=_metadata(check, namespaced, checks), flows=_flows(("spec", "flows"), check.flows, checks), steps=steps)


def _step(path: FieldPath, step: FlowStep, name: str, checks: _Checks) -> FlowStep:
    """``name``: what it is called if it has no name."""
    if step == FlowStep(name=step.name):
        checks.fault(path, "does nothing", "it may delete, apply, scale, terminate, wait, and have flows")
    if step.name:
        _one_line((*path, "name"), step.name, checks)
    for i, gone in enumerate(step.delete):
        checks.name((*path, "delete", i, "name"), gone.name, _SUBDOMAIN)
        checks.name((*path, "delete", i, "namespace"), gone.namespace, _LABEL)
    if step.scale:
        checks.name((*path, "scale", "name"), step.scale.name, _SUBDOMAIN)
        checks.name((*path, "scale", "namespace"), step.scale.namespace, _LABEL)
        if not 0 <= step.scale.replicas <= MAX_INT32:
            checks.fault((*path, "scale", "replicas"), f"must be between 0 and {MAX_INT32}, is {shown(step.scale.replicas)}")
    if step.terminate:
        checks.name((*path, "terminate", "pod"), step.terminate.pod, _SUBDOMAIN)
        checks.name((*path, "terminate", "namespace"), step.terminate.namespace, _LABEL)
    if not 0 <= step.wait <= MAX_WAIT:
        checks.fault((*path, "wait"), f"must be between 0 and {MAX_WAIT} seconds, is {shown(step.wait)}")
    return replace(step, name=step.name or name, flows=_flows((*path, "flows"), step.flows, checks))


def _flows(path: FieldPath, flows: Sequence[FlowSpec], checks: _Checks) -> tuple[FlowSpec, ...]:
    checks.unique([((*path, i, "name"), flow.name) for i, flow in enumerate(flows)], "name")
    checks.unique([((*path, i, "connection"), flow.connection) for i, flow in enumerate(flows) if flow.connection], "connection")
    return tuple(_flow((*path, i), flow, checks) for i, flow in enumerate(flows))


def _one_line(path: FieldPath, text: str, checks: _Checks) -> None:
    if not text.strip() or not text.isprintable():
        checks.fault(path, f"{shown(text)} must be one line of printable characters")


def _flow(path: FieldPath, flow: FlowSpec, checks: _Checks) -> FlowSpec:
    _one_line((*path, "name"), flow.name, checks)
    _flow_from((*path, "from"), flow.from_, checks)
    if flow.via and not flow.from_.external:
        checks.fault((*path, "via"), "is for external clients only", "packets of Pods and nodes start on a node: leave it out")
    checks.optional_name((*path, "via"), flow.via, _SUBDOMAIN)
    if flow.attempts is not None and not 1 <= flow.attempts <= MAX_ATTEMPTS:
        checks.fault((*path, "attempts"), f"must be between 1 and {MAX_ATTEMPTS}, is {shown(flow.attempts)}")
    if flow.connection:
        _connection(path, flow, checks)
    to = _flow_to((*path, "to"), flow.to, flow.protocol, checks)
    return replace(flow, to=to, expect=_flow_expect((*path, "expect"), flow.expect, checks))


def _connection(path: FieldPath, flow: FlowSpec, checks: _Checks) -> None:
    _one_line((*path, "connection"), flow.connection, checks)
    if flow.protocol not in ("TCP", "UDP"):
        checks.fault((*path, "connection"), f"goes with TCP and UDP: {flow.protocol} has no sockets here")
    if flow.attempts not in (None, 1):
        checks.fault((*path, "attempts"), "must be left out: a connection carries one request a flow")
    for end in ("from_", "to"):
        if getattr(flow, end).podSelector:
            checks.fault((*path, end.rstrip("_"), "podSelector"), "must be one Pod: a connection has one client and one destination")


def _exactly_one(path: FieldPath, value: Any, names: Sequence[str], checks: _Checks) -> None:
    given = [name for name in names if getattr(value, name)]
    if len(given) != 1:
        what = f"must have exactly one of {', '.join(names)}"
        checks.fault(path, f"{what}; has {' and '.join(given)}" if given else what)


def _flow_from(path: FieldPath, value: FlowFrom, checks: _Checks) -> None:
    _exactly_one(path, value, ("pod", "podSelector", "node", "external"), checks)
    for name in ("pod", "node", "external"):
        checks.optional_name((*path, name), getattr(value, name), _SUBDOMAIN)
    checks.labels((*path, "podSelector"), value.podSelector)
    checks.name((*path, "namespace"), value.namespace, _LABEL)


def _flow_to(path: FieldPath, value: FlowTo, protocol: str, checks: _Checks) -> FlowTo:
    _exactly_one(path, value, ("service", "pod", "podSelector", "node", "ip", "loadBalancer"), checks)
    for name in ("service", "pod", "node", "loadBalancer"):
        checks.optional_name((*path, name), getattr(value, name), _SUBDOMAIN)
    checks.labels((*path, "podSelector"), value.podSelector)
    checks.name((*path, "namespace"), value.namespace, _LABEL)
    if isinstance(value.port, str):
        checks.name((*path, "port"), value.port, _LABEL)
        if value.node or value.ip:
            checks.fault((*path, "port"), f"{shown(value.port)} must be a number: only the ports of Services and Pods have names")
    elif value.port is not None:
        checks.port((*path, "port"), value.port)
    if value.nodePort is not None:
        checks.port((*path, "nodePort"), value.nodePort)
        if not value.node:
            checks.fault((*path, "nodePort"), "goes with node only", "write node: and nodePort:, or port:")
        elif value.port is not None:
            checks.fault(path, "must have port or nodePort, not both")
    if protocol != "ICMP" and value.port is None and value.nodePort is None:
        checks.fault((*path, "port"), f"is required with {protocol}")
    return replace(value, ip=checks.optional_address((*path, "ip"), value.ip))


def _flow_expect(path: FieldPath, expect: FlowExpect, checks: _Checks) -> FlowExpect:
    source = expect.source
    if source not in (None, "preserved", "node", "balancer"):
        try:
            source = str(_address(str(source)))
        except ValueError:
            checks.fault((*path, "source"), f"must be preserved, node, balancer or an IP address, is {shown(source)}")
    if expect.outcome not in (None, "delivered"):
        for name in ("source", "backends"):
            if getattr(expect, name):
                checks.fault((*path, name), f"must be left out: a flow that is {expect.outcome} meets no backend")
    return replace(expect, source=source)


_CHECKS: Mapping[type[Any], Callable[[Any, bool, _Checks], Any]] = {
    Node: _node,
    Namespace: _namespace,
    Pod: _pod,
    Workload: _workload,
    Service: _service,
    EndpointSlice: _endpoint_slice,
    Endpoints: _endpoints,
    ClusterConfig: _cluster,
    KubeProxyConfiguration: _proxy,
    FlowCheck: _flow_check,
}
