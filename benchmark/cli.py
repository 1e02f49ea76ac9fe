"""Runs ``scripts/bench``: chooses the measurements, their rounds, and the place of their figures."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark import document, first_packets, live, pod_change, runs, scale, services, throughput
from benchmark.clusters import ROOT
from benchmark.figures import Figure, Skipped
from benchmark.measuring import Setting
from benchmark.tables import render
from emulator import __version__
from emulator.kernel.iptables import find_iptables

MEASUREMENTS: dict[str, Callable[[Setting], Iterator[Figure | Skipped]]] = {
    "cold": runs.measure_cold,
    "bring-up": runs.measure_bring_up,
    "teardown": runs.measure_teardown,
    "all-pairs": runs.measure_all_pairs,
    "services": services.measure_full_sync,
    "change": services.measure_change,
    "pod-change": pod_change.measure_pod_change,
    "memory": services.measure_memory,
    "first-packets": first_packets.measure_first_packets,
    "throughput": throughput.measure_throughput,
    "scale": scale.measure_scale,
    "live": live.measure_live,
    "mininet": runs.measure_mininet,
}
RESULTS = ROOT / "scripts" / "bench.json"
DOCUMENT = ROOT / "docs" / "figures.md"
# characters: a command that failed is told with its input, which may be the rules of 10,000 Services
LONGEST_FAILURE = 500


@dataclass(frozen=True, slots=True)
class Measured:
    """Holds the result of one measurement. ``failure`` is the error that ended it early ("" if none did)."""

    rounds: int
    figures: tuple[Figure, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    failure: str = ""


def main(words: Sequence[str] | None = None) -> int:
    options = _parse(words)
    if options.update_docs and not find_spec("matplotlib"):
        print(
            "bench: --update-docs draws with matplotlib, which scripts/with-env installs for scripts/bench",
            file=sys.stderr,
        )
        return 3
    machine = describe_machine()
    kept = read_results(options.results, machine)
    measured: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as directory:
        setting = Setting(
            rounds=options.rounds,
            services=tuple(options.services),
            directory=Path(directory),
            iptables=find_iptables(""),
            whole=options.whole_scale,
        )
        for name in options.only:
            print(f"bench: {name} …", file=sys.stderr)
            measured[name] = measure(name, setting)
            # at once: what comes next may be interrupted
            write_results(options.results, machine, kept | measured)
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    print(render(*_everything(measured), terminal=True))
    if options.update_docs:
        _update_docs(machine, kept | measured)
    return int(any(row.failure or any(f.met is False for f in row.figures) for row in measured.values()))


def measure(name: str, setting: Setting) -> Measured:
    """Returns one of MEASUREMENTS. A failure is printed, and does not stop the others."""
    found: list[Figure | Skipped] = []
    failure = ""
    try:
        found.extend(MEASUREMENTS[name](setting))
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"[:LONGEST_FAILURE]
        print(f"bench: {name} failed: {failure}", file=sys.stderr)
    figures = tuple(item for item in found if isinstance(item, Figure))
    return Measured(
        setting.rounds, figures, tuple(item for item in found if isinstance(item, Skipped)), failure
    )


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures podwire on this machine; exit code 1 when a target is missed.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--rounds", type=_positive, default=5, metavar="N", help="how often each figure is taken (default: 5)"
    )
    parser.add_argument(
        "--only",
        nargs="*",
        choices=MEASUREMENTS,
        default=list(MEASUREMENTS),
        metavar="NAME",
        help=f"some of the measurements, or none (default: all): {', '.join(MEASUREMENTS)}",
    )
    parser.add_argument(
        "--services",
        type=_positive,
        nargs="+",
        default=[1000, 5000, 10000],
        metavar="N",
        help="numbers of Services where figures depend on them (default: 1000 5000 10000)",
    )
    parser.add_argument(
        "--whole-scale",
        action="store_true",
        help="the measurement scale goes up to 5,000 Pods, 5,000 Services, 200 nodes, 200 steps",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="FILE",
        help="where all figures are kept; those of the same machine that are not measured anew stay "
        "(default: scripts/bench.json)",
    )
    parser.add_argument(
        "--update-docs",
        action="store_true",
        help="write all kept figures into docs/figures.md, and the charts that it shows",
    )
    return parser.parse_args(words)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _everything(measured: Mapping[str, Measured]) -> tuple[list[Figure], list[Skipped]]:
    """Returns all figures, and all that are missing, in the order of the measurements."""
    rows = {name: measured[name] for name in MEASUREMENTS if name in measured}
    failed = [
        Skipped(name, f"it failed: {row.failure.splitlines()[0]}")
        for name, row in rows.items()
        if row.failure
    ]
    return [f for row in rows.values() for f in row.figures], [
        *(s for row in rows.values() for s in row.skipped),
        *failed,
    ]


def _update_docs(machine: Mapping[str, str], measured: Mapping[str, Measured]) -> None:
    from benchmark import charts

    drawings = {
        "first-packets": (
            "docs/first-packets.svg",
            "The first packet through a ClusterIP, by the number of Services",
            charts.draw_first_packets,
        ),
        "throughput": (
            "docs/throughput.svg",
            "Throughput through a ClusterIP, and straight to the Pod",
            charts.draw_throughput,
        ),
    }
    shown: dict[str, str] = {}
    for name, (path, text, draw) in drawings.items():
        if name in measured and measured[name].figures:
            (ROOT / path).write_text(draw(measured[name].figures))
            shown[Path(path).name] = text
    rounds = {name: row.rounds for name, row in measured.items()}
    block = document.compose_block(machine, rounds, *_everything(measured), shown)
    DOCUMENT.write_text(document.replace_figures(DOCUMENT.read_text(), block))


def describe_machine() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpu": cpu or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "podwire": __version__,
    }


# --- kept results -------------------------------------------------------------------------------------------


def read_results(path: Path, machine: Mapping[str, str]) -> dict[str, Measured]:
    """Returns the earlier measurements of this very machine; those of another prove nothing here."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    if kept.get("machine") != machine:
        return {}
    return {
        name: _read_measured(row)
        for name, row in kept.get("measurements", {}).items()
        if name in MEASUREMENTS
    }


def write_results(path: Path, machine: Mapping[str, str], measured: Mapping[str, Measured]) -> None:
    """Writes the results for reading again, with each figure's median, ratio and whether its target is met
    for other readers.
    """
    rows = {
        name: {
            "rounds": row.rounds,
            "figures": [
                asdict(f)
                | {"median": f.value, "referenceMedian": f.reference, "ratio": f.ratio, "met": f.met}
                for f in row.figures
            ],
            "skipped": [s._asdict() for s in row.skipped],
            "failure": row.failure,
        }
        for name, row in measured.items()
    }
    path.write_text(json.dumps({"machine": machine, "measurements": rows}, indent=1) + "\n")


def _read_measured(row: Mapping[str, Any]) -> Measured:
    skipped = tuple(Skipped(s["what"], s["why"]) for s in row["skipped"])
    return Measured(
        row["rounds"], tuple(_read_figure(f) for f in row["figures"]), skipped, row.get("failure", "")
    )


def _read_figure(row: Mapping[str, Any]) -> Figure:
    given = {field.name: row[field.name] for field in fields(Figure) if field.name in row}
    return Figure(**given | {name: tuple(given[name]) for name in ("rounds", "reference_rounds")})
