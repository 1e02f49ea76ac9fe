"""Holds sets of field paths, as ``metadata.managedFields[].fieldsV1`` lists them.

A path is a tuple of elements in the form of FieldsV1: ``f:NAME`` (field or key of a map), ``k:{"port":80}``
(item of a list by its keys), ``v:"x"`` (item of a set), ``i:0``. A set is a frozenset of paths, so that
union, intersection and difference are Python's. FieldsV1 is the same set as a tree: a node is a member if
it is empty or has ".". Source of the form: kubernetes-sigs/structured-merge-diff, fieldpath/serialize.go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

Path = tuple[str, ...]
Paths = frozenset[Path]
NONE: Paths = frozenset()


def field(name: str) -> str:
    """Returns the element of a field."""
    return f"f:{name}"


def keyed(keys: Mapping[str, Any]) -> str:
    """Returns the element of a list's item that its keys name."""
    return f"k:{compact(dict(sorted(keys.items())))}"


def valued(value: Any) -> str:
    """Returns the element of an item of a set."""
    return f"v:{compact(value)}"


def compact(value: Any) -> str:
    """Returns JSON as Go writes it: no blanks, and <, > and & escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def path_text(path: Path) -> str:
    """Returns a path as messages show it: ``.spec.ports[port=80,protocol="TCP"].name``."""
    return "".join(_element_text(element) for element in path)


def _element_text(element: str) -> str:
    kind, rest = element[:2], element[2:]
    if kind == "f:":
        return f".{rest}"
    if kind == "k:":
        keys = json.loads(rest)
        return f"[{','.join(f'{name}={compact(value)}' for name, value in sorted(keys.items()))}]"
    return f"[={rest}]" if kind == "v:" else f"[{rest}]"


def to_fields(paths: Iterable[Path]) -> dict[str, Any]:
    """Returns FieldsV1 of a set, its elements in order."""
    root: dict[str, Any] = {}
    members = set(paths)
    for path in sorted(members):
        node = root
        for depth, element in enumerate(path, 1):
            if element not in node:
                node[element] = {}
            elif not node[element] and depth < len(path) and path[:depth] in members:
                node[element]["."] = {}
            node = node[element]
    return root


def from_fields(fields: Any) -> Paths:
    """Returns the set that FieldsV1 lists; ValueError if it is malformed."""
    found: set[Path] = set()

    def walk(node: Any, path: Path) -> None:
        if not isinstance(node, dict):
            raise ValueError(f"{path_text(path) or 'fieldsV1'} is no map")
        if path and (not node or "." in node):
            found.add(path)
        for element, below in node.items():
            if element != ".":
                _check(element)
                walk(below, (*path, element))

    walk(fields, ())
    return frozenset(found)


def _check(element: str) -> None:
    kind, rest = element[:2], element[2:]
    if kind not in ("f:", "k:", "v:", "i:"):
        raise ValueError(f"unknown path element {element!r}")
    if kind == "k:" and not isinstance(json.loads(rest), dict):
        raise ValueError(f"keys of {element!r} are no map")
    if kind == "v:":
        json.loads(rest)


def without(paths: Paths, prefixes: Iterable[Path]) -> Paths:
    """Returns the paths that are below none of the prefixes, nor one of them."""
    cut = tuple(prefixes)
    if not cut:
        return paths
    return frozenset(path for path in paths if not any(path[: len(prefix)] == prefix for prefix in cut))


class Tree:
    """Holds a set as a tree: what ``typed`` walks beside a document."""

    __slots__ = ("children", "member")

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self.member = False
        self.children: dict[str, Tree] = {}
        for path in paths:
            node = self
            for element in path:
                below = node.children.get(element)
                if below is None:
                    below = node.children[element] = Tree()
                node = below
            node.member = True
