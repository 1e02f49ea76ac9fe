"""Tests that no field of any manifest reaches rule text, or the script that ``plan`` prints, unchecked:
either the loader refuses it, or the rules are those of the objects, in a form that reads back.
"""

from __future__ import annotations

import copy
import io
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState
from emulator.controllers.settle import every_problem, settle
from emulator.errors import InputError
from emulator.load.load import ReadingError, load
from emulator.objects.config import ClusterConfig, KubeProxyConfiguration
from emulator.objects.kinds import Endpoints, EndpointSlice, Node, Pod, Service, Workload
from emulator.plan.operations import LoadIpset, LoadRules, Operation
from emulator.plan.shell import render_shell
from emulator.schedule.planner import plan_cluster
from tests.told import told

Path_ = tuple[str | int, ...]

# Every field that podwire reads, said once: a test below sees that none is missing.
EVERYTHING = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
metadata: {name: all}
nodes:
- {role: control-plane, name: cp, roleTaint: true, podCIDR: 10.244.0.0/24, addresses: [172.18.0.2]}
- {role: worker, name: w1, labels: {topology.kubernetes.io/zone: a}, taints: [{key: k, value: v, \
effect: PreferNoSchedule}]}
networking: {ipFamily: ipv4, podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12, \
hostSubnet: 172.18.0.0/16, podNetwork: kubenet,
             kubeProxyMode: iptables}
externalClients: [{name: client-1, address: 203.0.113.10}]
externalServers: [{name: db, address: 192.0.2.10, ports: [{port: 5432, protocol: TCP}]}]
loadBalancer: {addresses: [172.18.255.200-172.18.255.250], mode: L2}
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: 10.244.0.0/16
detectLocalMode: ClusterCIDR
detectLocal: {bridgeInterface: cni0, interfaceNamePrefix: veth}
nodePortAddresses: [172.18.0.0/16]
iptables: {masqueradeAll: false, localhostNodePorts: true}
nftables: {masqueradeAll: true}
ipvs: {scheduler: rr, strictARP: true, tcpTimeout: 15m0s, tcpFinTimeout: 1.5h, udpTimeout: 0s}
---
apiVersion: v1
kind: Node
metadata: {name: w2, labels: {topology.kubernetes.io/zone: b}}
spec: {podCIDR: 10.244.5.0/24, podCIDRs: [10.244.5.0/24], unschedulable: false, taints: [{key: k, value: v, \
effect: PreferNoSchedule}]}
status: {addresses: [{type: InternalIP, address: 172.18.0.9}], allocatable: {pods: "110"}}
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: default
  uid: u
  labels: {app: web}
  annotations: {note: n}
  ownerReferences: [{kind: ReplicaSet, name: web, uid: u, controller: true}]
spec:
  nodeName: w1
  nodeSelector: {topology.kubernetes.io/zone: a}
  hostNetwork: false
  hostname: web
  subdomain: sub
  tolerations: [{key: k, operator: Equal, value: v, effect: NoExecute, tolerationSeconds: 300}]
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
        - matchExpressions: [{key: topology.kubernetes.io/zone, operator: In, values: [a]}]
          matchFields: [{key: metadata.name, operator: In, values: [w1]}]
      preferredDuringSchedulingIgnoredDuringExecution:
      - {weight: 1, preference: {matchExpressions: [{key: k, operator: Exists}]}}
    podAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 1
        podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}, \
namespaces: [default]}
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector: {matchLabels: {app: none}}
        namespaceSelector: {}
        matchLabelKeys: [app]
        mismatchLabelKeys: [note]
  topologySpreadConstraints:
  - {maxSkew: 5, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, \
labelSelector: {matchLabels: {app: web}}, minDomains: 1,
     nodeAffinityPolicy: Honor, nodeTaintsPolicy: Ignore, matchLabelKeys: [app]}
  initContainers: [{name: side, restartPolicy: Always, ports: [{containerPort: 9000}]}]
  containers:
  - name: web
    image: nginx
    command: [a]
    args: [b]
    workingDir: /
    env: [{name: A, value: b}, {name: B, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    ports: [{name: http, containerPort: 8080, protocol: TCP, hostPort: 80, hostIP: 0.0.0.0}]
status: {phase: Running, podIP: 10.244.1.5, podIPs: [{ip: 10.244.1.5}], hostIP: 172.18.0.3, \
conditions: [{type: Ready, status: "True", message: m}]}
---
apiVersion: v1
kind: Pod
metadata: {name: gated, namespace: default}
spec: {schedulingGates: [{name: example.org/quota}], containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {generateName: gone-, namespace: default, creationTimestamp: "2023-01-01T00:00:00Z", \
deletionTimestamp: "2024-01-01T00:00:00Z", \
labels: {app: web}}
spec: {containers: [{name: web}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: default}
spec:
  replicas: 1
  serviceName: db
  ordinals: {start: 0}
  ordinals: {start: 0}
  selector: {matchLabels: {app: db}, matchExpressions: [{key: app, operator: In, values: [db]}]}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, ports: [{name: sql, \
containerPort: 5432}]}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: default}
spec:
  parallelism: 2
  completions: 1
  completionMode: Indexed
  manualSelector: false
  suspend: false
  template: {spec: {restartPolicy: Never, containers: [{name: once}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default, labels: {app: web}, annotations: {note: n}}
spec:
  type: LoadBalancer
  selector: {app: web}
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10]
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  ports: [{name: http, port: 80, targetPort: http, protocol: TCP, nodePort: 30080, appProtocol: http}]
  externalIPs: [192.0.2.10]
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  externalTrafficPolicy: Local
  internalTrafficPolicy: Local
  loadBalancerSourceRanges: [203.0.113.0/24]
  loadBalancerClass: example.org/one
  loadBalancerIP: 192.0.2.11
  allocateLoadBalancerNodePorts: true
  healthCheckNodePort: 32000
  publishNotReadyAddresses: true
  trafficDistribution: PreferClose
status: {loadBalancer: {ingress: [{ip: 192.0.2.11, hostname: lb.example.org, ipMode: VIP}]}}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: default}
spec: {selector: {app: db}, ports: [{port: 5432, targetPort: sql}]}
---
apiVersion: v1
kind: Service
metadata: {name: given, namespace: default}
spec: {ports: [{name: p, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: named, namespace: default}
spec: {type: ExternalName, externalName: example.org}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: given-1, namespace: default, labels: {kubernetes.io/service-name: given}}
addressType: IPv4
endpoints:
- addresses: [10.244.1.5]
  conditions: {ready: true, serving: true, terminating: false}
  nodeName: w1
  zone: a
  hostname: web
  targetRef: {kind: Pod, namespace: default, name: web}
  hints: {forZones: [{name: a}], forNodes: [{name: w1}]}
ports: [{name: p, protocol: TCP, port: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: old, namespace: default}
spec: {ports: [{name: p, port: 82}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: old, namespace: default}
subsets:
- addresses: [{ip: 10.244.1.5, nodeName: w1, hostname: web, targetRef: {kind: Pod, namespace: default, \
name: web}}]
  notReadyAddresses: [{ip: 10.244.1.6, nodeName: w1}]
  ports: [{name: p, protocol: TCP, port: 8080}]
"""
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(EVERYTHING))
MARK = "zqzq"  # in no word of a rule


def words(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yields the way to every string of ``value``; to a mapping's key the way ends with the key and ""."""
    if isinstance(value, dict):
        for key, item in value.items():
            if path and path[-1] in ("labels", "annotations", "selector", "matchLabels", "nodeSelector"):
                yield (*path, key, "")
            yield from words(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from words(item, (*path, index))
    elif isinstance(value, str):
        yield path


WORDS = [path for path in words(DOCUMENTS) if path[1] not in ("apiVersion", "kind")]


def with_word(path: Path_, text: str) -> str:
    documents = copy.deepcopy(DOCUMENTS)
    inner: Any = documents
    *way, last = path[:-1] if path[-1] == "" else path
    for step in way:
        inner = inner[step]
    if path[-1] == "":
        inner[text] = inner.pop(last)
    else:
        inner[last] = text
    return "\n---\n".join(map(json.dumps, documents))


def settled(text: str, mode: Any) -> ClusterState:
    return settle(load(["-"], topologies=Path("no-topologies"), stdin=io.StringIO(text)), proxy_mode=mode)


# --- what rule text may look like --------------------------------------------------------------------------

_WORD = re.compile(r"[A-Za-z0-9_./:,=!+-]+")
_NFT_LINE = re.compile(r"[A-Za-z0-9_./:,;@!=|&^{}*\t -]+")
_COMMENT = re.compile(r'comment "[A-Za-z0-9 ;:./>_-]+"')


def check(operation: Operation) -> None:
    """Checks that the text of ``operation`` holds as many rules as its value, and that each of them reads as
    words.
    """
    if isinstance(operation, LoadRules) and operation.tool == "iptables-restore":
        lines = [line for line in operation.text.splitlines() if line.startswith("-A ")]
        assert len(lines) == sum(
            len(rules) for chains in operation.rules.tables.values() for rules in chains.values()
        )
        for line in operation.text.splitlines():
            spelled = shlex.split(line)
            comments = [word for before, word in pairwise(spelled) if before == "--comment"]
            assert all(_WORD.fullmatch(word) or word in comments or line[0] in "*:" for word in spelled), line
    elif isinstance(operation, LoadRules):
        for line in operation.text.splitlines():
            assert _NFT_LINE.fullmatch(_COMMENT.sub("", line)), line
        assert operation.rules.table
        rows = [row for chain in operation.rules.table.chains.values() for row in (chain.hook, *chain.rules)]
        rows += [element for s in operation.rules.table.sets.values() for element in s.elements.values()]
        assert not any("\n" in row for row in rows)
    elif isinstance(operation, LoadIpset):
        assert all(_WORD.fullmatch(word) for word in operation.text.split())


# --- the tests --------------------------------------------------------------------------------------------


def _spelled(type_: Any) -> Iterator[str]:
    """Yields the names of every field of ``type_``, and of what is in it."""
    if is_dataclass(type_):
        hints = get_type_hints(type_)
        for each in fields(type_):
            yield each.name
            yield from _spelled(hints[each.name])
    for inner in get_args(type_):
        yield from _spelled(inner)


def test_the_manifest_has_every_field() -> None:
    kinds = (Node, Pod, Workload, Service, EndpointSlice, Endpoints, ClusterConfig, KubeProxyConfiguration)
    known = {name for kind in kinds for name in _spelled(kind)}
    assert known <= set(re.findall(r"\w+", EVERYTHING))


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs"])
def test_the_manifest_itself_is_accepted(mode: str) -> None:
    for operation in plan_cluster(settled(EVERYTHING, mode)).operations:
        check(operation)


HOSTILE = st.one_of(
    st.sampled_from(
        [
            '"',
            "'",
            "\n",
            "\r",
            "\0",
            " ",
            "\t",
            "\\",
            ";",
            "{",
            "}",
            "$(x)",
            "`x`",
            "#",
            "-j ACCEPT\nCOMMIT\n",
            "é",
            "\u2028",
        ]
    ),
    st.text(min_size=1, max_size=5).filter(lambda text: not re.fullmatch(r"[A-Za-z0-9./:_-]+", text)),
)


@settings(max_examples=100, deadline=None)
@given(
    path=st.sampled_from(WORDS), before=st.sampled_from(["", "a", "10.0.0.1", "10.0.0.0/8"]), hostile=HOSTILE
)
def test_no_field_reaches_rule_text_unchecked(path: Path_, before: str, hostile: str) -> None:
    text = with_word(path, f"{before}{hostile}{MARK}")
    for mode in ("iptables", "nftables", "ipvs"):
        try:
            state = settled(text, mode)
        except ReadingError as error:
            every_problem(error)  # whatever is left of the input, more can be said of it
            return
        except InputError:
            return
        plan = plan_cluster(state)
        for operation in plan.operations:
            check(operation)
            assert MARK not in str(operation)
        if mode != "ipvs":
            assert MARK not in render_shell(plan, title="all")


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yields the way to every value inside ``value``."""
    if len(path) > 1:
        yield path
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    80.0,
    1.5,
    2**63,
    1e300,
    "",
    "y",
    "***HIDDEN***",
    "010.1.2.3",
    "::ffff:10.0.0.1",
    "10.0.0.0/33",
]
ODD += ["fd00::/8,10.0.0.0/8", [], {}, [None], [[]], {"": None}, {"a": {}}, [{"name": 1}], "x" * 300]


@settings(max_examples=100, deadline=None)
@given(
    path=st.sampled_from(list(places(DOCUMENTS))),
    odd=st.sampled_from(ODD),
    mode=st.sampled_from(["iptables", "nftables", "ipvs"]),
)
def test_any_value_in_any_place_is_read_or_refused(path: Path_, odd: Any, mode: str) -> None:
    documents = copy.deepcopy(DOCUMENTS)
    inner: Any = documents
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = odd
    try:
        state = settled("\n---\n".join(map(json.dumps, documents)), mode)
    except ReadingError as error:
        shown: list[str] = list(map(str, every_problem(error)))
    except InputError as error:
        shown = list(map(str, error.problems))
    else:
        shown = list(told(state))
        for operation in plan_cluster(state).operations:
            check(operation)
    assert all(text.isprintable() for text in shown)
