"""Checks unknown, duplicate and wrongly typed fields against the words of a real kube-apiserver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from emulator.api import fields, patch
from emulator.api.resources import RESOURCES
from emulator.api.status import ApiError

GOLDEN = Path(__file__).parents[2] / "golden/apiserver/fields.json"
CASES = json.loads(GOLDEN.read_text())["cases"]
CORE = {one.kind: one for one in RESOURCES if one.apiVersion == "v1"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['kind']}-{case['how']}")
def test_the_words_are_those_of_a_real_server(case: dict[str, Any]) -> None:
    raw = case["raw"]
    body = json.loads(raw) if raw.startswith("{") else yaml.safe_load(raw)
    if case["message"]:
        with pytest.raises(ApiError) as caught:
            fields.check(body, case["how"], CORE[case["kind"]], raw.encode())
        assert (caught.value.code, caught.value.message) == (400, case["message"])
    else:
        assert list(fields.check(body, case["how"], CORE[case["kind"]], raw.encode())) == case["warnings"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"spec": {"priority": "x"}}, "unrecognized type: int32"),
        ({"spec": {"containers": {"image": "x"}}}, "cannot restore slice from map"),
        ({"spec": {"foo": 1}}, 'strict decoding error: unknown field "spec.foo"'),
    ],
)
def test_a_strategic_merge_is_quoted_with_what_is_wrong(body: dict[str, Any], said: str) -> None:
    raw = json.dumps(body).encode()
    with pytest.raises(ApiError) as caught:
        fields.check_patched(patch.STRATEGIC_MERGE_PATCH, raw, body, "Strict", CORE["Pod"])
    assert caught.value.code == 422
    assert caught.value.message.startswith(' "" is invalid: patch: Invalid value: "map[spec:map[')
    assert caught.value.message.endswith(f']": {said}')


def test_a_merge_patch_is_quoted_as_what_it_makes() -> None:
    made = {"spec": {"priority": "x"}}
    with pytest.raises(ApiError) as caught:
        fields.check_patched(patch.MERGE_PATCH, b"{}", made, "Ignore", CORE["Pod"])
    assert caught.value.message == (
        ' "" is invalid: patch: Invalid value: "{\\"spec\\":{\\"priority\\":\\"x\\"}}": json: cannot'
        " unmarshal string into Go struct field PodSpec.spec.priority of type int32"
    )
    warned = fields.check_patched(patch.MERGE_PATCH, b'{"a":1,"a":2}', {"a": 2}, "Warn", CORE["Pod"])
    assert warned == ('duplicate field "a"', 'unknown field "a"')


def test_a_custom_resource_may_have_duplicates_named() -> None:
    assert fields.duplicates(b'{"spec": {"a": 1, "a": [{"b": 1, "b": 2}]}}') == [
        'duplicate field "spec.a[0].b"',
        'duplicate field "spec.a"',
    ]
    assert fields.duplicates(b"a: 1\na: 2\n") == ['line 2: key "a" already set in map']
    assert fields.duplicates(b"{") == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "spec", "containers", "ports", "name", "labels", "selector", "limits", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(["Pod", "Service", "Secret", "Node"]),
    st.dictionaries(st.sampled_from(["metadata", "spec", "y"]), JSON),
)
def test_any_body_gets_an_answer(kind: str, body: dict[str, Any]) -> None:
    try:
        warnings = fields.check(body, "Warn", CORE[kind], json.dumps(body).encode())
    except ApiError as error:
        said = error
        assert said.code == 400
    else:
        assert all("field" in warning for warning in warnings)
