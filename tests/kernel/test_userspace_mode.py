"""Tests kube-proxy's userspace mode with packets: every sentence of docs/semantics 15, each row or test named
after its sentence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from emulator.cluster.scenario import Scenario
from emulator.run.run import Options, run_cluster
from tests.kernel.sentences import (
    DRAINING,
    HINTED,
    NODE_PORT,
    NOT_READY,
    WEB_1,
    WEB_1_AT,
    WEB_2,
    WEB_2_AT,
    Row,
    Section,
    closed,
    endpoints,
    external,
    observed,
    proxy,
    service,
    unreachable,
    web,
)
from tests.kernel.test_semantics_by_hand import AFFINITY
from tests.sandboxed import SHIPPED, host_state, podwire, state_of

pytestmark = pytest.mark.kernel

ACCEPTED_THEN_CLOSED = "accepted, then closed without an answer"
DNS = service("dns", "type: NodePort, ports: [{port: 53, protocol: UDP, nodePort: 30053}]")


def let_in(sentence: str, client: str, to: str, via: str = "") -> Row:
    return Row(sentence, client, to, outcome="rejected", via=via, evidence=ACCEPTED_THEN_CLOSED)


SECTIONS = (
    Section(
        "15 seen from the node",
        web("externalTrafficPolicy: Local, internalTrafficPolicy: Local", WEB_1, WEB_2)
        + DNS
        + endpoints("dns", WEB_1, WEB_2, ports="{port: 8080, protocol: UDP}"),
        (
            Row("ClusterIP from a Pod", "near", "{service: web, port: 80}", "web-1 web-2", "worker-1"),
            Row("ClusterIP from the node", "worker-2", "{service: web, port: 80}", "web-1 web-2", "worker-2"),
            Row(
                "ClusterIP from outside",
                "office",
                "{service: web, port: 80}",
                "web-1 web-2",
                "worker-1",
                via="worker-1",
            ),
            Row(
                "ClusterIP from an endpoint itself",
                "web-1",
                "{service: web, port: 80}",
                "web-1 web-2",
                "worker-1",
            ),
            Row(
                "ClusterIP, UDP",
                "near",
                "{service: dns, port: 53}",
                "web-1 web-2",
                "worker-1",
                protocol="UDP",
            ),
            Row(
                "ClusterIP from the node, UDP",
                "worker-1",
                "{service: dns, port: 53}",
                "web-1 web-2",
                "worker-1",
                protocol="UDP",
            ),
            Row(
                "NodePort from outside, UDP",
                "office",
                "{node: worker-1, nodePort: 30053}",
                "web-1 web-2",
                "worker-1",
                protocol="UDP",
            ),
            Row(
                "NodePort from a Pod elsewhere, UDP",
                "far",
                "{node: worker-1, nodePort: 30053}",
                "web-1 web-2",
                "worker-1",
                protocol="UDP",
            ),
            Row(
                "NodePort from a Pod there, UDP",
                "near",
                "{node: worker-1, nodePort: 30053}",
                "web-1 web-2",
                "worker-1",
                protocol="UDP",
            ),
            Row(
                "NodePort from a Pod", "away", "{node: worker-2, nodePort: 30080}", "web-1 web-2", "worker-2"
            ),
            Row(
                "NodePort from the node",
                "worker-1",
                "{node: worker-1, nodePort: 30080}",
                "web-1 web-2",
                "worker-1",
            ),
            Row(
                "load-balancer IP from a Pod",
                "away",
                "{loadBalancer: web, port: 80}",
                "web-1 web-2",
                "control-plane",
            ),
            Row(
                "load-balancer IP from the node",
                "worker-2",
                "{loadBalancer: web, port: 80}",
                "web-1 web-2",
                "worker-2",
            ),
            *external("from outside", "office", "worker-2", "web-1 web-2", "worker-2"),
            *external(
                "from outside, where no endpoint is",
                "office",
                "control-plane",
                "web-1 web-2",
                "control-plane",
            ),
        ),
    ),
    Section(
        "15 every ready endpoint",
        web(
            "loadBalancerSourceRanges: [203.0.113.0/24], healthCheckNodePort: 32123, "
            "externalTrafficPolicy: Local",
            WEB_1,
        )
        + service("hinted", "ports: [{port: 80}]")
        + endpoints(
            "hinted",
            HINTED % (WEB_1_AT, "forZones: [{name: a}]"),
            HINTED % (WEB_2_AT, "forZones: [{name: b}]"),
        )
        + service("draining", "ports: [{port: 80}]")
        + endpoints("draining", DRAINING % WEB_1_AT)
        + service("behind", "type: LoadBalancer, ports: [{port: 80}]", "{ip: 192.0.2.12, ipMode: Proxy}")
        + endpoints("behind", WEB_2),
        (
            Row("hints narrow nothing", "near", "{service: hinted, port: 80}", "web-1 web-2", "worker-1"),
            let_in(
                "what is terminating is not used, even if nothing else is there",
                "near",
                "{service: draining, port: 80}",
            ),
            Row(
                "source ranges keep nobody out",
                "stranger",
                "{loadBalancer: web, port: 80}",
                "web-1",
                "worker-2",
                via="worker-2",
            ),
            Row("nor Pods", "near", "{loadBalancer: web, port: 80}", "web-1", "worker-1"),
            Row("ipMode Proxy is not known", "near", "{ip: 192.0.2.12, port: 80}", "web-2", "worker-1"),
            closed("no healthCheckNodePort answers", "office", "{ip: 172.18.0.3, port: 32123}"),
        ),
    ),
    Section(
        "15 whatever the settings",
        proxy(
            'clusterCIDR: ""\nnodePortAddresses: [192.0.2.0/24]\niptables: {masqueradeAll: false, '
            "localhostNodePorts: false}"
        )
        + NODE_PORT
        + DNS
        + endpoints("dns", WEB_1, ports="{port: 8080, protocol: UDP}"),
        (
            Row("no local-traffic detector", "near", "{service: web, port: 80}", "web-1", "worker-1"),
            Row(
                "node ports at every local address: eth0",
                "office",
                "{node: worker-2, nodePort: 30080}",
                "web-1",
                "worker-2",
            ),
            Row(
                "node ports at every local address: the bridge",
                "near",
                "{ip: 10.244.1.1, port: 30080}",
                "web-1",
                "worker-1",
            ),
            Row(
                "node ports at every local address: localhost",
                "worker-2",
                "{ip: 127.0.0.1, port: 30080}",
                "web-1",
                "worker-2",
            ),
            Row(
                "UDP of a node to its bridge's address is not answered",
                "worker-1",
                "{ip: 10.244.1.1, port: 30053}",
                outcome="dropped",
                protocol="UDP",
            ),
            Row(
                "UDP at localhost is not answered",
                "worker-1",
                "{ip: 127.0.0.1, port: 30053}",
                outcome="dropped",
                protocol="UDP",
            ),
        ),
    ),
    Section(
        "15 no endpoint",
        web("", NOT_READY % WEB_1_AT)
        + DNS
        + service("mixed", "ports: [{port: 80}]")
        + endpoints("mixed", "{addresses: [10.244.1.99]}", WEB_2)
        + service("dead", "ports: [{port: 81}]")
        + endpoints("dead", "{addresses: [172.18.0.4]}", ports="{port: 9999}"),
        (
            let_in("a Pod is let in, then closed on", "near", "{service: web, port: 80}"),
            let_in("so is the node", "worker-1", "{service: web, port: 80}"),
            let_in("so is who comes from outside", "office", "{node: worker-2, nodePort: 30080}"),
            let_in(
                "a load-balancer address is no exception for the node",
                "worker-1",
                "{loadBalancer: web, port: 80}",
            ),
            Row(
                "UDP is not answered",
                "near",
                "{service: dns, port: 53}",
                outcome="dropped",
                protocol="UDP",
                evidence="silence",
            ),
            Row(
                "UDP is not answered outside",
                "office",
                "{node: worker-1, nodePort: 30053}",
                outcome="dropped",
                protocol="UDP",
            ),
            let_in("endpoints that refuse are no endpoints", "far", "{service: dead, port: 81}"),
            Row(
                "an endpoint that is silent is passed over",
                "near",
                "{service: mixed, port: 80}",
                "web-2",
                "worker-1",
                attempts=2,
            ),
        ),
    ),
    Section(
        "15 externalIPs and SCTP",
        service("own", "externalIPs: [192.0.2.10, 10.244.1.1], ports: [{port: 80}]")
        + endpoints("own", WEB_2)
        + service(
            "s", "type: NodePort, clusterIP: 10.96.0.99, ports: [{port: 53, protocol: SCTP, nodePort: 30054}]"
        )
        + endpoints("s", WEB_1, ports="{port: 5303, protocol: SCTP}"),
        (
            Row(
                "an externalIP, from outside",
                "office",
                "{ip: 192.0.2.10, port: 80}",
                "web-2",
                "worker-1",
                via="worker-1",
            ),
            unreachable("not from a Pod", "near", "{ip: 192.0.2.10, port: 80}"),
            unreachable("not from the node", "worker-1", "{ip: 192.0.2.10, port: 80}"),
            Row(
                "but from a Pod if it is the node's own address",
                "near",
                "{ip: 10.244.1.1, port: 80}",
                "web-2",
                "worker-1",
            ),
            Row("or another node's", "far", "{ip: 10.244.1.1, port: 80}", "web-2", "worker-1"),
            Row(
                "and from the node if it is its own",
                "worker-1",
                "{ip: 10.244.1.1, port: 80}",
                "web-2",
                "worker-1",
            ),
            unreachable("SCTP to a ClusterIP is left alone", "near", "{service: s, port: 53}", "SCTP"),
            Row(
                "SCTP to a node port is left alone",
                "near",
                "{node: worker-1, nodePort: 30054}",
                outcome="rejected",
                protocol="SCTP",
            ),
            unreachable("a wrong port of a ClusterIP is left alone", "near", "{ip: 10.96.0.99, port: 81}"),
        ),
    ),
)


@pytest.mark.parametrize(
    ("section", "row"),
    [
        pytest.param(section, row, id=f"{section.name}: {row.sentence}")
        for section in SECTIONS
        for row in section.rows
    ],
)
def test_sentence(section: Section, row: Row) -> None:
    flow = observed(section, "userspace")[row.sentence]
    assert flow["observed"]["outcomes"].keys() == {row.outcome}, flow["journeys"][0]["evidence"]
    assert flow["observed"]["backends"].keys() == row.sources().keys()
    assert {(j["backend"], j["sourceSeen"]) for j in delivered(flow)} == set(row.sources().items())
    assert all(row.evidence in journey["evidence"] for journey in flow["journeys"])
    assert all("relayed" in [change["what"] for change in journey["changes"]] for journey in delivered(flow))
    assert flow["verdict"] == "pass", flow["reason"]


def delivered(flow: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [journey for journey in flow["journeys"] if journey["outcome"] == "delivered"]


def test_one_client_keeps_its_endpoint() -> None:
    """Checks docs/semantics 12 in this mode too."""
    flow = observed(AFFINITY, "userspace")["one client, one endpoint"]
    assert [*flow["observed"]["backends"].values()] == [20]
    assert flow["verdict"] == "pass", flow["reason"]


@pytest.mark.parametrize("target", SHIPPED)
def test_packets_do_what_the_objects_promise(target: str, tmp_path: Path) -> None:
    """Returns the flows of a topology without its FlowChecks and their steps, which may want what this mode
    does not grant.
    """
    path = tmp_path / "report.json"
    run_cluster(
        Scenario(state=state_of(target, proxy_mode="userspace")),
        Options(json=path, captures=tmp_path),
    )
    report = json.loads(path.read_text())
    assert [(flow["name"], flow["reason"]) for flow in report["flows"] if flow["verdict"] != "pass"] == []
    assert [r["reason"] for r in report["requirements"] if r["verdict"] == "fail"] == []
    relayed = [
        f
        for f in report["flows"]
        if any(c["what"] == "relayed" for journey in delivered(f) for c in journey["changes"])
    ]
    assert relayed
    for flow in relayed:
        assert all(b"relayed at " in path.read_bytes() for path in tmp_path.glob(f"*/{flow['captures'][0]}"))


def test_a_flow_check_that_wants_a_policy_kept_fails_and_says_what_is_promised() -> None:
    done = podwire("source-address", "--proxy-mode", "userspace", "--captures", "none", "-o", "json")
    assert done.returncode == 1, done.stderr
    wrong = [flow for flow in json.loads(done.stdout)["flows"] if flow["verdict"] != "pass"]
    assert {flow["check"] for flow in wrong} == {
        "local-keeps-them-or-drops-them",
        "clusterip-ignores-the-policy",
    }
    assert all("podwire doc semantics 15" in flow["expected"]["because"] for flow in wrong)


def test_a_relayed_request_is_shown_on_both_connections(tmp_path: Path) -> None:
    flow = observed(SECTIONS[0], "userspace")["ClusterIP from a Pod"]
    (there,) = [journey for journey in flow["journeys"] if journey["backend"] == "default/web-2:8080"]
    first, last = there["hops"][0], there["hops"][-1]
    (relay,) = [change for change in there["changes"] if change["what"] == "relayed"]
    assert relay["where"] == "worker-1"
    assert relay["before"].startswith(f"{first['src']} → 10.244.1.1:")
    assert relay["after"] == f"{last['src']} → {last['dst']}"
    assert last["src"].startswith("172.18.0.3:")
    back = [(hop["src"], hop["dst"]) for hop in there["replyHops"]]
    assert (back[0], back[-1]) == ((last["dst"], last["src"]), (first["dst"], first["src"]))
    times = [hop["time"] for hop in (*there["hops"], *there["replyHops"])]
    assert times == sorted(times)


def test_all_pairs_meet_the_servers_and_not_the_proxies() -> None:
    done = podwire(
        "--all-pairs", "three-networks", "--proxy-mode", "userspace", "--captures", "none", "-o", "json"
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    to_services = [flow for flow in json.loads(done.stdout)["flows"] if flow["kind"] == "pod-to-service"]
    assert to_services
    assert all(journey["backend"] for flow in to_services for journey in flow["journeys"])


def test_the_machine_is_left_as_it_was() -> None:
    before = host_state()
    assert podwire("three-networks", "--proxy-mode", "userspace", "--captures", "none").returncode == 0
    assert host_state() == before


def test_a_plan_says_that_a_process_has_to_listen() -> None:
    done = podwire("plan", "hairpin", "--proxy-mode", "userspace")
    assert done.returncode == 0, done.stderr
    reasons = [line for line in done.stdout.splitlines() if line.startswith("#") and "kube-proxy" in line]
    assert any("which podwire starts and a script cannot" in line for line in reasons)
    assert "-A KUBE-PORTALS-CONTAINER" in done.stdout


@pytest.mark.parametrize(("target", "code"), [("three-networks", 0), ("source-address", 1)])
def test_what_differs_from_other_modes_is_known(target: str, code: int) -> None:
    """Exits with 1 where a FlowCheck wants what this mode does not grant; that is no bug."""
    done = podwire(
        "diff", target, "--modes", "iptables,nftables,userspace", "--captures", "none", "-o", "json"
    )
    assert done.returncode == code, done.stderr
    flows = [flow for flow in json.loads(done.stdout)["flows"] if flow["status"] != "same"]
    assert {flow["status"] for flow in flows} == {"unwanted" if code else "known"}
    hidden = [
        flow
        for flow in flows
        if flow["modes"]["userspace"]["sources"] == ["node"] and "source" in flow["differs"]
    ]
    assert hidden
    assert all(15 in flow["sections"] for flow in hidden)
