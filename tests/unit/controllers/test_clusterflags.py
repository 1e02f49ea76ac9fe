"""Tests the command lines of a cluster's components, in the forms in which clusters have them."""

from __future__ import annotations

import json

import pytest

from tests.told import noticed
from tests.unit.controllers.clusters import node, settled


def component(name: str, *words: str, form: str = "command", labels: str = "") -> str:
    """Returns a static Pod of kube-system that starts ``name`` with ``words``."""
    started = list(words) if form == "args" else [name, *words]
    text = json.dumps(
        {"command": ["/bin/sh", "-c", " ".join(["exec", *started, "1>>/var/log/x"])]}
        if form == "shell"
        else {form: started}
    )
    return (
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}-n, namespace: kube-system, labels: "
        f"{{{labels}}}}}, "
        f"spec: {{nodeName: n, hostNetwork: true, containers: [{{name: {name}, {text[1:-1]}}}]}}}}"
    )


def k3s(*words: str, name: str = "n") -> str:
    annotations = json.dumps({"k3s.io/node-args": json.dumps(["server", *words])})
    return f"{{apiVersion: v1, kind: Node, metadata: {{name: {name}, annotations: {annotations}}}}}"


RANGE = "--service-cluster-ip-range=10.102.0.0/20,fd00::/108"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--service-cluster-ip-range=10.102.0.0/20"], id="one word"),
        pytest.param(["--service-cluster-ip-range", "10.102.0.0/20"], id="two words"),
        pytest.param(["--v=2", RANGE], id="two families"),
    ],
)
@pytest.mark.parametrize("form", ["command", "args", "shell"])
def test_the_api_servers_range_of_services(words: list[str], form: str) -> None:
    state = settled(node("n"), component("kube-apiserver", *words, form=form))
    assert str(state.serviceSubnet) == "10.102.0.0/20"


def test_the_controller_managers_range_of_pods() -> None:
    state = settled(
        node("n", cidr="10.101.3.0/24"), component("kube-controller-manager", "--cluster-cidr=10.101.0.0/16")
    )
    assert (str(state.podSubnet), state.proxy.clusterCIDR) == ("10.101.0.0/16", "10.101.0.0/16")


@pytest.mark.parametrize("form", ["command", "args", "shell"])
def test_kube_proxys_flags(form: str) -> None:
    words = [
        "--cluster-cidr=10.4.0.0/14",
        "--proxy-mode=nftables",
        "--nodeport-addresses=10.0.0.0/8",
        "--masquerade-all",
    ]
    state = settled(node("n"), component("kube-proxy", *words, form=form))
    assert (state.proxy.mode, state.proxy.clusterCIDR, state.proxy.nodePortAddresses) == (
        "nftables",
        "10.4.0.0/14",
        ("10.0.0.0/8",),
    )
    assert state.proxy.masqueradeAll
    assert not any("does not say how kube-proxy is configured" in notice for notice in noticed(state))


def test_kube_proxys_flags_for_ipvs() -> None:
    words = [
        "--proxy-mode=ipvs",
        "--ipvs-scheduler=lc",
        "--ipvs-strict-arp=true",
        "--ipvs-udp-timeout=30s",
        "--iptables-localhost-nodeports=false",
    ]
    proxy = settled(node("n"), component("kube-proxy", *words)).proxy
    assert (proxy.mode, proxy.scheduler, proxy.strictARP, proxy.ipvsTimeouts.udp) == ("ipvs", "lc", True, 30)
    assert not proxy.localhostNodePorts


def test_flags_without_a_cluster_cidr_mean_no_detector() -> None:
    assert (
        settled(
            node("n", cidr="10.244.0.0/24"), component("kube-proxy", "--proxy-mode=iptables")
        ).proxy.localMode
        == ""
    )


def test_a_configuration_file_makes_flags_void() -> None:
    config = "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, mode: nftables}"
    with_file = component("kube-proxy", "--config=/var/lib/kube-proxy/config.conf", "--hostname-override=n")
    assert settled(node("n"), with_file, config).proxy.mode == "nftables"
    state = settled(node("n"), component("kube-proxy", "--proxy-mode=ipvs"), config)
    assert state.proxy.mode == "nftables"
    assert any(
        "--proxy-mode=ipvs, the KubeProxyConfiguration mode nftables" in notice for notice in noticed(state)
    )


def test_kube_proxies_that_differ_are_named() -> None:
    other = component("kube-proxy", "--proxy-mode=ipvs").replace("kube-proxy-n", "kube-proxy-m")
    state = settled(node("n"), component("kube-proxy", "--proxy-mode=iptables"), other)
    assert state.proxy.mode == "iptables"
    assert any("Pod kube-system/kube-proxy-m has --proxy-mode=ipvs" in notice for notice in noticed(state))


def test_values_that_no_kube_proxy_takes_are_left_out() -> None:
    state = settled(
        node("n"),
        component("kube-proxy", "--proxy-mode=fast", "--cluster-cidr=here", "--ipvs-udp-timeout=soon"),
    )
    assert (state.proxy.mode, state.proxy.localMode) == ("iptables", "")
    assert sum("which cannot be read" in notice for notice in noticed(state)) == 3


@pytest.mark.parametrize(
    ("words", "mode", "cidr", "services"),
    [
        pytest.param([], "iptables", "10.42.0.0/16", "10.43.0.0/16", id="k3s' defaults"),
        pytest.param(
            ["--cluster-cidr", "10.52.0.0/16"],
            "iptables",
            "10.52.0.0/16",
            "10.43.0.0/16",
            id="a range of its own",
        ),
        pytest.param(
            ["--kube-proxy-arg=proxy-mode=nftables"],
            "nftables",
            "10.42.0.0/16",
            "10.43.0.0/16",
            id="an argument for kube-proxy",
        ),
        pytest.param(
            ["--kube-proxy-arg", "proxy-mode=nftables"],
            "nftables",
            "10.42.0.0/16",
            "10.43.0.0/16",
            id="in two words",
        ),
    ],
)
def test_the_arguments_of_k3s(words: list[str], mode: str, cidr: str, services: str) -> None:
    state = settled(k3s(*words))
    assert (state.proxy.mode, state.proxy.clusterCIDR, str(state.serviceSubnet)) == (mode, cidr, services)


@pytest.mark.parametrize("text", ["", "null", "[1]", "{}", '["agent"]', "[" * 500])
def test_arguments_of_k3s_that_say_nothing(text: str) -> None:
    annotations = json.dumps({"k3s.io/node-args": text})
    assert (
        str(
            settled(
                f"{{apiVersion: v1, kind: Node, metadata: {{name: n, annotations: {annotations}}}}}"
            ).serviceSubnet
        )
        == "10.96.0.0/12"
    )


def test_pods_elsewhere_say_nothing() -> None:
    impostor = component("kube-proxy", "--proxy-mode=nftables").replace("kube-system", "default")
    assert settled(node("n"), impostor).proxy.mode == "iptables"
