"""Completes Services as the API server does: ClusterIPs, node ports, target ports.

Invariant: a ClusterIP belongs to one Service; a node port to one Service port per protocol. Sources: the
Kubernetes documentation, "Service ClusterIP allocation" and "Service" (NodePort): a static band at the lower
end of either range is left to addresses and ports that people choose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from ..errors import Words, worded
from ..net import Address, Prefix
from ..objects.families import BUILT, is_other
from ..objects.kinds import Service, ServicePort
from ..objects.references import service_ref
from ..objects.warnings import Code
from .findings import Draft, Findings
from .names import draw
from .networks import Networks

NODE_PORTS = range(30000, 32768)
STATIC_NODE_PORTS = 86  # min(max(16, size / 32), 128) of 2768
KUBERNETES = "default/kubernetes"


def complete_services(
    services: Sequence[Draft[Service]], networks: Networks, seed: int, findings: Findings
) -> list[Draft[Service]]:
    """Returns every Service, completed, in the order given. Those of the other family only are left out."""
    ours = [draft for draft in services if not _of_other_family(draft.object)]
    if len(ours) < len(services) or any(is_other(ip) for draft in ours for ip in _addresses(draft.object)):
        findings.ipv6_left_out()
    addressed = _cluster_ips(ours, networks, findings)
    return _node_ports([_with(draft, _defaults(draft.object)) for draft in addressed], seed, findings)


def _with(draft: Draft[Service], service: Service) -> Draft[Service]:
    """Returns ``draft`` with ``service``; itself if that is its own."""
    return draft if draft.object is service else replace(draft, object=service)


def _addresses(service: Service) -> Iterator[str]:
    """Yields the addresses and prefixes of ``service`` that a proxier of the other family would read."""
    spec = service.spec
    yield from (*spec.clusterIPs, *spec.externalIPs, *spec.loadBalancerSourceRanges)
    yield from (entry.ip for entry in service.status.loadBalancer.ingress)


def _of_other_family(service: Service) -> bool:
    families = service.spec.ipFamilies
    addresses = service.spec.clusterIPs or (service.spec.clusterIP,)
    return (bool(families) and BUILT.word not in families) or (
        not service.headless and all(map(is_other, addresses))
    )


def _defaults(service: Service) -> Service:
    spec = service.spec
    families = (BUILT.word,) if spec.type != "ExternalName" else spec.ipFamilies
    if spec.ipFamilies == families and all(port.targetPort is not None for port in spec.ports):
        return service
    return replace(
        service,
        spec=replace(
            spec,
            ports=tuple(
                port if port.targetPort is not None else replace(port, targetPort=port.port)
                for port in spec.ports
            ),
            ipFamilies=families,
        ),
    )


# --- ClusterIPs -------------------------------------------------------------------------------------------


def static_band(subnet: Prefix) -> int:
    """Returns how many addresses at the lower end of ``subnet`` are left to hand-written ClusterIPs."""
    return min(max(16, subnet.size // 16), 256)


def _cluster_ips(
    drafts: Sequence[Draft[Service]], networks: Networks, findings: Findings
) -> list[Draft[Service]]:
    subnet = networks.services
    first = subnet.first.offset(1)
    holders: dict[str, str] = {}
    given: dict[int, tuple[str, ...]] = {}
    if not any(d.object.key == KUBERNETES and _given_ips(d.object) for d in drafts):
        holders[first] = KUBERNETES
    for index, draft in enumerate(drafts):
        if draft.object.addressed:
            given[index] = tuple(_valid_ips(draft, networks, holders, findings))
    free = _free(subnet, holders)
    result, exhausted = [], False
    for index, draft in enumerate(drafts):
        service = draft.object
        if service.headless:
            result.append(_with(draft, _with_ips(service, ("None",))))
            continue
        if not service.addressed:
            result.append(draft)
            continue
        ips = given[index]
        if not ips and not _given_ips(service):
            ip = first if service.key == KUBERNETES else next(free, None)
            if ip is None and not exhausted:
                exhausted = True
                findings.problem(
                    draft.origin,
                    "spec.clusterIP",
                    worded(
                        "serviceSubnet {} is too small: no ClusterIP is left for Service {}",
                        subnet,
                        service.key,
                    ),
                    "set networking.serviceSubnet to a shorter prefix",
                )
            ips = (ip,) if ip else ()
        result.append(_with(draft, _with_ips(service, ips)))
    return result


def _with_ips(service: Service, ips: tuple[str, ...]) -> Service:
    spec, first = service.spec, ips[0] if ips else ""
    if (spec.clusterIP, spec.clusterIPs) == (first, ips):
        return service
    return replace(service, spec=replace(spec, clusterIP=first, clusterIPs=ips))


def _given_ips(service: Service) -> tuple[str, ...]:
    return service.spec.clusterIPs or ((service.spec.clusterIP,) if service.spec.clusterIP else ())


def _valid_ips(
    draft: Draft[Service], networks: Networks, holders: dict[str, str], findings: Findings
) -> Iterator[str]:
    """Yields the IPv4 ClusterIPs that the Service has, entered into ``holders``. Outside a range that the
    user set there is none.
    """
    subnet = networks.services
    for index, text in enumerate(_given_ips(draft.object)):
        path = f"spec.clusterIPs[{index}]" if draft.object.spec.clusterIPs else "spec.clusterIP"
        address = findings.address(text, draft.origin, path)
        if address is None:
            continue
        ip = str(address)
        inside = subnet.has_host(address)
        if not inside and (address in subnet or "serviceSubnet" in networks.said):
            hint = "take an address of it, or set networking.serviceSubnet to the cluster's prefix"
            findings.problem(
                draft.origin, path, worded("{} is not in the range of serviceSubnet {}", ip, subnet), hint
            )
        elif ip in holders:
            what = worded(
                "ClusterIP {} of Service {} is that of Service {} already", ip, draft.object.key, holders[ip]
            )
            findings.problem(draft.origin, path, what, "leave it out, and a free one is taken")
        else:
            holders[ip] = draft.object.key
            yield ip


def _free(subnet: Prefix, holders: dict[str, str]) -> Iterator[str]:
    """Yields free ClusterIPs: above the static band first, then within it."""
    low, high = subnet.first.number + 1, subnet.last.number
    start = min(subnet.first.number + static_band(subnet), high)
    for number in chain(range(start, high), range(low, start)):
        ip = Address.of_number(subnet.family, number)
        if ip not in holders:
            yield ip


# --- node ports -------------------------------------------------------------------------------------------


class _NodePorts:
    """Allocates the cluster's node ports."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.holders: dict[tuple[int, str], str] = {}
        self.numbers: set[int] = set()
        # given ports outside the default --service-node-port-range, each with its Service

    def claim(self, port: int, protocol: str, key: str) -> str:
        """Returns the Service that holds the port already, or "" if it is now ``key``'s."""
        if holder := self.holders.get((port, protocol)):
            return holder
        self.holders[port, protocol] = key
        self.numbers.add(port)
        return ""

    def allocate(self, *identity: object) -> int | None:
        """Returns a port that no Service has under any protocol: a drawn one or the next above it, outside
        the static band if possible.
        """
        number = draw(self.seed, "nodePort", *identity)
        for band in (NODE_PORTS[STATIC_NODE_PORTS:], NODE_PORTS[:STATIC_NODE_PORTS]):
            for offset in range(len(band)):
                port = band[(number + offset) % len(band)]
                if port not in self.numbers:
                    self.numbers.add(port)
                    return port
        return None


def _has_node_ports(service: Service) -> bool:
    spec = service.spec
    return spec.type == "NodePort" or (spec.type == "LoadBalancer" and spec.allocateLoadBalancerNodePorts)


def _wants_health_check(service: Service) -> bool:
    return service.spec.type == "LoadBalancer" and service.spec.externalTrafficPolicy == "Local"


def _node_ports(drafts: Sequence[Draft[Service]], seed: int, findings: Findings) -> list[Draft[Service]]:
    ports = _NodePorts(seed)
    for draft in drafts:
        _claim_given(draft, ports, findings)
    return [_with_node_ports(draft, ports, findings) for draft in drafts]


def _claim_given(draft: Draft[Service], ports: _NodePorts, findings: Findings) -> None:
    service = draft.object

    def claim(number: int, protocol: str, path: str) -> None:
        if number not in NODE_PORTS and not service.metadata.uid:  # an API server has accepted those with one
            ours = f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
            about = service_ref(service.key, path)
            findings.warn(Code.FOREIGN_NODE_PORT, about, port=number, range=ours)
        if holder := ports.claim(number, protocol, f"{service.key} ({path})"):
            what = worded(
                "node port {}/{} of Service {} is taken by Service {}",
                number,
                Words(protocol),
                service.key,
                holder,
            )
            findings.problem(draft.origin, path, what, "leave it out, and a free one is taken")

    for index, port in enumerate(service.spec.ports):
        if port.nodePort:
            claim(port.nodePort, port.protocol, f"spec.ports[{index}].nodePort")
    if service.spec.healthCheckNodePort:
        claim(service.spec.healthCheckNodePort, "TCP", "spec.healthCheckNodePort")


def _with_node_ports(draft: Draft[Service], ports: _NodePorts, findings: Findings) -> Draft[Service]:
    service = draft.object
    spec = service.spec
    if spec.type not in ("NodePort", "LoadBalancer"):
        return draft

    def allocate(*identity: object) -> int | None:
        number = ports.allocate(service.key, *identity)
        if number is None:
            findings.problem(
                draft.origin,
                "spec.ports",
                worded("no node port is left for Service {}", service.key),
                "use fewer NodePort Services",
            )
        return number

    if _has_node_ports(service):
        # A port's TCP and UDP share one number, as the API server allocates it (53 for DNS).
        shared: dict[int, set[tuple[int, str]]] = {}
        for port in spec.ports:
            if port.nodePort:
                shared.setdefault(port.port, set()).add((port.nodePort, port.protocol))
        done: list[ServicePort] = []
        for port in spec.ports:
            number = port.nodePort
            if not number:
                number = next(
                    (
                        n
                        for n, _ in sorted(shared.get(port.port, ()))
                        if (n, port.protocol) not in ports.holders
                    ),
                    None,
                )
                number = number or allocate(port.name, port.port)
                if number:
                    ports.claim(number, port.protocol, service.key)
                    shared.setdefault(port.port, set()).add((number, port.protocol))
            done.append(replace(port, nodePort=number))
        spec = replace(spec, ports=tuple(done))
    if _wants_health_check(service) and not spec.healthCheckNodePort:
        spec = replace(spec, healthCheckNodePort=allocate("healthCheckNodePort"))
    return draft if spec == service.spec else replace(draft, object=replace(service, spec=spec))
