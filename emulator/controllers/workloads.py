"""Makes the Pods of the cluster: the given ones, and those of the workload controllers.

Invariant: Pod names are unique in their namespace and follow the controllers' form; a controller with a Pod
or a ReplicaSet in the input makes none itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..errors import Words, worded
from ..objects.families import ONLY_BUILT, OTHERS, is_other
from ..objects.kinds import Loaded, Node, ObjectMeta, Origin, OwnerReference, Pod, PodSpec, Workload
from ..objects.notices import EndedPods
from ..objects.references import ObjectRef
from ..objects.warnings import Code
from .findings import Draft, Findings
from .names import generate_name, template_hash
from .placement import DAEMON_TOLERATIONS, HOST_NETWORK_TOLERATIONS, obstacle
from .room import Room
from .waiting import Waiting

ENDED_PHASES = ("Succeeded", "Failed")
TEMPLATE_HASH_LABEL = "pod-template-hash"
JOB_LABELS = ("batch.kubernetes.io/job-name", "job-name")
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
_INTERCHANGEABLE = (
    "Deployment",
    "ReplicaSet",
    "ReplicationController",
    "Job",
)  # have drawn names


def name_pods(pods: Sequence[Loaded[Pod]], seed: int) -> Iterator[Loaded[Pod]]:
    """Yields each of ``pods`` with a name: its own, or one drawn after its ``generateName``."""
    taken: dict[str, set[str]] = {}
    for loaded in pods:
        if loaded.object.name:
            taken.setdefault(loaded.object.namespace, set()).add(loaded.object.name)
    for index, loaded in enumerate(pods):
        pod = loaded.object
        if pod.name:
            yield loaded
            continue
        names = taken.setdefault(pod.namespace, set())
        name = generate_name(pod.metadata.generateName, seed, "pod", pod.namespace, index, taken=names)
        yield replace(loaded, object=replace(pod, metadata=replace(pod.metadata, name=name)))


def running_pods(
    drafts: Iterable[Draft[Pod]], findings: Findings, waiting: Waiting, *, lives: bool = False
) -> list[Draft[Pod]]:
    """Returns the Pods that run or may be placed, in the order given. Pods that wait in the cluster of a dump
    go to ``waiting``; Pods that ended are left out. ``lives``: the cluster is no dump, and a Pod that is
    Pending is one that nobody has placed yet.
    """
    drafts = list(drafts)
    holders = _address_holders(draft.object for draft in drafts)
    running, ended = [], 0
    for draft in drafts:
        pod = draft.object
        holder = holders.get(pod.ip, pod) if pod.ips and not pod.spec.hostNetwork else pod
        if pod.status.phase in ENDED_PHASES:
            ended += 1
        elif reason := _without_address(pod, holder) or _without_network(pod, lives):
            waiting.add(draft, reason)
        else:
            running.append(draft)
    if ended:
        findings.notice(EndedPods(ended))
    return running


def _address_holders(pods: Iterable[Pod]) -> dict[str, Pod]:
    """Returns, by address, the Pod that has it now. A network plugin gives the address of a Pod to another
    one as soon as its sandbox is gone, while the API server still has both: the Pod is being deleted, or its
    node has restarted and has not reported it yet. A ready Pod comes first, then the newer one, then the
    earlier one in the input.
    """
    live = [p for p in pods if p.ips and not p.spec.hostNetwork and p.status.phase not in ENDED_PHASES]
    live.reverse()
    live.sort(key=_has_its_address)
    return {pod.ip: pod for pod in live}


def _has_its_address(pod: Pod) -> tuple[bool, bool, str]:
    """Returns what tells which of two Pods has an address: the greater one."""
    return pod.metadata.deletionTimestamp is None, pod.ready, pod.metadata.creationTimestamp


def _without_address(pod: Pod, holder: Pod) -> str:
    """Returns why the Pod has lost its address to ``holder`` ("" if it has not, or if both were written by
    hand, which is a mistake).
    """
    if holder is pod:
        return ""
    if pod.metadata.deletionTimestamp:
        return f"it is being deleted, and Pod {holder.key} has its address {pod.ip}"
    if not (pod.metadata.uid and holder.metadata.uid):
        return ""
    mine, others = _has_its_address(pod), _has_its_address(holder)
    why = "is ready" if mine[1] != others[1] else "is newer" if mine[2] != others[2] else "comes first"
    return f"Pod {holder.key} has its address {pod.ip} as well, and {why}"


def _without_network(pod: Pod, lives: bool) -> str:
    """Returns why the Pod has no network, in the API server's words ("" if it has one, or may get one here).

    A Pod has an address once its sandbox is made. A manifest without status tells nothing: such a Pod is
    placed and addressed here.
    """
    if pod.spec.schedulingGates:
        return "Scheduling is blocked due to non-empty scheduling gates"
    status = pod.status
    addresses = [entry.ip for entry in status.podIPs] or ([status.podIP] if status.podIP else [])
    if addresses and not pod.spec.hostNetwork and all(map(is_other, addresses)):
        return f"it has {OTHERS} addresses alone ({addresses[0]}), and {ONLY_BUILT}"
    if lives or pod.ips or not (status.phase == "Pending" or (status.phase and pod.metadata.uid)):
        return ""
    unscheduled = next(
        (c for c in status.conditions if c.type == "PodScheduled" and c.status == "False"), None
    )
    if unscheduled is not None:
        return unscheduled.message or "it is Pending: PodScheduled is False"
    return f"it is {status.phase}, and has no address yet"


def controlled_pods(
    workloads: Sequence[Loaded[Workload]],
    pods: Iterable[Pod],
    taken: dict[str, set[str]],
    nodes: Sequence[Node],
    seed: int,
    room: Room,
    findings: Findings,
) -> list[Draft[Pod]]:
    """Returns the Pods of the controllers without a Pod in ``pods``, in the controllers' order. ``taken`` are
    the names of Pods, by namespace. ``room`` bounds the number of Pods, so that a slip in ``replicas`` is a
    problem and not a wait.
    """
    owned = _owned((*(pod.metadata for pod in pods), *(w.object.metadata for w in workloads)))
    made: list[Draft[Pod]] = []
    addressed = 0  # addresses that they take
    for loaded in workloads:
        workload = loaded.object
        if (workload.kind, workload.metadata.namespace, workload.metadata.name) in owned:
            continue
        if workload.kind == "Job" and workload.metadata.uid:
            continue  # in a live cluster it has made its Pods: missing ones are gone
        daemon, host = workload.kind == "DaemonSet", workload.spec.template.spec.hostNetwork
        count = len(nodes) if daemon else workload.replicas
        if refusal := room.refusal(len(made) + count, 0 if host or daemon else addressed + count):
            path = "spec.parallelism" if workload.kind == "Job" else "spec" if daemon else "spec.replicas"
            asked = Words("a Pod on each node") if daemon else worded("{} replicas", f"{count:,}")
            what = worded("{}: {}", asked, Words(refusal))
            findings.problem(loaded.origin, path, what, "fewer replicas, or more nodes")
            continue
        new = _make(loaded, nodes, seed, taken.setdefault(workload.metadata.namespace, set()), findings)
        made += new
        addressed += 0 if host else len(new)
    return made


def missing_pods(
    loaded: Loaded[Workload],
    own: Sequence[Pod],
    nodes: Sequence[Node],
    seed: int,
    taken: set[str],
    findings: Findings,
) -> list[Draft[Pod]]:
    """Returns the Pods that the controller makes beside its ``own``. It replaces a Pod that is being deleted
    at once, a StatefulSet does when it is gone.
    """
    workload, origin = loaded.object, loaded.origin
    if workload.kind in _INTERCHANGEABLE:
        active = [pod for pod in own if not pod.metadata.deletionTimestamp]
        fewer = workload.scaled(max(0, workload.replicas - len(active)))
        if not own:
            return _make(replace(loaded, object=fewer), nodes, seed, taken, findings)
        owner = next(o for o in own[-1].metadata.ownerReferences if o.controller)
        labels = {
            key: value
            for key, value in own[-1].metadata.labels.items()
            if key in (TEMPLATE_HASH_LABEL, *JOB_LABELS)
        }
        return _replicas(fewer, origin, seed, taken, owner.kind, owner.name, labels)
    names, hosts = {pod.name for pod in own}, {pod.spec.nodeName for pod in own}
    made = _make(loaded, nodes, seed, taken - names, findings)
    return [
        d
        for d in made
        if d.object.name not in names
        and not (workload.kind == "DaemonSet" and d.object.spec.nodeName in hosts)
    ]


def surplus_pods(workload: Workload, own: Sequence[Pod]) -> list[Pod]:
    """Returns the Pods to delete when there are too many. A ReplicaSet deletes those that are not ready
    first, then those that share their node with most others of its Pods, then the newest
    (pkg/controller/controller_utils.go, ActivePodsWithRanks); a StatefulSet the highest ordinals.
    """
    if workload.kind == "StatefulSet":
        start = workload.spec.ordinals.start
        kept = {
            f"{workload.metadata.name}-{start + index}"
            for index in range(min(workload.spec.replicas, len(own) + 1_000))
        }
        return [pod for pod in own if pod.name not in kept]
    active = [pod for pod in own if pod.metadata.deletionTimestamp is None]
    if workload.kind == "DaemonSet" or len(active) <= workload.replicas:
        return []
    together = Counter(pod.spec.nodeName for pod in active)
    ranked = sorted(
        enumerate(active), key=lambda row: (row[1].ready, -together[row[1].spec.nodeName], -row[0])
    )
    return [pod for _, pod in ranked[: len(active) - workload.replicas]]


def controls(workload: Workload, pod: Pod) -> bool:
    """Returns whether ``workload`` made ``pod``: itself, or, a Deployment, by the ReplicaSet that is named
    after it and the template's hash.
    """
    if pod.namespace != workload.metadata.namespace:
        return False
    owners = {(owner.kind, owner.name) for owner in pod.metadata.ownerReferences if owner.controller}
    if workload.kind == "Deployment":
        return (
            "ReplicaSet",
            f"{workload.metadata.name}-{pod.metadata.labels.get(TEMPLATE_HASH_LABEL, '')}",
        ) in owners
    return (workload.kind, workload.metadata.name) in owners


def _owned(metas: Iterable[ObjectMeta]) -> set[tuple[str, str, str]]:
    """Returns (kind, namespace, name) of every controller that owns one of the objects.

    A dump of Deployments and Pods alone lacks the ReplicaSets between them: they are named after Deployment
    and template hash.
    """
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


def _make(
    loaded: Loaded[Workload], nodes: Sequence[Node], seed: int, taken: set[str], findings: Findings
) -> list[Draft[Pod]]:
    workload, origin = loaded.object, loaded.origin
    name, spec = workload.metadata.name, workload.spec.template.spec
    if workload.kind == "Deployment":
        key = template_hash(seed, workload.key, workload.spec.template)
        return _replicas(
            workload, origin, seed, taken, "ReplicaSet", f"{name}-{key}", {TEMPLATE_HASH_LABEL: key}
        )
    if workload.kind == "Job":
        labels = dict.fromkeys(JOB_LABELS, name)
        if workload.spec.completionMode == "Indexed":
            return _indexed(workload, origin, seed, taken, labels)
        return _replicas(workload, origin, seed, taken, "Job", name, labels)
    if workload.kind in ("ReplicaSet", "ReplicationController"):
        return _replicas(workload, origin, seed, taken, workload.kind, name, {})
    if workload.kind == "StatefulSet":
        drafts = []
        start = workload.spec.ordinals.start
        for ordinal in range(start, start + workload.spec.replicas):
            pod_name = f"{name}-{ordinal}"
            if pod_name in taken:
                findings.problem(
                    origin,
                    "metadata.name",
                    worded("StatefulSet {} makes a Pod {}, which exists already", workload.key, pod_name),
                )
                continue
            taken.add(pod_name)
            labels = {
                "statefulset.kubernetes.io/pod-name": pod_name,
                "apps.kubernetes.io/pod-index": str(ordinal),
            }
            own = replace(spec, hostname=pod_name, subdomain=workload.spec.serviceName)
            drafts.append(_pod(workload, origin, pod_name, own, "StatefulSet", name, labels))
        return drafts
    more = (*DAEMON_TOLERATIONS, *(HOST_NETWORK_TOLERATIONS if spec.hostNetwork else ()))
    own = replace(spec, tolerations=(*spec.tolerations, *more))
    fitting = [node.name for node in nodes if spec.nodeName in ("", node.name) and not obstacle(node, own)]
    if not fitting:
        findings.warn(Code.NO_DAEMON_POD, ObjectRef("DaemonSet", workload.key))
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


def _indexed(
    workload: Workload, origin: Origin, seed: int, taken: set[str], labels: Mapping[str, str]
) -> list[Draft[Pod]]:
    """Returns the Pods of a Job whose completionMode is Indexed: those of the lowest indexes, which begin."""
    drafts = []
    for index in range(workload.replicas):
        base = f"{workload.metadata.name}-{index}"
        pod_name = generate_name(f"{base}-", seed, workload.key, index, taken=taken)
        own = replace(workload.spec.template.spec, hostname=base)
        marked = {**labels, COMPLETION_INDEX: str(index)}
        drafts.append(_pod(workload, origin, pod_name, own, "Job", workload.metadata.name, marked))
    return drafts


def _replicas(
    workload: Workload,
    origin: Origin,
    seed: int,
    taken: set[str],
    kind: str,
    owner: str,
    labels: Mapping[str, str],
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
        for index in range(workload.replicas)
    ]


def _pod(
    workload: Workload,
    origin: Origin,
    name: str,
    spec: PodSpec,
    owner_kind: str,
    owner: str,
    labels: Mapping[str, str],
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
