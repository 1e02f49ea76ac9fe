"""Tests the notices about Service addresses of a cluster in ipvs mode."""

from __future__ import annotations

import pytest

from tests.told import told
from tests.unit.controllers.clusters import node, service, settled

WORKERS = (node("worker-1", "172.18.0.3"), node("worker-2", "172.18.0.4"))
PORT = "ports: [{port: 80}]"


def ingress(ip: str, more: str = "") -> str:
    return service("web", f"type: LoadBalancer, {PORT}", f"loadBalancer: {{ingress: [{{ip: {ip}{more}}}]}}")


@pytest.mark.parametrize(
    ("mode", "nodes", "web", "said"),
    [
        pytest.param(
            "ipvs", WORKERS, service("web", f"externalIPs: [172.18.0.4], {PORT}"), True, id="an externalIP"
        ),
        pytest.param("ipvs", WORKERS, ingress("172.18.0.4"), True, id="a load-balancer address"),
        pytest.param(
            "ipvs",
            WORKERS,
            ingress("172.18.0.4", ", ipMode: Proxy"),
            False,
            id="one that kube-proxy leaves alone",
        ),
        pytest.param(
            "ipvs", WORKERS, service("web", f"externalIPs: [172.18.0.5], {PORT}"), False, id="nobody's"
        ),
        pytest.param(
            "ipvs",
            WORKERS[1:],
            service("web", f"externalIPs: [172.18.0.4], {PORT}"),
            False,
            id="the only node's",
        ),
        pytest.param(
            "iptables",
            WORKERS,
            service("web", f"externalIPs: [172.18.0.4], {PORT}"),
            False,
            id="iptables mode",
        ),
    ],
)
def test_a_nodes_address_must_be_no_services(mode: str, nodes: tuple[str, ...], web: str, said: bool) -> None:
    config = (
        f"{{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, mode: {mode}, "
        f"ipvs: {{strictARP: true}}}}"
    )
    notices = told(settled(*nodes, config, web))
    warning = "Service default/web has 172.18.0.4, the address of worker-2: in ipvs mode"
    assert sum(notice.startswith(warning) for notice in notices) == said
