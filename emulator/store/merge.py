"""Merges a manifest with the object whose place it takes: what was given out to the object survives.

Sources: the strategies of pkg/registry/core (PrepareForUpdate), and for Services
pkg/registry/core/service/storage/alloc.go (patchAllocatedValues): what was given out to an object stays its
own where the new manifest says nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import worded
from ..load.faults import Fault, FaultKind
from ..objects.kinds import Node, Pod, Service

_DELETE_FIRST = "delete it in a step before"


def merge(old: Any, new: Any) -> tuple[Any, list[Fault]]:
    """Returns ``new`` in the place of ``old``, and what ``new`` may not change."""
    strategy = _STRATEGIES.get(type(new))
    return strategy(old, new) if strategy and type(old) is type(new) else (new, [])


def _merge_pod(old: Pod, new: Pod) -> tuple[Pod, list[Fault]]:
    """Keeps the decisions of the scheduler and the network."""
    faults = []
    if (
        new.spec.nodeName not in ("", old.spec.nodeName)
        or new.spec.hostNetwork != old.spec.hostNetwork
        or (new.ips and new.ips[:1] != old.ips[:1])
    ):
        has = old.ip if old.ips else "no address"
        what = worded("Pod {} runs on {} with {} and cannot change that", old.key, old.spec.nodeName, has)
        faults.append(Fault(("spec",), what, _DELETE_FIRST, FaultKind.FORBIDDEN))
    owners = new.metadata.ownerReferences or old.metadata.ownerReferences
    merged = replace(
        new,
        metadata=replace(new.metadata, ownerReferences=owners),
        spec=replace(new.spec, nodeName=old.spec.nodeName),
        status=replace(old.status, conditions=new.status.conditions or old.status.conditions),
    )
    return merged, faults


def _merge_node(old: Node, new: Node) -> tuple[Node, list[Fault]]:
    """Keeps the addresses and the podCIDRs."""
    faults = []
    given = new.spec.podCIDRs or ((new.spec.podCIDR,) if new.spec.podCIDR else ())
    if (given and given != old.spec.podCIDRs) or (new.internalIPs and new.internalIPs != old.internalIPs):
        has = f"{', '.join(old.internalIPs)} and {', '.join(old.spec.podCIDRs)}"
        what = worded("node {} has {} and cannot change them", old.name, has)
        faults.append(Fault(("spec",), what, _DELETE_FIRST, FaultKind.FORBIDDEN))
    spec = replace(new.spec, podCIDR=old.spec.podCIDR, podCIDRs=old.spec.podCIDRs)
    return replace(new, spec=spec, status=old.status), faults


def _merge_service(old: Service, new: Service) -> tuple[Service, list[Fault]]:
    """Keeps ClusterIPs, node ports and the status, unless ``new`` has its own."""
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
        health = spec.healthCheckNodePort or old.spec.healthCheckNodePort
        spec = replace(spec, ports=ports, healthCheckNodePort=health)
    keeps = spec.type == "LoadBalancer" and not new.status.loadBalancer.ingress
    return replace(new, spec=spec, status=old.status if keeps else new.status), []


_STRATEGIES: Mapping[type[Any], Callable[[Any, Any], tuple[Any, list[Fault]]]] = {
    Pod: _merge_pod,
    Node: _merge_node,
    Service: _merge_service,
}
