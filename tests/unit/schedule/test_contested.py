"""Tests addresses and ports that several Services claim: the rules of every mode, the balancer and the oracle
give each to the same Service, in whatever order the Services come.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState
from emulator.hostnet.balancer import balancer_rules
from emulator.objects.config import ProxyMode
from emulator.objects.kinds import LoadBalancerIngress, Service, ServicePort
from emulator.oracle.endpoints import ServiceTable
from emulator.plan.operations import LoadIpvs
from emulator.plan.rules import RuleSet
from emulator.proxy import MODES
from emulator.proxy.backend import Rules
from emulator.proxy.planner import ProxyPlanner
from tests.objects import node, service, slice_of, state
from tests.unit.controllers import clusters

NODE = "worker-1"
BALANCED = "192.0.2.9"  # the balancer's, except in userspace mode, which does not know ipMode
EXTERNAL_IPS = ["192.0.2.1", "192.0.2.2", "10.96.0.1"]  # the last one is the ClusterIP of Service a
BACKEND = {"a": "10.244.1.2", "b": "10.244.1.3", "c": "10.244.1.4"}
PORT = (ServicePort(name="http", port=80, targetPort=8080),)


@st.composite
def services(draw: st.DrawFn, name: str) -> tuple[Service, bool]:
    """Returns a Service of one endpoint or none."""
    fields = {
        "type": "LoadBalancer",
        "externalIPs": tuple(draw(st.lists(st.sampled_from(EXTERNAL_IPS), unique=True, max_size=2))),
        "externalTrafficPolicy": draw(st.sampled_from(["Cluster", "Local"])),
        "sessionAffinity": draw(st.sampled_from(["None", "None", "ClientIP"])),
    }
    vips = [LoadBalancerIngress(ip=BALANCED, ipMode="Proxy")] if draw(st.booleans()) else []
    number = "abc".index(name) + 1
    ports = [ServicePort(name="http", port=80, targetPort=8080, nodePort=30080 + number)]
    made = service(name, clusterIP=f"10.96.0.{number}", ports=ports, vips=vips, **fields)
    return made, draw(st.sampled_from([True, True, True, False]))


@st.composite
def histories(draw: st.DrawFn, mode: ProxyMode) -> list[ClusterState]:
    """Draws states that follow each other. In each some Services are there, in any order."""
    known = {name: draw(services(name)) for name in "abc"}
    states = []
    for _ in range(4):
        for name in draw(st.sets(st.sampled_from("abc"), max_size=1)):
            known[name] = draw(services(name))
        present = draw(st.permutations([known[name] for name in draw(st.sets(st.sampled_from("abc")))]))
        states.append(cluster(mode, present))
    return states


def cluster(mode: ProxyMode, present: Sequence[tuple[Service, bool]]) -> ClusterState:
    slices = [
        slice_of(one, *([{"ip": BACKEND[one.name], "nodeName": NODE}] if served else []))
        for one, served in present
    ]
    built = state(nodes=[node(NODE)], services=[one for one, _ in present], slices=slices, mode=mode)
    keys = {one.key: (NODE,) for one, _ in present}
    return replace(built, balancerIP="172.18.0.200", balanced=keys)


def first_line(rules: RuleSet, table: str, chain: str, ip: str) -> str:
    """Returns the Service of the first rule for ``ip`` and port 80 that names one."""
    for rule in rules.tables[table].get(chain, ()):
        found = re.match(rf'-d {re.escape(ip)}/32 -p tcp .*--comment "default/(\w+)\S* ?.*--dport 80 ', rule)
        if found:
            return found[1]
    return ""


def holder(mode: ProxyMode, rules: Rules, ip: str) -> str:
    """Returns the Service to which the rules of the node lead what is dialled at ``ip``, port 80."""
    match mode:
        case "iptables":
            return first_line(rules.on(NODE), "nat", "KUBE-SERVICES", ip)
        case "userspace":
            return first_line(rules.on(NODE), "nat", "KUBE-PORTALS-CONTAINER", ip)
        case "nftables":
            table = rules.on(NODE).table
            assert table
            found = re.search(
                r'comment "default/(\w+)', table.sets["service-ips"].elements.get(f"{ip} . tcp . 80", "")
            )
            return found[1] if found else ""
        case "ipvs":
            (load,) = [op for op in rules.operations() if isinstance(op, LoadIpvs)]
            for server in load.servers:
                if (server.ip, server.port) == (ip, 80):
                    return "".join(n for n, ip in BACKEND.items() if ip in [r.ip for r in server.servers])
            return ""


def delivered(built: ClusterState) -> Iterator[tuple[str, str]]:
    """Yields each address, and the Service that the oracle has deliver what is dialled there at port 80."""
    for (ip, port, protocol), (endpoints, _) in ServiceTable(built).addresses.items():
        if endpoints.usable and (port, protocol) == (80, "TCP"):
            yield ip, endpoints.service.name


@pytest.mark.parametrize("mode", MODES)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_the_first_by_name_has_an_address_after_any_change(mode: ProxyMode, data: st.DataObject) -> None:
    states = data.draw(histories(mode))
    proxy = ProxyPlanner()
    proxy.rules(states[0])
    for old, new in pairwise(states):
        rules = proxy.change(old, new).after
        for ip, name in delivered(new):
            assert holder(mode, rules, ip) == name, ip
        for (ip, _, _), endpoints in ServiceTable(new).balanced.items():
            assert first_line(balancer_rules(new), "nat", "PREROUTING", ip) == endpoints.service.name


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", list(permutations("abc")), ids="".join)
def test_the_order_of_the_manifests_means_nothing(mode: ProxyMode, order: Sequence[str]) -> None:
    status = f"loadBalancer: {{ingress: [{{ip: {BALANCED}, ipMode: Proxy}}]}}"
    spec = (
        "type: LoadBalancer, selector: {{app: {0}}}, externalIPs: [192.0.2.1], clusterIP: 10.96.0.{1}, "
        "ports: [{{name: http, port: 80}}]"
    )
    manifests = {name: clusters.service(name, spec.format(name, BACKEND[name][-1]), status) for name in "abc"}
    pods = {
        name: clusters.pod(
            name,
            f"app: {name}",
            "{containerPort: 80}",
            "nodeName: worker-1",
            f"podIP: {ip}, podIPs: [{{ip: {ip}}}]",
        )
        for name, ip in BACKEND.items()
    }
    given_nodes = clusters.node(NODE, "172.18.0.3", "10.244.1.0/24")
    built = clusters.settled(
        given_nodes,
        *(manifests[name] for name in order),
        *(pods[name] for name in order),
        proxy_mode=mode,
    )
    found = dict(delivered(built))
    assert found["192.0.2.1"] == "a"
    rules = ProxyPlanner().rules(built)
    assert {ip: holder(mode, rules, ip) for ip in found if ip in ("192.0.2.1", "10.96.0.3")} == {
        ip: name for ip, name in found.items() if ip in ("192.0.2.1", "10.96.0.3")
    }
    for (ip, _, _), endpoints in ServiceTable(built).balanced.items():
        assert endpoints.service.name == "a"
        assert first_line(balancer_rules(built), "nat", "PREROUTING", ip) == "a"
