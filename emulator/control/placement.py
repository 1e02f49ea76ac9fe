"""Which node a Pod runs on: the scheduler's filters, then an even spread.

May import ``objects`` and this room. Filters and their order are the Kubernetes scheduler's (NodeUnschedulable, TaintToleration,
NodeAffinity for ``nodeSelector``, NodePorts for ``hostNetwork``). Invariant: a Pod that names its node stays there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from emulator.control.findings import Draft, Findings
from emulator.objects.faults import did_you_mean
from emulator.objects.kinds import Container, Node, Pod, PodSpec, Protocol, Taint, Toleration
from emulator.objects.selectors import matches_labels

UNSCHEDULABLE = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")

# What the DaemonSet controller adds to its Pods (Kubernetes documentation, "DaemonSet", Taints and tolerations).
DAEMON_TOLERATIONS = tuple(
    Toleration(key=f"node.kubernetes.io/{key}", operator="Exists", effect=effect)
    for key, effect in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
        ("network-unavailable", "NoSchedule"),
    )
)


def serving_containers(spec: PodSpec) -> Iterator[Container]:
    """The containers that live as long as the Pod, in the order in which they start: sidecars, then the others."""
    yield from (c for c in spec.initContainers if c.restartPolicy == "Always")
    yield from spec.containers


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """An empty key with Exists tolerates everything; an empty effect means every effect (core/v1 Toleration)."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or (bool(toleration.key) and toleration.value == taint.value)


def obstacle(node: Node, selector: Mapping[str, str], tolerations: Iterable[Toleration]) -> str:
    """Why a Pod with that nodeSelector and those tolerations may not run on ``node``, as the scheduler says it ("" if it may)."""
    tolerations = tuple(tolerations)
    if node.spec.unschedulable and not any(tolerates(t, UNSCHEDULABLE) for t in tolerations):
        return "were unschedulable"
    for taint in node.spec.taints:
        if taint.effect != "PreferNoSchedule" and not any(tolerates(t, taint) for t in tolerations):
            return f"had untolerated taint {{{taint.key}: {taint.value}}}"
    if not matches_labels(selector, node.metadata.labels):
        return "didn't match the Pod's nodeSelector"
    return ""


def host_ports(spec: PodSpec) -> set[tuple[int, Protocol]]:
    """The ports that a hostNetwork Pod takes of its node (none for a Pod with a network of its own)."""
    if not spec.hostNetwork:
        return set()
    return {(port.containerPort, port.protocol) for container in serving_containers(spec) for port in container.ports}


def controller_of(pod: Pod) -> str:
    """``Kind/namespace/name`` of the Pod's controller ("" if it has none)."""
    owner = next((o for o in pod.metadata.ownerReferences if o.controller), None)
    return f"{owner.kind}/{pod.namespace}/{owner.name}" if owner else ""


class _Occupancy:
    """How full the nodes are while Pods are placed one after another."""

    def __init__(self) -> None:
        self.pods: Counter[str] = Counter()
        self.of_owner: Counter[tuple[str, str]] = Counter()
        self.ports: dict[tuple[str, int, Protocol], str] = {}

    def add(self, pod: Pod, node: str) -> None:
        self.pods[node] += 1
        self.of_owner[controller_of(pod), node] += 1
        for port, protocol in host_ports(pod.spec):
            self.ports.setdefault((node, port, protocol), pod.key)

    def conflict(self, pod: Pod, node: str) -> tuple[str, str] | None:
        """(port/protocol, the Pod that has it) if one of the Pod's host ports is taken on ``node``."""
        for port, protocol in sorted(host_ports(pod.spec)):
            if holder := self.ports.get((node, port, protocol)):
                return f"{port}/{protocol}", holder
        return None


def place(drafts: Sequence[Draft[Pod]], nodes: Sequence[Node], findings: Findings) -> list[Draft[Pod]]:
    """Every Pod with its node, in the order given.

    Among the nodes that may run it: fewest Pods of its controller, then fewest Pods, then the nodes' order. A Pod that no node may
    run keeps an empty ``nodeName``, and a problem says why.
    """
    names = {node.name for node in nodes}
    occupancy = _Occupancy()
    for draft in drafts:
        pod = draft.object
        if not pod.spec.nodeName:
            continue
        if pod.spec.nodeName not in names:
            hint = did_you_mean(pod.spec.nodeName, names) or f"nodes: {', '.join(sorted(names))}"
            findings.problem(draft.origin, f"{draft.base}spec.nodeName", f"there is no node {pod.spec.nodeName}", hint)
            continue
        if conflict := occupancy.conflict(pod, pod.spec.nodeName):
            port, holder = conflict
            what = f"host port {port} of Pod {pod.key} is taken on node {pod.spec.nodeName} by Pod {holder}"
            findings.problem(draft.origin, f"{draft.base}spec.hostNetwork", what, "hostNetwork Pods share their node's ports")
        occupancy.add(pod, pod.spec.nodeName)
    chooser = _Chooser(nodes, occupancy)
    return [_placed(draft, chooser, findings, names) for draft in drafts]


class _Chooser:
    def __init__(self, nodes: Sequence[Node], occupancy: _Occupancy) -> None:
        self.nodes, self.occupancy = nodes, occupancy
        self._obstacles: dict[tuple[object, ...], list[str]] = {}

    def obstacles(self, spec: PodSpec) -> list[str]:
        """Per node, in order. Replicas share their answer."""
        key = (*sorted(spec.nodeSelector.items()), *spec.tolerations)
        if key not in self._obstacles:
            self._obstacles[key] = [obstacle(node, spec.nodeSelector, spec.tolerations) for node in self.nodes]
        return self._obstacles[key]

    def choose(self, pod: Pod) -> tuple[str, Counter[str]]:
        """The node's name, or "" and how many nodes each reason excluded."""
        reasons: Counter[str] = Counter()
        owner, best, best_rank = controller_of(pod), "", (0, 0)
        for node, reason in zip(self.nodes, self.obstacles(pod.spec), strict=True):
            if not reason and self.occupancy.conflict(pod, node.name):
                reason = "didn't have free ports for the requested pod ports"
            if reason:
                reasons[reason] += 1
                continue
            rank = (self.occupancy.of_owner[owner, node.name] if owner else 0, self.occupancy.pods[node.name])
            if not best or rank < best_rank:
                best, best_rank = node.name, rank
        return best, reasons


def _placed(draft: Draft[Pod], chooser: _Chooser, findings: Findings, names: set[str]) -> Draft[Pod]:
    pod = draft.object
    if pod.spec.nodeName:
        return draft if pod.spec.nodeName in names else replace(draft, object=replace(pod, spec=replace(pod.spec, nodeName="")))
    name, reasons = chooser.choose(pod)
    if not name:
        detail = ", ".join(f"{count} node(s) {reason}" for reason, count in reasons.items())
        path = f"{draft.base}spec.nodeSelector" if pod.spec.nodeSelector else f"{draft.base}spec"
        wanted = ",".join(f"{k}={v}" for k, v in pod.spec.nodeSelector.items())
        findings.problem(
            draft.origin,
            path,
            f"no node for Pod {pod.key}: 0/{len(chooser.nodes)} nodes are available: {detail}",
            f"label a node {wanted}" if wanted else "add a node, or tolerate a taint",
        )
        return draft
    chooser.occupancy.add(pod, name)
    return replace(draft, object=replace(pod, spec=replace(pod.spec, nodeName=name)))
