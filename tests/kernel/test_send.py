"""Sending from inside namespaces: what sockets meet, and how long silence is waited for."""

from __future__ import annotations

import pytest

from emulator.kernel.apply import apply
from emulator.kernel.ring import Taps
from emulator.plan.operations import AddNetns, AddRoute, Plan
from emulator.probe import send
from emulator.probe.model import Client, Destination, Flow
from tests.sandboxed import in_sandbox

pytestmark = pytest.mark.kernel

NOBODY = "192.0.2.1"  # its route leads into the loopback, and nobody there has it


def test_what_is_begun_after_silence_has_a_silence_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "_WINDOW", 1)  # one socket at a time
    client = Client(kind="pod", label="a", netns="a", ip="127.0.0.1")
    flow = Flow(name="f", kind="other", client=client, to=Destination(label="b", ip=NOBODY, port=9), protocol="UDP", attempts=3)
    plan = Plan(name="t", operations=(AddNetns(netns="a", why="t"), AddRoute(netns="a", dst=f"{NOBODY}/32", dev="lo", why="t")))

    @in_sandbox
    def outcomes() -> list[tuple[str, float]]:
        prober = send.Prober(apply(plan).namespaces, send.Recording(Taps()), seed=0)
        return [(a.error, (a.finished - a.started) / 1e9) for a in prober.probe([flow], crafted=False)]

    attempts = outcomes()
    assert [error for error, _ in attempts] == ["timeout"] * 3
    assert all(seconds > 0.8 * send.SILENCE for _, seconds in attempts)
