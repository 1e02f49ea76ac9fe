"""Tests random clusters: in each proxy mode the packets do what the objects promise.

Every client dials every address and port of every Service with crafted packets, which the kernels answer
without a process of ours (but for UDP and SCTP). A first look does not wait long for silence and sends one
packet a flow, one flow of each port as many as meet every endpoint; a flow that differs is asked again
in a new sandbox, patiently and until every endpoint was met, before it counts.

Always the same examples, as many as fit into CI; ``PODWIRE_EXAMPLES=1000 pytest
tests/kernel/test_random_clusters.py`` draws others. A finding is shrunk in a minute or two and kept in
``captures/``, where the failure says: fixed, it goes to ``tests/data/found/``, under a first line that says
what it showed.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, find, given, settings

from emulator.capture.recording import Recording
from emulator.capture.ring import Taps
from emulator.cluster.state import ROUTER, SWITCH, ClusterState
from emulator.controllers.services import KUBERNETES
from emulator.journeys.correlate import correlate
from emulator.kernel import sandbox
from emulator.kernel.apply import Applied, apply, do
from emulator.kernel.iptables import find_iptables
from emulator.kernel.ipvs import require_ipvs
from emulator.model.expectations import Expectation
from emulator.model.flows import (
    Attempt,
    Client,
    Destination,
    Flow,
)
from emulator.model.reasons import Why
from emulator.model.results import FlowResult
from emulator.net import Address, host_prefix
from emulator.oracle.endpoints import PortEndpoints, cluster_ips
from emulator.oracle.expectations import Expectations, attempts_of
from emulator.oracle.parties import (
    address_destination,
    communication_kind,
    external_client,
    health_check_destination,
    node_client,
    pod_client,
    service_destination,
)
from emulator.plan.operations import AddRoute
from emulator.proxy.endpoints import ServicePortFacts
from emulator.report.prose import say
from emulator.report.prose_of_verdicts import say_verdict
from emulator.schedule.planner import plan_cluster
from emulator.traffic.crafted import craft
from emulator.traffic.send import Prober
from emulator.traffic.silence import SILENCE
from emulator.verdicts.judge import judge
from emulator.workload.proxying import proxies
from emulator.workload.serve import servers
from emulator.workload.worker import any_busy
from tests.kernel.random_clusters import Manifest, clusters, to_yaml
from tests.sandboxed import ROOT, flavour, state_of

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

MODES = ["iptables", "nftables", "userspace"]
IPVS = pytest.param("ipvs", marks=pytest.mark.ipvs("changes"))
KEPT = ROOT / "captures" if os.access(ROOT / "captures", os.W_OK) else Path(gettempdir())
FOUND = sorted((ROOT / "tests" / "data" / "found").glob("*.yaml"))
WANTED = int(os.environ.get("PODWIRE_EXAMPLES", "0"))
HASTE = 0.04  # seconds of silence that a first look takes for an answer
SEARCH = settings(  # one difference at a time, and no time for what Hypothesis would explain about it
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
)
# errors of "no route" that one client is owed: a kernel stops after five in a row (net/ipv4/route.c,
# ip_error)
NO_ROUTE = 2


# --- the flows --------------------------------------------------------------------------------------------


def flows_of(promised: Expectations) -> tuple[Flow, ...]:
    """Returns every client to every address of every Service port and to a port that the ClusterIP has not,
    an outside client through one node an address. One flow of each port has as many attempts as meet every
    endpoint.
    """
    flows: dict[str, Flow] = {}
    ways: dict[str, str] = {}
    without_route: Counter[str] = Counter()
    clients = _clients(promised.state)
    for number, endpoints in enumerate(e for e in promised.table.ports if e.service.key != KUBERNETES):
        thorough = False
        turned = number % len(clients)
        for client, to in _pairs(promised, endpoints, [*clients[turned:], *clients[:turned]]):
            flow = _flow(promised, endpoints, client, to, ways)
            expected = promised.expect(flow)
            without_route[client.netns] += expected.outcome == "unreachable"
            if expected.outcome == "unreachable" and without_route[client.netns] > NO_ROUTE:
                continue
            if flow.name in flows or not _can_be_told(promised, flow, expected):
                continue
            if len(expected.endpoints) > 1 and not thorough:
                flow, thorough = _until_all_are_met(flow, expected), True
            flows[flow.name] = flow
    return tuple(flows.values())


def _flow(
    promised: Expectations, endpoints: PortEndpoints, client: Client, to: Destination, ways: dict[str, str]
) -> Flow:
    """Returns a flow. ``ways`` keeps the node through which each address is reached from outside: another one
    each time.
    """
    via = ""
    if client.kind == "external" and to.ip not in promised.owners:
        via = ways.setdefault(to.ip, promised.state.nodes[len(ways) % len(promised.state.nodes)].name)
    protocol = endpoints.port.protocol
    return Flow(
        name=f"{client.label} → {to.label} ({protocol}, {to.ip}{via and f' via {via}'})",
        kind=communication_kind(promised.owners, client, to),
        client=client,
        to=to,
        protocol=protocol,
        attempts=1,
        via=via,
    )


def _until_all_are_met(flow: Flow, expected: Expectation) -> Flow:
    return replace(flow, attempts=attempts_of(expected))


def _clients(state: ClusterState) -> list[Client]:
    return [
        *map(pod_client, state.pods),
        *map(node_client, state.nodes),
        *map(external_client, state.clients),
    ]


def _pairs(
    promised: Expectations, endpoints: PortEndpoints, clients: Sequence[Client]
) -> Iterator[tuple[Client, Destination]]:
    """Yields each client with its destinations. Nobody dials from outside an address that no Service
    captures: router and node would pass that to each other.
    """
    service, port = endpoints.service, endpoints.port
    fixed = [
        service_destination(service, port, "clusterIP", Address(ip))
        for ip in cluster_ips(service, promised.state.family)
    ]
    fixed += [address_destination(promised.owners, to.ip, 9) for to in fixed]
    fixed += [
        service_destination(service, port, "externalIP", Address(ip)) for ip in service.spec.externalIPs
    ]
    fixed += [
        service_destination(service, port, "loadBalancer", Address(entry.ip))
        for entry in service.status.loadBalancer.ingress
    ]
    for client in clients:
        for to in fixed:
            if client.kind != "external" or (to.ip, to.port, port.protocol) in promised.table.addresses:
                yield client, to
        for node in promised.state.nodes if port.nodePort else ():
            for ip in (*node.internalIPs, promised.state.gateway(node.name)):
                yield client, service_destination(service, port, "nodePort", Address(ip), node.name)
        if port.nodePort and client.kind == "node":
            yield client, service_destination(service, port, "nodePort", Address("127.0.0.1"), client.node)
        if service.spec.healthCheckNodePort and port.protocol == "TCP":
            for node in promised.state.nodes:
                yield client, health_check_destination(service, Address(node.internalIPs[0]), node.name)


def _can_be_told(promised: Expectations, flow: Flow, expected: Expectation) -> bool:
    """Returns whether the endpoint can be observed. On a node's own address that of SCTP cannot: crafted
    packets do not ask it.
    """
    return flow.protocol != "SCTP" or not _on_a_node(promised, expected) or promised.translation(flow) is None


def _on_a_node(promised: Expectations, expected: Expectation) -> bool:
    """Returns whether an endpoint may be on a node's own address, where no tap sees to what a packet was
    translated.
    """
    return any(backend.address in promised.state.node_by_ip for backend in expected.backends)


# --- the packets ------------------------------------------------------------------------------------------


def dial(
    state: ClusterState, flows: Sequence[Flow], promised: Expectations, silence: float
) -> list[FlowResult]:
    """Returns the results of ``flows`` in a sandbox of their own."""
    craft(())  # imports Scapy here, and not in every sandbox anew
    if state.proxy.mode == "ipvs":
        require_ipvs()
    iptables = find_iptables(flavour())
    return sandbox.run(lambda _: _dial(state, iptables, flows, promised, silence))


def _dial(
    state: ClusterState, iptables: str, flows: Sequence[Flow], promised: Expectations, silence: float
) -> list[FlowResult]:
    gc.disable()
    mode = state.proxy.mode
    applied = apply(plan_cluster(state), Applied(iptables))
    applied.wait_until_up()
    workers = [servers(applied.namespaces), *([proxies(applied.namespaces)] if mode == "userspace" else [])]
    for worker in workers:
        worker.tell(state)
    taps = Taps()
    shared = {SWITCH, ROUTER, *state.node}
    most, fewest = (16_384, 4096) if mode == "userspace" else (4096, 512)  # connections, or a packet each
    slots = {name: most if name in shared else fewest for name in applied.namespaces}
    taps.open(
        applied.namespaces,
        {name: applied.interfaces(name) for name in slots},
        applied.ports,
        slots,
        width=256,
    )
    try:
        recording = Recording(taps)
        prober = Prober(
            applied.namespaces,
            recording,
            state.seed,
            fresh_ports=mode == "ipvs",
            silence=silence,
            busy=partial(any_busy, workers),
        )
        relayed = {flow.name for flow in flows if promised.expect(flow).relayed}
        attempts = prober.probe(_packets(promised, (flow for flow in flows if not flow.via)), relayed=relayed)
        ways = {flow.to.ip: flow.via for flow in flows if flow.via}
        do(
            [
                AddRoute(
                    netns=ROUTER,
                    dst=host_prefix(ip),
                    dev="eth0",
                    via=Address(state.node[node].internalIPs[0]),
                    why="announced",
                )
                for ip, node in ways.items()
            ],
            applied,
        )
        if ways:
            attempts += prober.probe(
                _packets(promised, (flow for flow in flows if flow.via)), relayed=relayed
            )
        recording.finish()
        return _judge(flows, promised, attempts, recording)
    finally:
        taps.close()


def _packets(promised: Expectations, flows: Iterable[Flow]) -> list[Flow]:
    """Returns each flow once for each of its attempts: with a crafted packet, and by socket only where the
    server must say who it is, or where a process of the node stands between client and server.
    """

    def sockets(flow: Flow) -> int:
        expected = promised.expect(flow)
        return int(flow.protocol == "SCTP" or expected.relayed or _on_a_node(promised, expected))

    return [packet for flow in flows for packet in [replace(flow, attempts=sockets(flow))] * flow.attempts]


def _judge(
    flows: Sequence[Flow], promised: Expectations, attempts: Sequence[Attempt], recording: Recording
) -> list[FlowResult]:
    correlation = correlate(attempts, recording.frames)
    own: dict[str, list[int]] = {flow.name: [] for flow in flows}
    for index, attempt in enumerate(attempts):
        own[attempt.flow].append(index)
    lost = recording.lost()
    return [
        judge(
            flow,
            promised.expect(flow),
            [correlation.journeys.get(index) for index in own[flow.name]],
            [attempts[index] for index in own[flow.name]],
            lost,
            {},
        )
        for flow in flows
    ]


def _difference(promised: Expectations, result: FlowResult) -> str:
    """Returns what of ``result`` is not as promised, a sentence; "" if nothing is."""
    reason, met, to = say_verdict(result), promised.translation(result.flow), result.flow.to
    balanced = (
        to.ip,
        to.port,
        result.flow.protocol,
    ) in promised.table.balanced  # by several nodes, each of which has an affinity of its own
    if not reason and met and met.endpoints.service.spec.sessionAffinity == "ClientIP" and not balanced:
        # by the address that was sent from: a node's socket and its crafted packets may have two
        kept = {(journey.sent.src.address, journey.backend) for journey in result.journeys if journey.backend}
        if len(kept) > len({address for address, _ in kept}):
            reason = "session affinity ClientIP, and yet one client met several endpoints"
    return reason and (
        f"{result.flow.name}: {reason}; promised {result.expected.outcome}: {say(result.expected.because)}"
    )


@cache
def differences(manifests: str, mode: str) -> tuple[str, ...]:
    """Returns a sentence for each flow whose packets are not as promised. Cached: to be asked twice must not
    mean to hear two answers.
    """
    state = state_of(text=manifests, proxy_mode=mode)
    promised = Expectations(state)
    flows = [flow for flow in flows_of(promised) if not promised.expect(flow).unpromised]
    doubtful = [
        result.flow for result in dial(state, flows, promised, HASTE) if _difference(promised, result)
    ]
    if not doubtful:
        return ()
    again = [_until_all_are_met(flow, promised.expect(flow)) for flow in doubtful]
    return tuple(
        filter(None, (_difference(promised, result) for result in dial(state, again, promised, SILENCE)))
    )


def look(cluster: Sequence[Manifest], mode: str, directory: Path = KEPT) -> None:
    """Raises :class:`DifferenceError` where the packets of ``cluster`` are not as promised."""
    manifests = to_yaml(cluster)
    if found := differences(manifests, mode):
        raise DifferenceError(mode, found, manifests, directory)


class DifferenceError(AssertionError):
    """Reports a cluster whose packets do something else than its objects promise. It is kept in a file, over
    the larger one before it.
    """

    def __init__(self, mode: str, found: Sequence[str], manifests: str, directory: Path) -> None:
        self.file = directory / f"random-cluster-{mode}.yaml"
        lines = [f"In {mode} mode, what this cluster promises and what its packets do differ:", *found]
        self.file.write_text("".join(f"# {line}\n" for line in lines) + manifests)
        message = [
            *lines,
            f"kept in {self.file}; podwire {self.file} --proxy-mode {mode} sends the usual flows through it",
        ]
        if mode == "ipvs":  # a guest's files are lost with it
            message.append(manifests)
        super().__init__("\n".join(message))


# --- the tests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@settings(
    SEARCH,
    max_examples=WANTED or 15,
    derandomize=not WANTED,
)
@given(cluster=clusters())
def test_packets_do_what_the_objects_promise(mode: str, cluster: Sequence[Manifest]) -> None:
    look(cluster, mode)


@pytest.mark.ipvs("changes")
@settings(
    SEARCH,
    max_examples=WANTED or 5,  # a second each
    derandomize=not WANTED,
)
@given(cluster=clusters(shared_addresses=False))
def test_packets_do_what_the_objects_promise_in_ipvs_mode(cluster: Sequence[Manifest]) -> None:
    """Leaves out Services that have a node's address, which every other node then takes for its own
    (docs/semantics 13).
    """
    look(cluster, "ipvs")


@pytest.mark.parametrize("mode", [*MODES, IPVS])
@pytest.mark.parametrize("file", FOUND, ids=lambda file: file.stem)
def test_what_was_found(file: Path, mode: str) -> None:
    assert not differences(file.read_text(), mode)


FORGETFUL = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [{role: worker}]
externalClients: [{name: stranger, address: 198.51.100.20}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: web}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}], \
loadBalancerSourceRanges: [203.0.113.0/24]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}
"""


@pytest.mark.parametrize("mode", ["iptables", "nftables"])  # in userspace mode nobody knows source ranges
def test_a_proxy_that_is_wrong_is_found_out(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uses a proxy that forgets source ranges; the cluster that shows it is kept in a file that podwire
    takes.
    """

    def forgetful(*facts: Any, **named: Any) -> ServicePortFacts:
        return ServicePortFacts(*facts, **named)._replace(sourceRanges=())

    monkeypatch.setattr("emulator.proxy.endpoints.ServicePortFacts", forgetful)
    cluster = list(yaml.safe_load_all(FORGETFUL))
    with pytest.raises(DifferenceError, match="it was delivered, not dropped") as caught:
        look(cluster, mode, tmp_path)
    assert f"kept in {tmp_path}" in str(caught.value)
    assert list(yaml.safe_load_all(caught.value.file.read_text())) == cluster


@pytest.mark.parametrize(
    ("why", "kinds"),
    [
        pytest.param(Why.SOURCE_RANGES, ["Cluster", "Pod", "Service"], id="source ranges"),
        pytest.param(Why.HAIRPIN, ["Cluster", "Pod", "Service"], id="hairpin"),
        pytest.param(Why.NO_LOCAL_ENDPOINT, ["Cluster", "Pod", "Service"], id="internalTrafficPolicy"),
        pytest.param(
            Why.MASQUERADE_ALL,
            ["Cluster", "KubeProxyConfiguration", "Pod", "Service"],
            id="kube-proxy's settings",
        ),
    ],
)
def test_what_differs_shrinks_to_a_small_manifest(why: Why, kinds: list[str]) -> None:
    """Breaks one promise of the proxy and keeps all others: Hypothesis leaves the objects that make it. (With
    the packets it takes as many steps, of half a second.)
    """

    def broken(cluster: Sequence[Manifest]) -> bool:
        promised = Expectations(state_of(text=to_yaml(cluster), proxy_mode="iptables"))
        return any(
            why is reason.why
            for flow in flows_of(promised)
            for reason in promised.expect(flow).because.each()
        )

    found = find(clusters(), broken, settings=settings(SEARCH, max_examples=1000, derandomize=True))
    left = [manifest["kind"] for manifest in found if manifest["kind"] != "EndpointSlice"]
    assert left == kinds
    assert len(to_yaml(found)) < 1000
