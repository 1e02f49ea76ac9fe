"""Tests EndpointSlices: made from selectors, mirrored, or kept as given."""

from __future__ import annotations

import pytest

from emulator.objects.kinds import Endpoint, EndpointSlice
from emulator.objects.warnings import Code
from tests.told import told, warned
from tests.unit.controllers.clusters import (
    cluster,
    flow_check,
    node,
    pod,
    service,
    settled,
    workload,
)

ONE = cluster("{role: control-plane}, {role: worker, labels: {topology.kubernetes.io/zone: a}}")
READY, UNREADY = (f"conditions: [{{type: Ready, status: '{s}'}}]" for s in ("True", "False"))


def slices_of(*manifests: str, name: str = "web") -> tuple[EndpointSlice, ...]:
    return settled(*manifests).slices_of.get(f"default/{name}", ())


def only_endpoint(*manifests: str) -> Endpoint:
    ((endpoint,),) = (s.endpoints for s in slices_of(*manifests))
    return endpoint


def test_a_selector_becomes_a_slice() -> None:
    web = service(
        "web",
        "selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}, {name: dns, port: "
        "53, protocol: UDP}]",
    )
    ready = pod("w", "app: web, tier: front", "{containerPort: 8080, name: http}")
    (made,) = slices_of(ONE, web, ready, pod("other", "app: other"))
    assert made.metadata.labels["kubernetes.io/service-name"] == "web"
    assert made.metadata.name.startswith("web-")
    assert [(p.name, p.protocol, p.port) for p in made.ports] == [("http", "TCP", 8080), ("dns", "UDP", 53)]
    (endpoint,) = made.endpoints
    assert (endpoint.addresses, endpoint.nodeName, endpoint.zone) == (("10.244.1.2",), "worker-1", "a")
    assert endpoint.targetRef is not None
    assert (endpoint.targetRef.kind, endpoint.targetRef.name) == ("Pod", "w")


SELECT = "selector: {app: web}, ports: [{port: 80}]"


@pytest.mark.parametrize(
    ("spec", "meta", "status", "conditions"),
    [
        pytest.param("", "", "", (True, True, False), id="no condition"),
        pytest.param("", "", READY, (True, True, False), id="ready"),
        pytest.param("", "", UNREADY, (False, False, False), id="not ready"),
        pytest.param(
            "",
            "deletionTimestamp: '2026-01-01T00:00:00Z'",
            READY,
            (False, True, True),
            id="terminating, serving",
        ),
        pytest.param(
            "", "deletionTimestamp: '2026-01-01T00:00:00Z'", UNREADY, (False, False, True), id="terminating"
        ),
        pytest.param(
            "publishNotReadyAddresses: true, ", "", UNREADY, (True, False, False), id="published all the same"
        ),
    ],
)
def test_conditions(spec: str, meta: str, status: str, conditions: tuple[bool, bool, bool]) -> None:
    found = only_endpoint(
        ONE, service("web", spec + SELECT), pod("w", "app: web", status=status, meta=meta)
    ).conditions
    assert (found.ready, found.serving, found.terminating) == conditions


@pytest.mark.parametrize(
    ("distribution", "status", "node", "hints"),
    [
        pytest.param("PreferClose", "", "worker-1", (["a"], []), id="PreferClose: the endpoint's own zone"),
        pytest.param("PreferSameZone", "", "worker-1", (["a"], []), id="PreferSameZone is its new name"),
        pytest.param(
            "PreferSameNode", "", "worker-1", (["a"], ["worker-1"]), id="PreferSameNode: its own node too"
        ),
        pytest.param(
            "PreferSameNode", "", "worker-2", ([], ["worker-2"]), id="PreferSameNode without a zone"
        ),
        pytest.param("PreferClose", "", "worker-2", None, id="PreferClose without a zone"),
        pytest.param("PreferClose", UNREADY, "worker-1", None, id="not ready"),
        pytest.param("", "", "worker-1", None, id="not asked for"),
    ],
)
def test_traffic_distribution_makes_hints(
    distribution: str, status: str, node: str, hints: tuple[list[str], list[str]] | None
) -> None:
    shape = cluster("{role: worker, labels: {topology.kubernetes.io/zone: a}}, {role: worker}")
    web = service("web", f"{SELECT}, trafficDistribution: {distribution or 'null'}")
    found = only_endpoint(shape, web, pod("w", "app: web", spec=f"nodeName: {node}", status=status)).hints
    assert (found and ([z.name for z in found.forZones], [n.name for n in found.forNodes])) == hints


def test_a_named_port_is_each_pods_own() -> None:
    """Puts Pods that resolve a name to different numbers into different slices, and leaves out a Pod without
    the name.
    """
    pods = [
        pod(n, "app: web", f"{{containerPort: {p}, name: http}}")
        for n, p in (("a", 8080), ("b", 8081), ("c", 8080))
    ]
    unnamed = pod("d", "app: web", "{containerPort: 8080}")
    web = service("web", "selector: {app: web}, ports: [{port: 80, targetPort: http}]")
    made = slices_of(ONE, web, *pods, unnamed)
    assert [(s.ports[0].port, [e.targetRef.name for e in s.endpoints if e.targetRef]) for s in made] == [
        (8080, ["a", "c"]),
        (8081, ["b"]),
    ]


@pytest.mark.parametrize(
    "others",
    [
        pytest.param((), id="no Pod"),
        pytest.param((pod("a", "app: wbe"),), id="other labels"),
        pytest.param((pod("a", "app: web", meta="namespace: shop"),), id="another namespace"),
        pytest.param((pod("a", "app: web", spec="nodeSelector: {disk: ssd}"),), id="a Pod that waits"),
    ],
)
def test_a_selector_that_finds_no_pod_is_named(others: tuple[str, ...]) -> None:
    """Takes a public application whose Services and Pods were in two namespaces, without a word about it."""
    state = settled(ONE, service("web", "selector: {app: web}, ports: [{port: 80}]"), *others)
    assert "default/web" not in state.slices_of
    (one,) = warned(state, Code.SELECTS_NO_POD)
    place, text = one.split(": ", 1)
    assert place.startswith("stdin:")
    assert text.startswith(
        "Service default/web has no endpoints: no running Pod of its namespace has the labels app=web"
    )


@pytest.mark.parametrize("spec", [f"{SELECT}", "ports: [{port: 80}]"])
def test_a_service_with_a_pod_or_without_a_selector_is_not_named(spec: str) -> None:
    state = settled(ONE, service("web", spec), pod("w", "app: web"))
    assert not any("has no endpoints" in notice for notice in told(state))


def test_a_service_without_pods_is_not_named_where_a_flow_check_says_what_is_expected() -> None:
    check = flow_check(
        "{name: f, from: {node: worker-1}, to: {service: web, port: 80}, expect: {outcome: rejected}}"
    )
    state = settled(ONE, service("web", SELECT), check)
    assert not any("has no endpoints" in notice for notice in told(state))


def test_a_name_counts_for_its_protocol_only() -> None:
    """Accepts it as the API server does: the port has no endpoints, and a notice says why."""
    web = service("web", "selector: {app: web}, ports: [{port: 80, protocol: UDP, targetPort: x}]")
    state = settled(ONE, web, pod("a", "app: web", "{containerPort: 1, name: x}"))
    assert "default/web" not in state.slices_of
    assert any(
        "Service default/web: targetPort x is the name of no UDP port of its Pods" in text
        for text in told(state)
    )


def test_an_unknown_port_name_comes_with_a_hint() -> None:
    web = service("web", "selector: {app: web}, ports: [{port: 80, targetPort: htpp}]")
    notices = told(settled(ONE, web, pod("a", "app: web", "{containerPort: 1, name: http}")))
    assert any("targetPort htpp" in text and "(did you mean http?)" in text for text in notices)


def test_an_unknown_port_name_without_any_pod_is_no_problem() -> None:
    assert slices_of(ONE, service("web", "selector: {app: web}, ports: [{port: 80, targetPort: http}]")) == ()


def test_at_most_100_endpoints_a_slice() -> None:
    made = slices_of(service("web", SELECT), workload("Deployment", "web", 230))
    assert sorted(len(s.endpoints) for s in made) == [30, 100, 100]
    assert len({s.metadata.name for s in made}) == 3


def test_headless_services_have_slices_and_stateful_pods_hostnames() -> None:
    headless = service("web", f"clusterIP: None, {SELECT}")
    (made,) = slices_of(headless, workload("StatefulSet", "web", 2, spec="serviceName: web,"))
    assert [e.hostname for e in made.endpoints] == ["web-0", "web-1"]
    assert made.metadata.labels["service.kubernetes.io/headless"] == ""


def test_pods_of_other_namespaces_do_not_match() -> None:
    assert slices_of(ONE, service("web", SELECT), pod("w", "app: web", meta="namespace: other")) == ()


SLICE = """{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: %s, \
labels: {kubernetes.io/service-name: web}},
addressType: %s, ports: [{port: 9}], endpoints: [{addresses: ['%s']}]}"""


def managed(manager: str, name: str = "s", address: str = "198.51.100.9") -> str:
    label = f"endpointslice.kubernetes.io/managed-by: {manager}"
    return (SLICE % (name, "IPv4", address)).replace("labels: {", f"labels: {{{label}, ")


def test_the_controllers_own_slices_of_a_dump_are_not_made_again() -> None:
    own = managed("endpointslice-controller.k8s.io", "web-abc", "198.51.100.1")
    (kept,) = slices_of(ONE, service("web", SELECT), pod("w", "app: web"), own)
    assert (kept.metadata.name, kept.ports[0].port) == ("web-abc", 9)


@pytest.mark.parametrize(
    "other",
    [SLICE % ("s", "IPv4", "198.51.100.9"), managed("mesh.example.com")],
    ids=["nobody's", "a mesh's"],
)
def test_the_controller_makes_its_own_slice_beside_others(other: str) -> None:
    """Checks aws-cloud-map-mcs-controller-for-k8s#110: the controller lists the slices that carry its own
    label alone.
    """
    given, made = slices_of(ONE, service("web", SELECT), pod("w", "app: web"), other)
    assert given.endpoints[0].addresses == ("198.51.100.9",)
    assert [e.targetRef.name for e in made.endpoints if e.targetRef] == ["w"]


SKIPPED = [
    pytest.param("labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}", False, id="skip-mirror"),
    pytest.param(
        "labels: {endpointslice.kubernetes.io/skip-mirror: 'false'}", True, id="skip-mirror says false"
    ),
    pytest.param(
        "annotations: {control-plane.alpha.kubernetes.io/leader: '{}'}", False, id="a leader election"
    ),
    pytest.param("labels: {app: x}", True, id="other labels"),
]


@pytest.mark.parametrize(("meta", "yes"), SKIPPED)
def test_endpoints_that_nobody_mirrors(meta: str, yes: bool) -> None:
    endpoints = ENDPOINTS.replace("{name: web}", f"{{name: web, {meta}}}")
    state = settled(ONE, service("web", "ports: [{name: http, port: 80}]"), endpoints)
    assert ("default/web" in state.slices_of) is yes
    assert any("are not mirrored" in notice for notice in told(state)) is not yes


def test_the_endpoints_of_kubernetes_count_though_they_skip_the_mirror() -> None:
    """Labels them as the API server does, which keeps a slice of its own."""
    meta = "{name: kubernetes, labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}}"
    (made,) = slices_of(ONE, ENDPOINTS.replace("{name: web}", meta), name="kubernetes")
    assert [e.addresses for e in made.endpoints] == [("198.51.100.1",), ("198.51.100.2",)]


def test_services_and_slices_of_another_proxy() -> None:
    label = "service.kubernetes.io/service-proxy-name: other"
    labelled = service("web", "type: NodePort, ports: [{port: 80, nodePort: 30777}]").replace(
        "name: web", f"name: web, labels: {{{label}}}"
    )
    state = settled(ONE, labelled)
    web = state.service["default/web"]
    assert (web.addressed, web.proxied, web.spec.ports[0].nodePort) == (True, False, 30777)
    assert any(
        "left to another proxy by its label service.kubernetes.io/service-proxy-name" in notice
        for notice in told(state)
    )
    slice_alone = (SLICE % ("s", "IPv4", "198.51.100.9")).replace("labels: {", f"labels: {{{label}, ")
    state = settled(ONE, service("web", "ports: [{port: 80}]"), slice_alone)
    assert "default/web" not in state.slices_of


def test_topology_mode_auto_gives_no_hints_and_says_so() -> None:
    spread = service("web", SELECT + ", trafficDistribution: PreferClose")
    spread = spread.replace(
        "name: web", "name: web, annotations: {service.kubernetes.io/topology-mode: Auto}"
    )
    state = settled(ONE, spread, pod("w", "app: web"))
    assert [e.hints for e in state.slices_of["default/web"][0].endpoints] == [None]
    assert any("Service default/web has no topology hints" in notice for notice in told(state))


def test_a_slice_without_its_service_stays() -> None:
    assert len(slices_of(ONE, SLICE % ("web-abc", "IPv4", "198.51.100.1"))) == 1


@pytest.mark.parametrize(
    ("kind", "address", "notice"), [("IPv6", "fd00::1", "IPv6"), ("FQDN", "example.com", "FQDN")]
)
def test_slices_of_another_address_type_are_left_out(kind: str, address: str, notice: str) -> None:
    state = settled(ONE, service("web", "ports: [{port: 80}]"), SLICE % ("s", kind, address))
    assert "default/web" not in state.slices_of
    assert any(notice in text for text in told(state))


ENDPOINTS = """{apiVersion: v1, kind: Endpoints, metadata: {name: web}, \
subsets: [{addresses: [{ip: 198.51.100.1, nodeName: worker-1}],
notReadyAddresses: [{ip: 198.51.100.2}], ports: [{name: http, port: 8080}]}]}"""


def test_endpoints_are_mirrored() -> None:
    (made,) = slices_of(ONE, service("web", "ports: [{name: http, port: 80}]"), ENDPOINTS)
    assert [(e.addresses, e.ready, e.nodeName) for e in made.endpoints] == [
        (("198.51.100.1",), True, "worker-1"),
        (("198.51.100.2",), False, None),
    ]
    assert (made.ports[0].name, made.ports[0].port) == ("http", 8080)


@pytest.mark.parametrize(
    "rival",
    [service("web", SELECT), managed("endpointslicemirroring-controller.k8s.io")],
    ids=["a selector", "the mirroring controller's slice"],
)
def test_endpoints_are_not_mirrored_beside(rival: str) -> None:
    own = service("web", "ports: [{port: 80}]") if "EndpointSlice" in rival else ""
    made = slices_of(ONE, *filter(None, [own, rival, ENDPOINTS]))
    assert not any("198.51.100.1" in e.addresses for s in made for e in s.endpoints)


def test_kubernetes_leads_to_every_control_plane() -> None:
    (made,) = slices_of(
        cluster("{role: control-plane}, {role: control-plane}, {role: worker}"), name="kubernetes"
    )
    assert [e.addresses for e in made.endpoints] == [("172.18.0.2",), ("172.18.0.3",)]
    assert [(p.name, p.port) for p in made.ports] == [("https", 6443)]


def test_the_control_plane_of_an_old_release_has_another_label() -> None:
    (made,) = slices_of(node("n", labels="node-role.kubernetes.io/master: ''"), name="kubernetes")
    assert len(made.endpoints) == 1


def test_kubernetes_leads_to_the_port_that_its_service_has() -> None:
    own = service("kubernetes", "ports: [{name: https, port: 443, targetPort: 8443}]")
    state = settled(ONE, own)
    ((made,),) = (state.slices_of["default/kubernetes"],)
    assert [(p.name, p.port) for p in made.ports] == [("https", 8443)]
    assert [(li.netns, li.port) for li in state.listeners] == [("control-plane", 8443)]


def test_without_a_control_plane_kubernetes_has_no_endpoint_and_a_notice() -> None:
    state = settled(node("n"))
    assert [s.endpoints for s in state.slices_of["default/kubernetes"]] == [()]
    assert any("no node is a control plane" in notice for notice in told(state))
