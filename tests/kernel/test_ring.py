"""The taps of a run: that they go, whatever came between."""

from __future__ import annotations

import pytest

from emulator.kernel import ring
from emulator.kernel.apply import apply
from emulator.kernel.ring import Taps
from emulator.plan.operations import AddNetns, Plan
from tests.sandboxed import in_sandbox

pytestmark = pytest.mark.kernel


@in_sandbox
def test_who_is_interrupted_while_they_are_opened_can_close_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes when it will: of two taps one is set up."""
    set_up = ring._Tap.set_up

    def interrupted(tap: ring._Tap) -> None:
        if tap.name == "b":
            raise KeyboardInterrupt
        set_up(tap)

    monkeypatch.setattr(ring._Tap, "set_up", interrupted)
    namespaces = apply(Plan(name="t", operations=tuple(AddNetns(netns=name, why="t") for name in "ab"))).namespaces
    taps = Taps()
    with pytest.raises(KeyboardInterrupt):
        taps.open(namespaces, {}, {}, {"a": 64, "b": 64})
    taps.close()
