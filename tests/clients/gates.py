"""Runs as an operator under kopf: each Gate gets a Service, whose address goes into the Gate's status."""

from __future__ import annotations

from typing import Any

import kopf
from lightkube import Client
from lightkube.resources.core_v1 import Service
from lightkube.types import PatchType


@kopf.on.create("example.org", "v1", "gates")
def open_gate(spec: Any, name: str, namespace: str, **_: Any) -> dict[str, str]:
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": spec["app"]}, "ports": [{"port": spec["port"]}]},
    }
    kopf.adopt(body)
    made = Client().create(Service.from_dict(body))
    return {"clusterIP": made.spec.clusterIP}


@kopf.on.update("example.org", "v1", "gates", field="spec.port")
def move_gate(new: int, name: str, namespace: str, **_: Any) -> None:
    ports = {"spec": {"ports": [{"port": new}]}}  # a strategic merge would add a second one
    Client().patch(Service, name, ports, namespace=namespace, patch_type=PatchType.MERGE)


@kopf.on.delete("example.org", "v1", "gates")
def close_gate(**_: Any) -> None:
    """Makes kopf put its finalizer on each Gate."""
