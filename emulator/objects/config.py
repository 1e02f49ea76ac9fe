"""Defines the cluster's shape, the proxy's settings and FlowChecks: the user's input beside Kubernetes' own
objects.

Frozen values, no effects. ``Inventory`` is everything that one run was given, as loading leaves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, NamedTuple

from emulator.objects.kinds import (
    Endpoints,
    EndpointSlice,
    Loaded,
    Namespace,
    Node,
    ObjectMeta,
    Pod,
    Service,
    Taint,
    Uninterpreted,
    Workload,
)
from emulator.objects.metallb import IPAddressPool, L2Advertisement

ProxyMode = Literal["iptables", "nftables", "ipvs", "userspace"]
DEFAULT_MODE: ProxyMode = "iptables"
COMING_MODE: ProxyMode = "nftables"  # Kubernetes 1.40 makes it the default
# modes whose kube-proxy answers no healthCheckNodePort
WITHOUT_HEALTH_CHECKS: frozenset[ProxyMode] = frozenset({"userspace"})
# modes that give every node the addresses of Services
BINDING_MODES: frozenset[ProxyMode] = frozenset({"ipvs"})
# a module ip_vs_… of the kernel each
IPVSScheduler = Literal["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh"]
Outcome = Literal["delivered", "rejected", "dropped", "unreachable"]
# delivered, but answered from another address than the one that was dialled
ASYMMETRIC: Literal["asymmetric"] = "asymmetric"
WantedOutcome = Literal["delivered", "asymmetric", "rejected", "dropped", "unreachable"]
FlowProtocol = Literal["TCP", "UDP", "ICMP", "SCTP"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShape:
    """Describes an entry of ``nodes`` of a ``Cluster``; ``name`` "" is filled in as kind does it
    (control-plane, worker, worker-1, worker-2…). ``role: etcd`` is ours: an etcd member of its own.
    ``roleTaint`` false leaves out the taint of the role.
    """

    role: Literal["control-plane", "worker", "etcd"] = "worker"
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    roleTaint: bool = True
    podCIDR: str = ""
    addresses: tuple[str, ...] = ()  # InternalIPs, the primary one first


@dataclass(frozen=True, slots=True, kw_only=True)
class Networking:
    """Holds the networks; ``None`` / "" means unset: a controller chooses the default."""

    ipFamily: Literal["ipv4", "ipv6", "dual"] = "ipv4"
    podSubnet: str = ""  # 10.244.0.0/16
    serviceSubnet: str = ""  # 10.96.0.0/12
    hostSubnet: str = ""  # 172.18.0.0/16
    podNetwork: str = "kubenet"
    kubeProxyMode: ProxyMode | None = None  # "iptables"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalClient:
    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedPort:
    port: int
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalServer(ExternalClient):
    """Describes a machine outside the cluster that serves ``ports``: a database that a Service without a
    selector leads to, say. It may ask, too.
    """

    ports: tuple[ServedPort, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancerPool:
    """Describes the addresses of LoadBalancer Services: announced by a node (``L2``, as MetalLB's) or held by
    a balancer in the path (``Proxy``). ``addresses`` are prefixes and ranges; () is unset: some at the end of
    the host network.
    """

    addresses: tuple[str, ...] = ()
    mode: Literal["L2", "Proxy"] = "L2"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """Holds ``kind: Cluster`` of ``podwire.dev/v1alpha1`` or ``kind.x-k8s.io/v1alpha4``."""

    metadata: ObjectMeta = ObjectMeta()
    nodes: tuple[NodeShape, ...] = ()
    networking: Networking = Networking()
    externalClients: tuple[ExternalClient, ...] = ()
    externalServers: tuple[ExternalServer, ...] = ()
    loadBalancer: LoadBalancerPool | None = None


class IPVSTimeouts(NamedTuple):
    """Holds the seconds after which IPVS drops a silent connection: an open TCP one, one that is being
    closed, a UDP client. 0: the kernel's own time-out.
    """

    tcp: int = 0
    tcpFin: int = 0
    udp: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IPTablesConfig:
    masqueradeAll: bool = False
    localhostNodePorts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NFTablesConfig:
    masqueradeAll: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IPVSConfig:
    """Holds ``ipvs`` of a KubeProxyConfiguration. ``scheduler`` "" is rr; a time-out of less than a second
    leaves the kernel's as it is.
    """

    scheduler: IPVSScheduler | Literal[""] = ""
    strictARP: bool = False
    tcpTimeout: str = "0s"
    tcpFinTimeout: str = "0s"
    udpTimeout: str = "0s"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeProxyConfiguration:
    """Holds ``kubeproxy.config.k8s.io/v1alpha1``; unset ``mode`` is iptables, unset ``clusterCIDR`` is the
    Pod subnet unless ``detectLocalMode`` needs none.
    """

    mode: ProxyMode | Literal[""] = ""
    clusterCIDR: str | None = None
    detectLocalMode: Literal["", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"] = ""
    nodePortAddresses: tuple[str, ...] = ()
    iptables: IPTablesConfig = IPTablesConfig()
    nftables: NFTablesConfig = NFTablesConfig()
    ipvs: IPVSConfig = IPVSConfig()

    def masquerades_all(self, mode: ProxyMode) -> bool:
        """Returns ``masqueradeAll`` of the section that ``mode`` reads."""
        return (self.nftables if mode == "nftables" else self.iptables).masqueradeAll


# --- FlowCheck --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFrom:
    """Holds exactly one of ``pod``, ``podSelector``, ``node``, ``external``. ``namespace`` goes with the
    first two.
    """

    pod: str = ""
    podSelector: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    external: str = ""
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTo:
    """Holds exactly one of ``service`` + port, ``pod`` + port, ``podSelector`` + port, ``node`` + nodePort
    (or port, or healthCheck), ``ip`` + port, ``loadBalancer`` + port, ``external`` (a machine outside the
    cluster) + port. For ICMP no port is needed. A Service's or Pod's port may be named. ``healthCheck`` is
    the Service whose healthCheckNodePort is dialled.
    """

    service: str = ""
    pod: str = ""
    podSelector: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    ip: str = ""
    loadBalancer: str = ""
    external: str = ""
    namespace: str = "default"
    port: int | str | None = None
    nodePort: int | None = None
    healthCheck: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowExpect:
    """Holds an expectation; an unset field is the objects' promise. ``outcome`` asymmetric: the request
    arrives, and its reply comes from the endpoint's own address instead of the dialled one, so that the
    client gets no connection. ``source`` is "preserved", "node", "balancer" (the one in the path of an
    address of ipMode Proxy) or an address. ``status`` and ``localEndpoints``: the answer of a
    healthCheckNodePort. ``modes``: the expectation in these modes, in place of all the rest.
    """

    outcome: WantedOutcome | None = None
    source: str | None = None
    backends: tuple[str, ...] | None = None
    status: int | None = None
    localEndpoints: int | None = None
    modes: Mapping[ProxyMode, FlowExpect] = field(default_factory=dict)

    def under(self, mode: ProxyMode) -> FlowExpect:
        """Returns the expectation in ``mode``."""
        return self.modes.get(mode) or replace(self, modes={})

    def each(self) -> Iterator[tuple[str, FlowExpect]]:
        """Yields the expectations of all modes, each with its place in the flow."""
        yield "expect", self
        yield from ((f"expect.modes.{mode}", expect) for mode, expect in self.modes.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSpec:
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"alias_generator": lambda name: name.rstrip("_")}

    name: str
    from_: FlowFrom  # written ``from``
    to: FlowTo
    via: str = ""
    protocol: FlowProtocol = "TCP"
    attempts: int | None = None
    connection: str = ""  # flows of one FlowCheck with the same one share a socket, and so a source port
    expect: FlowExpect = FlowExpect()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDelete:
    """Describes ``kubectl delete KIND NAME``, its dependents included. ``namespace`` has no effect for a Node
    or a Namespace.
    """

    kind: Literal[
        "Node",
        "Namespace",
        "Pod",
        "Deployment",
        "ReplicaSet",
        "ReplicationController",
        "StatefulSet",
        "DaemonSet",
        "Job",
        "Service",
        "EndpointSlice",
        "Endpoints",
    ]
    name: str
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepScale:
    """Describes ``kubectl scale KIND NAME --replicas N``."""

    kind: Literal["Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"]
    name: str
    replicas: int
    namespace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTerminate:
    """Describes a termination: the Pod gets its deletionTimestamp and goes on running, not ready any more;
    ``serving``: its readiness probe still succeeds.
    """

    pod: str
    namespace: str = "default"
    serving: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStep:
    """Describes one change of the cluster, then ``wait`` seconds, then flows. ``apply`` are manifests as they
    were written.
    """

    name: str = ""  # "": step 1, step 2…
    delete: tuple[StepDelete, ...] = ()
    apply: tuple[Mapping[str, Any], ...] = ()
    scale: StepScale | None = None
    terminate: StepTerminate | None = None
    wait: float = 0
    flows: tuple[FlowSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowCheck:
    """Holds flows, then steps in time with flows of their own. ``applied`` has for each step the objects of
    its manifests.

    The flows of a step are a FlowCheck of the state that the step leads to: ``step`` is its name then,
    ``path`` where its flows are written.
    """

    metadata: ObjectMeta
    flows: tuple[FlowSpec, ...] = ()
    steps: tuple[FlowStep, ...] = ()
    applied: tuple[tuple[Loaded[Any], ...], ...] = ()
    step: str = ""
    path: str = "spec"


# --- everything that a run was given ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Holds the result of loading: valid objects, each with its origin, and notices of what was left out.
    ``uninterpreted`` are objects of kinds without a meaning here.

    ``notices`` are whole sentences for the user ("left out: 3 ConfigMap, 1 Ingress").
    """

    name: str
    nodes: tuple[Loaded[Node], ...] = ()
    namespaces: tuple[Loaded[Namespace], ...] = ()
    pods: tuple[Loaded[Pod], ...] = ()
    workloads: tuple[Loaded[Workload], ...] = ()
    services: tuple[Loaded[Service], ...] = ()
    endpointSlices: tuple[Loaded[EndpointSlice], ...] = ()
    endpoints: tuple[Loaded[Endpoints], ...] = ()
    uninterpreted: tuple[Loaded[Uninterpreted], ...] = ()
    addressPools: tuple[Loaded[IPAddressPool], ...] = ()
    l2Advertisements: tuple[Loaded[L2Advertisement], ...] = ()
    cluster: Loaded[ClusterConfig] | None = None
    proxy: Loaded[KubeProxyConfiguration] | None = None
    flowChecks: tuple[Loaded[FlowCheck], ...] = ()
    notices: tuple[str, ...] = ()
