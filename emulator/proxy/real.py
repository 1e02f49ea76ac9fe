"""Stands in for a mode's rules where a real kube-proxy makes them: podwire loads none of them, and deletes no
connection. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..cluster.state import ClusterState
from ..plan.operations import DelConnections, Operation
from ..plan.operations.rules import Change
from ..plan.origins import Explained
from ..plan.rules import RuleSet, RuleTool
from .backend import Backend, Rules
from .changes import ServiceChange


@dataclass(frozen=True, slots=True)
class NoRules:
    """Holds the part of a real kube-proxy's rules that podwire loads: nothing."""

    tool: RuleTool = "iptables-restore"

    def on(self, _node: str) -> RuleSet:
        return RuleSet({})

    def operations(self) -> Iterator[Operation]:
        return iter(())

    def changed(self, _changes: Sequence[ServiceChange]) -> tuple[Rules, Mapping[str, Change]] | None:
        return self, {}


def real(backend: Backend) -> Backend:
    """Returns ``backend`` as a real kube-proxy has it, with the same needs of the machine."""
    return replace(backend, rules=lambda _: NoRules(), explain=_explain, stale=_stale, relays=None, layout="")


def _explain(_state: ClusterState, _node: str) -> Iterator[Explained]:
    return iter(())


def _stale(
    _old: ClusterState, _new: ClusterState, _changes: Sequence[ServiceChange]
) -> Iterator[DelConnections]:
    return iter(())
