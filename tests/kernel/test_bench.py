"""scripts/bench with clusters so small that its figures mean nothing: that it measures, tells, and keeps what it measured."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import packets
from benchmark.figures import Figure
from benchmark.measuring import Modes, Setting
from emulator.run import find_iptables
from tests.sandboxed import ROOT

pytestmark = pytest.mark.kernel

CASES = ("Pod to Pod", "ClusterIP, first Service", "ClusterIP, middle Service", "ClusterIP, last Service")
CHANGES = ("one endpoint changed", "one Service removed", "one Service added")


def bench(results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "bench"), "--rounds", "1", "--services", "3", "--results", str(results), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("measurement", "names"),
    [
        ("services", {f"full sync, {mode}" for mode in ("iptables", "nftables")}),
        ("change", {f"{change}, {mode}" for mode in ("iptables", "nftables") for change in CHANGES}),
        ("memory", {f"peak memory, {mode}" for mode in ("iptables", "nftables")}),
        ("packets", {f"first packet, {mode}: {case}" for mode in ("iptables", "nftables") for case in CASES}),
    ],
    ids=["services", "change", "memory", "packets"],
)
def test_each_measurement_finds_its_figures(measurement: str, names: set[str], tmp_path: Path) -> None:
    done = bench(tmp_path / "bench.json", "--only", measurement)
    assert done.returncode in (0, 1), done.stderr  # 1: a target was missed
    figures = json.loads((tmp_path / "bench.json").read_text())["measurements"][measurement]["figures"]
    assert names <= {f["name"] for f in figures}
    assert all(f["median"] > 0 for f in figures)
    assert all(f"| {name} " in done.stdout for name in names)
    again = bench(tmp_path / "bench.json", "--only")
    assert again.returncode == 0, again.stderr
    assert [*json.loads((tmp_path / "bench.json").read_text())["measurements"]] == [measurement]


@pytest.mark.skipif(not shutil.which("iperf3"), reason="iperf3 is not installed: scripts/with-env installs it for scripts/bench")
def test_throughput_is_compared_with_pod_to_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "STREAM_SECONDS", "1")
    monkeypatch.setattr(packets, "usable_modes", lambda: Modes(("nftables",), {}))
    setting = Setting(rounds=1, services=(), directory=tmp_path, iptables=find_iptables(""))
    figures = [found for found in packets.measure_throughput(setting) if isinstance(found, Figure)]
    assert [f.case for f in figures] == [*packets.PLACES.values()]
    assert all(f.value > 0 and f.ratio for f in figures)
