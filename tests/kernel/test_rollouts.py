"""Tests FlowChecks that roll Deployments out: a cluster that lives, real requests meanwhile, verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sandboxed import host_state, podwire

pytestmark = pytest.mark.kernel

CLUSTER = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [{role: control-plane}, {role: worker}, {role: worker}]
externalClients: [{name: client-1, address: 203.0.113.10}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  progressDeadlineSeconds: %(deadline)s
  strategy: %(strategy)s
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web:1
        ports: [{containerPort: 8080}]
%(container)s
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: rolling}
spec:
  flows:
  - {name: before, from: {external: client-1}, to: {node: worker-1, nodePort: 30080}}
  steps:
  - name: update
    rollout: {deployment: web, image: "web:2"}
    traffic: {rate: 50, maxLost: 0}
    flows:
    - {name: outside, from: {external: client-1}, to: {node: worker-1, nodePort: 30080}}
  - name: scale
    scale: {kind: Deployment, name: web, replicas: 0}
    flows:
    - {name: outside, from: {external: client-1}, to: {node: worker-1, nodePort: 30080}}
"""
RECREATE = "{type: Recreate}"
ROLLING = "{type: RollingUpdate, rollingUpdate: {maxSurge: 2, maxUnavailable: 0}}"
PRE_STOP = "        lifecycle: {preStop: {sleep: {seconds: 2}}}"
READY = "        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}"
NEVER_READY = "        readinessProbe: {tcpSocket: {port: 9}, periodSeconds: 1}"


def run(
    tmp_path: Path, *words: str, code: int, container: str = "", deadline: int = 60, strategy: str = ROLLING
) -> dict[str, Any]:
    """Returns the report of a run that ends with ``code``."""
    file = tmp_path / "rolling.yaml"
    file.write_text(CLUSTER % {"deadline": deadline, "strategy": strategy, "container": container})
    before = host_state()
    done = podwire(str(file), "-o", "json", *(words or ("--captures", "none")), cwd=tmp_path)
    assert done.returncode == code, (done.stdout[-3000:], done.stderr)
    assert host_state() == before
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def requirement(report: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in report["requirements"] if one["name"].startswith(name)]
    row: dict[str, Any] = found
    return row


def test_a_rolling_update_with_prestop_loses_no_request_under_local(tmp_path: Path) -> None:
    report = run(tmp_path, code=0, container=f"{READY}\n{PRE_STOP}")
    assert requirement(report, "rolled-out")["verdict"] == "pass"
    traffic = requirement(report, "traffic")
    assert traffic["verdict"] == "pass"
    assert traffic["checked"] > 50
    flows = {flow["name"]: flow for flow in report["flows"] if not flow["control"]}
    before, after = (
        set(flows[name]["observed"]["backends"]) for name in ("rolling: before", "rolling, update: outside")
    )
    assert before.isdisjoint(after)
    assert flows["rolling, scale: outside"]["observed"]["outcome"] != "delivered"


def test_a_recreation_loses_requests_and_says_which_and_why(tmp_path: Path) -> None:
    report = run(tmp_path, "--captures", str(tmp_path / "cap"), code=1, strategy=RECREATE)
    traffic = requirement(report, "traffic")
    assert traffic["verdict"] == "fail"
    assert "none of its requests is lost" in traffic["text"]
    reason = traffic["reason"]
    assert "the first at" in reason
    assert "from 203.0.113.10:" in reason
    assert "last seen at" in reason
    assert "gone" in reason
    assert "rules synced" in reason
    assert (tmp_path / "cap" / "rolling" / "all.pcapng").stat().st_size > 10_000


def test_a_roll_out_that_never_ends_fails_after_its_deadline(tmp_path: Path) -> None:
    report = run(tmp_path, code=1, container=NEVER_READY, deadline=3)
    row = requirement(report, "rolled-out")
    assert (row["verdict"], row["reason"]) == ("fail", 'deployment "web" exceeded its progress deadline')


def test_what_does_not_go_with_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rolling.yaml"
    file.write_text(CLUSTER % {"deadline": 60, "strategy": ROLLING, "container": ""})
    done = podwire(str(file), "--keep")
    assert done.returncode == 2
    assert "--keep does not go with a FlowCheck that rolls out" in done.stderr
    real = podwire(str(file), "--kube-proxy", "/bin/true")
    assert real.returncode == 2
    assert "Traceback" not in real.stderr
    script = podwire("plan", str(file))
    assert script.returncode == 0


def test_the_shipped_topology_loses_requests_with_one_roll_out_and_none_with_the_other() -> None:
    done = podwire("rolling-update", "-o", "json", "--captures", "none", "--proxy-mode", "nftables")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    rows = {one["name"]: one["reason"] for one in json.loads(done.stdout)["requirements"]}
    hasty, patient = (
        rows[f"traffic: rolling-update, the {who} one rolls out: outside"] for who in ("hasty", "patient")
    )
    assert " lost; the first at " in hasty
    assert patient == ""
