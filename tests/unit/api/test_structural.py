from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.api.structural import fill, prune, validate, wrong_patterns

SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 9},
        "mode": {"type": "string", "enum": ["fast", "safe"], "default": "safe"},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5, "minLength": 2},
        "port": {"x-kubernetes-int-or-string": True},
        "tags": {
            "type": "array",
            "maxItems": 2,
            "items": {"type": "string"},
            "x-kubernetes-list-type": "set",
        },
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "when": {"type": "string", "format": "date-time"},
        "maybe": {"type": "string", "nullable": True},
        "pick": {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
    },
}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"spec": SPEC}}


def told(spec: Any) -> list[str]:
    return [f"{one.field}: {one.message}" for one in validate({"spec": spec}, SCHEMA)]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "spec.size: Required value"),
        (
            {"size": "3"},
            'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"',
        ),
        ({"size": 0}, "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        ({"size": 10}, "spec.size: Invalid value: 10: spec.size in body should be less than or equal to 9"),
        (
            {"size": 1, "mode": "odd"},
            'spec.mode: Unsupported value: "odd": supported values: "fast", "safe"',
        ),
        (
            {"size": 1, "name": "ABC"},
            "spec.name: Invalid value: \"ABC\": spec.name in body should match '^[a-z]+$'",
        ),
        ({"size": 1, "name": "abcdef"}, "spec.name: Too long: may not be more than 5 bytes"),
        (
            {"size": 1, "name": "a"},
            'spec.name: Invalid value: "a": spec.name in body should be at least 2 chars long',
        ),
        (
            {"size": 1, "port": 1.5},
            'spec.port: Invalid value: "number": spec.port in body must be of type integer,string: "number"',
        ),
        ({"size": 1, "tags": ["a", "b", "c"]}, "spec.tags: Too many: 3: must have at most 2 items"),
        ({"size": 1, "tags": ["a", "a"]}, 'spec.tags[1]: Duplicate value: "a"'),
        (
            {"size": 1, "labels": {"a": 1}},
            'spec.labels.a: Invalid value: "integer": spec.labels.a in body must be of type string: '
            '"integer"',
        ),
        (
            {"size": 1, "when": "noon"},
            'spec.when: Invalid value: "noon": spec.when in body must be of type date-time: "noon"',
        ),
        (
            {"size": True},
            'spec.size: Invalid value: "boolean": spec.size in body must be of type integer: "boolean"',
        ),
        (
            {"size": 1, "pick": {"a": 1, "b": 2}},
            'spec.pick: Invalid value: {"a":1,"b":2}: spec.pick in body must validate one and only one schema'
            " (oneOf). Found 2 valid alternatives",
        ),
    ],
)
def test_fault_is_told_in_the_words_of_kubernetes(spec: Any, message: str) -> None:
    assert told(spec) == [message]


def test_what_the_schema_allows_has_no_fault() -> None:
    spec = {
        "size": 1.0,
        "mode": "fast",
        "name": "abc",
        "port": "http",
        "tags": ["a"],
        "free": {"x": [1]},
        "when": "2026-12-01T12:00:00Z",
        "maybe": None,
        "pick": {"a": 1},
    }
    assert told(spec) == []


def test_unknown_fields_go_but_for_those_that_are_kept() -> None:
    document = {
        "apiVersion": "x/v1",
        "kind": "X",
        "metadata": {"name": "a", "odd": 1},
        "spec": {"size": 1, "sise": 2, "free": {"any": {"x": 1}}, "labels": {"a": "b"}},
        "more": 1,
    }
    assert prune(document, SCHEMA) == ["spec.sise", "more"]
    assert document["spec"] == {"size": 1, "free": {"any": {"x": 1}}, "labels": {"a": "b"}}
    assert document["metadata"] == {"name": "a", "odd": 1}


def test_defaults_are_filled_in_where_nothing_is() -> None:
    document = {"spec": {"size": 1, "mode": None}}
    fill(document, SCHEMA)
    assert document == {"spec": {"size": 1, "mode": "safe"}}
    other: dict[str, Any] = {}
    fill(other, SCHEMA)
    assert other == {}


def test_default_is_a_copy() -> None:
    schema = {"properties": {"a": {"default": {"b": []}}}}
    one: dict[str, Any] = {}
    fill(one, schema)
    one["a"]["b"].append(1)
    other: dict[str, Any] = {}
    fill(other, schema)
    assert other == {"a": {"b": []}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*SPEC, *SPEC["properties"], "items", "spec", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON, st.dictionaries(st.sampled_from([*SPEC, "items", "enum", "anyOf", "default", "not"]), JSON))
def test_any_schema_and_any_object_are_no_exception(value: Any, schema: Any) -> None:
    for one in (schema, SCHEMA):
        document = {"spec": value}
        fill(document, one)
        validate(document, one)
        prune(document, one)


@given(JSON)
def test_what_is_pruned_stays_pruned(value: Any) -> None:
    document = {"spec": value}
    prune(document, SCHEMA)
    assert prune(document, SCHEMA) == []


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("(a+)+$", "a" * 100_000 + "!", False),  # takes Python's re for ever
        ("(a|aa)+$", "a" * 100_000 + "!", False),
        ("^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 100_000, False),
        (r"^\pL+$", "é" * 10, True),
        ("(?i)^abc$", "ABC", True),
    ],
)
def test_no_pattern_takes_long(pattern: str, text: str, fits: bool) -> None:
    since = time.perf_counter()
    assert (validate({"x": text}, {"properties": {"x": {"pattern": pattern}}}) == []) is fits
    assert time.perf_counter() - since < 2


@pytest.mark.parametrize(
    "pattern", ["(", "(?=x)", "(a{1000}){1000}", r"(a)\1", "a**", "((((a{99}){99}){99}){9})"]
)
def test_patterns_that_re2_does_not_take_are_told(pattern: str) -> None:
    schema = {"properties": {"x": {"items": {"anyOf": [{"pattern": pattern}]}}}}
    (found,) = wrong_patterns(schema, "schema")
    assert found.field == "schema.properties[x].items.anyOf[0].pattern"
    assert "must be a valid regular expression, but isn't" in found.message


def test_a_long_set_takes_time_in_proportion() -> None:
    since = time.perf_counter()
    schema = {"properties": {"x": {"x-kubernetes-list-type": "set"}}}
    assert validate({"x": [*range(100_000)]}, schema) == []
    assert time.perf_counter() - since < 5
