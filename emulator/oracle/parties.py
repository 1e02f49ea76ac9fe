"""Names clients and destinations, and finds the owner of each address of the cluster.

Pure; names and labels are those that reports show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..cluster.state import (
    BALANCER,
    ROUTER,
    ClusterState,
    pod_netns,
)
from ..model.flows import Client, Destination, FlowKind, ServiceAddress
from ..net import Address, Endpoint, Family, is_loopback, localhost
from ..objects.config import ExternalClient
from ..objects.kinds import Node, Pod, Service, ServicePort
from ..objects.references import ObjectRef, node_ref


@dataclass(frozen=True, slots=True)
class Owner:
    """Describes the machine or Pod that has an address: ``netns`` answers for it, ``node`` is the node it is
    (on), "" outside the cluster.
    """

    kind: Literal["pod", "node", "external", "router", "balancer"]
    netns: str
    ref: ObjectRef
    node: str = ""

    @property
    def label(self) -> str:
        """Returns the name that reports show: ``pod default/web``, ``node worker-1``, ``router``."""
        return f"{self.kind} {self.ref.name}" if self.kind in ("pod", "node", "external") else self.ref.name


def find_owners(state: ClusterState) -> Mapping[str, Owner]:
    """Returns the owner of every address that is configured somewhere: Pods', nodes' (their bridges' too),
    external clients', the router's and the balancer's.
    """
    balancer = Owner("balancer", BALANCER, ObjectRef("Balancer", BALANCER))
    owners: dict[str, Owner] = {
        ip: balancer for service in state.services for ip in state.balancer_ips(service)
    }
    owners |= {state.balancerIP: balancer} if state.balancerIP else {}
    owners[state.routerIP] = Owner("router", ROUTER, ObjectRef("Router", ROUTER))
    owners |= {
        c.address: Owner("external", c.name, ObjectRef("ExternalClient", c.name)) for c in state.clients
    }
    for node in state.nodes:
        owner = Owner("node", node.name, node_ref(node.name), node.name)
        owners |= dict.fromkeys((state.gateway(node.name), *node.internalIPs), owner)
    for ip, pod in state.pod_by_ip.items():
        owners[ip] = Owner("pod", pod_netns(pod), ObjectRef("Pod", pod.key), pod.spec.nodeName)
    return owners


def pod_client(pod: Pod) -> Client:
    """Returns a Pod as a client; with hostNetwork it is its node in everything but its name."""
    kind: Literal["pod", "node"] = "node" if pod.spec.hostNetwork else "pod"
    return Client(kind=kind, label=f"pod {pod.key}", netns=pod_netns(pod), ip=pod.ip, node=pod.spec.nodeName)


def node_client(node: Node) -> Client:
    return Client(
        kind="node",
        label=f"node {node.name}",
        netns=node.name,
        ip=Address(node.internalIPs[0]),
        node=node.name,
    )


def external_client(client: ExternalClient) -> Client:
    return Client(
        kind="external", label=f"external {client.name}", netns=client.name, ip=Address(client.address)
    )


def balancer_client(state: ClusterState) -> Client:
    """Returns the load balancer in the path as nodes see it: their client, from outside the cluster."""
    if state.balancerIP is None:
        raise ValueError("there is no balancer")
    return Client(kind="external", label=BALANCER, netns=BALANCER, ip=state.balancerIP)


def address_destination(owners: Mapping[str, Owner], ip: Address, port: int) -> Destination:
    """Returns ``ip:port`` (``port`` 0: ICMP) named after the owner of the address."""
    owner = owners.get(ip)
    how: Literal["pod", "node", "ip"] = (
        owner.kind if owner and (owner.kind == "pod" or owner.kind == "node") else "ip"
    )
    name = owner.label if owner else ip
    return Destination(label=f"{name}:{port}" if port else name, ip=ip, port=port, how=how)


def pod_destination(pod: Pod, port: int) -> Destination:
    """Returns ``pod``'s own address (a hostNetwork Pod's is its node's); ``port`` 0: ICMP."""
    label = f"pod {pod.key}"
    return Destination(
        label=f"{label}:{port}" if port else label,
        ip=pod.ip,
        port=port,
        how="node" if pod.spec.hostNetwork else "pod",
    )


def loopback_destination(port: int, family: Family) -> Destination:
    return Destination(
        label=f"localhost:{port}" if port else "localhost", ip=localhost(family), port=port, how="loopback"
    )


def service_destination(
    service: Service, port: ServicePort, how: ServiceAddress, ip: Address, node: str = ""
) -> Destination:
    """Returns a Service's port behind one of its addresses; for a node port ``ip`` is an address of
    ``node``.
    """
    number = port.port
    label = f"svc {service.key}:{number}"
    if how == "nodePort":
        number = port.nodePort or 0
        label = f"node {node}:{number}" if not is_loopback(ip) else f"localhost:{number}"
    elif how != "clusterIP":
        label = f"{how} of svc {service.key} ({Endpoint.of(ip, number)})"
    return Destination(label=label, ip=ip, port=number, service=service.key, how=how)


def health_check_destination(service: Service, ip: Address, node: str) -> Destination:
    """Returns the healthCheckNodePort of ``service`` at ``ip``, an address of ``node``."""
    port = service.spec.healthCheckNodePort or 0
    where = f"node {node}" if not is_loopback(ip) else "localhost"
    return Destination(
        label=f"health check of svc {service.key} at {where}:{port}",
        ip=ip,
        port=port,
        service=service.key,
        how="healthCheck",
    )


_KINDS: Mapping[tuple[str, str], FlowKind] = {
    ("pod", "service"): "pod-to-service",
    ("node", "service"): "node-to-service",
    ("external", "service"): "external-to-service",
    ("pod", "loopback"): "container-to-container",
    ("pod", "pod"): "pod-to-pod",
    ("node", "pod"): "node-to-pod",
    ("pod", "node"): "pod-to-node",
    ("external", "pod"): "external-to-pod",
    ("pod", "external"): "pod-to-external",
}


def communication_kind(owners: Mapping[str, Owner], client: Client, to: Destination) -> FlowKind:
    """Returns the kind of communication that a flow is, by its client and its destination."""
    if to.how == "healthCheck":
        return "health-check"
    owner = owners.get(to.ip)
    what: str = "service" if to.how in ("clusterIP", "nodePort", "externalIP", "loadBalancer") else to.how
    if to.how == "ip" and owner:
        what = owner.kind
    return _KINDS.get((client.kind, what), "other")
