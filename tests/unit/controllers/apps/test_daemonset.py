"""Tests DaemonSets: on which nodes they run, and how they roll."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.controllers.apps.documents import is_active, is_ready
from tests.unit.controllers.apps.living import Living, set_image, set_spec, workload


def started(**spec: Any) -> Living:
    living = Living()
    living.create(workload("DaemonSet", "ds", None, **spec))
    living.settle()
    return living


def by_node(living: Living) -> dict[str, str]:
    rows = [one for one in living.all("Pod") if is_active(one)]
    return {one.object.spec.nodeName: one.manifest["spec"]["containers"][0]["image"] for one in rows}


def rolling(**fields: Any) -> dict[str, Any]:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": fields}}


WORKERS = {"worker-1", "worker-2", "worker-3"}


def test_each_worker_has_a_pod_and_the_control_plane_has_none() -> None:
    living = started()
    assert {*by_node(living)} == WORKERS
    status = living.status("DaemonSet", "ds")
    assert status == {
        "currentNumberScheduled": 3,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 3,
        "numberReady": 3,
        "observedGeneration": 1,
        "updatedNumberScheduled": 3,
        "numberAvailable": 3,
    }
    pod = living.all("Pod")[0]
    assert pod.object.metadata.labels["controller-revision-hash"]
    keys = {one.key for one in pod.object.spec.tolerations}
    assert "node.kubernetes.io/unschedulable" in keys
    (revision,) = living.all("ControllerRevision")
    assert revision.object.metadata.labels["controller-revision-hash"] == revision.key.name.removeprefix(
        "ds-"
    )


def test_a_node_that_no_longer_fits_loses_its_pod() -> None:
    living = started()
    template = living.document("DaemonSet", "ds")["spec"]["template"]
    template["spec"]["nodeSelector"] = {"disk": "ssd"}
    living.change("DaemonSet", "ds", set_spec(template=template))
    living.settle()
    assert by_node(living) == {}
    living.change("Node", "worker-2", lambda node: node["metadata"]["labels"].update(disk="ssd"), "")
    living.settle()
    assert {*by_node(living)} == {"worker-2"}


@pytest.mark.parametrize(("effect", "stays"), [("NoSchedule", True), ("NoExecute", False)])
def test_a_taint_no_schedule_lets_a_pod_stay(effect: str, stays: bool) -> None:
    living = started()
    living.change("Node", "worker-1", set_spec(taints=[{"key": "k", "value": "v", "effect": effect}]), "")
    living.settle()
    assert {*by_node(living)} == (WORKERS if stays else WORKERS - {"worker-1"})
    assert living.status("DaemonSet", "ds")["numberMisscheduled"] == int(stays)


def test_a_node_that_is_cordoned_keeps_getting_pods() -> None:
    living = started()
    living.change("Node", "worker-1", set_spec(unschedulable=True), "")
    (name,) = [one.key.name for one in living.all("Pod") if one.object.spec.nodeName == "worker-1"]
    living.delete("Pod", name)
    living.settle()
    assert {*by_node(living)} == WORKERS


@pytest.mark.parametrize(
    ("fields", "least"), [({}, 2), ({"maxUnavailable": 2}, 1), ({"maxUnavailable": "50%"}, 1)]
)
def test_a_rolling_update_keeps_enough_available(fields: dict[str, Any], least: int) -> None:
    living = started(**rolling(**fields))
    living.change("DaemonSet", "ds", set_image("web:2"))
    fewest = 3
    for _ in range(12):
        fewest = min(fewest, sum(is_active(one) and is_ready(one) for one in living.all("Pod")))
        living.step()
    assert fewest == least
    assert {*by_node(living).values()} == {"web:2"}


def test_a_surge_starts_the_new_pod_first() -> None:
    living = started(**rolling(maxSurge=1, maxUnavailable=0))
    living.change("DaemonSet", "ds", set_image("web:2"))
    most = 0
    for _ in range(15):
        alive = [one for one in living.all("Pod") if is_active(one)]
        assert {one.object.spec.nodeName for one in alive if is_ready(one)} == WORKERS
        most = max(most, len(alive))
        living.step()
    assert most == 4
    assert {*by_node(living).values()} == {"web:2"}
    assert len(living.all("Pod")) == 3


def test_on_delete_leaves_the_replacement_to_the_user() -> None:
    living = started(updateStrategy={"type": "OnDelete"})
    living.change("DaemonSet", "ds", set_image("web:2"))
    living.settle()
    assert {*by_node(living).values()} == {"web:1"}
    pod = living.all("Pod")[0]
    living.delete("Pod", pod.key.name)
    living.settle()
    assert by_node(living)[pod.object.spec.nodeName] == "web:2"


def test_a_failed_pod_is_replaced() -> None:
    living = started()
    failed = living.all("Pod")[0].key
    living.ends = lambda pod: "Failed" if pod.key == failed else ""
    living.settle()
    assert failed not in [one.key for one in living.all("Pod")]
    assert {*by_node(living)} == WORKERS
    assert "Found failed daemon pod default/" in living.messages("FailedDaemonPod")[0]


def test_a_node_that_goes_is_counted_no_more() -> None:
    living = started()
    living.delete("Node", "worker-3", "")
    living.settle()
    assert living.status("DaemonSet", "ds")["desiredNumberScheduled"] == 2


def test_a_second_look_changes_nothing() -> None:
    living = started()
    before = living.plane.store.resourceVersion
    living.plane.resync()
    assert living.plane.store.resourceVersion == before
