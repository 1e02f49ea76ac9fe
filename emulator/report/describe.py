"""Describes the cluster for a report: rows for nodes and Services, and the names of addresses. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ..cluster.state import BALANCER, ClusterState
from ..model.results import NodeRow, PodRow, PortRow, ServiceRow
from ..net import mac_of_ip
from ..objects.config import ExternalClient, ExternalServer
from ..objects.kinds import Node, Service

ROLE_LABEL = "node-role.kubernetes.io/"


def describe_nodes(state: ClusterState) -> tuple[NodeRow, ...]:
    """Returns the rows of the nodes, then those of the router, the balancer and the external clients."""
    rows = [
        NodeRow(
            name=node.name,
            roles=_roles(node),
            addresses=node.internalIPs,
            podCIDR=state.podCIDR(node.name),
            pods=tuple(PodRow(pod.name, pod.spec.hostNetwork) for pod in state.pods_on[node.name]),
        )
        for node in state.nodes
    ]
    rows.append(NodeRow(name="router", roles=("router",), addresses=(state.routerIP,)))
    if state.balancerIP:
        rows.append(NodeRow(name=BALANCER, roles=("load balancer",), addresses=(state.balancerIP,)))
    rows += [
        NodeRow(name=machine.name, roles=(_role_outside(machine),), addresses=(machine.address,))
        for machine in state.clients
    ]
    return tuple(rows)


def _roles(node: Node) -> tuple[str, ...]:
    """Returns the roles that the labels of ``node`` name, as kubectl reads them."""
    roles = [label.removeprefix(ROLE_LABEL) for label in node.metadata.labels if label.startswith(ROLE_LABEL)]
    return tuple(sorted(filter(None, roles))) or ("worker",)


def _role_outside(machine: ExternalClient) -> str:
    return "external server" if isinstance(machine, ExternalServer) else "external client"


def describe_services(state: ClusterState) -> tuple[ServiceRow, ...]:
    """Returns the rows of the Services, in their order."""
    return tuple(_describe_service(state, service) for service in state.services)


def _describe_service(state: ClusterState, service: Service) -> ServiceRow:
    spec, ingress = service.spec, service.status.loadBalancer.ingress
    return ServiceRow(
        name=service.key,
        type=spec.type,
        address=_address(service),
        proxied=spec.type != "ExternalName" and not service.headless,
        external=(*spec.externalIPs, *(i.ip or i.hostname for i in ingress)),
        pending=spec.type == "LoadBalancer" and not ingress,
        ports=tuple(PortRow(port.port, port.protocol, port.nodePort or 0) for port in spec.ports),
        endpoints=_endpoints(state, service),
    )


def _address(service: Service) -> str:
    if service.spec.type == "ExternalName":
        return service.spec.externalName
    return "None" if service.headless else ", ".join(service.spec.clusterIPs)


def _endpoints(state: ClusterState, service: Service) -> int:
    return len({a for s in state.slices_of.get(service.key, ()) for e in s.endpoints for a in e.addresses})


def name_addresses(state: ClusterState) -> Mapping[str, str]:
    """Returns address → name, for captures: ``web-0``, ``svc/web``, ``worker-1``. Names in two namespaces get
    the namespace in front.
    """
    pods = [
        (a.ip, pod.name, pod.namespace)
        for pod in state.pods
        if not pod.spec.hostNetwork
        for a in pod.status.podIPs
    ]
    services = [(ip, s.name, s.namespace) for s in state.services if s.proxied for ip in s.spec.clusterIPs]
    seen: dict[str, set[str]] = {}
    for _, name, namespace in (*pods, *services):
        seen.setdefault(name, set()).add(namespace)

    def spell(name: str, namespace: str) -> str:
        return name if len(seen[name]) == 1 else f"{namespace}/{name}"

    interface = state.podNetwork.interface
    names = {ip: spell(name, namespace) for ip, name, namespace in pods}
    names |= {ip: f"svc/{spell(name, namespace)}" for ip, name, namespace in services}
    names |= {ip: node.name for node in state.nodes for ip in node.internalIPs}
    names |= {state.gateway(node.name): f"{node.name}.{interface}" for node in state.nodes}
    names |= {client.address: client.name for client in state.clients}
    names |= {ip: BALANCER for service in state.services for ip in state.balancer_ips(service)}
    names |= {state.balancerIP: BALANCER} if state.balancerIP else {}
    return names | {state.routerIP: "router"}


def name_macs(state: ClusterState) -> Mapping[str, str]:
    """Returns MAC → the node whose eth0 has it."""
    return {mac_of_ip(node.internalIPs[0]): node.name for node in state.nodes}


def pod_names(state: ClusterState) -> Mapping[str, str]:
    """Returns address → ``namespace/name`` of every Pod with a network of its own."""
    return {ip: pod.key for ip, pod in state.pod_by_ip.items()}
