"""Tests docs/semantics.md with packets: every sentence of sections 1 to 10 and 14, each row named after its
sentence. Sentences beyond a flow are in test_semantics_by_hand.py.
"""

from __future__ import annotations

import pytest

from tests.kernel.sentences import (
    BALANCER,
    DRAINING,
    GONE,
    HEALTH,
    HINTED,
    MODES,
    NODE_PORT,
    NOT_READY,
    PORT_UNREACHABLE,
    WEB_1,
    WEB_1_AT,
    WEB_2,
    WEB_2_AT,
    WEB_3,
    WEB_3_AT,
    Row,
    Section,
    check_row,
    closed,
    dropped,
    endpoints,
    external,
    healthy,
    lists,
    observed,
    proxy,
    refused,
    service,
    unreachable,
    web,
)

pytestmark = pytest.mark.kernel

LOCAL_NODE_PORTS = service(
    "web",
    "type: NodePort, externalTrafficPolicy: Local,"
    " ports: [{name: http, port: 80, nodePort: 30080}, {name: dns, port: 53, nodePort: 30053, "
    "protocol: UDP}]",
) + endpoints("web", WEB_1, ports="{name: http, port: 8080}, {name: dns, port: 5302, protocol: UDP}")

UDP_NODE_PORT = "{node: worker-1, nodePort: 30053}"
UDP_LOCALHOST = "{ip: 127.0.0.1, port: 30053}"
SECTIONS = (
    Section(
        "1 captured",
        service(
            "web",
            "type: LoadBalancer, externalIPs: [192.0.2.10], ports: [{port: 80, targetPort: 1234, "
            "nodePort: 30080}]",
            "{ip: 192.0.2.11}",
        )
        + endpoints("web", WEB_1)
        + service(
            "apart",
            "type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30081}]",
            "{ip: 192.0.2.12, ipMode: Proxy}",
        )
        + endpoints("apart", WEB_1)
        + service(
            "three",
            "ports: [{name: a, port: 53}, {name: b, port: 53, protocol: UDP}, {name: c, port: 53, "
            "protocol: SCTP}]",
        )
        + endpoints(
            "three",
            WEB_1,
            ports="{name: a, port: 5301}, {name: b, port: 5302, protocol: UDP}, {name: c, port: 5303, "
            "protocol: SCTP}",
        )
        + service(
            "named", "ports: [{name: https, port: 80}, {name: http, port: 81}, {name: other, port: 82}]"
        )
        + endpoints("named", WEB_1, ports="{name: http, port: 8080}, {name: https, port: 8443}")
        + service("unnamed", "ports: [{port: 80}]")
        + endpoints("unnamed", WEB_2, ports='{name: "", port: 8443}')
        + service("headless", "clusterIP: None, externalIPs: [192.0.2.13], ports: [{port: 80}]")
        + endpoints("headless", WEB_1)
        + service(
            "elsewhere",
            "type: ExternalName, externalName: example.org, externalIPs: [192.0.2.14], ports: [{port: 80}]",
        )
        + service("others", "externalIPs: [192.0.2.15], ports: [{port: 80}]").replace(
            "name: others", "name: others, labels: {service.kubernetes.io/service-proxy-name: mesh}", 1
        )
        + endpoints("others", WEB_1),
        (
            Row("the ClusterIP and port", "near", "{service: web, port: 80}", "web-1", "own"),
            Row(
                "each externalIP and port",
                "office",
                "{ip: 192.0.2.10, port: 80}",
                "web-1",
                "worker-2",
                via="worker-2",
            ),
            Row(
                "each load-balancer address and port",
                "office",
                "{loadBalancer: web, port: 80}",
                "web-1",
                "worker-2",
                via="worker-2",
            ),
            Row(
                "unless its ipMode is Proxy: the balancer translates",
                "near",
                "{ip: 192.0.2.12, port: 80}",
                "web-1",
                BALANCER,
            ),
            Row(
                "nodePort on a node's address",
                "office",
                "{node: worker-2, nodePort: 30080}",
                "web-1",
                "worker-2",
            ),
            Row(
                "nodePort on every node",
                "office",
                "{node: control-plane, nodePort: 30080}",
                "web-1",
                "control-plane",
            ),
            Row("one number on TCP", "near", "{service: three, port: 53}", "web-1:5301", "own"),
            Row(
                "one number on UDP", "near", "{service: three, port: 53}", "web-1:5302", "own", protocol="UDP"
            ),
            Row(
                "one number on SCTP",
                "near",
                "{service: three, port: 53}",
                "web-1:5303",
                "own",
                protocol="SCTP",
            ),
            Row(
                "slice ports are matched by name",
                "near",
                "{service: named, port: https}",
                "web-1:8443",
                "own",
            ),
            Row("the backend port is the slice's", "near", "{service: named, port: http}", "web-1", "own"),
            refused("a name that no slice port has", "near", "{service: named, port: other}"),
            Row(
                "an unset name equals an empty one",
                "near",
                "{service: unnamed, port: 80}",
                "web-2:8443",
                "own",
            ),
            unreachable("headless Services are never proxied", "far", "{ip: 192.0.2.13, port: 80}"),
            unreachable("ExternalName Services are never proxied", "away", "{ip: 192.0.2.14, port: 80}"),
            unreachable(
                "a Service left to another proxy is never proxied", "near", "{ip: 192.0.2.15, port: 80}"
            ),
        ),
    ),
    Section(
        "2 endpoint lists",
        lists("ready", WEB_1, WEB_2, NOT_READY % WEB_3_AT)
        + lists("draining", DRAINING % WEB_1_AT, DRAINING % WEB_2_AT, GONE % WEB_3_AT)
        + lists("mixed", WEB_1, DRAINING % WEB_3_AT, WEB_2)
        + lists("gone", GONE % WEB_1_AT)
        + lists("unset", "{addresses: [10.244.1.11], nodeName: worker-1, conditions: {terminating: true}}")
        + lists(
            "unset-serving",
            "{addresses: [10.244.1.11], nodeName: worker-1, conditions: {ready: false, terminating: true}}",
        )
        + lists("nowhere", "{addresses: [10.244.1.11]}")
        + lists("twice", "{addresses: [10.244.1.11]}", WEB_1)
        + lists("draining-elsewhere", DRAINING % WEB_1_AT),
        (
            Row(
                "Cluster list: all ready endpoints",
                "near",
                "{service: ready, port: 80}",
                "web-1 web-2",
                "own",
            ),
            Row(
                "Cluster list: if none is ready, all serving and terminating",
                "near",
                "{service: draining, port: 80}",
                "web-1 web-2",
                "own",
            ),
            Row(
                "Local list: ready endpoints on this node",
                "near",
                "{service: ready-local, port: 80}",
                "web-1",
                "own",
            ),
            Row(
                "Local list: if none, the serving and terminating ones on this node",
                "far",
                "{service: draining-local, port: 80}",
                "web-2",
                "own",
            ),
            Row(
                "ready and terminating are never mixed in the Cluster list",
                "near",
                "{service: mixed, port: 80}",
                "web-1 web-2",
                "own",
            ),
            Row(
                "ready and terminating are never mixed in the Local list",
                "near",
                "{service: mixed-local, port: 80}",
                "web-1",
                "own",
            ),
            refused("terminating and not serving is never used", "near", "{service: gone, port: 80}"),
            refused(
                "terminating and not serving is never used locally", "near", "{service: gone-local, port: 80}"
            ),
            Row("unset ready means ready", "near", "{service: unset, port: 80}", "web-1", "own"),
            refused("unset serving means the same as ready", "near", "{service: unset-serving, port: 80}"),
            Row(
                "an endpoint without nodeName is in the Cluster list",
                "near",
                "{service: nowhere, port: 80}",
                "web-1",
                "own",
            ),
            dropped(
                "an endpoint without nodeName is remote to every node",
                "near",
                "{service: nowhere-local, port: 80}",
            ),
            Row(
                "an address that two entries have is local to the node of either",
                "near",
                "{service: twice-local, port: 80}",
                "web-1",
                "own",
            ),
            dropped("and remote to the others", "far", "{service: twice-local, port: 80}"),
            dropped(
                "a draining endpoint elsewhere counts as having endpoints",
                "far",
                "{service: draining-elsewhere-local, port: 80}",
            ),
        ),
    ),
    Section(
        "3 hints",
        lists(
            "zones",
            HINTED % (WEB_1_AT, "forZones: [{name: a}]"),
            HINTED % (WEB_2_AT, "forZones: [{name: b}]"),
        )
        + lists("partly", HINTED % (WEB_1_AT, "forZones: [{name: a}]"), WEB_2)
        + lists(
            "unready-unhinted",
            HINTED % (WEB_1_AT, "forZones: [{name: a}]"),
            HINTED % (WEB_2_AT, "forZones: [{name: b}]"),
            NOT_READY % WEB_3_AT,
        )
        + lists(
            "elsewhere",
            HINTED % (WEB_1_AT, "forZones: [{name: c}]"),
            HINTED % (WEB_2_AT, "forZones: [{name: c}]"),
        )
        + service("nodes", "trafficDistribution: PreferSameNode, ports: [{port: 80}]")
        + endpoints(
            "nodes",
            HINTED % (WEB_1_AT, "forZones: [{name: a}], forNodes: [{name: worker-1}]"),
            HINTED % (WEB_3_AT, "forZones: [{name: b}], forNodes: [{name: control-plane}]"),
        )
        + service("nodes-unsaid", "ports: [{port: 80}]")
        + endpoints(
            "nodes-unsaid",
            HINTED % (WEB_1_AT, "forNodes: [{name: worker-1}]"),
            HINTED % (WEB_2_AT, "forNodes: [{name: worker-2}]"),
        )
        + service("nodes-partly", "trafficDistribution: PreferSameNode, ports: [{port: 80}]")
        + endpoints(
            "nodes-partly",
            HINTED % (WEB_1_AT, "forZones: [{name: b}], forNodes: [{name: worker-1}]"),
            HINTED % (WEB_2_AT, "forZones: [{name: b}]"),
            HINTED % (WEB_3_AT, "forZones: [{name: a}]"),
        ),
        (
            Row("narrow the Cluster list to the zone", "near", "{service: zones, port: 80}", "web-1", "own"),
            Row("narrow it to each node's own zone", "far", "{service: zones, port: 80}", "web-2", "own"),
            Row("only if the node has a zone", "away", "{service: zones, port: 80}", "web-1 web-2", "own"),
            Row(
                "only if every ready endpoint carries one",
                "near",
                "{service: partly, port: 80}",
                "web-1 web-2",
                "own",
            ),
            Row(
                "endpoints that are not ready need none",
                "near",
                "{service: unready-unhinted, port: 80}",
                "web-1",
                "own",
            ),
            Row(
                "only if one is for this zone", "near", "{service: elsewhere, port: 80}", "web-1 web-2", "own"
            ),
            Row(
                "hints never narrow the Local list",
                "near",
                "{service: elsewhere-local, port: 80}",
                "web-1",
                "own",
            ),
            Row("PreferSameNode: node hints first", "near", "{service: nodes, port: 80}", "web-1", "own"),
            Row("PreferSameNode: then zone hints", "far", "{service: nodes, port: 80}", "web-3", "own"),
            Row(
                "node hints are the slice's to give, whatever the Service says",
                "near",
                "{service: nodes-unsaid, port: 80}",
                "web-1",
                "own",
            ),
            Row("node hints are all or nothing", "near", "{service: nodes-partly, port: 80}", "web-3", "own"),
        ),
    ),
    Section(
        "4 eTP Cluster",
        web("internalTrafficPolicy: Local", WEB_1, WEB_2),
        (
            Row(
                "ClusterIP under iTP Local: the Local list",
                "near",
                "{service: web, port: 80}",
                "web-1",
                "own",
            ),
            *external(
                "under eTP Cluster: the Cluster list, iTP is irrelevant",
                "office",
                "control-plane",
                "web-1 web-2",
                "control-plane",
            ),
        ),
    ),
    Section(
        "4 eTP Local",
        web("externalTrafficPolicy: Local", WEB_1, WEB_2, WEB_3)
        + service("plain", "externalIPs: [192.0.2.20], externalTrafficPolicy: Local, ports: [{port: 80}]")
        + endpoints("plain", WEB_1, WEB_2),
        (
            Row(
                "externalIP of a Service without node ports",
                "office",
                "{ip: 192.0.2.20, port: 80}",
                "web-2",
                "own",
                via="worker-2",
            ),
            dropped(
                "externalIP of a Service without node ports: no local endpoint",
                "office",
                "{ip: 192.0.2.20, port: 80}",
                "control-plane",
            ),
            Row(
                "ClusterIP: eTP is irrelevant", "near", "{service: web, port: 80}", "web-1 web-2 web-3", "own"
            ),
            *external("from outside: the Local list", "office", "worker-1", "web-1 web-3", "own"),
            *external("from a Pod: the Cluster list", "near", "worker-1", "web-1 web-2 web-3", "own"),
            *external(
                "from a Pod: even without a local endpoint",
                "away",
                "control-plane",
                "web-1 web-2 web-3",
                "own",
            ),
            *external(
                "from the node: the Cluster list", "worker-2", "worker-2", "web-1 web-2 web-3", "worker-2"
            ),
            *external(
                "from the node: even without a local endpoint",
                "control-plane",
                "control-plane",
                "web-1 web-2 web-3",
                "control-plane",
            ),
        ),
    ),
    Section(
        "5 ClusterIP and eTP Cluster",
        web("", WEB_1, WEB_2)
        + service("dns", "type: NodePort, ports: [{port: 53, protocol: UDP, nodePort: 30053}]")
        + endpoints("dns", WEB_1, WEB_2, ports="{port: 8080, protocol: UDP}"),
        (
            Row(
                "ClusterIP from a Pod, UDP: its own",
                "near",
                "{service: dns, port: 53}",
                "web-1 web-2",
                "own",
                protocol="UDP",
            ),
            Row(
                "ClusterIP from the node, UDP: masqueraded",
                "worker-1",
                "{service: dns, port: 53}",
                "web-1 web-2",
                "worker-1",
                protocol="UDP",
            ),
            Row(
                "NodePort from outside, UDP: masqueraded",
                "office",
                UDP_NODE_PORT,
                "web-1 web-2",
                "worker-1",
                protocol="UDP",
            ),
            Row(
                "NodePort from localhost, UDP",
                "worker-1",
                UDP_LOCALHOST,
                "web-1 web-2",
                "worker-1",
                protocol="UDP",
                mode="iptables",
            ),
            Row("ClusterIP from a Pod: its own", "near", "{service: web, port: 80}", "web-1 web-2", "own"),
            Row(
                "ClusterIP from the node: masqueraded",
                "worker-1",
                "{service: web, port: 80}",
                "web-1 web-2",
                "worker-1",
            ),
            Row(
                "ClusterIP from outside: masqueraded",
                "office",
                "{service: web, port: 80}",
                "web-1 web-2",
                "worker-1",
                via="worker-1",
            ),
            Row(
                "NodePort from localhost: masqueraded",
                "worker-1",
                "{ip: 127.0.0.1, port: 30080}",
                "web-1 web-2",
                "worker-1",
                mode="iptables",
            ),
            *external("from a Pod: masqueraded", "near", "worker-1", "web-1 web-2", "worker-1"),
            *external("from the node: masqueraded", "worker-1", "worker-1", "web-1 web-2", "worker-1"),
            *external("from outside: masqueraded", "office", "worker-1", "web-1 web-2", "worker-1"),
            Row(
                "hairpin: masqueraded",
                "web-1",
                "{service: web, port: 80}",
                "web-1 web-2",
                "worker-1 on hairpin",
            ),
        ),
    ),
    Section(
        "5 eTP Local",
        web("externalTrafficPolicy: Local", WEB_1, WEB_2),
        (
            Row(
                "NodePort from localhost: masqueraded",
                "worker-1",
                "{ip: 127.0.0.1, port: 30080}",
                "web-1 web-2",
                "worker-1",
                mode="iptables",
            ),
            *external("from a Pod: its own", "near", "worker-1", "web-1 web-2", "own"),
            *external("from the node: masqueraded", "worker-1", "worker-1", "web-1 web-2", "worker-1"),
            *external("from outside: its own", "office", "worker-1", "web-1", "own"),
            *external("hairpin: masqueraded", "web-1", "worker-1", "web-1 web-2", "worker-1 on hairpin"),
        ),
    ),
    Section(
        "5 masqueradeAll",
        proxy("iptables: {masqueradeAll: true}\nnftables: {masqueradeAll: true}")
        + web("externalTrafficPolicy: Local", WEB_1, WEB_2),
        (
            Row(
                "every ClusterIP connection is masqueraded",
                "near",
                "{service: web, port: 80}",
                "web-1 web-2",
                "worker-1",
            ),
            *external("does not change: from a Pod", "near", "worker-1", "web-1 web-2", "own"),
            *external("does not change: from outside", "office", "worker-1", "web-1", "own"),
        ),
    ),
    Section(
        "5 no local-traffic detector",
        proxy('clusterCIDR: ""') + web("externalTrafficPolicy: Local", WEB_1),
        (
            Row("ClusterIP from a Pod: its own", "far", "{service: web, port: 80}", "web-1", "own"),
            Row("ClusterIP from the node: its own", "worker-1", "{service: web, port: 80}", "web-1", "own"),
            Row(
                "ClusterIP from outside: its own",
                "office",
                "{service: web, port: 80}",
                "web-1",
                "own",
                via="worker-1",
            ),
            Row(
                "ClusterIP from outside, through a node without the endpoint",
                "office",
                "{service: web, port: 80}",
                "web-1",
                "own",
                via="worker-2",
                asymmetric=True,
            ),
            Row(
                "hairpin: masqueraded all the same",
                "web-1",
                "{service: web, port: 80}",
                "web-1",
                "worker-1 on hairpin",
            ),
            *external(
                "under eTP Local: Pods are outside clients", "away", "control-plane", outcome="dropped"
            ),
            *external(
                "under eTP Local: the node keeps its short cut",
                "control-plane",
                "control-plane",
                "web-1",
                "control-plane",
            ),
            Row(
                "under eTP Local: localhost keeps it",
                "worker-2",
                "{ip: 127.0.0.1, port: 30080}",
                "web-1",
                "worker-2",
                mode="iptables",
            ),
        ),
    ),
    *(
        Section(
            f"5 detectLocalMode {detector}",
            proxy(f"detectLocalMode: {detector}") + web("externalTrafficPolicy: Local", WEB_1, WEB_2),
            (
                Row(
                    "ClusterIP from a Pod: its own", "near", "{service: web, port: 80}", "web-1 web-2", "own"
                ),
                Row(
                    "ClusterIP from the node: masqueraded",
                    "worker-1",
                    "{service: web, port: 80}",
                    "web-1 web-2",
                    "worker-1",
                ),
                Row(
                    "ClusterIP from outside: masqueraded",
                    "office",
                    "{service: web, port: 80}",
                    "web-1 web-2",
                    "worker-1",
                    via="worker-1",
                ),
                *external(
                    "from a Pod: the Cluster list, its own", "away", "control-plane", "web-1 web-2", "own"
                ),
                *external("from outside: the Local list, its own", "office", "worker-2", "web-2", "own"),
            ),
        )
        for detector in ("NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")
    ),
    Section(
        "5 answers past the node",
        LOCAL_NODE_PORTS,
        (
            Row(
                "through the node with the endpoint there is a connection",
                "far",
                "{node: worker-1, nodePort: 30080}",
                "web-1",
                "own",
            ),
            Row(
                "to a Pod beside the endpoint",
                "near",
                "{node: worker-2, nodePort: 30080}",
                "web-1",
                "own",
                asymmetric=True,
            ),
            Row(
                "to a Pod elsewhere",
                "far",
                "{node: control-plane, nodePort: 30080}",
                "web-1",
                "own",
                mode="nftables",
                asymmetric=True,
            ),
            Row(
                "to a Pod elsewhere, UDP",
                "far",
                "{node: control-plane, nodePort: 30053}",
                "web-1:5302",
                "own",
                protocol="UDP",
                asymmetric=True,
            ),
            dropped(
                "iptables: dropped before a Pod elsewhere",
                "far",
                "{node: control-plane, nodePort: 30080}",
                mode="iptables",
            ),
        ),
    ),
    Section(
        "5 nodes in clusterCIDR",
        proxy("clusterCIDR: 172.18.0.0/16") + LOCAL_NODE_PORTS,
        (
            dropped(
                "a node that meets its own endpoint: dropped", "worker-1", "{node: worker-2, nodePort: 30080}"
            ),
            Row(
                "a node that meets another one's",
                "control-plane",
                "{node: worker-2, nodePort: 30080}",
                "web-1",
                "own",
                asymmetric=True,
            ),
        ),
    ),
    Section(
        "6 source ranges",
        service(
            "shop",
            'type: LoadBalancer, loadBalancerSourceRanges: [" 203.0.113.0/24 ", "172.18.0.0/16"], '
            "ports: [{port: 80, nodePort: 30080}]",
            "{ip: 192.0.2.61}",
            "{ip: 192.0.2.62}",
        )
        + endpoints("shop", WEB_1)
        + service(
            "club",
            "type: LoadBalancer, externalTrafficPolicy: Local, loadBalancerSourceRanges: "
            "[203.0.113.0/24], ports: [{port: 81, nodePort: 30081}]",
            "{ip: 192.0.2.63}",
            "{ip: 192.0.2.62}",
        )
        + endpoints("club", WEB_1)
        + service(
            "dual",
            "type: LoadBalancer, externalIPs: [192.0.2.64], loadBalancerSourceRanges: "
            "[203.0.113.0/24], ports: [{port: 82, nodePort: 30082}]",
            "{ip: 192.0.2.64}",
        )
        + endpoints("dual", WEB_1),
        (
            Row(
                "a source inside passes; blanks are tolerated",
                "office",
                "{loadBalancer: shop, port: 80}",
                "web-1",
                "worker-2",
                via="worker-2",
            ),
            dropped("a source outside is dropped", "stranger", "{loadBalancer: shop, port: 80}", "worker-2"),
            dropped("Pods included", "near", "{loadBalancer: shop, port: 80}"),
            Row("a node inside passes", "worker-1", "{loadBalancer: shop, port: 80}", "web-1", "worker-1"),
            dropped("a node outside is dropped", "worker-1", "{loadBalancer: club, port: 81}"),
            Row(
                "NodePort is not subject to them",
                "stranger",
                "{node: worker-2, nodePort: 30080}",
                "web-1",
                "worker-2",
            ),
            Row("ClusterIP is not subject to them", "near", "{service: shop, port: 80}", "web-1", "own"),
            Row(
                "the Service's own address passes if the node does",
                "twin",
                "{ip: 192.0.2.61, port: 80}",
                "web-1",
                "worker-1",
                via="worker-1",
            ),
            dropped(
                "the Service's own address does not pass if the node does not",
                "twin",
                "{ip: 192.0.2.63, port: 81}",
                "worker-1",
            ),
            Row(
                "what passes is treated by eTP: kept",
                "office",
                "{loadBalancer: club, port: 81}",
                "web-1",
                "own",
                via="worker-1",
            ),
            dropped(
                "what passes is treated by eTP: no local endpoint",
                "office",
                "{loadBalancer: club, port: 81}",
                "worker-2",
            ),
            Row(
                "an address that is an externalIP too: a source outside, iptables",
                "stranger",
                "{loadBalancer: dual, port: 82}",
                "web-1",
                "worker-2",
                via="worker-2",
                mode="iptables",
            ),
            dropped(
                "an address that is an externalIP too: a source outside, nftables",
                "stranger",
                "{loadBalancer: dual, port: 82}",
                "worker-2",
                mode="nftables",
            ),
        ),
    ),
    *(
        Section(
            f"7 reject, eTP {policy}",
            web(
                f"externalTrafficPolicy: {policy}",
                NOT_READY % WEB_1_AT,
                ports="{name: w, port: 80, nodePort: 30080}, {name: u, port: 80, protocol: UDP}, {name: "
                "s, port: 80, protocol: SCTP}",
            )
            + service("no-slice", "ports: [{port: 80}]"),
            (
                refused("ClusterIP from a Pod", "near", "{service: web, port: 80}"),
                refused("ClusterIP from the node", "worker-1", "{service: web, port: 80}"),
                refused("ClusterIP from outside", "office", "{service: web, port: 80}", via="worker-1"),
                refused("ClusterIP, UDP", "near", "{service: web, port: 80}", protocol="UDP"),
                refused("ClusterIP, SCTP", "near", "{service: web, port: 80}", protocol="SCTP"),
                refused(
                    "load-balancer IP from outside, UDP",
                    "office",
                    "{loadBalancer: web, port: 80}",
                    via="worker-2",
                    protocol="UDP",
                ),
                refused("no slice is no endpoint", "near", "{service: no-slice, port: 80}"),
                *external("from a Pod", "near", "worker-1", outcome="rejected", evidence=PORT_UNREACHABLE),
                refused("NodePort from the node", "worker-1", "{node: worker-1, nodePort: 30080}"),
                unreachable(
                    "externalIP from the node: left alone",
                    "worker-1",
                    "{ip: 192.0.2.10, port: 80}",
                    mode="iptables",
                ),
                unreachable(
                    "load-balancer IP from the node: left alone",
                    "worker-2",
                    "{loadBalancer: web, port: 80}",
                    mode="iptables",
                ),
                refused(
                    "externalIP from the node", "worker-1", "{ip: 192.0.2.10, port: 80}", mode="nftables"
                ),
                refused(
                    "load-balancer IP from the node",
                    "worker-2",
                    "{loadBalancer: web, port: 80}",
                    mode="nftables",
                ),
                *external(
                    "from outside", "office", "worker-1", outcome="rejected", evidence=PORT_UNREACHABLE
                ),
            ),
        )
        for policy in ("Cluster", "Local")
    ),
    Section(
        "7 drop",
        web("internalTrafficPolicy: Local, externalTrafficPolicy: Local", WEB_1),
        (
            dropped("ClusterIP under iTP Local: a Pod", "far", "{service: web, port: 80}"),
            dropped("ClusterIP under iTP Local: a node", "worker-2", "{service: web, port: 80}"),
            dropped("ClusterIP under iTP Local: outside", "office", "{service: web, port: 80}", "worker-2"),
            *external("under eTP Local: outside is dropped", "office", "worker-2", outcome="dropped"),
            *external("under eTP Local: Pods are not", "far", "worker-2", "web-1", "own"),
            *external("under eTP Local: the node is not", "worker-2", "worker-2", "web-1", "worker-2"),
        ),
    ),
    Section(
        "8 nothing matches",
        web("clusterIP: 10.96.0.99", WEB_1),
        (
            unreachable(
                "iptables: a wrong port of a ClusterIP is left alone",
                "near",
                "{ip: 10.96.0.99, port: 81}",
                mode="iptables",
            ),
            unreachable(
                "iptables: a wrong protocol of a ClusterIP is left alone",
                "far",
                "{ip: 10.96.0.99, port: 80}",
                "UDP",
                mode="iptables",
            ),
            unreachable(
                "iptables: a ClusterIP that nobody has is left alone",
                "away",
                "{ip: 10.96.200.1, port: 80}",
                mode="iptables",
            ),
            refused(
                "nftables: a wrong port of a ClusterIP is rejected",
                "near",
                "{ip: 10.96.0.99, port: 81}",
                mode="nftables",
            ),
            refused(
                "nftables: from outside too",
                "office",
                "{ip: 10.96.0.99, port: 81}",
                via="worker-2",
                mode="nftables",
            ),
            refused(
                "nftables: a wrong protocol of a ClusterIP is rejected",
                "far",
                "{ip: 10.96.0.99, port: 80}",
                protocol="UDP",
                mode="nftables",
            ),
            dropped(
                "nftables: a ClusterIP that nobody has is dropped",
                "away",
                "{ip: 10.96.200.1, port: 80}",
                mode="nftables",
            ),
            closed("a wrong port of a node", "far", "{ip: 172.18.0.3, port: 30099}"),
            unreachable(
                "a wrong port of a load-balancer address is left alone",
                "worker-1",
                "{ip: 192.0.2.11, port: 81}",
            ),
        ),
    ),
    Section(
        "9 by default",
        NODE_PORT,
        (
            Row(
                "every local address: eth0", "near", "{node: worker-1, nodePort: 30080}", "web-1", "worker-1"
            ),
            Row(
                "every local address: the bridge",
                "near",
                "{ip: 10.244.1.1, port: 30080}",
                "web-1",
                "worker-1",
            ),
            Row("localhost, masqueraded", "worker-2", "{ip: 127.0.0.1, port: 30080}", "web-1", "worker-2"),
        ),
        mode="iptables",
    ),
    Section(
        "9 nodePortAddresses without loopback",
        proxy("nodePortAddresses: [172.18.0.0/16]") + NODE_PORT,
        (
            Row("inside", "office", "{node: worker-2, nodePort: 30080}", "web-1", "worker-2"),
            closed("outside", "near", "{ip: 10.244.1.1, port: 30080}"),
            closed("loopback excluded", "worker-1", "{ip: 127.0.0.1, port: 30080}"),
        ),
        mode="iptables",
    ),
    Section(
        "9 nodePortAddresses with loopback",
        proxy("nodePortAddresses: [127.0.0.0/8, 10.244.0.0/16]") + NODE_PORT,
        (
            Row("inside", "near", "{ip: 10.244.1.1, port: 30080}", "web-1", "worker-1"),
            closed("outside", "office", "{node: worker-2, nodePort: 30080}"),
            Row("loopback included", "worker-1", "{ip: 127.0.0.1, port: 30080}", "web-1", "worker-1"),
        ),
        mode="iptables",
    ),
    Section(
        "9 without localhostNodePorts",
        proxy("iptables: {localhostNodePorts: false}") + NODE_PORT,
        (
            Row("every other local address", "near", "{ip: 10.244.1.1, port: 30080}", "web-1", "worker-1"),
            closed("not localhost", "worker-1", "{ip: 127.0.0.1, port: 30080}"),
        ),
        mode="iptables",
    ),
    Section(
        "9 nodePortAddresses in nftables mode",
        proxy("nodePortAddresses: [127.0.0.0/8, 10.244.0.0/16]") + NODE_PORT,
        (
            Row("inside", "near", "{ip: 10.244.1.1, port: 30080}", "web-1", "worker-1"),
            closed("outside", "office", "{node: worker-2, nodePort: 30080}"),
            closed("never localhost", "worker-1", "{ip: 127.0.0.1, port: 30080}"),
        ),
        mode="nftables",
    ),
    Section(
        "9 in nftables mode",
        NODE_PORT,
        (
            Row(
                "the node's primary address", "near", "{node: worker-1, nodePort: 30080}", "web-1", "worker-1"
            ),
            closed("no other local address", "near", "{ip: 10.244.1.1, port: 30080}"),
            closed("never localhost", "worker-1", "{ip: 127.0.0.1, port: 30080}"),
        ),
        mode="nftables",
    ),
    Section(
        "10 health check",
        HEALTH,
        (
            healthy("200 and the count of ready local endpoints", "office", "worker-1", 200, 2),
            healthy("503 when there are none", "office", "worker-2", 503, 0),
            healthy("503 when there are none, to a Pod", "near", "worker-2", 503, 0),
            healthy("503 when there are none, to another node", "worker-1", "control-plane", 503, 0),
            healthy("200 and the count, to a Pod of another node", "far", "worker-1", 200, 2),
            healthy("200 and the count, to the node itself", "worker-1", "worker-1", 200, 2),
        ),
    ),
    Section(
        "10 health check of what drains",
        web("externalTrafficPolicy: Local, healthCheckNodePort: 32123", DRAINING % WEB_1_AT),
        (
            healthy("503, though it is served", "office", "worker-1", 503, 0),
            Row("it is served", "office", "{node: worker-1, nodePort: 30080}", "web-1", "own"),
        ),
    ),
    Section(
        "10 health check, nodePortAddresses",
        proxy("nodePortAddresses: [192.0.2.0/24]") + HEALTH,
        (
            healthy("open whatever they say: 200", "office", "worker-1", 200, 2),
            healthy("open whatever they say: 503", "far", "worker-2", 503, 0),
            closed("the node port is not", "office", "{node: worker-1, nodePort: 30080}"),
        ),
    ),
    Section(
        "14 load balancers",
        service("given", "type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]")
        + endpoints("given", WEB_2)
        + service("asks", "type: LoadBalancer, loadBalancerIP: 172.18.255.222, ports: [{port: 80}]")
        + endpoints("asks", WEB_1)
        + service("empty", "type: LoadBalancer, ports: [{port: 80}]")
        + endpoints("empty")
        + service(
            "balanced",
            "type: LoadBalancer, externalTrafficPolicy: Local, loadBalancerSourceRanges: "
            "[203.0.113.0/24, 172.18.0.0/16], ports: [{port: 80}]",
            "{ip: 192.0.2.90, ipMode: Proxy}",
        )
        + endpoints("balanced", WEB_1, WEB_2)
        + service(
            "near-by",
            "type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]",
            "{ip: 172.18.9.9, ipMode: Proxy}",
        )
        + endpoints("near-by", WEB_3, NOT_READY % WEB_2_AT)
        + service(
            "ill",
            "type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]",
            "{ip: 192.0.2.92, ipMode: Proxy}",
        )
        + endpoints("ill", NOT_READY % WEB_2_AT)
        + service(
            "without",
            "type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: [{port: 80}]",
            "{ip: 192.0.2.93, ipMode: Proxy}",
        )
        + endpoints("without", WEB_1)
        + service("serving", "type: LoadBalancer, loadBalancerIP: 172.18.255.215, ports: [{port: 80}]")
        + endpoints("serving", f"{{{WEB_1_AT}, conditions: {{ready: false, serving: true}}}}"),
        (
            refused(
                "an endpoint that serves and is not ready: announced, and rejected",
                "office",
                "{loadBalancer: serving, port: 80}",
            ),
            refused("and so what another node sends there", "worker-1", "{loadBalancer: serving, port: 80}"),
            Row(
                "announced: outside comes to a node with an endpoint",
                "office",
                "{ip: 172.18.255.200, port: 80}",
                "web-2",
                "own",
            ),
            Row(
                "announced: a Pod needs no speaker", "near", "{loadBalancer: given, port: 80}", "web-2", "own"
            ),
            Row(
                "the address that was asked for", "far", "{ip: 172.18.255.222, port: 80}", "web-1", "worker-2"
            ),
            dropped("no endpoint: nobody announces it", "office", "{loadBalancer: empty, port: 80}"),
            refused("no endpoint: inside it is rejected", "near", "{loadBalancer: empty, port: 80}"),
            Row(
                "the balancer hides clients outside",
                "office",
                "{loadBalancer: balanced, port: 80}",
                "web-1 web-2",
                BALANCER,
            ),
            Row("Pods too", "away", "{loadBalancer: balanced, port: 80}", "web-1 web-2", BALANCER),
            Row("and nodes", "worker-1", "{loadBalancer: balanced, port: 80}", "web-1 web-2", BALANCER),
            dropped(
                "source ranges are the balancer's to keep", "stranger", "{loadBalancer: balanced, port: 80}"
            ),
            Row(
                "they do not bind the ClusterIP",
                "stranger",
                "{service: balanced, port: 80}",
                "web-1 web-2",
                "worker-1",
                via="worker-1",
            ),
            Row(
                "its address of the host network",
                "near",
                "{loadBalancer: near-by, port: 80}",
                "web-3",
                BALANCER,
            ),
            closed("a port that it does not have", "office", "{ip: 192.0.2.90, port: 81}"),
            closed("no node is healthy", "office", "{loadBalancer: ill, port: 80}"),
            closed("no node ports", "office", "{loadBalancer: without, port: 80}"),
        ),
    ),
)


@pytest.mark.parametrize(
    ("section", "row", "mode"),
    [
        pytest.param(section, row, mode, id=f"{mode}, {section.name}: {row.sentence}")
        for mode in MODES
        for section in SECTIONS
        for row in section.rows_of(mode)
    ],
)
def test_sentence(section: Section, row: Row, mode: str) -> None:
    check_row(section, row, mode)


NO_ROUTE = Section(
    "no route",
    "",
    tuple(unreachable(f"{n}", "near", f"{{ip: 192.0.2.{n}, port: 80}}") for n in range(100, 112)),
)


def test_every_packet_without_a_route_is_refused() -> None:
    """Refuses more than five in a row: a kernel that has no route answers one sender five times
    (net/ipv4/route.c: ip_error), the router without a limit.
    """
    flows = observed(NO_ROUTE, "iptables").values()
    assert {flow["observed"]["outcome"] for flow in flows} == {"unreachable"}
    assert {journey["evidence"] for flow in flows for journey in flow["journeys"]} == {
        "ICMP network unreachable from 172.18.0.1"
    }
    assert {flow["verdict"] for flow in flows} == {"pass"}
