"""Makes clusters by hypothesis strategies: manifests of one to three workers with Pods, Services of
every shape, and EndpointSlices, written by hand with endpoints in every state, or left to the Services'
selectors. A failure shrinks to a manifest that is small enough to read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from hypothesis import strategies as st

Manifest = dict[str, Any]

ZONE_LABEL = "topology.kubernetes.io/zone"
OUTSIDE = {"office": "203.0.113.10", "stranger": "198.51.100.20"}
_CONDITIONS: tuple[Mapping[str, bool], ...] = (
    *({},) * 6,
    {"ready": True},
    {"ready": False},
    {"ready": False, "serving": True, "terminating": True},
    {"ready": False, "serving": False, "terminating": True},
    {"ready": False, "terminating": True},
    {"ready": False, "serving": True},
    {"terminating": True},
)
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_SELECTOR = {"app": "web"}
_ZONES = ("a", "b")
_SHARED = "192.0.2.99"  # an externalIP that several Services have
_HINTS: tuple[Mapping[str, Sequence[str]], ...] = (
    {},
    {},
    {"forZones": _ZONES},
    {"forNodes": ("worker-1", "worker-2", "worker-3")},
    {"forZones": _ZONES, "forNodes": ("worker-1", "worker-2")},
)
# in a podCIDR, in the host network, elsewhere
_NOBODYS = ("10.244.1.99", "10.244.2.99", "172.18.0.99", "198.51.100.99")
_RANGES = ("203.0.113.0/24", "10.244.0.0/16", " 172.18.0.0/16 ", "10.244.1.11/32")
_PROXIES: tuple[Mapping[str, Any], ...] = (
    {},
    {"iptables": {"masqueradeAll": True}},
    {"clusterCIDR": ""},
    {"clusterCIDR": "10.244.1.0/24"},
    {"detectLocalMode": "NodeCIDR"},
    {"detectLocalMode": "BridgeInterface"},
    {"detectLocalMode": "InterfaceNamePrefix"},
    {"nodePortAddresses": ["172.18.0.0/24"]},
    {"nodePortAddresses": ["10.244.0.0/16", "127.0.0.0/8"]},
    {"iptables": {"localhostNodePorts": False}},
    {"nftables": {"masqueradeAll": True}},
)


def to_yaml(manifests: Sequence[Manifest]) -> str:
    """Returns ``manifests`` as a file that can be saved and given to ``podwire``."""
    return str(yaml.safe_dump_all(manifests, sort_keys=False, width=140, default_flow_style=None))


@st.composite
def clusters(draw: st.DrawFn, *, shared_addresses: bool = True) -> tuple[Manifest, ...]:
    """Returns the manifests of one cluster. ``shared_addresses``: an externalIP may be the address of a node
    among others.
    """
    zones = [
        draw(st.sampled_from(("", *_ZONES)), label="zone")
        for _ in range(draw(_count(1, 2, 2, 3, 3), label="nodes"))
    ]
    nodes = range(1, len(zones) + 1)
    count = draw(_count(1, 2, 3, 3, 4), label="Pods")
    # one at most: two could want the same port
    hosted = draw(_count(0, 0, 0, 1), label="the Pod with hostNetwork")
    pods = [draw(_pod(number, nodes, number == hosted)) for number in range(1, count + 1)]
    external = [_SHARED, *([_node_ip(1)] if shared_addresses or len(nodes) == 1 else [])]
    services = [
        draw(_service(number, pods, external))
        for number in range(1, draw(_count(1, 2, 2, 3), label="Services") + 1)
    ]
    settings = draw(st.sampled_from(_PROXIES), label="kube-proxy")
    return (
        _shape(zones),
        *(
            [{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", **settings}]
            if settings
            else []
        ),
        *(pod.manifest() for pod in pods),
        *(manifest for service in services for manifest in service),
    )


def _count(*numbers: int) -> st.SearchStrategy[int]:
    """Draws a number as likely as it is often in ``numbers``, and shrinks to the first. Lists as Hypothesis
    draws them are mostly short.
    """
    return st.sampled_from(numbers)


def _shape(zones: Sequence[str]) -> Manifest:
    nodes: list[Manifest] = [
        {
            "role": "worker",
            "podCIDR": f"10.244.{number}.0/24",
            "addresses": [_node_ip(number)],
            **({"labels": {ZONE_LABEL: zone}} if zone else {}),
        }
        for number, zone in enumerate(zones, 1)
    ]
    clients = [{"name": name, "address": address} for name, address in OUTSIDE.items()]
    return {
        "apiVersion": "podwire.dev/v1alpha1",
        "kind": "Cluster",
        "nodes": nodes,
        "externalClients": clients,
    }


def _node_ip(number: int) -> str:
    return f"172.18.0.{10 + number}"


@dataclass(frozen=True, slots=True)
class _Pod:
    number: int
    node: int
    hostNetwork: bool
    selected: bool  # by the Services that have a selector
    named: int  # the number of the ports that Services may ask for by name; 0: it has none
    ready: bool
    terminating: bool

    @property
    def ip(self) -> str:
        return _node_ip(self.node) if self.hostNetwork else f"10.244.{self.node}.{10 + self.number}"

    def manifest(self) -> Manifest:
        container: Manifest = {"name": "server"}
        if self.named:
            container["ports"] = [
                {"name": _port_name(p), "containerPort": self.named, "protocol": p} for p in _PROTOCOLS
            ]
        spec: Manifest = {"nodeName": f"worker-{self.node}", "containers": [container]}
        if self.hostNetwork:
            spec["hostNetwork"] = True
        meta: Manifest = {"name": f"pod-{self.number}"}
        if self.selected:
            meta["labels"] = dict(_SELECTOR)
        if self.terminating:
            meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        status: Manifest = {"podIP": self.ip}
        if not self.ready:
            status["conditions"] = [{"type": "Ready", "status": "False"}]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}


@st.composite
def _pod(draw: st.DrawFn, number: int, nodes: Sequence[int], hosted: bool) -> _Pod:
    node = draw(st.sampled_from(nodes), label="the Pod's node")
    if not draw(st.booleans(), label="selected"):
        return _Pod(number, node, hosted, selected=False, named=0, ready=True, terminating=False)
    return _Pod(
        number,
        node,
        hosted,
        selected=True,
        named=draw(st.sampled_from((0, 8080, 9090)), label="named ports"),
        ready=draw(st.sampled_from((True, True, False)), label="ready"),
        terminating=draw(st.sampled_from((False, False, True)), label="terminating"),
    )


def _port_name(protocol: str) -> str:
    return f"web-{protocol.lower()}"


# --- Services ---------------------------------------------------------------------------------------------


@st.composite
def _service(draw: st.DrawFn, number: int, pods: Sequence[_Pod], external: Sequence[str]) -> list[Manifest]:
    """Returns a Service and its EndpointSlices. ``external`` are the externalIPs that it may share with
    others, with their ports: of two the first by name has them, and the later one in the manifest is that.
    """
    name = f"svc-{9 - number}"
    kind = draw(
        st.sampled_from(("ClusterIP", "NodePort", "NodePort", "LoadBalancer", "LoadBalancer")), label="type"
    )
    numbers = st.sampled_from((70 + 10 * number, 70))
    ports = draw(
        st.lists(st.tuples(numbers, _protocol()), min_size=1, max_size=2, unique=True), label="ports"
    )
    spec: Manifest = {"type": kind, "clusterIP": f"10.96.1.{number}"}
    # more than one port: each must have a name
    rows = [{"name": f"p{index}"} if len(ports) > 1 else {} for index in range(len(ports))]
    spec["ports"] = [
        {**row, "port": port, "protocol": protocol} for row, (port, protocol) in zip(rows, ports, strict=True)
    ]
    if kind != "ClusterIP" and draw(st.booleans(), label="nodePort"):
        for index, port in enumerate(spec["ports"]):
            port["nodePort"] = 30000 + 10 * number + index
    if kind == "LoadBalancer" and draw(st.booleans(), label="no node ports"):
        spec["allocateLoadBalancerNodePorts"] = False
    if draw(st.booleans(), label="iTP Local"):
        spec["internalTrafficPolicy"] = "Local"
    if ips := draw(
        st.sampled_from(([], [f"192.0.2.{number}"], *([ip] for ip in external))), label="externalIPs"
    ):
        spec["externalIPs"] = ips
    if (kind != "ClusterIP" or "externalIPs" in spec) and draw(st.booleans(), label="eTP Local"):
        spec["externalTrafficPolicy"] = "Local"
        if kind == "LoadBalancer" and draw(st.booleans(), label="healthCheckNodePort"):
            spec["healthCheckNodePort"] = 32000 + number
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
    selected = [pod for pod in pods if pod.selected]
    if selected and draw(st.booleans(), label="selector"):
        return [{**service, "spec": {**spec, **draw(_selecting(selected, spec["ports"]))}}]
    slices = [draw(_slice(pods, spec["ports"])) for _ in range(draw(_count(1, 1, 1, 0, 2), label="slices"))]
    return [
        service,
        *({**item, "metadata": _slice_metadata(name, index)} for index, item in enumerate(slices, 1)),
    ]


@st.composite
def _selecting(draw: st.DrawFn, pods: Sequence[_Pod], ports: Sequence[Manifest]) -> Manifest:
    """Returns the fields of a Service's spec that go with a selector: a controller makes its
    EndpointSlices.
    """
    # a name that nobody has is bad input
    by_name = any(pod.named for pod in pods) and draw(st.booleans(), label="by name")
    spec: Manifest = {"selector": dict(_SELECTOR)}
    spec["ports"] = [
        {**port, "targetPort": _port_name(port["protocol"]) if by_name else 8080} for port in ports
    ]
    if draw(st.sampled_from((False, False, True)), label="publishNotReadyAddresses"):
        spec["publishNotReadyAddresses"] = True
    if distribution := draw(
        st.sampled_from(("", "PreferClose", "PreferSameZone", "PreferSameNode")), label="trafficDistribution"
    ):
        spec["trafficDistribution"] = distribution
    return spec


def _protocol() -> st.SearchStrategy[str]:
    return st.sampled_from(("TCP", "TCP", "UDP", "SCTP"))


def _slice_metadata(service: str, index: int) -> Manifest:
    return {"name": f"{service}-{index}", "labels": {"kubernetes.io/service-name": service}}


@st.composite
def _slice(draw: st.DrawFn, pods: Sequence[_Pod], ports: Sequence[Manifest]) -> Manifest:
    """Returns an EndpointSlice without its metadata. It may leave out some of ``ports``."""
    chosen = draw(
        st.lists(st.sampled_from(pods), min_size=min(2, len(pods)), max_size=3, unique=True),
        label="endpoints",
    )
    kept = [
        p for p in ports if len(ports) == 1 or draw(st.sampled_from((True,) * 7 + (False,)), label="kept")
    ]
    hints = draw(st.sampled_from(_HINTS), label="hints")
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {},
        "addressType": "IPv4",
        "endpoints": [draw(_endpoint(pod, hints)) for pod in chosen],
        "ports": [
            {**({"name": p["name"]} if "name" in p else {}), "port": 8080 + index, "protocol": p["protocol"]}
            for index, p in enumerate(kept)
        ],
    }


@st.composite
def _endpoint(draw: st.DrawFn, pod: _Pod, hints: Mapping[str, Sequence[str]]) -> Manifest:
    """Draws endpoints. ``hints`` are the names to draw from; now and then an endpoint has none, and then
    those of the others do not count.
    """
    # else a slice that is older than the Pods
    served = draw(st.sampled_from((True,) * 7 + (False,)), label="served")
    endpoint: Manifest = {
        "addresses": [pod.ip if served else draw(st.sampled_from(_NOBODYS), label="nobody's address")]
    }
    if pod.hostNetwork and served:  # or a port of the node would be no Pod's
        endpoint["targetRef"] = {"kind": "Pod", "name": f"pod-{pod.number}"}
    if draw(st.sampled_from((True,) * 5 + (False,)), label="nodeName"):
        endpoint["nodeName"] = f"worker-{pod.node}"
    if conditions := draw(st.sampled_from(_CONDITIONS), label="conditions"):
        endpoint["conditions"] = dict(conditions)
    if hints and draw(st.sampled_from((True,) * 5 + (False,)), label="hinted"):
        drawn = {
            kind: draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
            for kind, names in hints.items()
        }
        endpoint["hints"] = {kind: [{"name": name} for name in names] for kind, names in drawn.items()}
    return endpoint
