"""Tests that FlowCheck's schema, CustomResourceDefinition and reference page are those of its types."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from emulator.load.builder import build_topology
from emulator.load.flowcheck import custom_resource_definition, json_schema, reference
from tests.unit.load.reading import load_text
from tests.unit.test_english import RIDDLE

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
MARK = "<!-- made from the types: tests/unit/load/test_flowcheck.py --update-golden -->\n"
CRD_HEAD = "# Made from the types: tests/unit/load/test_flowcheck.py --update-golden\n"


def page() -> str:
    written = (DOCS / "flowcheck.md").read_text().partition(MARK)[0]
    return f"{written}{MARK}\n{reference()}"


TEXTS = {
    "flowcheck.md": page,
    "flowcheck.schema.json": lambda: json.dumps(json_schema(), indent=2) + "\n",
    "flowcheck-crd.yaml": lambda: (
        CRD_HEAD + yaml.safe_dump(custom_resource_definition(), sort_keys=False, width=110)
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_file_is_that_of_the_types(name: str, request: pytest.FixtureRequest) -> None:
    path = DOCS / name
    if request.config.getoption("--update-golden"):
        path.write_text(TEXTS[name]())
    assert path.read_text() == TEXTS[name]()


def shipped() -> Iterator[Mapping[str, Any]]:
    """Yields every FlowCheck of a shipped topology."""
    for path in sorted((ROOT / "topologies").iterdir()):
        if path.suffix == ".yaml":
            documents = list(yaml.safe_load_all(path.read_text()))
        elif path.suffix == ".py":
            documents = [json.loads(json.dumps(written.value)) for written in build_topology(path)]
        else:
            continue
        yield from (found for found in documents if found and found["kind"] == "FlowCheck")


CHECKS = [pytest.param(check, id=check["metadata"]["name"]) for check in shipped()]


@pytest.mark.parametrize("check", CHECKS)
def test_shipped_check_fits_the_schema(check: Mapping[str, Any]) -> None:
    jsonschema.validate(check, json_schema())
    crd = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    jsonschema.validate(check, crd)


def flow_check(**flow: object) -> Mapping[str, Any]:
    whole = {"name": "a", "from": {"pod": "a"}, "to": {"service": "b", "port": 80}, **flow}
    return {
        "apiVersion": "podwire.dev/v1alpha1",
        "kind": "FlowCheck",
        "metadata": {"name": "x"},
        "spec": {"flows": [whole]},
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"from": {}},
        {"from": {"pod": "a", "node": "b"}},
        {"to": {"service": "b", "port": 1.5}},
        {"expect": {"outcome": "lost"}},
        {"expect": {"modes": {"iptables": {"modes": {}}}}},
        {"tries": 3},
        {"attempts": "2"},
    ],
    ids=str,
)
def test_schema_refuses(wrong: Mapping[str, Any]) -> None:
    jsonschema.validate(flow_check(), json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(flow_check(**wrong), json_schema())


def schemas(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields the schema and every one that describes a value inside."""
    yield schema
    for inner in schema.get("properties", {}).values():
        yield from schemas(inner)
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from schemas(schema[key])


def test_definition_is_structural() -> None:
    """Checks the API server's wishes: each value has a type, nothing refers to anything, and nothing is
    closed.
    """
    crd = custom_resource_definition()
    assert crd["metadata"]["name"] == f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"
    for schema in schemas(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]):
        assert not schema.keys() & {"$ref", "const", "$schema", "definitions"}
        assert "type" in schema or schema.get("x-kubernetes-int-or-string") is True
        assert not {"properties", "additionalProperties"} <= schema.keys()


NAMELESS = """
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: c}
spec:
  flows:
  - {from: {pod: a}, to: {service: web, port: http}}
  - {from: {pod: a}, to: {service: web, port: http}}
  - {from: {podSelector: {app: web}}, to: {node: n, nodePort: 30080}, protocol: UDP}
  - {from: {external: c}, via: n, to: {node: n, healthCheck: web}}
  - {name: mine, from: {node: n}, to: {ip: 10.0.0.1}, protocol: ICMP}
  - {from: {node: n}, to: {ip: 10.0.0.1}, protocol: ICMP}
"""


def test_a_flow_without_a_name_is_named_after_its_ends() -> None:
    (check,) = load_text(NAMELESS).flowChecks
    assert [flow.name for flow in check.object.flows] == [
        "pod a → service web:http",
        "pod a → service web:http (2)",
        "pods app=web → node n:30080 (UDP)",
        "external c → node n health check of web (via n)",
        "mine",
        "node n → ip 10.0.0.1 (ICMP)",
    ]


def descriptions(value: Any) -> Iterator[str]:
    """Yields every description of a schema."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if key == "description" and isinstance(item, str):
            yield item
        elif isinstance(item, dict | list):
            yield from descriptions(item)


def test_no_description_begins_as_a_riddle() -> None:
    found = list(descriptions(json_schema()))
    assert len(found) > 50
    assert [text for text in found if RIDDLE.search(text)] == []
