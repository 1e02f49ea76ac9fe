"""Renders a stored object as the API server would return it: the manifest as written, with what the API
server and the controllers have filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from ..load.schema import api_version_of
from ..objects.kinds import Uninterpreted, Workload
from .objects import Stored


def render(stored: Stored) -> dict[str, Any]:
    """Returns the object as JSON has it, a copy that the caller may change. A field that nobody changed is
    as it was written.
    """
    manifest: Mapping[str, Any] = stored.manifest
    if not manifest or stored.object is not stored.written:  # most objects are as they were written
        now, written = _encode(stored.object), _encode(stored.written) if manifest else {}
        if isinstance(stored.object, Workload | Uninterpreted):
            now.pop("kind", None)
            written.pop("kind", None)
        manifest = _overlay(dict(manifest), written, now)
    metadata = {
        **manifest.get("metadata", {}),
        **({"namespace": stored.key.namespace} if stored.key.namespace else {}),
        "uid": stored.uid,
        "resourceVersion": str(stored.resourceVersion),
        "generation": stored.generation,
        "creationTimestamp": stored.creationTimestamp,
    }
    kind, _, group = stored.key.kind.partition(".")
    version = manifest.get("apiVersion") or (api_version_of(kind) if not group else "")
    whole = {"apiVersion": "", "kind": "", **manifest}
    whole |= {"apiVersion": version, "kind": kind, "metadata": metadata}
    return {key: _copied(item) for key, item in whole.items()}


def _copied(value: Any) -> Any:
    """Returns a copy of a JSON value (three times as fast as copy.deepcopy)."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _encode(value: Any) -> Any:
    """Returns a typed value as JSON has it, without the fields that have their default."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            one.name.rstrip("_"): _encode(getattr(value, one.name))
            for one in fields(value)
            if getattr(value, one.name) != _default(one)
        }
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items()}
    return [_encode(item) for item in value] if isinstance(value, tuple) else value


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
