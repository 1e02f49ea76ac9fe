"""Hypothesis strategies for clusters: manifests of one to three workers with Pods, Services of every shape, and EndpointSlices written by
hand whose endpoints are in every state. What shrinks away leaves a manifest that is small enough to read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from hypothesis import strategies as st

Manifest = dict[str, Any]

ZONE_LABEL = "topology.kubernetes.io/zone"
OUTSIDE = {"office": "203.0.113.10", "stranger": "198.51.100.20"}
_CONDITIONS: tuple[Mapping[str, bool], ...] = (
    {},
    {"ready": True},
    {"ready": False},
    {"ready": False, "serving": True, "terminating": True},
    {"ready": False, "serving": False, "terminating": True},
    {"ready": False, "terminating": True},
    {"ready": False, "serving": True},
    {"terminating": True},
)
_ZONES = ("a", "b")
_RANGES = ("203.0.113.0/24", "10.244.0.0/16", " 172.18.0.0/16 ", "10.244.1.11/32")
_PROXIES: tuple[Mapping[str, Any], ...] = (
    {},
    {"iptables": {"masqueradeAll": True}},
    {"clusterCIDR": ""},
    {"detectLocalMode": "NodeCIDR"},
    {"detectLocalMode": "BridgeInterface"},
    {"detectLocalMode": "InterfaceNamePrefix"},
    {"nodePortAddresses": ["172.18.0.0/24"]},
    {"nodePortAddresses": ["10.244.0.0/16", "127.0.0.0/8"]},
    {"iptables": {"localhostNodePorts": False}},
)


def to_yaml(manifests: Sequence[Manifest]) -> str:
    """``manifests`` as a file that can be saved and given to ``podwire``."""
    return str(yaml.safe_dump_all(manifests, sort_keys=False, width=140, default_flow_style=None))


@st.composite
def clusters(draw: st.DrawFn) -> tuple[Manifest, ...]:
    """The manifests of one cluster."""
    zones = draw(st.lists(st.sampled_from(("", *_ZONES)), min_size=1, max_size=3), label="zones")
    nodes = range(1, len(zones) + 1)
    pods = draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=4), label="the node of each Pod")
    services = [draw(_service(number, pods)) for number in range(1, draw(st.integers(1, 3), label="Services") + 1)]
    settings = draw(st.sampled_from(_PROXIES), label="kube-proxy")
    return (
        _shape(zones),
        *([{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", **settings}] if settings else []),
        *(_pod(number, node) for number, node in enumerate(pods, 1)),
        *(manifest for service in services for manifest in service),
    )


def _shape(zones: Sequence[str]) -> Manifest:
    nodes: list[Manifest] = [
        {"role": "worker", "podCIDR": f"10.244.{number}.0/24", **({"labels": {ZONE_LABEL: zone}} if zone else {})}
        for number, zone in enumerate(zones, 1)
    ]
    clients = [{"name": name, "address": address} for name, address in OUTSIDE.items()]
    return {"apiVersion": "podwire.dev/v1alpha1", "kind": "Cluster", "nodes": nodes, "externalClients": clients}


def _ip(number: int, node: int) -> str:
    return f"10.244.{node}.{10 + number}"


def _pod(number: int, node: int) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{number}"},
        "spec": {"nodeName": f"worker-{node}", "containers": [{"name": "server"}]},
        "status": {"podIP": _ip(number, node)},
    }


# --- Services ---------------------------------------------------------------------------------------------


@st.composite
def _service(draw: st.DrawFn, number: int, pods: Sequence[int]) -> list[Manifest]:
    """Service ``svc-NUMBER`` and its EndpointSlices; ``pods`` are the nodes of the Pods."""
    name = f"svc-{number}"
    kind = draw(st.sampled_from(("ClusterIP", "NodePort", "LoadBalancer")), label="type")
    ports = draw(st.lists(st.tuples(st.sampled_from((80, 81)), _protocol()), min_size=1, max_size=2, unique=True), label="ports")
    spec: Manifest = {"type": kind, "clusterIP": f"10.96.1.{number}"}
    # more than one port: each must have a name
    rows = [{"name": f"p{index}"} if len(ports) > 1 else {} for index in range(len(ports))]
    spec["ports"] = [{**row, "port": port, "protocol": protocol} for row, (port, protocol) in zip(rows, ports, strict=True)]
    if kind != "ClusterIP" and draw(st.booleans(), label="nodePort"):
        for index, port in enumerate(spec["ports"]):
            port["nodePort"] = 30000 + 10 * number + index
    if kind == "LoadBalancer" and draw(st.booleans(), label="no node ports"):
        spec["allocateLoadBalancerNodePorts"] = False
    if draw(st.booleans(), label="iTP Local"):
        spec["internalTrafficPolicy"] = "Local"
    if draw(st.booleans(), label="externalIPs"):
        spec["externalIPs"] = [f"192.0.2.{number}"]
    if (kind != "ClusterIP" or "externalIPs" in spec) and draw(st.booleans(), label="eTP Local"):
        spec["externalTrafficPolicy"] = "Local"
    if draw(st.integers(0, 3), label="affinity") == 3:
        spec["sessionAffinity"] = "ClientIP"
    status: Manifest = {}
    if kind == "LoadBalancer":
        ranges = draw(st.lists(st.sampled_from(_RANGES), max_size=2, unique=True), label="source ranges")
        if ranges:
            spec["loadBalancerSourceRanges"] = ranges
        mode = draw(st.sampled_from(({}, {}, {"ipMode": "Proxy"})), label="ipMode")
        status = {"status": {"loadBalancer": {"ingress": [{"ip": f"192.0.2.{100 + number}", **mode}]}}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec, **status}
    slices = draw(st.lists(_slice(pods, spec["ports"]), max_size=2), label="slices")
    return [service, *({**item, "metadata": _slice_metadata(name, index)} for index, item in enumerate(slices, 1))]


def _protocol() -> st.SearchStrategy[str]:
    return st.sampled_from(("TCP", "TCP", "UDP", "SCTP"))


def _slice_metadata(service: str, index: int) -> Manifest:
    return {"name": f"{service}-{index}", "labels": {"kubernetes.io/service-name": service}}


@st.composite
def _slice(draw: st.DrawFn, pods: Sequence[int], ports: Sequence[Manifest]) -> Manifest:
    """An EndpointSlice without its metadata. It may leave out some of ``ports``."""
    numbers = draw(st.lists(st.integers(1, len(pods)), max_size=3, unique=True), label="endpoints")
    kept = [p for p in ports if len(ports) == 1 or draw(st.integers(0, 3), label="left out") < 3]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {},
        "addressType": "IPv4",
        "endpoints": [draw(_endpoint(number, pods[number - 1])) for number in numbers],
        "ports": [
            {**({"name": p["name"]} if "name" in p else {}), "port": 8080 + index, "protocol": p["protocol"]}
            for index, p in enumerate(kept)
        ],
    }


@st.composite
def _endpoint(draw: st.DrawFn, number: int, node: int) -> Manifest:
    endpoint: Manifest = {"addresses": [_ip(number, node)]}
    if draw(st.integers(0, 5), label="nodeName") < 5:
        endpoint["nodeName"] = f"worker-{node}"
    conditions = draw(st.sampled_from(_CONDITIONS), label="conditions")
    if conditions:
        endpoint["conditions"] = dict(conditions)
    hints = {}
    if zones := draw(_hints(_ZONES), label="zone hints"):
        hints["forZones"] = [{"name": zone} for zone in zones]
    if nodes := draw(_hints(("worker-1", "worker-2")), label="node hints"):
        hints["forNodes"] = [{"name": name} for name in nodes]
    return endpoint | ({"hints": hints} if hints else {})


def _hints(names: Sequence[str]) -> st.SearchStrategy[list[str]]:
    """Often none: hints count only where every endpoint has one."""
    return st.just([]) | st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)
