"""Holds the cluster's state after the controllers: every object complete, every address given. Pure values.

Invariants (the controllers guarantee them, all later rooms rely on them):

- every Node has an InternalIP, and a podCIDR; an InternalIP outside ``hostSubnet`` has routes of its own;
- every Pod of ``pods`` has ``spec.nodeName`` of an existing Node and at least one ``status.podIPs`` entry (a
  hostNetwork Pod has its node's);
- every Service that is proxied has ``clusterIPs``; every port of a NodePort or LoadBalancer Service has a
  ``nodePort`` (unless ``allocateLoadBalancerNodePorts`` is false) and a protocol; ``targetPort`` is set;
- every EndpointSlice belongs to a Service by label, and carries resolved port numbers;
- Services and EndpointSlices are in the order of namespace and name, whatever order they were written in: if
  two Services claim one address and port the first gets it, for rules, balancer and expectations alike;
- an address of ``speakers`` lies in ``hostSubnet`` and belongs to no machine; ``balancerIP`` is set if a
  Service's ``ipMode`` is Proxy;
- names are RFC 1123; no two network namespaces share a name (:func:`pod_netns`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter, is_
from typing import NamedTuple
from zlib import crc32

from ..net import Address, Family, Prefix, TransportProtocol
from ..objects.config import DEFAULT_MODE, ExternalClient, IPVSScheduler, IPVSTimeouts, ProxyMode
from ..objects.kinds import (
    Endpoints,
    EndpointSlice,
    Namespace,
    Node,
    Pod,
    Service,
    Uninterpreted,
    Workload,
)
from ..objects.notices import InputNotice
from ..objects.releases import CURRENT, RELEASES, Release
from ..objects.warnings import ManifestWarning
from .podnetwork import PodNetworkFacts

SWITCH = "switch"  # network namespace of the host network's switch
ROUTER = "router"  # network namespace of the upstream router; external clients are behind it
BALANCER = "balancer"  # network namespace of the load balancer in the path, if there is one
API_SERVER_PORT = 6443
_LONGEST_NETNS = 200  # characters; a file's name has 255 at most, and evidence adds to it
_BY_NAME = attrgetter("metadata.namespace", "metadata.name")


def pod_netns(pod: Pod) -> str:
    """Returns the network namespace of ``pod``: its own, or its node's with hostNetwork.

    "_" occurs in no Kubernetes name, so a Pod's namespace never has the name of a node's. It is the name of a
    file: a long one ends with a checksum instead.
    """
    if pod.spec.hostNetwork:
        return pod.spec.nodeName
    name = f"{pod.namespace}_{pod.name}"
    if len(name) <= _LONGEST_NETNS:
        return name
    return f"{name[: _LONGEST_NETNS - 9]}.{crc32(name.encode()):08x}"


class Program(NamedTuple):
    """Names a real kube-proxy that runs on every node in place of podwire's rules: its absolute path, and the
    release that it says it is (``v1.37.2``).
    """

    path: str
    release: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """Holds the settings of every node's kube-proxy. ``localMode`` "" means that there is no local-traffic
    detector. ``program`` None: podwire makes the rules. ``release`` is the one whose behaviour is modelled
    (:mod:`emulator.objects.releases`).
    """

    mode: ProxyMode = DEFAULT_MODE
    localMode: str = "ClusterCIDR"  # "", ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix
    clusterCIDR: str = ""
    nodePortAddresses: tuple[str, ...] = ()
    masqueradeAll: bool = False
    localhostNodePorts: bool = True
    scheduler: IPVSScheduler = "rr"
    ipvsTimeouts: IPVSTimeouts = IPVSTimeouts()
    strictARP: bool = False
    program: Program | None = None
    release: str = CURRENT

    @property
    def behaviour(self) -> Release:
        """Returns what depends on the release."""
        return RELEASES[self.release]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """Holds kube-proxy's answer at a Service's healthCheckNodePort on one node. ``service`` is
    namespace/name.
    """

    service: str
    localEndpoints: int  # ready ones on this node


class Holder(NamedTuple):
    """Names the container that has a port, and its Pod ("" if that is the Pod which asks)."""

    container: str
    pod: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Describes one port that a container is to serve, or kube-proxy for a health check. ``ip`` is the Pod's
    (hostNetwork: the node's).
    """

    pod: str  # namespace/name; "" for kube-proxy, which is no Pod here
    netns: str
    node: str
    container: str
    ip: Address
    port: int
    protocol: TransportProtocol
    refused: Holder | None = None  # the holder of its port, for which it cannot bind
    healthCheck: HealthCheck | None = None


@dataclass(frozen=True, slots=True)
class WaitingPod:
    """Describes a Pod that runs nowhere. ``lost``: its node is gone, and its address may still be an
    endpoint.
    """

    pod: Pod
    reason: str
    lost: bool = False


@dataclass(frozen=True, kw_only=True)
class ClusterState:
    name: str
    seed: int
    podSubnet: Prefix
    serviceSubnet: Prefix
    hostSubnet: Prefix
    routerIP: Address
    podNetwork: PodNetworkFacts
    # the Pods of a dump have addresses of other prefixes: the bridges' are not the cluster's
    madeUpBridges: bool = False
    proxy: ProxySettings
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    services: tuple[Service, ...]
    endpointSlices: tuple[EndpointSlice, ...]
    waiting: tuple[WaitingPod, ...] = ()  # Pods that run nowhere: they are not among ``pods``
    clients: tuple[ExternalClient, ...]
    listeners: tuple[Listener, ...]
    # Pod key → containers that run their real command
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # load-balancer address → the node that answers ARP for it
    speakers: Mapping[Address, str] = field(default_factory=dict)
    balancerIP: Address | None = None  # the balancer's own address on the host network
    # Service key → nodes whose node ports the balancer connects to
    balanced: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # Pod key, port and protocol that FlowChecks dial by the Pod's name
    dialled: tuple[tuple[str, int, TransportProtocol], ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    workloads: tuple[Workload, ...] = ()
    endpoints: tuple[Endpoints, ...] = ()
    uninterpreted: tuple[Uninterpreted, ...] = ()  # objects of kinds without a meaning here
    notices: tuple[InputNotice, ...] = ()
    warnings: tuple[ManifestWarning, ...] = ()

    def __post_init__(self) -> None:
        for name in ("services", "endpointSlices"):
            given = getattr(self, name)
            ordered = sorted(given, key=_BY_NAME)
            if not all(map(is_, given, ordered)):
                object.__setattr__(self, name, tuple(ordered))

    @property
    def family(self) -> Family:
        """Returns the address family of Services, and so of rules."""
        return self.serviceSubnet.family

    @cached_property
    def node(self) -> Mapping[str, Node]:
        return {n.name: n for n in self.nodes}

    @cached_property
    def pod(self) -> Mapping[str, Pod]:
        """Returns the Pods by ``namespace/name``."""
        return {p.key: p for p in self.pods}

    @cached_property
    def service(self) -> Mapping[str, Service]:
        """Returns the Services by ``namespace/name``."""
        return {s.key: s for s in self.services}

    @cached_property
    def commanded_ports(self) -> Mapping[tuple[str, int, TransportProtocol], tuple[str, str]]:
        """Returns, by network namespace, port and protocol, the Pod key and the container whose real command
        should serve there. These are the ports that the containers declare. The first container of a Pod also
        gets the ports that no container declares, but EndpointSlices lead to or FlowChecks dial.
        """
        if not self.commands:
            return {}
        ports: dict[tuple[str, int, TransportProtocol], tuple[str, str]] = {}
        for key, names in self.commands.items():
            pod = self.pod[key]
            for container in (*pod.spec.initContainers, *pod.spec.containers):
                for port in container.ports if container.name in names else ():
                    ports.setdefault(
                        (pod_netns(pod), port.containerPort, port.protocol), (key, container.name)
                    )
        taken = {
            (listener.netns, listener.port, listener.protocol)
            for listener in self.listeners
            if not listener.refused
        }
        for key, number, protocol in (*self._ports_of_slices(), *self.dialled):
            if key not in self.commands:
                continue
            place = (pod_netns(self.pod[key]), number, protocol)
            if place not in taken:
                ports.setdefault(place, (key, self.commands[key][0]))
        return ports

    def _ports_of_slices(self) -> Iterator[tuple[str, int, TransportProtocol]]:
        """Yields Pod key, port and protocol of every endpoint with a real command."""
        for item in self.endpointSlices:
            for ip in (ip for endpoint in item.endpoints for ip in endpoint.addresses):
                pod = self.pod_by_ip.get(ip)
                for port in item.ports if pod and pod.key in self.commands else ():
                    if pod and port.port:
                        yield pod.key, port.port, port.protocol

    @cached_property
    def client(self) -> Mapping[str, ExternalClient]:
        return {c.name: c for c in self.clients}

    @cached_property
    def pod_by_ip(self) -> Mapping[str, Pod]:
        """Returns the Pods with a network of their own, by each of their addresses."""
        return {ip: p for p in self.pods if not p.spec.hostNetwork for ip in p.ips}

    @cached_property
    def node_by_ip(self) -> Mapping[str, Node]:
        return {ip: n for n in self.nodes for ip in n.internalIPs}

    @cached_property
    def other_pod_networks(self) -> tuple[Prefix, ...]:
        """Returns podCIDRs and Pod addresses outside ``podSubnet``, which dumps of extended clusters have;
        sorted as text.
        """
        prefixes = {Prefix(self.podCIDR(node.name)) for node in self.nodes}
        prefixes |= {ip.host for pod in self.pods if not pod.spec.hostNetwork for ip in pod.ips}
        return tuple(prefix for prefix in sorted(prefixes, key=str) if not prefix.is_within(self.podSubnet))

    @cached_property
    def other_node_networks(self) -> tuple[Prefix, ...]:
        """Returns the nodes' addresses outside ``hostSubnet``."""
        addresses = [ip for node in self.nodes for ip in node.internalIPs]
        return tuple(address.host for address in addresses if address not in self.hostSubnet)

    @cached_property
    def pods_on(self) -> Mapping[str, tuple[Pod, ...]]:
        """Returns the Pods of each node, in the order of ``pods``."""
        rows: dict[str, list[Pod]] = {n.name: [] for n in self.nodes}
        for pod in self.pods:
            rows[pod.spec.nodeName].append(pod)
        return {name: tuple(pods) for name, pods in rows.items()}

    @cached_property
    def slices_of(self) -> Mapping[str, tuple[EndpointSlice, ...]]:
        """Returns the EndpointSlices of each Service, by ``namespace/name``."""
        rows: dict[str, list[EndpointSlice]] = {}
        for item in self.endpointSlices:
            rows.setdefault(f"{item.metadata.namespace}/{item.serviceName}", []).append(item)
        return {key: tuple(slices) for key, slices in rows.items()}

    def balancer_ips(self, service: Service) -> tuple[Address, ...]:
        """Returns the addresses of ``service`` that the balancer has: those of ipMode Proxy that no other
        machine has.
        """
        ips = service.proxy_ips(self.family) if self.balancerIP else ()
        return tuple(
            ip
            for ip in ips
            if ip not in self.node_by_ip
            and ip != self.routerIP
            and all(ip != c.address for c in self.clients)
        )

    def is_host(self, ip: str) -> bool:
        """Returns whether ``ip`` is an address of the host network."""
        return ip in self.hostSubnet

    def podCIDR(self, node: str) -> str:
        """Returns the (first) podCIDR of ``node``."""
        spec = self.node[node].spec
        return spec.podCIDRs[0] if spec.podCIDRs else spec.podCIDR

    def gateway(self, node: str) -> Address:
        """Returns the address of ``node`` in the Pod network: its Pods' gateway."""
        return self.podNetwork.gateway(Prefix(self.podCIDR(node)))
