"""Reads the selectors of a request: labels and fields. The words of refusals are kube-apiserver's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..objects.kinds import LabelSelector
from ..objects.selectors import matches, parse_selector
from . import status
from .resources import Resource
from .validation import label_key_faults, label_value_faults

# Fields of each kind that a field selector may name beside metadata.name and metadata.namespace
# (pkg/registry/*/strategy.go, SelectableFields; apis/core/v1/conversion.go).
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "Pod": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    "Event": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "Node": ("spec.unschedulable",),
    "Namespace": ("status.phase",),
    "Secret": ("type",),
    "Service": ("spec.clusterIP", "spec.type"),
    "ReplicaSet": ("status.replicas",),
    "ReplicationController": ("status.replicas",),
    "Job": ("status.successful",),
}
_BOOLEAN = frozenset({"spec.unschedulable", "spec.hostNetwork"})


class Place(Protocol):
    """Describes what a request is about: its resource, and the one object that it names, if any."""

    @property
    def resource(self) -> Resource: ...
    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects objects by labels and fields. ``everything``: it selects all of them."""

    labels: LabelSelector | None = None
    fields: tuple[tuple[str, bool, str], ...] = ()  # path, equal (or not), value

    @property
    def everything(self) -> bool:
        return self.labels is None and not self.fields

    @classmethod
    def of(cls, query: Mapping[str, str], place: Place) -> Selection:
        """Returns the selection of ``labelSelector`` and ``fieldSelector``. Raises ApiError."""
        text = query.get("labelSelector", "")
        labels = None
        if text:
            try:
                labels = parse_selector(text)
            except ValueError as error:
                raise status.bad_request(
                    _complaint(text) or f"unable to parse requirement: {error}"
                ) from None
        fields = _fields(query.get("fieldSelector", ""), place.resource)
        if place.name:  # a watch of one object
            fields = (*fields, ("metadata.name", True, place.name))
        return cls(labels, fields)

    def matches(self, document: Mapping[str, Any]) -> bool:
        metadata = document.get("metadata") or {}
        if self.labels is not None and not matches(self.labels, metadata.get("labels") or {}):
            return False
        return all((_value(document, path) == value) is equal for path, equal, value in self.fields)


def _fields(text: str, resource: Resource) -> tuple[tuple[str, bool, str], ...]:
    found = []
    for term in _terms(text):
        path, equal, value = _split(term, text)
        known = ("metadata.name", "metadata.namespace", *_FIELDS.get(resource.kind, ()))
        if path not in known:
            if resource.kind in _FIELDS or resource.schema is not None:
                raise status.bad_request(f"field label not supported: {path}")
            names = '"metadata.name", "metadata.namespace"'  # in the words of meta/v1's conversion
            raise status.bad_request(f"{json.dumps(path)} is not a known field selector: only {names}")
        found.append((path, equal, value))
    return tuple(found)


def _terms(text: str) -> Sequence[str]:
    """Returns the terms of a field selector: at commas, of which a backslash makes a plain one."""
    terms, term, escaped = [], "", False
    for letter in text:
        if escaped:
            term, escaped = term + letter, False
        elif letter == "\\":
            escaped = True
        elif letter == ",":
            terms.append(term)
            term = ""
        else:
            term += letter
    return [one for one in (*terms, term) if one]


def _split(term: str, text: str) -> tuple[str, bool, str]:
    for sign, equal in (("!=", False), ("==", True), ("=", True)):
        path, found, value = term.partition(sign)
        if found:
            return path.strip(), equal, value.strip()
    raise status.bad_request(f"invalid field selector: '{text}'; can't understand '{term}'")


def _value(document: Mapping[str, Any], path: str) -> str:
    """Returns a field as a selector compares it: text, "" where it is not set."""
    if path == "source" and isinstance(document.get("source"), Mapping):
        return str(document["source"].get("component") or document.get("reportingComponent") or "")
    if path == "status.podIPs":
        return ",".join(str(one.get("ip")) for one in (document.get("status") or {}).get("podIPs") or ())
    value: Any = document
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    if path in _BOOLEAN:
        return "true" if value else "false"
    return "" if value is None else str(value)


# --- the words for a label selector that is none (apimachinery, pkg/labels/selector.go) ---------------------

_TOKEN = re.compile(r"\s*([()]|,|[!=<>]+|[^\s(),!=<>]+|$)")
_SIGNS = ("(", ")", ",", "!", "=", "==", "!=", "<", ">")
_OPERATORS = "in, notin, =, ==, !=, gt, lt"


def _complaint(text: str) -> str:
    """Returns what kube-apiserver says of a label selector that it cannot read; "" if it could."""
    tokens = [*_TOKEN.findall(text), ""]
    try:
        while tokens[0]:
            if not _is_name(tokens[0]) and tokens[0] != "!":
                return f"found '{tokens[0]}', expected: !, identifier, or 'end of string'"
            _requirement(tokens)
            last = tokens.pop(0)
            if not last:
                break
            if last != ",":
                return f"found '{last}', expected: ',' or 'end of string'"
            if not _is_name(tokens[0]) and tokens[0] != "!":
                return f"found '{tokens[0]}', expected: identifier after ','"
    except ValueError as error:
        return f"unable to parse requirement: {error}"
    return ""


def _is_name(token: str) -> bool:
    return bool(token) and token not in _SIGNS


def _requirement(tokens: list[str]) -> None:
    """Takes one requirement from ``tokens``. Raises ValueError with the complaint."""
    absent = tokens[0] == "!"
    if absent:
        tokens.pop(0)
    if not _is_name(tokens[0]):
        raise ValueError(f"found '{tokens[0]}', expected: identifier")
    for one in label_key_faults("key", tokens.pop(0)):
        raise ValueError(f"{one.field}: {one.message}")
    if absent or tokens[0] in ("", ","):
        return
    operator = tokens.pop(0)
    if operator in ("in", "notin"):
        _values(tokens)
    elif operator in ("=", "==", "!=", ">", "<"):
        if _is_name(tokens[0]):
            for one in label_value_faults("values[0]", tokens.pop(0)):
                raise ValueError(f"{one.field}: {one.message}")
        elif tokens[0] not in ("", ","):
            raise ValueError(f"found '{tokens[0]}', expected: identifier")
    else:
        raise ValueError(f"found '{operator}', expected: {_OPERATORS}")


def _values(tokens: list[str]) -> None:
    if (first := tokens.pop(0)) != "(":
        raise ValueError(f"found '{first}' expected: '('")
    if not _is_name(tokens[0]) and tokens[0] not in (",", ")"):
        raise ValueError(f"found '{tokens[0]}', expected: ',', ')' or identifier")
    while _is_name(tokens[0]) or tokens[0] == ",":
        if (value := tokens.pop(0)) != ",":
            for one in label_value_faults("values[0]", value):
                raise ValueError(f"{one.field}: {one.message}")
    if (last := tokens.pop(0)) != ")":
        raise ValueError(f"found '{last}', expected: ')'")
