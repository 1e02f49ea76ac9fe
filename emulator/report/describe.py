"""Describes the cluster for a report: rows for nodes and Services, and the names of addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from ..cluster.scenario import Step
from ..cluster.state import BALANCER, ClusterState
from ..controllers.workloads import TEMPLATE_HASH_LABEL
from ..model.results import NodeRow, PodRow, PortRow, Report, ServiceRow, StepRows
from ..net import mac_of_ip
from ..objects.config import ExternalClient, ExternalServer
from ..objects.kinds import Node, Pod, Service

ROLE_LABEL = "node-role.kubernetes.io/"


def describe_nodes(state: ClusterState) -> tuple[NodeRow, ...]:
    """Returns the rows of the nodes, then those of the router, the balancer and the external clients."""
    rows = [
        NodeRow(
            name=node.name,
            roles=_roles(node),
            addresses=node.internalIPs,
            podCIDR=state.podCIDR(node.name),
            pods=tuple(_describe_pod(pod) for pod in state.pods_on[node.name]),
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


def _describe_pod(pod: Pod) -> PodRow:
    return PodRow(pod.name, pod.spec.hostNetwork, pod.namespace, _workload(pod))


def _workload(pod: Pod) -> str:
    """Returns ``deployment/web`` for a Pod that a workload made; a Deployment's Pods are a ReplicaSet's,
    whose name ends in the hash of the template.
    """
    owner = next((o for o in pod.metadata.ownerReferences if o.controller), None)
    if owner is None or owner.kind == "Node":
        return ""
    end = f"-{pod.metadata.labels.get(TEMPLATE_HASH_LABEL, '')}"
    if owner.kind == "ReplicaSet" and end != "-" and owner.name.endswith(end):
        return f"deployment/{owner.name.removesuffix(end)}"
    return f"{owner.kind.lower()}/{owner.name}"


def describe_steps(moments: Sequence[Step]) -> tuple[StepRows, ...]:
    """Returns for each step how the rows differ from those of the moment before; nothing for a step that
    changes none.
    """
    found = []
    for before, after in pairwise(moments):
        if before.state is after.state:
            continue
        nodes, services = describe_nodes(after.state), describe_services(after.state)
        old, old_services = set(describe_nodes(before.state)), set(describe_services(before.state))
        there = {row.name for row in nodes}, {row.name for row in services}
        rows = StepRows(
            step=after.name,
            cluster=tuple(row for row in nodes if row not in old),
            services=tuple(row for row in services if row not in old_services),
            gone=(
                *(row.name for row in describe_nodes(before.state) if row.name not in there[0]),
                *(row.name for row in describe_services(before.state) if row.name not in there[1]),
            ),
        )
        if rows.cluster or rows.services or rows.gone:
            found.append(rows)
    return tuple(found)


def _role_outside(machine: ExternalClient) -> str:
    return "external server" if isinstance(machine, ExternalServer) else "external client"


def name_replicas(states: Iterable[ClusterState]) -> Mapping[str, str]:
    """Returns a name for each Pod whose own name is drawn, by ``namespace/name``, which does not change with
    the template: ``deployment/web (1 of 2)``, with the namespace in front unless it is the default one.
    """
    of: dict[str, dict[str, None]] = {}
    for pod in (pod for state in states for pod in state.pods):
        if maker := _maker(pod):
            of.setdefault(maker, {})[pod.key] = None
    return {
        key: f"{maker} ({number} of {len(keys)})"
        for maker, keys in of.items()
        for number, key in enumerate(keys, 1)
    }


def _maker(pod: Pod) -> str:
    """Returns the workload that gave ``pod`` its drawn name ("" if none did)."""
    workload = _workload(pod)
    if not workload or workload.startswith("statefulset/"):
        return ""
    return workload if pod.namespace == "default" else f"{pod.namespace}/{workload}"


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


def name_proxy(report: Report) -> str:
    """Returns the mode, and the release whose behaviour is modelled, or that ran: ``iptables v1.37``,
    ``iptables by kube-proxy v1.37.2``.
    """
    if report.program:
        return f"{report.proxy_mode} by kube-proxy {report.release}"
    return f"{report.proxy_mode} {report.release}".strip()
