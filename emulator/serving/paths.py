"""Finds the resource of the API that the path of a request names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import unquote

from ..api.registry import Target
from ..api.resources import Catalog

LONGEST_PART = 512


@dataclass(frozen=True, slots=True)
class Route:
    """Holds what a path names; ``watch``: it begins with the old prefix ``watch``. ``rest``: what follows the
    subresource ``proxy``.
    """

    target: Target
    watch: bool = False
    rest: str = ""


def route(path: str, catalog: Catalog) -> Route | None:
    """Returns what ``path`` (undecoded, without the query) names, None if there is no such resource."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if any(not part or "/" in part or "\0" in part or len(part) > LONGEST_PART for part in parts):
        return None
    if parts[0] == "api" and len(parts) >= 3:
        group, version, parts = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return None
    if parts[0] == "watch" and len(parts) > 1:
        found = _route(group, version, parts[1:], catalog)
        return None if found is None else replace(found, watch=True)
    return _route(group, version, parts, catalog)


def _route(group: str, version: str, parts: list[str], catalog: Catalog) -> Route | None:
    namespace = ""
    own = len(parts) == 3 and parts[2] in ("status", "finalize")  # subresources of the Namespace itself
    if parts[0] == "namespaces" and len(parts) > 2 and not own:
        namespace, parts = parts[1], parts[2:]
    resource = catalog.find(group, version, parts[0])
    if resource is None:
        return None
    if namespace and not resource.namespaced:
        return None
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    if resource.namespaced and name and not namespace:
        return None
    if subresource and subresource not in resource.subresources:
        return None
    if len(parts) > 3 and subresource != "proxy":
        return None
    return Route(Target(resource, namespace, name, subresource), rest="/".join(parts[3:]))
