"""Gives the generated tables of Kubernetes' kinds: schemas of OpenAPI v3, and structs of Go.

``scripts/api-tables`` makes both. A definition is named as in OpenAPI: ``io.k8s.api.core.v1.Service``.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

Schema = Mapping[str, Any]
REFERENCE = "#/components/schemas/"
KINDS = "x-kubernetes-group-version-kind"


class Field(NamedTuple):
    """Describes a field of a Go struct.

    ``json`` is "" where the fields of the struct stand among its owner's. ``number`` is protobuf's, 0 if it
    has none. ``omit`` says when Go's JSON leaves it out: "" (never), "empty" or "zero".
    """

    json: str
    number: int
    wire: str
    type: str
    omit: str


@cache
def definitions() -> Mapping[str, Schema]:
    """Returns the schemas of all definitions, by name. They are shared: never change one."""
    return dict(_data("schemas.json.gz"))


@cache
def structs() -> Mapping[str, tuple[Field, ...]]:
    """Returns the fields of each struct, by the name of its definition."""
    table = _data("types.json.gz")["structs"]
    return {name: tuple(Field(*row) for row in rows) for name, rows in table.items()}


@cache
def named() -> Mapping[str, str]:
    """Returns the Go type that each named type stands for."""
    return dict(_data("types.json.gz")["named"])


@cache
def _by_kind() -> Mapping[tuple[str, str], str]:
    rows = {}
    for name, schema in definitions().items():
        kinds = schema.get(KINDS, ())
        if len(kinds) == 1:  # DeleteOptions and WatchEvent are of every group
            group, version, kind = (kinds[0][key] for key in ("group", "version", "kind"))
            rows[f"{group}/{version}" if group else version, kind] = name
    return rows


def definition_of(api_version: str, kind: str) -> str | None:
    """Returns the name of a kind's definition, None if Kubernetes has no such kind (a custom resource)."""
    return _by_kind().get((api_version, kind))


def schema_of(api_version: str, kind: str) -> Schema | None:
    """Returns the schema of a kind, None if Kubernetes has no such kind."""
    name = definition_of(api_version, kind)
    return None if name is None else definitions()[name]


def resolved(schema: Schema) -> Schema:
    """Returns what a schema refers to (``$ref``, alone or in ``allOf``), else the schema itself."""
    name = reference(schema)
    return schema if name is None else definitions().get(name, {})


def reference(schema: Schema) -> str | None:
    """Returns the name of the definition that a schema refers to, None if it does not."""
    target = schema.get("$ref")
    if target is None and len(schema.get("allOf", ())) == 1 and "properties" not in schema:
        target = schema["allOf"][0].get("$ref")
    return target.removeprefix(REFERENCE) if isinstance(target, str) else None


def _data(name: str) -> Any:
    return json.loads(gzip.decompress((files(__package__) / "data" / name).read_bytes()))
