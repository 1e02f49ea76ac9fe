"""Compares what a scalar becomes in a field with the answers of kubectl's own libraries
(tests/golden/kubectl-yaml).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.load.schema import Kind, decode, identify
from emulator.load.yamltext import read_documents

ANSWERS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "golden" / "kubectl-yaml" / "answers.json").read_text()
)
REFUSED = "refused"
LETTERS = frozenset("yYnN")  # kubectl refuses them as strings; podwire reads them, and says so

POD = (
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels:\n    a: {label}\nspec:\n  hostNetwork: "
    "{hostNetwork}\n"
)
POD += (
    "  containers:\n  - name: c\n    args:\n    - {args}\n    ports:\n    - containerPort: {containerPort}\n"
)
SERVICE = (
    "apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec:\n  ports:\n  - port: 1\n    "
    "targetPort: {targetPort}\n"
)
DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d}}\nspec:\n  replicas: {replicas}\n"
DEPLOYMENT += "  template: {{spec: {{containers: [{{name: c}}]}}}}\n"
SOUND = {
    "label": "x",
    "hostNetwork": "false",
    "args": "x",
    "containerPort": "1",
    "targetPort": "1",
    "replicas": "1",
}
FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "label": (POD, lambda pod: pod.metadata.labels["a"]),
    "args": (POD, lambda pod: pod.spec.containers[0].args[0]),
    "containerPort": (POD, lambda pod: pod.spec.containers[0].ports[0].containerPort),
    "hostNetwork": (POD, lambda pod: pod.spec.hostNetwork),
    "targetPort": (SERVICE, lambda service: service.spec.ports[0].targetPort),
    "replicas": (DEPLOYMENT, lambda deployment: deployment.spec.replicas),
}


def manifest(scalar: str, field: str) -> str:
    return FIELDS[field][0].format(**{**SOUND, field: scalar})


def answer(scalar: str, field: str) -> Any:
    documents, faults = read_documents(manifest(scalar, field))
    if faults:
        return REFUSED
    (document,) = documents
    kind = identify(document.value)
    assert isinstance(kind, Kind)
    value, faults_of_fields, _ = decode(kind, document.value)
    if faults_of_fields:
        return REFUSED
    got = FIELDS[field][1](value)
    if isinstance(got, int) and not -(2**31) <= got < 2**31:
        return REFUSED  # Go's decoder refuses what is no int32; here the rules over objects do
    return str(got) if isinstance(got, str) else got


@pytest.mark.parametrize("scalar", ANSWERS)
def test_a_scalar_means_what_it_means_to_kubectl(scalar: str) -> None:
    got = {field: answer(scalar, field) for field in FIELDS}
    if scalar in LETTERS:
        got = {field: REFUSED if got[field] == scalar else got[field] for field in FIELDS}
    expected = ANSWERS[scalar]
    assert got == expected
    assert {field: type(value) for field, value in got.items()} == {
        field: type(value) for field, value in expected.items()
    }


def test_the_answers_have_every_sort() -> None:
    assert len(ANSWERS) > 100
    for field in FIELDS:
        assert {row[field] == REFUSED for row in ANSWERS.values()} == {True, False}


if __name__ == "__main__":
    for each in ANSWERS:
        for name, (text, _) in FIELDS.items():
            print(json.dumps({"kind": text.split("kind: ")[1].split("\n")[0], "text": manifest(each, name)}))
