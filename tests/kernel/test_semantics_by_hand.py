"""Tests docs/semantics.md with packets: the parts of sections 2, 9 (the guard of localhost), 10 and 12 that
need more than one row.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from emulator.cluster.scenario import Scenario
from emulator.cluster.state import ClusterState
from emulator.kernel.apply import Applied, apply
from emulator.kernel.iptables import find_iptables
from emulator.kernel.netns import Namespaces, check_output
from emulator.net import mac_of_ip
from emulator.oracle.expectations import attempts_for
from emulator.plan.operations import Plan
from emulator.proxy.planner import ProxyPlanner
from emulator.run.run import Options, run_cluster
from emulator.schedule.planner import plan_cluster, plan_rules
from emulator.workload.serve import servers
from tests.kernel.sentences import (
    ALL_MODES,
    BASE,
    HEALTH,
    MODES,
    NODE_PORT,
    NODES,
    SERVER,
    WEB_1,
    WEB_2,
    WEB_3,
    Row,
    Section,
    built,
    endpoints,
    observed,
    service,
    web,
)
from tests.sandboxed import flavour, in_sandbox, scenario_of, state_of
from tests.told import told

pytestmark = pytest.mark.kernel


def ask(namespaces: Namespaces, netns: str, ip: str, port: int) -> tuple[int, dict[str, Any]]:
    """Returns the HTTP status and the JSON that ``ip:port`` answers a client in ``netns`` with. OSError when
    nobody does.
    """

    def get() -> tuple[int, dict[str, Any]]:
        connection = HTTPConnection(ip, port, timeout=2)
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    return namespaces.call_in(netns, get)


def contested(name: str, endpoint: str) -> str:
    """Returns a Service whose every external address another one claims, too."""
    spec = (
        f"type: LoadBalancer, externalIPs: [192.0.2.10], ports: [{{port: 80}}], selector: {{app: {endpoint}}}"
    )
    return service(name, spec, "{ip: 192.0.2.11}", "{ip: 192.0.2.12, ipMode: Proxy}")


@pytest.mark.parametrize("mode", ["userspace", *ALL_MODES])
def test_1_of_two_services_that_claim_one_address_the_first_by_name_has_it(mode: str, tmp_path: Path) -> None:
    """Gives it the address though it is written last: for rules, expectations and the balancer alike."""
    flows = [
        {"name": f"{kind} {ip}", "from": {kind: who}, "to": {"ip": ip, "port": 80}, "via": via}
        for ip in ("192.0.2.10", "192.0.2.11", "192.0.2.12")
        for kind, who, via in (
            ("pod", "far", ""),
            ("external", "office", "worker-1" if ip != "192.0.2.12" else ""),
        )
        if (mode, kind, ip) != ("userspace", "pod", "192.0.2.10")  # which leaves alone what Pods send there
    ]
    check = {
        "apiVersion": "podwire.dev/v1alpha1",
        "kind": "FlowCheck",
        "metadata": {"name": "first"},
        "spec": {"flows": flows},
    }
    pods = "".join(
        SERVER % (f"{name}, labels: {{app: {name}}}", "worker-1", ip)
        for name, ip in (("a", "10.244.1.51"), ("b", "10.244.1.52"))
    )
    text = BASE + pods + contested("svc-b", "b") + contested("svc-a", "a") + f"\n---\n{json.dumps(check)}"
    scenario = scenario_of(text=text, proxy_mode=mode)
    assert any(
        "default/svc-a and default/svc-b both claim 192.0.2.10:80/TCP, 192.0.2.11:80/TCP" in notice
        for notice in told(scenario.state)
    )
    run_cluster(scenario, Options(json=tmp_path / "report.json", iptables=flavour()))
    report = json.loads((tmp_path / "report.json").read_text())
    assert {flow["name"]: flow["reason"] for flow in report["flows"] if flow["verdict"] != "pass"} == {}
    assert [set(flow["observed"]["backends"]) for flow in report["flows"] if not flow["control"]] == [
        {"default/a:80"}
    ] * len(flows)


STALE = (
    "{addresses: [10.244.1.99], nodeName: worker-1}",
    "{addresses: [198.51.100.99]}",
    "{addresses: [203.0.113.10]}",
)


@pytest.mark.parametrize("mode", MODES)
def test_2_each_endpoint_has_an_end_of_its_own(mode: str, tmp_path: Path) -> None:
    """Uses an endpoint of a Pod that is gone, one of no machine, and one of a machine that does not serve the
    port, beside one that answers.
    """
    check = f"""
---
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {{name: ends}}
spec: {{flows: [{{name: far, from: {{pod: far}}, to: {{service: web, port: 80}}, \
attempts: {attempts_for(4)}}}]}}
"""
    scenario = scenario_of(
        text=BASE + service("web", "ports: [{port: 80}]") + endpoints("web", WEB_1, *STALE) + check,
        proxy_mode=mode,
    )
    run_cluster(scenario, Options(json=tmp_path / "report.json", iptables=flavour()))
    [flow] = [
        flow for flow in json.loads((tmp_path / "report.json").read_text())["flows"] if not flow["control"]
    ]
    assert (flow["verdict"], flow["reason"]) == ("pass", "")
    assert flow["observed"]["outcomes"].keys() == {"delivered", "dropped", "unreachable", "rejected"}
    assert flow["observed"]["backends"].keys() == {"default/web-1:8080"}
    assert min(flow["observed"]["outcomes"].values()) > 1


@pytest.mark.parametrize("mode", ALL_MODES)
@in_sandbox
def test_10_health_check_is_of_policy_local_alone(mode: str) -> None:
    state = state_of(text=BASE + web("externalTrafficPolicy: Cluster", WEB_1), proxy_mode=mode)
    namespaces = built(state)
    assert state.service["default/web"].spec.healthCheckNodePort is None
    with pytest.raises(ConnectionRefusedError):
        ask(namespaces, "office", NODES["worker-1"][0], 32123)


def test_10_a_kube_proxy_that_counts_wrong_is_found_out(tmp_path: Path) -> None:
    """Takes the expected count from the EndpointSlices, not from the settings of the servers."""
    state = state_of(text=BASE + HEALTH)
    wrong = (
        replace(li, healthCheck=li.healthCheck and replace(li.healthCheck, localEndpoints=1))
        for li in state.listeners
    )
    run_cluster(
        Scenario(state=replace(state, listeners=tuple(wrong))),
        Options(json=tmp_path / "report.json", iptables=flavour()),
    )
    report = json.loads((tmp_path / "report.json").read_text())
    reasons = {
        flow["dialled"]: flow["reason"].partition(": ")[0]
        for flow in report["flows"]
        if flow["verdict"] == "fail"
    }
    assert reasons == {
        "172.18.0.2:32123": "172.18.0.2:32123 answered 200, 1 local endpoint, not 503, 0 local endpoints",
        "172.18.0.3:32123": "172.18.0.3:32123 answered 200, 1 local endpoint, not 200, 2 local endpoints",
        "172.18.0.4:32123": "172.18.0.4:32123 answered 200, 1 local endpoint, not 503, 0 local endpoints",
    }


@pytest.mark.parametrize("mode", ALL_MODES)
@in_sandbox
def test_10_health_check_is_gone_with_the_service(mode: str) -> None:
    namespaces = built(state_of(text=BASE, proxy_mode=mode))
    with pytest.raises(ConnectionRefusedError):
        ask(namespaces, "office", NODES["worker-1"][0], 32123)


CLIENTS = (
    "default_near",
    "default_far",
    "default_away",
    "office",
    "stranger",
    "worker-1",
    "worker-2",
    "control-plane",
)


def sticky(mode: str, *rows: str, seconds: int = 10_800) -> ClusterState:
    affinity = (
        f"sessionAffinity: ClientIP, sessionAffinityConfig: {{clientIP: {{timeoutSeconds: {seconds}}}}}"
    )
    return state_of(text=BASE + web(affinity, *rows), proxy_mode=mode)


AFFINITY = Section(
    "12 affinity",
    web("sessionAffinity: ClientIP", WEB_1, WEB_2, WEB_3),
    (Row("one client, one endpoint", "near", "{service: web, port: 80}", attempts=20),),
)


@pytest.mark.parametrize("mode", ALL_MODES)
def test_12_one_flow_meets_one_endpoint(mode: str) -> None:
    flow = observed(AFFINITY, mode)["one client, one endpoint"]
    assert len(flow["observed"]["backends"]) == 1
    assert flow["observed"]["outcomes"]["delivered"] >= 20
    assert flow["verdict"] == "pass", flow["reason"]


def picked(namespaces: Namespaces) -> dict[str, str]:
    """Returns who answers each client at worker-1's node port, where worker-1 alone has session affinity."""
    return {client: ask(namespaces, client, NODES["worker-1"][0], 30080)[1]["pod"] for client in CLIENTS}


@pytest.mark.parametrize("mode", ALL_MODES)
@in_sandbox
def test_12_the_same_client_address_goes_to_the_same_endpoint(mode: str) -> None:
    namespaces = built(sticky(mode, WEB_1, WEB_2, WEB_3))
    assert picked(namespaces) == picked(namespaces) == picked(namespaces)


@pytest.mark.parametrize("mode", MODES)
@in_sandbox
def test_12_each_use_renews_it_and_the_timeout_ends_it(mode: str) -> None:
    namespaces = built(sticky(mode, WEB_1, WEB_2, WEB_3, seconds=2))
    first = picked(namespaces)
    for _ in range(2):
        time.sleep(1.2)
        assert picked(namespaces) == first
    for _ in range(3):  # that all clients draw the same again by chance: once in 6,561 times, each time
        time.sleep(2.2)
        if picked(namespaces) != first:
            return
    pytest.fail("every client went to the same endpoint after the timeout")


def picked_before_and_after(mode: str) -> tuple[dict[str, str], dict[str, str], str]:
    """Returns who answers each client before and after an endpoint went, and which one went."""
    rows = {"default/web-1": WEB_1, "default/web-2": WEB_2, "default/web-3": WEB_3}
    state = sticky(mode, *rows.values())
    applied = apply(plan_cluster(state), Applied(find_iptables(flavour())))
    applied.wait_until_up()
    servers(applied.namespaces).tell(state)
    first = picked(applied.namespaces)
    gone = first["office"]
    rest = sticky(mode, *(row for pod, row in rows.items() if pod != gone))
    apply(Plan(name="update", operations=tuple(plan_rules(rest, ProxyPlanner().rules(rest)))), applied)
    then = picked(applied.namespaces)
    assert picked(applied.namespaces) == then
    return first, then, gone


@pytest.mark.parametrize("mode", ALL_MODES)
@in_sandbox
def test_12_an_endpoint_that_is_gone_is_forgotten(mode: str) -> None:
    _, then, gone = picked_before_and_after(mode)
    assert gone not in then.values()


@in_sandbox
def test_12_clients_of_other_endpoints_keep_theirs() -> None:
    """Runs in iptables mode; nftables rules are loaded as a whole table, whose sets begin empty."""
    first, then, gone = picked_before_and_after("iptables")
    assert {client: pod for client, pod in then.items() if first[client] != gone} == {
        c: pod for c, pod in first.items() if pod != gone
    }


@pytest.mark.parametrize(
    "guarded", [True, False], ids=["dropped", "the control: without the guard they arrive"]
)
@in_sandbox
def test_9_new_packets_to_localhost_from_elsewhere_are_dropped(guarded: bool) -> None:
    """Runs in iptables mode, which alone serves node ports on localhost: it makes 127/8 routable for them."""
    namespaces = built(state_of(text=BASE + NODE_PORT, proxy_mode="iptables"))
    if not guarded:
        check_output(
            namespaces, "worker-1", [find_iptables("").removesuffix("-restore"), "-F", "KUBE-FIREWALL"]
        )
    inside = namespaces.call_in("worker-1", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    inside.bind(("127.0.0.1", 9999))
    inside.settimeout(0.3)
    frame = (
        Ether(src=mac_of_ip("172.18.0.4"), dst=mac_of_ip("172.18.0.3"))
        / IP(src="172.18.0.4", dst="127.0.0.1")
        / UDP(dport=9999)
        / b"hello"
    )
    neighbour = namespaces.call_in("worker-2", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    neighbour.bind(("eth0", 0))
    neighbour.send(bytes(frame))
    try:
        heard = inside.recv(100)
    except TimeoutError:
        heard = b""
    assert heard == (b"" if guarded else b"hello")
