"""Tests ``podwire capture``: frames of a cluster that stays up, as they come."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.kernel.test_signals import PODWIRE, kept

pytestmark = pytest.mark.kernel

SECONDS = 30


def begin(stack: ExitStack, cluster: int, *words: str) -> subprocess.Popen[str]:
    """Starts a capture and returns once it has begun."""
    run = stack.enter_context(
        subprocess.Popen(
            [*PODWIRE, "capture", "--cluster", str(cluster), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )
    assert run.stderr is not None
    line = run.stderr.readline()
    assert "capturing at" in line, line
    return run


def dial(cluster: int, *options: str) -> str:
    """Has the neighbour ask the echo server's Service; returns the client's port."""
    words = ["exec", "--cluster", str(cluster), "neighbour", "--", "curl", "-sS", "-m", "5", *options]
    ps = subprocess.run([*PODWIRE, "plan", "hairpin"], capture_output=True, text=True, check=True).stdout
    address = re.search(r"(10\.96\.\d+\.\d+)/32 .*--dport 80\b", ps)
    assert address, "the ClusterIP"
    done = subprocess.run(
        [*PODWIRE, *words, f"http://{address[1]}/"],
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    return str(json.loads(done.stdout)["client"].rpartition(":")[2])


def read(path: Path, *fields: str) -> list[list[str]]:
    words = [word for field in fields for word in ("-e", field)]
    command = ["tshark", "-r", str(path), "-T", "fields", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_frames_are_captured_as_they_come(tmp_path: Path) -> None:
    """Captures into a file, into a pipe and as lines, at once; each ends in its own way."""
    with ExitStack() as stack:
        up = stack.enter_context(kept())
        file = tmp_path / "c.pcapng"
        places = "neighbour,echo/eth0"
        start = partial(begin, stack)
        into_file = start(up.pid, places, "-w", str(file), "tcp", "port", "80", "or", "tcp port 8080")
        lines = start(up.pid, "default_neighbour/eth0", "-c", "3", "tcp")
        piped = start(up.pid, "pod/neighbour", "-w", "-")
        assert piped.stdout is not None
        os.read(piped.stdout.fileno(), 4)
        piped.stdout.close()  # as head does
        whole = start(up.pid, "worker-1", "-w", str(tmp_path / "all.pcapng"))
        port = dial(up.pid)
        out, err = lines.communicate(timeout=SECONDS)
        assert (lines.returncode, len(out.splitlines()), err) == (0, 3, "podwire: 3 frames\n")
        syn = rf"[\d:]+\.\d{{9}} default_neighbour/eth0 out TCP 10\.\S+:{port} > 10\.96\.\S+:80 S ttl 64 .*"
        assert re.fullmatch(syn, out.splitlines()[0])
        assert piped.wait(SECONDS) == 0
        into_file.send_signal(signal.SIGINT)
        _, err = into_file.communicate(timeout=SECONDS)
        assert (into_file.returncode, bool(re.fullmatch(r"podwire: \d+ frames\n", err))) == (0, True), err
        up.terminate()
        _, err = whole.communicate(timeout=SECONDS)
        assert (whole.returncode, err.splitlines()[0]) == (0, "podwire: the cluster has ended")
    if shutil.which("tshark"):
        rows = read(file, "frame.interface_name", "tcp.dstport", "frame.packet_flags_direction")
        first = [row for row in rows if row[1] in ("80", "8080")]
        assert first[0] == ["default_neighbour/eth0", "80", "0x00000002"]
        assert ["default_echo/eth0", "8080", "0x00000001"] in first
        assert {row[0] for row in rows} == {"default_neighbour/eth0", "default_echo/eth0"}
        seen = {row[0].partition("/")[0] for row in read(tmp_path / "all.pcapng", "frame.interface_name")}
        assert seen == {"worker-1"}
