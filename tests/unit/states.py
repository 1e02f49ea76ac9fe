"""Makes small cluster states by hand: three nodes, a few Pods, Services as a test wants them.

control-plane 172.18.0.2, worker-1 172.18.0.3, worker-2 172.18.0.4; podCIDRs 10.244.0.0/24, 10.244.1.0/24,
10.244.2.0/24.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from emulator.cluster.state import (
    ClusterState,
    Listener,
    ProxySettings,
    pod_netns,
)
from emulator.flows.flowbook import FlowBook
from emulator.model.flows import Client, Flow
from emulator.net import Address, Prefix, TransportProtocol
from emulator.objects.config import ExternalClient, FlowProtocol
from emulator.objects.kinds import (
    Container,
    ContainerPort,
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ForZone,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from emulator.oracle.expectations import Expectations
from emulator.oracle.parties import (
    address_destination,
    external_client,
    loopback_destination,
    node_client,
    pod_client,
)
from emulator.podnet.kubenet import KUBENET

NODES = ("control-plane", "worker-1", "worker-2")
NODE_IP = {"control-plane": "172.18.0.2", "worker-1": "172.18.0.3", "worker-2": "172.18.0.4"}
BRIDGE_IP = {"control-plane": "10.244.0.1", "worker-1": "10.244.1.1", "worker-2": "10.244.2.1"}
CLIENT, OTHER, WEB_0, WEB_1, OUTSIDE = "10.244.1.2", "10.244.2.2", "10.244.1.3", "10.244.2.3", "203.0.113.10"
WEB_IP, VIP, EXTERNAL_IP, NODE_PORT = "10.96.0.10", "172.18.255.200", "198.51.100.7", 30080


def make_node(name: str, index: int, zone: str = "", more_ips: Sequence[str] = ()) -> Node:
    cidr = f"10.244.{index}.0/24"
    labels = {"kubernetes.io/hostname": name} | ({"topology.kubernetes.io/zone": zone} if zone else {})
    if name == "control-plane":
        labels["node-role.kubernetes.io/control-plane"] = ""
    ips = (f"172.18.0.{index + 2}", *more_ips)
    return Node(
        metadata=ObjectMeta(name=name, labels=labels),
        spec=NodeSpec(podCIDR=cidr, podCIDRs=(cidr,)),
        status=NodeStatus(addresses=tuple(NodeAddress(type="InternalIP", address=ip) for ip in ips)),
    )


def make_pod(
    name: str,
    node: str,
    ip: str = "",
    ports: Sequence[int | tuple[int, TransportProtocol]] = (),
    *,
    labels: Mapping[str, str] | None = None,
) -> Pod:
    """Returns a Pod of namespace default with one container "main"; ports are named "p<number>". No ``ip``:
    hostNetwork.
    """
    pairs: list[tuple[int, TransportProtocol]] = [(p, "TCP") if isinstance(p, int) else p for p in ports]
    declared = tuple(
        ContainerPort(containerPort=number, name=f"p{number}", protocol=protocol)
        for number, protocol in pairs
    )
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default", labels=labels or {}),
        spec=PodSpec(nodeName=node, hostNetwork=not ip, containers=(Container(name="main", ports=declared),)),
        status=PodStatus(podIPs=(PodIP(ip=ip or NODE_IP[node]),)),
    )


def make_service(
    name: str = "web",
    ip: str = WEB_IP,
    ports: Sequence[ServicePort] | None = None,
    *,
    vips: Sequence[LoadBalancerIngress] = (),
    **spec: Any,
) -> Service:
    ports = ports if ports is not None else (ServicePort(port=80, name="http", targetPort=8080),)
    return Service(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=ServiceSpec(clusterIP=ip, clusterIPs=(ip,), ports=tuple(ports), **spec),
        status=ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=tuple(vips))),
    )


def node_port_service(**spec: Any) -> Service:
    return make_service(
        ports=[ServicePort(port=80, name="http", targetPort=8080, nodePort=NODE_PORT)],
        type="NodePort",
        **spec,
    )


def load_balancer_service(ip_mode: Any = "VIP", **spec: Any) -> Service:
    ports = [ServicePort(port=80, name="http", targetPort=8080, nodePort=NODE_PORT)]
    return make_service(
        ports=ports, type="LoadBalancer", vips=[LoadBalancerIngress(ip=VIP, ipMode=ip_mode)], **spec
    )


def make_endpoint(
    ip: str,
    node: str | None = None,
    *,
    ready: bool | None = None,
    serving: bool | None = None,
    terminating: bool | None = None,
    zone: str = "",
    on_node: str = "",
) -> Endpoint:
    hints = EndpointHints(
        forZones=(ForZone(name=zone),) if zone else (), forNodes=(ForZone(name=on_node),) if on_node else ()
    )
    conditions = EndpointConditions(ready=ready, serving=serving, terminating=terminating)
    return Endpoint(addresses=(ip,), nodeName=node, conditions=conditions, hints=hints)


def make_slice(
    *endpoints: Endpoint,
    service: str = "web",
    ports: Sequence[EndpointPort] = (EndpointPort(name="http", port=8080),),
) -> EndpointSlice:
    metadata = ObjectMeta(
        name=f"{service}-1", namespace="default", labels={"kubernetes.io/service-name": service}
    )
    return EndpointSlice(metadata=metadata, endpoints=endpoints, ports=tuple(ports))


ENDPOINT_0, ENDPOINT_1 = make_endpoint(WEB_0, "worker-1"), make_endpoint(WEB_1, "worker-2")
BOTH = make_slice(ENDPOINT_0, ENDPOINT_1)
PODS = (
    make_pod("client", "worker-1", CLIENT, labels={"app": "client"}),
    make_pod("web-0", "worker-1", WEB_0, [8080], labels={"app": "web"}),
    make_pod("other", "worker-2", OTHER, labels={"app": "client"}),
    make_pod("web-1", "worker-2", WEB_1, [8080], labels={"app": "web"}),
    make_pod("api", "control-plane", ports=[6443]),
)


def listeners_of(pods: Sequence[Pod]) -> tuple[Listener, ...]:
    return tuple(
        Listener(
            pod=pod.key,
            netns=pod_netns(pod),
            node=pod.spec.nodeName,
            container=c.name,
            ip=pod.ip,
            port=p.containerPort,
            protocol=p.protocol,
        )
        for pod in pods
        for c in pod.spec.containers
        for p in c.ports
    )


def make_state(
    *services: Service, slices: Sequence[EndpointSlice] = (BOTH,), pods: Sequence[Pod] = PODS, **changes: Any
) -> ClusterState:
    """Returns the state; every declared port is served. ``changes`` replaces fields, ``proxy`` being a
    dictionary of settings.
    """
    proxy = ProxySettings(**{"clusterCIDR": "10.244.0.0/16"} | changes.pop("proxy", {}))
    state = ClusterState(
        name="test",
        seed=0,
        podSubnet=Prefix("10.244.0.0/16"),
        serviceSubnet=Prefix("10.96.0.0/12"),
        hostSubnet=Prefix("172.18.0.0/16"),
        routerIP=Address("172.18.0.1"),
        podNetwork=KUBENET.facts,
        proxy=proxy,
        nodes=tuple(make_node(name, index) for index, name in enumerate(NODES)),
        pods=tuple(pods),
        services=services,
        endpointSlices=tuple(slices),
        clients=(ExternalClient(name="client-1", address=OUTSIDE),),
        listeners=listeners_of(pods),
    )
    return replace(state, **changes)


def make_client(state: ClusterState, who: str) -> Client:
    """Returns the client: "client-1" (external), a node's name, or the name of a Pod of namespace default."""
    if who in state.client:
        return external_client(state.client[who])
    return node_client(state.node[who]) if who in state.node else pod_client(state.pod[f"default/{who}"])


def make_flow(
    state: ClusterState,
    who: str,
    ip: str,
    port: int,
    protocol: FlowProtocol = "TCP",
    via: str = "",
    attempts: int | None = None,
) -> Flow:
    expectations = Expectations(state)
    to = (
        loopback_destination(port, expectations.state.family)
        if ip == "127.0.0.1"
        else address_destination(expectations.owners, Address(ip), port)
    )
    return FlowBook(expectations).add(
        "flow", make_client(state, who), to, protocol, via=via, attempts=attempts
    )
