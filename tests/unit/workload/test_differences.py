"""Tests the differences that workers get of every state after the first."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState
from emulator.objects.notices import NoControlPlane
from emulator.workload.differences import _NOT_TOLD, Difference, difference, patch
from tests.sandboxed import TOPOLOGIES, scenario_of, state_of

SHIPPED = sorted(
    {path.name.removesuffix(path.suffix) for path in TOPOLOGIES.iterdir() if path.name[0] not in "_."}
)
STATE = state_of("hairpin")


def told(state: ClusterState) -> dict[str, object]:
    return {field.name: getattr(state, field.name) for field in fields(state) if field.name not in _NOT_TOLD}


def sent(old: ClusterState, new: ClusterState) -> bytes:
    return pickle.dumps(difference(old, new))


def received(old: ClusterState, new: ClusterState) -> Difference:
    changed: Difference = pickle.loads(sent(old, new))  # noqa: S301 - our own
    return changed


@pytest.mark.parametrize("name", SHIPPED)
def test_a_worker_knows_every_state_of_a_run(name: str) -> None:
    states = [moment.state for moment in scenario_of(name).moments]
    known = states[0]
    for old, new in pairwise(states):
        known = patch(known, received(old, new))
        assert told(known) == told(new)


@given(st.lists(st.integers(0, len(STATE.pods) - 1)), st.lists(st.integers(0, len(STATE.pods) - 1)))
def test_any_tuple_becomes_any_other(before: list[int], after: list[int]) -> None:
    old, new = (replace(STATE, pods=tuple(STATE.pods[i] for i in order)) for order in (before, after))
    assert patch(old, received(old, new)).pods == new.pods


def test_what_both_states_have_is_not_sent() -> None:
    assert difference(STATE, replace(STATE)) == {}
    assert difference(STATE, replace(STATE, notices=(NoControlPlane(),))) == {}
    pods = tuple(replace(pod) for pod in STATE.pods)
    many = replace(STATE, pods=pods * 1_000)
    one = replace(many, pods=(*many.pods[:500], replace(pods[0]), *many.pods[501:]))
    assert difference(many, one)["pods"].middle == (pods[0],)
    assert len(sent(many, one)) < 5_000
