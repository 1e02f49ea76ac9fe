"""Provides shorthands for the tests of loading."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from emulator.errors import InputError, Problem
from emulator.load.load import load
from emulator.objects.config import Inventory

NOWHERE = Path("/nonexistent")


def load_text(text: str) -> Inventory:
    return load(["-"], topologies=NOWHERE, stdin=io.StringIO(text))


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        load_text(text)
    return caught.value.problems
