"""Changes while it runs (docs/semantics.md, section 11): the difference of two plans in a real kernel, and
what packets notice of it.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState
from emulator.errors import KernelError
from emulator.kernel.apply import Applied, apply
from emulator.kernel.conntrack import Conntrack
from emulator.kernel.iptables import find_iptables
from emulator.kernel.netns import RUN_NETNS, finish, start
from emulator.kernel.rules import SMALL_TEXT
from emulator.net import IPV4, Endpoint
from emulator.plan.nft import NftChain, NftSet, NftTable, compare_tables
from emulator.plan.operations import AddNetns, DelConnections, DelLink, DelNetns, LoadRules, Plan
from emulator.plan.rules import RuleSet
from emulator.plan.shell import render_shell
from emulator.schedule.planner import plan_change, plan_cluster
from emulator.workload.answer import read_reply, request_line
from emulator.workload.serve import servers
from tests.forked import forked
from tests.iptables_save import parse
from tests.kernel.test_apply import kernel_state, read
from tests.sandboxed import flavour, in_sandbox, podwire, state_of

pytestmark = pytest.mark.kernel

MODES = ["iptables", "nftables", pytest.param("ipvs", marks=pytest.mark.ipvs("changes"))]
FLAVOURS = ["iptables-nft-restore", "iptables-legacy-restore"]

SHAPE = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [{role: control-plane}%s]
externalClients: [%s]
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: %s, annotations: {%s}}
spec:
  nodeName: %s
  containers:
  - name: server
    ports: [{containerPort: 8080}, {containerPort: 8080, protocol: UDP}]
status: {podIP: %s}
"""
SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: %s}
spec:
  clusterIP: %s
  type: NodePort
  %s
  ports: [{name: t, port: 80, nodePort: %d}, {name: u, port: 80, protocol: UDP, nodePort: %d}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %s-1, labels: {kubernetes.io/service-name: %s}}
addressType: IPv4
endpoints: [%s]
ports: [{name: t, port: 8080}, {name: u, port: 8080, protocol: UDP}]
"""
PODS = {
    "web-1": ("worker-1", "10.244.1.11"),
    "web-2": ("worker-2", "10.244.2.12"),
    "web-3": ("worker-1", "10.244.1.13"),
    "client": ("worker-1", "10.244.1.21"),
}
WEB, OTHER = "10.96.0.50", "10.96.0.60"


def shape(workers: int = 2, *clients: str) -> str:
    return SHAPE % (", {role: worker}" * workers, ", ".join(clients))


def pod(name: str, *annotations: str) -> str:
    return POD % (name, ", ".join(annotations), *PODS[name])


def service(name: str, ip: str, node_port: int, *endpoints: str, spec: str = "") -> str:
    """Returns a Service of TCP and UDP port 80; ``endpoints`` are Pods' names, with "!" before one that
    drains, "-" before one that does not serve.
    """
    rows = []
    for word in endpoints:
        node, address = PODS[word.lstrip("!-")]
        serving = {"!": "true", "-": "false"}.get(word[0])
        conditions = (
            f", conditions: {{ready: false, serving: {serving}, terminating: true}}" if serving else ""
        )
        rows.append(f"{{addresses: [{address}], nodeName: {node}{conditions}}}")
    return SERVICE % (name, ip, spec, node_port, node_port, name, name, ", ".join(rows))


ALL_PODS = "".join(pod(name) for name in PODS)


# --- the kernel's state
# --------------------------------------------------------------------------------------------


def state_in_kernel(plan: Plan, iptables: str) -> dict[str, Any]:
    """Returns the state of every namespace of ``plan``, and their names. Chains come in the order in
    which they were made, which means nothing.
    """
    states: dict[str, Any] = {"names": sorted(path.name for path in RUN_NETNS.iterdir())}
    for netns in plan.netns:
        states[netns] = kernel_state(netns) | {
            "rules": in_order(parse(read(netns, iptables.replace("restore", "save")))),
            "neighbours": sorted(read(netns, "ip", "neighbour", "show", "nud", "permanent").splitlines()),
        }
        if "kube-proxy" in read(netns, "nft", "list", "tables", "ip"):
            states[netns]["nft"] = nft_state(netns)
    return states


def in_order(tables: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
    """Returns the same with the lines of several Services sorted, whose order means nothing; the jump to the
    node ports stays the last rule.
    """
    for table, chains in tables.items():
        for chain in {
            "KUBE-SERVICES",
            "KUBE-NODEPORTS",
            "KUBE-EXTERNAL-SERVICES",
            "KUBE-PROXY-FIREWALL",
        } & chains.keys():
            last = len(chains[chain]) - (table == "nat" and chain == "KUBE-SERVICES")
            chains[chain] = [*sorted(chains[chain][:last]), *chains[chain][last:]]
    return tables


def nft_state(netns: str) -> dict[str, Any]:
    """Returns kube-proxy's table: chain → rules in order, and sets with their elements in any order."""
    state: dict[str, Any] = {}
    for row in json.loads(read(netns, "nft", "-j", "list", "table", "ip", "kube-proxy"))["nftables"]:
        ((kind, thing),) = row.items()
        if kind == "rule":
            state.setdefault(f"rules of {thing['chain']}", []).append((thing["expr"], thing.get("comment")))
        elif kind != "metainfo":
            elements = sorted(json.dumps(element) for element in thing.pop("elem", []))
            state[f"{kind} {thing['name']}"] = {
                key: value for key, value in thing.items() if key != "handle"
            } | {"elements": elements}
    return state


def alone(state: ClusterState, iptables: str = FLAVOURS[0]) -> dict[str, Any]:
    """Returns what the kernel holds when there was never anything but ``state``."""

    @in_sandbox
    def fresh() -> dict[str, Any]:
        plan = plan_cluster(state)
        apply(plan, Applied(iptables))
        return state_in_kernel(plan, iptables)

    states: dict[str, Any] = fresh()
    return states


def changed(*states: ClusterState, iptables: str = FLAVOURS[0]) -> dict[str, Any]:
    """Returns what the kernel holds when it came from the first of ``states`` to the last, one by one."""

    @in_sandbox
    def updated() -> dict[str, Any]:
        plan = plan_cluster(states[-1])
        applied = apply(plan_cluster(states[0]), Applied(iptables))
        for old, new in pairwise(states):
            apply(plan_change(old, new), applied)
        assert sorted(applied.namespaces) == sorted(plan.netns)
        for netns in plan.netns:  # the indexes of links that we hold are the kernel's
            links = (line.split(": ")[:2] for line in read(netns, "ip", "-o", "link").splitlines())
            assert {int(index): name.split("@")[0] for index, name in links} == applied.interfaces(netns)
        return state_in_kernel(plan, iptables)

    result: dict[str, Any] = updated()
    return result


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    for netns in other:
        assert one[netns] == other[netns], netns


BASE = (
    shape(2, "{name: office, address: 203.0.113.10}")
    + ALL_PODS
    + service("web", WEB, 30080, "web-1", "web-2")
)
CHANGES = {
    "a Service comes": BASE + service("other", OTHER, 30090, "web-3"),
    "a Service in front comes": BASE + service("a", OTHER, 30090, "web-3"),
    "an endpoint comes": BASE.replace(
        "endpoints: [", "endpoints: [{addresses: [10.244.1.13], nodeName: worker-1}, "
    ),
    "an endpoint drains": shape(2, "{name: office, address: 203.0.113.10}")
    + ALL_PODS
    + service("web", WEB, 30080, "!web-1", "-web-2"),
    "no endpoint": BASE.replace(
        "{addresses: [10.244.1.11], nodeName: worker-1}, {addresses: [10.244.2.12], nodeName: worker-2}", ""
    ),
    "a policy": BASE.replace("type: NodePort\n", "type: NodePort\n  externalTrafficPolicy: Local\n"),
    "affinity": BASE.replace("type: NodePort\n", "type: NodePort\n  sessionAffinity: ClientIP\n"),
    "a Pod goes": BASE.replace(pod("web-3"), ""),
    "a Pod has another address": BASE.replace("10.244.1.13", "10.244.1.14"),
    "a Pod has an address outside": BASE.replace(
        pod("web-3"), pod("web-3", """cni.projectcalico.org/ipAddrs: '["10.250.0.9"]'""")
    ).replace("10.244.1.13", "10.250.0.9"),
    "a Pod moves": BASE.replace(pod("web-3"), POD % ("web-3", "", "worker-2", "10.244.2.13")),
    "a node comes": BASE.replace(
        shape(2, "{name: office, address: 203.0.113.10}"), shape(3, "{name: office, address: 203.0.113.10}")
    ),
    "a node goes with its Pods": shape(1, "{name: office, address: 203.0.113.10}")
    + "".join(pod(name) for name, (node, _) in PODS.items() if node == "worker-1")
    + service("web", WEB, 30080, "web-1"),
    "a client comes": BASE.replace("{name: office,", "{name: home, address: 198.51.100.20}, {name: office,"),
    "a client has another address": BASE.replace("203.0.113.10", "203.0.113.11"),
}


@pytest.mark.parametrize(
    ("mode", "change"),
    [
        *(("iptables", change) for change in CHANGES),
        *(
            ("nftables", c)
            for c in (
                "a Service comes",
                "an endpoint comes",
                "no endpoint",
                "a policy",
                "affinity",
                "a node comes",
            )
        ),
    ],
)
def test_a_change_leaves_what_the_new_cluster_alone_would(mode: str, change: str) -> None:
    base, other = (state_of(text=text, proxy_mode=mode) for text in (BASE, CHANGES[change]))
    assert plan_change(base, other).operations
    same(changed(base, other), alone(other))
    same(changed(other, base), alone(base))


@pytest.mark.parametrize(
    "change", ["a Service in front comes", "no endpoint", "affinity", "a node goes with its Pods"]
)
def test_legacy_iptables_holds_the_same(change: str) -> None:
    base, other = (state_of(text=text) for text in (BASE, CHANGES[change]))
    same(changed(base, other, iptables=FLAVOURS[1]), alone(other, FLAVOURS[1]))


@given(
    st.lists(st.sampled_from([BASE, *CHANGES.values()]), min_size=3, max_size=5),
    st.sampled_from(["iptables", "nftables"]),
)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_way_leads_to_the_same_state(ways: list[str], mode: str) -> None:
    states = [state_of(text=text, proxy_mode=mode) for text in ways]
    same(changed(*states), alone(states[-1]))


@pytest.mark.parametrize(
    "change", ["a Service comes", "a Pod moves", "a node goes with its Pods", "a client has another address"]
)
def test_the_printed_change_does_the_same(change: str) -> None:
    base, other = (state_of(text=text) for text in (BASE, CHANGES[change]))

    @in_sandbox
    def by_script() -> dict[str, Any]:
        for plan in (plan_cluster(base), plan_change(base, other)):
            subprocess.run(["bash", "-s"], input=render_shell(plan, title="test"), text=True, check=True)
        return state_in_kernel(plan_cluster(other), FLAVOURS[0])

    same(by_script(), alone(other))


VERDICTS = ("accept", "drop", "goto a", "goto b", "goto c")


@st.composite
def nft_tables(draw: st.DrawFn) -> NftTable:
    """Returns a base chain and others that lead on, and maps that lead to them; affinity sets come and go, or
    get another timeout.
    """
    own = sorted(draw(st.sets(st.sampled_from("abc"))))
    known = [verdict for verdict in VERDICTS if verdict[-1] in own or " " not in verdict]
    chains: dict[str, tuple[str, ...]] = {"z": ("ip daddr vmap @m",)}
    for name in own:
        further = [verdict for verdict in known if verdict[-1] > name or " " not in verdict]
        chains[name] = tuple(
            f"ip saddr 10.0.0.{n} {verdict}"
            for n, verdict in enumerate(draw(st.lists(st.sampled_from(further), max_size=3)))
        )
    elements = draw(
        st.dictionaries(st.integers(1, 4).map("10.1.0.{}".format), st.sampled_from(known), max_size=4)
    )
    sets = {
        "m": NftSet(
            "map",
            ("type ipv4_addr : verdict",),
            {key: f'{key} comment "x" : {verdict}' for key, verdict in elements.items()},
        )
    }
    for name in sorted(draw(st.sets(st.sampled_from(["s", "t"])))):
        timeout = draw(st.sampled_from(["1s", "2s"]))
        sets[name] = NftSet(
            "set", ("type ipv4_addr", "size 9", "flags dynamic,timeout", f"timeout {timeout}"), {}
        )
        chains["z"] += (f"update @{name} {{ ip saddr }}",) if own else ()
    begin = NftChain(("jump z",), "type filter hook input priority 0; policy accept;")
    called = {name: NftChain(rules) for name, rules in chains.items()}
    return NftTable("ip kube-proxy", "a table of this test", sets, {"begin": begin, **called})


@in_sandbox
def test_any_change_of_an_nft_table_gives_the_new_table() -> None:
    namespaces = apply(Plan(name="n", operations=(AddNetns(netns="n", why="w"),))).namespaces

    def load(text: str) -> dict[str, Any]:
        finish(start(namespaces, "n", ["nft", "-f", "-"]), "n", text)
        return nft_state("n")

    @given(nft_tables(), nft_tables())
    @settings(max_examples=60, deadline=None, database=None)
    def check(old: NftTable, new: NftTable) -> None:
        fresh = load(new.text)
        load(old.text)
        change = compare_tables(old, new)
        assert load(new.text if change is None else change.text) == fresh
        assert not compare_tables(new, new)

    check()


# --- packets
# -------------------------------------------------------------------------------------------------------


class Cluster:
    """Describes a cluster that changes. All Pods of :data:`PODS` run from the beginning to the end;
    ``services`` come and go.
    """

    def __init__(self, mode: str, services: str = "", release: str = "") -> None:
        self._mode, self._release = mode, release
        self._state = self._state_of(services)
        self._applied = apply(plan_cluster(self._state), Applied(find_iptables(flavour())))
        self._applied.wait_until_up()
        servers(self._applied.namespaces).tell(self._state)

    def _state_of(self, services: str) -> ClusterState:
        return state_of(
            text=shape(2, "{name: office, address: 203.0.113.10}") + ALL_PODS + services,
            proxy_mode=self._mode,
            release=self._release,
        )

    def change(self, services: str, forget: bool = True) -> None:
        """Changes the cluster. ``forget`` false: connections that became wrong are left as they are."""
        new = self._state_of(services)
        plan = plan_change(self._state, new)
        if not forget:
            plan = Plan(
                name="without",
                operations=tuple(op for op in plan.operations if not isinstance(op, DelConnections)),
            )
        apply(plan, self._applied)
        self._state = new

    def socket(self, netns: str, kind: int) -> socket.socket:
        sock = self._applied.namespaces.call_in(netns, lambda: socket.socket(socket.AF_INET, kind))
        sock.settimeout(0.5)
        return sock

    def connect(self, netns: str, ip: str, port: int = 80) -> socket.socket:
        sock = self.socket(netns, socket.SOCK_STREAM)
        sock.settimeout(3)  # a guest on a busy machine may need a retransmission
        sock.connect((ip, port))
        return sock

    def met(self, netns: str, ip: str, port: int = 80, attempts: int = 20) -> set[str]:
        """Returns who answers: Pods' names, or why none does."""
        return {self._met(netns, ip, port) for _ in range(attempts)}

    def _met(self, netns: str, ip: str, port: int) -> str:
        try:
            with self.connect(netns, ip, port) as sock:
                return say(sock)
        except OSError as error:
            return outcome(error)


def say(sock: socket.socket, cookie: int = 0) -> str:
    """Returns the name of the Pod that answers ``cookie`` on ``sock``; answers to another one are late, and
    skipped.
    """
    sock.send(request_line(cookie))
    while True:
        data = sock.recv(4096)
        answer = read_reply(data)
        assert answer
        if b"%016x" % cookie in data:
            return answer.pod.removeprefix("default/")


def outcome(error: OSError) -> str:
    return "silence" if isinstance(error, TimeoutError) else errno.errorcode[error.errno or 0]


REFUSED = "ECONNREFUSED"


@pytest.mark.parametrize("mode", MODES)
@in_sandbox
def test_a_replaced_endpoint_is_never_chosen_again_and_an_added_one_joins(mode: str) -> None:
    cluster = Cluster(mode, service("web", WEB, 30080, "web-1", "web-2"))
    assert cluster.met("default_client", WEB) == {"web-1", "web-2"}
    cluster.change(service("web", WEB, 30080, "web-3", "web-2"))
    assert cluster.met("default_client", WEB) == {"web-3", "web-2"}
    cluster.change(service("web", WEB, 30080, "web-1", "web-3", "web-2"))
    assert cluster.met("office", "172.18.0.4", 30080, 60) == {"web-1", "web-2", "web-3"}


@pytest.mark.parametrize("mode", MODES)
@in_sandbox
def test_emptied_is_refused_and_restored_is_served(mode: str) -> None:
    cluster = Cluster(mode, service("web", WEB, 30080, "web-1"))
    for endpoints, answer in (
        ((), REFUSED),
        (("web-2",), "web-2"),
        (("-web-2",), REFUSED),
        (("!web-2",), "web-2"),
    ):
        cluster.change(service("web", WEB, 30080, *endpoints))
        for client, ip, port in (("default_client", WEB, 80), ("office", "172.18.0.3", 30080)):
            assert cluster.met(client, ip, port, 3) == {answer}, (client, endpoints)


@pytest.mark.parametrize("mode", MODES)
@in_sandbox
def test_a_deleted_service_is_gone_and_another_one_stays(mode: str) -> None:
    other = service("other", OTHER, 30090, "web-3")
    cluster = Cluster(mode, service("web", WEB, 30080, "web-1") + other)
    assert cluster.met("office", "172.18.0.3", 30080, 1) == {"web-1"}
    cluster.change(other)
    assert cluster.met("default_client", WEB, attempts=1) <= {"silence", "ENETUNREACH"}
    assert cluster.met("office", "172.18.0.3", 30080, 1) == {REFUSED}
    assert cluster.met("default_client", OTHER) == cluster.met("office", "172.18.0.3", 30090) == {"web-3"}


@pytest.mark.parametrize("mode", MODES)
@in_sandbox
def test_established_connections_to_what_stays_survive(mode: str) -> None:
    other = service("other", OTHER, 30090, "web-3")
    cluster = Cluster(mode, service("web", WEB, 30080, "web-1", "web-2") + other)
    to_other = cluster.connect("default_client", OTHER)
    from_outside = cluster.connect("office", "172.18.0.4", 30090)
    to_web = [cluster.connect("default_client", WEB) for _ in range(12)]
    met = [say(sock) for sock in to_web]
    assert set(met) == {"web-1", "web-2"}
    last = [""] if mode != "ipvs" else []  # IPVS forgets a Service's connections with it (docs/semantics 13)
    for services in (
        service("web", WEB, 30080, "web-2") + other,
        other + service("new", "10.96.0.70", 30070, "web-1"),
        other,
        *last,
    ):
        cluster.change(services)
        assert say(to_other) == say(from_outside) == "web-3"
        if mode != "ipvs" or "name: web}" in services:
            # also to the endpoint that went, whose Pod is still there
            assert [say(sock) for sock in to_web] == met


@pytest.mark.parametrize("mode", MODES)
@in_sandbox
def test_affinity_survives_a_change_of_another_service(mode: str) -> None:
    sticky = service("web", WEB, 30080, "web-1", "web-2", "web-3", spec="sessionAffinity: ClientIP")
    cluster = Cluster(mode, sticky + service("other", OTHER, 30090, "web-1"))
    first = cluster.met("default_client", WEB, attempts=1)
    for number in range(1, 6):  # that a client draws the same five times more by chance: once in 243 times
        cluster.change(sticky + service("other", OTHER, 30090, f"web-{number % 3 + 1}"))
        assert cluster.met("default_client", WEB, attempts=1) == first


@contextmanager
def restless_client(cluster: Cluster, netns: str, ip: str, port: int) -> Iterator[Callable[[], set[str]]]:
    """Yields a UDP client that sends from one port until the end. Gives a function that tells who answers
    from now on.
    """
    sock = cluster.socket(netns, socket.SOCK_DGRAM)
    sock.connect((ip, port))
    seen: list[str] = []
    done = threading.Event()

    def send() -> None:
        for cookie in count(1):
            if done.is_set():
                return
            try:
                seen.append(say(sock, cookie))
            except OSError as error:
                seen.append(outcome(error))
            time.sleep(0.005)

    def answers() -> set[str]:
        begin = len(seen) + 1  # the one that is on its way was sent before
        while len(seen) < begin + 3:
            time.sleep(0.01)
        return set(seen[begin:])

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield answers
    finally:
        done.set()
        thread.join()
        sock.close()


WAYS = {
    "a Pod to the ClusterIP": ("default_client", WEB, 80, "silence"),
    "outside to the node port": ("office", "172.18.0.3", 30080, REFUSED),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
@in_sandbox
def test_a_udp_client_that_never_stops_is_served_right_each_time(way: str, mode: str) -> None:
    netns, ip, port, nobody = WAYS[way]
    cluster = Cluster(mode, release="v1.31")
    with restless_client(cluster, netns, ip, port) as answers:
        assert answers() == {nobody}
        for endpoints, expected in (
            ((), REFUSED),
            (("web-1",), "web-1"),
            (("web-2",), "web-2"),
            (("!web-2",), "web-2"),
            ((), REFUSED),
        ):
            cluster.change(service("web", WEB, 30080, *endpoints))
            assert answers() == {expected}, endpoints
        cluster.change(service("web", WEB, 30080, "web-3"))
        assert answers() == {"web-3"}
        cluster.change("")
        # that release forgets who dialled the ClusterIP alone; IPVS forgets all by itself
        assert answers() == ({"web-3"} if port == 30080 and mode != "ipvs" else {nobody})
        cluster.change(service("web", WEB, 30080, "web-1"))
        assert answers() == {"web-1"}


# IPVS forgets such a client by itself (net.ipv4.vs.expire_nodest_conn)
@pytest.mark.parametrize("mode", MODES[:2])
@in_sandbox
def test_without_forgetting_that_client_would_be_stuck(mode: str) -> None:
    """Repeats the test before without our deletion: the kernel alone does not help."""
    cluster = Cluster(mode, service("web", WEB, 30080, "web-1"))
    with restless_client(cluster, "default_client", WEB, 80) as answers:
        assert answers() == {"web-1"}
        cluster.change(service("web", WEB, 30080, "web-2"), forget=False)
        assert answers() == {"web-1"}


@in_sandbox
def test_connections_of_others_are_not_forgotten() -> None:
    """Deletes only the entry that is named, though both go to the same address. An entry that is not there is
    no error.
    """
    cluster = Cluster("iptables", service("web", WEB, 30080, "web-1"))
    namespaces = cluster._applied.namespaces
    socks = [cluster.socket("default_client", socket.SOCK_DGRAM) for _ in range(2)]
    for sock, port in zip(socks, (80, 81), strict=True):
        sock.connect((WEB, port))
        sock.send(request_line(1))
    assert socks[0].recv(4096)
    one = DelConnections(
        netns="worker-1",
        protocol="UDP",
        dialled=Endpoint.of(WEB, 80),
        server=Endpoint.of("10.244.1.11", 8080),
        why="w",
    )
    other = DelConnections(
        netns="worker-1", protocol="UDP", dialled=Endpoint.of(WEB, 82), server=Endpoint.of(WEB, 82), why="w"
    )
    table = namespaces.call_in("worker-1", Conntrack)
    ends = [sock.getsockname() for sock in socks]

    def known() -> tuple[bool, bool]:
        return (
            table.original(17, Endpoint.of("10.244.1.11", 8080), Endpoint.of(*ends[0])) is not None,
            table.original(17, Endpoint.of(WEB, 81), Endpoint.of(*ends[1])) is not None,
        )

    assert known() == (True, True)
    apply(Plan(name="nothing", operations=(other,)), cluster._applied)
    assert known() == (True, True)
    apply(Plan(name="one", operations=(one, other)), cluster._applied)
    assert known() == (False, True)
    last = DelConnections(
        netns="worker-1", protocol="UDP", dialled=Endpoint.of(WEB, 81), server=Endpoint.of(WEB, 81), why="w"
    )
    subprocess.run(
        ["bash", "-s"],
        input=render_shell(Plan(name="x", operations=(last,)), title="as a person would"),
        text=True,
        check=True,
    )
    assert known() == (False, False)


@in_sandbox
def test_a_refused_deletion_shows_the_command_to_paste() -> None:
    applied = apply(Plan(name="a", operations=(AddNetns(netns="a", why="w"),)))
    applied.links.new("a", "ghost")
    with pytest.raises(KernelError, match=r"(?s)No such device.*ip -n a link delete dev ghost"):
        apply(Plan(name="b", operations=(DelLink(netns="a", name="ghost", why="w"),)), applied)


# --- texts for nft
# -------------------------------------------------------------------------------------------------


def load_nft(applied: Applied, *rules: str) -> None:
    """Loads a table with one chain of ``rules``."""
    table = NftTable("ip kube-proxy", "a table", {}, {"c": NftChain(rules)})
    load = LoadRules(netns="n", tool="nft", family=IPV4, rules=RuleSet({}, table), why="w")
    apply(Plan(name="n", operations=(load,)), applied)


@pytest.mark.parametrize(
    "rules", [[], ["counter"] * (SMALL_TEXT // 5)], ids=["in this process", "in one of its own"]
)
@in_sandbox
def test_a_refused_text_for_nft_is_shown_and_the_next_one_is_loaded(rules: list[str]) -> None:
    applied = apply(Plan(name="n", operations=(AddNetns(netns="n", why="w"),)))
    for _ in range(2):
        with pytest.raises(KernelError, match=r"(?s)No such file or directory.*nft -f -"):
            load_nft(applied, "jump nowhere", *rules)
        load_nft(applied, *rules)
        state = nft_state("n")
        assert len(state.pop("rules of c", [])) == len(rules)
        assert list(state) == ["table kube-proxy", "chain c"]


@in_sandbox
def test_a_namespace_in_which_nft_was_used_leaves_nothing_open() -> None:
    begin = len(os.listdir("/proc/self/fd"))
    applied = apply(Plan(name="n", operations=(AddNetns(netns="n", why="w"),)))
    namespaces = len(os.listdir("/proc/self/fd")) - begin
    load_nft(applied)
    apply(Plan(name="gone", operations=(DelNetns(netns="n", why="w"),)), applied)
    assert len(os.listdir("/proc/self/fd")) < begin + namespaces


# --- releases ----------------------------------------------------------------------------------------------

DIALS_NOBODY = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [{role: control-plane}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c}], tolerations: [{operator: Exists}]}
---
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: nobody}
spec: {flows: [{from: {pod: client}, to: {ip: 10.96.7.7, port: 80}}]}
"""
ROUTED = "unreachable"  # an address that no Service has, in iptables mode

# by release: how a UDP client at the ClusterIP and one at the node port fare when the last endpoint has gone,
# and when the Service has, too; the Pod is gone, so whoever is left to it hears nothing
LEFT = {
    "v1.30": [("rejected", "rejected"), (ROUTED, "rejected")],
    "v1.31": [("rejected", "rejected"), (ROUTED, "rejected")],
    "v1.32": [("rejected", "rejected"), (ROUTED, "rejected")],
    "v1.33": [("dropped", "dropped"), ("dropped", "dropped")],
    "v1.36": [("dropped", "dropped"), ("dropped", "dropped")],
    "v1.37": [("rejected", "dropped"), (ROUTED, "dropped")],
}


@pytest.mark.parametrize("release", LEFT)
def test_a_udp_client_of_a_dead_endpoint_is_left_where_the_release_leaves_it(release: str) -> None:
    words = ("run", "udp-client", "--kube-proxy-version", release, "--proxy-mode", "iptables")
    done = forked(*words, "--iptables", flavour(), "--captures", "none", "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["kubeProxy"] == {"release": release, "program": ""}
    found = {flow["name"]: set(flow["observed"]["outcomes"]) for flow in report["flows"]}
    for step, (pod, outside) in zip(("all are gone", "the Service is deleted"), LEFT[release], strict=True):
        assert found[f"udp-client, {step}: a Pod"] == {pod}
        assert found[f"udp-client, {step}: outside"] == {outside}


@pytest.mark.parametrize(("release", "outcome"), [("v1.32", ROUTED), ("v1.33", "dropped")])
def test_an_address_that_no_service_has_is_dropped_from_v1_33_on(release: str, outcome: str) -> None:
    """Holds for nftables mode."""
    words = ("run", "-", "--kube-proxy-version", release, "--proxy-mode", "nftables", "--captures", "none")
    done = podwire(*words, "-o", "json", stdin=DIALS_NOBODY)
    assert done.returncode == 0, done.stdout + done.stderr
    (flow,) = json.loads(done.stdout)["flows"]
    assert set(flow["observed"]["outcomes"]) == {outcome}
