"""Tests the rows of nodes, Pods and Services, and what a step changes of them."""

from __future__ import annotations

from emulator.objects.references import ObjectRef, node_ref, service_ref
from emulator.report.describe import describe_nodes, describe_steps
from tests.sandboxed import scenario_of

SHOP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: tools}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: less}
spec:
  steps:
  - name: one is left
    scale: {kind: Deployment, name: web, replicas: 1}
    flows: [{name: a Pod, from: {pod: client}, to: {service: web, port: 80}}]
  - name: the Service goes
    delete: [{kind: Service, name: web}]
    flows: [{name: a Pod, from: {pod: client}, to: {ip: 10.96.1.0, port: 80}}]
"""
SCENARIO = scenario_of(text=SHOP)


def test_a_pod_names_the_workload_that_made_it() -> None:
    pods = {
        (pod.namespace, pod.workload)
        for row in describe_nodes(SCENARIO.state)
        for pod in row.pods
        if row.pods
    }
    assert {("default", "deployment/web"), ("tools", "daemonset/agent"), ("default", "")} <= pods
    assert ("kube-system", "") in pods  # a static Pod is its node's


def test_a_step_has_the_rows_that_it_changes() -> None:
    scaled, deleted = describe_steps(SCENARIO.moments)
    assert (scaled.step, [row.endpoints for row in scaled.services]) == ("less, one is left", [1])
    assert len(scaled.cluster) == 1
    assert (deleted.cluster, deleted.services, deleted.gone) == ((), (), ("default/web",))


def test_a_scenario_knows_where_objects_are_written() -> None:
    lines = {ref: origin.line("") for ref, origin in SCENARIO.origins.items()}
    assert lines[service_ref("default/web")] == SHOP[: SHOP.index("kind: Service")].count("\n")
    assert lines[ObjectRef("Deployment", "default/web")] == 2
    assert node_ref("worker-1") not in lines
