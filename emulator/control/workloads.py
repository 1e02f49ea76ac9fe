"""The Pods of the cluster: those that were given, and those that the workload controllers make.

May import ``objects`` and this room. Invariant: Pod names are unique in their namespace and follow the controllers' form; a controller
of which the input holds a Pod or a ReplicaSet makes none itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from emulator.control.findings import Draft, Findings
from emulator.control.names import generate_name, template_hash
from emulator.control.placement import DAEMON_TOLERATIONS, obstacle
from emulator.objects.config import Inventory
from emulator.objects.kinds import Loaded, Node, ObjectMeta, Origin, OwnerReference, Pod, PodSpec, Workload

ENDED_PHASES = ("Succeeded", "Failed")
TEMPLATE_HASH_LABEL = "pod-template-hash"


def given_pods(inventory: Inventory, seed: int, findings: Findings) -> list[Draft[Pod]]:
    """The Pods of the input that still run, each with a name."""
    taken: dict[str, set[str]] = {}
    for loaded in inventory.pods:
        if loaded.object.name:
            taken.setdefault(loaded.object.namespace, set()).add(loaded.object.name)
    drafts, ended = [], 0
    for index, loaded in enumerate(inventory.pods):
        pod = loaded.object
        if pod.status.phase in ENDED_PHASES:
            ended += 1
            continue
        if not pod.name:
            names = taken.setdefault(pod.namespace, set())
            name = generate_name(pod.metadata.generateName, seed, "pod", pod.namespace, index, taken=names)
            pod = replace(pod, metadata=replace(pod.metadata, name=name))
        drafts.append(Draft(pod, loaded.origin))
    if ended:
        findings.notice(f"left out: {ended} Pod{'s' if ended > 1 else ''} that ended ({' or '.join(ENDED_PHASES)})")
    return drafts


def controlled_pods(
    inventory: Inventory, pods: Iterable[Draft[Pod]], nodes: Sequence[Node], seed: int, room: int, findings: Findings
) -> list[Draft[Pod]]:
    """The Pods that the controllers of the input make, in the controllers' order. ``room`` bounds their number (no more Pods have
    an address anyway), so that a slip in ``replicas`` is a problem and not a wait."""
    taken: dict[str, set[str]] = {}
    for draft in pods:
        taken.setdefault(draft.object.namespace, set()).add(draft.object.name)
    owned = _owned(inventory)
    made: list[Draft[Pod]] = []
    for loaded in inventory.workloads:
        workload = loaded.object
        if (workload.kind, workload.metadata.namespace, workload.metadata.name) in owned:
            continue
        if workload.kind != "DaemonSet" and len(made) + workload.spec.replicas > room:
            findings.problem(loaded.origin, "spec.replicas", f"{workload.spec.replicas} replicas: the Pod subnet has {room} addresses")
            continue
        made += _make(loaded, nodes, seed, taken.setdefault(workload.metadata.namespace, set()), findings)
    return made


def missing_pods(
    loaded: Loaded[Workload], own: Sequence[Pod], nodes: Sequence[Node], seed: int, taken: set[str], findings: Findings
) -> list[Draft[Pod]]:
    """The Pods that the controller makes beside its ``own``. One that is being deleted is replaced at once, a StatefulSet's when it is gone."""
    workload, origin = loaded.object, loaded.origin
    if workload.kind in ("Deployment", "ReplicaSet"):
        active = [pod for pod in own if not pod.metadata.deletionTimestamp]
        fewer = replace(workload, spec=replace(workload.spec, replicas=max(0, workload.spec.replicas - len(active))))
        if not own:
            return _make(replace(loaded, object=fewer), nodes, seed, taken, findings)
        owner = next(o for o in own[-1].metadata.ownerReferences if o.controller)
        labels = {key: value for key, value in own[-1].metadata.labels.items() if key == TEMPLATE_HASH_LABEL}
        return _replicas(fewer, origin, seed, taken, owner.kind, owner.name, labels)
    names, hosts = {pod.name for pod in own}, {pod.spec.nodeName for pod in own}
    made = _make(loaded, nodes, seed, taken - names, findings)
    return [d for d in made if d.object.name not in names and not (workload.kind == "DaemonSet" and d.object.spec.nodeName in hosts)]


def controls(workload: Workload, pod: Pod) -> bool:
    """Whether ``workload`` made ``pod``, itself or, a Deployment, by the ReplicaSet that is named after it and the template's hash."""
    if pod.namespace != workload.metadata.namespace:
        return False
    owners = {(owner.kind, owner.name) for owner in pod.metadata.ownerReferences if owner.controller}
    if workload.kind == "Deployment":
        return ("ReplicaSet", f"{workload.metadata.name}-{pod.metadata.labels.get(TEMPLATE_HASH_LABEL, '')}") in owners
    return (workload.kind, workload.metadata.name) in owners


def _owned(inventory: Inventory) -> set[tuple[str, str, str]]:
    """(kind, namespace, name) of every controller that owns something in the input, Pods that have ended included.

    A dump of Deployments and Pods alone lacks the ReplicaSets between them: theirs are named after Deployment and template hash.
    """
    metas: list[ObjectMeta] = [p.object.metadata for p in inventory.pods]
    metas += [w.object.metadata for w in inventory.workloads]
    owned = set()
    for meta in metas:
        for owner in meta.ownerReferences:
            if not owner.controller:
                continue
            owned.add((owner.kind, meta.namespace, owner.name))
            key = f"-{meta.labels.get(TEMPLATE_HASH_LABEL, '')}"
            if owner.kind == "ReplicaSet" and key != "-" and owner.name.endswith(key):
                owned.add(("Deployment", meta.namespace, owner.name.removesuffix(key)))
    return owned


def _make(loaded: Loaded[Workload], nodes: Sequence[Node], seed: int, taken: set[str], findings: Findings) -> list[Draft[Pod]]:
    workload, origin = loaded.object, loaded.origin
    name, spec = workload.metadata.name, workload.spec.template.spec
    if workload.kind == "Deployment":
        key = template_hash(seed, workload.key, workload.spec.template)
        return _replicas(workload, origin, seed, taken, "ReplicaSet", f"{name}-{key}", {TEMPLATE_HASH_LABEL: key})
    if workload.kind == "ReplicaSet":
        return _replicas(workload, origin, seed, taken, "ReplicaSet", name, {})
    if workload.kind == "StatefulSet":
        drafts = []
        for ordinal in range(workload.spec.replicas):
            pod_name = f"{name}-{ordinal}"
            if pod_name in taken:
                findings.problem(origin, "metadata.name", f"StatefulSet {workload.key} makes a Pod {pod_name}, which exists already")
                continue
            taken.add(pod_name)
            labels = {"statefulset.kubernetes.io/pod-name": pod_name, "apps.kubernetes.io/pod-index": str(ordinal)}
            own = replace(spec, hostname=pod_name, subdomain=workload.spec.serviceName)
            drafts.append(_pod(workload, origin, pod_name, own, "StatefulSet", name, labels))
        return drafts
    own = replace(spec, tolerations=(*spec.tolerations, *DAEMON_TOLERATIONS))
    fitting = [node.name for node in nodes if spec.nodeName in ("", node.name) and not obstacle(node, spec.nodeSelector, own.tolerations)]
    if not fitting:
        findings.notice(f"DaemonSet {workload.key} has no Pod: no node matches and is tolerated")
    return [
        _pod(
            workload,
            origin,
            generate_name(f"{name}-", seed, workload.key, node, taken=taken),
            replace(own, nodeName=node),
            "DaemonSet",
            name,
            {},
        )
        for node in fitting
    ]


def _replicas(
    workload: Workload, origin: Origin, seed: int, taken: set[str], kind: str, owner: str, labels: Mapping[str, str]
) -> list[Draft[Pod]]:
    return [
        _pod(
            workload,
            origin,
            generate_name(f"{owner}-", seed, workload.key, index, taken=taken),
            workload.spec.template.spec,
            kind,
            owner,
            labels,
        )
        for index in range(workload.spec.replicas)
    ]


def _pod(
    workload: Workload, origin: Origin, name: str, spec: PodSpec, owner_kind: str, owner: str, labels: Mapping[str, str]
) -> Draft[Pod]:
    template = workload.spec.template.metadata
    metadata = ObjectMeta(
        name=name,
        namespace=workload.metadata.namespace,
        labels={**template.labels, **labels},
        annotations=template.annotations,
        ownerReferences=(OwnerReference(kind=owner_kind, name=owner, controller=True),),
    )
    return Draft(Pod(metadata=metadata, spec=spec), origin, "spec.template.")
