"""Tests which words writes to the store come to."""

from __future__ import annotations

from typing import Any

from emulator.controllers.happenings import tell
from emulator.store.objects import Key
from emulator.store.store import Store

NOW = "2026-01-01T00:00:00Z"


def pod(ready: bool | None = None, node: str = "") -> dict[str, Any]:
    conditions = [] if ready is None else [{"type": "Ready", "status": str(ready)}]
    spec = {"containers": [{"name": "c", "image": "x"}], **({"nodeName": node} if node else {})}
    status = {"conditions": conditions}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec, "status": status}


def endpoints(**conditions: dict[str, bool]) -> dict[str, Any]:
    meta = {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}}
    rows = [
        {"addresses": [f"10.244.1.{number}"], "conditions": row, "targetRef": {"kind": "Pod", "name": name}}
        for number, (name, row) in enumerate(conditions.items(), 2)
    ]
    ports = [{"port": 80, "protocol": "TCP"}]
    kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
    return {**kind, "metadata": meta, "endpoints": rows, "ports": ports}


def test_a_pod_comes_is_ready_ends_and_goes() -> None:
    store, seen, said = Store(), 0, []

    def look() -> None:
        nonlocal seen
        said.extend(what for _, _, what in tell(store.watch(seen)))
        seen = store.resourceVersion

    store.write(pod(False), now=NOW)
    look()
    store.write(pod(False, node="worker-1"))
    look()
    store.write(pod(True, node="worker-1"))
    look()
    store.delete(Key("Pod", "default", "a"), now=NOW, grace=True)
    look()
    store.finalize(Key("Pod", "default", "a"))
    look()
    assert said == ["created", "scheduled to worker-1", "ready", "terminating", "gone"]


def test_writes_that_nobody_saw_between_are_one() -> None:
    store = Store()
    store.write(pod(True), now=NOW)
    store.write(pod(False, node="worker-1"))
    assert list(tell(store.watch(0))) == [("Pod", "default/a", "created, scheduled to worker-1")]
    store.finalize(Key("Pod", "default", "a"))
    assert list(tell(store.watch(0))) == []


def test_endpoints_are_named_by_their_pods() -> None:
    store = Store()
    store.write(endpoints(a={"ready": True}, b={"ready": False}), now=NOW)
    first = store.resourceVersion
    assert [what for _, _, what in tell(store.watch(0))] == ["endpoint a ready", "endpoint b not ready"]
    store.write(endpoints(a={"ready": False, "serving": True, "terminating": True}))
    assert list(tell(store.watch(first))) == [
        ("Service", "default/web", "endpoint a terminating, serving"),
        ("Service", "default/web", "endpoint b removed"),
    ]


def test_a_node_comes_and_goes() -> None:
    store = Store()
    store.write({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}, now=NOW)
    assert list(tell(store.watch(0))) == [("Node", "n", "created")]
    seen = store.resourceVersion
    store.finalize(Key("Node", "", "n"))
    assert list(tell(store.watch(seen))) == [("Node", "n", "gone")]
