"""Text → documents, read as Kubernetes reads them. Imports PyYAML and ``objects.faults``; no effects.

The values are JSON's: mappings with string keys, lists, strings, numbers, booleans, null. Of YAML 1.1 this leaves out what surprises
people: timestamps and sexagesimal numbers (``80:80``) stay strings, and so do ``yes``, ``no``, ``on`` and ``off``. A key that is written
twice is a fault. No text, however hostile, costs more than :data:`MAX_DEPTH` levels or :data:`MAX_ALIASED` values out of aliases, and none
raises anything: what cannot be read comes back as faults.

Documents are cut apart at their markers before they are parsed (a marker at the beginning of a line is one wherever it stands: YAML 1.2,
9.1.2), so that a broken document does not hide its neighbours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import yaml

from emulator.objects.faults import FieldPath, cut, shown

MAX_DEPTH = 100  # levels of mappings and lists; pydantic's JSON reader ends at 200
MAX_ALIASED = 100_000  # values that the aliases of one document may stand for

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_MARKER = re.compile(r"^(?:---|\.\.\.)(?=\s|\Z)", re.MULTILINE)
_JSON_START = re.compile(r"\s*(?=[{\[])")
_CONTENT = re.compile(r"^[^\S\n]*[^\s#%]", re.MULTILINE)

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)\Z")
_BASED = re.compile(r"[-+]?0(?:o?[0-7_]+|x[0-9a-fA-F_]+|b[01_]+)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_LONGEST_INT = 20  # characters of a 64-bit integer; what is longer is a float, as in go-yaml

_HELM = "a Helm template must be rendered first: helm template … | podwire -"
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS: Final[Mapping[str, tuple[type, ...]]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}


@dataclass(frozen=True, slots=True)
class TextFault:
    """What is wrong with the text itself, at ``line`` of the file (from 1)."""

    line: int
    what: str
    hint: str = ""
    document: int = 0


@dataclass(frozen=True)
class Document:
    """One document that is not empty: ``number`` counts from 1, ``first_line`` is its first line in the file."""

    number: int
    first_line: int
    text: str
    value: Any

    @cached_property
    def lines(self) -> Mapping[FieldPath, int]:
        """The line of each field (reading the text again: only a problem asks for it)."""
        lines: dict[FieldPath, int] = {}
        with suppress(_BrokenError, yaml.YAMLError):  # JSON that YAML cannot read (tabs): the document's own line has to do
            _Builder(self.first_line, lines).build(self.text)
        lines.setdefault((), self.first_line)
        return lines


def read_documents(text: str) -> tuple[list[Document], list[TextFault]]:
    """The documents of ``text`` (YAML, JSON, or several of either) and what could not be read of it."""
    documents: list[Document] = []
    faults: list[TextFault] = []
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return [], [TextFault(text.count("\n", 0, error.start) + 1, "is not UTF-8 text")]
    number = 0
    for first_line, chunk in _chunks(text.removeprefix("\ufeff")):
        for line, part, value in _json_values(first_line, chunk):
            number += 1
            if isinstance(value, _NotJSON):
                builder = _Builder(line)
                try:
                    value = builder.build(part)
                except _BrokenError as error:
                    value = None
                    faults.append(TextFault(error.line, error.what, _HELM if "{{" in part else error.hint, number))
                except yaml.YAMLError as error:
                    value = None
                    faults.append(_explain(error, part, line, number))
                faults += [replace(fault, document=number) for fault in builder.faults]
            if value is not None:
                documents.append(Document(number, line, part, value))
    return documents, faults


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """The pieces of ``text`` that are one document each, with the number of their first line."""
    starts = [0, *(m.start() for m in _MARKER.finditer(text)), len(text)]
    line = 1
    for begin, end in pairwise(starts):
        chunk = text[begin:end]
        body = chunk
        if chunk.startswith("..."):  # the end of a document: what follows on this line is a comment at most
            _, _, rest = chunk.partition("\n")
            body = "\n" + rest
        if body.startswith("---") or _CONTENT.search(body):
            yield line, body
        line += chunk.count("\n")


class _NotJSON:
    """Stands for the value of text that is left to the YAML reader."""


def _json_values(first_line: int, text: str) -> Iterator[tuple[int, str, Any]]:
    """``text`` as (line, text, value) of each JSON value in it; from the first thing on that is not plain JSON, the rest as it is.

    JSON needs no YAML reader (30 times slower), and several values may stand one after the other, as ``jq`` prints them.
    """
    begin, line = 0, first_line
    while match := _JSON_START.match(text, begin):
        start = match.end()
        try:
            value, end = _JSON.raw_decode(text, start)
            sound = _depth_within(value, MAX_DEPTH)
            if "\\ud" in text[start:end].lower():
                json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError):
            break
        if not sound or text[end : end + 1] == ":":
            break
        line += text.count("\n", begin, start)
        yield line, text[start:end], value
        line += text.count("\n", start, end)
        begin = end
    rest = text[begin:]
    if begin == 0 or _CONTENT.search(rest):
        yield line, rest, _NotJSON()


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")  # the YAML reader says where
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_object_without_duplicates, parse_constant=_refuse_constant)


def _depth_within(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return True
    return False


# --- YAML -------------------------------------------------------------------------------------------------


class _BrokenError(Exception):
    """The document cannot be read any further."""

    def __init__(self, line: int, what: str, hint: str = "") -> None:
        self.line, self.what, self.hint = line, what, hint
        super().__init__(what)


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    path: FieldPath
    anchor: str | None
    before: int  # values counted before it
    height: int = 1
    key: str | None = None  # of a mapping: the key that waits for its value
    merge: bool = False  # that key is "<<"
    merged: list[dict[str, Any]] = field(default_factory=list)

    @property
    def wants_key(self) -> bool:
        return self.key is None and isinstance(self.value, dict)


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: Any
    size: int = 1  # values in it, itself included
    height: int = 0  # levels of mappings and lists


class _Builder:
    """Makes one document's value out of the parser's events, without recursion. ``lines`` is filled if it is given."""

    def __init__(self, first_line: int, lines: dict[FieldPath, int] | None = None) -> None:
        self.root: Any = None
        self.faults: list[TextFault] = []
        self._first_line = first_line
        self._lines = lines
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored] = {}
        self._count = self._aliased = 0

    def build(self, text: str) -> Any:
        """The document's value. Raises _BrokenError and yaml.YAMLError."""
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._open(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close(event)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
        return self.root

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if self._stack and self._stack[-1].wants_key:
            self._key(event.value, event, merge=event.value == "<<" and event.implicit[0])
            value: Any = event.value
        else:
            value = _scalar_value(event, self._line(event))
            self._count += 1
            self._put(value, 0, event)
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(value)

    def _key(self, key: str, event: yaml.Event, *, merge: bool = False) -> None:
        top = self._stack[-1]
        if not merge and key in top.value:
            what, hint = f"the key {shown(key)} is there twice", "one of the two would be lost: keep the one that you mean"
            self.faults.append(TextFault(self._line(event), what, hint))
        top.key, top.merge = key, merge
        if self._lines is not None:
            path = (*top.path, key)
            self._lines[path] = self._line(event)

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        line = self._line(event)
        if len(self._stack) >= MAX_DEPTH:
            raise _BrokenError(line, f"is nested more than {MAX_DEPTH} levels deep")
        if event.tag not in (None, "!", f"{_TAG}map", f"{_TAG}seq"):
            raise _BrokenError(line, f"the tag {shown(event.tag.removeprefix(_TAG))} has no meaning in a manifest", "leave it out")
        path: FieldPath = ()
        if self._stack:
            top = self._stack[-1]
            if top.wants_key:
                raise _BrokenError(line, "a key must be a plain word", "a value that begins with { or [ must stand in quotes")
            path = (*top.path, len(top.value) if top.key is None else top.key)
        if self._lines is not None:
            self._lines.setdefault(path, line)
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._stack.append(_Open(value, path, event.anchor, self._count))
        self._count += 1

    def _close(self, event: yaml.CollectionEndEvent) -> None:
        done = self._stack.pop()
        if isinstance(done.value, dict):
            for merged in done.merged:
                for key, value in merged.items():
                    done.value.setdefault(key, value)
        if done.anchor:
            self._anchors[done.anchor] = _Anchored(done.value, self._count - done.before, done.height)
        self._put(done.value, done.height, event)

    def _alias(self, event: yaml.AliasEvent) -> None:
        line, name = self._line(event), event.anchor or ""
        if name not in self._anchors:
            inside = any(frame.anchor == name for frame in self._stack)
            raise _BrokenError(line, f"the alias *{cut(name)} {'stands inside the value that it means' if inside else 'has no anchor'}")
        meant = self._anchors[name]
        if self._stack and self._stack[-1].wants_key:
            if meant.height:
                raise _BrokenError(line, "a key must be a plain word")
            self._key(str(meant.value), event)
            return
        self._count += meant.size
        self._aliased += meant.size
        if self._aliased > MAX_ALIASED:
            raise _BrokenError(line, f"its aliases stand for more than {MAX_ALIASED} values")
        if len(self._stack) + meant.height > MAX_DEPTH:
            raise _BrokenError(line, f"is nested more than {MAX_DEPTH} levels deep")
        self._put(meant.value, meant.height, event)

    def _put(self, value: Any, height: int, event: yaml.Event) -> None:
        """Give ``value`` to the innermost open collection."""
        if not self._stack:
            self.root = value
            if self._lines is not None:
                self._lines.setdefault((), self._line(event))
            return
        top = self._stack[-1]
        top.height = max(top.height, height + 1)
        if isinstance(top.value, list):
            if self._lines is not None:
                path = (*top.path, len(top.value))
                self._lines.setdefault(path, self._line(event))
            top.value.append(value)
        elif top.merge:
            parts = value if isinstance(value, list) else [value]
            if not all(isinstance(part, dict) for part in parts):
                raise _BrokenError(self._line(event), "<< merges a mapping or a list of mappings, and nothing else")
            top.merged += parts
        elif top.key is not None:
            top.value[top.key] = value
        top.key, top.merge = None, False

    def _line(self, event: yaml.Event) -> int:
        return self._first_line + (event.start_mark.line if event.start_mark else 0)


def _scalar_value(event: yaml.ScalarEvent, line: int) -> Any:
    text: str = event.value
    if event.implicit[0]:
        return _resolve(text)
    if event.tag in (None, "!", f"{_TAG}str") or event.implicit[1]:
        return text
    name = event.tag.removeprefix(_TAG)
    value = _resolve(text)
    if name not in _SCALAR_TAGS or not isinstance(value, _SCALAR_TAGS[name]) or (name != "bool" and isinstance(value, bool)):
        if name in _SCALAR_TAGS:
            raise _BrokenError(line, f"{shown(text)} is tagged !!{name}, and is none")
        raise _BrokenError(line, f"the tag {shown(name)} has no meaning in a manifest", "leave it out")
    return value


def _resolve(text: str) -> Any:
    """A plain scalar's value."""
    if text in _NULL:
        return None
    if text[0] not in "-+.0123456789tTfF":
        return text
    if text in _BOOL:
        return _BOOL[text]
    if _INT.match(text):
        return int(text) if len(text) <= _LONGEST_INT else float(text)
    if _BASED.match(text) and len(text) <= _LONGEST_INT:
        digits = text.lstrip("-+").replace("_", "")
        base = {"x": 16, "b": 2}.get(digits[1:2], 8)
        digits = digits[2:] if digits[1:2] in "xbo" else digits
        return (int(digits, base) if digits else 0) * (-1 if text[0] == "-" else 1)
    if _FLOAT.match(text):
        return float(text)
    return text


def _explain(error: yaml.YAMLError, text: str, first_line: int, document: int) -> TextFault:
    """PyYAML's error in our words, with a hint for the mistakes that everybody makes."""
    if not isinstance(error, yaml.MarkedYAMLError):  # a character that YAML forbids
        reason = str(getattr(error, "reason", "") or error).splitlines()[0]
        return TextFault(first_line, f"is not valid YAML: {cut(reason)}", "control characters must be written as escapes", document)
    mark = error.problem_mark or error.context_mark
    rows = text.splitlines()
    index = min(mark.line if mark else 0, len(rows) - 1)
    row = rows[index]
    problem = error.problem or "it ends too early"
    if "maximum nesting depth" in problem:  # libyaml's own limit, 1,000, met by its look-ahead before ours
        return TextFault(first_line + index, f"is nested more than {MAX_DEPTH} levels deep", "", document)
    hint = "look at the indentation here and one line above"
    if "{{" in text:
        hint = _HELM
    elif "\t" in row[: len(row) - len(row.lstrip())]:
        hint = "indent with blanks: YAML allows no tabs there"
    elif "mapping values are not allowed" in problem:
        hint = "a value that contains ': ' must stand in quotes"
    return TextFault(first_line + index, f"is not valid YAML: {problem}", hint, document)
