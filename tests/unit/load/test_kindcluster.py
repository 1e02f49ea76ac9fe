"""Tests kind's Cluster: the nodes' names, and their labels and taints after kubeadm's patches."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest

from emulator.errors import InputError
from emulator.objects.config import NodeShape
from tests.unit.load.reading import load_text, problems_of

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def kind(nodes: str = "", rest: str = "") -> str:
    return f"kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n{rest}\nnodes: [{nodes}]\n"


def shapes(text: str) -> list[NodeShape]:
    cluster = load_text(text).cluster
    assert cluster is not None
    return list(cluster.object.nodes)


def patch(kind: str, registration: str) -> str:
    return f'kubeadmConfigPatches: ["{{kind: {kind}, nodeRegistration: {{{registration}}}}}"]'


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param(kind("{role: control-plane}"), ["kind-control-plane"], id="no name"),
        pytest.param(kind(), ["kind-control-plane"], id="no nodes: kind makes one"),
        pytest.param(
            kind("{role: worker}, {role: control-plane}, {role: worker}, {role: worker}", "name: dev"),
            ["dev-worker", "dev-control-plane", "dev-worker2", "dev-worker3"],
            id="several workers",
        ),
        pytest.param(
            kind("{}, {role: control-plane}, {role: control-plane}"),
            ["kind-control-plane", "kind-control-plane2", "kind-control-plane3"],
            id="the role that kind gives, and several control planes",
        ),
    ],
)
def test_nodes_have_the_names_that_kind_gives_them(text: str, names: list[str]) -> None:
    assert [shape.name for shape in shapes(text)] == names


@pytest.mark.parametrize(
    ("role", "own", "expected"),
    [
        pytest.param("control-plane", "labels: {a: b}", {"a": "b"}, id="the field labels"),
        pytest.param(
            "control-plane",
            patch("InitConfiguration", "kubeletExtraArgs: {node-labels: ingress-ready=true}"),
            {"ingress-ready": "true"},
            id="ingress-nginx's documentation",
        ),
        pytest.param(
            "control-plane",
            patch("InitConfiguration", "kubeletExtraArgs: [{name: node-labels, value: 'a=b,c=,d'}]"),
            {"a": "b", "c": "", "d": ""},
            id="kubeadm v1beta4: a list",
        ),
        pytest.param(
            "control-plane",
            "labels: {zone: z}, " + patch("InitConfiguration", "kubeletExtraArgs: {node-labels: a=b}"),
            {"a": "b"},
            id="the patch takes the place of the field",
        ),
        pytest.param(
            "control-plane",
            patch("JoinConfiguration", "kubeletExtraArgs: {node-labels: a=b}"),
            {},
            id="of nodes that join",
        ),
        pytest.param(
            "worker",
            patch("JoinConfiguration", "kubeletExtraArgs: {node-labels: a=b}"),
            {"a": "b"},
            id="a worker joins",
        ),
    ],
)
def test_labels(role: str, own: str, expected: dict[str, str]) -> None:
    (shape,) = shapes(kind(f"{{role: {role}, {own}}}"))
    assert dict(shape.labels) == expected


def test_a_patch_of_the_cluster_is_for_every_node_and_a_nodes_own_comes_after_it() -> None:
    text = kind(
        "{role: control-plane}, {role: worker}, {role: worker, "
        + patch("JoinConfiguration", "kubeletExtraArgs: {node-labels: a=2}")
        + "}",
        patch("JoinConfiguration", "kubeletExtraArgs: {node-labels: a=1}"),
    )
    assert [dict(shape.labels) for shape in shapes(text)] == [{}, {"a": "1"}, {"a": "2"}]


@pytest.mark.parametrize(
    ("role", "registration", "taints", "role_taint"),
    [
        pytest.param("control-plane", "taints: []", [], False, id="none at all"),
        pytest.param(
            "control-plane",
            "taints: [{key: a, value: b, effect: NoSchedule}]",
            [("a", "b", "NoSchedule")],
            False,
            id="others",
        ),
        pytest.param(
            "control-plane",
            "kubeletExtraArgs: {register-with-taints: 'a=b:NoSchedule,c:NoExecute'}",
            [("a", "b", "NoSchedule"), ("c", "", "NoExecute")],
            True,
            id="the kubelet's flag leaves kubeadm's own taint",
        ),
        pytest.param(
            "worker",
            "taints: [{key: gpu, effect: NoSchedule}]",
            [("gpu", "", "NoSchedule")],
            True,
            id="a worker's",
        ),
    ],
)
def test_taints(role: str, registration: str, taints: list[tuple[str, str, str]], role_taint: bool) -> None:
    own = patch("InitConfiguration" if role == "control-plane" else "JoinConfiguration", registration)
    (shape, _) = shapes(kind(f"{{role: {role}, {own}}}, {{role: worker}}"))
    assert ([(t.key, t.value, t.effect) for t in shape.taints], shape.roleTaint) == (taints, role_taint)


def test_a_single_node_takes_pods() -> None:
    own = patch("InitConfiguration", f"taints: [{{key: {CONTROL_PLANE}, effect: NoSchedule}}]")
    (shape,) = shapes(kind(f"{{role: control-plane, {own}}}"))
    assert shape.taints == ()


def test_kube_proxys_configuration_in_a_patch() -> None:
    text = 'kubeadmConfigPatches: ["{kind: KubeProxyConfiguration, ipvs: {strictARP: true}}"]'
    proxy = load_text(kind("{role: control-plane}", text)).proxy
    assert proxy is not None
    assert proxy.object.ipvs.strictARP


@pytest.mark.parametrize(
    ("patches", "path"),
    [
        ("kubeadmConfigPatches: x", "kubeadmConfigPatches"),
        ("kubeadmConfigPatches: [1]", "kubeadmConfigPatches[0]"),
        ("kubeadmConfigPatches: ['a: {']", "kubeadmConfigPatches[0]"),
        ("kubeadmConfigPatches: [word]", "kubeadmConfigPatches[0]"),
        (
            patch("InitConfiguration", "kubeletExtraArgs: {node-labels: 'not a label=x'}"),
            'nodes[0].labels["not a label"]',
        ),
        (
            patch("InitConfiguration", "kubeletExtraArgs: {register-with-taints: nothing}"),
            "nodes[0].kubeadmConfigPatches",
        ),
        (patch("InitConfiguration", "taints: [{key: a, effect: Never}]"), "nodes[0].taints[0].effect"),
        (
            "kubeadmConfigPatches: ['{kind: KubeProxyConfiguration, mode: fast}']",
            "kubeadmConfigPatches[0].mode",
        ),
    ],
)
def test_what_is_wrong_with_a_patch_is_said(patches: str, path: str) -> None:
    assert [problem.path for problem in problems_of(kind("{role: control-plane}", patches))] == [path]


@pytest.mark.parametrize(
    "value",
    [None, 1, [], {}, "x", [[]], [{"role": []}], [{"role": "control-plane", "kubeadmConfigPatches": {}}]],
)
def test_faulty_nodes_are_problems_and_no_tracebacks(value: Any) -> None:
    document = json.dumps({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": value})
    with suppress(InputError):
        load_text(document)
