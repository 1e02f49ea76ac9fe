"""Connects Pods: a module for each Pod network, and the table of them. No other room depends on how Pods are
connected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..cluster.state import ClusterState
from ..errors import UsageError
from ..plan.operations import Operation
from ..plan.origins import Explained, explained
from ..plan.rules import RuleSet
from .kubenet import KUBENET
from .network import PodNetwork

NETWORKS: Mapping[str, PodNetwork] = {network.facts.name: network for network in (KUBENET,)}
DEFAULT = KUBENET  # where no other is asked for


def plan_podnet(state: ClusterState) -> Iterator[Operation]:
    """Yields the operations that connect every Pod."""
    network = _network(state)
    for node in state.nodes:
        yield from network.plan_node(state, node)
        for pod in state.pods_on[node.name]:
            if not pod.spec.hostNetwork:
                yield from network.attach(state, pod)
    yield from network.connect(state)


def plan_meetings(state: ClusterState, meetings: Iterable[tuple[str, str]]) -> Iterator[Operation]:
    """Yields the operations that Pods need in addition if they send to each other; ``meetings`` are pairs of
    addresses.
    """
    return _network(state).plan_meetings(state, meetings)


def podnet_rules(state: ClusterState, node: str) -> RuleSet:
    """Returns the rules that the Pod network needs on ``node``, beside kube-proxy's."""
    return RuleSet.of(_network(state).rules(state, node))


def explain_podnet(state: ClusterState, node: str) -> Iterator[Explained]:
    """Yields the Pod network's rules on ``node``, each with the object and the field that caused it."""
    return map(explained, _network(state).rules(state, node, asked=True))


def _network(state: ClusterState) -> PodNetwork:
    name = state.podNetwork.name
    try:
        return NETWORKS[name]
    except KeyError:
        raise UsageError(
            f"podNetwork {name!r} is not supported; supported: {', '.join(sorted(NETWORKS))}"
        ) from None
