"""Checks CustomResourceDefinitions, and completes their objects.

Facts: kubernetes.io/docs, "Extend the Kubernetes API with CustomResourceDefinitions"; k8s.io/
apiextensions-apiserver, pkg/apis/apiextensions/validation. Versions are converted by strategy None: the
apiVersion alone changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .structural import Schema, Violation, fill, prune, validate, wrong_patterns
from .typed import go_text
from .validation import shown

DEFINED = "CustomResourceDefinition"
DEFINITION = "CustomResourceDefinition.apiextensions.k8s.io"  # as the store names the kind
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_VERSION = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?\Z")


def complete(document: dict[str, Any], schema: Schema) -> list[Violation]:
    """Prunes an object, fills in defaults, and returns its violations of the schema."""
    prune(document, schema)
    fill(document, schema)
    return validate(document, schema)


# --- definitions --------------------------------------------------------------------------------------------


def violations(definition: Mapping[str, Any]) -> list[Violation]:
    """Returns the faults of a definition."""
    found: list[Violation] = []

    def must(field: str, fits: bool, message: str, reason: str = "FieldValueInvalid") -> None:
        if not fits:
            found.append(Violation(field, reason, message))

    spec = _mapping(definition.get("spec"))
    names = _mapping(spec.get("names"))
    group, plural, kind = spec.get("group"), names.get("plural"), names.get("kind")
    name, wanted = _mapping(definition.get("metadata")).get("name"), f"{plural}.{group}"
    must(
        "metadata.name",
        name == wanted,
        f'Invalid value: {shown(name)}: must be spec.names.plural+"."+spec.group',
    )
    for field, value in (("spec.group", group), ("spec.names.plural", plural), ("spec.names.kind", kind)):
        must(field, isinstance(value, str) and value != "", "Required value", "FieldValueRequired")
    scope = spec.get("scope")
    must(
        "spec.scope",
        scope in ("Namespaced", "Cluster"),
        f'Unsupported value: {shown(scope)}: supported values: "Cluster", "Namespaced"',
        "FieldValueNotSupported",
    )
    must(
        "spec.names.plural",
        not plural or bool(_LABEL.match(str(plural))),
        f"Invalid value: {shown(plural)}: a DNS-1035 label must consist of lower case alphanumeric characters"
        " or '-', start with an alphabetic character, and end with an alphanumeric character",
    )
    versions = _list(spec.get("versions"))
    must("spec.versions", bool(versions), "Required value", "FieldValueRequired")
    stored = 0
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        one = _mapping(version)
        text = str(one.get("name"))
        must(f"{path}.name", bool(_VERSION.match(text)), f'Invalid value: "{text}": must be a DNS-1035 label')
        stored += one.get("storage") is True
        schema = _mapping(one.get("schema")).get("openAPIV3Schema")
        must(
            f"{path}.schema.openAPIV3Schema",
            isinstance(schema, Mapping),
            "Required value",
            "FieldValueRequired",
        )
        if isinstance(schema, Mapping):
            found += wrong_patterns(schema, f"{path}.schema.openAPIV3Schema")
            must(
                f"{path}.schema.openAPIV3Schema.type",
                schema.get("type") == "object",
                "Required value: must not be empty at the root"
                if "type" not in schema
                else f'Invalid value: "{schema.get("type")}": must be object at the root',
                "FieldValueRequired" if "type" not in schema else "FieldValueInvalid",
            )
    must(
        "spec.versions",
        stored == 1 or not versions,
        f"Invalid value: {shown([_go_version(one) for one in versions])}: must have exactly one version"
        " marked as storage version",
    )
    must(
        "status.storedVersions",
        bool(stored),
        "Invalid value: null: must have at least one stored version",
    )
    conversion = _mapping(spec.get("conversion")).get("strategy", "None")
    must(
        "spec.conversion.strategy",
        conversion == "None",
        f'Unsupported value: "{conversion}": supported values: "None" (podwire calls no webhooks)',
        "FieldValueNotSupported",
    )
    return found


def _go_version(version: Any) -> dict[str, Any]:
    """Returns a version as a field error shows it: by the names of its Go struct."""
    one = _mapping(version)
    names = ("name", "served", "storage", "deprecated", "deprecationWarning", "schema", "subresources")
    found = {name[0].upper() + name[1:]: one.get(name) for name in names}
    for flag in ("Served", "Storage", "Deprecated"):
        found[flag] = found[flag] is True
    return {**found, **dict.fromkeys(("AdditionalPrinterColumns", "SelectableFields"))}


def scale_violations(document: Mapping[str, Any], path: Sequence[str]) -> list[Violation]:
    """Returns the faults of the number of replicas at ``path`` of a custom resource (apiextensions-
    apiserver, pkg/registry/customresource/validator.go).
    """
    value: Any = document
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    field = "." + ".".join(path)
    if value is None:
        return []
    if isinstance(value, bool) or not isinstance(value, int):
        names = {bool: "bool", str: "string", float: "float64", list: "[]interface {}"}
        type_ = names.get(type(value), "map[string]interface {}")
        what = f"{field} accessor error: {go_text(value)} is of the type {type_}, expected int64"
        return [Violation(field, "FieldValueInvalid", f"Invalid value: 0: {what}")]
    if value < 0:
        what = "should be a non-negative integer"
        return [Violation(field, "FieldValueInvalid", f"Invalid value: {value}: {what}")]
    return []


def fill_in(definition: dict[str, Any]) -> None:
    """Fills in the names that follow from others, and the conversion."""
    spec = definition.get("spec")
    names = spec.get("names") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(names, dict):
        return
    kind = names.get("kind")
    if isinstance(kind, str):
        names.setdefault("singular", kind.lower())
        names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {"strategy": "None"})


def established(definition: dict[str, Any], now: str) -> dict[str, Any] | None:
    """Returns the definition with a status that says that its kinds are served, None if it has it."""
    spec = _mapping(definition.get("spec"))
    current = _mapping(definition.get("status"))
    names, versions = spec.get("names"), _list(spec.get("versions"))
    storage = [one.get("name") for one in versions if isinstance(one, Mapping) and one.get("storage") is True]
    earlier = [one for one in _list(current.get("storedVersions")) if one not in storage]
    held = {one.get("type"): one for one in _list(current.get("conditions")) if isinstance(one, Mapping)}

    def condition(type_: str, reason: str, message: str) -> Mapping[str, Any]:
        if type_ in held and held[type_].get("status") == "True":
            return held[type_]
        time = {"lastTransitionTime": now}
        return {"type": type_, "status": "True", "reason": reason, "message": message, **time}

    status = {
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": names,
        "storedVersions": [*earlier, *storage],
    }
    return None if status == current else {**definition, "status": status}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []
