"""Tests that entries fold between words alone."""

from __future__ import annotations

from emulator.report.entries import entries, folded


def test_texts_go_on_below_their_beginning() -> None:
    text = entries([("a", "one two three-four five"), ("bcd", "x")], 16)
    assert text == "a    one two\n     three-four\n     five\nbcd  x\n"


def test_a_longer_word_has_a_line_of_its_own() -> None:
    assert (
        folded("see 10.244.0.0/16,10.245.0.0/16 there", 12, "  ")
        == "see\n  10.244.0.0/16,10.245.0.0/16\n  there"
    )


def test_nothing_is_nothing() -> None:
    assert entries([], 80) == ""
