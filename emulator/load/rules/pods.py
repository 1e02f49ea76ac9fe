"""Checks Namespaces, Nodes, Pods, and the workloads that make Pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...errors import Words, worded
from ...net import family_of
from ...objects.families import BUILT
from ...objects.kinds import (
    Container,
    ContainerPort,
    LabelSelector,
    Namespace,
    Node,
    NodeSelectorTerm,
    Pod,
    PodAffinityTerm,
    PodSpec,
    Workload,
)
from ...objects.selectors import matches
from ...objects.warnings import OddValue
from ..faults import Fault, FaultKind, FieldPath, required, shown
from .checks import (
    LABEL,
    MAX_INT32,
    MAX_PORT,
    PORT_NAME,
    SUBDOMAIN,
    Checks,
    check_metadata,
)

MAX_CRON_JOB_NAME = 52
RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
# how a workload replaces its Pods: the field, and what it may say
_UPDATES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Deployment": ("strategy", ("RollingUpdate", "Recreate")),
    "StatefulSet": ("updateStrategy", ("RollingUpdate", "OnDelete")),
    "DaemonSet": ("updateStrategy", ("RollingUpdate", "OnDelete")),
}
_POD_MANAGEMENT = ("OrderedReady", "Parallel")
_CRON_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_PROBE_NUMBERS = (
    *("initialDelaySeconds", "timeoutSeconds", "periodSeconds"),
    *("successThreshold", "failureThreshold"),
)
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
# in the selector that the API server gives a Job (pkg/registry/batch/job/strategy.go, generateSelector)
GENERATED_JOB_LABELS = frozenset(
    prefix + label for prefix in ("", "batch.kubernetes.io/") for label in ("controller-uid", "job-name")
)
# old APIs in which a workload's selector is its template's labels
SELECTOR_DEFAULTS = ("extensions/v1beta1", "apps/v1beta1")


def check_namespace(value: Namespace, namespaced: bool, checks: Checks) -> Namespace:
    return replace(value, metadata=check_metadata(value, namespaced, checks))


def check_node(node: Node, namespaced: bool, checks: Checks) -> Node:
    spec = replace(
        node.spec,
        podCIDR=checks.optional_prefix(("spec", "podCIDR"), node.spec.podCIDR),
        podCIDRs=checks.prefixes(("spec", "podCIDRs"), node.spec.podCIDRs),
    )
    if spec.podCIDR and spec.podCIDRs and spec.podCIDR != spec.podCIDRs[0]:
        # pkg/apis/core/v1/conversion.go, NodeSpec
        checks.odd(("spec", "podCIDRs", 0), OddValue.TWO_POD_CIDRS, spec.podCIDR)
        spec = replace(spec, podCIDRs=(spec.podCIDR,))
    families = [(("spec", "podCIDRs", i), _family(cidr)) for i, cidr in enumerate(spec.podCIDRs)]
    checks.unique(families, "address family", FaultKind.INVALID)
    checks.taints(("spec", "taints"), spec.taints)
    addresses = tuple(
        replace(a, address=checks.address(("status", "addresses", i, "address"), a.address))
        if a.type.endswith("IP")
        else a
        for i, a in enumerate(node.status.addresses)
        if a.address  # a node without a public address may have an empty ExternalIP
    )
    checks.unique(
        [(("spec", "taints", i), (t.key, t.effect)) for i, t in enumerate(spec.taints)], "key and effect"
    )
    return replace(
        node,
        metadata=check_metadata(node, namespaced, checks),
        spec=spec,
        status=replace(node.status, addresses=addresses),
    )


def _family(cidr: str) -> str:
    return (family_of(cidr) or BUILT).word


def check_pod(pod: Pod, namespaced: bool, checks: Checks) -> Pod:
    status = replace(
        pod.status,
        podIP=checks.optional_address(("status", "podIP"), pod.status.podIP),
        podIPs=tuple(
            replace(entry, ip=checks.address(("status", "podIPs", i, "ip"), entry.ip))
            for i, entry in enumerate(pod.status.podIPs)
        ),
        hostIP=checks.optional_address(("status", "hostIP"), pod.status.hostIP),
    )
    _host_ports(("spec",), pod.spec, checks, defaulted=True)
    _one_of(("spec", "restartPolicy"), checks.value("spec", "restartPolicy"), RESTART_POLICIES, checks)
    if pod.spec.schedulingGates and pod.spec.nodeName:
        what = "may not be set until all schedulingGates are gone"
        checks.forbidden(("spec", "nodeName"), what, "leave out one of the two")
    return replace(
        pod,
        metadata=check_metadata(pod, namespaced, checks),
        spec=_pod_spec(("spec",), pod.spec, checks),
        status=status,
    )


def _one_of(path: FieldPath, said: Any, known: Sequence[str], checks: Checks) -> None:
    """Checks a field that has a default and takes one of a few words."""
    if said not in (None, ""):
        checks.one_of(path, said, known)


def _updates(workload: Workload, checks: Checks) -> None:
    """Checks how a workload replaces its Pods (apps validation: ValidateDeploymentStrategy,
    ValidateStatefulSetSpec, ValidateDaemonSetUpdateStrategy).
    """
    if workload.kind not in _UPDATES:
        return
    field, known = _UPDATES[workload.kind]
    said = checks.value("spec", field, "type")
    _one_of(("spec", field, "type"), said, known, checks)
    if said in known[1:] and checks.said("spec", field, "rollingUpdate"):
        checks.forbidden(("spec", field, "rollingUpdate"), f"may not be set with type {said}")
    rolling = ("spec", field, "rollingUpdate")
    none, surge = (0, "0%"), checks.value(*rolling, "maxSurge")
    surges = surge not in none and (surge is not None or workload.kind != "DaemonSet")  # its default is 0
    if checks.value(*rolling, "maxUnavailable") in none and not surges and workload.kind != "StatefulSet":
        what = "may not be 0 when maxSurge is 0: no Pod could ever be replaced"
        checks.fault((*rolling, "maxUnavailable"), what, "1, say")
    if workload.kind == "StatefulSet":
        path = ("spec", "podManagementPolicy")
        _one_of(path, checks.value(*path), _POD_MANAGEMENT, checks)
    if workload.spec.ordinals.start < 0:
        what = worded("must be 0 or more, is {}", shown(workload.spec.ordinals.start))
        checks.fault(("spec", "ordinals", "start"), what)


def _restart_policy(workload: Workload, checks: Checks) -> None:
    """Checks the template's restartPolicy (apps and batch validation: ValidatePodTemplateSpecForReplicaSet,
    ValidateJobSpec).
    """
    path = ("spec", "template", "spec", "restartPolicy")
    said = checks.value(*path)
    if workload.kind == "Job":
        if said not in ("OnFailure", "Never"):
            checks.fault(
                path,
                worded("must be OnFailure or Never for a Job, is {}", shown(said or "Always")),
                "write Never, say",
                FaultKind.REQUIRED,
            )
    elif said not in (None, "", "Always"):
        checks.fault(
            path,
            worded("must be Always for a {}, is {}", Words(workload.kind), shown(said)),
            "leave it out; Pods that end are a Job's",
        )


def _host_ports(path: FieldPath, spec: PodSpec, checks: Checks, *, defaulted: bool) -> None:
    """Checks the host ports of a Pod, or of a template (validation.go: validateHostNetwork,
    checkHostPortConflicts).

    ``defaulted``: with hostNetwork an unset hostPort is the containerPort, as the API server fills it into a
    Pod.
    """
    taken = []
    for i, container in enumerate(spec.containers):
        for j, port in enumerate(container.ports):
            at = (*path, "containers", i, "ports", j, "hostPort")
            if spec.hostNetwork and port.hostPort and port.hostPort != port.containerPort:
                what = worded(
                    "must be the containerPort, {}, when hostNetwork is true, is {}",
                    port.containerPort,
                    port.hostPort,
                )
                checks.fault(at, what, "leave it out")
            elif number := port.hostPort or (port.containerPort if spec.hostNetwork and defaulted else None):
                taken.append(
                    (at, f"{number}/{port.protocol}" + (f" at {port.hostIP}" if port.hostIP else ""))
                )
    checks.unique(taken, "host port")


def _pod_spec(path: FieldPath, spec: PodSpec, checks: Checks) -> PodSpec:
    if not spec.containers:
        checks.required((*path, "containers"), ": a Pod has at least one container")
    checks.optional_name((*path, "nodeName"), spec.nodeName, SUBDOMAIN)
    checks.labels((*path, "nodeSelector"), spec.nodeSelector)
    checks.optional_name((*path, "hostname"), spec.hostname, LABEL)
    checks.optional_name((*path, "subdomain"), spec.subdomain, LABEL)
    _one_of((*path, "dnsPolicy"), checks.value(*map(str, path), "dnsPolicy"), DNS_POLICIES, checks)
    gates = [
        ((*path, "schedulingGates", i, "name"), gate.name) for i, gate in enumerate(spec.schedulingGates)
    ]
    checks.unique(gates, "name")
    for i, toleration in enumerate(spec.tolerations):
        if toleration.key:
            checks.key((*path, "tolerations", i, "key"), toleration.key)
        elif toleration.operator == "Equal":
            checks.fault((*path, "tolerations", i, "operator"), "must be Exists when no key is given")
        if toleration.operator == "Exists" and toleration.value:
            checks.fault((*path, "tolerations", i, "value"), "must be empty when the operator is Exists")
        if toleration.tolerationSeconds is not None and toleration.effect != "NoExecute":
            what = "must be NoExecute when tolerationSeconds is set"
            checks.fault((*path, "tolerations", i, "effect"), what, "or leave tolerationSeconds out")
        elif toleration.effect:
            checks.one_of((*path, "tolerations", i, "effect"), toleration.effect, TAINT_EFFECTS)
    _scheduling(path, spec, checks)
    both = [
        ((*path, field, i), c)
        for field in ("containers", "initContainers")
        for i, c in enumerate(getattr(spec, field))
    ]
    checks.unique([((*at, "name"), c.name) for at, c in both if c.name], "name")
    return replace(
        spec,
        containers=tuple(
            _container((*path, "containers", i), c, checks) for i, c in enumerate(spec.containers)
        ),
        initContainers=tuple(
            _container((*path, "initContainers", i), c, checks) for i, c in enumerate(spec.initContainers)
        ),
    )


def _scheduling(path: FieldPath, spec: PodSpec, checks: Checks) -> None:
    """Checks affinities and spread constraints (pkg/apis/core/validation, validateAffinity and
    validateTopologySpreadConstraints).
    """
    for i, constraint in enumerate(spec.topologySpreadConstraints):
        at = (*path, "topologySpreadConstraints", i)
        if constraint.maxSkew < 1:
            checks.fault(
                (*at, "maxSkew"), worded("must be greater than zero, is {}", shown(constraint.maxSkew))
            )
        if constraint.minDomains is not None and constraint.minDomains < 1:
            checks.fault(
                (*at, "minDomains"), worded("must be greater than zero, is {}", shown(constraint.minDomains))
            )
        elif constraint.minDomains is not None and constraint.whenUnsatisfiable == "ScheduleAnyway":
            what = "may be set with whenUnsatisfiable DoNotSchedule only"
            checks.fault((*at, "minDomains"), what, "leave it out")
        checks.key((*at, "topologyKey"), constraint.topologyKey)
        if constraint.labelSelector:
            checks.label_selector((*at, "labelSelector"), constraint.labelSelector)
    pairs = (
        ((*path, "topologySpreadConstraints", i), f"{c.topologyKey}, {c.whenUnsatisfiable}")
        for i, c in enumerate(spec.topologySpreadConstraints)
    )
    checks.unique(pairs, "topologyKey and whenUnsatisfiable")
    if spec.affinity is None:
        return
    hard, soft = (
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    )
    at = (*path, "affinity", "nodeAffinity")
    node = spec.affinity.nodeAffinity
    if node.requiredDuringSchedulingIgnoredDuringExecution is not None:
        terms = node.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms
        if not terms:
            checks.required((*at, hard, "nodeSelectorTerms"), ": at least one term")
        for i, term in enumerate(terms):
            _node_term((*at, hard, "nodeSelectorTerms", i), term, checks)
    for i, wish in enumerate(node.preferredDuringSchedulingIgnoredDuringExecution):
        _weight((*at, soft, i, "weight"), wish.weight, checks)
        _node_term((*at, soft, i, "preference"), wish.preference, checks)
    for field, pods in (
        ("podAffinity", spec.affinity.podAffinity),
        ("podAntiAffinity", spec.affinity.podAntiAffinity),
    ):
        at = (*path, "affinity", field)
        for i, pod_term in enumerate(pods.requiredDuringSchedulingIgnoredDuringExecution):
            _pod_term((*at, hard, i), pod_term, checks)
        for i, weighted in enumerate(pods.preferredDuringSchedulingIgnoredDuringExecution):
            _weight((*at, soft, i, "weight"), weighted.weight, checks)
            _pod_term((*at, soft, i, "podAffinityTerm"), weighted.podAffinityTerm, checks)


def _weight(path: FieldPath, weight: int, checks: Checks) -> None:
    if not 1 <= weight <= 100:
        checks.fault(path, worded("must be between 1 and 100, is {}", shown(weight)))


def _node_term(path: FieldPath, term: NodeSelectorTerm, checks: Checks) -> None:
    for field in ("matchExpressions", "matchFields"):
        for i, requirement in enumerate(getattr(term, field)):
            at, operator, values = (*path, field, i), requirement.operator, requirement.values
            if operator in ("In", "NotIn") and not values:
                checks.required((*at, "values"), f" with {operator}")
            elif operator in ("Exists", "DoesNotExist") and values:
                checks.forbidden((*at, "values"), f"must be empty with {operator}", "")
            elif operator in ("Gt", "Lt") and not (len(values) == 1 and values[0].lstrip("-").isdecimal()):
                checks.fault((*at, "values"), f"must be one whole number, in quotes, with {operator}")
            if field == "matchExpressions":
                checks.key((*at, "key"), requirement.key)
            elif requirement.key != "metadata.name":
                checks.fault(
                    (*at, "key"),
                    worded("{} is no field to select by", shown(requirement.key)),
                    "metadata.name is the only one",
                )


def _pod_term(path: FieldPath, term: PodAffinityTerm, checks: Checks) -> None:
    checks.key((*path, "topologyKey"), term.topologyKey)
    for field in ("labelSelector", "namespaceSelector"):
        if selector := getattr(term, field):
            checks.label_selector((*path, field), selector)


def _container(path: FieldPath, container: Container, checks: Checks) -> Container:
    checks.name((*path, "name"), container.name, LABEL)
    checks.unique(
        [((*path, "ports", i, "name"), p.name) for i, p in enumerate(container.ports) if p.name], "name"
    )
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        _probe((*path, name), checks)
    return replace(
        container,
        ports=tuple(_container_port((*path, "ports", i), p, checks) for i, p in enumerate(container.ports)),
    )


def _probe(path: FieldPath, checks: Checks) -> None:
    """Checks a probe, as the manifest has it (pkg/apis/core/validation, validateProbe)."""
    probe: Any = checks.written
    for step in path:
        known = isinstance(probe, Mapping) or (isinstance(probe, list) and isinstance(step, int))
        probe = (probe.get(step) if isinstance(probe, Mapping) else probe[step]) if known else None
    if not isinstance(probe, Mapping):
        return
    handlers = [name for name in _PROBE_HANDLERS if probe.get(name) is not None]
    if len(handlers) != 1:
        has = f"has {' and '.join(handlers)}" if handlers else "has none"
        checks.fault(path, worded("must have exactly one of {}; {}", ", ".join(_PROBE_HANDLERS), has))
    for name in handlers:
        port = probe[name].get("port") if isinstance(probe[name], Mapping) else None
        if isinstance(port, int) and not 1 <= port <= MAX_PORT:
            what = worded("must be a port between 1 and {}, is {}", str(MAX_PORT), shown(port))
            checks.fault((*path, name, "port"), what)
    for name in _PROBE_NUMBERS:
        number = probe.get(name)
        if isinstance(number, int) and number < 0:
            checks.fault((*path, name), worded("must be 0 or more, is {}", shown(number)))
    often = probe.get("successThreshold")
    if path[-1] != "readinessProbe" and isinstance(often, int) and often > 1:
        what = worded("must be 1 for a {}, is {}", str(path[-1]), shown(often))
        checks.fault((*path, "successThreshold"), what)


def _container_port(path: FieldPath, port: ContainerPort, checks: Checks) -> ContainerPort:
    checks.port((*path, "containerPort"), port.containerPort)
    checks.optional_name((*path, "name"), port.name, PORT_NAME)
    return replace(
        port,
        hostPort=checks.optional_port((*path, "hostPort"), port.hostPort),
    )


def _job_selector(job: Workload, checks: Checks) -> None:
    """Checks the selector of a Job that leaves it to the API server (batch validation:
    ValidateGeneratedSelector). A dump has the generated selector.
    """
    selector = job.spec.selector
    if selector is None:
        return
    checks.label_selector(("spec", "selector"), selector)
    keys = {*selector.matchLabels, *(each.key for each in selector.matchExpressions)}
    if foreign := sorted(keys - GENERATED_JOB_LABELS):
        what = worded("is the API server's to make for a Job: it asks for the label {}", shown(foreign[0]))
        checks.fault(("spec", "selector"), what, "leave it out, or set spec.manualSelector: true")


def check_cron_job(written: Mapping[str, Any]) -> Iterator[Fault]:
    """Yields the faults of a CronJob, which makes no Pod here (batch validation: ValidateCronJobCreate)."""
    metadata = written.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if isinstance(name, str) and len(name) > MAX_CRON_JOB_NAME:
        what = worded("must be at most {} characters for a CronJob, has {}", MAX_CRON_JOB_NAME, len(name))
        yield Fault(("metadata", "name"), what, "its Jobs' names are 11 characters longer")
    spec = written.get("spec")
    schedule = spec.get("schedule") if isinstance(spec, Mapping) else None
    if isinstance(spec, Mapping) and not _is_schedule(schedule):
        path, hint = ("spec", "schedule"), "five fields: '*/15 * * * *', say"
        if schedule in (None, ""):
            yield required(path, hint=hint)
        else:
            yield Fault(path, worded("{} is no schedule", shown(schedule)), hint)


def _is_schedule(text: Any) -> bool:
    """Returns whether ``text`` has the form of a schedule (robfig/cron, ParseStandard)."""
    if not isinstance(text, str):
        return False
    words = [word for word in text.split() if not word.startswith(("TZ=", "CRON_TZ="))]
    if text.startswith("@"):
        return words[0] == "@every" and len(words) == 2 if len(words) != 1 else words[0] in _CRON_MACROS
    return len(words) == 5


def check_workload(workload: Workload, namespaced: bool, checks: Checks) -> Workload:
    spec = workload.spec
    if not 0 <= spec.replicas <= MAX_INT32:
        checks.fault(("spec", "replicas"), worded("must be 0 or more, is {}", shown(spec.replicas)))
    checks.optional_name(("spec", "serviceName"), spec.serviceName, SUBDOMAIN)
    labels = spec.template.metadata.labels
    checks.labels(("spec", "template", "metadata", "labels"), labels)
    checks.annotations(("spec", "template", "metadata", "annotations"), spec.template.metadata.annotations)
    for field in ("parallelism", "completions"):
        if (getattr(spec, field) or 0) < 0:
            checks.fault(("spec", field), worded("must be 0 or more, is {}", shown(getattr(spec, field))))
    if spec.completionMode == "Indexed" and spec.completions is None:
        checks.required(("spec", "completions"), " with completionMode Indexed", "3, say")
    defaulted = (
        checks.written.get("apiVersion") in SELECTOR_DEFAULTS or workload.kind == "ReplicationController"
    )
    if spec.selector is None and defaulted and labels:
        spec = replace(spec, selector=LabelSelector(matchLabels=labels))
    if workload.kind == "Job" and not spec.manualSelector:
        _job_selector(workload, checks)
    elif spec.selector is None:
        checks.required(("spec", "selector"), hint="matchLabels with the labels of the template")
    else:
        checks.label_selector(("spec", "selector"), spec.selector)
        if not spec.selector.matchLabels and not spec.selector.matchExpressions:
            checks.fault(
                ("spec", "selector"),
                f"must not be empty for a {workload.kind}",
                "matchLabels with the labels of the template",
            )
        elif not matches(spec.selector, labels):
            what = "does not select the Pods of its own template: `selector` does not match template `labels`"
            checks.fault(
                ("spec", "selector"),
                what,
                "give spec.template.metadata.labels the labels that matchLabels asks for",
            )
    _host_ports(("spec", "template", "spec"), spec.template.spec, checks, defaulted=False)
    _restart_policy(workload, checks)
    _updates(workload, checks)
    template = replace(
        spec.template, spec=_pod_spec(("spec", "template", "spec"), spec.template.spec, checks)
    )
    return replace(
        workload, metadata=check_metadata(workload, namespaced, checks), spec=replace(spec, template=template)
    )
