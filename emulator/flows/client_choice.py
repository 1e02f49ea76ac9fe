"""Chooses clients: of each kind of client that a Service or a Pod can have, one that stands for all of them,
with the note that says which it is.

Pure: the same state always gives the same ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ..cluster.state import ClusterState, Listener
from ..objects.config import ExternalClient
from ..objects.kinds import Node, Pod
from ..oracle.endpoints import PortEndpoints, in_source_ranges

_RING = 8  # nodes that are joined pairwise


class ClientChoice:
    """Chooses among the clients of a cluster. ``pods`` are those with a network of their own, the ones that
    serve nothing first, as a client usually does; ``pods_on``: the same by node. In ``nodes`` control planes
    come last. ``served``: :func:`served_ports`.
    """

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self.served = served_ports(state)
        own = [pod for pod in state.pods if not pod.spec.hostNetwork]
        self.pods: Sequence[Pod] = sorted(own, key=lambda pod: pod.key in self.served)
        self.pods_on: dict[str, list[Pod]] = {}
        for pod in self.pods:
            self.pods_on.setdefault(pod.spec.nodeName, []).append(pod)
        self.nodes: Sequence[Node] = sorted(state.nodes, key=_is_special)

    def ring(self) -> list[tuple[Node, Node]]:
        """Returns nodes, those with Pods before others, each with the next that has Pods."""
        busy = [n for n in self.nodes if n.name in self.pods_on][:_RING]
        idle = [n for n in self.nodes if n.name not in self.pods_on][: _RING - len(busy)]
        if not busy:
            return []
        return [
            *zip(busy, busy[1:] + busy[:1], strict=True),
            *((node, busy[i % len(busy)]) for i, node in enumerate(idle)),
        ]

    def pairs(self, listeners: Sequence[Listener], same_node: bool) -> Iterator[tuple[Pod, Listener]]:
        """Yields pairs of a Pod and a listener of another one, on the same node or not."""
        for listener in listeners:
            for pod in self.pods:
                if pod.key != listener.pod and (pod.spec.nodeName == listener.node) == same_node:
                    yield pod, listener

    def pods_for(self, endpoints: PortEndpoints, how: str) -> list[tuple[Pod, str]]:
        """Returns a Pod that meets itself, one beside an endpoint and one away from them, as far as there
        are; any Pod when there are no endpoints.
        """
        if not endpoints.usable:
            return [(pod, "no endpoints") for pod in self.pods[:1]]
        near, far, itself = self._service_clients(endpoints)
        pods = [
            (itself, "hairpin" if itself and self._meets_itself(itself, endpoints, how) else "an endpoint"),
            (near, "same node"),
        ]
        pods.append(
            (
                far,
                "other node" if far and far.spec.nodeName in endpoints.nodes else "node without an endpoint",
            )
        )
        return [(pod, note) for pod, note in pods if pod]

    def nodes_for(self, endpoints: PortEndpoints) -> list[tuple[Node, str]]:
        """Returns a node with a usable endpoint of its own and one without, as far as there are; any node
        when there are no endpoints.
        """
        if not endpoints.usable:
            return [(self.nodes[0], "no endpoints")]
        having = endpoints.nodes
        with_one = [(n, "node with an endpoint") for n in self.nodes if n.name in having]
        without = [(n, "node without an endpoint") for n in self.nodes if n.name not in having]
        return with_one[:1] + without[:1]

    def outside_for(self, endpoints: PortEndpoints) -> list[tuple[ExternalClient, str]]:
        """Returns a client outside the cluster that the Service's source ranges let in, and one that they
        keep out, as far as there are.
        """
        inside = [(c, "") for c in self._state.clients if in_source_ranges(endpoints.service, c.address)]
        others = [
            (c, "outside the source ranges")
            for c in self._state.clients
            if not in_source_ranges(endpoints.service, c.address)
        ]
        return inside[:1] + others[:1]

    def _service_clients(self, endpoints: PortEndpoints) -> tuple[Pod | None, Pod | None, Pod | None]:
        """Returns a Pod beside an endpoint, a Pod away from them, and an endpoint that can meet itself; None
        where there is none.

        Endpoints are the last choice for the first two.
        """
        itself = next(
            (
                pod
                for pod in self._endpoint_pods(endpoints)
                if self._meets_itself(pod, endpoints, "clusterIP")
            ),
            None,
        )
        taken = {itself.key} if itself else set()
        near = self._pick(endpoints, endpoints.nodes, taken)
        taken |= {near.key} if near else set()
        without = (n for n in self.pods_on if n not in endpoints.nodes)
        far = self._pick(endpoints, without, taken)
        if far is None and near is not None:
            far = self._pick(endpoints, (n for n in self.pods_on if n != near.spec.nodeName), taken)
        return near, far, itself

    def _pick(self, endpoints: PortEndpoints, nodes: Iterable[str], taken: Collection[str]) -> Pod | None:
        spare = None
        for node in nodes:
            for pod in self.pods_on.get(node, ()):
                if pod.ip not in endpoints.ips:
                    return pod
                if spare is None and pod.key not in taken:
                    spare = pod
        return spare

    def _endpoint_pods(self, endpoints: PortEndpoints) -> Iterator[Pod]:
        for candidate in endpoints.usable:
            pod = self._state.pod_by_ip.get(candidate.backend.address)
            if pod is not None:
                yield pod

    def _meets_itself(self, pod: Pod, endpoints: PortEndpoints, how: str) -> bool:
        node = self._state.node[pod.spec.nodeName]
        if how == "clusterIP" and endpoints.service.spec.internalTrafficPolicy == "Local":
            usable = endpoints.local_list(node.name)
        else:
            usable = endpoints.cluster_list(node.name, node.metadata.labels)
        return any(backend.address == pod.ip for backend in usable)


def served_ports(state: ClusterState) -> Mapping[str, Sequence[Listener]]:
    """Returns the ports that each Pod serves, by ``namespace/name``, real commands too; Pods that serve
    nothing have no entry.
    """
    served: dict[str, list[Listener]] = {}
    for listener in state.listeners:
        if not listener.refused:
            served.setdefault(listener.pod, []).append(listener)
    for (netns, port, protocol), (key, container) in state.commanded_ports.items():
        pod = state.pod[key]
        served.setdefault(key, []).append(
            Listener(
                pod=key,
                netns=netns,
                node=pod.spec.nodeName,
                container=container,
                ip=pod.ip,
                port=port,
                protocol=protocol,
            )
        )
    return served


def _is_special(node: Node) -> bool:
    """Returns whether it is a control plane or an etcd member: the last choice where any node will do."""
    return any(
        f"node-role.kubernetes.io/{role}" in node.metadata.labels for role in ("control-plane", "etcd")
    )
