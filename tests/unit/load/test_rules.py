"""Tests every rule over one object: a manifest that breaks it, and the problem that the user reads."""

from __future__ import annotations

import pytest

from emulator.net import parse_sloppy
from emulator.report.prose_of_warnings import fold_warnings
from tests.told import told
from tests.unit.load.reading import load_text, problems_of

LONG = "a" * 64


def pod(spec: str = "", meta: str = "name: p", containers: str = "[{name: c}]", rest: str = "") -> str:
    return (
        f"{{apiVersion: v1, kind: Pod, metadata: {{{meta}}}, spec: {{containers: "
        f"{containers}{', ' + spec if spec else ''}}}{', ' + rest if rest else ''}}}"
    )


def service(spec: str = "ports: [{port: 80}]", meta: str = "name: s", rest: str = "") -> str:
    return (
        f"{{apiVersion: v1, kind: Service, metadata: {{{meta}}}, spec: "
        f"{{{spec}}}{', ' + rest if rest else ''}}}"
    )


def deployment(
    spec: str,
    template: str = "metadata: {labels: {app: a}}, spec: {containers: [{name: c}]}",
    version: str = "apps/v1",
) -> str:
    return (
        f"{{apiVersion: {version}, kind: Deployment, metadata: {{name: d}}, spec: "
        f"{{{spec}{', ' if spec else ''}template: {{{template}}}}}}}"
    )


def endpoint_slice(rest: str, address_type: str = "addressType: IPv4") -> str:
    return (
        f"{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: e}}, "
        f"{address_type}{', ' if address_type else ''}{rest}}}"
    )


def cluster(rest: str) -> str:
    return f"{{apiVersion: podwire.dev/v1alpha1, kind: Cluster, {rest}}}"


def flow(
    rest: str = "", *, start: str = "{pod: a}", to: str = "{service: s, port: 80}", name: str = "f"
) -> str:
    return (
        "{apiVersion: podwire.dev/v1alpha1, kind: FlowCheck, metadata: {name: c},"
        f" spec: {{flows: [{{name: {name}, from: {start}, to: {to}{', ' + rest if rest else ''}}}]}}}}"
    )


def metallb(kind: str, spec: str) -> str:
    return f"{{apiVersion: metallb.io/v1beta1, kind: {kind}, metadata: {{name: m}}, spec: {{{spec}}}}}"


def address_pool(addresses: str = "172.18.9.0/30", rest: str = "") -> str:
    return metallb("IPAddressPool", f"addresses: [{addresses}]{', ' + rest if rest else ''}")


NAMES = [
    pytest.param(
        pod(meta="name: Web"), "metadata.name", "RFC 1123 subdomain", "web, say", id="capital letter"
    ),
    pytest.param(
        pod(meta='name: "--flush"'),
        "metadata.name",
        "'--flush' must be an RFC 1123",
        "flush, say",
        id="like an option",
    ),
    pytest.param(pod(meta='name: "-A"'), "metadata.name", "RFC 1123", "a, say", id="like a short option"),
    pytest.param(pod(meta='name: "a\\nb"'), "metadata.name", "RFC 1123", "a-b, say", id="newline"),
    pytest.param(pod(meta='name: "a\\n"'), "metadata.name", "RFC 1123", "a, say", id="newline at the end"),
    pytest.param(
        pod(meta='name: "\\e[31ma"'), "metadata.name", "RFC 1123", "31ma, say", id="escape sequence"
    ),
    pytest.param(pod(meta='name: "a\'b"'), "metadata.name", "RFC 1123", "a-b, say", id="quote"),
    pytest.param(
        pod(meta='name: "a;reboot"'), "metadata.name", "RFC 1123", "a-reboot, say", id="shell syntax"
    ),
    pytest.param(pod(meta='name: "../x"'), "metadata.name", "RFC 1123", "x, say", id="path"),
    pytest.param(pod(meta='name: "a..b"'), "metadata.name", "RFC 1123", "a-b, say", id="empty label"),
    pytest.param(pod(meta="name: é"), "metadata.name", "RFC 1123", "", id="not ASCII"),
    pytest.param(
        pod(meta=f"name: {'a' * 254}"), "metadata.name", "at most 253", "", id="too long a subdomain"
    ),
    pytest.param(pod(meta="labels: {}"), "metadata.name", "is required", "", id="no name"),
    pytest.param(pod(meta="generateName: A-"), "metadata.generateName", "RFC 1123", "", id="generateName"),
    pytest.param(
        pod(meta="name: p, namespace: a.b"),
        "metadata.namespace",
        "RFC 1123 label",
        "a-b, say",
        id="namespace",
    ),
    pytest.param(service(meta="name: a.b"), "metadata.name", "RFC 1123 label", "", id="Service with a dot"),
    pytest.param(
        "{apiVersion: v1, kind: Namespace, metadata: {name: a.b}}",
        "metadata.name",
        "RFC 1123 label",
        "",
        id="Namespace with a dot",
    ),
    pytest.param(
        "{apiVersion: v1, kind: Node, metadata: {name: 'n 1'}}",
        "metadata.name",
        "RFC 1123 subdomain",
        "n-1, say",
        id="Node",
    ),
    pytest.param(
        service(meta="generateName: s-"), "metadata.name", "is required", "", id="generateName of a Service"
    ),
    pytest.param(
        pod(meta="name: p, labels: {'a b': c}"), 'metadata.labels["a b"]', "the key 'a b'", "", id="label key"
    ),
    pytest.param(
        pod(meta="name: p, labels: {'A.b/c/d': c}"),
        'metadata.labels["A.b/c/d"]',
        "the key",
        "",
        id="label prefix",
    ),
    pytest.param(
        pod(meta="name: p, labels: {'/c': c}"),
        'metadata.labels["/c"]',
        "the key",
        "",
        id="empty label prefix",
    ),
    pytest.param(
        pod(meta="name: p, labels: {a: '-x'}"),
        "metadata.labels.a",
        "'-x' must be empty or",
        "",
        id="label value",
    ),
    pytest.param(
        pod(meta=f"name: p, labels: {{a: {LONG}}}"),
        "metadata.labels.a",
        "at most 63",
        "",
        id="label value too long",
    ),
    pytest.param(
        pod(meta="name: p, annotations: {'a b': c}"),
        'metadata.annotations["a b"]',
        "the key",
        "",
        id="annotation key",
    ),
]

PODS = [
    pytest.param(pod(containers="[]"), "spec.containers", "is required", "", id="no containers"),
    pytest.param(
        pod(containers="[{name: c}, {name: c}]"),
        "spec.containers[1].name",
        "'c' is the name of an earlier",
        "",
        id="same name",
    ),
    pytest.param(
        pod("initContainers: [{name: c}]"),
        "spec.initContainers[0].name",
        "'c' is the name of an earlier",
        "",
        id="same name as an init's",
    ),
    pytest.param(
        pod(containers="[{name: C}]"), "spec.containers[0].name", "RFC 1123 label", "", id="container name"
    ),
    pytest.param(
        pod(containers="[{name: c, ports: [{containerPort: 0}]}]"),
        "spec.containers[0].ports[0].containerPort",
        "between 1 and 65535, is 0",
        "",
        id="port 0",
    ),
    pytest.param(
        pod(containers="[{name: c, ports: [{containerPort: 65536}]}]"),
        "spec.containers[0].ports[0].containerPort",
        "is 65536",
        "",
        id="port 65536",
    ),
    pytest.param(
        pod(containers="[{name: c, ports: [{containerPort: 1, name: Http}]}]"),
        "spec.containers[0].ports[0].name",
        "'Http' must be a port name",
        "http, say",
        id="port name with a capital",
    ),
    pytest.param(
        pod(containers="[{name: c, ports: [{containerPort: 1, name: abcdefghijklmnop}]}]"),
        "spec.containers[0].ports[0].name",
        "at most 15",
        "",
        id="port name of 16",
    ),
    pytest.param(
        pod(containers="[{name: c, ports: [{containerPort: 1, name: '80'}]}]"),
        "spec.containers[0].ports[0].name",
        "a letter among them",
        "",
        id="port name without a letter",
    ),
    pytest.param(
        pod(containers="[{name: c, ports: [{containerPort: 1, name: a}, {containerPort: 2, name: a}]}]"),
        "spec.containers[0].ports[1].name",
        "'a' is the name of an earlier",
        "",
        id="port name twice",
    ),
    pytest.param(
        pod(containers="[{name: c, ports: [{containerPort: 1, protocol: tcp}]}]"),
        "spec.containers[0].ports[0].protocol",
        "must be one of TCP, UDP, SCTP, is 'tcp'",
        "",
        id="protocol",
    ),
    pytest.param(pod("nodeName: 'a b'"), "spec.nodeName", "RFC 1123", "", id="nodeName"),
    pytest.param(
        pod("nodeSelector: {a: 'x y'}"), "spec.nodeSelector.a", "must be empty or", "", id="nodeSelector"
    ),
    pytest.param(
        pod("tolerations: [{value: x}]"),
        "spec.tolerations[0].operator",
        "must be Exists",
        "",
        id="toleration without a key",
    ),
    pytest.param(
        pod(rest="status: {podIP: 10.244.1.300}"),
        "status.podIP",
        "an IP address, is '10.244.1.300'",
        "",
        id="podIP",
    ),
    pytest.param(
        pod(rest="status: {podIPs: [{ip: x}]}"), "status.podIPs[0].ip", "an IP address", "", id="podIPs"
    ),
    pytest.param(
        pod(rest="status: {hostIP: 'fe80::1%eth0'}"),
        "status.hostIP",
        "an IP address",
        "",
        id="address with a zone",
    ),
    pytest.param(
        "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {podCIDR: 10.244.1.0}}",
        "spec.podCIDR",
        "CIDR",
        "10.244.0.0/16",
        id="podCIDR: no length",
    ),
    pytest.param(
        "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {podCIDRs: [10.0.0.0/33]}}",
        "spec.podCIDRs[0]",
        "CIDR",
        "",
        id="podCIDR: length 33",
    ),
    pytest.param(
        "{apiVersion: v1, kind: Node, metadata: {name: n}, status: {addresses: [{type: InternalIP, "
        "address: n1}]}}",
        "status.addresses[0].address",
        "an IP address",
        "",
        id="node address",
    ),
    pytest.param(
        "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {taints: [{key: 'a b', effect: "
        "NoSchedule}]}}",
        "spec.taints[0].key",
        "key",
        "",
        id="taint",
    ),
]

HOST_PORTS = [
    pytest.param(
        pod("hostNetwork: true", containers="[{name: c, ports: [{containerPort: 80, hostPort: 81}]}]"),
        "spec.containers[0].ports[0].hostPort",
        "must be the containerPort, 80, when hostNetwork is true",
        "leave it out",
        id="hostNetwork with another hostPort",
    ),
    pytest.param(
        deployment(
            "selector: {matchLabels: {app: a}}",
            "metadata: {labels: {app: a}}, spec: {hostNetwork: true, containers: [{name: c, ports: "
            "[{containerPort: 80, hostPort: 81}]}]}",
        ),
        "spec.template.spec.containers[0].ports[0].hostPort",
        "must be the containerPort",
        "",
        id="hostNetwork with another hostPort in a template",
    ),
    pytest.param(
        pod(
            containers="[{name: c, ports: [{containerPort: 1, hostPort: 80}]}, {name: d, ports: "
            "[{containerPort: 2, hostPort: 80}]}]"
        ),
        "spec.containers[1].ports[0].hostPort",
        "is the host port of an earlier entry",
        "",
        id="one hostPort for two containers",
    ),
    pytest.param(
        pod(
            "hostNetwork: true",
            containers="[{name: c, ports: [{containerPort: 80}]}, {name: d, ports: [{containerPort: 80}]}]",
        ),
        "spec.containers[1].ports[0].hostPort",
        "'80/TCP' is the host port of an earlier entry",
        "",
        id="one port of the host for two containers",
    ),
    pytest.param(
        deployment(
            "selector: {matchLabels: {app: a}}",
            "metadata: {labels: {app: a}}, spec: {restartPolicy: Never, containers: [{name: c}]}",
        ),
        "spec.template.spec.restartPolicy",
        "must be Always for a Deployment, is 'Never'",
        "Job",
        id="restartPolicy of a Deployment",
    ),
    pytest.param(
        pod("tolerations: [{key: a, operator: Exists, value: b}]"),
        "spec.tolerations[0].value",
        "must be empty",
        "",
        id="value with Exists",
    ),
    pytest.param(
        pod("tolerations: [{key: a, effect: NoSchedul}]"),
        "spec.tolerations[0].effect",
        "must be one of NoSchedule",
        "did you mean NoSchedule",
        id="effect of a toleration",
    ),
    pytest.param(
        "{apiVersion: v1, kind: Node, metadata: {name: a}, spec: {taints: [{key: k, effect: "
        "NoExecute}, {key: k, effect: NoExecute, value: v}]}}",
        "spec.taints[1]",
        "is the key and effect of an earlier entry",
        "",
        id="taint twice",
    ),
    pytest.param(
        service("ports: [{port: 80}], ipFamilies: [IPv5]"),
        "spec.ipFamilies[0]",
        "must be one of IPv4, IPv6",
        "",
        id="family",
    ),
    pytest.param(
        service("ports: [{port: 80}], ipFamilies: [IPv6], clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9]"),
        "spec.ipFamilies[0]",
        "must be the family of clusterIPs[0]",
        "",
        id="family of another address",
    ),
    pytest.param(
        service("ports: [{port: 80}], trafficDistribution: ''"),
        "spec.trafficDistribution",
        "must be one of",
        "",
        id="no word",
    ),
    pytest.param(
        service("ports: [{port: 80}], internalTrafficPolicy: ''"),
        "spec.internalTrafficPolicy",
        "must be one of",
        "",
        id="empty",
    ),
    pytest.param(
        service("ports: [{port: 80, protocol: tcp}]"),
        "spec.ports[0].protocol",
        "is 'tcp'",
        "did you mean TCP",
        id="lower case",
    ),
    pytest.param(
        endpoint_slice("endpoints: [], ports: [{port: 80, protocol: ''}]"),
        "ports[0].protocol",
        "is ''",
        "leave it out",
        id="slice's protocol",
    ),
    pytest.param(
        endpoint_slice("endpoints: [], ports: true"),
        "ports",
        "must be a list, is true",
        "",
        id="ports are no list",
    ),
    pytest.param(
        "{apiVersion: v1, kind: Endpoints, metadata: {name: e}, subsets: [{addresses: [{ip: "
        "10.0.0.1}], ports: [{name: a, port: 1}, {port: 2}]}]}",
        "subsets[0].ports[1].name",
        "is required",
        "",
        id="one of two ports of Endpoints unnamed",
    ),
    pytest.param(
        "{apiVersion: v1, kind: Node, metadata: {name: a}, status: {addresses: [{type: InternalIP, "
        "address: '***HIDDEN***'}]}}",
        "status.addresses[0].address",
        "must be an IP address",
        "a support bundle hides addresses",
        id="hidden address",
    ),
]

WORKLOADS = [
    pytest.param(deployment(""), "spec.selector", "is required", "matchLabels", id="no selector"),
    pytest.param(deployment("selector: {}"), "spec.selector", "must not be empty", "", id="empty selector"),
    pytest.param(
        deployment("selector: {matchLabels: {app: b}}"),
        "spec.selector",
        "does not match template",
        "",
        id="selector misses its template",
    ),
    pytest.param(
        deployment("replicas: -1, selector: {matchLabels: {app: a}}"),
        "spec.replicas",
        "0 or more, is -1",
        "",
        id="replicas",
    ),
    pytest.param(
        deployment("selector: {matchLabels: {app: a}}", "metadata: {labels: {app: a}}"),
        "spec.template.spec.containers",
        "is required",
        "",
        id="template without containers",
    ),
    pytest.param(
        deployment("selector: {matchLabels: {app: a}, matchExpressions: [{key: app, operator: In}]}"),
        "spec.selector.matchExpressions[0].values",
        "is required with In",
        "",
        id="In without values",
    ),
    pytest.param(
        deployment(
            "selector: {matchLabels: {app: a}, matchExpressions: [{key: app, operator: Exists, values: [x]}]}"
        ),
        "spec.selector.matchExpressions[0].values",
        "must be empty with Exists",
        "",
        id="Exists with values",
    ),
]

SERVICES = [
    pytest.param(service("type: NodePort"), "spec.ports", "is required", "headless", id="no ports"),
    pytest.param(
        service("ports: [{port: 80, name: A}]"), "spec.ports[0].name", "RFC 1123 label", "", id="port name"
    ),
    pytest.param(
        service("ports: [{port: 80}, {port: 81, name: b}]"),
        "spec.ports[0].name",
        "is required",
        "",
        id="several ports need names",
    ),
    pytest.param(
        service("ports: [{port: 80, name: a}, {port: 81, name: a}]"),
        "spec.ports[1].name",
        "an earlier entry",
        "",
        id="port name twice",
    ),
    pytest.param(
        service("ports: [{port: 80, name: a}, {port: 80, name: b}]"),
        "spec.ports[1]",
        "'80/TCP' is the port and protocol",
        "",
        id="port twice",
    ),
    pytest.param(service("ports: [{port: 70000}]"), "spec.ports[0].port", "is 70000", "", id="port 70000"),
    pytest.param(
        service("ports: [{port: 80, targetPort: 70000}]"),
        "spec.ports[0].targetPort",
        "is 70000",
        "",
        id="targetPort 70000",
    ),
    pytest.param(
        service("ports: [{port: 80, targetPort: '8080'}]"),
        "spec.ports[0].targetPort",
        "'8080' must be a port number or",
        "leave the quotes out",
        id="targetPort in quotes",
    ),
    pytest.param(
        service("ports: [{port: 80, nodePort: 30000}]"),
        "spec.ports[0].nodePort",
        "must not be set",
        "NodePort",
        id="nodePort",
    ),
    pytest.param(
        service("ports: [{port: 80}], clusterIP: 10.96.0.300"),
        "spec.clusterIP",
        "an IP address",
        "",
        id="clusterIP",
    ),
    pytest.param(
        service("ports: [{port: 80}], clusterIP: 10.96.0.1, clusterIPs: [10.96.0.2]"),
        "spec.clusterIPs[0]",
        "the same as clusterIP",
        "",
        id="clusterIP and clusterIPs differ",
    ),
    pytest.param(
        service("ports: [{port: 80}], type: NodePort, clusterIP: None"),
        "spec.clusterIP",
        "must not be None",
        "",
        id="headless NodePort",
    ),
    pytest.param(
        service("type: ExternalName"),
        "spec.externalName",
        "is required",
        "",
        id="ExternalName without a name",
    ),
    pytest.param(
        service("ports: [{port: 80}], externalIPs: [127.0.0.1]"),
        "spec.externalIPs[0]",
        "loopback",
        "",
        id="loopback externalIP",
    ),
    pytest.param(
        service("type: LoadBalancer, ports: [{port: 80}], loadBalancerSourceRanges: [10.0.0.0]"),
        "spec.loadBalancerSourceRanges[0]",
        "CIDR",
        "",
        id="source range",
    ),
    pytest.param(
        service(
            "ports: [{port: 80}], sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: "
            "{timeoutSeconds: 86401}}"
        ),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        "between 1 and 86400",
        "",
        id="affinity of more than a day",
    ),
    pytest.param(
        service(rest="status: {loadBalancer: {ingress: [{ip: x}]}}"),
        "status.loadBalancer.ingress[0].ip",
        "an IP address",
        "",
        id="ingress",
    ),
    *(
        pytest.param(
            service(f"ports: [{{port: 80}}], {field}"),
            f"spec.{field.partition(':')[0]}",
            "of type LoadBalancer only",
            "",
            id=field,
        )
        for field in (
            "loadBalancerSourceRanges: [10.0.0.0/8]",
            "loadBalancerClass: a",
            "allocateLoadBalancerNodePorts: false",
        )
    ),
    pytest.param(
        service("ports: [{port: 80}], externalTrafficPolicy: Local"),
        "spec.externalTrafficPolicy",
        "with an external address only: this ClusterIP Service has none",
        "",
        id="externalTrafficPolicy of a ClusterIP",
    ),
    pytest.param(
        service("ports: [{port: 80}], externalTrafficPolicy: Cluster"),
        "spec.externalTrafficPolicy",
        "with an external address only",
        "",
        id="externalTrafficPolicy that is the default",
    ),
    pytest.param(
        service("ports: [{port: 80}], type: LoadBalancer, healthCheckNodePort: 30000"),
        "spec.healthCheckNodePort",
        "only with type LoadBalancer and externalTrafficPolicy Local",
        "",
        id="healthCheckNodePort under Cluster",
    ),
    pytest.param(
        service("ports: [{port: 80}], trafficDistribution: PreferClosest"),
        "spec.trafficDistribution",
        "must be one of PreferClose",
        "did you mean PreferClose?",
        id="trafficDistribution",
    ),
    pytest.param(
        service("type: LoadBalancer, ports: [{port: 80}], loadBalancerClass: a b"),
        "spec.loadBalancerClass",
        "letters, digits",
        "",
        id="loadBalancerClass",
    ),
    pytest.param(
        service("type: LoadBalancer, ports: [{port: 10250}]"),
        "spec.ports[0].port",
        "the kubelet's",
        "",
        id="the kubelet's port",
    ),
    pytest.param(
        service("ports: [{port: 80, appProtocol: a b}]"),
        "spec.ports[0].appProtocol",
        "letters, digits",
        "",
        id="appProtocol",
    ),
    pytest.param(
        service("ports: [{port: 80}], clusterIPs: [10.96.0.9]"),
        "spec.clusterIPs",
        "must be empty while",
        "",
        id="clusterIPs alone",
    ),
    pytest.param(
        service("ports: [{port: 80}], clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9, 10.96.0.8]"),
        "spec.clusterIPs[1]",
        "'IPv4' is the address family",
        "",
        id="two ClusterIPs of one family",
    ),
    pytest.param(
        service("type: ExternalName, externalName: a, clusterIP: 10.96.0.9"),
        "spec.clusterIP",
        "ExternalName",
        "",
        id="ExternalName's address",
    ),
    pytest.param(
        service("type: ExternalName, externalName: a, ipFamilies: [IPv4]"),
        "spec.ipFamilies",
        "ExternalName",
        "",
        id="ExternalName's family",
    ),
    pytest.param(
        service("type: ExternalName, externalName: a b"),
        "spec.externalName",
        "RFC 1123",
        "",
        id="externalName",
    ),
    pytest.param(
        service(rest="status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}"),
        "status.loadBalancer.ingress",
        "of type LoadBalancer only",
        "",
        id="ingress of a ClusterIP",
    ),
    pytest.param(
        service(
            "type: LoadBalancer, ports: [{port: 80}]",
            rest="status: {loadBalancer: {ingress: [{hostname: a b}]}}",
        ),
        "status.loadBalancer.ingress[0].hostname",
        "RFC 1123",
        "",
        id="hostname of an ingress",
    ),
    pytest.param(
        endpoint_slice("endpoints: []", ""), "addressType", "is required", "IPv4", id="no addressType"
    ),
    pytest.param(
        endpoint_slice(f"endpoints: [{', '.join(['{addresses: [10.0.0.1]}'] * 1001)}]"),
        "endpoints",
        "at most 1000",
        "",
        id="1001 endpoints",
    ),
    pytest.param(
        endpoint_slice("endpoints: [{addresses: [10.0.0.1], hints: {forZones: [{name: a}, {name: a}]}}]"),
        "endpoints[0].hints.forZones[1].name",
        "an earlier entry",
        "",
        id="zone hint twice",
    ),
    pytest.param(
        endpoint_slice("endpoints: [{addresses: [10.0.0.1], hints: {forZones: [{name: a b}]}}]"),
        "endpoints[0].hints.forZones[0].name",
        "must be empty or letters",
        "",
        id="zone hint",
    ),
    pytest.param(
        endpoint_slice("endpoints: [{addresses: [10.0.0.1], hints: {forNodes: [{name: A}]}}]"),
        "endpoints[0].hints.forNodes[0].name",
        "RFC 1123",
        "",
        id="node hint",
    ),
    pytest.param(
        endpoint_slice(
            f"endpoints: [{{addresses: [10.0.0.1], hints: {{forZones: "
            f"[{', '.join(f'{{name: z{i}}}' for i in range(9))}]}}}}]"
        ),
        "endpoints[0].hints.forZones",
        "at most 8 hints, holds 9",
        "",
        id="nine hints",
    ),
    pytest.param(
        "{apiVersion: v1, kind: Endpoints, metadata: {name: e}, subsets: [{ports: [{port: 80}]}]}",
        "subsets[0]",
        "must have addresses",
        "",
        id="empty subset",
    ),
    pytest.param(
        endpoint_slice("endpoints: [{addresses: []}]"),
        "endpoints[0].addresses",
        "between 1 and 100",
        "",
        id="no addresses",
    ),
    pytest.param(
        endpoint_slice("endpoints: [{addresses: ['::1']}]"),
        "endpoints[0].addresses[0]",
        "not of addressType IPv4",
        "",
        id="family",
    ),
    pytest.param(
        endpoint_slice("endpoints: [{addresses: [127.0.0.1]}]"),
        "endpoints[0].addresses[0]",
        "loopback",
        "",
        id="loopback",
    ),
    pytest.param(
        endpoint_slice("endpoints: [{addresses: ['a b']}]", "addressType: FQDN"),
        "endpoints[0].addresses[0]",
        "RFC 1123",
        "",
        id="FQDN endpoint",
    ),
    pytest.param(
        endpoint_slice("ports: [{name: a}, {name: a}]"),
        "ports[1].name",
        "an earlier entry",
        "",
        id="slice port name twice",
    ),
    pytest.param(
        "{apiVersion: v1, kind: Endpoints, metadata: {name: e}, subsets: [{addresses: [{ip: 1.2.3}]}]}",
        "subsets[0].addresses[0].ip",
        "an IP address",
        "",
        id="Endpoints",
    ),
]

CONFIG = [
    pytest.param(
        cluster("networking: {ipFamily: ipv6}"),
        "networking.ipFamily",
        "IPv4 networks only so far",
        "",
        id="IPv6 alone",
    ),
    pytest.param(
        cluster("networking: {podSubnet: 'fd00::/48'}"),
        "networking.podSubnet",
        "IPv4 networks only so far",
        "",
        id="IPv6 subnet",
    ),
    pytest.param(
        cluster("networking: {podSubnet: '10.0.0.0/16,10.1.0.0/16'}"),
        "networking.podSubnet",
        "must be one prefix, or one of each family",
        "",
        id="two subnets",
    ),
    pytest.param(
        cluster("networking: {podSubnet: 10.0.0.0}"),
        "networking.podSubnet",
        "CIDR",
        "",
        id="subnet without length",
    ),
    pytest.param(
        cluster("networking: {podSubnet: 10.0.0.0/8, serviceSubnet: 10.96.0.0/12}"),
        "networking.serviceSubnet",
        "'10.96.0.0/12' overlaps podSubnet, '10.0.0.0/8'",
        "change podSubnet or serviceSubnet",
        id="overlap",
    ),
    pytest.param(
        cluster("networking: {serviceSubnet: 172.16.0.0/12, hostSubnet: 172.18.0.0/16}"),
        "networking.hostSubnet",
        "overlaps serviceSubnet",
        "",
        id="overlap with hosts",
    ),
    pytest.param(
        "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, "
        "nodePortAddresses: [primary, 10.0.0.0/8]}",
        "nodePortAddresses",
        "primary alone",
        "",
        id="primary and a prefix",
    ),
    pytest.param(
        "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, "
        "detectLocalMode: NodeCidr}",
        "detectLocalMode",
        "one of ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix, is 'NodeCidr'",
        "did you mean NodeCIDR",
        id="detectLocalMode",
    ),
    pytest.param(
        cluster("networking: {kubeProxyMode: none}"),
        "networking.kubeProxyMode",
        "is 'none'",
        "not supported yet",
        id="mode none",
    ),
    pytest.param(
        cluster("networking: {kubeProxyMode: iptable}"),
        "networking.kubeProxyMode",
        "one of iptables",
        "did you mean iptables",
        id="mode",
    ),
    pytest.param(
        cluster("nodes: [{name: a}, {name: a}]"),
        "nodes[1].name",
        "an earlier entry",
        "",
        id="node name twice",
    ),
    pytest.param(cluster("nodes: [{name: A}]"), "nodes[0].name", "RFC 1123", "a, say", id="node name"),
    pytest.param(
        cluster("nodes: [{labels: {a: 'b c'}}]"), "nodes[0].labels.a", "must be empty or", "", id="node label"
    ),
    pytest.param(
        cluster("nodes: [{role: master}]"),
        "nodes[0].role",
        "one of control-plane, worker, etcd",
        "",
        id="role",
    ),
    pytest.param(cluster("nodes: [{podCIDR: x}]"), "nodes[0].podCIDR", "CIDR", "", id="node podCIDR"),
    pytest.param(
        cluster("nodes: [{addresses: [x]}]"),
        "nodes[0].addresses[0]",
        "an IP address",
        "",
        id="node address in a Cluster",
    ),
    pytest.param(
        cluster("node: []"), "node", "is not a field of podwire's", "did you mean nodes?", id="unknown field"
    ),
    pytest.param(
        cluster("nodes: [{zone: a}]"),
        "nodes[0].zone",
        "is not a field",
        "fields here: role, name",
        id="unknown field of a node",
    ),
    pytest.param(
        cluster("externalClients: [{name: 'a b', address: 203.0.113.1}]"),
        "externalClients[0].name",
        "RFC 1123 label",
        "a-b",
        id="client name",
    ),
    pytest.param(
        cluster("externalClients: [{name: a, address: x}]"),
        "externalClients[0].address",
        "an IP address",
        "",
        id="client address",
    ),
    pytest.param(
        cluster("externalClients: [{name: a, address: '::2'}]"),
        "externalClients[0].address",
        "IPv4",
        "",
        id="IPv6 client",
    ),
    pytest.param(
        cluster("externalClients: [{name: a, address: 203.0.113.1}, {name: a, address: 203.0.113.2}]"),
        "externalClients[1].name",
        "'a' is the name of an earlier",
        "",
        id="client name twice",
    ),
    pytest.param(
        cluster("externalClients: [{name: a, address: 203.0.113.1}, {name: b, address: 203.0.113.1}]"),
        "externalClients[1].address",
        "'203.0.113.1' is the address of an earlier",
        "",
        id="client address twice",
    ),
    pytest.param(
        "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, "
        "nodePortAddresses: [x]}",
        "nodePortAddresses[0]",
        "CIDR",
        "",
        id="nodePortAddresses",
    ),
    pytest.param(
        "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, mode: kernelspace}",
        "mode",
        "must be one of iptables, nftables, ipvs, userspace, is 'kernelspace'",
        "",
        id="proxy mode",
    ),
    pytest.param(
        "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, ipvs: "
        "{tcpTimeout: soon}}",
        "ipvs.tcpTimeout",
        "must be a duration, is 'soon'",
        "15m0s, say",
        id="no duration",
    ),
    pytest.param(
        "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, ipvs: "
        "{tcpFinTimeout: -1s}}",
        "ipvs.tcpFinTimeout",
        "'-1s' must be between 0s and 2147483s",
        "",
        id="negative duration",
    ),
    pytest.param(
        "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, ipvs: "
        "{udpTimeout: 600h}}",
        "ipvs.udpTimeout",
        "'600h' must be between 0s and 2147483s",
        "",
        id="more seconds than the kernel takes",
    ),
    pytest.param(
        "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, ipvs: "
        "{scheduler: fastest}}",
        "ipvs.scheduler",
        "must be one of rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh",
        "",
        id="unknown scheduler",
    ),
]

FLOWS = [
    pytest.param(
        flow(start="{}"),
        "spec.flows[0].from",
        "exactly one of pod, podSelector, node, external",
        "",
        id="from nobody",
    ),
    pytest.param(
        flow(start="{pod: a, node: b}"), "spec.flows[0].from", "has pod and node", "", id="from two"
    ),
    pytest.param(flow(start="{pod: --flush}"), "spec.flows[0].from.pod", "RFC 1123", "", id="from an option"),
    pytest.param(
        flow(to="{port: 80}"), "spec.flows[0].to", "exactly one of service, pod", "", id="to nobody"
    ),
    pytest.param(flow(to="{service: a}"), "spec.flows[0].to.port", "is required with TCP", "", id="no port"),
    pytest.param(flow(to="{service: a, port: 0}"), "spec.flows[0].to.port", "is 0", "", id="to port 0"),
    pytest.param(
        flow(to="{ip: 1.2.3.4, port: http}"),
        "spec.flows[0].to.port",
        "must be a number",
        "",
        id="named port of an address",
    ),
    pytest.param(
        flow(to="{ip: 'fd00::1', port: 1}"),
        "spec.flows[0].to.ip",
        "podwire builds IPv4 networks only so far",
        "",
        id="to an IPv6 address",
    ),
    pytest.param(
        flow(to="{ip: 1.2.3.400, port: 1}"), "spec.flows[0].to.ip", "an IP address", "", id="to no address"
    ),
    pytest.param(
        flow(to="{pod: a, nodePort: 1}"),
        "spec.flows[0].to.nodePort",
        "goes with node only",
        "",
        id="nodePort of a Pod",
    ),
    pytest.param(
        flow(to="{node: a, nodePort: 1, port: 2}"),
        "spec.flows[0].to",
        "port or nodePort, not both",
        "",
        id="both ports",
    ),
    pytest.param(flow("via: n"), "spec.flows[0].via", "external clients only", "", id="via"),
    pytest.param(flow("attempts: 0"), "spec.flows[0].attempts", "between 1 and 10000", "", id="no attempts"),
    pytest.param(
        flow("attempts: 10001"), "spec.flows[0].attempts", "between 1 and 10000", "", id="too many attempts"
    ),
    pytest.param(
        flow("protocol: QUIC"),
        "spec.flows[0].protocol",
        "one of TCP, UDP, ICMP, SCTP",
        "",
        id="flow protocol",
    ),
    pytest.param(
        flow("expect: {outcome: refused}"),
        "spec.flows[0].expect.outcome",
        "one of delivered",
        "",
        id="outcome",
    ),
    pytest.param(
        flow("expect: {source: me}"),
        "spec.flows[0].expect.source",
        "preserved, node, balancer or an IP address",
        "",
        id="source",
    ),
    pytest.param(
        flow("expect: {outcome: dropped, source: node}"),
        "spec.flows[0].expect.source",
        "must be left out",
        "",
        id="source of what is dropped",
    ),
    pytest.param(
        flow(to="{service: s, healthCheck: lb}"),
        "spec.flows[0].to.healthCheck",
        "goes with node only",
        "write node:",
        id="check of no node",
    ),
    pytest.param(
        flow(to="{node: n, healthCheck: lb, port: 80}"),
        "spec.flows[0].to.healthCheck",
        "goes without a port",
        "",
        id="health check with a port",
    ),
    pytest.param(
        flow("protocol: UDP", to="{node: n, healthCheck: lb}"),
        "spec.flows[0].to.healthCheck",
        "and so TCP, not UDP",
        "",
        id="check by UDP",
    ),
    pytest.param(
        flow(to="{node: n, healthCheck: LB}"),
        "spec.flows[0].to.healthCheck",
        "'LB' must be an RFC 1123",
        "lb, say",
        id="check of a bad name",
    ),
    pytest.param(
        flow("expect: {status: 404}"),
        "spec.flows[0].expect.status",
        "must be 200 or 503, is 404",
        "",
        id="no health check's status",
    ),
    pytest.param(
        flow("expect: {localEndpoints: -1}"),
        "spec.flows[0].expect.localEndpoints",
        "between 0 and",
        "",
        id="fewer than no endpoints",
    ),
    pytest.param(
        flow("expect: {status: 503, localEndpoints: 1}"),
        "spec.flows[0].expect.localEndpoints",
        "cannot be 1 with status 503",
        "503: there are none",
        id="503 with endpoints",
    ),
    pytest.param(
        flow("expect: {status: 200, localEndpoints: 0}"),
        "spec.flows[0].expect.localEndpoints",
        "cannot be 0 with status 200",
        "200: there are some",
        id="200 without endpoints",
    ),
    pytest.param(
        flow("expect: {outcome: rejected, localEndpoints: 0}"),
        "spec.flows[0].expect.localEndpoints",
        "a flow that is rejected gets no answer",
        "",
        id="an answer of what is rejected",
    ),
    pytest.param(
        flow("expect: {modes: {nftabels: {outcome: rejected}}}"),
        "spec.flows[0].expect.modes.nftabels",
        "one of iptables, nftables, ipvs, userspace, is 'nftabels'",
        "did you mean nftables",
        id="expected in no mode",
    ),
    pytest.param(
        flow("expect: {modes: {nftables: {outcom: rejected}}}"),
        "spec.flows[0].expect.modes.nftables.outcom",
        "is not a field",
        "did you mean outcome?",
        id="misspelt field of a mode",
    ),
    pytest.param(
        flow("expect: {modes: {nftables: {outcome: rejected, source: node}}}"),
        "spec.flows[0].expect.modes.nftables.source",
        "a flow that is rejected meets no backend",
        "",
        id="source of what is rejected in one mode",
    ),
    pytest.param(
        flow("expect: {modes: {nftables: {modes: {ipvs: {}}}}}"),
        "spec.flows[0].expect.modes.nftables.modes",
        "must be left out",
        "",
        id="modes of a mode",
    ),
    pytest.param(
        flow(name='"a\\nb"'), "spec.flows[0].name", "one line of printable", "", id="flow name with a newline"
    ),
    pytest.param(
        flow("form: {pod: a}"),
        "spec.flows[0].form",
        "is not a field",
        "did you mean from?",
        id="misspelt field",
    ),
    pytest.param(
        "{apiVersion: podwire.dev/v1alpha1, kind: FlowCheck, metadata: {name: c}, spec: {flows: []}}",
        "spec.flows",
        "must not be empty",
        "",
        id="no flows",
    ),
    pytest.param(
        flow().replace("flows: [", "flows: [{name: f, from: {pod: x}, to: {service: s, port: 1}}, "),
        "spec.flows[1].name",
        "'f' is the name of an earlier",
        "",
        id="flow name twice",
    ),
]

SHAPES = [
    pytest.param(
        service('ports: [{port: "80"}]'),
        "spec.ports[0].port",
        "must be an integer, is '80'",
        "leave the quotes out",
        id="quoted",
    ),
    pytest.param(
        service("ports: [{port: eighty}]"),
        "spec.ports[0].port",
        "must be an integer, is 'eighty'",
        "",
        id="word",
    ),
    pytest.param(
        service("ports: [{port: true}]"),
        "spec.ports[0].port",
        "must be an integer, is true",
        "",
        id="boolean for a number",
    ),
    pytest.param(
        service("ports: [{port: 80.5}]"), "spec.ports[0].port", "must be an integer, is 80.5", "", id="float"
    ),
    pytest.param(
        service("ports: [{port: 1e999}]"), "spec.ports[0].port", "must be an integer", "", id="infinite"
    ),
    pytest.param(
        service("ports: {port: 80}"),
        "spec.ports",
        "must be a list, is a mapping",
        "",
        id="mapping for a list",
    ),
    pytest.param(
        service("ports: [80]"), "spec.ports[0]", "must be a mapping, is 80", "", id="number for a mapping"
    ),
    pytest.param(service("ports: [null]"), "spec.ports[0].port", "is required", "", id="null in a list"),
    pytest.param(service("ports: [{}]"), "spec.ports[0].port", "is required", "", id="missing field"),
    pytest.param(
        service("ports: [{port: 80, targetPort: {a: 1}}]"),
        "spec.ports[0].targetPort",
        "an integer or a string, is a mapping",
        "",
        id="union",
    ),
    pytest.param(
        service("type: NodePor"), "spec.type", "is 'NodePor'", "did you mean NodePort", id="enumeration"
    ),
    pytest.param(
        service("ports: [{port: 80}], publishNotReadyAddresses: 'true'"),
        "spec.publishNotReadyAddresses",
        "true or false",
        "",
        id="quoted true",
    ),
    pytest.param(
        pod(meta="name: 5"),
        "metadata.name",
        "must be a string, is 5",
        "write it in quotes",
        id="number for a name",
    ),
    pytest.param(
        pod(meta="name: p, labels: {a: 1}"),
        "metadata.labels.a",
        "must be a string, is 1",
        "write it in quotes",
        id="number for a label",
    ),
    pytest.param(
        pod(meta="name: p, labels: {a: true}"),
        "metadata.labels.a",
        "must be a string, is true",
        "in quotes",
        id="boolean for a label",
    ),
    pytest.param(
        service("ports: [{port: 80}], selector: {a: yes}"),
        "spec.selector.a",
        "must be a string, is true",
        "yes, no, on, off, y, n, true and false are booleans",
        id="yes for a label",
    ),
    pytest.param(
        pod(meta="name: p, labels: [a]"),
        "metadata.labels",
        "must be a mapping, is a list",
        "",
        id="list of labels",
    ),
    pytest.param("{apiVersion: v1, kind: Pod, metadata: {name: p}}", "spec", "is required", "", id="no spec"),
    pytest.param(
        "{apiVersion: v1, kind: Pod, metadata: p, spec: {}}",
        "metadata",
        "must be a mapping, is 'p'",
        "",
        id="metadata is a word",
    ),
    pytest.param("{apiVersion: v1, kind: Pod, spec: {}}", "metadata", "is required", "", id="no metadata"),
    pytest.param(
        pod(meta=f"name: {{a: {'x' * 200}}}"),
        "metadata.name",
        "must be a string, is a mapping",
        "",
        id="mapping for a string",
    ),
    pytest.param(
        pod(f"hostNetwork: {'x' * 200}"),
        "spec.hostNetwork",
        "is '" + "x" * 59 + "…'",
        "",
        id="long values are cut",
    ),
]

KINDS = [
    pytest.param("{foo: 1}", "kind", "is required", "", id="no kind"),
    pytest.param("{kind: 7}", "kind", "must be a string, is 7", "", id="kind is a number"),
    pytest.param(
        "{kind: Pod, apiVersion: 1}", "apiVersion", "must be a string, is 1", "", id="apiVersion is a number"
    ),
    pytest.param(
        "{kind: Sevice, apiVersion: v1}",
        "kind",
        "no kind 'Sevice'",
        "did you mean Service?",
        id="misspelt kind",
    ),
    pytest.param(
        "{kind: pod, apiVersion: v1}", "kind", "no kind 'pod'", "did you mean Pod?", id="lower-case kind"
    ),
    pytest.param(
        "{kind: Deployment, apiVersion: v1}",
        "apiVersion",
        "'v1' has no kind Deployment",
        "apps/v1",
        id="wrong group",
    ),
    pytest.param(
        "{kind: Deployment, apiVersion: app/v1}",
        "apiVersion",
        "'app/v1' has no kind Deployment",
        "did you mean apps/v1?",
        id="misspelt group",
    ),
    pytest.param(
        "{kind: Service, apiVersion: core/v1}",
        "apiVersion",
        "'core/v1' has no kind Service",
        "did you mean v1?",
        id="group that cannot be",
    ),
    pytest.param(
        "{kind: EndpointSlice, apiVersion: discovery.k8.io/v1}",
        "apiVersion",
        "has no kind EndpointSlice",
        "did you mean discovery.k8s.io/v1?",
        id="misspelt group with a dot",
    ),
    pytest.param(
        "{kind: Cluster}",
        "apiVersion",
        "is required",
        "podwire.dev/v1alpha1",
        id="Cluster without apiVersion",
    ),
    pytest.param(
        "{kind: Cluster, apiVersion: podwire.dev/v1}",
        "apiVersion",
        "has no kind Cluster",
        "v1alpha1",
        id="wrong version",
    ),
    pytest.param(
        "{kind: FlowCheks, apiVersion: podwire.dev/v1alpha1}",
        "kind",
        "has no kind",
        "FlowCheck",
        id="unknown kind of ours",
    ),
    pytest.param(
        "[{kind: Pod}]", "", "must be a mapping with kind and metadata, is a list", "---", id="list"
    ),
    pytest.param("just text", "", "is 'just text'", "", id="text"),
    pytest.param(
        "{apiVersion: v1, kind: List, items: 3}", "items", "must be a list, is 3", "", id="items is a number"
    ),
    pytest.param(
        "{apiVersion: v1, kind: PodList, items: [{metadata: {name: A}, spec: {}}]}",
        "items[0].metadata.name",
        "RFC 1123",
        "",
        id="item of a PodList",
    ),
]


METALLB = [
    pytest.param(
        address_pool(""),
        "spec.addresses",
        "is required: a pool has addresses",
        "172.18.255.200-",
        id="no addresses",
    ),
    pytest.param(
        address_pool("172.18.9.1"),
        "spec.addresses[0]",
        "a prefix or a range of addresses",
        "say",
        id="an address alone",
    ),
    pytest.param(
        address_pool("172.18.9.9-172.18.9.1"),
        "spec.addresses[0]",
        "ends before it begins",
        "172.18.9.1-",
        id="backwards",
    ),
    pytest.param(
        address_pool("'172.18.9.9-fd00::9'"),
        "spec.addresses[0]",
        "in two address families",
        "",
        id="two families",
    ),
    pytest.param(
        address_pool(rest="autoAssign: 'no'"), "spec.autoAssign", "true or false", "", id="autoAssign"
    ),
    pytest.param(
        address_pool(rest="serviceAllocation: {priority: -1}"),
        "spec.serviceAllocation.priority",
        "must be 0 or more",
        "",
        id="priority",
    ),
    pytest.param(
        address_pool(rest="serviceAllocation: {namespaces: [a, a]}"),
        "spec.serviceAllocation.namespaces[1]",
        "of an earlier entry already",
        "",
        id="a namespace twice",
    ),
    pytest.param(
        address_pool(rest="serviceAllocation: {serviceSelectors: [{matchLabels: {a b: c}}]}"),
        'spec.serviceAllocation.serviceSelectors[0].matchLabels["a b"]',
        "the key",
        "",
        id="selector",
    ),
    pytest.param(
        metallb("L2Advertisement", "ipAddressPools: [a, a]"),
        "spec.ipAddressPools[1]",
        "of an earlier entry",
        "",
        id="a pool twice",
    ),
    pytest.param(
        metallb("L2Advertisement", "nodeSelectors: [{matchExpressions: [{key: a, operator: In}]}]"),
        "spec.nodeSelectors[0].matchExpressions[0].values",
        "is required with In",
        "",
        id="nodeSelectors",
    ),
    pytest.param(
        "{apiVersion: metallb.io/v1beta2, kind: IPAddressPool}",
        "apiVersion",
        "has no kind IPAddressPool",
        "metallb.io/v1beta1",
        id="API",
    ),
]


def _job(spec: str, meta: str = "name: j") -> str:
    template = "template: {metadata: {labels: {a: b}}, spec: {restartPolicy: Never, containers: [{name: c}]}}"
    return f"{{apiVersion: batch/v1, kind: Job, metadata: {{{meta}}}, spec: {{{spec}, {template}}}}}"


def _stateful(spec: str) -> str:
    return deployment(f"selector: {{matchLabels: {{app: a}}}}, {spec}").replace(
        "Deployment", "StatefulSet", 1
    )


def _spread(*constraints: str) -> str:
    return pod(f"topologySpreadConstraints: [{', '.join(f'{{{each}}}' for each in constraints)}]")


_ZONE = "maxSkew: 1, topologyKey: zone, whenUnsatisfiable: "
REFUSED_BY_THE_API_SERVER = [
    *(
        pytest.param(
            pod(containers=f"[{{name: c, {probe}}}]"),
            f"spec.containers[0].{path}",
            what,
            "",
            id=f"{path}: {what}",
        )
        for probe, path, what in (
            ("readinessProbe: {periodSeconds: 1}", "readinessProbe", "has none"),
            (
                "livenessProbe: {tcpSocket: {port: 80}, httpGet: {port: 80}}",
                "livenessProbe",
                "has httpGet and tcpSocket",
            ),
            ("startupProbe: {grpc: {port: 0}}", "startupProbe.grpc.port", "between 1 and 65535, is 0"),
            (
                "readinessProbe: {exec: {command: [a]}, periodSeconds: -1}",
                "readinessProbe.periodSeconds",
                "must be 0 or more, is -1",
            ),
            (
                "livenessProbe: {exec: {command: [a]}, successThreshold: 2}",
                "livenessProbe.successThreshold",
                "must be 1 for a livenessProbe, is 2",
            ),
        )
    ),
    pytest.param(
        "{apiVersion: apps/v9, kind: Deployment}",
        "apiVersion",
        "'apps/v9' has no kind Deployment",
        "write apps/v1",
        id="a version that there never was",
    ),
    pytest.param(
        "{apiVersion: v9, kind: Service}",
        "apiVersion",
        "'v9' has no kind Service",
        "write v1",
        id="a version of the core",
    ),
    pytest.param(
        "{apiVersion: extensions/v1beta1, kind: StatefulSet}",
        "apiVersion",
        "has no kind StatefulSet",
        "write apps/v1",
        id="an old version without the kind",
    ),
    pytest.param(
        "{kind: Deployment}", "apiVersion", "is required", "write apps/v1", id="no apiVersion of a Deployment"
    ),
    pytest.param(
        _spread(f"{_ZONE}DoNotSchedule", f"{_ZONE}DoNotSchedule"),
        "spec.topologySpreadConstraints[1]",
        "topologyKey and whenUnsatisfiable of an earlier entry",
        "",
        id="spread constraint twice",
    ),
    pytest.param(
        _spread(f"{_ZONE}ScheduleAnyway, minDomains: 2"),
        "spec.topologySpreadConstraints[0].minDomains",
        "DoNotSchedule only",
        "leave it out",
        id="minDomains with ScheduleAnyway",
    ),
    pytest.param(
        pod("tolerations: [{key: k, operator: Exists, tolerationSeconds: 3}]"),
        "spec.tolerations[0].effect",
        "must be NoExecute when tolerationSeconds",
        "",
        id="tolerationSeconds without effect",
    ),
    pytest.param(
        pod("tolerations: [{key: k, operator: Exists, effect: NoSchedule, tolerationSeconds: 3}]"),
        "spec.tolerations[0].effect",
        "must be NoExecute when tolerationSeconds",
        "",
        id="tolerationSeconds with NoSchedule",
    ),
    pytest.param(
        "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {podCIDRs: [10.1.0.0/24, 10.2.0.0/24]}}",
        "spec.podCIDRs[1]",
        "address family",
        "",
        id="two IPv4 podCIDRs",
    ),
    pytest.param(
        service("ipFamilyPolicy: SingleStack, ipFamilies: [IPv4, IPv6], ports: [{port: 80}]"),
        "spec.ipFamilyPolicy",
        "several ipFamilies",
        "",
        id="SingleStack of two families",
    ),
    pytest.param(
        service(
            "ipFamilyPolicy: SingleStack, clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9, 'fd00::9'], "
            "ports: [{port: 80}]"
        ),
        "spec.ipFamilyPolicy",
        "several clusterIPs",
        "",
        id="SingleStack of two ClusterIPs",
    ),
    pytest.param(
        service("ipFamilyPolicy: Dual, ports: [{port: 80}]"),
        "spec.ipFamilyPolicy",
        "must be one of SingleStack",
        "",
        id="ipFamilyPolicy",
    ),
    pytest.param(
        service(
            "type: LoadBalancer, ports: [{port: 80}]",
            rest="status: {loadBalancer: {ingress: [{hostname: a.example, ipMode: VIP}]}}",
        ),
        "status.loadBalancer.ingress[0].ipMode",
        "without ip",
        "leave it out",
        id="ipMode of a hostname",
    ),
    pytest.param(
        _job("selector: {matchLabels: {a: b}}"),
        "spec.selector",
        "is the API server's to make",
        "manualSelector: true",
        id="a Job's own selector",
    ),
    pytest.param(
        _job("manualSelector: true"), "spec.selector", "is required", "", id="manualSelector without selector"
    ),
    pytest.param(
        _job("manualSelector: true, selector: {matchLabels: {a: c}}"),
        "spec.selector",
        "does not select the Pods of its own template",
        "",
        id="manualSelector of other labels",
    ),
    pytest.param(
        _job("completionMode: Indexed"),
        "spec.completions",
        "is required with completionMode Indexed",
        "",
        id="Indexed without completions",
    ),
    pytest.param(
        f"{{apiVersion: batch/v1, kind: CronJob, metadata: {{name: {'a' * 53}}}}}",
        "metadata.name",
        "at most 52 characters for a CronJob, has 53",
        "",
        id="a CronJob's name",
    ),
    *(
        pytest.param(
            "{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {schedule: '@daily', "
            f"jobTemplate: {{spec: {{template: {{spec: {{{spec}}}}}}}}}}}}}",
            f"spec.jobTemplate.spec.template.spec.{field}",
            what,
            "",
            id=f"a CronJob's {field}",
        )
        for spec, field, what in (
            ("containers: [{name: c}]", "restartPolicy", "must be OnFailure or Never for a Job"),
            ("restartPolicy: Never", "containers", "is required"),
        )
    ),
    pytest.param(
        pod("restartPolicy: always"), "spec.restartPolicy", "must be one of", "Always", id="restartPolicy"
    ),
    pytest.param(pod("dnsPolicy: Cluster"), "spec.dnsPolicy", "must be one of", "", id="dnsPolicy"),
    pytest.param(
        pod("schedulingGates: [{name: a}, {name: a}]"),
        "spec.schedulingGates[1].name",
        "is the name of an earlier entry",
        "",
        id="a gate twice",
    ),
    pytest.param(
        pod("nodeName: n1, schedulingGates: [{name: a}]"),
        "spec.nodeName",
        "until all schedulingGates are gone",
        "",
        id="a gate and a node",
    ),
    pytest.param(
        deployment("selector: {matchLabels: {app: a}}, strategy: {type: Rolling}"),
        "spec.strategy.type",
        "must be one of RollingUpdate, Recreate",
        "RollingUpdate",
        id="strategy",
    ),
    pytest.param(
        deployment(
            "selector: {matchLabels: {app: a}}, strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}"
        ),
        "spec.strategy.rollingUpdate",
        "may not be set with type Recreate",
        "leave it out",
        id="Recreate and rollingUpdate",
    ),
    pytest.param(
        _stateful("podManagementPolicy: Ordered"),
        "spec.podManagementPolicy",
        "must be one of",
        "",
        id="Pods' order",
    ),
    pytest.param(
        deployment(
            "selector: {matchLabels: {app: a}}, strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}"
        ),
        "spec.strategy.rollingUpdate.maxUnavailable",
        "may not be 0 when maxSurge is 0",
        "",
        id="an update without an end",
    ),
    pytest.param(
        deployment(
            "selector: {matchLabels: {app: a}}, updateStrategy: {rollingUpdate: {maxUnavailable: 0}}"
        ).replace("Deployment", "DaemonSet"),
        "spec.updateStrategy.rollingUpdate.maxUnavailable",
        "may not be 0 when maxSurge is 0",
        "",
        id="a DaemonSet's update without an end",
    ),
    pytest.param(
        _stateful("updateStrategy: {type: Recreate}"),
        "spec.updateStrategy.type",
        "must be",
        "",
        id="OnDelete",
    ),
    pytest.param(
        _stateful("ordinals: {start: -1}"), "spec.ordinals.start", "must be 0 or more", "", id="ordinals"
    ),
    *(
        pytest.param(
            f"{{apiVersion: batch/v1, kind: CronJob, metadata: {{name: c}}, spec: {{schedule: {schedule}}}}}",
            "spec.schedule",
            what,
            "five fields",
            id=f"schedule {schedule}",
        )
        for schedule, what in (
            ("''", "is required"),
            ("null", "is required"),
            ("'* * * *'", "is no schedule"),
            ("'@often'", "is no schedule"),
            ("'@every'", "is no schedule"),
            ("5", "is no schedule"),
        )
    ),
]


@pytest.mark.parametrize(
    ("manifest", "path", "what", "hint"),
    NAMES
    + PODS
    + HOST_PORTS
    + WORKLOADS
    + SERVICES
    + CONFIG
    + FLOWS
    + SHAPES
    + KINDS
    + METALLB
    + REFUSED_BY_THE_API_SERVER,
)
def test_problem(manifest: str, path: str, what: str, hint: str) -> None:
    found = [p for p in problems_of("# first line\n" + manifest) if p.path == path and what in p.what]
    assert len(found) == 1
    assert hint in found[0].hint
    assert found[0].line == 2
    assert found[0].document == 1
    assert str(found[0]).isprintable()


@pytest.mark.parametrize(
    ("manifest", "paths"),
    [
        pytest.param(
            service(
                "type: LoadBalancer, ports: [{port: 80, protocol: FOO}, {port: 80}], "
                "trafficDistribution: Foo,"
                " loadBalancerSourceRanges: [10.0.0.0], sessionAffinity: ClientIP, "
                "sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}"
            ),
            {
                "spec.ports[0].protocol",  # and nothing of ports that it may have misled
                "spec.trafficDistribution",
                "spec.loadBalancerSourceRanges[0]",
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            },
            id="a field that cannot be read, and the others",
        ),
        pytest.param(
            service("type: Foo, ports: [{port: 80, nodePort: 1}]"),
            {"spec.type"},
            id="without its type nothing is known of a Service",
        ),
        pytest.param(
            endpoint_slice(
                "endpoints: [{addresses: [10.0.0.1], conditions: {ready: 1}}], ports: [{port: -1}]"
            ),
            {"endpoints[0].conditions.ready", "ports[0].port"},
            id="EndpointSlice",
        ),
        pytest.param(
            pod("hostname: A", meta="name: 5"),
            {"metadata.name"},
            id="of other kinds what cannot be read comes first",
        ),
    ],
)
def test_every_problem_of_an_object_comes_at_once(manifest: str, paths: set[str]) -> None:
    assert {problem.path for problem in problems_of(manifest)} == paths


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(pod(meta="generateName: web-"), id="generateName"),
        pytest.param(pod(meta=f"generateName: {'a' * 250}-"), id="long generateName"),
        pytest.param(pod(meta="name: a.b-c.1"), id="Pod with dots"),
        pytest.param(
            pod(meta="name: p, labels: {app.kubernetes.io/Name_x: A.b_c, e: ''}"), id="qualified label"
        ),
        pytest.param(pod("tolerations: [{operator: Exists}]"), id="tolerates everything"),
        pytest.param(
            pod("tolerations: [{key: a, operator: '', effect: ''}]"),
            id="empty words for defaults of a toleration",
        ),
        pytest.param(
            pod(
                containers="[{name: c, ports: [{containerPort: 80, protocol: '', hostPort: 0, hostIP: ''}]}]"
            ),
            id="empty words of a port",
        ),
        pytest.param(
            service(
                "clusterIP: '', type: '', sessionAffinity: '', externalTrafficPolicy: '', ports: "
                "[{port: 80, protocol: ''}]"
            ),
            id="empty words for defaults of a Service",
        ),
        pytest.param(
            pod("hostNetwork: true", containers="[{name: c, ports: [{containerPort: 80, hostPort: 80}]}]"),
            id="hostPort is the containerPort",
        ),
        pytest.param(
            pod(
                "hostNetwork: true",
                containers="[{name: c, ports: [{containerPort: 53}, {containerPort: 53, protocol: UDP}]}]",
            ),
            id="one port of the host, two protocols",
        ),
        pytest.param(
            deployment(
                "selector: {matchLabels: {app: a}}",
                "metadata: {labels: {app: a}}, spec: {restartPolicy: Always, hostNetwork: true,"
                " containers: [{name: c, ports: [{containerPort: 80}]}, {name: d, ports: "
                "[{containerPort: 80}]}]}",
            ),
            id="the API server fills no hostPort into a template",
        ),
        pytest.param(
            "{apiVersion: v1, kind: Node, metadata: {name: a}, status: {addresses: [{type: "
            "ExternalIP, address: ''}]}}",
            id="an empty ExternalIP",
        ),
        pytest.param(
            pod(
                meta="name: p, labels: null, annotations: {a: null}, ownerReferences: null",
                rest="status: null",
            ),
            id="nulls",
        ),
        pytest.param(pod("volumes: [{}], futureField: {a: [1]}"), id="fields that podwire does not know"),
        pytest.param(
            pod(containers="[{name: c, ports: [{containerPort: 53}, {containerPort: 53}]}]"),
            id="port twice: the report says it",
        ),
        pytest.param(service("clusterIP: None, selector: {app: a}"), id="headless without ports"),
        pytest.param(service("type: ExternalName, externalName: example.com."), id="ExternalName"),
        pytest.param(
            service("ports: [{port: 53, protocol: UDP, name: a}, {port: 53, name: b}]"),
            id="port twice, two protocols",
        ),
        pytest.param(service("ports: [{port: 80, targetPort: http, nodePort: 0}]"), id="nodePort 0 is unset"),
        pytest.param(
            service(f"ports: [{{port: 80, name: {'a' * 63}}}]"), id="a Service port's name is a label"
        ),
        pytest.param(
            deployment("replicas: 0, selector: {matchExpressions: [{key: app, operator: Exists}]}"),
            id="no replicas",
        ),
        pytest.param(
            "{kind: Deployment, apiVersion: extensions/v1beta1, "
            + deployment("selector: {matchLabels: {app: a}}")[19:],
            id="old group",
        ),
        pytest.param(
            "{kind: Deployment, apiVersion: extensions/v1beta1, " + deployment("")[19:],
            id="old group, whose selector is the labels",
        ),
        pytest.param(
            "{apiVersion: v1, kind: Node, metadata: {name: n}, status: {addresses: [{type: "
            "Hostname, address: N 1}]}}",
            id="Hostname address",
        ),
        pytest.param(
            service("ports: [{port: 80}], sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}"),
            id="affinity's timeout without affinity: the API server drops it",
        ),
        pytest.param(
            service("ports: [{port: 80}], externalIPs: [192.0.2.1], externalTrafficPolicy: Local"),
            id="policy of an externalIP",
        ),
        pytest.param(flow("protocol: ICMP", to="{pod: a}"), id="ICMP needs no port"),
        pytest.param(
            flow("via: n", start="{external: c}", to="{node: n, nodePort: 30000}"), id="via for a client"
        ),
        pytest.param(flow(to="{service: s, port: http}"), id="named port of a Service"),
        pytest.param(flow("expect: {outcome: rejected, backends: []}"), id="rejected by nobody"),
        pytest.param(
            flow("expect: {outcome: rejected, modes: {ipvs: {source: node}, userspace: {}}}"),
            id="delivered in one mode alone",
        ),
        pytest.param(
            flow("expect: {status: 503, localEndpoints: 0}", to="{node: n, healthCheck: lb}"),
            id="a health check without endpoints",
        ),
        pytest.param(
            _job("selector: {matchLabels: {batch.kubernetes.io/controller-uid: u}}, manualSelector: false"),
            id="a Job's selector as the API server made it",
        ),
        pytest.param(
            _job("selector: {matchLabels: {a: b}}, manualSelector: true"), id="a Job's own selector"
        ),
        pytest.param(_job("completionMode: Indexed, completions: 2"), id="an indexed Job"),
        pytest.param(_spread(f"{_ZONE}DoNotSchedule", f"{_ZONE}ScheduleAnyway"), id="spread two ways"),
        pytest.param(
            pod("tolerations: [{operator: Exists, effect: NoExecute, tolerationSeconds: 300}]"),
            id="tolerated for a while",
        ),
        pytest.param(
            "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {podCIDRs: [10.1.0.0/24, 'fd00::/64']}}",
            id="podCIDRs of two families",
        ),
        pytest.param(
            service("ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv4, IPv6], ports: [{port: 80}]"),
            id="two families",
        ),
        pytest.param(
            "{apiVersion: discovery.k8s.io/v1alpha1, kind: EndpointSlice, metadata: {name: e}, "
            "addressType: IPv4, "
            "endpoints: []}",
            id="an EndpointSlice of Kubernetes 1.16",
        ),
        *(
            pytest.param(deployment("", version=version), id=f"Deployment of {version}")
            for version in ("extensions/v1beta1", "apps/v1beta1")
        ),
        pytest.param(
            f"{{apiVersion: batch/v1beta1, kind: CronJob, metadata: {{name: {'a' * 52}}}}}",
            id="a CronJob's longest name",
        ),
        pytest.param(
            deployment("selector: {matchLabels: {app: a}}, strategy: {rollingUpdate: {maxUnavailable: 0}}"),
            id="an update that surges by default",
        ),
        pytest.param(
            "{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {schedule: '@daily', "
            "jobTemplate: {metadata: {labels: {a: b}}, spec: {template: {spec: {restartPolicy: Never, "
            "containers: [{name: c}]}}}}}}",
            id="a CronJob's Job",
        ),
        *(
            pytest.param(
                "{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, "
                f"spec: {{schedule: '{schedule}'}}}}",
                id=f"schedule {schedule}",
            )
            for schedule in ("*/5 1-3 * * MON-FRI", "@daily", "@every 1h30m", "TZ=UTC 0 0 1 * ?")
        ),
        pytest.param(
            _stateful("updateStrategy: {type: OnDelete}, podManagementPolicy: Parallel"), id="StatefulSet"
        ),
        pytest.param(pod("restartPolicy: OnFailure, dnsPolicy: None"), id="restartPolicy and dnsPolicy"),
        pytest.param(service(meta="name: 1web"), id="a Service that begins with a digit (Kubernetes 1.37)"),
        pytest.param(pod(meta="name: p, annotations: {Example.com/a: b}"), id="an annotation of Example.com"),
        pytest.param(
            pod(containers="[{name: c, ports: [{containerPort: 80, hostPort: 8080, hostIP: 1.2.3}]}]"),
            id="a hostIP, which the API server does not look at",
        ),
        pytest.param(
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e}, addressType: IPv4, "
            "endpoints: [{addresses: [10.1.2.3]}], ports: [{port: 0}]}",
            id="port 0 of an EndpointSlice",
        ),
        *(
            pytest.param(
                pod(containers=f"[{{name: c, readinessProbe: {{{probe}}}}}]"), id=f"a probe with {probe}"
            )
            for probe in (
                *("tcpSocket: {port: http}", "httpGet: {port: 65535}, successThreshold: 2"),
                *("exec: {command: [a]}, periodSeconds: 0", "grpc: {port: 1}, tcpSocket: null"),
            )
        ),
    ],
)
def test_accepted(manifest: str) -> None:
    assert load_text(manifest)


@pytest.mark.parametrize(
    ("manifest", "notice"),
    [
        pytest.param(
            service("ports: [{port: 80}], externalIPs: [192.000.002.010]"),
            "spec.externalIPs[0]: '192.000.002.010' is read as 192.0.2.10: leading zeros are decimal",
            id="leading zeros",
        ),
        pytest.param(
            "{apiVersion: v1, kind: Node, metadata: {name: a}, spec: {podCIDR: 010.244.01.0/24}}",
            "spec.podCIDR: '010.244.01.0/24' is read as 10.244.1.0/24",
            id="leading zeros of a prefix",
        ),
        pytest.param(
            endpoint_slice("endpoints: [{addresses: ['::ffff:10.244.1.9']}]"),
            "endpoints[0].addresses[0]: '::ffff:10.244.1.9' is read as 10.244.1.9: an IPv4-mapped address",
            id="IPv4-mapped",
        ),
        pytest.param(
            service("type: LoadBalancer, ports: [{port: 80}], loadBalancerIP: YOUR.IP.HERE"),
            "spec.loadBalancerIP: 'YOUR.IP.HERE' is no IP address: no balancer can give it",
            id="no address in loadBalancerIP",
        ),
        pytest.param(
            "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, "
            "clusterCIDR: 'fd00::/48, 10.244.0.0/16'}",
            "clusterCIDR: 'fd00::/48, 10.244.0.0/16': the IPv4 half is taken",
            id="clusterCIDR of two families",
        ),
        pytest.param(
            "{apiVersion: kind.x-k8s.io/v1alpha4, kind: Cluster, networking: {ipFamily: dual}}",
            "networking.ipFamily: dual: the IPv4 half is taken",
            id="kind cluster of two families",
        ),
        pytest.param(
            "{apiVersion: v1, kind: Pod, metadata: {name: p, labels: {a: 1}, labels: {a: b}}, spec: "
            "{containers: [{name: c}]}}",
            "the key 'labels' is there twice: the last one counts, as with kubectl",
            id="key twice",
        ),
        pytest.param(
            "{apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDR: 10.1.0.0/24, podCIDRs: "
            "[10.2.0.0/24]}}",
            "podCIDR is '10.1.0.0/24', which counts",
            id="podCIDR and podCIDRs differ",
        ),
        pytest.param(pod(meta="name: n"), "kubectl takes a plain n for a boolean", id="plain letter"),
    ],
)
def test_read_with_a_notice(manifest: str, notice: str) -> None:
    (text,) = told(load_text(manifest))
    assert notice in text


def test_each_odd_value_is_told() -> None:
    text = "\n---\n".join(
        service("ports: [{port: 80}], externalIPs: [192.0.2.010, 192.0.2.011]", f"name: s{i}")
        for i in range(3)
    )
    found = load_text(text).warnings
    assert [(one.object.name, one.object.field) for one in found] == [
        (f"default/s{i}", f"spec.externalIPs[{n}]") for i in range(3) for n in range(2)
    ]
    assert len(fold_warnings(found)) == 1


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("010.1.2.3", "10.1.2.3"),
        ("10.0.0.00", "10.0.0.0"),
        ("0000010.1.2.3", "10.1.2.3"),
        ("::ffff:010.1.2.3", None),
        ("0x0a.1.2.3", None),
        ("10.1.2", None),
        ("256.1.1.1", None),
        ("fd00::010", "fd00::10"),
        ("::00", "::"),
        ("10.96.0.10 ", None),
    ],
)
def test_addresses_as_releases_before_took_them(given: str, meant: str | None) -> None:
    try:
        assert str(parse_sloppy(given)) == meant
    except ValueError:
        assert meant is None


def test_what_null_and_whole_numbers_mean() -> None:
    ports = "ports: [{containerPort: 80.0}, {containerPort: 8_1_, hostPort: ~}]"
    text = pod("hostNetwork: y, nodeSelector: {a: ~}", containers=f"[{{name: c, args: [~, b], {ports}}}]")
    spec = load_text(text).pods[0].object.spec
    assert (spec.hostNetwork, dict(spec.nodeSelector), spec.containers[0].args) == (
        True,
        {"a": ""},
        ("", "b"),
    )
    assert [
        (type(port.containerPort), port.containerPort, port.hostPort) for port in spec.containers[0].ports
    ] == [
        (int, 80, None),
        (int, 81, None),
    ]


def test_an_old_slice_has_its_nodes_in_its_topology() -> None:
    topology = "topology: {kubernetes.io/hostname: w, topology.kubernetes.io/zone: a}"
    entries = (
        f"{{addresses: [10.0.0.1], {topology}}}, {{addresses: [10.0.0.2], nodeName: v, {topology}}}, "
        f"{{addresses: [10.0.0.3]}}"
    )
    text = (
        f"{{apiVersion: discovery.k8s.io/v1beta1, kind: EndpointSlice, metadata: {{name: e}}, "
        f"addressType: IPv4, endpoints: [{entries}]}}"
    )
    endpoints = load_text(text).endpointSlices[0].object.endpoints
    assert [(endpoint.nodeName, endpoint.zone) for endpoint in endpoints] == [
        ("w", "a"),
        ("v", "a"),
        (None, None),
    ]


def test_canonical_forms() -> None:
    found = load_text(
        "{apiVersion: v1, kind: Node, metadata: {name: n, namespace: x}, spec: {podCIDR: "
        "10.244.1.7/24}}\n---\n"
        + service(
            "type: LoadBalancer, ports: [{port: 80, targetPort: 0}], clusterIP: 'FD00::0:1', "
            "loadBalancerSourceRanges: [' 10.1.2.3/8 ']"
        )
        + "\n---\n"
        + flow("expect: {source: '0:0::1'}")
    )
    node, svc, check = found.nodes[0].object, found.services[0].object, found.flowChecks[0].object
    assert (node.metadata.namespace, node.spec.podCIDR) == ("", "10.244.1.0/24")
    assert (svc.metadata.namespace, svc.spec.clusterIP, svc.spec.loadBalancerSourceRanges) == (
        "default",
        "fd00::1",
        ("10.0.0.0/8",),
    )
    assert svc.spec.ports[0].targetPort is None
    assert check.flows[0].expect.source == "::1"
