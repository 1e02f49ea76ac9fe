"""Defines the Kubernetes objects that podwire reads, as frozen values with Kubernetes' own field names.

Field meanings and defaults are those of the Kubernetes API reference (core/v1, apps/v1, discovery.k8s.io/v1).
Only the fields that have a meaning here are typed; the manifest as it came is kept beside the typed view
(:class:`Loaded`), because a live API gives it back unchanged.

A field of the API with an address or a prefix is a ``str`` in canonical form; a property that answers for one
is a :class:`~emulator.net.Address`. The same types serve before and after the room ``controllers``, which
only fills in the fields that are empty (``nodeName``, ``podIPs``, ``clusterIPs``, ``nodePort``…).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

from ..net import Address, Family, TransportProtocol, addresses_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerReference:
    kind: str
    name: str
    uid: str = ""
    controller: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMeta:
    """Holds metadata. ``namespace`` is "" for cluster-scoped objects; loading sets "default" for namespaced
    ones without it.
    """

    name: str = ""
    generateName: str = ""
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ownerReferences: tuple[OwnerReference, ...] = ()
    creationTimestamp: str = ""  # as it was written: what is made here has none
    deletionTimestamp: str | None = None
    uid: str = ""


class _Namespaced:
    """Provides the name in a namespace."""

    __slots__ = ()
    metadata: ObjectMeta

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def key(self) -> str:
        """Returns ``namespace/name``, the name in kubectl and our reports."""
        return f"{self.metadata.namespace}/{self.metadata.name}"


# --- Node, Namespace -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    key: str
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelectorRequirement:
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelector:
    matchLabels: Mapping[str, str] = field(default_factory=dict)
    matchExpressions: tuple[LabelSelectorRequirement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    podCIDR: str = ""
    podCIDRs: tuple[str, ...] = ()
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAddress:
    type: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCondition:
    type: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """Holds a Node's status. ``allocatable`` are quantities; ``pods`` among them is how many Pods the node
    takes.
    """

    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[NodeCondition, ...] = ()
    allocatable: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    metadata: ObjectMeta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def internalIPs(self) -> tuple[Address, ...]:
        """Returns every ``InternalIP``, the primary one first."""
        return tuple([Address(a.address) for a in self.status.addresses if a.type == "InternalIP"])

    @property
    def ready(self) -> bool:
        """Returns the ``Ready`` condition; unset means ready, as for Pods."""
        return all(c.status == "True" for c in self.status.conditions if c.type == "Ready")


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    metadata: ObjectMeta


# --- Pod -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPort:
    containerPort: int
    name: str = ""
    protocol: TransportProtocol = "TCP"
    hostPort: int | None = None
    hostIP: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFieldSelector:
    fieldPath: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVarSource:
    fieldRef: ObjectFieldSelector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    name: str
    value: str = ""
    valueFrom: EnvVarSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    workingDir: str = ""
    env: tuple[EnvVar, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    # "Always" on an init container makes it a sidecar: it serves as long as the Pod lives
    restartPolicy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration:
    key: str = ""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str = ""
    effect: str = ""
    tolerationSeconds: int | None = None


# --- where a Pod may run ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSelectorRequirement:
    """Compares a label of a Node (``matchExpressions``), or its name (``matchFields``). Gt and Lt compare
    whole numbers.
    """

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSelectorTerm:
    """Holds requirements; a Node must meet all of them. A term without any matches no Node."""

    matchExpressions: tuple[NodeSelectorRequirement, ...] = ()
    matchFields: tuple[NodeSelectorRequirement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSelector:
    """Matches a Node that any of its terms matches."""

    nodeSelectorTerms: tuple[NodeSelectorTerm, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferredSchedulingTerm:
    weight: int
    preference: NodeSelectorTerm


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution: NodeSelector | None = None
    preferredDuringSchedulingIgnoredDuringExecution: tuple[PreferredSchedulingTerm, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodAffinityTerm:
    """Selects Pods of some namespaces, and names the label whose value makes Nodes one topology domain."""

    topologyKey: str
    labelSelector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()
    namespaceSelector: LabelSelector | None = None
    matchLabelKeys: tuple[str, ...] = ()
    mismatchLabelKeys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedPodAffinityTerm:
    weight: int
    podAffinityTerm: PodAffinityTerm


@dataclass(frozen=True, slots=True, kw_only=True)
class PodAffinity:
    """Holds ``podAffinity`` or ``podAntiAffinity``."""

    requiredDuringSchedulingIgnoredDuringExecution: tuple[PodAffinityTerm, ...] = ()
    preferredDuringSchedulingIgnoredDuringExecution: tuple[WeightedPodAffinityTerm, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    nodeAffinity: NodeAffinity = NodeAffinity()
    podAffinity: PodAffinity = PodAffinity()
    podAntiAffinity: PodAffinity = PodAffinity()


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologySpreadConstraint:
    maxSkew: int
    topologyKey: str
    whenUnsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    labelSelector: LabelSelector | None = None
    minDomains: int | None = None
    nodeAffinityPolicy: Literal["Honor", "Ignore"] = "Honor"
    nodeTaintsPolicy: Literal["Honor", "Ignore"] = "Ignore"
    matchLabelKeys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSchedulingGate:
    name: str


# --- the Pod itself ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec:
    containers: tuple[Container, ...] = ()
    initContainers: tuple[Container, ...] = ()
    nodeName: str = ""
    nodeSelector: Mapping[str, str] = field(default_factory=dict)
    affinity: Affinity | None = None
    topologySpreadConstraints: tuple[TopologySpreadConstraint, ...] = ()
    schedulingGates: tuple[PodSchedulingGate, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    hostNetwork: bool = False
    hostname: str = ""
    subdomain: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodIP:
    ip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodCondition:
    type: str
    status: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodStatus:
    phase: str = ""
    podIP: str = ""
    podIPs: tuple[PodIP, ...] = ()
    hostIP: str = ""
    conditions: tuple[PodCondition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod(_Namespaced):
    metadata: ObjectMeta
    spec: PodSpec
    status: PodStatus = PodStatus()

    @property
    def ips(self) -> tuple[Address, ...]:
        """Returns its addresses, the primary one first; none before a controller has given it one."""
        given = [a.ip for a in self.status.podIPs] or [self.status.podIP]
        return tuple([Address(ip) for ip in given if ip])

    @property
    def ip(self) -> Address:
        """Returns the primary address of a Pod that has one."""
        status = self.status
        return Address(status.podIPs[0].ip if status.podIPs else status.podIP)

    @property
    def ready(self) -> bool:
        """Returns the ``Ready`` condition; unset means ready (podwire runs every Pod that it is given)."""
        return all(c.status == "True" for c in self.status.conditions if c.type == "Ready")


# --- workload controllers ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTemplateSpec:
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordinals:
    """Holds how a StatefulSet numbers its Pods."""

    start: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSpec:
    """Holds a workload's spec. ``replicas`` is meaningless for a DaemonSet and a Job; ``serviceName`` is a
    StatefulSet's governing Service, ``ordinals`` has the number of its first Pod. The last five are a Job's.
    """

    template: PodTemplateSpec
    replicas: int = 1
    selector: LabelSelector | None = None
    serviceName: str = ""
    ordinals: Ordinals = Ordinals()
    parallelism: int = 1
    completions: int | None = None
    completionMode: Literal["NonIndexed", "Indexed"] = "NonIndexed"
    manualSelector: bool = False
    suspend: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload(_Namespaced):
    """Describes a controller that makes Pods of a template. A ReplicationController's selector is read as
    ``matchLabels``.
    """

    kind: Literal["Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job"]
    metadata: ObjectMeta
    spec: WorkloadSpec

    @property
    def replicas(self) -> int:
        """Returns the wanted number of Pods at once (meaningless for a DaemonSet). For a Job it is the number
        that run side by side.
        """
        spec = self.spec
        if self.kind != "Job":
            return spec.replicas
        limit = spec.parallelism if spec.completions is None else min(spec.parallelism, spec.completions)
        return 0 if spec.suspend else limit

    def scaled(self, replicas: int) -> Workload:
        """Returns the same with that many replicas."""
        wanting = (
            replace(self.spec, parallelism=replicas)
            if self.kind == "Job"
            else replace(self.spec, replicas=replicas)
        )
        return replace(self, spec=wanting)


# --- Service, EndpointSlice, Endpoints --------------------------------------------------------------------

# Services and EndpointSlices with one of these labels kube-proxy does not watch
# (cmd/kube-proxy/app/server.go, Run).
LEFT_TO_OTHERS = frozenset({"service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    port: int
    name: str = ""
    protocol: TransportProtocol = "TCP"
    targetPort: int | str | None = None  # unset means ``port``
    nodePort: int | None = None
    appProtocol: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIPConfig:
    timeoutSeconds: int = 10800


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAffinityConfig:
    clientIP: ClientIPConfig = ClientIPConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    selector: Mapping[str, str] = field(default_factory=dict)
    clusterIP: str = ""  # "None": headless
    clusterIPs: tuple[str, ...] = ()
    ipFamilies: tuple[str, ...] = ()
    ipFamilyPolicy: str = ""
    ports: tuple[ServicePort, ...] = ()
    externalIPs: tuple[str, ...] = ()
    externalName: str = ""
    sessionAffinity: Literal["None", "ClientIP"] = "None"
    sessionAffinityConfig: SessionAffinityConfig = SessionAffinityConfig()
    externalTrafficPolicy: Literal["Cluster", "Local"] = "Cluster"
    internalTrafficPolicy: Literal["Cluster", "Local"] = "Cluster"
    loadBalancerSourceRanges: tuple[str, ...] = ()
    loadBalancerClass: str = ""
    loadBalancerIP: str = ""
    allocateLoadBalancerNodePorts: bool = True
    healthCheckNodePort: int | None = None
    publishNotReadyAddresses: bool = False
    trafficDistribution: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancerIngress:
    ip: str = ""
    hostname: str = ""
    ipMode: Literal["VIP", "Proxy"] = "VIP"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancerStatus:
    ingress: tuple[LoadBalancerIngress, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    loadBalancer: LoadBalancerStatus = LoadBalancerStatus()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(_Namespaced):
    metadata: ObjectMeta
    spec: ServiceSpec
    status: ServiceStatus = ServiceStatus()

    @property
    def headless(self) -> bool:
        return self.spec.clusterIP == "None" or "None" in self.spec.clusterIPs

    @property
    def addressed(self) -> bool:
        """Returns whether it has ClusterIPs: neither headless nor ExternalName."""
        return not self.headless and self.spec.type != "ExternalName"

    @property
    def proxied(self) -> bool:
        """Returns whether kube-proxy looks at it: it has ClusterIPs, and no label leaves it to another
        proxy.
        """
        return self.addressed and not LEFT_TO_OTHERS & self.metadata.labels.keys()

    def proxy_ips(self, family: Family) -> tuple[Address, ...]:
        """Returns the load-balancer addresses of ``family`` that kube-proxy leaves to a balancer in the path
        (``ipMode: Proxy``).
        """
        balanced = self.proxied and self.spec.type == "LoadBalancer"
        return (
            addresses_of(family, (i.ip for i in self.status.loadBalancer.ingress if i.ipMode == "Proxy"))
            if balanced
            else ()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConditions:
    """Holds conditions. Unset ``ready`` means ready; unset ``serving`` means the same as ready
    (discovery.k8s.io/v1).
    """

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReference:
    kind: str = ""
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForZone:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHints:
    forZones: tuple[ForZone, ...] = ()
    forNodes: tuple[ForZone, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    nodeName: str | None = None
    zone: str | None = None
    hostname: str | None = None
    targetRef: ObjectReference | None = None
    hints: EndpointHints | None = None

    @property
    def ready(self) -> bool:
        return self.conditions.ready is not False

    @property
    def serving(self) -> bool:
        return self.ready if self.conditions.serving is None else self.conditions.serving

    @property
    def terminating(self) -> bool:
        return self.conditions.terminating is True


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPort:
    name: str | None = None
    protocol: TransportProtocol = "TCP"
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSlice:
    metadata: ObjectMeta
    addressType: Literal["IPv4", "IPv6", "FQDN"] = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    @property
    def serviceName(self) -> str:
        """Returns the Service in the same namespace that this slice belongs to ("" if none)."""
        return self.metadata.labels.get("kubernetes.io/service-name", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAddress:
    ip: str
    nodeName: str | None = None
    hostname: str | None = None
    targetRef: ObjectReference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSubset:
    addresses: tuple[EndpointAddress, ...] = ()
    notReadyAddresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Describes the older form of slices; a controller mirrors it into an EndpointSlice when its Service has
    no selector.
    """

    metadata: ObjectMeta
    subsets: tuple[EndpointSubset, ...] = ()


# --- kinds without a meaning here ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Uninterpreted(_Namespaced):
    """Describes an object of a kind without a meaning here. Only its identity is typed; the manifest has the
    rest.
    """

    apiVersion: str
    kind: str
    metadata: ObjectMeta


# --- where an object came from ----------------------------------------------------------------------------

T = TypeVar("T")


def _nowhere(_path: str) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Origin:
    """Names the place of an object: ``file`` as the user named it, ``document`` from 1 (0: built in Python),
    ``prefix`` the path inside the document ("items[3]" in a List). ``line`` finds the line of a field of the
    object, or of the mapping that lacks it (from 1; 0: not known): only a problem asks.
    """

    file: str
    document: int = 0
    prefix: str = ""
    line: Callable[[str], int] = field(default=_nowhere, compare=False, repr=False)

    def place(self, path: str) -> str:
        """Returns ``FILE:LINE`` of the field at ``path``, or the file alone where the line is not known."""
        line = self.line(path)
        return f"{self.file}:{line}" if line else self.file


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """Holds a typed object, the manifest as it came, and its place."""

    object: T
    raw: Mapping[str, Any]
    origin: Origin
