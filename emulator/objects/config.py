"""Defines the cluster's shape, the proxy's settings and FlowChecks: the user's input beside Kubernetes' own
objects.

Frozen values, no effects. ``Inventory`` is everything that one run was given, as loading leaves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from .kinds import (
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
from .metallb import IPAddressPool, L2Advertisement
from .notices import InputNotice
from .proxymodes import BINDING_MODES as BINDING_MODES
from .proxymodes import COMING_MODE as COMING_MODE
from .proxymodes import DEFAULT_MODE as DEFAULT_MODE
from .proxymodes import WITHOUT_HEALTH_CHECKS as WITHOUT_HEALTH_CHECKS
from .proxymodes import ProxyMode as ProxyMode
from .warnings import ManifestWarning

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
class DetectLocalConfig:
    """Names the interfaces of local Pods, in the modes BridgeInterface and InterfaceNamePrefix. The Pod
    network here has names of its own.
    """

    bridgeInterface: str = ""
    interfaceNamePrefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeProxyConfiguration:
    """Holds ``kubeproxy.config.k8s.io/v1alpha1``; unset ``mode`` is iptables, unset ``clusterCIDR`` is the
    Pod subnet unless ``detectLocalMode`` needs none.
    """

    mode: ProxyMode | Literal[""] = ""
    clusterCIDR: str | None = None
    detectLocalMode: Literal["", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"] = ""
    detectLocal: DetectLocalConfig = DetectLocalConfig()
    nodePortAddresses: tuple[str, ...] = ()
    iptables: IPTablesConfig = IPTablesConfig()
    nftables: NFTablesConfig = NFTablesConfig()
    ipvs: IPVSConfig = IPVSConfig()

    def masquerades_all(self, mode: ProxyMode) -> bool:
        """Returns ``masqueradeAll`` of the section that ``mode`` reads."""
        return (self.nftables if mode == "nftables" else self.iptables).masqueradeAll


# --- FlowCheck --------------------------------------------------------------------------------------------
# A field's text is its description in the JSON Schema, the CustomResourceDefinition and docs/flowcheck.md.


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFrom:
    """Names the client: exactly one of ``pod``, ``podSelector``, ``node`` and ``external``."""

    pod: Annotated[str, "A Pod by name."] = ""
    podSelector: Annotated[Mapping[str, str], "Labels: each Pod that has them all is a client."] = field(
        default_factory=dict
    )
    node: Annotated[str, "A node by name: a process in its network namespace."] = ""
    external: Annotated[str, "A client outside the cluster, by its name in the Cluster."] = ""
    namespace: Annotated[str, "The namespace of the Pods."] = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTo:
    """Names the destination: exactly one of ``service``, ``pod``, ``podSelector``, ``node``, ``ip``,
    ``loadBalancer`` and ``external``, with a port unless the protocol is ICMP.
    """

    service: Annotated[str, "A Service by name: its ClusterIP is dialled."] = ""
    pod: Annotated[str, "A Pod by name: its own address is dialled."] = ""
    podSelector: Annotated[Mapping[str, str], "Labels: each Pod that has them all is dialled."] = field(
        default_factory=dict
    )
    node: Annotated[str, "A node by name, with nodePort, port or healthCheck."] = ""
    ip: Annotated[str, "An address."] = ""
    loadBalancer: Annotated[str, "A Service by name: its load-balancer address is dialled."] = ""
    external: Annotated[str, "A client or server outside the cluster, by its name in the Cluster."] = ""
    namespace: Annotated[str, "The namespace of the Service or Pods."] = "default"
    port: Annotated[int | str | None, "A number, or the name of a port of the Service or Pod."] = None
    nodePort: Annotated[int | None, "A node port; goes with node."] = None
    healthCheck: Annotated[str, "The Service whose healthCheckNodePort is asked; goes with node."] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowExpect:
    """Holds an expectation. Everything may be left out: what is not said is what the objects promise."""

    outcome: Annotated[
        WantedOutcome | None,
        "How it ends. asymmetric: the request arrives, and its reply comes from the endpoint's own address "
        "instead of the one dialled, so the client gets no connection.",
    ] = None
    source: Annotated[
        str | None,
        "The address that the server sees: preserved (the client's own), node, balancer (the one in the path "
        "of an address of ipMode Proxy), or an address.",
    ] = None
    backends: Annotated[
        tuple[str, ...] | None, "The Pods that are met, each NAMESPACE/NAME: all of these and no other."
    ] = None
    status: Annotated[int | None, "The HTTP status that a healthCheckNodePort answers."] = None
    localEndpoints: Annotated[
        int | None, "The number of local endpoints that a healthCheckNodePort tells."
    ] = None
    modes: Annotated[
        Mapping[ProxyMode, FlowExpect],
        "By mode of kube-proxy: the expectation there, in place of all the rest.",
    ] = field(default_factory=dict)

    def under(self, mode: ProxyMode) -> FlowExpect:
        """Returns the expectation in ``mode``."""
        return self.modes.get(mode) or replace(self, modes={})

    def each(self) -> Iterator[tuple[str, FlowExpect]]:
        """Yields the expectations of all modes, each with its place in the flow."""
        yield "expect", self
        yield from ((f"expect.modes.{mode}", expect) for mode, expect in self.modes.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSpec:
    """Describes a flow: one client that dials one destination, once or several times."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"alias_generator": lambda name: name.rstrip("_")}

    name: Annotated[
        str,
        "The name under which the flow is reported; unlike the others of the FlowCheck. Left out: its ends, "
        "as in pod client → service web:80.",
    ] = ""
    from_: Annotated[FlowFrom, "The client."]  # written ``from``
    to: Annotated[FlowTo, "The destination."]
    via: Annotated[str, "The node through which an external client's packets enter the cluster."] = ""
    protocol: Annotated[FlowProtocol, "The protocol."] = "TCP"
    attempts: Annotated[
        int | None,
        "How often it is sent. Left out: until every endpoint that is possible has answered, and often "
        "enough to meet one too many.",
    ] = None
    connection: Annotated[
        str, "Flows of one FlowCheck with the same connection share one socket, and so its source port."
    ] = ""
    expect: Annotated[FlowExpect, "The expectation."] = FlowExpect()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDelete:
    """Deletes an object with its dependents, as ``kubectl delete KIND NAME`` does."""

    kind: Annotated[
        Literal[
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
        ],
        "The object's kind.",
    ]
    name: Annotated[str, "The object's name."]
    namespace: Annotated[str, "The object's namespace; a Node or a Namespace has none."] = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepScale:
    """Scales a workload, as ``kubectl scale KIND NAME --replicas N`` does."""

    kind: Annotated[
        Literal["Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"], "The workload's kind."
    ]
    name: Annotated[str, "The workload's name."]
    replicas: Annotated[int, "The number of Pods wanted."]
    namespace: Annotated[str, "The workload's namespace."] = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTerminate:
    """Gives Pods their deletionTimestamp: they go on running, and are ready no more. Exactly one of ``pod``
    and ``podSelector``.
    """

    pod: Annotated[str, "A Pod by name."] = ""
    podSelector: Annotated[
        Mapping[str, str], "Labels: each Pod that has them all, such as those of a Deployment."
    ] = field(default_factory=dict)
    namespace: Annotated[str, "The namespace of the Pods."] = "default"
    serving: Annotated[bool, "If true, its readiness probe still succeeds."] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRollout:
    """Rolls a Deployment out, as ``kubectl set image`` and ``kubectl rollout restart`` do, and waits as
    ``kubectl rollout status`` does. Exactly one of ``image`` and ``restart``.
    """

    deployment: Annotated[str, "The Deployment's name."]
    namespace: Annotated[str, "The Deployment's namespace."] = "default"
    image: Annotated[str, "The new image of its container."] = ""
    container: Annotated[str, "The container that gets the image. Left out: the first."] = ""
    restart: Annotated[bool, "If true, its Pods are made anew, with the same image."] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTraffic:
    """Sends the step's flows steadily while it changes the cluster, each request over a connection of its
    own.
    """

    rate: Annotated[float, "How many requests a second each flow sends."] = 20
    maxLost: Annotated[int, "How many requests of a flow may be lost."] = 0
    timeout: Annotated[float, "A request without an answer for so many seconds is lost."] = 1
    keepAlive: Annotated[bool, "If true, a flow sends over one connection as long as it answers."] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStep:
    """Describes one change of the cluster, then flows."""

    name: Annotated[str, "The name under which the step is reported. Left out: step 1, step 2…"] = ""
    delete: Annotated[tuple[StepDelete, ...], "The objects to delete."] = ()
    apply: Annotated[
        tuple[Mapping[str, Any], ...], "The manifests to apply, whole: each replaces the object of its name."
    ] = ()
    scale: Annotated[StepScale | None, "The workload to scale."] = None
    terminate: Annotated[StepTerminate | None, "The Pods to terminate."] = None
    rollout: Annotated[StepRollout | None, "The Deployment to roll out."] = None
    traffic: Annotated[StepTraffic | None, "The traffic while a roll-out goes on."] = None
    wait: Annotated[float, "The seconds between the change and the flows."] = 0
    flows: Annotated[tuple[FlowSpec, ...], "The flows to send then."] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowCheck:
    """Holds flows, then steps in time with flows of their own. ``applied`` has for each step the objects of
    its manifests.

    The flows of a step are a FlowCheck of the state that the step leads to: ``step`` is its name then,
    ``path`` where its flows are written. ``derive``: the flows that the objects call for are sent as well, at
    the beginning.
    """

    metadata: ObjectMeta
    derive: bool = False
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
    notices: tuple[InputNotice, ...] = ()
    warnings: tuple[ManifestWarning, ...] = ()

    @property
    def derives(self) -> bool:
        """Returns whether some FlowCheck wants the flows that the objects call for as well."""
        return any(loaded.object.derive for loaded in self.flowChecks)

    def deriving(self) -> Inventory:
        """Returns the same with ``derive: true`` in every FlowCheck."""
        checks = tuple(
            replace(loaded, object=replace(loaded.object, derive=True)) for loaded in self.flowChecks
        )
        return replace(self, flowChecks=checks)
