"""Tests derived flows: every kind of communication, every Service port, representatives only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState
from emulator.flows import derive
from emulator.flows.derive import all_pairs, count_represented, derive_flows
from emulator.flows.flowbook import MAX_CONTROLS, SAMPLED_CONTROLS
from emulator.model.flows import Flow, FlowKind
from emulator.objects.config import ExternalClient, FlowProtocol
from emulator.objects.kinds import (
    Container,
    ContainerPort,
    EndpointPort,
    LoadBalancerIngress,
    OwnerReference,
    Pod,
    Service,
    ServicePort,
)
from emulator.oracle.expectations import Expectations, attempts_for
from tests.unit.states import (
    BOTH,
    CLIENT,
    ENDPOINT_0,
    ENDPOINT_1,
    EXTERNAL_IP,
    NODE_IP,
    OTHER,
    PODS,
    VIP,
    WEB_0,
    WEB_1,
    WEB_IP,
    load_balancer_service,
    make_endpoint,
    make_pod,
    make_service,
    make_slice,
    make_state,
    node_port_service,
)

TYPICAL = make_state(
    node_port_service(),
    make_service("kubernetes", "10.96.0.1", [ServicePort(port=443, name="https", targetPort=6443)]),
    slices=[
        BOTH,
        make_slice(
            make_endpoint("172.18.0.2", "control-plane"),
            service="kubernetes",
            ports=[EndpointPort(name="https", port=6443)],
        ),
    ],
)


def named(flows: Sequence[Flow]) -> dict[str, Flow]:
    return {flow.name: flow for flow in flows}


def outcomes(state: ClusterState, flows: Sequence[Flow]) -> dict[str, str]:
    expectations = Expectations(state)
    return {flow.name: expectations.expect(flow).outcome for flow in flows}


def test_a_typical_cluster() -> None:
    flows = derive_flows(TYPICAL)
    assert [flow.name for flow in flows if not flow.control] == [
        "pod default/web-0 → localhost:8080 (container main)",
        "pod default/web-1 → localhost:8080 (container main)",
        "pod default/client → pod default/web-0:8080 (same node)",
        "pod default/other → pod default/web-0:8080 (other node)",
        "pod default/client → pod default/web-0 (ICMP, same node)",
        "pod default/client → pod default/web-1 (ICMP, other node)",
        "pod default/other → pod default/web-1 (ICMP, same node)",
        "pod default/other → pod default/web-0 (ICMP, other node)",
        "pod default/client → svc default/kubernetes:443 (node without an endpoint)",
        "pod default/web-0 → svc default/web:80 (hairpin)",
        "pod default/client → svc default/web:80 (same node)",
        "pod default/other → svc default/web:80 (other node)",
        "pod default/web-0 → node worker-1:30080 (svc default/web, own node, hairpin)",
        "pod default/client → node worker-1:30080 (svc default/web, own node, with an endpoint)",
        "pod default/other → node worker-2:30080 (svc default/web, own node, with an endpoint)",
        "external client-1 → svc default/kubernetes:443 (via control-plane, node with an endpoint)",
        "external client-1 → svc default/kubernetes:443 (via worker-1, node without an endpoint)",
        "external client-1 → svc default/web:80 (via worker-1, node with an endpoint)",
        "external client-1 → svc default/web:80 (via control-plane, node without an endpoint)",
        "external client-1 → node worker-1:30080 (svc default/web, node with an endpoint)",
        "external client-1 → node control-plane:30080 (svc default/web, node without an endpoint)",
        "node control-plane → svc default/kubernetes:443 (node with an endpoint)",
        "node worker-1 → svc default/kubernetes:443 (node without an endpoint)",
        "node worker-1 → svc default/web:80 (node with an endpoint)",
        "node control-plane → svc default/web:80 (node without an endpoint)",
        "node worker-1 → node worker-1:30080 (svc default/web, node with an endpoint)",
        "node worker-1 → localhost:30080 (svc default/web)",
        "node control-plane → node control-plane:30080 (svc default/web, node without an endpoint)",
        "node control-plane → localhost:30080 (svc default/web)",
        "node worker-1 → pod default/web-0 (ICMP, same node)",
        "node worker-1 → pod default/web-0:8080 (same node)",
        "node worker-1 → pod default/web-1 (ICMP, other node)",
        "node worker-1 → pod default/web-1:8080 (other node)",
        "node worker-2 → pod default/web-1 (ICMP, same node)",
        "node worker-2 → pod default/web-1:8080 (same node)",
        "node worker-2 → pod default/web-0 (ICMP, other node)",
        "node worker-2 → pod default/web-0:8080 (other node)",
        "node control-plane → pod default/web-0 (ICMP, other node)",
        "node control-plane → pod default/web-0:8080 (other node)",
        "pod default/client → node worker-1 (ICMP, own node)",
        "pod default/client → node worker-2 (ICMP, other node)",
        "pod default/client → node control-plane:6443 (API server)",
        "external client-1 → pod default/web-1 (ICMP)",
        "pod default/client → external client-1 (ICMP)",
    ]
    assert set(outcomes(TYPICAL, flows).values()) == {"delivered"}


def test_every_kind_of_communication() -> None:
    assert {flow.kind for flow in derive_flows(TYPICAL) if not flow.control} == set(get_args(FlowKind)) - {
        "other",
        "health-check",
    }


@pytest.mark.parametrize(
    ("clients", "asker"),
    [((ExternalClient(name="office", address="203.0.113.7"),), "external office"), ((), "node worker-1")],
)
def test_every_nodes_health_check_is_asked(clients: tuple[ExternalClient, ...], asker: str) -> None:
    service = load_balancer_service(externalTrafficPolicy="Local", healthCheckNodePort=32000)
    flows = [
        flow for flow in derive_flows(make_state(service, clients=clients)) if flow.kind == "health-check"
    ]
    assert [flow.name for flow in flows] == [
        f"{asker} → health check of svc default/web at node {node}:32000"
        for node in ("worker-1", "worker-2", "control-plane")
    ]
    assert {(flow.attempts, flow.controls, flow.protocol) for flow in flows} == {(1, (), "TCP")}


def test_of_very_many_health_checks_some_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derive, "_HEALTH_CHECKS", 2)
    service = load_balancer_service(externalTrafficPolicy="Local", healthCheckNodePort=32000)
    assert sum(flow.kind == "health-check" for flow in derive_flows(make_state(service))) == 2


def test_controls_are_the_same_client_straight_to_each_endpoint() -> None:
    flows = derive_flows(TYPICAL)
    by_name = named(flows)
    for flow in flows:
        if flow.to.service == "default/web":
            controls = [by_name[name] for name in flow.controls]
            assert {(c.to.ip, c.to.port) for c in controls} == {(WEB_0, 8080), (WEB_1, 8080)}
            assert all(
                c.client == flow.client and c.protocol == flow.protocol and not c.controls for c in controls
            )
    hairpin = by_name["pod default/web-0 → svc default/web:80 (hairpin)"]
    assert "pod default/web-0 → pod default/web-0:8080 (control)" in hairpin.controls
    # a flow that is there anyway is the control
    assert (
        "pod default/client → pod default/web-0:8080 (same node)"
        in by_name["pod default/client → svc default/web:80 (same node)"].controls
    )
    controls = [flow for flow in flows if flow.control]
    assert len({(c.client.netns, c.to.ip, c.to.port, c.protocol) for c in controls}) == len(controls)
    assert flows[-len(controls) :] == tuple(controls)


def test_attempts_meet_every_endpoint() -> None:
    by_name = named(derive_flows(TYPICAL))
    assert by_name["pod default/client → svc default/web:80 (same node)"].attempts == attempts_for(2)
    assert by_name["pod default/client → svc default/kubernetes:443 (node without an endpoint)"].attempts == 1
    assert by_name["pod default/client → pod default/web-0:8080 (same node)"].attempts == 1


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_a_node_port_through_nodes_with_and_without_an_endpoint(policy: str) -> None:
    state = make_state(node_port_service(externalTrafficPolicy=policy))
    flows = derive_flows(state)
    expected = outcomes(state, flows)
    assert (
        expected["external client-1 → node worker-1:30080 (svc default/web, node with an endpoint)"]
        == "delivered"
    )
    without = named(flows)[
        "external client-1 → node control-plane:30080 (svc default/web, node without an endpoint)"
    ]
    assert expected[without.name] == ("delivered" if policy == "Cluster" else "dropped")
    assert len(without.controls) == 2  # the Pods answer all the same
    assert (
        expected["pod default/other → node worker-2:30080 (svc default/web, own node, with an endpoint)"]
        == "delivered"
    )


def test_a_service_without_endpoints_is_dialled_from_everywhere() -> None:
    state = make_state(
        node_port_service(), slices=[make_slice(make_endpoint(WEB_0, "worker-1", ready=False))]
    )
    flows = [flow for flow in derive_flows(state) if flow.to.service]
    assert [flow.name for flow in flows] == [
        "pod default/client → svc default/web:80 (no endpoints)",
        "pod default/client → node worker-1:30080 (svc default/web, own node, no endpoints)",
        "external client-1 → svc default/web:80 (via worker-1, no endpoints)",
        "external client-1 → node worker-1:30080 (svc default/web, no endpoints)",
        "node worker-1 → svc default/web:80 (no endpoints)",
        "node worker-1 → node worker-1:30080 (svc default/web, no endpoints)",
        "node worker-1 → localhost:30080 (svc default/web)",
    ]
    assert set(outcomes(state, flows).values()) == {"rejected"}
    # the Pod that is not ready answers when dialled itself
    assert all(len(flow.controls) == 1 and flow.attempts == 1 for flow in flows)


def test_every_port_and_protocol_of_a_service() -> None:
    ports = [
        ServicePort(port=53, name="dns", protocol="UDP"),
        ServicePort(port=53, name="dns-tcp"),
        ServicePort(port=99, name="sig", protocol="SCTP"),
    ]
    slice_ports = [EndpointPort(name=p.name, protocol=p.protocol, port=p.port) for p in ports]
    pods = (*PODS, make_pod("dns", "worker-2", "10.244.2.9", [(53, "UDP"), 53, (99, "SCTP")]))
    state = make_state(
        make_service("dns", "10.96.0.53", ports),
        slices=[make_slice(make_endpoint("10.244.2.9", "worker-2"), service="dns", ports=slice_ports)],
        pods=pods,
    )
    flows = derive_flows(state)
    dialled = {(flow.to.port, flow.protocol) for flow in flows if flow.to.service == "default/dns"}
    assert dialled == {(53, "UDP"), (53, "TCP"), (99, "SCTP")}
    assert "pod default/client → svc default/dns:53 (UDP, node without an endpoint)" in named(flows)
    pairs = {
        (f.protocol, f.name.endswith("same node)")) for f in flows if f.kind == "pod-to-pod" and not f.control
    }
    assert pairs == {
        (protocol, same) for protocol in ("TCP", "UDP", "SCTP", "ICMP") for same in (True, False)
    }
    assert set(outcomes(state, flows).values()) == {"delivered"}


def test_endpoints_are_clients_only_where_there_is_no_choice() -> None:
    pods = (make_pod("web-0", "worker-1", WEB_0, [8080]), make_pod("web-1", "worker-2", WEB_1, [8080]))
    flows = [
        flow for flow in derive_flows(make_state(make_service(), pods=pods)) if flow.kind == "pod-to-service"
    ]
    assert [flow.name for flow in flows] == [
        "pod default/web-0 → svc default/web:80 (hairpin)",
        "pod default/web-1 → svc default/web:80 (same node)",
    ]


@pytest.mark.parametrize("pods", [PODS, PODS[::-1]], ids=["clients first", "servers first"])
def test_pods_that_serve_nothing_are_the_clients(pods: Sequence[Pod]) -> None:
    names = named(derive_flows(make_state(pods=pods)))
    assert "pod default/client → pod default/web-0 (ICMP, same node)" in names
    assert "pod default/other → pod default/web-1 (ICMP, same node)" in names


def test_endpoints_that_nobody_has_are_not_controlled() -> None:
    """Leaves out flows that prove nothing, and cost the wait for silence each."""
    state = make_state(make_service(), slices=[make_slice(ENDPOINT_1, make_endpoint("10.244.2.99"))])
    [flow] = [f for f in derive_flows(state) if f.client.ip == CLIENT and f.to.service]
    assert [name.partition(" → ")[2] for name in flow.controls] == ["pod default/web-1:8080 (control)"]


def test_controls_go_to_the_endpoints_that_the_flow_may_meet() -> None:
    flows = derive_flows(make_state(make_service(internalTrafficPolicy="Local")))
    by_name = named(flows)
    assert len(by_name["pod default/client → svc default/web:80 (same node)"].controls) == 1
    dropped = by_name["node control-plane → svc default/web:80 (node without an endpoint)"]
    assert len(dropped.controls) == 2  # where it may meet none, to those that exist


def test_one_pod_of_each_owner_talks_to_itself() -> None:
    def owned(pod: Pod, owner: str) -> Pod:
        return replace(
            pod,
            metadata=replace(
                pod.metadata,
                ownerReferences=(OwnerReference(kind="ReplicaSet", name=owner, controller=True),),
            ),
        )

    pods = [
        owned(make_pod(f"p{i}", "worker-1", f"10.244.1.{i + 10}", [8080]), owner)
        for i, owner in enumerate("aab")
    ]
    clients = [
        f.client.label for f in derive_flows(make_state(pods=pods)) if f.kind == "container-to-container"
    ]
    assert clients == ["pod default/p0", "pod default/p2"]


def test_no_hairpin_where_a_pod_does_not_meet_itself() -> None:
    flows = derive_flows(make_state(make_service(), slices=[make_slice(make_endpoint(WEB_0), ENDPOINT_1)]))
    assert "pod default/web-0 → svc default/web:80 (hairpin)" in named(flows)
    local = make_state(
        make_service(internalTrafficPolicy="Local"), slices=[make_slice(make_endpoint(WEB_0), ENDPOINT_1)]
    )
    assert "pod default/web-1 → svc default/web:80 (hairpin)" in named(derive_flows(local))


def test_pods_with_several_containers_go_first() -> None:
    def container(name: str, port: int) -> Container:
        return Container(name=name, ports=(ContainerPort(containerPort=port),))

    pair = make_pod("pair", "worker-2", "10.244.2.9")
    pair = replace(
        pair, spec=replace(pair.spec, containers=(container("app", 8080), container("proxy", 9090)))
    )
    flows = [
        flow for flow in derive_flows(make_state(pods=(*PODS, pair))) if flow.kind == "container-to-container"
    ]
    assert [flow.name for flow in flows] == [
        "pod default/pair → localhost:8080 (container app)",
        "pod default/pair → localhost:9090 (container proxy)",
        "pod default/web-0 → localhost:8080 (container main)",
    ]


def test_nodes_alone() -> None:
    state = make_state(
        node_port_service(), pods=(), slices=[make_slice(make_endpoint(NODE_IP["worker-2"], "worker-2"))]
    )
    flows = derive_flows(state)
    assert {flow.kind for flow in flows if not flow.control} == {"node-to-service", "external-to-service"}


def test_an_empty_cluster_has_no_flows_between_what_is_not_there() -> None:
    assert derive_flows(make_state(pods=(), slices=(), clients=())) == ()


@pytest.mark.parametrize(
    ("endpoints", "controls"),
    [(MAX_CONTROLS, MAX_CONTROLS), (MAX_CONTROLS + 1, SAMPLED_CONTROLS), (100, SAMPLED_CONTROLS)],
)
def test_many_endpoints_are_controlled_by_sample(endpoints: int, controls: int) -> None:
    pods = [make_pod(f"web-{i}", "worker-2", f"10.244.2.{i + 50}", [8080]) for i in range(endpoints)]
    state = make_state(
        make_service(),
        slices=[make_slice(*(make_endpoint(p.ip, "worker-2") for p in pods))],
        pods=(*PODS, *pods),
    )
    flows = named(derive_flows(state))
    assert (
        len(flows["pod default/client → svc default/web:80 (node without an endpoint)"].controls) == controls
    )
    hairpin = flows["pod default/web-0 → svc default/web:80 (hairpin)"]
    assert len(hairpin.controls) == controls
    assert flows[hairpin.controls[0]].to.ip == hairpin.client.ip


@given(
    pods=st.lists(
        st.tuples(st.sampled_from(["worker-1", "worker-2"]), st.sampled_from([(), (8080,), (8080, 9090)])),
        max_size=6,
    ),
    ready=st.lists(st.booleans(), max_size=6),
    policy=st.sampled_from(["Cluster", "Local"]),
)
def test_derived_flows_are_consistent_and_bounded(
    pods: list[tuple[str, tuple[int, ...]]], ready: list[bool], policy: str
) -> None:
    made = [
        make_pod(f"p{i}", node, f"10.244.{node[-1]}.{i + 10}", ports) for i, (node, ports) in enumerate(pods)
    ]
    endpoints = [make_endpoint(p.ip, p.spec.nodeName, ready=r) for p, r in zip(made, ready, strict=False)]
    state = make_state(
        node_port_service(externalTrafficPolicy=policy, internalTrafficPolicy=policy),
        slices=[make_slice(*endpoints)],
        pods=made,
    )
    flows = derive_flows(state)
    names = [flow.name for flow in flows]
    assert (
        len(set(names))
        == len({(flow.client.netns, flow.to.ip, flow.to.port, flow.protocol, flow.via) for flow in flows})
        == len(names)
    )
    assert all(set(flow.controls) <= set(names) for flow in flows)
    assert flows == derive_flows(state)
    assert len(names) < 80
    expectations = Expectations(state)
    assert all(flow.attempts >= attempts_for(len(expectations.expect(flow).backends)) for flow in flows)


# --- external addresses -------------------------------------------------------------------------------------

PROXIED = LoadBalancerIngress(ip="192.0.2.99", ipMode="Proxy")


def external_flows(state: ClusterState) -> list[str]:
    return [flow.name for flow in derive_flows(state) if flow.to.how in ("externalIP", "loadBalancer")]


@pytest.mark.parametrize(
    ("service", "addresses"),
    [
        pytest.param(
            make_service(
                vips=[LoadBalancerIngress(ip=VIP), LoadBalancerIngress(ip="192.0.2.99")], type="LoadBalancer"
            ),
            [
                f"loadBalancer of svc default/web ({VIP}:80)",
                "loadBalancer of svc default/web (192.0.2.99:80)",
            ],
            id="loadBalancer",
        ),
        pytest.param(
            make_service(externalIPs=(EXTERNAL_IP, "192.0.2.77")),
            [
                f"externalIP of svc default/web ({EXTERNAL_IP}:80)",
                "externalIP of svc default/web (192.0.2.77:80)",
            ],
            id="externalIP",
        ),
    ],
)
def test_every_external_address_by_every_kind_of_client(service: Service, addresses: list[str]) -> None:
    flows = [
        flow for flow in derive_flows(make_state(service)) if flow.to.how in ("externalIP", "loadBalancer")
    ]
    kinds = (
        ("pod default/web-0", "hairpin"),
        ("pod default/client", "same node"),
        ("pod default/other", "other node"),
        ("node worker-1", "node with an endpoint"),
        ("node control-plane", "node without an endpoint"),
        ("external client-1", "via worker-1, node with an endpoint"),
        ("external client-1", "via control-plane, node without an endpoint"),
    )
    assert sorted(flow.name for flow in flows) == sorted(
        f"{who} → {address} ({note})" for address in addresses for who, note in kinds
    )
    assert {flow.via for flow in flows if flow.client.kind == "external"} == {"worker-1", "control-plane"}


def test_an_external_ip_that_a_node_has_needs_no_route() -> None:
    flows = [
        f
        for f in derive_flows(make_state(make_service(externalIPs=(NODE_IP["worker-1"],))))
        if f.to.how == "externalIP"
    ]
    (outside,) = (flow for flow in flows if flow.client.kind == "external")
    assert (outside.via, outside.name.partition(" (172.18.0.3:80) ")[2]) == ("", "(an address of worker-1)")
    assert {flow.client.kind for flow in flows} == {"pod", "node", "external"}


def test_a_client_inside_and_one_outside_the_source_ranges() -> None:
    clients = [
        ExternalClient(name=f"c{i}", address=ip)
        for i, ip in enumerate(["198.51.100.1", "198.51.100.2", "203.0.113.1", "203.0.113.2"])
    ]
    state = make_state(
        load_balancer_service(loadBalancerSourceRanges=(" 203.0.113.0/24",)), clients=tuple(clients)
    )
    flows = {
        (f.client.label, f.via): f
        for f in derive_flows(state)
        if f.client.kind == "external" and f.to.how == "loadBalancer"
    }
    assert list(flows) == [
        ("external c2", "worker-1"),
        ("external c2", "control-plane"),
        ("external c0", "worker-1"),
    ]
    outcome = outcomes(state, list(flows.values()))
    assert [outcome[flow.name] for flow in flows.values()] == ["delivered", "delivered", "dropped"]


def test_the_source_ranges_are_proved_to_be_of_no_concern_elsewhere() -> None:
    clients = (
        ExternalClient(name="in", address="203.0.113.1"),
        ExternalClient(name="out", address="198.51.100.1"),
    )
    state = make_state(load_balancer_service(loadBalancerSourceRanges=("203.0.113.0/24",)), clients=clients)
    flows = [
        f for f in derive_flows(state) if f.client.netns == "out" and f.to.how in ("clusterIP", "nodePort")
    ]
    assert [f.name for f in flows] == [
        "external out → svc default/web:80 (outside the source ranges, via worker-1, node with an endpoint)",
        (
            "external out → node worker-1:30080 (outside the source ranges, svc default/web, node with "
            "an endpoint)"
        ),
    ]
    assert set(outcomes(state, flows).values()) == {"delivered"}


def test_a_balancers_address_is_dialled_by_everybody() -> None:
    state = make_state(
        load_balancer_service("Proxy"),
        balancerIP="172.18.255.254",
        balanced={"default/web": ("worker-1", "worker-2")},
    )
    flows = [f for f in derive_flows(state) if f.to.how == "loadBalancer"]
    assert {f.client.kind: f.via for f in flows} == {"pod": "", "external": "", "node": ""}
    assert all(f.controls for f in flows)


def test_an_announced_address_is_dialled_without_a_word_of_the_way() -> None:
    state = make_state(load_balancer_service(), speakers={VIP: "worker-2"})
    (flow,) = [f for f in derive_flows(state) if f.client.kind == "external" and f.to.how == "loadBalancer"]
    assert (flow.via, flow.name) == (
        "",
        f"external client-1 → loadBalancer of svc default/web ({VIP}:80) (announced by worker-2)",
    )


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(make_state(make_service(vips=[PROXIED], type="LoadBalancer")), id="ipMode Proxy"),
        pytest.param(make_state(make_service(externalIPs=(CLIENT,))), id="a Pod has the address"),
    ],
)
def test_addresses_that_are_not_dialled(state: ClusterState) -> None:
    assert external_flows(state) == []


def test_an_address_and_port_is_dialled_as_that_of_the_service_that_has_it() -> None:
    """Takes the first by name, wherever it is written."""
    first = make_service("second", "10.96.0.77", externalIPs=(EXTERNAL_IP,))
    labels = external_flows(
        make_state(
            make_service(externalIPs=(EXTERNAL_IP,)),
            first,
            slices=[BOTH, make_slice(ENDPOINT_0, service="second")],
        )
    )
    assert labels
    assert all("svc default/second " in label for label in labels)


@pytest.mark.parametrize(
    ("ip", "outcome"),
    [
        pytest.param(
            EXTERNAL_IP, {"pod": "rejected", "external": "rejected", "node": "unreachable"}, id="elsewhere"
        ),
        pytest.param(
            "172.18.9.9",
            {"pod": "rejected", "external": "rejected"},
            id="of the host network, where a neighbour would be asked",
        ),
        pytest.param(
            NODE_IP["worker-1"],
            {"pod": "rejected", "external": "rejected", "node": "rejected"},
            id="a node's",
        ),
    ],
)
def test_an_external_address_without_endpoints_is_dialled_too(ip: str, outcome: dict[str, str]) -> None:
    """Leaves it out: in iptables mode a packet that a node itself sends there is left to routing
    (docs/semantics 7).
    """
    state = make_state(make_service(externalIPs=(ip,)), slices=[])
    flows = {f.name: f for f in derive_flows(state) if f.to.how == "externalIP"}
    outcomes_of = outcomes(state, list(flows.values()))
    assert {f.client.kind: outcomes_of[name] for name, f in flows.items()} == outcome


@pytest.mark.parametrize("proxy", [{}, {"clusterCIDR": ""}], ids=["", "no detector"])
def test_a_cluster_ip_from_outside_wherever_the_answer_goes(proxy: dict[str, object]) -> None:
    flows = derive_flows(make_state(make_service(), proxy=proxy))
    assert [flow.via for flow in flows if flow.client.kind == "external" and flow.to.how == "clusterIP"] == [
        "worker-1",
        "control-plane",
    ]


@pytest.mark.parametrize(
    ("protocol", "dialled"),
    [("TCP", ["worker-1", "control-plane"]), ("UDP", ["worker-1", "control-plane"]), ("SCTP", [])],
)
def test_localhost_of_a_node_with_and_of_one_without_an_endpoint(
    protocol: FlowProtocol, dialled: list[str]
) -> None:
    port = ServicePort(port=80, name="http", nodePort=30080, protocol=protocol)
    slices = [
        make_slice(ENDPOINT_0, ENDPOINT_1, ports=[EndpointPort(name="http", port=8080, protocol=protocol)])
    ]
    flows = derive_flows(make_state(make_service(ports=[port], type="NodePort"), slices=slices))
    assert [flow.client.netns for flow in flows if flow.to.ip == "127.0.0.1" and flow.to.service] == dialled


def test_of_very_many_service_ports_the_rest_have_representatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derive, "MOST_PORTS", 1)
    ports = [ServicePort(port=80, name="http", nodePort=31080)]
    second = make_service("x-second", "10.96.0.77", ports, type="NodePort", externalIPs=(EXTERNAL_IP,))
    third = make_service(
        "y-third", "10.96.0.78", [ServicePort(port=80, name="http", nodePort=31081)], type="NodePort"
    )
    slices = [BOTH, make_slice(ENDPOINT_0, service="x-second"), make_slice(ENDPOINT_0, service="y-third")]
    state = make_state(node_port_service(), second, third, slices=slices)
    flows = derive_flows(state)
    assert [flow.name for flow in flows if flow.to.service in ("default/x-second", "default/y-third")] == [
        "pod default/other → svc default/x-second:80 (node without an endpoint)",
        "pod default/other → svc default/y-third:80 (node without an endpoint)",
        (
            f"external client-1 → externalIP of svc default/x-second ({EXTERNAL_IP}:80) (via worker-1, "
            "node with an endpoint)"
        ),
        "external client-1 → node worker-2:31081 (svc default/y-third, node without an endpoint)",
    ]
    whole = [flow.name for flow in flows if flow.to.service == "default/web"]
    assert whole == [flow.name for flow in derive_flows(make_state(node_port_service())) if flow.to.service]
    assert count_represented(state) == 2


def test_all_pairs() -> None:
    pods = (*PODS, make_pod("dns", "worker-2", "10.244.2.9", [(53, "UDP"), 8053]))
    headless = make_service("none", "None")
    state = make_state(make_service(), headless, pods=pods)
    flows = all_pairs(state)
    own = [CLIENT, WEB_0, OTHER, WEB_1, "10.244.2.9"]
    targets = [(WEB_0, 8080), (WEB_1, 8080), ("10.244.2.9", 8053), (WEB_IP, 80)]
    assert {(f.client.ip, f.to.ip, f.to.port) for f in flows} == {
        (c, ip, port) for c in own for ip, port in targets if c != ip
    }
    assert len({f.name for f in flows}) == len(flows)
    assert {f.protocol for f in flows} == {"TCP"}
    assert {f.attempts for f in flows} == {1}
    expectations = Expectations(state)
    assert all(expectations.expect(f).partial == (f.to.ip == WEB_IP) for f in flows)


def test_all_pairs_share_what_they_can() -> None:
    """Computes the promise once per destination and node, not once per flow."""
    pods = [
        make_pod(f"p{i}", f"worker-{i % 2 + 1}", f"10.244.{i % 2 + 1}.{i // 2 + 2}", [8080])
        for i in range(40)
    ]
    endpoints = make_slice(*(make_endpoint(p.ip, p.spec.nodeName) for p in pods[:6]))
    state = make_state(make_service(), slices=[endpoints], pods=pods)
    expectations = Expectations(state)
    promises = [expectations.expect(flow) for flow in all_pairs(state)]
    assert len(promises) == 40 * 40
    assert (
        len({id(p.possibilities) for p in promises}) == 40 + 2 + 6
    )  # Pods; the Service from each node; the Service from each of its endpoints
    assert len({id(p.addresses) for p in promises}) == 40
