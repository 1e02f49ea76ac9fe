"""Tests Endpoints, the older form of EndpointSlices."""

from __future__ import annotations

from typing import Any

from tests.unit.controllers.apps.living import Living, set_spec, workload


def service(**spec: Any) -> dict[str, Any]:
    given = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}], **spec}
    metadata = {"name": "web", "namespace": "default", "labels": {"team": "a"}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": given}


def exposed(replicas: int = 2, **spec: Any) -> Living:
    living = Living()
    living.create(workload("Deployment", "web", replicas))
    living.create(service(**spec))
    living.settle()
    return living


def subsets(living: Living) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = living.document("Endpoints", "web").get("subsets", [])
    return found


def test_ready_pods_are_addresses_with_their_node_and_name() -> None:
    living = exposed()
    document = living.document("Endpoints", "web")
    assert document["metadata"]["labels"] == {
        "team": "a",
        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
    }
    (subset,) = document["subsets"]
    assert [one["port"] for one in subset["ports"]] == [8080]
    pods = {one.object.ip: one for one in living.all("Pod")}
    assert [one["ip"] for one in subset["addresses"]] == sorted(map(str, pods))
    for one in subset["addresses"]:
        pod = next(pod for ip, pod in pods.items() if str(ip) == one["ip"])
        assert (one["nodeName"], one["targetRef"]["name"]) == (pod.object.spec.nodeName, pod.key.name)


def test_pods_that_are_not_ready_are_apart_and_ending_ones_are_left_out() -> None:
    living = exposed()
    sick, ending = living.all("Pod")
    living.keeps_unready = lambda pod: pod.key == sick.key
    living.step()
    assert [one["ip"] for one in subsets(living)[0]["notReadyAddresses"]] == [str(sick.object.ip)]
    living.lingers = lambda _: True
    living.change("Deployment", "web", set_spec(replicas=0))
    living.step()
    assert not subsets(living)
    assert ending.object.ip


def test_they_go_with_their_service() -> None:
    living = exposed()
    living.delete("Service", "web")
    assert not living.all("Endpoints")


def test_a_service_without_selector_keeps_the_users_own() -> None:
    living = Living()
    living.create(service(selector={}))
    assert "web" not in living.names("Endpoints")
    subset = {"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}
    metadata = {"name": "web", "namespace": "default"}
    living.create({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": [subset]})
    living.settle()
    assert subsets(living)[0]["addresses"] == [{"ip": "192.0.2.1"}]


def test_a_second_look_changes_nothing() -> None:
    living = exposed()
    before = living.plane.store.resourceVersion
    living.plane.resync()
    assert living.plane.store.resourceVersion == before
