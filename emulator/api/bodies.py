"""Reads the body of a request: JSON, YAML or Kubernetes' protobuf, as the media type says.

A body is data of anybody: whatever it is, the result is one JSON object, or an ApiError.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import yaml

from . import protobuf, status
from .jsontext import parse, whole_letters

JSON, YAML = "application/json", "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
ACCEPTED = (JSON, YAML, PROTOBUF)
DEEPEST = 200  # levels; Kubernetes' own kinds have about 20
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _MalformedError(ValueError):
    """Says why a body is no JSON."""


def decode(body: bytes, media: str, kind: str = "") -> dict[str, Any]:
    """Returns the object in ``body``, of media type ``media`` ("": JSON). ``kind`` is the kind that it should
    have. Raises ApiError.
    """
    if media in ("", JSON):
        try:
            found = _json(body)
        except _MalformedError as error:
            what = f"couldn't get version/kind; json parse error: {error}"
            if kind:
                start = f"{body[:30].hex()}{' ...' if len(body) > 30 else ''}"
                what = f"the object provided is unrecognized (must be of type {kind}): {what} ({start})"
            raise status.bad_request(what) from None
    elif media in (YAML, "application/apply-patch+yaml"):
        found = _yaml(body)
    elif media == PROTOBUF:
        found = protobuf.decode(body)
    else:
        raise status.unsupported_media_type(ACCEPTED)
    if not isinstance(found, dict):
        raise status.bad_request(
            "couldn't get version/kind; json parse error: json: cannot unmarshal "
            f"{_go_kind(found)} into Go value of type struct"
        )
    if not within(found, DEEPEST):
        raise status.bad_request(f"the body is nested more than {DEEPEST} levels deep")
    return found


def _json(body: bytes) -> Any:
    if not body.strip():
        raise _MalformedError("unexpected end of JSON input")
    try:
        return parse(body)
    except RecursionError:
        raise _MalformedError("exceeded max depth") from None
    except json.JSONDecodeError as error:
        raise _MalformedError(_complaint(error)) from None
    except ValueError as error:  # no UTF-8, or a number of too many digits
        raise _MalformedError(str(error)) from None


# the words of Python's decoder, and of Go's (encoding/json, scanner.go)
_COMPLAINTS = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Extra data": "after top-level value",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
}


def _complaint(error: json.JSONDecodeError) -> str:
    """Returns Go's error message for a text that is no JSON."""
    if error.pos >= len(error.doc) or error.msg.startswith("Unterminated"):
        return "unexpected end of JSON input"
    where = next((words for start, words in _COMPLAINTS.items() if error.msg.startswith(start)), "in value")
    letter = error.doc[error.pos]
    return f"invalid character {_quoted(letter)} {where}"


def _quoted(letter: str) -> str:
    if letter in "'\\":
        return f"'\\{letter}'"
    if letter == '"':
        return "'\"'"
    return f"'{letter}'" if letter.isprintable() else repr(letter)


def _yaml(body: bytes) -> Any:
    """Returns a YAML document as JSON has it: no aliases, keys that are text, times as text."""
    try:
        text = body.decode()
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_Loader)):
            raise status.bad_request("error decoding YAML: aliases are not taken")
        return _plain(yaml.load(text, Loader=_NoTimes))  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        what = " ".join(str(error).split())[:300]
        raise status.bad_request(f"error decoding YAML: {what}") from None


class _NoTimes(_Loader):  # type: ignore[misc,valid-type]
    """Loads times as the text that they are."""


_NoTimes.yaml_implicit_resolvers = {
    letter: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for letter, pairs in _Loader.yaml_implicit_resolvers.items()
}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no JSON")
    if isinstance(value, str):
        return whole_letters(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    raise ValueError(f"a value of type {type(value).__name__} is no JSON")


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str | int | float):
        return str(whole_letters(key))
    raise ValueError("a key is no text")


def within(value: Any, depth: int) -> bool:
    """Returns whether ``value`` is nested at most ``depth`` levels."""
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return True
    return False


def _go_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, list):
        return "array"
    return "string" if isinstance(value, str) else "null"


def as_yaml(document: Mapping[str, Any]) -> bytes:
    """Returns a document as YAML."""
    return yaml.safe_dump(json.loads(json.dumps(document)), sort_keys=False).encode()
