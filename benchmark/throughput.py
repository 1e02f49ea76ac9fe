"""Measures the throughput of a stream through a Service: one TCP stream of iperf3, in turn straight to the
Pod and through its ClusterIP.

A mode that this kernel lacks is measured in user-mode Linux, another kernel with one processor: there the
ratio tells, and not the rate.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple, cast

from benchmark import clusters
from benchmark.figures import Figure, Skipped
from benchmark.guest import IPTABLES, run_in_guest
from benchmark.measuring import Setting, build, settle_down, usable_modes
from emulator.cluster.state import ClusterState, pod_netns
from emulator.controllers.settle import settle
from emulator.errors import PodwireError
from emulator.kernel import sandbox
from emulator.kernel.apply import Applied
from emulator.kernel.netns import finish, start
from emulator.objects.config import ProxyMode
from emulator.run.guest import KERNEL, why_no_guest

PLACES = {"near": "on one node", "far": "across nodes"}
SECONDS = "2"  # for each stream


class Streams(NamedTuple):
    """Holds Gbit/s, as the receiver counts."""

    service: tuple[float, ...]
    straight: tuple[float, ...]


def measure_throughput(setting: Setting) -> Iterator[Figure | Skipped]:
    if not shutil.which("iperf3"):
        yield Skipped("throughput", "apt-get install iperf3")
        return
    modes = usable_modes()
    for mode in modes.usable:
        yield from _figures(mode, _stream_cluster(mode, setting.directory, setting.iptables, setting.rounds))
    if modes.lacking and (obstacle := why_no_guest()):
        yield from (
            Skipped(f"throughput in {mode} mode", f"{why}; {obstacle}") for mode, why in modes.lacking.items()
        )
    elif modes.lacking:
        streams = run_in_guest("benchmark.throughput", str(setting.rounds), SECONDS, *modes.lacking)
        for mode, places in streams.items():
            yield from _figures(
                f"{mode} in {KERNEL}", {name: Streams(*map(tuple, rounds)) for name, rounds in places.items()}
            )


def _figures(mode: str, streams: Mapping[str, Streams]) -> Iterator[Figure]:
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


def _stream_cluster(
    mode: ProxyMode, directory: Path, iptables: str, rounds: int, seconds: str = SECONDS
) -> dict[str, Streams]:
    source = clusters.read(clusters.write(directory / "near-and-far.yaml", clusters.near_and_far()))
    state = settle(source, proxy_mode=mode)
    streams = sandbox.run(partial(_stream_in_turn, state, iptables, rounds, seconds))
    settle_down()
    return streams


def _main(rounds: str, seconds: str, *modes: str) -> None:
    """Runs in the guest."""
    usable_modes()  # has the kernel load what they need
    with tempfile.TemporaryDirectory() as directory:
        streams = {
            mode: _stream_cluster(mode, Path(directory), IPTABLES, int(rounds), seconds)
            for mode in cast("tuple[ProxyMode]", modes)
        }
    print(json.dumps(streams))


# --- inside the sandbox -------------------------------------------------------------------------------------


def _stream_in_turn(
    state: ClusterState, iptables: str, rounds: int, seconds: str, _: sandbox.Channel
) -> dict[str, Streams]:
    applied = build(state, iptables)
    servers = [_start_server(applied, pod_netns(state.pod[f"default/{name}"])) for name in PLACES]
    streams = {name: Streams((), ()) for name in PLACES}
    for _round in range(rounds):
        for name, (service, straight) in streams.items():
            pod = state.pod[f"default/{name}"].status.podIPs[0].ip
            plain = _stream(applied, state, (pod, 8080), seconds)
            through = _stream(applied, state, (state.service[f"default/{name}"].spec.clusterIP, 80), seconds)
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


def _stream(applied: Applied, state: ClusterState, address: tuple[str, int], seconds: str) -> float:
    client = pod_netns(state.pod[f"default/{clusters.CLIENT}"])
    command = ["iperf3", "--client", address[0], "--port", str(address[1]), "--time", seconds, "--json"]
    answer = json.loads(finish(start(applied.namespaces, client, command), client))
    return float(answer["end"]["sum_received"]["bits_per_second"]) / 1e9


if __name__ == "__main__":
    _main(*sys.argv[1:])
