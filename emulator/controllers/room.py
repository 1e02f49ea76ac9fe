"""Limits the size of a cluster, before anything of it is made."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..errors import worded
from ..net import (
    Prefix,
)
from ..objects.kinds import Node, Pod
from ..podnet.hostlocal import NOT_FOR_PODS
from .findings import Draft, Findings

MOST_NODES = 1_000  # every node has a route to every other one
MOST_PODS = 20_000


@dataclass(frozen=True, slots=True)
class Room:
    """Holds the room for more Pods. ``pods``: how many may still be made; ``addresses``: how many addresses
    the nodes' podCIDRs hold for all Pods together.
    """

    pods: int
    addresses: int

    def refusal(self, pods: int, addresses: int) -> str:
        """Returns why ``pods`` more Pods, which take so many ``addresses``, cannot be made; "" if they
        can.
        """
        if addresses > self.addresses:
            what = "the podCIDRs of all nodes together have {} addresses for Pods"
            return worded(what, f"{self.addresses:,}")
        return f"podwire makes no more than {MOST_PODS:,} Pods" if pods > self.pods else ""


def room_for_pods(nodes: Collection[Node], running: int) -> Room:
    """Returns the room for Pods beside ``running`` ones."""
    networks = [Prefix(node.spec.podCIDRs[0]) for node in nodes if node.spec.podCIDRs]
    return Room(MOST_PODS - running, sum(max(0, network.size - NOT_FOR_PODS) for network in networks))


def is_too_large(pods: Sequence[Draft[Pod]], nodes: Sequence[Draft[Node]], findings: Findings) -> bool:
    """Returns whether there are more Pods or nodes than podwire takes, with a problem at the first one too
    many.
    """
    if len(nodes) > MOST_NODES:
        draft = nodes[MOST_NODES]
        what = worded("{} nodes: podwire takes no more than {}", f"{len(nodes):,}", f"{MOST_NODES:,}")
        findings.problem(
            draft.origin, f"{draft.base}name" if draft.base else "metadata.name", what, "leave nodes out"
        )
    if len(pods) > MOST_PODS:
        what = worded("{} Pods: podwire takes no more than {}", f"{len(pods):,}", f"{MOST_PODS:,}")
        findings.problem(pods[MOST_PODS].origin, "metadata.name", what, "leave Pods or namespaces out")
    return len(nodes) > MOST_NODES or len(pods) > MOST_PODS
