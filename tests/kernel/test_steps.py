"""Tests that each topology with steps fails by one fault. All shipped topologies are tested to hold
elsewhere, in both modes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.cluster.scenario import Scenario
from emulator.cluster.state import ClusterState
from emulator.journeys.correlate import Correlation, correlate
from emulator.model.flows import Attempt
from emulator.model.frames import Frame
from emulator.net import Endpoint
from emulator.plan.operations import ChangeRules, DelConnections, LoadRules, Plan
from emulator.proxy.backends import BACKENDS
from emulator.run import examine
from emulator.run.run import Options, run_cluster
from emulator.schedule import planner, schedule
from tests.sandboxed import scenario_of

pytestmark = pytest.mark.kernel

MODES = ["iptables", "nftables"]


def report_of(scenario: Scenario, directory: Path) -> dict[str, Any]:
    file = directory / "report.json"
    code = run_cluster(scenario, Options(json=file))
    report: dict[str, Any] = json.loads(file.read_text())
    assert code == (0 if report["summary"]["ok"] else 1)
    return report


def failures(scenario: Scenario, directory: Path) -> dict[str, str]:
    """Returns flow → reason, of the flows that failed."""
    return {
        flow["name"]: flow["reason"]
        for flow in report_of(scenario, directory)["flows"]
        if flow["verdict"] == "fail"
    }


def with_changes(monkeypatch: pytest.MonkeyPatch, edit: Callable[[Plan], Plan]) -> None:
    change = planner.plan_change
    monkeypatch.setattr(schedule, "plan_change", lambda *states: edit(change(*states)))


@pytest.mark.parametrize("mode", MODES)
def test_without_forgetting_a_udp_client_stays_with_the_endpoint_that_is_gone(
    mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nothing(*_: object) -> Iterator[DelConnections]:
        return iter(())

    monkeypatch.setitem(BACKENDS, mode, replace(BACKENDS[mode], stale=nothing))
    failed = failures(scenario_of("udp-client", proxy_mode=mode), tmp_path)
    assert {f"udp-client, it is gone: {who}" for who in ("a Pod", "outside")} <= failed.keys()


@pytest.mark.parametrize(
    ("mode", "topology"),
    [
        *(
            ("userspace", topology)
            for topology in ("endpoint-churn", "drain", "udp-client", "speaker-failover")
        ),
        *(
            pytest.param("ipvs", topology, marks=pytest.mark.ipvs("changes"))
            for topology in ("endpoint-churn", "udp-client")
        ),
    ],
)
def test_at_each_step_the_objects_promise_what_modes_do_that_the_flowchecks_are_not_about(
    mode: str, topology: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(schedule, "apply_expect", lambda promised, *_, **__: promised)
    assert failures(scenario_of(topology, proxy_mode=mode), tmp_path) == {}


def test_a_udp_client_does_not_wait_for_verdicts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Delays the verdicts. In userspace mode a client that is silent for a quarter of a second is forgotten,
    and would go to another endpoint than the promised one.
    """

    def correlate_slowly(attempts: Sequence[Attempt], frames: Sequence[Frame]) -> Correlation:
        time.sleep(0.4)
        return correlate(attempts, frames)

    monkeypatch.setattr(examine, "correlate", correlate_slowly)
    monkeypatch.setattr(schedule, "apply_expect", lambda promised, *_, **__: promised)
    assert failures(scenario_of("udp-client", proxy_mode="userspace"), tmp_path) == {}


def test_forgotten_connections_do_not_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Has nodes forget TCP connections with every change, as a restart of their kernel would."""

    def forget(plan: Plan) -> Plan:
        servers = [Endpoint.of(ip, 8080) for ip in ("10.244.1.3", "10.244.2.2")]
        more = [
            DelConnections(netns="worker-1", protocol="TCP", dialled=dialled, server=server, why="a fault")
            for dialled in (Endpoint.of("10.96.0.50", 80), Endpoint.of("172.18.0.3", 30080))
            for server in servers
        ]
        return replace(plan, operations=(*plan.operations, *more))

    with_changes(monkeypatch, forget)
    failed = failures(scenario_of("endpoint-churn"), tmp_path)
    assert {
        f"endpoint-churn, the Service is deleted: {what}"
        for what in ("an open connection", "one from outside")
    } <= failed.keys()


@pytest.mark.parametrize(("topology", "mode"), [("endpoint-churn", "nftables"), ("drain", "iptables")])
def test_a_kube_proxy_that_sleeps_is_found_out(
    topology: str, mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Changes the network, and not the rules."""
    with_changes(
        monkeypatch,
        lambda plan: replace(
            plan,
            operations=tuple(op for op in plan.operations if not isinstance(op, LoadRules | ChangeRules)),
        ),
    )
    failed = failures(scenario_of(topology, proxy_mode=mode), tmp_path)
    expected = {
        "endpoint-churn": {
            "endpoint-churn, two more endpoints join: new ones",
            "endpoint-churn, the Service is deleted: a new one from outside",
        },
        "drain": {
            "drain, it serves no more: through its node",
            "drain, it is gone: a Pod there",
            "drain, all are gone: a Pod",
        },
    }
    assert expected[topology] <= failed.keys()


def test_a_client_that_was_silent_for_longer_than_the_timeout_is_forgotten(tmp_path: Path) -> None:
    """Fails by chance if all eight draw the endpoint again that they had: once in 65,536 times."""
    report = report_of(scenario_of("affinity-expiry"), tmp_path)
    anew = [
        flow
        for flow in report["flows"]
        if flow["step"].endswith("each client draws anew") and not flow["control"]
    ]
    assert len(anew) == 8
    assert {pod for flow in anew for pod in flow["observed"]["backends"]} != {"default/web-0:8080"}
    assert report["summary"]["ok"]


def test_without_affinity_its_scenario_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hides sessionAffinity from kube-proxy: eight clients meet the same one of four by chance once in 65,536
    times.
    """
    cluster, change = planner.plan_cluster, planner.plan_change

    def forgetful(state: ClusterState) -> ClusterState:
        return replace(
            state,
            services=tuple(replace(s, spec=replace(s.spec, sessionAffinity="None")) for s in state.services),
        )

    monkeypatch.setattr(schedule, "plan_cluster", lambda state, *rest: cluster(forgetful(state), *rest))
    monkeypatch.setattr(
        schedule, "plan_change", lambda old, new, *rest: change(forgetful(old), forgetful(new), *rest)
    )
    failed = failures(scenario_of("affinity-expiry", proxy_mode="nftables"), tmp_path)
    assert any(name.startswith("affinity-expiry, three more endpoints: still that one") for name in failed)


NO_LONGER_OUTSIDE = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [{role: control-plane}, {role: worker}]
externalClients: [{name: office, address: 203.0.113.10}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: worker-1, containers: [{name: web, ports: [{containerPort: 53, protocol: UDP}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, externalIPs: [192.0.2.7], selector: {app: web}, ports: [{port: 53, \
protocol: UDP, nodePort: 30053}]}
---
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: udp}
spec:
  flows: &clients
  - {name: load balancer, from: {external: office}, to: {ip: 172.18.255.200, port: 53}, protocol: UDP, \
connection: a}
  - {name: node port, from: {external: office}, to: {ip: 172.18.0.3, port: 30053}, protocol: UDP, \
connection: b}
  - {name: the node's own, from: {node: worker-1}, to: {ip: 172.18.0.3, port: 30053}, protocol: UDP, \
connection: c}
  - {name: externalIP, from: {external: office}, via: worker-1, to: {ip: 192.0.2.7, port: 53}, \
protocol: UDP, connection: d}
  - {name: ClusterIP, from: {node: worker-1}, to: {service: web, port: 53}, protocol: UDP, connection: e}
  steps:
  - name: it is inside alone
    apply:
    - {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, \
ports: [{port: 53, protocol: UDP}]}}
    flows: *clients
"""


FORMER_WAYS = ["load balancer", "node port", "the node's own", "externalIP"]


@pytest.mark.parametrize("mode", ["iptables", "nftables", "userspace"])
def test_a_udp_client_of_an_address_that_is_no_service_s_any_more_is_left_to_its_endpoint(
    mode: str, tmp_path: Path
) -> None:
    (target := tmp_path / "it.yaml").write_text(NO_LONGER_OUTSIDE)
    report = report_of(scenario_of(str(target), proxy_mode=mode), tmp_path)
    assert {flow["name"]: flow["reason"] for flow in report["flows"] if flow["verdict"] != "pass"} == {}
    later = [
        flow["name"]
        for flow in report["flows"]
        if flow["step"] and not flow["control"] and "delivered" in flow["observed"]["outcomes"]
    ]
    ways = ["ClusterIP"] if mode == "userspace" else [*FORMER_WAYS, "ClusterIP"]
    assert later == [f"udp, it is inside alone: {way}" for way in ways]
