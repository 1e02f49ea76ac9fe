"""Tests runs with a real kube-proxy in place of podwire's rules. They are skipped where there is none
(tests/kube_proxy.py).
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import emulator.run.kubeproxies
from emulator.cluster.state import ClusterState
from emulator.errors import Exit
from emulator.kernel import sandbox
from emulator.kernel.iptables import apply_with_iptables
from emulator.net import Prefix
from emulator.proxy.backends import BACKENDS
from emulator.run.kubeproxies import find_program, kube_proxies
from emulator.schedule.planner import plan_cluster
from emulator.workload.kubeproxy import MARKED, MARKING, rules_in
from tests.conftest import GOLDEN
from tests.forked import forked
from tests.iptables_save import Tables, normal
from tests.kernel.test_up import CLUSTER, needs_kubectl, up
from tests.kube_proxy import PATH, needs_kube_proxy
from tests.nft_ruleset import Table, parse, promise
from tests.objects import golden_state
from tests.sandboxed import SHIPPED, flavour, host_state, podwire

pytestmark = [pytest.mark.kernel, needs_kube_proxy]

MODES = ["iptables", "nftables"]
GOLDEN_RELEASE = "v1.37.2"


def run(topology: str, mode: str, *more: str) -> subprocess.CompletedProcess[str]:
    words = ("run", topology, "--proxy-mode", mode, "--iptables", flavour(), "--captures", "none", *more)
    return forked(*words, timeout=180)


# --- shipped topologies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("topology", [name for name in SHIPPED if name != "rolling-update"])
def test_a_real_kube_proxy_does_what_the_objects_promise(topology: str, mode: str) -> None:
    done = run(topology, mode, "--kube-proxy", str(PATH), "-o", "json")
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    wrong = [flow["name"] for flow in report["flows"] if flow["verdict"] != "pass"]
    assert wrong == []
    assert len(report["flows"]) > 2
    assert done.returncode == Exit.OK
    assert report["kubeProxy"] == {"release": find_program(PATH).release, "program": str(PATH)}


# --- the golden objects ------------------------------------------------------------------------------------


def rules_of(state: ClusterState) -> str:
    """Returns the rules that a real kube-proxy leaves on worker-1 in a sandbox."""
    save = ("iptables-save",) if state.proxy.mode == "iptables" else ("nft", "list", "ruleset")
    assert BACKENDS[state.proxy.mode].prints[0] == save[0]
    applied = apply_with_iptables(plan_cluster(state), flavour())
    with TemporaryDirectory(dir="/run") as logs:
        kube_proxies(applied, Path(logs)).tell(state)
        return rules_in(applied.namespaces, "worker-1", save, applied.iptables)


@pytest.fixture(scope="module")
def rules() -> dict[str, str]:
    program = find_program(PATH)
    if program.release != GOLDEN_RELEASE:
        pytest.skip(f"{PATH} is {program.release}: the rules of {GOLDEN_RELEASE} were recorded")
    found = {}
    for mode in MODES:
        state = golden_state(GOLDEN / "kube-proxy-v1.30.5", mode=mode, program=program)
        given = replace(state, serviceSubnet=Prefix("10.96.0.0/16"))  # as when they were recorded
        found[mode] = sandbox.run(lambda _, given=given: rules_of(given))
    return found


def without_mark(tables: Tables) -> Tables:
    """Returns ``tables`` without the chains and rules of podwire's own Service."""
    return {
        table: {
            chain: kept
            for chain, rules in chains.items()
            if (kept := [rule for rule in rules if "podwire/sync" not in rule]) or not rules
        }
        for table, chains in tables.items()
    }


def test_the_golden_objects_give_the_recorded_rules_of_iptables(rules: dict[str, str]) -> None:
    recorded = normal((GOLDEN / f"kube-proxy-{GOLDEN_RELEASE}" / "iptables.iptables-save.txt").read_text())
    lines = "".join(f"{line}\n" for line in rules["iptables"].splitlines() if not line.startswith("#"))
    found = without_mark(normal(re.sub(r"\[\d+:\d+\]", "[0:0]", lines)))
    assert MARKED in rules["iptables"]
    for table in ("filter", "nat"):
        ours = {chain: each for chain, each in found[table].items() if chain.startswith("KUBE-")}
        theirs = {chain: each for chain, each in recorded[table].items() if chain.startswith("KUBE-")}
        assert ours == theirs


def test_the_golden_objects_give_the_recorded_rules_of_nftables(rules: dict[str, str]) -> None:
    recorded = parse((GOLDEN / f"kube-proxy-{GOLDEN_RELEASE}" / "nftables.ruleset.txt").read_text())
    found = parse(rules["nftables"])
    assert any(MARKED in key for key in found.elements["service-ips"])

    def own(table: Table, name: str) -> dict[str, str]:
        every = table.elements.get(name, {})
        return {key: value for key, value in every.items() if MARKED not in key and MARKING not in key}

    for name in recorded.elements:
        assert own(found, name).keys() == own(recorded, name).keys(), name
    for where in ("service-ips", "service-nodeports"):
        for key, value in own(recorded, where).items():
            assert promise(found, own(found, where)[key], key) == promise(recorded, value, key)


# --- beside podwire's own ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_podwires_rules_and_a_real_kube_proxy_treat_every_flow_alike(mode: str) -> None:
    release = find_program(PATH).release
    done = forked(
        *("diff", "three-networks", "--modes", f"{mode},real:{mode}:{PATH}", "--iptables", flavour()),
        *("--captures", "none", "-o", "json", "--exit-code"),
    )
    assert done.returncode == Exit.OK, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["modes"] == [mode, f"{mode}-{release}"]
    assert {flow["status"] for flow in report["flows"]} == {"same"}
    assert len(report["flows"]) > 80


# --- what can go wrong -------------------------------------------------------------------------------------


def script(path: Path, text: str) -> Path:
    """Returns a program that is a kube-proxy to --version, and else does ``text``."""
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec {PATH} --version\n{text}\n')
    path.chmod(0o755)
    return path


def test_a_kube_proxy_that_ends_ends_the_run_with_its_last_lines(tmp_path: Path) -> None:
    program = script(tmp_path / "kube-proxy", "echo 'cannot go on' >&2; exit 7")
    done = run("hairpin", "iptables", "--kube-proxy", str(program))
    assert done.returncode == Exit.MACHINE_LACKS
    assert done.stdout == ""
    assert re.search(r"kube-proxy on \S+ has ended with exit code 7 \(.*--config=", done.stderr)
    assert "\n  cannot go on" in done.stderr
    assert "Traceback" not in done.stderr


CRASHING_NFT = """
mkdir -p /tmp/bin
cat >/tmp/bin/nft <<'END'
#!/bin/sh
case "$*" in *--check*) ;; *-f*) kill -SEGV $$ ;; esac
exec {nft} "$@"
END
chmod +x /tmp/bin/nft
PATH=/tmp/bin:$PATH exec {path} "$@"
"""


def test_a_sync_that_never_ends_is_reported_in_those_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Has an nft that dies in every transaction, as one does of an older release than the set's."""
    monkeypatch.setattr(emulator.run.kubeproxies, "_PATIENCE", 4.0)
    nft = subprocess.run(["sh", "-c", "command -v nft"], capture_output=True, text=True, check=True)
    text = CRASHING_NFT.format(path=PATH, nft=nft.stdout.strip())
    done = run("hairpin", "nftables", "--kube-proxy", str(script(tmp_path / "kube-proxy", text)))
    assert done.returncode == Exit.MACHINE_LACKS
    assert done.stdout == ""
    assert re.search(r"has not brought its rules to the kernel in 4 s: its sync does not end", done.stderr)
    assert "segmentation fault" in done.stderr


def test_a_kube_proxy_that_is_killed_between_flows_gives_no_verdict(tmp_path: Path) -> None:
    text = f'{PATH} "$@" & sleep 2.5; kill -9 $!; wait $!'
    program = script(tmp_path / "kube-proxy", text)
    done = run("affinity-expiry", "iptables", "--kube-proxy", str(program))
    assert done.returncode == Exit.MACHINE_LACKS
    assert done.stdout == ""
    assert "the process of the kube-proxies has ended: kube-proxy on" in done.stderr
    assert "run again" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/sh\necho 'flannel v0.27'", "it answers --version with 'flannel v0.27'"),
        ("no program at all", "cannot run"),
    ],
)
def test_another_program_is_refused(tmp_path: Path, text: str, said: str) -> None:
    program = tmp_path / "program"
    program.write_text(text)
    program.chmod(0o755)
    done = run("hairpin", "iptables", "--kube-proxy", str(program))
    assert (done.returncode, done.stdout) == (Exit.BAD_INPUT, "")
    assert said in done.stderr


def test_a_mode_that_is_gone_is_refused() -> None:
    done = run("hairpin", "userspace", "--kube-proxy", str(PATH))
    assert (done.returncode, done.stdout) == (Exit.BAD_INPUT, "")
    assert "kube-proxy has no mode userspace since v1.26" in done.stderr


# --- its confinement ---------------------------------------------------------------------------------------

LOOK = """
{{
  for file in /etc/probe /usr/probe "$0.probe" {home}/probe /proc/sys/kernel/printk /sys/probe; do
    ( : >"$file" ) 2>/dev/null && echo "WROTE $file"
  done
  ls -A {home} 2>/dev/null
  grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/self/status
  id -u
  ls /proc | grep -c '^[0-9]'
}} >&2
exit 9
"""


def test_it_writes_nothing_of_the_host_and_sees_no_other_process(tmp_path: Path) -> None:
    before = host_state()
    home = Path.home()
    program = script(tmp_path / "kube-proxy", LOOK.format(home=home))
    done = podwire(
        *("run", "hairpin", "--kube-proxy", str(program), "--captures", str(tmp_path / "captures")),
        timeout=60,
    )
    assert done.returncode == Exit.MACHINE_LACKS
    assert "exit code 9" in done.stderr
    assert "WROTE" not in done.stderr
    own = [line.strip().replace("\\t", " ") for line in done.stderr.splitlines()[2:]]
    rights = "0000000000003000"  # CAP_NET_ADMIN and CAP_NET_RAW
    assert own[:3] == [f"CapEff: {rights}", f"CapBnd: {rights}", "NoNewPrivs: 1"]
    assert int(own[-1]) <= 4  # this shell and what it has started
    assert host_state() == before


# --- a cluster that lives ----------------------------------------------------------------------------------

SERVED = (
    CLUSTER
    + """
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: worker-2, containers: [{name: c, image: web:1, ports: [{containerPort: 80}]}]}
"""
)


@needs_kubectl
@pytest.mark.parametrize("mode", MODES)
def test_kube_proxies_of_a_cluster_that_lives_follow_its_api(tmp_path: Path, mode: str) -> None:
    with up(tmp_path, "--proxy-mode", mode, "--kube-proxy", str(PATH), text=SERVED) as cluster:
        events = cluster.kubectl("get", "events", "-A", "-o", "jsonpath={.items[*].reportingComponent}")
        assert "kube-proxy" in events
        cluster.kubectl("expose", "pod", "web", "--port=80")
        address = cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")

        def is_served() -> bool:
            said = cluster.kubectl(
                *("exec", "client", "--", "sh", "-c"), f"curl -s --max-time 2 http://{address} || true"
            )
            return '"pod": "default/web"' in said

        cluster.until(is_served)
        cluster.kubectl("delete", "service", "web")
        cluster.until(lambda: not is_served())


def test_a_cluster_whose_kube_proxy_ends_ends_with_its_last_lines(tmp_path: Path) -> None:
    program = script(tmp_path / "kube-proxy", "echo 'no more' >&2; exit 5")
    manifest = tmp_path / "cluster.yaml"
    manifest.write_text(SERVED)
    done = podwire("up", str(manifest), "--kube-proxy", str(program), timeout=60)
    assert done.returncode == Exit.MACHINE_LACKS
    assert "is ready" not in done.stdout
    assert re.search(r"kube-proxy on \S+ has ended with exit code 5", done.stderr)
    assert "\n  no more" in done.stderr
    assert "Traceback" not in done.stderr


def test_kube_proxies_need_a_control_plane_to_ask() -> None:
    nodes = "apiVersion: podwire.dev/v1alpha1\nkind: Cluster\nnodes: [{role: worker}]\n"
    done = podwire("up", "-", "--kube-proxy", str(PATH), stdin=nodes, timeout=60)
    assert done.returncode == Exit.BAD_INPUT
    assert "no node is a control plane" in done.stderr
