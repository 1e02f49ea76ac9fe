"""Fills in what kube-apiserver fills in: at decoding, at admission, and when an object is made or changed.

Pure. A document of Kubernetes' own types gets their shape (:mod:`.shapes`); a custom resource stays as
it is. Sources: k/k pkg/apis/*/v1/defaults.go (defaults of each type), plugin/pkg/admission (service accounts,
tolerations, priority), pkg/registry/*/strategy.go (status, generated values). Kept out on purpose, since no
controller here would take them away again: the finalizers of volumes in use, and the taint of a new Node that
is not ready.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import shapes
from .quantities import amount
from .resources import Resource
from .schemas import definition_of

Document = dict[str, Any]

FINALIZER = "kubernetes"
TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
TOKEN_SECONDS = 3607  # as kube-apiserver asks it: an hour, and what tells it from others
_TOLERATED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def decoded(resource: Resource, document: Mapping[str, Any]) -> Document:
    """Returns ``document`` with the shape and the defaults of its type."""
    type_ = definition_of(resource.apiVersion, resource.kind)
    whole = {**document, "apiVersion": resource.apiVersion, "kind": resource.kind}
    if type_ is None or resource.schema is not None:
        return whole
    result: Document = shapes.shaped(type_, whole, _FILLS)
    return result


def created(
    resource: Resource, document: Mapping[str, Any], *, now: str, uid: str = "", suffix: str = ""
) -> Document:
    """Returns ``document`` as it is stored when it is created.

    ``uid``: the object's, which a Job's selector needs. ``suffix``: five random characters for the name of
    the volume with the service account's token; without it a Pod gets none.
    """
    whole = decoded(resource, document)
    if resource.schema is not None:
        if "status" in resource.subresources:
            whole.pop("status", None)
        return whole
    key = (resource.group, resource.kind)
    if "status" in resource.subresources and key not in _STATUS_AT_BIRTH:
        whole.pop("status", None)
    if key == ("", "Pod"):
        _admit_pod(whole, now, suffix)
    elif key == ("", "Namespace"):
        spec = _inside(whole, "spec")
        finalizers = _list(spec.get("finalizers"))
        spec["finalizers"] = finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER]
        whole["status"] = {"phase": "Active"}
    elif key == ("", "PersistentVolume"):
        whole["status"] = {"phase": "Pending", "lastPhaseTransitionTime": now}
    elif key == ("batch", "Job") and uid:
        _select_pods(whole, uid, labelled=bool(_map(document.get("metadata")).get("labels")))
    elif key == ("apps", "DaemonSet"):
        _annotate_generation(whole)
    return decoded(resource, whole)


def updated(resource: Resource, document: Mapping[str, Any], old: Mapping[str, Any]) -> Document:
    """Returns ``document`` as it is stored in place of ``old``: the status is the old one, and values that
    were given out stay if the new document does not name them.
    """
    whole = decoded(resource, document)
    if "status" in resource.subresources:
        _take(whole, old, "status")
    if resource.schema is not None:
        return whole
    key = (resource.group, resource.kind)
    if key == ("", "Service"):
        _keep_given_out(whole, old)
    elif key == ("", "Namespace"):
        before = _map(old.get("spec")).get("finalizers")
        if before is not None:
            _inside(whole, "spec")["finalizers"] = before
    elif key == ("batch", "Job") and not _map(whole.get("spec")).get("manualSelector"):
        _keep_selector(whole, old)
    elif key == ("apps", "DaemonSet"):
        _keep_annotation(whole, old)
    return whole


def status_updated(resource: Resource, document: Mapping[str, Any], old: Mapping[str, Any]) -> Document:
    """Returns ``old`` with the status of ``document``, and of its metadata those fields that a write of the
    status may change.
    """
    new = decoded(resource, document)
    whole = {**old, "apiVersion": resource.apiVersion, "kind": resource.kind}
    _take(whole, new, "status")
    before, after = _map(old.get("metadata")), _map(new.get("metadata"))
    changeable: tuple[str, ...] = ("annotations", "finalizers", "managedFields", "resourceVersion", "uid")
    if resource.schema is not None:
        changeable = ("managedFields", "resourceVersion", "uid")
    metadata = {name: item for name, item in before.items() if name not in changeable}
    metadata |= {name: after[name] for name in changeable if name in after}
    if resource.schema is not None:
        metadata |= {name: before[name] for name in ("annotations", "finalizers") if name in before}
    whole["metadata"] = metadata
    return decoded(resource, whole)


# A client may bring these kinds' status along: kubelet creates its Node with one.
_STATUS_AT_BIRTH = frozenset({("", "Node"), ("apiregistration.k8s.io", "APIService")})


# --- defaults of types ----------------------------------------------------------------------------------

_CORE = "io.k8s.api.core.v1."
_APPS = "io.k8s.api.apps.v1."
_CRD = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."

# Values of fields that are not set. Where the type is no pointer, an empty value is not set either.
_VALUES: Mapping[str, Mapping[str, Any]] = {
    f"{_CORE}ContainerPort": {"protocol": "TCP"},
    f"{_CORE}EndpointPort": {"protocol": "TCP"},
    "io.k8s.api.discovery.v1.EndpointPort": {"name": "", "protocol": "TCP"},
    "io.k8s.api.networking.v1.NetworkPolicyPort": {"protocol": "TCP"},
    f"{_CORE}Probe": {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    f"{_CORE}GRPCAction": {"service": ""},
    f"{_CORE}HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    f"{_CORE}SecretVolumeSource": {"defaultMode": 0o644},
    f"{_CORE}ConfigMapVolumeSource": {"defaultMode": 0o644},
    f"{_CORE}DownwardAPIVolumeSource": {"defaultMode": 0o644},
    f"{_CORE}ProjectedVolumeSource": {"defaultMode": 0o644},
    f"{_CORE}HostPathVolumeSource": {"type": ""},
    f"{_CORE}ServiceAccountTokenProjection": {"expirationSeconds": 3600},
    f"{_CORE}ObjectFieldSelector": {"apiVersion": "v1"},
    f"{_CORE}Secret": {"type": "Opaque"},
    f"{_CORE}PersistentVolumeSpec": {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"},
    f"{_CORE}PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    f"{_CORE}PersistentVolumeClaimStatus": {"phase": "Pending"},
    f"{_CORE}NamespaceStatus": {"phase": "Active"},
    f"{_CORE}ReplicationControllerSpec": {"replicas": 1},
    f"{_CORE}ISCSIVolumeSource": {"iscsiInterface": "default"},
    f"{_CORE}AzureDiskVolumeSource": {
        "cachingMode": "ReadWrite",
        "fsType": "ext4",
        "kind": "Shared",
        "readOnly": False,
    },
    f"{_CORE}RBDVolumeSource": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    f"{_CORE}ScaleIOVolumeSource": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
    f"{_APPS}DeploymentSpec": {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600},
    f"{_APPS}DeploymentStrategy": {"type": "RollingUpdate"},
    f"{_APPS}RollingUpdateDeployment": {"maxUnavailable": "25%", "maxSurge": "25%"},
    f"{_APPS}ReplicaSetSpec": {"replicas": 1},
    f"{_APPS}StatefulSetSpec": {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "podManagementPolicy": "OrderedReady",
        "persistentVolumeClaimRetentionPolicy": {},
    },
    f"{_APPS}StatefulSetPersistentVolumeClaimRetentionPolicy": {
        "whenDeleted": "Retain",
        "whenScaled": "Retain",
    },
    f"{_APPS}DaemonSetSpec": {"revisionHistoryLimit": 10},
    f"{_APPS}DaemonSetUpdateStrategy": {"type": "RollingUpdate"},
    f"{_APPS}RollingUpdateDaemonSet": {"maxUnavailable": 1, "maxSurge": 0},
    "io.k8s.api.batch.v1.CronJobSpec": {
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    },
    "io.k8s.api.batch.v1.PodFailurePolicyOnPodConditionsPattern": {"status": "True"},
    "io.k8s.api.networking.v1.IngressClassParametersReference": {"scope": "Cluster"},
    "io.k8s.api.storage.v1.StorageClass": {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    "io.k8s.api.scheduling.v1.PriorityClass": {"preemptionPolicy": "PreemptLowerPriority"},
    "io.k8s.api.admissionregistration.v1.Rule": {"scope": "*"},
    "io.k8s.api.admissionregistration.v1.ServiceReference": {"port": 443},
    "io.k8s.api.admissionregistration.v1.ValidatingWebhook": {
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "timeoutSeconds": 10,
    },
    "io.k8s.api.admissionregistration.v1.MutatingWebhook": {
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "reinvocationPolicy": "Never",
        "timeoutSeconds": 10,
    },
    f"{_CRD}CustomResourceDefinitionSpec": {"conversion": {"strategy": "None"}},
    f"{_CRD}ServiceReference": {"port": 443},
}


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _maps(value: Any) -> Iterator[Document]:
    return (item for item in _list(value) if isinstance(item, dict))


def _inside(owner: Document, name: str) -> Document:
    """Returns a copy of the mapping ``name`` of ``owner``, which stands there now; an empty one if there was
    none.
    """
    owner[name] = dict(_map(owner.get(name)))
    inner: Document = owner[name]
    return inner


def _pull_policy(image: Any) -> str:
    """Returns when an image is pulled: always if its tag is latest, or if it has neither tag nor digest."""
    text = image if isinstance(image, str) else ""
    bare, _, digest = text.partition("@")
    tag = bare.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or not (tag or digest) else "IfNotPresent"


def _container(one: Document) -> None:
    if not one.get("imagePullPolicy"):
        one["imagePullPolicy"] = _pull_policy(one.get("image"))
    if not one.get("terminationMessagePath"):
        one["terminationMessagePath"] = "/dev/termination-log"
    if not one.get("terminationMessagePolicy"):
        one["terminationMessagePolicy"] = "File"


def _volume(one: Document) -> None:
    if not any(isinstance(item, Mapping) for name, item in one.items() if name != "name"):
        one["emptyDir"] = {}


def _image_volume(one: Document) -> None:
    if not one.get("pullPolicy"):
        one["pullPolicy"] = _pull_policy(one.get("reference"))


def _pod_spec(one: Document) -> None:
    account = one.get("serviceAccountName") or one.get("serviceAccount")
    if account:
        one["serviceAccountName"] = one["serviceAccount"] = account
    one["dnsPolicy"] = one.get("dnsPolicy") or "ClusterFirst"
    one["restartPolicy"] = one.get("restartPolicy") or "Always"
    one["schedulerName"] = one.get("schedulerName") or "default-scheduler"
    one.setdefault("securityContext", {})
    one.setdefault("terminationGracePeriodSeconds", 30)
    if one.get("hostNetwork") is True:
        for kind in ("containers", "initContainers"):
            if isinstance(one.get(kind), list):
                one[kind] = [_with_host_ports(each) for each in one[kind]]


def _with_host_ports(container: Any) -> Any:
    ports = container.get("ports") if isinstance(container, Mapping) else None
    if not isinstance(ports, list):
        return container
    return {
        **container,
        "ports": [
            {**port, "hostPort": port.get("hostPort") or port.get("containerPort")}
            if isinstance(port, Mapping)
            else port
            for port in ports
        ],
    }


def _pod(one: Document) -> None:
    spec = _inside(one, "spec")
    spec.setdefault("enableServiceLinks", True)
    grace = spec.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace < 0:
        spec["terminationGracePeriodSeconds"] = 1
    for kind in ("containers", "initContainers"):
        if isinstance(spec.get(kind), list):
            spec[kind] = [_with_requests(each) for each in spec[kind]]


def _with_requests(container: Any) -> Any:
    """Returns a container that requests what it is limited to, where it says nothing else."""
    resources = _map(container.get("resources")) if isinstance(container, Mapping) else {}
    limits = resources.get("limits")
    if not isinstance(limits, Mapping):
        return container
    requests = {**limits, **_map(resources.get("requests"))}
    return {**container, "resources": {**resources, "requests": requests}}


def _service_port(one: Document) -> None:
    one["protocol"] = one.get("protocol") or "TCP"
    if one.get("targetPort") in (None, 0, ""):
        one["targetPort"] = one.get("port", 0)


def _service(one: Document) -> None:
    spec = _inside(one, "spec")
    spec["type"] = spec.get("type") or "ClusterIP"
    if spec["type"] != "ExternalName":
        spec["ipFamilyPolicy"] = spec.get("ipFamilyPolicy") or "SingleStack"
    affinity = spec["sessionAffinity"] = spec.get("sessionAffinity") or "None"
    if affinity == "None":
        spec.pop("sessionAffinityConfig", None)
    elif affinity == "ClientIP":
        client = _map(_map(spec.get("sessionAffinityConfig")).get("clientIP"))
        if client.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}
    reachable = spec["type"] in ("NodePort", "LoadBalancer")
    if (reachable or (spec["type"] == "ClusterIP" and spec.get("externalIPs"))) and not spec.get(
        "externalTrafficPolicy"
    ):
        spec["externalTrafficPolicy"] = "Cluster"
    if reachable or spec["type"] == "ClusterIP":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        balancer = _map(_map(one.get("status")).get("loadBalancer"))
        if balancer.get("ingress"):
            given = [
                {"ipMode": "VIP", **each} if isinstance(each, Mapping) and each.get("ip") else each
                for each in _list(balancer["ingress"])
            ]
            one["status"] = {**_map(one.get("status")), "loadBalancer": {**balancer, "ingress": given}}


def _secret(one: Document) -> None:
    if (text := one.pop("stringData", None)) and isinstance(text, Mapping):
        coded = {
            key: base64.b64encode(item.encode("utf-8", "surrogatepass")).decode()
            for key, item in text.items()
            if isinstance(item, str)
        }
        one["data"] = {**_map(one.get("data")), **coded}


def _namespace(one: Document) -> None:
    metadata = _inside(one, "metadata")
    if isinstance(metadata.get("name"), str) and metadata["name"]:
        metadata["labels"] = {**_map(metadata.get("labels")), "kubernetes.io/metadata.name": metadata["name"]}


def _node_status(one: Document) -> None:
    if one.get("capacity"):
        one.setdefault("allocatable", one["capacity"])


def _node_spec(one: Document) -> None:
    if one.get("podCIDR"):
        one.setdefault("podCIDRs", [one["podCIDR"]])


def _pod_status(one: Document) -> None:
    addresses = list(_maps(one.get("podIPs")))
    if one.get("podIP") and (not addresses or addresses[0].get("ip") != one["podIP"]):
        one["podIPs"] = [{"ip": one["podIP"]}]
    elif addresses and not one.get("podIP"):
        one["podIP"] = addresses[0].get("ip")


def _replication_controller(one: Document) -> None:
    labels = _labels_of_template(one)
    if labels:
        spec = _inside(one, "spec")
        spec["selector"] = spec.get("selector") or labels
        metadata = _inside(one, "metadata")
        metadata["labels"] = metadata.get("labels") or labels


def _labels_of_template(one: Mapping[str, Any]) -> Any:
    template = _map(_map(one.get("spec")).get("template"))
    return _map(template.get("metadata")).get("labels")


def _limit_range_item(one: Document) -> None:
    if one.get("type") == "Container":
        default = {**_map(one.get("max")), **_map(one.get("default"))}
        one["default"] = default
        one["defaultRequest"] = {**_map(one.get("min")), **default, **_map(one.get("defaultRequest"))}


def _rolling_update(one: Document) -> None:
    if one.get("type") == "RollingUpdate":
        one.setdefault("rollingUpdate", {})


def _stateful_set_strategy(one: Document) -> None:
    if not one.get("type"):
        one["type"] = "RollingUpdate"
        one.setdefault("rollingUpdate", {})
    if one["type"] == "RollingUpdate" and isinstance(one.get("rollingUpdate"), Mapping):
        one["rollingUpdate"] = {"partition": 0, "maxUnavailable": 1, **_set(one["rollingUpdate"])}


def _stateful_set_spec(one: Document) -> None:
    claims = one.get("volumeClaimTemplates")
    if isinstance(claims, list):
        named = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        one["volumeClaimTemplates"] = [
            {**each, **named} if isinstance(each, Mapping) else each for each in claims
        ]


def _job(one: Document) -> None:
    spec = _inside(one, "spec")
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 2**31 - 1 if spec.get("backoffLimitPerIndex") is not None else 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    policy = "Failed" if spec.get("podFailurePolicy") is not None else "TerminatingOrFailed"
    spec.setdefault("podReplacementPolicy", policy)
    labels, metadata = _labels_of_template(one), _inside(one, "metadata")
    if labels and not metadata.get("labels"):
        metadata["labels"] = labels


def _network_policy(one: Document) -> None:
    spec = _inside(one, "spec")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _autoscaler(one: Document) -> None:
    spec = _inside(one, "spec")
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if isinstance(spec.get("behavior"), Mapping):
        percent = {"type": "Percent", "value": 100, "periodSeconds": 15}
        pods = {"type": "Pods", "value": 4, "periodSeconds": 15}
        up: Document = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [pods, percent]}
        down: Document = {"selectPolicy": "Max", "policies": [percent]}
        behavior = _inside(spec, "behavior")
        behavior["scaleUp"] = {**up, **_set(behavior.get("scaleUp"))}
        behavior["scaleDown"] = {**down, **_set(behavior.get("scaleDown"))}


def _set(value: Any) -> Document:
    return {key: item for key, item in _map(value).items() if item is not None}


def _subject(one: Document) -> None:
    if not one.get("apiGroup") and one.get("kind") in ("User", "Group"):
        one["apiGroup"] = "rbac.authorization.k8s.io"


def _role_ref(one: Document) -> None:
    one["apiGroup"] = one.get("apiGroup") or "rbac.authorization.k8s.io"


def _definition(one: Document) -> None:
    spec, status = _inside(one, "spec"), _inside(one, "status")
    names = _inside(spec, "names")
    kind = names.get("kind")
    if isinstance(kind, str) and kind:
        names["singular"] = names.get("singular") or kind.lower()
        names["listKind"] = names.get("listKind") or f"{kind}List"
    if not status.get("storedVersions"):
        stored = [each.get("name") for each in _maps(spec.get("versions")) if each.get("storage") is True]
        status["storedVersions"] = stored[:1]


_FILLED: Mapping[str, Callable[[Document], None]] = {
    f"{_CORE}Container": _container,
    f"{_CORE}EphemeralContainerCommon": _container,
    f"{_CORE}Volume": _volume,
    f"{_CORE}ImageVolumeSource": _image_volume,
    f"{_CORE}PodSpec": _pod_spec,
    f"{_CORE}Pod": _pod,
    f"{_CORE}PodStatus": _pod_status,
    f"{_CORE}ServicePort": _service_port,
    f"{_CORE}Service": _service,
    f"{_CORE}Secret": _secret,
    f"{_CORE}Namespace": _namespace,
    f"{_CORE}NodeSpec": _node_spec,
    f"{_CORE}NodeStatus": _node_status,
    f"{_CORE}ReplicationController": _replication_controller,
    f"{_CORE}LimitRangeItem": _limit_range_item,
    f"{_APPS}DeploymentStrategy": _rolling_update,
    f"{_APPS}DaemonSetUpdateStrategy": _rolling_update,
    f"{_APPS}StatefulSetUpdateStrategy": _stateful_set_strategy,
    f"{_APPS}StatefulSetSpec": _stateful_set_spec,
    "io.k8s.api.batch.v1.Job": _job,
    "io.k8s.api.networking.v1.NetworkPolicy": _network_policy,
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler": _autoscaler,
    "io.k8s.api.rbac.v1.Subject": _subject,
    "io.k8s.api.rbac.v1.RoleRef": _role_ref,
    f"{_CRD}CustomResourceDefinition": _definition,
}


def _fill(type_: str) -> shapes.Fill:
    values, more = _VALUES.get(type_, {}), _FILLED.get(type_)
    unset = (None, "", 0) if type_ == f"{_CORE}Probe" else (None, "")

    def fill(one: Document) -> None:
        for name, value in values.items():
            if one.get(name) in unset:
                one[name] = value
        if more is not None:
            more(one)

    return fill


_FILLS: Mapping[str, shapes.Fill] = {type_: _fill(type_) for type_ in {*_VALUES, *_FILLED}}


# --- admission, and the making of objects -----------------------------------------------------------------


def _take(whole: Document, source: Mapping[str, Any], name: str) -> None:
    if name in source:
        whole[name] = source[name]
    else:
        whole.pop(name, None)


def _admit_pod(pod: Document, now: str, suffix: str) -> None:
    spec = _inside(pod, "spec")
    account = spec.get("serviceAccountName") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    _tolerate(spec)
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    if suffix and spec.get("automountServiceAccountToken") is not False:
        _mount_token(spec, f"kube-api-access-{suffix}")
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
    if spec.get("schedulingGates"):
        pod["status"]["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "lastTransitionTime": now,
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ]


def _tolerate(spec: Document) -> None:
    """Adds the tolerations of a node that is not ready, or not reached: five minutes."""
    given = list(_maps(spec.get("tolerations")))
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in _TOLERATED
        if not any(
            one.get("key") in (key, "", None) and one.get("effect") in ("NoExecute", "", None)
            for one in given
        )
    ]
    if added:
        spec["tolerations"] = [*_list(spec.get("tolerations")), *added]


def _mount_token(spec: Document, name: str) -> None:
    """Adds the volume with token, CA and namespace, and mounts it where a container mounts nothing else."""
    containers = {kind: _list(spec.get(kind)) for kind in ("initContainers", "containers")}
    mounted = False
    for kind, given in containers.items():
        with_mount = []
        for one in given:
            mounts = _list(one.get("volumeMounts")) if isinstance(one, dict) else []
            if isinstance(one, dict) and not any(
                each.get("mountPath") == TOKEN_MOUNT for each in _maps(mounts)
            ):
                mount = {"name": name, "readOnly": True, "mountPath": TOKEN_MOUNT}
                one, mounted = {**one, "volumeMounts": [*mounts, mount]}, True
            with_mount.append(one)
        if given:
            spec[kind] = with_mount
    if mounted:
        sources: list[Document] = [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {
                            "path": "namespace",
                            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                        }
                    ]
                }
            },
        ]
        volume = {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}
        spec["volumes"] = [*_list(spec.get("volumes")), volume]


def qos_class(spec: Mapping[str, Any]) -> str:
    """Returns a Pod's class of service: Guaranteed if every container is limited to the processor time and
    the memory that it requests, BestEffort if none says anything, else Burstable.
    """
    guaranteed, anything = True, False
    for one in (*_maps(spec.get("containers")), *_maps(spec.get("initContainers"))):
        resources = _map(one.get("resources"))
        limits, requests = _map(resources.get("limits")), _map(resources.get("requests"))
        for name in ("cpu", "memory"):
            limit, request = (amount(str(each.get(name, "0"))) or 0 for each in (limits, requests))
            anything = anything or bool(limit or request)
            guaranteed = guaranteed and bool(limit) and limit == request
    return "BestEffort" if not anything else "Guaranteed" if guaranteed else "Burstable"


def _select_pods(job: Document, uid: str, *, labelled: bool) -> None:
    """Makes a Job select the Pods with its uid, unless it says that its own selector is wanted. ``labelled``:
    the Job has labels of its own; it gets its template's otherwise.
    """
    spec = _inside(job, "spec")
    if spec.get("manualSelector"):
        return
    name = str(_map(job.get("metadata")).get("name", ""))
    template = _inside(spec, "template")
    metadata = _inside(template, "metadata")
    metadata["labels"] = {
        "controller-uid": uid,
        "job-name": name,
        **_map(metadata.get("labels")),
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
    }
    if not labelled:
        _inside(job, "metadata")["labels"] = metadata["labels"]
    selector = _inside(spec, "selector")
    labels = {**_map(selector.get("matchLabels")), "batch.kubernetes.io/controller-uid": uid}
    selector["matchLabels"] = labels


def _keep_selector(job: Document, old: Mapping[str, Any]) -> None:
    """Takes the selector that was made for a Job, and the labels that it selects, from the old object."""
    before, spec = _map(old.get("spec")), _inside(job, "spec")
    if spec.get("selector") is None and "selector" in before:
        spec["selector"] = before["selector"]
        had = _map(_map(_map(before.get("template")).get("metadata")).get("labels"))
        metadata = _inside(_inside(spec, "template"), "metadata")
        metadata["labels"] = {**had, **_map(metadata.get("labels"))}


_GENERATION = "deprecated.daemonset.template.generation"


def _annotate_generation(daemon_set: Document) -> None:
    metadata = _inside(daemon_set, "metadata")
    metadata["annotations"] = {_GENERATION: "1", **_map(metadata.get("annotations"))}


def _keep_annotation(daemon_set: Document, old: Mapping[str, Any]) -> None:
    """Counts the templates of a DaemonSet, as the API does in an annotation."""
    count = str(_map(_map(old.get("metadata")).get("annotations")).get(_GENERATION, "1"))
    old_template = _map(old.get("spec")).get("template")
    if count.isdecimal() and _map(daemon_set.get("spec")).get("template") != old_template:
        count = str(int(count[:9]) + 1)
    metadata = _inside(daemon_set, "metadata")
    metadata["annotations"] = {**_map(metadata.get("annotations")), _GENERATION: count}


def _drop_of_old_type(spec: Document, before: Mapping[str, Any]) -> None:
    """Takes from a Service whose type changes what only the old type may have, and the update left as it was
    (pkg/registry/core/service/strategy.go, dropTypeDependentFields).
    """
    reachable, type_, old_type = ("NodePort", "LoadBalancer"), spec.get("type"), before.get("type")
    dropped: list[str] = []
    if type_ == "ExternalName" and old_type != "ExternalName":
        dropped += ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]
    if old_type == "LoadBalancer" and type_ != "LoadBalancer":
        dropped += ["allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"]
    if old_type in reachable and type_ not in reachable:
        if not spec.get("externalIPs"):
            dropped.append("externalTrafficPolicy")
        given = {one.get("nodePort") for one in _maps(before.get("ports"))}
        spec["ports"] = [
            {key: item for key, item in one.items() if key != "nodePort" or item not in given}
            if isinstance(one, Mapping)
            else one
            for one in _list(spec.get("ports"))
        ]
    for name in dropped:
        if spec.get(name) == before.get(name):
            spec.pop(name, None)


def _keep_given_out(service: Document, old: Mapping[str, Any]) -> None:
    """Takes addresses and ports that were given out from the old Service, where the new one needs them and
    names none.
    """
    before, spec = _map(old.get("spec")), _inside(service, "spec")
    _drop_of_old_type(spec, before)
    if before.get("type") == "ExternalName" or spec.get("type") == "ExternalName":
        return
    address, addresses = spec.get("clusterIP"), spec.get("clusterIPs")
    if address and address != before.get("clusterIP") and addresses == before.get("clusterIPs"):
        spec["clusterIPs"] = [address]
    elif addresses and addresses != before.get("clusterIPs") and address == before.get("clusterIP"):
        spec["clusterIP"] = addresses[0]
    if not spec.get("clusterIP") and not spec.get("clusterIPs"):
        for name in ("clusterIP", "clusterIPs"):
            if name in before:
                spec[name] = before[name]
    for name in ("ipFamilies", "ipFamilyPolicy"):
        if not spec.get(name) and name in before:
            spec[name] = before[name]
    reachable = ("NodePort", "LoadBalancer")
    if spec.get("type") not in reachable or before.get("type") not in reachable:
        return
    if (
        spec.get("type") == "LoadBalancer"
        and spec.get("externalTrafficPolicy") == before.get("externalTrafficPolicy") == "Local"
        and not spec.get("healthCheckNodePort")
        and before.get("healthCheckNodePort")
    ):
        spec["healthCheckNodePort"] = before["healthCheckNodePort"]
    ports = {
        (one.get("protocol"), one.get("port")): one.get("nodePort") for one in _maps(before.get("ports"))
    }
    used = {one.get("nodePort") for one in _maps(spec.get("ports"))}
    kept = []
    for one in _list(spec.get("ports")):
        given = ports.get((one.get("protocol"), one.get("port"))) if isinstance(one, Mapping) else None
        wanted = given and given not in used and not one.get("nodePort")
        kept.append({**one, "nodePort": given} if wanted else one)
    if kept:
        spec["ports"] = kept
