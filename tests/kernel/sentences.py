"""Tests sentences of docs/semantics.md: a section is one cluster, built and dialled once; its rows are flows
of one FlowCheck without expectations. So the objects' own promise must agree with the packets (the verdict),
and both with the row: the outcome, every endpoint that answers, and the address that each of them sees.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from emulator.cluster.state import ClusterState
from emulator.kernel.apply import Applied, apply
from emulator.kernel.iptables import find_iptables
from emulator.kernel.netns import Namespaces
from emulator.run.run import Options, run_cluster
from emulator.schedule.planner import plan_cluster
from emulator.workload.serve import servers
from tests.sandboxed import flavour, scenario_of

MODES = ["iptables", "nftables"]  # test_ipvs_semantics.py has the rows of ipvs mode
ALL_MODES = [*MODES, pytest.param("ipvs", marks=pytest.mark.ipvs("semantics"))]

# worker-1 has two endpoints, worker-2 has one, control-plane has none; each has a Pod that only asks.
SHAPE = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes:
- {role: control-plane}
- {role: worker, labels: {topology.kubernetes.io/zone: a}}
- {role: worker, labels: {topology.kubernetes.io/zone: b}}
externalClients:
- {name: office, address: 203.0.113.10}
- {name: stranger, address: 198.51.100.20}
- {name: twin, address: 192.0.2.62}
"""
SERVER = """
---
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  nodeName: %s
  containers:
  - name: server
    ports:
    - {containerPort: 8080}
    - {containerPort: 8080, protocol: UDP}
    - {containerPort: 8443}
    - {containerPort: 5301}
    - {containerPort: 5302, protocol: UDP}
    - {containerPort: 5303, protocol: SCTP}
status: {podIP: %s}
"""
ASKER = """
---
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec: {nodeName: %s, containers: [{name: shell}]}
status: {podIP: %s}
"""
SERVERS = {
    "web-1": ("worker-1", "10.244.1.11"),
    "web-2": ("worker-2", "10.244.2.12"),
    "web-3": ("worker-1", "10.244.1.13"),
}
ASKERS = {
    "near": ("worker-1", "10.244.1.21"),
    "far": ("worker-2", "10.244.2.22"),
    "away": ("control-plane", "10.244.0.23"),
}
NODES = {
    "control-plane": ("172.18.0.2", "10.244.0.1"),
    "worker-1": ("172.18.0.3", "10.244.1.1"),
    "worker-2": ("172.18.0.4", "10.244.2.1"),
}
BALANCER = "172.18.255.254"  # the load balancer in the path
OUTSIDE = {"office": "203.0.113.10", "stranger": "198.51.100.20", "twin": "192.0.2.62"}
BASE = (
    SHAPE
    + "".join(SERVER % (name, *where) for name, where in SERVERS.items())
    + "".join(ASKER % (name, *where) for name, where in ASKERS.items())
)

WEB_1_AT = "addresses: [10.244.1.11], nodeName: worker-1"
WEB_2_AT = "addresses: [10.244.2.12], nodeName: worker-2"
WEB_3_AT = "addresses: [10.244.1.13], nodeName: worker-1"
WEB_1, WEB_2, WEB_3 = (f"{{{at}}}" for at in (WEB_1_AT, WEB_2_AT, WEB_3_AT))
NOT_READY = "{%s, conditions: {ready: false}}"
DRAINING = "{%s, conditions: {ready: false, serving: true, terminating: true}}"
GONE = "{%s, conditions: {ready: false, serving: false, terminating: true}}"
HINTED = "{%s, hints: {%s}}"
PORT_UNREACHABLE = "ICMP port unreachable"


def service(name: str, spec: str, *ingress: str) -> str:
    """Returns a Service without a selector; ``ingress`` are load-balancer entries."""
    status = f"\nstatus: {{loadBalancer: {{ingress: [{', '.join(ingress)}]}}}}" if ingress else ""
    return f"\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{spec}}}{status}"


def endpoints(name: str, *rows: str, ports: str = "{port: 8080}") -> str:
    """Returns the EndpointSlice of Service ``name``."""
    return f"""
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints: [{", ".join(rows)}]
ports: [{ports}]"""


def proxy(settings: str) -> str:
    return f"\n---\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n{settings}"


@dataclass(frozen=True, slots=True)
class Row:
    """Describes one flow. ``meets`` are the Pods that answer, with their port where it is not 8080; ``seen``
    whose address they see: "own", the node that masquerades, or the very address (the balancer's, say). ""
    for who does not answer.
    """

    sentence: str
    client: str  # a Pod, a node or an external client
    to: str  # as in a FlowCheck
    meets: str = ""
    seen: str = ""
    outcome: str = "delivered"
    via: str = ""
    protocol: str = "TCP"
    evidence: str = ""  # how a refusal reads
    attempts: int = 0
    mode: str = ""  # the only mode that it is true of
    health: tuple[int, int] = (0, 0)  # a health check's answer: the HTTP status, and how many local endpoints
    asymmetric: bool = False  # the client hears from the endpoint's own address

    def flow(self) -> dict[str, Any]:
        kind = "node" if self.client in NODES else "external" if self.client in OUTSIDE else "pod"
        flow: dict[str, Any] = {
            "name": self.sentence,
            "from": {kind: self.client},
            "to": yaml.safe_load(self.to),
            "protocol": self.protocol,
        }
        if self.via:
            flow["via"] = self.via
        if self.attempts:
            flow["attempts"] = self.attempts
        return flow

    def sources(self) -> dict[str, str]:
        """Returns endpoint → the address that it sees, by hand: the client's own, or that of the interface by
        which the node reaches the endpoint.
        """
        if self.health[0]:
            return {self.meets: self._source("")}
        return {
            f"default/{pod}" if ":" in pod else f"default/{pod}:8080": self._source(pod.partition(":")[0])
            for pod in self.meets.split()
        }

    def endpoints(self) -> set[str]:
        """Returns the address and port of each Pod that answers."""
        pods = (pod.partition(":") for pod in self.meets.split())
        return {f"{SERVERS[name][1]}:{port or 8080}" for name, _, port in pods}

    def _source(self, pod: str) -> str:
        if self.seen[0].isdigit():
            return self.seen
        if self.seen == "own" or (self.seen.endswith("on hairpin") and pod != self.client):
            return OUTSIDE.get(self.client) or (
                NODES[self.client][0] if self.client in NODES else (ASKERS | SERVERS)[self.client][1]
            )
        node = self.seen.split()[0]
        return NODES[node][1] if SERVERS[pod][0] == node else NODES[node][0]


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    manifests: str
    rows: tuple[Row, ...]
    mode: str = ""  # the only mode that its rows are true of

    def rows_of(self, mode: str) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if {self.mode, row.mode} <= {"", mode})


def refused(sentence: str, client: str, to: str, via: str = "", protocol: str = "TCP", mode: str = "") -> Row:
    return Row(
        sentence,
        client,
        to,
        outcome="rejected",
        via=via,
        protocol=protocol,
        evidence=PORT_UNREACHABLE,
        mode=mode,
    )


def dropped(sentence: str, client: str, to: str, via: str = "", mode: str = "") -> Row:
    return Row(sentence, client, to, outcome="dropped", via=via, mode=mode)


def closed(sentence: str, client: str, to: str) -> Row:
    """Returns a port of a node that nobody serves: the node's own kernel refuses."""
    return Row(sentence, client, to, outcome="rejected", evidence="RST")


def unreachable(sentence: str, client: str, to: str, protocol: str = "TCP", mode: str = "") -> Row:
    return Row(
        sentence, client, to, outcome="unreachable", protocol=protocol, evidence="unreachable", mode=mode
    )


def healthy(sentence: str, client: str, node: str, status: int, count: int) -> Row:
    """Returns the health check of Service ``web``, whose healthCheckNodePort is 32123."""
    return Row(
        sentence,
        client,
        f"{{node: {node}, healthCheck: web}}",
        f"{NODES[node][0]}:32123",
        "own",
        health=(status, count),
    )


EXTERNAL = {
    "NodePort": "{node: %s, nodePort: 30080}",
    "externalIP": "{ip: 192.0.2.10, port: 80}",
    "load-balancer IP": "{loadBalancer: web, port: 80}",
}


def lists(name: str, *rows: str) -> str:
    """Returns two Services with the same endpoints: ``name``, and ``name-local`` under internalTrafficPolicy
    Local.
    """
    return (
        service(name, "ports: [{port: 80}]")
        + endpoints(name, *rows)
        + service(f"{name}-local", "internalTrafficPolicy: Local, ports: [{port: 80}]")
        + endpoints(f"{name}-local", *rows)
    )


NODE_PORT = service("web", "type: NodePort, ports: [{port: 80, nodePort: 30080}]") + endpoints("web", WEB_1)


def web(spec: str, *rows: str, ports: str = "{port: 80, nodePort: 30080}") -> str:
    """Returns the Service ``web`` with every kind of address."""
    return service(
        "web",
        f"type: LoadBalancer, externalIPs: [192.0.2.10], ports: [{ports}]{spec and ', ' + spec}",
        "{ip: 192.0.2.11}",
    ) + (endpoints("web", *rows) if rows else "")


HEALTH = web(
    "externalTrafficPolicy: Local, healthCheckNodePort: 32123",
    WEB_1,
    WEB_3,
    NOT_READY % "addresses: [10.244.1.14], nodeName: worker-1",
)


def external(
    sentence: str,
    client: str,
    node: str,
    meets: str = "",
    seen: str = "",
    outcome: str = "delivered",
    evidence: str = "",
) -> tuple[Row, ...]:
    """Returns a row for each kind of external address, dialled so that ``node`` takes it up."""
    return tuple(
        Row(
            f"{how} {sentence}",
            client,
            to % node if "%" in to else to,
            meets,
            seen,
            outcome,
            via=node if client in OUTSIDE and "%" not in to else "",
            evidence=evidence,
        )
        for how, to in EXTERNAL.items()
    )


@cache
def observed(section: Section, mode: str) -> Mapping[str, dict[str, Any]]:
    """Returns each row's flow as the report has it, by the row's sentence."""
    check = {
        "apiVersion": "podwire.dev/v1alpha1",
        "kind": "FlowCheck",
        "metadata": {"name": "rows"},
        "spec": {"flows": [row.flow() for row in section.rows_of(mode)]},
    }
    scenario = scenario_of(text=f"{BASE}{section.manifests}\n---\n{json.dumps(check)}", proxy_mode=mode)
    with TemporaryDirectory() as directory:
        report = Path(directory) / "report.json"
        run_cluster(scenario, Options(json=report, iptables=flavour()))
        flows = json.loads(report.read_text())["flows"]
    controls = {f"“{flow['name']}”": flow["reason"] for flow in flows if flow["control"]}
    for flow in flows:  # the reason of a control that fails is the first thing to be asked
        flow["reason"] += "".join(
            f"; it: {reason}" for name, reason in controls.items() if name in flow["reason"]
        )
    found = {flow["name"].removeprefix("rows: "): flow for flow in flows if not flow["control"]}
    assert found.keys() == {row.sentence for row in section.rows_of(mode)}, "two rows have one name"
    return found


def check_row(section: Section, row: Row, mode: str) -> None:
    flow = observed(section, mode)[row.sentence]
    assert flow["observed"]["outcomes"].keys() == {row.outcome}, flow["journeys"][0]["evidence"]
    assert flow["observed"]["backends"].keys() == row.sources().keys()
    met = {(j["backend"], j["sourceSeen"]) for j in flow["journeys"] if j["outcome"] == "delivered"}
    assert met == set(row.sources().items())
    assert flow["observed"]["health"] == (
        [dict(zip(("status", "localEndpoints"), row.health, strict=True))] if row.health[0] else []
    )
    assert all(row.evidence in journey["evidence"] for journey in flow["journeys"])
    if row.asymmetric:
        assert {journey["replyFrom"] for journey in flow["journeys"]} == row.endpoints()
    assert flow["verdict"] == "pass", flow["reason"]


def built(state: ClusterState) -> Namespaces:
    """Returns the cluster in the sandbox that the test runs in, its servers answering."""
    applied = apply(plan_cluster(state), Applied(find_iptables(flavour())))
    applied.wait_until_up()
    servers(applied.namespaces).tell(state)
    return applied.namespaces
