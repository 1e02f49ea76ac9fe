"""Tests that flows share a promise only if a policy cannot distinguish their clients."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState
from emulator.flows.derive import all_pairs
from emulator.model.flows import Destination, Flow
from emulator.oracle.direct import direct_likeness
from emulator.oracle.expectations import Expectations
from emulator.oracle.facts import Facts
from emulator.oracle.parties import address_destination, pod_client, service_destination
from emulator.oracle.services import service_likeness
from tests.sandboxed import state_of

NAMES = ("one", "other")
MANIFESTS = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [{role: control-plane}, {role: worker, name: worker-1}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: worker-1, containers: [{name: c, ports: [{containerPort: 8080}]}]}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s, labels: {role: %s}}
spec: {nodeName: worker-1, containers: [{name: c}]}
"""


def cluster(*clients: tuple[str, str, str]) -> ClusterState:
    namespaces = {namespace for _, namespace, _ in clients} - {"default"}
    made = "".join(
        f"\n---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n" for name in namespaces
    )
    return state_of(text=MANIFESTS + made + "".join(POD % client for client in clients))


def likenesses(state: ClusterState, to: Destination) -> list[object]:
    """Returns what each of the clients asks the oracle for."""
    expectations, facts = Expectations(state), Facts(state, {})
    found: list[object] = []
    for name in NAMES:
        pod = next(pod for pod in state.pods if pod.name == name)
        flow = Flow(name=name, kind="pod-to-pod", client=pod_client(pod), to=to, protocol="TCP", attempts=1)
        met = expectations.translation(flow)
        if met is None:
            found.append(direct_likeness(facts, flow))
        else:
            found.append(service_likeness(facts, flow, replace(met, endpoints=facts.table.ports[0])))
    return found


@pytest.mark.parametrize("dials", ["Service", "Pod"])
@given(st.sampled_from(["default", "shop"]), st.sampled_from(["a", "b"]))
def test_clients_are_alike_only_with_the_same_namespace_and_labels(
    dials: str, namespace: str, role: str
) -> None:
    state = cluster(("one", "default", "a"), ("other", namespace, role))
    web = state.service["default/web"]
    to = (
        service_destination(web, web.spec.ports[0], "clusterIP", web.spec.clusterIPs[0])
        if dials == "Service"
        else address_destination(Expectations(state).owners, state.pod["default/web"].ip, 8080)
    )
    one, other = likenesses(state, to)
    assert (one == other) == ((namespace, role) == ("default", "a"))


def test_clients_that_are_alike_share_one_promise() -> None:
    state = cluster(("one", "default", "a"), ("other", "default", "a"))
    expectations = Expectations(state)
    web = state.service["default/web"]
    to = service_destination(web, web.spec.ports[0], "clusterIP", web.spec.clusterIPs[0])
    promises = [
        expectations.expect(
            Flow(
                name=n,
                kind="pod-to-service",
                client=pod_client(state.pod[f"default/{n}"]),
                to=to,
                protocol="TCP",
                attempts=1,
            )
        )
        for n in NAMES
    ]
    assert promises[0].possibilities is promises[1].possibilities
    assert promises[0].because is promises[1].because


@given(st.sampled_from(["default", "shop"]), st.sampled_from(["a", "b"]))
def test_a_shared_promise_is_the_one_that_is_worked_out_for_the_flow_alone(namespace: str, role: str) -> None:
    state = cluster(("one", "default", "a"), ("other", namespace, role))
    shared = Expectations(state)
    flows = all_pairs(state)
    assert {flow.kind for flow in flows} == {"pod-to-pod", "pod-to-service"}
    assert [shared.expect(flow) for flow in flows] == [Expectations(state).expect(flow) for flow in flows]
