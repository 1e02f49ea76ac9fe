"""Tests the report as programs read it: the documented schema, the same text every time."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from emulator.model.frames import Health
from emulator.model.results import NodeRow, Observation, PodRow, Report, ServiceRow
from emulator.net import Endpoint
from emulator.objects.references import ObjectRef
from emulator.objects.warnings import Code, ManifestWarning, OddValue
from emulator.report.report_json import (
    SCHEMA,
    dump_json,
    json_pieces,
    to_dict,
    to_json,
    to_yaml,
)
from tests.unit.report.samples import (
    DELIVERED,
    FAILED,
    PASSED,
    PODS,
    REPORT,
    WEB_0,
    expectation,
    flow,
)

SCHEMA_FILE: dict[str, Any] = json.loads((files("emulator.report") / "report.schema.json").read_text())


def strict(schema: Any) -> Any:
    """Returns ``schema`` with every object closed: output may have no field that it does not know."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    return closed | ({"additionalProperties": False} if "required" in schema else {})


VALIDATOR = Draft202012Validator(strict(SCHEMA_FILE))
HEALTHY = replace(
    PASSED,
    flow=replace(PASSED.flow, kind="health-check"),
    expected=expectation(health=Health(200, 1)),
    observed=replace(PASSED.observed, health=(Health(503, 0), Health(200))),
)
REPORTS = [
    pytest.param(REPORT, id="a run"),
    pytest.param(
        replace(
            REPORT,
            strict=True,
            warnings=(
                ManifestWarning(code=Code.NOTHING, object=ObjectRef("", "")),
                ManifestWarning(
                    code=Code.ODD_VALUE,
                    object=ObjectRef("Service", "default/a", "spec.externalIPs[0]"),
                    parts=(
                        ("why", OddValue.LEADING_ZEROS),
                        ("shown", "'010.0.0.1'"),
                        ("meant", "10.0.0.1"),
                    ),
                    file="a.yaml",
                    line=7,
                ),
            ),
        ),
        id="warnings",
    ),
    pytest.param(
        replace(REPORT, flows=(), requirements=(), cluster=(), services=(), machine={}), id="nothing"
    ),
    pytest.param(
        replace(REPORT, flows=(replace(FAILED, journeys=(), observed=Observation(outcomes={})),)),
        id="nothing observed",
    ),
    pytest.param(
        replace(REPORT, flows=(HEALTHY, replace(HEALTHY, expected=expectation(health=Health(200))))),
        id="health checks",
    ),
    pytest.param(
        replace(
            REPORT,
            flows=(
                replace(PASSED, observed=replace(PASSED.observed, outcomes={"dropped": 1, "delivered": 2})),
            ),
        ),
        id="mixed",
    ),
]


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA_FILE)
    assert SCHEMA_FILE["properties"]["schema"] == {"const": SCHEMA}


@pytest.mark.parametrize("report", REPORTS)
def test_output_is_what_the_schema_says(report: Report) -> None:
    VALIDATOR.validate(json.loads(to_json(report, PODS)))


@pytest.mark.parametrize("report", REPORTS)
def test_json_and_yaml_carry_the_same(report: Report) -> None:
    assert yaml.safe_load(to_yaml(report, PODS)) == json.loads(to_json(report, PODS)) == to_dict(report, PODS)


def test_a_flow() -> None:
    exported = to_dict(REPORT, PODS)["flows"][0]
    journeys = exported.pop("journeys")
    assert exported == {
        "name": "pod default/client → svc default/web:80 (other node)",
        "kind": "pod-to-service",
        "from": "pod default/client",
        "to": "svc default/web:80",
        "protocol": "TCP",
        "via": "",
        "dialled": "10.96.0.10:80",
        "sourceSent": ["10.244.1.2"],
        "control": False,
        "check": "",
        "file": "",
        "line": 0,
        "step": "",
        "connection": "",
        "attempts": 16,
        "expected": {
            "outcome": "delivered",
            "source": "preserved",
            "backends": ["default/web-0:8080", "default/web-1:8080"],
            "health": {},
            "because": "ClusterIP from a Pod: the client's own address (podwire doc semantics 5)",
            "connection": "yes",
            "possibilities": [
                {
                    "outcome": "delivered",
                    "backend": f"default/web-{n}:8080",
                    "source": "preserved",
                    "replyFrom": "dialled",
                }
                for n in (0, 1)
            ],
        },
        "observed": {
            "outcome": "delivered",
            "sources": ["10.244.1.2"],
            "backends": {"default/web-0:8080": 9, "default/web-1:8080": 8},
            "replyFrom": "10.96.0.10:80",
            "health": [],
            "outcomes": {"delivered": 17},
            "lostFrames": 0,
            "connection": "yes",
        },
        "journey": {
            "hops": [str(hop) for hop in DELIVERED.there],
            "replyHops": [str(hop) for hop in DELIVERED.back],
            "changes": [str(change) for change in DELIVERED.changes],
        },
        "verdict": "pass",
        "reason": "",
        "captures": [],
    }
    assert [(j["crafted"], j["backend"], j["sourceSeen"]) for j in journeys] == [
        (False, "default/web-1:8080", "10.244.1.2"),
        (True, "default/web-0:8080", "10.244.1.2"),
    ]
    assert journeys[0]["hops"][1] == {
        "time": "1767225600.000000501",
        "namespace": "worker-1",
        "interface": "veth1",
        "direction": "in",
        "src": "10.244.1.2:40000",
        "dst": "10.96.0.10:80",
        "ttl": 64,
        "frame": 1,
    }


def test_a_health_check() -> None:
    exported = to_dict(replace(REPORT, flows=(HEALTHY,)), PODS)["flows"][0]
    assert exported["expected"]["health"] == {"status": 200, "localEndpoints": 1}
    assert exported["observed"]["health"] == [{"status": 503, "localEndpoints": 0}, {"status": 200}]


def test_the_tables_become_objects() -> None:
    exported = to_dict(REPORT, PODS)
    assert exported["cluster"][0]["pods"] == ["kube-apiserver-control-plane"]
    assert exported["cluster"][1] == {
        "node": "worker-1",
        "role": "worker",
        "addresses": ["172.18.0.3"],
        "podCIDR": "10.244.1.0/24",
        "pods": ["client", "web-0"],
    }
    assert exported["services"][1] == {
        "name": "default/web",
        "type": "ClusterIP",
        "clusterIP": "10.96.0.10",
        "ports": ["80:30080/TCP", "53/UDP"],
        "externalIPs": [],
        "endpoints": 2,
    }
    assert exported["summary"] == {
        "ok": False,
        "flows": 2,
        "pass": 1,
        "fail": 1,
        "unknown": 0,
        "warnings": 0,
        "strict": False,
        "requirements": {"pass": 1, "fail": 0, "unknown": 1},
    }


def test_the_addresses_of_one_pod_count_together() -> None:
    observed = replace(
        PASSED.observed, backends={Endpoint.of(WEB_0, 80): 1, Endpoint.of("10.244.1.99", 80): 2}
    )
    exported = to_dict(
        replace(REPORT, flows=(replace(PASSED, observed=observed),)), {**PODS, "10.244.1.99": "default/web-0"}
    )
    assert exported["flows"][0]["observed"]["backends"] == {"default/web-0:80": 3}


def test_numbers_are_safe_in_any_json_reader() -> None:
    numbers = [int(number) for number in re.findall(r": (-?[0-9]+)[,\n]", to_json(REPORT, PODS))]
    assert numbers
    assert max(numbers) < 2**53


@given(st.text(st.characters(), max_size=30))
def test_any_name_survives(name: str) -> None:
    report = replace(REPORT, flows=(replace(PASSED, flow=flow(name)),))
    assert json.loads(to_json(report, PODS).encode().decode())["flows"][0]["name"] == name
    to_yaml(report, PODS).encode()


def test_every_field_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "report.md").read_text()
    fields = {
        name for part in (SCHEMA_FILE, *SCHEMA_FILE["$defs"].values()) for name in part.get("properties", {})
    }
    assert not {name for name in fields if f"`{name}`" not in text}


def test_rows_are_values_and_json_reads_no_text() -> None:
    """Changes no other field by a comma or a blank in a name, or by a port that a text would hide."""
    node = NodeRow(
        name="n", roles=("a, b",), addresses=("10.0.0.1",), pods=(PodRow("x (y), z", hostNetwork=True),)
    )
    service = ServiceRow(
        name="s", type="LoadBalancer", address="10.96.0.9", proxied=True, pending=True, endpoints=3
    )
    exported = to_dict(replace(REPORT, cluster=(node,), services=(service,)), PODS)
    assert exported["cluster"][0]["pods"] == ["x (y), z"]
    assert exported["services"] == [
        {
            "name": "s",
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.9",
            "externalIPs": ["<pending>"],
            "ports": [],
            "endpoints": 3,
        }
    ]


def test_json_is_the_same_in_pieces() -> None:
    for report in (REPORT, replace(REPORT, flows=())):
        assert "".join(json_pieces(report, PODS)) == dump_json(to_dict(report, PODS))
