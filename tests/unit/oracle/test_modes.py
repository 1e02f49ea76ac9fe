"""Tests that the two tables about the modes of kube-proxy hold what they claim: sections and tests exist."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from emulator.objects.config import ProxyMode
from emulator.oracle.modes import DEVIATIONS, SEMANTICS, Deviates, Deviation, Semantics
from tests.unit.test_semantics_sentences import sentences

ROOT = Path(__file__).parents[3]
COMMON_SECTIONS = 9  # sections 1 to 12 speak of every mode; of those with a deviation 9 is the last


def test_every_mode_has_its_row() -> None:
    assert set(SEMANTICS) == set(get_args(ProxyMode))


def test_every_deviation_is_seen_in_some_mode() -> None:
    assert sorted(row.what for row in DEVIATIONS) == sorted(get_args(Deviates))


@pytest.mark.parametrize("column", Semantics._fields)
def test_a_column_decides_something(column: str) -> None:
    assert len({getattr(row, column) for row in SEMANTICS.values()}) > 1


@pytest.mark.parametrize("row", DEVIATIONS, ids=lambda row: row.what)
def test_a_deviation_is_in_the_semantics(row: Deviation) -> None:
    text = " ".join(text for _, text in sentences(row.section, row.section))
    assert row.section > COMMON_SECTIONS or row.mode in text


@pytest.mark.parametrize("row", DEVIATIONS, ids=lambda row: row.what)
def test_a_deviation_has_its_test(row: Deviation) -> None:
    files = [*(ROOT / "tests" / "kernel").glob("test_*.py"), *(ROOT / "tests/data/found").glob("*.yaml")]
    tests = " ".join(
        [file.stem for file in files] + [file.read_text() for file in files if file.suffix == ".py"]
    )
    assert row.test in tests or f"def test_{row.test.replace(' ', '_')}(" in tests
