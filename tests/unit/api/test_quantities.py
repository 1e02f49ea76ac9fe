"""Tests quantities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.api.quantities import amount, canonical


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1000", "1k"),
        ("1e3", "1e3"),
        ("100e-3", "100e-3"),
        ("0", "0"),
        ("-1500m", "-1500m"),
        ("1000000Ki", "1000000Ki"),
        (".5", "500m"),
        ("a lot", "a lot"),
        ("", ""),
        ("+", "+"),
    ],
)
def test_quantities_have_one_form(written: str, kept: str) -> None:
    assert canonical(written) == kept


@given(st.integers(-(10**12), 10**12), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "e3", "E-3"]))
def test_the_amount_stays(number: int, suffix: str) -> None:
    text = canonical(f"{number}{suffix}")
    assert amount(text) == amount(f"{number}{suffix}")
    assert canonical(text) == text
