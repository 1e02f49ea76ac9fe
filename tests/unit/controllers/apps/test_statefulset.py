"""Tests StatefulSets: the order of their Pods, partitions, revisions, volume claims."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.controllers.apps.living import Living, set_image, set_spec, workload


def started(replicas: int = 3, **spec: Any) -> Living:
    living = Living()
    living.create(workload("StatefulSet", "db", replicas, serviceName="db", **spec))
    living.settle()
    return living


def images(living: Living) -> dict[str, str]:
    pods = sorted(living.all("Pod"), key=lambda pod: pod.key.name)
    return {one.key.name: one.manifest["spec"]["containers"][0]["image"] for one in pods}


def ending(living: Living) -> list[str]:
    return [one.key.name for one in living.all("Pod") if one.deletionTimestamp]


def test_pods_start_one_after_another() -> None:
    living = Living()
    living.create(workload("StatefulSet", "db", 3, serviceName="db"))
    seen = []
    for _ in range(7):
        seen.append(len(living.all("Pod")))
        living.step()
    assert seen == [1, 1, 2, 2, 3, 3, 3]
    document = living.document("Pod", "db-1")
    assert (document["spec"]["hostname"], document["spec"]["subdomain"]) == ("db-1", "db")
    labels = document["metadata"]["labels"]
    assert labels["statefulset.kubernetes.io/pod-name"] == "db-1"
    assert labels["apps.kubernetes.io/pod-index"] == "1"
    assert living.messages("SuccessfulCreate")[0] == "create Pod db-0 in StatefulSet db successful"
    status = living.status("StatefulSet", "db")
    assert labels["controller-revision-hash"] == status["currentRevision"] == status["updateRevision"]
    keys = ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    assert [status[key] for key in keys] == [3] * 5


def test_parallel_pods_start_at_once() -> None:
    living = Living()
    living.create(workload("StatefulSet", "db", 3, podManagementPolicy="Parallel"))
    assert living.names("Pod") == ["db-0", "db-1", "db-2"]


def test_ordinals_begin_where_they_should() -> None:
    assert started(2, ordinals={"start": 5}).names("Pod") == ["db-5", "db-6"]


def test_it_shrinks_from_the_highest_ordinal_one_at_a_time() -> None:
    living = started(3)
    living.change("StatefulSet", "db", set_spec(replicas=1))
    assert ending(living) == ["db-2"]
    living.step()
    assert ending(living) == ["db-1"]
    living.settle()
    assert living.names("Pod") == ["db-0"]


def test_a_pod_that_is_not_ready_holds_the_others_back() -> None:
    living = Living()
    living.keeps_unready = lambda pod: pod.key.name == "db-1"
    living.create(workload("StatefulSet", "db", 3))
    living.settle()
    assert living.names("Pod") == ["db-0", "db-1"]
    living.keeps_unready = lambda _: False
    living.settle()
    assert living.names("Pod") == ["db-0", "db-1", "db-2"]


def test_a_deleted_pod_comes_back_under_its_name_when_it_is_gone() -> None:
    living = started(2)
    before = living.document("Pod", "db-0")["metadata"]["uid"]
    living.lingers = lambda _: True
    pod = living.document("Pod", "db-0")
    pod["metadata"] |= {"deletionTimestamp": living.plane.now, "deletionGracePeriodSeconds": 30}
    living.plane.store.write(pod)
    living.step()
    assert living.document("Pod", "db-0")["metadata"]["uid"] == before
    living.lingers = lambda _: False
    living.settle()
    assert living.document("Pod", "db-0")["metadata"]["uid"] != before


def test_an_update_goes_from_the_highest_ordinal_down() -> None:
    living = started(3)
    living.change("StatefulSet", "db", set_image("web:2"))
    order = []
    for _ in range(12):
        order += [name for name in ending(living) if name not in order]
        assert sum(one.deletionTimestamp is None for one in living.all("Pod")) >= 2
        living.step()
    assert order == ["db-2", "db-1", "db-0"]
    assert {*images(living).values()} == {"web:2"}
    status = living.status("StatefulSet", "db")
    assert status["currentRevision"] == status["updateRevision"]
    assert [one.manifest["revision"] for one in living.all("ControllerRevision")] == [1, 2]


def test_a_partition_keeps_the_pods_below_it() -> None:
    living = started(3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    living.change("StatefulSet", "db", set_image("web:2"))
    living.settle()
    assert images(living) == {"db-0": "web:1", "db-1": "web:1", "db-2": "web:2"}
    status = living.status("StatefulSet", "db")
    assert (status["currentReplicas"], status["updatedReplicas"]) == (2, 1)
    assert status["currentRevision"] != status["updateRevision"]
    living.delete("Pod", "db-0")
    living.settle()
    assert images(living)["db-0"] == "web:1"


def test_on_delete_leaves_the_replacement_to_the_user() -> None:
    living = started(2, updateStrategy={"type": "OnDelete"})
    living.change("StatefulSet", "db", set_image("web:2"))
    living.settle()
    assert {*images(living).values()} == {"web:1"}
    living.delete("Pod", "db-1")
    living.settle()
    assert images(living) == {"db-0": "web:1", "db-1": "web:2"}


def test_undo_takes_the_old_revision_again() -> None:
    living = started(1)
    for image in ("web:2", "web:1"):
        living.change("StatefulSet", "db", set_image(image))
        living.settle()
    rows = {one.key.name: one.manifest["revision"] for one in living.all("ControllerRevision")}
    assert sorted(rows.values()) == [2, 3]
    assert rows[living.status("StatefulSet", "db")["currentRevision"]] == 3


def test_a_failed_pod_is_made_again() -> None:
    living = started(1)
    first = living.document("Pod", "db-0")["metadata"]["uid"]
    living.ends = lambda pod: "Failed" if pod.uid == first else ""
    living.settle()
    assert living.document("Pod", "db-0")["metadata"]["uid"] != first
    assert living.messages("SuccessfulDelete") == ["delete Pod db-0 in StatefulSet db successful"]


def test_surplus_pods_wait_for_a_sick_one_below_them() -> None:
    living = started(4)
    living.keeps_unready = lambda pod: pod.key.name in ("db-2", "db-3")
    living.settle()
    living.change("StatefulSet", "db", set_spec(replicas=2))
    living.settle()
    assert living.names("Pod") == ["db-0", "db-1", "db-2", "db-3"]
    living.keeps_unready = lambda pod: pod.key.name == "db-2"
    living.settle()
    assert living.names("Pod") == ["db-0", "db-1"]


def test_pods_for_which_there_is_no_room_are_tried_again() -> None:
    living = Living(workers=1)
    living.create(workload("StatefulSet", "db", 30_000, podManagementPolicy="Parallel"))
    made = len(living.all("Pod"))
    assert 0 < made < 600
    assert living.events("FailedCreate")[0]["count"] < 10
    assert living.plane.due["statefulsets"] == 30


def test_each_pod_has_its_volume_claims_which_stay() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    living = started(2, volumeClaimTemplates=[claim])
    assert living.names("PersistentVolumeClaim") == ["data-db-0", "data-db-1"]
    (volume,) = living.document("Pod", "db-1")["spec"]["volumes"]
    assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}}
    living.change("StatefulSet", "db", set_spec(replicas=0))
    living.settle()
    assert len(living.names("PersistentVolumeClaim")) == 2


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
@settings(max_examples=25, deadline=None)
@given(
    actions=st.lists(
        st.tuples(st.sampled_from(["replicas", "image", "delete", "sick"]), st.integers(0, 4)), max_size=8
    )
)
def test_whatever_happens_it_ends_as_wanted(policy: str, actions: list[tuple[str, int]]) -> None:
    living = started(2, podManagementPolicy=policy)
    replicas, image = 2, "web:1"
    for name, value in actions:
        if name == "replicas":
            replicas = value
            living.change("StatefulSet", "db", set_spec(replicas=value))
        elif name == "image":
            image = f"web:{value}"
            living.change("StatefulSet", "db", set_image(image))
        elif name == "delete" and f"db-{value}" in living.names("Pod"):
            living.delete("Pod", f"db-{value}")
        elif name == "sick":
            living.keeps_unready = lambda pod, value=value: pod.key.name == f"db-{value}"  # type: ignore[misc]
        living.step()
        assert len({*living.names("Pod")}) <= 5
    living.keeps_unready = lambda _: False
    living.settle()
    assert images(living) == {f"db-{ordinal}": image for ordinal in range(replicas)}
    before = living.plane.store.resourceVersion
    living.plane.resync()
    assert living.plane.store.resourceVersion == before
