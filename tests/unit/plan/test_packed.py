"""Tests that a packed plan reads as the plan itself, in less memory."""

from __future__ import annotations

import pickle

from emulator.plan.packed import pack
from emulator.schedule.planner import plan_cluster
from tests.sandboxed import state_of


def test_a_packed_plan_is_equal_to_the_plan() -> None:
    plan = plan_cluster(state_of("three-networks"))
    packed = pack(plan)
    assert tuple(packed.operations) == tuple(plan.operations)
    assert packed == plan
    assert hash(packed) == hash(plan)
    assert len(packed.operations) == len(plan.operations)
    assert packed.operations[3] == plan.operations[3]
    assert packed.operations[2:5] == plan.operations[2:5]
    assert packed.netns == plan.netns


def test_a_packed_plan_goes_to_another_process() -> None:
    plan = plan_cluster(state_of("three-networks"))
    assert pickle.loads(pickle.dumps(pack(plan))) == plan  # noqa: S301 - our own


def test_a_packed_plan_is_small() -> None:
    plan = plan_cluster(state_of("three-networks"))
    assert len(pickle.dumps(pack(plan))) < len(pickle.dumps(plan)) / 3
