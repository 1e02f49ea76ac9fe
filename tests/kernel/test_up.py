"""Tests ``podwire up`` as a user of kubectl meets it: an unmodified kubectl, and real packets underneath."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.live import CLUSTER
from tests.sandboxed import ROOT, host_state, podwire

pytestmark = pytest.mark.kernel

KUBECTL = shutil.which("kubectl") or ""
needs_kubectl = pytest.mark.skipif(not KUBECTL, reason="kubectl is not installed")


class Up:
    """Holds a cluster that ``podwire up`` runs."""

    def __init__(self, process: subprocess.Popen[str], kubeconfig: Path) -> None:
        self.process, self.kubeconfig = process, kubeconfig

    def kubectl(self, *words: str, stdin: str = "", code: int = 0) -> str:
        """Returns what kubectl prints; it must end with ``code``."""
        done = subprocess.run(
            [KUBECTL, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=self._environment(),
        )
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + (done.stderr if code else "")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Starts kubectl, which the caller ends."""
        return subprocess.Popen(
            [KUBECTL, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        home = str(self.kubeconfig.parent)  # kubectl keeps what it discovers below it
        return {"PATH": os.environ["PATH"], "HOME": home, "KUBECONFIG": str(self.kubeconfig)}

    def ask(self, url: str) -> dict[str, str]:
        """Returns what the built-in server behind ``url`` answers to the Pod client."""
        script = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=5).read().decode())"
        said = self.kubectl("exec", "client", "--", "/usr/bin/python3", "-c", script)
        answer: dict[str, str] = json.loads(said)
        return answer

    def until(self, found: Callable[[], object], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not found():
            assert time.monotonic() < deadline, self.kubectl("get", "all", "-A")
            time.sleep(0.1)


@contextmanager
def up(tmp_path: Path, *words: str, text: str = CLUSTER) -> Iterator[Up]:
    manifest = tmp_path / "cluster.yaml"
    manifest.write_text(text)
    command = [sys.executable, str(ROOT / "run_topology.py"), "up", str(manifest), *words]
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            if "is ready" not in said:
                process.kill()
                raise AssertionError((said, process.communicate()))
            path = process.stdout.readline().partition("KUBECONFIG=")[2].strip()
            yield Up(process, Path(path))
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
            assert (process.returncode, err) == (0, "")
        finally:
            process.kill()


@needs_kubectl
def test_the_commands_of_a_tutorial(tmp_path: Path) -> None:
    before = host_state()
    with up(tmp_path) as cluster:
        kubectl = cluster.kubectl
        assert stat.S_IMODE(cluster.kubeconfig.stat().st_mode) == 0o600
        assert "control-plane" in kubectl("get", "nodes")
        kubectl("create", "deployment", "web", "--image=web:1", "--port=8080", "--replicas=2")
        assert 'deployment "web" successfully rolled out' in kubectl("rollout", "status", "deploy/web")
        kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
        rows = kubectl("get", "pods", "-l", "app=web", "--no-headers").splitlines()
        assert [row.split()[1:3] for row in rows] == [["1/1", "Running"]] * 2
        address = kubectl("get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}")
        answer = cluster.ask(f"http://{address}/")
        assert (answer["image"], answer["dialled"]) == ("web:1", f"{address}:80")
        assert f"→ {address}:80" in kubectl("logs", "-l", "app=web")
        kubectl("set", "image", "deploy/web", "web=web:2")
        kubectl("rollout", "status", "deploy/web")
        assert cluster.ask(f"http://{address}/")["image"] == "web:2"
        kubectl("rollout", "undo", "deploy/web")
        kubectl("rollout", "status", "deploy/web")
        assert "web:1" in kubectl("get", "deploy", "web", "-o", "wide")
        kubectl("scale", "deploy/web", "--replicas=1")
        cluster.until(lambda: len(kubectl("get", "pods", "-l", "app=web", "-o", "name").split()) == 1)
        assert "ScalingReplicaSet" in kubectl("describe", "deploy", "web")
        kubectl("delete", "deploy,svc", "web")
        cluster.until(lambda: "web" not in kubectl("get", "pods", "-o", "name"))
        path = cluster.kubeconfig
    assert not path.exists()
    assert host_state() == before


@needs_kubectl
def test_a_port_is_forwarded_and_a_command_runs(tmp_path: Path) -> None:
    with up(tmp_path) as cluster:
        cluster.kubectl("run", "web", "--image=web:1", "--port=8080")
        cluster.kubectl("wait", "--for=condition=Ready", "pod/web")
        assert cluster.kubectl("exec", "-i", "web", "--", "cat", stdin="a b\n") == "a b\n"
        cluster.kubectl("exec", "web", "--", "sh", "-c", "exit 3", code=3)
        note = cluster.kubeconfig.with_name("note.txt")
        note.write_text("a note")
        cluster.kubectl("cp", str(note), "web:/tmp/note.txt")
        assert cluster.kubectl("exec", "web", "--", "cat", "/tmp/note.txt") == "a note"
        mounted = "/var/run/secrets/kubernetes.io/serviceaccount/token"
        assert cluster.kubectl("exec", "web", "--", "cat", mounted).count(".") == 2
        with cluster.start("port-forward", "pod/web", ":8080") as forward:
            assert forward.stdout is not None
            port = int(re.findall(r":(\d+) ->", forward.stdout.readline())[0])
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
                assert b'"image": "web:1"' in connection.recv(4096)
            forward.terminate()


@needs_kubectl
def test_a_pod_reaches_the_api_with_its_service_account(tmp_path: Path) -> None:
    """Tests the way of an in-cluster client: environment, CA and token, through 10.96.0.1:443."""
    script = """
import os, ssl, urllib.request as u
place = "/var/run/secrets/kubernetes.io/serviceaccount/"
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
url = f"https://{host}:{port}/api/v1/namespaces/{open(place + 'namespace').read()}/pods"
headers = {"Authorization": "Bearer " + open(place + "token").read()}
context = ssl.create_default_context(cafile=place + "ca.crt")
print(u.urlopen(u.Request(url, headers=headers), context=context, timeout=5).read().decode())
"""
    with up(tmp_path) as cluster:
        said = json.loads(cluster.kubectl("exec", "client", "--", "/usr/bin/python3", "-c", script))
        assert (said["kind"], [one["metadata"]["name"] for one in said["items"]]) == ("PodList", ["client"])


@needs_kubectl
def test_what_is_refused(tmp_path: Path) -> None:
    with up(tmp_path) as cluster:
        assert 'pods "nobody" not found' in cluster.kubectl("get", "pod", "nobody", code=1)
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
        bad = json.dumps({**service, "spec": {"ports": [{}]}})
        assert "spec.ports[0].port" in cluster.kubectl("create", "-f", "-", stdin=bad, code=1)
        kubectl = cluster.kubectl
        asked = ("create", "service", "nodeport", "one", "--tcp=80", "--node-port=30080", "-o")
        said = kubectl(*asked, "jsonpath={.spec.clusterIP} {.spec.ports[0].nodePort}")
        assert re.fullmatch(r"10\.96\.\d+\.\d+ 30080", said)
        again = kubectl("create", "service", "nodeport", "two", "--tcp=80", "--node-port=30080", code=1)
        assert 'Service "two" is invalid' in again
        assert "30080" in again
        assert "two" not in kubectl("get", "services")
        assert "nosuch" in kubectl("exec", "client", "--", "nosuch", code=1)
        unknown = json.dumps({"apiVersion": "example.org/v1", "kind": "Crown", "metadata": {"name": "c"}})
        assert "no matches for kind" in cluster.kubectl("apply", "-f", "-", stdin=unknown, code=1)
        items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": n}} for n in "ab"]
        several = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        assert cluster.kubectl("apply", "-f", "-", stdin=several).count("created") == 2
        address = re.findall(r"server: (\S+)", cluster.kubeconfig.read_text())[0]
        unsafe = ssl.create_default_context()
        unsafe.check_hostname, unsafe.verify_mode = False, ssl.CERT_NONE
        given: list[dict[str, str]] = [{}, {"Authorization": "Bearer nonsense"}]
        for headers in given:
            request = urllib.request.Request(f"{address}/api/v1/pods", headers=headers)  # noqa: S310 - ours
            with pytest.raises(urllib.error.HTTPError) as raised:
                urllib.request.urlopen(request, context=unsafe)  # noqa: S310 - ours
            assert raised.value.code == 401
            assert json.load(raised.value)["reason"] == "Unauthorized"


def test_down_ends_a_detached_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    before = host_state()
    manifest = tmp_path / "detached-cluster.yaml"
    manifest.write_text(CLUSTER)
    done = podwire("up", str(manifest), "--detach")
    try:
        assert done.returncode == 0, done.stderr
        path = Path(re.findall(r"KUBECONFIG=(\S+)", done.stdout)[0])
        assert podwire("kubeconfig", "--cluster", "detached-cluster").stdout.strip() == str(path)
    finally:
        down = podwire("down", "detached-cluster")
    assert (down.returncode, down.stderr) == (0, "")
    assert not path.exists()
    assert host_state() == before


class _KilledError(Exception):
    """Ends a test's cluster that is gone already."""


def test_a_killed_cluster_leaves_the_host_as_it_was(tmp_path: Path) -> None:
    before = host_state()
    with suppress(_KilledError), up(tmp_path) as cluster:
        cluster.process.kill()
        cluster.process.wait()
        assert cluster.kubeconfig.exists()  # nobody was left to remove it: the next cluster does
        raise _KilledError
    assert host_state() == before
    with up(tmp_path) as other:
        assert [path.name for path in other.kubeconfig.parent.iterdir()] == [other.kubeconfig.name]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("kubeconfig", "--cluster", "nobody"), "no cluster is running as 'nobody'"),
        (("down", "nobody"), "no cluster is running as 'nobody'"),
        (("up", "--port", "99999"), "'99999' is no port"),
        (("up", "no-such-topology"), "no-such-topology"),
    ],
)
def test_mistakes_are_told_in_a_line(words: tuple[str, ...], said: str) -> None:
    done = podwire(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@needs_kubectl
def test_deleted_jobs_go_with_their_pods_and_the_api_answers_on(tmp_path: Path) -> None:
    with up(tmp_path) as cluster:
        held = {"name": "held", "finalizers": ["example.org/keep"]}
        spec = {"containers": [{"name": "c", "image": "x"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": held, "spec": spec}
        cluster.kubectl("create", "-f", "-", stdin=json.dumps(pod))
        for name in ("a", "b"):
            cluster.kubectl("create", "job", name, "--image=x")
        cluster.until(lambda: cluster.kubectl("get", "pods", "--no-headers").count("Running") == 4)
        cluster.kubectl("delete", "job", "a", "b")
        cluster.kubectl("delete", "pod", "held", "--wait=false")
        cluster.until(lambda: cluster.kubectl("get", "pods", "--no-headers").count("Running") == 1)
        assert "Terminating" in cluster.kubectl("get", "pod", "held")
        cluster.kubectl("patch", "pod", "held", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
        cluster.until(lambda: "held" not in cluster.kubectl("get", "pods", "-o", "name"))


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    other = tmp_path / "config"
    other.write_text("contexts: mine")
    done = podwire("up", "--kubeconfig", str(other))
    assert (done.returncode, other.read_text()) == (2, "contexts: mine")
    assert "is not podwire's" in done.stderr
