"""Tests the table of resources, and the rows that CustomResourceDefinitions add to it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.api.resources import RESOURCES, Catalog, ScalePaths, version_rank


def definition(**spec: Any) -> dict[str, Any]:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object"}},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.count", "statusReplicasPath": ".status.count"},
        },
    }
    older = {"name": "v1beta1", "served": True, "storage": False}
    names = {"kind": "Crown", "plural": "crowns", "shortNames": ["cr"]}
    return {
        "spec": {
            "group": "example.org",
            "scope": "Cluster",
            "names": names,
            "versions": [older, version],
            **spec,
        }
    }


def test_no_two_rows_share_a_place() -> None:
    assert len({(one.group, one.version, one.plural) for one in RESOURCES}) == len(RESOURCES)
    assert len({(one.apiVersion, one.kind) for one in RESOURCES}) == len(RESOURCES)


@pytest.mark.parametrize(
    ("apiVersion", "kind", "stored"),
    [
        ("v1", "Pod", "Pod"),
        ("apps/v1", "Deployment", "Deployment"),
        ("networking.k8s.io/v1", "Ingress", "Ingress.networking.k8s.io"),
        ("v1", "ConfigMap", "ConfigMap"),
        ("events.k8s.io/v1", "Event", "Event"),
    ],
)
def test_objects_are_stored_under_the_kind_that_the_store_gives_them(
    apiVersion: str, kind: str, stored: str
) -> None:
    found = Catalog().of_kind(apiVersion, kind)
    assert found is not None
    assert found.storage_kind == stored


def test_a_definition_adds_its_served_versions_newest_first() -> None:
    catalog = Catalog.of([definition()])
    assert catalog.groups["example.org"] == ("v1", "v1beta1")
    crown = catalog.find("example.org", "v1", "crowns")
    assert crown is not None
    assert (crown.kind, crown.namespaced, crown.shortNames, crown.singular) == (
        "Crown",
        False,
        ("cr",),
        "crown",
    )
    assert crown.allows("update", "status")
    assert not crown.allows("create", "status")
    assert crown.scale_paths == ScalePaths(("spec", "count"), ("status", "count"), ())
    older = catalog.find("example.org", "v1beta1", "crowns")
    assert older is not None
    assert older.kept({"apiVersion": "example.org/v1beta1"})["apiVersion"] == "example.org/v1"
    assert older.shown({"apiVersion": "example.org/v1"})["apiVersion"] == "example.org/v1beta1"
    assert catalog.unnamespaced == {"Crown.example.org"}


def test_what_is_no_definition_defines_nothing() -> None:
    for broken in (
        {},
        {"spec": []},
        {"spec": {"names": 3}},
        definition(group=7),
        definition(versions=["v1"]),
    ):
        assert Catalog.of([broken]).resources == RESOURCES  # type: ignore[list-item]
    taken = definition(group="apps", names={"kind": "Deployment", "plural": "deployments"})
    assert Catalog.of([taken]).resources == RESOURCES


def test_an_event_has_two_names_for_its_fields() -> None:
    new = Catalog().of_kind("events.k8s.io/v1", "Event")
    assert new is not None
    event = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "regarding": {"name": "web"}, "note": "went"}
    kept = new.kept(event)
    assert kept == {"apiVersion": "v1", "kind": "Event", "involvedObject": {"name": "web"}, "message": "went"}
    assert new.shown(kept) == event


def test_versions_are_ordered_as_kubernetes_orders_them() -> None:
    given = ["v1beta1", "v10", "foo", "v2", "v11beta2", "v1alpha9", "v1", "v10beta3"]
    ranked = sorted(given, key=version_rank, reverse=True)
    assert ranked == ["v10", "v2", "v1", "v11beta2", "v10beta3", "v1beta1", "v1alpha9", "foo"]


def test_objects_have_a_generation_where_those_of_kube_apiserver_have_one() -> None:
    path = Path(__file__).parents[2] / "golden" / "apiserver" / "objects.json.gz"
    seen = set[str]()
    for one in objects_in(json.loads(gzip.decompress(path.read_bytes()))):
        resource = Catalog().of_kind(one["apiVersion"], one["kind"])
        if resource is not None:
            shown = resource.shown({**one, "metadata": {**one["metadata"], "generation": 1}})
            assert ("generation" in shown["metadata"]) is ("generation" in one["metadata"]), one["kind"]
            seen.add(one["kind"])
    assert {"Pod", "Deployment", "Service", "ConfigMap", "EndpointSlice"} <= seen


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yields every stored object in a JSON value."""
    if isinstance(value, dict):
        if "apiVersion" in value and "uid" in (value.get("metadata") or {}):
            yield value
        for item in value.values():
            yield from objects_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from objects_in(item)
