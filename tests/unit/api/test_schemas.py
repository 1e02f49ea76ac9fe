"""Checks the generated tables: kinds, their schemas, their structs, and that both agree."""

from __future__ import annotations

import pytest

from emulator.api import schemas

SERVED = [
    ("v1", "Service"),
    ("v1", "Pod"),
    ("apps/v1", "Deployment"),
    ("batch/v1", "CronJob"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("events.k8s.io/v1", "Event"),
    ("coordination.k8s.io/v1", "Lease"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v1", "Scale"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
    ("apiregistration.k8s.io/v1", "APIService"),
]


@pytest.mark.parametrize(("api_version", "kind"), SERVED)
def test_a_kind_has_a_schema_and_a_struct(api_version: str, kind: str) -> None:
    name = schemas.definition_of(api_version, kind)
    assert name is not None
    assert schemas.definitions()[name]["type"] == "object"
    assert schemas.structs()[name]


def test_a_custom_resource_has_none() -> None:
    assert schemas.definition_of("stable.example.com/v1", "CronTab") is None
    assert schemas.schema_of("stable.example.com/v1", "CronTab") is None


def test_structs_and_schemas_name_the_same_fields() -> None:
    def names(name: str) -> set[str]:
        found = set()
        for field in schemas.structs()[name]:
            found |= {field.json} if field.json else names(field.type.lstrip("*"))
        return found

    compared = 0
    for name, schema in schemas.definitions().items():
        if name in schemas.structs() and "properties" in schema:
            assert names(name) == set(schema["properties"]), name
            compared += 1
    assert compared > 400


def test_merge_keys_and_references() -> None:
    spec = schemas.resolved(schemas.schema_of("v1", "Service")["properties"]["spec"])  # type: ignore[index]
    ports = spec["properties"]["ports"]
    assert ports["x-kubernetes-patch-merge-key"] == "port"
    assert ports["x-kubernetes-list-map-keys"] == ["port", "protocol"]
    assert schemas.reference(ports["items"]) == "io.k8s.api.core.v1.ServicePort"
    assert schemas.resolved(ports["items"])["properties"]["protocol"]["default"] == "TCP"


def test_enumerations_have_their_values() -> None:
    schemas_of = schemas.definitions()
    protocol = schemas_of["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]
    assert protocol["enum"] == ["SCTP", "TCP", "UDP"]
    assert protocol["description"].endswith('\n - `"UDP"` is the UDP protocol.')
    modes = schemas_of["io.k8s.api.core.v1.PersistentVolumeClaimSpec"]["properties"]["accessModes"]
    assert "ReadOnlyMany" in modes["items"]["enum"]
    path = schemas_of["io.k8s.api.networking.v1.HTTPIngressPath"]["properties"]["pathType"]
    assert path["enum"] == ["Exact", "ImplementationSpecific", "Prefix"]
    assert not any("enum" in one for one in schemas_of["io.k8s.api.core.v1.Pod"]["properties"].values())
