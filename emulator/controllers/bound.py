"""Reports what only a mode does that puts Services' addresses on every node, and has the kernel balance:
Service addresses that several nodes have, and endpoints that the kernel does not take.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..cluster.state import ProxySettings
from ..net import Address, Prefix, addresses_of
from ..objects.config import ProxyMode
from ..objects.kinds import EndpointSlice, Node, Pod, Service
from ..objects.notices import EndpointNotTaken
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


def notice_not_taken(
    slices: Iterable[EndpointSlice],
    nodes: Sequence[Node],
    hosts: Prefix,
    mode: ProxyMode,
    findings: Findings,
) -> None:
    """Notes each endpoint at a multicast address, or at the broadcast address of a network that a node is in:
    there the kernel does not take it (docs/semantics 13).
    """
    broadcasts = {Prefix(cidr).broadcast: node.name for node in nodes for cidr in node.spec.podCIDRs}
    broadcasts[hosts.broadcast] = ""  # every node
    for item in slices:
        key = f"{item.metadata.namespace}/{item.serviceName}"
        for ip in addresses_of(hosts.family, (e.addresses[0] for e in item.endpoints if e.addresses)):
            if ip in broadcasts or not ip.unicast:
                findings.notice(EndpointNotTaken(key, ip, broadcasts.get(ip, ""), mode))


def _bound(service: Service) -> Iterator[str]:
    """Yields the addresses that kube-proxy gives every node that does not have them."""
    if service.proxied:
        yield from service.spec.externalIPs
        yield from (entry.ip for entry in service.status.loadBalancer.ingress if entry.ipMode != "Proxy")
