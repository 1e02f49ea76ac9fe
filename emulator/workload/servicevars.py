"""Makes the environment variables by which a container finds the Services of its namespace. Pure.

Source: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables, and for the
names pkg/kubelet/envvars/envvars.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..net import Address, Endpoint
from ..objects.kinds import Service


def service_variables(services: Iterable[Service], namespace: str, *, links: bool = True) -> dict[str, str]:
    """Returns the variables of a Pod in ``namespace``: those of its Services and of default/kubernetes;
    without ``links`` (enableServiceLinks: false) the latter's alone. The Pod's own Services win.
    """
    variables: dict[str, str] = {}
    chosen = [
        one
        for one in services
        if one.addressed and ((links and one.namespace == namespace) or one.key == "default/kubernetes")
    ]
    for service in sorted(chosen, key=lambda one: (one.namespace == namespace, one.name)):
        ip = service.spec.clusterIP or next(iter(service.spec.clusterIPs), "")
        if ip and service.spec.ports:
            variables |= _of_service(service, ip)
    return variables


def _of_service(service: Service, ip: str) -> dict[str, str]:
    name = service.name.upper().replace("-", "_")
    first = service.spec.ports[0]
    rows = {f"{name}_SERVICE_HOST": ip, f"{name}_SERVICE_PORT": str(first.port)}
    for port in service.spec.ports:
        if port.name:
            rows[f"{name}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
    for index, port in enumerate(service.spec.ports):
        protocol = port.protocol.lower()
        url = f"{protocol}://{Endpoint(Address(ip), port.port)}"
        if index == 0:
            rows[f"{name}_PORT"] = url
        prefix = f"{name}_PORT_{port.port}_{port.protocol}"
        rows |= {
            prefix: url,
            f"{prefix}_PROTO": protocol,
            f"{prefix}_PORT": str(port.port),
            f"{prefix}_ADDR": ip,
        }
    return rows
