"""Defines the interface of a Pod network. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ..cluster.podnetwork import PodNetworkFacts
from ..cluster.state import ClusterState
from ..net import Address, Prefix
from ..objects.kinds import Node, Pod
from ..plan.operations import Operation
from ..plan.rules import Rule


class NetworkRules(Protocol):
    """Yields the rules of a node."""

    def __call__(self, state: ClusterState, node: str, *, asked: bool = False) -> Iterator[Rule]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetwork:
    """Describes a Pod network. ``facts`` are all that other rooms know of it.

    ``addresses`` yields those that Pods of a node with a podCIDR may have, in the order of assignment.
    ``plan_node`` plans a node's own part, ``attach`` a Pod with its link and addresses, ``connect`` the ways
    between the nodes, ``plan_meetings`` the additional operations for Pods that send to each other (pairs of
    addresses). ``rules`` yields those of one node, beside kube-proxy's, if ``asked`` with their origins.
    """

    facts: PodNetworkFacts
    addresses: Callable[[PodNetworkFacts, Prefix], Iterator[Address]]
    plan_node: Callable[[ClusterState, Node], Iterator[Operation]]
    attach: Callable[[ClusterState, Pod], Iterator[Operation]]
    connect: Callable[[ClusterState], Iterator[Operation]]
    plan_meetings: Callable[[ClusterState, Iterable[tuple[str, str]]], Iterator[Operation]]
    rules: NetworkRules
