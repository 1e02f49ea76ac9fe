"""Tests references of FlowChecks."""

from __future__ import annotations

import pytest

from emulator.controllers.settle import play
from tests.unit.controllers.clusters import (
    cluster,
    flow_check,
    inventory_of,
    pod,
    problem_of,
    service,
)

WORLD = (
    cluster("{role: control-plane}, {role: worker}, {role: worker}"),
    pod("client", "app: client"),
    pod("web-0", "app: web", "{containerPort: 8080, name: http}"),
    pod("sister", meta="namespace: other"),
    service(
        "web",
        "type: NodePort, selector: {app: web}, ports: [{name: http, port: 80, targetPort: http, "
        "nodePort: 30080}]",
    ),
    service("headless", "clusterIP: None, selector: {app: web}, ports: [{port: 8080}]"),
    service(
        "local",
        "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 32000, selector: {app: web},"
        " ports: [{port: 80, targetPort: 8080, nodePort: 30099}]",
    ),
    service(
        "lb",
        "type: LoadBalancer, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]",
        "loadBalancer: {ingress: [{ip: 198.51.100.7}]}",
    ),
)
CLIENT, WEB = "from: {pod: client}", "to: {service: web, port: 80}"


def flow(*parts: str) -> str:
    return flow_check(f"{{name: f, {', '.join(parts)}}}")


@pytest.mark.parametrize(
    "parts",
    [
        [CLIENT, WEB],
        [CLIENT, "to: {service: web, port: http}"],
        ["from: {podSelector: {app: client}}", "to: {podSelector: {app: web}, port: http}"],
        ["from: {node: worker-1}", "to: {pod: web-0, port: 8080}"],
        ["from: {external: client-1}", "to: {node: worker-1, nodePort: 30080}", "via: worker-2"],
        [CLIENT, "to: {node: control-plane, port: 6443}"],
        [CLIENT, "to: {node: worker-1, port: 30080}"],
        [CLIENT, "to: {node: worker-1, port: 32000}"],
        [CLIENT, "to: {node: worker-1, healthCheck: local}", "expect: {status: 503}"],
        [CLIENT, "to: {ip: 198.51.100.200, port: 1}"],
        [CLIENT, "to: {loadBalancer: lb, port: 80}"],
        [CLIENT, "to: {pod: web-0}", "protocol: ICMP", "expect: {backends: [10.244.1.2]}"],
        [CLIENT, "to: {service: web, port: 81}", "expect: {outcome: rejected}"],
        [CLIENT, "to: {pod: web-0, port: 81}", "expect: {outcome: rejected}"],
        [
            CLIENT,
            "to: {service: web, port: 81}",
            "expect: {modes: {nftables: {outcome: rejected}, iptables: {outcome: unreachable}}}",
        ],
        [CLIENT, "to: {node: worker-1, nodePort: 31000}", "expect: {outcome: dropped}"],
        [CLIENT, WEB, "expect: {backends: [default/web-0, 'default/web-0:8080', '10.244.1.7:8080']}"],
    ],
    ids=str,
)
def test_what_exists_may_be_named(parts: list[str]) -> None:
    assert len(play(inventory_of(*WORLD, flow(*parts))).flowChecks) == 1


@pytest.mark.parametrize(
    ("parts", "path", "words"),
    [
        (["from: {pod: cleint}", WEB], "from.pod", ["default/cleint", "client"]),
        (["from: {pod: sister}", WEB], "from.pod", ["default/sister", "namespace other"]),
        (["from: {podSelector: {app: nobody}}", WEB], "from.podSelector", ["app=nobody"]),
        (["from: {external: client-2}", WEB], "from.external", ["client-2", "client-1"]),
        (["from: {node: worker-9}", WEB], "from.node", ["worker-9", "worker-1"]),
        ([CLIENT, "to: {service: wep, port: 80}"], "to.service", ["default/wep", "web"]),
        ([CLIENT, "to: {service: web, port: 81}"], "to.port", ["81/TCP", "80/TCP (http)"]),
        ([CLIENT, "to: {service: web, port: 80}", "protocol: UDP"], "to.port", ["80/UDP"]),
        ([CLIENT, "to: {service: web, port: htpp}"], "to.port", ["named htpp", "http"]),
        (
            [CLIENT, "to: {service: web, port: htpp}", "expect: {outcome: rejected}"],
            "to.port",
            ["named htpp"],
        ),
        ([CLIENT, "to: {service: headless, port: 8080}"], "to.service", ["headless", "Pods"]),
        ([CLIENT, "to: {loadBalancer: web, port: 80}"], "to.loadBalancer", ["no load-balancer address"]),
        ([CLIENT, "to: {pod: web-1, port: 8080}"], "to.pod", ["default/web-1", "web-0"]),
        ([CLIENT, "to: {pod: web-0, port: 81}"], "to.port", ["81/TCP", "8080/TCP"]),
        ([CLIENT, "to: {pod: web-0, port: grpc}"], "to.port", ["named grpc"]),
        ([CLIENT, "to: {podSelector: {app: nope}, port: 1}"], "to.podSelector", ["app=nope"]),
        ([CLIENT, "to: {node: worker-1, nodePort: 30081}"], "to.nodePort", ["30081/TCP", "30080/TCP"]),
        ([CLIENT, "to: {node: worker-1, port: 6443}"], "to.port", ["worker-1", "6443/TCP"]),
        ([CLIENT, "to: {node: worker-9, healthCheck: local}"], "to.node", ["worker-9"]),
        ([CLIENT, "to: {node: worker-1, healthCheck: loca}"], "to.healthCheck", ["default/loca", "local"]),
        (
            [CLIENT, "to: {node: worker-1, healthCheck: lb}"],
            "to.healthCheck",
            ["default/lb has no healthCheckNodePort", "externalTrafficPolicy"],
        ),
        (
            [CLIENT, "to: {node: worker-1, nodePort: 32000}"],
            "to.nodePort",
            ["32000/TCP", "healthCheckNodePort of default/local", "port: 32000"],
        ),
        (["from: {external: client-1}", WEB, "via: worker-7"], "via", ["worker-7"]),
        (
            [CLIENT, WEB, "expect: {backends: [default/web-7]}"],
            "expect.backends[0]",
            ["default/web-7", "web-0"],
        ),
        (
            [CLIENT, WEB, "expect: {modes: {ipvs: {backends: [default/web-7]}}}"],
            "expect.modes.ipvs.backends[0]",
            ["default/web-7", "web-0"],
        ),
        ([CLIENT, WEB, "expect: {backends: ['10.244.1.2:http']}"], "expect.backends[0]", ["no backend"]),
        ([CLIENT, WEB, "expect: {backends: [10.244.1.2]}"], "expect.backends[0]", ["no backend"]),
        ([CLIENT, WEB, "expect: {backends: ['default/web-0:0']}"], "expect.backends[0]", ["no backend"]),
        ([CLIENT, WEB, "expect: {backends: ['web-0:8080']}"], "expect.backends[0]", ["no backend"]),
    ],
    ids=str,
)
def test_what_does_not_exist_is_a_problem(parts: list[str], path: str, words: list[str]) -> None:
    problem = problem_of(*WORLD, flow(*parts))
    assert problem.path == f"spec.flows[0].{path}"
    assert problem.document == len(WORLD) + 1
    assert all(word in problem.what + problem.hint for word in words)
