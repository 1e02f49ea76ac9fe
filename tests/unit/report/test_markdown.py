"""Tests that text in Markdown is shown as it is: no markup, no link, nobody called."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.report.markdown import escape, unlinked

# GitHub makes links, pictures and formulas of these, in the text between HTML elements
LINKS = re.compile(r"@\w|#\d|\bgh-\d|:[\w+-]+:|\b(?:https?|ftp)://|\bwww\.|(?<!\\)\$", re.IGNORECASE)
PARTS = (
    "@team @org/team a@b.example #12 org/repo#3 GH-4 :tada: :a:b:c: http://a.example HTTPS://b www.c.example "
    "$x$ <b> **c** `d` [e](f) g 1 &amp; _h_ ~i~"
)
TEXTS = st.lists(st.sampled_from([*PARTS.split(), " "]), max_size=8).map("".join)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("svc shop/web:80 (10.96.0.1:80)", "svc shop/web:80 (10.96.0.1:80)"),
        ("@ops", "@<!-- -->ops"),
        ("a@b.example", "a@<!-- -->b.example"),
        ("#12 and org/repo#3", r"\#<!-- -->12 and org/repo\#<!-- -->3"),
        (":+1: it", ":<!-- -->+1: it"),
        ("https://a.example", "https:<!-- -->//a.example"),
        ("www.a.example", "www<!-- -->.a.example"),
        ("$x$", r"\$x\$"),
        ("a_b|c", r"a\_b\|c"),
        ("<!-- -->", "&lt;!-- --&gt;"),
    ],
)
def test_text_is_written(text: str, written: str) -> None:
    assert escape(text) == written


@given(TEXTS)
def test_no_text_is_a_link(text: str) -> None:
    for written in (unlinked(text), re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", escape(text))):
        nodes = [html.unescape(node) for node in written.split("<!-- -->")]
        assert "".join(nodes) == text
        assert not any(LINKS.search(node) for node in nodes if "$" not in node)
    assert not re.search(r"(?<!\\)[$`*_\[\]|~]", escape(text).replace("<!-- -->", ""))
