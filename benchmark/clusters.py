"""Makes the clusters to measure, as the manifests that a user would write, and single changes of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from emulator.cluster.state import ClusterState
from emulator.load.load import load
from emulator.objects.config import Inventory

ROOT = Path(__file__).resolve().parent.parent
API = "podwire.dev/v1alpha1"

Document = dict[str, Any]


def write(path: Path, documents: Iterable[Document]) -> Path:
    """Writes ``documents`` as one file of manifests (JSON is YAML, and is written faster)."""
    path.write_text("\n---\n".join(json.dumps(document) for document in documents))
    return path


def read(path: Path) -> Inventory:
    return load([str(path)], topologies=ROOT / "topologies")


def deployments(*, workers: int, services: int, replicas: int, check: bool = False) -> Iterator[Document]:
    """Yields ``services`` Deployments of ``replicas`` Pods, each behind a Service; with ``check``, one flow
    to send instead of all.
    """
    yield {
        "apiVersion": API,
        "kind": "Cluster",
        "nodes": [{"role": "control-plane"}, *[{"role": "worker"}] * workers],
    }
    for number in range(services):
        name, labels = f"app-{number}", {"app": f"app-{number}"}
        container = {"name": "server", "ports": [{"containerPort": 8080}]}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        yield {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
        yield _service(name, selector=labels)
    if check:
        flow = {"name": "one", "from": {"node": "worker-1"}, "to": {"service": "app-0", "port": 80}}
        yield {"apiVersion": API, "kind": "FlowCheck", "metadata": {"name": "one"}, "spec": {"flows": [flow]}}


def many(pods: int, nodes: int, services: int) -> Iterator[Document]:
    """Yields ``pods`` Pods on the workers in turn, spread evenly over the ``services`` as endpoints, and a
    client outside.
    """
    yield {
        "apiVersion": API,
        "kind": "Cluster",
        "nodes": [{"role": "control-plane"}, *[{"role": "worker"}] * (nodes - 1)],
        "externalClients": [{"name": "client-1", "address": "203.0.113.10"}],
    }
    for number in range(pods):
        yield _pod(
            f"p{number}",
            f"worker-{number % (nodes - 1) + 1}",
            labels={"app": f"a{number % min(services, pods)}"},
        )
    for number in range(services):
        yield _service(f"s{number}", selector={"app": f"a{number % pods}"})


def scaled_in_steps(count: int) -> Iterator[Document]:
    """Yields a Deployment that is scaled ``count`` times, and dialled from inside and outside after each
    time.
    """
    yield {
        "apiVersion": API,
        "kind": "Cluster",
        "nodes": [{"role": "control-plane"}, {"role": "worker"}, {"role": "worker"}],
        "externalClients": [{"name": "client-1", "address": "203.0.113.10"}],
    }
    labels = {"app": "web"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "web", "ports": [{"containerPort": 8080}]}]},
    }
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    yield {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    yield {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "c"},
        "spec": {"nodeName": "worker-1", "containers": [{"name": "c"}]},
    }
    ports = [{"port": 80, "targetPort": 8080, "nodePort": 30080}]
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "selector": labels, "ports": ports},
    }
    inside = {"name": "pod", "from": {"pod": "c"}, "to": {"service": "web", "port": 80}}
    outside = {"name": "out", "from": {"external": "client-1"}, "to": {"node": "worker-2", "nodePort": 30080}}
    steps = [
        {
            "name": f"s{n}",
            "scale": {"kind": "Deployment", "name": "web", "replicas": 1 + n * 7 % 20},
            "flows": [inside, outside],
        }
        for n in range(count)
    ]
    start = {**inside, "name": "start"}
    yield {
        "apiVersion": API,
        "kind": "FlowCheck",
        "metadata": {"name": "f"},
        "spec": {"flows": [start], "steps": steps},
    }


# --- many Services on one node ------------------------------------------------------------------------------

CLIENT, BACKENDS = "client", ("backend-0", "backend-1")
NODE = "control-plane"


def many_services(count: int) -> Iterator[Document]:
    """Yields one node, and ``count`` Services of two endpoints each that need no server."""
    yield _one_node()
    for number in range(count):
        yield from _unserved(number)


def many_services_with_pods(count: int, served: Collection[int]) -> Iterator[Document]:
    """Yields the same with a client, and with two Pods that are the endpoints of the Services whose numbers
    are in ``served``.
    """
    yield _one_node()
    yield _pod(CLIENT, NODE)
    for name in BACKENDS:
        yield _pod(name, NODE, labels={"app": "backend"})
    for number in range(count):
        if number in served:
            yield _service(service_name(number), selector={"app": "backend"})
        else:
            yield from _unserved(number)


def service_name(number: int) -> str:
    return f"svc-{number}"


def _one_node() -> Document:
    node = {"role": NODE, "podCIDR": "10.128.0.0/16"}
    return {
        "apiVersion": API,
        "kind": "Cluster",
        "nodes": [node],
        "networking": {"podSubnet": "10.128.0.0/15"},
    }


def _unserved(number: int) -> Iterator[Document]:
    name = service_name(number)
    yield _service(name)
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "", "protocol": "TCP", "port": 8080}],
        "endpoints": [
            {"addresses": [f"10.129.{index >> 8 & 255}.{index & 255}"]}
            for index in (2 * number, 2 * number + 1)
        ],
    }


def _service(name: str, selector: dict[str, str] | None = None) -> Document:
    spec: Document = {"ports": [{"port": 80, "targetPort": 8080}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": spec | ({"selector": selector} if selector else {}),
    }


def _pod(name: str, node: str, labels: dict[str, str] | None = None) -> Document:
    container = {"name": "main", "ports": [{"containerPort": 8080}]}
    spec = {"nodeName": node, "containers": [container]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec,
    }


# --- one server near, one far -------------------------------------------------------------------------------


def near_and_far() -> Iterator[Document]:
    """Yields a client, a Service with one endpoint on the client's node (``near``) and one with its endpoint
    on another (``far``).
    """
    yield {
        "apiVersion": API,
        "kind": "Cluster",
        "nodes": [{"role": "control-plane"}, {"role": "worker"}, {"role": "worker"}],
    }
    yield _pod(CLIENT, "worker-1")
    for name, node in (("near", "worker-1"), ("far", "worker-2")):
        yield _pod(name, node, labels={"app": name})
        yield _service(name, selector={"app": name})


# --- one change ---------------------------------------------------------------------------------------------


def without_service(state: ClusterState, key: str) -> ClusterState:
    """Returns ``state`` before the Service ``key`` (namespace/name) and its endpoints were there."""
    gone = state.slices_of[key]
    slices = tuple(item for item in state.endpointSlices if item not in gone)
    return replace(state, services=tuple(s for s in state.services if s.key != key), endpointSlices=slices)


def with_other_endpoint(state: ClusterState, key: str, address: str) -> ClusterState:
    """Returns ``state`` with the first endpoint of the Service ``key`` at another address."""
    was = state.slices_of[key][0]
    now = replace(was, endpoints=(replace(was.endpoints[0], addresses=(address,)), *was.endpoints[1:]))
    return replace(state, endpointSlices=tuple(now if item is was else item for item in state.endpointSlices))
