"""Measures the time of a connection's first packet on its way through a Service, by the kernel's own stamps.

The taps are those that podwire captures with. The time is that from the SYN's leaving the client's Pod to its
arrival in the endpoint's Pod. Every dial is a new connection, so it meets the rules and not what connection
tracking remembers. Destinations take turns, in an order that is shuffled: what one leaves in the processor's
caches helps or hinders the next.

In userspace mode what arrives is the SYN of the proxy's own connection; a dial ends when the endpoint has
accepted, so the order still pairs them.

A mode that this kernel lacks is measured in user-mode Linux, where ``python -m benchmark.first_packets``
runs: the guest's kernel computes as fast as this one, so that packets take about as long; its system calls,
and connect() with them, do not.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple, cast

from benchmark import clusters
from benchmark.figures import Figure, Skipped
from benchmark.guest import IPTABLES, run_in_guest
from benchmark.measuring import Setting, build, collect_as_in_a_run, settle_down, usable_modes
from emulator.capture.decode import decode_frames
from emulator.capture.ring import HANDSHAKES, Taps
from emulator.cluster.state import ClusterState, pod_netns
from emulator.controllers.settle import settle
from emulator.errors import PodwireError, UsageError
from emulator.kernel import sandbox
from emulator.kernel.apply import Applied
from emulator.model.frames import Frame
from emulator.objects.config import Inventory, ProxyMode
from emulator.run.guest import KERNEL, why_no_guest

Address = tuple[str, int]

STRAIGHT = "straight"  # the case of a destination that is no Service
CASES = ("first", "middle", "last")  # where a Service's rule is among those of all Services
WARM_UP, DIALS = 50, 500  # for each destination
_ABORT = struct.pack("ii", 1, 0)  # struct linger: close() resets the connection, and nothing of it stays


class Dials(NamedTuple):
    """Holds microseconds: how long the SYN was on its way, and how long the client waited in connect()."""

    mode: str
    services: int
    case: str
    packet: Sequence[float]
    connect: Sequence[float]


def measure_first_packets(setting: Setting) -> Iterator[Figure | Skipped]:
    sizes = (1, *setting.services)
    modes = usable_modes()
    dials: list[Dials] = []
    for size in sizes:
        source = _inventory(size, setting.directory)
        for mode in modes.usable:
            try:
                dials += _dial_cluster(source, size, mode, setting.iptables)
            except UsageError as error:
                yield Skipped(f"first packets in {mode} mode with {size:,} Services", str(error))
    yield from _figures(dials)
    if modes.lacking and (obstacle := why_no_guest()):
        yield from (
            Skipped(f"first packets in {mode} mode", f"{why}; {obstacle}")
            for mode, why in modes.lacking.items()
        )
    elif modes.lacking:
        yield from _figures(_dial_in_guest(list(modes.lacking), sizes), f" in {KERNEL}")


def _figures(dials: Sequence[Dials], where: str = "") -> Iterator[Figure]:
    """Yields the figures. The reference is the same client straight to the endpoint's Pod in the smallest
    cluster: in a large one that path, too, leads through the rules of all Services.
    """
    alone: dict[str, Dials] = {}
    for row in sorted(dials, key=lambda row: row.services):
        if row.case == STRAIGHT:
            alone.setdefault(row.mode, row)

    def figure(name: str, row: Dials, values: Sequence[float], reference: Sequence[float]) -> Figure:
        return Figure(
            name=f"{name}: " + ("Pod to Pod" if row.case == STRAIGHT else f"ClusterIP, {row.case} Service"),
            unit="µs",
            rounds=tuple(values),
            reference_name="Pod to Pod, 1 Service",
            reference_rounds=tuple(reference),
            services=row.services,
            mode=f"{row.mode}{where}",
            case=row.case,
            tail=True,
            charted=row.case in CASES[:-1],
        )

    for row in dials:
        yield figure(f"first packet, {row.mode}{where}", row, row.packet, alone[row.mode].packet)
        if row.case == CASES[-1]:
            yield figure(f"connect(), {row.mode}{where}", row, row.connect, alone[row.mode].connect)


def _inventory(size: int, directory: Path) -> Inventory:
    """Returns a cluster of ``size`` Services. Those with the first, the middle and the last rules can be
    dialled.
    """
    return clusters.read(
        clusters.write(
            directory / f"dialled-{size}.yaml", clusters.many_services_with_pods(size, _served(size).values())
        )
    )


def _served(size: int) -> Mapping[str, int]:
    return dict(zip(CASES, (0, size // 2, size - 1), strict=True))


def _dial_cluster(source: Inventory, size: int, mode: ProxyMode, iptables: str) -> list[Dials]:
    state = settle(source, proxy_mode=mode)
    addresses = {
        case: state.service[f"default/{clusters.service_name(number)}"].spec.clusterIP
        for case, number in _served(size).items()
    }
    dialled = sandbox.run(partial(_dial_in_turn, state, iptables, addresses))
    settle_down()
    return [Dials(mode, size, case, packet, connect) for case, (packet, connect) in dialled.items()]


# --- the guest
# ------------------------------------------------------------------------------------------------


def _dial_in_guest(modes: Iterable[str], sizes: Iterable[int]) -> list[Dials]:
    return [Dials(*row) for row in run_in_guest("benchmark.first_packets", ",".join(modes), *map(str, sizes))]


def _main(modes: str, *sizes: str) -> None:
    usable_modes()  # has the kernel load what they need
    dials: list[Dials] = []
    with tempfile.TemporaryDirectory() as directory:
        for size in map(int, sizes):
            source = _inventory(size, Path(directory))
            for mode in cast("list[ProxyMode]", modes.split(",")):
                dials += _dial_cluster(source, size, mode, IPTABLES)
    print(json.dumps(dials))


# --- inside the sandbox -------------------------------------------------------------------------------------


def _dial_in_turn(
    state: ClusterState, iptables: str, services: Mapping[str, str], _: sandbox.Channel
) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
    """Dials each of ``services`` (case → ClusterIP) and, as STRAIGHT, a Pod behind them, again and again;
    returns for each case the microseconds of its SYNs and of its connect() calls.
    """
    collect_as_in_a_run()
    applied = build(state, iptables)
    client, *backends = (
        pod_netns(state.pod[f"default/{name}"]) for name in (clusters.CLIENT, *clusters.BACKENDS)
    )
    endpoint = state.pod[f"default/{clusters.BACKENDS[0]}"].status.podIPs[0].ip
    targets: dict[str, Address] = {STRAIGHT: (endpoint, 8080)} | {
        case: (ip, 80) for case, ip in services.items()
    }
    turns = list(_shuffled(list(targets)))
    taps = _open_taps(applied, (client, *backends), len(turns))
    try:
        dialler = _Dialler([applied.namespaces.call_in(name, _listen) for name in backends])
        applied.namespaces.enter(client)
        connects = [dialler.dial(targets[case]) for case in turns]
        applied.namespaces.leave()
        if taps.lost():
            raise PodwireError("the taps lost frames")
        packets = pair_first_packets(
            decode_frames(sorted(taps.drain(), key=lambda frame: frame.time)), client
        )
    finally:
        taps.close()
    return {case: (_warm(case, turns, packets), _warm(case, turns, connects)) for case in targets}


def _shuffled(cases: Sequence[str]) -> Iterator[str]:
    """Yields each of ``cases`` once a round."""
    draw = Random(0)
    for _round in range(WARM_UP + DIALS):
        yield from draw.sample(cases, len(cases))


def _warm(case: str, turns: Sequence[str], values: Sequence[float]) -> list[float]:
    """Returns the ``values`` of ``case``'s turns, without the first ones."""
    return [value for turn, value in zip(turns, values, strict=True) if turn == case][WARM_UP:]


def _open_taps(applied: Applied, names: Sequence[str], dials: int) -> Taps:
    """Returns taps in ``names`` only, whose rings hold every frame that ``dials`` connections open with."""
    taps = Taps()
    interfaces = {name: applied.interfaces(name) for name in names}
    slots = dict.fromkeys(names, 4 * dials)
    taps.open(applied.namespaces, interfaces, applied.ports, slots, width=256, program=HANDSHAKES)
    return taps


def _listen() -> socket.socket:
    listener = socket.socket()
    listener.bind(("", 8080))
    listener.listen(16)
    return listener


class _Dialler:
    """Dials one connection after the other. ``listeners`` accept them in this process: no other one takes
    part.
    """

    def __init__(self, listeners: Sequence[socket.socket]) -> None:
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._poll = select.poll()
        for listener in listeners:
            self._poll.register(listener, select.POLLIN)
        # A source port of a moment ago belongs to a connection that IPVS remembers for 10 s after its end,
        # and whose address it would put on a reply from the Pod itself.
        self._ports = count(20000)

    def dial(self, address: Address) -> float:
        """Dials one connection from the calling thread's namespace, which is closed at the end; returns the
        microseconds of connect().
        """
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            sock.settimeout(5)
            sock.bind(("", next(self._ports)))
            begin = time.perf_counter_ns()
            sock.connect(address)
            end = time.perf_counter_ns()
            ready = self._poll.poll(5000)
            if not ready:
                raise PodwireError(f"no endpoint heard of the connection to {address[0]}:{address[1]}")
            connection, _ = self._listeners[ready[0][0]].accept()
            connection.close()
        return (end - begin) / 1000


def pair_first_packets(frames: Sequence[Frame], client: str) -> list[float]:
    """Returns, for connections that were made one after the other, the microseconds from each SYN that left
    ``client`` to its arrival in another namespace. ``frames`` are in the order of time.
    """
    ways: list[float] = []
    sent: Frame | None = None
    for frame in frames:
        if frame.protocol != "TCP" or frame.flags != "S":
            continue
        if frame.netns == client and frame.outgoing:
            if sent:
                raise PodwireError(
                    f"a SYN from {sent.src}:{sent.sport} did not arrive before the next one was sent"
                )
            sent = frame
        elif frame.netns != client and not frame.outgoing and sent:
            ways.append((frame.time - sent.time) / 1000)
            sent = None
    return ways


if __name__ == "__main__":
    _main(*sys.argv[1:])
