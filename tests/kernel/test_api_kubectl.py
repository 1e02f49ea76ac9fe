"""Types commands at the API with the real kubectl, over a store without controllers and a runtime of local
processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from random import Random
from typing import Any

import pytest

from emulator.api.registry import Registry
from emulator.serving.certificates import kubeconfig
from emulator.serving.identity import Identity
from emulator.serving.runtime import LogLine
from emulator.serving.server import Server, serve
from emulator.store.store import Store
from tests.unit.serving.runtimes import LocalRuntime

_BESIDE = Path(sys.executable).with_name("kubectl")
KUBECTL = str(_BESIDE) if _BESIDE.exists() else shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: nginx:1}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: shell, labels: {app: shell}}
spec: {nodeName: n1, containers: [{name: c, image: busybox}]}
"""


class Cluster:
    """Serves an API in a thread, and runs kubectl at it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.runtime = LocalRuntime()
        self.server: Server
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(20)

    async def _start(self) -> None:
        identity = Identity.make()

        def now() -> str:
            return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

        registry = Registry(Store(), now, Random(1).randrange, identity.tokens)
        registry.provide_namespaces()
        listener = socket.create_server(("127.0.0.1", 0))
        self.server = await serve(registry, [listener], identity, self.runtime)
        address = f"https://127.0.0.1:{listener.getsockname()[1]}"
        config = self._home / "config"
        config.write_text(kubeconfig(address, identity.authority.certificate, identity.admin))

    def end(self) -> None:
        async def end() -> None:
            await self.runtime.end()
            await self.server.close()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self._home), "KUBECONFIG": str(self._home / "config")}

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        assert KUBECTL is not None
        return subprocess.run(
            [KUBECTL, *words],
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        assert KUBECTL is not None
        return subprocess.Popen(
            [KUBECTL, *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def says(self, *words: str, stdin: str = "") -> str:
        """Returns the output of a command that succeeds."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fails(self, *words: str, stdin: str = "") -> str:
        """Returns the errors of a command that fails."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def json(self, *words: str) -> Any:
        return json.loads(self.says(*words, "-o", "json"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("kubectl"))
    made.says("apply", "-f", "-", stdin=WEB)
    running = '{"status":{"phase":"Running"}}'
    made.says("patch", "pod", "shell", "--subresource=status", "--type=merge", "-p", running)
    yield made
    made.end()


def test_version(cluster: Cluster) -> None:
    assert "Server Version: v1.37" in cluster.says("version")


def test_api_resources(cluster: Cluster) -> None:
    rows = {line.split()[0]: line for line in cluster.says("api-resources").splitlines()}
    assert "deploy" in rows["deployments"]
    assert "apps/v1" in rows["deployments"]


def test_get(cluster: Cluster) -> None:
    lines = cluster.says("get", "deploy").splitlines()
    assert lines[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert lines[1].split()[:2] == ["web", "0/2"]
    assert "shell" in cluster.says("get", "pods", "-A", "-o", "wide")
    assert cluster.says("get", "pods", "-l", "app=shell", "-o", "name") == "pod/shell\n"
    assert "spec:" in cluster.says("get", "svc", "web", "-o", "yaml")
    assert 'pods "nobody" not found' in cluster.fails("get", "pod", "nobody")


def test_describe(cluster: Cluster) -> None:
    told = cluster.says("describe", "deploy", "web")
    assert re.search(r"^Replicas: +2 desired", told, re.MULTILINE)
    assert re.search(r"^Node: +n1", cluster.says("describe", "pod", "shell"), re.MULTILINE)


def test_create_apply_and_delete(cluster: Cluster) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made}\ndata: {a: '1'}\n"
    assert cluster.says("create", "-f", "-", stdin=text) == "configmap/made created\n"
    assert "already exists" in cluster.fails("create", "-f", "-", stdin=text)
    cluster.says("apply", "-f", "-", stdin=text)
    changed = text.replace("'1'", "'2'")
    assert cluster.says("apply", "-f", "-", stdin=changed) == "configmap/made configured\n"
    assert cluster.says("apply", "-f", "-", stdin=changed) == "configmap/made unchanged\n"
    assert cluster.json("get", "cm", "made")["data"] == {"a": "2"}
    assert "deleted" in cluster.says("delete", "cm", "made")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["deployment", "d1", "--image=nginx", "--replicas=3"], "deploy/d1"),
        (["service", "clusterip", "s1", "--tcp=80:8080"], "svc/s1"),
        (["configmap", "c1", "--from-literal=a=b"], "cm/c1"),
        (["secret", "generic", "x1", "--from-literal=a=b"], "secret/x1"),
        (["namespace", "n1"], "ns/n1"),
        (["serviceaccount", "a1"], "sa/a1"),
        (["ingress", "i1", "--rule=x.org/*=web:80"], "ing/i1"),
        (["job", "j1", "--image=busybox", "--", "true"], "job/j1"),
    ],
)
def test_create_makes_objects_of_each_kind(cluster: Cluster, words: list[str], name: str) -> None:
    cluster.says("create", *words)
    assert cluster.json("get", name)["metadata"]["name"] == name.partition("/")[2]


def test_unknown_field_is_told(cluster: Cluster) -> None:
    text = WEB.split("---")[0].replace("replicas: 2", "replica: 2").replace("name: web", "name: odd")
    assert 'unknown field "spec.replica"' in cluster.fails("create", "-f", "-", stdin=text)
    done = cluster.run("create", "--validate=warn", "-f", "-", stdin=text)
    assert done.returncode == 0
    assert 'unknown field "spec.replica"' in done.stderr


def test_server_side_apply_finds_conflicts(cluster: Cluster) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owned}\ndata: {a: '1'}\n"
    cluster.says("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=text)
    other = text.replace("'1'", "'2'")
    told = cluster.fails("apply", "--server-side", "--field-manager=two", "-f", "-", stdin=other)
    assert 'conflict with "one": .data.a' in told
    cluster.says("apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-", stdin=other)
    assert cluster.json("get", "cm", "owned")["data"] == {"a": "2"}


def test_patch_label_annotate_and_scale(cluster: Cluster) -> None:
    image = '{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"nginx:2"}]}}}}'
    cluster.says("patch", "deploy", "web", "-p", image)
    cluster.says("label", "deploy", "web", "tier=front")
    cluster.says("annotate", "deploy", "web", "note=here")
    cluster.says("scale", "deploy", "web", "--replicas=4")
    operation = '[{"op":"add","path":"/metadata/labels/more","value":"x"}]'
    cluster.says("patch", "deploy", "web", "--type=json", "-p", operation)
    found = cluster.json("get", "deploy", "web")
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:2"
    assert found["metadata"]["labels"] == {"app": "web", "tier": "front", "more": "x"}
    assert found["metadata"]["annotations"]["note"] == "here"
    assert found["spec"]["replicas"] == 4
    cluster.says("set", "image", "deploy/web", "c=nginx:3")
    assert "nginx:3" in cluster.says("get", "deploy", "web", "-o", "wide")


def test_edit(cluster: Cluster, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/minReadySeconds.*//; s/^  replicas: .*/  replicas: 6/" "$1"\n')
    editor.chmod(0o755)
    assert KUBECTL is not None
    environment = {**cluster.environment, "KUBE_EDITOR": str(editor)}
    done = subprocess.run(
        [KUBECTL, "edit", "deploy", "web"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert cluster.json("get", "deploy", "web")["spec"]["replicas"] == 6


def test_watch_and_wait(cluster: Cluster) -> None:
    watching = cluster.start("get", "cm", "-w", "-o", "name")
    waiting = cluster.start("wait", "cm/seen", "--for=jsonpath={.data.a}=2", "--timeout=30s")
    time.sleep(1.5)
    seen = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: seen}\ndata: {a: '1'}\n"
    cluster.says("create", "-f", "-", stdin=seen)
    waiting.wait(30)
    assert waiting.stdout is not None
    waiting.stdout.close()
    waiting = cluster.start("wait", "cm/seen", "--for=jsonpath={.data.a}=2", "--timeout=30s")
    time.sleep(1)
    cluster.says("patch", "cm", "seen", "-p", '{"data":{"a":"2"}}')
    told, _ = waiting.communicate(timeout=30)
    assert "condition met" in told
    watching.terminate()
    listed, _ = watching.communicate(timeout=30)
    assert listed.count("configmap/seen\n") >= 2


def test_delete_waits_until_a_pod_is_gone(cluster: Cluster) -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: brief}\nspec: {containers: [{name: c, image: x}]}\n"
    cluster.says("create", "-f", "-", stdin=pod)
    assert "deleted" in cluster.says("delete", "pod", "brief", "--timeout=20s")
    cluster.fails("get", "pod", "brief")


def test_explain(cluster: Cluster) -> None:
    told = cluster.says("explain", "deployment.spec.replicas")
    assert "replicas <integer>" in told


def test_auth(cluster: Cluster) -> None:
    assert "kubernetes-admin" in cluster.says("auth", "whoami")
    assert cluster.says("auth", "can-i", "create", "pods") == "yes\n"
    cluster.says("create", "sa", "robot")
    assert cluster.says("create", "token", "robot").count(".") == 2


def test_custom_resources(cluster: Cluster) -> None:
    from tests.unit.api.definitions import definition

    cluster.says("create", "-f", "-", stdin=json.dumps(definition()))
    cluster.says("wait", "--for=condition=Established", "crd/widgets.example.org", "--timeout=20s")
    widget = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 1}\n"
    cluster.says("apply", "-f", "-", stdin=widget)
    assert cluster.json("get", "widgets", "w")["spec"] == {"size": 1, "mode": "safe"}
    assert "should be greater than or equal to 1" in cluster.fails(
        "apply", "-f", "-", stdin=widget.replace("size: 1", "size: 0")
    )
    cluster.says("delete", "crd", "widgets.example.org")


# --- streams ------------------------------------------------------------------------------------------------


def test_exec(cluster: Cluster) -> None:
    assert cluster.says("exec", "shell", "--", "echo", "hello") == "hello\n"
    assert cluster.says("exec", "-i", "shell", "--", "cat", stdin="typed") == "typed"
    done = cluster.run("exec", "shell", "--", "sh", "-c", "echo oops >&2; exit 7")
    assert done.returncode == 7
    assert "oops" in done.stderr
    assert "container x is not valid" in cluster.fails("exec", "shell", "-c", "x", "--", "true")


def test_attach(cluster: Cluster) -> None:
    assert cluster.says("attach", "-i", "shell", stdin="echoed") == "echoed"


def test_cp(cluster: Cluster, tmp_path: Path) -> None:
    source, there, back = tmp_path / "source", tmp_path / "there", tmp_path / "back"
    source.write_bytes(bytes(range(256)) * 4096)
    cluster.says("cp", str(source), f"shell:{there}")
    assert there.read_bytes() == source.read_bytes()
    cluster.says("cp", f"shell:{there}", str(back))
    assert back.read_bytes() == source.read_bytes()


def test_logs(cluster: Cluster) -> None:
    cluster.runtime.lines = [
        LogLine(f"2026-12-01T12:00:0{index}.000000000Z", f"line {index}\n".encode()) for index in range(3)
    ]
    cluster.runtime.coming = [LogLine("2026-12-01T12:01:00.000000000Z", b"later\n")]
    assert cluster.says("logs", "shell") == "line 0\nline 1\nline 2\n"
    assert cluster.says("logs", "shell", "--tail=1", "-f") == "line 2\nlater\n"
    assert cluster.says("logs", "shell", "--tail=1", "--timestamps").startswith("2026-12-01T12:00:02")


def test_port_forward(cluster: Cluster) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def answer() -> None:
        for _ in range(2):
            accepted, _ = listener.accept()
            with accepted:
                while data := accepted.recv(65536):
                    accepted.sendall(data.upper())

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    forwarding = cluster.start("port-forward", "pod/shell", f":{port}")
    try:
        assert forwarding.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+) ->", forwarding.stdout.readline())
        assert found
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10) as dialled:
                dialled.sendall(b"hello" * 20_000)
                dialled.shutdown(socket.SHUT_WR)
                received = b""
                while data := dialled.recv(65536):
                    received += data
                assert received == b"HELLO" * 20_000
    finally:
        forwarding.terminate()
        forwarding.communicate(timeout=20)
        listener.close()
        thread.join(10)
