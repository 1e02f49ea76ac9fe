"""Tests that every rule names the object and the field that caused it, or every cluster has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState
from emulator.objects.config import ProxyMode
from emulator.objects.kinds import EndpointSlice, Service, ServicePort
from emulator.objects.references import ObjectRef
from emulator.plan.ipvs import ipvsadm_text
from emulator.plan.operations import LoadIpset, LoadIpvs
from emulator.proxy import MODES, explain_rules
from emulator.proxy.backends import backend_of
from tests.objects import node, service, slice_of, state

NODE = "worker-1"
NODES = [node(NODE), node("worker-2", ip="172.18.0.4", podCIDR="10.244.2.0/24")]
HTTP = ServicePort(name="http", port=80, targetPort=8080)
BOTH = [
    ServicePort(name="http", port=80, nodePort=30080),
    ServicePort(name="dns", port=53, protocol="UDP", nodePort=30053),
]
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "local": {"internalTrafficPolicy": "Local"},
    "remembering": {"sessionAffinity": "ClientIP", "type": "NodePort", "ports": BOTH},
    "external": {"externalIPs": ("192.0.2.1",)},
    "external local": {"externalIPs": ("192.0.2.1", "192.0.2.2"), "externalTrafficPolicy": "Local"},
    "balanced": {
        "type": "LoadBalancer",
        "vips": ("192.0.2.2", "192.0.2.3"),
        "loadBalancerSourceRanges": ("172.18.0.0/16",),
        "ports": BOTH,
    },
    "refusing": {
        "type": "LoadBalancer",
        "vips": ("192.0.2.4",),
        "loadBalancerSourceRanges": ("203.0.113.0/24", "0.0.0.0/0"),
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30999,
        "ports": BOTH,
    },
}


@st.composite
def objects(draw: st.DrawFn, name: str, number: int) -> tuple[Service, list[EndpointSlice]]:
    shape = SHAPES[draw(st.sampled_from(sorted(SHAPES)))]
    made = service(name, clusterIP=f"10.96.0.{number}", **shape)
    ports = [{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    slices = [
        slice_of(
            made,
            *(
                {"ip": f"10.244.{where}.{number * 10 + index}", "nodeName": f"worker-{where}"}
                for where in draw(st.lists(st.sampled_from([1, 2]), max_size=2))
            ),
            name=f"{name}-{index}",
            ports=ports,
        )
        for index in range(draw(st.integers(0, 2)))
    ]
    return made, slices


@st.composite
def clusters(draw: st.DrawFn, mode: ProxyMode) -> ClusterState:
    rows = [draw(objects(name, number)) for number, name in enumerate("abc", 1)]
    return state(
        nodes=NODES,
        services=[made for made, _ in rows],
        slices=[item for _, slices in rows for item in slices],
        mode=mode,
        localMode=draw(st.sampled_from(["ClusterCIDR", "BridgeInterface", ""])),
        masqueradeAll=draw(st.booleans()),
    )


def planned(cluster: ClusterState) -> Iterator[str]:
    """Yields the commands of the rules that the plan loads on the node."""
    rules = backend_of(cluster).rules(cluster)
    loaded = rules.on(NODE)
    for table, chains in loaded.tables.items():
        for chain, lines in chains.items():
            yield from (f"iptables -t {table} -A {chain} {line}" for line in lines)
    if table := loaded.table:
        for name, s in table.sets.items():
            yield from (f"nft add element {table.name} {name} {{ {e} }}" for e in s.elements.values())
        for name, chain in table.chains.items():
            yield from (f"nft add rule {table.name} {name} {rule}" for rule in chain.rules)
    for op in rules.operations():
        if isinstance(op, LoadIpset) and op.netns == NODE:
            yield from (f"ipset add {s.name} {entry}" for s in op.sets for entry in s.entries)
        elif isinstance(op, LoadIpvs) and op.netns == NODE:
            yield from (f"ipvsadm {line}" for line in ipvsadm_text(op.servers).splitlines())


def is_there(cluster: ClusterState, origin: ObjectRef) -> bool:
    """Returns whether the object has the field, with a value that could cause something."""
    objects: dict[tuple[str, str], Any] = {("Service", s.key): s for s in cluster.services}
    objects |= {
        ("EndpointSlice", f"{s.metadata.namespace}/{s.metadata.name}"): s for s in cluster.endpointSlices
    }
    values = [objects[origin.kind, origin.name]]
    for name in origin.field.split("."):
        values = [getattr(value, name) for value in values]
        values = [one for value in values for one in (value if isinstance(value, tuple) else [value])]
    return any(values)


@pytest.mark.parametrize("mode", MODES)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_every_rule_has_an_origin_or_is_everywhere(mode: ProxyMode, data: st.DataObject) -> None:
    cluster = data.draw(clusters(mode))
    found = list(explain_rules(cluster, NODE))
    assert Counter(command for command, _ in found) == Counter(planned(cluster))
    empty = replace(cluster, services=(), endpointSlices=())
    everywhere = {command for command, _ in explain_rules(empty, NODE)}
    for command, origin in found:
        if origin is None:
            # ipvs mode has rules that look into a set only if the set has an entry
            assert command in everywhere or "--match-set" in command, command
        else:
            assert is_there(cluster, origin), (command, origin)


def origins_of(mode: ProxyMode, word: str, made: Service, *slices: EndpointSlice) -> set[str]:
    cluster = state(nodes=NODES, services=[made], slices=slices, mode=mode)
    return {str(origin) for command, origin in explain_rules(cluster, NODE) if word in command}


def test_a_rule_is_traced_to_the_field_that_a_user_would_change() -> None:
    made = service(
        type="LoadBalancer",
        vips=("192.0.2.2",),
        externalTrafficPolicy="Local",
        loadBalancerSourceRanges=("203.0.113.0/24",),
        sessionAffinity="ClientIP",
        ports=[replace(HTTP, nodePort=30080)],
    )
    item = slice_of(made, {"ip": "10.244.1.2", "nodeName": NODE})
    service_ = "Service default/web"
    for mode, word, origins in (
        ("iptables", "KUBE-NODEPORTS -p tcp", {f"{service_} spec.ports.nodePort"}),
        ("iptables", "route LOCAL traffic", {f"{service_} spec.externalTrafficPolicy"}),
        ("iptables", "-s 203.0.113.0/24", {f"{service_} spec.loadBalancerSourceRanges"}),
        ("iptables", "--rcheck", {f"{service_} spec.sessionAffinity"}),
        ("iptables", "-j DNAT", {"EndpointSlice default/web-1 endpoints"}),
        ("nftables", "add element ip kube-proxy service-nodeports", {f"{service_} spec.ports.nodePort"}),
        ("nftables", "fib saddr type local", {f"{service_} spec.externalTrafficPolicy"}),
        ("nftables", "203.0.113.0/24", {f"{service_} spec.loadBalancerSourceRanges"}),
        ("nftables", "dnat to 10.244.1.2:8080", {"EndpointSlice default/web-1 endpoints"}),
        ("ipvs", "-A -t 192.0.2.2:80", {f"{service_} status.loadBalancer.ingress"}),
        ("ipvs", "-r 10.244.1.2:8080", {"EndpointSlice default/web-1 endpoints"}),
        ("ipvs", "KUBE-LOAD-BALANCER-LOCAL 192.0.2.2", {f"{service_} spec.externalTrafficPolicy"}),
        ("userspace", "--dport 30080", {f"{service_} spec.ports.nodePort"}),
        ("userspace", "-d 10.96.0.10/32", {f"{service_} spec.clusterIPs"}),
    ):
        assert origins_of(mode, word, made, item) == origins, (mode, word)
