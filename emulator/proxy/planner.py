"""Plans kube-proxy's part of a cluster that changes, state after state. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..cluster.state import ClusterState
from ..plan.operations import DelConnections
from ..plan.operations.rules import Change
from .backend import Rules
from .backends import backend_of
from .changes import Index


class ProxyChange(NamedTuple):
    """Holds the change of the kernels from one state to another.

    ``changes``: for each node what changes its rules; None where ``before`` and ``after`` are to be compared
    as a whole. ``stale``: the connections that every node must forget once its rules are the new
    ones.
    """

    before: Rules
    after: Rules
    changes: Mapping[str, Change] | None
    stale: Iterator[DelConnections]


class ProxyPlanner:
    """Owns the results for the last state that it was asked about, so that a change costs what changed.

    States may come in any order; consecutive states that share the objects that stay cost least.
    """

    def __init__(self) -> None:
        self._state: ClusterState | None = None
        self._rules: Rules | None = None
        self._index: Index | None = None

    def rules(self, state: ClusterState) -> Rules:
        """Returns the rules of every node of ``state``."""
        self._turn_to(state)
        if self._rules is None:
            self._rules = backend_of(state).rules(state)
        return self._rules

    def change(self, old: ClusterState, new: ClusterState) -> ProxyChange:
        """Returns the change from ``old`` to ``new``, which is the last state from then on."""
        before = self.rules(old)
        index, changes = (self._index or Index.of(old)).changes(old, new)
        changed = before.changed(changes) if _only_services_differ(old, new) else None
        self._turn_to(new)
        self._index = index
        after, by_node = changed or (self.rules(new), None)
        self._rules = after
        return ProxyChange(before, after, by_node, backend_of(new).stale(old, new, changes))

    def _turn_to(self, state: ClusterState) -> None:
        """Drops the results for another state."""
        if state is not self._state:
            self._state, self._rules, self._index = state, None, None


def _only_services_differ(old: ClusterState, new: ClusterState) -> bool:
    return old.proxy == new.proxy and old.nodes == new.nodes and old.serviceSubnet == new.serviceSubnet
