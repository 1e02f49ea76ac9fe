"""Makes the cluster's nodes: from Node manifests, from a ``Cluster``, or as many as the manifests name.

Invariant: node names are unique, the control plane carries its label, and every node that did not come from
an API server has the labels that every kubelet sets. Addresses and podCIDRs are still only the given ones
(IPv4, canonical).
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..errors import worded
from ..net import Prefix
from ..objects.config import Inventory, NodeShape
from ..objects.families import BUILT
from ..objects.kinds import (
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Origin,
    Pod,
    PodSpec,
    Taint,
)
from ..objects.references import node_ref
from ..objects.warnings import Code
from .findings import Draft, Findings

CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"
_CONTROL_PLANE_LABELS = frozenset({CONTROL_PLANE_LABEL, "node-role.kubernetes.io/master"})
# kubeadm's taint of control planes
EXCLUDED_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
ETCD_LABEL = "node-role.kubernetes.io/etcd"
HOSTNAME_LABEL = "kubernetes.io/hostname"

# Go's names of the architectures with a kubelet (GOARCH).
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
ARCHITECTURE = _ARCHITECTURES.get(platform.machine(), platform.machine())

_OF_MACHINE = {"kubernetes.io/os": "linux", "kubernetes.io/arch": ARCHITECTURE}
_ROLE_KEYS = {"control-plane": CONTROL_PLANE_LABEL, "etcd": ETCD_LABEL}
_DEFAULT_WORKERS = ("worker-1", "worker-2")
_CONTROL_PLANE_NAME = re.compile(r"(.*-)?control-plane-?\d*")
_WORKER_NAME = re.compile(r"worker-([1-9]\d{0,2})")


def is_control_plane(node: Node) -> bool:
    """Returns whether kubeadm's label says so: today's, or that of releases before 1.24."""
    return not _CONTROL_PLANE_LABELS.isdisjoint(node.metadata.labels)


def is_etcd(node: Node) -> bool:
    return ETCD_LABEL in node.metadata.labels


def kubelet_labels(name: str) -> dict[str, str]:
    """Returns the labels that the kubelet of node ``name`` sets when it registers
    (pkg/kubelet/kubelet_node_status.go, initialNode).
    """
    labels = {f"{prefix}{key}": value for prefix in ("beta.", "") for key, value in _OF_MACHINE.items()}
    return {**labels, HOSTNAME_LABEL: name}


def address_path(draft: Draft[Node], index: int = 0) -> str:
    """Returns the path of the node's address number ``index``: a Cluster's entry has another form than a Node
    manifest.
    """
    return f"{draft.base}addresses[{index}]" if draft.base else f"status.addresses[{index}].address"


def pod_cidr_path(draft: Draft[Node]) -> str:
    return f"{draft.base}podCIDR" if draft.base else "spec.podCIDR"


def make_nodes(inventory: Inventory, pods: Sequence[Draft[Pod]], findings: Findings) -> list[Draft[Node]]:
    """Returns the nodes in order: those of ``Cluster.nodes``, then further Node manifests; without either,
    the default shape.
    """
    shapes = _named_shapes(inventory)
    if not shapes and not inventory.nodes:
        shapes = [
            (Draft(shape, Origin(inventory.name)), shape.name) for shape in _default_shape(inventory, pods)
        ]
    taint = len(shapes) + len(inventory.nodes) > 1
    drafts = {name: Draft(_from_shape(s.object, name, taint=taint), s.origin, s.base) for s, name in shapes}
    for loaded in inventory.nodes:
        node = loaded.object
        shaped = drafts.get(node.name)
        drafts[node.name] = Draft(_merge(shaped.object, node) if shaped else node, loaded.origin)
    return complete_nodes(list(drafts.values()), pods, findings)


def complete_nodes(
    nodes: Sequence[Draft[Node]], pods: Sequence[Draft[Pod]], findings: Findings
) -> list[Draft[Node]]:
    """Returns the nodes with the fields that their kubelets set."""
    hosts = {p.object.spec.nodeName: p.object.status.hostIP for p in reversed(pods) if p.object.status.hostIP}
    given = [_given(draft, hosts.get(draft.object.name, ""), findings) for draft in nodes]
    return _without_clones(given, findings)


def _without_clones(drafts: Iterable[Draft[Node]], findings: Findings) -> list[Draft[Node]]:
    """Returns the nodes. A node from an API server (it has a uid) loses the InternalIPs that an earlier node
    has: cloned machines, or machines in different clouds, may have the same.
    """
    holders: dict[str, str] = {}
    result = []
    for draft in drafts:
        node = draft.object
        twice = {ip for ip in node.internalIPs if node.metadata.uid and ip in holders}
        for ip in node.internalIPs:
            holders.setdefault(ip, node.name)
        if twice:
            kept = tuple(a for a in node.status.addresses if a.type != "InternalIP" or a.address not in twice)
            node = replace(node, status=replace(node.status, addresses=kept))
            first = next(ip for ip in draft.object.internalIPs if ip in twice)
            findings.warn(
                Code.SAME_NODE_ADDRESS,
                node_ref(node.name),
                ip=first,
                other=holders[first],
                kept=node.internalIPs[0] if node.internalIPs else "",
            )
        result.append(replace(draft, object=node))
    return result


def _named_shapes(inventory: Inventory) -> list[tuple[Draft[NodeShape], str]]:
    """Returns each entry of ``Cluster.nodes`` with its name: given, or control-plane, control-plane-2,
    worker-1, worker-2, etcd-1…
    """
    if inventory.cluster is None:
        return []
    given = {shape.name for shape in inventory.cluster.object.nodes if shape.name}
    counts = {"control-plane": 0, "worker": 0, "etcd": 0}
    rows = []
    for index, shape in enumerate(inventory.cluster.object.nodes):
        name = shape.name
        counts[shape.role] += 1
        while not name:
            count = counts[shape.role]
            made = (
                "control-plane" if shape.role == "control-plane" and count == 1 else f"{shape.role}-{count}"
            )
            if made in given:
                counts[shape.role] += 1
            else:
                name = made
        rows.append((Draft(shape, inventory.cluster.origin, f"nodes[{index}]."), name))
    return rows


def _from_shape(shape: NodeShape, name: str, *, taint: bool) -> Node:
    key = _ROLE_KEYS.get(shape.role)
    role_taints = (Taint(key=key, effect="NoSchedule"),) if key and taint and shape.roleTaint else ()
    excluded = {EXCLUDED_LABEL: ""} if taint and shape.role == "control-plane" else {}
    return Node(
        metadata=ObjectMeta(name=name, labels={**({key: ""} if key else {}), **excluded, **shape.labels}),
        spec=NodeSpec(
            podCIDRs=(shape.podCIDR,) if shape.podCIDR else (), taints=(*role_taints, *shape.taints)
        ),
        status=NodeStatus(
            addresses=tuple(NodeAddress(type="InternalIP", address=a) for a in shape.addresses)
        ),
    )


def _merge(shaped: Node, manifest: Node) -> Node:
    """Returns a Node manifest merged over the Cluster's entry of that name: the manifest's fields win."""
    has_cidr = manifest.spec.podCIDR or manifest.spec.podCIDRs
    return replace(
        manifest,
        metadata=replace(manifest.metadata, labels={**shaped.metadata.labels, **manifest.metadata.labels}),
        spec=manifest.spec if has_cidr else replace(manifest.spec, podCIDRs=shaped.spec.podCIDRs),
        status=manifest.status
        if manifest.internalIPs
        else replace(manifest.status, addresses=(*shaped.status.addresses, *manifest.status.addresses)),
    )


def _given(draft: Draft[Node], host_ip: str, findings: Findings) -> Draft[Node]:
    """Returns the node with its kubelet's labels, its IPv4 addresses and podCIDRs in canonical form.

    A Node from an API server (it has a uid) keeps its labels exactly. ``host_ip`` is the node's address by
    its Pods (``status.hostIP``): it is used if the node itself has no InternalIP, and else its ExternalIP, as
    the kubelet does (pkg/util/node, GetNodeHostIPs).
    """
    node = draft.object
    addresses = []
    for index, entry in enumerate(node.status.addresses):
        if entry.type not in ("InternalIP", "ExternalIP"):
            addresses.append(entry)
        elif ip := findings.address(entry.address, draft.origin, address_path(draft, index)):
            addresses.append(NodeAddress(type=entry.type, address=str(ip)))
    addresses = [*dict.fromkeys(addresses)]
    if not any(a.type == "InternalIP" for a in addresses):
        external = next((a.address for a in addresses if a.type == "ExternalIP"), "")
        if (text := host_ip or external) and (ip := findings.address(text, draft.origin, "status.hostIP")):
            addresses.insert(0, NodeAddress(type="InternalIP", address=str(ip)))
    cidrs = []
    for text in node.spec.podCIDRs or ((node.spec.podCIDR,) if node.spec.podCIDR else ()):
        cidr = _pod_cidr(text, draft, findings)
        if cidr is not None:
            cidrs.append(str(cidr))
    labels = {**kubelet_labels(node.name), **node.metadata.labels}
    return replace(
        draft,
        object=replace(
            node,
            metadata=node.metadata if node.metadata.uid else replace(node.metadata, labels=labels),
            spec=replace(node.spec, podCIDR=cidrs[0] if cidrs else "", podCIDRs=tuple(cidrs)),
            status=replace(node.status, addresses=tuple(addresses)),
        ),
    )


def _pod_cidr(text: str, draft: Draft[Node], findings: Findings) -> Prefix | None:
    network = Prefix(text)
    if network.family is not BUILT:
        findings.ipv6_left_out()
        return None
    if network.length > 30:
        findings.problem(
            draft.origin,
            pod_cidr_path(draft),
            worded("{} has no room for a bridge and a Pod", network),
            "a /24 is usual",
        )
        return None
    return network


# --- the default shape ------------------------------------------------------------------------------------


def _default_shape(inventory: Inventory, pods: Sequence[Draft[Pod]]) -> list[NodeShape]:
    """Returns a control plane, and the workers that the objects name, else two; FlowChecks may add nodes but
    not replace these.

    Naming worker-3 implies worker-1 and worker-2. Pods of API servers show which of the named nodes are
    control planes, and that this is a dump: its nodes are the named ones, so it gets no default workers.
    """
    api_servers = {
        p.object.name.removeprefix("kube-apiserver-")
        for p in pods
        if p.object.namespace == "kube-system" and p.object.name.startswith("kube-apiserver-")
    }
    by_objects, by_checks = set(_named_by_objects(inventory, pods)), set(_named_by_checks(inventory))
    planes = {n for n in by_objects | by_checks if n in api_servers or _CONTROL_PLANE_NAME.fullmatch(n)}
    workers = by_objects - planes
    if not workers and not api_servers:
        workers.update(_DEFAULT_WORKERS)
    workers |= by_checks - planes
    for name in tuple(workers):
        if match := _WORKER_NAME.fullmatch(name):
            workers.update(f"worker-{n}" for n in range(1, int(match[1])))
    return [
        *(NodeShape(role="control-plane", name=n) for n in sorted(planes or {"control-plane"}, key=_natural)),
        *(NodeShape(role="worker", name=n) for n in sorted(workers, key=_natural)),
    ]


def _natural(name: str) -> tuple[tuple[str, int], ...]:
    """Sorts worker-2 before worker-10."""
    parts = re.split(r"(\d+)", name)
    return tuple(zip(parts[::2], [*map(int, parts[1::2]), -1], strict=True))


def _named_by_objects(inventory: Inventory, pods: Iterable[Draft[Pod]]) -> Iterator[str]:
    templates: Iterable[PodSpec] = (w.object.spec.template.spec for w in inventory.workloads)
    for spec in (*(p.object.spec for p in pods), *templates):
        yield from _nonempty(spec.nodeName, spec.nodeSelector)
        yield from _named_by_affinity(spec)
    for loaded_slice in inventory.endpointSlices:
        for endpoint in loaded_slice.object.endpoints:
            yield from _nonempty(endpoint.nodeName)
    for loaded_endpoints in inventory.endpoints:
        for subset in loaded_endpoints.object.subsets:
            for address in (*subset.addresses, *subset.notReadyAddresses):
                yield from _nonempty(address.nodeName)


def _named_by_affinity(spec: PodSpec) -> Iterator[str]:
    """Yields the nodes that a required node affinity asks for by name."""
    required = (
        spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution if spec.affinity else None
    )
    for term in required.nodeSelectorTerms if required else ():
        for requirement in (*term.matchExpressions, *term.matchFields):
            if requirement.key in (HOSTNAME_LABEL, "metadata.name") and requirement.operator == "In":
                yield from requirement.values


def _named_by_checks(inventory: Inventory) -> Iterator[str]:
    for loaded in inventory.flowChecks:
        check = loaded.object
        joining = {
            new.object.metadata.name
            for applied in check.applied
            for new in applied
            if isinstance(new.object, Node)
        }
        for flow in (*check.flows, *(flow for step in check.steps for flow in step.flows)):
            yield from (
                name for name in (flow.via, flow.from_.node, flow.to.node) if name and name not in joining
            )


def _nonempty(node_name: str | None, selector: Mapping[str, str] | None = None) -> Iterator[str]:
    if node_name:
        yield node_name
    if selector and (host := selector.get(HOSTNAME_LABEL)):
        yield host
