"""Translates kind's ``Cluster`` (kind.x-k8s.io/v1alpha4) into podwire's: its node names, labels and taints.

Sources: kind, ``pkg/cluster/internal/providers/common/namer.go`` (names),
``pkg/cluster/internal/kubeadm/config.go`` (node labels are the kubelet's flag ``node-labels``) and
``…/create/actions/kubeadminit`` (a single node takes Pods); kubeadm, ``phases/kubelet/flags.go`` and
``phases/markcontrolplane`` (which taints a node gets). A patch is a merge patch (RFC 7386): a ``node-labels``
in one takes the place of the labels that the node has in the configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import Words, worded
from .faults import (
    Fault,
    FieldPath,
    path_text,
    shown,
)
from .yamltext import read_documents

PATCHES = "kubeadmConfigPatches"
PROXY_KIND = "KubeProxyConfiguration"
_DEFAULT_NAME = "kind"
_CONTROL_PLANE_TAINT = "node-role.kubernetes.io/control-plane"

# Fields that have a meaning here; the others are about the containers that kind makes.
_OF_CLUSTER = frozenset({"apiVersion", "kind", "name", "metadata", "nodes", "networking", PATCHES})
_OF_NODE = frozenset({"role", "labels", PATCHES})
_OF_NETWORKING = frozenset({"podSubnet", "serviceSubnet", "kubeProxyMode", "ipFamily"})


@dataclass(slots=True)
class KindTranslation:
    """Holds the cluster in the form of podwire's own, and kube-proxy's configuration as the patches have it.

    ``proxy_path`` is the place of the first such patch; it is () without one. ``ignored`` names the fields
    without a meaning here.
    """

    cluster: dict[str, Any]
    faults: list[Fault] = field(default_factory=list)
    proxy: dict[str, Any] = field(default_factory=dict)
    proxy_path: FieldPath = ()
    ignored: dict[str, None] = field(default_factory=dict)


def translate(value: Mapping[str, Any]) -> KindTranslation:
    """Returns kind's Cluster as podwire's, every node named as kind names it."""
    result = KindTranslation({})
    kept = _keep(value, _OF_CLUSTER, "", result)
    result.cluster = kept
    name = kept.pop("name", None)
    if isinstance(name, str):
        kept.setdefault("metadata", {"name": name})
    patches = [*_read_patches(kept.pop(PATCHES, None), (PATCHES,), result)]
    if isinstance(kept.get("networking"), dict):
        kept["networking"] = _keep(kept["networking"], _OF_NETWORKING, "networking.", result)
    nodes = kept.get("nodes")
    if nodes is None or nodes == []:
        nodes = [{"role": "control-plane"}]
    if isinstance(nodes, list):
        metadata = kept.get("metadata")
        cluster_name = metadata.get("name") if isinstance(metadata, dict) else None
        kept["nodes"] = [*_nodes(nodes, str(cluster_name or _DEFAULT_NAME), patches, result)]
    return result


def _keep(
    value: Mapping[str, Any], names: frozenset[str], prefix: str, result: KindTranslation
) -> dict[str, Any]:
    result.ignored.update(dict.fromkeys(f"{prefix}{path_text((key,))}" for key in value if key not in names))
    return {key: item for key, item in value.items() if key in names}


def _nodes(
    nodes: list[Any], cluster: str, patches: list[dict[str, Any]], result: KindTranslation
) -> Iterator[Any]:
    counts = {"control-plane": 0, "worker": 0}
    for index, written in enumerate(nodes):
        if not isinstance(written, dict):
            yield written
            continue
        node = _keep(written, _OF_NODE, "nodes[].", result)
        own = [*_read_patches(node.pop(PATCHES, None), ("nodes", index, PATCHES), result)]
        role = node["role"] = node.get("role") or "control-plane"
        if not isinstance(role, str) or role not in counts:
            yield node  # decoding reports its fault
            continue
        counts[role] += 1
        number = counts[role]
        node["name"] = f"{cluster}-{role}{number if number > 1 else ''}"
        first = role == "control-plane" and number == 1
        wanted = "InitConfiguration" if first else "JoinConfiguration"
        registration: dict[str, Any] = {}
        for patch in (*patches, *own):
            if patch.get("kind") == wanted and isinstance(patch.get("nodeRegistration"), dict):
                registration = _merged(registration, patch["nodeRegistration"])
        path: FieldPath = ("nodes", index)
        _register(node, registration, path, result, alone=len(nodes) == 1)
        yield node


def _register(
    node: dict[str, Any],
    registration: Mapping[str, Any],
    path: FieldPath,
    result: KindTranslation,
    *,
    alone: bool,
) -> None:
    """Puts the labels and taints of kubeadm's ``nodeRegistration`` into ``node``."""
    flags = _flags(registration.get("kubeletExtraArgs"))
    if "node-labels" in flags:
        node["labels"] = dict(_pairs(flags["node-labels"]))
    given = registration.get("taints")
    taints = given if isinstance(given, list) else []
    registered = (
        [*_taints(flags["register-with-taints"], path, result)] if "register-with-taints" in flags else taints
    )
    if node["role"] == "control-plane":
        node["roleTaint"] = given is None
        registered = [*registered, *(taint for taint in taints if taint not in registered)]
        if alone:
            registered = [taint for taint in registered if not _is_for_control_planes(taint)]
    if registered:
        node["taints"] = registered


def _is_for_control_planes(taint: Any) -> bool:
    return isinstance(taint, dict) and taint.get("key") == _CONTROL_PLANE_TAINT


def _flags(args: Any) -> dict[str, str]:
    """Returns kubeadm's extraArgs: a mapping, or since v1beta4 a list of names and values."""
    if isinstance(args, dict):
        return {str(key): str(item) for key, item in args.items()}
    if isinstance(args, list):
        return {str(arg.get("name")): str(arg.get("value", "")) for arg in args if isinstance(arg, dict)}
    return {}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, _, item = part.partition("=")
        yield key, item


def _taints(text: str, path: FieldPath, result: KindTranslation) -> Iterator[dict[str, str]]:
    """Returns the taints in the kubelet's flag: ``key=value:effect`` or ``key:effect``, separated by
    commas.
    """
    for part in filter(None, (part.strip() for part in text.split(","))):
        pair, colon, effect = part.rpartition(":")
        key, _, item = pair.partition("=")
        if colon and key:
            yield {"key": key, "value": item, "effect": effect}
        else:
            what = worded("register-with-taints {} is not a taint", shown(part))
            result.faults.append(Fault((*path, PATCHES), what, "write key=value:NoSchedule"))


def _read_patches(patches: Any, path: FieldPath, result: KindTranslation) -> Iterator[dict[str, Any]]:
    """Yields the patches that are about nodes, and keeps those of kube-proxy's configuration."""
    if patches is None:
        return
    if not isinstance(patches, list):
        result.faults.append(Fault(path, worded("must be a list, is {}", shown(patches))))
        return
    for index, text in enumerate(patches):
        at = (*path, index)
        if not isinstance(text, str):
            result.faults.append(
                Fault(at, worded("must be a string, is {}", shown(text)), "write the patch after |")
            )
            continue
        documents, faults = read_documents(text)
        for fault in faults:
            result.faults.append(
                Fault(at, worded("line {} of the text {}", fault.line, Words(fault.what)), fault.hint)
            )
        for document in documents:
            if isinstance(document.value, dict):
                yield from _sorted_out(document.value, at, result)
            elif document.value is not None:
                result.faults.append(
                    Fault(at, worded("must be a mapping with a kind, is {}", shown(document.value)))
                )


def _sorted_out(patch: dict[str, Any], at: FieldPath, result: KindTranslation) -> Iterable[dict[str, Any]]:
    kind = patch.get("kind")
    if kind == PROXY_KIND:
        result.proxy = _merged(result.proxy, patch)
        result.proxy_path = result.proxy_path or at
        return ()
    if kind in ("InitConfiguration", "JoinConfiguration"):
        return (patch,)
    result.ignored[f"{PATCHES} of kind {shown(kind)}"] = None
    return ()


def _merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns ``old`` with ``patch`` merged into it (RFC 7386)."""
    new = dict(old)
    for key, item in patch.items():
        if item is None:
            new.pop(key, None)
        elif isinstance(item, dict) and isinstance(new.get(key), dict):
            new[key] = _merged(new[key], item)
        else:
            new[key] = item
    return new
