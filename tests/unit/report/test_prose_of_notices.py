"""Tests the sentence of every notice, word by word."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from emulator.cluster.state import Holder, Listener
from emulator.errors import Problem
from emulator.model.findings import Reached
from emulator.model.notices import (
    CommandEnd,
    CommandEnded,
    EvidenceMissing,
    FramesLeftOut,
    FramesLost,
    LimitReached,
    LoaderMissing,
    LoaderRefused,
    LocalhostOnly,
    Notice,
    NotListening,
    PortRefused,
    Represented,
    Sampled,
    UnansweredUdp,
)
from emulator.net import Address, Prefix
from emulator.objects.notices import (
    ChartsLeftOut,
    EndedPods,
    EndpointNotTaken,
    Forbidden,
    IgnoredFields,
    LeftOutByLabels,
    LeftOutKinds,
    LeftToOtherProxy,
    ManagedControlPlane,
    ModeAssumed,
    ModeOverFlag,
    ModeOverShape,
    MoreRealCommands,
    NoControlPlane,
    NodeRoutes,
    NotBuilt,
    NotManifests,
    NotMirrored,
    NotRecursive,
    OddPlace,
    PodRoutes,
    ProxiesDiffer,
    ProxyAssumed,
    RangesInferred,
    RealCommand,
    UnreadableFlag,
)
from emulator.report.prose_of_limits import say_doubted
from emulator.report.prose_of_notices import say_notice
from emulator.verdicts.limits import LIMITS

PROXY = "Pod kube-system/kube-proxy-m"
CONTAINER = Listener(
    pod="x/p",
    netns="x_p",
    node="worker-1",
    container="b",
    ip=Address("10.244.1.2"),
    port=80,
    protocol="TCP",
)
HEALTH_CHECK = replace(CONTAINER, pod="", netns="worker-1", container="kube-proxy", port=32123)
COMMAND = RealCommand("a.yaml:3", "a", "x/p", ("sh", "-c", "echo 'a b'"), 0, allowed=False)
LIMIT = (Reached(limit=LIMITS[0], times=2),)
HOSTS, SUBNET = Prefix("172.18.0.0/16"), Prefix("10.244.0.0/16")

SENTENCES: tuple[tuple[Notice, str], ...] = (
    (IgnoredFields("Node", ("spec.a", "status")), "Node: ignored spec.a, status (no meaning here)"),
    (OddPlace(Problem("a.yaml", "is odd", line=7)), "a.yaml:7: is odd"),
    (OddPlace(Problem("a.yaml", "is odd", line=7), 2), "a.yaml:7: is odd (and 2 more)"),
    (
        NotManifests("d", ("d/a.yaml",)),
        "d: 1 file (a.yaml) left out: no manifest, since there is no kind in it",
    ),
    (
        NotManifests("d", ("d/a.yaml", "d/b.yaml", "d/c.yaml", "d/e.yaml")),
        "d: 4 files (a.yaml, b.yaml, c.yaml, …) left out: no manifest, since there is no kind in it",
    ),
    (
        NotRecursive("d", 1),
        "d: 1 in the directories below is not read, as with kubectl (-R reads it too)",
    ),
    (
        NotRecursive("d", 10_000, at_least=True),
        "d: more than 10000 in the directories below are not read, as with kubectl (-R reads them too)",
    ),
    (Forbidden("d/a", 1), "1 directory (d/a) left out: permission denied"),
    (Forbidden("d/a", 2), "2 directories (d/a, …) left out: permission denied"),
    (
        ChartsLeftOut("d/a", 2, "helm template a d/a | podwire -"),
        "2 Helm charts (d/a, …) left out: helm template a d/a | podwire - renders one",
    ),
    (
        NotBuilt("d/a", 1),
        "1 kustomization (d/a) not built, and their files read as they are: -k builds one",
    ),
    (
        LeftOutByLabels("app=web", (("Service", 2), ("Pod", 1))),
        "left out by -l app=web: 2 Service, 1 Pod",
    ),
    (LeftOutKinds((("ConfigMap", 3), ("Secret", 1))), "left out: 3 ConfigMap, 1 Secret"),
    (
        ModeOverShape("ipvs", "iptables"),
        "the KubeProxyConfiguration's mode ipvs is used, not networking.kubeProxyMode iptables",
    ),
    (
        ModeOverFlag("nftables", PROXY, "ipvs"),
        "Pod kube-system/kube-proxy-m has --proxy-mode=ipvs, the KubeProxyConfiguration mode nftables: the "
        "KubeProxyConfiguration is used",
    ),
    (
        ProxyAssumed("iptables", "10.244.0.0/16"),
        "the input does not say how kube-proxy is configured: mode iptables and clusterCIDR 10.244.0.0/16 "
        "are assumed; add kubectl get configmap -n kube-system kube-proxy -o yaml (EKS: kube-proxy-config)",
    ),
    (
        ProxyAssumed("iptables", ""),
        "the input does not say how kube-proxy is configured: mode iptables and no clusterCIDR (as on EKS: a "
        "Pod keeps its address at every ClusterIP) are assumed; add kubectl get configmap -n kube-system "
        "kube-proxy -o yaml (EKS: kube-proxy-config)",
    ),
    (
        ModeAssumed("iptables"),
        "iptables mode stands for the cluster's own: its KubeProxyConfiguration is not among the input "
        "(kubectl get configmap kube-proxy -n kube-system -o yaml)",
    ),
    (
        ProxiesDiffer("proxy-mode", "Pod kube-system/kube-proxy-n", "ipvs", PROXY, ""),
        "kube-proxies have different settings: Pod kube-system/kube-proxy-n has --proxy-mode=ipvs, Pod "
        "kube-system/kube-proxy-m ''; Pod kube-system/kube-proxy-m is used",
    ),
    (
        UnreadableFlag("cluster-cidr", "\x1b[1m", PROXY),
        "left out: --cluster-cidr=\\x1b[1m of kube-proxy in Pod kube-system/kube-proxy-m, which cannot be "
        "read",
    ),
    (
        RangesInferred((("Pods", SUBNET), ("nodes", HOSTS))),
        "address ranges are taken to be Pods 10.244.0.0/16, nodes 172.18.0.0/16, from the addresses in the "
        "input (networking of a Cluster sets others)",
    ),
    (
        PodRoutes("kubenet", True, SUBNET),
        "Pod network emulated as kubenet: the Pods' addresses are not of their nodes' podCIDRs, so each has "
        "routes of its own; the bridges' addresses, of 10.244.0.0/16, stand for the nodes' own",
    ),
    (
        PodRoutes("kubenet", False, SUBNET),
        "Pod network emulated as kubenet: the Pods' addresses are of no podCIDR, so each has routes of its "
        "own; the bridges' addresses, of 10.244.0.0/16, stand for the nodes' own",
    ),
    (
        NodeRoutes(("a", "b", "c"), HOSTS),
        "the addresses of a, b, c are in several networks: each has routes of its own (the router is in "
        "172.18.0.0/16)",
    ),
    (
        NodeRoutes(("a", "b", "c", "d", "e"), HOSTS),
        "the addresses of a, b, c and 2 more are in several networks: each has routes of its own (the router "
        "is in 172.18.0.0/16)",
    ),
    (NoControlPlane(), "no node is a control plane: Service default/kubernetes has no endpoint"),
    (
        ManagedControlPlane("default/kubernetes", ("10.0.0.1",)),
        "Service default/kubernetes has the endpoint 10.0.0.1: no node has it, as in a cluster whose control "
        "plane is managed (EKS, GKE, AKS): no server is declared there",
    ),
    (
        ManagedControlPlane("default/kubernetes", ("10.0.0.1", "10.0.0.2")),
        "Service default/kubernetes has the endpoints 10.0.0.1 and 10.0.0.2: no node has them, as in a "
        "cluster whose control plane is managed (EKS, GKE, AKS): no server is declared there",
    ),
    (
        EndpointNotTaken("x/s", Address("10.244.1.255"), "worker-1", "ipvs"),
        "Service x/s has the endpoint 10.244.1.255, a broadcast or multicast address on worker-1: the kernel "
        "refuses it there, and kube-proxy in ipvs mode logs that and leaves it out",
    ),
    (
        EndpointNotTaken("x/s", Address("224.0.0.1"), "", "ipvs"),
        "Service x/s has the endpoint 224.0.0.1, a broadcast or multicast address on every node: the kernel "
        "refuses it there, and kube-proxy in ipvs mode logs that and leaves it out",
    ),
    (EndedPods(1), "left out: 1 Pod that ended (Succeeded or Failed)"),
    (EndedPods(2), "left out: 2 Pods that ended (Succeeded or Failed)"),
    (
        LeftToOtherProxy("x/s", "service.kubernetes.io/service-proxy-name"),
        "Service x/s is left to another proxy by its label service.kubernetes.io/service-proxy-name: "
        "kube-proxy makes no rule for it",
    ),
    (
        NotMirrored("x/s", label="endpointslice.kubernetes.io/skip-mirror"),
        "Endpoints x/s are not mirrored, by their label endpointslice.kubernetes.io/skip-mirror: kube-proxy "
        "reads EndpointSlices alone",
    ),
    (
        NotMirrored("x/s", annotation="control-plane.alpha.kubernetes.io/leader"),
        "Endpoints x/s are not mirrored, by their annotation control-plane.alpha.kubernetes.io/leader: "
        "kube-proxy reads EndpointSlices alone",
    ),
    (
        COMMAND,
        "a.yaml:3: container a of Pod x/p has its command in podwire.dev/run, which runs only with --run: "
        "sh -c 'echo '\"'\"'a b'\"'\"''",
    ),
    (
        replace(COMMAND, command=("echo", "x" * 200), more=2, allowed=True),
        "a.yaml:3: container a of Pod x/p (and 2 more like it) runs its command, as --run allows: "
        f"echo {'x' * 154}…",
    ),
    (MoreRealCommands(3, allowed=False), "3 more commands would run with --run"),
    (MoreRealCommands(3, allowed=True), "3 more commands run"),
    (
        LoaderMissing("iptables-nft-restore", "iptables-legacy-restore"),
        "iptables-nft-restore is not installed: the rules are loaded by iptables-legacy-restore",
    ),
    (
        LoaderRefused("iptables-nft-restore", "6.1.0", "Message too long", "iptables-legacy-restore"),
        "iptables-nft-restore is refused by kernel 6.1.0 (Message too long): the rules are loaded by "
        "iptables-legacy-restore",
    ),
    (
        PortRefused(CONTAINER, Holder("a"), "Address already in use"),
        "container b of Pod x/p cannot listen: port 80/TCP is taken by container a (Address already in use)",
    ),
    (
        PortRefused(HEALTH_CHECK, Holder("a", "x/q"), ""),
        "kube-proxy on worker-1 cannot listen: port 32123/TCP is taken by container a of Pod x/q",
    ),
    (LimitReached(LIMIT), say_doubted(LIMIT)),
    (
        NotListening("a", "x/p", ((53, "UDP"), (80, "TCP"))),
        "container a of Pod x/p does not listen on 53/UDP, 80/TCP",
    ),
    (
        NotListening("a", "x/p", ((80, "TCP"),), CommandEnd(2, "no such file", kept=True)),
        "container a of Pod x/p does not listen on 80/TCP: its command ended with exit code 2: no such file "
        "(see logs/)",
    ),
    (
        LocalhostOnly("a", "x/p", ((80, "TCP"),)),
        "container a of Pod x/p listens on 80/TCP at localhost only: no other Pod reaches it",
    ),
    (
        CommandEnded("a", "x/p", CommandEnd(-9, "", kept=False)),
        "container a of Pod x/p: its command ended by signal 9",
    ),
    (
        UnansweredUdp("x/p"),
        "UDP to the command of Pod x/p counts as delivered when it came in there: an answer is not owed",
    ),
    (
        UnansweredUdp("x/p", 2),
        "UDP to the command of Pod x/p (and 2 more) counts as delivered when it came in there: an answer is "
        "not owed",
    ),
    (
        Sampled(1),
        "1 flow met a sample of the Service's endpoints only; a FlowCheck with attempts: meets them all",
    ),
    (
        Sampled(2),
        "2 flows met a sample of the Service's endpoints only; a FlowCheck with attempts: meets them all",
    ),
    (
        Represented(1, 100),
        "1 Service port, all but the first 100, was dialled by one Pod and one client outside only",
    ),
    (
        Represented(2, 100),
        "2 Service ports, all but the first 100, were dialled by one Pod and one client outside only",
    ),
    (
        FramesLost(1),
        "1 frame was lost: the taps' rings or the capture were full; flows that miss one are UNKNOWN",
    ),
    (
        FramesLost(2),
        "2 frames were lost: the taps' rings or the capture were full; flows that miss one are UNKNOWN",
    ),
    (
        FramesLeftOut(1, 64 << 20),
        "1 frame that belongs to no flow is not in the captures, which hold 64 MiB of such frames at most",
    ),
    (
        FramesLeftOut(2, 2048 << 20),
        "2 frames that belong to no flow are not in the captures, which hold 2,048 MiB of such frames at "
        "most",
    ),
    (EvidenceMissing("disk full"), "evidence is not complete: disk full"),
)


@pytest.mark.parametrize(
    ("notice", "sentence"), SENTENCES, ids=[type(notice).__name__ for notice, _ in SENTENCES]
)
def test_a_notice_is_one_printable_sentence(notice: Notice, sentence: str) -> None:
    assert say_notice(notice) == sentence
    assert sentence.isprintable()


def test_every_notice_is_among_them() -> None:
    assert {type(notice) for notice, _ in SENTENCES} == set(get_args(Notice))
