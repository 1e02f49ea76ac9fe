"""Reads text into documents as kubectl does. Pure.

The values are JSON's: mappings with string keys, lists, strings, numbers, booleans, null. A plain scalar
means what it means to kubectl, that is to go-yaml v2 (go.yaml.in/yaml/v2 resolve.go) under sigs.k8s.io/yaml:
``yes``, ``no``, ``on`` and ``off`` are booleans, ``_`` among digits counts for nothing, ``010`` is octal;
timestamps and ``80:80`` stay strings. The last value of a key that is written twice counts, with a remark.
Tags that are no type of YAML's are ignored, as kubectl ignores them. A plain ``y`` or ``n`` is a
:class:`Letter`: a boolean where one is wanted, as to kubectl; where kubectl would refuse it, it stays a
string, and a remark says so.

kubectl refuses a value beside a marker (``--- {a: 1}``) and silently skips what follows ``...``; here both
are read, as YAML 1.2 says. Documents are cut apart at their markers before they are parsed (a marker at the
beginning of a line is one wherever it stands: YAML 1.2, 9.1.2), so that a broken document does not hide its
neighbours.

Text that is too large, too deep or too long in its aliases comes back as a fault that names the limit. No
text raises anything. So libyaml's events are read here, and not PyYAML's nodes: its composer resolves
aliases before they can be counted (306 bytes of them stand for 490 million values), and its resolver has no
word for a :class:`Letter`, whose meaning depends on the field. 2,000 Pods take 0.78 s of CPU here, 0.67 s by
CSafeLoader.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice, pairwise
from typing import Any, Final

import yaml

from ..errors import Words, worded
from ..objects.warnings import OddYaml
from .faults import FieldPath, cut, shown

MAX_DEPTH = 100  # levels of mappings and lists; pydantic's JSON reader ends at 200
MAX_ALIASED = 100_000  # values that the aliases of one document may stand for
MAX_BYTES = 128 * 1024 * 1024  # in one file or standard input
MAX_DOCUMENTS = 100_000  # in one file or standard input, empty ones included
# keys and values in one file or standard input; a Pod of a live cluster has some 250
MAX_VALUES = 3_000_000

MAX_LINES = 1_000_000  # keys and values whose lines a problem may name

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_MARKER = re.compile(r"^(?:---|\.\.\.)(?=\s|\Z)", re.MULTILINE)
_JSON_START = re.compile(r"\s*(?=[{\[])")
_CONTENT = re.compile(r"^[^\S\n]*[^\s#%]", re.MULTILINE)
_BYTE_ORDER_MARK = re.compile("^\ufeff", re.MULTILINE)
_LONE_CARRIAGE_RETURN = re.compile(r"\r(?!\n)")  # ends a line (YAML 1.2, 5.4), as on Macs of old
_BETWEEN_DIGITS = re.compile(r"(?<=[0-9])_(?=[0-9])")

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*|0[0-7]+|0[oO][0-7]+|0[xX][0-9a-fA-F]+|0[bB][01]+)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?\Z")
_INT_RANGE = range(-(2**63), 2**64)  # other numbers are floats if decimal, else strings
_LONGEST_NUMBER = 400  # characters; a longer integer is larger than any float

TOO_MUCH = "give podwire less at once: leave out kinds and namespaces that do not matter"
_HELM = "a Helm template must be rendered first: helm template … | podwire -"
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class TextFault:
    """Holds a mistake in the text itself, at ``line`` of the file (from 1)."""

    line: int
    what: str
    hint: str = ""
    document: int = 0


@dataclass(frozen=True, slots=True)
class Remark:
    """Holds a notice that text at ``line`` is read otherwise than its author may think: why, of which key or
    plain ``value``, and how many there are like it.
    """

    why: OddYaml
    line: int
    value: str
    count: int = 1


class Letter(str):
    """Holds a plain ``y`` or ``n``."""

    __slots__ = ()

    @property
    def boolean(self) -> bool:
        return self in ("y", "Y")


@dataclass(frozen=True)
class Document:
    """Holds one document that is not empty: ``number`` counts from 1, ``first_line`` is its first line in the
    file.
    """

    number: int
    first_line: int
    text: str
    value: Any
    remarks: tuple[Remark, ...] = ()  # one of each sort

    @cached_property
    def lines(self) -> Mapping[FieldPath, int]:
        """Returns the line of each field. Parses the text again: only a problem needs it."""
        lines: dict[FieldPath, int] = {}
        # JSON that YAML cannot read, or very long text: the line of the mapping around it is used
        with suppress(_BrokenError, yaml.YAMLError):
            _Builder(self.first_line, lines, room=MAX_LINES).build(self.text)
        lines.setdefault((), self.first_line)
        return lines


def read_documents(text: str) -> tuple[list[Document], list[TextFault]]:
    """Returns the documents of ``text`` (YAML, JSON, or several of either) and what could not be read
    of it.
    """
    documents: list[Document] = []
    faults: list[TextFault] = []
    if len(text) > MAX_BYTES:
        return [], [TextFault(0, f"is larger than {MAX_BYTES >> 20} MiB", TOO_MUCH)]
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return [], [TextFault(text.count("\n", 0, error.start) + 1, "is not UTF-8 text")]
    if text.count("\n") > 2 * MAX_VALUES or (_JSON_START.match(text) and text.count(",") > MAX_VALUES):
        # parse without counting lines
        return [], [TextFault(1, f"holds more than {MAX_VALUES} keys and values", TOO_MUCH)]
    text = _LONE_CARRIAGE_RETURN.sub("\n", text) if "\r" in text else text
    if "\ufeff" in text:
        text = _BYTE_ORDER_MARK.sub("", text)
    if not text.endswith("\n"):
        text += "\n"  # as kubectl does
    number, room = 0, MAX_VALUES
    words: dict[str, str] = {}
    for first_line, chunk in _chunks(text):
        for line, part, value, repeated in _json_values(first_line, chunk, words):
            number += 1
            if number > MAX_DOCUMENTS:
                return documents, [
                    *faults,
                    TextFault(line, f"holds more than {MAX_DOCUMENTS} documents", TOO_MUCH, number),
                ]
            if not isinstance(value, _NotJSON):
                documents.append(
                    Document(
                        number, line, part, value, _remarks_on_json(line, part, repeated) if repeated else ()
                    )
                )
                continue
            builder = _Builder(line, room=room, words=words)
            try:
                value = builder.build(part)
            except _BrokenError as error:
                value = None
                faults.append(
                    TextFault(error.line, error.what, _HELM if "{{" in part else error.hint, number)
                )
            except yaml.YAMLError as error:
                value = None
                faults.append(_explain(error, part, line, number))
            room -= builder.count
            if value is not None:
                documents.append(Document(number, line, part, value, builder.remarks()))
            if room < 0:
                return documents, faults
    return documents, faults


def _remarks_on_json(first_line: int, text: str, key: str) -> tuple[Remark, ...]:
    """Returns the YAML reader's remarks (it knows the lines of keys) on JSON with a repeated ``key``."""
    builder = _Builder(first_line, room=MAX_ALIASED)
    with suppress(_BrokenError, yaml.YAMLError):
        builder.build(text)
    return builder.remarks() or (Remark(OddYaml.TWICE, first_line, cut(key)),)


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """Yields the pieces of ``text`` that are one document each, with the number of their first line; one more
    than the limit of documents at most.
    """
    markers = islice((m.start() for m in _MARKER.finditer(text)), MAX_DOCUMENTS + 1)
    starts = [0, *markers, len(text)]
    line = 1
    for begin, end in pairwise(starts):
        chunk = text[begin:end]
        body = chunk
        if _MARKER.match(chunk):
            first, newline, rest = chunk.partition("\n")
            # the end of a document: only a comment may follow on this line
            if chunk.startswith("..."):
                body = newline + rest
            elif not _CONTENT.search(first[3:]) and not _CONTENT.search(rest):
                yield line, ""  # an empty document: at most comments and directives
                body = ""
        if body and _CONTENT.search(body):
            yield line, body
        line += chunk.count("\n")


class _NotJSON:
    """Stands for the value of text that is left to the YAML reader."""


def _json_values(first_line: int, text: str, words: dict[str, str]) -> Iterator[tuple[int, str, Any, str]]:
    """Yields (line, text, value, a repeated key) for each JSON value in ``text``; from the first part that is
    not plain JSON, the rest unparsed. ``words`` are keys that were met before.

    JSON needs no YAML reader (30 times slower), and several values may stand one after the other, as ``jq``
    prints them.
    """
    repeated: list[str] = []

    def last_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = {words.setdefault(key, key): item for key, item in pairs}
        if len(value) != len(pairs) and not repeated:
            seen: set[str] = set()
            repeated.append(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
        return value

    decoder = json.JSONDecoder(
        object_pairs_hook=last_wins, parse_float=_finite, parse_constant=_refuse_constant
    )
    begin, line = 0, first_line
    while match := _JSON_START.match(text, begin):
        start = match.end()
        repeated.clear()
        try:
            value, end = decoder.raw_decode(text, start)
            sound = _depth_within(value, MAX_DEPTH)
            if "\\ud" in text[start:end].lower():
                json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError):
            break
        if not sound or text[end : end + 1] == ":":
            break
        line += text.count("\n", begin, start)
        yield line, text[start:end], value, repeated[0] if repeated else ""
        line += text.count("\n", start, end)
        begin = end
    rest = text[begin:]
    if begin == 0 or _CONTENT.search(rest):
        yield line, rest, _NotJSON(), ""


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{cut(text)} is too large")
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


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
    """Stops the reading of a document."""

    def __init__(self, line: int, what: str, hint: str = "") -> None:
        self.line, self.what, self.hint = line, what, hint
        super().__init__(what)


@dataclass(slots=True)
class _Open:
    """Holds an open mapping or list."""

    value: dict[str, Any] | list[Any]
    path: FieldPath
    anchor: str | None
    before: int  # values counted before it
    height: int = 1
    key: str | None = None  # in a mapping: the key that waits for its value
    merge: bool = False  # that key is "<<"
    merged: set[str] = field(default_factory=set)  # keys that came by "<<" only

    @property
    def wants_key(self) -> bool:
        return self.key is None and isinstance(self.value, dict)


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: Any
    size: int = 1  # values in it, itself included
    height: int = 0  # levels of mappings and lists


class _Builder:
    """Makes one document's value out of the parser's events, without recursion. Fills ``lines`` if it is
    given. ``room`` is the limit of keys and values. ``words`` are keys and other words that were met before:
    the documents of a file share them, which saves half of their memory.
    """

    def __init__(
        self,
        first_line: int,
        lines: dict[FieldPath, int] | None = None,
        *,
        room: int = MAX_VALUES,
        words: dict[str, str] | None = None,
    ) -> None:
        self.root: Any = None
        self._first_of: dict[OddYaml, Remark] = {}
        self._counts: dict[OddYaml, int] = {}
        self.count = 0  # keys and values so far
        self._room = room
        self._first_line = first_line
        self._lines = lines
        self._words = {} if words is None else words
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored] = {}
        self._aliased = 0

    def build(self, text: str) -> Any:
        """Returns the document's value. Raises _BrokenError and yaml.YAMLError."""
        for event in yaml.parse(text, Loader=_Loader):
            if self.count > self._room:
                raise _BrokenError(
                    self._line(event),
                    f"and what is before it hold more than {MAX_VALUES} keys and values",
                    TOO_MUCH,
                )
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
        self.count += 1
        if self._stack and self._stack[-1].wants_key:
            if event.value == "<<" and (event.implicit[0] or event.tag == f"{_TAG}merge"):
                self._key("<<", event, merge=True)
                value: Any = "<<"
            else:
                value = self._value(event)
                key = self._key_text(value, event)
                self._key(self._words.setdefault(key, key), event)
        else:
            value = self._value(event)
            if type(value) is str and value.isalpha():
                value = self._words.setdefault(value, value)
            self._put(value, 0, event)
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(value)

    def _value(self, event: yaml.ScalarEvent) -> Any:
        value = _scalar_value(event, self._line(event))
        if isinstance(value, Letter):
            self._remark(OddYaml.LETTER, event, value)
        return value

    def _remark(self, why: OddYaml, event: yaml.Event, value: str) -> None:
        if why not in self._first_of:
            self._first_of[why] = Remark(why, self._line(event), cut(value))
        self._counts[why] = self._counts.get(why, 0) + 1

    def remarks(self) -> tuple[Remark, ...]:
        return tuple(replace(remark, count=self._counts[why]) for why, remark in self._first_of.items())

    def _key_text(self, value: Any, event: yaml.Event) -> str:
        """Returns the key that a scalar is: JSON has strings only."""
        if isinstance(value, str):
            return value
        if value is None:
            raise _BrokenError(self._line(event), "a key must not be null", 'write it in quotes: "null"')
        if isinstance(value, bool):
            return "true" if value else "false"
        return f"{value:g}" if isinstance(value, float) else str(value)

    def _key(self, key: str, event: yaml.Event, *, merge: bool = False) -> None:
        top = self._stack[-1]
        if not merge:
            if key in top.value and key not in top.merged:
                self._remark(OddYaml.TWICE, event, key)
            top.merged.discard(key)
        top.key, top.merge = key, merge
        if self._lines is not None:
            path = (*top.path, key)
            self._lines[path] = self._line(event)

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        line = self._line(event)
        if len(self._stack) >= MAX_DEPTH:
            raise _BrokenError(line, f"is nested more than {MAX_DEPTH} levels deep")
        path: FieldPath = ()
        if self._stack:
            top = self._stack[-1]
            if top.wants_key:
                raise _BrokenError(
                    line, "a key must be a plain word", "a value that begins with { or [ must stand in quotes"
                )
            path = (*top.path, len(top.value) if top.key is None else top.key)
        if self._lines is not None:
            self._lines.setdefault(path, line)
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._stack.append(_Open(value, path, event.anchor, self.count))
        self.count += 1

    def _close(self, event: yaml.CollectionEndEvent) -> None:
        done = self._stack.pop()
        if done.anchor:
            self._anchors[done.anchor] = _Anchored(done.value, self.count - done.before, done.height)
        self._put(done.value, done.height, event)

    def _alias(self, event: yaml.AliasEvent) -> None:
        line, name = self._line(event), event.anchor or ""
        if name not in self._anchors:
            inside = any(frame.anchor == name for frame in self._stack)
            raise _BrokenError(
                line,
                f"the alias *{cut(name)} "
                f"{'stands inside the value that it means' if inside else 'has no anchor'}",
            )
        meant = self._anchors[name]
        if self._stack and self._stack[-1].wants_key:
            if meant.height:
                raise _BrokenError(line, "a key must be a plain word")
            self._key(self._key_text(meant.value, event), event)
            return
        self.count += meant.size
        self._aliased += meant.size
        if self._aliased > MAX_ALIASED:
            raise _BrokenError(line, f"its aliases stand for more than {MAX_ALIASED} values")
        if len(self._stack) + meant.height > MAX_DEPTH:
            raise _BrokenError(line, f"is nested more than {MAX_DEPTH} levels deep")
        self._put(meant.value, meant.height, event)

    def _put(self, value: Any, height: int, event: yaml.Event) -> None:
        """Gives ``value`` to the innermost open collection."""
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
                raise _BrokenError(
                    self._line(event), "<< merges a mapping or a list of mappings, and nothing else"
                )
            # the first of several mappings counts most; all of them count more than keys before "<<"
            for part in reversed(parts):
                for key, item in part.items():
                    top.value[key] = item
                    top.merged.add(key)
        elif top.key is not None:
            top.value[top.key] = value
        top.key, top.merge = None, False

    def _line(self, event: yaml.Event) -> int:
        return self._first_line + (event.start_mark.line if event.start_mark else 0)


def _scalar_value(event: yaml.ScalarEvent, line: int) -> Any:
    """Returns the value of a scalar. A tag that is no type of YAML's means nothing (go-yaml v2
    ``resolve``).
    """
    text: str = event.value
    name = (event.tag or "").removeprefix(_TAG)
    if (event.implicit[0] and name != "!") or name in ("int", "float", "bool", "null"):
        value = _resolve(text)
        if name == "bool" and isinstance(value, Letter):
            return value.boolean
        if isinstance(value, float) and not math.isfinite(value):
            raise _BrokenError(
                line, f"{shown(text)} is a number that JSON does not have", "write it in quotes"
            )
        if not event.implicit[0] and not _is_a(name, value):
            raise _BrokenError(line, worded("{} is tagged !!{}, and is none", shown(text), Words(name)))
        return float(value) if name == "float" and not event.implicit[0] else value
    if name == "binary":
        try:
            return base64.b64decode(text.replace("\n", ""), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            raise _BrokenError(line, worded("{} is tagged !!binary, and is no base64", shown(text))) from None
    if name == "timestamp" and not _DATE.match(text):
        raise _BrokenError(line, worded("{} is tagged !!timestamp, and is none", shown(text)))
    return text


def _is_a(name: str, value: Any) -> bool:
    if name == "null" or value is None:
        return name == "null" and value is None
    if name == "bool" or isinstance(value, bool):
        return name == "bool" and isinstance(value, bool)
    return isinstance(value, int) or (name == "float" and isinstance(value, float))


_WORDS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(
        (form for word in ("yes", "true", "on") for form in (word, word.capitalize(), word.upper())), True
    ),
    **dict.fromkeys(
        (form for word in ("no", "false", "off") for form in (word, word.capitalize(), word.upper())), False
    ),
    **{word: Letter(word) for word in "yYnN"},
    **dict.fromkeys(
        (
            ".nan",
            ".NaN",
            ".NAN",
            *(f"{sign}.{word}" for sign in ("", "+", "-") for word in ("inf", "Inf", "INF")),
        ),
        math.nan,
    ),
}


def _resolve(text: str) -> Any:
    """Returns a plain scalar's value, as go-yaml v2 resolves it."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-+.0123456789" or len(text) > _LONGEST_NUMBER:
        return text
    digits = _BETWEEN_DIGITS.sub("", text) if text[0] == "." else text.replace("_", "")
    if _INT.match(digits):
        value = _integer(digits)
        if value in _INT_RANGE and (value < 2**63 or digits[0] != "+"):
            return value
    if _FLOAT.match(digits):
        number = float(digits)
        return number if math.isfinite(number) else text
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("-+")
    base = {"x": 16, "o": 8, "b": 2}.get(digits[1:2].lower())
    if base:
        value = int(digits[2:], base)
    else:
        value = int(digits, 8 if digits[0] == "0" else 10)
    return -value if text[0] == "-" else value


def _explain(error: yaml.YAMLError, text: str, first_line: int, document: int) -> TextFault:
    """Returns PyYAML's error in our words, with a hint for common mistakes."""
    if not isinstance(error, yaml.MarkedYAMLError):  # a character that YAML forbids
        reason = str(getattr(error, "reason", "") or error).splitlines()[0]
        return TextFault(
            first_line,
            f"is not valid YAML: {cut(reason)}",
            "control characters must be written as escapes",
            document,
        )
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
