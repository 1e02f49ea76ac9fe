"""Tests that events count up, are combined, and expire."""

from __future__ import annotations

from emulator.controllers.apps.events import record
from tests.unit.controllers.apps.living import START, Living, workload

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default", "uid": "1"}}


def test_an_event_says_about_whom_it_is() -> None:
    living = Living()
    stored = living.create(workload("ReplicaSet", "web", 1))
    (event,) = living.events("SuccessfulCreate")
    assert event["involvedObject"]["uid"] == stored.uid
    assert {key: event["involvedObject"][key] for key in ("apiVersion", "kind", "name", "namespace")} == {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "web",
        "namespace": "default",
    }
    assert event["source"] == {"component": "replicaset-controller"}
    assert (event["firstTimestamp"], event["lastTimestamp"], event["count"]) == (START, START, 1)


def test_an_event_that_happens_again_counts_up() -> None:
    living = Living()
    for _ in range(3):
        record(living.plane, POD, "Warning", "BackOff", "it fails", "kubelet")
        living.pass_time(5)
    (event,) = living.events("BackOff")
    assert (event["count"], event["firstTimestamp"]) == (3, START)
    assert event["lastTimestamp"] == "2026-12-01T12:00:10Z"


def test_many_messages_of_one_reason_are_combined() -> None:
    living = Living()
    for number in range(15):
        record(living.plane, POD, "Normal", "Pulled", f"image {number}", "kubelet")
    rows = living.events("Pulled")
    assert len(rows) == 11
    assert rows[-1]["count"] == 5
    assert rows[-1]["message"] == "(combined from similar events): image 14"


def test_another_component_or_object_has_its_own_event() -> None:
    living = Living()
    other = {**POD, "metadata": {"name": "a", "namespace": "default", "uid": "2"}}
    record(living.plane, POD, "Normal", "Pulled", "image", "kubelet")
    record(living.plane, POD, "Normal", "Pulled", "image", "another")
    record(living.plane, other, "Normal", "Pulled", "image", "kubelet")
    assert [event["count"] for event in living.events("Pulled")] == [1, 1, 1]


def test_an_event_about_a_node_is_in_the_namespace_default() -> None:
    living = Living()
    record(living.plane, {"kind": "Node", "metadata": {"name": "n"}}, "Normal", "Starting", "", "kubelet")
    (event,) = living.events("Starting")
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["involvedObject"]


def test_events_expire_after_an_hour_unless_they_happen_again() -> None:
    living = Living()
    record(living.plane, POD, "Normal", "Old", "", "kubelet")
    record(living.plane, POD, "Normal", "Again", "", "kubelet")
    living.reconcile()
    for _ in range(59):
        living.pass_time(60)
    record(living.plane, POD, "Normal", "Again", "", "kubelet")
    living.pass_time(30)
    assert living.events("Old")
    for _ in range(3):
        living.pass_time(60)
    assert not living.events("Old")
    assert living.events("Again")[0]["count"] == 2
    for _ in range(62):
        living.pass_time(60)
    assert not living.events("Again")
