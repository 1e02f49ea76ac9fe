"""Tests Namespaces: those that are always there, their contents, their end."""

from __future__ import annotations

from typing import Any

from emulator.store.objects import Key
from tests.unit.controllers.apps.living import Living, workload


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def in_shop(document: dict[str, Any]) -> dict[str, Any]:
    document["metadata"]["namespace"] = "shop"
    return document


def configmap(name: str, namespace: str, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        **more,
    }


def end(living: Living, name: str) -> None:
    """Deletes a Namespace as the API does, whose contents go first."""
    living.plane.store.delete(Key("Namespace", "", name), now=living.plane.now, grace=True)
    living.reconcile()


def test_every_cluster_has_its_namespaces_with_a_service_account() -> None:
    living = Living()
    names = {one.key.name for one in living.plane.store.list("Namespace")}
    assert names == {"default", "kube-node-lease", "kube-public", "kube-system"}
    document = living.document("Namespace", "default", "")
    assert document["metadata"]["labels"] == {"kubernetes.io/metadata.name": "default"}
    assert (document["spec"], document["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    assert {one.key.namespace for one in living.plane.store.list("ServiceAccount")} == names


def test_a_namespace_of_the_input_need_not_be_written_down() -> None:
    living = Living(
        "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: b}, spec: {containers: [{name: c}]}}"
    )
    assert living.document("Namespace", "b", "")["status"]["phase"] == "Active"


def test_the_certificate_is_published_everywhere_and_restored() -> None:
    living = Living()
    living.create(configmap("kube-root-ca.crt", "kube-system", data={"ca.crt": "PEM"}))
    living.create(namespace("shop"))
    assert living.document("ConfigMap", "kube-root-ca.crt", "shop")["data"] == {"ca.crt": "PEM"}
    living.change("ConfigMap", "kube-root-ca.crt", lambda one: one.update(data={}), "shop")
    assert living.document("ConfigMap", "kube-root-ca.crt", "shop")["data"] == {"ca.crt": "PEM"}
    living.delete("ServiceAccount", "default", "shop")
    living.delete("ConfigMap", "kube-root-ca.crt", "shop")
    assert living.names("ServiceAccount", "shop") == ["default"]
    assert living.names("ConfigMap", "shop") == ["kube-root-ca.crt"]


def test_a_namespace_goes_when_its_pods_have_ended() -> None:
    living = Living()
    living.create(namespace("shop"))
    living.create(in_shop(workload("Deployment", "web", 2)))
    living.create(
        in_shop(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web"},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
            }
        )
    )
    for _ in range(3):
        living.step()
    end(living, "shop")
    document = living.document("Namespace", "shop", "")
    assert document["status"]["phase"] == "Terminating"
    conditions = {one["type"]: one for one in document["status"]["conditions"]}
    remaining = conditions["NamespaceContentRemaining"]
    assert (remaining["status"], remaining["reason"]) == ("True", "SomeResourcesRemain")
    assert remaining["message"] == "Some resources are remaining: pods. has 2 resource instances"
    assert conditions["NamespaceFinalizersRemaining"]["status"] == "False"
    living.step()
    assert living.plane.store.get(Key("Namespace", "", "shop")) is None
    assert all(not living.all(kind, "shop") for kind in living.plane.store.kinds())


def test_a_finalizer_keeps_a_namespace_and_is_named() -> None:
    living = Living()
    living.create(namespace("shop"))
    kept = configmap("kept", "shop")
    kept["metadata"]["finalizers"] = ["example.com/mine"]
    living.create(kept)
    end(living, "shop")
    living.settle()
    rows = living.document("Namespace", "shop", "")["status"]["conditions"]
    message = next(one["message"] for one in rows if one["type"] == "NamespaceFinalizersRemaining")
    assert message.endswith("finalizers remaining: example.com/mine in 1 resource instances")
    living.change("ConfigMap", "kept", lambda one: one["metadata"].update(finalizers=[]), "shop")
    assert living.plane.store.get(Key("Namespace", "", "shop")) is None


def test_an_empty_namespace_goes_at_once_and_can_be_made_again() -> None:
    living = Living()
    for _ in range(2):
        living.create(namespace("shop"))
        end(living, "shop")
        assert living.plane.store.get(Key("Namespace", "", "shop")) is None
