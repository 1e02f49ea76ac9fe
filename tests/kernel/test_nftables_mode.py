"""Tests kube-proxy's nftables mode in a real kernel: loaded, and dialled with packets where it differs from
iptables (docs/semantics 8, 9) or where our layout differs from the real one (lists by index, hairpins by a
set, affinity).
"""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from emulator.kernel.apply import apply, do
from emulator.kernel.netns import check_output
from emulator.net import IPV6, Address, Endpoint, Prefix
from emulator.objects.kinds import ServicePort
from emulator.plan.shell import render_shell
from emulator.proxy import rules_for
from emulator.proxy.endpoints import EndpointFacts, ServicePortFacts
from emulator.proxy.nftables import MARK, Context, Place, frame
from emulator.proxy.nfttable import Parts, make_table, words_of
from emulator.schedule.planner import plan_cluster
from tests.conftest import GOLDEN, UNSHARE
from tests.objects import golden_state, node, service, slice_of, state
from tests.sandboxed import ROOT, SHIPPED, in_sandbox, podwire, state_of

pytestmark = pytest.mark.kernel

DIRECTORY = GOLDEN / "kube-proxy-v1.30.5"
JSON = ("-o", "json")
NFTABLES = ("--proxy-mode", "nftables", *JSON)


# --- rules --------------------------------------------------------------------------------------------------


def load(text: str, times: int = 1) -> str:
    """Returns the output of ``nft list ruleset`` after ``text`` was checked and then loaded into a network
    namespace of its own.
    """
    steps = [
        "text=$(cat)",
        'printf "%s\\n" "$text" | nft -c -f -',
        *['printf "%s\\n" "$text" | nft -f -'] * times,
        "nft list ruleset",
    ]
    command = [*UNSHARE, "sh", "-ec", "; ".join(steps)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_loading_twice_is_loading_once() -> None:
    text = rules_for(golden_state(DIRECTORY, mode="nftables"), "worker-1").nft
    assert load(text, times=2).split() == load(text).split()


def blocks(ruleset: str) -> dict[str, list[str]]:
    """Sets, maps and chains → their lines, those of chains in their order."""
    found = {}
    for block in ruleset.split("\n\t}\n"):
        head, _, body = block.partition(" {\n\t\t")
        name = head.split("\n")[-1].strip()
        lines = [line.strip(" \t,}") for line in body.splitlines()]
        found[name] = lines if name.startswith("chain") else sorted(lines)
    return found


@pytest.mark.parametrize("most", [1, 700, 8192])
def test_pieces_of_a_table_make_the_whole(most: int) -> None:
    """Loads a large table as an ordinary user does: in transactions that are small enough."""
    table = rules_for(golden_state(DIRECTORY, mode="nftables"), "worker-1").table
    assert table
    pieces = list(table.pieces(most))
    assert len(pieces) > 1 or most > 700
    script = "".join(f"nft -f - <<'EOF'\n{piece}EOF\n" for piece in pieces) + "nft list ruleset"
    done = subprocess.run(
        [*UNSHARE, "sh", "-ec", script], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    whole = blocks(load(table.text))
    assert len(whole) > 20
    assert any("numgen" in line for lines in whole.values() for line in lines)
    assert blocks(done.stdout) == whole


@pytest.mark.parametrize(
    "settings",
    [
        {"masqueradeAll": True},
        {"localMode": ""},
        {"localMode": "NodeCIDR"},
        {"localMode": "BridgeInterface"},
        {"localMode": "InterfaceNamePrefix"},
        {"clusterCIDR": "0.0.0.0/0"},
        {"nodePortAddresses": ("0.0.0.0/0",)},
        {"nodePortAddresses": ("127.0.0.0/8",)},
    ],
    ids=lambda s: "-".join(f"{k}={v}" for k, v in s.items()),
)
def test_the_kernel_takes_what_settings_make(settings: dict[str, object]) -> None:
    assert "nat-postrouting" in load(
        rules_for(golden_state(DIRECTORY, mode="nftables", **settings), "worker-1").nft
    )


def test_the_kernel_takes_the_longest_names() -> None:
    ports = [ServicePort(name="p" * 15, port=80, nodePort=30080)]
    spec = {
        "sessionAffinity": "ClientIP",
        "externalTrafficPolicy": "Local",
        "loadBalancerSourceRanges": ("203.0.113.0/24",),
    }
    svc = service(
        "n" * 63, namespace="s" * 63, type="LoadBalancer", ports=ports, vips=("192.0.2.255",), **spec
    )
    endpoints = slice_of(
        svc, {"ip": "10.244.100.100", "nodeName": "worker-1"}, ports=[{"name": "p" * 15, "port": 65535}]
    )
    cluster = state(nodes=[node("worker-1")], services=[svc], slices=[endpoints], mode="nftables")
    assert "10.244.100.100/65535" in load(rules_for(cluster, "worker-1").nft)


def test_the_printed_script_loads_the_same_table() -> None:
    plan = plan_cluster(state_of("hairpin", proxy_mode="nftables"))

    def tables() -> list[str]:
        command = ["ip", "netns", "exec", "worker-1", "nft", "list", "table", "ip", "kube-proxy"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    @in_sandbox
    def by_apply() -> list[str]:
        apply(plan)
        return tables()

    @in_sandbox
    def by_script() -> list[str]:
        subprocess.run(["bash", "-s"], input=render_shell(plan, title="test"), text=True, check=True)
        return tables()

    assert sorted(by_apply()) == sorted(by_script())


@in_sandbox
def test_a_second_plan_replaces_the_first() -> None:
    before, after = (
        state_of("hairpin", proxy_mode="nftables"),
        state_of("no-endpoints", proxy_mode="nftables"),
    )
    applied = apply(plan_cluster(before))
    node = before.nodes[-1].name
    rules = next(
        op for op in plan_cluster(after).operations if getattr(op, "tool", "") == "nft" and op.netns == node
    )
    do([rules], applied)
    listed = check_output(applied.namespaces, node, ["nft", "list", "table", "ip", "kube-proxy"])
    assert all(service.spec.clusterIP in listed for service in after.services)
    assert "echo" not in listed


# --- whole runs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", SHIPPED)
def test_every_shipped_topology_is_as_promised(topology: str) -> None:
    done = podwire(topology, "--captures", "none", *NFTABLES)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    report = json.loads(done.stdout)
    assert report["proxyMode"] == "nftables"
    assert report["summary"]["pass"] == report["summary"]["flows"] > 0


@pytest.mark.parametrize("manifest", ["guestbook.yaml", "shop.yaml", "kind-dump.yaml"])
def test_public_manifests_run(manifest: str) -> None:
    done = podwire(str(ROOT / "tests" / "data" / manifest), "--captures", "none", *NFTABLES)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["pass"] == report["summary"]["flows"] >= 20


def test_beside_legacy_iptables_of_the_pod_network() -> None:
    done = podwire("source-address", "--captures", "none", "--iptables", "legacy", *NFTABLES)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def test_a_bundle_shows_the_table(tmp_path: Path) -> None:
    done = podwire(
        "-",
        "--captures",
        str(tmp_path),
        *NFTABLES,
        stdin=CLUSTER + check("x", "pod: far", "service: web, port: 80", "dropped"),
    )
    assert done.returncode == 1, done.stderr
    (bundle,) = (tmp_path / json.loads(done.stdout)["topology"] / "failed").iterdir()
    assert "map service-ips" in (bundle / "worker-2.nftables.txt").read_text()


# --- packets ------------------------------------------------------------------------------------------------

CLUSTER = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [{role: control-plane}, {role: worker}, {role: worker}]
externalClients: [{name: client-1, address: 203.0.113.10}, {name: stranger, address: 198.51.100.20}]
"""
for _name, _node, _ip in (
    ("web-1", 1, "10.244.1.11"),
    ("web-2", 2, "10.244.2.12"),
    ("web-3", 1, "10.244.1.13"),
):
    CLUSTER += f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: {_name}, labels: {{app: web}}}}
spec: {{nodeName: worker-{_node}, containers: [{{name: c, ports: [{{containerPort: 8080}}, {{containerPort: 8080, protocol: UDP}}]}}]}}
status: {{podIP: {_ip}}}
"""
CLUSTER += """
---
apiVersion: v1
kind: Pod
metadata: {name: far}
spec: {nodeName: worker-2, containers: [{name: c}]}
status: {podIP: 10.244.2.22}
"""
for _service in (
    "{name: web}, spec: {type: NodePort, clusterIP: 10.96.0.10, selector: {app: web}, ports: [{name: t, port: 80, targetPort: 8080, nodePort: 30080},"
    " {name: u, port: 80, protocol: UDP, targetPort: 8080, nodePort: 30080}]}",
    "{name: local}, spec: {type: NodePort, clusterIP: 10.96.0.11, externalTrafficPolicy: Local, selector: {app: web},"
    " ports: [{port: 80, targetPort: 8080, nodePort: 30081}]}",
    "{name: sticky}, spec: {clusterIP: 10.96.0.12, sessionAffinity: ClientIP, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}",
    "{name: lb}, spec: {type: LoadBalancer, clusterIP: 10.96.0.13, loadBalancerSourceRanges: [203.0.113.0/24], selector: {app: web},"
    " ports: [{port: 80, targetPort: 8080, nodePort: 30083}]}, status: {loadBalancer: {ingress: [{ip: 172.18.200.1}]}}",
    "{name: lb-local}, spec: {type: LoadBalancer, clusterIP: 10.96.0.14, externalTrafficPolicy: Local, selector: {app: web},"
    " ports: [{port: 80, targetPort: 8080, nodePort: 30084}]}, status: {loadBalancer: {ingress: [{ip: 172.18.200.2}]}}",
    "{name: here}, spec: {clusterIP: 10.96.0.15, internalTrafficPolicy: Local, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}",
):
    CLUSTER += f"\n---\n{{apiVersion: v1, kind: Service, metadata: {_service}}}\n"


def check(name: str, who: str, to: str, outcome: str = "", more: str = "") -> str:
    expect = f", expect: {{outcome: {outcome}}}" if outcome else ""
    return f"""
---
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {{name: check}}
spec: {{flows: [{{name: {name}, from: {{{who}}}, to: {{{to}}}{more}{expect}}}]}}
"""


ALL = "web-1 web-2 web-3"
ON_1 = "web-1 web-3"
NODE_1, NODE_2 = "172.18.0.3", "172.18.0.4"
FLOWS: dict[str, tuple[str, str, str, str, str, str]] = {
    # name: (from, to, more, outcome, backends, the addresses that they see; "" where that is not the point)
    "8 a port that a live ClusterIP lacks, from a Pod": ("pod: far", "ip: 10.96.0.10, port: 81", "", "rejected", "", ""),
    "8 a port that a live ClusterIP lacks, from a node": ("node: worker-1", "ip: 10.96.0.10, port: 81", "", "rejected", "", ""),
    "8 a port that a live ClusterIP lacks, from outside": (
        "external: client-1", "ip: 10.96.0.10, port: 81", ", via: worker-1", "rejected", "", ""
    ),
    "8 a protocol that it lacks": ("pod: far", "ip: 10.96.0.11, port: 80", ", protocol: UDP", "rejected", "", ""),
    "8 an address of the Service CIDR that nobody has, from a Pod": ("pod: far", "ip: 10.96.9.9, port: 80", "", "dropped", "", ""),
    "8 an address of the Service CIDR that nobody has, from a node": ("node: worker-1", "ip: 10.96.9.9, port: 80", "", "dropped", "", ""),
    "9 a node port at the primary address": ("external: client-1", "node: worker-1, nodePort: 30080", "", "delivered", ALL, "10.244.1.1 " + NODE_1),
    "9 no node port at the bridge's address": ("pod: web-1", "ip: 10.244.1.1, port: 30080", "", "rejected", "", ""),
    "9 no node port on localhost": ("node: worker-1", "ip: 127.0.0.1, port: 30080", "", "rejected", "", ""),
    "each of three endpoints, TCP": ("pod: far", "service: web, port: 80", "", "delivered", ALL, "10.244.2.22"),
    "each of three endpoints, UDP": ("pod: far", "service: web, port: u", ", protocol: UDP", "delivered", ALL, "10.244.2.22"),
    "hairpin": ("pod: web-2", "service: web, port: 80", "", "delivered", ALL, "10.244.2.12 10.244.2.1"),
    "hairpin through another node": ("pod: web-2", "node: worker-1, nodePort: 30080", "", "delivered", ALL, "10.244.1.1 " + NODE_1),
    "a node's ClusterIP packets are masqueraded": ("node: worker-2", "service: web, port: 80", "", "delivered", ALL, "10.244.2.1 " + NODE_2),
    "eTP Local from outside: the Local list": ("external: client-1", "node: worker-1, nodePort: 30081", "", "delivered", ON_1, "203.0.113.10"),
    "eTP Local from the node itself: any": ("node: worker-1", "node: worker-1, nodePort: 30081", "", "delivered", ALL, "10.244.1.1 " + NODE_1),
    "eTP Local from outside, no endpoint here": ("external: client-1", "node: control-plane, nodePort: 30081", "", "dropped", "", ""),
    "eTP Local from a node without endpoints": ("node: control-plane", "ip: 172.18.200.2, port: 80", "", "delivered", ALL, ""),
    "eTP Local load balancer from outside": (
        "external: stranger", "ip: 172.18.200.2, port: 80", ", via: worker-1", "delivered", ON_1, "198.51.100.20"
    ),
    "iTP Local": ("pod: web-1", "service: here, port: 80", "", "delivered", ON_1, "10.244.1.11 10.244.1.1"),
    "iTP Local, no endpoint here": ("node: control-plane", "service: here, port: 80", "", "dropped", "", ""),
    "inside the source ranges": ("external: client-1", "ip: 172.18.200.1, port: 80", ", via: worker-1", "delivered", ALL, ""),
    "outside the source ranges": ("external: stranger", "ip: 172.18.200.1, port: 80", ", via: worker-1", "dropped", "", ""),
    "source ranges are for Pods too": ("pod: far", "ip: 172.18.200.1, port: 80", "", "dropped", "", ""),
    "source ranges are not for node ports": ("external: stranger", "node: worker-1, nodePort: 30083", "", "delivered", ALL, ""),
}  # fmt: skip


@cache
def report(proxy: str = "nftables", settings: str = "") -> dict[str, Any]:
    """Returns the results of FLOWS, and of twenty connections under session affinity, in one run: by name.

    No expectation is written, so that the objects themselves must promise what is in FLOWS.
    """
    flows = [
        f"  - {{name: {json.dumps(name)}, from: {{{who}}}, to: {{{to}}}{more}}}\n"
        for name, (who, to, more, *_) in FLOWS.items()
    ]
    sticky = "  - {name: sticky, from: {pod: far}, to: {service: sticky, port: 80}, attempts: 20}\n"
    checks = (
        "\n---\napiVersion: podwire.dev/v1alpha1\nkind: FlowCheck\nmetadata: {name: check}\nspec:\n  flows:\n"
    )
    done = podwire(
        "-",
        "--captures",
        "none",
        "--proxy-mode",
        proxy,
        *JSON,
        stdin=CLUSTER + settings + checks + "".join([*flows, sticky]),
    )
    assert done.returncode in (0, 1), done.stderr
    return {
        flow["name"].removeprefix("check: "): flow
        for flow in json.loads(done.stdout)["flows"]
        if not flow["control"]
    }


def answered(flow: dict[str, Any]) -> set[str]:
    """Returns the Pods that answered."""
    return {
        backend.removeprefix("default/").removesuffix(":8080") for backend in flow["observed"]["backends"]
    }


@pytest.mark.parametrize("name", FLOWS)
def test_packets(name: str) -> None:
    *_, outcome, backends, seen = FLOWS[name]
    flow = report()[name]
    assert flow["observed"]["outcome"] == outcome
    assert answered(flow) == set(backends.split())
    if seen:
        assert set(flow["observed"]["sources"]) == set(seen.split())
    assert flow["verdict"] == "pass", flow["expected"]


def test_session_affinity_leads_to_one_endpoint() -> None:
    flow = report()["sticky"]
    assert len(answered(flow)) == 1
    assert sum(flow["observed"]["backends"].values()) >= 20


@pytest.mark.parametrize("mode", ["NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"])
@pytest.mark.parametrize("proxy", ["iptables", "nftables"])
def test_local_traffic_detectors(proxy: str, mode: str) -> None:
    settings = f"""
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
detectLocalMode: {mode}
"""
    pod, node = (
        report(proxy, settings)[name]
        for name in ("each of three endpoints, TCP", "a node's ClusterIP packets are masqueraded")
    )
    assert pod["observed"]["sources"] == ["10.244.2.22"]
    assert set(node["observed"]["sources"]) == {"10.244.2.1", NODE_2}
    assert (pod["verdict"], node["verdict"]) == ("pass", "pass")


def test_the_kernel_takes_the_table_of_ipv6() -> None:
    """Spells the same Service in the words of the other family: one port by node port and load balancer, with
    session affinity.
    """
    words = words_of(IPV6)
    place = Place(node("worker-1"), words, Context("", (MARK,), ""), Context("", (MARK,), ""))
    ip = Address("fd00:10:244::2")
    endpoint = EndpointFacts(
        ip, 8080, str(Endpoint(ip, 8080)), "worker-1", True, False, frozenset(), frozenset()
    )
    parts = Parts(words)
    for number, seconds in ((1, 0), (2, 600)):
        port = ServicePortFacts(
            namespace="default",
            service=f"web-{number}",
            portName="http",
            protocol="TCP",
            clusterIP=Address(f"fd00:10:96::{number}"),
            port=80,
            nodePort=30080 + number,
            externalIPs=(Address(f"2001:db8::{number}"),),
            loadBalancerVIPs=(Address(f"2001:db8:1::{number}"),),
            sourceRanges=(Prefix("2001:db8:2::/64"),),
            affinitySeconds=seconds,
            internalLocal=False,
            externalLocal=True,
            healthCheckNodePort=0,
            endpoints=(endpoint,),
        )
        place.add(parts, [port], place.choices([port]))
    table = make_table(parts, frame(Prefix("fd00:10:96::/112")), (Address("fd00:172:18::3"),))
    listed = load(table.text)
    assert "table ip6 kube-proxy {" in listed
    assert "dnat to [fd00:10:244::2]:8080" in listed
    assert "2001:db8::1 . tcp . 80" in listed
