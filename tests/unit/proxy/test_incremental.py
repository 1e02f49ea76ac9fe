"""Tests that the fast way to the rules equals the slow one: plain Services are written at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState
from emulator.net import IPV4
from emulator.objects.kinds import EndpointSlice, ObjectMeta, Service, ServicePort, ServiceSpec
from emulator.plan.checked import UnsafeTextError
from emulator.plan.rules import compose
from emulator.proxy import iptables as slow_iptables
from emulator.proxy import nftables as slow_nftables
from emulator.proxy.incremental import iptables, nftables
from emulator.proxy.incremental.plain import plain_port
from tests.objects import node, service, slice_of, state

NODES = [node("worker-1", ip="172.18.0.3"), node("worker-2", ip="172.18.0.4", podCIDR="10.244.2.0/24")]
IPS = [
    "10.244.1.1",
    "10.244.1.10",
    "10.244.1.2",
    "10.244.2.1",
    "10.244.10.1",
]  # kube-proxy sorts them with their ports: .10:80 before .1:80

UNLIKE_PLAIN: dict[str, dict[str, Any]] = {
    "a node port": {"type": "NodePort", "ports": [ServicePort(name="http", port=80, nodePort=30080)]},
    "a node port of before": {"ports": [ServicePort(name="http", port=80, nodePort=30080)]},
    "two ports": {
        "ports": [ServicePort(name="http", port=80), ServicePort(name="dns", port=53, protocol="UDP")]
    },
    "another port's name": {"ports": [ServicePort(name="dns", port=80)]},
    "another protocol": {"ports": [ServicePort(name="http", port=80, protocol="UDP")]},
    "an externalIP": {"externalIPs": ("192.0.2.1",)},
    "a load-balancer address": {"type": "LoadBalancer", "vips": ("192.0.2.2",)},
    "a load-balancer address of before": {"vips": ("192.0.2.2",)},
    "source ranges": {"loadBalancerSourceRanges": ("172.18.0.0/16",)},
    "session affinity": {"sessionAffinity": "ClientIP"},
    "a Local policy": {"internalTrafficPolicy": "Local"},
    "no ClusterIP": {"clusterIP": "None"},
    "a ClusterIP of the other family": {"clusterIP": "fd00::1"},
    "no ClusterIP yet": {"clusterIP": ""},
    "no proxy": {"type": "ExternalName", "clusterIP": ""},
}
UNLIKE_READY: dict[str, dict[str, Any]] = {
    "not ready": {"conditions": {"ready": False}},
    "draining": {"conditions": {"ready": False, "serving": True, "terminating": True}},
    "of a zone": {"hints": {"forZones": [{"name": "a"}]}},
}


@st.composite
def objects(draw: st.DrawFn, name: str, number: int) -> tuple[Service, list[EndpointSlice]]:
    """Draws Services, half of them plain; several want one address."""
    unlike = draw(st.sampled_from(["", *sorted(UNLIKE_PLAIN)]) if draw(st.booleans()) else st.just(""))
    made = service(name, **{"clusterIP": f"10.96.0.{number}", **UNLIKE_PLAIN.get(unlike, {})})
    slices = []
    for index in range(draw(st.sampled_from([1, 1, 1, 0, 2]))):
        ips = draw(st.lists(st.sampled_from(IPS), max_size=5))
        shape = UNLIKE_READY.get(draw(st.sampled_from(["", "", "", *sorted(UNLIKE_READY)])), {})
        slices.append(
            slice_of(
                made, *({"ip": ip, "nodeName": "worker-1", **shape} for ip in ips), name=f"{name}-{index}"
            )
        )
    return made, slices


@st.composite
def clusters(draw: st.DrawFn) -> ClusterState:
    rows = [draw(objects(name, draw(st.integers(1, 3)))) for name in "abcd"]
    slices = [item for _, several in rows for item in several]
    local = draw(st.sampled_from(["ClusterCIDR", "NodeCIDR", "BridgeInterface", ""]))
    everything = draw(st.booleans())
    return state(
        nodes=NODES,
        services=[s for s, _ in rows],
        slices=slices,
        mode="nftables",
        localMode=local,
        masqueradeAll=everything,
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(clusters())
def test_a_plain_service_is_written_as_all_others_are(cluster: ClusterState) -> None:
    at_once = nftables.rules(cluster)
    for member in NODES:
        assert at_once.on(member.name) == slow_nftables.node_rules(cluster, member.name)


@pytest.mark.parametrize("large", [False, True], ids=["with comments", "large"])
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(clusters())
def test_so_it_is_in_iptables_mode(large: bool, cluster: ClusterState) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module in (iptables, slow_iptables):
            patch.setattr(module, "LARGE_CLUSTER", 0 if large else 1000)
        at_once = iptables.rules(cluster)
        for member in NODES:
            one_by_one = slow_iptables.node_rules(cluster, member.name)
            assert compose(at_once.on(member.name)) == compose(one_by_one)


def test_a_plain_service_is_told() -> None:
    svc = service()
    port = plain_port(svc, [slice_of(svc, *({"ip": ip} for ip in reversed(IPS[:3])))], IPV4)
    assert port == (
        "default/web:http",
        "TCP",
        "10.96.0.10",
        80,
        8080,
        ["10.244.1.10", "10.244.1.1", "10.244.1.2"],
        IPV4,
    )


@pytest.mark.parametrize("unlike", UNLIKE_PLAIN)
def test_a_service_with_more_than_a_cluster_ip_is_not_plain(unlike: str) -> None:
    svc = service(**UNLIKE_PLAIN[unlike])
    assert plain_port(svc, [slice_of(svc, {"ip": IPS[0]})], IPV4) is None


def test_a_service_of_nothing_is_not_plain() -> None:
    assert (
        plain_port(Service(metadata=ObjectMeta(name="web"), spec=ServiceSpec(clusterIP="None")), [], IPV4)
        is None
    )


def test_endpoints_of_the_other_family_are_not_plain() -> None:
    svc = service()
    assert plain_port(svc, [replace(slice_of(svc, {"ip": "fd00::1"}), addressType="IPv6")], IPV4) is None


@pytest.mark.parametrize("unlike", UNLIKE_READY)
def test_a_service_whose_endpoints_are_to_be_chosen_from_is_not_plain(unlike: str) -> None:
    svc = service()
    assert (
        plain_port(svc, [slice_of(svc, {"ip": IPS[0]}, {"ip": IPS[1], **UNLIKE_READY[unlike]})], IPV4) is None
    )


@pytest.mark.parametrize(
    ("spec", "ip", "target"),
    [
        ({"clusterIP": "10.96.0.1 drop"}, IPS[0], 8080),
        ({"ports": [ServicePort(name="http", port=True)]}, IPS[0], 8080),
        ({"ports": [ServicePort(name='"', port=80)]}, IPS[0], 8080),
        ({}, "10.244.1.1\n", 8080),
        ({}, IPS[0], -1),
    ],
    ids=["ClusterIP", "port", "port's name", "endpoint", "target port"],
)
def test_of_a_plain_service_too_only_what_is_safe_becomes_rules(
    spec: dict[str, Any], ip: str, target: int
) -> None:
    svc = service(**spec)
    name = svc.spec.ports[0].name
    with pytest.raises(UnsafeTextError):
        nftables.rules(
            state(
                nodes=NODES,
                services=[svc],
                slices=[slice_of(svc, {"ip": ip}, ports=[{"name": name, "port": target}])],
            )
        )
