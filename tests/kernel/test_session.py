"""Tests a program's own cluster: ``with podwire.cluster(…)``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import podwire
from emulator.errors import InputError, UsageError
from emulator.kernel.sandbox import SandboxDiedError
from emulator.run.clusters import find_running
from tests.sandboxed import flavour

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
ITSELF = "a-pod-reaches-itself"


def flow_check(outcome: str, **more: object) -> Mapping[str, Any]:
    flow = {
        "name": "the neighbour asks",
        "from": {"pod": "neighbour"},
        "to": {"service": "echo", "port": 80},
        "expect": {"outcome": outcome},
    }
    return {
        "apiVersion": "podwire.dev/v1alpha1",
        "kind": "FlowCheck",
        "metadata": {"name": "asked"},
        "spec": {"flows": [flow], **more},
    }


@pytest.fixture(scope="module")
def running() -> Iterator[podwire.RunningCluster]:
    with podwire.cluster("hairpin", iptables=flavour()) as cluster:
        yield cluster


def test_command_runs_in_a_pod(running: podwire.RunningCluster) -> None:
    done = running.exec("neighbour", ["sh", "-c", "hostname -I; cat; echo bad >&2; exit 7"], input="said\n")
    assert (done.returncode, done.stderr) == (7, "bad\n")
    assert done.stdout.split() == ["10.244.1.3", "said"]
    with pytest.raises(subprocess.CalledProcessError):
        running.exec("neighbour", ["false"], check=True)


def test_name_that_is_not_there_is_refused(running: podwire.RunningCluster) -> None:
    with pytest.raises(UsageError, match=r"no Pod, node or client 'neighbor'.*did you mean neighbour"):
        running.exec("neighbor", ["true"])


def test_flows_are_those_of_the_targets(running: podwire.RunningCluster) -> None:
    assert {flow.verdict for flow in running.flows} == {"pass"}
    assert ITSELF in {flow.flow.check for flow in running.flows}
    assert running.report is running.report


def test_check_sends_its_flows_again_and_again(running: podwire.RunningCluster) -> None:
    for _ in range(2):
        report = running.check(flow_check("delivered"))
        (asked,) = (result for result in report.flows if not result.flow.control)
        assert (asked.flow.check, asked.verdict) == ("asked", "pass")
        assert asked.journeys


def test_check_that_fails_says_why(running: podwire.RunningCluster) -> None:
    with pytest.raises(podwire.CheckFailedError, match="expected dropped, was delivered") as raised:
        running.check(flow_check("dropped"))
    assert raised.value.report.summary["fail"] == 1


def test_check_that_cannot_be_read_ends_nothing(running: podwire.RunningCluster, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^check\(\): document 1: spec.flows\[0\].expect.outcome"):
        running.check(flow_check("lost"))
    with pytest.raises(InputError, match="holds more than FlowChecks"):
        running.check("hairpin")
    with pytest.raises(InputError, match=r"spec\.steps: has steps, which change the cluster"):
        running.check(
            flow_check(
                "delivered", steps=[{"name": "later", "delete": [{"kind": "Service", "name": "echo"}]}]
            )
        )
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        running.check({"kind": object()})
    file = tmp_path / "check.yaml"
    file.write_text(str(dict(flow_check("delivered"))))  # JSON but for its quotes: YAML reads it
    assert running.check(file).ok


def test_input_that_cannot_be_read_is_raised_where_it_was_given() -> None:
    with (
        pytest.raises(InputError, match="nosuch: is neither a topology nor"),
        podwire.cluster("nosuch"),
    ):
        pytest.fail("it was brought up")


def test_evidence_is_written_for_each_check(tmp_path: Path) -> None:
    with podwire.cluster("hairpin", captures=tmp_path, iptables=flavour()) as cluster:
        cluster.check(flow_check("delivered"))
    assert (tmp_path / "hairpin-check-1" / "all.pcapng").stat().st_size > 0


def test_cluster_whose_steps_were_played_is_another() -> None:
    """Runs a check before the steps: it meets the cluster of the beginning, and leaves it as it was."""
    met = {
        "name": "both",
        "from": {"pod": "client"},
        "to": {"service": "web", "port": 80},
        "expect": {"outcome": "delivered", "backends": ["default/web-0", "default/web-1"]},
    }
    with podwire.cluster("drain", iptables=flavour()) as cluster:
        cluster.check({**flow_check("delivered"), "spec": {"flows": [met]}})
        assert cluster.report.ok
        with pytest.raises(UsageError, match=r"the steps of FlowCheck .* have changed the cluster"):
            cluster.check(flow_check("delivered"))


def test_cluster_that_was_killed_is_said_to_have_ended() -> None:
    with podwire.cluster("hairpin", iptables=flavour()) as cluster:
        os.kill(cluster.pid, signal.SIGKILL)
        with pytest.raises(SandboxDiedError, match="the cluster has ended"):
            cluster.check(flow_check("delivered"))


OWNER = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
import podwire
with podwire.cluster("hairpin", iptables={flavour()!r}) as cluster:
    print(cluster.pid, flush=True)
    time.sleep(60)
"""


def is_serving(pid: int) -> bool:
    """Returns whether the process still exists, and is no zombie that PID 1 leaves."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return "session" in Path(f"/proc/{pid}/cmdline").read_text()
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "Ctrl-C"])
def test_cluster_ends_with_its_program(number: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        assert pid in {running.pid for running in find_running()}
        owner.send_signal(number)
    deadline = time.monotonic() + 30
    while pid in {running.pid for running in find_running()} or is_serving(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
