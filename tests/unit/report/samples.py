"""Makes a small run by hand: its frames, its journeys and its report."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from emulator.model.expectations import Expectation
from emulator.model.findings import Finding, FlowFault
from emulator.model.flows import Client, Destination, Flow, SourcePlace
from emulator.model.frames import Captured
from emulator.model.journeys import Change, Connection, Ending, Hop, Journey
from emulator.model.reasons import Reason, Why
from emulator.model.requirements import Sentence
from emulator.model.results import (
    FlowResult,
    NodeRow,
    Observation,
    PodRow,
    PortRow,
    Report,
    Requirement,
    ServiceRow,
)
from emulator.net import Endpoint
from emulator.objects.notices import LeftOutKinds
from emulator.objects.references import ObjectRef, service_ref
from tests.unit.expectations import expectation_of

# 2026-01-01T00:00:00.000000001Z in ns: a microsecond writer would lose the 1
START = 1_767_225_600_000_000_001
CLIENT, WEB_0, WEB_1, SERVICE, WORKER_1 = "10.244.1.2", "10.244.1.3", "10.244.2.4", "10.96.0.10", "172.18.0.3"
PODS: Mapping[str, str] = {CLIENT: "default/client", WEB_0: "default/web-0", WEB_1: "default/web-1"}
NAMES: Mapping[str, str] = {
    CLIENT: "client",
    WEB_0: "web-0",
    WEB_1: "web-1",
    SERVICE: "svc/web",
    WORKER_1: "worker-1",
}


def tcp_frame(src: str, sport: int, dst: str, dport: int, *, flags: int = 0x02, ttl: int = 64) -> bytes:
    """Returns an Ethernet frame with an IPv4 TCP segment without data (its checksums left 0)."""
    tcp = struct.pack("!HHIIBBHHH", sport, dport, 1, 0, 5 << 4, flags, 64240, 0, 0)
    ip = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(tcp),
        1,
        0,
        ttl,
        6,
        0,
        ip_address(src).packed,
        ip_address(dst).packed,
    )
    return bytes.fromhex("020000000001020000000002") + b"\x08\x00" + ip + tcp


def captured(offset: int, netns: str, interface: str, outgoing: bool, data: bytes) -> Captured:
    return Captured(START + offset, netns, interface, outgoing, len(data), data)


FRAMES = [
    captured(0, "default_client", "eth0", True, tcp_frame(CLIENT, 40000, SERVICE, 80)),
    captured(500, "worker-1", "veth1", False, tcp_frame(CLIENT, 40000, SERVICE, 80)),
    captured(900, "worker-1", "eth0", True, tcp_frame(CLIENT, 40000, WEB_1, 8080, ttl=63)),
    captured(1_700, "default_web-1", "eth0", False, tcp_frame(CLIENT, 40000, WEB_1, 8080, ttl=62)),
    captured(2_000, "default_web-1", "eth0", True, tcp_frame(WEB_1, 8080, CLIENT, 40000, flags=0x12)),
    captured(
        3_000_000_000,
        "default_client",
        "eth0",
        False,
        tcp_frame(SERVICE, 80, CLIENT, 40000, flags=0x12, ttl=62),
    ),
    captured(4_000_000_000, "default_client", "eth0", True, tcp_frame(CLIENT, 40001, "10.96.0.20", 80)),
]

AT_CLIENT, AT_SERVICE = Endpoint.of(CLIENT, 40000), Endpoint.of(SERVICE, 80)
AT_WEB_1 = Endpoint.of(WEB_1, 8080)
DNAT = Change("DNAT", "worker-1", AT_SERVICE, AT_WEB_1, 2)
UN_DNAT = Change("un-DNAT", "worker-1", AT_WEB_1, AT_SERVICE, 5)


def hop(number: int, src: Endpoint, dst: Endpoint, ttl: int) -> Hop:
    frame = FRAMES[number]
    return Hop(
        frame.time, frame.netns, frame.interface, "out" if frame.outgoing else "in", src, dst, ttl, number
    )


DELIVERED = Journey(
    token=6 << 64 | 1,
    crafted=False,
    sent=Connection(AT_CLIENT, AT_SERVICE),
    there=(
        hop(0, AT_CLIENT, AT_SERVICE, 64),
        hop(1, AT_CLIENT, AT_SERVICE, 64),
        hop(2, AT_CLIENT, AT_WEB_1, 63),
        hop(3, AT_CLIENT, AT_WEB_1, 62),
    ),
    back=(
        hop(4, AT_WEB_1, AT_CLIENT, 64),
        hop(5, AT_SERVICE, AT_CLIENT, 62),
    ),
    changes=(DNAT, UN_DNAT),
    outcome="delivered",
    backend=Endpoint.of(WEB_1, 8080),
    source_seen=CLIENT,
    reply_from=AT_SERVICE,
)
DROPPED = Journey(
    token=6 << 64 | 2,
    crafted=False,
    sent=Connection(Endpoint.parse(f"{CLIENT}:40001"), Endpoint.parse("10.96.0.20:80")),
    there=(hop(6, Endpoint.parse(f"{CLIENT}:40001"), Endpoint.parse("10.96.0.20:80"), 64),),
    back=(),
    changes=(),
    outcome="dropped",
    ending=Ending(kind="silence", last=hop(6, f"{CLIENT}:40001", "10.96.0.20:80", 64)),
)


def flow(name: str, ip: str = SERVICE, **fields: Any) -> Flow:
    client = Client(
        kind="pod", label="pod default/client", netns="default_client", ip=CLIENT, node="worker-1"
    )
    to = Destination(label="svc default/web:80", ip=ip, port=80, service="default/web", how="clusterIP")
    return Flow(
        **{
            "name": name,
            "kind": "pod-to-service",
            "client": client,
            "to": to,
            "protocol": "TCP",
            "attempts": 16,
            **fields,
        }
    )


def expectation(**fields: Any) -> Expectation:
    return expectation_of(
        **{
            "backends": {Endpoint.of(WEB_0, 8080): "preserved", Endpoint.of(WEB_1, 8080): "preserved"},
            "addresses": {"preserved": frozenset({CLIENT}), "node": frozenset({WORKER_1, "10.244.1.1"})},
            "source": "preserved",
            **fields,
        }
    )


PASSED = FlowResult(
    flow=flow("pod default/client → svc default/web:80 (other node)"),
    expected=expectation(),
    observed=Observation(
        outcomes={"delivered": 17},
        backends={Endpoint.of(WEB_1, 8080): 8, Endpoint.of(WEB_0, 8080): 9},
        sources=(CLIENT,),
        reply_from=(AT_SERVICE,),
    ),
    journeys=(
        DELIVERED,
        replace(
            DELIVERED,
            crafted=True,
            backend=Endpoint.of(WEB_0, 8080),
            changes=(replace(DNAT, after=Endpoint.parse(f"{WEB_0}:8080")),),
        ),
    ),
    verdict="pass",
    frames=(0, 1, 2, 3, 4, 5),
)
FAILED = FlowResult(
    flow=flow("pod default/client → svc default/gone:80", ip="10.96.0.20"),
    expected=expectation(),
    observed=Observation(outcomes={"dropped": 2}),
    journeys=(DROPPED,),
    verdict="fail",
    finding=Finding(fault=FlowFault.OUTCOME, journey=DROPPED, expected="delivered"),
    frames=(6,),
)


def node_row(name: str, address: str, podCIDR: str, *pods: str) -> NodeRow:
    return NodeRow(
        name=name, roles=("worker",), addresses=(address,), podCIDR=podCIDR, pods=tuple(map(PodRow, pods))
    )


def service_row(name: str, address: str, *ports: PortRow, endpoints: int = 2) -> ServiceRow:
    return ServiceRow(
        name=name,
        type="ClusterIP",
        address=address,
        proxied=address != "None",
        ports=ports,
        endpoints=endpoints,
    )


REPORT = Report(
    topology="three-networks",
    seed=7,
    proxy_mode="iptables",
    release="v1.37",
    machine={
        "kernel": "6.18.44",
        "iptables": "nft",
        "podwire": "0.1.0",
        "started": "2026-01-01T00:00:00Z",
        "seconds": "2.31",
    },
    cluster=(
        NodeRow(
            name="control-plane",
            roles=("control-plane",),
            addresses=("172.18.0.2",),
            podCIDR="10.244.0.0/24",
            pods=(PodRow("kube-apiserver-control-plane", hostNetwork=True),),
        ),
        node_row("worker-1", WORKER_1, "10.244.1.0/24", "client", "web-0"),
        node_row("worker-2", "172.18.0.4", "10.244.2.0/24", "web-1"),
    ),
    services=(
        service_row("default/kubernetes", "10.96.0.1", PortRow(443, "TCP"), endpoints=1),
        service_row("default/web", SERVICE, PortRow(80, "TCP", 30080), PortRow(53, "UDP"), endpoints=2),
    ),
    flows=(PASSED, FAILED),
    requirements=(
        Requirement(sentence=Sentence.PODS_REACH_PODS, verdict="pass", checked=12),
        Requirement(sentence=Sentence.NO_INTERFACE, verdict="unknown", checked=0),
    ),
    notices=(LeftOutKinds((("ConfigMap", 3), ("Ingress", 1))),),
)


def checked(
    check: str,
    called: str,
    to: Destination,
    *changes: Change,
    client: Client,
    source_seen: str | None = None,
    place: SourcePlace = SourcePlace(),  # noqa: B008 - a frozen value
    **fields: Any,
) -> FlowResult:
    """Returns a flow of a FlowCheck that went as promised: delivered where ``source_seen`` is given."""
    sent = Connection(Endpoint.of(client.ip, 40000), Endpoint.of(to.ip, to.port))
    led_to = next((change.led_to for change in reversed(changes) if change.what == "DNAT"), sent.dst)
    last = hop(2, sent.src, sent.dst, 63)._replace(netns="worker-2", interface="eth0", direction="in")
    delivered = source_seen is not None
    journey = replace(
        DELIVERED if delivered else DROPPED,
        sent=sent,
        changes=changes,
        backend=led_to if delivered else None,
        source_seen=source_seen,
        **({} if delivered else {"there": (last,), "ending": Ending(kind="silence", last=last)}),
    )
    return FlowResult(
        flow=flow(
            f"{check}: {called}",
            called=called,
            check=check,
            entry=called,
            client=client,
            to=to,
            kind="other",
            place=place,
        ),
        expected=expectation() if delivered else expectation_of("dropped"),
        observed=Observation(
            outcomes={"delivered": 4} if delivered else {"dropped": 4},
            backends={led_to: 4} if delivered else {},
            sources=(source_seen,) if delivered else (),
        ),
        journeys=(journey,),
        **{"verdict": "pass", "captures": ("01-a.pcapng",), **fields},
    )


OUTSIDE = Client(kind="external", label="external client-1", netns="client-1", ip="203.0.113.10")
INSIDE = Client(kind="pod", label="pod default/client", netns="default_client", ip=CLIENT, node="worker-1")
NODE_PORT = Destination(
    label="node worker-1:30080", ip=WORKER_1, port=30080, service="default/web", how="nodePort"
)
LOCAL_PORT = Destination(
    label="node worker-2:30081", ip="172.18.0.4", port=30081, service="default/web-local", how="nodePort"
)
AT_NODE_PORT = Endpoint.of(WORKER_1, 30080)
# two FlowChecks, all as promised
CHECKED = replace(
    REPORT,
    topology="source-address",
    flows=(
        checked(
            "cluster-hides-outside-clients",
            "outside, through the node with the endpoint",
            NODE_PORT,
            Change("DNAT", "worker-1", AT_NODE_PORT, AT_WEB_1, 1),
            Change("SNAT", "worker-1", Endpoint.of(OUTSIDE.ip, 40000), Endpoint.of("10.244.1.1", 40000), 1),
            client=OUTSIDE,
            source_seen="10.244.1.1",
        ),
        checked(
            "cluster-hides-outside-clients",
            "a Pod on the node that it dials",
            NODE_PORT,
            Change("DNAT", "worker-1", AT_NODE_PORT, AT_WEB_1, 1),
            client=INSIDE,
            source_seen=CLIENT,
        ),
        checked(
            "local-keeps-them-or-drops-them",
            "outside, through a node without one",
            LOCAL_PORT,
            client=OUTSIDE,
        ),
        replace(PASSED, flow=flow("pod default/client → pod default/web-1", control=True)),
    ),
    notices=(),
)


def refused_of(number: int, **fields: Any) -> FlowResult:
    """Returns a flow of Pod ``number`` of deployment/web that a FlowCheck wants delivered, and the objects
    promise rejected, since the Service has no endpoint.
    """
    ip = f"10.244.{number}.5"
    service = service_ref("default/typo-selector")
    because = Reason(why=Why.NO_ENDPOINT, objects=(service,))
    promise = expectation_of("rejected", because)
    wanted = replace(
        expectation(),
        because=Reason(
            why=Why.FLOW_CHECK, objects=(ObjectRef("FlowCheck", "x"),), outcome="delivered", then=(because,)
        ),
        promised=promise,
    )
    client = Client(
        kind="pod", label=f"pod default/web-{number}", netns=f"default_web-{number}", ip=ip, node="worker-1"
    )
    to = Destination(label="svc default/typo-selector:80", ip="10.96.0.20", port=80, how="clusterIP")
    sent = Connection(Endpoint.of(ip, 40000), Endpoint.of(to.ip, 80))
    back = hop(4, Endpoint.of("10.244.1.1", 0), sent.src, 64)._replace(netns="worker-1", interface="cbr0")
    journey = replace(
        DROPPED,
        sent=sent,
        there=(hop(1, sent.src, sent.dst, 64),),
        back=(back,),
        outcome="rejected",
        ending=Ending(kind="icmp", code="3/3", by=Endpoint.of("10.244.1.1", 0)),
    )
    return FlowResult(
        flow=flow(
            f"x: a (from default/web-{number})",
            check="x",
            entry="a",
            client=client,
            to=to,
            place=SourcePlace("checks/fc.yaml", 6),
        ),
        expected=wanted,
        observed=Observation(outcomes={"rejected": 2}),
        journeys=(journey,),
        verdict="fail",
        finding=Finding(fault=FlowFault.OUTCOME, journey=journey, expected="delivered", count=2, total=2),
        captures=(f"0{number}-x-a.pcapng",),
        bundle=f"failed/0{number}-x-a",
        **fields,
    )


# a FlowCheck that fails for every Pod of a workload, for one cause
TYPO = replace(
    REPORT,
    topology="typo",
    cluster=(
        NodeRow(
            name="worker-1",
            roles=("worker",),
            addresses=(WORKER_1,),
            podCIDR="10.244.1.0/24",
            pods=tuple(PodRow(f"web-{n}", False, "default", "deployment/web") for n in (1, 2)),
        ),
    ),
    flows=(refused_of(1), refused_of(2)),
    places={service_ref("default/typo-selector"): SourcePlace("deploy/typo.yaml", 13)},
    notices=(),
)
