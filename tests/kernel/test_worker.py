"""Tests that the processes beside the rules get every state of the cluster, and then match it."""

from __future__ import annotations

import errno
import gc
import os
import socket
from contextlib import suppress

import pytest

from emulator.cluster.state import ClusterState
from emulator.kernel.apply import Applied, apply
from emulator.kernel.iptables import find_iptables
from emulator.net import IPV4, PROTOCOL_NUMBER
from emulator.plan.operations import AddNetns, Plan
from emulator.schedule.planner import plan_change, plan_cluster
from emulator.workload import serve
from emulator.workload.serve import servers
from emulator.workload.worker import Inbox, Worker, WorkerError, any_busy
from tests.asking import say
from tests.sandboxed import in_sandbox, state_of

pytestmark = pytest.mark.kernel

WEB_1, WEB_2 = ("web-1", "10.244.1.11"), ("web-2", "10.244.2.12")
CLIENT = ("client", "10.244.2.21")
POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: web}}
spec:
  nodeName: worker-%s
  containers: [{name: server, ports: [{containerPort: 8080}, {containerPort: 8080, protocol: UDP}]}]
status: {podIP: %s}
---"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  healthCheckNodePort: 32123
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---"""


def cluster(*pods: tuple[str, str], service: str = "") -> ClusterState:
    return state_of(
        text="".join(POD % (name, ip.split(".")[2], ip) for name, ip in (CLIENT, *pods)) + service
    )


class Cluster:
    """Describes a cluster that runs, with its servers."""

    def __init__(self, state: ClusterState) -> None:
        self.state = state
        self.applied = apply(plan_cluster(state), Applied(find_iptables("")))
        self.applied.wait_until_up()
        self.servers = servers(self.applied.namespaces)
        self.servers.tell(state)

    def change(self, state: ClusterState) -> None:
        apply(plan_change(self.state, state), self.applied)
        self.applied.wait_until_up()
        self.servers.tell(state)
        self.state = state

    def connect(
        self, ip: str, port: int = 8080, kind: int = socket.SOCK_STREAM, netns: str = "default_client"
    ) -> socket.socket:
        sock = self.applied.namespaces.call_in(netns, lambda: socket.socket(socket.AF_INET, kind))
        sock.settimeout(1)
        sock.connect((ip, port))
        return sock

    def ask(self, ip: str, kind: int = socket.SOCK_STREAM) -> str:
        with self.connect(ip, kind=kind) as sock:
            return say(sock)


@in_sandbox
def test_a_pod_that_joins_is_served_and_a_connection_to_one_that_stays_goes_on() -> None:
    running = Cluster(cluster(WEB_1))
    with running.connect(WEB_1[1]) as sock:
        assert say(sock) == "default/web-1"
        running.change(cluster(WEB_1, WEB_2))
        assert {running.ask(WEB_2[1], kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)} == {
            "default/web-2"
        }
        assert say(sock) == "default/web-1"


@in_sandbox
def test_a_port_that_no_container_has_any_more_is_closed_with_its_connections() -> None:
    """Deletes a Pod with the node's network: its namespace stays, its port does not."""
    there = state_of(
        text=POD.replace("spec:", "spec:\n  hostNetwork: true") % ("agent", "1", "172.18.0.3")
        + POD % (CLIENT[0], "2", CLIENT[1])
    )
    running = Cluster(there)
    with running.connect("172.18.0.3") as sock:
        assert say(sock) == "default/agent"
        running.change(state_of(text=POD % (CLIENT[0], "2", CLIENT[1])))
        assert sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        running.connect("172.18.0.3")


@in_sandbox
def test_a_pod_made_anew_under_its_name_is_served() -> None:
    running = Cluster(cluster(WEB_1))
    assert running.ask(WEB_1[1]) == "default/web-1"
    running.change(cluster())
    running.change(cluster(("web-1", "10.244.2.30")))
    assert running.ask("10.244.2.30") == "default/web-1"
    running.change(cluster())
    running.change(cluster(WEB_1))
    assert running.ask(WEB_1[1]) == "default/web-1"


@in_sandbox
def test_a_health_check_counts_as_the_state_says() -> None:
    running = Cluster(cluster(WEB_1, service=SERVICE))

    def status() -> bytes:
        with running.connect("172.18.0.3", 32123) as sock:
            sock.send(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
            return sock.recv(4096).split()[1]

    assert status() == b"200"
    running.change(cluster(service=SERVICE))
    assert status() == b"503"
    running.change(cluster(WEB_1, service=SERVICE))
    assert status() == b"200"
    running.change(cluster(WEB_1))
    with pytest.raises(OSError, match=os.strerror(errno.ECONNREFUSED)):
        status()


@in_sandbox
def test_what_it_was_born_with_is_the_first_thing_that_a_worker_is_told() -> None:
    def work(inbox: Inbox) -> None:
        while True:
            inbox.take(lambda state: [f"{state.name} in {os.getppid()}"])

    worker, state = Worker("an echo", work), cluster()
    assert worker.tell(state) == worker.tell(state) == [f"stdin in {os.getpid()}"]


@in_sandbox
def test_a_worker_says_whether_it_is_at_work() -> None:
    def work(inbox: Inbox) -> None:
        told: list[str] = []

        def update(state: ClusterState) -> list[str]:
            told.append(state.name)
            return []

        while True:
            inbox.take(update, lambda: len(told) == 2)

    worker = Worker("an echo", work)
    assert not worker.busy()  # nor has it begun
    worker.tell(cluster())
    assert not worker.busy()
    worker.tell(cluster())
    assert worker.busy()
    assert any_busy([worker])


@in_sandbox
def test_what_a_worker_cannot_do_and_its_end_are_errors_with_its_name() -> None:
    def refuse(state: ClusterState) -> list[str]:
        raise PermissionError(errno.EPERM, "not here")

    def work(inbox: Inbox) -> None:
        inbox.take(refuse)

    worker = Worker("a speaker", work)
    with pytest.raises(WorkerError, match=r"a speaker: .*not here"):
        worker.tell(cluster())
    with pytest.raises(WorkerError, match="the process of a speaker has ended"):
        worker.tell(cluster())
    with pytest.raises(WorkerError, match="the process of a speaker has ended"):
        worker.busy()


def test_what_is_sent_by_hand_at_once_waits_for_the_server() -> None:
    packets = 450  # more than net.core.rmem_default holds

    @in_sandbox
    def waiting() -> int:
        namespaces = apply(Plan(name="t", operations=(AddNetns(netns="a", why="t"),))).namespaces
        server = serve._Server(namespaces)
        namespaces.enter("a")
        server._open_sctp("a", IPV4, {80})
        (_, served), found = server._sctp["a", IPV4], 0
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, PROTOCOL_NUMBER["SCTP"]) as client:
            for _ in range(packets):
                client.sendto(bytes(32), ("127.0.0.1", 0))
        namespaces.leave()
        with suppress(BlockingIOError):
            while served.recv(100):
                found += 1
        return found

    assert waiting() == packets


@in_sandbox
def test_a_worker_lives_as_long_as_the_process_that_started_it() -> None:
    """Leaves it running when the object that stands for it ends."""
    running = Cluster(cluster(WEB_1))
    del running.servers
    gc.collect()
    assert running.ask(WEB_1[1]) == "default/web-1"
