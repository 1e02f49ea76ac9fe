"""Chooses the form of an answer that a client's Accept asks for: JSON, a Table, or metadata alone.

Facts: k8s.io/apiserver, pkg/endpoints/handlers/negotiation. Protobuf answers are not made: every client that
asks for them takes JSON, too; one that does not gets 406.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Form: TypeAlias = Literal["object", "table", "metadata", "yaml"]
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class MediaType:
    """Holds one media type of an Accept header, and its parameters."""

    name: str
    parameters: Mapping[str, str]


def parse_accept(header: str) -> list[MediaType]:
    """Returns the media types of an Accept header, the wanted ones first."""
    found: list[tuple[float, MediaType]] = []
    for part in (header or "*/*").split(",")[:64]:
        name, *rest = (piece.strip() for piece in part.split(";"))
        parameters = dict(piece.split("=", 1) for piece in rest if "=" in piece)
        try:
            weight = float(parameters.pop("q", "1"))
        except ValueError:
            weight = 1.0
        if name:
            found.append((weight, MediaType(name.lower(), parameters)))
    return [one for weight, one in sorted(found, key=lambda pair: -pair[0]) if weight > 0]


def choose(header: str, *, tables: bool = True) -> Form | None:
    """Returns the form of an answer with objects, None if the client takes none that there is. ``tables``:
    the resource has a Table and metadata.
    """
    for one in parse_accept(header):
        if one.name not in (JSON, "*/*", "application/*", "application/yaml"):
            continue
        wanted, group = one.parameters.get("as"), one.parameters.get("g")
        if wanted is None:
            return "yaml" if one.name == "application/yaml" else "object"
        if group != "meta.k8s.io" or not tables or one.parameters.get("v") not in ("v1", "v1beta1"):
            continue
        if wanted == "Table":
            return "table"
        if wanted in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return "metadata"
    return None


def dump(document: Any) -> bytes:
    """Returns ``document`` as JSON; text that is no Unicode (a lone surrogate) is escaped."""
    return json.dumps(document, separators=(",", ":")).encode()


def metadata_only(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the PartialObjectMetadata of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": document.get("metadata", {}),
    }


def without_kind(document: Mapping[str, Any]) -> bytes:
    """Returns an object as JSON without its apiVersion and kind."""
    return dump({key: item for key, item in document.items() if key not in ("apiVersion", "kind")})


def with_kind(text: bytes, document: Mapping[str, Any]) -> bytes:
    """Returns the JSON ``text`` that :func:`without_kind` made of ``document``, with both."""
    return dump({key: document[key] for key in ("apiVersion", "kind")})[:-1] + b"," + text[1:]


def join_items(head: Mapping[str, Any], items: Iterable[bytes]) -> bytes:
    """Returns a list as JSON: ``head`` without its items, and the items, which are JSON already."""
    return dump(head)[:-1] + b',"items":[' + b",".join(items) + b"]}"
