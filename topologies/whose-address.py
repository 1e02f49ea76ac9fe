"""Whose address does an endpoint see, by which address of a Service and from where?

The only endpoint is on worker-1. Every kind of address that a Service has is dialled from every place that a
client can be in, under both traffic policies; nothing is said about what should come of it, so each mode of
kube-proxy is held to its own promises. docs/services.md is made from a run of this topology in each of them.

From outside, a ClusterIP and the addresses that are no node's are reached because the router has a route to
them through the node that is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podwire import Cluster

NEAR, FAR = "worker-1", "worker-2"  # the node with the endpoint, and one without
INSIDE = {
    "the endpoint itself": {"pod": "web"},
    "a Pod on the endpoint's node": {"pod": "near"},
    "a Pod on another node": {"pod": "far"},
    "the endpoint's node": {"node": NEAR},
    "another node": {"node": FAR},
}
OUTSIDE = {"outside, through the endpoint's node": NEAR, "outside, through another node": FAR}
HOME = {"the endpoint itself": NEAR, "a Pod on the endpoint's node": NEAR, "the endpoint's node": NEAR}


def _flows(to: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """``to`` from everywhere; of a node port (no ``node`` is said) each dials its own node's."""
    for name, client in INSIDE.items():
        own_node = {"node": HOME.get(name, FAR)} if "nodePort" in to else {}
        yield {"name": name, "from": client, "to": {**to, **own_node}}
    for name, node in OUTSIDE.items():
        if "nodePort" in to:
            yield {"name": name, "from": {"external": "client-1"}, "to": {**to, "node": node}}
        else:
            yield {"name": name, "from": {"external": "client-1"}, "to": to, "via": node}


def _service(cluster: Cluster, name: str, number: int, policies: Mapping[str, str]) -> None:
    spec = {
        "type": "LoadBalancer",
        "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080 + number}],
        "externalIPs": [f"192.0.2.{number}"],
        **policies,
    }
    status = {"loadBalancer": {"ingress": [{"ip": f"198.51.100.{number}"}]}}
    cluster.manifest(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec, "status": status}
    )


def build(cluster: Cluster) -> None:
    cluster.node(role="control-plane")
    for node in (NEAR, FAR):
        cluster.node(node)
    cluster.external_client("client-1", "203.0.113.10")
    cluster.pod("web", node=NEAR, ports={"http": 8080}, labels={"app": "web"})
    cluster.pod("near", node=NEAR)
    cluster.pod("far", node=FAR)
    _service(cluster, "cluster", 1, {})
    _service(cluster, "local", 2, {"externalTrafficPolicy": "Local"})
    _service(cluster, "inside", 3, {"internalTrafficPolicy": "Local"})

    cluster.flow_check("cluster-ip", list(_flows({"service": "cluster", "port": 80})))
    cluster.flow_check("cluster-ip-under-itp-local", list(_flows({"service": "inside", "port": 80})))
    for policy, number in (("cluster", 1), ("local", 2)):
        cluster.flow_check(f"node-port-under-etp-{policy}", list(_flows({"nodePort": 30080 + number})))
        cluster.flow_check(
            f"external-ip-under-etp-{policy}", list(_flows({"ip": f"192.0.2.{number}", "port": 80}))
        )
        cluster.flow_check(
            f"load-balancer-under-etp-{policy}", list(_flows({"loadBalancer": policy, "port": 80}))
        )
        localhost = [
            {"name": name, "from": INSIDE[name], "to": {"ip": "127.0.0.1", "port": 30080 + number}}
            for name in ("the endpoint's node", "another node")
        ]
        cluster.flow_check(f"node-port-at-localhost-under-etp-{policy}", localhost)
