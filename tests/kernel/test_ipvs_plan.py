"""Tests ipvs mode without any process of ours: the network of ``podwire plan``'s script, and its evidence
bundle.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from emulator.kernel.apply import Applied, apply
from emulator.kernel.inspect import collect_state
from emulator.kernel.iptables import find_iptables
from emulator.net import IPV4
from emulator.plan.shell import render_shell
from emulator.schedule.planner import plan_cluster
from tests.conftest import UNSHARE
from tests.kernel.test_changes import ALL_PODS, WEB, service, shape
from tests.sandboxed import flavour, in_sandbox, state_of

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs("changes")]

CLUSTER = (
    shape(2, "{name: office, address: 203.0.113.10}")
    + ALL_PODS
    + service("web", WEB, 30080, "web-1", "web-2")
)
SERVE = (
    'python3 -u -c \'import socket; s = socket.create_server(("", 8080)); print(1); '
    '[print(s.accept()[1][0], end=" ") for _ in range(2)]\''
)


def test_the_printed_script_builds_a_cluster_that_balances(tmp_path: Path) -> None:
    (tmp_path / "iptables-restore").symlink_to(shutil.which(f"iptables-{flavour()}-restore") or "")
    script = render_shell(plan_cluster(state_of(text=CLUSTER, proxy_mode="ipvs")), title="ipvs")
    asked = f"""
        for pod in web-1 web-2; do
            mkfifo {tmp_path}/$pod
            ip netns exec default_$pod {SERVE} >{tmp_path}/$pod &
        done
        exec 3<{tmp_path}/web-1 4<{tmp_path}/web-2
        read up <&3
        read up <&4
        for to in {WEB}/80 172.18.0.3/30080; do
            from=default_client
            [ $to = {WEB}/80 ] || from=office
            for attempt in 1 2; do ip netns exec $from bash -c "echo >/dev/tcp/$to"; done
        done
        wait
        echo $(cat <&3) / $(cat <&4)
    """
    wrapper = f"mount -t tmpfs tmpfs /run && bash -s\n{asked}"
    env = {"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(
        [*UNSHARE, "bash", "-ec", wrapper],
        input=script,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env=env,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "10.244.1.21 10.244.1.1 / 10.244.1.21 172.18.0.3\n"


@in_sandbox
def test_evidence_holds_virtual_servers_and_sets() -> None:
    applied = apply(
        plan_cluster(state_of(text=CLUSTER, proxy_mode="ipvs")), Applied(find_iptables(flavour()))
    )
    state = collect_state(applied.namespaces, "worker-1", applied.iptables, IPV4)
    reals = {f"-a -t {WEB}:80 -r {ip}:8080 -m -w 1" for ip in ("10.244.1.11", "10.244.2.12")}
    assert reals | {f"-A -t {WEB}:80 -s rr"} <= set(state["ipvs"].splitlines())
    assert f"add KUBE-CLUSTER-IP {WEB},tcp:80\n" in state["ipset"]
    assert not {"ipvs", "ipset"} & collect_state(applied.namespaces, "router", applied.iptables, IPV4).keys()
