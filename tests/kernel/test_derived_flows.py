"""Tests with packets the flows that are derived for a cluster without a FlowCheck: every address of Services
of many shapes, by every kind of client.
"""

from __future__ import annotations

import json

import pytest

from tests.sandboxed import podwire

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

CLUSTER = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [{role: control-plane}, {role: worker}, {role: worker}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: worker-1, containers: [{name: web, ports: [{containerPort: 8080}, {containerPort: 53, \
protocol: UDP}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: worker-2, containers: [{name: client}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  selector: {app: web}
  externalIPs: [192.0.2.50, 192.0.2.51, 172.18.0.3]
  loadBalancerSourceRanges: [198.51.100.0/24, 10.0.0.0/8]
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}, {name: dns, port: 53, protocol: UDP, \
nodePort: 30053}]
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec: {type: LoadBalancer, selector: {app: web}, externalTrafficPolicy: Local, \
internalTrafficPolicy: Local, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  type: LoadBalancer
  selector: {app: nobody}
  externalTrafficPolicy: Local
  externalIPs: [192.0.2.52, 172.18.0.2]
  ports: [{name: http, port: 81, nodePort: 30081}, {name: dns, port: 54, protocol: UDP, nodePort: 30054}]
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
"""


@pytest.mark.parametrize(
    "settings", ["mode: iptables", 'clusterCIDR: ""', "mode: nftables", "mode: userspace"]
)
def test_every_address_by_every_kind_of_client(settings: str) -> None:
    done = podwire("-", "-o", "json", "--captures", "none", stdin=CLUSTER + settings)
    report = json.loads(done.stdout)
    assert [(f["name"], f["reason"]) for f in report["flows"] if f["verdict"] != "pass"] == []
    assert done.returncode == 0, done.stderr
    clients = {f["name"].partition(" → ")[0] for f in report["flows"] if not f["control"]}
    assert clients >= {
        "external client-1",
        "external client-2",
        "pod default/web",
        "pod default/client",
        "node worker-1",
        "node control-plane",
    }
