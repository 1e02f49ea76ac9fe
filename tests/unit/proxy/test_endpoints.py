"""Tests the endpoints that a node may use: semantics of Services, sections 1 to 4, one case each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.objects.kinds import LoadBalancerIngress, Service, ServicePort
from emulator.plan.checked import UnsafeTextError
from emulator.proxy.endpoints import EndpointChoice, EndpointFacts, ServicePortFacts, choose, service_ports
from tests.objects import node, service, slice_of, state

HERE = node("here", zone="a")
NO_ZONE = node("here")
DRAINING: dict[str, Any] = {"ready": False, "serving": True, "terminating": True}


def ep(
    ip: str, where: str | None = None, zones: str = "", nodes: str = "", **conditions: bool
) -> dict[str, Any]:
    """Returns an endpoint 10.0.0.``ip`` on node ``where``; hints as blank-separated names."""
    hints = {
        **({"forZones": [{"name": z} for z in zones.split()]} if zones else {}),
        **({"forNodes": [{"name": n} for n in nodes.split()]} if nodes else {}),
    }
    return {
        "ip": f"10.0.0.{ip}",
        "nodeName": where,
        "conditions": conditions,
        **({"hints": hints} if hints else {}),
    }


def port_of(svc: Service, *endpoints: dict[str, Any]) -> ServicePortFacts:
    (port,) = service_ports(state(nodes=[HERE], services=[svc], slices=[slice_of(svc, *endpoints)]))
    return port


def short(endpoints: tuple[EndpointFacts, ...]) -> str:
    """Returns the last octets."""
    return " ".join(e.ip.rpartition(".")[2] for e in endpoints)


def lists(choice: EndpointChoice) -> tuple[str, str, bool]:
    return short(choice.cluster), short(choice.local), choice.hasAny


BOTH = service(
    type="NodePort", externalTrafficPolicy="Local", ports=[ServicePort(name="http", port=80, nodePort=30080)]
)
READY_AND_DRAINING = [ep("1", "here", **DRAINING), ep("2", "there")]


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        pytest.param([], ("", "", False), id="none"),
        pytest.param([ep("2", "there"), ep("1", "here")], ("1 2", "1", True), id="ready"),
        pytest.param([ep("1", "here", ready=True)], ("1", "1", True), id="ready said"),
        pytest.param([ep("1", "here", ready=False)], ("", "", False), id="not ready"),
        pytest.param(
            [ep("1", "here", ready=False, serving=True)], ("", "", False), id="serving alone is not enough"
        ),
        pytest.param([ep("1", "here", **DRAINING)], ("1", "1", True), id="only a draining one"),
        pytest.param(
            [ep("1", "here", ready=False, terminating=True)],
            ("", "", False),
            id="terminating, serving unset: as ready",
        ),
        pytest.param(
            [ep("1", "here", **DRAINING), ep("2", "here")],
            ("2", "2", True),
            id="ready and draining are never mixed",
        ),
        pytest.param(READY_AND_DRAINING, ("2", "1", True), id="each list falls back by itself"),
        pytest.param([ep("1", None)], ("1", "", True), id="without nodeName it is remote"),
        pytest.param([ep("1", "there", **DRAINING)], ("1", "", True), id="draining elsewhere"),
    ],
)
def test_lists(endpoints: list[dict[str, Any]], expected: tuple[str, str, bool]) -> None:
    assert lists(choose(port_of(BOTH, *endpoints), HERE)) == expected


@pytest.mark.parametrize(
    ("endpoints", "on", "cluster"),
    [
        pytest.param([ep("1", zones="a"), ep("2", zones="b")], HERE, "1", id="zone"),
        pytest.param([ep("1", zones="a b"), ep("2", zones="b")], HERE, "1", id="one of several zones"),
        pytest.param([ep("1", zones="a"), ep("2", zones="b")], NO_ZONE, "1 2", id="node without a zone"),
        pytest.param(
            [ep("1", zones="a"), ep("2", zones="b")],
            node("here", zone=""),
            "1 2",
            id="node with an empty zone",
        ),
        pytest.param([ep("1", zones="a"), ep("2")], HERE, "1 2", id="one ready endpoint without a hint"),
        pytest.param(
            [ep("1", zones="a"), ep("2", ready=False), ep("3", zones="b")],
            HERE,
            "1",
            id="hints of unready ones do not matter",
        ),
        pytest.param([ep("1", zones="b"), ep("2", zones="c")], HERE, "1 2", id="no endpoint for this zone"),
        pytest.param(
            [ep("1", zones="b", **DRAINING), ep("2", zones="a", **DRAINING)],
            HERE,
            "1 2",
            id="never among draining ones",
        ),
        pytest.param(
            [ep("1", zones="a", nodes="there"), ep("2", zones="b", nodes="here")],
            HERE,
            "2",
            id="node before zone",
        ),
        pytest.param(
            [ep("1", zones="a", nodes="there"), ep("2", zones="b", nodes="else")],
            HERE,
            "1",
            id="no endpoint for this node",
        ),
        pytest.param(
            [ep("1", zones="a", nodes="here"), ep("2", zones="a")], HERE, "1 2", id="a node hint is missing"
        ),
        pytest.param(
            [ep("1", nodes="here"), ep("2", nodes="there")], NO_ZONE, "1", id="node hints need no zone"
        ),
    ],
)
def test_hints(endpoints: list[dict[str, Any]], on: Any, cluster: str) -> None:
    assert short(choose(port_of(service(), *endpoints), on).cluster) == cluster


def test_hints_never_narrow_the_local_list() -> None:
    port = port_of(BOTH, ep("1", "here", zones="b"), ep("2", "there", zones="a"))
    choice = choose(port, HERE)
    assert lists(choice) == ("2", "1", True)
    assert short(choice.reachable) == "1 2"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, ("1 2", "", True), id="Cluster asks for no local list"),
        pytest.param(
            {"internalTrafficPolicy": "Local"}, ("", "1", True), id="iTP Local asks for no cluster list"
        ),
        pytest.param(
            {"externalTrafficPolicy": "Local"}, ("1 2", "", True), id="eTP Local without an external address"
        ),
        pytest.param(
            {"externalTrafficPolicy": "Local", "externalIPs": ("192.0.2.1",)},
            ("1 2", "1", True),
            id="eTP Local with an external IP",
        ),
        pytest.param(
            {"internalTrafficPolicy": "Local", "externalIPs": ("192.0.2.1",)},
            ("1 2", "1", True),
            id="iTP Local, eTP Cluster",
        ),
    ],
)
def test_lists_that_policies_ask_for(spec: dict[str, Any], expected: tuple[str, str, bool]) -> None:
    assert lists(choose(port_of(service(**spec), ep("1", "here"), ep("2", "there")), HERE)) == expected


@pytest.mark.parametrize(
    ("endpoints", "local", "cluster"),
    [
        pytest.param([ep("1"), ep("1", "here")], "1", "1", id="local by the later entry"),
        pytest.param([ep("1", "here"), ep("1")], "1", "1", id="local by the earlier entry"),
        pytest.param([ep("1", "there"), ep("1", "here")], "1", "1", id="local to either"),
        pytest.param([ep("1", "there"), ep("1", "elsewhere")], "", "1", id="local to others"),
        pytest.param(
            [ep("1", "there"), ep("1", "here", ready=False)],
            "",
            "",
            id="the local entry counts, ready or not",
        ),
    ],
)
def test_an_address_that_several_entries_have(
    endpoints: list[dict[str, Any]], local: str, cluster: str
) -> None:
    found = choose(port_of(BOTH, *endpoints), HERE)
    assert (short(found.local), short(found.cluster)) == (local, cluster)


def test_has_any_counts_what_is_elsewhere() -> None:
    assert lists(choose(port_of(service(internalTrafficPolicy="Local"), ep("1", "there")), HERE)) == (
        "",
        "",
        True,
    )


@pytest.mark.parametrize(
    ("port", "slice_port", "matched"),
    [
        pytest.param(
            ServicePort(name="http", port=80), {"name": "http", "port": 8080}, "10.0.0.1:8080", id="by name"
        ),
        pytest.param(
            ServicePort(port=80), {"name": "", "port": 8443}, "10.0.0.1:8443", id="unset equals empty"
        ),
        pytest.param(ServicePort(port=80), {"name": None, "port": 8443}, "10.0.0.1:8443", id="unset"),
        pytest.param(
            ServicePort(name="http", port=80, targetPort=1),
            {"name": "http", "port": 2},
            "10.0.0.1:2",
            id="the slice's number",
        ),
        pytest.param(ServicePort(name="http", port=80), {"name": "web", "port": 80}, "", id="other name"),
        pytest.param(ServicePort(port=80, protocol="UDP"), {"port": 80}, "", id="other protocol"),
        pytest.param(ServicePort(port=80), {"port": None}, "", id="no number"),
    ],
)
def test_ports_are_matched_by_name_and_protocol(
    port: ServicePort, slice_port: dict[str, Any], matched: str
) -> None:
    svc = service(ports=[port])
    (facts,) = service_ports(
        state(nodes=[HERE], services=[svc], slices=[slice_of(svc, ep("1"), ports=[slice_port])])
    )
    assert " ".join(e.address for e in facts.endpoints) == matched


def test_slices_add_up_without_doubles() -> None:
    svc = service()
    slices = [slice_of(svc, ep("10"), ep("2"), name="one"), slice_of(svc, ep("2"), ep("1"), name="two")]
    (port,) = service_ports(state(nodes=[HERE], services=[svc], slices=slices))
    # as strings sort
    assert [e.address for e in port.endpoints] == ["10.0.0.10:8080", "10.0.0.1:8080", "10.0.0.2:8080"]


@pytest.mark.parametrize(
    "svc",
    [
        pytest.param(service(clusterIP="None"), id="headless"),
        pytest.param(
            service(type="ExternalName", clusterIP="", externalName="example.org"), id="ExternalName"
        ),
        pytest.param(service(clusterIP="fd00::10"), id="IPv6 only"),
    ],
)
def test_not_proxied(svc: Service) -> None:
    assert service_ports(state(nodes=[HERE], services=[svc])) == ()


def test_only_addresses_of_the_family_count() -> None:
    svc = service(
        externalIPs=("192.0.2.1", "2001:db8::1"),
        vips=("2001:db8::2", "192.0.2.2"),
        loadBalancerSourceRanges=("::/0", " 10.0.0.1/8"),
    )
    port = port_of(svc)
    assert (port.externalIPs, port.loadBalancerVIPs, port.sourceRanges) == (
        ("192.0.2.1",),
        ("192.0.2.2",),
        ("10.0.0.0/8",),
    )


def test_a_load_balancer_that_proxies_has_no_vip() -> None:
    vips = (
        LoadBalancerIngress(ip="192.0.2.1", ipMode="Proxy"),
        LoadBalancerIngress(hostname="lb.example"),
        "192.0.2.2",
    )
    assert port_of(service(vips=vips)).loadBalancerVIPs == ("192.0.2.2",)


@pytest.mark.parametrize(
    ("spec", "number"),
    [
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, 30999),
        ({"type": "LoadBalancer"}, 0),
        ({"type": "NodePort", "externalTrafficPolicy": "Local"}, 0),
    ],
    ids=["load balancer, Local", "load balancer, Cluster", "node port, Local"],
)
def test_health_checks_are_for_local_load_balancers(spec: dict[str, Any], number: int) -> None:
    assert port_of(service(healthCheckNodePort=30999, **spec)).healthCheckNodePort == number


@pytest.mark.parametrize(
    ("affinity", "seconds"),
    [({"sessionAffinity": "ClientIP"}, 10800), ({"sessionAffinity": "None"}, 0)],
    ids=["ClientIP", "None"],
)
def test_affinity(affinity: dict[str, Any], seconds: int) -> None:
    assert port_of(service(**affinity)).affinitySeconds == seconds


@pytest.mark.parametrize(
    "svc",
    [
        service(clusterIP="10.96.0.10 -j ACCEPT"),
        service(externalIPs=("1.2.3.4\n-F",)),
        service(vips=("-s",)),
        service(loadBalancerSourceRanges=("0.0.0.0/0 -j ACCEPT",)),
        service(ports=[ServicePort(port="80 -j ACCEPT")]),  # type: ignore[arg-type]  # what no loader lets through
        service(ports=[ServicePort(port=80, protocol="tcp -j ACCEPT")]),  # type: ignore[arg-type]
        service(ports=[ServicePort(port=80, nodePort="30080 -j")]),  # type: ignore[arg-type]
    ],
    ids=["clusterIP", "externalIP", "vip", "range", "port", "protocol", "nodePort"],
)
def test_hostile_values_are_refused(svc: Service) -> None:
    with pytest.raises(UnsafeTextError):
        service_ports(state(nodes=[HERE], services=[svc]))


def test_hostile_endpoints_are_refused() -> None:
    svc = service()
    with pytest.raises(UnsafeTextError):
        service_ports(
            state(nodes=[HERE], services=[svc], slices=[slice_of(svc, {"ip": "1.1.1.1:1 --random"})])
        )


ENDPOINTS = st.lists(
    st.builds(
        lambda ip, where, zones, ready, serving, terminating: ep(
            str(ip), where, zones, ready=ready, serving=serving, terminating=terminating
        ),
        st.integers(1, 9),
        st.sampled_from(["here", "there", None]),
        st.sampled_from(["", "a", "b", "a b"]),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    max_size=6,
)


@given(ENDPOINTS, st.sampled_from([HERE, NO_ZONE]))
def test_what_always_holds(endpoints: list[dict[str, Any]], on: Any) -> None:
    port = port_of(BOTH, *endpoints)
    choice = choose(port, on)
    for chosen in (choice.cluster, choice.local):
        assert set(chosen) <= set(port.seen_from(on.name))
        assert len({e.ready for e in chosen}) <= 1
        assert all(e.ready or e.draining for e in chosen)
    assert all(e.node == on.name for e in choice.local)
    assert bool(choice.cluster) == choice.hasAny
    assert choice.reachable == tuple(sorted({*choice.cluster, *choice.local}, key=lambda e: e.address))
