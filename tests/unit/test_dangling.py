"""Tests references that lead nowhere, and addresses of the other family: every command comes to a plan or to
problems with a place, never to an exception of ours. A list below has the values of such a field; Hypothesis
draws clusters of them.
"""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from emulator.cluster.scenario import Scenario
from emulator.cluster.state import ClusterState
from emulator.errors import InputError
from emulator.objects.config import ProxyMode
from emulator.plan.shell import render_shell
from emulator.report.describe import describe_nodes, describe_services
from emulator.schedule.schedule import plan_flows, plan_schedule
from tests.sandboxed import state_of

Manifest = dict[str, Any]

NODES = ("n1", "n2", "n1.example.org", "")
ADDRESSES = (
    "10.244.1.7",
    "10.244.2.7",
    "10.244.1.99",
    "172.18.0.11",
    "172.18.0.99",
    "198.51.100.9",
    "10.96.1.1",
    "203.0.113.10",
)
IPV6 = ("fd00::7", "2001:db8::55")
NAMES = ("p1", "p2", "gone")
TARGETS = st.fixed_dictionaries(
    {"kind": st.sampled_from(("Pod", "Node", "VM")), "name": st.sampled_from(NAMES)}
)
MODES: tuple[ProxyMode, ...] = get_args(ProxyMode)


def _some(values: st.SearchStrategy[Any] | tuple[Any, ...], most: int = 2) -> st.SearchStrategy[list[Any]]:
    each = st.sampled_from(values) if isinstance(values, tuple) else values
    return st.lists(each, max_size=most, unique_by=json.dumps)


def _maybe(key: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[Manifest]:
    return st.one_of(st.just({}), value.map(lambda drawn: {key: drawn}))


@st.composite
def _node(draw: st.DrawFn, number: int) -> Manifest:
    addresses = [f"172.18.0.1{number}", *draw(_some(IPV6, 1))]
    listed = [
        {"type": "InternalIP", "address": address}
        for address in (reversed(addresses) if draw(st.booleans()) else addresses)
    ]
    cidrs = [f"10.244.{number}.0/24", *draw(_some(("fd00:1::/64",), 1))]
    labels = draw(st.sampled_from(({}, {"topology.kubernetes.io/zone": "a"})))
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"n{number}", "labels": labels},
        "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs},
        "status": {"addresses": listed},
    }


@st.composite
def _pod(draw: st.DrawFn, number: int) -> Manifest:
    ips = [f"10.244.{number}.7", *draw(_some(("fd00::9",), 1))]
    controller = {
        "kind": "ReplicaSet",
        "name": "gone",
        "controller": True,
        "apiVersion": "apps/v1",
        "uid": "u",
    }
    owner = draw(_maybe("ownerReferences", st.just([controller])))
    ports = [{"containerPort": 80, **draw(_maybe("hostPort", st.just(8080)))}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p{number}", "labels": {"app": "p"}, **owner},
        "spec": {"nodeName": f"n{number}", "containers": [{"name": "c", "ports": ports}]},
        "status": {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]},
    }


@st.composite
def _service(draw: st.DrawFn, name: str) -> list[Manifest]:
    kind = draw(st.sampled_from(("ClusterIP", "NodePort", "LoadBalancer")))
    spec: Manifest = {
        "type": kind,
        "ports": [{"name": "web", "port": 80}],
        "externalIPs": draw(_some((*ADDRESSES[3:], *IPV6))),
    }
    if draw(st.booleans()):
        spec["internalTrafficPolicy"] = "Local"
    if (kind != "ClusterIP" or spec["externalIPs"]) and draw(st.booleans()):
        spec["externalTrafficPolicy"] = "Local"
    if draw(st.integers(0, 3)) == 3:
        spec["sessionAffinity"] = "ClientIP"
    service: Manifest = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
    if kind == "LoadBalancer":
        spec |= draw(_maybe("loadBalancerSourceRanges", _some(("203.0.113.0/24", "fd00::/8"))))
        entries = st.fixed_dictionaries(
            {"ip": st.sampled_from(("172.18.255.9", "192.0.2.9", *IPV6))},
            optional={"ipMode": st.just("Proxy")},
        )
        service["status"] = {
            "loadBalancer": {
                "ingress": draw(_some(st.one_of(entries, st.just({"hostname": "lb.example.org"}))))
            }
        }
    if draw(st.integers(0, 3)) == 3:
        return [{**service, "spec": {**spec, "selector": {"app": draw(st.sampled_from(("p", "gone")))}}}]
    return [service, *draw(st.lists(_endpoints(name), max_size=1)), *draw(st.lists(_slice(name), max_size=2))]


def _endpoints(name: str) -> st.SearchStrategy[Manifest]:
    address = st.fixed_dictionaries(
        {"ip": st.sampled_from((*ADDRESSES, *IPV6))},
        optional={"nodeName": st.sampled_from(NODES), "targetRef": TARGETS},
    )
    return _some(address).map(
        lambda drawn: {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": name},
            "subsets": [{"addresses": drawn, "ports": [{"name": "web", "port": 80}]}] if drawn else [],
        }
    )


@st.composite
def _slice(draw: st.DrawFn, service: str) -> Manifest:
    family = draw(st.sampled_from(("IPv4", "IPv4", "IPv6")))
    address = st.sampled_from(ADDRESSES if family == "IPv4" else IPV6).map(lambda ip: [ip])
    hints = st.fixed_dictionaries(
        {}, optional={"forZones": st.just([{"name": "gone"}]), "forNodes": st.just([{"name": "n9"}])}
    )
    optional: dict[str, st.SearchStrategy[Any]] = {
        "nodeName": st.sampled_from(NODES[:3]),
        "targetRef": TARGETS,
        "hints": hints,
        "conditions": st.sampled_from(
            ({"ready": False}, {"ready": False, "serving": True, "terminating": True})
        ),
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-{draw(st.uuids())}",
            "labels": {"kubernetes.io/service-name": draw(st.sampled_from((service, "none")))},
        },
        "addressType": family,
        "ports": [{"name": "web", "port": draw(st.sampled_from((80, 30080))), "protocol": "TCP"}],
        "endpoints": draw(_some(st.fixed_dictionaries({"addresses": address}, optional=optional), 3)),
    }


@st.composite
def clusters(draw: st.DrawFn) -> list[Manifest]:
    services = [draw(_service(name)) for name in draw(st.sampled_from((["a"], ["b", "a"])))]
    return [
        draw(_node(1)),
        draw(_node(2)),
        draw(_pod(1)),
        draw(_pod(2)),
        *(manifest for service in services for manifest in service),
    ]


def every_plan(state: ClusterState) -> None:
    """Returns the plans of run, plan, all-pairs and diff before the first packet, and the rows of reports
    about the cluster.
    """
    for options in ({"differences": True}, {"pairs": True}):
        scenario = Scenario(state=state)
        flows, promise = plan_flows(scenario, **options)
        schedule = plan_schedule(scenario, flows, promise, pairs=options.get("pairs", False))
        assert schedule.expectations.keys() == {flow.name for flow in flows}
        assert not [flow.name for flow in flows if ":" in flow.to.ip]
    assert render_shell(schedule.moments[0].plan, title="any")
    assert describe_nodes(state)
    assert describe_services(state)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(manifests=clusters())
def test_no_dangling_reference_and_no_other_family_is_an_exception(
    mode: ProxyMode, manifests: list[Manifest]
) -> None:
    try:
        state = state_of(text="\n---\n".join(map(json.dumps, manifests)), proxy_mode=mode)
    except InputError as error:
        event(f"refused: {error.problems[0].what}")
    else:
        every_plan(state)
