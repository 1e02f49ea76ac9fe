"""Tests which UDP conntrack entries a change makes stale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from emulator.cluster.state import ClusterState
from emulator.net import Endpoint
from emulator.objects.kinds import ServicePort
from emulator.proxy.changes import service_changes
from emulator.proxy.stale import stale_connections
from tests.objects import node, service, slice_of, state

UDP = ServicePort(name="dns", port=53, targetPort=53, protocol="UDP")
TCP = ServicePort(name="dns-tcp", port=53, targetPort=53)
A, B = {"ip": "10.244.1.5"}, {"ip": "10.244.1.6"}
DRAINING = {"conditions": {"ready": False, "serving": True, "terminating": True}}
GONE = {"conditions": {"ready": False, "serving": False, "terminating": True}}
CLUSTER_IP = Endpoint.of("10.96.0.10", 53)


def endpoint(where: Mapping[str, Any], conditions: Mapping[str, Any]) -> dict[str, Any]:
    return {**where, **conditions}


def cluster(
    *endpoints: Mapping[str, Any],
    nodes: Sequence[str] = ("worker-1",),
    port: ServicePort = UDP,
    release: str = "v1.31",
    **spec: Any,
) -> ClusterState:
    svc = service("dns", ports=[port], **spec)
    rows = slice_of(svc, *endpoints, ports=[{"name": port.name, "port": 5353, "protocol": port.protocol}])
    return state(nodes=[node(name) for name in nodes], services=[svc], slices=[rows], release=release)


def nobody(*nodes: str, release: str = "v1.31") -> ClusterState:
    return state(nodes=[node(name) for name in nodes or ("worker-1",)], release=release)


def stale(old: ClusterState, new: ClusterState) -> set[tuple[Any, Any]]:
    return {(op.dialled, op.server) for op in stale_connections(old, new, service_changes(old, new))}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (cluster(A), cluster(A), set()),
        (cluster(A), cluster(A, B), set()),
        (cluster(A, B), cluster(B), {(CLUSTER_IP, Endpoint.of("10.244.1.5", 5353))}),
        (cluster(A), cluster(B), {(CLUSTER_IP, Endpoint.of("10.244.1.5", 5353))}),
        (cluster(A), cluster(), {(CLUSTER_IP, Endpoint.of("10.244.1.5", 5353))}),
        (cluster(A), nobody(), {(CLUSTER_IP, Endpoint.of("10.244.1.5", 5353))}),
        (cluster(), cluster(A), {(CLUSTER_IP, None)}),
        (nobody(), cluster(A), {(CLUSTER_IP, None)}),
        (nobody(), cluster(), set()),
        (cluster(A), cluster(endpoint(A, DRAINING)), set()),
        (cluster(endpoint(A, DRAINING)), cluster(B), {(CLUSTER_IP, Endpoint.of("10.244.1.5", 5353))}),
        (cluster(A), cluster(endpoint(A, GONE)), {(CLUSTER_IP, Endpoint.of("10.244.1.5", 5353))}),
        (cluster(endpoint(A, GONE)), cluster(endpoint(A, GONE), B), {(CLUSTER_IP, None)}),
        (cluster(A, port=TCP), cluster(B, port=TCP), set()),
        (
            cluster(A),
            cluster(A, clusterIP="10.96.0.11"),
            {(CLUSTER_IP, Endpoint.of("10.244.1.5", 5353)), (Endpoint.of("10.96.0.11", 53), None)},
        ),
    ],
    ids=[
        *(
            "nothing changed",
            "an endpoint joins",
            "one of two goes",
            "replaced",
            "emptied",
            "deleted",
            "restored",
            "created",
        ),
        *(
            "created empty",
            "draining keeps its clients",
            "drained",
            "no longer serving",
            "the first that serves",
        ),
        *("TCP notices by itself", "another ClusterIP"),
    ],
)
def test_what_became_wrong(old: ClusterState, new: ClusterState, expected: set[tuple[str, str]]) -> None:
    assert stale(old, new) == expected


def test_every_address_of_the_service_counts() -> None:
    port = ServicePort(name="dns", port=53, targetPort=53, protocol="UDP", nodePort=30053)
    spec: dict[str, Any] = {
        "port": port,
        "type": "LoadBalancer",
        "externalIPs": ("192.0.2.1",),
        "vips": ("192.0.2.2",),
    }
    dialled = {address for address, _ in stale(cluster(A, **spec), cluster(B, **spec))}
    by_port = {
        Endpoint.of("172.18.0.3", 30053),
        Endpoint.of("10.244.1.1", 30053),
        Endpoint.of("127.0.0.1", 30053),
    }
    assert dialled == {CLUSTER_IP, Endpoint.of("192.0.2.1", 53), Endpoint.of("192.0.2.2", 53), *by_port}


def test_an_address_that_another_service_serves_as_well_is_not_new() -> None:
    first, second = (
        service(name, ports=[UDP], clusterIP=ip, externalIPs=("192.0.2.1",))
        for name, ip in (("a", "10.96.0.1"), ("b", "10.96.0.2"))
    )
    slices = [
        slice_of(svc, where, ports=[{"name": "dns", "port": 53, "protocol": "UDP"}])
        for svc, where in ((first, A), (second, B))
    ]
    nodes = [node("worker-1")]
    old = state(nodes=nodes, services=[first], slices=slices, release="v1.31")
    new = state(nodes=nodes, services=[first, second], slices=slices, release="v1.31")
    assert stale(old, new) == {(Endpoint.of("10.96.0.2", 53), None)}
    assert stale(new, old) == {
        (Endpoint.of("10.96.0.2", 53), Endpoint.of("10.244.1.6", 53)),
        (Endpoint.of("192.0.2.1", 53), Endpoint.of("10.244.1.6", 53)),
    }


def test_every_node_that_stays_forgets() -> None:
    old, new = cluster(A, nodes=("n1", "n2", "n3")), cluster(B, nodes=("n2", "n3", "n4"))
    assert {op.netns for op in stale_connections(old, new, service_changes(old, new))} == {"n2", "n3"}


PORT = ServicePort(name="dns", port=53, targetPort=53, protocol="UDP", nodePort=30053)
NODE_PORT = Endpoint.of("172.18.0.3", 30053)
TO_A = Endpoint.of("10.244.1.5", 5353)
DIALLED = {"clusterIP": CLUSTER_IP, "externalIP": Endpoint.of("192.0.2.1", 53), "nodePort": NODE_PORT}


def forgotten(old: ClusterState, new: ClusterState) -> set[str]:
    """Returns at which addresses a client of endpoint A is forgotten."""
    found = stale(old, new)
    return {how for how, address in DIALLED.items() if (address, TO_A) in found}


@pytest.mark.parametrize(
    ("release", "replaced", "emptied", "deleted"),
    [
        ("v1.30", set(DIALLED), set(DIALLED), {"clusterIP"}),
        ("v1.31", set(DIALLED), set(DIALLED), {"clusterIP"}),
        ("v1.32", set(DIALLED), set(DIALLED), set()),
        ("v1.33", set(DIALLED), set(), set()),
        ("v1.34", set(DIALLED), set(), set()),
        ("v1.35", set(DIALLED), set(), set()),
        ("v1.36", set(DIALLED), set(), set()),
        ("v1.37", set(DIALLED), {"clusterIP", "externalIP"}, set()),
    ],
)
def test_who_is_forgotten_where_nothing_serves_depends_on_the_release(
    release: str, replaced: set[str], emptied: set[str], deleted: set[str]
) -> None:
    spec: dict[str, Any] = {"port": PORT, "type": "NodePort", "externalIPs": ("192.0.2.1",)}
    spec["release"] = release
    old = cluster(A, **spec)
    assert forgotten(old, cluster(B, **spec)) == replaced
    assert forgotten(old, cluster(**spec)) == emptied
    assert forgotten(old, nobody(release=release)) == deleted


@pytest.mark.parametrize("release", ["v1.33", "v1.37"])
def test_who_was_left_to_a_dead_endpoint_is_forgotten_with_the_next_one(release: str) -> None:
    old, new = cluster(release=release), cluster(A, release=release)
    assert stale(old, new) == {(CLUSTER_IP, None)}
