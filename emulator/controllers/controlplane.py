"""Makes the parts of a control plane: static Pods, and the Service ``kubernetes`` whose endpoints are the API
servers.

May import ``objects`` and this room. As in a cluster that kubeadm made, the API server's endpoints carry no
``nodeName``, so they are remote to every node.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..cluster.state import API_SERVER_PORT
from ..objects.kinds import (
    Container,
    ContainerPort,
    Endpoint,
    EndpointConditions,
    EndpointPort,
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
from .findings import Draft, Findings
from .shape import is_control_plane, is_etcd

ETCD_CLIENT_PORT, ETCD_PEER_PORT = 2379, 2380


def static_pods(nodes: Sequence[Draft[Node]], pods: Iterable[Draft[Pod]]) -> list[Draft[Pod]]:
    """Returns an API server on each control plane and an etcd on each etcd node, unless the input has that
    Pod.
    """
    present = {draft.object.key for draft in pods}
    made = []
    for draft in nodes:
        node = draft.object
        components: list[tuple[str, tuple[ContainerPort, ...]]] = []
        if is_control_plane(node):
            components.append(
                ("kube-apiserver", (ContainerPort(name="https", containerPort=API_SERVER_PORT),))
            )
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


def kubernetes_slice(nodes: Iterable[Node], findings: Findings) -> EndpointSlice:
    """Returns the EndpointSlice default/kubernetes: every control-plane node's address, port 6443."""
    planes = [node for node in nodes if is_control_plane(node) and node.internalIPs]
    if not planes:
        findings.notice("no node is a control plane: Service default/kubernetes has no endpoint")
    return EndpointSlice(
        metadata=ObjectMeta(
            name="kubernetes", namespace="default", labels={"kubernetes.io/service-name": "kubernetes"}
        ),
        endpoints=tuple(
            Endpoint(addresses=(node.internalIPs[0],), conditions=EndpointConditions(ready=True))
            for node in planes
        ),
        ports=(EndpointPort(name="https", protocol="TCP", port=API_SERVER_PORT),),
    )
