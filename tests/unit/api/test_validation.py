"""Tests refusals of objects against the words of a kube-apiserver (tests/golden/apiserver has more)."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.api.defaults import created
from emulator.api.resources import Catalog
from emulator.api.validation import label_key_faults, label_value_faults, violations

LABEL = "a lowercase RFC 1123 label must consist of"
KINDS = {
    "ConfigMap": "v1",
    "Secret": "v1",
    "Service": "v1",
    "Pod": "v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "Ingress": "networking.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "Namespace": "v1",
}
CONTAINER = {"name": "c", "image": "x"}
POD = {"spec": {"containers": [CONTAINER]}}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, **POD}


def told(kind: str, one: dict[str, Any], name: str = "a") -> list[tuple[str, str]]:
    resource = Catalog().of_kind(KINDS[kind], kind)
    assert resource is not None
    body = {"metadata": {"name": name}, **one}
    whole = created(resource, body, now="2026-01-01T00:00:00Z")
    return [(one.field, one.message) for one in violations(whole, resource.group, kind)]


@pytest.mark.parametrize(
    ("kind", "one"),
    [
        ("ConfigMap", {"data": {"a.b-c_d": "x"}}),
        ("Secret", {"data": {"a": "YQ=="}}),
        ("Service", {"spec": {"ports": [{"port": 80}]}}),
        ("Service", {"spec": {"clusterIP": "None"}}),
        ("Service", {"spec": {"type": "ExternalName", "externalName": "db.example.com"}}),
        ("Pod", POD),
        ("Deployment", {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}}),
        ("Job", {"spec": {"template": {"spec": {**POD["spec"], "restartPolicy": "Never"}}}}),
        ("EndpointSlice", {"addressType": "IPv6", "endpoints": [{"addresses": ["fd00::1"]}]}),
        ("NetworkPolicy", {"spec": {"podSelector": {}}}),
        ("PodDisruptionBudget", {"spec": {"minAvailable": 1}}),
    ],
)
def test_right_objects_pass(kind: str, one: dict[str, Any]) -> None:
    assert told(kind, one) == []


def test_names_have_the_form_of_their_kind() -> None:
    assert told("Role", {}, name="system:node") == []
    assert told("Role", {}, name="a/b") == [("metadata.name", "Invalid value: \"a/b\": may not contain '/'")]
    assert told("ConfigMap", {}, name="a.b") == []
    ((field, message),) = told("Namespace", {}, name="a.b")
    assert (field, message.startswith(f'Invalid value: "a.b": {LABEL}')) == ("metadata.name", True)
    assert told("ConfigMap", {}, name="")[0] == (
        "metadata.name",
        "Required value: name or generateName is required",
    )
    assert told("ConfigMap", {}, name="a" * 254) == [
        ("metadata.name", f'Invalid value: "{"a" * 254}": must be no more than 253 bytes')
    ]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("example.com/name", ""),
        ("-x", "name part must consist of"),
        ("/x", "prefix part must be non-empty"),
        ("a/b/c", "a qualified name must consist of"),
        ("A_/x", "prefix part a lowercase RFC 1123 subdomain"),
        ("a/", "name part must be non-empty"),
        ("x" * 64, "name part must be no more than 63 bytes"),
    ],
)
def test_keys_of_labels(key: str, words: str) -> None:
    found = [one.message for one in label_key_faults("key", key)]
    assert any(words in one for one in found) if words else not found


def test_values_of_labels() -> None:
    assert not [*label_value_faults("v", "")]
    assert [one.reason for one in label_value_faults("v", "x" * 64)] == ["FieldValueInvalid"]
    assert "a valid label must be" in next(label_value_faults("v", "not a value")).message


@pytest.mark.parametrize(
    ("kind", "one", "fields"),
    [
        ("ConfigMap", {"data": {"not a key": "x"}}, ["data[not a key]"]),
        ("ConfigMap", {"data": {"a": "x"}, "binaryData": {"a": "eA=="}}, ["data[a]"]),
        ("ConfigMap", {"data": {"a": "x" * (1 << 20 | 1)}}, [""]),
        ("Secret", {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}, ["data[tls.key]"]),
        ("Service", {"spec": {"clusterIP": "300.1.2.3", "type": "Odd"}}, ["spec.clusterIPs[0]"]),
        ("Service", {"spec": {"type": "Odd", "ports": [{"port": 1}]}}, ["spec.type"]),
        ("Service", {"spec": {}}, ["spec.ports"]),
        ("Service", {"spec": {"ports": [{"port": 0, "targetPort": "-"}]}}, None),
        (
            "Service",
            {"spec": {"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]}},
            ["spec.ports[1].name"],
        ),
        (
            "Service",
            {"spec": {"ports": [{"port": 1, "nodePort": 30000}]}},
            ["spec.ports[0].nodePort"],
        ),
        (
            "Service",
            {"spec": {"ports": [{"port": 1}], "externalTrafficPolicy": "Local"}},
            ["spec.externalTrafficPolicy"],
        ),
        ("Pod", {"spec": {}}, ["spec.containers"]),
        ("Pod", {"spec": {"containers": [{"name": "c"}]}}, ["spec.containers[0].image"]),
        (
            "Pod",
            {"spec": {"containers": [CONTAINER], "initContainers": [CONTAINER]}},
            ["spec.initContainers[0].name"],
        ),
        (
            "Pod",
            {"spec": {"containers": [{**CONTAINER, "volumeMounts": [{"name": "v", "mountPath": "/x"}]}]}},
            ["spec.containers[0].volumeMounts[0].name"],
        ),
        (
            "Deployment",
            {"spec": {"replicas": -1, "selector": {"matchLabels": {"a": "c"}}, "template": TEMPLATE}},
            ["spec.replicas", "spec.template.metadata.labels"],
        ),
        ("Job", {"spec": {"template": POD}}, ["spec.template.spec.restartPolicy"]),
        (
            "CronJob",
            {
                "spec": {
                    "schedule": "at noon",
                    "jobTemplate": {
                        "spec": {"template": {"spec": {**POD["spec"], "restartPolicy": "Never"}}}
                    },
                }
            },
            ["spec.schedule"],
        ),
        (
            "EndpointSlice",
            {"addressType": "IPv4", "endpoints": [{"addresses": ["fd00::1"]}], "ports": [{"name": "HTTP"}]},
            ["ports[0].name", "endpoints[0].addresses"],
        ),
        ("Ingress", {"spec": {"rules": [{"host": "10.0.0.1"}]}}, ["spec.rules[0].host"]),
        ("Ingress", {"spec": {}}, ["spec"]),
        (
            "NetworkPolicy",
            {"spec": {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}]}},
            ["spec.egress[0].to[0].ipBlock.cidr"],
        ),
        (
            "NetworkPolicy",
            {
                "spec": {
                    "podSelector": {},
                    "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}],
                }
            },
            ["spec.ingress[0].from[0].ipBlock.except[0]"],
        ),
        ("PodDisruptionBudget", {"spec": {"minAvailable": 1, "maxUnavailable": 1}}, ["spec"]),
    ],
)
def test_wrong_fields_are_named(kind: str, one: dict[str, Any], fields: list[str] | None) -> None:
    found = [field for field, _ in told(kind, one)]
    assert found == fields if fields is not None else found
