"""Tests the notices of a run: each once, with the kernel's detail if there is one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from emulator.model.notices import Notice
from emulator.run.reporting import _notices


def test_the_kernel_s_detail_stands_in_place_of_the_sentence_alone() -> None:
    """Compares whole sentences: "port 80" is another port than "port 8080". A warning names a listener that
    the objects refuse.
    """
    refused = SimpleNamespace(refused="taken", refusal="port 9 is taken")
    state: Any = SimpleNamespace(
        notices=("port 80 is taken", "port 8080 is taken", "left out: 1 Ingress"),
        flowChecks=("one",),
        listeners=[refused],
    )
    schedule: Any = SimpleNamespace(moments=[SimpleNamespace(state=state)], pairs=True, state=state)
    recording = SimpleNamespace(lost=lambda: 0, left_out=0)
    said = [
        Notice("port 8080 is taken", "Address already in use"),
        Notice("iptables loads the rules"),
        Notice("port 9 is taken", "Address already in use"),
    ]
    live: Any = SimpleNamespace(said=[*said, said[0]], recording=recording)
    findings: Any = SimpleNamespace(limits={})
    assert list(_notices(schedule, live, findings)) == [
        "port 80 is taken",
        "left out: 1 Ingress",
        "port 8080 is taken (Address already in use)",
        "iptables loads the rules",
    ]
