"""Tests listeners."""

from __future__ import annotations

import pytest

from emulator.cluster.state import ClusterState, Holder
from tests.told import told
from tests.unit.controllers.clusters import (
    cluster,
    node,
    pod,
    service,
    settled,
    workload,
)

ONE = cluster("{role: control-plane}, {role: worker}")


def rows(state: ClusterState, prefix: str = "default/") -> list[tuple[str, str, int, str, bool]]:
    return [
        (li.pod, li.container, li.port, li.protocol, bool(li.refused))
        for li in state.listeners
        if li.pod.startswith(prefix)
    ]


def pod_of(containers: str, more: str = "", meta: str = "") -> str:
    return (
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: p, labels: {{app: p}}, {meta}}}, spec: "
        f"{{containers: [{containers}], {more}}}}}"
    )


def test_every_declared_port_of_sidecars_and_containers() -> None:
    containers = (
        "{name: a, ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]}, {name: b, ports: "
        "[{containerPort: 81}]}"
    )
    inits = (
        "initContainers: [{name: s, restartPolicy: Always, ports: [{containerPort: 15001}]}, {name: "
        "once, ports: [{containerPort: 9}]}]"
    )
    state = settled(ONE, pod_of(containers, inits))
    assert rows(state) == [
        ("default/p", "s", 15001, "TCP", False),
        ("default/p", "a", 80, "TCP", False),
        ("default/p", "a", 53, "UDP", False),
        ("default/p", "b", 81, "TCP", False),
    ]
    listener = next(li for li in state.listeners if li.container == "a")
    assert (listener.netns, listener.node, listener.ip) == ("default_p", "worker-1", "10.244.1.2")


def test_the_second_container_on_a_port_is_refused() -> None:
    state = settled(
        ONE, pod_of("{name: a, ports: [{containerPort: 80}]}, {name: b, ports: [{containerPort: 80}]}")
    )
    assert [li.refused for li in state.listeners if li.container == "b"] == [Holder("a")]
    assert any("port 80/TCP is taken by container a" in notice for notice in told(state))


def test_one_container_may_declare_a_port_twice() -> None:
    state = settled(
        ONE, pod_of("{name: a, ports: [{containerPort: 80, name: x}, {containerPort: 80, name: y}]}")
    )
    assert rows(state) == [("default/p", "a", 80, "TCP", False)]


def test_an_undeclared_target_port_is_served_with_a_notice() -> None:
    state = settled(
        ONE,
        pod_of("{name: a}, {name: b, ports: [{containerPort: 80}]}"),
        service("s", "selector: {app: p}, ports: [{port: 80, targetPort: 9376}]"),
    )
    assert rows(state) == [("default/p", "b", 80, "TCP", False), ("default/p", "a", 9376, "TCP", False)]
    assert told(state) == (
        (
            "Service default/s targets port 9376, which no container of Pod default/p declares: served "
            "anyway by its first container"
        ),
    )


def test_the_notice_is_one_a_service() -> None:
    ports = "{name: a, port: 80}, {name: b, port: 81, protocol: UDP}"
    state = settled(
        ONE,
        workload("Deployment", "w", 3, ports="{containerPort: 8080}"),
        service("s", f"selector: {{app: w}}, ports: [{ports}]"),
    )
    (notice,) = told(state)
    assert "80, 81/UDP" in notice
    assert "and of 2 more" in notice


def test_no_listener_for_a_slice_that_leads_elsewhere() -> None:
    text = """{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, \
labels: {kubernetes.io/service-name: s}},
    addressType: IPv4, ports: [{port: 9}], endpoints: [{addresses: [10.244.1.77], targetRef: {kind: Pod, \
name: p, namespace: default}}]}"""
    assert rows(settled(ONE, pod_of("{name: a}"), text)) == []


def test_a_host_network_pod_listens_on_its_node() -> None:
    host = pod("p", "app: p", spec="hostNetwork: true")
    state = settled(ONE, host, service("s", "selector: {app: p}, ports: [{port: 80}]"))
    listener = next(li for li in state.listeners if li.pod == "default/p")
    assert (listener.netns, listener.ip, listener.port) == ("worker-1", "172.18.0.3", 80)


def test_the_api_server_listens_declared_or_not() -> None:
    plane = node("n", labels="node-role.kubernetes.io/control-plane: ''")
    dumped = pod("kube-apiserver-n", spec="nodeName: n, hostNetwork: true", meta="namespace: kube-system")
    for manifests in ([plane], [plane, dumped]):
        state = settled(*manifests)
        assert [(li.netns, li.port) for li in state.listeners] == [("n", 6443)]
        assert len(state.pods) == 1


OWN_SLICE = """{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: kubernetes, \
labels: {kubernetes.io/service-name: kubernetes}},
    addressType: IPv4, ports: [{name: https, port: 16443}], endpoints: [{addresses: [172.18.0.9]}]}"""
OWN_ENDPOINTS = """{apiVersion: v1, kind: Endpoints, metadata: {name: kubernetes}, subsets: [{addresses: \
[{ip: 172.18.0.9}], ports: [{name: https, port: 16443}]}]}"""


@pytest.mark.parametrize("given", [OWN_SLICE, OWN_ENDPOINTS])
@pytest.mark.parametrize("label", ["", "node-role.kubernetes.io/control-plane: ''"])
def test_an_api_server_is_where_its_own_endpoints_say(given: str, label: str) -> None:
    plane = node("n", address="172.18.0.9", labels=label)
    other = node("m", address="172.18.0.10")
    state = settled(plane, other, given)
    assert [(li.netns, li.port) for li in state.listeners] == [("n", 16443)]


def test_an_api_server_of_another_namespace_is_not_made_twice() -> None:
    plane = node("n", labels="node-role.kubernetes.io/control-plane: ''")
    meta = "namespace: openshift-kube-apiserver"
    own = pod("api-n", "", "{containerPort: 6443}", "nodeName: n, hostNetwork: true", meta=meta)
    state = settled(plane, own)
    assert [(li.pod, li.port) for li in state.listeners] == [("openshift-kube-apiserver/api-n", 6443)]


def test_host_ports_are_ignored_with_a_notice() -> None:
    state = settled(ONE, pod("p", ports="{containerPort: 80, hostPort: 8080}"))
    assert any(
        "wants hostPort" in notice and "does not emulate yet: nothing listens there" in notice
        for notice in told(state)
    )


# --- health checks of load balancers ------------------------------------------------------------------------

SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: lb-{name}, labels: {{kubernetes.io/service-name: lb}}}}
addressType: IPv4
ports: [{{name: {name}, port: {port}}}]
endpoints:
- {{addresses: [10.244.1.7], nodeName: worker-1}}
- {{addresses: [10.244.1.8], nodeName: worker-1, conditions: {{ready: false, serving: true, \
terminating: true}}}}
- {{addresses: [10.244.1.9]}}
- {{addresses: [10.244.2.7], nodeName: worker-2, conditions: {{ready: false}}}}
"""
LOAD_BALANCER = (
    "type: LoadBalancer, externalTrafficPolicy: {policy}, healthCheckNodePort: 32123, ports: [{{name: "
    "a, port: 80}}, {{name: b, port: 81}}]"
)
WORKERS = cluster("{role: control-plane}, {role: worker}, {role: worker}")
SLICES = (SLICE.format(name="a", port=8080), SLICE.format(name="b", port=8081))


def test_a_health_check_counts_ready_local_addresses_once() -> None:
    state = settled(WORKERS, service("lb", LOAD_BALANCER.format(policy="Local")), *SLICES)
    checks = [li for li in state.listeners if li.healthCheck]
    assert [
        (li.netns, li.port, li.protocol, li.healthCheck and li.healthCheck.localEndpoints) for li in checks
    ] == [
        ("control-plane", 32123, "TCP", 0),
        ("worker-1", 32123, "TCP", 1),
        ("worker-2", 32123, "TCP", 0),
    ]
    assert {li.healthCheck.service for li in checks if li.healthCheck} == {"default/lb"}


def test_no_health_check_under_policy_cluster() -> None:
    state = settled(
        WORKERS,
        service("lb", "type: LoadBalancer, externalTrafficPolicy: Cluster, ports: [{port: 80}]"),
        *SLICES,
    )
    assert not any(li.healthCheck for li in state.listeners)


def test_a_health_check_whose_port_a_pod_has_is_refused() -> None:
    taker = pod_of("{name: a, ports: [{containerPort: 32123}]}", "hostNetwork: true, nodeName: worker-1")
    state = settled(WORKERS, service("lb", LOAD_BALANCER.format(policy="Local")), taker)
    refused = {li.netns: li.refused for li in state.listeners if li.healthCheck and li.refused}
    assert refused == {"worker-1": Holder("a", "default/p")}
    assert (
        "kube-proxy on worker-1 cannot listen: port 32123/TCP is taken by container a of Pod default/p"
        in told(state)
    )
