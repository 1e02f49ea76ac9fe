"""Reads the protobuf bodies that kubectl 1.32 and newer send with create, autoscale and auth can-i.

A body is ``k8s\\0`` and a runtime.Unknown, whose ``raw`` is the object; field numbers are those of the
structs' tags (``schemas``). Go writes all plain fields of a struct, empty ones too, so what its JSON leaves
out is left out here. Facts: k8s.io/apimachinery, pkg/runtime/serializer/protobuf/protobuf.go and
pkg/runtime/generated.proto; the encoding is https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any

from . import schemas, shapes
from .jsontext import parse
from .status import bad_request

Document = dict[str, Any]
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
DEEPEST = 100

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_RUNTIME = "io.k8s.apimachinery.pkg.runtime."
_LISTS = ("io.k8s.api.authorization.v1.ExtraValue", "io.k8s.api.authentication.v1.ExtraValue")
Wire = tuple[int, int, Any]  # number, wire type, value


class _MalformedError(Exception):
    """Says that bytes are no protobuf of the type."""


def decode(body: bytes) -> Document:
    """Returns the object of a body as JSON has it. Raises ApiError (400) if it is malformed or of an unknown
    kind."""
    if not body.startswith(MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix k8s\\0")
    try:
        envelope: dict[int, Any] = {number: value for number, _, value in _fields(body[len(MAGIC) :])}
        api_version, kind = _kind_of(envelope.get(1, b""))
        # the options of a deletion are of every group
        options = f"{_META}DeleteOptions" if kind == "DeleteOptions" else None
        name = options or schemas.definition_of(api_version, kind)
        if name is None:
            raise bad_request(
                f'no kind "{kind}" is registered for version "{api_version}" in scheme'
            ) from None
        found = _struct(_bytes(envelope.get(2, b"")), name, 0)
    except (_MalformedError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise bad_request(f"unable to decode the object: {error}") from None
    return shapes.written({"apiVersion": api_version, "kind": kind, **found})


def _kind_of(raw: Any) -> tuple[str, str]:
    """Returns apiVersion and kind of a TypeMeta of runtime."""
    found = {number: value for number, _, value in _fields(_bytes(raw))}
    return _text(found.get(1, b"")), _text(found.get(2, b""))


def _fields(raw: bytes) -> Iterator[Wire]:
    """Yields the fields of a message: integers of wire types 0, 1 and 5, bytes of 2."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(raw, at)
            yield number, wire, value
            continue
        if wire == 2:
            size, at = _varint(raw, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _MalformedError(f"illegal wireType {wire}")
        if number == 0 or at + size > len(raw):
            raise _MalformedError("unexpected EOF")
        piece = raw[at : at + size]
        at += size
        yield number, wire, piece


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(raw) or shift > 63:
            raise _MalformedError("unexpected EOF" if at >= len(raw) else "integer overflow")
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & (1 << 64) - 1, at


@cache
def _numbers(kind: str) -> dict[int, schemas.Field]:
    return {field.number: field for field in schemas.structs()[kind] if field.number}


def _struct(raw: bytes, kind: str, depth: int) -> Document:
    if depth > DEEPEST:
        raise _MalformedError("too deep")
    found: Document = {}
    known = _numbers(kind)
    for number, _, value in _fields(raw):
        field = known.get(number)
        if field is None:
            continue
        go_type = field.type.lstrip("*")
        plain = schemas.named().get(go_type, go_type)
        if go_type in _LISTS:  # a message that holds a list
            found[field.json] = [_text(item) for _, _, item in _fields(_bytes(value))]
        elif plain.startswith("[]") and plain not in ("[]byte", "[]uint8"):
            found.setdefault(field.json, []).append(_value(value, shapes.element_of(plain), depth))
        elif plain.startswith("map["):
            key, item = _entry(_bytes(value), shapes.element_of(plain), depth)
            found.setdefault(field.json, {})[key] = item
        elif not field.json:  # its fields stand among the owner's
            found.update(_struct(_bytes(value), go_type, depth + 1))
        else:
            decoded = _value(value, go_type, depth)
            if decoded is not None:
                found[field.json] = decoded
    return found


def _entry(raw: bytes, kind: str, depth: int) -> tuple[str, Any]:
    parts = {number: value for number, _, value in _fields(raw)}
    empty: Any = 0 if kind in ("bool", "int32", "int64") else b""
    if kind in _LISTS:
        return _text(parts.get(1, b"")), [_text(item) for _, _, item in _fields(_bytes(parts.get(2, b"")))]
    return _text(parts.get(1, b"")), _value(parts.get(2, empty), kind, depth)


def _value(value: Any, kind: str, depth: int) -> Any:
    """Returns a field's value as JSON has it, None if JSON has nothing for it (a zero time)."""
    plain = schemas.named().get(kind, kind)
    if plain == "bool":
        return bool(_int(value))
    if plain in ("int32", "int64", "int"):
        number = _int(value)
        return number - (1 << 64) if number >> 63 else number
    if plain in ("uint32", "uint64", "byte"):
        return _int(value)
    if plain == "float64":
        import struct

        return struct.unpack("<d", _bytes(value))[0]
    raw = _bytes(value)
    if plain in ("[]byte", "[]uint8"):
        return base64.b64encode(raw).decode()
    if plain in schemas.structs() and not plain.endswith(".JSON"):
        return _struct(raw, plain, depth + 1)
    if plain.endswith("intstr.IntOrString"):
        return _int_or_string(raw)
    if plain == "io.k8s.apimachinery.pkg.api.resource.Quantity":
        return "".join(_text(item) for number, _, item in _fields(raw) if number == 1) or "0"
    if plain in (f"{_META}Time", f"{_META}MicroTime"):
        return _time(raw, micro=plain.endswith("MicroTime"))
    if plain in (f"{_RUNTIME}RawExtension", f"{_META}FieldsV1") or plain.endswith(".JSON"):
        pieces = [item for number, _, item in _fields(raw) if number == 1]
        return parse(_bytes(pieces[0])) if pieces and pieces[0] else None
    return _text(raw)


def _int_or_string(raw: bytes) -> int | str:
    parts = {number: value for number, _, value in _fields(raw)}
    if parts.get(1, 0) == 1:
        return _text(parts.get(3, b""))
    number = _int(parts.get(2, 0))
    return number - (1 << 64) if number >> 63 else number


def _time(raw: bytes, *, micro: bool) -> str | None:
    parts = {number: value for number, _, value in _fields(raw)}
    if not parts:
        return None
    seconds = _int(parts.get(1, 0))
    seconds -= 1 << 64 if seconds >> 63 else 0
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{_int(parts.get(2, 0)) // 1000:06}Z" if micro else f"{text}Z"


def _int(value: Any) -> int:
    if not isinstance(value, int):
        raise _MalformedError("wrong wireType")
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise _MalformedError("wrong wireType")
    return value


def _text(value: Any) -> str:
    return _bytes(value).decode()
