"""Gives documents the form that Go's structs give them: what is always there, and what is left out. Pure.

kube-apiserver reads a body into structs and writes these again. A field that no struct has is gone, and so is
an empty one that its struct leaves out (``omitempty``). A field that is never left out is there with its zero
value (``"replicas": 0``, ``"resources": {}``). Custom resources have no structs, and stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from .quantities import canonical
from .schemas import definition_of, named, structs

Document = dict[str, Any]
Fill = Callable[[Document], None]  # sets defaults in a struct

TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.Time"
MICRO_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"

_ZERO: Mapping[str, Any] = {"string": "", "bool": False, INT_OR_STRING: 0, QUANTITY: "0"}
_TIMES = (TIME, MICRO_TIME)  # structs in Go: null where they are not set
_NUMBERS = ("int", "uint", "float", "byte")
_NO_FILLS: Mapping[str, Fill] = {}


class Member(NamedTuple):
    """Describes a field of a struct: its type without the pointer, and when Go's JSON leaves it out.

    ``omit`` is that of :class:`.schemas.Field`. ``through`` names the embedded structs that hold it.
    """

    type: str
    pointer: bool
    omit: str
    through: tuple[str, ...] = ()


def written(document: Document) -> Document:
    """Returns a document as kube-apiserver writes it after it read it, without defaults."""
    name = definition_of(document.get("apiVersion", ""), document.get("kind", ""))
    if name is None:
        return document
    result: Document = shaped(name, document)
    return result


def shaped(type_: str, value: Any, fills: Mapping[str, Fill] = _NO_FILLS) -> Any:
    """Returns ``value``, which is of the Go type ``type_`` (``io.k8s.api.core.v1.Pod``, ``[]string``), in its
    form, as new containers. ``fills`` has the defaults of structs by type: each struct gets its own on the
    way down, as kube-apiserver fills them in. A value of a wrong type stays as it is: decoding refuses it.
    """
    type_ = _plain(type_.lstrip("*"))
    element = element_of(type_)
    if type_.startswith("[]") and isinstance(value, list):
        return [shaped(element, item, fills) for item in value]
    if type_.startswith("map[") and isinstance(value, Mapping):
        return {key: shaped(element, item, fills) for key, item in value.items()}
    if type_ == QUANTITY and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return canonical(str(value))
    if type_ in structs() and isinstance(value, Mapping) and not _is_union(type_):
        return _struct(type_, value, fills)
    return value


@cache
def element_of(type_: str) -> str:
    """Returns the type of the items of a Go list or map, without a pointer; "" if it is neither."""
    plain = _plain(type_)
    if plain.startswith("[]"):
        return plain[2:].lstrip("*")
    return plain.partition("]")[2].lstrip("*") if plain.startswith("map[") else ""


@cache
def members(type_: str) -> Mapping[str, Member]:
    """Returns the fields of a struct by their JSON names, those of embedded structs among them."""
    found: dict[str, Member] = {}
    for field in structs()[type_]:
        bare = field.type.lstrip("*")
        if field.json:
            found[field.json] = Member(bare, field.type != bare, field.omit)
        elif bare in structs():
            own = bare.rpartition(".")[2]
            for name, member in members(bare).items():
                found[name] = member._replace(through=(own, *member.through))
    return found


def _struct(type_: str, value: Mapping[str, Any], fills: Mapping[str, Fill]) -> Document:
    given = {key: item for key, item in value.items() if item is not None}
    for each in _with_embedded(type_):
        if each in fills:
            fills[each](given)
    result: Document = {}
    for name, member in members(type_).items():
        is_struct = not member.pointer and _plain(member.type) in structs()
        item = given.get(name, {} if is_struct else None)
        if item is not None:
            item = shaped(member.type, item, fills)
        empty = item is None or not (member.pointer or is_struct or item)
        if empty and member.omit and (member.omit == "zero" or member.type not in _TIMES or member.pointer):
            continue
        result[name] = (None if member.pointer else _zero(member.type)) if empty else item
    return result


def _is_union(type_: str) -> bool:
    """Returns whether a struct reads and writes JSON in a way of its own: a schema, or a list of them."""
    name = type_.rpartition(".")[2]
    return name == "JSON" or name.startswith("JSONSchemaPropsOr")


def _zero(type_: str) -> Any:
    plain = _plain(type_)
    return 0 if plain.startswith(_NUMBERS) else _ZERO.get(plain)


@cache
def _plain(type_: str) -> str:
    """Returns the type that a named type stands for, the type itself if it has no other name."""
    known = named()
    while type_ in known:
        type_ = known[type_]
    return type_


@cache
def _with_embedded(type_: str) -> tuple[str, ...]:
    """Returns a struct and those embedded in it, whose defaults are its own."""
    inner = [one.type.lstrip("*") for one in structs()[type_] if not one.json]
    return (type_, *(each for one in inner if one in structs() for each in _with_embedded(one)))
