"""Tests that unknown fields of Kubernetes' kinds are reported with their line and the nearest field."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any

import pytest

from emulator.load.fields import _table, find_unknown
from emulator.load.schema import _KINDS, _branch, _field_types
from emulator.objects.warnings import Code
from tests.told import warned
from tests.unit.load.reading import load_text


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "trafficPolicy: x",
            "spec.trafficPolicy is no field of Kubernetes 1.34 and is not read (hint: did you mean",
        ),
        ("foo: {bar: 1}", "spec.foo is no field of Kubernetes 1.34 and is not read"),
        ("sessionAffinityConfig: {clientIp: {}}", "spec.sessionAffinityConfig.clientIp is no field"),
        ("ports: [{port: 1, nodeport: 1}]", "spec.ports[0].nodeport is no field"),
    ],
)
def test_an_unknown_field_is_told(spec: str, said: str) -> None:
    ports = "" if "ports" in spec else "ports: [{port: 1}], "
    text = f"apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec: {{{ports}{spec}}}\n"
    (notice,) = warned(load_text(text), Code.UNKNOWN_FIELD)
    assert notice.startswith(f"stdin:4: Service default/s: {said}")


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(
            {"spec": {"containers": [{"resources": {"limits": {"anything": 1}}, "env": [{"name": "A"}]}]}},
            id="a map",
        ),
        pytest.param(
            {"metadata": {"annotations": {"a/b": "c"}, "managedFields": [{"fieldsV1": {"f:x": {}}}]}},
            id="metadata",
        ),
        pytest.param({"spec": {"containers": 7}}, id="of another shape"),
        pytest.param(
            {"spec": {"containers": [{"ports": None}], "volumes": [{"hostPath": {"path": "/"}}]}},
            id="volumes",
        ),
    ],
)
def test_known_fields_are_not(manifest: dict[str, Any]) -> None:
    assert list(find_unknown("Pod", {"apiVersion": "v1", "kind": "Pod", **manifest})) == []


@pytest.mark.parametrize("kind", ["Pod", "Service", "EndpointSlice", "Node", "Endpoints"])
def test_every_field_that_podwire_reads_is_known(kind: str) -> None:
    kinds, types = _table()

    def check(hint: Any, type_: str) -> None:
        for name, inner in _field_types(hint).items():
            assert name == "kind" or name in types[type_], f"{type_}.{name}"
            entry = _branch(inner, dict) or _branch(getattr(inner, "__args__", (None,))[0], dict)
            if is_dataclass(entry) and types[type_].get(name):
                check(entry, types[type_][name])

    check(next(each.type for each in _KINDS if each.name == kind and not each.exact), kinds[kind])
