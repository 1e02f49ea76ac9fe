"""Tests PodDisruptionBudgets and which evictions they allow."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.controllers.apps.disruption import KIND, Refusal, may_evict
from emulator.store.objects import Stored
from tests.unit.controllers.apps.living import Living, workload


def budget(name: str = "pdb", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


def guarded(replicas: int = 4, **spec: Any) -> Living:
    living = Living()
    living.create(workload("Deployment", "web", replicas))
    living.create(budget(**spec))
    living.settle()
    return living


def ask(living: Living, pod: Stored) -> Refusal | None:
    return may_evict(living.plane.store, pod.key, now=living.plane.now)


@pytest.mark.parametrize(
    ("spec", "desired"),
    [
        ({"minAvailable": 3}, 3),
        ({"minAvailable": "50%"}, 2),
        ({"minAvailable": "51%"}, 3),
        ({"maxUnavailable": 1}, 3),
        ({"maxUnavailable": "30%"}, 2),
        ({"maxUnavailable": 0}, 4),
        ({}, 1),
    ],
)
def test_a_budget_counts_its_pods(spec: dict[str, Any], desired: int) -> None:
    status = guarded(**spec).status(KIND, "pdb")
    condition = status.pop("conditions")[0]
    assert status == {
        "observedGeneration": 1,
        "disruptionsAllowed": 4 - desired,
        "currentHealthy": 4,
        "desiredHealthy": desired,
        "expectedPods": 4,
    }
    assert condition["type"] == "DisruptionAllowed"
    assert condition["reason"] == ("SufficientPods" if desired < 4 else "InsufficientPods")


def test_evictions_are_allowed_until_the_budget_is_spent() -> None:
    living = guarded(maxUnavailable=1)
    first, second, *_ = living.all("Pod")
    assert ask(living, first) is None
    assert ask(living, second) == Refusal(
        429,
        "Cannot evict pod as it would violate the pod's disruption budget.",
        "The disruption budget pdb needs 3 healthy pods and has 4 currently",
    )
    living.delete("Pod", first.key.name)
    refusal = ask(living, second)
    assert refusal is not None
    assert refusal.cause == "The disruption budget pdb needs 3 healthy pods and has 3 currently"
    living.settle()
    assert ask(living, second) is None


def test_an_eviction_that_deletes_nothing_is_forgotten() -> None:
    living = guarded(maxUnavailable=1)
    pod = living.all("Pod")[0]
    assert ask(living, pod) is None
    living.reconcile()
    assert living.status(KIND, "pdb")["disruptionsAllowed"] == 0
    for _ in range(13):
        living.step(10)
    assert living.status(KIND, "pdb")["disruptionsAllowed"] == 1


def test_a_pod_that_is_not_ready_may_go_while_enough_others_are_healthy() -> None:
    living = guarded(minAvailable=3)
    sick, well, *_ = living.all("Pod")
    living.keeps_unready = lambda pod: pod.key == sick.key
    living.settle()
    assert ask(living, living.plane.store.get(sick.key) or sick) is None
    assert ask(living, well) is not None


def test_a_pod_that_is_not_ready_keeps_a_budget_that_lacks_others() -> None:
    living = guarded(minAvailable=4)
    sick = living.all("Pod")[0]
    living.keeps_unready = lambda pod: pod.key == sick.key
    living.settle()
    assert ask(living, sick) is not None
    allow = {"unhealthyPodEvictionPolicy": "AlwaysAllow"}
    living.change(KIND, "pdb", lambda document: document["spec"].update(allow))
    assert ask(living, sick) is None


def test_a_pod_that_runs_nowhere_or_has_no_budget_may_go() -> None:
    living = Living()
    living.create(workload("Deployment", "web", 1))
    assert ask(living, living.all("Pod")[0]) is None
    living.settle()
    assert ask(living, living.all("Pod")[0]) is None


def test_two_budgets_for_one_pod_are_a_fault() -> None:
    living = guarded(maxUnavailable=1)
    living.create(budget("other", maxUnavailable=1))
    refusal = ask(living, living.all("Pod")[0])
    assert refusal is not None
    assert refusal.code == 500


def test_a_budget_that_was_just_changed_is_not_used() -> None:
    living = guarded(maxUnavailable=1)
    document = living.document(KIND, "pdb")
    document["spec"]["maxUnavailable"] = 3
    living.plane.store.write(document)
    refusal = ask(living, living.all("Pod")[0])
    assert refusal is not None
    assert "still being processed" in refusal.cause
