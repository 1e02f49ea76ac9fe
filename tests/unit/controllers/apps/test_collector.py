"""Tests the collection of objects whose owners go: in the background, in the foreground, and orphaning."""

from __future__ import annotations

from typing import Any

from emulator.controllers.apps.deletion import FOREGROUND, ORPHAN
from emulator.store.objects import Key, Stored
from tests.unit.controllers.apps.living import Living, workload


def made(name: str, *owners: Stored, blocks: bool = True) -> dict[str, Any]:
    references = [
        {
            "apiVersion": "v1",
            "kind": one.key.kind.partition(".")[0],
            "name": one.key.name,
            "uid": one.uid,
            "blockOwnerDeletion": blocks,
        }
        for one in owners
    ]
    metadata = {"name": name, "namespace": "default", "ownerReferences": references}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def delete_with(living: Living, kind: str, name: str, finalizer: str) -> None:
    """Deletes as the API does with a propagationPolicy other than Background."""

    def mark(document: dict[str, Any]) -> None:
        document["metadata"] |= {"finalizers": [finalizer], "deletionTimestamp": living.plane.now}

    living.change(kind, name, mark)


def test_what_a_deployment_owns_goes_with_it() -> None:
    living = Living()
    living.create(workload("Deployment", "web", 2))
    living.settle()
    living.delete("Deployment", "web")
    assert not living.all("ReplicaSet")
    assert [one.deletionTimestamp is not None for one in living.all("Pod")] == [True, True]
    living.step()
    assert not living.all("Pod")


def test_in_the_foreground_the_owner_goes_last() -> None:
    living = Living()
    living.create(workload("Deployment", "web", 2))
    living.settle()
    delete_with(living, "Deployment", "web", FOREGROUND)
    assert (len(living.all("Deployment")), len(living.all("ReplicaSet"))) == (1, 1)
    assert all(one.deletionTimestamp for one in living.all("Pod"))
    living.step()
    assert not [*living.all("Deployment"), *living.all("ReplicaSet"), *living.all("Pod")]


def test_a_dependent_that_does_not_block_is_not_waited_for() -> None:
    living = Living()
    owner = living.create(made("owner"))
    kept = made("kept", owner, blocks=False)
    kept["metadata"]["finalizers"] = ["example.com/mine"]
    living.create(kept)
    delete_with(living, "ConfigMap", "owner", FOREGROUND)
    assert living.plane.store.get(owner.key) is None
    assert living.document("ConfigMap", "kept")["metadata"]["deletionTimestamp"]


def test_orphans_stay_without_owner() -> None:
    living = Living()
    living.create(workload("Deployment", "web", 2))
    living.settle()
    pods = living.names("Pod")
    delete_with(living, "Deployment", "web", ORPHAN)
    living.settle()
    assert not living.all("Deployment")
    (left,) = living.all("ReplicaSet")
    assert left.owners == ()
    assert living.names("Pod") == pods


def test_an_object_goes_with_its_last_owner() -> None:
    living = Living()
    first, second = living.create(made("first")), living.create(made("second"))
    living.create(made("both", first, second))
    living.delete("ConfigMap", "first")
    assert [one.name for one in living.all("ConfigMap")[-1].owners] == ["second"]
    living.delete("ConfigMap", "second")
    assert living.plane.store.get(Key("ConfigMap", "default", "both")) is None


def test_a_chain_goes_whole() -> None:
    living = Living()
    last = living.create(made("c0"))
    for number in range(1, 8):
        last = living.create(made(f"c{number}", last))
    living.delete("ConfigMap", "c0")
    assert not [name for name in living.names("ConfigMap") if name.startswith("c")]


def test_another_object_of_the_owners_name_is_no_owner() -> None:
    living = Living()
    owner = living.create(made("owner"))
    living.create(made("child", owner))
    living.plane.store.finalize(owner.key)
    living.plane.store.create(made("owner"), now=living.plane.now)
    living.reconcile()
    assert living.names("ConfigMap") == ["owner"]


def test_a_new_object_whose_owner_is_not_there_goes() -> None:
    living = Living()
    owner = living.create(made("owner"))
    living.delete("ConfigMap", "owner")
    living.create(made("late", owner))
    assert not living.all("ConfigMap")


def test_the_input_may_lack_owners() -> None:
    pod = (
        "{apiVersion: v1, kind: Pod, metadata: {name: a, ownerReferences: [{apiVersion: apps/v1, kind: "
        "ReplicaSet, name: web, uid: '1234', controller: true}]}, spec: {containers: [{name: c}]}}"
    )
    living = Living(pod)
    living.settle()
    assert living.names("Pod") == ["a"]


def test_an_owner_without_namespace_owns_objects_of_all() -> None:
    living = Living()
    owner = living.create(
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "h"}}
    )
    assert owner.key.namespace == ""
    child = made("child", owner)
    living.create(child)
    living.plane.store.delete(owner.key, now=living.plane.now)
    living.reconcile()
    assert not living.all("ConfigMap")
