"""Compares, merges and prunes documents by their schema: which list is a map, a set or one value.

The rules are those of kubernetes-sigs/structured-merge-diff (typed/), the types those that kube-openapi's
schemaconv makes of a schema: ``x-kubernetes-list-type`` (map with ``x-kubernetes-list-map-keys``, set,
atomic), the older ``x-kubernetes-patch-merge-key``, ``x-kubernetes-map-type`` (granular, atomic). Where a
schema says nothing (``x-kubernetes-preserve-unknown-fields``) a map is granular and a list is atomic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Any

from . import fieldsets, schemas
from .fieldsets import Path, Paths, Tree

Schema = schemas.Schema
DEDUCED: Schema = {"x-kubernetes-preserve-unknown-fields": True}  # a value that no schema describes
ATOMIC: Schema = {"x-kubernetes-map-type": "atomic", **DEDUCED}  # below an atomic list of no schema
METADATA: Schema = {"$ref": f"{schemas.REFERENCE}io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}


class Absent(Enum):
    """Stands for a value that is not there; None is JSON's null."""

    ABSENT = 0


ABSENT = Absent.ABSENT


class TypedError(Exception):
    """Says where a document does not fit its schema, or why two values have no common form."""


@dataclass(frozen=True, slots=True)
class MapType:
    """Describes a map: named fields, and the schema of all other keys (None: there are none)."""

    fields: Mapping[str, Schema]
    element: Schema | None
    atomic: bool

    def of(self, key: str) -> Schema:
        """Returns the schema of a key."""
        found = self.fields.get(key)
        return found if found is not None else DEDUCED if self.element is None else self.element


@dataclass(frozen=True, slots=True)
class ListType:
    """Describes a list: ``keys`` name the items of a map-like list; a set has none."""

    element: Schema
    keys: tuple[str, ...]
    atomic: bool


@dataclass(frozen=True, slots=True)
class Atom:
    """Describes the forms that a value may have."""

    scalar: str | None = None
    list: ListType | None = None
    map: MapType | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Holds what differs between two documents."""

    added: Paths
    modified: Paths
    removed: Paths

    def without(self, prefixes: Iterable[Path]) -> Comparison:
        """Returns the comparison without what is below the prefixes."""
        cut = tuple(prefixes)
        return Comparison(
            *(fieldsets.without(paths, cut) for paths in (self.added, self.modified, self.removed))
        )


@dataclass(slots=True)
class Types:
    """Knows the types of one kind: its root's schema, and what that refers to."""

    root: Schema
    known: dict[int, tuple[Schema, Atom]] = field(default_factory=dict)

    def atom(self, schema: Schema) -> Atom:
        """Returns the forms of a schema's values."""
        found = self.known.get(id(schema))
        if found is None:
            found = self.known[id(schema)] = (
                schema,
                _atom(schema),
            )  # holds the schema, so that its id is its own
        return found[1]

    # Paths

    def paths(self, document: Any) -> Paths:
        """Returns the paths of all leaves and items of a document."""
        found: set[Path] = set()
        self._paths(self.root, document, (), found)
        return frozenset(found)

    def _paths(self, schema: Schema, value: Any, path: Path, found: set[Path]) -> None:
        atom = deduce(self.atom(schema), value)
        if atom.map is not None:
            if atom.map.atomic:
                found.add(path)
            elif isinstance(value, dict):
                for key, below in value.items():
                    inner = (*path, fieldsets.field(key))
                    self._paths(atom.map.of(key), below, inner, found)
                    if below is None or below == {} or key not in atom.map.fields:
                        found.add(inner)
        elif atom.scalar is not None:
            found.add(path)
        elif atom.list is not None:
            if atom.list.atomic:
                found.add(path)
            elif isinstance(value, list):
                elements = [self.element(atom.list, item) for item in value]
                counts = Counter(elements)
                for element, item in zip(elements, value, strict=True):
                    found.add((*path, element))
                    if counts[element] == 1:
                        self._paths(atom.list.element, item, (*path, element), found)

    def element(self, of: ListType, item: Any) -> str:
        """Returns the path element of a list's item; TypedError if it has none of the keys."""
        if not of.keys:
            if isinstance(item, dict):
                raise TypedError("associative list without keys has an element that's a map type")
            if isinstance(item, list):
                raise TypedError("not supported: associative list with lists as elements")
            if item is None:
                raise TypedError("associative list without keys has an element that's an explicit null")
            return fieldsets.valued(item)
        if item is None:
            raise TypedError("associative list with keys may not have a null element")
        if not isinstance(item, dict):
            raise TypedError("associative list with keys may not have non-map elements")
        keys = {}
        below = self.atom(of.element).map
        for name in of.keys:
            if name in item:
                keys[name] = item[name]
            elif below is not None and (default := below.fields.get(name, {}).get("default")) is not None:
                keys[name] = default
        if not keys:
            names = " ".join(fieldsets.compact(name) for name in of.keys)
            raise TypedError(
                f"associative list with keys has an element that omits all key fields [{names}]"
                " (and doesn't have default values for any key fields)"
            )
        return fieldsets.keyed(keys)

    # Validation

    def validate(self, document: Any, *, duplicates: bool = False) -> list[str]:
        """Returns what does not fit the schema, in kube-apiserver's words; ``duplicates`` of keys may be
        allowed."""
        return self._validate(self.root, document, (), duplicates)

    def _validate(self, schema: Schema, value: Any, path: Path, duplicates: bool) -> list[str]:
        where = fieldsets.path_text(path)
        prefix = f"{where}: " if where else ""
        atom = deduce(self.atom(schema), value)
        if value is None:
            return []
        faults: list[str] = []
        if atom.map is not None:
            if not isinstance(value, dict):
                return [f"{prefix}expected map, got {_go(value)}"]
            for key, below in value.items():
                inner = (*path, fieldsets.field(key))
                if key not in atom.map.fields and atom.map.element is None:
                    return [*faults, f"{fieldsets.path_text(inner)}: field not declared in schema"]
                faults += self._validate(atom.map.of(key), below, inner, duplicates)
        elif atom.scalar is not None:
            fault = _scalar_fault(atom.scalar, value)
            return [prefix + fault] if fault else []
        elif atom.list is not None:
            if not isinstance(value, list):
                return [f"{prefix}expected list, got {_go(value)}"]
            seen: set[str] = set()
            for index, item in enumerate(value):
                if atom.list.atomic:
                    element = f"i:{index}"
                else:
                    try:
                        element = self.element(atom.list, item)
                    except TypedError as error:
                        return [*faults, f"{prefix}element {index}: {error}"]
                    if element in seen and not duplicates:
                        faults.append(f"{prefix}duplicate entries for key {fieldsets.path_text((element,))}")
                    seen.add(element)
                faults += self._validate(atom.list.element, item, (*path, element), duplicates)
        return faults

    # Comparison

    def compare(self, old: Any, new: Any) -> Comparison:
        """Returns what ``new`` adds to ``old``, changes and removes."""
        added: set[Path] = set()
        modified: set[Path] = set()
        removed: set[Path] = set()
        self._compare(self.root, old, new, (), (added, modified, removed))
        return Comparison(*(frozenset(paths - {()}) for paths in (added, modified, removed)))

    def _compare(self, schema: Schema, old: Any, new: Any, path: Path, out: tuple[set[Path], ...]) -> None:
        if old is not ABSENT and new is not ABSENT and old == new and same(old, new):
            return  # most of a document, most of the time
        atom = self.atom(schema)
        was, now = deduce(atom, old), deduce(atom, new)
        if (
            old is not ABSENT and new is not ABSENT and was != now
        ):  # another form, of a kind that may have both
            self._compare_as(was, old, new, path, out)
        self._compare_as(was if new is ABSENT else now, old, new, path, out)
        if old is ABSENT:
            out[0].add(path)
        elif new is ABSENT:
            out[2].add(path)

    def _compare_as(self, atom: Atom, old: Any, new: Any, path: Path, out: tuple[set[Path], ...]) -> None:
        if atom.map is not None:
            left, right = _as(dict, old), _as(dict, new)
            if not (atom.map.atomic or not (left or right)):
                for key in {**left, **right}:
                    below = (*path, fieldsets.field(key))
                    self._compare(atom.map.of(key), left.get(key, ABSENT), right.get(key, ABSENT), below, out)
                return
        elif atom.scalar is None and atom.list is not None:
            items, others = _as(list, old), _as(list, new)
            if not (atom.list.atomic or not (items or others)):
                self._compare_items(atom.list, items, others, path, out)
                return
        if old is not ABSENT and new is not ABSENT and not same(old, new):
            out[1].add(path)

    def _compare_items(
        self, of: ListType, old: list[Any], new: list[Any], path: Path, out: tuple[set[Path], ...]
    ) -> None:
        left, right = self._grouped(of, old), self._grouped(of, new)
        for element in {**left, **right}:
            below = (*path, element)
            was, now = left.get(element, []), right.get(element, [])
            if len(was) <= 1 and len(now) <= 1:
                self._compare(of.element, was[0] if was else ABSENT, now[0] if now else ABSENT, below, out)
            elif len(was) > 1 and len(now) > 1:
                if not same(was, now):
                    out[1].add(below)
            elif len(was) > 1:
                if now:
                    self._compare(of.element, ABSENT, now[0], below, out)
                out[2].add(below)
            else:
                if was:
                    self._compare(of.element, was[0], ABSENT, below, out)
                out[0].add(below)

    def _grouped(self, of: ListType, items: list[Any]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for item in items:
            found.setdefault(self.element(of, item), []).append(item)
        return found

    # Merging

    def merge(self, old: Any, new: Any) -> Any:
        """Returns ``old`` with all that ``new`` says; nothing is removed. Items keep the order of ``new``."""
        return self._merge(self.root, old, new)

    def _merge(self, schema: Schema, old: Any, new: Any) -> Any:
        atom = self.atom(schema)
        atom = deduce(atom, old) if new is ABSENT else deduce(atom, new)
        if atom.map is not None:
            left, right = _as(dict, old), _as(dict, new)
            if not (atom.map.atomic or not (left or right)):
                merged = {}
                for key in {**left, **right}:
                    value = self._merge(atom.map.of(key), left.get(key, ABSENT), right.get(key, ABSENT))
                    if value is not ABSENT:
                        merged[key] = value
                return merged or ABSENT
        elif atom.scalar is None and atom.list is not None:
            items, others = _as(list, old), _as(list, new)
            if not (atom.list.atomic or not (items or others)):
                return self._merge_items(atom.list, items, others) or ABSENT
        return old if new is ABSENT else new

    def _merge_items(self, of: ListType, old: list[Any], new: list[Any]) -> list[Any]:
        """Returns items of both: those of ``new`` in their order, the others where they stood."""
        names = [self.element(of, item) for item in old]
        wanted = [self.element(of, item) for item in new]
        twice = {name for name, count in Counter(names).items() if count > 1}
        left = {name: (None if name in twice else item) for name, item in zip(names, old, strict=True)}
        right = dict(zip(wanted, new, strict=True))
        if len(right) < len(wanted):
            name = next(name for name, count in Counter(wanted).items() if count > 1)
            raise TypedError(f"duplicate entries for key {fieldsets.path_text((name,))}")
        shared = [name for name in wanted if name in left]
        merged: list[Any] = []
        done: set[str] = set()

        def take(name: str) -> None:
            done.add(name)
            value = self._merge(of.element, left.get(name, ABSENT), right[name])
            if value is not ABSENT:
                merged.append(value)
            if shared and shared[0] == name:
                shared.pop(0)

        at = to = 0
        while at < len(names) or to < len(wanted):
            if at < len(names) and to < len(wanted):
                if names[at] == wanted[to]:
                    take(names[at])
                    at, to = at + 1, to + 1
                    continue
                if names[at] in right and shared and shared[0] != names[at]:
                    at += 1  # it moves: ``new`` has it later
                    continue
            if at < len(names):
                if names[at] not in right:
                    merged.append(old[at])
                    at += 1
                    continue
                if names[at] in done:
                    at += 1
            if to < len(wanted):
                take(wanted[to])
                to += 1
        return merged

    # Removal

    def remove(self, document: Any, paths: Paths) -> Any:
        """Returns the document without what the paths name; a container that is empty then goes, too."""
        return self._remove(self.root, document, Tree(paths)) if paths else document

    def _remove(self, schema: Schema, value: Any, tree: Tree) -> Any:
        atom = deduce(self.atom(schema), value)
        if atom.map is not None:
            if not isinstance(value, dict) or atom.map.atomic:
                return ABSENT
            left = {}
            for key, below in value.items():
                node = tree.children.get(fieldsets.field(key))
                if node is None:
                    left[key] = below
                elif not node.member:
                    rest = self._remove(atom.map.of(key), below, node)
                    if rest is not ABSENT:
                        left[key] = rest
            return left or ABSENT
        if atom.scalar is not None or atom.list is None:
            return value
        if not isinstance(value, list) or atom.list.atomic:
            return ABSENT
        items = []
        for item in value:
            node = tree.children.get(self.element(atom.list, item))
            if node is None:
                items.append(item)
            elif not node.member:
                rest = self._remove(atom.list.element, item, node)
                items.append({} if rest is ABSENT else rest)
        return items or ABSENT

    def with_fields(self, paths: Paths) -> Paths:
        """Returns the paths, and every named field above one of them."""
        found = set(paths)

        def walk(schema: Schema, tree: Tree, path: Path) -> None:
            atom = self.atom(schema)
            for element, node in tree.children.items():
                if not node.children:
                    continue
                below: Schema = {}
                if element.startswith("f:") and atom.map is not None:
                    if element[2:] in atom.map.fields:
                        found.add((*path, element))
                    below = atom.map.of(element[2:])
                elif atom.list is not None:
                    below = atom.list.element
                walk(below, node, (*path, element))

        walk(self.root, Tree(paths), ())
        return frozenset(found)


def deduce(atom: Atom, value: Any) -> Atom:
    """Returns the one form that a value has, if its kind may have several."""
    if isinstance(value, dict):
        return Atom(map=atom.map) if atom.map is not None else atom
    if isinstance(value, list):
        return Atom(list=atom.list) if atom.list is not None else atom
    if value is None or value is ABSENT:
        return atom
    return Atom(scalar=atom.scalar) if atom.scalar is not None else atom


def same(left: Any, right: Any) -> bool:
    """Returns whether two values are equal as JSON: true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            same(one, other) for one, other in zip(left, right, strict=True)
        )
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _as(form: type, value: Any) -> Any:
    return value if isinstance(value, form) else form()


def _atom(schema: Schema) -> Atom:
    """Returns the forms that a schema allows."""
    schema = schemas.resolved(schema)
    if (
        schema.get("x-kubernetes-int-or-string")
        or "oneOf" in schema
        or ("anyOf" in schema and "type" not in schema)
    ):
        return Atom(scalar="untyped")
    if schema is ATOMIC:
        return Atom("untyped", ListType(ATOMIC, (), True), MapType({}, ATOMIC, True))
    kind = schema.get("type")
    if kind is None and "properties" not in schema:  # anything
        return Atom("untyped", ListType(ATOMIC, (), True), MapType({}, DEDUCED, False))
    if kind == "array":
        return Atom(list=_list_type(schema))
    if kind in ("object", None):
        return Atom(map=_map_type(schema))
    return Atom(scalar={"integer": "numeric", "number": "numeric"}.get(kind, str(kind)))


def _list_type(schema: Schema) -> ListType:
    element = schema.get("items") or ATOMIC
    form = schema.get("x-kubernetes-list-type")
    if form is None and "merge" in schema.get("x-kubernetes-patch-strategy", "").split(","):
        key = schema.get("x-kubernetes-patch-merge-key")
        return ListType(element, (key,) if key else (), False)
    if form == "map":
        return ListType(element, tuple(schema.get("x-kubernetes-list-map-keys", ())), False)
    return ListType(element, (), form != "set")


def _map_type(schema: Schema) -> MapType:
    fields: Mapping[str, Schema] = schema.get("properties", {})
    more = schema.get("additionalProperties")
    element: Schema | None = more if isinstance(more, Mapping) else DEDUCED if more else None
    if schema.get("x-kubernetes-preserve-unknown-fields") or (not fields and element is None):
        element = element or DEDUCED
    if schema.get("x-kubernetes-embedded-resource"):
        fields = {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": METADATA,
            **fields,
        }
    return MapType(fields, element, schema.get("x-kubernetes-map-type") == "atomic")


def _scalar_fault(kind: str, value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "numeric" and not number:
        return f"expected numeric (int or float), got {_go_type(value)}"
    if kind == "string" and not isinstance(value, str):
        return f"expected string, got {_go_value(value)}"
    if kind == "boolean" and not isinstance(value, bool):
        return f"expected boolean, got {_go(value)}"
    if kind == "untyped" and isinstance(value, (dict, list)):
        return f"expected any scalar, got {_go(value)}"
    return ""


def _go_type(value: Any) -> str:
    """Returns the Go type of a value that is not a number."""
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    return "bool" if isinstance(value, bool) else "string"


def _go_value(value: Any) -> str:
    return f"&value.valueUnstructured{{Value:{fieldsets.compact(value)}}}"


def _go(value: Any) -> str:
    return f"&{{{go_text(value)}}}"


def go_text(value: Any) -> str:
    """Returns a value as Go's ``%v`` shows it."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(go_text(item) for item in value) + "]"
    if value is None:
        return "<nil>"
    return value if isinstance(value, str) else fieldsets.compact(value)


def of_kind(api_version: str, kind: str, schema: Schema | None = None) -> Types:
    """Returns the types of a kind: Kubernetes' own, else those of a custom resource's ``openAPIV3Schema``."""
    if schema is None:
        name = schemas.definition_of(api_version, kind)
        if name is not None:
            return _known(name)
    own = schema or DEDUCED
    fields = {**own.get("properties", {}), "apiVersion": {"type": "string"}, "kind": {"type": "string"}}
    return Types({**own, "type": "object", "properties": {**fields, "metadata": METADATA}})


@cache
def _known(name: str) -> Types:
    return Types(schemas.definitions()[name])
