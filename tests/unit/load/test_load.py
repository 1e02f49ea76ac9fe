"""Tests targets → Inventory: files, directories, names, standard input; lists, notices and duplicates."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import InputError, Problem
from emulator.load.load import load
from emulator.load.targets import describe_topologies
from emulator.objects.config import Inventory
from emulator.objects.warnings import Code
from tests.told import told, warned
from tests.unit.load.reading import NOWHERE, load_text, problems_of

ROOT = Path(__file__).parents[3]
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {containers: [{name: c}]}\n"


def problems(targets: list[str], topologies: Path = NOWHERE) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        load(targets, topologies=topologies)
    return caught.value.problems


def pod_names(inventory: Inventory) -> list[str]:
    return [pod.object.name for pod in inventory.pods]


@pytest.fixture
def topologies(tmp_path: Path) -> Path:
    """Makes three topologies, one of each form, and files that are none."""
    directory = tmp_path / "topologies"
    (directory / "shop" / "more").mkdir(parents=True)
    (directory / "shop" / "README.md").write_text("# Does the shop sell?\n\nMore.\n")
    (directory / "shop" / "b.yaml").write_text(POD % "b")
    (directory / "shop" / "a.json").write_text(
        json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})
    )
    (directory / "shop" / "more" / "c.yml").write_text(POD % "c")
    (directory / "shop" / "notes.txt").write_text("not read")
    (directory / "shop" / ".hidden.yaml").write_text("not: read")
    (directory / "hairpin.yaml").write_text(
        "# Does a Pod reach itself\n# through its Service? And how.\n\n" + POD % "h"
    )
    (directory / "zones.py").write_text(
        '"""Where does a packet go?\n\nDetails."""\n\n\ndef build(cluster):\n    cluster.pod("z")\n'
    )
    (directory / "_private.py").write_text("")
    (directory / "README.md").write_text("no topology")
    (directory / "empty").mkdir()
    return directory


@pytest.mark.parametrize(
    ("name", "pods"),
    [("hairpin", ["h"]), ("zones", ["z"]), ("shop", ["b"])],
)
def test_topology_by_name(topologies: Path, name: str, pods: list[str]) -> None:
    inventory = load([name], topologies=topologies)
    assert inventory.name == name
    assert pod_names(inventory) == pods


def test_several_targets_are_one_cluster(topologies: Path, tmp_path: Path) -> None:
    (tmp_path / "My App.yaml").write_text(POD % "mine")
    inventory = load(
        ["hairpin", str(tmp_path / "My App.yaml"), "-"], topologies=topologies, stdin=io.StringIO(POD % "s")
    )
    assert pod_names(inventory) == ["h", "mine", "s"]
    assert inventory.name == "hairpin+my-app+stdin"
    assert [pod.origin.file for pod in inventory.pods] == [
        str(topologies / "hairpin.yaml"),
        str(tmp_path / "My App.yaml"),
        "stdin",
    ]


def test_describe_topologies(topologies: Path) -> None:
    assert describe_topologies(topologies) == [
        ("hairpin", "Does a Pod reach itself through its Service?"),
        ("shop", "Does the shop sell?"),
        ("zones", "Where does a packet go?"),
    ]


def test_describe_nothing() -> None:
    assert describe_topologies(NOWHERE) == []


def test_name_of_many_targets_fits_a_file_name(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"manifest-{i}.yaml").write_text(POD % f"p{i}")
    name = load([str(path) for path in sorted(tmp_path.iterdir())], topologies=NOWHERE).name
    assert name.startswith("manifest-0+manifest-1+manifest-10+")
    assert len(name) <= 100
    assert name[-1].isalnum()


@pytest.mark.parametrize("target", ["hairpi", "", "\0", "a" * 5000])
def test_unknown_target(topologies: Path, target: str) -> None:
    (problem,) = problems([target], topologies)
    assert "neither a topology nor a file" in problem.what
    assert "topologies: hairpin, shop, zones" in problem.hint
    assert ("did you mean hairpin?" in problem.hint) is (target == "hairpi")


def test_every_problem_of_every_file(topologies: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        "a: [\n---\n"
        + POD % "Bad"
        + "---\napiVersion: v1\nkind: Service\nmetadata: {name: 1}\nspec: {ports: x}\n"
    )
    (tmp_path / "latin1.yaml").write_bytes(b"a: \xe9")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "nothing").mkdir()
    targets = ["nope", "bad.yaml", "latin1.yaml", "notes.txt", "nothing"]
    found = problems([targets[0], *(str(tmp_path / t) for t in targets[1:])], topologies)
    assert [(Path(p.file).name, p.document, p.line, p.path) for p in found] == [
        ("nope", 0, 0, ""),
        ("bad.yaml", 1, 1, ""),
        ("bad.yaml", 2, 5, "metadata.name"),
        ("bad.yaml", 3, 10, "metadata.name"),
        ("bad.yaml", 3, 11, "spec.ports"),
        ("latin1.yaml", 0, 0, ""),
        ("notes.txt", 0, 0, ""),
        ("nothing", 0, 0, ""),
    ]


@pytest.mark.parametrize(
    "target", ["no/such/file.yaml", "nosuch.yaml", "./x", "deploy/", "../a.json", "a/b" * 2000]
)
def test_what_looks_like_a_path_is_no_topology(topologies: Path, target: str) -> None:
    (problem,) = problems([target], topologies)
    assert (problem.what, problem.hint) == ("no such file or directory", "")


def test_a_url_is_not_fetched(topologies: Path) -> None:
    (problem,) = problems(["https://example.org/all.yaml"], topologies)
    assert "fetches nothing" in problem.what
    assert problem.hint == "curl -sSL https://example.org/all.yaml | podwire -"


@pytest.mark.parametrize("text", ["---\n---\n", "# nothing\n"])
def test_a_target_holds_something(text: str) -> None:
    (problem,) = problems_of(text)
    assert problem.what == "holds no object"


@pytest.mark.parametrize("text", ["", "\n", " \n\n"])
def test_a_command_before_that_failed_is_guessed(text: str) -> None:
    (problem,) = problems_of(text)
    assert problem.what == "nothing came in on standard input"
    assert problem.hint == "did the command before | fail?"


def test_a_directory_may_hold_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# chart: everything is switched off\n")
    (tmp_path / "b.yaml").write_text(POD % "b")
    assert pod_names(load([str(tmp_path)], topologies=NOWHERE)) == ["b"]


def test_unreadable_standard_input() -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"a: \xff"), encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        load(["-"], topologies=NOWHERE, stdin=stdin)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("a/../Web App (1).yaml", "web-app-1"),
        ("x'; reboot #.yml", "x-reboot"),
        ("--flush.json", "flush"),
        (".hidden.yaml", "hidden"),
        ("é.yaml", "cluster"),
        ("a" * 200 + ".yaml", "a" * 100),
    ],
)
def test_name_is_safe_as_a_file_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    Path(target).write_text(POD % "p")
    assert load([target], topologies=NOWHERE).name == name


def test_directory_by_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop" / "sub").mkdir(parents=True)
    (tmp_path / "shop" / "a.yaml").write_text(POD % "a")
    monkeypatch.chdir(tmp_path / "shop")
    assert load(["."], topologies=NOWHERE).name == "shop"
    monkeypatch.chdir(tmp_path / "shop" / "sub")
    assert load([".."], topologies=NOWHERE).name == "shop"


# --- lists, kinds, notices --------------------------------------------------------------------------------


def test_list_expands_with_its_path() -> None:
    items = (
        "- kind: Pod\n  apiVersion: v1\n  metadata: {name: a}\n  spec: {containers: [{name: c}]}\n- "
        "kind: Secret\n  apiVersion: v1\n"
    )
    inventory = load_text("apiVersion: v1\nkind: List\nitems:\n" + items)
    (pod,) = inventory.pods
    assert (pod.origin.document, pod.origin.prefix) == (1, "items[0]")
    assert told(inventory) == ("left out: 1 Secret",)
    assert inventory.uninterpreted == ()  # it has no identity


def test_an_object_without_a_meaning_here_is_kept_as_it_was_written() -> None:
    roles = "- {metadata: {name: 'system:a'}, rules: [{verbs: [get]}]}\n"
    inventory = load_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n---\n"
        f"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleList\nitems:\n{roles}"
    )
    config, role = inventory.uninterpreted
    assert (config.object.key, config.raw["data"]) == ("default/c", {"a": "b"})
    assert (role.object.kind, role.object.namespace, role.object.name) == ("ClusterRole", "", "system:a")
    assert role.raw["rules"] == [{"verbs": ["get"]}]
    assert told(inventory) == ("left out: 1 ClusterRole.rbac.authorization.k8s.io, 1 ConfigMap",)


def test_a_slip_of_the_pen_is_told() -> None:
    spec = "spec:\n  selecter: {app: a}\n  ports:\n  - {port: 80, targetport: 8080}\n"
    again = (
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {selecter: {app: a}, ports: "
        "[{port: 1}]}\n"
    )
    inventory = load_text("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n" + spec + again)
    unknown = "is no field of Kubernetes 1.34 and is not read (hint: did you mean"
    assert warned(inventory, Code.UNKNOWN_FIELD) == [
        f"stdin:5: Service default/a: spec.selecter {unknown} selector?)",
        f"stdin:7: Service default/a: spec.ports[0].targetport {unknown} targetPort?)",
        f"stdin:12: Service default/b: spec.selecter {unknown} selector?)",
    ]


@pytest.mark.parametrize(
    "fields",
    [
        "{name: a, creationTimestamp: '2026-01-01T00:00:00Z', managedFields: [], generation: 1}",
        "{name: a, uid: u, clusterName: c}",
        "{name: a, annotations: {namespaces: b}}",
    ],
    ids=[
        "a field that podwire does not read",
        "one of another release that an API server wrote",
        "a key of the user's own",
    ],
)
def test_what_is_no_slip(fields: str) -> None:
    assert told(load_text(f"apiVersion: v1\nkind: Namespace\nmetadata: {fields}")) == ()


def test_items_of_a_typed_list_need_no_kind() -> None:
    text = (
        "apiVersion: apps/v1\nkind: DeploymentList\nitems: [{metadata: {name: d}, spec: {selector: "
        "{matchLabels: {a: b}}, template: %s}}]"
    )
    inventory = load_text(text % "{metadata: {labels: {a: b}}, spec: {containers: [{name: c}]}}")
    assert [w.object.kind for w in inventory.workloads] == ["Deployment"]


def test_lists_nest_and_may_be_empty() -> None:
    nested = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {"apiVersion": "v1", "kind": "PodList", "items": None},
            {"apiVersion": "v1", "kind": "List", "items": [{"kind": "CronJob", "apiVersion": "batch/v1"}]},
        ],
    }
    assert told(load_text(json.dumps(nested)))[-1] == "left out: 1 CronJob"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: List\nitems: []", "apiVersion: is required for kind List (hint: write v1)"),
        ("kind: PodList\napiVersion: ''\nitems: []", "apiVersion: is required for kind PodList"),
        ("kind: List\napiVersion: 1\nitems: []", "apiVersion: must be a string, is 1"),
        (
            "apiVersion: v1\nkind: List\nitems: [{kind: ServiceList, items: []}]",
            "items[0].apiVersion: is required for kind ServiceList",
        ),
    ],
)
def test_a_list_says_its_api_version_as_every_object_does(text: str, said: str) -> None:
    """Fails as kubectl does: "error validating data: apiVersion not set"."""
    (problem,) = problems_of(text)
    assert said in str(problem)


def test_other_kinds_are_counted_in_one_line() -> None:
    text = "---\n".join(
        f"kind: {kind}\napiVersion: {version}\nmetadata: [not looked at]\n"
        for kind, version in [
            ("Secret", "v1"),
            ("ConfigMap", "v1"),
            ("ConfigMap", "v1"),
            ("Service", "serving.knative.dev/v1"),
            ("Cluster", "postgresql.cnpg.io/v1"),
            ("PodDisruptionBudget", "policy/v1"),
            ("ServiceAccount", "v1"),
        ]
    )
    expected = (
        "left out: 2 ConfigMap, 1 Cluster.postgresql.cnpg.io, 1 PodDisruptionBudget.policy, 1 Secret, 1 "
        "Service.serving.knative.dev, "
    )
    assert told(load_text(text)) == (expected + "1 ServiceAccount",)


def test_manifest_is_kept_as_it_came() -> None:
    (pod,) = load_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: null}\nspec: {containers: [{name: "
        "c, image: x}], volumes: []}\n"
    ).pods
    assert pod.raw == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "labels": None},
        "spec": {"containers": [{"name": "c", "image": "x"}], "volumes": []},
    }


# --- the cluster's shape and its proxy --------------------------------------------------------------------

KIND_CLUSTER = """
apiVersion: kind.x-k8s.io/v1alpha4
kind: Cluster
name: demo
kubeadmConfigPatches: ["kind: ClusterConfiguration"]
nodes:
- role: control-plane
  image: kindest/node
  extraMounts: [{hostPath: /}]
- role: worker
  image: kindest/node
  labels: {tier: front}
networking: {podSubnet: 10.10.0.0/16, kubeProxyMode: nftables, disableDefaultCNI: true}
"""

CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-proxy, namespace: kube-system}
data:
  kubeconfig.conf: "{"
  config.conf: |
    apiVersion: kubeproxy.config.k8s.io/v1alpha1
    kind: KubeProxyConfiguration
    bindAddress: 0.0.0.0
    clusterCIDR: 10.244.0.0/16
    mode: %s
    nodePortAddresses: null
    iptables: {masqueradeAll: true, localhostNodePorts: null, syncPeriod: 0s, minSyncPeriod: 1s}
"""


def test_cluster_of_kind() -> None:
    inventory = load_text(KIND_CLUSTER)
    assert inventory.cluster is not None
    shape = inventory.cluster.object
    assert [(n.role, n.name, dict(n.labels)) for n in shape.nodes] == [
        ("control-plane", "demo-control-plane", {}),
        ("worker", "demo-worker", {"tier": "front"}),
    ]
    assert (shape.metadata.name, shape.networking.podSubnet, shape.networking.kubeProxyMode) == (
        "demo",
        "10.10.0.0/16",
        "nftables",
    )
    ignored = (
        "kubeadmConfigPatches of kind 'ClusterConfiguration', networking.disableDefaultCNI, "
        "nodes[].image, nodes[].extraMounts"
    )
    assert told(inventory) == (f"Cluster: ignored {ignored} (no meaning here)",)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("kube-proxy", "config.conf"),
        ("kube-proxy-config", "config"),
        ("kube-proxy-k8s-1-30", "kubeproxy.yaml"),
    ],
)
def test_proxy_configuration_in_the_config_map_of_managed_clusters(name: str, key: str) -> None:
    text = (
        CONFIG_MAP.replace("name: kube-proxy,", f"name: {name},")
        .replace("config.conf", key)
        .replace("kube" + key, "kubeconfig.conf")
    )
    proxy = load_text(text % "ipvs").proxy
    assert proxy is not None
    assert proxy.object.mode == "ipvs"


def test_a_kube_proxy_that_runs_without_a_cluster_cidr_has_none() -> None:
    proxy = load_text((CONFIG_MAP % "iptables").replace("    clusterCIDR: 10.244.0.0/16\n", "")).proxy
    assert proxy is not None
    assert proxy.object.clusterCIDR == ""


def test_a_second_configuration_of_kube_proxy_is_left_out() -> None:
    second = (CONFIG_MAP % "iptables").replace("name: kube-proxy,", "name: kube-proxy-windows,")
    inventory = load_text(f"{CONFIG_MAP % 'nftables'}---{second}")
    assert inventory.proxy is not None
    assert inventory.proxy.object.mode == "nftables"
    assert any("second configuration of kube-proxy" in notice for notice in told(inventory))


METALLB_OLD = """
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: metallb-system}
data:
  config: |
    address-pools:
    - name: default
      protocol: layer2
      avoid-buggy-ips: true
      addresses: [172.18.77.0/24]
    - name: routed
      protocol: bgp
      auto-assign: false
      addresses: [198.51.100.1-198.51.100.9]
"""


def test_metallbs_configuration_of_old() -> None:
    inventory = load_text(METALLB_OLD)
    pools = [loaded.object for loaded in inventory.addressPools]
    assert [(p.metadata.name, p.spec.autoAssign, p.spec.avoidBuggyIPs) for p in pools] == [
        ("default", True, True),
        ("routed", False, False),
    ]
    assert [loaded.object.spec.ipAddressPools for loaded in inventory.l2Advertisements] == [("default",)]
    assert not any("left out" in notice for notice in told(inventory))


def test_metallbs_configuration_of_old_is_nothing_where_there_are_pools() -> None:
    pool = (
        "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: new}, spec: {addresses: "
        "[172.18.5.0/28]}}"
    )
    inventory = load_text(f"{METALLB_OLD}---\n{pool}")
    assert [loaded.object.metadata.name for loaded in inventory.addressPools] == ["new"]
    assert "left out: 1 ConfigMap" in told(inventory)


@pytest.mark.parametrize(
    "text", ["address-pools: x", "address-pools: [1, {}]", "address-pools: {", "- address-pools"]
)
def test_a_config_map_of_metallbs_that_is_none_raises_nothing(text: str) -> None:
    document = json.dumps(
        {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": "config", "namespace": "metallb-system"},
            "data": {"config": text},
        }
    )
    with suppress(InputError):
        load_text(document)


def test_cluster_of_an_early_kind() -> None:
    inventory = load_text(
        "{apiVersion: kind.sigs.k8s.io/v1alpha3, kind: Cluster, nodes: [{role: control-plane}, "
        "{role: worker}]}"
    )
    assert inventory.cluster is not None
    assert [node.role for node in inventory.cluster.object.nodes] == ["control-plane", "worker"]


def test_proxy_configuration_in_its_config_map() -> None:
    inventory = load_text(CONFIG_MAP % '""')
    assert inventory.proxy is not None
    config = inventory.proxy.object
    assert (config.mode, config.clusterCIDR, config.nodePortAddresses) == ("", "10.244.0.0/16", ())
    assert (config.iptables.masqueradeAll, config.iptables.localhostNodePorts) == (True, True)
    assert inventory.proxy.origin.prefix == 'data["config.conf"]'
    assert told(inventory) == (
        "KubeProxyConfiguration: ignored bindAddress, iptables.minSyncPeriod (no meaning here)",
    )


@pytest.mark.parametrize(
    ("mode", "fields", "said"),
    [
        (
            "InterfaceNamePrefix",
            "interfaceNamePrefix: cali",
            "detectLocal.interfaceNamePrefix: 'cali' names interfaces",
        ),
        ("BridgeInterface", "bridgeInterface: cni0", "detectLocal.bridgeInterface: 'cni0' names bridges"),
        ("ClusterCIDR", "bridgeInterface: cni0", ""),
        ("NodeCIDR", "interfaceNamePrefix: '', bridgeInterface: ''", ""),
    ],
)
def test_interfaces_that_a_mode_detects_by_are_said_to_be_others_here(
    mode: str, fields: str, said: str
) -> None:
    notices = told(
        load_text(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
            f"detectLocalMode: {mode}\ndetectLocal: {{{fields}}}"
        )
    )
    assert [said in notice for notice in notices] == ([True] if said else [])


def test_problem_in_the_config_map() -> None:
    (problem,) = problems_of(CONFIG_MAP % "userspacey")
    assert (problem.path, problem.line) == ('data["config.conf"].mode', 7)
    assert "did you mean userspace?" in problem.hint


def test_broken_text_in_the_config_map() -> None:
    (problem,) = problems_of(CONFIG_MAP % "[")
    assert problem.path == 'data["config.conf"]'
    assert "of the text is not valid YAML" in problem.what


def test_empty_cluster_cidr_is_not_an_unset_one() -> None:
    base = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
    said, unsaid = load_text(base + "clusterCIDR: ''").proxy, load_text(base).proxy
    assert said is not None
    assert unsaid is not None
    assert (said.object.clusterCIDR, unsaid.object.clusterCIDR) == ("", None)


def test_metadata_of_our_kinds_may_carry_what_an_api_server_wrote() -> None:
    text = (
        "{apiVersion: podwire.dev/v1alpha1, kind: Cluster, metadata: {name: c, resourceVersion: '1', "
        "creationTimestamp: null}}"
    )
    assert load_text(text).cluster is not None


# --- one of each ------------------------------------------------------------------------------------------


def test_duplicate_objects_name_both_places(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# a\n" + POD % "web")
    (tmp_path / "b.yaml").write_text(POD % "other" + "---\n" + POD % "web")
    (problem,) = problems([str(tmp_path)])
    assert (Path(problem.file).name, problem.document, problem.line) == ("b.yaml", 2, 6)
    assert problem.what == f"Pod default/web is there already, in {tmp_path / 'a.yaml'}:2: document 1"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            POD % "a" + "---\n" + (POD % "a").replace("name: a", "name: a, namespace: x"),
            id="another namespace",
        ),
        pytest.param(
            "---\n".join([(POD % "x").replace("name: x", "generateName: x-")] * 2), id="generateName"
        ),
        pytest.param(
            POD % "a"
            + "---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 1}]}\n",
            id="another kind",
        ),
    ],
)
def test_no_duplicates(text: str) -> None:
    assert load_text(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(KIND_CLUSTER, "{apiVersion: podwire.dev/v1alpha1, kind: Cluster}", id="Cluster"),
        pytest.param(
            CONFIG_MAP % "iptables",
            "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration}",
            id="proxy",
        ),
    ],
)
def test_one_shape_and_one_proxy(one: str, other: str) -> None:
    (problem,) = problems_of(one + "\n---\n" + other)
    assert "already, in stdin:" in problem.what


# --- manifests of others, hostile input -------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted((ROOT / "tests" / "data").glob("*.yaml")), ids=lambda p: p.name)
def test_public_manifests(file: Path) -> None:
    assert load([str(file)], topologies=NOWHERE)


def test_golden_objects() -> None:
    inventory = load([str(ROOT / "tests/golden/kube-proxy-v1.30.5/objects.yaml")], topologies=NOWHERE)
    assert (len(inventory.nodes), len(inventory.services), len(inventory.endpointSlices)) == (1, 8, 7)


def test_no_message_carries_control_characters() -> None:
    text = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "\x1b[2J\n", "labels": {"\x1b]0;x\x07": "\r"}},
            "spec": {"\u2028": 1, "containers": "\x9b"},
        }
    )
    assert all(str(p).isprintable() for p in problems_of(text))
    assert all(str(p).isprintable() for p in problems_of('"\\e[31m"'))


_WORDS = """
apiVersion kind metadata name namespace labels spec ports port targetPort containers selector nodes role \
networking podSubnet flows from to
service expect source items v1 apps/v1 Pod Service List Cluster FlowCheck Deployment podwire.dev/v1alpha1 \
web 10.0.0.0/8
"""


def test_no_notice_carries_control_characters() -> None:
    text = json.dumps({"kind": "\x1b[2J", "apiVersion": "a/b"}) + KIND_CLUSTER.replace(
        "name: demo", '"\\e[2J": 1'
    )
    notices = told(load_text(text.replace("\napiVersion", "\n---\napiVersion", 1)))
    assert len(notices) == 2
    assert all(notice.isprintable() for notice in notices)


WORDS = st.sampled_from(_WORDS.split())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=15,
)
KINDS = st.sampled_from(
    [
        ("v1", "Pod"),
        ("v1", "Service"),
        ("v1", "Node"),
        ("v1", "Namespace"),
        ("v1", "Endpoints"),
        ("v1", "ConfigMap"),
        ("v1", "List"),
        ("v1", "PodList"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
        ("podwire.dev/v1alpha1", "Cluster"),
        ("podwire.dev/v1alpha1", "FlowCheck"),
        ("kind.x-k8s.io/v1alpha4", "Cluster"),
        ("kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration"),
    ]
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {}, optional={"name": st.just("web") | VALUES, "labels": VALUES, "namespace": VALUES}
        ),
        "spec": VALUES
        | st.fixed_dictionaries(
            {}, optional={"ports": VALUES, "containers": VALUES, "template": VALUES, "flows": VALUES}
        ),
        **dict.fromkeys(
            [
                "status",
                "nodes",
                "networking",
                "externalClients",
                "items",
                "data",
                "endpoints",
                "ports",
                "mode",
            ],
            VALUES,
        ),
    },
)


def read_or_refused(text: str) -> None:
    problems: tuple[Problem, ...] = (Problem("", ""),)
    try:
        load_text(text)
    except InputError as error:
        problems = error.problems
    assert problems
    assert all(str(problem).isprintable() for problem in problems)


@given(KINDS, FIELDS)
def test_any_structure_is_read_or_refused(kind: tuple[str, str], fields: dict[str, object]) -> None:
    read_or_refused(json.dumps({"apiVersion": kind[0], "kind": kind[1], **fields}))


@given(VALUES)
def test_any_document_is_read_or_refused(value: object) -> None:
    read_or_refused(json.dumps(value))


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    read_or_refused(text)


def test_kinds_and_config_import_nothing_heavy() -> None:
    code = (
        "import sys, emulator.objects.config, emulator.objects.kinds; print([m for m in ('yaml', "
        "'pydantic') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )
