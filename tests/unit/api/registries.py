"""Makes registries for tests, and what they are asked."""

from __future__ import annotations

import random
from typing import Any

from emulator.api.registry import Answer, Caller, Registry, Target
from emulator.api.users import User
from emulator.store.store import Store

CALLER = Caller(User("ann", ("system:authenticated",)), "test")
NOW = "2026-12-01T12:00:00Z"


def registry(**given: Any) -> Registry:
    """Returns a registry with the namespaces of every cluster."""
    made = Registry(Store(), lambda: NOW, random.Random(1).randrange, **given)
    made.provide_namespaces()
    return made


def target(
    api: Registry, plural: str, name: str = "", *, namespace: str = "default", sub: str = "", group: str = ""
) -> Target:
    """Returns what a request about ``plural`` is about; ``group``: with its version, of others than v1."""
    name_of_group, _, version = (group or "/v1").rpartition("/")
    resource = api.catalog.find(name_of_group, version, plural)
    assert resource is not None
    return Target(resource, namespace if resource.namespaced else "", name, sub)


def pod(name: str = "", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"app": "web"}} if name else {"generateName": "web-"}
    container = {"name": "c", "image": "nginx"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [container], **spec},
    }


def config(name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}, **more}


def deployment(name: str = "web", replicas: int = 2) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def made(api: Registry, plural: str, body: dict[str, Any], *, group: str = "", **query: str) -> Answer:
    """Creates an object in the namespace default."""
    return api.create(target(api, plural, group=group), body, query, CALLER)
