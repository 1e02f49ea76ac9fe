"""Gives documents the form that Go's structs give them: what is always there, and what is left out.

kube-apiserver reads a body into structs and writes these again. So a struct that is no pointer is always
there, as ``{}`` (``resources``, ``status``), a field with ``omitempty`` is left out when it is empty, and a
field that no struct has is gone. Custom resources have no structs, and stay as they are.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any, NamedTuple

from . import schemas
from .typed import ABSENT

Document = dict[str, Any]
_ZERO = {"bool": False, "string": "", "int32": 0, "int64": 0}


class Member(NamedTuple):
    """Describes a field: its type without the pointer, its value when nothing is written, when it goes.

    ``through`` names the embedded structs that hold it.
    """

    type: str
    zero: Any
    pointer: bool
    omitted: bool
    through: tuple[str, ...] = ()


def filled(document: Document) -> Document:
    """Returns a document with the fields that Go always has: structs that are no pointers, and plain zeroes.

    Without them a struct that appears would seem to be a field that somebody added.
    """
    name = schemas.definition_of(document.get("apiVersion", ""), document.get("kind", ""))
    return document if name is None else _fill(document, name)


def written(document: Document) -> Document:
    """Returns a document as kube-apiserver writes it after it read it."""
    name = schemas.definition_of(document.get("apiVersion", ""), document.get("kind", ""))
    return document if name is None else _drop(_fill(document, name), name)


@cache
def element_of(kind: str) -> str:
    """Returns the type of the items of a Go list or map, without a pointer; "" if it is neither."""
    kind = schemas.named().get(kind, kind)
    if kind.startswith("[]"):
        return kind[2:].lstrip("*")
    return kind.split("]", 1)[1].lstrip("*") if kind.startswith("map[") else ""


@cache
def members(kind: str) -> dict[str, Member]:
    """Returns the fields of a struct by their JSON names, those of embedded structs among them."""
    found: dict[str, Member] = {}
    for field in schemas.structs()[kind]:
        bare = field.type.lstrip("*")
        if not field.json:
            own = bare.rsplit(".", 1)[1]
            for name, member in (members(bare) if bare in schemas.structs() else {}).items():
                found[name] = member._replace(through=(own, *member.through))
            continue
        pointer = field.type != bare
        zero: Any = ABSENT
        if not pointer and bare in schemas.structs() and field.omit != "zero":
            zero = {}
        elif not field.omit:
            zero = None if pointer else _ZERO.get(schemas.named().get(bare, bare))
        found[field.json] = Member(bare, zero, pointer, bool(field.omit))
    return found


def _fill(value: Any, kind: str) -> Any:
    element = element_of(kind)
    if element:
        if "." not in element:
            return value
        if isinstance(value, list):
            return [_fill(item, element) for item in value]
        return (
            {key: _fill(item, element) for key, item in value.items()} if isinstance(value, dict) else value
        )
    if not isinstance(value, dict) or kind not in schemas.structs():
        return value
    full = dict(value)
    for name, member in members(kind).items():
        if name in full:
            full[name] = _fill(full[name], member.type)
        elif member.zero is not ABSENT:
            full[name] = _fill(copy.copy(member.zero), member.type)
    return full


def _drop(value: Any, kind: str) -> Any:
    element = element_of(kind)
    if element:
        if isinstance(value, list):
            return [_drop(item, element) for item in value]
        return (
            {key: _drop(item, element) for key, item in value.items()} if isinstance(value, dict) else value
        )
    if not isinstance(value, dict) or kind not in schemas.structs() or _is_free(kind):
        return value
    left = {}
    known = members(kind)
    for name, below in value.items():
        member = known.get(name)
        if member is None or below is None:
            continue
        gone = member.omitted and not member.pointer and member.type not in schemas.structs()
        if gone and below in ("", 0, [], {}):
            continue
        left[name] = _drop(below, member.type)
    return left


def _is_free(kind: str) -> bool:
    """Returns whether a struct reads and writes JSON in a way of its own: a union of forms."""
    name = kind.rsplit(".", 1)[1]
    return name == "JSON" or name.startswith("JSONSchemaPropsOr")
