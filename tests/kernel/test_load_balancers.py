"""Tests load balancers without add-ons, with packets: the node that answers ARP for an address, and the
effects for clients when another node takes it over.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from itertools import dropwhile, product
from typing import NamedTuple

import pytest

from emulator.cluster.state import ClusterState
from emulator.hostnet.balancer import balancer_rules
from emulator.kernel.apply import Applied, apply
from emulator.kernel.iptables import find_iptables
from emulator.kernel.netns import check_output
from emulator.net import mac_of_ip
from emulator.plan.rules import compose
from emulator.schedule.planner import plan_change, plan_cluster
from emulator.workload.answer import read_reply, request_line
from emulator.workload.serve import servers
from emulator.workload.speakers import speakers
from tests.iptables_save import normal
from tests.sandboxed import flavour, in_sandbox, state_of

pytestmark = pytest.mark.kernel

MODES = ["iptables", "nftables"]
ALL_MODES = [*MODES, pytest.param("ipvs", marks=pytest.mark.ipvs("changes"))]
CLUSTER, LOCAL = "172.18.255.200", "172.18.255.201"
IPS = {"worker-1": "172.18.0.3", "worker-2": "172.18.0.4"}
MACS = {mac_of_ip(ip): name for name, ip in IPS.items()}

SHAPE = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [%s]
externalClients: [{name: client-1, address: 203.0.113.10}]
loadBalancer: {mode: %s}
"""
PROXY = """
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
ipvs: {strictARP: %s}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: web-%d, labels: {app: web}}
spec: {nodeName: worker-%d, containers: [{name: server, ports: [{containerPort: 8080}]}]}
status: {podIP: 10.244.%d.10}
"""
SERVICES = """
---
apiVersion: v1
kind: Service
metadata: {name: cluster}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: web}, ports: [{port: 80, \
targetPort: 8080}]}
"""


class Arp(NamedTuple):
    operation: str
    node: str  # the node whose MAC the sender has; "": no node's
    ip: str  # the address that it says it has
    gratuitous: bool


class Running:
    """Describes a cluster that is up, a client outside it, and a tap on the router's side of the switch."""

    def __init__(
        self, mode: str, *, nodes: str = "12", pods: str = "12", pool: str = "L2", strict: str = "true"
    ) -> None:
        self._mode, self._pool, self._strict = mode, pool, strict
        self.state = self._state_of(nodes, pods)
        self._applied = apply(plan_cluster(self.state), Applied(find_iptables(flavour())))
        self._applied.wait_until_up()
        self._workers = [servers(self._applied.namespaces), speakers(self._applied.namespaces)]
        self._tell()
        self._tap = self._applied.namespaces.call_in("router", _arp_tap)

    def _state_of(self, nodes: str, pods: str) -> ClusterState:
        shapes = ["{role: control-plane, addresses: [172.18.0.2]}"]
        shapes += [
            f"{{role: worker, name: worker-{n}, addresses: [{IPS[f'worker-{n}']}], podCIDR: 10.244.{n}.0/24}}"
            for n in nodes
        ]
        servers_ = "".join(POD % (int(n), int(n), int(n)) for n in pods)
        return state_of(
            text=SHAPE % (", ".join(shapes), self._pool) + PROXY % self._strict + servers_ + SERVICES,
            proxy_mode=self._mode,
        )

    def _tell(self) -> None:
        for worker in self._workers:
            worker.tell(self.state)

    def change(self, *, nodes: str = "12", pods: str) -> None:
        new = self._state_of(nodes, pods)
        apply(plan_change(self.state, new), self._applied)
        self.state = new
        self._tell()

    def ask(self, ip: str) -> tuple[str, str]:
        """Returns the Pod that answers the client, and the address that it saw; ("", why) if none answers."""
        sock = self._applied.namespaces.call_in("client-1", socket.socket)
        sock.settimeout(0.5)
        with sock:
            try:
                sock.connect((ip, 80))
                sock.send(request_line(0))
                answer = read_reply(sock.recv(4096))
            except TimeoutError:
                return "", "silence"
            except ConnectionRefusedError:
                return "", "refused"
        assert answer
        return answer.pod.removeprefix("default/"), answer.client.address

    def balancer_tables(self) -> str:
        """Returns what the balancer's kernel holds."""
        return check_output(
            self._applied.namespaces, "balancer", [find_iptables(flavour()).replace("restore", "save")]
        )

    def forget(self, ip: str) -> None:
        """Has the router ask again for the neighbour that has ``ip``."""
        self.tell_router("neighbour", "flush", "to", ip)

    def tell_router(self, *words: str) -> str:
        """Returns the output of ``ip`` there."""
        return check_output(self._applied.namespaces, "router", ["ip", *words])

    def arp(self, wait: float = 0) -> list[Arp]:
        """Returns the nodes' ARP announcements of load-balancer addresses since the last time; waits at most
        so many seconds for one.
        """
        said: list[Arp] = []
        while select.select([self._tap], [], [], 0 if said else wait)[0]:
            frame = self._tap.recv(2048)
            (operation,) = struct.unpack_from("!H", frame, 20)
            sender, ip, target = (
                frame[22:28].hex(":"),
                socket.inet_ntoa(frame[28:32]),
                socket.inet_ntoa(frame[38:42]),
            )
            if ip in (CLUSTER, LOCAL):
                said.append(
                    Arp({1: "request", 2: "reply"}[operation], MACS.get(sender, ""), ip, ip == target)
                )
        return said


def _arp_tap() -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind(("eth0", 0x0806))
    return sock


def answers(said: list[Arp], ip: str) -> list[str]:
    return [arp.node for arp in said if arp.ip == ip and not arp.gratuitous]


@pytest.mark.parametrize("mode", ALL_MODES)
@in_sandbox
def test_one_node_answers_and_serves(mode: str) -> None:
    cluster = Running(mode)
    speaker = cluster.state.speakers[CLUSTER]
    met = {cluster.ask(CLUSTER) for _ in range(16)}
    assert {pod for pod, _ in met} == {"web-1", "web-2"}
    assert {seen for _, seen in met} <= {IPS[speaker], cluster.state.gateway(speaker)}
    assert answers(cluster.arp(), CLUSTER) == [speaker]


@pytest.mark.parametrize("endpoint", ["1", "2"])
@pytest.mark.parametrize("mode", MODES)
@in_sandbox
def test_under_local_the_endpoints_node_answers_and_keeps_the_clients_address(
    mode: str, endpoint: str
) -> None:
    cluster = Running(mode, pods=endpoint)
    assert cluster.ask(LOCAL) == (f"web-{endpoint}", "203.0.113.10")
    assert answers(cluster.arp(), LOCAL) == [f"worker-{endpoint}"]


@pytest.mark.ipvs("changes")
@in_sandbox
def test_in_ipvs_mode_without_strict_arp_every_node_answers() -> None:
    cluster = Running("ipvs", strict="false")
    assert cluster.ask(CLUSTER)[0]
    assert set(answers(cluster.arp(), CLUSTER)) >= set(IPS)


@in_sandbox
def test_what_has_no_endpoint_is_announced_by_nobody() -> None:
    cluster = Running("iptables", pods="")
    assert cluster.ask(CLUSTER) == cluster.ask(LOCAL) == ("", "silence")
    assert cluster.arp() == []


# the loss: (nodes, Pods) that stay, given the number of the one that announces and of the other one.
LOSSES: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "the endpoint goes": lambda speaker, other: ("12", other),
    "the node goes": lambda speaker, other: (other, other),
}


@pytest.mark.parametrize(
    ("loss", "mode"),
    [
        *product(LOSSES, MODES),
        pytest.param("the endpoint goes", "ipvs", marks=pytest.mark.ipvs("changes")),
    ],
)
@in_sandbox
def test_another_node_takes_the_address_over_and_the_same_client_gets_through_at_once(
    loss: str, mode: str
) -> None:
    cluster = Running(mode)
    speaker = cluster.state.speakers[LOCAL].removeprefix("worker-")
    other = {"1": "2", "2": "1"}[speaker]
    assert cluster.ask(LOCAL) == (f"web-{speaker}", "203.0.113.10")
    assert {arp.node for arp in cluster.arp()} == {f"worker-{speaker}"}
    nodes, pods = LOSSES[loss](speaker, other)
    cluster.change(nodes=nodes, pods=pods)
    assert cluster.ask(LOCAL) == (f"web-{other}", "203.0.113.10")
    said = dropwhile(
        lambda arp: arp.node == f"worker-{speaker}", (arp for arp in cluster.arp() if arp.ip == LOCAL)
    )  # as it still reminds
    told = [Arp(operation, f"worker-{other}", LOCAL, True) for operation in ("request", "reply")]
    assert list(dict.fromkeys(said)) == told, "told, so nobody had to ask"


@in_sandbox
def test_it_says_so_again_in_a_second_and_who_gave_it_up_does_not() -> None:
    cluster = Running("iptables", pods="1")
    cluster.change(pods="2")
    cluster.arp()
    heard = (arp for _ in range(10) for arp in cluster.arp(wait=5))
    again = next(arp for arp in heard if arp.ip == LOCAL)
    assert (again.operation, again.node, again.gratuitous) == ("request", "worker-2", True)


@in_sandbox
def test_who_gave_an_address_up_answers_no_more() -> None:
    cluster = Running("iptables")
    first = cluster.state.speakers[LOCAL]
    assert cluster.ask(LOCAL)[0]
    cluster.change(pods="")
    cluster.change(pods={"worker-1": "2", "worker-2": "1"}[first])
    cluster.arp()
    cluster.forget(LOCAL)
    assert cluster.ask(LOCAL)[0]
    assert answers(cluster.arp(), LOCAL) == [cluster.state.speakers[LOCAL]] != [first]


@in_sandbox
def test_where_an_address_was_the_router_remembers_for_hours() -> None:
    """Takes a step of any length: a client that asks after the speaker has fallen silent is still led to its
    node.
    """
    cluster = Running("iptables")
    assert cluster.ask(LOCAL)[0]
    cluster.change(pods="")
    assert "base_reachable 14400000" in cluster.tell_router(
        "ntable", "show", "dev", "eth0", "name", "arp_cache"
    )
    assert "REACHABLE" in cluster.tell_router("neighbour", "show", LOCAL)
    assert cluster.ask(LOCAL) == ("", "refused")


# --- a balancer in the path
# -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@in_sandbox
def test_a_balancer_asks_every_node_under_cluster_and_each_hides_it(mode: str) -> None:
    cluster = Running(mode, pods="1", pool="Proxy")
    met = [cluster.ask(CLUSTER) for _ in range(8)]
    assert met.count(("web-1", "10.244.1.1")) == met.count(("web-1", IPS["worker-2"])) == 4, (
        "nodes take turns"
    )
    assert not any(arp.node for arp in cluster.arp()), "no node says that it has the address"


@pytest.mark.parametrize("mode", MODES)
@in_sandbox
def test_under_local_it_asks_nodes_with_a_ready_endpoint_alone_and_follows_them(mode: str) -> None:
    cluster = Running(mode, pods="12", pool="Proxy")
    own = cluster.state.balancerIP
    assert {cluster.ask(LOCAL) for _ in range(4)} == {("web-1", own), ("web-2", own)}
    for nodes, pods, answers_ in (
        ("12", "2", {("web-2", own)}),
        ("1", "1", {("web-1", own)}),
        ("1", "", {("", "refused")}),
    ):
        cluster.change(nodes=nodes, pods=pods)
        assert {cluster.ask(LOCAL) for _ in range(4)} == answers_


@in_sandbox
def test_the_kernel_holds_the_balancers_rules_however_they_came_there() -> None:
    cluster = Running("iptables", pods="12", pool="Proxy")
    for pods in ("12", "2", "", "1"):
        cluster.change(pods=pods)
        assert normal(cluster.balancer_tables()) == normal(compose(balancer_rules(cluster.state)))
