"""Runs beside each other share one neighbour table with the whole machine: what each of them learns is
little, however many Pods it has.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emulator.cluster.scenario import Scenario
from emulator.kernel import sandbox
from emulator.kernel.apply import apply
from emulator.kernel.netns import RUN_NETNS
from emulator.model.results import Report
from emulator.plan.operations import AddVeth
from emulator.report.prose_of_verdicts import say_verdict
from emulator.run.clock import Clock
from emulator.run.run import Options, prepare, run_inside
from emulator.schedule.planner import plan_cluster
from emulator.schedule.schedule import plan_flows
from tests.sandboxed import flavour, in_sandbox, podwire, scenario_of, state_of

pytestmark = pytest.mark.kernel

Neighbour = tuple[str, str, str]  # network namespace, device, address


def cluster(pods: int, workers: int) -> str:
    """Returns the manifests of so many Pods behind one Service, dialled 150 times from a Pod, from a node and
    from outside.
    """
    label = {"app": "web"}
    template = {
        "metadata": {"labels": label},
        "spec": {"containers": [{"name": "web", "ports": [{"containerPort": 8080}]}]},
    }
    asked: list[dict[str, object]] = [
        {"from": {"pod": "client"}, "to": {"service": "web", "port": 80}},
        {"from": {"node": "control-plane"}, "to": {"service": "web", "port": 80}},
        {"from": {"external": "client-1"}, "to": {"node": "worker-1", "nodePort": 30080}},
    ]
    checks = [{"name": f"flow {number}", "attempts": 150, **flow} for number, flow in enumerate(asked)]
    documents: list[dict[str, object]] = [
        {
            "apiVersion": "podwire.dev/v1alpha1",
            "kind": "Cluster",
            "nodes": [{"role": "control-plane"}, *({"role": "worker"} for _ in range(workers))],
            "externalClients": [{"name": "client-1", "address": "203.0.113.10"}],
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {"replicas": pods, "selector": {"matchLabels": label}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "client"},
            "spec": {"nodeName": "worker-1", "containers": [{"name": "c"}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {
                "type": "NodePort",
                "selector": label,
                "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}],
            },
        },
        {
            "apiVersion": "podwire.dev/v1alpha1",
            "kind": "FlowCheck",
            "metadata": {"name": "asked"},
            "spec": {"flows": checks},
        },
    ]
    return "\n---\n".join(map(json.dumps, documents))


def learnt(scenario: Scenario, *, pairs: bool = False) -> tuple[Report, set[Neighbour]]:
    """Returns the report of a run, and the neighbours that its namespaces know by ARP when it is over."""

    def read(report: Report, _: object) -> tuple[Report, set[Neighbour]]:
        found: set[Neighbour] = set()
        for path in RUN_NETNS.iterdir():
            command = ["ip", "-j", "-n", path.name, "neighbour", "show"]
            rows = json.loads(
                subprocess.run(command, capture_output=True, text=True, check=True).stdout or "[]"
            )
            found |= {(path.name, row["dev"], row["dst"]) for row in rows if "PERMANENT" not in row["state"]}
        return report, found

    run = prepare(
        scenario, *plan_flows(scenario, pairs=pairs), Options(all_pairs=pairs, iptables=flavour()), Clock()
    )
    return sandbox.run(lambda channel: run_inside(channel, run, None, read))


@pytest.mark.parametrize("mode", ["iptables", "userspace"])
def test_a_run_learns_no_neighbour_by_arp(mode: str) -> None:
    report, neighbours = learnt(scenario_of(text=cluster(30, 3), proxy_mode=mode))
    assert report.ok, [say_verdict(result) for result in report.flows if result.verdict != "pass"]
    assert neighbours == set()


def test_all_pairs_of_pods_learn_no_neighbour_by_arp() -> None:
    report, neighbours = learnt(scenario_of(text=cluster(16, 2)), pairs=True)
    assert report.ok, [say_verdict(result) for result in report.flows if result.verdict != "pass"]
    assert neighbours == set()


@pytest.mark.parametrize("topology", ["node-added-and-removed", "in-path-load-balancer", "l2-announcement"])
def test_what_is_learnt_by_arp_are_addresses_of_no_node_or_pod(topology: str) -> None:
    """Dials a load balancer's addresses, for which a speaker answers, and addresses that no machine has."""
    scenario = scenario_of(topology)
    report, neighbours = learnt(scenario)
    assert report.ok, [say_verdict(result) for result in report.flows if result.verdict != "pass"]
    last = scenario.moments[-1].state
    known = {*last.node_by_ip, *last.pod_by_ip, last.routerIP, *(client.address for client in last.clients)}
    assert [row for row in neighbours if row[2] in known] == []


def run_side_by_side(*runs: Sequence[str]) -> list[dict[str, int]]:
    """Starts all ``runs`` at once, each the words of a command line; returns their reports' summaries."""
    with ThreadPoolExecutor(len(runs)) as pool:
        done = list(
            pool.map(lambda words: podwire(*words, "--captures", "none", "-o", "json", timeout=300), runs)
        )
    for run in done:
        assert run.returncode == 0, run.stderr + run.stdout[-2000:]
    return [json.loads(run.stdout)["summary"] for run in done]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runs", "pods", "workers"), [(2, 300, 9), (8, 120, 9), (1, 380, 4)], ids=["2 x 300", "8 x 120", "380"]
)
def test_runs_beside_each_other_are_right(runs: int, pods: int, workers: int, tmp_path: Path) -> None:
    """Shares one table of 1,024 neighbour entries: all that is learnt by ARP would have to fit into it."""
    manifests = tmp_path / "pods.yaml"
    manifests.write_text(cluster(pods, workers))
    for summary in run_side_by_side(*[[str(manifests)]] * runs):
        assert summary["pass"] == summary["flows"] > 0


@pytest.mark.slow
def test_the_default_topology_is_right_beside_400_pods(tmp_path: Path) -> None:
    manifests = tmp_path / "pods.yaml"
    manifests.write_text(cluster(400, 9))
    for summary in run_side_by_side([str(manifests)], [], [], []):
        assert summary["pass"] == summary["flows"] > 0


@in_sandbox
def test_a_bridge_floods_nothing_that_is_for_one_port() -> None:
    """Sends no ARP request that it could learn from."""
    plan = plan_cluster(state_of("in-path-load-balancer"))
    apply(plan)
    for op in plan.operations:
        if isinstance(op, AddVeth) and op.bridge:
            command = ["bridge", "-n", op.netns, "-j", "fdb", "show", "brport", op.name]
            rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            assert (op.peer_mac, "static") in {(row["mac"], row["state"]) for row in rows}, op
