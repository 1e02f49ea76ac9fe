"""Tables on a terminal: their columns stand one below the other, and fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth, width

from emulator.errors import printable
from emulator.report.layout import BOLD, Paint, table, wants_color

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


@given(
    st.lists(st.tuples(st.text(max_size=60).map(printable), st.text(max_size=60).map(printable)), min_size=1),
    st.integers(30, 100),
)
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, str]], columns: int) -> None:
    assert all(wcswidth(line) <= columns for line in table(("A", "B"), rows, columns).split("\n"))


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
