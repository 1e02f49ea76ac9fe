"""Addresses and ports that several Services claim. May import ``objects`` and this room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from emulator.control.findings import Findings
from emulator.objects.kinds import Service


def notice_contested(services: Iterable[Service], findings: Findings) -> None:
    """Say of each address and port that several of ``services`` claim which of them has it: the first, in the order given (docs/semantics 1)."""
    holders: dict[tuple[str, int, str], Service] = {}
    lost: dict[tuple[str, str], list[str]] = {}
    for service in services:
        for key in _claims(service):
            first = holders.setdefault(key, service)
            if first is not service:
                ip, port, protocol = key
                lost.setdefault((first.key, service.key), []).append(f"{ip}:{port}/{protocol}")
    for (has, lacks), claimed in lost.items():
        what = f"Services {has} and {lacks} both claim {', '.join(claimed)}: {has} has it here, being the first by name"
        findings.notice(f"{what}; a real kube-proxy promises it to neither")


def _claims(service: Service) -> Iterator[tuple[str, int, str]]:
    """The IPv4 addresses and ports that kube-proxy or a balancer takes up for ``service``, each once."""
    if not service.proxied:
        return
    spec = service.spec
    ips = (*spec.clusterIPs, *spec.externalIPs, *(entry.ip for entry in service.status.loadBalancer.ingress))
    for ip in dict.fromkeys(ip for ip in ips if "." in ip):
        yield from ((ip, port.port, port.protocol) for port in spec.ports)
