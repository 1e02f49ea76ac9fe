"""Tests ClusterIPs, node ports and the other fields that the API server fills in."""

from __future__ import annotations

import pytest

from emulator.controllers.services import NODE_PORTS, static_band
from emulator.net import Prefix
from emulator.objects.kinds import Service
from emulator.objects.warnings import Code
from tests.told import told
from tests.unit.controllers.clusters import (
    cluster,
    problem_of,
    problems_of,
    service,
    settled,
)

PORT = "ports: [{port: 80}]"


def only(spec: str, status: str = "") -> Service:
    return settled(service("s", spec, status)).service["default/s"]


def test_cluster_ips_start_above_the_static_band_in_order_of_appearance() -> None:
    state = settled(
        service("b", PORT), service("a", PORT), service("given", f"clusterIP: 10.96.0.10, {PORT}")
    )
    assert {s.name: s.spec.clusterIPs for s in state.services} == {
        "kubernetes": ("10.96.0.1",),
        "b": ("10.96.1.0",),
        "a": ("10.96.1.1",),
        "given": ("10.96.0.10",),
    }
    assert all(
        s.spec.clusterIP == s.spec.clusterIPs[0] and s.spec.ipFamilies == ("IPv4",) for s in state.services
    )


@pytest.mark.parametrize(
    ("prefix", "size"), [("10.0.0.0/28", 16), ("10.0.0.0/24", 16), ("10.0.0.0/20", 256), ("10.0.0.0/12", 256)]
)
def test_static_band(prefix: str, size: int) -> None:
    assert static_band(Prefix(prefix)) == size


def test_the_static_band_is_used_when_the_rest_is_full() -> None:
    state = settled(cluster(serviceSubnet="10.9.0.0/27"), *(service(f"s{i}", PORT) for i in range(29)))
    ips = [s.spec.clusterIP for s in state.services]
    assert ips[:3] == ["10.9.0.1", "10.9.0.16", "10.9.0.17"]
    assert len(set(ips)) == 30


def test_headless_and_external_name_have_no_address() -> None:
    state = settled(
        service("h", f"clusterIP: None, {PORT}"),
        service("e", "type: ExternalName, externalName: example.com"),
    )
    assert state.service["default/h"].spec.clusterIPs == ("None",)
    assert state.service["default/e"].spec.clusterIPs == ()


def test_the_service_kubernetes_of_a_dump_is_kept() -> None:
    given = service("kubernetes", "clusterIP: 10.96.0.7, ports: [{name: https, port: 443, targetPort: 8443}]")
    state = settled(given, service("s", PORT))
    assert [s.spec.clusterIP for s in state.services] == ["10.96.0.7", "10.96.1.0"]
    assert state.service["default/kubernetes"].spec.ports[0].targetPort == 8443


def test_target_port_is_the_port_unless_said() -> None:
    ports = only("ports: [{name: a, port: 80}, {name: b, port: 81, targetPort: 8081}]").spec.ports
    assert [p.targetPort for p in ports] == [80, 8081]


def test_node_ports_are_drawn_from_the_seed() -> None:
    def drawn(*manifests: str, seed: int = 0) -> int | None:
        return settled(*manifests, seed=seed).service["default/s"].spec.ports[0].nodePort

    mine = service("s", f"type: NodePort, {PORT}")
    assert drawn(mine) == drawn(service("other", f"type: NodePort, {PORT}"), mine)
    assert drawn(mine) != drawn(mine, seed=1)
    assert drawn(mine) in NODE_PORTS


def test_tcp_and_udp_of_one_port_share_a_node_port() -> None:
    ports = only(
        "type: NodePort, ports: [{name: u, port: 53, protocol: UDP}, {name: t, port: 53}, {name: m, "
        "port: 9153}]"
    ).spec.ports
    assert ports[0].nodePort == ports[1].nodePort != ports[2].nodePort


@pytest.mark.parametrize(
    ("spec", "has"),
    [
        ("type: LoadBalancer", True),
        ("type: LoadBalancer, allocateLoadBalancerNodePorts: false", False),
        ("type: ClusterIP", False),
    ],
)
def test_who_gets_node_ports(spec: str, has: bool) -> None:
    assert (only(f"{spec}, {PORT}").spec.ports[0].nodePort is not None) is has


@pytest.mark.parametrize(
    ("spec", "has"),
    [
        ("type: LoadBalancer, externalTrafficPolicy: Local", True),
        ("type: LoadBalancer", False),
        ("type: NodePort, externalTrafficPolicy: Local", False),
    ],
)
def test_who_gets_a_health_check_port(spec: str, has: bool) -> None:
    made = only(f"{spec}, {PORT}").spec
    assert (made.healthCheckNodePort is not None) is has
    assert made.healthCheckNodePort != made.ports[0].nodePort


def test_node_ports_of_another_range_are_taken_with_a_warning() -> None:
    page = service("page", "type: NodePort, ports: [{port: 80, nodePort: 80}]")
    mail = service(
        "mail",
        "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 9000, ports: "
        "[{port: 25, nodePort: 2525}]",
    )
    state = settled(page, mail)
    assert [state.service[f"default/{name}"].spec.ports[0].nodePort for name in ("page", "mail")] == [
        80,
        2525,
    ]
    found = [one for one in state.warnings if one.code is Code.FOREIGN_NODE_PORT]
    assert {(one.object.name, one.object.field) for one in found} == {
        ("default/page", "spec.ports[0].nodePort"),
        ("default/mail", "spec.ports[0].nodePort"),
        ("default/mail", "spec.healthCheckNodePort"),
    }


def test_node_ports_that_an_api_server_accepted_are_no_warning() -> None:
    page = service("page", "type: NodePort, ports: [{port: 80, nodePort: 80}]")
    stored = page.replace("metadata: {", "metadata: {uid: '1', ", 1)
    assert stored != page
    assert not [one for one in settled(stored).warnings if one.code is Code.FOREIGN_NODE_PORT]


def test_all_node_ports_can_be_had() -> None:
    ports = ", ".join(f"{{name: p{i}, port: {i + 1}}}" for i in range(len(NODE_PORTS)))
    numbers = {p.nodePort for p in only(f"type: NodePort, ports: [{ports}]").spec.ports}
    assert numbers == set(NODE_PORTS)


def test_the_load_balancers_status_is_kept() -> None:
    made = only(f"type: LoadBalancer, {PORT}", "loadBalancer: {ingress: [{ip: 198.51.100.7}]}")
    assert made.status.loadBalancer.ingress[0].ip == "198.51.100.7"


def test_services_of_ipv6_alone_are_left_out() -> None:
    state = settled(
        service("six", f"ipFamilies: [IPv6], clusterIP: 'fd00::1', {PORT}"),
        service("dual", f"ipFamilies: [IPv4, IPv6], {PORT}"),
    )
    assert [s.name for s in state.services] == ["dual", "kubernetes"]
    assert any("IPv6" in notice for notice in told(state))


@pytest.mark.parametrize(
    ("services", "path", "parts"),
    [
        pytest.param(
            [f"clusterIP: 10.96.0.9, {PORT}", f"clusterIP: 10.96.0.9, {PORT}"],
            "spec.clusterIP",
            ["default/s0", "default/s1"],
            id="a ClusterIP twice",
        ),
        pytest.param(
            [f"clusterIP: 10.96.0.1, {PORT}"],
            "spec.clusterIP",
            ["default/kubernetes"],
            id="that of kubernetes",
        ),
        pytest.param(
            [
                "type: NodePort, ports: [{port: 80, nodePort: 30080}]",
                "type: NodePort, ports: [{port: 81, nodePort: 30080}]",
            ],
            "spec.ports[0].nodePort",
            ["30080/TCP", "default/s0", "default/s1"],
            id="a node port twice",
        ),
        pytest.param(
            [
                "type: NodePort, ports: [{port: 80, nodePort: 30080}]",
                f"type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30080, {PORT}",
            ],
            "spec.healthCheckNodePort",
            ["30080/TCP"],
            id="a health check port twice",
        ),
    ],
)
def test_mistakes(services: list[str], path: str, parts: list[str]) -> None:
    problem = problem_of(*(service(f"s{i}", spec) for i, spec in enumerate(services)))
    assert problem.path in (path, path.replace("clusterIP", "clusterIPs[0]"))
    assert problem.document == len(services)
    assert all(part in problem.what for part in parts)


def test_one_node_port_serves_two_protocols() -> None:
    spec = (
        "type: NodePort, ports: [{name: a, port: 53, nodePort: 30053}, {name: b, port: 53, nodePort: "
        "30053, protocol: UDP}]"
    )
    assert [p.nodePort for p in only(spec).spec.ports] == [30053, 30053]


@pytest.mark.parametrize(
    ("ip", "fits"), [("10.9.0.16", False), ("10.9.0.0", False), ("10.9.0.15", False), ("10.9.0.14", True)]
)
def test_a_cluster_ip_lies_in_the_service_subnet(ip: str, fits: bool) -> None:
    manifests = [cluster(serviceSubnet="10.9.0.0/28"), service("s", f"clusterIP: {ip}, {PORT}")]
    if fits:
        assert settled(*manifests).service["default/s"].spec.clusterIP == ip
    else:
        assert "not in the range" in problem_of(*manifests).what


def test_a_service_subnet_that_is_too_small_is_said_once() -> None:
    problems = problems_of(cluster(serviceSubnet="10.9.0.0/29"), *(service(f"s{i}", PORT) for i in range(9)))
    assert len(problems) == 1
    assert "too small" in problems[0].what
