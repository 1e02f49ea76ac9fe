from __future__ import annotations

from typing import Any

import pytest

from emulator.api.customs import complete, established, fill_in, violations
from tests.unit.api.definitions import definition


def test_definition_has_no_fault() -> None:
    assert violations(definition()) == []


def changed(path: str, value: Any) -> dict[str, Any]:
    body = definition()
    *steps, last = path.split(".")
    inner: Any = body
    for step in steps:
        inner = inner[int(step)] if isinstance(inner, list) else inner[step]
    inner[int(last) if isinstance(inner, list) else last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("metadata.name", "x", "metadata.name"),
        ("spec.group", "", "spec.group"),
        ("spec.scope", "World", "spec.scope"),
        ("spec.names.kind", None, "spec.names.kind"),
        ("spec.versions", [], "spec.versions"),
        ("spec.versions.0.storage", False, "spec.versions"),
        ("spec.versions.1.storage", True, "spec.versions"),
        ("spec.versions.0.name", "V1", "spec.versions[0].name"),
        ("spec.versions.0.schema", {}, "spec.versions[0].schema.openAPIV3Schema"),
        (
            "spec.versions.0.schema.openAPIV3Schema.type",
            "string",
            "spec.versions[0].schema.openAPIV3Schema.type",
        ),
        ("spec.conversion", {"strategy": "Webhook"}, "spec.conversion.strategy"),
        ("spec", None, "spec.group"),
    ],
)
def test_fault_of_a_definition_is_found(path: str, value: Any, field: str) -> None:
    assert field in [one.field for one in violations(changed(path, value))]


def test_names_are_filled_in() -> None:
    body = definition()
    fill_in(body)
    assert body["spec"]["names"]["singular"] == "widget"
    assert body["spec"]["names"]["listKind"] == "WidgetList"


def test_established_keeps_its_time() -> None:
    first = established(definition(), "2026-12-01T12:00:00Z")
    assert first is not None
    assert first["status"]["storedVersions"] == ["v1"]
    assert established(first, "2026-12-01T13:00:00Z") is None


def test_object_is_pruned_filled_and_checked() -> None:
    schema = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    body = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {}, "spec": {"size": 0, "x": 1}}
    (fault,) = complete(body, schema)
    assert fault.field == "spec.size"
    assert body["spec"] == {"size": 0, "mode": "safe"}
