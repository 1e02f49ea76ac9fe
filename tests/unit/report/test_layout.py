"""Tests tables on a terminal: their columns stand one below the other, and fit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth, width

from emulator.errors import printable
from emulator.report.layout import BOLD, NARROW_HEAD, Paint, Screen, table, wants_color, words

WIDE = "検査 of web"


@pytest.mark.parametrize("first", [WIDE, "e\u0301te", Paint(True)(BOLD, "bold"), "plain"])
def test_columns_stand_one_below_the_other_whatever_a_cell_holds(first: str) -> None:
    text = table(("NAME", "VALUE"), [(first, "here"), ("other", "here")], None)
    _, *rows = text.split("\n")
    assert {width(row.partition("here")[0]) for row in rows} == {max(width(first), len("other")) + 2}


def test_wide_characters_are_folded_within_their_column() -> None:
    text = table(("NAME", "VALUE"), [("検査" * 20, "here")], 40)
    assert "here" in text
    assert max(map(wcswidth, text.split("\n"))) <= 40
    assert "".join(text.split("\n", 1)[1].replace("here", "").split()) == "検査" * 20


def test_the_first_cell_of_a_record_is_folded_too() -> None:
    text = table(("A", "B"), [(f"{'a' * 28} {'b' * 59}", "here")], 87)
    assert max(map(wcswidth, text.split("\n"))) <= 87


CELLS = st.text(max_size=60).map(printable)


@settings(max_examples=50)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1), st.integers(30, 100))
def test_only_a_word_that_is_longer_makes_a_line_wider_than_the_terminal(
    rows: list[tuple[str, str]], columns: int
) -> None:
    for line in table(("A", "B"), rows, columns).split("\n"):
        longest = max(map(wcswidth, line.split()), default=0)
        assert wcswidth(line) <= columns or longest > columns - NARROW_HEAD - 4


@given(st.text(max_size=80).map(printable), st.integers(1, 40))
def test_folding_keeps_every_word(text: str, columns: int) -> None:
    lines = Screen(columns).say(text, "  ", "    ")
    assert "".join("".join(lines).split()) == "".join(text.split())
    if text.isascii():
        assert " ".join(" ".join(lines).split()) == " ".join(text.split())


def test_words_are_never_broken() -> None:
    assert Screen(20).say("dialled 172.18.0.3:30080 by a-client") == [
        "dialled",
        "172.18.0.3:30080 by",
        "a-client",
    ]


def test_facts_share_a_line_while_they_fit() -> None:
    facts = [words("one fact"), words("another fact"), words("a third one that is long")]
    assert Screen(40).pack(facts, "- ", "  ") == ["- one fact   another fact", "  a third one that is long"]
    assert Screen(40).pack(facts[:2], "- ", "  ", stop=20) == ["- one fact          another fact"]
    assert Screen(25).pack(facts[:2], "- ", "  ", stop=20) == ["- one fact   another fact"]


def test_the_right_end_of_a_line_is_used_where_there_is_room() -> None:
    assert Screen(20).spread(words("left"), words("right")) == ["left           right"]
    assert Screen(10).spread(words("left"), words("right"), hang="  ") == ["left", "     right"]
    assert Screen(400).spread(words("left"), words("right")) == [f"left{' ' * 91}right"]


def test_what_has_no_room_at_the_right_end_stands_at_that_of_the_next_line() -> None:
    assert Screen(14).spread(words("a long word"), words("9 s")) == ["a long word", "           9 s"]
    assert Screen(4).spread(words("long"), words("right end")) == ["long", "right", "end"]


def test_labels_are_folded_at_their_commas() -> None:
    labels = "app.kubernetes.io/name=shop,app.kubernetes.io/part-of=shop,tier=web)"
    assert Screen(40).say(f"the labels {labels}") == [
        "the labels app.kubernetes.io/name=shop,",
        "app.kubernetes.io/part-of=shop,tier=web)",
    ]
    address = "https://example.org/?a=1,2&b=3,4"
    assert Screen(10).say(address) == [address]


def test_a_table_that_has_no_room_is_records() -> None:
    rows = [("worker-1", "172.18.0.3", "client-a, web-5fb4df67c4-trn4n"), ("router", "172.18.0.1", "")]
    assert table(("NODE", "ADDRESS", "PODS"), rows, 52).startswith("NODE ")
    assert table(("NODE", "ADDRESS", "PODS"), rows, 40).split("\n") == [
        "worker-1  address 172.18.0.3",
        "          pods client-a,",
        "          web-5fb4df67c4-trn4n",
        "router    address 172.18.0.1",
    ]


@pytest.mark.parametrize(
    ("environment", "terminal", "color"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_colours_are_for_terminals_unless_the_user_says_otherwise(
    environment: dict[str, str], terminal: bool, color: bool
) -> None:
    assert wants_color(environment, terminal) is color
