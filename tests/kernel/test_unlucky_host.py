"""Tests that a run is the same on a host whose administrator has set sysctls that new network namespaces
copy.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.kernel import sandbox
from emulator.kernel.apply import apply
from emulator.kernel.netns import Namespaces, check_output
from emulator.plan.operations import AddNetns, Plan, ResetDevices
from emulator.plan.shell import render_shell
from emulator.plan.sysctls import DEVICE_DEFAULTS, SCOPES
from emulator.report.prose_of_verdicts import say_verdict
from emulator.run.clock import Clock
from emulator.run.run import Options, prepare, run_inside
from emulator.schedule.schedule import plan_flows
from tests.conftest import UNSHARE
from tests.guest import uml, with_guest
from tests.kernel.unlucky_host import turn_round
from tests.sandboxed import ROOT, flavour, in_sandbox, scenario_of

pytestmark = pytest.mark.kernel

PLAN = Plan(
    name="x",
    operations=tuple(make(netns=netns, why="x") for netns in "ab" for make in (AddNetns, ResetDevices)),
)
WANTED = {f"{scope}/{key}": value for value, keys in DEVICE_DEFAULTS for key in keys for scope in SCOPES}
SHOW = "cd /proc/sys/net/ipv4/conf; grep -H . " + " ".join(sorted(WANTED))


@pytest.fixture
def unlucky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes new namespaces as such a host has them: the machine's own settings are not touched."""
    create = Namespaces.create

    def create_unlucky(self: Namespaces, name: str) -> None:
        create(self, name)
        assert turn_round(SCOPES) > 50

    monkeypatch.setattr(Namespaces, "create", create_unlucky)


def parse(shown: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in shown.splitlines())


@pytest.mark.usefixtures("unlucky")
@in_sandbox
def test_every_namespace_has_the_kernels_own_settings() -> None:
    applied = apply(PLAN)
    for netns in ("a", "b"):
        assert parse(check_output(applied.namespaces, netns, ["sh", "-c", SHOW])) == WANTED


def test_a_plan_for_a_shell_sets_the_same() -> None:
    """Runs the script in namespaces as such a host makes them."""
    turn = (
        "from tests.kernel.unlucky_host import turn_round; assert turn_round(('all', 'default', 'lo')) > 50"
    )
    python = shlex.join(["env", f"PYTHONPATH={ROOT}", sys.executable, "-c", turn])
    script = render_shell(PLAN, title="x").replace("ip netns add", "add")
    begin = f"mount -t tmpfs tmpfs /run\nadd() {{ ip netns add $1; ip netns exec $1 {python}; }}"
    text = f"{begin}\n{script}\nip netns exec b sh -c {shlex.quote(SHOW)}\n"
    done = subprocess.run([*UNSHARE, "bash", "-e"], input=text, capture_output=True, text=True, check=True)
    assert parse(done.stdout) == WANTED


@pytest.mark.usefixtures("unlucky")
@pytest.mark.parametrize("topology", ["three-networks", "l2-announcement", "in-path-load-balancer"])
def test_verdicts_are_those_of_any_other_host(topology: str) -> None:
    run = prepare(
        scenario_of(topology), *plan_flows(scenario_of(topology)), Options(iptables=flavour()), Clock()
    )
    report = sandbox.run(lambda channel: run_inside(channel, run, None, lambda report, _: report))
    assert [
        (result.flow.name, say_verdict(result)) for result in report.flows if result.verdict != "pass"
    ] == []


@pytest.mark.slow
@with_guest
def test_verdicts_are_right_where_the_host_itself_is_unlucky(tmp_path: Path) -> None:
    """Runs in a guest, whose first namespace may be spoilt; nothing is emulated."""
    podwire = f"{shlex.quote(sys.executable)} run_topology.py --captures none -o json"
    commands = [
        f"{podwire} {topology} || exit"
        for topology in ("three-networks", "l2-announcement", "in-path-load-balancer")
    ]
    done = uml(
        "sh",
        "-c",
        "\n".join([f"{shlex.quote(sys.executable)} -m tests.kernel.unlucky_host >&2 || exit", *commands]),
        seconds=120,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    reports, text = [], done.stdout.decode()
    while text.strip():
        report, end = json.JSONDecoder().raw_decode(text := text.lstrip())
        reports.append(report["summary"])
        text = text[end:]
    assert [(summary["fail"], summary["unknown"]) for summary in reports] == [(0, 0)] * 3
