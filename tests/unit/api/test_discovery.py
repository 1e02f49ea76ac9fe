"""Tests the discovery documents, old and aggregated."""

from __future__ import annotations

from typing import Any

from emulator.api.discovery import AGGREGATED, answer
from emulator.api.resources import Catalog


def ask(path: str, accept: str = "application/json") -> Any:
    found = answer(path, accept, Catalog())
    return None if found is None else found[0]


def test_the_old_documents_name_every_resource() -> None:
    assert ask("/api")["versions"] == ["v1"]
    names = {one["name"] for one in ask("/apis")["groups"]}
    assert {"apps", "discovery.k8s.io", "events.k8s.io", "apiextensions.k8s.io"} <= names
    rows = {one["name"]: one for one in ask("/apis/apps/v1")["resources"]}
    assert rows["deployments"]["shortNames"] == ["deploy"]
    assert rows["deployments/scale"]["kind"] == "Scale"
    assert (rows["deployments/scale"]["group"], rows["deployments/scale"]["version"]) == ("autoscaling", "v1")
    assert ask("/apis/apps")["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert ask("/api/v1/pods") is None
    assert ask("/apis/nothing/v1") is None


def test_the_aggregated_document_holds_the_same() -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    found = answer("/apis", accept, Catalog())
    assert found is not None
    document, media = found
    assert media == AGGREGATED
    for group in document["items"]:
        for version in group["versions"]:
            name = group["metadata"]["name"]
            plain = {one["name"] for one in ask(f"/apis/{name}/{version['version']}")["resources"]}
            new = {one["resource"] for one in version["resources"]} | {
                f"{one['resource']}/{sub['subresource']}"
                for one in version["resources"]
                for sub in one.get("subresources", ())
            }
            assert new == plain
    core = answer("/api", accept, Catalog())
    assert core is not None
    assert [one["metadata"].get("name", "") for one in core[0]["items"]] == [""]
