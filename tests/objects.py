"""Makes Kubernetes objects and cluster states for tests, written as short as manifests allow, without the
loader's help.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from emulator.cluster.state import ClusterState, ProxySettings
from emulator.net import Address, Prefix
from emulator.objects.kinds import (
    EndpointSlice,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from emulator.podnet.kubenet import KUBENET

T = TypeVar("T")


def build(cls: Any, manifest: Any) -> Any:
    """Returns ``manifest`` as a ``cls`` (a type annotation), field by field, without the fields that ``cls``
    does not know.
    """
    if isinstance(cls, type) and is_dataclass(cls):
        hints = typing.get_type_hints(cls)
        known = {f.name: build(hints[f.name], manifest[f.name]) for f in fields(cls) if f.name in manifest}
        return cls(**known)
    origin, arguments = typing.get_origin(cls), typing.get_args(cls)
    if origin is tuple:
        return tuple(build(arguments[0], item) for item in manifest)
    if origin in (types.UnionType, typing.Union):
        inner = [a for a in arguments if is_dataclass(a)]
        return build(inner[0], manifest) if inner and manifest is not None else manifest
    return manifest


def state(
    *,
    nodes: Sequence[Node],
    services: Sequence[Service] = (),
    slices: Sequence[EndpointSlice] = (),
    **proxy: Any,
) -> ClusterState:
    """Returns a settled cluster without Pods; ``proxy`` are fields of ``ProxySettings``."""
    return ClusterState(
        name="test",
        seed=0,
        podSubnet=Prefix("10.244.0.0/16"),
        serviceSubnet=Prefix("10.96.0.0/12"),
        hostSubnet=Prefix("172.18.0.0/16"),
        routerIP=Address("172.18.0.1"),
        podNetwork=KUBENET.facts,
        proxy=ProxySettings(**{"clusterCIDR": "10.244.0.0/16", **proxy}),
        nodes=tuple(nodes),
        pods=(),
        services=tuple(services),
        endpointSlices=tuple(slices),
        clients=(),
        listeners=(),
    )


def golden_state(directory: Path, **proxy: Any) -> ClusterState:
    """Returns the cluster of ``directory/objects.yaml``."""
    documents: list[Mapping[str, Any]] = list(yaml.safe_load_all((directory / "objects.yaml").read_text()))

    def of(kind: str, cls: type[T]) -> list[T]:
        return [build(cls, d) for d in documents if d["kind"] == kind]

    return state(
        nodes=of("Node", Node),
        services=of("Service", Service),
        slices=of("EndpointSlice", EndpointSlice),
        **proxy,
    )


def node(name: str, ip: str = "172.18.0.3", podCIDR: str = "10.244.1.0/24", **labels: str) -> Node:
    """Returns a node. ``labels``: "_" in a key stands for "/" (``zone`` for the zone label)."""
    spelled = {
        "topology.kubernetes.io/zone" if k == "zone" else k.replace("_", "/"): v for k, v in labels.items()
    }
    return Node(
        metadata=ObjectMeta(name=name, labels=spelled),
        spec=NodeSpec(podCIDR=podCIDR, podCIDRs=(podCIDR,) if podCIDR else ()),
        status=NodeStatus(addresses=(NodeAddress(type="InternalIP", address=ip),)),
    )


def service(
    name: str = "web",
    *,
    namespace: str = "default",
    ports: Sequence[ServicePort] = (ServicePort(name="http", port=80, targetPort=8080),),
    vips: Sequence[str | LoadBalancerIngress] = (),
    **spec: Any,
) -> Service:
    """Returns a Service with ClusterIP 10.96.0.10 unless ``spec`` says otherwise; ``vips`` are its
    load-balancer addresses.
    """
    ingress = tuple(v if isinstance(v, LoadBalancerIngress) else LoadBalancerIngress(ip=v) for v in vips)
    cluster_ip = spec.pop("clusterIP", "10.96.0.10")
    return Service(
        metadata=ObjectMeta(name=name, namespace=namespace),
        spec=ServiceSpec(clusterIP=cluster_ip, clusterIPs=(cluster_ip,), ports=tuple(ports), **spec),
        status=ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=ingress)),
    )


def slice_of(
    svc: Service, *endpoints: Mapping[str, Any], name: str = "", ports: Sequence[Mapping[str, Any]] = ()
) -> EndpointSlice:
    """Returns an EndpointSlice of ``svc``. An endpoint is a manifest's mapping, with ``ip`` for ``addresses:
    [ip]``.
    """
    default = [{"name": "http", "port": 8080}]
    manifest = {
        "metadata": {
            "name": name or f"{svc.name}-1",
            "namespace": svc.namespace,
            "labels": {"kubernetes.io/service-name": svc.name},
        },
        "endpoints": [
            {"addresses": [e["ip"]], **{k: v for k, v in e.items() if k != "ip"}} for e in endpoints
        ],
        "ports": list(ports) or default,
    }
    built: EndpointSlice = build(EndpointSlice, manifest)
    return built
