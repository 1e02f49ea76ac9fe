from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.api.registry import Caller, Denial, Registry
from emulator.api.status import ApiError
from emulator.api.users import User
from emulator.store.errors import ExpiredError
from emulator.store.manifests import render
from emulator.store.store import Store

from .definitions import definition
from .registries import CALLER, NOW, config, deployment, made, pod, registry, target

MERGE = "application/merge-patch+json"
DEFINITIONS = "apiextensions.k8s.io/v1"


def refused(call: Any, *given: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call(*given)
    return caught.value


def names(api: Registry, plural: str, **query: str) -> list[str]:
    return [one.key.name for one in api.list(target(api, plural, namespace=""), query).rows]


# --- create -----------------------------------------------------------------------------------------------


def test_created_object_has_what_the_server_gives() -> None:
    api = registry()
    answer = made(api, "configmaps", config("a"))
    metadata = answer.document["metadata"]
    assert answer.code == 201
    assert metadata["creationTimestamp"] == NOW
    assert metadata["uid"]
    assert metadata["namespace"] == "default"
    assert metadata["managedFields"][0]["manager"] == "test"
    assert api.get(target(api, "configmaps", "a")).document == answer.document


def test_name_is_generated() -> None:
    api = registry()
    first, second = (made(api, "pods", pod()).document["metadata"]["name"] for _ in range(2))
    assert first != second
    assert first.startswith("web-")
    assert len(first) == len("web-") + 5


def test_object_that_is_there_is_not_created_again() -> None:
    api = registry()
    made(api, "configmaps", config("a"))
    error = refused(made, api, "configmaps", config("a"))
    assert (error.code, error.message) == (409, 'configmaps "a" already exists')


def test_dry_run_changes_nothing() -> None:
    api = registry()
    version = api.store.resourceVersion
    assert made(api, "configmaps", config("a"), dryRun="All").document["metadata"]["name"] == "a"
    assert api.store.resourceVersion == version
    assert refused(api.get, target(api, "configmaps", "a")).code == 404
    made(api, "configmaps", config("a"))
    api.delete(target(api, "configmaps", "a"), {}, {"dryRun": "All"}, CALLER)
    changed = config("a", data={"a": "2"})
    answer = api.update(target(api, "configmaps", "a"), changed, {"dryRun": "All"}, CALLER)
    assert answer.document["data"] == {"a": "2"}
    assert api.get(target(api, "configmaps", "a")).document["data"] == {"a": "1"}


def test_namespace_must_be_there_and_live() -> None:
    api = registry()
    error = refused(api.create, target(api, "configmaps", namespace="x"), config("a"), {}, CALLER)
    assert (error.code, error.message) == (404, 'namespaces "x" not found')
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
    made(api, "namespaces", space)
    answer = api.delete(target(api, "namespaces", "x"), {}, {}, CALLER)
    assert answer.document["status"]["phase"] == "Terminating"
    error = refused(api.create, target(api, "configmaps", namespace="x"), config("a"), {}, CALLER)
    assert error.code == 403
    assert error.message == (
        'configmaps "a" is forbidden: unable to create new content in namespace x because it is being'
        " terminated"
    )
    assert error.causes[0].reason == "NamespaceTerminating"


def test_namespace_goes_with_its_last_finalizer() -> None:
    api = registry()
    made(api, "namespaces", {"metadata": {"name": "x"}})
    api.delete(target(api, "namespaces", "x"), {}, {}, CALLER)
    body = {"metadata": {"name": "x"}, "spec": {"finalizers": []}}
    api.update(target(api, "namespaces", "x", sub="finalize"), body, {}, CALLER)
    assert refused(api.get, target(api, "namespaces", "x")).code == 404


def test_namespaces_of_the_system_stay() -> None:
    api = registry()
    error = refused(api.delete, target(api, "namespaces", "default"), {}, {}, CALLER)
    assert (error.code, error.message) == (
        403,
        'namespaces "default" is forbidden: this namespace may not be deleted',
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}}, 400),
        ({"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "a"}}, 400),
        (config("a") | {"metadata": {"name": "a", "namespace": "other"}}, 400),
        (config("a") | {"metadata": {"name": "a", "resourceVersion": "1"}}, 400),
        (config("a") | {"metadata": []}, 400),
        (config("A b"), 422),
        (config(""), 422),
    ],
)
def test_what_cannot_be_created_is_refused(body: dict[str, Any], code: int) -> None:
    assert refused(made, registry(), "configmaps", body).code == code


# --- list and watch ---------------------------------------------------------------------------------------


def test_list_is_sorted_and_selected() -> None:
    api = registry()
    for name in ("b", "a", "c"):
        made(api, "pods", pod(name))
    made(api, "configmaps", config("x"))
    assert names(api, "pods") == ["a", "b", "c"]
    assert names(api, "pods", labelSelector="app=web", fieldSelector="metadata.name!=b") == ["a", "c"]
    assert names(api, "pods", labelSelector="app!=web") == []


def test_pages_are_of_one_version() -> None:
    api = registry()
    for index in range(5):
        made(api, "configmaps", config(f"c{index}"))
    place = target(api, "configmaps")
    first = api.list(place, {"limit": "2"})
    assert first.metadata["remainingItemCount"] == 3
    api.delete(target(api, "configmaps", "c3"), {}, {}, CALLER)
    made(api, "configmaps", config("c1a"))
    second = api.list(place, {"limit": "2", "continue": first.metadata["continue"]})
    third = api.list(place, {"limit": "2", "continue": second.metadata["continue"]})
    rows = [*first.rows, *second.rows, *third.rows]
    assert [one.key.name for one in rows] == ["c0", "c1", "c2", "c3", "c4"]
    assert "continue" not in third.metadata
    assert second.metadata["resourceVersion"] == first.metadata["resourceVersion"]


def test_page_that_is_forgotten_is_gone() -> None:
    api = registry()
    for index in range(3):
        made(api, "configmaps", config(f"c{index}"))
    token = api.list(target(api, "configmaps"), {"limit": "1"}).metadata["continue"]
    fresh = Registry(api.store, api.now, api.draw)
    error = refused(fresh.list, target(fresh, "configmaps"), {"limit": "1", "continue": token})
    assert (error.code, error.reason) == (410, "Expired")
    assert refused(api.list, target(api, "configmaps"), {"continue": "no token"}).code == 400


def test_list_of_a_version() -> None:
    api = registry()
    made(api, "configmaps", config("a"))
    now = api.store.resourceVersion
    place = target(api, "configmaps")
    assert api.list(place, {"resourceVersion": "0"}).rows
    exact = {"resourceVersion": str(now), "resourceVersionMatch": "Exact"}
    assert api.list(place, exact).rows
    made(api, "configmaps", config("b"))
    assert refused(api.list, place, exact).code == 410
    assert refused(api.list, place, {"resourceVersion": str(now + 99)}).code == 504
    assert refused(api.list, place, {"resourceVersion": "x"}).code == 400
    assert refused(api.list, place, {"limit": "x"}).code == 400


def test_watch_begins_where_it_is_told() -> None:
    api = registry()
    made(api, "configmaps", config("a"))
    now = api.store.resourceVersion
    place = target(api, "configmaps")
    whole = api.watch(place, {})
    assert [one.key.name for one in whole.initial] == ["a"]
    assert whole.since == now
    later = api.watch(place, {"resourceVersion": str(now)})
    assert (later.initial, later.since, later.marks) == ((), now, False)
    listed = api.watch(
        place,
        {
            "sendInitialEvents": "true",
            "resourceVersionMatch": "NotOlderThan",
            "allowWatchBookmarks": "true",
        },
    )
    assert listed.marks
    assert listed.bookmarks
    assert len(listed.initial) == 1
    assert refused(api.watch, place, {"sendInitialEvents": "true"}).code == 422


def test_watch_of_a_forgotten_version_expires() -> None:
    api = Registry(Store(history=2), lambda: NOW, lambda n: 0)
    api.provide_namespaces()
    with pytest.raises(ExpiredError):
        api.watch(target(api, "namespaces"), {"resourceVersion": "1"})


# --- update and patch -------------------------------------------------------------------------------------


def test_update_of_an_old_version_conflicts() -> None:
    api = registry()
    first = json.loads(json.dumps(made(api, "configmaps", config("a")).document))
    place = target(api, "configmaps", "a")
    api.update(place, config("a", data={"a": "2"}), {}, CALLER)
    error = refused(api.update, place, {**first, "data": {"a": "3"}}, {}, CALLER)
    assert error.code == 409
    assert error.message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your'
        " changes to the latest version and try again"
    )
    assert refused(api.update, target(api, "configmaps", "b"), config("b"), {}, CALLER).code == 404
    assert refused(api.update, place, config("b"), {}, CALLER).code == 400


def test_update_that_changes_nothing_has_no_version() -> None:
    api = registry()
    first = made(api, "configmaps", config("a")).document
    again = api.update(target(api, "configmaps", "a"), json.loads(json.dumps(first)), {}, CALLER).document
    assert again == first


def test_status_is_changed_by_itself_alone() -> None:
    api = registry()
    made(api, "deployments", deployment(), group="apps/v1")
    place = target(api, "deployments", "web", group="apps/v1")
    changed = deployment(replicas=3) | {"status": {"readyReplicas": 9}}
    spec = api.update(place, changed, {}, CALLER).document
    assert spec["spec"]["replicas"] == 3
    assert spec["metadata"]["generation"] == 2
    assert not spec["status"].get("readyReplicas")
    of_status = target(api, "deployments", "web", group="apps/v1", sub="status")
    body = deployment(replicas=7) | {"status": {"readyReplicas": 2, "replicas": 3}}
    after = api.update(of_status, body, {}, CALLER).document
    assert after["status"]["readyReplicas"] == 2
    assert after["spec"]["replicas"] == 3
    assert after["metadata"]["generation"] == 2


def test_selector_of_a_deployment_is_immutable() -> None:
    api = registry()
    made(api, "deployments", deployment(), group="apps/v1")
    body = deployment()
    body["spec"]["selector"] = {"matchLabels": {"app": "web", "x": "y"}}
    body["spec"]["template"]["metadata"]["labels"]["x"] = "y"
    error = refused(api.update, target(api, "deployments", "web", group="apps/v1"), body, {}, CALLER)
    assert error.code == 422
    assert "field is immutable" in error.message
    assert error.message.startswith('Deployment.apps "web" is invalid: spec.selector: Invalid value: ')


def test_scale_reads_and_writes_replicas() -> None:
    api = registry()
    made(api, "deployments", deployment(), group="apps/v1")
    place = target(api, "deployments", "web", group="apps/v1", sub="scale")
    scale = api.get(place).document
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == (
        "Scale",
        {"replicas": 2},
        "app=web",
    )
    patched = api.patch(place, b'{"spec":{"replicas":5}}', MERGE, {}, CALLER).document
    assert patched["spec"]["replicas"] == 5
    assert api.get(place).document["spec"]["replicas"] == 5
    assert refused(api.patch, place, b'{"spec":{"replicas":-1}}', MERGE, {}, CALLER).code == 422


def test_last_finalizer_lets_an_object_go() -> None:
    api = registry()
    made(api, "configmaps", config("a") | {"metadata": {"name": "a", "finalizers": ["x.org/y"]}})
    place = target(api, "configmaps", "a")
    assert api.delete(place, {}, {}, CALLER).document["metadata"]["deletionTimestamp"] == NOW
    api.patch(place, b'{"metadata":{"finalizers":null}}', MERGE, {}, CALLER)
    assert refused(api.get, place).code == 404


# --- delete -----------------------------------------------------------------------------------------------


def test_delete_says_that_it_is_gone() -> None:
    api = registry()
    uid = made(api, "configmaps", config("a")).document["metadata"]["uid"]
    answer = api.delete(target(api, "configmaps", "a"), {}, {}, CALLER)
    assert answer.document["status"] == "Success"
    assert answer.document["details"] == {"name": "a", "kind": "configmaps", "uid": uid}
    assert refused(api.delete, target(api, "configmaps", "a"), {}, {}, CALLER).code == 404


def test_preconditions_of_a_delete() -> None:
    api = registry()
    made(api, "configmaps", config("a"))
    place = target(api, "configmaps", "a")
    for wanted in ({"uid": "other"}, {"resourceVersion": "1"}):
        error = refused(api.delete, place, {"preconditions": wanted}, {}, CALLER)
        assert error.code == 409
        assert "Precondition failed" in error.message
    assert api.get(place)


def test_pod_that_runs_has_its_grace() -> None:
    api = registry()
    made(api, "pods", pod("a", nodeName="n1"))
    place = target(api, "pods", "a")
    metadata = api.delete(place, {}, {}, CALLER).document["metadata"]
    assert metadata["deletionTimestamp"] == "2026-12-01T12:00:30Z"
    assert metadata["deletionGracePeriodSeconds"] == 30
    sooner = api.delete(place, {"gracePeriodSeconds": 5}, {}, CALLER).document["metadata"]
    assert sooner["deletionTimestamp"] == "2026-12-01T12:00:05Z"
    later = api.delete(place, {"gracePeriodSeconds": 60}, {}, CALLER).document["metadata"]
    assert later["deletionTimestamp"] == "2026-12-01T12:00:05Z"
    api.delete(place, {"gracePeriodSeconds": 0}, {}, CALLER)
    assert refused(api.get, place).code == 404


def test_pod_without_a_node_goes_at_once() -> None:
    api = registry()
    made(api, "pods", pod("a"))
    api.delete(target(api, "pods", "a"), {}, {}, CALLER)
    assert names(api, "pods") == []


@pytest.mark.parametrize(
    ("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")]
)
def test_propagation_is_left_to_the_garbage_collector(policy: str, finalizer: str) -> None:
    api = registry()
    made(api, "deployments", deployment(), group="apps/v1")
    place = target(api, "deployments", "web", group="apps/v1")
    answer = api.delete(place, {"propagationPolicy": policy}, {}, CALLER)
    assert answer.document["metadata"]["finalizers"] == [finalizer]
    assert answer.document["metadata"]["deletionTimestamp"] == NOW


def test_collection_is_deleted_by_selector() -> None:
    api = registry()
    for name in ("a", "b"):
        made(api, "pods", pod(name))
    other = pod("c")
    other["metadata"]["labels"] = {"app": "db"}
    made(api, "pods", other)
    listing = api.delete_collection(target(api, "pods"), {}, {"labelSelector": "app=web"}, CALLER)
    assert [one.key.name for one in listing.rows] == ["a", "b"]
    assert names(api, "pods") == ["c"]


def test_eviction_waits_for_the_budget() -> None:
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    cause = "The disruption budget web needs 2 healthy pods and has 2 currently"
    denial: list[Denial | None] = [Denial(429, message, cause)]
    api = registry(may_evict=lambda store, pod, now: denial[0])
    made(api, "pods", pod("a", nodeName="n1"))
    place = target(api, "pods", "a", sub="eviction")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}}
    error = refused(api.create, place, body, {}, CALLER)
    assert (error.code, error.reason) == (429, "TooManyRequests")
    assert error.message == "Cannot evict pod as it would violate the pod's disruption budget."
    assert error.causes[0].reason == "DisruptionBudget"
    denial[0] = None
    assert api.create(place, body, {}, CALLER).code == 201
    assert api.get(target(api, "pods", "a")).document["metadata"]["deletionTimestamp"]


def test_binding_gives_a_pod_its_node() -> None:
    api = registry()
    made(api, "pods", pod("a"))
    place = target(api, "pods", "a", sub="binding")
    body = {"kind": "Binding", "target": {"kind": "Node", "name": "n1"}}
    assert api.create(place, body, {}, CALLER).code == 201
    assert api.get(target(api, "pods", "a")).document["spec"]["nodeName"] == "n1"
    assert refused(api.create, place, body, {}, CALLER).code == 409


# --- reviews ----------------------------------------------------------------------------------------------


def test_reviews_say_who_asks_and_that_all_is_allowed() -> None:
    api = registry()
    caller = Caller(User("ann", ("dev",)))
    who = api.create(target(api, "selfsubjectreviews", group="authentication.k8s.io/v1"), {}, {}, caller)
    assert who.document["status"]["userInfo"] == {"username": "ann", "groups": ["dev"]}
    may = target(api, "selfsubjectaccessreviews", group="authorization.k8s.io/v1")
    assert api.create(may, {"spec": {}}, {}, caller).document["status"]["allowed"] is True


# --- custom resources -------------------------------------------------------------------------------------


def widget(name: str = "w", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.org/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"size": 1, **spec},
    }


def custom(api: Registry) -> None:
    made(api, "customresourcedefinitions", definition(), group=DEFINITIONS)


def test_definition_is_established_and_its_objects_are_served() -> None:
    api = registry()
    custom(api)
    stored = api.get(target(api, "customresourcedefinitions", "widgets.example.org", group=DEFINITIONS))
    conditions = {one["type"]: one["status"] for one in stored.document["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    answer = made(api, "widgets", widget(odd=1), group="example.org/v1", fieldValidation="Warn")
    assert answer.document["spec"] == {"size": 1, "mode": "safe"}
    assert answer.warnings == ('unknown field "spec.odd"',)
    older = api.get(target(api, "widgets", "w", group="example.org/v1beta1")).document
    assert older["apiVersion"] == "example.org/v1beta1"


def test_object_of_a_definition_must_fit_its_schema() -> None:
    api = registry()
    custom(api)
    error = refused(lambda: made(api, "widgets", widget(size=0), group="example.org/v1"))
    assert error.message == (
        'Widget.example.org "w" is invalid: spec.size: Invalid value: 0: spec.size in body should be greater'
        " than or equal to 1"
    )
    strict = refused(
        lambda: made(api, "widgets", widget(odd=1), group="example.org/v1", fieldValidation="Strict")
    )
    assert strict.message == (
        'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field'
        ' "spec.odd"'
    )


def test_custom_object_has_status_and_scale() -> None:
    api = registry()
    custom(api)
    made(api, "widgets", widget() | {"status": {"replicas": 4}}, group="example.org/v1")
    place = target(api, "widgets", "w", group="example.org/v1", sub="status")
    assert "status" not in api.get(target(api, "widgets", "w", group="example.org/v1")).document
    body = widget(size=9) | {"status": {"replicas": 4}}
    assert api.update(place, body, {}, CALLER).document["spec"]["size"] == 1
    scale = target(api, "widgets", "w", group="example.org/v1", sub="scale")
    assert api.get(scale).document["status"]["replicas"] == 4
    api.patch(scale, b'{"spec":{"replicas":3}}', MERGE, {}, CALLER)
    assert api.get(target(api, "widgets", "w", group="example.org/v1")).document["spec"]["size"] == 3


def test_cluster_wide_custom_object_has_no_namespace() -> None:
    api = registry()
    made(api, "customresourcedefinitions", definition(scope="Cluster"), group=DEFINITIONS)
    document = made(api, "widgets", widget(), group="example.org/v1").document
    assert "namespace" not in document["metadata"]
    assert [one.key.namespace for one in api.store.list("Widget.example.org")] == [""]


def test_objects_go_with_their_definition() -> None:
    api = registry()
    custom(api)
    made(api, "widgets", widget(), group="example.org/v1")
    api.delete(
        target(api, "customresourcedefinitions", "widgets.example.org", group=DEFINITIONS), {}, {}, CALLER
    )
    assert api.store.list("Widget.example.org") == ()
    assert api.catalog.find("example.org", "v1", "widgets") is None


def test_definition_that_is_wrong_is_refused() -> None:
    body = definition()
    body["metadata"]["name"] = "gadgets.example.org"
    error = refused(lambda: made(registry(), "customresourcedefinitions", body, group=DEFINITIONS))
    assert error.code == 422
    assert 'must be spec.names.plural+"."+spec.group' in error.message


# --- what is shared ---------------------------------------------------------------------------------------


def test_document_is_what_the_store_has() -> None:
    api = registry()
    made(api, "services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    (stored,) = api.store.list("Service")
    document = api.document(stored, target(api, "services").resource)
    assert document["metadata"]["uid"] == render(stored)["metadata"]["uid"]
    assert document["spec"]["type"] == "ClusterIP"
