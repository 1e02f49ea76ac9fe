"""Tests which Pods a taint NoExecute evicts, and when; and Pods of nodes that are gone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controllers.apps.living import Living, set_spec, template, workload

TAINT = {"key": "broken", "value": "yes", "effect": "NoExecute"}


def pod(name: str, *tolerations: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": name}
    made = {"apiVersion": "v1", "kind": "Pod", **template(labels), "status": {"phase": "Pending"}}
    made["metadata"] = {"name": name, "namespace": "default", "labels": labels}
    made["spec"] |= {"nodeName": "worker-1", "tolerations": [*tolerations]}
    return made


def tainted(*tolerations: dict[str, Any]) -> Living:
    living = Living(workers=1)
    living.create(pod("a", *tolerations))
    for _ in range(2):
        living.step()
    living.change("Node", "worker-1", set_spec(taints=[TAINT]), "")
    return living


@pytest.mark.parametrize(
    ("tolerations", "stays"),
    [
        ([], False),
        ([{"key": "broken", "operator": "Exists"}], True),
        ([{"operator": "Exists"}], True),
        ([{"key": "broken", "value": "no", "effect": "NoExecute"}], False),
        ([{"key": "broken", "value": "yes", "effect": "NoSchedule"}], False),
    ],
)
def test_a_pod_that_does_not_tolerate_goes(tolerations: list[dict[str, Any]], stays: bool) -> None:
    living = tainted(*tolerations)
    assert (living.all("Pod")[0].deletionTimestamp is None) is stays
    living.step()
    assert living.names("Pod") == (["a"] if stays else [])
    assert bool(living.events("TaintManagerEviction")) is not stays


def test_a_pod_that_tolerates_for_a_while_goes_then() -> None:
    living = tainted({"key": "broken", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 20})
    for _ in range(19):
        living.step()
    assert living.names("Pod") == ["a"]
    for _ in range(3):
        living.step()
    assert living.names("Pod") == []


def test_a_taint_that_is_taken_back_in_time_evicts_nobody() -> None:
    living = tainted({"key": "broken", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 20})
    living.step()
    living.change("Node", "worker-1", set_spec(taints=[]), "")
    for _ in range(30):
        living.step()
    assert living.names("Pod") == ["a"]


def test_a_pod_of_a_node_that_never_was_goes_after_a_while() -> None:
    living = Living()
    lost = pod("a")
    lost["spec"]["nodeName"] = "nowhere"
    living.create(lost)
    living.pass_time(39)
    assert living.names("Pod") == ["a"]
    living.pass_time(1)
    assert living.names("Pod") == []


def test_pods_go_with_their_node_and_are_replaced() -> None:
    living = Living(workers=2)
    living.create(workload("Deployment", "web", 4))
    living.settle()
    living.delete("Node", "worker-1", "")
    living.settle()
    assert [one.object.spec.nodeName for one in living.all("Pod")] == ["worker-2"] * 4
