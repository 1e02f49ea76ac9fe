"""Tests the static neighbour entries that a script has in place of the speakers."""

from __future__ import annotations

from emulator.plan.operations import AddNeighbour
from emulator.schedule.planner import plan_speakers
from tests.unit.controllers.clusters import (
    cluster,
    pod,
    service,
    settled,
)


def test_the_router_is_told_what_the_speaker_would_answer() -> None:
    state = settled(
        cluster("{role: control-plane}, {role: worker}"),
        pod("web", "app: web", "{containerPort: 80}", "nodeName: worker-1"),
        service("web", "type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]"),
        service("empty", "type: LoadBalancer, ports: [{port: 80}]"),
    )
    (told,) = plan_speakers(state)
    assert isinstance(told, AddNeighbour)
    assert (told.netns, told.dev, told.address, told.mac) == (
        "router",
        "eth0",
        "172.18.255.200",
        "0a:58:ac:12:00:03",
    )
    assert told.why.startswith("worker-1 announces 172.18.255.200")
