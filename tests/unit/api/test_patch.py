"""Checks JSON patches, merge patches and strategic merges: directives, refusals, and that nothing else
changes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.api import patch
from emulator.api.resources import RESOURCES
from emulator.api.status import ApiError

KINDS = {one.kind: one for one in RESOURCES if one.apiVersion in ("v1", "apps/v1")}
POD = KINDS["Pod"]


def pod(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "finalizers": ["a", "b"]},
        "spec": spec,
    }


def strategic(current: dict[str, Any], body: Any) -> dict[str, Any]:
    return patch.apply_patch(patch.STRATEGIC_MERGE_PATCH, current, json.dumps(body).encode(), POD)


ROWS = [{"name": "c", "image": "x", "args": ["1"]}, {"name": "d", "image": "y"}]
NEW = {"name": "c", "image": "n"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": [{"name": "c", "image": "z"}]}, [{**ROWS[0], "image": "z"}, ROWS[1]]),
        ({"containers": [{"name": "c", "args": ["2", "3"]}]}, [{**ROWS[0], "args": ["2", "3"]}, ROWS[1]]),
        ({"containers": [{"name": "d", "$patch": "delete"}]}, [ROWS[0]]),
        ({"containers": [{"name": "e"}, {"$patch": "replace"}]}, [{"name": "e"}]),
        ({"containers": [{"name": "c", "$patch": "delete"}, NEW]}, [ROWS[1], NEW]),
        ({"$setElementOrder/containers": [{"name": "d"}, {"name": "c"}]}, [ROWS[1], ROWS[0]]),
        ({"containers": [{"name": "c", "image": None}]}, [{"name": "c", "args": ["1"]}, ROWS[1]]),
        ({"containers": None}, None),
    ],
)  # fmt: skip
def test_containers_are_merged_by_name(spec: dict[str, Any], expected: Any) -> None:
    merged = strategic(pod(containers=copy.deepcopy(ROWS)), {"spec": spec})
    rows = merged["spec"].get("containers")
    assert rows is None if expected is None else sorted(rows, key=str) == sorted(expected, key=str)
    if "$setElementOrder/containers" in spec:
        assert rows == expected


def test_lists_of_plain_values_are_sets_where_the_schema_says_so() -> None:
    merged = strategic(pod(), {"metadata": {"finalizers": ["b", "c"]}})
    assert sorted(merged["metadata"]["finalizers"]) == ["a", "b", "c"]
    merged = strategic(pod(), {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}})
    assert merged["metadata"]["finalizers"] == ["b"]


def test_keys_can_be_kept_and_maps_replaced() -> None:
    volumes = [{"name": "v", "emptyDir": {}}]
    said = [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}]
    assert strategic(pod(volumes=volumes), {"spec": {"volumes": said}})["spec"]["volumes"] == [
        {"name": "v", "secret": {"secretName": "s"}}
    ]
    current = pod(nodeSelector={"a": "1"})
    assert strategic(current, {"spec": {"nodeSelector": {"$patch": "replace", "b": "2"}}})["spec"] == {
        "nodeSelector": {"b": "2"}
    }
    assert current["spec"] == {"nodeSelector": {"a": "1"}}


JSON, MERGE, STRATEGIC = patch.JSON_PATCH, patch.MERGE_PATCH, patch.STRATEGIC_MERGE_PATCH
REJECTED = "the server rejected our request due to an error in our request"
UNREADABLE = "json: cannot unmarshal {} into Go value of type {}"
MAP = "map[string]interface {}"


@pytest.mark.parametrize(
    ("form", "body", "code", "message"),
    [
        (
            JSON,
            '{"a":1}',
            400,
            f"error decoding patch: {UNREADABLE.format('object', '[]handlers.jsonPatchOp')}",
        ),
        (JSON, "[", 400, "invalid JSON patch"),
        (JSON, '[{"op":"add"}]', 422, REJECTED),
        (JSON, '[{"op":"remove","path":"/spec/nope"}]', 422, REJECTED),
        (JSON, '[{"op":"add","path":"/spec/containers/9","value":{}}]', 422, REJECTED),
        (JSON, '[{"op":"bogus","path":"/spec"}]', 422, REJECTED),
        (MERGE, "[]", 400, f"error decoding patch: {UNREADABLE.format('array', MAP)}"),
        (MERGE, "null", 400, "Invalid JSON Patch"),
        (STRATEGIC, "[]", 400, UNREADABLE.format("array", MAP)),
        (
            STRATEGIC,
            '{"spec":{"containers":[{"image":"x"}]}}',
            500,
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (
            STRATEGIC,
            '{"spec":{"$patch":"bogus"}}',
            500,
            "unknown patch type: bogus in map: map[$patch:bogus]",
        ),
        (
            STRATEGIC,
            '{"spec":{"containers":[{"$patch":"bogus","name":"x"}]}}',
            500,
            "unknown patch type: bogus in map: map[$patch:bogus name:x]",
        ),
        (
            STRATEGIC,
            '{"spec":{"$setElementOrder/containers":[{"name":"q"}],"containers":[{"name":"x"}]}}',
            500,
            "The order in patch list:\n[map[name:x]]\n doesn't match $setElementOrder list:\n[map[name:q]]\n",
        ),
        (STRATEGIC, '{"spec":{"$retainKeys":"x"}}', 400, "invalid patch format of retainKeys"),
    ],
)
def test_refusals_are_worded_as_a_real_server_does(form: str, body: str, code: int, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        patch.apply_patch(form, pod(containers=copy.deepcopy(ROWS)), body.encode(), POD)
    assert (caught.value.code, caught.value.message) == (code, message)


def test_other_media_types_are_refused() -> None:
    with pytest.raises(ApiError) as caught:
        patch.apply_patch("text/plain", pod(), b"{}", POD)
    assert caught.value.code == 415


def test_a_custom_resource_has_no_strategic_merge() -> None:
    from dataclasses import replace

    custom = replace(POD, group="x.io", kind="X", schema={"type": "object"})
    with pytest.raises(ApiError) as caught:
        patch.apply_patch(patch.STRATEGIC_MERGE_PATCH, {"kind": "X"}, b"{}", custom)
    assert caught.value.code == 415
    assert "strategic" not in caught.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["spec", "containers", "name", "$patch", "$retainKeys", "$setElementOrder/containers", "env"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(st.sampled_from([patch.JSON_PATCH, patch.MERGE_PATCH, patch.STRATEGIC_MERGE_PATCH]), JSON)
def test_any_patch_gets_an_answer_and_spares_what_was(form: str, body: Any) -> None:
    current = pod(containers=copy.deepcopy(ROWS))
    before = copy.deepcopy(current)
    try:
        result = patch.apply_patch(form, current, json.dumps(body).encode(), POD)
    except ApiError as error:
        code = error.code
    else:
        code = 200
        assert isinstance(result, dict)
    assert code in (200, 400, 413, 422, 500)
    assert current == before


def test_a_json_patch_may_not_blow_a_document_up() -> None:
    doubling = [{"op": "copy", "from": "/data", "path": f"/data/{number}"} for number in range(40)]
    current = {"data": {"a": "x" * 100}}
    for operations, code in ((doubling, 422), ([{"op": "test", "path": "", "value": 1}] * 10_001, 413)):
        with pytest.raises(ApiError) as raised:
            patch.apply_patch(patch.JSON_PATCH, current, json.dumps(operations).encode(), RESOURCES[0])
        assert raised.value.code == code
    assert current == {"data": {"a": "x" * 100}}
