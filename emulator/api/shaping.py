"""Gives a document the shape that Go's JSON has after it was read and written by Kubernetes' types. Pure.

Fields that a type does not have are gone, and so are empty ones that the type leaves out (``omitempty``);
those that it never leaves out are there (``"status": {"replicas": 0}``). On the way down each struct gets its
defaults, the outer ones first, as kube-apiserver fills them in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from .quantities import canonical
from .schemas import named, structs

Document = dict[str, Any]
Fill = Callable[[Document], None]  # sets defaults in a struct

TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.Time"
MICRO_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
TYPE_META = "io.k8s.apimachinery.pkg.apis.meta.v1.TypeMeta"

_ZERO: Mapping[str, Any] = {"string": "", "bool": False, INT_OR_STRING: 0, QUANTITY: "0"}
_TIMES = (TIME, MICRO_TIME)  # structs in Go: null where they are not set
_NUMBERS = ("int", "uint", "float", "byte")


class _Slot(NamedTuple):
    json: str
    type: str
    omit: str


def shaped(type_: str, value: Any, fills: Mapping[str, Fill]) -> Any:
    """Returns ``value``, which is of the Go type ``type_`` (``io.k8s.api.core.v1.Pod``, ``[]string``), in its
    shape, as new containers. ``fills`` has the defaults of structs by type. A value of a wrong type stays as
    it is: decoding refuses it, not this.
    """
    type_ = _plain(type_.lstrip("*"))
    if type_.startswith("[]") and isinstance(value, list):
        return [shaped(type_[2:], item, fills) for item in value]
    if type_.startswith("map[") and isinstance(value, Mapping):
        inner = type_.partition("]")[2]
        return {key: shaped(inner, item, fills) for key, item in value.items()}
    if type_ == QUANTITY and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return canonical(str(value))
    if type_ in structs() and isinstance(value, Mapping) and not _is_union(type_):
        return _struct(type_, value, fills)
    return value


def _struct(type_: str, value: Mapping[str, Any], fills: Mapping[str, Fill]) -> Document:
    filled = {key: item for key, item in value.items() if item is not None}
    for each in _fills(type_):
        if each in fills:
            fills[each](filled)
    result: Document = {}
    for slot in _slots(type_):
        item = filled.get(slot.json)
        optional = slot.type.startswith("*")
        if item is None and not optional and _plain(slot.type) in structs():
            item = {}
        if item is not None:
            item = shaped(slot.type, item, fills)
        empty = item is None or (not optional and _is_empty(slot.type, item))
        if empty and (optional or _plain(slot.type) not in _TIMES or slot.omit == "zero") and slot.omit:
            continue
        if empty:
            item = None if optional else _zero(slot.type)
        result[slot.json] = item
    return result


def _is_union(type_: str) -> bool:
    """Returns whether a struct reads and writes JSON in a way of its own: a schema, or a list of them."""
    name = type_.rpartition(".")[2]
    return name == "JSON" or name.startswith("JSONSchemaPropsOr")


def _is_empty(type_: str, item: Any) -> bool:
    """Returns whether Go leaves the value out: a zero, or a list or map without items; never a struct."""
    return not item and _plain(type_) not in structs()


def _zero(type_: str) -> Any:
    plain = _plain(type_)
    return 0 if plain.startswith(_NUMBERS) else _ZERO.get(plain)


@cache
def _plain(type_: str) -> str:
    known = named()
    while type_ in known:
        type_ = known[type_]
    return type_


@cache
def _slots(type_: str) -> tuple[_Slot, ...]:
    """Returns the fields of a struct, with those of the structs that stand inside it without a name."""
    return tuple(_walk(type_))


def _walk(type_: str) -> Iterator[_Slot]:
    for one in structs()[type_]:
        if one.json:
            yield _Slot(one.json, one.type, one.omit)
        elif one.type == TYPE_META:
            yield from (_Slot("apiVersion", "string", "empty"), _Slot("kind", "string", "empty"))
        elif one.type.lstrip("*") in structs():
            yield from _walk(one.type.lstrip("*"))


@cache
def _fills(type_: str) -> tuple[str, ...]:
    """Returns the struct and those inside it without a name, whose defaults are its own."""
    inner = [one.type.lstrip("*") for one in structs()[type_] if not one.json]
    return (type_, *(each for one in inner if one in structs() for each in _fills(one)))
