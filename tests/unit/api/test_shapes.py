"""Tests the shape that Go's JSON has."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.api.shapes import members, shaped, written

CORE = "io.k8s.api.core.v1."


@pytest.mark.parametrize(
    ("type_", "value", "shape"),
    [
        pytest.param(f"{CORE}ReplicationControllerStatus", {}, {"replicas": 0}, id="zero-that-stays"),
        pytest.param(
            f"{CORE}Container", {"name": "a"}, {"name": "a", "resources": {}}, id="struct-that-stays"
        ),
        pytest.param(f"{CORE}PodSpec", {"hostNetwork": False}, {"containers": None}, id="no-list"),
        pytest.param(f"{CORE}EnvVar", {"name": "a", "value": "", "x": 1}, {"name": "a"}, id="unknown"),
        pytest.param(f"{CORE}ContainerStateRunning", {}, {"startedAt": None}, id="no-time"),
        pytest.param(
            f"{CORE}ResourceRequirements",
            {"limits": {"cpu": 0.5, "memory": "1024Ki"}},
            {"limits": {"cpu": "500m", "memory": "1Mi"}},
            id="quantities",
        ),
        pytest.param(
            f"{CORE}EmptyDirVolumeSource", {"sizeLimit": "0"}, {"sizeLimit": "0"}, id="pointer-to-zero"
        ),
        pytest.param(f"[]{CORE}EnvVar", ["a", {"name": "b"}], ["a", {"name": "b"}], id="wrong-type"),
    ],
)
def test_a_value_has_the_shape_of_its_type(type_: str, value: Any, shape: Any) -> None:
    assert shaped(type_, value, {}) == shape


def test_defaults_are_filled_in_from_the_outside() -> None:
    order = []

    def fill(name: str) -> Any:
        return lambda one: order.append(name)

    fills = {f"{CORE}{name}": fill(name) for name in ("Volume", "VolumeSource", "SecretVolumeSource")}
    shaped(f"{CORE}Volume", {"name": "a", "secret": {}}, fills)
    assert order == ["Volume", "VolumeSource", "SecretVolumeSource"]


def test_a_document_is_written_as_its_structs_are() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "spec": {"ports": [], "typo": 1},
        "metadata": {"name": "a"},
    }
    assert written(service) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a"},
        "spec": {},
        "status": {"loadBalancer": {}},
    }


def test_a_custom_resource_has_no_struct() -> None:
    custom = {"apiVersion": "example.com/v1", "kind": "Widget", "spec": {"empty": []}}
    assert written(custom) is custom


def test_a_member_of_an_embedded_struct_names_it() -> None:
    assert members(f"{CORE}Volume")["secret"].through == ("VolumeSource",)
    assert members(f"{CORE}Volume")["name"].through == ()
