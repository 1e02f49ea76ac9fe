"""How many connections meet every endpoint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.probe.expect import MAX_ATTEMPTS, attempts_for
from tests.unit.probe.promises import promised
from tests.unit.probe.states import (
    WEB_IP,
    make_service,
    make_state,
)


@pytest.mark.parametrize(
    ("backends", "attempts"), [(0, 1), (1, 1), (2, 21), (3, 37), (5, 70), (24, 400), (25, MAX_ATTEMPTS), (5000, MAX_ATTEMPTS)]
)
def test_attempts_for(backends: int, attempts: int) -> None:
    assert attempts_for(backends) == attempts


@given(st.integers(2, 24))
def test_attempts_are_the_fewest_that_meet_every_backend(backends: int) -> None:
    def risk(attempts: int) -> float:
        return backends * (1 - 1 / backends) ** attempts

    assert risk(attempts_for(backends)) < 1e-6 <= risk(attempts_for(backends) - 1)


@pytest.mark.parametrize(("attempts", "partial"), [(None, False), (21, False), (20, True), (1, True)])
def test_too_few_attempts_need_not_meet_every_backend(attempts: int | None, partial: bool) -> None:
    assert promised(make_state(make_service()), "client", WEB_IP, 80, attempts=attempts).partial is partial
