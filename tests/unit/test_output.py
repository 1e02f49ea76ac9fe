"""Standard output as users have it: what does not fit into it ends nothing with a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.sandboxed import ROOT

LIST = [sys.executable, str(ROOT / "run_topology.py"), "list"]
PLAN = [sys.executable, str(ROOT / "run_topology.py"), "plan", "hairpin"]


def run(shell: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    """``words`` in place of "$@" of a line of shell."""
    return subprocess.run(["bash", "-c", shell, "bash", *words], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("words", [LIST, PLAN], ids=["list", "plan"])
def test_a_full_disk_is_told(words: list[str]) -> None:
    done = run('"$@" > /dev/full', words)
    assert (done.returncode, done.stderr) == (2, "podwire: cannot write to standard output: No space left on device\n")


def test_whoever_reads_may_go() -> None:
    done = run('"$@" | true; exit ${PIPESTATUS[0]}', PLAN)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_nobody_s(closed: str) -> None:
    done = run(f'"$@" {closed}', LIST)
    assert (done.returncode, done.stderr) == (0, "")
