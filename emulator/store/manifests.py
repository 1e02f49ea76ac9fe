"""Renders a stored object as the API server would return it: the manifest as written, with what the API
server and the controllers have filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any

from ..load.schema import api_version_of
from ..objects.kinds import Uninterpreted, Workload
from .objects import Stored


def render(stored: Stored) -> dict[str, Any]:
    """Returns the object as JSON has it, a copy that the caller may change. A field that nobody changed is
    as it was written.
    """
    return {key: _copied(item) for key, item in view(stored).items()}


def view(stored: Stored) -> dict[str, Any]:
    """Returns what :func:`render` does, for those who change nothing in it."""
    if stored.manifest and stored.object is stored.written:
        manifest = dict(stored.manifest)  # most objects are as they were written
    else:
        now, written = _encode(stored.object), _encode(stored.written) if stored.manifest else {}
        if isinstance(stored.object, Workload | Uninterpreted):
            now.pop("kind", None)
            written.pop("kind", None)
        manifest = _overlay(dict(stored.manifest), written, now)
    metadata = {
        **manifest.get("metadata", {}),
        **({"namespace": stored.key.namespace} if stored.key.namespace else {}),
        "uid": stored.uid,
        "resourceVersion": str(stored.resourceVersion),
        "generation": stored.generation,
        "creationTimestamp": stored.creationTimestamp,
    }
    kind, _, group = stored.key.kind.partition(".")
    version = manifest.pop("apiVersion", "") or (api_version_of(kind) if not group else "")
    manifest.pop("kind", None)
    return {"apiVersion": version, "kind": kind, **manifest, "metadata": metadata}


def _copied(value: Any) -> Any:
    """Returns a copy of a JSON value (three times as fast as copy.deepcopy)."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


_REQUIRED = frozenset({"addressType"})  # fields that an object must have: clients find no default for them


def _encode(value: Any) -> Any:
    """Returns a typed value as JSON has it, without the fields that have their default."""
    kind = type(value)
    if kind is str or kind is int or value is None:
        return value
    if is_dataclass(kind):
        found = {}
        for name, key, default in _fields(kind):
            item = getattr(value, name)
            if item != default or name in _REQUIRED:
                found[key] = _encode(item)
        return found
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items()}
    return [_encode(item) for item in value] if isinstance(value, tuple) else value


@cache
def _fields(kind: type[Any]) -> tuple[tuple[str, str, Any], ...]:
    """Returns name, key in JSON and default of each field of a dataclass."""
    return tuple((one.name, one.name.rstrip("_"), _default(one)) for one in fields(kind))


def _default(one: Field[Any]) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _overlay(manifest: Any, written: Any, now: Any) -> Any:
    """Returns ``manifest`` with the changes from ``written`` to ``now`` made to it."""
    if written == now:
        return manifest
    if isinstance(manifest, Mapping) and isinstance(written, dict) and isinstance(now, dict):
        kept = {key: item for key, item in manifest.items() if key in now or key not in written}
        return kept | {
            key: _overlay(manifest.get(key), written.get(key), item)
            for key, item in now.items()
            if key not in written or item != written[key]
        }
    lists = all(isinstance(each, list) for each in (manifest, written, now))
    if lists and len(manifest) == len(written) == len(now):
        return [_overlay(*each) for each in zip(manifest, written, now, strict=True)]
    return now
