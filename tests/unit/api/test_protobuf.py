"""Checks protobuf bodies: what kubectl 1.37.1 sent, byte for byte, and that any other bytes are refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.api import protobuf
from emulator.api.shapes import written
from emulator.api.status import ApiError

GOLDEN = Path(__file__).parents[2] / "golden/kubectl-bodies/v1.37.1.json"
BODIES = json.loads(GOLDEN.read_text())["bodies"]
RAW = [base64.b64decode(row["body"]) for row in BODIES]


@pytest.mark.parametrize("row", BODIES, ids=lambda row: row["command"])
def test_a_body_of_kubectl_is_the_object_that_it_prints(row: dict[str, Any]) -> None:
    """Compares the written forms, since the golden file has no fields whose value is null."""
    assert protobuf.decode(base64.b64decode(row["body"])) == written(row["document"])


@pytest.mark.parametrize("body", [b"", b"{}", b"k8s\x00", b"k8s\x00\x0a\xff", RAW[0][:-3]], ids=repr)
def test_other_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        protobuf.decode(body)
    assert caught.value.code == 400


def test_an_unknown_kind_is_refused() -> None:
    body = RAW[0].replace(b"Namespace", b"Nameplace", 1)
    with pytest.raises(ApiError, match=r'no kind "Nameplace" is registered for version "v1"'):
        protobuf.decode(body)


@given(
    st.sampled_from(RAW),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    st.integers(0, 500),
)
def test_damaged_bodies_get_an_answer(raw: bytes, changes: list[tuple[int, int]], length: int) -> None:
    damaged = bytearray(raw[: max(4, length)])
    for at, value in changes:
        if 4 <= at < len(damaged):
            damaged[at] = value
    try:
        document = protobuf.decode(bytes(damaged))
    except ApiError as error:
        code = error.code
    else:
        code = 400
        json.dumps(document)
    assert code == 400


def test_deep_nesting_is_refused() -> None:
    def field(number: int, raw: bytes) -> bytes:
        size = len(raw)
        head = bytearray([number << 3 | 2])
        while size > 0x7F:
            head.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes(head) + bytes([size]) + raw

    schema = b""
    for _ in range(300):
        schema = bytes([0xD2, 0x01]) + field(1, schema)[1:]  # field 26, oneOf
    definition = field(2, field(7, field(1, b"v1") + field(4, field(1, schema))))
    kind = field(1, b"apiextensions.k8s.io/v1") + field(2, b"CustomResourceDefinition")
    with pytest.raises(ApiError, match="too deep"):
        protobuf.decode(b"k8s\x00" + field(1, kind) + field(2, definition))


def test_options_of_a_deletion_are_of_every_group() -> None:
    """Reads what helm deletes its releases with."""
    kind = b"\x0a\x02v1\x12\x0dDeleteOptions"
    options = b"\x08\x05\x22\x0aForeground"
    body = b"k8s\0" + bytes((0x0A, len(kind))) + kind + bytes((0x12, len(options))) + options
    assert protobuf.decode(body) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 5,
        "propagationPolicy": "Foreground",
    }
