"""Checks sets of field paths: FieldsV1 and back, and the words for a path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.api import fieldsets

ELEMENTS = st.one_of(
    st.text(min_size=1, max_size=4).map(fieldsets.field),
    st.dictionaries(
        st.sampled_from(["name", "port", "protocol"]), st.integers() | st.text(max_size=3), min_size=1
    ).map(fieldsets.keyed),
    (st.integers() | st.text(max_size=3) | st.booleans()).map(fieldsets.valued),
)
PATHS = st.frozensets(st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=12)


@given(PATHS)
def test_fields_hold_a_set(paths: fieldsets.Paths) -> None:
    assert fieldsets.from_fields(fieldsets.to_fields(paths)) == paths


def test_a_member_with_members_below_has_a_dot() -> None:
    paths = {("f:metadata", "f:labels"), ("f:metadata", "f:labels", "f:app")}
    assert fieldsets.to_fields(paths) == {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}}


def test_a_path_in_words() -> None:
    path = ("f:spec", "f:ports", fieldsets.keyed({"protocol": "TCP", "port": 80}), "f:name")
    assert fieldsets.path_text(path) == '.spec.ports[port=80,protocol="TCP"].name'
    assert (
        fieldsets.path_text(("f:metadata", "f:finalizers", fieldsets.valued("a/b")))
        == '.metadata.finalizers[="a/b"]'
    )


@pytest.mark.parametrize("fields", [{"spec": {}}, {"f:spec": 5}, {"k:5": {}}, {"v:{": {}}, [], {"x:y": {}}])
def test_malformed_fields_are_refused(fields: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        fieldsets.from_fields(fields)


def test_prefixes_are_cut() -> None:
    paths = frozenset({("f:status",), ("f:status", "f:replicas"), ("f:spec", "f:status")})
    assert fieldsets.without(paths, [("f:status",)]) == {("f:spec", "f:status")}
