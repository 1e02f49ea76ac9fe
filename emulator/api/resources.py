"""Holds the table of the API's resources: one row for each, and rows made from CustomResourceDefinitions.

Names, verbs, short names and categories are those that kube-apiserver 1.37 lists (/api/v1, /apis/...).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from ..load.schema import full_name

Document = dict[str, Any]

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_READ = ("get",)
_CHANGE = ("get", "patch", "update")
_STREAM = ("create", "get")


class ScalePaths(NamedTuple):
    """Names the fields that the subresource scale reads and writes, as the steps to them."""

    spec: tuple[str, ...] = ("spec", "replicas")
    status: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] = ("spec", "selector")


class Subresource(NamedTuple):
    """Describes a subresource: its own kind (``group/version/Kind`` where that is another's), and verbs."""

    verbs: tuple[str, ...]
    kind: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """Describes a resource of one API version. ``schema`` is a custom resource's schema; None for the
    resources that are built in. ``storage`` is the version in which its objects are stored.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    shortNames: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: Mapping[str, Subresource] = field(default_factory=dict)
    schema: Mapping[str, Any] | None = None
    storage: str = ""
    scale_paths: ScalePaths = ScalePaths()
    columns: Sequence[Mapping[str, Any]] = ()  # additionalPrinterColumns

    @property
    def apiVersion(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def name(self) -> str:
        """Returns the name in messages: ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def kindName(self) -> str:
        """Returns the kind in messages: ``Deployment.apps``."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def storage_kind(self) -> str:
        """Returns the kind under which the store keeps its objects (:class:`emulator.store.objects.Key`)."""
        return full_name(self.kind, self._stored_version)

    @property
    def _stored_version(self) -> str:
        if (self.group, self.kind) == ("events.k8s.io", "Event"):
            return "v1"
        version = self.storage or self.version
        return f"{self.group}/{version}" if self.group else version

    def allows(self, verb: str, subresource: str = "") -> bool:
        """Returns whether ``verb`` may be asked of it, or of its ``subresource``."""
        if not subresource:
            return verb in self.verbs
        found = self.subresources.get(subresource)
        return found is not None and verb in found.verbs

    def kept(self, document: Mapping[str, Any]) -> Document:
        """Returns ``document``, which is of this version, as it is stored."""
        if (self.group, self.kind) == ("events.k8s.io", "Event"):
            return _as_core_event(document)
        return {**document, "apiVersion": self._stored_version, "kind": self.kind}

    def shown(self, document: Mapping[str, Any]) -> Document:
        """Returns a stored ``document`` as this version shows it."""
        if self.kind in _WITHOUT_GENERATION and self.schema is None:
            metadata = document.get("metadata")
            if isinstance(metadata, Mapping):
                rest = {key: value for key, value in metadata.items() if key != "generation"}
                document = {**document, "metadata": rest}
        if (self.group, self.kind) == ("events.k8s.io", "Event"):
            return _as_new_event(document)
        return {**document, "apiVersion": self.apiVersion, "kind": self.kind}


# Built-in kinds whose objects have no metadata.generation (tests/golden/apiserver, objects).
_WITHOUT_GENERATION = frozenset(
    (
        *(
            "ConfigMap",
            "ControllerRevision",
            "Endpoints",
            "Event",
            "Lease",
            "LimitRange",
            "Namespace",
            "Node",
        ),
        *(
            "PersistentVolume",
            "PersistentVolumeClaim",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ),
        *("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceCIDR", "StorageClass"),
        *("IPAddress", "APIService"),
    )
)

# events.k8s.io/v1 and v1 name the same fields otherwise (pkg/apis/core/v1 and events/v1 conversion)
_EVENT_FIELDS = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}


def _as_core_event(document: Mapping[str, Any]) -> Document:
    renamed = {_EVENT_FIELDS.get(key, key): value for key, value in document.items()}
    return {**renamed, "apiVersion": "v1", "kind": "Event"}


def _as_new_event(document: Mapping[str, Any]) -> Document:
    back = {old: new for new, old in _EVENT_FIELDS.items()}
    renamed = {back.get(key, key): value for key, value in document.items()}
    return {**renamed, "apiVersion": "events.k8s.io/v1", "kind": "Event"}


# --- the rows -------------------------------------------------------------------------------------------

_STATUS = {"status": Subresource(_CHANGE)}
_SCALE = {"scale": Subresource(_CHANGE, "Scale", "autoscaling/v1")}
_POD = {
    **_STATUS,
    "attach": Subresource(_STREAM, "PodAttachOptions"),
    "binding": Subresource(("create",), "Binding"),
    "ephemeralcontainers": Subresource(_CHANGE),
    "eviction": Subresource(("create",), "Eviction", "policy/v1"),
    "exec": Subresource(_STREAM, "PodExecOptions"),
    "log": Subresource(_READ),
    "portforward": Subresource(_STREAM, "PodPortForwardOptions"),
}


def _row(
    group: str,
    version: str,
    kind: str,
    plural: str,
    *shortNames: str,
    namespaced: bool = True,
    categories: tuple[str, ...] = (),
    verbs: tuple[str, ...] = ALL_VERBS,
    sub: Mapping[str, Subresource] | None = None,
) -> Resource:
    return Resource(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        shortNames=shortNames,
        categories=categories,
        namespaced=namespaced,
        verbs=verbs,
        subresources=sub or {},
    )


def _rows() -> Iterator[Resource]:
    everything = ("all",)
    create = ("create",)
    core = ("", "v1")
    yield _row(*core, "Binding", "bindings", verbs=create)
    yield _row(*core, "ConfigMap", "configmaps", "cm")
    yield _row(*core, "Endpoints", "endpoints", "ep")
    yield _row(*core, "Event", "events", "ev")
    yield _row(*core, "LimitRange", "limitranges", "limits")
    final = {**_STATUS, "finalize": Subresource(("update",))}
    without_collection = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")
    yield _row(*core, "Namespace", "namespaces", "ns", namespaced=False, verbs=without_collection, sub=final)
    yield _row(*core, "Node", "nodes", "no", namespaced=False, sub=_STATUS)
    yield _row(*core, "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", sub=_STATUS)
    yield _row(*core, "PersistentVolume", "persistentvolumes", "pv", namespaced=False, sub=_STATUS)
    yield _row(*core, "Pod", "pods", "po", categories=everything, sub=_POD)
    yield _row(*core, "PodTemplate", "podtemplates")
    replication = {**_SCALE, **_STATUS}
    yield _row(
        *core, "ReplicationController", "replicationcontrollers", "rc", categories=everything, sub=replication
    )
    yield _row(*core, "ResourceQuota", "resourcequotas", "quota", sub=_STATUS)
    yield _row(*core, "Secret", "secrets")
    token = {"token": Subresource(create, "TokenRequest", "authentication.k8s.io/v1")}
    yield _row(*core, "ServiceAccount", "serviceaccounts", "sa", sub=token)
    yield _row(*core, "Service", "services", "svc", categories=everything, sub=_STATUS)
    apps = ("apps", "v1")
    yield _row(*apps, "ControllerRevision", "controllerrevisions")
    yield _row(*apps, "DaemonSet", "daemonsets", "ds", categories=everything, sub=_STATUS)
    for kind, plural, short in (
        ("Deployment", "deployments", "deploy"),
        ("ReplicaSet", "replicasets", "rs"),
        ("StatefulSet", "statefulsets", "sts"),
    ):
        yield _row(*apps, kind, plural, short, categories=everything, sub=replication)
    yield _row("batch", "v1", "CronJob", "cronjobs", "cj", categories=everything, sub=_STATUS)
    yield _row("batch", "v1", "Job", "jobs", categories=everything, sub=_STATUS)
    yield _row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
    net = ("networking.k8s.io", "v1")
    yield _row(*net, "IngressClass", "ingressclasses", namespaced=False)
    yield _row(*net, "Ingress", "ingresses", "ing", sub=_STATUS)
    yield _row(*net, "IPAddress", "ipaddresses", "ip", namespaced=False)
    yield _row(*net, "NetworkPolicy", "networkpolicies", "netpol")
    yield _row(*net, "ServiceCIDR", "servicecidrs", namespaced=False, sub=_STATUS)
    yield _row("events.k8s.io", "v1", "Event", "events", "ev")
    yield _row("coordination.k8s.io", "v1", "Lease", "leases")
    yield _row("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", sub=_STATUS)
    scaler = "horizontalpodautoscalers"
    yield _row(
        "autoscaling", "v2", "HorizontalPodAutoscaler", scaler, "hpa", categories=everything, sub=_STATUS
    )
    rbac = ("rbac.authorization.k8s.io", "v1")
    yield _row(*rbac, "ClusterRoleBinding", "clusterrolebindings", namespaced=False)
    yield _row(*rbac, "ClusterRole", "clusterroles", namespaced=False)
    yield _row(*rbac, "RoleBinding", "rolebindings")
    yield _row(*rbac, "Role", "roles")
    storage = ("storage.k8s.io", "v1")
    yield _row(*storage, "StorageClass", "storageclasses", "sc", namespaced=False)
    yield _row("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "pc", namespaced=False)
    admission = ("admissionregistration.k8s.io", "v1")
    extensions = ("api-extensions",)
    for kind, plural in (
        ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
        ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
    ):
        yield _row(*admission, kind, plural, namespaced=False, categories=extensions)
    definition, several = "CustomResourceDefinition", "customresourcedefinitions"
    yield _row(
        "apiextensions.k8s.io",
        "v1",
        definition,
        several,
        "crd",
        "crds",
        namespaced=False,
        categories=extensions,
        sub=_STATUS,
    )
    yield _row(
        "apiregistration.k8s.io",
        "v1",
        "APIService",
        "apiservices",
        namespaced=False,
        categories=extensions,
        sub=_STATUS,
    )
    who = ("authentication.k8s.io", "v1")
    yield _row(*who, "SelfSubjectReview", "selfsubjectreviews", namespaced=False, verbs=create)
    yield _row(*who, "TokenReview", "tokenreviews", namespaced=False, verbs=create)
    may = ("authorization.k8s.io", "v1")
    yield _row(*may, "LocalSubjectAccessReview", "localsubjectaccessreviews", verbs=create)
    for kind in ("SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview"):
        yield _row(*may, kind, f"{kind.lower()}s", namespaced=False, verbs=create)


RESOURCES: tuple[Resource, ...] = tuple(_rows())


# --- with custom resources ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Catalog:
    """Holds every resource: those built in, then custom ones. Immutable; equal to itself alone."""

    resources: tuple[Resource, ...] = RESOURCES

    @classmethod
    def of(cls, definitions: Iterable[Mapping[str, Any]]) -> Catalog:
        """Returns the catalog with the resources that CustomResourceDefinitions define. A built-in group and
        plural cannot be taken.
        """
        known = {(one.group, one.plural) for one in RESOURCES}
        custom = [one for each in definitions for one in custom_resources(each)]
        return cls((*RESOURCES, *(one for one in custom if (one.group, one.plural) not in known)))

    @cached_property
    def _by_plural(self) -> Mapping[tuple[str, str, str], Resource]:
        return {(one.group, one.version, one.plural): one for one in self.resources}

    @cached_property
    def _by_kind(self) -> Mapping[tuple[str, str], Resource]:
        return {(one.apiVersion, one.kind): one for one in self.resources}

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._by_plural.get((group, version, plural))

    def of_kind(self, apiVersion: str, kind: str) -> Resource | None:
        return self._by_kind.get((apiVersion, kind))

    @cached_property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Returns each group's versions, the preferred one first; the core group is ""."""
        found: dict[str, dict[str, None]] = {}
        for one in self.resources:
            found.setdefault(one.group, {})[one.version] = None
        return {group: tuple(versions) for group, versions in found.items()}

    @cached_property
    def unnamespaced(self) -> frozenset[str]:
        """Returns the stored kinds of custom resources that have no namespace."""
        return frozenset(
            one.storage_kind for one in self.resources if one.schema is not None and not one.namespaced
        )


def custom_resources(definition: Mapping[str, Any]) -> Iterator[Resource]:
    """Yields the resources of a CustomResourceDefinition, one for each version that it serves: the newest
    first, as kube-apiserver orders them. A definition that is not well formed defines nothing.
    """
    spec = definition.get("spec")
    names = spec.get("names") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(names, Mapping):
        return
    group, kind, plural = spec.get("group"), names.get("kind"), names.get("plural")
    versions = [one for one in spec.get("versions") or () if isinstance(one, Mapping)]
    if not (isinstance(group, str) and isinstance(kind, str) and isinstance(plural, str)):
        return
    storage = next((str(one.get("name")) for one in versions if one.get("storage") is True), "")
    base = Resource(
        group=group,
        version="",
        kind=kind,
        plural=plural,
        singular=str(names.get("singular") or kind.lower()),
        shortNames=tuple(map(str, names.get("shortNames") or ())),
        categories=tuple(map(str, names.get("categories") or ())),
        namespaced=spec.get("scope") == "Namespaced",
        storage=storage,
    )
    for one in sorted(versions, key=lambda row: version_rank(str(row.get("name"))), reverse=True):
        if one.get("served") is not True:
            continue
        subresources: dict[str, Subresource] = {}
        given = _mapping(one.get("subresources"))
        paths = ScalePaths()
        if "status" in given:
            subresources |= _STATUS
        if isinstance(scale := given.get("scale"), Mapping):
            subresources |= _SCALE
            paths = ScalePaths(
                _steps(scale.get("specReplicasPath")),
                _steps(scale.get("statusReplicasPath")),
                _steps(scale.get("labelSelectorPath")),
            )
        columns = one.get("additionalPrinterColumns")
        rows = columns if isinstance(columns, list) else []
        yield replace(
            base,
            version=str(one.get("name")),
            subresources=subresources,
            schema=_mapping(_mapping(one.get("schema")).get("openAPIV3Schema")),
            scale_paths=paths,
            columns=tuple(row for row in rows if isinstance(row, Mapping)),
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _steps(path: Any) -> tuple[str, ...]:
    return tuple(step for step in str(path or "").split(".") if step)


def version_rank(version: str) -> tuple[int, int, int, str]:
    """Returns a key by which versions of an API are ordered: v2 before v1, v1 before v1beta2, and then others
    by name (apimachinery, pkg/version/helpers.go).
    """
    rest = version[1:] if version.startswith("v") else ""
    for stability, word in ((1, "beta"), (0, "alpha")):
        major, found, minor = rest.partition(word)
        if found and major.isdecimal() and minor.isdecimal():
            return stability, int(major), int(minor), ""
    return (2, int(rest), 0, "") if rest.isdecimal() else (-1, 0, 0, version)
