"""Tests the proxies of userspace mode while endpoints, clients and Services come and go
(docs/semantics 15).
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress

import pytest

from emulator.cluster.state import ClusterState
from emulator.kernel.apply import Applied, apply
from emulator.kernel.iptables import find_iptables
from emulator.proxy.userspace import DIAL_TIMEOUTS, UDP_IDLE
from emulator.schedule.planner import plan_change, plan_cluster
from emulator.workload.proxying import proxies
from emulator.workload.serve import servers
from tests.asking import say
from tests.kernel.sentences import (
    ASKER,
    BASE,
    GONE,
    NOT_READY,
    SERVER,
    WEB_1,
    WEB_1_AT,
    WEB_2,
    endpoints,
    service,
)
from tests.sandboxed import in_sandbox, state_of

pytestmark = pytest.mark.kernel

PORTS = "ports: [{name: t, port: 80}, {name: u, port: 80, protocol: UDP}]"
VIP = ("10.96.0.99", 80)


def cluster(*rows: str, spec: str = "", base: str = BASE) -> ClusterState:
    """Returns the Service ``web`` with a TCP and a UDP port, and the endpoints ``rows``."""
    web = service("web", f"clusterIP: {VIP[0]}, {PORTS}{spec}")
    ports = "{name: t, port: 8080}, {name: u, port: 8080, protocol: UDP}"
    return state_of(
        text=base + web + (endpoints("web", *rows, ports=ports) if rows else ""), proxy_mode="userspace"
    )


def nobody() -> ClusterState:
    return state_of(text=BASE, proxy_mode="userspace")


class Cluster:
    """Describes a cluster that runs, with its proxies and, unless the test is the server, its servers."""

    def __init__(self, state: ClusterState, *, serve: bool = True) -> None:
        self.state = state
        self.applied = apply(plan_cluster(state), Applied(find_iptables("")))
        self.applied.wait_until_up()
        names = self.applied.namespaces
        self.workers = [*([servers(names)] if serve else []), proxies(names)]
        self._tell()

    def change(self, state: ClusterState) -> None:
        apply(plan_change(self.state, state), self.applied)
        self.applied.wait_until_up()
        self.state = state
        self._tell()

    def _tell(self) -> None:
        for worker in self.workers:
            assert worker.tell(self.state) == []

    def new_socket(self, netns: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
        sock = self.applied.namespaces.call_in(netns, lambda: socket.socket(socket.AF_INET, kind))
        sock.settimeout(2)
        return sock

    def connect(
        self, kind: int = socket.SOCK_STREAM, to: tuple[str, int] = VIP, netns: str = "default_near"
    ) -> socket.socket:
        sock = self.new_socket(netns, kind)
        sock.connect(to)
        return sock

    def ask(self, kind: int = socket.SOCK_STREAM) -> str:
        """Returns the Pod that answers a new client."""
        with self.connect(kind) as sock:
            return say(sock)


@in_sandbox
def test_each_endpoint_in_its_turn() -> None:
    running = Cluster(cluster(WEB_1, WEB_2))
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        assert [running.ask(kind) for _ in range(4)] == ["default/web-1", "default/web-2"] * 2


@pytest.mark.parametrize("gone", [NOT_READY, GONE], ids=["no longer ready", "terminating"])
@in_sandbox
def test_an_endpoint_that_is_gone_gets_no_new_connection_and_its_streams_go_on(gone: str) -> None:
    running = Cluster(cluster(WEB_1))
    with running.connect() as stream:
        assert say(stream) == "default/web-1"
        running.change(cluster(gone % WEB_1_AT, WEB_2))
        assert {running.ask(kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)} == {"default/web-2"}
        assert say(stream) == "default/web-1"


@in_sandbox
def test_streams_go_on_when_the_service_is_deleted() -> None:
    running = Cluster(cluster(WEB_1))
    with running.connect() as stream:
        assert say(stream) == "default/web-1"
        running.change(nobody())
        with pytest.raises(OSError, match="unreachable"):
            running.ask()
        assert say(stream) == "default/web-1"
        running.change(cluster(WEB_2))
        assert running.ask() == "default/web-2"
        assert say(stream) == "default/web-1"


@in_sandbox
def test_a_udp_client_keeps_its_endpoint_until_both_are_silent() -> None:
    running = Cluster(cluster(WEB_1))
    with running.connect(socket.SOCK_DGRAM) as client:
        assert say(client) == "default/web-1"
        assert _asked_without_a_pause(running, client) == "default/web-1"
        time.sleep(2 * UDP_IDLE)
        assert say(client) == "default/web-2"


@in_sandbox
def test_an_endpoint_that_a_busy_machine_keeps_waiting_answers_late() -> None:
    """Ends a UDP client after the network's silence, not after that of a process without a processor."""
    running = Cluster(cluster(WEB_1, WEB_2), serve=False)
    listening = [running.new_socket(f"default_web-{n}", socket.SOCK_DGRAM) for n in (1, 2)]
    for sock, address in zip(listening, ("10.244.1.11", "10.244.2.12"), strict=True):
        sock.bind((address, 8080))
    with running.connect(socket.SOCK_DGRAM) as client:
        client.send(b"to web-1")
        data, first = listening[0].recvfrom(100)
        assert data == b"to web-1"
        time.sleep(2 * UDP_IDLE)
        client.send(b"to web-2")
        data, second = listening[1].recvfrom(100)
        assert data == b"to web-2"
        for sock, peer, answer in ((listening[0], first, b"late"), (listening[1], second, b"in time")):
            sock.sendto(answer, peer)
            assert client.recv(100) == answer


def _asked_without_a_pause(running: Cluster, client: socket.socket) -> str:
    """Returns who answers ``client`` right after web-2 has taken web-1's place; on a busy machine this may
    take several tries.
    """
    for _ in range(20):
        begin = time.monotonic()
        say(client)
        running.workers[-1].tell(cluster(WEB_2))
        answer = say(client)
        if time.monotonic() - begin < UDP_IDLE:
            return answer
        running.workers[-1].tell(cluster(WEB_1))
        time.sleep(2 * UDP_IDLE)
    pytest.fail("the proxies are never told of a change in less time than a client may be silent")


@in_sandbox
def test_what_a_udp_client_sends_to_a_service_that_is_gone_goes_its_way_untranslated() -> None:
    """Deletes its connection. Otherwise the node would go on sending it to the proxy's port, where nobody
    listens, and refuse.
    """
    running = Cluster(cluster(WEB_1))
    with running.connect(socket.SOCK_DGRAM) as client:
        assert say(client) == "default/web-1"
        running.change(nobody())
        client.settimeout(UDP_IDLE)
        with pytest.raises(TimeoutError):
            say(client)


@in_sandbox
def test_a_client_that_shuts_down_its_sending_side_gets_no_answer() -> None:
    running = Cluster(cluster(WEB_1), serve=False)
    listening = running.new_socket("default_web-1")
    listening.bind(("10.244.1.11", 8080))
    listening.listen()

    def talk(to: tuple[str, int]) -> bytes:
        """Returns the answer to a request whose server answers at its end."""
        with running.connect(to=to) as client:
            client.sendall(b"that is all")
            client.shutdown(socket.SHUT_WR)
            server, _ = listening.accept()
            with server:
                while server.recv(100):
                    pass
                try:
                    server.sendall(b"late")
                    return client.recv(100)
                except ConnectionError:
                    return b""

    assert talk(("10.244.1.11", 8080)) == b"late", "the control: straight to the Pod"
    assert talk(VIP) == b""


@in_sandbox
def test_a_megabyte_passes_both_ways() -> None:
    running = Cluster(cluster(WEB_1), serve=False)
    listening = running.new_socket("default_web-1")
    listening.bind(("10.244.1.11", 8080))
    listening.listen()
    data = bytes(range(256)) * 4096
    with running.connect() as client:
        server, _ = listening.accept()
        with server:
            for one, other in ((client, server), (server, client)):
                one.setblocking(False)
                sent, got = 0, bytearray()
                while len(got) < len(data):
                    with suppress(BlockingIOError):
                        sent += one.send(data[sent:])
                    got += other.recv(1 << 20)
                one.settimeout(2)
                assert got == data


@in_sandbox
def test_a_node_that_joins_has_its_proxies() -> None:
    joined = BASE.replace(
        "- {role: worker, labels: {topology.kubernetes.io/zone: b}}", "- {role: worker}\n- {role: worker}"
    )
    joined += SERVER % ("web-4", "worker-3", "10.244.3.14") + ASKER % ("new", "worker-3", "10.244.3.24")
    running = Cluster(cluster(WEB_1))
    running.change(cluster(WEB_1, WEB_2, base=joined))
    with running.connect(netns="default_new") as client:
        assert say(client) == "default/web-1"


@in_sandbox
def test_whoever_looks_for_an_endpoint_is_busy_until_the_client_knows() -> None:
    running = Cluster(cluster(WEB_1.replace("10.244.1.11", "10.244.1.99")))  # an address that nobody has
    with running.connect() as client:
        client.settimeout(2 * sum(DIAL_TIMEOUTS))
        while not running.workers[-1].busy():  # it has still to be let in
            assert not select.select([client], [], [], 0)[0], (
                "the client was let go before its endpoint was looked for"
            )
        while running.workers[-1].busy():
            time.sleep(0.01)
        assert select.select([client], [], [], 0)[0]
        assert client.recv(1) == b""


@in_sandbox
def test_the_same_client_address_goes_to_the_same_endpoint() -> None:
    running = Cluster(cluster(WEB_1, WEB_2, spec=", sessionAffinity: ClientIP"))
    first = {netns: _asked_by(running, netns) for netns in ("default_near", "worker-1")}
    assert len(set(first.values())) == 2
    assert {netns: _asked_by(running, netns) for netns in first} == first


def _asked_by(running: Cluster, netns: str) -> str:
    with running.connect(netns=netns) as sock:
        return say(sock)
