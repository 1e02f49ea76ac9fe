"""Tests what a run says where it stays up."""

from __future__ import annotations

import pytest

from emulator.run.run import invite
from tests.sandboxed import state_of


@pytest.mark.parametrize("which", ["", " --cluster 42"])
def test_the_hints_name_the_cluster_where_others_stay_up(which: str) -> None:
    state = state_of(
        text="{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: c}]}}"
    )
    lines = invite(state, which).splitlines()[1:]
    assert lines == [
        f"  podwire shell{which} default/web",
        f"  podwire exec{which} {state.nodes[-1].name} -- ip route",
        "  podwire ps",
    ]
