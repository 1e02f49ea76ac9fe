"""Defines notices about the input: parts of it that are left out, and assumptions where it says nothing. Pure
values; ``report.prose_of_notices`` writes the sentences, :mod:`emulator.model.notices` has those of a run.

Unlike a warning (:mod:`emulator.objects.warnings`) a notice blames nothing and cannot be silenced.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Problem
from ..net import Address, Prefix

# --- reading ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IgnoredFields:
    """Says that ``fields`` of objects of a kind have no meaning here."""

    kind: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OddPlace:
    """Says what is odd at one place, and at ``more`` of its sort."""

    first: Problem
    more: int = 0


@dataclass(frozen=True, slots=True)
class NotManifests:
    """Says that ``files`` of a target have no object in them, and are left out."""

    target: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotRecursive:
    """Says that ``count`` manifests below a directory are not read; ``at_least``: and more, uncounted."""

    directory: str
    count: int
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Says that directories below a target may not be read; names the ``first`` of ``count``."""

    first: str
    count: int


@dataclass(frozen=True, slots=True)
class ChartsLeftOut:
    """Says that Helm charts below a target are not rendered; names the ``first`` of ``count``, and the
    ``command`` that renders it.
    """

    first: str
    count: int
    command: str


@dataclass(frozen=True, slots=True)
class NotBuilt:
    """Says that kustomizations below a target are not built; names the ``first`` of ``count``."""

    first: str
    count: int


@dataclass(frozen=True, slots=True)
class LeftOutByLabels:
    """Says how many objects of each kind the selector ``labels`` leaves out."""

    labels: str
    counted: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class LeftOutKinds:
    """Says how many objects of each kind have no meaning here."""

    counted: tuple[tuple[str, int], ...]


# --- kube-proxy's settings --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModeOverShape:
    """Says that the KubeProxyConfiguration's ``mode`` is used, and not that of the Cluster, ``shaped``."""

    mode: str
    shaped: str


@dataclass(frozen=True, slots=True)
class ModeOverFlag:
    """Says that the KubeProxyConfiguration's ``mode`` is used, and not ``flag``, which kube-proxy's command
    line in the object ``where`` has.
    """

    mode: str
    where: str
    flag: str


@dataclass(frozen=True, slots=True)
class ProxyAssumed:
    """Says with which mode and clusterCIDR ("": none) kube-proxy is assumed to run."""

    mode: str
    clusterCIDR: str


@dataclass(frozen=True, slots=True)
class ModeAssumed:
    """Says that ``mode`` stands for the cluster's own in a comparison."""

    mode: str


@dataclass(frozen=True, slots=True)
class ProxiesDiffer:
    """Says that kube-proxies have different values of a flag, and that those of ``used`` count."""

    flag: str
    where: str
    value: str
    used: str
    usedValue: str


@dataclass(frozen=True, slots=True)
class UnreadableFlag:
    """Says that kube-proxy's flag ``name`` in the object ``where`` has a value that it would refuse."""

    name: str
    value: str
    where: str


# --- the cluster ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RangesInferred:
    """Says which address ranges are assumed of the addresses in the input, by their holders."""

    ranges: tuple[tuple[str, Prefix], ...]


@dataclass(frozen=True, slots=True)
class PodRoutes:
    """Says that Pods have addresses outside their nodes' podCIDRs (``podCIDRs``: there are some): each Pod
    has routes of its own, and the ``bridges`` have addresses of another prefix.
    """

    podNetwork: str
    podCIDRs: bool
    bridges: Prefix


@dataclass(frozen=True, slots=True)
class NodeRoutes:
    """Says that ``nodes`` have addresses outside the network ``hosts``, and routes of their own."""

    nodes: tuple[str, ...]
    hosts: Prefix


@dataclass(frozen=True, slots=True)
class NoControlPlane:
    """Says that no node has the role, so that Service default/kubernetes has no endpoint."""


@dataclass(frozen=True, slots=True)
class ManagedControlPlane:
    """Says that the endpoints of ``service`` have addresses that no node has."""

    service: str
    ips: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EndpointNotTaken:
    """Says that the kernel of ``node`` ("": of every node) refuses the endpoint ``ip``, a broadcast or
    multicast address there.
    """

    service: str
    ip: Address
    node: str
    mode: str


@dataclass(frozen=True, slots=True)
class EndedPods:
    """Says how many Pods are left out because they ended."""

    count: int


@dataclass(frozen=True, slots=True)
class LeftToOtherProxy:
    """Says that kube-proxy makes no rule for ``service``, which has ``label``."""

    service: str
    label: str


@dataclass(frozen=True, slots=True)
class NotMirrored:
    """Says that no EndpointSlice is made of ``endpoints``, which have a label or an annotation."""

    endpoints: str
    label: str = ""
    annotation: str = ""


@dataclass(frozen=True, slots=True)
class RealCommand:
    """Says that a container runs its command, or, unless ``allowed``, would; ``more`` of the same template
    are alike. ``place`` is that of the annotation that asks for it.
    """

    place: str
    container: str
    pod: str
    command: tuple[str, ...]
    more: int
    allowed: bool


@dataclass(frozen=True, slots=True)
class MoreRealCommands:
    """Says how many other commands run, or would."""

    count: int
    allowed: bool


InputNotice = (
    IgnoredFields
    | OddPlace
    | NotManifests
    | NotRecursive
    | Forbidden
    | ChartsLeftOut
    | NotBuilt
    | LeftOutByLabels
    | LeftOutKinds
    | ModeOverShape
    | ModeOverFlag
    | ProxyAssumed
    | ModeAssumed
    | ProxiesDiffer
    | UnreadableFlag
    | RangesInferred
    | PodRoutes
    | NodeRoutes
    | NoControlPlane
    | ManagedControlPlane
    | EndpointNotTaken
    | EndedPods
    | LeftToOtherProxy
    | NotMirrored
    | RealCommand
    | MoreRealCommands
)
