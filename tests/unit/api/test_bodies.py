"""Tests how bodies are read, and the words for those that cannot be."""

from __future__ import annotations

import pytest

from emulator.api import bodies
from emulator.api.status import ApiError


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "unexpected end of JSON input"),
        (b'{"a": 1', "unexpected end of JSON input"),
        (b"apiVersion: v1", "invalid character 'a' looking for beginning of value"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b"{a: 1}", "invalid character 'a' looking for beginning of object key string"),
        (b"{} {}", "invalid character '{' after top-level value"),
        (b'{"a": "b\nc"}', "invalid character '\\n' in string literal"),
        (b'{"a": NaN}', "invalid character in literal NaN"),
        (b'{"a": "\xff"}', "can't decode byte"),
        (b"[" * 100_000, "exceeded max depth"),
        (b"1" * 10_000, "digits"),
    ],
)
def test_says_why_a_body_is_no_json(body: bytes, words: str) -> None:
    with pytest.raises(ApiError) as raised:
        bodies.decode(body, bodies.JSON, "Pod")
    assert raised.value.code == 400
    assert words in raised.value.message
    assert raised.value.message.startswith("the object provided is unrecognized (must be of type Pod): ")
