"""kube-proxy: which endpoints a node may use for each Service, and the rules that make its kernel use them.

Pure: imports the objects, the cluster state and the plan's values. Invariant: the choice of endpoints is one
function that all modes share (:mod:`emulator.proxy.endpoints`); a mode only spells it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from emulator.cluster.state import ClusterState
from emulator.plan.rules import RuleSet, RuleTool
from emulator.proxy import iptables, ipvs, nftables, userspace
from emulator.proxy.changes import ServiceChange, service_changes
from emulator.proxy.remembered import Remembered


class Rules(Protocol):
    """The rules of all nodes, of one state of the cluster: a value that can be changed at the cost of what
    changed.
    """

    @property
    def tool(self) -> RuleTool: ...

    def on(self, node: str) -> RuleSet: ...

    def changed(self, changes: Sequence[ServiceChange]) -> tuple[Rules, Mapping[str, str]] | None:
        """The rules after ``changes``, and for each node the text for ``tool`` that changes its kernel's (""
        where nothing does); None if everything must be written anew. Nodes and settings stay as they are.
        """


_REMEMBERED = Remembered[Rules]()

_CHANGEABLE: dict[str, Callable[[ClusterState], Rules]] = {
    "iptables": iptables.rules,
    "nftables": nftables.rules,
}

_RENDERERS: dict[str, Callable[[ClusterState], Callable[[str], RuleSet]]] = {
    **{mode: lambda state: _rules(state).on for mode in _CHANGEABLE},
    "ipvs": ipvs.renderer,
    "userspace": userspace.renderer,
}


MODES = tuple(_RENDERERS)  # the modes of kube-proxy that podwire has


def rules_renderer(state: ClusterState) -> Callable[[str], RuleSet]:
    """A function from a node's name to kube-proxy's rules there, in the mode that ``state.proxy`` names.

    Ask it for every node of a cluster: what the nodes have in common is worked out once.
    """
    return _RENDERERS[state.proxy.mode](state)


def rules_for(state: ClusterState, node: str) -> RuleSet:
    """kube-proxy's rules of one node."""
    return rules_renderer(state)(node)


def _rules(state: ClusterState) -> Rules:
    return _REMEMBERED.get(state) or _REMEMBERED.put(state, _CHANGEABLE[state.proxy.mode](state))


def changed_rules(old: ClusterState, new: ClusterState) -> tuple[RuleTool, Mapping[str, str]] | None:
    """For each node the text for one tool that makes rules of ``old`` those of ``new``.

    None where the rules cannot be told piece by piece: they are to be compared as a whole.
    """
    if (
        old.proxy != new.proxy
        or old.proxy.mode not in _CHANGEABLE
        or old.nodes != new.nodes
        or old.serviceSubnet != new.serviceSubnet
    ):
        return None
    changed = _rules(old).changed(service_changes(old, new))
    if changed is None:
        return None
    rules, texts = changed
    if _REMEMBERED.get(new) is None:
        _REMEMBERED.put(new, rules)
    return rules.tool, texts
