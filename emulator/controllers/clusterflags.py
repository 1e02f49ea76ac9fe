"""Reads the command lines of a cluster's own components: ranges of addresses, and kube-proxy's settings.

They stand in static Pods and DaemonSets of kubeadm, EKS, AKS, GKE, kops and RKE2 (``command`` and ``args``,
also as one line for a shell), and in the annotation ``k3s.io/node-args`` or ``rke2.io/node-args`` of a Node,
with k3s' own defaults (``pkg/cli/cmds/server.go``: 10.42.0.0/16 and 10.43.0.0/16).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ..net import Prefix, prefixes_in
from ..objects.config import Inventory
from ..objects.families import BUILT
from ..objects.kinds import Container, Node
from ..objects.notices import ProxiesDiffer

_FLAG = re.compile(r"--?([a-z][a-z0-9-]*)(?:=(.*))?\Z", re.DOTALL)
_SHELL = re.compile(r"[<>|&;]")  # the beginning of a redirection or another command
_NODE_ARGS = ("k3s.io/node-args", "rke2.io/node-args")
_K3S_DEFAULTS = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16"}
_KUBE_PROXY = "kube-proxy"


@dataclass(frozen=True, slots=True)
class ClusterFlags:
    """Holds the flags of a cluster. ``proxy``: kube-proxy's flags, and ``proxyFrom`` the Pod or node that has
    them ("" if none). ``conflicts``: flags in which several kube-proxies differ.
    """

    services: Prefix | None = None
    pods: Prefix | None = None
    proxy: Mapping[str, str] = field(default_factory=dict)
    proxyFrom: str = ""
    conflicts: tuple[ProxiesDiffer, ...] = ()


def cluster_flags(inventory: Inventory) -> ClusterFlags:
    """Returns the flags of the components in ``inventory``."""
    components: dict[str, dict[str, str]] = {}
    proxies: list[tuple[str, dict[str, str]]] = []
    embedded: list[tuple[str, dict[str, str]]] = []  # in k3s' own process
    for where, container in _containers(inventory):
        for program, flags in _programs(container):
            if program == _KUBE_PROXY:
                proxies.append((where, flags))
            else:
                components.setdefault(program, flags)
    for where, own in _from_nodes(loaded.object for loaded in inventory.nodes):
        components.setdefault("kube-apiserver", {"service-cluster-ip-range": own.get("service-cidr", "")})
        components.setdefault("kube-controller-manager", {"cluster-cidr": own.get("cluster-cidr", "")})
        embedded.append((where, {name: value for name, value in own.items() if name != "service-cidr"}))
    proxies = proxies or embedded
    proxy_from, proxy = proxies[0] if proxies else ("", {})
    conflicts = [
        ProxiesDiffer(name, where, flags.get(name, ""), proxy_from, proxy.get(name, ""))
        for where, flags in proxies[1:]
        for name in ("proxy-mode", "cluster-cidr", "detect-local-mode")
        if flags.get(name, "") != proxy.get(name, "")
    ]
    return ClusterFlags(
        services=_prefix(components.get("kube-apiserver", {}).get("service-cluster-ip-range", "")),
        pods=_prefix(components.get("kube-controller-manager", {}).get("cluster-cidr", "")),
        proxy=proxy,
        proxyFrom=proxy_from,
        conflicts=tuple(conflicts),
    )


def _containers(inventory: Inventory) -> Iterator[tuple[str, Container]]:
    for loaded in inventory.pods:
        if loaded.object.namespace == "kube-system":
            yield from (
                (f"Pod {loaded.object.key}", container) for container in loaded.object.spec.containers
            )
    for workload in (loaded.object for loaded in inventory.workloads):
        if workload.namespace == "kube-system" and workload.kind == "DaemonSet":
            yield from (
                (f"DaemonSet {workload.key}", container)
                for container in workload.spec.template.spec.containers
            )


def _programs(container: Container) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields each component that the container starts, with its flags."""
    words = [word for text in (*container.command, *container.args) for word in text.split()]
    for program in ("kube-apiserver", "kube-controller-manager", _KUBE_PROXY):
        places = [index for index, word in enumerate(words) if word.rpartition("/")[2] == program]
        if places:
            yield program, _flags(words[places[0] + 1 :])
        elif program == container.name and not container.command:
            yield program, _flags(words)


def _flags(words: Iterable[str]) -> dict[str, str]:
    """Returns ``--name=value`` and ``--name value`` as a mapping; a flag without a value is true."""
    flags: dict[str, str] = {}
    open_flag = ""
    for word in words:
        match = _FLAG.match(word)
        if match is None:
            if open_flag and not _SHELL.search(word):
                flags[open_flag] = word.strip("'\"")
            open_flag = ""
            continue
        name, value = match[1], match[2]
        open_flag = name if value is None else ""
        flags[name] = "true" if value is None else value.strip("'\"")
    return flags


def _from_nodes(nodes: Iterable[Node]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the flags of each k3s or RKE2 server, those for its kube-proxy under kube-proxy's own names."""
    for node in nodes:
        for annotation in _NODE_ARGS:
            try:
                words = json.loads(node.metadata.annotations.get(annotation, "null"))
            except (ValueError, RecursionError):
                continue
            if (
                not isinstance(words, list)
                or not all(isinstance(word, str) for word in words)
                or "server" not in words
            ):
                continue
            flags = {**_K3S_DEFAULTS, **{k: v for k, v in _flags(words).items() if k in _K3S_DEFAULTS}}
            for index, word in enumerate(words):
                name, equals, value = word.partition("=")
                if name == "--kube-proxy-arg":
                    given = value if equals else next(iter(words[index + 1 : index + 2]), "")
                    key, _, setting = given.removeprefix("--").partition("=")
                    flags[key] = setting
            yield f"Node {node.name}", flags


def _prefix(text: str) -> Prefix | None:
    """Returns the part of a flag's value in the cluster's family (None if there is none)."""
    return next(iter(prefixes_in(BUILT, text)), None)
