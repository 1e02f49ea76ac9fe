"""Runs real clients at ``podwire up``: libraries in Python and JavaScript, an operator, an old kubectl, helm.

``scripts/clients DIR`` gets them; ``PODWIRE_CLIENTS=DIR`` says where they are. A client that is not there is
skipped by its name.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import cluster_up
from tests.recorded import DIRECTORY

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

PROGRAMS = Path(__file__).parents[1] / "clients"
CLIENTS = Path(os.environ.get("PODWIRE_CLIENTS") or "/nonexistent")
KUBECTL = Path(sys.executable).with_name("kubectl")
GATES = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gates.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: gates, singular: gate, kind: Gate}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [app, port]
            properties: {app: {type: string}, port: {type: integer}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
GATE = """
apiVersion: example.org/v1
kind: Gate
metadata: {name: front}
spec: {app: web, port: 80}
"""


def needed(*names: str) -> str:
    """Returns the path of the first client of ``names`` below CLIENTS; skips the test if there is none."""
    for name in names:
        if (CLIENTS / name).exists():
            return str(CLIENTS / name)
    pytest.skip(f"needs {names[0]}: scripts/clients DIR, PODWIRE_CLIENTS=DIR")


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if not CLIENTS.exists():
        pytest.skip("needs the clients: scripts/clients DIR, PODWIRE_CLIENTS=DIR")
    path = tmp_path_factory.mktemp("clients") / "kubeconfig"
    with cluster_up(DIRECTORY / "cluster.yaml", path):
        yield path


def run(kubeconfig: Path, *words: str, stdin: str = "", code: int = 0, seconds: float = 120) -> str:
    """Returns what a command prints; it must end with exit code ``code``."""
    done = subprocess.run(
        words,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env=environment(kubeconfig),
        cwd=kubeconfig.parent,
    )
    assert done.returncode == code, f"{' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if code == 0 else done.stderr


def environment(kubeconfig: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(kubeconfig.parent),
        "KUBECONFIG": str(kubeconfig),
        "LC_ALL": "C.UTF-8",
    }


@pytest.mark.parametrize("program", ["python_client.py", "lightkube_client.py"])
def test_python_library(program: str, kubeconfig: Path) -> None:
    python = needed("bin/python")
    assert run(kubeconfig, python, str(PROGRAMS / program)).endswith("done\n")


def test_node_library(kubeconfig: Path, tmp_path: Path) -> None:
    modules = needed("node_modules/@kubernetes/client-node")
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    # imports are looked for beside the program
    (tmp_path / "node_modules").symlink_to(Path(modules).parents[1])
    program = tmp_path / "client.mjs"
    program.write_text((PROGRAMS / "node_client.mjs").read_text())
    assert run(kubeconfig, node, str(program)).endswith("done\n")


def test_operator(kubeconfig: Path) -> None:
    kopf = needed("bin/kopf")

    def kubectl(*words: str, stdin: str = "", code: int = 0) -> str:
        return run(kubeconfig, str(KUBECTL), *words, stdin=stdin, code=code)

    kubectl("create", "-f", "-", stdin=GATES)
    kubectl("wait", "--for=condition=Established", "crd/gates.example.org")
    log = kubeconfig.parent / "operator.log"
    words = [kopf, "run", "--standalone", "-n", "default", str(PROGRAMS / "gates.py")]
    with log.open("w") as out:
        operator = subprocess.Popen(
            words, stdout=out, stderr=out, env=environment(kubeconfig), cwd=kubeconfig.parent
        )
        try:
            kubectl("create", "-f", "-", stdin=GATE)
            told = "jsonpath={.status.open_gate.clusterIP}"
            kubectl("wait", f"--for={told}", "gate/front", "--timeout=30s")
            gate = json.loads(kubectl("get", "gate", "front", "-o", "json"))
            service = json.loads(kubectl("get", "service", "front", "-o", "json"))
            assert service["spec"]["clusterIP"] == gate["status"]["open_gate"]["clusterIP"]
            assert service["metadata"]["ownerReferences"][0]["uid"] == gate["metadata"]["uid"]
            assert gate["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
            kubectl("patch", "gate", "front", "--type=merge", "-p", '{"spec": {"port": 81}}')
            kubectl("wait", "--for=jsonpath={.spec.ports[0].port}=81", "service/front", "--timeout=30s")
            kubectl("delete", "gate", "front", "--timeout=30s")
            kubectl("wait", "--for=delete", "service/front", "--timeout=30s")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log.read_text()}") from error
        finally:
            operator.terminate()
            operator.wait(30)
    assert "Traceback" not in log.read_text()


def test_oldest_kubectl_that_is_supported(kubeconfig: Path) -> None:
    old = needed("kubectl-1.35")

    def kubectl(*words: str) -> str:
        return run(kubeconfig, old, *words)

    assert '"minor": "35"' in kubectl("version", "-o", "json")
    kubectl("create", "namespace", "old")
    kubectl("config", "set-context", "--current", "--namespace=old")
    try:
        kubectl("create", "deployment", "web", "--image=example.com/web:1", "--port=8080", "--replicas=2")
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
        kubectl("set", "image", "deployment/web", "*=example.com/web:2")
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        kubectl("scale", "deployment/web", "--replicas=1")
        kubectl("rollout", "undo", "deployment/web")
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        assert "example.com/web:1" in kubectl("get", "deployment", "web", "-o", "wide")
        kubectl("run", "shell", "--image=x")
        kubectl("wait", "--for=condition=Ready", "pod/shell", "--timeout=30s")
        address = kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
        said = kubectl("exec", "shell", "--", "curl", "-s", "--max-time", "5", f"http://{address}")
        assert json.loads(said)["image"] == "example.com/web:1"
        end = time.monotonic() + 10
        while "GET" not in kubectl("logs", "-l", "app=web"):
            assert time.monotonic() < end, "the request is not in the log"
        assert "web" in kubectl("get", "all")
        assert "NodePort" in kubectl("explain", "service.spec.type")
        assert "yes" in kubectl("auth", "can-i", "create", "pods")
        kubectl("delete", "namespace", "old", "--timeout=60s")
    finally:
        kubectl("config", "set-context", "--current", "--namespace=default")


def test_helm(kubeconfig: Path) -> None:
    program = needed("helm")

    def helm(*words: str) -> str:
        return run(kubeconfig, program, *words)

    helm("create", "web")
    values = ["--set", "service.type=NodePort", "--wait", "--timeout", "60s"]
    assert "deployed" in helm("install", "front", "web", *values).lower()
    helm("upgrade", "front", "web", *values, "--set", "replicaCount=2")
    got = json.loads(run(kubeconfig, str(KUBECTL), "get", "deployment", "front-web", "-o", "json"))
    assert got["status"]["readyReplicas"] == 2
    assert json.loads(helm("list", "-o", "json"))[0]["revision"] == "2"
    helm("rollback", "front", "1", "--wait", "--timeout", "60s")
    helm("uninstall", "front", "--wait", "--timeout", "60s")
    assert run(kubeconfig, str(KUBECTL), "get", "deployments", "-o", "name") == ""
