"""Writes notices as sentences; no other module does it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from ..controllers.commands import RUN_ANNOTATION
from ..errors import printable
from ..load.faults import cut
from ..model.notices import (
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
    RunNotice,
    Sampled,
    UnansweredUdp,
)
from ..objects.notices import (
    ChartsLeftOut,
    EndedPods,
    EndpointNotTaken,
    Forbidden,
    IgnoredFields,
    InputNotice,
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
from .phrases import MOST_NAMED, and_more, count, list_ports, list_some
from .prose_of_limits import say_doubted

_MOST_LETTERS = 160  # in a command


def say_notice(notice: Notice) -> str:
    """Returns ``notice`` as a sentence that a terminal can show."""
    said = _say_of_run(notice) if isinstance(notice, RunNotice) else _say_of_input(notice)
    return printable(said)


def _say_of_input(notice: InputNotice) -> str:
    match notice:
        case IgnoredFields(kind, fields):
            return f"{kind}: ignored {', '.join(fields)} (no meaning here)"
        case OddPlace(first, more):
            return f"{first}{and_more(more)}"
        case NotManifests(target, files):
            return f"{target}: {_list_files(files)} left out: no manifest, since there is no kind in it"
        case NotRecursive(directory, number, at_least):
            some = f"more than {number}" if at_least else f"{number}"
            verb, them = ("is", "it") if number == 1 else ("are", "them")
            below = f"{some} in the directories below {verb} not read"
            return f"{directory}: {below}, as with kubectl (-R reads {them} too)"
        case Forbidden(first, number):
            return f"{_several(number, first, 'directory', 'directories')} left out: permission denied"
        case ChartsLeftOut(first, number, command):
            return f"{_several(number, first, 'Helm chart')} left out: {command} renders one"
        case NotBuilt(first, number):
            built = f"{_several(number, first, 'kustomization')} not built"
            return f"{built}, and their files read as they are: -k builds one"
        case LeftOutByLabels(labels, counted):
            return f"left out by -l {labels}: {_list_kinds(counted)}"
        case LeftOutKinds(counted):
            return f"left out: {_list_kinds(counted)}"
        case ModeOverShape(mode, shaped):
            return f"the KubeProxyConfiguration's mode {mode} is used, not networking.kubeProxyMode {shaped}"
        case ModeOverFlag(mode, where, flag):
            both = f"{where} has --proxy-mode={flag}, the KubeProxyConfiguration mode {mode}"
            return f"{both}: the KubeProxyConfiguration is used"
        case ProxyAssumed(mode, cluster_cidr):
            return _say_proxy_assumed(mode, cluster_cidr)
        case ModeAssumed(mode):
            return (
                f"{mode} mode stands for the cluster's own: its KubeProxyConfiguration is not among the "
                "input (kubectl get configmap kube-proxy -n kube-system -o yaml)"
            )
        case ProxiesDiffer(flag, where, value, used, used_value):
            conflict = f"{where} has --{flag}={value}, {used} {used_value!r}"
            return f"kube-proxies have different settings: {conflict}; {used} is used"
        case UnreadableFlag(name, value, where):
            return f"left out: --{name}={cut(value)} of kube-proxy in {where}, which cannot be read"
        case RangesInferred(ranges):
            listed = ", ".join(f"{holders} {prefix}" for holders, prefix in ranges)
            how = "from the addresses in the input (networking of a Cluster sets others)"
            return f"address ranges are taken to be {listed}, {how}"
        case PodRoutes(pod_network, pod_cidrs, bridges):
            where = "are not of their nodes' podCIDRs" if pod_cidrs else "are of no podCIDR"
            return (
                f"Pod network emulated as {pod_network}: the Pods' addresses {where}, so each has routes of "
                f"its own; the bridges' addresses, of {bridges}, stand for the nodes' own"
            )
        case NodeRoutes(nodes, hosts):
            named = ", ".join(nodes[:MOST_NAMED])
            others = f" and {len(nodes) - MOST_NAMED} more" if len(nodes) > MOST_NAMED else ""
            apart = f"the addresses of {named}{others} are in several networks: each has routes of its own"
            return f"{apart} (the router is in {hosts})"
        case NoControlPlane():
            return "no node is a control plane: Service default/kubernetes has no endpoint"
        case ManagedControlPlane(service, ips):
            which, them = ("endpoint", "it") if len(ips) == 1 else ("endpoints", "them")
            managed = f"no node has {them}, as in a cluster whose control plane is managed (EKS, GKE, AKS)"
            return (
                f"Service {service} has the {which} {list_some(ips)}: {managed}: no server is declared there"
            )
        case EndpointNotTaken(service, ip, node, mode):
            where = f"a broadcast or multicast address on {node or 'every node'}"
            return (
                f"Service {service} has the endpoint {ip}, {where}: the kernel refuses it there, and "
                f"kube-proxy in {mode} mode logs that and leaves it out"
            )
        case EndedPods(number):
            return f"left out: {count(number, 'Pod')} that ended (Succeeded or Failed)"
        case LeftToOtherProxy(service, label):
            left = f"Service {service} is left to another proxy by its label {label}"
            return f"{left}: kube-proxy makes no rule for it"
        case NotMirrored(endpoints, label, annotation):
            by = f"their label {label}" if label else f"their annotation {annotation}"
            return f"Endpoints {endpoints} are not mirrored, by {by}: kube-proxy reads EndpointSlices alone"
        case RealCommand():
            return _say_command(notice)
        case MoreRealCommands(number, allowed):
            return f"{number} more commands {'run' if allowed else 'would run with --run'}"


def _say_of_run(notice: RunNotice) -> str:
    match notice:
        case LoaderMissing(wanted, used):
            return f"{wanted} is not installed: the rules are loaded by {used}"
        case LoaderRefused(wanted, kernel, reason, used):
            return f"{wanted} is refused by kernel {kernel} ({reason}): the rules are loaded by {used}"
        case PortRefused():
            return _say_refused_port(notice)
        case LimitReached(reached):
            return say_doubted(reached)
        case NotListening(container, pod, ports, end):
            ended = _say_end(end) if end else ""
            return f"container {container} of Pod {pod} does not listen on {list_ports(ports)}{ended}"
        case LocalhostOnly(container, pod, ports):
            where = f"{list_ports(ports)} at localhost only"
            return f"container {container} of Pod {pod} listens on {where}: no other Pod reaches it"
        case CommandEnded(container, pod, end):
            return f"container {container} of Pod {pod}{_say_end(end)}"
        case UnansweredUdp(pod, more):
            command = f"the command of Pod {pod}{and_more(more)}"
            return f"UDP to {command} counts as delivered when it came in there: an answer is not owed"
        case Sampled(flows):
            met = f"{count(flows, 'flow')} met a sample of the Service's endpoints only"
            return f"{met}; a FlowCheck with attempts: meets them all"
        case Represented(ports, most):
            which, were = ("port", "was") if ports == 1 else ("ports", "were")
            dialled = f"{were} dialled by one Pod and one client outside only"
            return f"{ports} Service {which}, all but the first {most}, {dialled}"
        case FramesLost(number):
            frames = "1 frame was" if number == 1 else f"{number} frames were"
            return f"{frames} lost: the taps' rings or the capture were full; flows that miss one are UNKNOWN"
        case FramesLeftOut(number, most):
            one = "1 frame that belongs to no flow is"
            frames = one if number == 1 else f"{number} frames that belong to no flow are"
            return f"{frames} not in the captures, which hold {most >> 20:,} MiB of such frames at most"
        case EvidenceMissing(why):
            return f"evidence is not complete: {why}"


# --- those that take thought ------------------------------------------------------------------------------


def _say_proxy_assumed(mode: str, cluster_cidr: str) -> str:
    detector = (
        f"clusterCIDR {cluster_cidr}"
        if cluster_cidr
        else "no clusterCIDR (as on EKS: a Pod keeps its address at every ClusterIP)"
    )
    hint = "kubectl get configmap -n kube-system kube-proxy -o yaml (EKS: kube-proxy-config)"
    return (
        f"the input does not say how kube-proxy is configured: mode {mode} and {detector} are assumed; "
        f"add {hint}"
    )


def _say_command(notice: RealCommand) -> str:
    how = (
        "runs its command, as --run allows"
        if notice.allowed
        else f"has its command in {RUN_ANNOTATION}, which runs only with --run"
    )
    more = f" (and {notice.more} more like it)" if notice.more else ""
    line = printable(shlex.join(notice.command))
    shown = line if len(line) <= _MOST_LETTERS else line[: _MOST_LETTERS - 1] + "…"
    return f"{notice.place}: container {notice.container} of Pod {notice.pod}{more} {how}: {shown}"


def _say_refused_port(notice: PortRefused) -> str:
    one, holder = notice.listener, notice.holder
    who = f"container {one.container} of Pod {one.pod}" if one.pod else f"{one.container} on {one.node}"
    has = f"container {holder.container}{f' of Pod {holder.pod}' if holder.pod else ''}"
    error = f" ({notice.error})" if notice.error else ""
    return f"{who} cannot listen: port {one.port}/{one.protocol} is taken by {has}{error}"


def _say_end(end: CommandEnd) -> str:
    how = f"with exit code {end.code}" if end.code >= 0 else f"by signal {-end.code}"
    said = f": {end.said}" if end.said else ""
    return f": its command ended {how}{said}{' (see logs/)' if end.kept else ''}"


# --- words ------------------------------------------------------------------------------------------------


def _several(number: int, first: str, noun: str, plural: str = "") -> str:
    return f"{count(number, noun, plural)} ({first}{', …' if number > 1 else ''})"


def _list_files(files: Sequence[str]) -> str:
    names = [PurePath(file).name for file in files[:MOST_NAMED]]
    return f"{count(len(files), 'file')} ({', '.join(names)}{', …' if len(files) > len(names) else ''})"


def _list_kinds(counted: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in counted)
