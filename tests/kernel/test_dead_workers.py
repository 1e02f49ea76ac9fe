"""Tests that a dead server, speaker or proxy ends the run with one sentence: a missing answer since then
proves nothing about rules.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.errors import Exit
from emulator.kernel import sandbox
from emulator.run.clock import Clock
from emulator.run.control import door
from emulator.run.examine import examine
from emulator.run.live import Live
from emulator.run.run import Options, prepare, run_inside
from emulator.run.stay import stay
from emulator.schedule.schedule import plan_flows
from emulator.traffic.send import Prober
from emulator.workload.worker import WorkerError
from tests.sandboxed import flavour, scenario_of

pytestmark = pytest.mark.kernel

# the process that dies: its name, and a topology and mode that have it
KINDS = {
    "the echo servers": ("three-networks", "iptables"),
    "the load-balancer speakers": ("l2-announcement", "iptables"),
    "the proxies": ("three-networks", "userspace"),
}


def kill(live: Live, name: str) -> None:
    """Kills ``name`` and waits until it is dead."""
    pid = next(worker._pid for worker in live._workers if worker._name == name)
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.005)


def error_of(name: str, topology: str, mode: str) -> WorkerError:
    """Returns what ends a run in which ``name`` dies as the test has arranged."""
    scenario = scenario_of(topology, proxy_mode=mode)
    run = prepare(scenario, *plan_flows(scenario), Options(iptables=flavour()), Clock())
    with pytest.raises(WorkerError) as raised:
        sandbox.run(lambda channel: run_inside(channel, run, None, lambda report, _: report.summary))
    return raised.value


def before(live: Live, prober: Prober, name: str) -> None:
    kill(live, name)


def meanwhile(live: Live, prober: Prober, name: str) -> None:
    """Kills it with the first frame that is seen."""
    drain, alive = live.recording.drain, True

    def drain_and_kill() -> object:
        nonlocal alive
        frames = drain()
        if frames and alive:
            alive = False
            kill(live, name)
        return frames

    live.recording.drain = drain_and_kill  # type: ignore[method-assign, assignment]


def after(live: Live, prober: Prober, name: str) -> None:
    """Kills it behind the last answer, before the verdicts."""
    probe = prober.probe

    def probe_and_kill(*flows: object, **how: object) -> object:
        done = probe(*flows, **how)  # type: ignore[arg-type]
        kill(live, name)
        return done

    prober.probe = probe_and_kill  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("moment", [before, meanwhile, after], ids=lambda moment: moment.__name__)
@pytest.mark.parametrize("name", KINDS)
def test_a_run_says_what_was_killed_and_gives_no_verdict(
    name: str, moment: Callable[[Live, Prober, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def examine_with_a_death(
        schedule: object, now: object, live: Live, prober: Prober, *rest: object, **more: object
    ) -> None:
        moment(live, prober, name)
        examine(schedule, now, live, prober, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("emulator.run.run.examine", examine_with_a_death)
    error = error_of(name, *KINDS[name])
    assert f"the process of {name} was killed by SIGKILL" in str(error)
    assert error.exit_code == Exit.MACHINE_LACKS
    assert "\n" not in str(error)


def test_a_server_without_descriptors_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def starve(live: Live, state: object) -> None:
        import resource

        begin(live, state)  # type: ignore[arg-type]
        pid = live._workers[0]._pid
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{pid}/fd").iterdir())) + 1,) * 2)

    begin = Live.begin
    monkeypatch.setattr(Live, "begin", starve)
    assert "the process of the echo servers has ended: too many open files" in str(
        error_of("", "three-networks", "iptables")
    )


def test_a_cluster_that_stays_up_ends_when_its_servers_die(capfd: pytest.CaptureFixture[str]) -> None:
    def kill_later(live: Live, said: str) -> None:
        threading.Timer(0.5, kill, (live, "the echo servers")).start()
        with door() as at:
            stay(live, said, at, scenario.state, ())

    scenario = scenario_of("three-networks")
    run = prepare(scenario, *plan_flows(scenario), Options(iptables=flavour()), Clock())
    with pytest.raises(WorkerError, match="the process of the echo servers was killed by SIGKILL"):
        sandbox.run(
            lambda channel: run_inside(channel, run, None, lambda _, live: kill_later(live, "it stays up"))
        )
    assert "it stays up" in capfd.readouterr().err
