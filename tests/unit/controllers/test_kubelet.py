"""Tests what the kubelets of a cluster that lives report of their Pods."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.controllers.kubelet import (
    Ended,
    Facts,
    Probe,
    Run,
    grace_needed,
    later,
    pod_status,
    qos_class,
    rfc3339,
)

UID = "8d6a0bdf-9b1b-4a0e-8d3c-000000000000"
NOW, LATER = "2026-12-01T12:00:00Z", "2026-12-01T12:00:05Z"


def pod(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "web", "image": "nginx"}, {"name": "log", "image": "fluentd"}]
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"nodeName": "worker", "containers": containers, **spec},
        "status": status or {"phase": "Pending"},
    }


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in status["conditions"]}


def test_a_pod_without_a_node_is_pending() -> None:
    status = pod_status(pod(nodeName=""), Facts(), UID, NOW)
    assert status == {"phase": "Pending", "qosClass": "BestEffort"}


def test_a_pod_without_a_network_is_being_created() -> None:
    status = pod_status(pod(), Facts(), UID, NOW, ["172.18.0.3"])
    assert (status["phase"], status["hostIP"]) == ("Pending", "172.18.0.3")
    assert conditions(status)["Ready"] == "False"
    assert "containerStatuses" not in status


def test_a_pod_with_its_network_runs_and_is_ready() -> None:
    status = pod_status(pod({"podIPs": [{"ip": "10.244.1.2"}]}), Facts(up={UID: NOW}), UID, LATER)
    assert (status["phase"], status["podIP"], status["startTime"]) == ("Running", "10.244.1.2", NOW)
    assert set(conditions(status).values()) == {"True"}
    assert [one["state"]["running"]["startedAt"] for one in status["containerStatuses"]] == [NOW, NOW]


def test_a_time_changes_with_its_condition_alone() -> None:
    facts = Facts(up={UID: NOW})
    first = pod_status(pod(), facts, UID, NOW)
    assert pod_status(pod(first), facts, UID, LATER) == first
    facts.probes[UID] = {"log": Probe(ready=False)}
    unready = pod_status(pod(first), facts, UID, LATER)
    times = {one["type"]: one["lastTransitionTime"] for one in unready["conditions"]}
    assert (times["Ready"], times["PodScheduled"]) == (LATER, NOW)
    row = next(one for one in unready["conditions"] if one["type"] == "Ready")
    assert (row["reason"], row["message"]) == (
        "ContainersNotReady",
        "containers with unready status: [log]",
    )


def test_readiness_gates_are_waited_for_and_kept() -> None:
    gate = {"type": "example.org/lb", "status": "False"}
    document = pod({"conditions": [gate]}, readinessGates=[{"conditionType": "example.org/lb"}])
    status = pod_status(document, Facts(up={UID: NOW}), UID, NOW)
    assert conditions(status)["ContainersReady"] == "True"
    assert conditions(status)["Ready"] == "False"
    assert gate in status["conditions"]
    document["status"]["conditions"][0]["status"] = "True"
    assert conditions(pod_status(document, Facts(up={UID: NOW}), UID, NOW))["Ready"] == "True"


@pytest.mark.parametrize(
    ("policy", "codes", "phase"),
    [("Never", (0, 0), "Succeeded"), ("Never", (0, 3), "Failed"), ("Always", (0, 0), "Running")],
)
def test_a_pod_ends_with_its_containers(policy: str, codes: tuple[int, int], phase: str) -> None:
    runs = {name: Run(NOW, Ended(code, LATER)) for name, code in zip(("web", "log"), codes, strict=True)}
    status = pod_status(pod(restartPolicy=policy), Facts(up={UID: NOW}, runs={UID: runs}), UID, LATER)
    assert status["phase"] == phase
    assert [one["state"]["terminated"]["exitCode"] for one in status["containerStatuses"]] == list(codes)


def test_a_restarted_container_tells_of_its_last_end() -> None:
    run = Run(LATER, restarts=2, last=Ended(137, LATER), last_since=NOW)
    status = pod_status(pod(), Facts(up={UID: NOW}, runs={UID: {"web": run}}), UID, LATER)
    row = status["containerStatuses"][0]
    assert (row["restartCount"], row["lastState"]["terminated"]["exitCode"]) == (2, 137)


def test_a_pod_serves_as_long_as_its_pre_stop_sleeps() -> None:
    stop = {"preStop": {"sleep": {"seconds": 5}}}
    containers = [{"name": "a"}, {"name": "b", "lifecycle": stop}]
    assert grace_needed(pod(containers=containers)) == 5
    assert grace_needed(pod(containers=containers, terminationGracePeriodSeconds=2)) == 2
    hurried = pod(containers=containers)
    hurried["metadata"]["deletionGracePeriodSeconds"] = 1
    assert grace_needed(hurried) == 1
    assert grace_needed(pod()) == 0


def test_times() -> None:
    assert later(NOW, 5) == LATER
    assert rfc3339(0) == "1970-01-01T00:00:00Z"


def test_quality_of_service() -> None:
    limits = {"limits": {"cpu": "1", "memory": "1Gi"}}
    assert qos_class({"containers": [{"name": "a"}]}) == "BestEffort"
    assert qos_class({"containers": [{"name": "a", "resources": limits}]}) == "Guaranteed"
    mixed = {"containers": [{"name": "a", "resources": limits}, {"name": "b"}]}
    assert qos_class(mixed) == "Burstable"
