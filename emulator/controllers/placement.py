"""Chooses the node that a Pod runs on: the scheduler's filters, then its preferences, then an even spread.

The filters and their words are kube-scheduler's (NodeUnschedulable, TaintToleration, NodeAffinity, NodePorts,
NodeResourcesFit for the number of Pods, PodTopologySpread, InterPodAffinity). Requests for CPU, memory and
volumes are ignored. Invariant: a Pod that names its node stays there; one that no node may run waits, as in a
cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..load.faults import did_you_mean
from ..net import TransportProtocol
from ..objects.kinds import Container, Node, Pod, PodSpec, Taint, Toleration
from .affinity import Neighbourhood, node_preference, wants_node
from .findings import Draft
from .waiting import Waiting

UNSCHEDULABLE = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


def _tolerations(*rows: tuple[str, str]) -> tuple[Toleration, ...]:
    return tuple(
        Toleration(key=f"node.kubernetes.io/{key}", operator="Exists", effect=effect) for key, effect in rows
    )


# Tolerations that the admission plugin DefaultTolerationSeconds adds to every Pod.
DEFAULT_TOLERATIONS = _tolerations(("not-ready", "NoExecute"), ("unreachable", "NoExecute"))

# Tolerations that the DaemonSet controller adds to its Pods (pkg/controller/daemon/util,
# AddOrUpdateDaemonPodTolerations).
DAEMON_TOLERATIONS = _tolerations(
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)
HOST_NETWORK_TOLERATIONS = _tolerations(("network-unavailable", "NoSchedule"))

_PORTS = "didn't have free ports for the requested pod ports"
SELECTOR = "didn't match Pod's node affinity/selector"
_ANY_IP = ("", "0.0.0.0", "::")  # noqa: S104 (a manifest's word for every address of a node; nothing is bound)


def serving_containers(spec: PodSpec) -> Iterator[Container]:
    """Yields the containers that live as long as the Pod, in the order in which they start: sidecars, then
    the others.
    """
    yield from (c for c in spec.initContainers if c.restartPolicy == "Always")
    yield from spec.containers


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Returns whether a toleration matches: an empty key with Exists tolerates everything; an empty effect
    means every effect (core/v1 Toleration).
    """
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or (bool(toleration.key) and toleration.value == taint.value)


def _untolerated(
    node: Node, tolerations: Iterable[Toleration], *, preferred: bool = False
) -> Iterator[Taint]:
    """Yields the taints that keep a Pod away, or, ``preferred``, the PreferNoSchedule ones."""
    tolerations = tuple(tolerations)
    for taint in node.spec.taints:
        if (taint.effect == "PreferNoSchedule") is preferred and not any(
            tolerates(t, taint) for t in tolerations
        ):
            yield taint


def obstacle(node: Node, spec: PodSpec) -> str:
    """Returns why a Pod may not run on ``node``, whatever else runs there, in the scheduler's words ("" if it
    may).
    """
    tolerations = (*spec.tolerations, *DEFAULT_TOLERATIONS)
    if node.spec.unschedulable and not any(tolerates(t, UNSCHEDULABLE) for t in tolerations):
        return "were unschedulable"
    for taint in _untolerated(node, tolerations):
        return f"had untolerated taint {{{taint.key}: {taint.value}}}"
    return "" if wants_node(spec, node) else SELECTOR


def host_ports(spec: PodSpec) -> set[tuple[int, TransportProtocol, str]]:
    """Returns the ports that a Pod takes of its node, with the node's address ("" for all): hostPorts, and
    with hostNetwork every port.
    """
    return {
        (port.hostPort or port.containerPort, port.protocol, "" if port.hostIP in _ANY_IP else port.hostIP)
        for container in serving_containers(spec)
        for port in container.ports
        if port.hostPort or spec.hostNetwork
    }


def controller_of(pod: Pod) -> str:
    """Returns ``Kind/namespace/name`` of the Pod's controller ("" if it has none)."""
    owner = next((o for o in pod.metadata.ownerReferences if o.controller), None)
    return f"{owner.kind}/{pod.namespace}/{owner.name}" if owner else ""


def _room(node: Node) -> float:
    """Returns how many Pods the node takes by its own status. (A kubelet's default is 110; a node that
    podwire made takes as many as its podCIDR holds.)
    """
    try:
        return int(node.status.allocatable["pods"])
    except (KeyError, ValueError):
        return float("inf")


class _Occupancy:
    """Tracks how full the nodes are while Pods are placed one after another."""

    def __init__(self, neighbourhood: Neighbourhood) -> None:
        self.neighbourhood = neighbourhood
        self.pods: Counter[str] = Counter()
        self.of_owner: Counter[tuple[str, str]] = Counter()
        # holders by their hostIP
        self.ports: dict[tuple[str, int, TransportProtocol], dict[str, str]] = {}

    def add(self, pod: Pod, node: str) -> None:
        self.pods[node] += 1
        self.of_owner[controller_of(pod), node] += 1
        for port, protocol, ip in host_ports(pod.spec):
            self.ports.setdefault((node, port, protocol), {}).setdefault(ip, pod.key)
        self.neighbourhood.add(pod, node)

    def conflict(self, pod: Pod, node: str) -> tuple[str, str] | None:
        """Returns (port/protocol, the Pod that has it) if one of the Pod's host ports is taken on
        ``node``.
        """
        for port, protocol, ip in sorted(host_ports(pod.spec)):
            holders = self.ports.get((node, port, protocol), {})
            holder = next(iter(holders.values()), "") if not ip else holders.get(ip) or holders.get("")
            if holder:
                return f"{port}/{protocol}", holder
        return None


def place(
    drafts: Sequence[Draft[Pod]],
    nodes: Sequence[Node],
    namespaces: Mapping[str, Mapping[str, str]],
    waiting: Waiting,
) -> list[Draft[Pod]]:
    """Returns every Pod that a node runs, with that node, in the order given; the others go to ``waiting``,
    with the reason.

    The order among the nodes that may run it: the fewest PreferNoSchedule taints, the Pod's preferences,
    fewest Pods of its controller, then fewest Pods, then the nodes' order. ``namespaces`` are the labels of
    the Namespaces, by name.
    """
    names = {node.name for node in nodes}
    occupancy = _Occupancy(Neighbourhood(nodes, namespaces))
    refused: set[int] = set()
    for index, draft in enumerate(drafts):
        pod = draft.object
        if not pod.spec.nodeName:
            continue
        if pod.spec.nodeName not in names:
            waiting.lost(draft, did_you_mean(pod.spec.nodeName, names))
            refused.add(index)
        elif (conflict := occupancy.conflict(pod, pod.spec.nodeName)) and not pod.metadata.uid:
            port, holder = conflict
            waiting.add(
                draft,
                f"host port {port} of node {pod.spec.nodeName} is taken by Pod {holder}: its "
                "kubelet refuses it",
            )
            refused.add(index)
        else:
            occupancy.add(pod, pod.spec.nodeName)
    chooser = _Chooser(nodes, occupancy)
    result = []
    for index, draft in enumerate(drafts):
        if index in refused:
            continue
        placed = draft if draft.object.spec.nodeName else chooser.place(draft, waiting)
        if placed is not None:
            result.append(placed)
    return result


class _Alone(NamedTuple):
    """Holds the properties of the nodes for one Pod, in their order, whatever else runs there: why it may not
    run there, the number of PreferNoSchedule taints, the weight of its preference; and by name, the nodes
    that its affinity matches, and those whose taints it tolerates.
    """

    obstacles: list[str]
    disliked: list[int]
    preferred: list[int]
    wanted: dict[str, bool]
    tolerated: dict[str, bool]


class _Chooser:
    def __init__(self, nodes: Sequence[Node], occupancy: _Occupancy) -> None:
        self.nodes, self.occupancy = nodes, occupancy
        self._alone: dict[str, _Alone] = {}
        self._room = {node.name: _room(node) for node in nodes}

    def place(self, draft: Draft[Pod], waiting: Waiting) -> Draft[Pod] | None:
        pod = draft.object
        name, reasons = self._choose(pod)
        if not name:
            detail = ", ".join(f"{count} node(s) {reason}" for reason, count in sorted(reasons.items()))
            wanted = ",".join(
                f"{key}={value}"
                for key, value in pod.spec.nodeSelector.items()
                if any(node.metadata.labels.get(key) != value for node in self.nodes)
            )
            hint = f" (hint: label a node {wanted})" if wanted and SELECTOR in reasons else ""
            waiting.add(draft, f"0/{len(self.nodes)} nodes are available: {detail}{hint}")
            return None
        self.occupancy.add(pod, name)
        return replace(draft, object=replace(pod, spec=replace(pod.spec, nodeName=name)))

    def _by_node_alone(self, spec: PodSpec) -> _Alone:
        """Returns the properties of the nodes for one Pod, whatever else runs. Replicas share the result."""
        key = f"{spec.nodeSelector} {spec.tolerations} {spec.affinity.nodeAffinity if spec.affinity else ''}"
        if key not in self._alone:
            tolerations = (*spec.tolerations, *DEFAULT_TOLERATIONS)
            self._alone[key] = _Alone(
                obstacles=[obstacle(node, spec) for node in self.nodes],
                disliked=[
                    sum(1 for _ in _untolerated(node, tolerations, preferred=True)) for node in self.nodes
                ],
                preferred=[node_preference(spec, node) for node in self.nodes],
                wanted={node.name: wants_node(spec, node) for node in self.nodes},
                tolerated={
                    node.name: next(_untolerated(node, tolerations), None) is None for node in self.nodes
                },
            )
        return self._alone[key]

    def _choose(self, pod: Pod) -> tuple[str, Counter[str]]:
        """Returns the node's name, or "" and how many nodes each reason excluded."""
        reasons: Counter[str] = Counter()
        owner, best, best_rank = controller_of(pod), "", (0, 0, 0, 0)
        alone = self._by_node_alone(pod.spec)
        neighbourhood = self.occupancy.neighbourhood
        others = neighbourhood.obstacles(pod, alone.wanted, alone.tolerated)
        preference = neighbourhood.preference(pod)
        for node, reason, disliked, preferred in zip(
            self.nodes, alone.obstacles, alone.disliked, alone.preferred, strict=True
        ):
            why = reason or self._full(pod, node.name) or others.get(node.name, "")
            if why:
                reasons[why] += 1
                continue
            rank = (
                disliked,
                -preferred - preference[node.name],
                self.occupancy.of_owner[owner, node.name] if owner else 0,
                self.occupancy.pods[node.name],
            )
            if not best or rank < best_rank:
                best, best_rank = node.name, rank
        return best, reasons

    def _full(self, pod: Pod, node: str) -> str:
        if self.occupancy.conflict(pod, node):
            return _PORTS
        return "had too many pods" if self.occupancy.pods[node] >= self._room[node] else ""
