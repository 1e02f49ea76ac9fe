"""Knows every field of the kinds of Kubernetes that podwire reads, as ``kubectl --validate`` does.

``fields.json`` beside it is made from k8s.io/api v0.34.1 by ``tests/golden/kubernetes-fields/main.go``;
reading it is the only effect.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from .faults import FieldPath, did_you_mean

RELEASE = "1.34"


def find_unknown(kind: str, value: Mapping[str, Any]) -> Iterator[tuple[FieldPath, str]]:
    """Yields the fields of ``value``, an object of ``kind``, that its type has not, each with a hint (""
    where nothing comes near).
    """
    kinds, types = _table()
    if kind in kinds:
        yield from _unknown((), value, kinds[kind], types)


def _unknown(
    path: FieldPath, value: Any, type_: str, types: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[FieldPath, str]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown((*path, index), item, type_, types)
    elif isinstance(value, dict):
        known = types[type_]
        for key, item in value.items():
            if key not in known:
                yield (*path, key), did_you_mean(key, (name for name in known if name not in value))
            elif known[key]:
                yield from _unknown((*path, key), item, known[key], types)


@cache
def _table() -> tuple[Mapping[str, str], Mapping[str, Mapping[str, str]]]:
    table = json.loads(Path(__file__).with_name("fields.json").read_text())
    return table["kinds"], table["types"]
