"""Reads kube-proxy's local-traffic detector from its documentation: which packets it takes for those of Pods
(docs/semantics 4, 5). Pure.
"""

from __future__ import annotations

from ..cluster.state import ClusterState
from ..model.flows import Client
from ..net import Prefix, prefixes_in


class LocalDetector:
    """Detects on every node alike. ``works`` is False where no detector is set, or where it has no prefix to
    compare with.
    """

    def __init__(self, state: ClusterState) -> None:
        self._mode = state.proxy.localMode
        self._cluster = prefixes_in(state.family, state.proxy.clusterCIDR)
        self._node = {n.name: Prefix(state.podCIDR(n.name)) for n in state.nodes}
        self._known: dict[tuple[str, str], bool] = {}
        self.works = bool(self._mode) and not (self._mode == "ClusterCIDR" and not self._cluster)

    def is_local(self, client: Client, node: str) -> bool:
        """Returns whether the packet is from a Pod: by its source address, or in the interface modes by
        whether it enters ``node`` from one of its own Pods.
        """
        known = self._known.get((client.ip, node))
        if known is None:
            known = self._known[client.ip, node] = self.works and self._detects(client, node)
        return known

    def _detects(self, client: Client, node: str) -> bool:
        if self._mode == "ClusterCIDR":
            return any(client.ip in cidr for cidr in self._cluster)
        if self._mode == "NodeCIDR":
            return client.ip in self._node[node]
        return client.kind == "pod" and client.node == node
