"""Checks Services and their endpoints: EndpointSlices, and the older Endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...errors import Words, worded
from ...net import FAMILIES, family_of, parse_sloppy
from ...objects.families import BUILT
from ...objects.kinds import (
    Endpoint,
    EndpointAddress,
    EndpointHints,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    LoadBalancerIngress,
    Service,
    ServicePort,
    ServiceSpec,
)
from ...objects.warnings import OddValue
from ..faults import FaultKind, FieldPath, shown
from .checks import (
    LABEL,
    PORT_NAME,
    SUBDOMAIN,
    Checks,
    check_metadata,
    fits,
)

MAX_AFFINITY_SECONDS = 86_400
MAX_SLICE_ADDRESSES = 100
MAX_SLICE_ENDPOINTS = 1000
MAX_HINTS = 8
KUBELET_PORT = 10_250
IP_FAMILIES = tuple(FAMILIES)
IP_FAMILY_POLICIES = ("SingleStack", "PreferDualStack", "RequireDualStack")
# the first is in v1.30, the others came with v1.34
TRAFFIC_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")


def check_service(service: Service, namespaced: bool, checks: Checks) -> Service:
    spec = service.spec
    checks.labels(("spec", "selector"), spec.selector)
    cluster_ip = spec.clusterIP
    cluster_ips: tuple[str, ...] = ()
    if spec.type == "ExternalName":
        checks.name(("spec", "externalName"), spec.externalName.removesuffix("."), SUBDOMAIN)
        for name in ("clusterIP", "clusterIPs", "ipFamilies"):
            if getattr(spec, name) not in ("", "None", ()):
                checks.forbidden(("spec", name), "must not be set for an ExternalName Service", "")
    else:
        cluster_ip, cluster_ips = _cluster_ips(spec, checks)
    if service.headless and spec.type in ("NodePort", "LoadBalancer"):
        checks.fault(
            ("spec", "clusterIP"),
            f"must not be None for a {spec.type} Service",
            "a headless Service has type ClusterIP",
        )
    if not spec.ports and spec.type != "ExternalName" and not service.headless:
        checks.required(("spec", "ports"), hint="only headless and ExternalName Services do without ports")
    _belongs_to_type(spec, checks)
    seconds = spec.sessionAffinityConfig.clientIP.timeoutSeconds
    # the API server drops it under None
    if spec.sessionAffinity == "ClientIP" and not 1 <= seconds <= MAX_AFFINITY_SECONDS:
        path = ("spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds")
        checks.fault(path, worded("must be between 1 and {}, is {}", MAX_AFFINITY_SECONDS, shown(seconds)))
    external_ips = checks.addresses(("spec", "externalIPs"), spec.externalIPs)
    for i, ip in enumerate(external_ips):
        checks.routable(("spec", "externalIPs", i), ip)
    return replace(
        service,
        metadata=check_metadata(service, namespaced, checks),
        spec=replace(
            spec,
            clusterIP=cluster_ip,
            clusterIPs=cluster_ips,
            ports=_service_ports(spec, checks),
            externalIPs=external_ips,
            loadBalancerIP=_load_balancer_ip(spec.loadBalancerIP, checks),
            loadBalancerSourceRanges=checks.prefixes(
                ("spec", "loadBalancerSourceRanges"), spec.loadBalancerSourceRanges
            ),
            healthCheckNodePort=checks.optional_port(
                ("spec", "healthCheckNodePort"), spec.healthCheckNodePort
            ),
        ),
        status=replace(
            service.status,
            loadBalancer=replace(service.status.loadBalancer, ingress=_ingress(service, checks)),
        ),
    )


def _load_balancer_ip(value: str, checks: Checks) -> str:
    """Returns the address; "" if it is none: the API server does not validate this field."""
    path = ("spec", "loadBalancerIP")
    try:
        return str(parse_sloppy(value)) if value else ""
    except ValueError:
        checks.odd(path, OddValue.NO_IP_ADDRESS, value)
        return ""


def _belongs_to_type(spec: ServiceSpec, checks: Checks) -> None:
    """Checks the fields that only some types of Service may have (ValidateService;
    apiservice.ExternallyAccessible, NeedsHealthCheck).
    """
    if spec.type != "LoadBalancer":
        for name in ("loadBalancerSourceRanges", "loadBalancerClass", "allocateLoadBalancerNodePorts"):
            if checks.said("spec", name) and getattr(spec, name) not in ("", ()):
                checks.forbidden(
                    ("spec", name),
                    "may be set for a Service of type LoadBalancer only",
                    "leave it out, or change spec.type",
                )
    elif spec.loadBalancerClass:
        checks.key(("spec", "loadBalancerClass"), spec.loadBalancerClass)
    external = spec.type in ("NodePort", "LoadBalancer") or (
        spec.type == "ClusterIP" and bool(spec.externalIPs)
    )
    if not external and checks.value("spec", "externalTrafficPolicy") not in (None, ""):
        what = f"may be set for a Service with an external address only: this {spec.type} Service has none"
        checks.fault(
            ("spec", "externalTrafficPolicy"),
            what,
            "leave it out; internalTrafficPolicy is for the ClusterIP",
        )
    if spec.healthCheckNodePort and not (
        spec.type == "LoadBalancer" and spec.externalTrafficPolicy == "Local"
    ):
        what = "may be set only with type LoadBalancer and externalTrafficPolicy Local"
        checks.fault(("spec", "healthCheckNodePort"), what, "leave it out")
    if checks.said("spec", "trafficDistribution"):
        checks.one_of(("spec", "trafficDistribution"), spec.trafficDistribution, TRAFFIC_DISTRIBUTIONS)


def _ingress(service: Service, checks: Checks) -> tuple[LoadBalancerIngress, ...]:
    path: FieldPath = ("status", "loadBalancer", "ingress")
    entries = service.status.loadBalancer.ingress
    if entries and service.spec.type != "LoadBalancer":
        checks.forbidden(
            path, "may be set for a Service of type LoadBalancer only", "leave it out, or change spec.type"
        )
    written = checks.value("status", "loadBalancer", "ingress")
    for i, entry in enumerate(entries):
        checks.optional_name((*path, i, "hostname"), entry.hostname, SUBDOMAIN)
        own = written[i] if isinstance(written, list) else None
        if not entry.ip and isinstance(own, Mapping) and own.get("ipMode") is not None:
            checks.forbidden((*path, i, "ipMode"), "may not be set without ip")
    return tuple(
        replace(entry, ip=checks.optional_address((*path, i, "ip"), entry.ip))
        for i, entry in enumerate(entries)
    )


def _cluster_ips(spec: ServiceSpec, checks: Checks) -> tuple[str, tuple[str, ...]]:
    def canonical(path: FieldPath, value: str) -> str:
        return value if value in ("", "None") else checks.address(path, value)

    first = canonical(("spec", "clusterIP"), spec.clusterIP)
    every = tuple(canonical(("spec", "clusterIPs", i), value) for i, value in enumerate(spec.clusterIPs))
    if first and every and first != every[0]:
        checks.fault(("spec", "clusterIPs", 0), worded("must be the same as clusterIP, {}", shown(first)))
    if every and not first:
        checks.fault(("spec", "clusterIPs"), "must be empty while clusterIP is", "write clusterIP alone")
    families = [(("spec", "clusterIPs", i), (family_of(ip) or BUILT).word) for i, ip in enumerate(every)]
    checks.unique(families, "address family", FaultKind.INVALID)
    for i, family in enumerate(spec.ipFamilies):
        checks.one_of(("spec", "ipFamilies", i), family, IP_FAMILIES)
        if family in IP_FAMILIES and i < len(every) and every[i] != "None" and families[i][1] != family:
            checks.fault(
                ("spec", "ipFamilies", i),
                worded("must be the family of clusterIPs[{}], {}", i, shown(every[i])),
            )
    if spec.ipFamilyPolicy:
        checks.one_of(("spec", "ipFamilyPolicy"), spec.ipFamilyPolicy, IP_FAMILY_POLICIES)
    if spec.ipFamilyPolicy == "SingleStack":
        for name, values in (("clusterIPs", every), ("ipFamilies", spec.ipFamilies)):
            if len(values) > 1:
                what = f"must be RequireDualStack or PreferDualStack where there are several {name}"
                checks.fault(("spec", "ipFamilyPolicy"), what, f"or leave one of {name}")
    checks.unique(
        [(("spec", "ipFamilies", i), family) for i, family in enumerate(spec.ipFamilies)], "address family"
    )
    return first, every


def _service_ports(spec: ServiceSpec, checks: Checks) -> tuple[ServicePort, ...]:
    checks.unique(
        [(("spec", "ports", i, "name"), p.name) for i, p in enumerate(spec.ports) if p.name], "name"
    )
    checks.unique(
        [(("spec", "ports", i), f"{p.port}/{p.protocol}") for i, p in enumerate(spec.ports)],
        "port and protocol",
    )
    ports = []
    for i, port in enumerate(spec.ports):
        path: FieldPath = ("spec", "ports", i)
        checks.port((*path, "port"), port.port)
        if port.name:
            checks.name((*path, "name"), port.name, LABEL)
        elif len(spec.ports) > 1:
            checks.required((*path, "name"), ": a Service with several ports must name each of them")
        target = port.targetPort or None
        if isinstance(target, int):
            checks.port((*path, "targetPort"), target)
        elif target and not fits(target, PORT_NAME):
            hint = "leave the quotes out" if target.isdecimal() else ""
            checks.fault(
                (*path, "targetPort"),
                worded("{} must be a port number or {}", shown(target), Words(PORT_NAME.what)),
                hint,
            )
        node_port = checks.optional_port((*path, "nodePort"), port.nodePort)
        if node_port and spec.type in ("ClusterIP", "ExternalName"):
            checks.forbidden(
                (*path, "nodePort"),
                f"must not be set for a {spec.type} Service",
                "set spec.type: NodePort, or leave it out",
            )
        if spec.type == "LoadBalancer" and port.port == KUBELET_PORT:
            checks.fault(
                (*path, "port"), f"must not be {KUBELET_PORT} for a LoadBalancer Service: it is the kubelet's"
            )
        if port.appProtocol:
            checks.key((*path, "appProtocol"), port.appProtocol)
        ports.append(replace(port, targetPort=target, nodePort=node_port))
    return tuple(ports)


def check_endpoint_slice(value: EndpointSlice, namespaced: bool, checks: Checks) -> EndpointSlice:
    if not checks.said("addressType"):
        checks.required(("addressType",), hint="write IPv4")
    if len(value.endpoints) > MAX_SLICE_ENDPOINTS:
        what = worded("must hold at most {} endpoints, holds {}", MAX_SLICE_ENDPOINTS, len(value.endpoints))
        checks.fault(("endpoints",), what, kind=FaultKind.TOO_MANY)
    endpoints = tuple(
        _endpoint(("endpoints", i), e, value.addressType, checks) for i, e in enumerate(value.endpoints)
    )
    # kube-proxy ignores a port without a number, which may be 0, too (pkg/proxy/endpointslicecache.go)
    ports = tuple(replace(port, port=port.port or None) for port in value.ports)
    _endpoint_ports(("ports",), ports, checks)
    written = checks.written.get("ports")
    for i, port in enumerate(written if isinstance(written, list) else ()):
        if isinstance(port, Mapping) and port.get("protocol") == "":
            checks.fault(
                ("ports", i, "protocol"),
                "must be TCP, UDP or SCTP, is ''",
                "leave it out: TCP is the default",
            )
    return replace(
        value, metadata=check_metadata(value, namespaced, checks), endpoints=endpoints, ports=ports
    )


def _endpoint(path: FieldPath, endpoint: Endpoint, address_type: str, checks: Checks) -> Endpoint:
    at = (*path, "addresses")
    if not 1 <= len(endpoint.addresses) <= MAX_SLICE_ADDRESSES:
        what = worded(
            "must hold between 1 and {} addresses, holds {}", MAX_SLICE_ADDRESSES, len(endpoint.addresses)
        )
        checks.fault(at, what, kind=FaultKind.TOO_MANY if endpoint.addresses else FaultKind.REQUIRED)
    checks.optional_name((*path, "nodeName"), endpoint.nodeName, SUBDOMAIN)
    checks.optional_name((*path, "hostname"), endpoint.hostname, LABEL)
    _hints((*path, "hints"), endpoint.hints or EndpointHints(), checks)
    if address_type == "FQDN":
        for i, name in enumerate(endpoint.addresses):
            checks.name((*at, i), name, SUBDOMAIN)
        return endpoint
    addresses = checks.addresses(at, endpoint.addresses)
    for i, address in enumerate(addresses):
        if (family_of(address) or BUILT).word != address_type:
            checks.fault((*at, i), worded("{} is not of addressType {}", shown(address), Words(address_type)))
        else:
            checks.routable((*at, i), address)
    return replace(endpoint, addresses=addresses)


def _hints(path: FieldPath, hints: EndpointHints, checks: Checks) -> None:
    for kind, entries in (("forZones", hints.forZones), ("forNodes", hints.forNodes)):
        if len(entries) > MAX_HINTS:
            what = worded("must hold at most {} hints, holds {}", MAX_HINTS, len(entries))
            checks.fault((*path, kind), what, kind=FaultKind.TOO_MANY)
        checks.unique([((*path, kind, i, "name"), entry.name) for i, entry in enumerate(entries)], "name")
    for i, zone in enumerate(hints.forZones):
        checks.label_value((*path, "forZones", i, "name"), zone.name)
    for i, node in enumerate(hints.forNodes):
        checks.name((*path, "forNodes", i, "name"), node.name, SUBDOMAIN)


def _endpoint_ports(path: FieldPath, ports: Sequence[EndpointPort], checks: Checks) -> None:
    checks.unique([((*path, i, "name"), p.name or "") for i, p in enumerate(ports)], "name")
    for i, port in enumerate(ports):
        checks.optional_name((*path, i, "name"), port.name, LABEL)
        if port.port is not None:
            checks.port((*path, i, "port"), port.port)


def check_endpoints(value: Endpoints, namespaced: bool, checks: Checks) -> Endpoints:
    subsets = []
    for i, subset in enumerate(value.subsets):
        path: FieldPath = ("subsets", i)
        if not subset.addresses and not subset.notReadyAddresses:
            checks.fault(path, "must have addresses or notReadyAddresses", kind=FaultKind.REQUIRED)
        _endpoint_ports((*path, "ports"), subset.ports, checks)
        for j, port in enumerate(subset.ports):
            if len(subset.ports) > 1 and not port.name:
                checks.required(
                    (*path, "ports", j, "name"), ": Endpoints with several ports must name each of them"
                )
        addresses = _endpoint_addresses((*path, "addresses"), subset.addresses, checks)
        not_ready = _endpoint_addresses((*path, "notReadyAddresses"), subset.notReadyAddresses, checks)
        subsets.append(replace(subset, addresses=addresses, notReadyAddresses=not_ready))
    return replace(value, metadata=check_metadata(value, namespaced, checks), subsets=tuple(subsets))


def _endpoint_addresses(
    path: FieldPath, entries: Sequence[EndpointAddress], checks: Checks
) -> tuple[EndpointAddress, ...]:
    for i, entry in enumerate(entries):
        checks.optional_name((*path, i, "nodeName"), entry.nodeName, SUBDOMAIN)
        checks.optional_name((*path, i, "hostname"), entry.hostname, LABEL)
    canonical = tuple(
        replace(entry, ip=checks.address((*path, i, "ip"), entry.ip)) for i, entry in enumerate(entries)
    )
    for i, entry in enumerate(canonical):
        checks.routable((*path, i, "ip"), entry.ip)
    return canonical
