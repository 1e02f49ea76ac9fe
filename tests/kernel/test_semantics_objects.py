"""Tests docs/semantics.md with packets, from the objects' side: Services that leave their endpoints to a
selector, and fields that the sections name in passing. Rows as in :mod:`tests.kernel.sentences`, on the same
nodes.
"""

from __future__ import annotations

import pytest

from tests.kernel.sentences import (
    DRAINING,
    WEB_1,
    WEB_1_AT,
    WEB_2,
    WEB_2_AT,
    WEB_3,
    Row,
    Section,
    check_row,
    dropped,
    endpoints,
    external,
    lists,
    proxy,
    refused,
    service,
    unreachable,
    web,
)

pytestmark = pytest.mark.kernel


def selected(name: str, node: str, ip: str, *, http: int = 8080, ready: bool = True) -> str:
    """Returns a Pod that Services find by ``app: shop``; its port ``http`` is where it says."""
    return f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: shop}}}}
spec: {{nodeName: {node}, containers: [{{name: server, ports: [{{name: http, containerPort: {http}}}, \
{{containerPort: 8080}}]}}]}}
status: {{podIP: {ip}, conditions: [{{type: Ready, status: "{ready}"}}]}}"""


SHOP = {
    "shop-1": ("worker-1", "10.244.1.31"),
    "shop-2": ("worker-2", "10.244.2.32"),
    "shop-3": ("worker-1", "10.244.1.33"),
}
UNREADY = f"{{{WEB_1_AT}, conditions: {{ready: false, serving: true}}}}"
SELECT = "selector: {app: shop}"
SECTIONS = (
    Section(
        "1 selectors",
        selected("shop-1", *SHOP["shop-1"])
        + selected("shop-2", *SHOP["shop-2"], http=8443)
        + selected("shop-3", *SHOP["shop-3"], ready=False)
        + service("shop", f"{SELECT}, ports: [{{port: 80, targetPort: 8080}}]")
        + service("named", f"{SELECT}, ports: [{{port: 80, targetPort: http}}]")
        + service(
            "published", f"{SELECT}, publishNotReadyAddresses: true, ports: [{{port: 80, targetPort: 8080}}]"
        )
        + service("headless", f"{SELECT}, clusterIP: None, ports: [{{port: 80, targetPort: 8080}}]")
        + service("nobody", "selector: {app: nobody}, ports: [{port: 80}]"),
        (
            Row(
                "a selector's ready Pods are the endpoints",
                "near",
                "{service: shop, port: 80}",
                "shop-1 shop-2",
                "own",
            ),
            Row(
                "a named port is each Pod's own number",
                "near",
                "{service: named, port: 80}",
                "shop-1 shop-2:8443",
                "own",
            ),
            Row(
                "publishNotReadyAddresses: those that are not ready too",
                "near",
                "{service: published, port: 80}",
                "shop-1 shop-2 shop-3",
                "own",
            ),
            refused("a selector that finds nobody: no endpoint", "near", "{service: nobody, port: 80}"),
            Row(
                "a headless Service leaves its Pods to be dialled themselves",
                "far",
                "{pod: shop-1, port: 8080}",
                "shop-1",
                "own",
            ),
        ),
    ),
    Section(
        "1 addresses",
        service(
            "web",
            "type: LoadBalancer, externalIPs: [192.0.2.10, 192.0.2.15], ports: [{name: a, port: "
            "80}, {name: b, port: 81}]",
            "{ip: 192.0.2.11}",
            "{ip: 192.0.2.12, ipMode: VIP}",
            "{hostname: lb.example.org}",
        )
        + endpoints("web", WEB_1, ports="{name: a, port: 8080}, {name: b, port: 8443}")
        + service("numbers", "ports: [{port: 80}]")
        + endpoints("numbers", WEB_1)
        + endpoints("numbers", WEB_2, ports="{port: 8443}").replace("numbers-1", "numbers-2"),
        (
            Row(
                "each externalIP: another one",
                "office",
                "{ip: 192.0.2.15, port: 80}",
                "web-1",
                "worker-2",
                via="worker-2",
            ),
            Row(
                "each port of an externalIP",
                "office",
                "{ip: 192.0.2.10, port: 81}",
                "web-1:8443",
                "worker-2",
                via="worker-2",
            ),
            Row(
                "ipMode VIP is what an unset one means",
                "office",
                "{ip: 192.0.2.12, port: 80}",
                "web-1",
                "worker-2",
                via="worker-2",
            ),
            Row(
                "slices of one Service may have numbers of their own",
                "near",
                "{service: numbers, port: 80}",
                "web-1 web-2:8443",
                "own",
            ),
        ),
    ),
    Section(
        "2 hints and draining",
        lists("draining", DRAINING % f"{WEB_1_AT}, hints: {{forZones: [{{name: b}}]}}", DRAINING % WEB_2_AT)
        + lists("serving", UNREADY, WEB_2),
        (
            Row(
                "draining endpoints are not narrowed by hints",
                "far",
                "{service: draining, port: 80}",
                "web-1 web-2",
                "own",
            ),
            Row(
                "serving without terminating is not usable",
                "near",
                "{service: serving, port: 80}",
                "web-2",
                "own",
            ),
            dropped(
                "serving without terminating is not usable locally",
                "near",
                "{service: serving-local, port: 80}",
            ),
        ),
    ),
    Section(
        "3 trafficDistribution",
        "".join(selected(name, *where) for name, where in SHOP.items())
        + "".join(
            service(name, f"{SELECT}, {field}ports: [{{port: 80, targetPort: 8080}}]")
            for name, field in (
                ("anywhere", ""),
                ("close", "trafficDistribution: PreferClose, "),
                ("same-zone", "trafficDistribution: PreferSameZone, "),
                ("same-node", "trafficDistribution: PreferSameNode, "),
            )
        ),
        (
            Row(
                "unset: all endpoints", "near", "{service: anywhere, port: 80}", "shop-1 shop-2 shop-3", "own"
            ),
            Row(
                "PreferClose: the endpoints of the node's zone",
                "near",
                "{service: close, port: 80}",
                "shop-1 shop-3",
                "own",
            ),
            Row(
                "PreferClose: all of them from a node without a zone",
                "away",
                "{service: close, port: 80}",
                "shop-1 shop-2 shop-3",
                "own",
            ),
            Row(
                "PreferSameZone: the endpoints of the node's zone",
                "far",
                "{service: same-zone, port: 80}",
                "shop-2",
                "own",
            ),
            Row(
                "PreferSameNode: the endpoints of the node",
                "near",
                "{service: same-node, port: 80}",
                "shop-1 shop-3",
                "own",
            ),
            Row(
                "PreferSameNode: all of them from a node without one",
                "away",
                "{service: same-node, port: 80}",
                "shop-1 shop-2 shop-3",
                "own",
            ),
        ),
    ),
    *(
        Section(
            f"5 detectLocalMode {detector}, Pods of other nodes",
            proxy(f"detectLocalMode: {detector}") + web("externalTrafficPolicy: Local", WEB_1, WEB_2),
            external(
                "a Pod of another node is an outside client", "near", "control-plane", outcome="dropped"
            )[:1],
        )
        for detector in ("NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")
    ),
    Section(
        "5 detectLocalMode ClusterCIDR, Pods of other nodes",
        proxy("detectLocalMode: ClusterCIDR\nclusterCIDR: 10.244.1.0/24")
        + web("externalTrafficPolicy: Local", WEB_1, WEB_2),
        (
            *external(
                "from a Pod inside clusterCIDR: the Cluster list, its own",
                "near",
                "worker-1",
                "web-1 web-2",
                "own",
            ),
            *external("from a Pod outside it: an outside client", "away", "control-plane", outcome="dropped"),
            Row(
                "ClusterIP from a Pod outside it: masqueraded",
                "away",
                "{service: web, port: 80}",
                "web-1 web-2",
                "control-plane",
            ),
        ),
    ),
    Section(
        "5 masqueradeAll, and others",
        proxy("iptables: {masqueradeAll: true}\nnftables: {masqueradeAll: true}\nclusterCIDR: ''")
        + web("", WEB_1, WEB_2),
        (
            Row(
                "save masqueradeAll: without a detector too",
                "near",
                "{service: web, port: 80}",
                "web-1 web-2",
                "worker-1",
            ),
            Row(
                "every ClusterIP connection: from outside",
                "office",
                "{service: web, port: 80}",
                "web-1 web-2",
                "worker-2",
                via="worker-2",
            ),
        ),
    ),
    Section(
        "8 a Service is gone",
        endpoints("gone", WEB_1),
        (
            unreachable(
                "iptables: its ClusterIP is left alone", "near", "{ip: 10.96.0.99, port: 80}", mode="iptables"
            ),
            dropped(
                "nftables: its ClusterIP is dropped", "near", "{ip: 10.96.0.99, port: 80}", mode="nftables"
            ),
        ),
    ),
    Section(
        "11 what is left behind",
        endpoints("ghost", WEB_3) + service("live", "ports: [{port: 80}]") + endpoints("live", WEB_3),
        (
            Row(
                "a deleted Service's slice does nothing to others",
                "near",
                "{service: live, port: 80}",
                "web-3",
                "own",
            ),
        ),
    ),
)


@pytest.mark.parametrize(
    ("section", "row", "mode"),
    [
        pytest.param(section, row, mode, id=f"{mode}, {section.name}: {row.sentence}")
        for mode in ("iptables", "nftables")
        for section in SECTIONS
        for row in section.rows_of(mode)
    ],
)
def test_object_sentence(section: Section, row: Row, mode: str) -> None:
    check_row(section, row, mode)
