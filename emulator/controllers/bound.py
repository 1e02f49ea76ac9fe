"""Reports Service addresses that several nodes have, in a mode that gives them to every node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..cluster.state import ProxySettings
from ..net import Address
from ..objects.kinds import Node, Pod, Service
from ..objects.references import ObjectRef, service_ref
from ..objects.warnings import Code
from .findings import Findings


def notice_bound(
    services: Iterable[Service],
    nodes: Sequence[Node],
    pods: Iterable[Pod],
    speakers: Mapping[Address, str],
    proxy: ProxySettings,
    findings: Findings,
) -> None:
    """Notes each Service address that several nodes have, or answer ARP for (docs/semantics 13, 14)."""
    if speakers and not proxy.strictARP:
        findings.warn(Code.STRICT_ARP, ObjectRef("KubeProxyConfiguration", ""), mode=proxy.mode)
    owners: dict[str, str] = {
        ip: f"Pod {pod.key}" for pod in pods if not pod.spec.hostNetwork for ip in pod.ips[:1]
    }
    if len(nodes) > 1:
        owners |= {ip: node.name for node in nodes for ip in node.internalIPs}
    for service in services:
        for ip in _bound(service):
            if ip in owners:
                findings.warn(
                    Code.ADDRESS_OF_NODE,
                    service_ref(service.key),
                    ip=ip,
                    node=owners[ip],
                    mode=proxy.mode,
                )


def _bound(service: Service) -> Iterator[str]:
    """Yields the addresses that kube-proxy gives every node that does not have them."""
    if service.proxied:
        yield from service.spec.externalIPs
        yield from (entry.ip for entry in service.status.loadBalancer.ingress if entry.ipMode != "Proxy")
