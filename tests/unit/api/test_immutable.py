from __future__ import annotations

from typing import Any

import pytest

from emulator.api.immutable import violations_of_update

POD = {"spec": {"containers": [{"name": "c", "image": "a"}], "nodeName": "n"}}


@pytest.mark.parametrize(
    ("kind", "old", "new", "fields"),
    [
        (
            "Deployment",
            {"spec": {"selector": {"a": "b"}}},
            {"spec": {"selector": {"a": "c"}}},
            ["spec.selector"],
        ),
        ("Deployment", {"spec": {"replicas": 1}}, {"spec": {"replicas": 2}}, []),
        ("Job", {"spec": {"template": {"spec": 1}}}, {"spec": {"template": {"spec": 2}}}, ["spec.template"]),
        (
            "StatefulSet",
            {"spec": {"serviceName": "a", "volumeClaimTemplates": []}},
            {"spec": {"serviceName": "b", "volumeClaimTemplates": [{}]}},
            ["spec.serviceName", "spec"],
        ),
        ("Service", {"spec": {"clusterIPs": ["10.96.0.9"]}}, {"spec": {"clusterIPs": ["10.96.0.9"]}}, []),
        (
            "Service",
            {"spec": {"clusterIPs": ["10.96.0.9"]}},
            {"spec": {"clusterIPs": ["10.96.0.8"]}},
            ["spec.clusterIPs[0]"],
        ),
        ("Service", {"spec": {"clusterIPs": ["10.96.0.9"]}}, {"spec": {}}, ["spec.clusterIPs[0]"]),
        ("Service", {"spec": {"clusterIPs": ["10.96.0.9"]}}, {"spec": {"type": "ExternalName"}}, []),
        ("StatefulSet", {"spec": {"replicas": 1}}, {"spec": {"replicas": 2}}, []),
        ("ConfigMap", {"immutable": True, "data": {}}, {"immutable": True, "data": {"a": "b"}}, ["data"]),
        ("ConfigMap", {"immutable": True}, {}, ["immutable"]),
        ("ConfigMap", {"data": {}}, {"data": {"a": "b"}}, []),
        ("Secret", {"type": "Opaque"}, {"type": "x"}, ["type"]),
        ("Pod", POD, {"spec": {**POD["spec"], "nodeName": "m"}}, ["spec"]),
        ("Pod", POD, {"spec": {**POD["spec"], "containers": [{"name": "c", "image": "b"}]}}, []),
    ],
)
def test_fields_that_may_not_change(kind: str, old: Any, new: Any, fields: list[str]) -> None:
    assert [one.field for one in violations_of_update(old, new, kind, "")] == fields
    assert violations_of_update(old, new, kind, "status") == []
