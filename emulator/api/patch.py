"""Applies patches to documents: JSON patch, merge patch and strategic merge patch.

The rules of a strategic merge are those of k8s.io/apimachinery, pkg/util/strategicpatch/patch.go: a list is
merged by the key that the schema names (``x-kubernetes-patch-merge-key``), or as a set; ``$patch``,
``$retainKeys``, ``$deleteFromPrimitiveList/FIELD`` and ``$setElementOrder/FIELD`` say more. Codes and words
of refusals are those of k8s.io/apiserver, pkg/endpoints/handlers/patch.go.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import schemas, typed
from .bodies import DEEPEST, within
from .jsontext import parse
from .resources import Resource
from .status import ApiError, bad_request, unsupported_media_type

Document = dict[str, Any]
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
MOST_OPERATIONS = 10_000
MALFORMED = "invalid JSON patch"

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_DELETE = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def apply_patch(form: str, current: Document, body: bytes, resource: Resource) -> Document:
    """Returns a copy of ``current`` after a patch of media type ``form``.

    Raises ApiError: 400 for a body that is no patch, 415 for another media type (and for a strategic merge
    of a custom resource), 413 for more than 10,000 operations, 422 for operations that do not fit, 500 for a
    strategic merge that cannot be done (kube-apiserver answers so).
    """
    schema = schemas.schema_of(resource.apiVersion, resource.kind)
    if form == STRATEGIC_MERGE_PATCH and schema is not None:
        patch = _parsed(body, Mapping, "map[string]interface {}", form)
        return _merge_map(copy.deepcopy(current), copy.deepcopy(patch or {}), schema)
    if form == MERGE_PATCH:
        patch = _parsed(body, Mapping, "map[string]interface {}", form)
        if patch is None:
            raise bad_request("Invalid JSON Patch")
        merged: Document = merge_patch(copy.deepcopy(current), patch)
        return merged
    if form == JSON_PATCH:
        operations = _parsed(body, list, "[]handlers.jsonPatchOp", form) or []
        if len(operations) > MOST_OPERATIONS:
            most = (
                f"The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {len(operations)}"
            )
            raise ApiError(413, "RequestEntityTooLarge", f"Request entity is too large: {most}")
        return _json_patch(current, operations)
    accepted = [JSON_PATCH, MERGE_PATCH, "application/apply-patch+yaml"]
    if schema is not None:
        accepted.insert(2, STRATEGIC_MERGE_PATCH)
    raise unsupported_media_type(accepted)


MOST_OPERATIONS = 10_000  # in one JSON patch (k8s.io/apiserver, handlers/patch.go)
MOST_COPIED = 3 << 20  # bytes that its copies add (jsonpatch, AccumulatedCopySizeLimit)


def merge_patch(target: Any, patch: Any) -> Any:
    """Returns ``target`` merged with ``patch`` (RFC 7396): null removes, a map merges, all else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _parsed(body: bytes, form: Any, go_type: str, media: str) -> Any:
    """Returns the patch, None if it is null."""
    try:
        patch = parse(body)
    except (ValueError, RecursionError):
        raise bad_request(MALFORMED) from None
    if not within(patch, DEEPEST):
        raise bad_request(f"the patch is nested more than {DEEPEST} levels deep")
    if patch is not None and not isinstance(patch, form):
        prefix = "" if media == STRATEGIC_MERGE_PATCH else "error decoding patch: "
        raise bad_request(
            f"{prefix}json: cannot unmarshal {json_name(patch)} into Go value of type {go_type}"
        )
    return patch


def json_name(value: Any) -> str:
    """Returns the form of a JSON value in Go's words."""
    if isinstance(value, Mapping):
        return "object"
    if isinstance(value, list):
        return "array"
    return "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"


def _json_patch(current: Document, operations: list[Any]) -> Document:
    import jsonpatch  # here: other commands do without it
    import jsonpointer

    unfit = ApiError(422, "Invalid", "the server rejected our request due to an error in our request")
    for operation in operations:
        if not isinstance(operation, dict):
            into = f"cannot unmarshal {json_name(operation)} into Go value of type handlers.jsonPatchOp"
            raise bad_request(f"error decoding patch: json: {into}")
    if len(operations) > MOST_OPERATIONS:
        what = f"The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {len(operations)}"
        raise ApiError(413, "RequestEntityTooLarge", what)
    result, copied = copy.deepcopy(current), 0
    try:
        for operation in operations:
            if operation.get("op") == "copy":  # each may double the document
                piece = jsonpointer.resolve_pointer(result, operation.get("from"))
                copied += len(json.dumps(piece))
                if copied > MOST_COPIED:
                    raise unfit
            result = jsonpatch.apply_patch(result, [operation], in_place=True)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, KeyError, TypeError, ValueError):
        raise unfit from None
    except (IndexError, AttributeError, RecursionError):  # a path that leads into a scalar, or far too deep
        raise unfit from None
    if not isinstance(result, dict):
        raise unfit
    return result


# Strategic merge


def _failed(message: str) -> ApiError:
    return ApiError(500, "", message)


def _merge_map(original: Document, patch: Document, schema: schemas.Schema) -> Document:
    """Returns ``original`` with ``patch`` merged; both are used up."""
    if _DIRECTIVE in patch:
        directive = patch.pop(_DIRECTIVE)
        if directive == "replace":
            return patch
        if directive == "delete":
            return {}
        raise _failed(
            f"unknown patch type: {_said(directive)} in map: {_said({_DIRECTIVE: directive, **patch})}"
        )
    _retain(original, patch)
    for key in [key for key in patch if key.startswith(_ORDER)]:
        _ordered(original, patch, key, schema)
    for key, value in patch.items():
        if key.startswith(_DELETE):
            _delete_from(original, key.removeprefix(_DELETE), value)
        elif value is None:
            original.pop(key, None)
        else:
            _merge_key(original, key, value, schema)
    return original


def _merge_key(original: Document, key: str, value: Any, schema: schemas.Schema) -> None:
    old = original.get(key)
    below = _below(schema, key)
    strategy = _strategy(below)
    if isinstance(old, dict) and isinstance(value, dict):
        original[key] = value if strategy == "replace" else _merge_map(old, value, schemas.resolved(below))
    elif isinstance(old, list) and isinstance(value, list):
        original[key] = _merge_list(old, value, below) if strategy == "merge" else value
    else:
        new = _undirected(_without_null(value))
        if new is not typed.ABSENT:
            original[key] = new
        else:
            original.pop(key, None)


def _below(schema: schemas.Schema, key: str) -> schemas.Schema:
    schema = schemas.resolved(schema)
    found = schema.get("properties", {}).get(key)
    if found is None:
        more = schema.get("additionalProperties")
        found = more if isinstance(more, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _strategy(schema: schemas.Schema) -> str:
    names = [
        name for name in schema.get("x-kubernetes-patch-strategy", "").split(",") if name != "retainKeys"
    ]
    return names[0] if names else ""


def _retain(original: Document, patch: Document) -> None:
    """Removes the fields of ``original`` that ``$retainKeys`` does not name."""
    if _RETAIN not in patch:
        return
    kept = patch.pop(_RETAIN)
    said = {key.split("/", 1)[1] if key.startswith((_DELETE, _ORDER)) else key for key in patch}
    if not isinstance(kept, list) or not all(key in kept for key in said if patch.get(key) is not None):
        raise bad_request("invalid patch format of retainKeys")
    for key in [key for key in original if key not in kept]:
        del original[key]


def _delete_from(original: Document, key: str, items: Any) -> None:
    if not isinstance(original.get(key), list):
        return
    if not isinstance(items, list):
        raise bad_request("invalid patch format of primitive list")
    original[key] = [old for old in original[key] if not _among(old, items, "")]


def _merge_list(old: list[Any], patch: list[Any], schema: schemas.Schema) -> list[Any]:
    if not old and not patch:
        return old
    forms = {type(item) for item in (*old, *patch)}
    if list in forms:
        raise ApiError(422, "Invalid", "the server rejected our request due to an error in our request")
    if len(forms) > 1:
        raise _failed(f"list element types are not identical: {_said([old, patch])}")
    key = schema.get("x-kubernetes-patch-merge-key", "")
    if forms != {dict}:
        merged = list(old)
        for item in patch:
            if not _among(item, merged, ""):
                merged.append(item)
        return _in_order(merged, patch, old, "")
    if not key:
        raise _failed(
            f"cannot merge lists without merge key for {schemas.reference(schema.get('items', {})) or ''}"
        )
    old, patch = _special(old, patch, key)
    merged = list(old)
    for item in patch:
        _has_key(item, key)
        index = _index(merged, item, key)
        if index is None:
            merged.append(item)
        else:
            merged[index] = _merge_map(merged[index], dict(item), schemas.resolved(schema.get("items", {})))
    return _in_order(merged, patch, old, key)


def _special(old: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Applies the items with ``$patch``; returns the list and the other items."""
    plain = []
    replaced = False
    for item in patch:
        directive = item.get(_DIRECTIVE)
        if _DIRECTIVE not in item:
            plain.append(item)
        elif directive == "delete":
            _has_key(item, key)
            old = [other for other in old if not _same_key(other, item, key)]
        elif directive == "replace":
            replaced = True
        elif directive == "merge":
            raise _failed("merging lists cannot yet be specified in the patch")
        else:
            raise _failed(f"unknown patch type: {_said(directive)} in map: {_said(item)}")
    return (plain, []) if replaced else (old, plain)


def _ordered(original: Document, patch: Document, directive: str, schema: schemas.Schema) -> None:
    """Merges a list that has ``$setElementOrder``, and puts its items in that order."""
    name = directive.removeprefix(_ORDER)
    order = patch.pop(directive)
    below = _below(schema, name)
    key = schema_key = below.get("x-kubernetes-patch-merge-key", "")
    items = patch.pop(name, None)
    if not isinstance(order, list) or (items is not None and not isinstance(items, list)):
        raise bad_request("invalid patch format of setElementOrder list")
    _check_order(items or [], order, schema_key)
    old = original.get(name)
    if not isinstance(old, list):
        if items is None:
            return
        merged = _undirected(_without_null(items))
        old = []
    elif items is None:
        merged = old
    elif _strategy(below) == "merge":
        merged = _merge_list(old, items, below)
    else:
        merged = items
    original[name] = _in_order(merged, order, old, key)


def _check_order(items: list[Any], order: list[Any], key: str) -> None:
    """Refuses an order that the patch's own items do not have."""
    said = [item for item in items if not (isinstance(item, dict) and item.get(_DIRECTIVE) == "delete")]
    if not said or not order:
        return
    at = 0
    for item in said:
        while at < len(order) and not _same_key(order[at], item, key):
            at += 1
        if at == len(order):
            lists = f"{_said(items)}\n doesn't match $setElementOrder list:\n{_said(order)}\n"
            raise _failed(f"The order in patch list:\n{lists}")
        at += 1


def _in_order(items: list[Any], order: list[Any], old: Sequence[Any], key: str) -> list[Any]:
    """Returns items in ``order``, and those that it does not name where they were before, as in ``old``."""
    named = [item for item in items if _among(item, order, key)]
    others = [item for item in items if not _among(item, order, key)]
    named.sort(key=lambda item: _place(order, item, key))
    others.sort(key=lambda item: _place(old, item, key))
    merged = []
    while named and others:
        left, right = _place(old, others[0], key), _place(old, named[0], key)
        merged.append((others if 0 <= left < right else named).pop(0))
    return merged + named + others


def _place(order: Sequence[Any], item: Any, key: str) -> int:
    found = _index(order, item, key)
    return -1 if found is None else found


def _index(items: Sequence[Any], item: Any, key: str) -> int | None:
    for index, other in enumerate(items):
        if _same_key(other, item, key):
            return index
    return None


def _among(item: Any, items: Sequence[Any], key: str) -> bool:
    if key:
        _has_key(item, key)
    return _index(items, item, key) is not None


def _same_key(one: Any, other: Any, key: str) -> bool:
    if not key:
        return typed.same(one, other)
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    return key in one and key in other and typed.same(one[key], other[key])


def _has_key(item: Any, key: str) -> None:
    if not isinstance(item, dict) or key not in item:
        raise _failed(f"map: {_said(item)} does not contain declared merge key: {key}")


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(below) for key, below in value.items() if below is not None}
    return [_without_null(item) for item in value] if isinstance(value, list) else value


def _undirected(value: Any) -> Any:
    """Returns a value that is new without its directives, ABSENT if it is one itself."""
    if isinstance(value, dict):
        if _DIRECTIVE in value:
            return typed.ABSENT
        rest = {
            key: _undirected(below)
            for key, below in value.items()
            if not key.startswith((_ORDER, _DELETE, _RETAIN))
        }
        return {key: below for key, below in rest.items() if below is not typed.ABSENT}
    if isinstance(value, list):
        items = [_undirected(item) for item in value]
        return [item for item in items if item is not typed.ABSENT]
    return value


def _said(value: Any) -> str:
    return typed.go_text(value)
