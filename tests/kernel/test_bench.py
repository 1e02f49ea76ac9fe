"""Tests scripts/bench with clusters so small that its figures mean nothing: it measures, prints, and keeps
its figures.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from benchmark import clusters, first_packets, floor, scale, throughput
from benchmark.figures import Figure, Skipped
from benchmark.measuring import TEXT_MODES, Modes, Setting
from benchmark.runs import plan_manifests, run_floor
from emulator.kernel import sandbox
from emulator.kernel.iptables import find_iptables
from tests.guest import with_guest
from tests.sandboxed import ROOT

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

needs_iperf3 = pytest.mark.skipif(
    not shutil.which("iperf3"),
    reason="iperf3 is not installed: scripts/with-env installs it for scripts/bench",
)
needs_gcc = pytest.mark.skipif(
    not shutil.which("gcc"), reason="gcc is not installed: scripts/with-env installs it for scripts/bench"
)
CHANGES = ("one endpoint changed", "one Service removed", "one Service added")


def bench(results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        str(ROOT / "scripts" / "bench"),
        "--rounds",
        "1",
        "--services",
        "3",
        "--results",
        str(results),
        *words,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def setting(directory: Path) -> Setting:
    return Setting(rounds=1, services=(3,), directory=directory, iptables=find_iptables(""))


@needs_gcc
def test_the_kernel_floor_applies_a_plan_in_its_order(tmp_path: Path) -> None:
    """Tests a plan in which links of nodes come before bridges, as every plan with nodes has them."""
    subprocess.run(["gcc", "-o", tmp_path / "floor", floor.SOURCE], check=True)
    plan = plan_manifests(
        clusters.write(tmp_path / "some.yaml", clusters.deployments(workers=2, services=2, replicas=2))
    )
    operations = floor.describe_for_floor(plan, find_iptables(""), tmp_path)
    seconds = sandbox.run(partial(run_floor, tmp_path / "floor", operations))
    assert seconds["seconds"] == pytest.approx(sum(seconds.values()) - seconds["seconds"], abs=1e-3)
    assert all(seconds.values())


def test_the_command_tells_and_keeps_what_it_measured(tmp_path: Path) -> None:
    results = tmp_path / "bench.json"
    done = bench(results, "--only", "services", "change", "memory")
    assert done.returncode in (0, 1), done.stderr  # 1: a target was missed
    names = {f"{what}, {mode}" for what in ("full sync", "peak memory", *CHANGES) for mode in TEXT_MODES}
    kept = json.loads(results.read_text())["measurements"]
    assert [*kept] == ["services", "change", "memory"]
    assert {f["name"] for row in kept.values() for f in row["figures"]} == names
    assert all(f["median"] > 0 for row in kept.values() for f in row["figures"])
    assert all(f"| {name} " in done.stdout for name in names)

    again = bench(results, "--only")
    assert again.returncode == 0, again.stderr
    assert json.loads(results.read_text())["measurements"] == kept


def test_first_packets_of_each_mode_that_this_kernel_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = (*TEXT_MODES, "userspace")
    monkeypatch.setattr(first_packets, "usable_modes", lambda: Modes(modes, {"ipvs": "no ip_vs"}))
    monkeypatch.setattr(first_packets, "why_no_guest", lambda: "no guest")
    found = list(first_packets.measure_first_packets(setting(tmp_path)))
    assert [item for item in found if isinstance(item, Skipped)] == [
        Skipped("first packets in ipvs mode", "no ip_vs; no guest")
    ]
    figures = [item for item in found if isinstance(item, Figure) and item.name.startswith("first packet")]
    cases = {
        (mode, case, size)
        for mode in modes
        for case in (first_packets.STRAIGHT, *first_packets.CASES)
        for size in (1, 3)
    }
    assert {(f.mode, f.case, f.services) for f in figures} == cases
    assert {len(f.rounds) for f in figures} == {first_packets.DIALS}
    assert all(0 < f.value <= f.p99 for f in figures)


@with_guest
def test_first_packets_of_a_mode_that_only_the_guest_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_packets, "usable_modes", lambda: Modes((), {"ipvs": "no ip_vs"}))
    found = list(first_packets.measure_first_packets(setting(tmp_path)))
    assert {
        f"first packet, ipvs in user-mode Linux: ClusterIP, {case} Service" for case in first_packets.CASES
    } <= {f.name for f in found if isinstance(f, Figure)}


@needs_iperf3
def test_throughput_is_compared_with_pod_to_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "SECONDS", "1")
    monkeypatch.setattr(throughput, "usable_modes", lambda: Modes(("nftables",), {}))
    figures = [
        found for found in throughput.measure_throughput(setting(tmp_path)) if isinstance(found, Figure)
    ]
    assert [f.case for f in figures] == [*throughput.PLACES.values()]
    assert all(f.value > 0 and f.ratio for f in figures)


@pytest.mark.slow
@with_guest
@needs_iperf3
def test_throughput_of_a_mode_that_only_the_guest_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "SECONDS", "1")
    monkeypatch.setattr(throughput, "usable_modes", lambda: Modes((), {"ipvs": "no ip_vs"}))
    figures = [
        found for found in throughput.measure_throughput(setting(tmp_path)) if isinstance(found, Figure)
    ]
    assert [(f.mode, f.case) for f in figures] == [
        ("ipvs in user-mode Linux", place) for place in throughput.PLACES.values()
    ]
    assert all(f.value > 0 and f.ratio for f in figures)


def test_growth_with_pods_and_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "THIN", {"Pods": ((4, 3, 2), (8, 3, 2))})
    monkeypatch.setattr(scale, "STEPS", {False: (1, 2)})
    monkeypatch.setattr(scale, "LEAST", 0)
    figures = {figure.name: figure for figure in scale.measure_scale(setting(tmp_path))}
    assert {f"growth from 4 to 8 Pods: {what}" for what in ("build", "probe", "memory")} <= figures.keys()
    assert figures["2 steps: to the verdict"].value > 0.2
