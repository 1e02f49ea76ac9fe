"""kube-proxy: which endpoints a node may use for each Service, and the rules that make its kernel use them.

Pure: imports the objects, the cluster state and the plan's values. Invariant: the choice of endpoints is one function that all
modes share (:mod:`emulator.proxy.endpoints`); a mode only spells it.
"""

from __future__ import annotations

from collections.abc import Callable

from emulator.control.state import ClusterState
from emulator.errors import UsageError
from emulator.plan.rules import RuleSet
from emulator.proxy import iptables, ipvs, nftables

_RENDERERS: dict[str, Callable[[ClusterState], Callable[[str], RuleSet]]] = {
    "iptables": iptables.renderer,
    "nftables": nftables.renderer,
    "ipvs": ipvs.renderer,
}


MODES = tuple(_RENDERERS)  # the modes of kube-proxy that podwire has


def rules_renderer(state: ClusterState) -> Callable[[str], RuleSet]:
    """A function from a node's name to kube-proxy's rules there, in the mode that ``state.proxy`` names.

    Ask it for every node of a cluster: what the nodes have in common is worked out once. Raises :class:`UsageError` for a mode that
    has no renderer.
    """
    mode = state.proxy.mode
    if mode not in _RENDERERS:
        raise UsageError(f"kube-proxy's {mode} mode is not supported; supported: {', '.join(_RENDERERS)}")
    return _RENDERERS[mode](state)


def rules_for(state: ClusterState, node: str) -> RuleSet:
    """kube-proxy's rules of one node."""
    return rules_renderer(state)(node)
