"""Describes what runs in a sandbox, for ``podwire ps``, ``exec``, ``shell`` and ``capture`` elsewhere.
Pure; :mod:`emulator.run.clusters` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from .. import __version__
from ..cluster.state import BALANCER, ROUTER, SWITCH, ClusterState, pod_netns
from ..objects.kinds import Pod
from ..report.describe import name_addresses

_TEMPLATE_HASH = "pod-template-hash"


def announcement(state: ClusterState, started: datetime, stays: bool) -> dict[str, object]:
    """Returns the announcement of a run. ``stays``: it stays up after its verdicts."""
    names = {netns: netns for netns in machines(state)}
    once: dict[str, str] = {}
    for pod in state.pods:
        names[pod.key] = pod_netns(pod)
        once[pod.name] = "" if pod.name in once else pod_netns(pod)
    names = {name: netns for name, netns in once.items() if netns} | names
    return {
        "release": __version__,
        "topology": state.name,
        "started": started.isoformat(timespec="seconds"),
        "nodes": len(state.nodes),
        "pods": len(state.pods),
        "services": len(state.services),
        "stays": stays,
        "names": names,
        "members": [_member(pod) for pod in state.pods],
        "addresses": dict(name_addresses(state)),
    }


def _member(pod: Pod) -> dict[str, object]:
    return {
        "name": pod.key,
        "node": pod.spec.nodeName,
        "addresses": [str(ip.ip) for ip in pod.status.podIPs],
        "controller": controller(pod),
        "ready": pod.ready,
        "containers": [
            *(one.name for one in pod.spec.containers),
            *(one.name for one in pod.spec.initContainers if one.restartPolicy == "Always"),
        ],
    }


def controller(pod: Pod) -> str:
    """Returns the workload that made ``pod``, as ``kind/name``; "" if none did. A Deployment's ReplicaSet is
    named after it and the template's hash.
    """
    owner = next((owner for owner in pod.metadata.ownerReferences if owner.controller), None)
    if owner is None:
        return ""
    key = f"-{pod.metadata.labels.get(_TEMPLATE_HASH, '')}"
    if owner.kind == "ReplicaSet" and key != "-" and owner.name.endswith(key):
        return f"Deployment/{owner.name.removesuffix(key)}"
    return f"{owner.kind}/{owner.name}"


def machines(state: ClusterState) -> Iterator[str]:
    """Yields the namespaces that are no Pod's."""
    yield from (SWITCH, ROUTER)
    yield from (BALANCER,) if state.balancerIP else ()
    yield from (*state.node, *state.client)
