"""Tests the notices about Service addresses and endpoints of a cluster in ipvs mode."""

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


@pytest.mark.parametrize(
    ("ip", "mode", "where"),
    [
        pytest.param("10.244.1.255", "ipvs", "worker-1", id="the broadcast address of a podCIDR"),
        pytest.param("172.18.255.255", "ipvs", "every node", id="the one of the nodes' network"),
        pytest.param("255.255.255.255", "ipvs", "every node", id="the limited broadcast"),
        pytest.param("10.244.1.254", "ipvs", "", id="one of a machine"),
        pytest.param("10.244.1.255", "iptables", "", id="iptables mode"),
    ],
)
def test_an_endpoint_that_the_kernel_does_not_take_is_named(ip: str, mode: str, where: str) -> None:
    config = f"{{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, mode: {mode}}}"
    end = (
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, ports: [{port: 80}], "
        "metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}, "
        f"endpoints: [{{addresses: [{ip}]}}]}}"
    )
    nodes = (node("worker-1", "172.18.0.3", cidr="10.244.1.0/24"), node("worker-2", "172.18.0.4"))
    notices = [text for text in told(settled(*nodes, config, service("web", PORT), end)) if "kernel" in text]
    assert [f"endpoint {ip}, a broadcast or multicast address on {where}:" in text for text in notices] == (
        [True] if where else []
    )
