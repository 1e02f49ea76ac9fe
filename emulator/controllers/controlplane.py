"""Makes the parts of a control plane: static Pods, and the Service ``kubernetes`` whose endpoints are the API
servers.

As in a cluster that kubeadm made, the API server's endpoints carry no ``nodeName``, so they are remote to
every node. API servers maintain those endpoints themselves, so that a dump's say where they are, and at which
port (k3s and MicroK8s run them outside of Pods).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..cluster.state import API_SERVER_PORT
from ..objects.kinds import (
    Container,
    ContainerPort,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    Node,
    ObjectMeta,
    Origin,
    Pod,
    PodSpec,
    Service,
    ServicePort,
    ServiceSpec,
)
from ..objects.notices import NoControlPlane
from .findings import Draft, Findings
from .shape import is_control_plane, is_etcd

ETCD_CLIENT_PORT, ETCD_PEER_PORT = 2379, 2380


def api_servers(
    nodes: Iterable[Node],
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
    endpoints: Iterable[Endpoints],
) -> dict[str, int]:
    """Returns the port of the API server on each node that has one: on the control planes, and on nodes whose
    addresses are endpoints of Service default/kubernetes.
    """
    given: dict[str, int] = {}
    for item in slices:
        if (item.metadata.namespace, item.serviceName) == ("default", "kubernetes"):
            given |= _served((ip for one in item.endpoints for ip in one.addresses[:1]), item.ports)
    for one in endpoints:
        if (one.metadata.namespace, one.metadata.name) == ("default", "kubernetes"):
            for subset in one.subsets:
                given |= _served((address.ip for address in subset.addresses), subset.ports)
    targets = (_target(service) for service in services if service.key == "default/kubernetes")
    usual = next(filter(None, (*given.values(), *targets)), API_SERVER_PORT)
    ports: dict[str, int] = {}
    for node in nodes:
        own = next((given[ip] for ip in node.internalIPs if ip in given), None)
        if own or is_control_plane(node):
            ports[node.name] = own or usual
    return ports


def _served(addresses: Iterable[str], ports: Sequence[EndpointPort]) -> dict[str, int]:
    number = next((port.port for port in ports if port.port and port.protocol == "TCP"), None)
    return dict.fromkeys(addresses, number) if number else {}


def static_pods(
    nodes: Sequence[Draft[Node]], pods: Iterable[Draft[Pod]], servers: Mapping[str, int]
) -> list[Draft[Pod]]:
    """Returns an API server on each node of ``servers`` (its port by node) and an etcd on each etcd node,
    unless the input has that Pod, or another one at the API server's port.
    """
    given = [draft.object for draft in pods]
    present = {pod.key for pod in given}
    taken = {
        (pod.spec.nodeName, port.containerPort)
        for pod in given
        if pod.spec.hostNetwork
        for container in pod.spec.containers
        for port in container.ports
        if port.protocol == "TCP"
    }
    made = []
    for draft in nodes:
        node = draft.object
        components: list[tuple[str, tuple[ContainerPort, ...]]] = []
        number = servers.get(node.name)
        if number and (node.name, number) not in taken:
            components.append(("kube-apiserver", (ContainerPort(name="https", containerPort=number),)))
        if is_etcd(node):
            client = ContainerPort(name="client", containerPort=ETCD_CLIENT_PORT)
            components.append(("etcd", (client, ContainerPort(name="peer", containerPort=ETCD_PEER_PORT))))
        for component, ports in components:
            pod = _static_pod(component, node.name, ports)
            if pod.key not in present:
                made.append(Draft(pod, draft.origin, draft.base))
    return made


def api_server_pod(node: str) -> str:
    """Returns ``namespace/name`` of the API server's Pod on ``node``."""
    return f"kube-system/kube-apiserver-{node}"


def _static_pod(component: str, node: str, ports: tuple[ContainerPort, ...]) -> Pod:
    return Pod(
        metadata=ObjectMeta(
            name=f"{component}-{node}",
            namespace="kube-system",
            labels={"component": component, "tier": "control-plane"},
        ),
        spec=PodSpec(containers=(Container(name=component, ports=ports),), nodeName=node, hostNetwork=True),
    )


def kubernetes_service(services: Iterable[Draft[Service]], origin: Origin) -> list[Draft[Service]]:
    """Returns the Service default/kubernetes, unless the input has it. It has no selector: the API server
    itself maintains its endpoints.
    """
    if any(draft.object.key == "default/kubernetes" for draft in services):
        return []
    labels = {"component": "apiserver", "provider": "kubernetes"}
    ports = (ServicePort(name="https", port=443, targetPort=API_SERVER_PORT),)
    return [
        Draft(
            Service(
                metadata=ObjectMeta(name="kubernetes", namespace="default", labels=labels),
                spec=ServiceSpec(ports=ports),
            ),
            origin,
        )
    ]


def kubernetes_slice(service: Service, nodes: Iterable[Node], findings: Findings) -> EndpointSlice:
    """Returns the EndpointSlice of ``service``, default/kubernetes: every control-plane node's address, and
    the targetPort.
    """
    planes = [node for node in nodes if is_control_plane(node) and node.internalIPs]
    if not planes:
        findings.notice(NoControlPlane())
    return EndpointSlice(
        metadata=ObjectMeta(
            name="kubernetes", namespace="default", labels={"kubernetes.io/service-name": "kubernetes"}
        ),
        endpoints=tuple(
            Endpoint(addresses=(node.internalIPs[0],), conditions=EndpointConditions(ready=True))
            for node in planes
        ),
        ports=(EndpointPort(name="https", protocol="TCP", port=_target(service) or API_SERVER_PORT),),
    )


def _target(service: Service) -> int | None:
    return next((port.targetPort for port in service.spec.ports if isinstance(port.targetPort, int)), None)
