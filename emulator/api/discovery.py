"""Makes the discovery documents: which groups, versions and resources the API has. Pure.

Both forms that clients ask for: the old ones (APIVersions, APIGroupList, APIGroup, APIResourceList), and the
aggregated one (APIGroupDiscoveryList, apidiscovery.k8s.io/v2; KEP-3352).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from .resources import Catalog, Resource

Document = dict[str, Any]

VERSION: Mapping[str, str] = {
    "major": "1",
    "minor": "37",
    "emulationMajor": "1",
    "emulationMinor": "37",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "36",
    "gitVersion": "v1.37.1+podwire",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def answer(path: str, accept: str, catalog: Catalog) -> tuple[Document, str] | None:
    """Returns the document at ``path`` and its media type, None if there is none. ``accept`` is the header
    Accept.
    """
    parts = path.strip("/").split("/")
    if parts in (["api"], ["apis"]):
        if _wants_aggregated(accept):
            return aggregated(catalog, core=parts == ["api"]), AGGREGATED
        return (versions() if parts == ["api"] else groups(catalog)), "application/json"
    if len(parts) == 2 and parts[0] == "apis" and parts[1] in catalog.groups and parts[1]:
        return {"kind": "APIGroup", "apiVersion": "v1", **group(parts[1], catalog)}, "application/json"
    if len(parts) == 2 and parts[0] == "api":
        found = resources("", parts[1], catalog)
    elif len(parts) == 3 and parts[0] == "apis":
        found = resources(parts[1], parts[2], catalog)
    else:
        return None
    return None if found is None else (found, "application/json")


def _wants_aggregated(accept: str) -> bool:
    """Returns whether a client takes the aggregated form: version v2."""
    wanted = (one.replace(" ", "").split(";") for one in accept.split(","))
    return any(
        {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"} <= set(one)
        and one[0] == "application/json"
        for one in wanted
    )


def versions() -> Document:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups(catalog: Catalog) -> Document:
    names = [name for name in catalog.groups if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(name, catalog) for name in names]}


def group(name: str, catalog: Catalog) -> Document:
    rows = [{"groupVersion": f"{name}/{one}", "version": one} for one in catalog.groups[name]]
    return {"name": name, "versions": rows, "preferredVersion": rows[0]}


def resources(name: str, version: str, catalog: Catalog) -> Document | None:
    """Returns the APIResourceList of a group's version, None if there is none."""
    rows = [one for one in catalog.resources if (one.group, one.version) == (name, version)]
    if not rows:
        return None
    listed: list[Document] = []
    for one in rows:
        row: Document = {
            "name": one.plural,
            "singularName": one.singular,
            "namespaced": one.namespaced,
            "kind": one.kind,
            "verbs": list(one.verbs) if one.schema is None else [*_CUSTOM_VERBS],
        }
        row |= {"shortNames": list(one.shortNames)} if one.shortNames else {}
        row |= {"categories": list(one.categories)} if one.categories else {}
        if "list" in one.verbs:
            row["storageVersionHash"] = _storage_hash(one)
        listed.append(row)
        # those of custom resources are listed by another server, in another order
        for sub, about in sorted(one.subresources.items(), reverse=one.schema is not None):
            group_, _, version_ = about.version.rpartition("/")
            listed.append(
                {
                    "name": f"{one.plural}/{sub}",
                    "singularName": "",
                    "namespaced": one.namespaced,
                    **({"group": group_, "version": version_} if about.version else {}),
                    "kind": about.kind or one.kind,
                    "verbs": list(about.verbs),
                }
            )
    whole = f"{name}/{version}" if name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": whole, "resources": listed}


def _storage_hash(one: Resource) -> str:
    """Returns the hash of the version in which a resource is stored (k8s.io/apiserver, endpoints/discovery,
    StorageVersionHash).
    """
    digest = sha256(f"{one.group}/{one.storage or one.version}/{one.kind}".encode()).digest()
    return b64encode(digest[:8]).decode()


def aggregated(catalog: Catalog, *, core: bool) -> Document:
    """Returns the APIGroupDiscoveryList: the core group alone, or all others."""
    items = []
    for name, known in catalog.groups.items():
        if (name == "") is core:
            rows = [
                {
                    "version": version,
                    "resources": [
                        _discovered(one)
                        for one in catalog.resources
                        if (one.group, one.version) == (name, version)
                    ],
                    "freshness": "Current",
                }
                for version in known
            ]
            metadata = {"creationTimestamp": None, **({"name": name} if name else {})}
            items.append({"metadata": metadata, "versions": rows})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _discovered(one: Resource) -> Document:
    row: Document = {
        "resource": one.plural,
        "responseKind": {"group": one.group, "version": one.version, "kind": one.kind},
        "scope": "Namespaced" if one.namespaced else "Cluster",
        "singularResource": one.singular,
        "verbs": list(one.verbs),
    }
    row |= {"shortNames": list(one.shortNames)} if one.shortNames else {}
    row |= {"categories": list(one.categories)} if one.categories else {}
    if one.subresources:
        rows = []
        for name, about in sorted(one.subresources.items()):
            group_, _, version = (about.version or one.apiVersion).rpartition("/")
            kind = {"group": group_, "version": version, "kind": about.kind or one.kind}
            rows.append({"subresource": name, "responseKind": kind, "verbs": list(about.verbs)})
        row["subresources"] = rows
    return row
