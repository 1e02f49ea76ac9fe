"""Checks managed fields and server-side apply: owners, conflicts, removal, and that applying twice is
once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.api import fieldsets, managed
from emulator.api.managed import Write
from emulator.api.status import ApiError

NOW, LATER = "2026-12-01T12:00:00Z", "2026-12-01T12:00:09Z"


def deployment(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


def containers(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"template": {"spec": {"containers": list(rows)}}}


def stored(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "metadata": {"uid": "u", **document["metadata"]}}


def owned(document: dict[str, Any], manager: str) -> dict[str, Any]:
    rows = [row for row in document["metadata"].get("managedFields", []) if row["manager"] == manager]
    return rows[0]["fieldsV1"] if rows else {}


def test_a_create_owns_what_it_says() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "labels": {"a": "b"}},
        "spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]},
    }
    result = managed.update(None, service, Write("kubectl-create", NOW))
    (row,) = result["metadata"]["managedFields"]
    assert row == {
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {
                "f:ports": {
                    ".": {},
                    'k:{"port":80,"protocol":"TCP"}': {
                        ".": {},
                        "f:port": {},
                        "f:protocol": {},
                        "f:targetPort": {},
                    },
                }
            },
        },
        "manager": "kubectl-create",
        "operation": "Update",
        "time": NOW,
    }
    assert service["metadata"] == {"name": "s", "labels": {"a": "b"}}, "the client's document is not changed"


def test_an_update_takes_what_it_changes() -> None:
    live = stored(managed.update(None, deployment(replicas=1, paused=True), Write("a", NOW)))
    new = copy.deepcopy(live)
    new["spec"]["replicas"] = 2
    result = managed.update(live, new, Write("b", LATER))
    assert owned(result, "a") == {"f:spec": {"f:paused": {}}}
    assert owned(result, "b") == {"f:spec": {"f:replicas": {}}}
    assert [row["time"] for row in result["metadata"]["managedFields"]] == [NOW, LATER]
    again = managed.update(result, copy.deepcopy(result), Write("c", LATER))
    assert again["metadata"]["managedFields"] == result["metadata"]["managedFields"]


def test_a_conflict_names_field_and_manager() -> None:
    live = stored(managed.update(None, deployment(replicas=1), Write("kubectl-client-side-apply", NOW)))
    with pytest.raises(ApiError) as caught:
        managed.apply(live, deployment(replicas=2), Write("me", LATER))
    said = 'conflict with "kubectl-client-side-apply" using apps/v1'
    assert caught.value.code == 409
    assert caught.value.message == f"Apply failed with 1 conflict: {said}: .spec.replicas"
    assert caught.value.causes == (("FieldManagerConflict", said, ".spec.replicas"),)
    forced = managed.apply(live, deployment(replicas=2), Write("me", LATER), force=True)
    assert forced["spec"]["replicas"] == 2
    assert owned(forced, "kubectl-client-side-apply") == {}
    assert owned(forced, "me") == {"f:spec": {"f:replicas": {}}}


def test_what_nobody_applies_any_more_goes() -> None:
    one = containers({"name": "c", "image": "x"})
    two = containers({"name": "c", "image": "x"}, {"name": "e", "image": "y"})
    live = stored(managed.apply(None, deployment(**two), Write("a", NOW)))
    live = managed.apply(live, deployment(**one), Write("b", NOW))
    live = managed.apply(live, deployment(**one), Write("a", LATER))
    assert [row["name"] for row in live["spec"]["template"]["spec"]["containers"]] == ["c"]
    live = managed.apply(live, deployment(), Write("a", LATER))
    assert [row["name"] for row in live["spec"]["template"]["spec"]["containers"]] == ["c"], "b owns it, too"
    live = managed.apply(live, deployment(), Write("b", LATER))
    assert not live["spec"].get("template", {}).get("spec", {}).get("containers")


def test_kubectl_takes_over_what_it_applied_before() -> None:
    said = '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":1}}'
    old = deployment(replicas=1)
    old["metadata"]["annotations"] = {managed.LAST_APPLIED: said}
    live = stored(managed.update(None, old, Write("kubectl-client-side-apply", NOW)))
    result = managed.apply(live, deployment(replicas=2), Write("kubectl", LATER))
    assert result["spec"]["replicas"] == 2
    assert '"replicas":2' in result["metadata"]["annotations"][managed.LAST_APPLIED]
    with pytest.raises(ApiError):
        managed.apply(live, deployment(replicas=2), Write("other", LATER))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"foo": 1}, ".spec.foo: field not declared in schema"),
        ({"replicas": "x"}, ".spec.replicas: expected numeric (int or float), got string"),
        (
            containers({"name": "x"}, {"name": "x"}),
            '.spec.template.spec.containers: duplicate entries for key [name="x"]',
        ),
        ({"template": {"spec": "x"}}, ".spec.template.spec: expected map, got &{x}"),
    ],
)
def test_what_does_not_fit_is_said_as_kube_apiserver_does(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ApiError) as caught:
        managed.apply(None, deployment(**spec), Write("me", NOW))
    assert (
        caught.value.message == f"failed to create typed patch object (/d; apps/v1, Kind=Deployment): {said}"
    )


def test_status_and_spec_are_written_apart() -> None:
    live = stored(managed.update(None, deployment(replicas=1), Write("a", NOW)))
    new = {**copy.deepcopy(live), "status": {"replicas": 1}}
    new["spec"]["replicas"] = 5
    result = managed.update(live, new, Write("controller", LATER, "status"))
    assert owned(result, "controller") == {"f:status": {"f:replicas": {}}}
    assert owned(result, "a") == {"f:spec": {"f:replicas": {}}}
    assert owned(managed.update(live, new, Write("b", LATER)), "b") == {"f:spec": {"f:replicas": {}}}


def test_a_custom_resource_by_its_schema_and_without() -> None:
    item = {"type": "object", "properties": {"name": {"type": "string"}, "v": {"type": "integer"}}}
    listed = {
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"rows": listed}}}}

    def row(**values: Any) -> dict[str, Any]:
        return {"apiVersion": "x.io/v1", "kind": "X", "metadata": {"name": "x"}, "spec": {"rows": [values]}}

    live = stored(managed.apply(None, row(name="a", v=1), Write("one", NOW, schema=schema)))
    live = managed.apply(live, row(name="b", v=2), Write("two", NOW, schema=schema))
    assert [item["name"] for item in live["spec"]["rows"]] == ["a", "b"]
    loose = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    live = stored(managed.apply(None, row(name="a", v=1), Write("one", NOW, schema=loose)))
    with pytest.raises(ApiError, match=r"\.spec\.rows"):
        managed.apply(live, row(name="b", v=2), Write("two", NOW, schema=loose))


def test_managed_fields_can_be_reset_and_are_not_applied() -> None:
    live = stored(managed.update(None, deployment(replicas=1), Write("a", NOW)))
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"] = [{}]
    assert "managedFields" not in managed.update(live, new, Write("b", LATER))["metadata"]
    with pytest.raises(ApiError, match=r"metadata\.managedFields must be nil"):
        managed.apply(
            live, {**deployment(), "metadata": {"name": "d", "managedFields": []}}, Write("b", LATER)
        )


def test_old_updates_are_joined() -> None:
    live = stored(managed.update(None, deployment(replicas=0), Write("m0", NOW)))
    for number in range(1, 14):
        new = copy.deepcopy(live)
        new["metadata"].setdefault("labels", {})[f"l{number}"] = "x"
        live = managed.update(live, new, Write(f"m{number}", f"2026-12-01T12:00:{number:02}Z"))
    names = [row["manager"] for row in live["metadata"]["managedFields"]]
    assert len(names) == managed.MOST_UPDATERS
    assert managed.ANCIENT in names


LEAVES = st.fixed_dictionaries(
    {"progressDeadlineSeconds": st.just(600)},  # a default: no spec is empty
    optional={
        "replicas": st.integers(0, 3),
        "paused": st.booleans(),
        "minReadySeconds": st.integers(0, 3),
        "template": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from("abc")},
                optional={"image": st.sampled_from("xyz"), "tty": st.booleans()},
            ),
            unique_by=lambda row: row["name"],
            min_size=1,
            max_size=3,
        ).map(lambda rows: {"spec": {"containers": rows}}),
    },
)
STEPS = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), LEAVES, st.booleans()), min_size=1, max_size=6)


@given(STEPS)
def test_applying_twice_is_applying_once(steps: list[tuple[str, dict[str, Any], bool]]) -> None:
    live: dict[str, Any] | None = None
    for manager, spec, force in steps:
        try:
            live = stored(
                managed.apply(live, deployment(**copy.deepcopy(spec)), Write(manager, NOW), force=force)
            )
        except ApiError as error:
            refused = (error.code, force)
        else:
            refused = None
        if refused is not None:
            assert refused == (409, False)
            continue
        again = managed.apply(live, deployment(**copy.deepcopy(spec)), Write(manager, LATER))
        assert again == live
        for row in live["metadata"].get("managedFields", []):
            assert fieldsets.from_fields(row["fieldsV1"]), "an owner of nothing is no owner"


@given(LEAVES, LEAVES)
def test_what_one_alone_applied_goes_with_it(mine: dict[str, Any], others: dict[str, Any]) -> None:
    live = stored(managed.apply(None, deployment(**copy.deepcopy(others)), Write("b", NOW)))
    try:
        both = managed.apply(live, deployment(**copy.deepcopy(mine)), Write("a", NOW))
    except ApiError:
        return
    left = managed.apply(both, deployment(), Write("a", LATER))
    assert owned(left, "b") == owned(live, "b")
    assert owned(left, "a") == {"f:spec": {}}
    for name in ("replicas", "paused", "minReadySeconds"):
        assert (left["spec"].get(name) or 0) == (others.get(name) or 0)


@given(LEAVES, LEAVES)
def test_updates_never_share_a_field(first: dict[str, Any], second: dict[str, Any]) -> None:
    live = stored(managed.update(None, deployment(**first), Write("a", NOW)))
    result = managed.update(live, stored(deployment(**second)), Write("b", LATER))
    rows = [fieldsets.from_fields(row["fieldsV1"]) for row in result["metadata"].get("managedFields", [])]
    assert len(frozenset().union(*rows)) == sum(map(len, rows))
