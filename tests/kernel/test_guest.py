"""Tests a run in a guest from the side of the waiting process. A stand-in for scripts/uml runs the command on
this kernel, or does not.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.errors import Exit
from emulator.run import guest
from emulator.run.run import Options
from emulator.schedule.schedule import plan_flows
from tests.sandboxed import ROOT, scenario_of

pytestmark = pytest.mark.kernel

HERE = "import os, sys; os.execvp(sys.argv[4], sys.argv[4:])"
HALF = (
    "import subprocess, sys; sys.stdout.buffer.write(subprocess.run(sys.argv[4:], "
    "stdout=subprocess.PIPE).stdout[:-100])"
)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    uml = tmp_path / "uml"
    uml.write_text(HERE)
    monkeypatch.setattr(guest, "UML", uml)
    return uml


def test_the_report_and_the_evidence_come_back(stand_in: Path, tmp_path: Path) -> None:
    state = scenario_of("hairpin")
    flows, promise = plan_flows(state)
    with guest.observing(state, flows, promise, Options(captures=tmp_path / "captures")) as wait:
        report = wait()
    assert [(r.flow, r.expected) for r in report.flows] == [(flow, promise(flow)) for flow in flows]
    assert report.ok
    directory = tmp_path / "captures" / "hairpin"
    assert {name for result in report.flows for name in result.captures} <= {
        path.name for path in directory.iterdir()
    }
    frames = subprocess.run(
        ["tshark", "-r", directory / "all.pcapng"], capture_output=True, text=True, check=True
    ).stdout
    assert frames.count("\n") > len(flows)


def test_no_evidence_comes_back_unasked(stand_in: Path, tmp_path: Path) -> None:
    state = scenario_of("hairpin")
    with guest.observing(state, *plan_flows(state), Options()) as wait:
        assert all(result.captures == () for result in wait().flows)


def test_an_error_there_is_one_here(stand_in: Path) -> None:
    state = scenario_of("hairpin", proxy_mode="ipvs")
    stand_in.write_text(
        "import os, sys; os.environ['PATH'] = '/nonexistent'; os.execvp(sys.argv[4], sys.argv[4:])"
    )
    with (
        guest.observing(state, *plan_flows(state), Options()) as wait,
        pytest.raises(guest.GuestError, match="ipvs mode in user-mode Linux: ") as caught,
    ):
        wait()
    assert "this machine lacks" in str(caught.value)
    assert caught.value.exit_code == Exit.MACHINE_LACKS


@pytest.mark.parametrize(
    "ends",
    ["import sys; sys.exit(125)", "import os; os.kill(os.getpid(), 9)", HALF],
    ids=["dead", "killed", "cut off"],
)
def test_a_guest_without_a_result_is_an_error(stand_in: Path, ends: str, tmp_path: Path) -> None:
    state = scenario_of("hairpin")
    stand_in.write_text(ends)
    observing = guest.observing(state, *plan_flows(state), Options(captures=tmp_path / "captures"))
    with observing as wait, pytest.raises(guest.GuestError, match="ended without a result") as caught:
        wait()
    assert caught.value.exit_code == Exit.MACHINE_LACKS  # no flow was seen to fail


def test_whoever_does_not_wait_leaves_no_guest(stand_in: Path, tmp_path: Path) -> None:
    """Fails in one mode here, which ends the mode that runs in the guest."""
    state, started = scenario_of("hairpin"), tmp_path / "started"
    os.mkfifo(started)
    stand_in.write_text(
        f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(100)"
    )
    with guest.observing(state, *plan_flows(state), Options()):
        pid = started.read_text()
        assert Path("/proc", pid).exists()
    assert not Path("/proc", pid).exists()


WAITING = """
import sys
from pathlib import Path
from emulator.run import guest
from emulator.run.run import Options
from emulator.schedule.schedule import plan_flows
from tests.sandboxed import ROOT, scenario_of

guest.UML = Path(sys.argv[1])
state = scenario_of("hairpin")
with guest.observing(state, *plan_flows(state), Options()) as wait:
    wait()
"""


def test_a_guest_ends_with_whoever_waits_for_it(stand_in: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    stand_in.write_text(
        f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(100)"
    )
    waiting = subprocess.Popen([sys.executable, "-c", WAITING, stand_in], cwd=ROOT)
    guest_process = os.pidfd_open(int(started.read_text()))
    waiting.kill()
    waiting.wait()
    assert select.select([guest_process], [], [], 10)[0], "it runs on"
    os.close(guest_process)
