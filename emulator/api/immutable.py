"""Finds the changes that an update may not make, in kube-apiserver's words (pkg/apis/*/validation)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .structural import Violation

# by kind: paths that stay as they were created
_FIXED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "DaemonSet": (("spec", "selector"),),
    "Deployment": (("spec", "selector"),),
    "IngressClass": (("spec", "controller"),),
    "Job": (("spec", "selector"), ("spec", "completionMode")),
    "ReplicaSet": (("spec", "selector"),),
    "Secret": (("type",),),
    "StorageClass": (("provisioner",), ("parameters",), ("reclaimPolicy",)),
    "PriorityClass": (("value",),),
    "RoleBinding": (("roleRef",),),
    "ClusterRoleBinding": (("roleRef",),),
    "EndpointSlice": (("addressType",),),
    "StatefulSet": (("spec", "serviceName"), ("spec", "selector"), ("spec", "podManagementPolicy")),
}
_STATEFULSET_MAY = (
    *("replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy"),
    *("minReadySeconds", "revisionHistoryLimit"),
)
_STATEFULSET = (
    "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template',"
    " 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds'"
    " are forbidden"
)
_POD = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
    "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously"
    " negative)"
)


def violations_of_update(
    old: Mapping[str, Any], new: Mapping[str, Any], kind: str, subresource: str
) -> list[Violation]:
    """Returns the forbidden changes from ``old`` to ``new``."""
    return [] if subresource else [*_violations(old, new, kind)]


def _violations(old: Mapping[str, Any], new: Mapping[str, Any], kind: str) -> Iterator[Violation]:
    for path in _FIXED.get(kind, ()):
        before, after = _at(old, path), _at(new, path)
        if before != after and before is not None:
            field = ".".join(path)
            shown = json.dumps(after, separators=(",", ":"))
            yield Violation(field, "FieldValueInvalid", f"Invalid value: {shown}: field is immutable")
    if kind == "Job" and not _same_template(old, new):
        yield Violation("spec.template", "FieldValueInvalid", "Invalid value: field is immutable")
    if kind == "StatefulSet":
        may = (*_STATEFULSET_MAY, *(path[1] for path in _FIXED[kind]))  # those were told already
        specs = [
            {key: value for key, value in _mapping(one.get("spec")).items() if key not in may}
            for one in (old, new)
        ]
        if specs[0] != specs[1]:
            yield Violation("spec", "FieldValueForbidden", _STATEFULSET)
    if kind in ("ConfigMap", "Secret") and old.get("immutable") is True:
        for key in ("data", "binaryData"):
            if old.get(key) != new.get(key):
                yield Violation(
                    key, "FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set"
                )
        if new.get("immutable") is not True:
            yield Violation(
                "immutable", "FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set"
            )
    if kind == "Service":
        yield from _of_addresses(_mapping(old.get("spec")), _mapping(new.get("spec")))
    if kind == "Pod" and _fixed_of_pod(old) != _fixed_of_pod(new):
        yield Violation("spec", "FieldValueForbidden", _POD)


def _of_addresses(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Violation]:
    """Yields the ClusterIP that an update may not change: the first one, while both types have one
    (ValidateServiceClusterIPsRelatedFields).
    """
    before, after = old.get("clusterIPs") or [], new.get("clusterIPs") or []
    if "ExternalName" in (old.get("type"), new.get("type")) or not before or not before[0]:
        return
    if not after:
        yield Violation(
            "spec.clusterIPs[0]", "FieldValueInvalid", "Invalid value: []: primary clusterIP can not be unset"
        )
    elif after[0] != before[0]:
        shown = json.dumps(after, separators=(",", ":"))
        message = f"Invalid value: {shown}: may not change once set"
        yield Violation("spec.clusterIPs[0]", "FieldValueInvalid", message)


def _same_template(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if _at(old, ("spec", "suspend")) is True:  # a suspended Job's scheduling may change
        return True
    return bool(_at(old, ("spec", "template", "spec")) == _at(new, ("spec", "template", "spec")))


def _fixed_of_pod(pod: Mapping[str, Any]) -> Any:
    spec = dict(_mapping(pod.get("spec")))
    for key in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"):
        spec.pop(key, None)
    for key in ("containers", "initContainers"):
        if isinstance(spec.get(key), list):
            spec[key] = [{**one, "image": ""} if isinstance(one, Mapping) else one for one in spec[key]]
    spec.pop("ephemeralContainers", None)
    return spec


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        document = document.get(step) if isinstance(document, Mapping) else None
    return document


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
