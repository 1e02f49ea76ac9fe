"""Turns manifests as text into a settled cluster, the way a run does it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from emulator.cluster.state import ClusterState
from emulator.controllers.settle import settle
from emulator.errors import InputError, Problem
from emulator.load.load import load
from emulator.objects.config import Inventory, ProxyMode
from emulator.objects.kinds import Pod


def inventory_of(*manifests: str) -> Inventory:
    return load(["-"], topologies=Path("no-topologies"), stdin=io.StringIO("\n---\n".join(manifests)))


def settled(
    *manifests: str, seed: int = 0, proxy_mode: ProxyMode | None = None, run: bool = False
) -> ClusterState:
    return settle(inventory_of(*manifests), seed=seed, proxy_mode=proxy_mode, run=run)


def problems_of(*manifests: str) -> tuple[Problem, ...]:
    inventory = inventory_of(*manifests)
    with pytest.raises(InputError) as caught:
        settle(inventory)
    return caught.value.problems


def problem_of(*manifests: str) -> Problem:
    """Returns the only problem."""
    (problem,) = problems_of(*manifests)
    return problem


def users_pods(state: ClusterState) -> list[Pod]:
    """Returns the Pods without the control plane's static ones."""
    return [pod for pod in state.pods if pod.namespace != "kube-system"]


def cluster(nodes: str = "", **networking: str) -> str:
    """Returns a ``Cluster``: ``nodes`` in flow style ("{role: worker}, {role: worker}"), ``networking`` by
    field.
    """
    fields = ", ".join(f"{key}: {value}" for key, value in networking.items())
    return f"{{apiVersion: podwire.dev/v1alpha1, kind: Cluster, nodes: [{nodes}], networking: {{{fields}}}}}"


def node(name: str, address: str = "", cidr: str = "", labels: str = "", spec: str = "") -> str:
    addresses = f"{{type: InternalIP, address: {address}}}" if address else ""
    cidrs = f"podCIDR: {cidr}, podCIDRs: [{cidr}], " if cidr else ""
    return (
        f"{{apiVersion: v1, kind: Node, metadata: {{name: {name}, labels: {{{labels}}}}}, "
        f"spec: {{{cidrs}{spec}}}, status: {{addresses: [{addresses}]}}}}"
    )


def pod(
    name: str, labels: str = "", ports: str = "", spec: str = "", status: str = "", meta: str = ""
) -> str:
    """Returns a Pod. ``ports``: "{containerPort: 80}, …"; ``spec``, ``status``, ``meta``: further fields, in
    flow style.
    """
    return (
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{{labels}}}, {meta}}}, "
        f"spec: {{containers: [{{name: main, ports: [{ports}]}}], {spec}}}, status: {{{status}}}}}"
    )


def workload(
    kind: str,
    name: str,
    replicas: int | None = 1,
    template: str = "",
    spec: str = "",
    ports: str = "{containerPort: 80}",
) -> str:
    count = f"replicas: {replicas}, " if replicas is not None else ""
    old = kind == "ReplicationController"
    selector = f"{{app: {name}}}" if old else f"{{matchLabels: {{app: {name}}}}}"
    return (
        f"{{apiVersion: {'v1' if old else 'apps/v1'}, kind: {kind}, metadata: {{name: {name}}}, "
        f"spec: {{{count}selector: {selector}, {spec} "
        f"template: {{metadata: {{labels: {{app: {name}}}, {template}}}, spec: {{containers: "
        f"[{{name: main, ports: [{ports}]}}]}}}}}}}}"
    )


def service(name: str, spec: str, status: str = "") -> str:
    return (
        f"{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{{spec}}}, status: "
        f"{{{status}}}}}"
    )


def flow_check(*flows: str) -> str:
    return (
        f"{{apiVersion: podwire.dev/v1alpha1, kind: FlowCheck, metadata: {{name: check}}, spec: "
        f"{{flows: [{', '.join(flows)}]}}}}"
    )
