"""Measures how a whole run grows with Pods, Services, nodes and steps: seconds and memory, and by phase the
exponent of the growth.

The exponent of a phase is log(t2 / t1) / log(n2 / n1) of the smallest and the largest cluster in which one
number alone differs. A phase of less than :data:`LEAST` seconds in the smallest is mostly constant, and its
exponent means nothing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

from benchmark import clusters
from benchmark.figures import Figure
from benchmark.measuring import Setting, settle_down
from benchmark.runs import RUN
from emulator.errors import PodwireError

LEAST = 0.2  # seconds
PHASES = ("plan", "build", "taps", "probe", "correlate", "tear-down")
TARGET_EXPONENT = "≤ 1.2"
_LOOK_EVERY = 0.25  # seconds between two looks at the memory of all processes

# Series by (Pods, nodes, Services); the smallest and the largest, the thin measurement and the whole one.
THIN: Mapping[str, tuple[tuple[int, int, int], ...]] = {
    "Pods": ((250, 10, 100), (1000, 10, 100)),
    "Services": ((250, 10, 250), (250, 10, 1000)),
    "nodes": ((400, 5, 100), (400, 40, 100)),
}
WHOLE: Mapping[str, tuple[tuple[int, int, int], ...]] = {
    "Pods": ((1000, 50, 1000), (2500, 50, 1000), (5000, 50, 1000)),
    "Services": ((1000, 10, 1000), (1000, 10, 2500), (1000, 10, 5000)),
    "nodes": ((1000, 10, 100), (1000, 50, 100), (1000, 200, 100)),
}
LARGEST = (5000, 50, 1000)
STEPS = {False: (25, 50), True: (50, 100, 200)}


@dataclass(frozen=True, slots=True)
class Run:
    """Holds ``seconds`` and those of each phase; ``memory``: MiB of all processes together at their peak
    (proportional set size).
    """

    seconds: float
    phases: Mapping[str, float]
    memory: float
    unknown: int


def measure_scale(setting: Setting) -> Iterator[Figure]:
    """Yields the exponents, and the seconds and memory of the largest clusters."""
    largest = None
    for what, sizes in (WHOLE if setting.whole else THIN).items():
        runs = {
            size: _run(setting, clusters.write(setting.directory / "scale.yaml", clusters.many(*size)))
            for size in sizes
        }
        small, large = sizes[0], sizes[-1]
        index = next(place for place in range(3) if small[place] != large[place])
        yield from exponents(what, small[index], large[index], runs[small], runs[large])
        largest = runs.get(LARGEST, largest)
    if largest:
        pods, nodes, services = LARGEST
        name = f"{pods:,} Pods on {nodes} nodes, {services:,} Services"
        note = f"{largest.unknown} flows UNKNOWN"
        yield Figure(
            name=f"{name}: to the verdict", unit="s", rounds=(largest.seconds,), target="≤ 90", note=note
        )
        yield Figure(
            name=f"{name}: memory of all processes", unit="MiB", rounds=(largest.memory,), target="≤ 4096"
        )
    yield from _measure_steps(setting)


def _measure_steps(setting: Setting) -> Iterator[Figure]:
    counts = STEPS[setting.whole]
    runs = [
        _run(setting, clusters.write(setting.directory / "steps.yaml", clusters.scaled_in_steps(count)))
        for count in counts
    ]
    growth = log(runs[-1].seconds / runs[0].seconds) / log(counts[-1] / counts[0])
    yield Figure(
        name=f"growth from {counts[0]} to {counts[-1]} steps: seconds",
        unit="exponent",
        rounds=(growth,),
        target=TARGET_EXPONENT,
    )
    ratio = runs[-1].memory / runs[0].memory
    yield Figure(
        name=f"growth from {counts[0]} to {counts[-1]} steps: memory",
        unit="times",
        rounds=(ratio,),
        target="≤ 1.2",
    )
    target = "≤ 30" if counts[-1] == 200 else ""
    yield Figure(
        name=f"{counts[-1]} steps: to the verdict", unit="s", rounds=(runs[-1].seconds,), target=target
    )


def exponents(what: str, few: int, many: int, small: Run, large: Run) -> Iterator[Figure]:
    """Yields how each phase grows from ``few`` to ``many`` of ``what``."""
    times = log(many / few)
    for phase in PHASES:
        before, after = (run.phases.get(phase, 0) for run in (small, large))
        if before >= LEAST and before and after:  # seconds to two places: a short phase is 0
            growth = log(after / before) / times
            name = f"growth from {few:,} to {many:,} {what}: {phase}"
            yield Figure(
                name=name,
                unit="exponent",
                rounds=(growth,),
                target=TARGET_EXPONENT,
                note=f"{large.phases[phase]:.2f} s",
            )
    memory = log(large.memory / small.memory) / times
    yield Figure(
        name=f"growth from {few:,} to {many:,} {what}: memory",
        unit="exponent",
        rounds=(memory,),
        target=TARGET_EXPONENT,
    )


def _run(setting: Setting, manifests: Path) -> Run:
    """Runs podwire without evidence; a verdict "fail" is an error, one "unknown" is counted."""
    report = setting.directory / "scale.json"
    begin = time.perf_counter()
    command = [*RUN, str(manifests), "--captures", "none", "--verbose", "--json", str(report)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        memory = 0.0
        while process.poll() is None:
            memory = max(memory, memory_of(process.pid))
            time.sleep(_LOOK_EVERY)
        said = process.stderr.read() if process.stderr else ""
    seconds = time.perf_counter() - begin
    summary = json.loads(report.read_text())["summary"] if report.exists() else {}
    if process.returncode not in (0, 1) or not summary or summary["fail"]:
        raise PodwireError(f"{' '.join(command)} ended with {process.returncode}, {summary}:\n{said[-2000:]}")
    report.unlink()
    settle_down()
    return Run(seconds, read_phases(said), memory, summary["unknown"])


def read_phases(said: str) -> dict[str, float]:
    """Returns the seconds of each phase, from what ``--verbose`` says."""
    return {name: float(seconds) for name, seconds in re.findall(r"([\w-]+) (\d+\.\d+)[,;]", said)}


def memory_of(root: int) -> float:
    """Returns the MiB that ``root`` and all its descendants have now; what two of them share counts once."""
    return sum(map(_proportional_set_size, descendants(root))) / 1024


def descendants(root: int) -> Sequence[int]:
    children: dict[int, list[int]] = {}
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
        children.setdefault(parent, []).append(int(entry))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _proportional_set_size(pid: int) -> int:
    """Returns KiB; 0 for a process that has ended."""
    try:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(row.split()[1]) for row in rows if row.startswith("Pss:")), 0)
