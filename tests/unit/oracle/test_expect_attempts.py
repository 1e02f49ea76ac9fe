"""Tests how many connections meet every endpoint."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.net import Endpoint
from emulator.oracle.attempts import attempts_for_stranger
from emulator.oracle.expectations import MAX_ATTEMPTS, attempts_for, attempts_to_meet_each
from tests.unit.oracle.promises import ON_1, promised
from tests.unit.states import (
    PODS,
    WEB_0,
    WEB_IP,
    make_endpoint,
    make_pod,
    make_service,
    make_slice,
    make_state,
)


@pytest.mark.parametrize(
    ("backends", "attempts"),
    [(0, 1), (1, 1), (2, 21), (3, 37), (5, 70), (24, 400), (25, MAX_ATTEMPTS), (5000, MAX_ATTEMPTS)],
)
def test_attempts_for(backends: int, attempts: int) -> None:
    assert attempts_for(backends) == attempts


@given(st.integers(2, 24))
def test_attempts_are_the_fewest_that_meet_every_backend(backends: int) -> None:
    def risk(attempts: int) -> float:
        return backends * (1 - 1 / backends) ** attempts

    assert risk(attempts_for(backends)) < 1e-6 <= risk(attempts_for(backends) - 1)


@given(st.integers(2, 400))
def test_enough_attempts_are_the_fewest_that_meet_an_endpoint_too_many(backends: int) -> None:
    def risk(attempts: int) -> float:
        return (1 - 1 / (backends + 1)) ** attempts

    assert risk(attempts_for_stranger(backends)) < 1e-2 <= risk(attempts_for_stranger(backends) - 1)


def test_one_connection_is_enough_for_one_endpoint() -> None:
    assert attempts_for_stranger(0) == attempts_for_stranger(1) == 1


@pytest.mark.parametrize(("attempts", "partial"), [(None, False), (21, False), (20, True), (1, True)])
def test_too_few_attempts_need_not_meet_every_backend(attempts: int | None, partial: bool) -> None:
    assert promised(make_state(make_service()), "client", WEB_IP, 80, attempts=attempts).partial is partial


@pytest.mark.parametrize("count", [25, 60, 395])
def test_no_endpoint_of_so_many_has_to_be_met_that_400_attempts_may_miss_it(count: int) -> None:
    """Takes the run of 395 Pods behind one Service that failed with "… never answered in 401 attempts"."""
    pods = [
        make_pod(f"p{n}", "worker-1", f"10.244.{1 + n // 200}.{10 + n % 200}", [8080]) for n in range(count)
    ]
    state = make_state(
        make_service(),
        slices=[make_slice(*(make_endpoint(pod.ip, "worker-1") for pod in pods))],
        pods=[*PODS, *pods],
    )
    assert promised(state, "client", WEB_IP, 80).partial
    assert not promised(state, "client", WEB_IP, 80, attempts=attempts_to_meet_each(count)).partial


@pytest.mark.parametrize(
    ("stale", "attempts", "required"), [(1, 21, {ON_1}), (1, 20, {ON_1}), (1, 19, ()), (60, 400, ())]
)
def test_the_endpoint_that_answers_is_met_if_enough_attempts_are_made(
    stale: int, attempts: int, required: Collection[Endpoint]
) -> None:
    """Leads each attempt by chance to an endpoint that nobody serves: 2 ** -20 is below the risk that is
    taken, 2 ** -19 is not.
    """
    ends = [
        make_endpoint(WEB_0, "worker-1"),
        *(make_endpoint(f"10.244.1.{100 + n}", "worker-1") for n in range(stale)),
    ]
    found = promised(
        make_state(make_service(), slices=[make_slice(*ends)]), "client", WEB_IP, 80, attempts=attempts
    )
    assert (found.outcomes, set().union(*found.must_meet)) == ({"delivered", "dropped"}, set(required))
