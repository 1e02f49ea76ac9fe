"""Advises on a known difference between kube-proxy's modes: a sentence or two for the cluster's operator.
Pure.

The first row that fits a flow counts. Facts: docs/semantics, by section, and
https://kubernetes.io/docs/reference/networking/virtual-ips/ ("Migrating from iptables mode to nftables"), for
the settings https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/, for the end of ipvs
mode KEP-5495.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ..net import is_loopback
from ..objects.config import FlowExpect
from ..verdicts.modes import ComparedFlow


class _Row(NamedTuple):
    section: int  # section of docs/semantics on which the difference rests
    fits: Callable[[ComparedFlow], bool]
    advice: str


def _any(_: ComparedFlow) -> bool:
    return True


def _on_localhost(compared: ComparedFlow) -> bool:
    return is_loopback(compared.flow.to.ip)


def _asymmetric(compared: ComparedFlow) -> bool:
    return any(promise.asymmetric for promise in compared.promises.values())


def _dropped(compared: ComparedFlow) -> bool:
    return any(promise.outcome == "dropped" for promise in compared.promises.values())


def _other_backends(compared: ComparedFlow) -> bool:
    return compared.aspects == ("backends",)


_ROWS: Sequence[_Row] = (
    _Row(
        15,
        _any,
        "userspace mode, gone since Kubernetes 1.26: every backend sees a node's address, and "
        "policies, source ranges and hints have no effect. To tell clients apart by their address, "
        "or to keep some out by a policy, use another mode.",
    ),
    _Row(
        9,
        _on_localhost,
        "Node ports on localhost: nftables and ipvs mode never serve them. On a node, dial the "
        "Service's ClusterIP or the node's primary InternalIP instead.",
    ),
    _Row(
        9,
        _any,
        "Node ports at a node's other addresses: nftables mode serves them at the primary "
        "InternalIP alone, unless nodePortAddresses in the "
        "KubeProxyConfiguration names more (0.0.0.0/0: all but localhost). Dial the primary "
        "InternalIP, or set nodePortAddresses.",
    ),
    _Row(
        13,
        _asymmetric,
        "externalTrafficPolicy Local from outside: in every mode a client gets an answer only "
        "through a node that has an endpoint. Keep load "
        "balancers to such nodes: a LoadBalancer Service's healthCheckNodePort shows which these are.",
    ),
    _Row(
        13,
        _other_backends,
        "externalTrafficPolicy Local from Pods and nodes: ipvs mode gives them their own node's "
        "endpoints, the others any. To have any in "
        "every mode, dial the ClusterIP.",
    ),
    _Row(
        8,
        _any,
        "A port that a ClusterIP does not have, or an address that no Service has: no client should "
        "dial it. One that does (a stale address, a port left out of the Service) fails sooner, "
        "later or otherwise than before; add the port if clients need it.",
    ),
    _Row(
        5,
        _any,
        "The source address that a backend sees changes: check how the backend uses it (logs, allow "
        "lists, rates). masqueradeAll is a setting of each mode: nftables mode reads "
        "nftables.masqueradeAll, the others iptables.masqueradeAll.",
    ),
    _Row(
        7,
        _dropped,
        "A Local policy on a node without an endpoint: iptables and nftables mode drop, ipvs mode "
        "takes another node's or rejects. Where such "
        "nodes have clients, run an endpoint on each (a DaemonSet), or use policy Cluster.",
    ),
    _Row(
        7,
        _any,
        "A Service without endpoints: clients get no answer in any mode; only the time until their "
        "error changes.",
    ),
    _Row(
        13,
        _any,
        "This is special to ipvs mode, which is deprecated since Kubernetes 1.35.",
    ),
)


def expect_to_dict(expect: FlowExpect) -> dict[str, str]:
    """Returns the ``expect`` of a FlowCheck as a mapping; an empty one means the objects' promise."""
    return {"outcome": expect.outcome} if expect.outcome else {}


def expect_text(expect: FlowExpect) -> str:
    """Returns :func:`expect_to_dict` as YAML on one line."""
    return f"{{{', '.join(f'{key}: {value}' for key, value in expect_to_dict(expect).items())}}}"


def advise(flows: Iterable[ComparedFlow]) -> Iterator[str]:
    """Yields advice about the known differences among ``flows``, each once: first about clients' usual
    actions, then about those that they should avoid.
    """
    needed = {
        next((row for row in _ROWS if row.section in flow.sections and row.fits(flow)), None)
        for flow in flows
    }
    yield from (row.advice for row in _ROWS if row in needed)
