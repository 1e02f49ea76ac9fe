"""What a packet takes on its way through a Service: the first one of a connection, and many of them.

First packets are timed by the kernel itself, with the taps that podwire captures with: from the moment at which the client's SYN leaves
its Pod to that at which the endpoint's Pod gets it. Every dial is a new connection, so it meets the rules and not what connection tracking
remembers. Destinations that are compared take turns.
"""

from __future__ import annotations

import gc
import json
import select
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import NamedTuple

from benchmark import clusters
from benchmark.figures import Figure, Skipped
from benchmark.measuring import Setting, raise_descriptor_limit, settle_down, usable_modes
from emulator import sandbox
from emulator.control.settle import settle
from emulator.control.state import ClusterState, pod_netns
from emulator.errors import PodwireError
from emulator.kernel.apply import Applied, apply
from emulator.kernel.netns import finish, start
from emulator.kernel.ring import HANDSHAKES, Taps
from emulator.planner import plan_cluster
from emulator.probe.decode import decode_all
from emulator.probe.model import Frame

Address = tuple[str, int]

STRAIGHT = "straight"  # the case of a destination that is no Service
PLACES = {"near": "on one node", "far": "across nodes"}
WARM_UP, DIALS = 50, 500  # of each destination
STREAM_SECONDS = "2"
_ABORT = struct.pack("ii", 1, 0)  # struct linger: close() resets the connection, and nothing of it stays


class Streams(NamedTuple):
    """Gbit/s, as the receiver counts."""

    service: tuple[float, ...]
    straight: tuple[float, ...]


class Dials(NamedTuple):
    """Microseconds: how long the SYN was on its way, and how long the client waited in connect()."""

    packet: tuple[float, ...]
    connect: tuple[float, ...]


def measure_first_packets(setting: Setting) -> Iterator[Figure | Skipped]:
    """The reference is the same client straight to the endpoint's Pod in the smallest cluster: in a large one that way, too, leads through
    the rules of all Services."""
    modes = usable_modes()
    yield from (Skipped(f"packets in {mode} mode", why) for mode, why in modes.lacking.items())
    alone: dict[str, Dials] = {}
    for count in (1, *setting.services):
        served = {"first": 0, "middle": count // 2, "last": count - 1}  # where the Service's rule is among those of all Services
        manifests = clusters.write(setting.directory / f"dialled-{count}.yaml", clusters.many_services_with_pods(count, served.values()))
        source = clusters.read(manifests)
        for mode in modes.usable:
            state = settle(source, proxy_mode=mode)
            addresses = {case: state.service[f"default/{clusters.service_name(number)}"].spec.clusterIP for case, number in served.items()}
            dials = sandbox.run(partial(_dial_in_turn, state, setting.iptables, addresses))
            settle_down()
            yield from _figures(count, mode, dials, alone.setdefault(mode, dials[STRAIGHT]))


def _figures(count: int, mode: str, dials: Mapping[str, Dials], alone: Dials) -> Iterator[Figure]:
    def figure(name: str, case: str, rounds: tuple[float, ...], reference: tuple[float, ...]) -> Figure:
        return Figure(
            name=name,
            unit="µs",
            rounds=rounds,
            reference_name="Pod to Pod, 1 Service",
            reference_rounds=reference,
            services=count,
            mode=mode,
            case=case,
            tail=True,
        )

    for case, dialled in dials.items():
        destination = "Pod to Pod" if case == STRAIGHT else f"ClusterIP, {case} Service"
        yield figure(f"first packet, {mode}: {destination}", case, dialled.packet, alone.packet)
    yield figure(f"connect(), {mode}: ClusterIP, last Service", "last", dials["last"].connect, alone.connect)


def measure_throughput(setting: Setting) -> Iterator[Figure | Skipped]:
    """One TCP stream of iperf3, in turn straight to the Pod and through a ClusterIP."""
    if not shutil.which("iperf3"):
        yield Skipped("throughput", "apt-get install iperf3")
        return
    source = clusters.read(clusters.write(setting.directory / "near-and-far.yaml", clusters.near_and_far()))
    for mode in usable_modes().usable:
        state = settle(source, proxy_mode=mode)
        streams = sandbox.run(partial(_stream_in_turn, state, setting.iptables, setting.rounds))
        settle_down()
        for name, place in PLACES.items():
            yield Figure(
                name=f"iperf3 through a ClusterIP, {mode}: {place}",
                unit="Gbit/s",
                rounds=streams[name].service,
                reference_name="Pod to Pod",
                reference_rounds=streams[name].straight,
                mode=mode,
                case=place,
            )


# --- inside the sandbox: first packets ----------------------------------------------------------------------


def _dial_in_turn(state: ClusterState, iptables: str, services: Mapping[str, str], _: sandbox.Channel) -> dict[str, Dials]:
    """Dial each of ``services`` (name → ClusterIP) and, as STRAIGHT, a Pod behind them, again and again."""
    raise_descriptor_limit()
    gc.disable()
    applied = apply(plan_cluster(state), Applied(iptables))
    applied.wait_until_up()
    client, *backends = (pod_netns(state.pod[f"default/{name}"]) for name in (clusters.CLIENT, *clusters.BACKENDS))
    endpoint = state.pod[f"default/{clusters.BACKENDS[0]}"].status.podIPs[0].ip
    targets: dict[str, Address] = {STRAIGHT: (endpoint, 8080)} | {name: (ip, 80) for name, ip in services.items()}
    listeners = [applied.namespaces.call_in(name, _listen) for name in backends]
    poll = select.poll()
    for listener in listeners:
        poll.register(listener, select.POLLIN)
    accepting = {listener.fileno(): listener for listener in listeners}
    taps = Taps()
    names = (client, *backends)
    slots = 4 * (WARM_UP + DIALS) * len(targets)
    taps.open(
        applied.namespaces,
        {name: applied.interfaces(name) for name in names},
        applied.ports,
        dict.fromkeys(names, slots),
        width=256,
        program=HANDSHAKES,
    )
    waits: dict[str, list[float]] = {name: [] for name in targets}
    try:
        applied.namespaces.enter(client)
        for _round in range(WARM_UP + DIALS):
            for name, address in targets.items():
                waits[name].append(_dial(address, poll, accepting))
        applied.namespaces.leave()
        if taps.lost():
            raise PodwireError("the taps lost frames")
        ways = pair_first_packets(decode_all(sorted(taps.drain(), key=lambda frame: frame.time)), client)
    finally:
        taps.close()
    return {name: Dials(tuple(ways[number :: len(targets)][WARM_UP:]), tuple(waits[name][WARM_UP:])) for number, name in enumerate(targets)}


def _listen() -> socket.socket:
    listener = socket.socket()
    listener.bind(("", 8080))
    listener.listen(16)
    return listener


def _dial(address: Address, poll: select.poll, accepting: Mapping[int, socket.socket]) -> float:
    """One connection from the calling thread's namespace, gone when this returns; the microseconds that connect() took."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        sock.settimeout(5)
        begin = time.perf_counter_ns()
        sock.connect(address)
        end = time.perf_counter_ns()
        ready = poll.poll(5000)
        if not ready:
            raise PodwireError(f"no endpoint heard of the connection to {address[0]}:{address[1]}")
        connection, _ = accepting[ready[0][0]].accept()
        connection.close()
    return (end - begin) / 1000


def pair_first_packets(frames: Sequence[Frame], client: str) -> list[float]:
    """Of connections that were made one after the other: the microseconds from each SYN that left ``client`` to the one that another
    namespace then took in. ``frames`` are in the order of time."""
    ways: list[float] = []
    sent: Frame | None = None
    for frame in frames:
        if frame.protocol != "TCP" or frame.flags != "S":
            continue
        if frame.netns == client and frame.outgoing:
            if sent:
                raise PodwireError(f"a SYN from {sent.src}:{sent.sport} did not arrive before the next one was sent")
            sent = frame
        elif frame.netns != client and not frame.outgoing and sent:
            ways.append((frame.time - sent.time) / 1000)
            sent = None
    return ways


# --- inside the sandbox: throughput -------------------------------------------------------------------------


def _stream_in_turn(state: ClusterState, iptables: str, rounds: int, _: sandbox.Channel) -> dict[str, Streams]:
    raise_descriptor_limit()
    applied = apply(plan_cluster(state), Applied(iptables))
    applied.wait_until_up()
    servers = [_start_server(applied, pod_netns(state.pod[f"default/{name}"])) for name in PLACES]
    streams = {name: Streams((), ()) for name in PLACES}
    for _round in range(rounds):
        for name, (service, straight) in streams.items():
            pod = state.pod[f"default/{name}"].status.podIPs[0].ip
            plain = _stream(applied, state, (pod, 8080))
            through = _stream(applied, state, (state.service[f"default/{name}"].spec.clusterIP, 80))
            streams[name] = Streams((*service, through), (*straight, plain))
    for server in servers:
        server.kill()
        server.communicate()
    return streams


def _start_server(applied: Applied, netns: str) -> subprocess.Popen[str]:
    server = start(applied.namespaces, netns, ["iperf3", "--server", "--port", "8080", "--forceflush"])
    said = list(takewhile(lambda line: "Server listening" not in line, server.stdout or ()))
    if server.poll() is not None:
        raise PodwireError(f"iperf3 did not start: {''.join(said)}{server.communicate()[1]}")
    return server


def _stream(applied: Applied, state: ClusterState, address: Address) -> float:
    client = pod_netns(state.pod[f"default/{clusters.CLIENT}"])
    command = ["iperf3", "--client", address[0], "--port", str(address[1]), "--time", STREAM_SECONDS, "--json"]
    answer = json.loads(finish(start(applied.namespaces, client, command), client))
    return float(answer["end"]["sum_received"]["bits_per_second"]) / 1e9
