"""Tests docs/semantics.md in ipvs mode: every sentence of sections 1 to 10 and 14 that holds there too, and
those of section 13 instead of the others.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

from emulator.cluster.state import ClusterState
from emulator.kernel.apply import Applied, apply
from emulator.kernel.iptables import find_iptables
from emulator.kernel.netns import Namespaces, check_output
from emulator.objects.config import IPVSScheduler
from emulator.schedule.planner import plan_change, plan_cluster
from emulator.workload.answer import read_reply, request_line
from emulator.workload.serve import servers
from tests.kernel.sentences import (
    ASKERS,
    BASE,
    EXTERNAL,
    NODE_PORT,
    PORT_UNREACHABLE,
    SERVERS,
    WEB_1,
    WEB_2,
    WEB_3,
    Row,
    Section,
    built,
    check_row,
    closed,
    dropped,
    endpoints,
    proxy,
    refused,
    service,
    unreachable,
)
from tests.kernel.test_semantics import SECTIONS
from tests.kernel.test_semantics_objects import SECTIONS as MORE_SECTIONS
from tests.sandboxed import flavour, in_sandbox, state_of

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs("semantics")]

# the sentence that holds, and how its row differs from the one that does not
Instead = tuple[str, Mapping[str, Any]]
LOAD_BALANCERS = "14 load balancers"
REJECTED = {"outcome": "rejected", "evidence": PORT_UNREACHABLE}
ELSEWHERE = {"outcome": "delivered", "meets": "web-1", "seen": "own"}  # an endpoint of another node
LOST = {"outcome": "dropped", "meets": "", "seen": ""}
DIALLED = {
    "NodePort": "own",
    "externalIP": "192.0.2.10",
    "load-balancer IP": "192.0.2.11",
}  # a node port is dialled at the node's own address


def each(sentence: str, instead: str, **changes: str) -> dict[str, Instead]:
    """Returns the rows for all kinds of external addresses."""
    return {f"{how} {sentence}": (f"{how} {instead}", changes) for how in EXTERNAL}


def each_from_node(sentence: str, meets: str) -> dict[str, Instead]:
    """Returns the rows for a node with endpoints."""
    instead = "from the node: its own endpoints, which see the address that it dialled"
    return {
        f"{how} {sentence}": (f"{how} {instead}", {"meets": meets, "seen": address})
        for how, address in DIALLED.items()
    }


def each_from_empty_node(sentence: str, meets: str) -> dict[str, Instead]:
    """Returns the rows for a node without endpoints."""
    instead = {
        how: (
            (
                f"{how} from a node without endpoints: no other node takes packets from an address that "
                "it has itself"
            ),
            LOST,
        )
        for how in EXTERNAL
    }
    instead["NodePort"] = ("NodePort from a node without endpoints: any", {"meets": meets, "seen": "own"})
    return {f"{how} {sentence}": instead[how] for how in EXTERNAL}


INSTEAD: Mapping[str, Mapping[str, Instead]] = {
    "2 endpoint lists": {
        "an endpoint without nodeName is remote to every node": (
            "a ClusterIP alone: rejected without a local endpoint",
            REJECTED,
        ),
        "and remote to the others": ("a ClusterIP alone: rejected where no entry is local", REJECTED),
        "a draining endpoint elsewhere counts as having endpoints": (
            "a ClusterIP alone: rejected, who may drain elsewhere",
            REJECTED,
        ),
    },
    "2 hints and draining": {
        "serving without terminating is not usable locally": (
            "serving without terminating is no local endpoint",
            REJECTED,
        ),
    },
    "4 eTP Local": {
        "externalIP of a Service without node ports: no local endpoint": (
            "externalIP of a Service without node ports: any endpoint, which answers past the node",
            {**ELSEWHERE, "meets": "web-1 web-2"},
        ),
        **each("from a Pod: the Cluster list", "from a Pod: the node's own endpoints", meets="web-1 web-3"),
        **each(
            "from a Pod: even without a local endpoint", "from a Pod: any endpoint where the node has none"
        ),
        **each_from_node("from the node: the Cluster list", "web-2"),
        **each_from_empty_node("from the node: even without a local endpoint", "web-1 web-2 web-3"),
    },
    "5 eTP Local": {
        **each("from a Pod: its own", "from a Pod: its own, by the node's own endpoint", meets="web-1"),
        **each_from_node("from the node: masqueraded", "web-1"),
        **each("hairpin: masqueraded", "hairpin: masqueraded, by the node's own endpoint", meets="web-1"),
    },
    "5 masqueradeAll": each(
        "does not change: from a Pod",
        "does not change: from a Pod, by the node's own endpoint",
        meets="web-1",
    ),
    "5 no local-traffic detector": {
        "ClusterIP from the node: its own": (
            "ClusterIP from the node: from the very address, and masqueraded",
            {"seen": "worker-1"},
        ),
        **each(
            "under eTP Local: Pods are outside clients",
            "under eTP Local: Pods get any endpoint, and its answers",
            **ELSEWHERE,
        ),
        **each_from_empty_node("under eTP Local: the node keeps its short cut", "web-1"),
    },
    "5 detectLocalMode ClusterCIDR, Pods of other nodes": {
        **each(
            "from a Pod inside clusterCIDR: the Cluster list, its own",
            "from a Pod: its own, by the node's own endpoint",
            meets="web-1",
        ),
        **each(
            "from a Pod outside it: an outside client",
            "from a Pod outside clusterCIDR: any endpoint, its own",
            **{**ELSEWHERE, "meets": "web-1 web-2"},
        ),
    },
    "6 source ranges": {
        "the Service's own address passes if the node does": (
            "a client outside that has the Service's own address is no match for the node",
            LOST,
        ),
        "what passes is treated by eTP: no local endpoint": (
            "what passes gets any endpoint under eTP Local",
            ELSEWHERE,
        ),
    },
    "7 drop": {
        "ClusterIP under iTP Local: a Pod": ("ClusterIP under iTP Local: a Pod gets any endpoint", ELSEWHERE),
        "ClusterIP under iTP Local: a node": (
            "ClusterIP under iTP Local: a node gets any endpoint",
            {**ELSEWHERE, "seen": "worker-2"},
        ),
        "ClusterIP under iTP Local: outside": (
            "ClusterIP under iTP Local: outside gets any endpoint",
            {**ELSEWHERE, "seen": "worker-2"},
        ),
        **each(
            "under eTP Local: outside is dropped",
            "under eTP Local: outside gets any endpoint, which answers past the node",
            **ELSEWHERE,
        ),
        **each("under eTP Local: Pods are not", "under eTP Local: Pods get any endpoint"),
        **each_from_empty_node("under eTP Local: the node is not", "web-1"),
    },
    "8 nothing matches": {
        "a wrong port of a load-balancer address is left alone": (
            "a wrong port of a load-balancer address is rejected",
            REJECTED,
        ),
    },
}
ALONE = (  # ipvs mode alone does so
    refused("externalIP from the node", "worker-1", "{ip: 192.0.2.10, port: 80}"),
    refused("load-balancer IP from the node", "worker-2", "{loadBalancer: web, port: 80}"),
)
MORE: Mapping[str, tuple[Row, ...]] = {
    "7 reject, eTP Cluster": ALONE,
    "7 reject, eTP Local": ALONE,
    "8 nothing matches": (
        refused("a wrong port of a ClusterIP is rejected", "near", "{ip: 10.96.0.99, port: 81}"),
        refused("from outside too", "office", "{ip: 10.96.0.99, port: 81}", via="worker-2"),
        refused("from the node too", "worker-2", "{ip: 10.96.0.99, port: 81}"),
        refused(
            "a wrong protocol of a ClusterIP is rejected", "far", "{ip: 10.96.0.99, port: 80}", protocol="UDP"
        ),
        refused("and ICMP echo", "far", "{ip: 10.96.0.99}", protocol="ICMP"),
        refused("a node port at a ClusterIP is a wrong port of it", "near", "{ip: 10.96.0.99, port: 30080}"),
        unreachable("a ClusterIP that nobody has is left alone", "away", "{ip: 10.96.200.1, port: 80}"),
    ),
    "11 what is left behind": (
        unreachable("a ClusterIP whose Service is gone is left alone", "near", "{ip: 10.96.0.98, port: 80}"),
    ),
}
OWN = (
    Section(
        "9 in ipvs mode",
        NODE_PORT,
        (
            Row(
                "every local address: eth0", "near", "{node: worker-1, nodePort: 30080}", "web-1", "worker-1"
            ),
            Row(
                "every local address: the bridge",
                "near",
                "{ip: 10.244.1.1, port: 30080}",
                "web-1",
                "worker-1",
            ),
            closed("never localhost", "worker-1", "{ip: 127.0.0.1, port: 30080}"),
        ),
    ),
    Section(
        "9 nodePortAddresses in ipvs mode",
        proxy("nodePortAddresses: [127.0.0.0/8, 10.244.0.0/16]") + NODE_PORT,
        (
            Row("inside", "near", "{ip: 10.244.1.1, port: 30080}", "web-1", "worker-1"),
            closed("outside", "office", "{node: worker-2, nodePort: 30080}"),
            closed("never localhost", "worker-1", "{ip: 127.0.0.1, port: 30080}"),
        ),
    ),
    Section(
        "13 in ipvs mode",
        service(
            "empty",
            "type: LoadBalancer, loadBalancerSourceRanges: [203.0.113.0/24], ports: [{port: 80}]",
            "{ip: 192.0.2.21}",
        )
        + endpoints("empty")
        + service(
            "apart", "type: NodePort, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30081}]"
        )
        + endpoints("apart", WEB_1)
        + service("vouched", "ports: [{port: 80}]")
        + endpoints("vouched", "{addresses: [10.244.1.11]}")
        + service("adrift", "ports: [{port: 80}]")
        + endpoints("adrift", "{addresses: [10.244.1.13]}")
        + service(
            "hosted", "type: NodePort, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30082}]"
        )
        + endpoints("hosted", "{addresses: [172.18.0.3], nodeName: worker-1}")
        + service("shouted", "ports: [{port: 80}]")
        + endpoints("shouted", "{addresses: [10.244.1.255]}", "{addresses: [255.255.255.255]}")
        + service("half", "ports: [{port: 80}]")
        + endpoints("half", "{addresses: [10.244.1.255]}", "{addresses: [172.18.255.255]}", WEB_2),
        (
            refused(
                "an endpoint at its own network's broadcast address is left out",
                "near",
                "{service: shouted, port: 80}",
            ),
            dropped("elsewhere it is an endpoint as any other", "far", "{service: shouted, port: 80}"),
            Row("others are met beside it", "near", "{service: half, port: 80}", "web-2", "own"),
            dropped(
                "source ranges come before the want of an endpoint",
                "stranger",
                "{ip: 192.0.2.21, port: 80}",
                via="worker-1",
            ),
            refused("inside the ranges: rejected", "office", "{ip: 192.0.2.21, port: 80}", via="worker-1"),
            refused("the node's own packets: rejected", "worker-1", "{ip: 192.0.2.21, port: 80}"),
            dropped(
                "a node that is led back to itself hears nothing",
                "worker-1",
                "{node: worker-2, nodePort: 30082}",
            ),
            dropped(
                "a Pod meets itself in vain where no slice says on which node it is",
                "web-3",
                "{service: adrift, port: 80}",
            ),
            Row(
                "another Service's slice will do",
                "web-1",
                "{service: vouched, port: 80}",
                "web-1",
                "worker-1",
            ),
            Row(
                "a Pod meets itself by another node's port, and hears from itself",
                "web-1",
                "{node: worker-2, nodePort: 30081}",
                "web-1",
                "worker-1",
            ),
        ),
    ),
    Section(
        "14 in ipvs mode without strictARP",
        service("empty", "type: LoadBalancer, externalIPs: [172.18.9.10], ports: [{port: 80}]")
        + endpoints("empty"),
        (
            refused(
                "no endpoint: nobody announces it, and whoever is heard rejects",
                "office",
                "{loadBalancer: empty, port: 80}",
            ),
            refused("an externalIP of the host network: likewise", "office", "{ip: 172.18.9.10, port: 80}"),
        ),
    ),
)


# No local-traffic detector has a say in externalTrafficPolicy Local: all that these are about.
DETECTORS = tuple(
    f"{detector}, Pods of other nodes" for detector in ("NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")
)


def in_ipvs_mode(section: Section) -> Section:
    """Returns ``section`` as it is in ipvs mode."""
    instead = INSTEAD.get(section.name, {})
    rows = section.rows_of("ipvs")
    assert instead.keys() <= {row.sentence for row in rows}, f"{section.name} does not say so"
    # else any node may be the speaker
    settings = proxy("ipvs: {strictARP: true}") if section.name == LOAD_BALANCERS else ""
    said = (_row(row, instead.get(row.sentence)) for row in rows)
    return replace(section, manifests=settings + section.manifests, rows=(*said, *MORE.get(section.name, ())))


def _row(row: Row, instead: Instead | None) -> Row:
    return replace(row, sentence=instead[0], **instead[1]) if instead else row


def cases() -> Iterator[Any]:
    said = (section for section in (*SECTIONS, *MORE_SECTIONS) if not section.name.endswith(DETECTORS))
    for section in (*map(in_ipvs_mode, said), *OWN):
        for row in section.rows:
            yield pytest.param(section, row, id=f"{section.name}: {row.sentence}")


@pytest.mark.parametrize(("section", "row"), list(cases()))
def test_sentence(section: Section, row: Row) -> None:
    check_row(section, row, "ipvs")


# --- load balancing is the kernel's
# ---------------------------------------------------------------------------------

BALANCED = "10.96.0.9"
SCHEDULERS = get_args(IPVSScheduler)


def balanced(scheduler: str, protocol: str = "TCP", affinity: str = "", settings: str = "") -> ClusterState:
    port = f"clusterIP: {BALANCED}, ports: [{{port: 80, protocol: {protocol}}}]"
    slices = endpoints(
        "web",
        WEB_1,
        WEB_2,
        WEB_3,
        ports=f"{{port: {5303 if protocol == 'SCTP' else 8080}, protocol: {protocol}}}",
    )
    manifests = (
        BASE + proxy(f"ipvs: {{scheduler: {scheduler}{settings}}}") + service("web", port + affinity) + slices
    )
    return state_of(text=manifests, proxy_mode="ipvs")


def connect(namespaces: Namespaces, netns: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    client = namespaces.call_in(netns, lambda: socket.socket(socket.AF_INET, kind))
    client.settimeout(2)
    client.connect((BALANCED, 80))
    return client


def who(client: socket.socket) -> str:
    """Returns the Pod at the other end."""
    client.send(request_line(1))
    answer = read_reply(client.recv(4096))
    assert answer
    return answer.pod


@pytest.mark.parametrize("scheduler", ["rr", "wrr"])
@in_sandbox
def test_round_robin_gives_each_endpoint_its_turn(scheduler: str) -> None:
    namespaces = built(balanced(scheduler))
    with ExitStack() as stack:
        met = [who(stack.enter_context(connect(namespaces, "default_near"))) for _ in range(9)]
    assert len(set(met[:3])) == 3
    assert met == met[:3] * 3


@in_sandbox
def test_least_connection_takes_the_endpoint_that_was_left() -> None:
    namespaces = built(balanced("lc"))
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(namespaces, "default_near")) for _ in range(6)]
        met = [who(client) for client in clients]
        assert Counter(met).keys() == {"default/web-1", "default/web-2", "default/web-3"}
        assert set(Counter(met).values()) == {2}
        left = met[4]
        for client, pod in zip(clients, met, strict=True):
            if pod == left:
                # the next packet is its last
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
        assert [who(stack.enter_context(connect(namespaces, "default_near"))) for _ in range(2)] == [
            left,
            left,
        ]


@in_sandbox
def test_source_hashing_goes_by_the_client() -> None:
    """Sends without session affinity."""
    namespaces = built(balanced("sh"))
    met: dict[str, set[str]] = {}
    for client in (
        "default_near",
        "default_far",
        "default_away",
        "default_web-1",
        "default_web-2",
        "default_web-3",
    ):
        for _ in range(4):
            with connect(namespaces, client) as sock:
                met.setdefault(client, set()).add(who(sock))
    assert {len(pods) for pods in met.values()} == {1}
    assert len(set.union(*met.values())) > 1


@cache
def under_each_scheduler() -> dict[str, tuple[str, set[str]]]:
    """Returns the Service in ``ipvsadm``, and the Pods that six connections met, while one scheduler takes
    the place of another.
    """

    @in_sandbox
    def walk() -> dict[str, tuple[str, set[str]]]:
        before = balanced("rr")
        applied = apply(plan_cluster(before), Applied(find_iptables(flavour())))
        applied.wait_until_up()
        servers(applied.namespaces).tell(before)
        found = {}
        for scheduler in SCHEDULERS:
            after = balanced(scheduler)
            apply(plan_change(before, after), applied)
            before = after
            saved = check_output(applied.namespaces, "worker-1", ["ipvsadm", "-Sn"])
            said = next(line for line in saved.splitlines() if line.startswith(f"-A -t {BALANCED}:80 "))
            with ExitStack() as stack:
                found[scheduler] = (
                    said,
                    {who(stack.enter_context(connect(applied.namespaces, "default_near"))) for _ in range(6)},
                )
        return found

    each: dict[str, tuple[str, set[str]]] = walk()
    return each


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_each_scheduler_of_kube_proxy_balances(scheduler: str) -> None:
    said, met = under_each_scheduler()[scheduler]
    assert said == f"-A -t {BALANCED}:80 -s {scheduler}" + (" -b mh-port" if scheduler == "mh" else "")
    by_address = scheduler in ("dh", "sh")  # the Service's, the client's
    assert len(met) == 1 if by_address else len(met) > 1


@pytest.mark.parametrize(
    ("port", "answers"), [(40001, False), (40002, True)], ids=["the same port", "the control: another one"]
)
@in_sandbox
def test_a_connection_that_has_ended_spoils_its_port_for_the_endpoint(port: int, answers: bool) -> None:
    namespaces = built(balanced("rr"))

    def dial(ip: str, number: int, source: int) -> str:
        with namespaces.call_in(
            "default_near", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        ) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.settimeout(1)
            client.bind(("", source))
            client.connect((ip, number))
            return who(client)

    pod = dial(BALANCED, 80, 40001)
    direct = SERVERS[pod.removeprefix("default/")][1]
    if answers:
        assert dial(direct, 8080, port) == pod
    else:
        with pytest.raises(OSError):  # noqa: PT011 - a time-out, or a reset
            dial(direct, 8080, port)


@in_sandbox
def test_an_sctp_association_goes_to_each_endpoint_in_turn() -> None:
    """Tests the kernel's own SCTP at both ends: four packets, two of which each proves that it is
    reached, and data both ways.
    """
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        pytest.skip("this kernel has no SCTP")

    def association() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
        sock.settimeout(2)
        return sock

    applied = apply(plan_cluster(balanced("rr", "SCTP")), Applied(find_iptables(flavour())))
    applied.wait_until_up()
    namespaces = applied.namespaces
    listeners = {}
    for pod, (_, ip) in SERVERS.items():
        listeners[pod] = namespaces.call_in(f"default_{pod}", association)
        listeners[pod].bind((ip, 5303))
        listeners[pod].listen()
    met = []
    for _ in range(6):
        with namespaces.call_in("default_near", association) as client:
            client.connect((BALANCED, 80))
            client.send(b"ping")
            ready, _, _ = select.select(list(listeners.values()), [], [], 2)
            pod = next(pod for pod, listener in listeners.items() if listener in ready)
            with listeners[pod].accept()[0] as connection:
                assert connection.getpeername()[0] == ASKERS["near"][1]
                assert connection.recv(100) == b"ping"
                connection.send(b"pong")
                assert client.recv(100) == b"pong"
            met.append(pod)
    assert sorted(met[:3]) == sorted(SERVERS)
    assert met == met[:3] * 2


# --- 12 ----------------------------------------------------------------------------------------------------


@in_sandbox
def test_12_affinity_lasts_until_its_timeout_after_the_last_connection() -> None:
    """Tests UDP, whose connections the kernel is told to forget soon."""
    affinity = ", sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 2}}"
    namespaces = built(balanced("rr", "UDP", affinity, ", udpTimeout: 1s"))
    assert (
        check_output(namespaces, "worker-1", ["ipvsadm", "-L", "--timeout"])
        == "Timeout (tcp tcpfin udp): 900 120 1\n"
    )

    def ask() -> str:
        with connect(namespaces, "default_near", socket.SOCK_DGRAM) as client:
            return who(client)

    first = ask()
    for _ in range(4):
        time.sleep(1)
        assert ask() == first
    # a second until the connection is forgotten, two more until its client is, and the kernel's timers are
    # slack
    time.sleep(4)
    assert ask() != first  # round robin: the next one


@in_sandbox
def test_12_a_udp_client_that_is_silent_for_the_time_out_is_led_elsewhere() -> None:
    """Sends by the same socket."""
    namespaces = built(balanced("rr", "UDP", settings=", udpTimeout: 1s"))

    def remembered() -> list[str]:
        return Path("/proc/thread-self/net/ip_vs_conn").read_text().splitlines()[1:]

    with connect(namespaces, "default_near", socket.SOCK_DGRAM) as client:
        first = who(client)
        assert who(client) == first
        for _ in range(100):
            if not namespaces.call_in("worker-1", remembered):
                break
            time.sleep(0.1)
        assert who(client) != first  # round robin: the next one
