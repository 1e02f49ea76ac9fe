"""Checks the fields of a body: unknown ones, duplicates, and values of another type, in kube-apiserver's
words.

A value of a wrong type is refused always. Unknown fields and duplicates are refused
(``fieldValidation=Strict``), named in warnings (Warn), or passed over (Ignore). The words are those of Go's
encoding/json and sigs.k8s.io/json; the structs are those of ``schemas``.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from . import schemas
from .fieldsets import compact
from .patch import JSON_PATCH, STRATEGIC_MERGE_PATCH, json_name
from .resources import Resource
from .shapes import element_of, members
from .status import ApiError, bad_request
from .typed import go_text

MOST = 100  # faults that are told (sigs.k8s.io/json)
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_QUANTITY_TEXT = re.compile(r"[+-]?[0-9.]+[eEinumkKMGTP]*[-+]?[0-9]*")
_TIME_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_RANGES = {"int32": 31, "int64": 63, "uint32": 32, "uint64": 64, "int": 63}
PROTOBUF = b"k8s\x00"


class Pairs(dict[str, Any]):
    """Holds a JSON object, and the names that its text has more than once."""

    twice: tuple[str, ...] = ()


class _WrongTypeError(Exception):
    """Reports a value of a wrong type in the words of Go's decoder; ``restoring`` has those of the converter
    of strategic merges.
    """

    restoring = ""


def check(body: Mapping[str, Any], how: str, resource: Resource, raw: bytes) -> tuple[str, ...]:
    """Returns the warnings of a body. ``raw`` is its text, for duplicates; b"" if there is none.

    ``how`` is the parameter fieldValidation. Raises ApiError: 400 for a value of a wrong type, and for
    unknown and duplicate fields if ``how`` is Strict.
    """
    kind = str(body.get("kind") or resource.kind)
    handled = f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
    try:
        lines, faults = _faults(body, resource, raw)
    except _WrongTypeError as error:
        raise bad_request(f"{handled}{error}") from None
    if how == "Strict" and (lines or faults):
        raise bad_request(f"{handled}{_strict(lines, faults)}")
    return (*lines, *faults) if how == "Warn" else ()


def check_patched(
    form: str, patch: bytes, patched: Mapping[str, Any], how: str, resource: Resource
) -> tuple[str, ...]:
    """Returns the warnings of an object after a patch of media type ``form``, duplicates of the patch among
    them.

        Raises ApiError (422), which quotes the object, or a strategic merge patch itself, as kube-apiserver
        does (k8s.io/apiserver, pkg/endpoints/handlers/patch.go).
    """
    strategic = form == STRATEGIC_MERGE_PATCH
    said: list[str] = []
    faults: list[str] = []
    try:
        _, faults = _faults(patched, resource, b"")
    except _WrongTypeError as error:
        said = [error.restoring or str(error) if strategic else str(error)]
    if not said:
        faults = [*(duplicates(patch) if form != JSON_PATCH else ()), *sorted(faults)]
        said = [_strict([], faults)] if how == "Strict" and faults else []
    if said:
        shown = go_text(json.loads(patch)) if strategic else compact(patched)
        message = f"Invalid value: {json.dumps(shown, ensure_ascii=False)}: {said[0]}"
        causes = [("FieldValueInvalid", message, "patch")]
        raise ApiError(422, "Invalid", f' "" is invalid: patch: {message}', causes=causes)
    return tuple(faults) if how == "Warn" else ()


def _faults(body: Mapping[str, Any], resource: Resource, raw: bytes) -> tuple[list[str], list[str]]:
    """Returns the duplicates of YAML, and all other unknown and duplicate fields."""
    tree, lines = _read(body, raw)
    faults: list[str] = []
    name = schemas.definition_of(resource.apiVersion, resource.kind) if resource.schema is None else None
    _Walk(faults).value(tree, name or "", (), resource.kind, ())
    return lines, faults


def _strict(lines: list[str], faults: list[str]) -> str:
    said = ["yaml: unmarshal errors:" + "".join(f"\n  {line}" for line in lines)] if lines else []
    return f"strict decoding error: {', '.join(said + faults)}"


def duplicates(raw: bytes) -> list[str]:
    """Returns the duplicate fields of a JSON or YAML text, as warnings name them; none if it is neither."""
    tree, lines = _read({}, raw)
    faults: list[str] = []
    _Walk(faults).value(tree, "", (), "", ())
    return lines + faults


def _read(body: Mapping[str, Any], raw: bytes) -> tuple[Any, list[str]]:
    """Returns the tree to check, and a line for each duplicate of YAML's text."""
    if not raw.strip() or raw.startswith(PROTOBUF):
        return body, []
    try:
        if raw.lstrip().startswith(b"{"):
            return json.loads(raw, object_pairs_hook=_pairs), []
        found = _of_yaml(yaml.compose(raw, Loader=yaml.CSafeLoader))
    except (ValueError, RecursionError, yaml.YAMLError):
        return body, []
    return body, found


def _pairs(pairs: list[tuple[str, Any]]) -> Pairs:
    found = Pairs(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice: dict[str, None] = {}
        for key, _ in pairs:
            if key in seen:
                twice[key] = None
            seen.add(key)
        found.twice = tuple(twice)
    return found


def _of_yaml(node: Any) -> list[str]:
    """Returns a line for each key that a mapping has already."""
    found: list[str] = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    found.append(f'line {key.start_mark.line + 1}: key "{key.value}" already set in map')
                seen.add(key.value)
            found += _of_yaml(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            found += _of_yaml(item)
    return found


class _Walk:
    """Walks a document beside its structs, and gathers unknown and duplicate fields."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults

    def fault(self, what: str, path: tuple[str, ...]) -> None:
        text = f"{what} field {json.dumps(''.join(path).lstrip('.'), ensure_ascii=False)}"
        if len(self.faults) < MOST and text not in self.faults:
            self.faults.append(text)

    def value(
        self, value: Any, kind: str, path: tuple[str, ...], struct: str, names: tuple[str, ...]
    ) -> None:
        """Checks a value of the Go type ``kind`` ("" of no known type), that a field of ``struct`` holds.

        ``path`` has the indices of lists, ``names`` are the fields alone, as errors of types name them.
        """
        plain = schemas.named().get(kind, kind)
        if (
            value is None
            or plain.endswith((".RawExtension", ".FieldsV1", ".JSON"))
            or ".JSONSchemaPropsOr" in plain
        ):
            return
        if plain in ("[]byte", "[]uint8"):
            self.bytes(value, struct, names)
        elif element := element_of(plain):
            form: type = dict if plain.startswith("map[") else list
            if not isinstance(value, (dict, list)) or not isinstance(value, form):
                raise _wrong(value, kind, struct, names)
            items: Any = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                step = f".{key}" if form is dict else f"[{key}]"
                self.value(item, element, (*path, step), struct, names)
            self.twice(value, path)
        elif plain in schemas.structs():
            if not isinstance(value, Mapping):
                raise _wrong(value, kind, struct, names)
            self.struct(value, plain, path, names)
        elif not plain:
            self.anything(value, path)
        else:
            _scalar(value, kind, plain, struct, names)

    def struct(
        self, value: Mapping[str, Any], kind: str, path: tuple[str, ...], names: tuple[str, ...]
    ) -> None:
        known = members(kind)
        own = kind.rsplit(".", 1)[1]
        twice = getattr(value, "twice", ())
        for key, below in value.items():
            inner = (*path, f".{key}")
            member = known.get(key)
            if member is None:
                self.fault("unknown", inner)
                continue
            if key in twice:
                self.fault("duplicate", inner)
            self.value(below, member.type, inner, own, (*names, *member.through, key))

    def anything(self, value: Any, path: tuple[str, ...]) -> None:
        if isinstance(value, Mapping):
            for key, below in value.items():
                self.anything(below, (*path, f".{key}"))
            self.twice(value, path)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self.anything(item, (*path, f"[{index}]"))

    def twice(self, value: Any, path: tuple[str, ...]) -> None:
        for key in getattr(value, "twice", ()):
            self.fault("duplicate", (*path, f".{key}"))

    def bytes(self, value: Any, struct: str, names: tuple[str, ...]) -> None:
        if not isinstance(value, str):
            raise _wrong(value, "[]uint8", struct, names)
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            at = next(
                (index for index, one in enumerate(value) if not re.match(r"[A-Za-z0-9+/]", one)), len(value)
            )
            raise _WrongTypeError(f"illegal base64 data at input byte {at}") from None


def _scalar(value: Any, kind: str, plain: str, struct: str, names: tuple[str, ...]) -> None:
    if plain == _QUANTITY:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number and not (isinstance(value, str) and _QUANTITY_TEXT.fullmatch(value)):
            expected = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
            raise _WrongTypeError(f"quantities must match the regular expression '{expected}'")
    elif plain == _INT_OR_STRING:
        if not isinstance(value, str):
            _integer(value, "int32", "int32", struct, names)
    elif plain in (f"{_META}Time", f"{_META}MicroTime"):
        if not isinstance(value, str):
            raise _wrong(value, "string", struct, names)
        if not _TIME_TEXT.fullmatch(value):
            form = (
                "2006-01-02T15:04:05.000000Z07:00"
                if plain.endswith("MicroTime")
                else "2006-01-02T15:04:05Z07:00"
            )
            text = json.dumps(value, ensure_ascii=False)
            raise _WrongTypeError(f'parsing time {text} as "{form}": cannot parse {text} as "2006"')
    elif plain in _RANGES:
        _integer(value, plain, kind, struct, names)
    elif plain == "float64":
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise _wrong(value, kind, struct, names)
    else:
        wanted = bool if plain == "bool" else str if plain == "string" or _is_text(plain) else object
        if not isinstance(value, wanted):
            raise _wrong(value, kind, struct, names)


def _is_text(kind: str) -> bool:
    """Returns whether a named type of no table is text: UID, NodeName."""
    return kind.startswith("io.k8s.apimachinery.pkg.types.")


def _integer(value: Any, plain: str, kind: str, struct: str, names: tuple[str, ...]) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(value, kind, struct, names)
    limit = 1 << _RANGES[plain]
    low = 0 if plain.startswith("u") else -limit
    if isinstance(value, float) or not low <= value < limit:
        raise _wrong(value, kind, struct, names, f"number {json.dumps(value)}")


def _wrong(value: Any, kind: str, struct: str, names: tuple[str, ...], said: str = "") -> _WrongTypeError:
    where = f"{struct}.{'.'.join(names)}"
    what = said or json_name(value)
    error = _WrongTypeError(
        f"json: cannot unmarshal {what} into Go struct field {where} of type {_go_name(kind)}"
    )
    error.restoring = _restoring(value, schemas.named().get(kind, kind))
    return error


def _restoring(value: Any, plain: str) -> str:
    """Returns the words of apimachinery, pkg/runtime/converter.go, for a value of a wrong type."""
    form = {"object": "map", "array": "slice", "number": "float64" if isinstance(value, float) else "int64"}
    name = json_name(value)
    if plain.startswith(("[]", "map[")):
        return f"cannot restore {'map' if plain.startswith('map[') else 'slice'} from {form.get(name, name)}"
    if plain in schemas.structs():
        return f"cannot restore struct from: {form.get(name, name)}"
    return f"unrecognized type: {plain}"


def _go_name(kind: str) -> str:
    """Returns a type's name as Go prints it: ``[]v1.Container``."""
    return re.sub(r"[\w.-]*\.([\w]+\.\w+)", r"\1", kind)
