"""Tests the notices of a run: each once, and none that a warning has said."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from emulator.cluster.state import Holder, Listener
from emulator.model.notices import FramesLost, LoaderMissing, PortRefused
from emulator.net import Address
from emulator.objects.notices import EndedPods, LeftOutKinds, NoControlPlane
from emulator.run.reporting import _notices

SERVED = Listener(
    pod="default/p",
    netns="default_p",
    node="worker-1",
    container="b",
    ip=Address("10.244.1.2"),
    port=80,
    protocol="TCP",
)
REFUSED = replace(SERVED, refused=Holder("a"))


def state_of(*listeners: Listener, ended: int) -> Any:
    return SimpleNamespace(
        notices=(LeftOutKinds((("Ingress", 1),)), EndedPods(ended)),
        flowChecks=("one",),
        listeners=listeners,
    )


def test_a_notice_is_said_once_and_not_beside_a_warning() -> None:
    """Says a refusal of the kernel's alone if the objects of this run do not refuse that port themselves."""
    moments = [SimpleNamespace(state=state_of(REFUSED, ended=1)), SimpleNamespace(state=state_of(ended=2))]
    schedule: Any = SimpleNamespace(moments=moments, pairs=True, state=moments[0].state)
    recording = SimpleNamespace(lost=lambda: 3, left_out=0)
    missing = LoaderMissing("iptables-nft-restore", "iptables-legacy-restore")
    other = PortRefused(replace(REFUSED, port=8080), Holder("a"), "Address already in use")
    said = [missing, PortRefused(REFUSED, Holder("a"), "Address already in use"), other, missing]
    live: Any = SimpleNamespace(said=said, recording=recording)
    findings: Any = SimpleNamespace(limits={})
    assert list(_notices(schedule, live, findings)) == [
        LeftOutKinds((("Ingress", 1),)),
        EndedPods(1),
        EndedPods(2),
        missing,
        other,
        FramesLost(3),
    ]


def test_equal_numbers_make_no_equal_notices() -> None:
    assert len({EndedPods(3), FramesLost(3)}) == 2
    assert NoControlPlane() == NoControlPlane()
