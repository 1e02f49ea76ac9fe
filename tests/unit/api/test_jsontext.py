"""Tests that JSON is read as Go reads it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.api.jsontext import parse, whole_letters

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_json_writes_is_read(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "[1e400]", "nan", "1."])
def test_numbers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse(text.encode())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"\ud800"', "\ufffd"),
        (r'"a\uDC00b"', "a\ufffdb"),
        (r'{"\ud800": ["\udbff"]}', {"\ufffd": ["\ufffd"]}),
        (r'"\ud83d\ude00"', "\U0001f600"),
    ],
)
def test_half_a_surrogate_pair_is_replaced(text: str, value: object) -> None:
    assert parse(text.encode()) == value
    assert whole_letters(value) == value
