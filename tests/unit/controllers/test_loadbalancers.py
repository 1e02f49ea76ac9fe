"""Tests the addresses of LoadBalancer Services, the nodes that announce them, and the nodes that a balancer
in the path asks.
"""

from __future__ import annotations

from hashlib import sha256

import pytest

from emulator.cluster.state import ClusterState
from emulator.errors import InputError
from emulator.objects.kinds import LoadBalancerIngress
from tests.told import told
from tests.unit.controllers.clusters import (
    cluster,
    node,
    pod,
    problem_of,
    service,
    settled,
)

PORT = "ports: [{port: 80}]"
WORKERS = ("worker-1", "worker-2", "worker-3")
NODES = "{role: control-plane}, {role: worker}, {role: worker}, {role: worker}"


def balancer(name: str, spec: str = "", status: str = "", meta: str = "") -> str:
    text = service(name, f"type: LoadBalancer, {spec} selector: {{app: web}}, {PORT}", status)
    return text.replace("metadata: {", f"metadata: {{{meta}, ", 1) if meta else text


def pool(*addresses: str, mode: str = "L2", nodes: str = NODES, **networking: str) -> str:
    shape = cluster(nodes, **networking)
    return f"{shape[:-1]}, loadBalancer: {{addresses: [{', '.join(addresses)}], mode: {mode}}}}}"


def web(number: int, on: str, status: str = "") -> str:
    return pod(f"web-{number}", "app: web", "{containerPort: 80}", f"nodeName: {on}", status)


def addresses(state: ClusterState) -> dict[str, str]:
    return {
        s.name: ",".join(i.ip for i in s.status.loadBalancer.ingress)
        for s in state.services
        if s.spec.type == "LoadBalancer"
    }


# --- addresses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subnet", "first"),
    [
        ("172.18.0.0/16", "172.18.255.200"),
        ("192.168.7.0/24", "192.168.7.200"),
        ("192.168.7.0/26", "192.168.7.46"),
    ],
)
def test_without_a_word_a_service_gets_an_address_near_the_end_of_the_host_network(
    subnet: str, first: str
) -> None:
    assert addresses(settled(cluster(NODES, hostSubnet=subnet), balancer("a"))) == {"a": first}


def test_addresses_are_given_in_order_of_appearance_and_nobodys_twice() -> None:
    taken = service("b", f"{PORT}, externalIPs: [172.18.0.201]")
    given = balancer("c", status="loadBalancer: {ingress: [{ip: 172.18.0.202}]}")
    state = settled(
        pool("172.18.0.200/30", "172.18.0.210-172.18.0.211"),
        balancer("a"),
        taken,
        given,
        balancer("d"),
        balancer("e"),
    )
    assert addresses(state) == {
        "a": "172.18.0.200",
        "c": "172.18.0.202",
        "d": "172.18.0.203",
        "e": "172.18.0.210",
    }


def test_nodes_and_the_router_keep_out_of_the_pools_way_and_it_out_of_theirs() -> None:
    state = settled(pool("172.18.0.0-172.18.0.5"), balancer("a"), balancer("b"))
    assert state.routerIP == "172.18.0.1"
    assert [n.internalIPs[0] for n in state.nodes] == [f"172.18.0.{n}" for n in (6, 7, 8, 9)]
    assert addresses(state) == {"a": "172.18.0.2", "b": "172.18.0.3"}


@pytest.mark.parametrize(
    ("spec", "meta"),
    [
        ("loadBalancerIP: 172.18.255.222,", ""),
        ("", 'annotations: {metallb.io/loadBalancerIPs: "fd00::1, 172.18.255.222"}'),
        ("", "annotations: {metallb.universe.tf/loadBalancerIPs: 172.18.255.222}"),
    ],
    ids=["spec.loadBalancerIP", "MetalLB's annotation", "its name of old"],
)
def test_an_address_that_is_asked_for_comes_first(spec: str, meta: str) -> None:
    assert addresses(settled(balancer("a"), balancer("b", spec, meta=meta))) == {
        "a": "172.18.255.200",
        "b": "172.18.255.222",
    }


@pytest.mark.parametrize(
    ("manifests", "notice"),
    [
        (
            (balancer("a", "loadBalancerIP: 35.1.2.3,"),),
            "it asks for 35.1.2.3, which is not in the pool 172.18.255.200-172.18.255.250",
        ),
        (
            (balancer("a", "loadBalancerIP: 172.18.255.9,"),),
            "it asks for 172.18.255.9, which is not in the pool 172.18.255.200-172.18.255.250",
        ),
        (
            (balancer("a", meta="annotations: {metallb.io/loadBalancerIPs: any}"),),
            "it asks for any, which is no address",
        ),
        (
            (pool("172.18.0.9/32"), balancer("z"), balancer("a")),
            "the pool 172.18.0.9-172.18.0.9 has none left",
        ),
        (
            (
                service("b", f"{PORT}, externalIPs: [172.18.255.201]"),
                balancer("a", "loadBalancerIP: 172.18.255.201,"),
            ),
            "it asks for 172.18.255.201, which is taken",
        ),
        (
            (
                balancer("z", "loadBalancerIP: 172.18.255.201,"),
                balancer("a", "loadBalancerIP: 172.18.255.201,", meta="uid: 3c2d3a2e"),
                pool(),
            ),
            "it asks for 172.18.255.201, which Service default/z has, and the two do not share it",
        ),
        (
            (
                balancer(
                    "a",
                    "loadBalancerIP: 172.18.255.201,",
                    meta="annotations: {metallb.io/loadBalancerIPs: 172.18.255.201}",
                ),
            ),
            (
                "it asks for 172.18.255.201, which is not its only request: MetalLB wants "
                "loadBalancerIPs or spec.loadBalancerIP alone"
            ),
        ),
    ],
    ids=[
        "a cloud's",
        "outside",
        "no address",
        "none left",
        "taken",
        "taken in a live cluster",
        "asked for twice",
    ],
)
def test_what_cannot_be_had_leaves_the_service_without_and_says_why(
    manifests: tuple[str, ...], notice: str
) -> None:
    state = settled(*manifests)
    assert addresses(state)["a"] == ""
    assert f"Service default/a has no load-balancer address: {notice}" in told(state)


def test_two_services_that_ask_for_one_address_and_do_not_share_it_contradict_each_other() -> None:
    problem = problem_of(
        balancer("a", "loadBalancerIP: 172.18.255.201,"), balancer("b", "loadBalancerIP: 172.18.255.201,")
    )
    assert (problem.document, problem.path, problem.line) == (2, "spec.loadBalancerIP", 3)
    assert problem.what == "172.18.255.201 is what Service default/a has, and the two do not share it"
    assert "metallb.io/allow-shared-ip" in problem.hint


# --- several Services at one address ----------------------------------------------------------------------


def sharing(
    name: str, port: str, key: str = "a key", spec: str = "", app: str = "web", old: bool = False
) -> str:
    prefix = "metallb.universe.tf" if old else "metallb.io"
    text = service(name, f"type: LoadBalancer, {spec} selector: {{app: {app}}}, ports: [{{{port}}}]")
    return text.replace("metadata: {", f"metadata: {{annotations: {{{prefix}/allow-shared-ip: {key}}}, ", 1)


LOCAL = "externalTrafficPolicy: Local,"


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        pytest.param(sharing("a", "port: 80"), sharing("b", "port: 81"), True, id="ports of their own"),
        pytest.param(
            sharing("a", "port: 53"),
            sharing("b", "port: 53, protocol: UDP", old=True),
            True,
            id="protocols of their own",
        ),
        pytest.param(sharing("a", "port: 80"), sharing("b", "port: 80"), False, id="one port"),
        pytest.param(
            sharing("a", "port: 80"), sharing("b", "port: 81", key="another"), False, id="another key"
        ),
        pytest.param(sharing("a", "port: 80"), balancer("b"), False, id="no key"),
        pytest.param(
            sharing("a", "port: 80", spec=LOCAL),
            sharing("b", "port: 81", spec=LOCAL),
            True,
            id="Local, one selector",
        ),
        pytest.param(
            sharing("a", "port: 80", spec=LOCAL),
            sharing("b", "port: 81", spec=LOCAL, app="b"),
            False,
            id="Local, two selectors",
        ),
        pytest.param(
            sharing("a", "port: 80", app="a"),
            sharing("b", "port: 81", app="b"),
            True,
            id="Cluster, two selectors",
        ),
        pytest.param(
            sharing("a", "port: 80", spec=LOCAL), sharing("b", "port: 81"), False, id="Local and Cluster"
        ),
    ],
)
def test_services_with_one_key_share_an_address_where_they_can(one: str, other: str, shared: bool) -> None:
    second = "172.18.255.200" if shared else "172.18.255.201"
    assert addresses(settled(one, other)) == {"a": "172.18.255.200", "b": second}


def test_who_asks_for_an_address_by_its_own_port_shares_it() -> None:
    asked = "loadBalancerIP: 172.18.255.222,"
    state = settled(
        sharing("a", "port: 80", spec=asked), sharing("b", "port: 81", spec=asked), pod("web-1", "app: web")
    )
    assert addresses(state) == {"a": "172.18.255.222", "b": "172.18.255.222"}
    assert list(state.speakers) == ["172.18.255.222"]


@pytest.mark.parametrize(
    ("manifests", "given"),
    [
        pytest.param(
            (balancer("z"), balancer("a")), {"z": "172.18.255.200", "a": "172.18.255.201"}, id="as they come"
        ),
        pytest.param(
            (balancer("z"), balancer("a", "loadBalancerIP: 172.18.255.200,")),
            {"a": "172.18.255.200", "z": "172.18.255.201"},
            id="who asks before who does not",
        ),
        pytest.param(
            (sharing("z", "port: 80"), sharing("b", "port: 80"), sharing("a", "port: 81")),
            {"z": "172.18.255.200", "b": "172.18.255.201", "a": "172.18.255.200"},
            id="one port of a shared address",
        ),
        pytest.param(
            (pool("172.18.0.9/32"), sharing("z", "port: 80"), sharing("a", "port: 80")),
            {"z": "172.18.0.9", "a": ""},
            id="one port of the only address",
        ),
    ],
)
def test_addresses_are_given_in_the_order_of_the_input(
    manifests: tuple[str, ...], given: dict[str, str]
) -> None:
    """Checks docs/semantics 14: the order of those that want an address."""
    assert addresses(settled(*manifests)) == given


# --- MetalLB's pools --------------------------------------------------------------------------------------


def address_pool(name: str, addresses: str, spec: str = "", labels: str = "") -> str:
    meta = f"{{name: {name}, namespace: metallb-system, labels: {{{labels}}}}}"
    return (
        f"{{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {meta}, spec: {{addresses: "
        f"[{addresses}], {spec}}}}}"
    )


def advertisement(spec: str = "", name: str = "all") -> str:
    return (
        f"{{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {{name: {name}}}, spec: "
        f"{{{spec}}}}}"
    )


FIRST, SECOND = (
    address_pool("first", "172.18.9.0/30"),
    address_pool("second", "172.18.8.1-172.18.8.9", labels="zone: b"),
)


def test_metallbs_pools_are_the_pools() -> None:
    state = settled(
        FIRST, SECOND, *(balancer(f"s{n}") for n in range(5)), balancer("z", meta="uid: 3c2d3a2e")
    )
    given = [f"172.18.9.{n}" for n in range(4)]
    assert list(addresses(state).values()) == [*given, "172.18.8.1", "172.18.8.2"]


@pytest.mark.parametrize("key", ["metallb.io/address-pool", "metallb.universe.tf/address-pool"])
def test_a_service_may_ask_for_a_pool(key: str) -> None:
    closed = address_pool("closed", "172.18.8.1-172.18.8.9", "autoAssign: false")
    state = settled(closed, FIRST, balancer("a"), balancer("b", meta=f"annotations: {{{key}: closed}}"))
    assert addresses(state) == {"a": "172.18.9.0", "b": "172.18.8.1"}


def test_buggy_addresses_are_avoided() -> None:
    state = settled(
        address_pool("p", "172.18.8.254-172.18.9.1", "avoidBuggyIPs: true"), *map(balancer, "abc")
    )
    assert addresses(state) == {"a": "172.18.8.254", "b": "172.18.9.1", "c": ""}


@pytest.mark.parametrize(
    ("allocation", "address"),
    [
        ("namespaces: [default]", "172.18.8.1"),
        ("namespaceSelectors: [{matchLabels: {kubernetes.io/metadata.name: default}}]", "172.18.8.1"),
        ("serviceSelectors: [{matchLabels: {tier: web}}]", "172.18.8.1"),
        ("namespaces: [other]", "172.18.9.0"),
        ("namespaces: [default], serviceSelectors: [{matchLabels: {tier: db}}]", "172.18.9.0"),
        ("priority: 5", "172.18.9.0"),
    ],
)
def test_a_pool_for_some_services_comes_first_for_them_alone(allocation: str, address: str) -> None:
    namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: default}}"
    pinned = address_pool("pinned", "172.18.8.1-172.18.8.9", f"serviceAllocation: {{{allocation}}}")
    assert addresses(settled(namespace, FIRST, pinned, balancer("a", meta="labels: {tier: web}"))) == {
        "a": address
    }


def test_among_pools_for_a_service_the_lowest_priority_number_comes_first() -> None:
    pools = [
        address_pool(
            f"p{n}", f"172.18.{n + 1}.1/32", f"serviceAllocation: {{namespaces: [default], priority: {n}}}"
        )
        for n in (0, 20, 10)
    ]
    assert list(addresses(settled(*pools, *map(balancer, "abc"))).values()) == [
        "172.18.11.1",
        "172.18.21.1",
        "172.18.1.1",
    ]


@pytest.mark.parametrize(
    ("manifests", "notice"),
    [
        (
            (FIRST, balancer("a", meta="annotations: {metallb.io/address-pool: gone}")),
            "it asks for IPAddressPool gone, which is not there",
        ),
        (
            (address_pool("p", "172.18.9.0/30", "autoAssign: false"), balancer("a")),
            "no address of the pool p (172.18.9.0-172.18.9.3) is for it",
        ),
        (
            (
                FIRST,
                SECOND,
                balancer(
                    "a", "loadBalancerIP: 172.18.9.1,", meta="annotations: {metallb.io/address-pool: second}"
                ),
            ),
            "it asks for 172.18.9.1, which is not in IPAddressPool second, for which it asks, too",
        ),
        (
            (
                address_pool("p", "172.18.9.0/30", "serviceAllocation: {namespaces: [other]}"),
                balancer("a", "loadBalancerIP: 172.18.9.1,"),
            ),
            "it asks for 172.18.9.1, which is in the pool p (172.18.9.0-172.18.9.3), which is not for it",
        ),
        (
            (FIRST, SECOND, balancer("a", "loadBalancerIP: 172.18.7.1,")),
            (
                "it asks for 172.18.7.1, which is not in the pool first (172.18.9.0-172.18.9.3) or the "
                "pool second (172.18.8.1-172.18.8.9)"
            ),
        ),
    ],
    ids=["no such pool", "not automatic", "another pool's", "not for it", "in none"],
)
def test_what_no_pool_has_for_a_service_it_does_not_get(manifests: tuple[str, ...], notice: str) -> None:
    state = settled(*manifests)
    assert addresses(state) == {"a": ""}
    assert f"Service default/a has no load-balancer address: {notice}" in told(state)


def test_an_address_is_of_one_pool() -> None:
    problem = problem_of(FIRST, address_pool("again", "172.18.8.0/30, 172.18.9.2-172.18.9.9"))
    assert (problem.path, problem.document) == ("spec.addresses[1]", 2)
    assert problem.what == "172.18.9.2-172.18.9.9 overlaps an address range of IPAddressPool first"


def test_two_ways_to_say_which_addresses_there_are_contradict_each_other() -> None:
    problem = problem_of(pool("172.18.255.200/30"), FIRST)
    assert (problem.path, problem.what) == (
        "loadBalancer",
        "IPAddressPool first already defines the addresses",
    )


@pytest.mark.parametrize(
    ("advertisements", "speakers"),
    [
        ([advertisement()], {"172.18.9.0": WORKERS, "172.18.8.1": WORKERS}),
        ([advertisement("ipAddressPools: [second]")], {"172.18.8.1": WORKERS}),
        ([advertisement("ipAddressPoolSelectors: [{matchLabels: {zone: b}}]")], {"172.18.8.1": WORKERS}),
        (
            [
                advertisement(
                    "ipAddressPools: [first], nodeSelectors: [{matchLabels: "
                    "{kubernetes.io/hostname: worker-2}}]"
                ),
                advertisement(
                    "ipAddressPools: [second], nodeSelectors: [{matchLabels: "
                    "{kubernetes.io/hostname: nobody}}]",
                    "other",
                ),
            ],
            {"172.18.9.0": ("worker-2",)},
        ),
        ([], {}),
    ],
    ids=["all pools", "by name", "by label", "some nodes", "none"],
)
def test_l2_advertisements_say_which_nodes_announce_which_pool(
    advertisements: list[str], speakers: dict[str, tuple[str, ...]]
) -> None:
    asks = balancer("b", meta="annotations: {metallb.io/address-pool: second}")
    state = settled(cluster(NODES), FIRST, SECOND, *advertisements, web(1, "worker-1"), balancer("a"), asks)
    assert addresses(state) == {"a": "172.18.9.0", "b": "172.18.8.1"}
    assert state.speakers == {ip: first_by_hash(ip, *nodes) for ip, nodes in speakers.items()}
    said = "no L2Advertisement is for IPAddressPool first: nobody answers ARP for its addresses"
    assert (said in told(state)) is ("172.18.9.0" not in speakers)


def test_another_class_of_balancers_is_left_to_it() -> None:
    state = settled(balancer("a", "loadBalancerClass: example.com/lb,"), web(1, "worker-1"))
    assert addresses(state) == {"a": ""}
    assert told(state) == (
        "Service default/a is left to its loadBalancerClass example.com/lb: it has no address",
    )


@pytest.mark.parametrize(
    ("shape", "address"),
    [(cluster(NODES), ""), (pool(), "172.18.255.200")],
    ids=["no pool said", "a pool said"],
)
def test_a_dump_keeps_what_it_carries(shape: str, address: str) -> None:
    pending = balancer("pending", meta="uid: 3c2d3a2e-9f58-4b7e-8a90-3c9e6d1f4a51")
    given = balancer("given", status="loadBalancer: {ingress: [{ip: 192.0.2.7}]}")
    assert addresses(settled(shape, pending, given)) == {"pending": address, "given": "192.0.2.7"}


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        (
            "10.0.0.5-10.0.0.9",
            (
                "10.0.0.5-10.0.0.9 is not inside hostSubnet 172.18.0.0/16, where load-balancer "
                "addresses are announced"
            ),
        ),
        ("172.18.255.200-172.19.0.9", "172.18.255.200-172.19.0.9 is not inside hostSubnet"),
        ("172.18.255.9-172.18.255.1", "ends before it begins"),
        ("172.18.255.200", "must be a prefix or a range of addresses, is"),
        ('"fd00::/120"', "podwire builds IPv4 networks only so far"),
        ("here-there", "must be a prefix or a range of addresses, is"),
    ],
)
def test_mistakes_in_a_pool_have_their_path(entry: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        settled(pool("172.18.255.200-172.18.255.250", entry))
    (problem,) = caught.value.problems
    assert problem.path == "loadBalancer.addresses[1]"
    assert what in problem.what


# --- who announces ----------------------------------------------------------------------------------------


def first_by_hash(ip: str, *nodes: str) -> str:
    """Tests MetalLB's rule on its own."""
    return sorted(nodes, key=lambda name: sha256(f"{name}#{ip}".encode()).hexdigest())[0]


def test_every_address_has_one_speaker_and_they_are_spread() -> None:
    state = settled(cluster(NODES), web(1, "worker-1"), *(balancer(f"s{n}") for n in range(30)))
    assert len(state.speakers) == 30
    assert set(state.speakers.values()) == set(WORKERS)
    assert all(speaker == first_by_hash(ip, *WORKERS) for ip, speaker in state.speakers.items())


def test_without_the_node_only_its_addresses_move() -> None:
    services = [balancer(f"s{n}") for n in range(30)]
    before = settled(*map(node, WORKERS), web(1, "worker-1"), *services).speakers
    after = settled(*map(node, WORKERS[:2]), web(1, "worker-1"), *services).speakers
    assert {ip for ip in before if before[ip] != after[ip]} == {
        ip for ip, speaker in before.items() if speaker == "worker-3"
    }


@pytest.mark.parametrize(
    ("pods", "eligible"),
    [
        ([web(1, "worker-2")], ("worker-2",)),
        ([web(1, "worker-2"), web(2, "worker-3")], ("worker-2", "worker-3")),
        (
            [web(1, "worker-2", "conditions: [{type: Ready, status: 'False'}]"), web(2, "worker-3")],
            ("worker-3",),
        ),
        ([web(1, "control-plane")], ()),
        ([], ()),
    ],
    ids=["one", "two", "one of them ready", "an excluded one", "none"],
)
def test_under_local_it_is_a_node_with_an_endpoint(pods: list[str], eligible: tuple[str, ...]) -> None:
    state = settled(cluster(NODES), *pods, balancer("a", "externalTrafficPolicy: Local,"))
    ip = "172.18.255.200"
    assert state.speakers == ({ip: first_by_hash(ip, *eligible)} if eligible else {})


def test_a_service_without_a_serving_endpoint_is_announced_by_nobody() -> None:
    assert settled(cluster(NODES), balancer("a")).speakers == {}


@pytest.mark.parametrize(
    "other",
    [
        node("other", labels='node.kubernetes.io/exclude-from-external-load-balancers: ""'),
        node("other").replace("addresses: []", "conditions: [{type: Ready, status: Unknown}]"),
        node("other").replace("addresses: []", "conditions: [{type: NetworkUnavailable, status: 'True'}]"),
    ],
    ids=["excluded", "not ready", "without a network"],
)
def test_a_node_that_may_not_announces_nothing(other: str) -> None:
    state = settled(node("worker-1"), other, web(1, "worker-1"), *(balancer(f"s{n}") for n in range(20)))
    assert set(state.speakers.values()) == {"worker-1"}


def test_an_address_outside_the_host_network_or_somebodys_is_not_announced() -> None:
    def given(ip: str) -> str:
        return f"loadBalancer: {{ingress: [{{ip: {ip}}}]}}"

    services = [
        balancer(f"s{n}", status=given(ip))
        for n, ip in enumerate(("192.0.2.7", "172.18.0.3", "172.18.0.1", "172.18.9.9"))
    ]
    state = settled(node("worker-1", "172.18.0.3"), web(1, "worker-1"), *services)
    assert state.routerIP == "172.18.0.1"
    assert set(state.speakers) == {"172.18.9.9"}


@pytest.mark.parametrize(("strict", "said"), [("true", False), ("false", True)])
def test_ipvs_mode_needs_strict_arp(strict: str, said: bool) -> None:
    config = (
        f"{{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, mode: ipvs, "
        f"ipvs: {{strictARP: {strict}}}}}"
    )
    notices = told(settled(cluster(NODES), config, web(1, "worker-1"), balancer("a")))
    assert any("strictARP" in notice for notice in notices) is said


def test_the_mode_of_the_pool_is_the_mode_of_its_addresses() -> None:
    state = settled(pool(mode="Proxy"), web(1, "worker-1"), balancer("a"))
    assert state.service["default/a"].status.loadBalancer.ingress == (
        LoadBalancerIngress(ip="172.18.255.200", ipMode="Proxy"),
    )
    assert state.speakers == {}


# --- a balancer in the path -------------------------------------------------------------------------------


def test_the_balancer_is_there_where_a_service_needs_it() -> None:
    assert settled(cluster(NODES), balancer("a")).balancerIP is None
    assert settled(pool(mode="Proxy"), balancer("a")).balancerIP == "172.18.255.254"
    given = balancer("a", status="loadBalancer: {ingress: [{ip: 172.18.255.254, ipMode: Proxy}]}")
    state = settled(cluster(NODES), given)
    assert state.balancerIP == "172.18.255.253"
    assert state.balancer_ips(state.service["default/a"]) == ("172.18.255.254",)


def test_an_address_that_somebody_has_is_not_the_balancers() -> None:
    ips = ("172.18.0.1", "172.18.0.3", "203.0.113.10", "192.0.2.7")
    entries = ", ".join(f"{{ip: {ip}, ipMode: Proxy}}" for ip in ips)
    client = (
        "{apiVersion: podwire.dev/v1alpha1, kind: Cluster, externalClients: [{name: c, address: "
        "203.0.113.10}]}"
    )
    state = settled(
        client,
        node("worker-1", "172.18.0.3"),
        balancer("a", status=f"loadBalancer: {{ingress: [{entries}]}}"),
    )
    assert state.balancer_ips(state.service["default/a"]) == ("192.0.2.7",)


@pytest.mark.parametrize(
    ("policy", "pods", "targets"),
    [
        ("Cluster", [], WORKERS),
        ("Local", [web(1, "worker-2"), web(2, "worker-3")], ("worker-2", "worker-3")),
        (
            "Local",
            [web(1, "worker-2", "conditions: [{type: Ready, status: 'False'}]"), web(2, "worker-3")],
            ("worker-3",),
        ),
        ("Local", [web(1, "control-plane")], ()),
    ],
)
def test_the_balancer_uses_nodes_that_may_and_under_local_healthy_ones(
    policy: str, pods: list[str], targets: tuple[str, ...]
) -> None:
    state = settled(pool(mode="Proxy"), *pods, balancer("a", f"externalTrafficPolicy: {policy},"))
    assert state.balanced == {"default/a": targets}


def test_a_service_without_node_ports_is_named() -> None:
    left = balancer("a", "allocateLoadBalancerNodePorts: false,")
    state = settled(pool(mode="Proxy"), left, web(1, "worker-1"))
    assert told(state) == (
        "Service default/a has no node ports: the balancer, which connects to those, refuses its clients",
    )


def test_nobody_else_may_be_called_balancer() -> None:
    problem = problem_of(node("balancer"))
    assert problem.what == "node balancer has the name of the load balancer in the path"
