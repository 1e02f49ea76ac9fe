"""Tests ``podwire watch``: requests go on while the cluster changes, and each says how it ended."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.test_up import Up, needs_kubectl, up
from tests.sandboxed import ROOT, podwire

pytestmark = pytest.mark.kernel


class Watched:
    """Holds the objects of one ``podwire watch -o json``."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.code = 0

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = self.rows[-1]["summary"]
        return found

    @property
    def verdicts(self) -> set[str]:
        return {row["verdict"] for row in self.rows if "verdict" in row}

    def events(self, kind: str) -> list[str]:
        return [row["what"] for row in self.rows if row.get("event") == kind]


@contextmanager
def watching(cluster: Up, *words: str) -> Iterator[Watched]:
    """Watches from half a second before the context begins until a second after its end."""
    command = [sys.executable, str(ROOT / "run_topology.py"), "watch", *words, "-o", "json"]
    command += ["--cluster", str(cluster.process.pid)]
    watched = Watched()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, process.communicate()
        time.sleep(0.5)
        yield watched
        time.sleep(1)
        process.send_signal(2)
        out, err = process.communicate(timeout=20)
        assert err == ""
        watched.rows += map(json.loads, (first + out).splitlines())
        watched.code = process.returncode


def make_web(cluster: Up) -> None:
    cluster.kubectl("create", "deployment", "web", "--image=web:1", "--port=8080", "--replicas=2")
    cluster.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    cluster.kubectl("rollout", "status", "deploy/web")


@needs_kubectl
def test_a_scaling_to_zero_and_back_is_seen_by_every_request(tmp_path: Path) -> None:
    with up(tmp_path) as cluster:
        make_web(cluster)
        with watching(cluster, "client", "service/web:80", "--rate", "50", "--max-lost", "3") as watched:
            cluster.kubectl("scale", "deploy/web", "--replicas=0")
            cluster.until(lambda: "web" not in cluster.kubectl("get", "pods", "-o", "name"))
            time.sleep(0.5)
            cluster.kubectl("scale", "deploy/web", "--replicas=1")
            cluster.kubectl("rollout", "status", "deploy/web")
        assert watched.code == 1
        assert {"ok", "refused"} <= watched.verdicts
        assert watched.events("Pod").count("terminating") == 2
        assert watched.events("Pod").count("network down") == 2
        assert any("removed" in what for what in watched.events("Service"))
        assert watched.events("kube-proxy")
        (flow,) = watched.summary["flows"]
        assert (len(flow["endpoints"]), flow["longestGap"] > 0.5) == (3, True)
        verdicts = [row["verdict"] for row in watched.rows if "verdict" in row]
        assert (verdicts[0], verdicts[-1]) == ("ok", "ok")


@needs_kubectl
def test_a_rolling_update_with_prestop_loses_nothing_and_tells_versions_apart(tmp_path: Path) -> None:
    with up(tmp_path) as cluster:
        make_web(cluster)
        stop = {"preStop": {"sleep": {"seconds": 2}}}
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "lifecycle": stop}]}}}}
        cluster.kubectl("patch", "deploy", "web", "-p", json.dumps(patch))
        cluster.kubectl("rollout", "status", "deploy/web")
        with watching(cluster, "client", "service/web:80", "--rate", "50", "--max-lost", "0") as watched:
            cluster.kubectl("set", "image", "deploy/web", "web=web:2")
            cluster.kubectl("rollout", "status", "deploy/web")
        assert (watched.code, watched.verdicts) == (0, {"ok"})
        (flow,) = watched.summary["flows"]
        assert {row["image"] for row in flow["endpoints"]} == {"web:1", "web:2"}
        assert any("terminating, serving" in what for what in watched.events("Service"))


@needs_kubectl
def test_a_kept_connection_and_a_client_outside(tmp_path: Path) -> None:
    with up(tmp_path) as cluster:
        make_web(cluster)
        cluster.kubectl("patch", "svc", "web", "-p", '{"spec": {"type": "NodePort"}}')
        port = cluster.kubectl("get", "svc", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
        words = ("client", "service/web:80", "client-1", f"node/worker-2:{port}")
        with watching(cluster, *words, "--keep-alive", "--rate", "20") as watched:
            pass
        assert (watched.code, watched.verdicts) == (0, {"ok"})
        kept = [
            {row["from"] for row in watched.rows if row.get("flow", "").startswith(who)}
            for who in ("client →", "client-1 →")
        ]
        assert [len(one) for one in kept] == [1, 1]
        assert [len(flow["endpoints"]) for flow in watched.summary["flows"]] == [1, 1]


def test_the_end_of_the_cluster_ends_it(tmp_path: Path) -> None:
    with up(tmp_path) as cluster:
        command = [sys.executable, str(ROOT / "run_topology.py"), "watch", "client", "service/kubernetes:443"]
        command += ["--cluster", str(cluster.process.pid)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert "LOST" in process.stdout.readline()  # it speaks TLS
            cluster.process.send_signal(2)
            out, err = process.communicate(timeout=20)
            cluster.process.wait(20)
    assert err == "podwire: the cluster has ended\n"
    assert (process.returncode, "longest gap" in out) == (0, True)


@needs_kubectl
def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with up(tmp_path) as cluster:
        make_web(cluster)
        for words, said in [
            (("client", "service/wob:80"), "there is no Service default/wob"),
            (("client", "service/web:81"), "Service default/web has no port 81/TCP"),
            (("klient", "service/web:80"), "did you mean client"),
            (("router", "service/web:80"), "router sends nothing"),
            (("client", "web"), "names no port to dial"),
            (("client",), "watch needs who dials and what"),
            (("client", "service/web:80", "--rate", "0"), "must be a number from"),
            (("client", "service/web:80", "--duration", "soon"), "'soon' is no time"),
        ]:
            done = podwire("watch", *words, "--cluster", str(cluster.process.pid))
            assert (done.returncode, done.stdout) == (2, ""), words
            assert said in done.stderr
