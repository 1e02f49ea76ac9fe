"""Tests the notices of a report beside its flows."""

from __future__ import annotations

import pytest

from emulator.oracle.expectations import attempts_for, expect
from emulator.run.reporting import is_sample
from tests.unit.states import (
    WEB_IP,
    make_flow,
    make_service,
    make_state,
)

ENOUGH = attempts_for(2)


@pytest.mark.parametrize(
    ("affinity", "attempts", "more"),
    [("None", 3, True), ("None", ENOUGH, False), ("ClientIP", ENOUGH, False)],
    ids=["few", "enough", "sticky"],
)
def test_more_attempts_would_meet_more_endpoints(affinity: str, attempts: int, more: bool) -> None:
    state = make_state(make_service(sessionAffinity=affinity))
    flow = make_flow(state, "client", WEB_IP, 80, attempts=attempts)
    assert is_sample(flow, expect(state, flow)) is more
