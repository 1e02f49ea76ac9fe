"""Tests flows to the edges where modes of kube-proxy part, and the promise of each mode there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulator.flows import mode_differences
from emulator.flows.derive import derive_flows
from emulator.flows.mode_differences import derive_mode_differences
from emulator.model.flows import Flow
from emulator.objects.kinds import NodeAddress, ServicePort
from emulator.oracle.expectations import Expectations
from emulator.report.prose import say
from tests.unit.states import (
    NODE_IP,
    NODE_PORT,
    PODS,
    WEB_0,
    WEB_1,
    make_endpoint,
    make_pod,
    make_service,
    make_slice,
    make_state,
    node_port_service,
)

LOCALHOST = "node worker-1 → localhost:30080 (svc default/web)"
BRIDGE = "node worker-1 → node worker-1:30080 (svc default/web, at its bridge's address)"
POD = "pod default/client → node worker-1:30080 (svc default/web, at its bridge's address)"
WRONG_PORT = "pod default/client → svc default/web:81 (a port that it does not have)"
UNOWNED = "pod default/client → 10.111.255.254:80 (an address that no Service has)"


def own(flows: tuple[Flow, ...]) -> dict[str, Flow]:
    return {flow.name: flow for flow in flows if not flow.control}


@pytest.mark.parametrize(
    ("mode", "outcomes"),
    [
        ("iptables", ["delivered", "delivered", "delivered", "unreachable", "unreachable"]),
        ("nftables", ["rejected", "rejected", "rejected", "rejected", "dropped"]),
    ],
)
def test_edges_and_what_a_mode_promises_there(mode: str, outcomes: list[str]) -> None:
    expectations = Expectations(make_state(node_port_service(), proxy={"mode": mode}))
    flows = own(derive_mode_differences(expectations))
    assert list(flows) == [LOCALHOST, BRIDGE, POD, WRONG_PORT, UNOWNED]
    promised = [expectations.expect(flow) for flow in flows.values()]
    assert [promise.outcome for promise in promised] == outcomes
    for promise in promised:
        assert promise.outcome == "delivered" or promise.because.sections & {8, 9}


def test_what_is_true_of_every_service_is_counted_against_none() -> None:
    flows = own(derive_mode_differences(Expectations(make_state(node_port_service()))))
    assert [flow.to.service for flow in flows.values()] == ["default/web"] * 3 + ["", ""]


def test_what_is_translated_has_controls() -> None:
    flows = derive_mode_differences(Expectations(make_state(node_port_service())))
    names = {flow.name for flow in flows}
    assert all(flow.controls and set(flow.controls) <= names for flow in flows if flow.to.how == "nodePort")
    assert not own(flows)[WRONG_PORT].controls


def test_what_is_sent_already_is_not_sent_again() -> None:
    expectations = Expectations(make_state(node_port_service()))
    derived = derive_flows(expectations.state, expectations)
    more = derive_mode_differences(expectations, derived)
    assert "node control-plane → localhost:30080 (svc default/web)" in {flow.name for flow in derived}
    assert list(own(more)) == [BRIDGE, POD, WRONG_PORT, UNOWNED]
    names = [flow.name for flow in (*derived, *more)]
    assert len(set(names)) == len(names)


def test_the_wrong_port_is_one_that_the_service_does_not_have() -> None:
    ports = [
        ServicePort(port=80, name="http", targetPort=8080),
        ServicePort(port=81, name="http", targetPort=8080),
    ]
    kubernetes = make_service(
        "kubernetes", "10.96.0.1", [ServicePort(port=443, name="http", targetPort=8080)]
    )
    slices = [make_slice(make_endpoint(WEB_0, "worker-1"), service=name) for name in ("kubernetes", "web")]
    flows = own(
        derive_mode_differences(
            Expectations(make_state(kubernetes, make_service(ports=ports), slices=slices))
        )
    )
    assert [flow.to.label for flow in flows.values()] == ["svc default/web:82", "10.111.255.254:80"]


def test_the_unowned_address_is_nobodys() -> None:
    flows = own(derive_mode_differences(Expectations(make_state(make_service(ip="10.111.255.254")))))
    assert [flow.to.ip for flow in flows.values()] == ["10.111.255.254", "10.111.255.253"]


def test_another_address_of_a_node_is_dialled_from_outside() -> None:
    state = make_state(node_port_service())
    worker = state.node["worker-1"]
    worker = replace(
        worker,
        status=replace(
            worker.status,
            addresses=(*worker.status.addresses, NodeAddress(type="InternalIP", address="172.18.9.9")),
        ),
    )
    state = replace(state, nodes=(state.nodes[0], worker, state.nodes[2]))
    flow = own(derive_mode_differences(Expectations(state)))[
        "external client-1 → node worker-1:30080 (svc default/web, at 172.18.9.9)"
    ]
    assert (flow.to.ip, flow.to.port) == ("172.18.9.9", NODE_PORT)


def test_a_slice_that_names_no_node_of_the_cluster_has_its_node_port_dialled_at_any() -> None:
    elsewhere, here = make_endpoint(WEB_0, "worker-1.example.org"), make_endpoint(WEB_1, "worker-2")
    for endpoints, node in (((elsewhere,), "control-plane"), ((elsewhere, here), "worker-2")):
        state = make_state(node_port_service(), slices=[make_slice(*endpoints)])
        assert f"node {node} → localhost:30080 (svc default/web)" in own(
            derive_mode_differences(Expectations(state))
        )


def test_one_node_port_of_each_of_so_many_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mode_differences, "MOST_SERVICES", 2)
    services, slices = [], []
    for number in range(4):
        ports = [
            ServicePort(port=p, name="http", targetPort=8080, nodePort=30000 + 10 * number + p)
            for p in (1, 2)
        ]
        services.append(make_service(f"s{number}", f"10.96.1.{number}", ports, type="NodePort"))
        slices.append(make_slice(make_endpoint(WEB_0, "worker-1"), service=f"s{number}"))
    flows = own(derive_mode_differences(Expectations(make_state(*services, slices=slices))))
    assert {flow.to.port for flow in flows.values() if flow.to.how == "nodePort"} == {30001, 30011}


def test_many_services_of_many_endpoints_stay_within_a_budget() -> None:
    pods = [make_pod(f"p{n}", "worker-1", f"10.244.1.{n + 10}", [8080]) for n in range(20)]
    rows = [make_endpoint(pod.ip, "worker-1") for pod in pods]
    services, slices = [], []
    for number in range(60):
        port = ServicePort(port=80, name="http", targetPort=8080, nodePort=30000 + number)
        services.append(make_service(f"s{number}", f"10.96.1.{number}", [port], type="NodePort"))
        slices.append(make_slice(*rows, service=f"s{number}"))
    flows = derive_mode_differences(Expectations(make_state(*services, slices=slices, pods=pods)))
    assert len(own(flows)) == 60 * 3 + 2
    assert sum(flow.attempts for flow in flows) <= 8000


def test_nothing_to_send_without_pods_and_services() -> None:
    assert derive_mode_differences(Expectations(make_state(pods=(), slices=()))) == ()


def test_no_edge_at_a_service_without_endpoints() -> None:
    none = [make_slice(make_endpoint(WEB_0, "worker-1", ready=False))]
    assert list(
        own(derive_mode_differences(Expectations(make_state(node_port_service(), slices=none, pods=PODS))))
    ) == [UNOWNED]


@pytest.mark.parametrize(
    ("proxy", "ip", "words"),
    [
        ({"mode": "nftables"}, "127.0.0.1", "nftables mode serves no node ports at 127.0.0.1"),
        ({"mode": "nftables"}, "10.244.1.1", "nftables mode serves no node ports at 10.244.1.1"),
        (
            {"localhostNodePorts": False},
            "127.0.0.1",
            "localhostNodePorts or nodePortAddresses serves no node ports at 127.0.0.1",
        ),
        (
            {"nodePortAddresses": ("192.0.2.0/24",)},
            NODE_IP["worker-1"],
            "nodePortAddresses serves no node ports at 172.18.0.3",
        ),
    ],
)
def test_why_a_node_port_is_not_served(proxy: dict[str, object], ip: str, words: str) -> None:
    expectations = Expectations(make_state(node_port_service(), proxy=proxy))
    flow = own(derive_mode_differences(Expectations(make_state(node_port_service()))))[LOCALHOST]
    expected = expectations.expect(replace(flow, to=replace(flow.to, ip=ip)))
    assert (expected.outcome, say(expected.because)) == (
        "rejected",
        f"{words}: a closed port (podwire doc semantics 9)",
    )
