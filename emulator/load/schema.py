"""Decodes a document: finds its kind, and its typed object or every fault of its shape. Pure.

The types are the dataclasses of ``kinds`` and ``config``. pydantic reads them, so that all errors of a
document come at once; its messages are rewritten here in the words of a manifest's author. Scalars are read
as strictly as the API server reads them (``port: "80"`` is an error, and so is a label whose value is a
number). ``null`` means that a field is not set. Unknown fields are ignored in Kubernetes' kinds, whose
manifests have hundreds (``load.fields`` finds those that Kubernetes does not know either). They are errors in
podwire's own kinds, where they must be mistakes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from itertools import islice
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from ..errors import Words, worded
from ..objects.config import ClusterConfig, FlowCheck, FlowSpec, FlowStep, KubeProxyConfiguration
from ..objects.kinds import (
    ContainerPort,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    Namespace,
    Node,
    ObjectMeta,
    Pod,
    Service,
    ServicePort,
    ServiceSpec,
    Toleration,
    Uninterpreted,
    Workload,
)
from ..objects.metallb import METALLB, IPAddressPool, L2Advertisement
from .faults import (
    Fault,
    FaultKind,
    FieldPath,
    cut,
    did_you_mean,
    path_text,
    required,
    shown,
)
from .yamltext import Letter

OURS = "podwire.dev/v1alpha1"
KIND_CLUSTER = "kind.x-k8s.io/v1alpha4"
EARLY_KIND_CLUSTER = "kind.sigs.k8s.io/v1alpha3"  # with the same fields
PROXY_CONFIG = "kubeproxy.config.k8s.io/v1alpha1"


@dataclass(frozen=True, slots=True, kw_only=True)
class _FlowCheckSpec:
    derive: bool = False
    flows: tuple[FlowSpec, ...] = ()
    steps: tuple[FlowStep, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _FlowCheckManifest:
    """Holds a FlowCheck as it is written: its flows and steps stand under ``spec``."""

    metadata: ObjectMeta
    spec: _FlowCheckSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Describes a kind that podwire reads. ``apiVersion`` is the one that a hint recommends, ``versions`` are
    all that it has had.

    ``exact``: the kind is not Kubernetes' own, and other kinds of its group are unknown. ``namespaced``:
    false if its objects have no namespace.
    """

    name: str
    apiVersion: str
    type: Any  # the class of its typed object
    versions: frozenset[str]
    namespaced: bool = True
    exact: bool = False


def _kubernetes(
    name: str, api_version: str, type_: type[Any], *, namespaced: bool = True, also: tuple[str, ...] = ()
) -> Kind:
    return Kind(
        name=name,
        apiVersion=api_version,
        type=type_,
        versions=frozenset({api_version, *also}),
        namespaced=namespaced,
    )


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _ours(name: str, api_version: str, type_: type[Any], *, namespaced: bool = False) -> Kind:
    return replace(_kubernetes(name, api_version, type_, namespaced=namespaced), exact=True)


_KINDS = (
    _kubernetes("Node", "v1", Node, namespaced=False),
    _kubernetes("Namespace", "v1", Namespace, namespaced=False),
    _kubernetes("Pod", "v1", Pod),
    _kubernetes(
        "Deployment", "apps/v1", Workload, also=("apps/v1beta2", "apps/v1beta1", "extensions/v1beta1")
    ),
    _kubernetes("ReplicaSet", "apps/v1", Workload, also=("apps/v1beta2", "extensions/v1beta1")),
    _kubernetes("ReplicationController", "v1", Workload),
    _kubernetes("StatefulSet", "apps/v1", Workload, also=("apps/v1beta2", "apps/v1beta1")),
    _kubernetes("DaemonSet", "apps/v1", Workload, also=("apps/v1beta2", "extensions/v1beta1")),
    _kubernetes("Job", "batch/v1", Workload),
    _kubernetes("Service", "v1", Service),
    _kubernetes(
        "EndpointSlice",
        "discovery.k8s.io/v1",
        EndpointSlice,
        also=("discovery.k8s.io/v1beta1", "discovery.k8s.io/v1alpha1"),
    ),
    _kubernetes("Endpoints", "v1", Endpoints),
    _kubernetes("ConfigMap", "v1", dict),
    _ours("Cluster", OURS, ClusterConfig),
    _ours("Cluster", KIND_CLUSTER, ClusterConfig),
    _ours("IPAddressPool", METALLB, IPAddressPool, namespaced=True),
    _ours("L2Advertisement", METALLB, L2Advertisement, namespaced=True),
    _ours("KubeProxyConfiguration", PROXY_CONFIG, KubeProxyConfiguration),
    _ours("FlowCheck", OURS, _FlowCheckManifest, namespaced=True),
)
_STANDARD_GROUPS = frozenset(
    _group(version) for kind in _KINDS if not kind.exact for version in kind.versions
)

# Kubernetes' own kinds without a meaning here whose objects have no namespace (kubectl api-resources
# --namespaced=false). For kinds of other groups the manifest's own namespace decides.
_CLUSTER_SCOPED = frozenset(
    {
        "APIService",
        "CSIDriver",
        "CSINode",
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "ClusterTrustBundle",
        "ComponentStatus",
        "CustomResourceDefinition",
        "DeviceClass",
        "FlowSchema",
        "IPAddress",
        "IngressClass",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "PersistentVolume",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "ResourceSlice",
        "RuntimeClass",
        "ServiceCIDR",
        "StorageClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
        "VolumeAttributesClass",
    }
)

# bytes of an object as JSON: the limit of a request to the API server (MaxRequestBodyBytes)
MAX_OBJECT = 3 * 1024 * 1024
MAX_FAULTS = 1_000  # in one object


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Holds a kind that podwire does not read, under the name that the notice uses."""

    name: str


def identify(document: Mapping[str, Any], *, kind: str = "", api_version: str = "") -> Kind | LeftOut | Fault:
    """Returns the kind of ``document``. ``kind`` and ``api_version`` are defaults that its List implies."""
    name, version = document.get("kind"), document.get("apiVersion")
    name = kind if name is None else name
    version = api_version if version is None else version
    if version == EARLY_KIND_CLUSTER:
        version = KIND_CLUSTER
    if not isinstance(name, str) or not name:
        hint = "every Kubernetes object says its kind (Pod, Service…)"
        if name in (None, ""):
            return required(("kind",), hint=hint)
        return Fault(("kind",), worded("must be a string, is {}", shown(name)), hint, FaultKind.TYPE_INVALID)
    if not isinstance(version, str):
        what = worded("must be a string, is {}", shown(version))
        return Fault(("apiVersion",), what, kind=FaultKind.TYPE_INVALID)
    group = _group(version)
    candidates = [k for k in _KINDS if k.name == name]
    for candidate in candidates:
        if version in candidate.versions:
            return candidate
    if not version and candidates:
        known_versions = " or ".join(k.apiVersion for k in candidates)
        return required(("apiVersion",), f" for kind {name}", f"write {known_versions}")
    groups = {_group(known) for candidate in candidates for known in candidate.versions}
    known = group in _STANDARD_GROUPS | groups
    advice = "write" if known else "did you mean"
    if candidates and (known or _is_slip(group, groups)):
        return Fault(
            ("apiVersion",),
            worded("{} has no kind {}", shown(version), Words(name)),
            f"{advice} {' or '.join(k.apiVersion for k in candidates)}{'' if known else '?'}",
        )
    if group == _group(OURS):
        return Fault(
            ("kind",),
            worded("{} has no kind {}", shown(version), shown(name)),
            did_you_mean(name, ("Cluster", "FlowCheck")),
        )
    if group in _STANDARD_GROUPS and _slip_of(name):
        return Fault(("kind",), worded("there is no kind {}", shown(name)), f"did you mean {_slip_of(name)}?")
    return LeftOut(name if not group or group in _STANDARD_GROUPS else f"{name}.{group}")


def is_cluster_scoped(name: str, api_version: str) -> bool:
    """Returns whether objects of a kind without a meaning here have no namespace; False if that is
    unknown.
    """
    group = _group(api_version)
    return name in _CLUSTER_SCOPED and (group in _STANDARD_GROUPS or group.endswith(".k8s.io"))


def full_name(name: str, api_version: str) -> str:
    """Returns the kind as podwire names it: with its API group unless that is Kubernetes' own."""
    group = _group(api_version)
    groups = {_group(version) for kind in _KINDS if kind.name == name for version in kind.versions}
    known = not group or group in _STANDARD_GROUPS | groups
    return name if known else f"{name}.{group}"


def api_version_of(name: str) -> str:
    """Returns the apiVersion of the kind ``name``, which podwire reads."""
    return next(kind.apiVersion for kind in _KINDS if kind.name == name)


def _is_slip(group: str, groups: Iterable[str]) -> bool:
    """Returns whether an API group that nobody knows misspells one of ``groups``. One without a dot always
    does: an API server refuses a CustomResourceDefinition of such a group.
    """
    return "." not in group or bool(get_close_matches(cut(group).lower(), groups, n=1, cutoff=0.85))


def _slip_of(name: str) -> str:
    """Returns the kind that ``name`` probably misspells ("" if there is none)."""
    names = {kind.name.lower(): kind.name for kind in _KINDS if not kind.exact}
    close = get_close_matches(cut(name).lower(), names, n=1, cutoff=0.85)
    return names[close[0]] if close else ""


# --- decoding ---------------------------------------------------------------------------------------------


def decode(kind: Kind, document: Mapping[str, Any]) -> tuple[Any, list[Fault], tuple[str, ...]]:
    """Returns ``document`` as (object, faults, ignored). The object is a value of ``kind``'s type. With
    faults it is None, or the value without the faulty fields, so that its other mistakes can be reported too.
    ``ignored`` names the fields of a cluster's or proxy's configuration that have no meaning here.
    """
    value: dict[str, Any] = _as_decoded(_convert(kind, document), kind.type)
    ignored: tuple[str, ...] = ()
    if kind.exact:
        if kind.type is KubeProxyConfiguration:
            ignored = _unknown_fields(value, kind.type)
        value.pop("apiVersion", None)
        value.pop("kind", None)
    elif kind.type is Workload:
        value["kind"] = kind.name
        if kind.name == "ReplicationController":
            value = _with_label_selector(value)
    # the API server wrote these fields: they hold no misspellings
    if kind.apiVersion == OURS and isinstance(value.get("metadata"), dict):
        value["metadata"] = {
            key: item for key, item in value["metadata"].items() if key in _field_types(ObjectMeta)
        }
    text = json.dumps(value)
    if len(text) > MAX_OBJECT:
        return (
            None,
            [Fault((), f"is larger than {MAX_OBJECT >> 20} MiB: no API server takes such an object")],
            ignored,
        )
    unknown: Literal["forbid", "ignore"] = "forbid" if kind.apiVersion == OURS else "ignore"
    try:
        decoded = _adapter(kind.type).validate_json(text, strict=True, extra=unknown)
    except ValidationError as error:
        if error.error_count() > MAX_FAULTS:
            what = worded("holds {} mistakes: look at the types of its fields", error.error_count())
            return None, [Fault((), what), *_some_faults(kind, value, unknown)], ignored
        faults = _faults(error.errors(include_url=False), value, kind.type)
        return _without(faults, value, kind.type), faults, ignored
    if isinstance(decoded, _FlowCheckManifest):
        spec = decoded.spec
        decoded = FlowCheck(metadata=decoded.metadata, derive=spec.derive, flows=spec.flows, steps=spec.steps)
    return decoded, [], ignored


def decode_uninterpreted(document: Mapping[str, Any]) -> tuple[Uninterpreted | None, list[Fault]]:
    """Returns the identity of an object whose kind has no meaning here; None, with faults, if it has none."""
    head = {key: document.get(key) for key in ("apiVersion", "kind", "metadata")}
    value = _as_decoded(head, Uninterpreted)
    try:
        return _adapter(Uninterpreted).validate_json(json.dumps(value), strict=True, extra="ignore"), []
    except ValidationError as error:
        return None, _faults(error.errors(include_url=False), value, Uninterpreted)


def _some_faults(kind: Kind, value: Any, unknown: Literal["forbid", "ignore"]) -> list[Fault]:
    """Returns the faults of ``value`` that lie at the beginning of its lists and maps."""
    beginning = _beginning(value)
    try:
        _adapter(kind.type).validate_json(json.dumps(beginning), strict=True, extra=unknown)
    except ValidationError as error:
        return _faults(error.errors(include_url=False), beginning, kind.type)
    return []


def _beginning(value: Any, longest: int = 10) -> Any:
    if isinstance(value, dict):
        return {key: _beginning(item) for key, item in islice(value.items(), longest)}
    return [_beginning(item) for item in value[:longest]] if isinstance(value, list) else value


def touches(path: FieldPath, faulty: FieldPath) -> bool:
    """Returns whether a rule about ``path`` may have been misled by an unreadable value of ``faulty``: the
    same field, one around or inside it, or another entry of the outermost list that contains it.
    """
    first = next((i for i, step in enumerate(faulty) if isinstance(step, int)), len(faulty))
    return all(a == b for a, b in zip(path, faulty[:first], strict=False))


# Fields that rules about other fields read: without them no rule about the rest is certain.
_ASKED_FOR: Mapping[type[Any], frozenset[str]] = {
    Service: frozenset({"type", "clusterIP", "clusterIPs", "externalIPs", "externalTrafficPolicy"}),
    EndpointSlice: frozenset({"addressType"}),
}


def _without(faults: Iterable[Fault], value: dict[str, Any], type_: Any) -> Any:
    """Returns the object without the faulty fields of ``value``; None if nothing can be checked in it."""
    kept = json.loads(json.dumps(value))
    for fault in faults:
        path = fault.path
        if type_ not in _ASKED_FOR or not _ASKED_FOR[type_].isdisjoint(path):
            return None
        while path and isinstance(path[-1], int):
            path = path[:-1]
        _remove(kept, path)
    try:
        return _adapter(type_).validate_json(json.dumps(kept), strict=True)
    except ValidationError:
        return None


def _remove(value: Any, path: FieldPath) -> None:
    for step in path[:-1]:
        inside = (
            step in value if isinstance(value, dict) else isinstance(value, list) and isinstance(step, int)
        )
        if not inside:
            return
        value = value[step]
    if path and isinstance(value, dict):
        value.pop(path[-1], None)


def _with_label_selector(value: dict[str, Any]) -> dict[str, Any]:
    """Returns a ReplicationController whose selector (a mapping of labels) has the form of other controllers'
    selectors.
    """
    spec = value.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("selector"), dict):
        return value
    return {**value, "spec": {**spec, "selector": {"matchLabels": spec["selector"]}}}


@cache
def _adapter(type_: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_)


# Fields in which "" means the default (pkg/apis/core/v1/defaults.go: those that are strings there, and no
# pointers).
_EMPTY_IS_DEFAULT: Mapping[type[Any], frozenset[str]] = {
    ServiceSpec: frozenset({"type", "sessionAffinity", "externalTrafficPolicy"}),
    ServicePort: frozenset({"protocol"}),
    ContainerPort: frozenset({"protocol"}),
    EndpointPort: frozenset({"protocol"}),
    Toleration: frozenset({"operator"}),
}


def _as_decoded(value: Any, hint: Any) -> Any:
    """Returns ``value`` as Go's JSON decoder reads it for a field of type ``hint``. null: the field is not
    set; inside a list or a map it is the empty value. A whole number is an integer (``80.0``). "" is the
    default in the fields where it means that.
    """
    if isinstance(value, dict):
        type_ = _branch(hint, dict)
        if is_dataclass(type_):
            known, empty = _field_types(type_), _EMPTY_IS_DEFAULT.get(type_, frozenset())  # type: ignore[arg-type]
            return {
                key: _as_decoded(item, known[key]) if key in known else item
                for key, item in value.items()
                if item is not None and not (item == "" and key in empty)
            }
        inner = get_args(type_)[1] if type_ else None
        return {
            key: _empty(inner) if item is None else _as_decoded(item, inner) for key, item in value.items()
        }
    if isinstance(value, list):
        inner = (get_args(_branch(hint, list)) or (None,))[0]
        return [_empty(inner) if item is None else _as_decoded(item, inner) for item in value]
    if isinstance(value, float) and value.is_integer() and _branch(hint, int):
        return int(value)
    if isinstance(value, Letter) and hint is bool:
        return value.boolean
    return value


@cache
def _branch(hint: Any, sort: type[Any]) -> Any:
    """Returns the part of ``hint`` (``X | None``, ``int | str``) that takes a value of ``sort``: a mapping, a
    list, an integer; or None.
    """
    for each in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        if sort is int and each is int:
            return each
        if sort is list and get_origin(each) is tuple:
            return each
        if sort is dict and (is_dataclass(each) or get_origin(each) is Mapping):
            return each
    return None


def _empty(hint: Any) -> Any:
    """Returns the value of null inside a list or a map of ``hint``: Go's zero value."""
    return (
        {}
        if _branch(hint, dict)
        else []
        if _branch(hint, list)
        else 0
        if _branch(hint, int)
        else ""
        if hint
        else None
    )


def _convert(kind: Kind, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns ``document`` as the API server stores it, where its version has fields of its own.

    discovery.k8s.io/v1beta1: an endpoint's ``topology`` has its node and zone.
    """
    endpoints = document.get("endpoints")
    if (
        kind.type is not EndpointSlice
        or document.get("apiVersion") == kind.apiVersion
        or not isinstance(endpoints, list)
    ):
        return document
    return {**document, "endpoints": [_with_topology(endpoint) for endpoint in endpoints]}


def _with_topology(endpoint: Any) -> Any:
    topology = endpoint.get("topology") if isinstance(endpoint, dict) else None
    if not isinstance(topology, dict):
        return endpoint
    said = {key: item for key, item in endpoint.items() if item is not None}
    return {
        "nodeName": topology.get("kubernetes.io/hostname"),
        "zone": topology.get("topology.kubernetes.io/zone"),
        **said,
    }


def _unknown_fields(value: Mapping[str, Any], type_: Any, prefix: str = "") -> tuple[str, ...]:
    """Returns the fields of ``value`` that ``type_`` has not and that are set, as paths from the top."""
    known, names = _field_types(type_), []
    for key, item in value.items():
        if key in ("apiVersion", "kind") and not prefix:
            continue
        if key not in known:
            names += [f"{prefix}{path_text((key,))}"] if _is_set(item) else []
        elif isinstance(item, dict) and (inner := _dataclass_in(known[key])):
            names += _unknown_fields(item, inner, f"{prefix}{key}.")
    return tuple(names)


def _is_set(value: Any) -> bool:
    """Returns whether ``value`` is more than Go's zero values, which kubeadm writes for what nobody set."""
    if isinstance(value, dict):
        return any(map(_is_set, value.values()))
    return value not in (None, False, 0, "", "0", "0s", [])


@cache
def _field_types(type_: Any) -> Mapping[str, Any]:
    """Returns the fields of a dataclass under the names that manifests use, with their types."""
    hints = get_type_hints(type_)
    return {f.name.rstrip("_"): hints[f.name] for f in fields(type_)}


def _dataclass_in(hint: Any) -> Any:
    """Returns the dataclass in ``hint``, which may be a list or an optional of it (None if there is none)."""
    if is_dataclass(hint):
        return hint
    return next((found for arg in get_args(hint) if (found := _dataclass_in(arg))), None)


# --- pydantic's errors in plain words ----------------------------------------------------------------------

_NOUNS: Mapping[str, str] = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "string_type": "a string",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "dataclass_type": "a mapping",
}
_HINTS: Mapping[tuple[str, str], str] = {
    ("kubeProxyMode", "none"): "a cluster without kube-proxy is not supported yet",
}


def _faults(errors: Iterable[ErrorDetails], value: Any, type_: Any) -> list[Fault]:
    """Returns one fault for each field; the branches of a union (``integer or string``) become one
    sentence.
    """
    by_path: dict[FieldPath, list[ErrorDetails]] = {}
    for error in errors:
        by_path.setdefault(_way(error, value), []).append(error)
    return [_fault(path, found, type_) for path, found in by_path.items()]


def _way(error: ErrorDetails, value: Any) -> FieldPath:
    """Returns pydantic's location without the names of union branches: only steps that the document has, or
    lacks.
    """
    way: list[str | int] = []
    for step in error["loc"]:
        inside = (
            step in value if isinstance(value, dict) else isinstance(value, list) and isinstance(step, int)
        )
        if inside:
            value = value[step]
        elif error["type"] != "missing":
            break
        way.append(step)
    return tuple(way)


def _fault(path: FieldPath, errors: list[ErrorDetails], type_: Any) -> Fault:
    first = errors[0]
    given = first["input"]
    if first["type"] == "missing":
        return required(path)
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _fields_at(path[:-1], type_)
        return Fault(
            path,
            "is not a field of podwire's",
            did_you_mean(str(path[-1]), known) or f"fields here: {', '.join(known)}",
        )
    words = [
        w
        for e in errors
        if e["type"] == "literal_error"
        for w in re.findall(r"'([^']*)'", e["ctx"]["expected"])
        if w
    ]
    nouns = [f"one of {', '.join(words)}"] if words else []
    nouns += [_NOUNS[e["type"]] for e in errors if e["type"] in _NOUNS]
    if not nouns:
        return Fault(path, f"cannot be read: {first['msg']}")
    hint = _HINTS.get((str(path[-1]) if path else "", str(given)), "")
    if not hint and words and isinstance(given, str):
        hint = did_you_mean(given, words)
    if not hint and nouns == ["a string"] and isinstance(given, bool):
        hint = "write it in quotes: yes, no, on, off, y, n, true and false are booleans in a manifest"
    if not hint and nouns == ["a string"] and isinstance(given, (int, float)):
        hint = "write it in quotes"
    if not hint and nouns == ["an integer"] and isinstance(given, str) and given.isdecimal():
        hint = "leave the quotes out"
    kind = FaultKind.NOT_SUPPORTED if words and isinstance(given, str) else FaultKind.TYPE_INVALID
    what = worded("must be {}, is {}", Words(" or ".join(dict.fromkeys(nouns))), shown(given))
    return Fault(path, what, hint, kind, tuple(words))


def _fields_at(path: FieldPath, type_: Any) -> list[str]:
    """Returns the fields that the mapping at ``path`` may have."""
    for step in path:
        if step in _field_types(type_):  # otherwise it is an index of a list, or a key of a mapping
            type_ = _dataclass_in(_field_types(type_)[str(step)])
    return list(_field_types(type_))
