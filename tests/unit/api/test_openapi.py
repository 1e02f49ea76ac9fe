"""Tests the OpenAPI documents by what kubectl looks for in them."""

from __future__ import annotations

import json
from typing import Any

from emulator.api.openapi import answer
from emulator.api.resources import Catalog
from tests.unit.api.test_resources import definition


def ask(path: str, catalog: Catalog | None = None) -> Any:
    found = answer(path, "application/com.github.proto-openapi.spec.v3+protobuf", catalog or Catalog())
    return None if found is None else json.loads(found[0])


def test_the_index_leads_to_every_document() -> None:
    paths = ask("/openapi/v3")["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/discovery.k8s.io/v1"} <= set(paths)
    for place, found in paths.items():
        path, _, query = found["serverRelativeURL"].partition("?")
        assert path == f"/openapi/v3/{place}"
        assert query.startswith("hash=")
        assert ask(path)["openapi"] == "3.0.0"
    assert ask("/openapi/v3/apis/nothing/v1") is None


def test_a_patch_of_each_kind_takes_field_validation() -> None:
    for place in ("/openapi/v3/api/v1", "/openapi/v3/apis/apps/v1"):
        patches = [path["patch"] for path in ask(place)["paths"].values() if "patch" in path]
        assert patches
        for patch in patches:
            assert "fieldValidation" in {one["name"] for one in patch["parameters"]}
            assert patch["x-kubernetes-group-version-kind"]["kind"]


def test_every_reference_of_a_document_leads_somewhere() -> None:
    text = json.dumps(ask("/openapi/v3/apis/apps/v1"))
    schemas = ask("/openapi/v3/apis/apps/v1")["components"]["schemas"]
    references = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references
    assert references <= set(schemas)
    kinds = [
        one["kind"] for row in schemas.values() for one in row.get("x-kubernetes-group-version-kind", ())
    ]
    assert {"Deployment", "StatefulSet"} <= set(kinds)


def test_a_custom_resource_has_its_own_schema() -> None:
    catalog = Catalog.of([definition()])
    document = ask("/openapi/v3/apis/example.org/v1", catalog)
    schema = document["components"]["schemas"]["org.example.v1.Crown"]
    assert schema["x-kubernetes-group-version-kind"] == [
        {"group": "example.org", "version": "v1", "kind": "Crown"}
    ]
    assert "/apis/example.org/v1/crowns/{name}/status" in document["paths"]


def test_version_2_is_there_and_empty() -> None:
    """Tests both forms: kubectl falls back to it, as protobuf, for kinds that it does not know."""
    found = answer("/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf", Catalog())
    assert found is not None
    assert found[0].startswith(b"\x0a\x032.0\x12")
    plain = answer("/openapi/v2", "application/json", Catalog())
    assert plain is not None
    assert json.loads(plain[0])["paths"] == {}
