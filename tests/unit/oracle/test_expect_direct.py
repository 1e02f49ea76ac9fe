"""Tests addresses where no Service is captured: no match, no node port, Pods and nodes themselves
(docs/semantics 8, 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from emulator.cluster.state import Holder
from emulator.net import Endpoint
from emulator.objects.kinds import EndpointPort, ServicePort
from tests.unit.oracle.promises import (
    LOCAL,
    SERVICES,
    WORKER_1,
    WORKER_2,
    promised,
    sources,
)
from tests.unit.states import (
    CLIENT,
    ENDPOINT_0,
    ENDPOINT_1,
    EXTERNAL_IP,
    NODE_PORT,
    OUTSIDE,
    PODS,
    VIP,
    WEB_0,
    WEB_1,
    WEB_IP,
    make_endpoint,
    make_pod,
    make_service,
    make_slice,
    make_state,
    node_port_service,
)


@pytest.mark.parametrize(
    ("who", "ip", "port", "protocol", "via", "iptables", "nftables"),
    [
        pytest.param("client", WEB_IP, 81, "TCP", "", "unreachable", "rejected", id="wrong port"),
        pytest.param("client", WEB_IP, 80, "UDP", "", "unreachable", "rejected", id="wrong protocol"),
        pytest.param(
            "worker-1", WEB_IP, 81, "TCP", "", "unreachable", "rejected", id="wrong port, from a node"
        ),
        pytest.param("client", WEB_IP, 0, "ICMP", "", "unreachable", "rejected", id="ping"),
        pytest.param("client", "10.96.0.99", 80, "TCP", "", "unreachable", "dropped", id="unknown ClusterIP"),
        pytest.param(
            "client-1",
            "10.96.0.99",
            80,
            "TCP",
            "worker-1",
            "unreachable",
            "dropped",
            id="unknown ClusterIP, from outside",
        ),
        pytest.param(
            "client-1",
            WEB_IP,
            80,
            "TCP",
            "",
            "unreachable",
            "unreachable",
            id="ClusterIP from outside, through no node",
        ),
    ],
)
@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_nothing_matches(
    mode: str, who: str, ip: str, port: int, protocol: Any, via: str, iptables: str, nftables: str
) -> None:
    state = make_state(make_service(), proxy={"mode": mode})
    result = promised(state, who, ip, port, protocol=protocol, via=via)
    assert result.outcome == {"iptables": iptables, "nftables": nftables}[mode]
    assert not result.backends


@pytest.mark.parametrize("spec", [{"type": "ExternalName"}, {}], ids=["ExternalName", "headless"])
def test_not_proxied(spec: dict[str, Any]) -> None:
    service = make_service(ip=WEB_IP if spec else "None", externalIPs=(EXTERNAL_IP,), **spec)
    assert promised(make_state(service), "client", EXTERNAL_IP, 80).outcome == "unreachable"
    assert promised(make_state(service), "client", WEB_IP, 80).outcome == "unreachable"


# --- 9: NodePort addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxy", "who", "ip", "served"),
    [
        pytest.param({}, "client-1", "172.18.0.3", True, id="InternalIP"),
        pytest.param({}, "client-1", "10.244.1.1", True, id="any local address: the bridge"),
        pytest.param({}, "worker-1", "127.0.0.1", True, id="localhost"),
        pytest.param({}, "client", "127.0.0.1", False, id="a Pod's localhost is its own"),
        pytest.param(
            {"localhostNodePorts": False}, "worker-1", "127.0.0.1", False, id="localhostNodePorts false"
        ),
        pytest.param(
            {"localhostNodePorts": False},
            "worker-1",
            "172.18.0.3",
            True,
            id="localhostNodePorts false, InternalIP",
        ),
        pytest.param(
            {"nodePortAddresses": ("172.18.0.0/16",)},
            "client-1",
            "172.18.0.3",
            True,
            id="inside nodePortAddresses",
        ),
        pytest.param(
            {"nodePortAddresses": ("172.18.0.0/16",)},
            "client-1",
            "10.244.1.1",
            False,
            id="outside nodePortAddresses",
        ),
        pytest.param(
            {"nodePortAddresses": ("172.18.0.0/16",)}, "worker-1", "127.0.0.1", False, id="loopback excluded"
        ),
        pytest.param(
            {"nodePortAddresses": ("127.0.0.0/8", "172.18.0.0/16")},
            "worker-1",
            "127.0.0.1",
            True,
            id="loopback included",
        ),
        pytest.param({"mode": "nftables"}, "client-1", "172.18.0.3", True, id="nftables, primary"),
        pytest.param({"mode": "nftables"}, "client-1", "10.244.1.1", False, id="nftables, bridge"),
        pytest.param({"mode": "nftables"}, "worker-1", "127.0.0.1", False, id="nftables, localhost"),
        pytest.param(
            {"mode": "nftables", "nodePortAddresses": ("127.0.0.0/8",)},
            "worker-1",
            "127.0.0.1",
            False,
            id="nftables, loopback included",
        ),
        pytest.param(
            {"nodePortAddresses": ("primary",)}, "client-1", "172.18.0.3", True, id="the primary one"
        ),
        pytest.param(
            {"nodePortAddresses": ("primary",)},
            "client-1",
            "10.244.1.1",
            False,
            id="the primary one, at the bridge",
        ),
        pytest.param(
            {"nodePortAddresses": ("fd00::/8",)},
            "client-1",
            "10.244.1.1",
            True,
            id="said for the other family alone",
        ),
        pytest.param(
            {"mode": "nftables", "nodePortAddresses": ("fd00::/8",)},
            "client-1",
            "10.244.1.1",
            True,
            id="nftables, said for the other alone",
        ),
    ],
)
def test_node_port_addresses(proxy: dict[str, Any], who: str, ip: str, served: bool) -> None:
    result = promised(make_state(node_port_service(), proxy=proxy), who, ip, NODE_PORT)
    assert result.outcome == ("delivered" if served else "rejected")
    assert result.source == ("node" if served else "")


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
@pytest.mark.parametrize(
    ("who", "ip", "endpoints", "iptables"),
    [
        pytest.param("worker-1", "127.0.0.1", (ENDPOINT_1,), "dropped", id="localhost, none is local"),
        pytest.param("client-1", "10.244.1.1", (ENDPOINT_1,), "dropped", id="the bridge, none is local"),
        pytest.param(
            "worker-1", "127.0.0.1", (ENDPOINT_0,), "rejected", id="localhost, one is local: a closed port"
        ),
        pytest.param("worker-1", "127.0.0.1", (), "rejected", id="localhost, none at all"),
    ],
)
def test_where_no_node_ports_are_served_iptables_mode_filters_them(
    who: str, ip: str, endpoints: Sequence[Any], iptables: str, mode: str
) -> None:
    proxy = {"mode": mode, "nodePortAddresses": ("172.18.0.0/16",)}
    state = make_state(node_port_service(**LOCAL), slices=[make_slice(*endpoints)], proxy=proxy)
    assert promised(state, who, ip, NODE_PORT).outcome == (iptables if mode == "iptables" else "rejected")


def test_the_same_number_on_another_protocol_is_another_port() -> None:
    assert (
        promised(make_state(node_port_service()), "client-1", "172.18.0.3", NODE_PORT, protocol="UDP").outcome
        == "rejected"
    )


# --- direct
# --------------------------------------------------------------------------------------------------

DIRECT = [
    ("client", WEB_1, 8080, "TCP", "delivered", {CLIENT}),
    ("client", WEB_0, 8080, "TCP", "delivered", {CLIENT}),
    ("web-0", WEB_0, 8080, "TCP", "delivered", {WEB_0}),
    ("client", WEB_0, 8081, "TCP", "rejected", None),
    ("client", WEB_0, 8080, "UDP", "rejected", None),
    ("client", WEB_0, 8080, "SCTP", "rejected", None),
    ("client", WEB_1, 0, "ICMP", "delivered", {CLIENT}),
    ("client", "172.18.0.2", 6443, "TCP", "delivered", {CLIENT}),
    ("client", "172.18.0.3", 6443, "TCP", "rejected", None),
    ("client", "172.18.0.4", 0, "ICMP", "delivered", {CLIENT}),
    ("client", "10.244.2.1", 0, "ICMP", "delivered", {CLIENT}),
    ("client", "172.18.0.1", 0, "ICMP", "delivered", {CLIENT}),
    ("client", OUTSIDE, 0, "ICMP", "delivered", WORKER_1),
    ("client", OUTSIDE, 80, "TCP", "rejected", None),
    ("worker-1", OUTSIDE, 0, "ICMP", "delivered", WORKER_1),
    ("worker-1", WEB_0, 8080, "TCP", "delivered", WORKER_1),
    ("worker-2", WEB_0, 8080, "TCP", "delivered", WORKER_2),
    ("api", WEB_0, 8080, "TCP", "delivered", {"172.18.0.2", "10.244.0.1"}),
    ("worker-1", "172.18.0.3", 0, "ICMP", "delivered", WORKER_1),
    ("client-1", WEB_0, 8080, "TCP", "delivered", {OUTSIDE}),
    ("client-1", WEB_0, 0, "ICMP", "delivered", {OUTSIDE}),
    ("client-1", "172.18.0.2", 6443, "TCP", "delivered", {OUTSIDE}),
    ("web-0", "127.0.0.1", 8080, "TCP", "delivered", {"127.0.0.1"}),
    ("web-0", "127.0.0.1", 0, "ICMP", "delivered", {"127.0.0.1"}),
    ("web-0", "127.0.0.1", 8081, "TCP", "rejected", None),
    ("control-plane", "127.0.0.1", 6443, "TCP", "delivered", {"127.0.0.1"}),
    ("client", "192.0.2.1", 80, "TCP", "unreachable", None),
    ("client", "10.244.1.77", 80, "TCP", "dropped", None),
    ("client", "10.244.99.1", 80, "TCP", "unreachable", None),
    ("client", "172.18.9.9", 80, "TCP", "dropped", None),
    ("client-1", "172.18.9.9", 80, "TCP", "dropped", None),
    ("client-1", VIP, 80, "TCP", "dropped", None),
    ("client", "255.255.255.255", 80, "TCP", "dropped", None),
]


@pytest.mark.parametrize(("who", "ip", "port", "protocol", "outcome", "seen"), DIRECT)
def test_direct(who: str, ip: str, port: int, protocol: Any, outcome: str, seen: set[str] | None) -> None:
    result = promised(make_state(SERVICES["Cluster"]), who, ip, port, protocol=protocol)
    assert result.outcome == outcome
    assert result.because
    if seen is None:
        assert not result.backends
    else:
        assert sources(result) == {str(Endpoint.of(ip, port)): seen}


def test_sctp_is_answered_where_it_is_declared() -> None:
    pods = (*PODS, make_pod("diameter", "worker-2", "10.244.2.9", [(3868, "SCTP")]))
    service = make_service(ports=[ServicePort(port=3868, protocol="SCTP")])
    slices = [make_slice(make_endpoint("10.244.2.9"), ports=[EndpointPort(protocol="SCTP", port=3868)])]
    state = make_state(service, slices=slices, pods=pods)
    assert promised(state, "client", "10.244.2.9", 3868, protocol="SCTP").outcome == "delivered"
    assert list(promised(state, "client", WEB_IP, 3868, protocol="SCTP").backends) == [
        Endpoint.of("10.244.2.9", 3868)
    ]
    assert promised(state, "client", WEB_IP, 3868).outcome == "unreachable"


def test_a_listener_that_could_not_bind_serves_nothing() -> None:
    state = make_state()
    refused = replace(
        state,
        listeners=tuple(replace(x, refused=Holder("a")) for x in state.listeners),
    )
    assert promised(refused, "client", WEB_0, 8080).outcome == "rejected"


def test_a_real_command_serves_the_ports_that_it_declares() -> None:
    state = replace(make_state(), listeners=(), commands={"default/web-0": ("main",)})
    assert promised(state, "client", WEB_0, 8080).outcome == "delivered"
    assert promised(state, "client", WEB_1, 8080).outcome == "rejected"
