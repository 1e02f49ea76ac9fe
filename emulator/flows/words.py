"""Reads the two words by which a command line names a flow: who dials, and what. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..cluster.state import ClusterState, pod_netns
from ..errors import UsageError
from ..net import AddressError, Endpoint
from ..objects.config import FlowFrom, FlowTo

# kubectl's names of what can be dialled, and the field of FlowTo
_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("service", "services", "svc"), "service"),
    **dict.fromkeys(("pod", "pods", "po"), "pod"),
    **dict.fromkeys(("node", "nodes", "no"), "node"),
    **dict.fromkeys(("lb", "loadbalancer"), "loadBalancer"),
    "external": "external",
}
_EXAMPLE = "service/web:80, svc/NAMESPACE/web:http, pod/web-1:8080, node/worker-1:30080, lb/web:80, IP:PORT"


def read_destination(word: str, namespace: str) -> FlowTo:
    """Returns the destination that ``word`` names; ``namespace``: that of a Service or Pod that names none.
    Raises UsageError.
    """
    place, colon, text = word.rpartition(":")
    if not (colon and place and text):
        raise UsageError(f"{word!r} names no port to dial: {_EXAMPLE}")
    port: int | str = int(text) if text.isascii() and text.isdigit() else text
    kind, slash, name = place.partition("/")
    if not slash:
        try:
            ip, number = Endpoint.parse(word)
        except AddressError:
            raise UsageError(f"{word!r} is nothing to dial: {_EXAMPLE}") from None
        return FlowTo(ip=str(ip), port=number)
    field = _KINDS.get(kind.lower())
    if field is None or not name:
        raise UsageError(f"{word!r} is nothing to dial: {_EXAMPLE}")
    if field in ("service", "pod", "loadBalancer") and "/" in name:
        namespace, _, name = name.partition("/")
    named: Mapping[str, Any] = {field: name}
    return FlowTo(**named, port=port, namespace=namespace or "default")


def client_in(state: ClusterState, netns: str) -> FlowFrom:
    """Returns the client whose network namespace is ``netns``. Raises UsageError if nobody dials from it."""
    if netns in state.node:
        return FlowFrom(node=netns)
    if netns in state.client:
        return FlowFrom(external=netns)
    for pod in state.pods:
        if pod_netns(pod) == netns:
            return FlowFrom(pod=pod.name, namespace=pod.namespace)
    raise UsageError(f"{netns} sends nothing: name a Pod, a node or an external client")
