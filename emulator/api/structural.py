"""Checks objects of custom resources by their schema, as an API server does: structural schemas of
CustomResourceDefinitions (kubernetes.io/docs, "Specifying a structural schema").

A schema is data that a user wrote: a part of it that is no schema says nothing. CEL rules
(x-kubernetes-validations) are not evaluated. Patterns are RE2's, as in Kubernetes: whatever the pattern, a
match takes time in proportion to the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from ..net import AddressError, family_of, parse_sloppy_prefix

Schema: TypeAlias = Mapping[str, Any]
_ROOT = frozenset({"apiVersion", "kind", "metadata"})
_MOST = 100  # violations that are told
_MOST_MEMORY = 1 << 20  # bytes of a compiled pattern


class Violation(NamedTuple):
    """Describes a fault: ``reason`` as in a Status' causes, ``message`` without the field."""

    field: str
    reason: str
    message: str


# --- unknown fields and defaults --------------------------------------------------------------------------


def prune(document: dict[str, Any], schema: Schema) -> list[str]:
    """Removes the fields that ``schema`` does not know, and returns their paths."""
    unknown: list[str] = []
    _prune(document, schema, "", unknown, root=True)
    return unknown


def _prune(value: Any, schema: Schema, path: str, unknown: list[str], *, root: bool = False) -> None:
    if isinstance(value, list):
        items = _schema(schema.get("items"))
        for index, item in enumerate(value):
            _prune(item, items, f"{path}[{index}]", unknown)
    if not isinstance(value, dict):
        return
    properties = _mapping(schema.get("properties"))
    rest = schema.get("additionalProperties")
    keeps = schema.get("x-kubernetes-preserve-unknown-fields") is True
    named = _ROOT if root or schema.get("x-kubernetes-embedded-resource") is True else frozenset()
    for key in [*value]:
        inner = f"{path}.{key}" if path else str(key)
        if key in properties:
            if not (key == "metadata" and named):
                _prune(value[key], _schema(properties[key]), inner, unknown)
        elif key in named:
            continue
        elif rest is not None and rest is not False:
            _prune(value[key], _schema(rest), inner, unknown)
        elif not keeps:
            del value[key]
            unknown.append(inner)


def fill(value: Any, schema: Schema) -> None:
    """Fills in the schema's defaults: of fields that are not there, and of those that are null and may not
    be.
    """
    if isinstance(value, dict):
        properties = _mapping(schema.get("properties"))
        for key, inner in properties.items():
            one = _schema(inner)
            if "default" in one and (
                key not in value or (value[key] is None and one.get("nullable") is not True)
            ):
                value[key] = json.loads(json.dumps(one["default"]))
            if key in value:
                fill(value[key], one)
        rest = schema.get("additionalProperties")
        if isinstance(rest, Mapping):
            for key in value.keys() - properties.keys():
                fill(value[key], rest)
    elif isinstance(value, list):
        for item in value:
            fill(item, _schema(schema.get("items")))


# --- validation -------------------------------------------------------------------------------------------


def validate(document: Mapping[str, Any], schema: Schema) -> list[Violation]:
    """Returns what ``schema`` forbids of ``document``, in the words of kube-apiserver; at most 100."""
    found: list[Violation] = []
    for one in _violations(document, schema, ""):
        if one not in found:
            found.append(one)
        if len(found) == _MOST:
            break
    return found


def _violations(value: Any, schema: Schema, path: str) -> Iterator[Violation]:
    if value is None and (schema.get("nullable") is True or "type" not in schema):
        return
    wanted = schema.get("type")
    if schema.get("x-kubernetes-int-or-string") is True:
        if not _is_a(value, "integer") and not isinstance(value, str):
            yield _wrong_type(value, path, "integer,string")
            return
    elif isinstance(wanted, str) and not _is_a(value, wanted):
        yield _wrong_type(value, path, wanted)
        return
    allowed = schema.get("enum")
    if isinstance(allowed, list) and not any(_same(value, one) for one in allowed):
        values = ", ".join(_shown(one) for one in allowed)
        yield Violation(
            path,
            "FieldValueNotSupported",
            f"Unsupported value: {_shown(value)}: supported values: {values}",
        )
    if isinstance(value, bool):
        pass
    elif isinstance(value, int | float):
        yield from _of_number(value, schema, path)
    elif isinstance(value, str):
        yield from _of_text(value, schema, path)
    elif isinstance(value, list):
        yield from _of_list(value, schema, path)
    elif isinstance(value, Mapping):
        yield from _of_object(value, schema, path)
    yield from _of_alternatives(value, schema, path)


def _of_number(value: float, schema: Schema, path: str) -> Iterator[Violation]:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if _is_number(lowest):
        strictly = schema.get("exclusiveMinimum") is True
        if value < lowest or (strictly and value == lowest):
            yield _invalid(
                value, path, f"should be greater than {'' if strictly else 'or equal to '}{lowest}"
            )
    if _is_number(highest):
        strictly = schema.get("exclusiveMaximum") is True
        if value > highest or (strictly and value == highest):
            yield _invalid(value, path, f"should be less than {'' if strictly else 'or equal to '}{highest}")
    step = schema.get("multipleOf")
    if _is_number(step) and step > 0 and value % step:
        yield _invalid(value, path, f"should be a multiple of {step}")


def _of_text(value: str, schema: Schema, path: str) -> Iterator[Violation]:
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    if _is_number(longest) and len(value) > longest:
        yield Violation(path, "FieldValueTooLong", f"Too long: may not be more than {longest} bytes")
    if _is_number(shortest) and len(value) < shortest:
        yield _invalid(value, path, f"should be at least {shortest} chars long")
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        compiled, _ = compile_pattern(pattern)
        if compiled is not None and not compiled.search(value):
            yield _invalid(value, path, f"should match '{pattern}'")
    check = _FORMATS.get(str(schema.get("format")))
    if check is not None and not check(value):
        yield _invalid(value, path, f"must be of type {schema['format']}: {_shown(value)}")


def _of_list(value: list[Any], schema: Schema, path: str) -> Iterator[Violation]:
    most, fewest = schema.get("maxItems"), schema.get("minItems")
    if _is_number(most) and len(value) > most:
        yield Violation(path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {most} items")
    if _is_number(fewest) and len(value) < fewest:
        yield _invalid(len(value), path, f"should have at least {fewest} items")
    keys = schema.get("x-kubernetes-list-map-keys")
    if schema.get("x-kubernetes-list-type") == "map" and isinstance(keys, list):
        seen: set[str] = set()
        for index, item in enumerate(value):
            if isinstance(item, Mapping):
                named = {str(key): item.get(key) for key in keys}
                text = json.dumps(named)
                if text in seen:
                    shown = json.dumps(named, separators=(",", ":"))
                    yield Violation(f"{path}[{index}]", "FieldValueDuplicate", f"Duplicate value: {shown}")
                seen.add(text)
    elif schema.get("x-kubernetes-list-type") == "set" or schema.get("uniqueItems") is True:
        met: set[str] = set()
        for index, item in enumerate(value):
            text = json.dumps(item, sort_keys=True)
            if text in met:
                yield Violation(f"{path}[{index}]", "FieldValueDuplicate", f"Duplicate value: {text}")
            met.add(text)
    items = _schema(schema.get("items"))
    for index, item in enumerate(value):
        yield from _violations(item, items, f"{path}[{index}]")


def _of_object(value: Mapping[str, Any], schema: Schema, path: str) -> Iterator[Violation]:
    required = schema.get("required")
    for key in required if isinstance(required, list) else ():
        if isinstance(key, str) and key not in value:
            yield Violation(f"{path}.{key}" if path else key, "FieldValueRequired", "Required value")
    most, fewest = schema.get("maxProperties"), schema.get("minProperties")
    if _is_number(most) and len(value) > most:
        yield Violation(path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {most} items")
    if _is_number(fewest) and len(value) < fewest:
        yield _invalid(len(value), path, f"should have at least {fewest} properties")
    properties, rest = _mapping(schema.get("properties")), schema.get("additionalProperties")
    for key, item in value.items():
        inner = f"{path}.{key}" if path else str(key)
        if key in properties:
            yield from _violations(item, _schema(properties[key]), inner)
        elif isinstance(rest, Mapping):
            yield from _violations(item, rest, inner)


def _of_alternatives(value: Any, schema: Schema, path: str) -> Iterator[Violation]:
    def fits(one: Any) -> bool:
        return next(_violations(value, _schema(one), path), None) is None

    for one in _list(schema.get("allOf")):
        yield from _violations(value, _schema(one), path)
    if (some := _list(schema.get("anyOf"))) and not any(fits(one) for one in some):
        yield _invalid(value, path, "must validate at least one schema (anyOf)")
    if (one_of := _list(schema.get("oneOf"))) and (count := sum(fits(one) for one in one_of)) != 1:
        how = "Found none valid" if count == 0 else f"Found {count} valid alternatives"
        yield _invalid(value, path, f"must validate one and only one schema (oneOf). {how}")
    if isinstance(schema.get("not"), Mapping) and fits(schema["not"]):
        yield _invalid(value, path, "must not validate the schema (not)")


def _invalid(value: Any, path: str, what: str) -> Violation:
    return Violation(
        path, "FieldValueInvalid", f"Invalid value: {_shown(value)}: {path or '<nil>'} in body {what}"
    )


def _wrong_type(value: Any, path: str, wanted: str) -> Violation:
    kind = _type_of(value)
    what = f'Invalid value: "{kind}": {path or "<nil>"} in body must be of type {wanted}: "{kind}"'
    return Violation(path, "FieldValueTypeInvalid", what)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= 256 else f"{text[:253]}..."


def _type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _is_a(value: Any, wanted: str) -> bool:
    kind = _type_of(value)
    whole = isinstance(value, float) and value.is_integer()
    return kind == wanted or (wanted == "number" and kind == "integer") or (wanted == "integer" and whole)


def _same(value: Any, other: Any) -> bool:
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


@lru_cache(512)
def compile_pattern(pattern: str) -> tuple[Any, str]:
    """Returns a pattern, compiled, and ""; None, and why it is none, if RE2 does not take it."""
    import re2  # here: few definitions have patterns

    options = re2.Options()
    options.log_errors, options.max_mem = False, _MOST_MEMORY
    try:
        return re2.compile(pattern, options), ""
    except re2.error as error:
        why = error.args[0] if error.args else ""
        return None, why.decode(errors="replace") if isinstance(why, bytes) else str(why)


def wrong_patterns(schema: Schema, path: str) -> Iterator[Violation]:
    """Yields the patterns of a schema, which stands at ``path``, that are none."""
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        _, why = compile_pattern(pattern)
        if why:
            what = f"must be a valid regular expression, but isn't: error parsing regexp: {why}"
            yield Violation(
                f"{path}.pattern", "FieldValueInvalid", f"Invalid value: {_shown(pattern)}: {what}"
            )
    for name in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(name), Mapping):
            yield from wrong_patterns(schema[name], f"{path}.{name}")
    for name in ("allOf", "anyOf", "oneOf"):
        for index, one in enumerate(_list(schema.get(name))):
            yield from wrong_patterns(_schema(one), f"{path}.{name}[{index}]")
    for key, one in _schema(schema.get("properties")).items():
        yield from wrong_patterns(_schema(one), f"{path}.properties[{key}]")


def _is_address(value: str, name: str) -> bool:
    found = family_of(value)
    return found is not None and found.word == name and "/" not in value


def _is_cidr(value: str) -> bool:
    try:
        parse_sloppy_prefix(value)
    except AddressError:
        return False
    return True


_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z")
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z")
_UUID = re.compile(r"(?i)[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\Z")
_FORMATS = {
    "date-time": lambda value: bool(_TIME.match(value)),
    "date": lambda value: bool(_DATE.match(value)),
    "uuid": lambda value: bool(_UUID.match(value)),
    "ipv4": lambda value: _is_address(value, "IPv4"),
    "ipv6": lambda value: _is_address(value, "IPv6"),
    "cidr": _is_cidr,
}


def _schema(value: Any) -> Schema:
    return value if isinstance(value, Mapping) else {}


_mapping = _schema


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
