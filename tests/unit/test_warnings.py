"""Tests every warning: a manifest that provokes it, one like it that does not, its sentence, its section of
docs/warnings.md, and how it is silenced.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from emulator.errors import UsageError
from emulator.objects.references import ObjectRef
from emulator.objects.warnings import IGNORE_ANNOTATION, Code, ManifestWarning, read_codes
from emulator.report.prose_of_warnings import fold_warnings, render_warnings, say_warning
from emulator.run.codes import known_codes
from tests.sandboxed import scenario_of, state_of
from tests.told import warned

DOCS = Path(__file__).parents[2] / "docs" / "warnings.md"


def _object(kind: str, name: str, rest: str = "", version: str = "v1", **meta: str) -> str:
    fields = ", ".join([f"name: {name}", *(f"{key}: {value}" for key, value in meta.items())])
    return f"apiVersion: {version}\nkind: {kind}\nmetadata: {{{fields}}}\n{rest}"


def _service(spec: str, name: str = "web", **meta: str) -> str:
    return _object("Service", name, f"spec: {{{spec}}}", **meta)


def _pod(
    name: str = "web", containers: str = "{name: c, ports: [{containerPort: 80}]}", spec: str = ""
) -> str:
    return _object(
        "Pod", name, f"spec: {{{spec and spec + ', '}containers: [{containers}]}}", labels="{app: web}"
    )


def _deployment(spec: str, name: str = "web", replicas: int = 2) -> str:
    template = f"{{metadata: {{labels: {{app: web}}}}, spec: {{{spec}}}}}"
    rest = f"spec: {{replicas: {replicas}, selector: {{matchLabels: {{app: web}}}}, template: {template}}}"
    return _object("Deployment", name, rest, "apps/v1")


def _slice(name: str, fields: str, labels: str = "") -> str:
    return _object("EndpointSlice", name, fields, "discovery.k8s.io/v1", labels=f"{{{labels}}}")


WEB = "selector: {app: web}, ports: [{port: 80}]"
OF_WEB = "kubernetes.io/service-name: web"
NODES = "apiVersion: podwire.dev/v1alpha1\nkind: Cluster\nnodes: [{role: control-plane}, {role: worker}, %s]"
IPVS = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs"
BALANCER = "type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]"
POOL = _object("IPAddressPool", "p", "spec: {addresses: [172.18.0.240-172.18.0.250]}", "metallb.io/v1beta1")
ADVERTISED = _object("L2Advertisement", "l", "spec: {}", "metallb.io/v1beta1")
PROXY = (
    "apiVersion: podwire.dev/v1alpha1\nkind: Cluster\nnodes: [{role: worker}]\nloadBalancer: {mode: Proxy}"
)
NODE = (
    "spec: {podCIDR: 10.244.%s.0/24, podCIDRs: [10.244.%s.0/24]}\n"
    "status: {addresses: [{type: InternalIP, address: 172.18.0.5}]}"
)
CHECK = "spec: {flows: [%s], steps: [{name: s, scale: {kind: Deployment, name: web, replicas: 1}%s}]}"
FLOW = "{name: f, from: {node: worker-1}, to: {service: web, port: 80}}"
OURS = "podwire.dev/v1alpha1"


SHOP = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"


def _in(namespace: str, name: str) -> str:
    return (
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}}}, "
        "spec: {containers: [{name: c}]}}"
    )


# code → manifests that provoke it, words of its sentence, manifests that do not
PROVOKED: dict[Code, tuple[list[str], str, list[str]]] = {
    Code.SELECTS_NO_POD: (
        [_pod(), _service("selector: {app: wbe}, ports: [{port: 80}]")],
        "no running Pod of its namespace has the labels app=wbe (did you mean app=web?)",
        [_pod(), _service(WEB)],
    ),
    Code.NO_READY_ENDPOINT: (
        [_service("ports: [{port: 80}]")],
        "neither a selector nor an EndpointSlice",
        [_service("type: ExternalName, externalName: example.org")],
    ),
    Code.NO_SUCH_PORT_NAME: (
        [_pod(containers="{name: c, ports: [{containerPort: 80, name: http}]}"),
         _service("selector: {app: web}, ports: [{port: 80, targetPort: htpp}]")],
        "targetPort htpp is the name of no TCP port of its Pods: port 80 has no endpoints"
        " (did you mean http?)",
        [_pod(containers="{name: c, ports: [{containerPort: 80, name: http}]}"),
         _service("selector: {app: web}, ports: [{port: 80, targetPort: http}]")],
    ),
    Code.UNDECLARED_PORT: (
        [_pod(), _service("selector: {app: web}, ports: [{port: 80, targetPort: 81}]")],
        "targets port 81, which no container of Pod default/web declares",
        [_pod(), _service(WEB)],
    ),
    Code.POLICY: (
        [_object("NetworkPolicy", "deny", "spec: {podSelector: {}}", "networking.k8s.io/v1")],
        "NetworkPolicy default/deny is not enforced",
        [_object("ResourceQuota", "deny", "spec: {}")],
    ),
    Code.POD_MAKER: (
        [_object("Prometheus", "k8s", "spec: {replicas: 2}", "monitoring.coreos.com/v1")],
        "the Pods that it makes are missing here",
        [_object("ServiceMonitor", "k8s", "spec: {endpoints: []}", "monitoring.coreos.com/v1")],
    ),
    Code.TRAFFIC_RULE: (
        [_object("Ingress", "shop", "spec: {rules: []}", "networking.k8s.io/v1")],
        "no flow goes the way that it describes",
        [_object("IngressClass", "nginx", "spec: {}", "networking.k8s.io/v1")],
    ),
    Code.HOST_PORT: (
        [_deployment("containers: [{name: c, ports: [{containerPort: 80, hostPort: 8080}]}]")],
        "Deployment default/web wants hostPort 8080/TCP",
        [_deployment("hostNetwork: true, "
                     "containers: [{name: c, ports: [{containerPort: 80, hostPort: 80}]}]")],
    ),
    Code.SCHEDULING: (
        [_deployment("schedulerName: volcano, "
                     "containers: [{name: c, resources: {limits: {nvidia.com/gpu: 1}}}]")],
        "placed without regard to schedulerName volcano, nvidia.com/gpu",
        [_deployment("schedulerName: default-scheduler, "
                     "containers: [{name: c, resources: {limits: {cpu: 1}}}]")],
    ),
    Code.RUNS_NOWHERE: (
        [_deployment("nodeSelector: {disk: ssd}, containers: [{name: c}]")],
        "2 Pods run nowhere",
        [_deployment("nodeSelector: {kubernetes.io/os: linux}, containers: [{name: c}]")],
    ),
    Code.NOTHING: (
        ["{kind: List, apiVersion: v1, items: []}"],
        "there is nothing to check",
        [_pod()],
    ),
    Code.UNKNOWN_FIELD: (
        [_service("selecter: {app: web}, ports: [{port: 80}]")],
        "spec.selecter is no field of Kubernetes",
        [_service("selector: {app: web}, ports: [{port: 80}]")],
    ),
    Code.YAML: (
        [_object("Pod", "p", "spec: {containers: [{name: c}]}", labels="{app: a, app: b}")],
        "the key 'app' is there twice",
        [_object("Pod", "p", "spec: {containers: [{name: c}]}", labels="{app: a, tier: b}")],
    ),
    Code.ODD_VALUE: (
        [_service("ports: [{port: 80}], externalIPs: [192.168.001.010]")],
        "spec.externalIPs[0]: '192.168.001.010' is read as 192.168.1.10",
        [_service("ports: [{port: 80}], externalIPs: [192.168.1.10]")],
    ),
    Code.IPV6: (
        [_object("Pod", "p", "spec: {containers: [{name: c}]}\n"
                             "status: {podIPs: [{ip: 10.244.1.9}, {ip: 'fd00::9'}]}")],
        "IPv6 addresses are left out",
        [_object("Pod", "p", "spec: {containers: [{name: c}]}\nstatus: {podIPs: [{ip: 10.244.1.9}]}")],
    ),
    Code.CONTESTED_ADDRESS: (
        [_pod(), *(_service(f"{WEB}, externalIPs: [192.0.2.10]", name) for name in ("a", "b"))],
        "Services default/a and default/b both claim 192.0.2.10:80/TCP",
        [_pod(), *(_service(f"{WEB}, externalIPs: [192.0.2.1{n}]", name) for n, name in enumerate("ab"))],
    ),
    Code.NESTED_ENDPOINT: (
        [_pod(), _service(f"clusterIP: 10.96.1.1, {WEB}"), _service("ports: [{port: 80}]", "alias"),
         _slice("s", "addressType: IPv4\nendpoints: [{addresses: [10.96.1.1]}]\nports: [{port: 80}]",
                "kubernetes.io/service-name: alias")],
        "Service default/alias has the endpoint 10.96.1.1:80, which is an address of Service default/web",
        [_pod(), _service(f"clusterIP: 10.96.1.1, {WEB}")],
    ),
    Code.ADDRESS_ON_LINK: (
        [_pod(), _service(f"{WEB}, externalIPs: [10.244.1.99]")],
        "has the external address 10.244.1.99 in podCIDR 10.244.1.0/24 of node worker-1",
        [_pod(), _service(f"{WEB}, externalIPs: [192.0.2.99]")],
    ),
    Code.ENDPOINT_OUTSIDE: (
        [_service("ports: [{port: 80}]"),
         _slice("s", "addressType: IPv4\n"
                     "endpoints: [{addresses: [192.0.2.10]}]\nports: [{port: 80}]", OF_WEB)],
        "has the endpoint 192.0.2.10 outside the cluster",
        [_pod(), _service(WEB)],
    ),
    Code.NO_LOAD_BALANCER_ADDRESS: (
        [_pod(), _service(f"{BALANCER}, loadBalancerIP: 1.2.3.4")],
        "has no load-balancer address: it asks for 1.2.3.4, which is not in the pool",
        [_pod(), _service(BALANCER)],
    ),
    Code.UNANNOUNCED_POOL: (
        [POOL, _pod()],
        "no L2Advertisement is for IPAddressPool p",
        [POOL, ADVERTISED, _pod()],
    ),
    Code.PORT_TAKEN: (
        [_pod(containers="{name: a, ports: [{containerPort: 80}]}, {name: b, ports: [{containerPort: 80}]}")],
        "container b of Pod default/web cannot listen: port 80/TCP is taken by container a",
        [_pod(containers="{name: a, ports: [{containerPort: 80}]}, {name: b, ports: [{containerPort: 81}]}")],
    ),
    Code.NO_DAEMON_POD: (
        [_object("DaemonSet", "d", "spec: {selector: {matchLabels: {app: d}}, template: {metadata: {labels: "
                 "{app: d}}, spec: {nodeSelector: {gpu: 'yes'}, containers: [{name: c}]}}}", "apps/v1")],
        "DaemonSet default/d has no Pod",
        [_object("DaemonSet", "d", "spec: {selector: {matchLabels: {app: d}}, template: {metadata: {labels: "
                 "{app: d}}, spec: {containers: [{name: c}]}}}", "apps/v1")],
    ),
    Code.UNUSED_SLICE: (
        [_pod(), _slice("s", "addressType: IPv4\nendpoints: []\nports: []")],
        "left out: EndpointSlice default/s without the label kubernetes.io/service-name",
        [_pod(), _slice("s", "addressType: IPv4\nendpoints: []\nports: []", OF_WEB)],
    ),
    Code.NO_HINTS: (
        [_pod(), _service(WEB, annotations="{service.kubernetes.io/topology-mode: Auto}")],
        "has no topology hints, despite its annotation service.kubernetes.io/topology-mode",
        [_pod(), _service(f"{WEB}, trafficDistribution: PreferClose")],
    ),
    Code.SAME_NODE_ADDRESS: (
        [_object("Node", name, NODE % (n, n), uid=name) for n, name in enumerate(("a", "b"), 1)],
        "nodes a and b both have the InternalIP 172.18.0.5: b gets another one here",
        [_object("Node", "a", NODE % (1, 1), uid="a")],
    ),
    Code.ADDRESS_OF_NODE: (
        [IPVS, NODES % "{role: worker, name: w, addresses: [172.18.0.9]}", _pod(),
         _service(f"{WEB}, externalIPs: [172.18.0.9]")],
        "has 172.18.0.9, the address of w: in ipvs mode every other node takes it for its own",
        [NODES % "{role: worker, name: w, addresses: [172.18.0.9]}", _pod(),
         _service(f"{WEB}, externalIPs: [172.18.0.9]")],
    ),
    Code.STRICT_ARP: (
        [IPVS, _pod(), _service(BALANCER)],
        "ipvs mode needs ipvs.strictARP: true",
        [f"{IPVS}\nipvs: {{strictARP: true}}", _pod(), _service(BALANCER)],
    ),
    Code.NO_NODE_PORTS: (
        [PROXY, _pod(), _service(f"{BALANCER}, allocateLoadBalancerNodePorts: false")],
        "has no node ports: the balancer, which connects to those, refuses its clients",
        [PROXY, _pod(), _service(BALANCER)],
    ),
    Code.UNCHECKED_STEP: (
        [_deployment("containers: [{name: c}]"), _service(WEB),
         _object("FlowCheck", "c", CHECK % (FLOW, ""), OURS)],
        "spec.steps[0]: has no flows, and no step follows: its change is not checked",
        [_deployment("containers: [{name: c}]"), _service(WEB),
         _object("FlowCheck", "c", CHECK % (FLOW, f", flows: [{FLOW}]"), OURS)],
    ),
    Code.UNKNOWN_CODE: (
        [_object("Pod", "p", "spec: {containers: [{name: c}]}", annotations="{podwire.dev/ignore: PW01}")],
        "PW01 in metadata.annotations",
        [_object("Pod", "p", "spec: {containers: [{name: c}]}", annotations="{podwire.dev/ignore: pw001}")],
    ),
    Code.FOREIGN_NODE_PORT: (
        [_pod(), _service(f"type: NodePort, {WEB[:-2]}, nodePort: 8080}}]")],
        "Service default/web has node port 8080, outside 30000-32767: an API server refuses it",
        [_pod(), _service(f"type: NodePort, {WEB[:-2]}, nodePort: 30080}}]")],
    ),
    Code.UNDECLARED_NAMESPACE: (
        [SHOP, _in("shpo", "a"), _in("shpo", "b"), _in("logging", "c"), _in("shop", "d")],
        "Pod shpo/a is in namespace shpo, which no manifest declares (did you mean shop?)",
        [_in("shpo", "a"), _in("shop", "b")],
    ),
}  # fmt: skip


def _found(manifests: list[str]) -> tuple[ManifestWarning, ...]:
    return state_of(text="\n---\n".join(manifests)).warnings


def test_every_code_is_provoked() -> None:
    assert set(PROVOKED) == set(Code)


@pytest.mark.parametrize("code", Code, ids=lambda code: code.value)
def test_a_manifest_provokes_it_and_one_like_it_does_not(code: Code) -> None:
    manifests, words, other = PROVOKED[code]
    found = [one for one in _found(manifests) if one.code is code]
    assert len(found) == 1
    assert words in say_warning(found[0])
    assert not [one for one in _found(other) if one.code is code]


@pytest.mark.parametrize("code", Code, ids=lambda code: code.value)
def test_it_names_file_and_line_of_an_object(code: Code) -> None:
    (one,) = [one for one in _found(PROVOKED[code][0]) if one.code is code]
    whole = code in (Code.NOTHING, Code.IPV6)
    assert one.file == ("" if whole else "stdin")
    assert (one.line > 0, bool(one.object.kind)) == (not whole, not whole)


@pytest.mark.parametrize("code", Code, ids=lambda code: code.value)
def test_its_section_says_what_it_means_an_example_what_to_do_and_how_to_silence(code: Code) -> None:
    sections = re.split(r"^## ", DOCS.read_text(), flags=re.MULTILINE)[1:]
    (text,) = [text for text in sections if text.split("\n", 1)[0] == code.value]
    meaning, example, rest = text.split("```")
    assert len(meaning.split()) > 10
    assert len(example.split("\n", 1)[1].strip()) > 10
    assert "\nDo: " in rest
    silence = rest.split("\nSilence: ")[1]
    assert f"{IGNORE_ANNOTATION}: {code.value}" in silence or f"--ignore {code.value}" in silence


def test_the_page_has_no_other_sections() -> None:
    assert re.findall(r"^## (.*)$", DOCS.read_text(), re.MULTILINE) == [code.value for code in Code]


# --- silencing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Pod", "Service", "NetworkPolicy", "EndpointSlice"])
def test_an_annotation_silences_the_object_that_has_it(kind: str) -> None:
    rows = {
        "Pod": (_pod(spec="nodeSelector: {disk: ssd}"), Code.RUNS_NOWHERE),
        "Service": (_service(WEB), Code.SELECTS_NO_POD),
        "NetworkPolicy": (PROVOKED[Code.POLICY][0][0], Code.POLICY),
        "EndpointSlice": (PROVOKED[Code.UNUSED_SLICE][0][1], Code.UNUSED_SLICE),
    }
    manifest, code = rows[kind]
    text = f"{IGNORE_ANNOTATION}: 'PW099, {code.value}'"
    silent = manifest.replace("metadata: {", f"metadata: {{annotations: {{{text}}}, ", 1)
    assert code in {one.code for one in _found([manifest])}
    assert code not in {one.code for one in _found([silent])}


@pytest.mark.parametrize("inside", ["metadata: {name: web", "template: {metadata: {labels: {app: web}"])
def test_an_annotation_of_a_workload_or_its_template_silences_its_pods(inside: str) -> None:
    loud = _deployment("nodeSelector: {disk: ssd}, containers: [{name: c}]")
    assert inside in loud
    silent = loud.replace(inside, f"{inside}, annotations: {{{IGNORE_ANNOTATION}: PW010}}", 1)
    assert [one.object for one in _found([loud]) if one.code is Code.RUNS_NOWHERE] == [
        ObjectRef("Deployment", "default/web", "spec.template.spec")
    ]
    assert Code.RUNS_NOWHERE not in {one.code for one in _found([silent])}


@pytest.mark.parametrize("code", [Code.POLICY, Code.POD_MAKER, Code.SCHEDULING, Code.UNCHECKED_STEP])
def test_an_unknown_code_is_told_whatever_the_kind(code: Code) -> None:
    words = f"{IGNORE_ANNOTATION}: 'PW999, {code.value}'"
    silent = [
        one.replace("metadata: {", f"metadata: {{annotations: {{{words}}}, ", 1) for one in PROVOKED[code][0]
    ]
    found = [one for one in _found(silent) if one.code is Code.UNKNOWN_CODE]
    assert len(found) == len(silent)
    assert all(one.file and one.line and "PW999 in metadata.annotations" in say_warning(one) for one in found)


def test_an_unknown_code_in_a_template_is_told() -> None:
    label = "template: {metadata: {labels: {app: web}"
    text = _deployment("containers: [{name: c}]").replace(
        label, f"{label}, annotations: {{{IGNORE_ANNOTATION}: PW999}}"
    )
    (one,) = [one for one in _found([text]) if one.code is Code.UNKNOWN_CODE]
    assert "PW999 in spec.template.metadata.annotations" in say_warning(one)


def test_codes_are_read_with_commas_or_blanks_in_any_case() -> None:
    assert read_codes(["PW008 PW022"]) == ({Code.HOST_PORT, Code.PORT_TAKEN}, ())
    assert read_codes(["pw001, PW005", "PW001,"]) == ({Code.SELECTS_NO_POD, Code.POLICY}, ())
    assert known_codes(["PW001"]) == {Code.SELECTS_NO_POD}
    with pytest.raises(
        UsageError, match=r"--ignore: 'PW0001' is no code of a warning \(hint: did you mean PW001"
    ):
        known_codes(["PW002,PW0001"])
    with pytest.raises(UsageError, match=r"hint: PW001 to PW033, podwire doc warnings lists"):
        known_codes(["services"])


# --- what is said -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manifests", "said"),
    [
        ([_pod(), _service(WEB, namespace="shop")], "(Pods with them are in namespace default)"),
        ([_deployment("containers: [{name: c}]", replicas=0), _service(WEB)],
         "(Deployment default/web would make some, but has 0 replicas)"),
        ([_pod(spec="nodeSelector: {disk: ssd}"), _service(WEB)], "(1 Pod with them runs nowhere)"),
        ([_pod(), _service("selector: {name: web}, ports: [{port: 80}]")], "(did you mean app=web?)"),
        ([_pod(), _service("selector: {app: database}, ports: [{port: 80}]")], "app=database"),
    ],
)  # fmt: skip
def test_a_service_without_a_pod_is_told_why(manifests: list[str], said: str) -> None:
    (one,) = warned(state_of(text="\n---\n".join(manifests)), Code.SELECTS_NO_POD)
    assert one.endswith(said)


def test_pods_that_are_not_ready_are_no_endpoints() -> None:
    pods = [
        f"{_pod(name)}\nstatus: {{conditions: [{{type: Ready, status: 'False'}}]}}" for name in ("a", "b")
    ]
    (one,) = warned(state_of(text="\n---\n".join([*pods, _service(WEB)])), Code.NO_READY_ENDPOINT)
    assert one.endswith("Service default/web has no ready endpoint: none of its 2 endpoints is ready")


def test_a_template_of_pods_in_an_unknown_kind_is_found() -> None:
    rollout = _object(
        "Rollout", "r", "spec: {template: {spec: {containers: [{name: c, image: i}]}}}", "argoproj.io/v1"
    )
    pattern = _object(
        "Policy", "p", "spec: {rules: [{pattern: {spec: {containers: [{image: i}]}}}]}", "kyverno.io/v1"
    )
    assert [one.object.kind for one in _found([rollout, pattern]) if one.code is Code.POD_MAKER] == [
        "Rollout"
    ]


def test_what_a_flow_check_expects_is_no_warning() -> None:
    check = _object("FlowCheck", "c", f"spec: {{flows: [{FLOW[:-1]}, expect: {{outcome: %s}}}}]}}", OURS)
    assert Code.SELECTS_NO_POD not in {one.code for one in _found([_service(WEB), check % "rejected"])}
    assert Code.SELECTS_NO_POD in {one.code for one in _found([_service(WEB), check % "delivered"])}


def test_a_step_is_warned_of_by_what_it_brings_not_by_what_it_ends() -> None:
    """Warns of nothing: a FlowCheck may scale to 0, and its purpose is that Services lose their endpoints
    then.
    """
    applied = (
        "{apiVersion: v1, kind: Service, metadata: {name: late},"
        " spec: {selector: {app: wbe}, ports: [{port: 80}]}}"
    )
    steps = (
        "{name: gone, scale: {kind: Deployment, name: web, replicas: 0}, "
        f"flows: [{FLOW}]}}, {{name: late, apply: [{applied}], flows: [{FLOW}]}}"
    )
    check = _object("FlowCheck", "c", f"spec: {{steps: [{steps}]}}", OURS)
    text = "\n---\n".join([_deployment("containers: [{name: c}]"), _service(WEB), check])
    names = [
        (one.code, one.object.name)
        for moment in scenario_of(text=text).moments
        for one in moment.state.warnings
        if one.code is Code.SELECTS_NO_POD
    ]
    assert names == [(Code.SELECTS_NO_POD, "default/late")]


def _policies(number: int) -> list[ManifestWarning]:
    one = ManifestWarning(code=Code.POLICY, object=ObjectRef("NetworkPolicy", ""), file="p.yaml")
    return [
        replace(one, object=ObjectRef("NetworkPolicy", f"default/p{n}"), line=n) for n in range(1, number + 1)
    ]


def test_a_pod_that_declares_no_port_is_not_compared() -> None:
    silent = [
        _pod(containers="{name: c}"),
        _service("selector: {app: web}, ports: [{port: 80, targetPort: 81}]"),
    ]
    assert not [one for one in _found(silent) if one.code is Code.UNDECLARED_PORT]


def test_warnings_of_one_code_are_folded() -> None:
    assert [row.number for row in fold_warnings(_policies(2))] == [1, 1]
    (row,) = fold_warnings(_policies(7))
    assert (row.number, row.places[:2]) == (7, ("p.yaml:1", "p.yaml:2"))
    text = render_warnings(_policies(7), None)
    assert "       and 6 more of this kind: p.yaml:2, p.yaml:3, p.yaml:4, …" in text.splitlines()


def test_the_line_below_has_no_indent_and_fits_who_reads_it() -> None:
    warning = ManifestWarning(code=Code.POLICY, object=ObjectRef("NetworkPolicy", "default/p"))
    assert render_warnings([warning], 40).splitlines()[-2:] == [
        "podwire doc PW005 explains it; --ignore",
        "PW005 silences it",
    ]
    called = render_warnings([warning], None, called=True)
    assert "--ignore" not in called
    assert called.splitlines()[-1] == (
        "podwire doc PW005 explains it; ignore=('PW005',) of podwire.cluster(), or the annotation "
        "podwire.dev/ignore, silences it"
    )


def test_a_pod_has_no_pods() -> None:
    (one,) = warned(state_of(text=_pod(spec="schedulerName: volcano")), Code.SCHEDULING)
    assert one.endswith("Pod default/web is placed without regard to schedulerName volcano")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_token_is_broken(width: int) -> None:
    every = [one for manifests, _, _ in PROVOKED.values() for one in _found(manifests)]
    text = render_warnings(every, width)
    tokens = {word for line in render_warnings(every, None).splitlines() for word in line.split()}
    for line in text.splitlines():
        assert len(line) <= width or len(line.split()) == 1 or len(max(line.split(), key=len)) > width - 8
        assert set(line.split()) <= tokens


def test_no_name_reaches_a_terminal_unchecked() -> None:
    hostile = _object("NetworkPolicy", '"a\\e[2J"', "spec: {}", "networking.k8s.io/v1")
    assert all(say_warning(one).isprintable() for one in _found([hostile, _pod()]))
