"""Tests the command line end to end: processes, exit codes, files, other terminals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from tests.sandboxed import ROOT, SHIPPED, TOPOLOGIES, host_state, podwire

pytestmark = pytest.mark.kernel

FAILING = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: worker-1, containers: [{name: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: worker-2, containers: [{name: c}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: wrong}
spec:
  flows:
  - {name: web drops, from: {pod: client}, to: {service: web, port: 80}, expect: {outcome: dropped}}
"""


@pytest.mark.parametrize(
    "words", [["-o", "yaml"], ["-o", "json"], [], ["diff"]], ids=lambda words: " ".join(words) or "table"
)
def test_a_reader_that_has_gone_takes_the_words_but_not_the_verdict(words: list[str]) -> None:
    """Leaves a pipe without a reader, as ``podwire … | head`` does."""
    reader, writer = os.pipe()
    os.close(reader)
    options = ["--modes", "iptables,nftables"] if "diff" in words else []
    command = [sys.executable, str(ROOT / "run_topology.py"), *words, "-", "--captures", "none", *options]
    with os.fdopen(writer) as nobody:
        done = subprocess.run(
            command, input=FAILING, stdout=nobody, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("topology", SHIPPED)
def test_every_shipped_topology_is_as_promised(topology: str, tmp_path: Path) -> None:
    done = podwire(
        topology,
        "--captures",
        str(tmp_path),
        "-o",
        "json",
        prefix=["env", "PYTHONWARNINGS=error::ResourceWarning"],
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "ResourceWarning" not in done.stderr, "what was opened is left for the interpreter to close"
    report = json.loads(done.stdout)
    assert report["summary"]["pass"] == report["summary"]["flows"] > 0
    assert {r["verdict"] for r in report["requirements"]} <= {"pass", "unknown"}
    assert (tmp_path / topology / "all.pcapng").stat().st_size > 1000
    for flow in report["flows"]:
        assert flow["captures"], flow["name"]
        assert all((tmp_path / topology / name).is_file() for name in flow["captures"])


def test_default_topology_exercises_the_four_kinds_of_communication(tmp_path: Path) -> None:
    report = json.loads(podwire("--captures", "none", "-o", "json", cwd=tmp_path).stdout)
    kinds = {flow["kind"] for flow in report["flows"]}
    assert {
        "container-to-container",
        "pod-to-pod",
        "pod-to-service",
        "external-to-service",
        "node-to-pod",
        "pod-to-node",
    } <= kinds
    assert {flow["protocol"] for flow in report["flows"]} >= {"TCP", "UDP", "ICMP"}
    assert any(
        change.startswith("DNAT at worker-1: ")
        for flow in report["flows"]
        for change in flow["journey"]["changes"]
    )
    assert list(tmp_path.iterdir()) == []


def test_a_flow_that_is_not_as_expected_fails_with_a_bundle(tmp_path: Path) -> None:
    done = podwire(
        "-",
        "--captures",
        str(tmp_path),
        "--json",
        str(tmp_path / "r.json"),
        "--junit",
        str(tmp_path / "r.xml"),
        "--html",
        str(tmp_path / "r.html"),
        stdin=FAILING,
    )
    assert done.returncode == 1, done.stderr
    assert "FAIL" in done.stdout
    page = (tmp_path / "r.html").read_text()
    assert re.search(r'<span class="verdict fail">FAIL</span> <a href="#flow-\d+">wrong', page)
    links = {unquote(link) for link in re.findall(r'href="(\./[^"]*)"', page)}
    assert len(links) > 2
    assert all((tmp_path / link).is_file() for link in links)
    report = json.loads((tmp_path / "r.json").read_text())
    flow = next(f for f in report["flows"] if f["check"] == "wrong" and not f["control"])
    assert (flow["verdict"], flow["expected"]["outcome"], flow["observed"]["outcome"]) == (
        "fail",
        "dropped",
        "delivered",
    )
    bundle = next((tmp_path / report["topology"] / "failed").iterdir())
    rules = (bundle / "worker-2.rules.txt").read_text()
    assert "KUBE-SVC-" in rules
    assert "10.96." in (bundle / "worker-2.conntrack.txt").read_text()
    assert "10.244." in (bundle / "worker-2.routes.txt").read_text()
    assert (tmp_path / "r.xml").read_text().count("<failure") == 1


WITHOUT_ENDPOINTS = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [{role: control-plane}, {role: worker}]
externalClients: [{name: user, address: 203.0.113.99}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: worker-1, containers: [{name: c}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: wbe}, ports: [{port: 80, nodePort: 30180}]}
status: {loadBalancer: {ingress: [{ip: 198.51.100.200, ipMode: Proxy}]}}
---
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: wrong}
spec:
  flows:
  - {name: inside, from: {pod: client}, to: {service: web, port: 80}, expect: {outcome: delivered}}
  - {name: seen, from: {pod: client}, to: {service: web, port: 80}, expect: {source: preserved}}
  - {name: node port, from: {external: user}, to: {node: worker-1, nodePort: 30180}, \
expect: {outcome: asymmetric}}
  - {name: by nobody, from: {external: user}, to: {node: worker-1, nodePort: 30180}, expect: {backends: []}}
  - {name: balancer, from: {external: user}, to: {loadBalancer: web, port: 80}, expect: {source: node}}
"""


@pytest.mark.parametrize("mode", ["iptables", "nftables", "userspace"])
def test_delivery_that_is_wanted_where_a_service_has_no_endpoint_fails(mode: str) -> None:
    """Uses a selector with a typing mistake."""
    done = podwire("-", "--captures", "none", "-o", "json", "--proxy-mode", mode, stdin=WITHOUT_ENDPOINTS)
    assert (done.returncode, done.stderr) == (1, "")
    for flow in json.loads(done.stdout)["flows"]:
        assert (flow["verdict"], flow["expected"]["outcome"]) == ("fail", "delivered"), flow["name"]
        assert "not delivered" in flow["reason"]
        assert flow["expected"]["source"] in ("", "preserved", "node")


def test_an_encoding_without_arrows() -> None:
    done = podwire("hairpin", "--captures", "none", prefix=["env", "PYTHONIOENCODING=ascii"])
    assert (done.returncode, done.stderr) == (0, "")
    assert " ? " in done.stdout


def test_the_readme_shows_what_a_run_prints() -> None:
    readme = (ROOT / "README.md").read_text()
    sample = readme[readme.index("podwire source-address   iptables") :].split("\n```")[0]
    done = podwire("source-address", "--captures", "none", prefix=["env", "COLUMNS=80"])
    assert done.returncode == 0, done.stdout + done.stderr
    shown, printed = (re.sub(r" +[0-9.]+ s\n", "\n", text) for text in (sample, done.stdout))
    records = re.split(r"\n\n|\n(?=  PASS)", shown)  # it is shortened
    assert [record for record in records if record not in printed] == []


@pytest.mark.parametrize("output", ["table", "wide", "journeys", "json", "yaml"])
def test_outputs(output: str) -> None:
    done = podwire("no-endpoints", "--captures", "none", "-o", output)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    if output in ("json", "yaml"):
        report = yaml.safe_load(done.stdout)
        assert report["schema"] == "podwire.dev/report/v1"
        assert any(f["observed"]["outcome"] == "rejected" for f in report["flows"])
    else:
        assert "rejected" in done.stdout
        assert " flows as promised" in done.stdout


@pytest.mark.parametrize("words", [[], ["run"], ["plan"], ["diff"], ["exec"], ["shell"], ["doctor"], ["ps"]])
def test_help_fits_into_eighty_columns(words: list[str]) -> None:
    done = podwire(*words, "--help", prefix=["env", "COLUMNS=80"])
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("flavour", ["nft", "legacy"])
def test_both_iptables_flavours(flavour: str) -> None:
    done = podwire("source-address", "--captures", "none", "--iptables", flavour, "-o", "json")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert json.loads(done.stdout)["machine"]["iptables"] == f"iptables-{flavour}"


def test_the_other_flavour_serves_where_the_first_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks iptables-nft as a kernel without nf_tables of ip does (user-mode Linux of Debian 12)."""
    broken = tmp_path / "iptables-nft-restore"
    broken.write_text("#!/bin/sh\necho 'Could not fetch rule set generation id' >&2\nexit 4\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = podwire("hairpin", "--captures", "none", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["machine"]["iptables"]) == (0, "iptables-legacy")
    asked = podwire("hairpin", "--captures", "none", "--iptables", "nft")
    assert asked.returncode == 3
    assert "Could not fetch rule set generation id" in asked.stderr
    assert re.search(
        r"ip netns exec \S+ iptables-nft-restore --noflush <<'EOF'\n\*(mangle|filter)", asked.stderr
    )


def test_all_pairs_reaches_everything() -> None:
    done = podwire("three-tier", "--captures", "none", "--all-pairs", "-o", "json")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["flows"] >= 20
    assert all(f["observed"]["lostFrames"] == 0 for f in report["flows"])


def test_the_same_seed_gives_the_same_cluster() -> None:
    first, again, other = (
        podwire("plan", "three-networks", "--seed", seed).stdout for seed in ("1", "1", "2")
    )
    assert first == again != other


def test_two_runs_at_once_do_not_meet(tmp_path: Path) -> None:
    before = host_state()
    commands = [
        [
            sys.executable,
            str(ROOT / "run_topology.py"),
            "source-address",
            "--captures",
            str(tmp_path / str(n)),
        ]
        for n in range(2)
    ]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
    assert host_state() == before


def test_a_run_leaves_the_host_as_it_was(tmp_path: Path) -> None:
    before = host_state()
    assert podwire("--captures", str(tmp_path)).returncode == 0
    assert host_state() == before


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.3, 1.6])
def test_ctrl_c_cleans_up_and_says_so(delay: float, tmp_path: Path) -> None:
    before = host_state()
    command = [sys.executable, str(ROOT / "run_topology.py"), "--keep", "--captures", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        time.sleep(delay)
        run.send_signal(signal.SIGINT)
        try:
            _, err = run.communicate(timeout=20)
        finally:
            run.kill()
    if "Fatal Python error: init" not in err:  # Python itself was not there yet
        # -2: before Python could answer
        assert run.returncode in ((0, 130) if "stays up" in err else (-2, 130)), err
        assert run.returncode == -2 or "Traceback" not in err
    assert host_state() == before


# --- a cluster that stays up --------------------------------------------------------------------------------


@contextmanager
def kept(topology: str) -> Iterator[int]:
    command = [sys.executable, str(ROOT / "run_topology.py"), topology, "--keep", "--captures", "none"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        try:
            assert run.stderr is not None
            assert "stays up until Ctrl-C" in run.stderr.readline()
            yield run.pid
            run.send_signal(signal.SIGINT)
            run.communicate(timeout=20)
            assert run.returncode == 0
        finally:
            run.kill()


def test_ps_and_exec_from_another_terminal() -> None:
    with kept("three-networks") as pid:
        ps = podwire("ps")
        row = next(
            (line for line in ps.stdout.splitlines() if line.startswith(str(pid))), ps.stdout + ps.stderr
        )
        assert "three-networks" in row

        def run_in(name: str, *command: str) -> subprocess.CompletedProcess[str]:
            return podwire("exec", "--cluster", str(pid), name, "--", *command)

        assert "10.244.1.2" in run_in("client-a", "ip", "-4", "-br", "address").stdout
        assert (
            run_in("default/client-a", "ip", "-br", "link").stdout
            == run_in("client-a", "ip", "-br", "link").stdout
        )
        assert "cbr0" in run_in("worker-1", "ip", "-br", "link").stdout
        answer = json.loads(run_in("client-a", "curl", "-sS", "http://10.96.0.1:443/").stdout)
        assert answer["pod"] == "kube-system/kube-apiserver-control-plane"
        assert answer["client"].startswith("10.244.1.2:")
        assert answer["dialled"] == "10.96.0.1:443"
        assert "worker-1" in run_in("worker-2", "ip", "netns", "list").stdout
        assert run_in("client-a", "sh", "-c", "exit 7").returncode == 7
        assert run_in("client-a", "no-such-command").returncode == 127
        wrong = run_in("client-aa", "true")
        assert (wrong.returncode, "did you mean client-a" in wrong.stderr) == (2, True)
    assert str(pid) not in podwire("ps").stdout


def test_exec_without_a_cluster_says_how_to_start_one() -> None:
    done = podwire("exec", "--cluster", "no-such-cluster", "web", "--", "true")
    assert done.returncode == 2
    assert "--keep" in done.stderr


# --- without privileges -------------------------------------------------------------------------------------


PREPARE = """
mount -t tmpfs -o mode=1777 work "$3" && mkdir "$3/checkout" "$3/python" || exit
mount --bind "$1" "$3/checkout" && mount --bind "$2" "$3/python" || exit
cd "$3" && shift 3 && exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all -- "$@"
"""


def as_ordinary_user(
    tmp_path: Path, *words: str, stdin: str = "", prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Returns the command line as uid 65534, in a private mount namespace where the checkout and this Python
    environment can be read by anybody; as whoever we are if that is not root.
    """
    if os.geteuid() != 0:
        return podwire(*words, cwd=tmp_path, stdin=stdin, prefix=prefix)
    place = Path("/mnt")
    python = place / "python" / "bin" / "python"
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
    command = [
        "sh",
        "-c",
        PREPARE,
        "sh",
        str(ROOT),
        sys.prefix,
        str(place),
        str(python),
        str(place / "checkout" / "run_topology.py"),
        *words,
    ]
    return subprocess.run(
        [*prefix, "unshare", "--mount", *command],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
    )


def test_an_ordinary_user_can_run_it(tmp_path: Path) -> None:
    done = as_ordinary_user(tmp_path, "source-address", "--captures", "evidence", "-o", "json")
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    report = json.loads(done.stdout)
    assert report["summary"]["pass"] == report["summary"]["flows"] > 0


def test_an_ordinary_user_has_as_many_services_as_root(tmp_path: Path) -> None:
    """Loads more rules than an unprivileged netlink socket takes at once: legacy iptables serves then."""
    pod = (
        "{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {containers: "
        "[{name: c, ports: [{containerPort: 80}]}]}}"
    )
    service = (
        "{{apiVersion: v1, kind: Service, metadata: {{name: web-{0}}}, spec: {{selector: {{app: web}}, "
        "ports: [{{port: 80}}]}}}}"
    )
    manifests = "\n---\n".join([pod, *(service.format(n) for n in range(120))])
    done = as_ordinary_user(tmp_path, "-", "--captures", "none", "-o", "json", stdin=manifests)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["machine"]["iptables"] == "iptables-legacy"


def test_an_ordinary_user_has_as_many_rules_of_nftables_as_root(tmp_path: Path) -> None:
    """Loads rules in pieces: a transaction of nf_tables is one message, and these are too large for one."""
    manifests = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 200
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {sessionAffinity: ClientIP, selector: {app: web}, ports: [{port: 80}]}
"""
    words = ("-", "--captures", "none", "-o", "json", "--proxy-mode", "nftables")
    done = as_ordinary_user(tmp_path, *words, stdin=manifests)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["summary"]["pass"] == report["summary"]["flows"] > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="sudo is root's")
def test_under_sudo_and_then_without_in_one_directory(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:  # which an ordinary user may enter
        os.chown(name, 65534, 65534)
        captures = Path(name) / "captures"
        words = ["hairpin", "--captures", str(captures)]
        sudo = ["env", "SUDO_UID=65534", "SUDO_GID=65534"]
        for run in (lambda: podwire(*words, prefix=sudo), lambda: as_ordinary_user(tmp_path, *words)):
            for _ in range(2):
                done = run()
                assert (done.returncode, done.stderr) == (0, "")
                assert "\n8 flows as promised, " in done.stdout
                assert "cannot" not in done.stdout
                assert {path.stat().st_uid for path in (captures, *captures.rglob("*"))} == {65534}
            (captures / "hairpin" / "all.pcapng").unlink()


def test_a_sudo_caller_that_there_cannot_be_is_no_traceback(tmp_path: Path) -> None:
    done = podwire(
        "hairpin",
        cwd=tmp_path,
        prefix=["env", "SUDO_UID=99999999999999999999", "SUDO_GID=99999999999999999999"],
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_doctor_says_that_an_ordinary_user_can(tmp_path: Path) -> None:
    done = as_ordinary_user(tmp_path, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert os.geteuid() != 0 or "unprivileged (user namespace)" in done.stdout
    assert done.stdout.rstrip().endswith("podwire runs here.")


def test_where_namespaces_are_forbidden_the_remedy_is_named() -> None:
    """Runs in a user namespace that allows no others beneath it, without the capability to make the rest: as
    on a hardened host.
    """
    script = (
        "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-sys_admin "
        '--inh-caps=-sys_admin "$@"'
    )
    command = [sys.executable, str(ROOT / "run_topology.py"), "--captures", "none"]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 3, done.stderr
    assert "lacks the right to make namespaces" in done.stderr
    assert "CAP_SYS_ADMIN" in done.stderr
    assert "Traceback" not in done.stderr


# --- inputs in the form that users have them in ------------------------------------------------------------


@pytest.mark.parametrize("manifest", ["guestbook.yaml", "shop.yaml", "kind-dump.yaml"])
def test_manifests_as_users_have_them_run(manifest: str) -> None:
    done = podwire(str(ROOT / "tests" / "data" / manifest), "--captures", "none", "-o", "json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["pass"] == report["summary"]["flows"] >= 20


def test_a_dump_keeps_its_addresses() -> None:
    dump = yaml.safe_load((ROOT / "tests" / "data" / "kind-dump.yaml").read_text())
    pods = {
        (i["metadata"]["namespace"], i["metadata"]["name"]): i["status"]["podIP"]
        for i in dump["items"]
        if i["kind"] == "Pod" and not i["spec"].get("hostNetwork") and i["status"]["phase"] == "Running"
    }
    plan = podwire("plan", str(ROOT / "tests" / "data" / "kind-dump.yaml")).stdout
    for (namespace, name), ip in pods.items():
        assert re.search(rf"ip -n {namespace}_{re.escape(name)} address add {ip}/\d+ dev eth0", plan), name


COMMANDS = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}, annotations: {podwire.dev/run: "http, gone"}}
spec:
  containers:
  - name: http
    command: [python3, -c]
    args:
    - |
      import http.server, os, socket
      print(socket.gethostname(), os.environ["IP"], "$(PORT)", flush=True)
      http.server.test(http.server.SimpleHTTPRequestHandler, port=int("$(PORT)"))
    env: [{name: PORT, value: "8000"}, {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    ports: [{containerPort: 8000}]
  - {name: gone, command: ["false"], ports: [{containerPort: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8000}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {nodeName: worker-2, containers: [{name: c}]}}
---
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: real}
spec:
  flows: [{name: the real server answers, from: {pod: client}, to: {service: web, port: 80}}]
"""


def test_a_container_s_real_command_runs_in_its_pod(tmp_path: Path) -> None:
    done = podwire("-", "--run", "--captures", str(tmp_path), stdin=COMMANDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "container gone of Pod default/web does not listen on 9000/TCP: its command ended with exit code 1"
        in " ".join(done.stdout.split())
    )
    log = (tmp_path / "stdin" / "logs" / "default_web_http.log").read_text()
    assert log.splitlines()[0] == "web 10.244.1.2 8000"
    assert re.search(r'"GET /\?podwire=[0-9a-f]{16} HTTP/1.1" 200', log), (
        "the real server was asked as a server is"
    )


def test_of_two_containers_with_one_port_the_second_is_warned_of() -> None:
    containers = "[{name: a, ports: [{containerPort: 80}]}, {name: b, ports: [{containerPort: 80}]}]"
    pod = f"{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{containers: {containers}}}}}"
    done = podwire("-", "--captures", "none", "-o", "json", stdin=pod)
    report = json.loads(done.stdout)
    assert [(one["code"], one["object"], one["file"], one["line"]) for one in report["warnings"]] == [
        ("PW022", "Pod default/p", "stdin", 1)
    ]
    assert report["warnings"][0]["text"] == (
        "container b of Pod default/p cannot listen: port 80/TCP is taken by container a"
    )
    assert report["notices"] == []  # the warning says it already


def test_tshark_follows_one_flow_of_a_real_run_across_nat(tmp_path: Path) -> None:
    done = podwire("source-address", "--captures", str(tmp_path), "-o", "json")
    report = json.loads(done.stdout)
    flow = next(
        f
        for f in report["flows"]
        if f["observed"]["outcome"] == "delivered" and any("SNAT" in c for c in f["journey"]["changes"])
    )
    capture = tmp_path / "source-address" / "all.pcapng"
    syn = flow["journeys"][0]["hops"][0]["frame"]

    def tshark(display: str, *fields: str) -> list[list[str]]:
        words = [
            "tshark",
            "-n",
            "-r",
            str(capture),
            "-Y",
            display,
            "-T",
            "fields",
            *(w for f in fields for w in ("-e", f)),
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return [line.split("\t") for line in done.stdout.splitlines()]

    ((number,),) = tshark(f"frame.number == {syn + 1}", "tcp.seq_raw")
    rows = tshark(
        f"tcp.seq_raw == {number} && tcp.flags.syn == 1",
        "frame.interface_name",
        "ip.src",
        "ip.dst",
        "frame.comment",
    )
    hops = [
        (f"{h['namespace']}/{h['interface']}", h["src"].split(":")[0], h["dst"].split(":")[0])
        for h in flow["journeys"][0]["hops"]
    ]
    assert [(where, src, dst) for where, src, dst, _ in rows] == hops
    comments = " ".join(row[3] for row in rows)
    assert "DNAT at " in comments
    assert "SNAT at " in comments
    (last,) = tshark(f'frame.comment contains "PASS {flow["name"]}:"', "frame.comment")
    assert "dialled" in last[0]


BAD = {
    "broken YAML": ("a: [b\n", "document 1: is not valid YAML"),
    "wrong type": (
        "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: eighty}]}}",
        "spec.ports[0].port: must be an integer, is 'eighty'",
    ),
    "escape in a name": (
        '{apiVersion: v1, kind: Pod, metadata: {name: "a\\e[31m"}, spec: {containers: [{name: c}]}}',
        "metadata.name",
    ),
    "option as a name": (
        "{apiVersion: v1, kind: Pod, metadata: {name: --flush}, spec: {containers: [{name: c}]}}",
        "metadata.name",
    ),
    "overlapping subnets": (
        "{apiVersion: podwire.dev/v1alpha1, kind: Cluster, networking: {podSubnet: 10.96.0.0/16}}",
        "overlap",
    ),
    "subnet too small": (
        "{apiVersion: podwire.dev/v1alpha1, kind: Cluster, networking: {podSubnet: 10.1.0.0/25}}",
        "podSubnet",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_without_a_traceback(case: str, tmp_path: Path) -> None:
    text, words = BAD[case]
    done = podwire("-", "--captures", str(tmp_path), stdin=text)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["three-netwrks"], "did you mean three-networks"),
        (["--captures", ""], "names no directory"),
        (["--json", "/proc/nowhere.json"], "cannot write /proc/nowhere.json"),
        (["--no-such-option"], "--help"),
        (["exec", "web"], "exec needs a command"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_usage_says_what_to_do(words: list[str], said: str, tmp_path: Path) -> None:
    done = podwire(*words, cwd=tmp_path)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


def documented_block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "topologies.md").read_text(), re.S)
    return next(block for block in blocks if containing in block)


@pytest.mark.parametrize(
    ("language", "containing", "suffix"), [("yaml", "kind: FlowCheck", "yaml"), ("python", "def build", "py")]
)
def test_the_documents_examples_run(language: str, containing: str, suffix: str, tmp_path: Path) -> None:
    topology = tmp_path / f"example.{suffix}"
    topology.write_text(documented_block(language, containing))
    done = podwire(str(topology), "--captures", "none", "-o", "json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert json.loads(done.stdout)["summary"]["pass"] >= 2


def test_several_targets_are_one_cluster() -> None:
    done = podwire(
        "plan",
        str(TOPOLOGIES / "hairpin.yaml") if (TOPOLOGIES / "hairpin.yaml").exists() else "hairpin",
        str(ROOT / "tests/data/guestbook.yaml"),
    )
    assert done.returncode == 0, done.stderr
    assert "frontend" in done.stdout
