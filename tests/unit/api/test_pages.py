from __future__ import annotations

import pytest

from emulator.api.pages import BadTokenError, Pages


def test_page_is_of_the_list_that_it_was_cut_from() -> None:
    pages: Pages[str] = Pages()
    token = pages.keep("pods", 7, ("a", "b", "c"), 2)
    pages.keep("pods", 8, ("x",), 1)
    assert pages.find("pods", token) == (7, ("a", "b", "c"), 2)


def test_token_of_another_list_finds_nothing() -> None:
    pages: Pages[str] = Pages()
    token = pages.keep("pods", 7, ("a", "b"), 1)
    assert pages.find("services", token) is None


def test_oldest_is_forgotten() -> None:
    pages: Pages[str] = Pages(kept=2)
    tokens = [pages.keep("pods", version, ("a",), 1) for version in (1, 2, 3)]
    assert pages.find("pods", tokens[0]) is None
    assert pages.find("pods", tokens[2])


@pytest.mark.parametrize("token", ["x", "é", "====", "e30", "W10", "eyJydiI6ICJ4IiwgInN0YXJ0IjogMX0"])
def test_other_text_is_no_token(token: str) -> None:
    with pytest.raises(BadTokenError):
        Pages().find("pods", token)
