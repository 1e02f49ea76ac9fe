"""Tests that small manifests that ask for too much are refused before anything of it is made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from emulator.controllers.room import MOST_NODES, MOST_PODS
from tests.unit.controllers.clusters import (
    cluster,
    inventory_of,
    problem_of,
    settled,
)
from tests.unit.controllers.clusters import service as service_of

POD = "{metadata: {labels: {a: b}}, spec: {containers: [{name: c}]%s}}"


def workload(kind: str, replicas: int, more: str = "") -> str:
    return (
        f"apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: a}}\n"
        f"spec: {{replicas: {replicas}, selector: {{matchLabels: {{a: b}}}}, template: {POD % more}}}"
    )


@contextmanager
def at_once() -> Iterator[None]:
    """Refuses at once: sixteen million of anything would take a minute and gigabytes, however busy the
    machine is.
    """
    begin = time.process_time()
    yield
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet"])
def test_more_replicas_than_addresses(kind: str) -> None:
    with at_once():
        problem = problem_of(cluster(podSubnet="11.0.0.0/8"), workload(kind, 16_000_000))
    assert (problem.document, problem.path) == (2, "spec.replicas")
    assert (
        problem.what == "16,000,000 replicas: the podCIDRs of all nodes together have 759 addresses for Pods"
    )


def test_more_replicas_than_pods_at_all() -> None:
    one = (
        "apiVersion: podwire.dev/v1alpha1\nkind: Cluster\nnodes: [{role: control-plane, podCIDR: "
        "11.0.0.0/8}]\nnetworking: {podSubnet: 11.0.0.0/8}"
    )
    with at_once():
        assert problem_of(one, workload("Deployment", 16_000_000)).what.endswith(
            f"podwire makes no more than {MOST_PODS:,} Pods"
        )


def test_hostnetwork_pods_take_no_address() -> None:
    with at_once():
        problem = problem_of(cluster(), workload("Deployment", 2_000_000, ", hostNetwork: true"))
    assert problem.what == f"2,000,000 replicas: podwire makes no more than {MOST_PODS:,} Pods"


def test_replicas_for_every_address() -> None:
    one = (
        "apiVersion: podwire.dev/v1alpha1\nkind: Cluster\nnodes: [{role: control-plane, podCIDR: "
        "10.244.0.0/28}]"
    )
    assert sum(not pod.spec.hostNetwork for pod in settled(one, workload("Deployment", 13)).pods) == 13
    assert "have 13 addresses" in problem_of(one, workload("Deployment", 14)).what


def test_a_step_that_scales_to_millions() -> None:
    check = (
        "apiVersion: podwire.dev/v1alpha1\nkind: FlowCheck\nmetadata: {name: f}\nspec: {flows: [], steps: "
        "[{name: s, scale: {kind: Deployment, name: a, replicas: 16000000}, flows: []}]}"
    )
    with at_once():
        problem = problem_of(cluster(podSubnet="11.0.0.0/8"), workload("Deployment", 1), check)
    assert problem.path == "spec.steps[0].scale.replicas"


def test_more_nodes_than_can_have_routes_to_one_another() -> None:
    roles = ", ".join(["{role: worker}"] * 20_000)
    many = (
        f"apiVersion: podwire.dev/v1alpha1\nkind: Cluster\nnodes: [{{role: control-plane}}, "
        f"{roles}]\nnetworking: {{podSubnet: 10.0.0.0/8}}"
    )
    problem = problem_of(many)
    assert problem.path == f"nodes[{MOST_NODES}].name"
    assert problem.what == f"20,001 nodes: podwire takes no more than {MOST_NODES:,}"


def test_more_pods_than_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.controllers.room.MOST_PODS", 3)
    pods = [
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}}}\nspec: {{containers: [{{name: c}}]}}"
        for number in range(4)
    ]
    problem = problem_of(*pods)
    assert (problem.document, problem.what) == (4, "4 Pods: podwire takes no more than 3")


def test_a_pool_that_is_the_whole_host_network() -> None:
    """Walks through none of its sixteen million addresses to find one for a node or a Service."""
    wide = (
        "apiVersion: podwire.dev/v1alpha1\nkind: Cluster\n"
        "networking: {hostSubnet: 10.0.0.0/8, podSubnet: 172.16.0.0/16, serviceSubnet: "
        "192.168.0.0/16}\nloadBalancer: {addresses: [10.0.0.0/8]}"
    )
    with at_once():
        state = settled(wide, service_of("a", "type: LoadBalancer, ports: [{port: 80}]"))
    assert [node.internalIPs for node in state.nodes] == [("10.0.0.2",), ("10.0.0.3",), ("10.0.0.4",)]


def test_nodes_come_before_and_after_a_pool_and_then_out_of_it() -> None:
    narrow = (
        "apiVersion: podwire.dev/v1alpha1\nkind: Cluster\n"
        f"nodes: [{{role: control-plane}}{', {role: worker}' * 5}]\n"
        "networking: {hostSubnet: 192.168.0.0/28}\nloadBalancer: {addresses: [192.168.0.4-192.168.0.12]}"
    )
    addresses = [node.internalIPs[0].rpartition(".")[2] for node in settled(narrow).nodes]
    assert addresses == ["2", "3", "13", "14", "4", "5"]
    assert inventory_of(narrow).cluster is not None
