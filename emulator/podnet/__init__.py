"""Pod networks: one pure planner each. :func:`plan_podnet` picks the one that the cluster asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from emulator.cluster.state import ClusterState
from emulator.errors import UsageError
from emulator.plan.operations import Operation
from emulator.plan.rules import RuleSet
from emulator.podnet import kubenet

_PLANNERS: Mapping[
    str, tuple[Callable[[ClusterState], Iterator[Operation]], Callable[[ClusterState, str], RuleSet]]
] = {
    "kubenet": (kubenet.plan_pods, kubenet.masquerade_rules),
}


def plan_podnet(state: ClusterState) -> Iterator[Operation]:
    """The operations that connect every Pod."""
    return _planner(state)[0](state)


def plan_meetings(state: ClusterState, meetings: Iterable[tuple[str, str]]) -> Iterator[Operation]:
    """Plan what Pods that send to each other need on top; ``meetings`` are pairs of addresses."""
    return kubenet.plan_meetings(state, meetings)


def podnet_rules(state: ClusterState, node: str) -> RuleSet:
    """The rules that the Pod network needs on ``node``, beside kube-proxy's."""
    return _planner(state)[1](state, node)


def _planner(
    state: ClusterState,
) -> tuple[Callable[[ClusterState], Iterator[Operation]], Callable[[ClusterState, str], RuleSet]]:
    try:
        return _PLANNERS[state.podNetwork]
    except KeyError:
        raise UsageError(
            f"podNetwork {state.podNetwork!r} is not supported; supported: {', '.join(sorted(_PLANNERS))}"
        ) from None
