"""Tests ``-n`` and ``-l``: the namespace of objects that name none, and the objects that are read."""

from __future__ import annotations

import io

import pytest

from emulator.errors import InputError, Problem
from emulator.load.load import load
from emulator.load.selection import Selection
from emulator.objects.config import Inventory
from emulator.objects.selectors import parse_selector
from tests.told import noticed
from tests.unit.load.reading import NOWHERE

OBJECTS = """
apiVersion: v1
kind: Node
metadata: {name: one}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c}]}}
---
apiVersion: v1
kind: Service
metadata: {name: api, labels: {app: api}}
spec: {selector: {app: api}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {app: web}}
---
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: asks}
spec:
  flows:
  - {name: near, from: {podSelector: {app: web}}, to: {service: api, port: 80}}
  - {name: far, from: {node: one}, to: {service: kubernetes, namespace: default, port: 443}}
  steps:
  - delete: [{kind: Service, name: api}]
    scale: {kind: Deployment, name: web, replicas: 2}
    apply:
    - apiVersion: v1
      kind: Service
      metadata: {name: api}
      spec: {selector: {app: web}, ports: [{port: 81}]}
    flows: [{name: again, from: {podSelector: {app: web}}, to: {service: api, port: 81}}]
"""


def read(text: str = OBJECTS, *, namespace: str = "", labels: str = "") -> Inventory:
    selector = parse_selector(labels) if labels else None
    selection = Selection(namespace=namespace, selector=selector, labels=labels)
    return load(["-"], topologies=NOWHERE, stdin=io.StringIO(text), selection=selection)


def refused(text: str = OBJECTS, **how: str) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        read(text, **how)
    return caught.value.problems


def test_objects_that_name_no_namespace_get_the_one_that_is_named() -> None:
    found = read(namespace="shop")
    assert found.workloads[0].object.key == "shop/web"
    assert found.services[0].object.key == "shop/api"
    assert found.nodes[0].object.metadata.namespace == ""
    unread = {one.object.metadata.name: one.object.metadata.namespace for one in found.uninterpreted}
    assert unread["settings"] == "shop"


def test_a_flow_check_s_references_get_it_too() -> None:
    check = read(namespace="shop").flowChecks[0]
    near, far = check.object.flows
    assert (near.from_.namespace, near.to.namespace, far.to.namespace) == ("shop", "shop", "default")
    (step,) = check.object.steps
    assert step.scale is not None
    assert (step.delete[0].namespace, step.scale.namespace) == ("shop", "shop")
    assert step.flows[0].to.namespace == "shop"
    assert check.object.applied[0][0].object.key == "shop/api"


def test_without_it_the_namespace_is_default() -> None:
    assert read().services[0].object.key == "default/api"
    assert read().flowChecks[0].object.flows[0].to.namespace == "default"


def test_another_namespace_is_refused_as_kubectl_refuses_it() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: b}\nspec: {ports: [{port: 80}]}\n"
    (problem,) = refused(text, namespace="shop")
    assert (problem.path, problem.line) == ("metadata.namespace", 3)
    assert "-n says shop" in problem.what


def test_labels_choose_objects_and_never_the_cluster_s_own() -> None:
    found = read(labels="app=web")
    assert [one.object.key for one in found.workloads] == ["default/web"]
    assert not found.services
    assert [one.object.metadata.name for one in found.nodes] == ["one"]
    assert found.flowChecks
    assert "left out by -l app=web: 1 Service, 1 ConfigMap" in noticed(found)


def test_labels_that_nothing_has_are_an_error() -> None:
    (problem,) = refused(labels="app=nobody")
    assert str(problem).startswith(
        "-l app=nobody: leaves out everything that podwire reads: "
        "1 Deployment, 1 Service, 1 ConfigMap, 1 Namespace"
    )
