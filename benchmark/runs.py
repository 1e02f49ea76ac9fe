"""Measures whole runs of podwire: cold, bring-up beside the kernel floor, tear-down, all pairs; and Mininet,
if it is installed, doing the same.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path
from statistics import median
from typing import Any

from benchmark import clusters, floor
from benchmark.figures import Figure, Skipped
from benchmark.measuring import HERE, Setting, raise_descriptor_limit, settle_down, timed
from emulator.controllers.settle import settle
from emulator.errors import PodwireError
from emulator.kernel import sandbox
from emulator.kernel.apply import Applied, apply
from emulator.plan.operations import Plan
from emulator.schedule.planner import plan_cluster

RUN = [sys.executable, str(clusters.ROOT / "run_topology.py")]
MININET_TOOLS = {"mn": "mininet", "brctl": "bridge-utils", "ping": "iputils-ping"}


def run_podwire(*words: str | Path) -> str:
    """Runs podwire, which must pass; returns its standard error."""
    result = subprocess.run([*RUN, *map(str, words)], capture_output=True, text=True, check=False)
    if result.returncode:
        raise PodwireError(
            f"run_topology.py {' '.join(map(str, words))} failed:\n{result.stdout[-2000:]}{result.stderr}"
        )
    return result.stderr


def plan_manifests(manifests: Path) -> Plan:
    return plan_cluster(settle(clusters.read(manifests)))


def measure_cold(setting: Setting) -> Iterator[Figure]:
    # byte code and page cache: what only the first run ever pays
    run_podwire("--captures", setting.directory / "warm-up")
    seconds = tuple(
        timed(partial(run_podwire, "--captures", setting.directory / "cold")) for _ in range(setting.rounds)
    )
    yield Figure(
        name="run_topology.py, default topology, to the prompt", unit="s", rounds=seconds, target="≤ 4"
    )


def measure_bring_up(setting: Setting) -> Iterator[Figure]:
    program = setting.directory / "floor"
    subprocess.run(["gcc", "-O2", "-o", program, floor.SOURCE], check=True)
    manifests = clusters.write(
        setting.directory / "bring-up.yaml", clusters.deployments(workers=10, services=100, replicas=10)
    )
    plan = plan_manifests(manifests)
    operations = floor.describe_for_floor(plan, setting.iptables, setting.directory)
    planning, ours, floors = [], [], []
    for _ in range(setting.rounds):
        planning.append(timed(partial(plan_manifests, manifests)))
        floors.append(sandbox.run(partial(run_floor, program, operations)))
        settle_down()
        ours.append(sandbox.run(partial(_podwire_inside, plan, setting.iptables)))
        settle_down()
    kernel = tuple(f["seconds"] for f in floors)
    stages = ", ".join(
        f"{stage} {median(f[stage] for f in floors):.2f}" for stage in floors[0] if stage != "seconds"
    )
    yield Figure(
        name="bring-up: 1,000 Pods, 10 workers, 100 Services",
        unit="s",
        rounds=tuple(ours),
        reference_name="kernel floor",
        reference_rounds=kernel,
        target="≤ 2 x",
        note=stages,
    )
    both = tuple(a + b for a, b in zip(planning, ours, strict=True))
    yield Figure(
        name="the same from manifests (load, settle, plan, apply)",
        unit="s",
        rounds=both,
        reference_name="kernel floor",
        reference_rounds=kernel,
    )


def _podwire_inside(plan: Plan, iptables: str, _: sandbox.Channel) -> float:
    raise_descriptor_limit()
    return timed(lambda: apply(plan, Applied(iptables)))


def run_floor(program: Path, operations: str, _: sandbox.Channel) -> dict[str, float]:
    """Runs the compiled floor.c on ``operations``; returns the seconds of each stage, and of all. Only for
    the inside of a sandbox.
    """
    result = subprocess.run([program], input=operations, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(result.stderr)
    answer: dict[str, float] = json.loads(result.stdout)
    return answer


def measure_teardown(setting: Setting) -> Iterator[Figure]:
    documents = clusters.deployments(workers=10, services=100, replicas=10, check=True)
    manifests = clusters.write(setting.directory / "teardown.yaml", documents)
    seconds = []
    for _ in range(setting.rounds):
        command = [*RUN, str(manifests), "--keep", "--captures", "none"]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            # the last line before it waits
            said = list(takewhile(lambda line: "podwire ps" not in line, process.stderr or ()))
            if process.poll() is not None:
                raise PodwireError(f"the cluster did not come up:\n{''.join(said)}")
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            seconds.append(timed(partial(process.wait, timeout=60)))
        settle_down()
    yield Figure(
        name="tear-down of 1,000 Pods: Ctrl-C to the prompt", unit="s", rounds=tuple(seconds), target="≤ 1"
    )


def measure_all_pairs(setting: Setting) -> Iterator[Figure]:
    """Yields flows a second from the first packet to the last verdict; start, building and evidence are in
    the second line.
    """
    manifests = clusters.write(
        setting.directory / "pairs.yaml", clusters.deployments(workers=4, services=10, replicas=4)
    )
    report = setting.directory / "pairs.json"
    rates, whole, lost, count = [], [], 0, 0
    for _ in range(setting.rounds):
        words = (
            manifests,
            "--all-pairs",
            "--verbose",
            "--captures",
            setting.directory / "pairs",
            "--json",
            report,
        )
        begin = time.perf_counter()
        said = run_podwire(*words)
        whole.append(time.perf_counter() - begin)
        phases = {name: float(seconds) for name, seconds in re.findall(r"(\w+) (\d+\.\d+)[,;]", said)}
        flows = json.loads(report.read_text())["flows"]
        count, lost = len(flows), lost + sum(flow["observed"]["lostFrames"] for flow in flows)
        rates.append(count / (phases["probe"] + phases["correlate"] + phases["judge"]))
        settle_down()
    note = f"{count} flows, 40 Pods to each other and to 10 Services; {lost} frames lost"
    yield Figure(
        name="all-pairs TCP, captured and verified",
        unit="flows/s",
        rounds=tuple(rates),
        target="≥ 3000",
        note=note,
    )
    yield Figure(name="the same run from start to prompt, evidence written", unit="s", rounds=tuple(whole))


# --- Mininet
# --------------------------------------------------------------------------------------------------


def measure_mininet(setting: Setting) -> Iterator[Figure | Skipped]:
    """Yields the figures of a star of 200 hosts for bring-up, and of 40 for pairs, once: it takes a
    minute.
    """
    lacking = [package for tool, package in MININET_TOOLS.items() if not shutil.which(tool)]
    if lacking or os.geteuid():
        yield Skipped("Mininet", f"apt-get install {' '.join(lacking)}" if lacking else "it needs root")
        return
    plan = plan_manifests(
        clusters.write(
            setting.directory / "star.yaml", clusters.deployments(workers=2, services=20, replicas=10)
        )
    )
    ours, theirs = [], []
    for _ in range(setting.rounds):
        ours.append(1000 * sandbox.run(partial(_podwire_inside, plan, setting.iptables)) / 200)
        settle_down()
        theirs.append(1000 * _mininet(200, "no ping")["up"] / 200)
        settle_down()
    yield Figure(
        name="bring-up per Pod, of 200",
        unit="ms",
        rounds=tuple(ours),
        reference_name="mininet, per host",
        reference_rounds=tuple(theirs),
    )
    pings = _mininet(40, "ping")
    rate = 40 * 39 / pings["pings"]
    yield Figure(
        name="mininet's pingAll, 40 hosts (for comparison)",
        unit="pairs/s",
        rounds=(rate,),
        note=f"{pings['lost_percent']:.2f} % lost",
    )


def _mininet(hosts: int, what: str) -> dict[str, Any]:
    isolated = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc"]
    command = [*isolated, "/usr/bin/python3", str(HERE / "mininet_pairs.py"), str(hosts), what]
    result = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer
