"""Tests text → documents: Kubernetes' reading of YAML, JSON beside it, and the cost of hostile text."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from emulator.load import yamltext
from emulator.load.yamltext import MAX_DEPTH, read_documents
from emulator.objects.warnings import OddYaml


def only_value(text: str) -> Any:
    documents, faults = read_documents(text)
    assert faults == []
    (document,) = documents
    return document.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("80", 80, id="integer"),
        pytest.param("-7", -7, id="negative"),
        pytest.param("0644", 0o644, id="octal of YAML 1.1"),
        pytest.param("0o644", 0o644, id="octal of YAML 1.2"),
        pytest.param("0x1F", 31, id="hexadecimal"),
        pytest.param("0b11", 3, id="binary"),
        pytest.param("1_000", 1000, id="underscores"),
        pytest.param("1.5", 1.5, id="float"),
        pytest.param("1e3", 1000.0, id="exponent"),
        pytest.param("10.96.0.10", "10.96.0.10", id="address"),
        pytest.param("80:80", "80:80", id="no sexagesimal number"),
        pytest.param("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z", id="no timestamp"),
        pytest.param("2024-01-02", "2024-01-02", id="no date"),
        pytest.param("true", True, id="true"),
        pytest.param("False", False, id="False"),
        pytest.param("yes", True, id="yes is a boolean"),
        pytest.param("off", False, id="off is a boolean"),
        pytest.param("!foo x", "x", id="a tag of nobody's means nothing"),
        pytest.param("!!python/object:os.system x", "x", id="Python tag"),
        pytest.param("!!set {a}", {"a": None}, id="tag of a collection"),
        pytest.param("! 80", "80", id="the tag that says string"),
        pytest.param("!!binary |\n  YWJj\n  ZGVm", "abcdef", id="base64"),
        pytest.param("8080_", 8080, id="an underscore at the end"),
        pytest.param("None", "None", id="None is a string: a headless Service"),
        pytest.param('"80"', "80", id="quoted number"),
        pytest.param("'true'", "true", id="quoted boolean"),
        pytest.param("!!str 80", "80", id="tagged string"),
        pytest.param('!!int "80"', 80, id="tagged integer"),
        pytest.param("|\n  a\n  b\n", "a\nb\n", id="block"),
        pytest.param("{}", {}, id="empty mapping"),
    ],
)
def test_scalars(text: str, expected: Any) -> None:
    value = only_value(f"k: {text}")["k"]
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("text", ["", "~", "null", "Null"])
def test_null(text: str) -> None:
    assert only_value(f"k: {text}") == {"k": None}


def test_keys_are_strings() -> None:
    assert only_value("1: a\ntrue: b\n'c': d") == {"1": "a", "true": "b", "c": "d"}


def test_merge_key_yields_to_what_is_written() -> None:
    assert only_value("base: &b {a: 1, c: 2}\nx:\n  <<: *b\n  a: 3")["x"] == {"a": 3, "c": 2}


def test_merge_key_wins_over_what_stands_before_it() -> None:
    # as go-yaml v2 has it
    assert only_value("base: &b {a: 1, c: 2}\nx:\n  a: 3\n  <<: *b")["x"] == {"a": 1, "c": 2}


def test_merge_of_several() -> None:
    assert only_value("p: &p {a: 1}\nq: &q {a: 2, b: 2}\nx: {<<: [*p, *q]}")["x"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: 1\n---\nb: 2\n", [(1, 1, {"a": 1}), (2, 2, {"b": 2})], id="two"),
        pytest.param("# note\n---\na: 1\n", [(1, 2, {"a": 1})], id="a comment is no document"),
        pytest.param("---\n---\na: 1\n", [(2, 2, {"a": 1})], id="an empty document counts"),
        pytest.param("a: 1\n...\n# end\n---\nb: 2", [(1, 1, {"a": 1}), (2, 4, {"b": 2})], id="end marker"),
        pytest.param("%YAML 1.1\n---\na: 1", [(1, 2, {"a": 1})], id="directive"),
        pytest.param(
            "--- # first\na: 1\n--- {b: 2}",
            [(1, 1, {"a": 1}), (2, 3, {"b": 2})],
            id="content beside the marker",
        ),
        pytest.param("a: |\n  ---\n  x\n", [(1, 1, {"a": "---\nx\n"})], id="a marker inside a block is text"),
        pytest.param("a: 1\r\n---\r\nb: 2\r\n", [(1, 1, {"a": 1}), (2, 2, {"b": 2})], id="CRLF"),
        pytest.param("\ufeffa: 1", [(1, 1, {"a": 1})], id="byte order mark"),
        pytest.param('{"a": 1}\n\n{"b": 2}', [(1, 1, {"a": 1}), (2, 3, {"b": 2})], id="JSON values in a row"),
        pytest.param('{"a": 1}\n---\nb: 2', [(1, 1, {"a": 1}), (2, 2, {"b": 2})], id="JSON, then YAML"),
        pytest.param(
            '{\n\t"a": "\\ud83d\\ude00"\n}', [(1, 1, {"a": "😀"})], id="JSON with tabs and surrogate pairs"
        ),
        pytest.param("{a: 1, b: [2]}", [(1, 1, {"a": 1, "b": [2]})], id="flow YAML is not JSON"),
        pytest.param("", [], id="nothing"),
        pytest.param("# only a comment\n", [], id="comment only"),
    ],
)
def test_documents(text: str, expected: list[tuple[int, int, Any]]) -> None:
    documents, faults = read_documents(text)
    assert faults == []
    assert [(d.number, d.first_line, d.value) for d in documents] == expected


@pytest.mark.parametrize(
    ("text", "line", "what", "hint"),
    [
        pytest.param("x: 1\na:\n\tb: 1", 3, "not valid YAML", "no tabs", id="tab"),
        pytest.param("a: b: c", 1, "not valid YAML", "quotes", id="colon in a value"),
        pytest.param("a:\n- [1,\n", 2, "not valid YAML", "indentation", id="unfinished list"),
        pytest.param("a: {{ .Values.x }}", 1, "a key must be a plain word", "Helm", id="Helm template"),
        pytest.param("{{- if x }}\na: 1", 1, "a key must be", "Helm", id="Helm template at the beginning"),
        pytest.param("a: \x01", 1, "not valid YAML", "control characters", id="control character"),
        pytest.param("k: &a [*a]", 1, "stands inside the value that it means", "", id="recursive alias"),
        pytest.param("k: *a", 1, "has no anchor", "", id="unknown alias"),
        pytest.param("k: .inf", 1, "'.inf' is a number that JSON does not have", "quotes", id="infinity"),
        pytest.param("k: !!binary x", 1, "tagged !!binary, and is no base64", "", id="no base64"),
        pytest.param("~: x", 1, "a key must not be null", "quotes", id="null as a key"),
        pytest.param("k: !!int x", 1, "tagged !!int, and is none", "", id="false tag"),
        pytest.param("k: {<<: 3}", 1, "<< merges a mapping", "", id="merge of a number"),
        pytest.param("? [a]\n: 1", 1, "a key must be a plain word", "", id="list as a key"),
        pytest.param("[" * 5000, 1, "nested more than", "", id="deep YAML"),
        pytest.param('{"a":' * 5000, 1, "nested more than", "", id="deep JSON"),
        pytest.param("k: \ud800", 1, "is not UTF-8 text", "", id="surrogate"),
        pytest.param('{"k": "\\ud800"}', 1, "not valid YAML", "", id="half a surrogate pair in JSON"),
        pytest.param("k: [NaN, " + "9" * 6000, 1, "not valid YAML", "", id="a number of 6000 digits"),
    ],
)
def test_faults(text: str, line: int, what: str, hint: str) -> None:
    _, faults = read_documents(text)
    assert [f.line for f in faults] == [line]
    assert what in faults[0].what
    assert hint in faults[0].hint


@pytest.mark.parametrize(
    ("text", "value", "line", "count"),
    [
        pytest.param("a: 1\na: 2", {"a": 2}, 2, 1, id="YAML"),
        pytest.param("a: 1\na: 2\nb: {c: 1, c: 2, c: 3}", {"a": 2, "b": {"c": 3}}, 2, 3, id="several"),
        pytest.param('{"a": 1,\n"a": 2}', {"a": 2}, 2, 1, id="JSON"),
        pytest.param('{"a": "\\ud83d\\ude00",\n"a": 2}', {"a": 2}, 1, 1, id="JSON that YAML cannot read"),
        pytest.param("a: 1\n'a': 2", {"a": 2}, 2, 1, id="one of them quoted"),
    ],
)
def test_the_last_of_equal_keys_counts(text: str, value: Any, line: int, count: int) -> None:
    (document,), faults = read_documents(text)
    assert faults == []
    assert document.value == value
    (remark,) = document.remarks
    assert (remark.why, remark.line, remark.count) == (OddYaml.TWICE, line, count)


def test_a_key_that_a_merge_brought_is_not_there_twice() -> None:
    (document,), _ = read_documents("b: &b {a: 1}\nx: {<<: *b, a: 2}")
    assert document.remarks == ()


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_every_end_of_a_line_parts_documents(end: str) -> None:
    documents, faults = read_documents(end.join(["a: 1", "---", "b: 2", "---", "c: {", ""]))
    assert [document.value for document in documents] == [{"a": 1}, {"b": 2}]
    assert [fault.document for fault in faults] == [3]
    assert documents[1].lines[("b",)] == 3


@pytest.mark.parametrize("letter", ["y", "N"])
def test_a_plain_letter_is_told(letter: str) -> None:
    (document,), _ = read_documents(f"a: 'y'\nk: {letter}")
    assert document.value == {"a": "y", "k": letter}
    (remark,) = document.remarks
    assert (remark.why, remark.line, remark.value) == (OddYaml.LETTER, 2, letter)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: 1\n---\n\ufeffb: 2\nc: 3\n", id="after the marker"),
        pytest.param("a: 1\n\ufeff---\nb: 2\nc: 3\n", id="before the marker"),
        pytest.param("a: 1\n---\n# note\n\ufeffb: 2\nc: 3\n", id="after a comment"),
        pytest.param('{"a": 1}\n---\n\ufeff{"b": 2, "c": 3}\n', id="JSON"),
        pytest.param("a: 1\n---\n%YAML 1.1\n---\nb: 2\nc: 3\n", id="directive of a second file"),
    ],
)
def test_files_put_together(text: str) -> None:
    documents, faults = read_documents(text)
    assert faults == []
    assert [document.value for document in documents] == [{"a": 1}, {"b": 2, "c": 3}]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("---\n" * 50, "more than 20 documents", id="markers"),
        pytest.param("---\na: 1\n" * 50, "more than 20 documents", id="documents"),
        pytest.param('{"a":1}\n' * 50, "more than 20 documents", id="JSON values"),
        pytest.param("a: 1\n" * 60, "more than 100 keys and values", id="one key again and again"),
        pytest.param(
            "---\na: [1, 2, 3, 4, 5, 6]\n" * 18,
            "more than 100 keys and values",
            id="values of several documents",
        ),
        pytest.param(
            "{'a': [" + "1, " * 101 + "1]}",
            "more than 100 keys and values",
            id="values of what looks like JSON",
        ),
        pytest.param("#\n" * 250, "more than 100 keys and values", id="lines"),
        pytest.param("#" * 3000, "is larger than", id="bytes"),
    ],
)
def test_what_is_too_much_is_refused_with_its_limit(
    monkeypatch: pytest.MonkeyPatch, text: str, what: str
) -> None:
    monkeypatch.setattr(yamltext, "MAX_DOCUMENTS", 20)
    monkeypatch.setattr(yamltext, "MAX_VALUES", 100)
    monkeypatch.setattr(yamltext, "MAX_BYTES", 2000)
    documents, faults = read_documents(text)
    assert len(documents) <= 20
    assert what in faults[-1].what
    assert len(faults) == 1


def test_a_broken_document_hides_no_other() -> None:
    documents, faults = read_documents("a: 1\n---\nb: [\n---\nc: 3\n---\nd: *x\n")
    assert [(d.number, d.value) for d in documents] == [(1, {"a": 1}), (3, {"c": 3})]
    assert [(f.document, f.line) for f in faults] == [(2, 3), (4, 7)]


def test_alias_bomb_is_refused_at_once() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    documents, (fault,) = read_documents("\n".join(rows))
    assert documents == []
    assert "aliases stand for more than" in fault.what


def test_aliases_do_not_pile_up_depth() -> None:
    rows = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, MAX_DEPTH + 5))]
    _, (fault,) = read_documents("\n".join(rows))
    assert "nested more than" in fault.what


def test_moderate_aliases_are_read() -> None:
    assert only_value("a: &a {x: 1}\nb: [*a, *a]\nc: &s s\nd: {*s : 1}") == {
        "a": {"x": 1},
        "b": [{"x": 1}, {"x": 1}],
        "c": "s",
        "d": {"s": 1},
    }


def test_lines_of_fields() -> None:
    (document,), _ = read_documents(
        "# head\n---\nspec:\n  ports:\n  - port: 80\n    name: a\n  - {port: 81,\n     name: b}\n"
    )
    expected = {
        ("spec",): 3,
        ("spec", "ports"): 4,
        ("spec", "ports", 0, "name"): 6,
        ("spec", "ports", 1): 7,
        ("spec", "ports", 1, "name"): 8,
    }
    assert {path: document.lines[path] for path in expected} == expected


def test_lines_of_json_that_yaml_cannot_read() -> None:
    (document,), _ = read_documents('{\n\t"a": "\\ud83d\\ude00"\n}')
    assert document.lines[()] == 1


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_json_is_read_as_json(value: Any) -> None:
    documents, faults = read_documents(json.dumps({"k": value}))
    assert faults == []
    assert [d.value for d in documents] == [{"k": value}]


def has_exponent(value: Any) -> bool:
    """Returns whether some text in it is a number with an exponent to Kubernetes (1E3), but text to PyYAML,
    which writes it without quotes.
    """
    if isinstance(value, dict):
        return has_exponent([*value, *value.values()])
    if isinstance(value, list):
        return any(has_exponent(item) for item in value)
    return isinstance(value, str) and re.fullmatch(r"[-+]?[0-9._]+[eE][-+]?[0-9]+", value) is not None


@given(JSON_VALUES.filter(lambda value: not has_exponent(value)))
def test_what_pyyaml_writes_is_read_back(value: Any) -> None:
    documents, faults = read_documents(yaml.safe_dump({"k": value}))
    assert faults == []
    assert [d.value for d in documents] == [{"k": value}]


@given(st.text())
def test_no_text_raises(text: str) -> None:
    documents, _ = read_documents(text)
    assert all(d.lines for d in documents)


@given(st.text(alphabet="{}[]:,-&*!|>'\"#%@`?~ \n\tab1.<\\", max_size=60))
def test_no_yaml_like_text_raises(text: str) -> None:
    documents, _ = read_documents(text)
    assert all(d.lines for d in documents)


def test_reads_the_same_without_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x [1, 'b', {c: ~}]\nd: *x\n---\ne: |\n  f\n"
    fast = [d.value for d in read_documents(text)[0]]
    monkeypatch.setattr(yamltext, "_Loader", yaml.SafeLoader)
    assert [d.value for d in read_documents(text)[0]] == fast
