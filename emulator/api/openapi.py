"""Makes the OpenAPI v3 documents of the API: one for each group version, and their index. Pure.

kubectl looks in them for the query parameter fieldValidation of PATCH (create, apply, replace, diff), and for
the schemas of kinds (explain). Each has the paths of its resources, and the schemas that these reach.
OpenAPI v2 has no paths and no schemas: kubectl falls back to it for a kind that v3 does not know, and takes
a kind without a schema as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

from .discovery import VERSION
from .patch import STRATEGIC_MERGE_PATCH as STRATEGIC
from .resources import Catalog, Resource
from .schemas import KINDS, REFERENCE, definition_of, definitions

Document = dict[str, Any]
_ROOT = "/openapi/v3"
_OPERATION: Mapping[str, tuple[str, bool]] = {  # verb → HTTP method, and whether it names an object
    "list": ("get", False),
    "create": ("post", False),
    "deletecollection": ("delete", False),
    "get": ("get", True),
    "update": ("put", True),
    "patch": ("patch", True),
    "delete": ("delete", True),
}
_ACTION = {**{verb: verb for verb in _OPERATION}, "create": "post", "update": "put"}
_METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_OPTIONS = {"type": "string", "uniqueItems": True}
_WRITES = ("create", "update", "patch")
_PATCHES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    STRATEGIC,
)


def answer(path: str, accept: str, catalog: Catalog) -> tuple[bytes, str] | None:
    """Returns the document at ``path`` as JSON text, and its media type; None if there is none."""
    if path.rstrip("/") == "/openapi/v2":
        if "spec.v2" in accept and "protobuf" in accept:
            return _V2_PROTOBUF, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
        return _dump(_V2), "application/json"
    # every client that asks for v3 as protobuf takes JSON too
    if path.rstrip("/") == _ROOT:
        return _dump(index(catalog)), "application/json"
    if not path.startswith(f"{_ROOT}/"):
        return None
    found = _places(catalog).get(path[len(_ROOT) + 1 :].rstrip("/"))
    return None if found is None else (_text(catalog, *found), "application/json")


_V2: Document = {
    "swagger": "2.0",
    "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
    "paths": {},
}


def _message(number: int, content: bytes) -> bytes:
    """Returns a field of protobuf's wire type 2, shorter than 128 bytes."""
    return bytes((number << 3 | 2, len(content))) + content


# the same as gnostic's message Document (OpenAPIv2.proto): swagger 1, info 2, paths 8, definitions 9
_V2_PROTOBUF = b"".join(
    (
        _message(1, b"2.0"),
        _message(2, _message(1, b"Kubernetes") + _message(2, VERSION["gitVersion"].encode())),
        _message(8, b""),
        _message(9, b""),
    )
)


def _places(catalog: Catalog) -> dict[str, tuple[str, str]]:
    """Returns the group and version of each document, by its place below the root."""
    return {
        f"apis/{group}/{version}" if group else f"api/{version}": (group, version)
        for group, versions in catalog.groups.items()
        for version in versions
    }


def index(catalog: Catalog) -> Document:
    """Returns where each group version's document is. The hash lets a client keep it until it changes."""
    paths = {}
    for place, found in _places(catalog).items():
        digest = sha256(_text(catalog, *found)).hexdigest().upper()
        paths[place] = {"serverRelativeURL": f"{_ROOT}/{place}?hash={digest}"}
    return {"paths": paths}


@lru_cache(maxsize=128)
def _text(catalog: Catalog, group: str, version: str) -> bytes:
    return _dump(document(catalog, group, version))


def _dump(value: Document) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def document(catalog: Catalog, group: str, version: str) -> Document:
    """Returns the OpenAPI document of a group version."""
    resources = [one for one in catalog.resources if (one.group, one.version) == (group, version)]
    schemas: Document = {}
    paths: Document = {}
    for one in resources:
        if one.schema is not None:
            schemas[_name(one)] = _custom(one)
        paths |= _paths(one, _name(one))
    known = filter(None, (definition_of(one.apiVersion, one.kind) for one in resources))
    metadata = [_METADATA] if any(one.schema is not None for one in resources) else []
    schemas |= {name: definitions()[name] for name in _reached([*known, *metadata])}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _name(one: Resource) -> str:
    """Returns the name of a kind's schema: Kubernetes' own, or the group backwards, as kube-apiserver names
    those of custom resources.
    """
    found = definition_of(one.apiVersion, one.kind)
    return found or ".".join((*reversed(one.group.split(".")), one.version, one.kind))


def _custom(one: Resource) -> Document:
    """Returns the schema of a custom resource with the fields that every object has."""
    schema = one.schema or {}
    of_a_pod = definitions()["io.k8s.api.core.v1.Pod"]["properties"]
    common = {name: of_a_pod[name] for name in ("apiVersion", "kind", "metadata")}
    return {**schema, "properties": {**common, **_without_common(schema)}, **_kind(one)}


def _without_common(schema: Mapping[str, Any]) -> Document:
    given = schema.get("properties")
    rows = given.items() if isinstance(given, Mapping) else ()
    return {name: one for name, one in rows if name not in ("apiVersion", "kind", "metadata")}


def _kind(one: Resource) -> Document:
    return {KINDS: [{"group": one.group, "version": one.version, "kind": one.kind}]}


def _reached(names: Iterable[str]) -> Iterator[str]:
    """Yields ``names``, and every definition that they refer to, each once."""
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen and name in definitions():
            seen.add(name)
            yield name
            waiting += _references(definitions()[name])


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(REFERENCE)
            else:
                yield from _references(value)
    elif isinstance(schema, list | tuple):
        for item in schema:
            yield from _references(item)


def _paths(one: Resource, schema: str) -> Document:
    """Returns the paths of a resource, with its subresources."""
    root = f"/apis/{one.group}/{one.version}" if one.group else f"/api/{one.version}"
    base = f"{root}/namespaces/{{namespace}}/{one.plural}" if one.namespaced else f"{root}/{one.plural}"
    paths: Document = {}
    for verb, (method, named) in _OPERATION.items():
        if verb in one.verbs:
            path = f"{base}/{{name}}" if named else base
            paths.setdefault(path, _parameters(one, named))[method] = _operation(one, verb, schema)
    if one.namespaced and "list" in one.verbs:
        every = f"{root}/{one.plural}"
        paths[every] = {"get": _operation(one, "list", schema)}
    for name, about in one.subresources.items():
        path = f"{base}/{{name}}/{name}"
        for verb in about.verbs:
            if verb in _OPERATION:
                method = _OPERATION[verb][0]
                row = _operation(one, verb, schema, about.kind, about.version)
                paths.setdefault(path, _parameters(one, True))[method] = row
    return paths


def _parameters(one: Resource, named: bool) -> Document:
    names = [*(["name"] if named else []), *(["namespace"] if one.namespaced else [])]
    return {
        "parameters": [{"name": name, "in": "path", "required": True, "schema": _OPTIONS} for name in names]
    }


def _operation(one: Resource, verb: str, schema: str, kind: str = "", apiVersion: str = "") -> Document:
    group, _, version = (apiVersion or one.apiVersion).rpartition("/")
    row: Document = {
        "x-kubernetes-action": _ACTION[verb],
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind or one.kind},
        "responses": {"200": {"description": "OK"}, "401": {"description": "Unauthorized"}},
    }
    if verb in _WRITES:
        names = ("dryRun", "fieldManager", "fieldValidation", *(("force",) if verb == "patch" else ()))
        row["parameters"] = [{"name": name, "in": "query", "schema": _OPTIONS} for name in names]
        media: Iterable[str] = ("application/json", "application/yaml")
        if verb == "patch":  # kubectl takes a strategic merge patch where it finds the media type
            media = _PATCHES if one.schema is None else (form for form in _PATCHES if form != STRATEGIC)
        body = {"schema": {"$ref": f"{REFERENCE}{schema}"}} if verb != "patch" else {}
        row["requestBody"] = {"content": dict.fromkeys(media, body)}
    return row
