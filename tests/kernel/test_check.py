"""Tests ``podwire check``: flows through a cluster that is up, judged by its objects as they are then."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from emulator.run.clusters import find_running
from tests.kernel.test_up import Up, needs_kubectl, up
from tests.sandboxed import ROOT, podwire

pytestmark = pytest.mark.kernel

CHECK = """
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: shop}
spec:
  flows:
  - {name: a Pod asks, from: {pod: client}, to: {service: web, port: 80}, expect: {outcome: delivered}}
"""


def check(cluster: Up, *words: str, code: int = 0, stdin: str = "") -> str:
    """Returns what ``podwire check`` prints; it must end with ``code``."""
    done = podwire("check", *words, "--cluster", str(cluster.process.pid), "--captures", "none", stdin=stdin)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@needs_kubectl
def test_flows_are_judged_by_the_objects_as_they_are_then(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(CHECK)
    with up(tmp_path) as cluster:
        derived = json.loads(check(cluster, "-o", "json"))
        assert derived["summary"]["ok"]
        assert "svc default/kubernetes:443" in {flow["to"] for flow in derived["flows"]}
        assert "there is no Service default/web" in check(cluster, str(file), code=2)
        cluster.kubectl("create", "deployment", "web", "--image=web:1", "--port=8080", "--replicas=2")
        cluster.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
        cluster.kubectl("rollout", "status", "deploy/web")
        (flow,) = _flows(check(cluster, str(file), "-o", "json"))
        assert (flow["verdict"], len(flow["observed"]["backends"])) == ("pass", 2)
        assert len(_flows(check(cluster, "-", "--derive", "-o", "json", stdin=CHECK))) > 20
        cluster.kubectl("scale", "deploy/web", "--replicas=0")
        cluster.until(lambda: "web" not in cluster.kubectl("get", "pods", "-o", "name"))
        assert "expected delivered, was rejected" in check(cluster, str(file), code=1)
        assert "PW001" in check(cluster, "--strict", code=1)


@needs_kubectl
def test_a_flow_check_in_the_cluster_is_named(tmp_path: Path) -> None:
    with up(tmp_path) as cluster:
        kubectl = cluster.kubectl
        kubectl("apply", "-f", str(ROOT / "docs" / "flowcheck-crd.yaml"))
        cluster.until(lambda: "flowchecks" in kubectl("api-resources", "--cached=false", "-o", "name"))
        kubectl("apply", "-f", "-", stdin=CHECK.replace("service: web", "service: kubernetes"))
        assert "is neither a file nor a FlowCheck in the cluster (hint: did you mean shop?)" in check(
            cluster, "shopp", code=2
        )
        assert "Service default/kubernetes has no port 80/TCP" in check(cluster, "shop", code=2)
        patch = '[{"op": "replace", "path": "/spec/flows/0/to/port", "value": 443}]'
        kubectl("patch", "flowcheck", "shop", "--type=json", "-p", patch)
        assert "2 flows as promised" in check(cluster, "default/shop")


def test_evidence_is_written_where_the_caller_is(tmp_path: Path) -> None:
    with up(tmp_path) as cluster:
        done = podwire("check", "--cluster", str(cluster.process.pid), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "captures" / "cluster-check" / "all.pcapng").stat().st_size > 10_000


def test_a_cluster_of_keep_is_checked_too(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "run_topology.py"), "hairpin", "--keep", "--captures", "none"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any("stays up" in line for line in process.stderr)
            done = podwire("check", "--cluster", str(process.pid), "--captures", "none", "-o", "json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["summary"]["ok"]
        finally:
            process.terminate()
            process.wait(20)


def _as_nobody(function: Callable[[], bytes]) -> bytes:
    """Returns what ``function`` returns in a process of another user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(OSError):
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.write(writer, function() or b"nothing")
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as said:
        return said.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_another_user_gets_no_answer_and_garbage_harms_nobody(tmp_path: Path) -> None:
    with up(tmp_path) as cluster:
        (name,) = [one.control for one in find_running() if one.pid == cluster.process.pid]
        assert name

        def say(data: bytes) -> bytes:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(10)
                sock.connect(f"\0{name}")
                with suppress(BrokenPipeError, ConnectionResetError):
                    sock.sendall(data)
                    return sock.recv(100)
            return b""

        assert _as_nobody(lambda: say(struct.pack("!Q", 5) + b"hello")) == b"nothing"
        for garbage in (b"", struct.pack("!Q", 1 << 60), struct.pack("!Q", 5) + b"hello"):
            assert say(garbage + b"x" * (not garbage)) == b""
        assert "flows as promised" in check(cluster)


def _flows(said: str) -> list[dict[str, Any]]:
    return [flow for flow in json.loads(said)["flows"] if not flow["control"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "--cluster", "nobody"), "no cluster is running as 'nobody'"),
        (("check", "-o", "xml"), "invalid choice: 'xml'"),
    ],
)
def test_mistakes_are_told_in_a_line(words: tuple[str, ...], said: str) -> None:
    done = podwire(*words)
    assert done.returncode == 2
    assert said in done.stderr
