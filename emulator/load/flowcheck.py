"""Makes FlowCheck's JSON Schema, CustomResourceDefinition and reference tables from its types. Pure.

A field's description is the text of its annotation in :mod:`emulator.objects.config`. The schema is
structural, as the API server wants it of a CustomResourceDefinition (no references, no null;
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/).
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from textwrap import fill
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from ..objects.config import (
    FlowExpect,
    FlowFrom,
    FlowSpec,
    FlowStep,
    FlowTo,
    StepDelete,
    StepRollout,
    StepScale,
    StepTerminate,
    StepTraffic,
)
from .schema import OURS

Schema: TypeAlias = dict[str, Any]

GROUP, VERSION = OURS.split("/")
_EXACTLY_ONE: Mapping[type[Any], tuple[str, ...]] = {
    FlowFrom: ("pod", "podSelector", "node", "external"),
    FlowTo: ("service", "pod", "podSelector", "node", "ip", "loadBalancer", "external"),
    StepTerminate: ("pod", "podSelector"),
    StepRollout: ("image", "restart"),
}
# the tables of the reference, in order: where the value stands, and its type
_TABLES: Mapping[str, type[Any]] = {
    "spec.flows[]": FlowSpec,
    "from": FlowFrom,
    "to": FlowTo,
    "expect": FlowExpect,
    "spec.steps[]": FlowStep,
    "delete[]": StepDelete,
    "scale": StepScale,
    "terminate": StepTerminate,
    "rollout": StepRollout,
    "traffic": StepTraffic,
}
_SPEC: Schema = {
    "type": "object",
    "description": "Flows, then steps in time with flows of their own. One of both is needed, or derive.",
    "additionalProperties": False,
}


def json_schema() -> Schema:
    """Returns the JSON Schema (draft 2020-12) of a FlowCheck manifest, for editors and validators."""
    meta = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "namespace": {"type": "string"}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"FlowCheck of {OURS}",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": OURS},
            "kind": {"const": "FlowCheck"},
            "metadata": meta,
            "spec": _spec(closed=True),
        },
    }


def custom_resource_definition() -> Schema:
    """Returns the CustomResourceDefinition with which an API server keeps FlowChecks beside the manifests."""
    schema = {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _spec(closed=False),
        },
    }
    names = {
        "kind": "FlowCheck",
        "listKind": "FlowCheckList",
        "plural": "flowchecks",
        "singular": "flowcheck",
    }
    version = {"name": VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"flowchecks.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def reference() -> str:
    """Returns the tables of fields, as Markdown."""
    return "\n".join(line for place, type_ in _TABLES.items() for line in _table(place, type_))


def _table(place: str, type_: type[Any]) -> Iterator[str]:
    yield f"### `{place}`\n\n{_text_of(type_)}\n\n| field | type | default | meaning |\n|---|---|---|---|"
    hints = get_type_hints(type_, include_extras=True)
    for field in dataclasses.fields(type_):
        name = field.name.rstrip("_")
        meaning = hints[field.name].__metadata__[0]
        yield f"| `{name}` | {_type_name(hints[field.name])} | {_default(field)} | {meaning} |"
    yield ""


def _text_of(type_: type[Any]) -> str:
    text = " ".join((type_.__doc__ or "").split()).replace("``", "`")
    return fill(text, 110)


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if value is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
        return "required"
    plain = isinstance(value, (str, int, float)) and value != ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if plain else ""


def _type_name(hint: Any) -> str:
    hint = _bare(hint)
    origin, args = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        place = next(place for place, type_ in _TABLES.items() if type_ is hint)
        return f"`{place.removesuffix('[]').removeprefix('spec.')}`"
    if origin is Literal:
        return ", ".join(f"`{arg}`" for arg in args)
    if origin is tuple:
        return f"list of {_type_name(args[0])}"
    if origin in (Union, types.UnionType):
        return " or ".join(_type_name(arg) for arg in args)
    return {str: "string", int: "integer", float: "number", bool: "boolean"}.get(hint, "mapping")


def _spec(*, closed: bool) -> Schema:
    flows = {"type": "array", "items": _object(FlowSpec, closed)}
    steps = {"type": "array", "items": _object(FlowStep, closed)}
    derive = {
        "type": "boolean",
        "description": "If true, the flows that the objects call for are sent as well, at the beginning.",
    }
    spec = {**_SPEC, "properties": {"derive": derive, "flows": flows, "steps": steps}}
    if not closed:
        del spec["additionalProperties"]
    return spec


def _bare(hint: Any) -> Any:
    """Returns the type without its text, and without None, which no manifest writes."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        rest = tuple(arg for arg in get_args(hint) if arg is not types.NoneType)
        return rest[0] if len(rest) == 1 else reduce(or_, rest)
    return hint


def _object(type_: type[Any], closed: bool, inside: frozenset[type[Any]] = frozenset()) -> Schema:
    """Returns the schema of the dataclass ``type_``. ``closed``: it refuses unknown fields. ``inside``: types
    that it stands in, whose fields it leaves out: a structural schema is not recursive.
    """
    properties: dict[str, Schema] = {}
    required = []
    hints = get_type_hints(type_, include_extras=True)
    for field in dataclasses.fields(type_):
        if type_ in inside and _is_mapping_of(hints[field.name], type_):
            continue
        name = field.name.rstrip("_")
        schema = _schema(hints[field.name], closed, inside | {type_})
        properties[name] = {**schema, "description": hints[field.name].__metadata__[0]}
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required.append(name)
    found: Schema = {"type": "object", "properties": properties}
    if required:
        found["required"] = required
    if names := _EXACTLY_ONE.get(type_):
        found["oneOf"] = [{"required": [name]} for name in names]
    if closed:
        found["additionalProperties"] = False
    return found


def _is_mapping_of(hint: Any, type_: type[Any]) -> bool:
    return type_ in get_args(_bare(hint))


def _schema(hint: Any, closed: bool, inside: frozenset[type[Any]]) -> Schema:
    hint = _bare(hint)
    origin, args = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _object(hint, closed, inside)
    if origin is Literal:
        return {"type": "string", "enum": list(args)}
    if origin is tuple:
        return {"type": "array", "items": _schema(args[0], closed, inside)}
    if origin in (Union, types.UnionType):  # a port: a number or a name
        number_or_name: Schema = {"x-kubernetes-int-or-string": True}
        return {"anyOf": [{"type": "integer"}, {"type": "string"}], **({} if closed else number_or_name)}
    if origin is not None:  # a mapping
        if args[1] is Any:
            return {"type": "object", **({} if closed else {"x-kubernetes-preserve-unknown-fields": True})}
        return {"type": "object", "additionalProperties": _schema(args[1], closed, inside)}
    return {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[hint]}
