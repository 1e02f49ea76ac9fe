"""Tests the sandbox: own namespaces, results and errors come out, and nothing stays when one of its processes
is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emulator.errors import KernelError
from emulator.kernel import sandbox
from tests.sandboxed import ROOT, host_state

pytestmark = pytest.mark.kernel


def namespace_ids() -> dict[str, int]:
    return {kind: os.stat(f"/proc/self/ns/{kind}").st_ino for kind in ("net", "mnt", "pid")}


def test_result_comes_from_other_namespaces() -> None:
    outside = namespace_ids()
    inside = sandbox.run(lambda _: namespace_ids())
    assert all(inside[kind] != outside[kind] for kind in outside)
    assert namespace_ids() == outside


def test_our_errors_come_out_as_they_are() -> None:
    def fail(_: sandbox.Channel) -> None:
        raise KernelError("worker-1", ["iptables-restore"], "no chain", "*nat\n")

    with pytest.raises(
        KernelError, match=r"(?s)no chain.*ip netns exec worker-1 iptables-restore <<'EOF'\n\*nat\nEOF"
    ):
        sandbox.run(fail)


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        sandbox.run(lambda _: 1 // 0)


def test_a_killed_worker_is_no_result() -> None:
    with pytest.raises(sandbox.SandboxDiedError, match="killed"):
        sandbox.run(lambda _: os.kill(os.getpid(), signal.SIGKILL))


def test_one_process_at_a_time_writes_to_the_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the keeper wait before its only message, as a machine under load does: a long announcement of the
    worker would be torn by it.
    """
    announce = sandbox.Channel.announce

    def late(channel: sandbox.Channel, info: dict[str, object]) -> None:
        time.sleep(0.5 if "init" in info else 0)
        announce(channel, info)

    monkeypatch.setattr(sandbox.Channel, "announce", late)
    begun = time.monotonic()
    assert sandbox.run(lambda _: time.monotonic()) - begun > 0.5


RUN = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from emulator.kernel import sandbox
from emulator.kernel.apply import apply
from emulator.schedule.planner import plan_cluster
from tests.sandboxed import state_of
state = state_of("three-networks")
def inside(channel):
    from emulator.workload.serve import servers
    applied = apply(plan_cluster(state))
    servers(applied.namespaces).tell(state)
    print("up", flush=True)
    time.sleep(600)
sandbox.run(inside)
"""


@contextmanager
def started(script: str) -> Iterator[subprocess.Popen[str]]:
    """Yields a process that runs ``script``, once it has said that its cluster is up; killed at the end if
    need be.
    """
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stdout is not None
            assert run.stdout.readline() == "up\n"
            yield run
        finally:
            run.kill()


def descendants(pid: int) -> list[int]:
    """Returns ``pid`` and every process below it, as the host counts them."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        children.setdefault(int(text.rsplit(")", 1)[1].split()[1]), []).append(int(path.parent.name))
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop(0))
        queue += children.get(found[-1], [])
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


@pytest.mark.parametrize("level", range(5), ids=["supervisor", "keeper", "init", "worker", "servers"])
def test_sigkill_of_any_process_leaves_nothing(level: int) -> None:
    before = host_state()
    with started(RUN) as run:
        pids = descendants(run.pid)
        assert len(pids) == 5, "supervisor, keeper, init, worker, servers"
        os.kill(pids[level], signal.SIGKILL)
        if level == 4:
            os.kill(pids[0], signal.SIGTERM)  # the servers' end alone does not end a run that waits
        deadline = time.monotonic() + 10
        while any(alive(pid) for pid in pids[1:]) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert [pid for pid in pids[1:] if alive(pid)] == []
        run.wait(10)
    assert host_state() == before


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6])
def test_sigkill_at_any_moment_leaves_nothing(delay: float) -> None:
    before = host_state()
    run = subprocess.Popen(
        [sys.executable, "-c", RUN.replace("time.sleep(600)", "time.sleep(1)")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(delay)
    pids = descendants(run.pid)
    run.send_signal(signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [pid for pid in pids if alive(pid)] == []
    assert host_state() == before


def test_ctrl_c_is_passed_on_once() -> None:
    with started(RUN) as run:
        pids = descendants(run.pid)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=10)
    assert err.rstrip().endswith("Interrupted: 2")
    assert [pid for pid in pids if alive(pid)] == []
