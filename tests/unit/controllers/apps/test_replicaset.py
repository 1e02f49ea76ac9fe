"""Tests ReplicaSets and ReplicationControllers: their Pods, adoption, and which Pod goes."""

from __future__ import annotations

import pytest

from emulator.controllers.apps.documents import is_active
from emulator.store.objects import Key
from tests.unit.controllers.apps.living import Living, set_spec, template, workload

KINDS = ["ReplicaSet", "ReplicationController"]


def pod(name: str, **labels: str) -> dict[str, object]:
    made = {"apiVersion": "v1", "kind": "Pod", **template(labels), "status": {"phase": "Pending"}}
    return {**made, "metadata": {"name": name, "namespace": "default", "labels": labels}}


@pytest.mark.parametrize("kind", KINDS)
def test_pods_are_made_and_deleted_with_events(kind: str) -> None:
    living = Living()
    living.create(workload(kind, "web", 3))
    living.settle()
    names = living.names("Pod")
    assert len(names) == 3
    assert all(name.startswith("web-") and len(name) == len("web-") + 5 for name in names)
    assert living.messages("SuccessfulCreate") == [f"Created pod: {name}" for name in names]
    assert living.status(kind, "web")["readyReplicas"] == 3
    assert living.document("Pod", names[0])["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "v1" if kind == "ReplicationController" else "apps/v1",
            "kind": kind,
            "name": "web",
            "uid": living.document(kind, "web")["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    living.change(kind, "web", set_spec(replicas=1))
    living.settle()
    assert len(living.names("Pod")) == 1
    assert sorted(living.messages("SuccessfulDelete")) == sorted(
        f"Deleted pod: {name}" for name in names if name not in living.names("Pod")
    )
    assert living.status(kind, "web")["observedGeneration"] == 2


def test_a_pod_that_is_deleted_is_replaced_at_once_by_one_with_another_name() -> None:
    living = Living()
    living.create(workload("ReplicaSet", "web", 2))
    living.settle()
    before = living.names("Pod")
    living.delete("Pod", before[0])
    living.settle()
    assert before[1] in living.names("Pod")
    assert before[0] not in living.names("Pod")
    assert len(living.names("Pod")) == 2


def test_a_pod_that_failed_is_replaced_and_stays() -> None:
    living = Living()
    living.create(workload("ReplicaSet", "web", 1))
    living.settle()
    (first,) = living.all("Pod")
    living.ends = lambda one: "Failed" if one.key == first.key else ""
    living.settle()
    assert len(living.all("Pod")) == 2
    assert living.status("ReplicaSet", "web")["readyReplicas"] == 1


def test_a_pod_with_the_labels_is_adopted_and_one_without_them_is_released() -> None:
    living = Living()
    living.create(pod("mine", app="web"))
    living.create(pod("other", app="other"))
    living.create(workload("ReplicaSet", "web", 2))
    living.settle()
    assert len(living.names("Pod")) == 3
    assert [one.name for one in living.all("Pod")[0].owners] == ["web"]
    living.change("Pod", "mine", lambda document: document["metadata"].update(labels={"app": "off"}))
    living.settle()
    assert living.document("Pod", "mine")["metadata"]["ownerReferences"] == []
    assert len(living.names("Pod")) == 4


def test_a_pod_too_many_that_is_made_by_hand_goes() -> None:
    living = Living()
    living.create(workload("ReplicaSet", "web", 2))
    living.settle()
    living.create(pod("extra", app="web"))
    living.settle()
    assert "extra" not in living.names("Pod")
    assert len(living.names("Pod")) == 2


def test_pods_that_are_not_ready_go_first_then_the_cheap_ones() -> None:
    living = Living()
    living.create(workload("ReplicaSet", "web", 4))
    living.settle()
    names = living.names("Pod")
    living.keeps_unready = lambda one: one.key.name == names[2]
    notes = {"controller.kubernetes.io/pod-deletion-cost": "-5"}
    living.change("Pod", names[1], lambda document: document["metadata"].update(annotations=notes))
    living.settle()
    living.change("ReplicaSet", "web", set_spec(replicas=3))
    living.settle()
    assert names[2] not in living.names("Pod")
    living.change("ReplicaSet", "web", set_spec(replicas=2))
    living.settle()
    assert sorted(living.names("Pod")) == sorted([names[0], names[3]])


def test_a_pod_of_a_crowded_node_goes_before_one_that_is_alone() -> None:
    living = Living(workers=2)
    living.create(workload("ReplicaSet", "web", 3))
    living.settle()
    nodes = [one.object.spec.nodeName for one in living.all("Pod")]
    assert sorted(map(nodes.count, set(nodes))) == [1, 2]
    living.change("ReplicaSet", "web", set_spec(replicas=2))
    living.settle()
    assert len({one.object.spec.nodeName for one in living.all("Pod")}) == 2


def test_a_pod_that_cannot_be_made_is_a_condition_and_an_event() -> None:
    living = Living(workers=1)
    living.create(workload("ReplicaSet", "web", 30_000))
    living.plane.store.get(Key("ReplicaSet", "default", "web"))
    assert living.conditions("ReplicaSet", "web") == {"ReplicaFailure": ("True", "FailedCreate")}
    assert "addresses for Pods" in living.messages("FailedCreate")[0]
    made = len(living.all("Pod"))
    assert 0 < made < 600
    living.change("ReplicaSet", "web", set_spec(replicas=1))
    for _ in range(3):
        living.step()
    assert sum(map(is_active, living.all("Pod"))) == 1
    assert living.conditions("ReplicaSet", "web") == {}
