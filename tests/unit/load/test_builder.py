"""Tests topologies in Python: the builder's manifests, and the places of its mistakes."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import InputError, Problem
from emulator.load.builder import build_topology
from emulator.load.load import load
from emulator.objects.config import Inventory, LoadBalancerPool
from tests.unit.load.reading import NOWHERE


def module(directory: Path, body: str) -> str:
    """Returns a topology module whose ``build`` has ``body``, which begins in line 4."""
    path = directory / "topology.py"
    path.write_text('"""Why?"""\n\ndef build(cluster):\n' + textwrap.indent(textwrap.dedent(body), "    "))
    return str(path)


def built(directory: Path, body: str) -> Inventory:
    return load([module(directory, body)], topologies=NOWHERE)


def refused(directory: Path, body: str) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        built(directory, body)
    return caught.value.problems


def test_shape(tmp_path: Path) -> None:
    inventory = built(
        tmp_path,
        """\
        cluster.networking(pod_subnet="10.9.0.0/16", proxy_mode="nftables")
        cluster.networking(host_subnet="192.168.0.0/16")
        cluster.node(role="control-plane")
        cluster.node("worker-1", labels={"zone": "a"}, addresses=["192.168.0.7"], \
            taints=[{"key": "k", "effect": "NoSchedule"}])
        cluster.external_client("client-1", "203.0.113.10")
        cluster.load_balancer(addresses=["192.168.255.0/28"], mode="Proxy")
        """,
    )
    assert inventory.cluster is not None
    shape = inventory.cluster.object
    assert (shape.networking.podSubnet, shape.networking.hostSubnet) == ("10.9.0.0/16", "192.168.0.0/16")
    assert shape.networking.kubeProxyMode == "nftables"
    assert [(n.role, n.name, n.addresses) for n in shape.nodes] == [
        ("control-plane", "", ()),
        ("worker", "worker-1", ("192.168.0.7",)),
    ]
    assert shape.nodes[1].taints[0].key == "k"
    assert shape.externalClients[0].address == "203.0.113.10"
    assert shape.loadBalancer == LoadBalancerPool(addresses=("192.168.255.0-192.168.255.15",), mode="Proxy")


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        pytest.param("[8080]", [("", 8080, "TCP")], id="number"),
        pytest.param("[8080, '53/UDP']", [("", 8080, "TCP"), ("", 53, "UDP")], id="protocol"),
        pytest.param(
            "{'http': 8080, 'dns': '53/UDP'}", [("http", 8080, "TCP"), ("dns", 53, "UDP")], id="names"
        ),
        pytest.param("()", [], id="none"),
    ],
)
def test_ports(tmp_path: Path, ports: str, expected: list[tuple[str, int, str]]) -> None:
    (pod,) = built(tmp_path, f"cluster.pod('p', ports={ports})").pods
    (container,) = pod.object.spec.containers
    assert container.name == "p"
    assert [(p.name, p.containerPort, p.protocol) for p in container.ports] == expected


def test_pod(tmp_path: Path) -> None:
    call = (
        "cluster.pod('p', containers={'a': [1], 'b': ()}, node='n', namespace='x', host_network=True, "
        "annotations={'k': 'v'})"
    )
    (pod,) = built(tmp_path, call).pods
    assert (pod.object.key, pod.object.spec.nodeName, pod.object.spec.hostNetwork) == ("x/p", "n", True)
    assert [c.name for c in pod.object.spec.containers] == ["a", "b"]
    assert (dict(pod.object.metadata.labels), dict(pod.object.metadata.annotations)) == (
        {"app": "p"},
        {"k": "v"},
    )
    assert (pod.origin.document, pod.origin.prefix) == (0, 'pod "p"')


@pytest.mark.parametrize(
    ("call", "kind", "replicas", "service_name"),
    [
        ("cluster.deployment('w', replicas=0, ports=[80])", "Deployment", 0, ""),
        ("cluster.statefulset('w', replicas=2, ports=[80])", "StatefulSet", 2, "w"),
        ("cluster.statefulset('w', ports=[80], service_name='s')", "StatefulSet", 1, "s"),
        ("cluster.daemonset('w', ports=[80])", "DaemonSet", 1, ""),
    ],
)
def test_workloads(tmp_path: Path, call: str, kind: str, replicas: int, service_name: str) -> None:
    (workload,) = built(tmp_path, call).workloads
    spec = workload.object.spec
    assert (workload.object.kind, spec.replicas, spec.serviceName) == (kind, replicas, service_name)
    assert spec.selector is not None
    assert dict(spec.selector.matchLabels) == dict(spec.template.metadata.labels) == {"app": "w"}
    assert spec.template.spec.containers[0].ports[0].containerPort == 80


@pytest.mark.parametrize(
    ("arguments", "field", "expected"),
    [
        ("port=80", "selector", {"app": "s"}),
        ("port=80, selector={'x': 'y'}", "selector", {"x": "y"}),
        ("port=80, selector={}", "selector", {}),
        ("headless=True", "clusterIP", "None"),
        ("port=80, cluster_ip='10.96.0.9'", "clusterIP", "10.96.0.9"),
        ("port=80, type='NodePort', node_port=30080", "type", "NodePort"),
        ("port=80, type='NodePort', external_traffic_policy='Local'", "externalTrafficPolicy", "Local"),
        ("port=80, internal_traffic_policy='Local'", "internalTrafficPolicy", "Local"),
        ("port=80, session_affinity='ClientIP'", "sessionAffinity", "ClientIP"),
        ("port=80, external_ips=['198.51.100.1']", "externalIPs", ("198.51.100.1",)),
        ("port=80, publish_not_ready_addresses=True", "publishNotReadyAddresses", True),
    ],
)
def test_service(tmp_path: Path, arguments: str, field: str, expected: Any) -> None:
    (service,) = built(tmp_path, f"cluster.service('s', {arguments})").services
    assert getattr(service.object.spec, field) == expected


def test_service_ports(tmp_path: Path) -> None:
    one, several = built(
        tmp_path,
        """\
        cluster.service("one", port=53, target_port="dns", protocol="UDP", type="NodePort", node_port=30053)
        cluster.service("several", ports=[{"name": "a", "port": 1}, \
            {"name": "b", "port": 2, "targetPort": 3}])
        """,
    ).services
    (port,) = one.object.spec.ports
    assert (port.port, port.targetPort, port.protocol, port.nodePort) == (53, "dns", "UDP", 30053)
    assert [(p.name, p.port, p.targetPort) for p in several.object.spec.ports] == [
        ("a", 1, None),
        ("b", 2, 3),
    ]


def test_the_rest(tmp_path: Path) -> None:
    inventory = built(
        tmp_path,
        """\
        cluster.namespace("team", labels={"a": "b"})
        cluster.flow_check("c", [{"name": "f", "from": {"pod": "p"}, "to": {"service": "s", "port": 80}}])
        cluster.flow_check("d", steps=[{"wait": 1}, \
            {"apply": [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}]}])
        cluster.manifest({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "e"}, "subsets": ()})
        cluster.manifest("apiVersion: v1\\nkind: Node\\nmetadata: {name: a}\\n---\\n" \
            "apiVersion: v1\\nkind: Node\\nmetadata: {name: b}\\n")
        """,
    )
    assert dict(inventory.namespaces[0].object.metadata.labels) == {"a": "b"}
    assert inventory.flowChecks[0].object.flows[0].from_.pod == "p"
    assert [step.wait for step in inventory.flowChecks[1].object.steps] == [1, 0]
    assert [[new.object.name for new in applied] for applied in inventory.flowChecks[1].object.applied] == [
        [],
        ["n"],
    ]
    assert inventory.endpoints[0].raw == {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "e"},
        "subsets": [],
    }
    assert [n.object.name for n in inventory.nodes] == ["a", "b"]


def test_an_empty_topology_is_the_default_cluster(tmp_path: Path) -> None:
    assert built(tmp_path, "pass").cluster is None


@pytest.mark.parametrize(
    ("body", "line", "path", "what"),
    [
        pytest.param("\ncluster.pod('P')", 5, 'pod "P".metadata.name', "RFC 1123", id="name"),
        pytest.param(
            "cluster.pod('a\\nb')", 4, 'pod "a\nb".metadata.name', "RFC 1123", id="name with a newline"
        ),
        pytest.param(
            "cluster.pod('p', ports=[70000])",
            4,
            'pod "p".spec.containers[0].ports[0].containerPort',
            "is 70000",
            id="port",
        ),
        pytest.param(
            "cluster.pod('p', ports=['x/UDP'])",
            4,
            'pod "p".spec.containers[0].ports[0].containerPort',
            "is 'x'",
            id="port word",
        ),
        pytest.param(
            "cluster.deployment('d', replicas='2')",
            4,
            'deployment "d".spec.replicas',
            "an integer, is '2'",
            id="replicas",
        ),
        pytest.param(
            "cluster.node()\ncluster.node('N')", 5, "cluster.nodes[1].name", "RFC 1123", id="second node"
        ),
        pytest.param(
            "cluster.external_client('a', '203.0.113.1')\ncluster.networking(pod_subnet='x')",
            5,
            "cluster.networking.podSubnet",
            "CIDR",
            id="subnet",
        ),
        pytest.param(
            "cluster.service('s')", 4, 'service "s".spec.ports', "is required", id="service without a port"
        ),
        pytest.param(
            "cluster.flow_check('c', [{'nam': 1}])",
            4,
            'flowcheck "c".spec.flows[0].nam',
            "is not a field",
            id="flow",
        ),
        pytest.param(
            "cluster.manifest({'kind': 'Pod', 'spec': object()})",
            4,
            "manifest.spec",
            "cannot hold a Python object",
            id="object",
        ),
        pytest.param(
            "cluster.manifest({'kind': 'Pod', 'spec': b'x'})",
            4,
            "manifest.spec",
            "cannot hold a Python bytes",
            id="bytes",
        ),
        pytest.param(
            "cluster.manifest({'kind': 'Pod', 'spec': 10**5000})",
            4,
            "manifest.spec",
            "too large",
            id="number of 5000 digits",
        ),
        pytest.param(
            "x = []\nx.append(x)\ncluster.manifest({'kind': x})",
            6,
            "manifest.kind",
            "nested more than",
            id="cycle",
        ),
        pytest.param("cluster.manifest(7)", 4, "manifest", "must be a mapping", id="no manifest"),
        pytest.param(
            "cluster.manifest('a: [')",
            4,
            "manifest",
            "line 1 of the text is not valid YAML",
            id="broken text",
        ),
        pytest.param(
            "cluster.pod('p')\ncluster.pod('p')",
            5,
            'pod "p"',
            "Pod default/p is there already, in",
            id="duplicate",
        ),
        pytest.param("{}['nope']", 4, "", "raised KeyError: 'nope'", id="exception"),
        pytest.param("raise SystemExit(3)", 4, "", "raised SystemExit: 3", id="exit"),
        pytest.param("cluster.pod()", 4, "", "raised TypeError", id="missing argument"),
        pytest.param(
            "cluster.service('s', port=1, ports=[{}])",
            4,
            "",
            "give port or ports, not both",
            id="port and ports",
        ),
        pytest.param(
            "cluster.pod('s', ports=[1], containers={})",
            4,
            "",
            "give ports or containers, not both",
            id="ports and containers",
        ),
        pytest.param("x = (", 4, "", "is not valid Python", id="syntax"),
    ],
)
def test_problems_name_the_line_of_the_call(
    tmp_path: Path, body: str, line: int, path: str, what: str
) -> None:
    (problem,) = [p for p in refused(tmp_path, body) if what in p.what and p.path == path]
    assert problem.line == line
    assert Path(problem.file).name == "topology.py"
    assert str(problem).isprintable()


def test_module_without_build(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("build = 3\n")
    with pytest.raises(InputError, match=r"has no function build \(hint: def build"):
        load([str(tmp_path / "x.py")], topologies=NOWHERE)


def test_modules_may_have_dataclasses_and_the_same_name(tmp_path: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n@dataclass\nclass "
        "Tier:\n    name: str\n\n"
    )
    for directory, name in (("a", "one"), ("b", "two")):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "t.py").write_text(
            text + f"def build(cluster):\n    cluster.pod(Tier('{name}').name)\n"
        )
    inventory = load([str(tmp_path / "a" / "t.py"), str(tmp_path / "b" / "t.py")], topologies=NOWHERE)
    assert [p.object.name for p in inventory.pods] == ["one", "two"]
    assert inventory.name == "t"


def test_a_topology_prints_into_no_report_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "talks.py"
    path.write_text("print('loading')\ndef build(cluster):\n    print('building')\n    cluster.pod('p')\n")
    assert build_topology(path)
    assert capsys.readouterr() == ("", "loading\nbuilding\n")
    assert list(tmp_path.iterdir()) == [path]
