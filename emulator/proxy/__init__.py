"""Plans kube-proxy: the endpoints that a node may use for each Service, and the rules that make its kernel
use them.

``endpoints`` chooses, one function for all modes; a module each (``iptables``, ``nftables``, ``ipvs``,
``userspace``) spells the choice as rules; ``backends`` is the table of modes. ``incremental`` makes the same
rules for ten thousand Services, and changes one of them at the cost of one. ``planner`` follows a cluster
from state to state.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..cluster.state import ClusterState
from ..plan.origins import Explained
from ..plan.rules import RuleSet
from .backends import BACKENDS, backend_of

MODES = tuple(BACKENDS)  # all modes of kube-proxy in podwire


def rules_for(state: ClusterState, node: str) -> RuleSet:
    """Returns kube-proxy's rules of one node."""
    return backend_of(state).rules(state).on(node)


def explain_rules(state: ClusterState, node: str) -> Iterator[Explained]:
    """Yields kube-proxy's rules of one node, each with the object and the field that caused it."""
    return backend_of(state).explain(state, node)
