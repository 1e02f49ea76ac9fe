"""Tests the Wireshark profile that comes with podwire, in tshark, which reads profiles as Wireshark does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from emulator.report.pcapng import encode_pcapng
from tests.unit.report.samples import CLIENT, NAMES, WEB_0, captured, tcp_frame

PROFILE = Path(__file__).parents[3] / "docs" / "wireshark-profile" / "podwire"

pytestmark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is not installed (Debian package tshark)"
)
SYN = tcp_frame(CLIENT, 40000, WEB_0, 8080)
HOPS = [
    captured(number, netns, interface, False, SYN)
    for number, (netns, interface) in enumerate(
        [("default_client", "eth0"), ("worker-1", "cbr0"), ("worker-2", "eth0"), ("router", "eth0")]
    )
]


@pytest.fixture(scope="module")
def tshark(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """Returns the command that reads one packet at four hops."""
    top = tmp_path_factory.mktemp("wireshark")
    shutil.copytree(PROFILE, top / "profiles" / "podwire")
    file = top / "hops.pcapng"
    file.write_bytes(encode_pcapng(HOPS, names=NAMES, comments={1: ["DNAT at worker-1: a → b"]}))
    return ["env", f"WIRESHARK_CONFIG_DIR={top}", "tshark", "-r", str(file)]


def read(*words: str) -> list[str]:
    environment = {**os.environ, "TZ": "UTC"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert "preferences" not in done.stderr, done.stderr  # a line that tshark does not know
    return done.stdout.splitlines()


def test_further_hops_are_no_retransmissions(tshark: Sequence[str]) -> None:
    assert sum("Retransmission" in line for line in read(*tshark)) == 3
    assert not any("Retransmission" in line for line in read(*tshark, "-C", "podwire"))


def test_columns_say_where_a_frame_was_and_what_happened_there(tshark: Sequence[str]) -> None:
    lines = read(*tshark, "-C", "podwire")
    assert "worker-1/cbr0" in lines[1]
    assert "DNAT at worker-1: a → b" in lines[1]
    assert " client " in lines[0]
    assert " web-0 " in lines[0]


def test_each_namespace_has_a_colour_and_a_rewrite_too(tshark: Sequence[str]) -> None:
    rules = read(*tshark, "-C", "podwire", "--color", "-T", "fields", "-e", "frame.coloring_rule.name")
    assert rules == ["Pod", "Rewritten (DNAT, SNAT)", "Node 2", "Router"]
