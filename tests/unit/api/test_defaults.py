"""Tests defaults: against the objects of a kube-apiserver, and by properties."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.api import defaults
from emulator.api.resources import Catalog, Resource

from .recorded import OBJECTS, title

CATALOG = Catalog()

# Left to others, or out on purpose (the docstring of the module).
LEFT = {
    "Service": (
        "spec.clusterIP",
        "spec.clusterIPs",
        "spec.ipFamilies",
        "spec.ipFamilyPolicy",
        "spec.healthCheckNodePort",
    ),
    "PersistentVolumeClaim": ("metadata.finalizers",),
    "PersistentVolume": ("metadata.finalizers",),
    "Node": ("spec.taints",),
}


def resource(document: dict[str, Any]) -> Resource:
    found = CATALOG.of_kind(document["apiVersion"], document["kind"])
    assert found is not None
    return found


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def compared(document: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of an object that do not depend on the server that stored it."""
    left = (
        *LEFT.get(document["kind"], ()),
        "metadata.uid",
        "metadata.generation",
        "metadata.creationTimestamp",
        "metadata.resourceVersion",
    )
    return {
        path: value
        for path, value in leaves(document)
        if value != {} and not path.startswith(left) and not path.endswith(".nodePort")
    }


@pytest.mark.parametrize("row", OBJECTS, ids=title)
def test_an_object_is_stored_as_kube_apiserver_stores_it(row: dict[str, Any]) -> None:
    created = row["created"]
    spec = created.get("spec", {})
    volume = next(
        (one["name"] for one in spec.get("volumes", ()) if one["name"].startswith("kube-api-access-")), ""
    )
    document = copy.deepcopy(row["input"])
    document["metadata"].update(
        {"namespace": "recorded"} if "namespace" in created["metadata"] else {},
    )
    status = created.get("status", {})
    now = status.get("lastPhaseTransitionTime", "")
    if document["metadata"]["name"] == "gated":
        now = status["conditions"][0]["lastTransitionTime"]
    stored = defaults.created(
        resource(document), document, now=now, uid=created["metadata"]["uid"], suffix=volume[-5:]
    )
    assert compared(stored) == compared(created)


@pytest.mark.parametrize("row", OBJECTS, ids=title)
def test_what_is_stored_has_all_its_defaults(row: dict[str, Any]) -> None:
    stored = row["stored"]
    assert defaults.decoded(resource(stored), stored) == stored
    assert defaults.updated(resource(stored), copy.deepcopy(stored), stored) == stored


@pytest.mark.parametrize(
    "row", [row for row in OBJECTS if row["stored"].get("status") != row["created"].get("status")], ids=title
)
def test_a_status_is_written_alone(row: dict[str, Any]) -> None:
    created, stored = row["created"], row["stored"]
    changed = {**copy.deepcopy(stored), "spec": {}}
    assert defaults.status_updated(resource(created), changed, created) == stored
    assert defaults.updated(resource(created), stored, created)["status"] == created["status"]


def made(kind: str, api_version: str = "v1", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "x", "namespace": "y"},
        "spec": spec,
    }


def test_a_service_keeps_what_it_was_given() -> None:
    old = made(
        "Service",
        type="NodePort",
        clusterIP="10.96.0.9",
        clusterIPs=["10.96.0.9"],
        ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}],
    )
    new = made("Service", type="NodePort", ports=[{"port": 80}, {"port": 81}])
    spec = defaults.updated(resource(old), new, old)["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("10.96.0.9", ["10.96.0.9"])
    assert [one.get("nodePort") for one in spec["ports"]] == [30080, None]


def test_a_service_that_has_no_node_ports_any_more_loses_them() -> None:
    old = made("Service", type="NodePort", ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}])
    spec = defaults.updated(resource(old), made("Service", ports=[{"port": 80}]), old)["spec"]
    assert "nodePort" not in spec["ports"][0]


def test_a_definition_keeps_the_whole_of_its_schemas() -> None:
    inner = {"type": "object", "properties": {"a": {"type": "integer", "default": {"b": 1}}}}
    items = {"type": "array", "items": inner}
    lists = {"type": "object", "properties": {"c": items}, "additionalProperties": inner}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": lists}}
    document = made("CustomResourceDefinition", "apiextensions.k8s.io/v1", versions=[version])
    spec = defaults.decoded(resource(document), document)["spec"]
    assert spec["versions"][0]["schema"]["openAPIV3Schema"] == lists


def test_a_status_does_not_change_labels() -> None:
    old = {**made("Pod"), "status": {"phase": "Pending"}}
    new = copy.deepcopy(old) | {"status": {"phase": "Running"}}
    new["metadata"]["labels"] = {"a": "b"}
    written = defaults.status_updated(resource(old), new, old)
    assert written["status"]["phase"] == "Running"
    assert "labels" not in written["metadata"]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    pod = made("Pod", containers=[{"name": "a", "image": image}])
    container = defaults.decoded(resource(pod), pod)["spec"]["containers"][0]
    assert container["imagePullPolicy"] == policy


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "spec", "metadata", "ports", "containers", "limits"]), inner
        )
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("one", CATALOG.resources, ids=lambda one: f"{one.apiVersion}-{one.kind}")
@settings(max_examples=8)
@given(data=st.data())
def test_malformed_documents_are_left_to_decoding(one: Resource, data: st.DataObject) -> None:
    document = data.draw(st.dictionaries(st.sampled_from(["metadata", "spec", "status", "data"]), JSON))
    old = data.draw(st.dictionaries(st.sampled_from(["metadata", "spec", "status", "data"]), JSON))
    stored = defaults.created(one, document, now="2026-12-01T12:00:00Z", uid="u", suffix="abcde")
    defaults.updated(one, document, old)
    defaults.status_updated(one, document, old)
    assert defaults.decoded(one, stored) == stored
