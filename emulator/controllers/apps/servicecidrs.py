"""Writes the ServiceCIDR object `kubernetes`, which says from which prefix ClusterIPs are given
(pkg/controlplane/controller/defaultservicecidr). It is written again when it is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...load.schema import full_name
from ...store.objects import Key
from ...store.store import Event
from ..plane import Controller, ControlPlane

NAME = "service CIDRs"
_VERSION = "networking.k8s.io/v1"
KIND = full_name("ServiceCIDR", _VERSION)
_KEY = Key(KIND, "", "kubernetes")


def _run(plane: ControlPlane, _: Sequence[Event] | None) -> None:
    if plane.store.get(_KEY) is not None:
        return
    plane.store.create(service_cidr(str(plane.serviceSubnet), plane.now), now=plane.now)


def service_cidr(prefix: str, now: str) -> dict[str, Any]:
    """Returns the object of the cluster whose ClusterIPs are of ``prefix``."""
    ready = {
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": now,
        "reason": "",
        "message": "Kubernetes default Service CIDR is ready",
    }
    return {
        "apiVersion": _VERSION,
        "kind": "ServiceCIDR",
        "metadata": {"name": _KEY.name},
        "spec": {"cidrs": [prefix]},
        "status": {"conditions": [ready]},
    }


def _concerns(event: Event) -> bool:
    return event.type == "DELETED" and event.stored.key == _KEY


CONTROLLER = Controller(NAME, _run, _concerns)
