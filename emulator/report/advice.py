"""Groups the known differences between kube-proxy's modes by cause: a title, and advice to the cluster's
operator. Pure.

The first row that fits a flow counts. Facts: docs/semantics, by section, and
https://kubernetes.io/docs/reference/networking/virtual-ips/ ("Migrating from iptables mode to nftables"), for
the settings https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/, for the end of ipvs
mode KEP-5495, for the default mode KEP-5343 (kubernetes/kubernetes#139957 names the release), for node ports
on localhost in nftables mode KEP-6032 (https://github.com/kubernetes/enhancements/issues/ and the number).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..net import is_loopback
from ..objects.config import COMING_MODE, FlowExpect
from ..verdicts.modes import ComparedFlow


class AdviceCause(NamedTuple):
    """Describes why modes differ. ``usual``: clients that dial what is there meet it; other causes concern
    habits, and addresses that nobody should dial.
    """

    section: int  # section of docs/semantics on which the difference rests
    fits: Callable[[ComparedFlow], bool]
    title: str
    advice: str
    usual: Callable[[ComparedFlow], bool]


def _any(_: ComparedFlow) -> bool:
    return True


def _never(_: ComparedFlow) -> bool:
    return False


def _from_outside(compared: ComparedFlow) -> bool:
    return compared.flow.client.kind == "external"


def _on_localhost(compared: ComparedFlow) -> bool:
    return is_loopback(compared.flow.to.ip)


def _asymmetric(compared: ComparedFlow) -> bool:
    return any(promise.asymmetric for promise in compared.promises.values())


def _dropped(compared: ComparedFlow) -> bool:
    return any(promise.outcome == "dropped" for promise in compared.promises.values())


def _other_source(compared: ComparedFlow) -> bool:
    return "source" in compared.aspects


def _other_backends(compared: ComparedFlow) -> bool:
    return compared.aspects == ("backends",)


CAUSES: Sequence[AdviceCause] = (
    AdviceCause(
        15,
        _any,
        "userspace mode",
        "userspace mode is gone since Kubernetes 1.26: every backend sees a node's address, and policies, "
        "source ranges and hints have no effect. To tell clients apart by their address, or to keep some out "
        "by a policy, use another mode.",
        _any,
    ),
    AdviceCause(
        9,
        _on_localhost,
        "Node ports at localhost",
        "On a node, dial the ClusterIP or the node's primary InternalIP. nftables and ipvs mode do not serve "
        "localhost; from Kubernetes 1.37 nftables mode can be told to (KEP-6032).",
        _never,
    ),
    AdviceCause(
        9,
        _any,
        "Node ports at other addresses than the primary InternalIP",
        "Dial the primary InternalIP, or set nodePortAddresses in the KubeProxyConfiguration (0.0.0.0/0: all "
        "addresses but localhost).",
        _from_outside,
    ),
    AdviceCause(
        13,
        _asymmetric,
        "externalTrafficPolicy Local from outside",
        "In every mode a client gets an answer only through a node that has an endpoint. Keep load balancers "
        "to such nodes: a LoadBalancer Service's healthCheckNodePort shows which these are.",
        _any,
    ),
    AdviceCause(
        13,
        _other_backends,
        "externalTrafficPolicy Local from Pods and nodes",
        "ipvs mode gives them their own node's endpoints, the others any. To have any in every mode, dial "
        "the ClusterIP.",
        _any,
    ),
    AdviceCause(
        8,
        _any,
        "Addresses and ports that no Service has",
        "No client should dial them. One that does (a stale address, a port left out of the Service) fails "
        "sooner, later or otherwise than before; add the port if clients need it.",
        _never,
    ),
    AdviceCause(
        5,
        _other_source,
        "The source address that a backend sees",
        "Check how the backend uses it (logs, allow lists, rates). masqueradeAll is a setting of each mode: "
        "nftables mode reads nftables.masqueradeAll, the others iptables.masqueradeAll.",
        _any,
    ),
    AdviceCause(
        7,
        _dropped,
        "A Local policy on a node without an endpoint",
        "iptables and nftables mode drop, ipvs mode takes another node's or rejects. Where such nodes have "
        "clients, run an endpoint on each (a DaemonSet), or use policy Cluster.",
        _any,
    ),
    AdviceCause(
        7,
        _any,
        "A Service without endpoints",
        "Clients get no answer in any mode; only the time until their error changes.",
        _never,
    ),
    AdviceCause(
        13,
        _any,
        "ipvs mode's own ways",
        "This is special to ipvs mode, which is deprecated since Kubernetes 1.35 (KEP-5495).",
        _any,
    ),
)


def cause_of(compared: ComparedFlow) -> AdviceCause | None:
    """Returns the cause of a known difference; None if no row says it."""
    return next((row for row in CAUSES if row.section in compared.sections and row.fits(compared)), None)


def is_usual(compared: ComparedFlow) -> bool:
    """Returns whether clients that dial what is there meet the difference."""
    cause = cause_of(compared)
    return compared.status != "same" and (cause is None or cause.usual(compared))


def not_examined(modes: Iterable[str]) -> str:
    """Returns what a comparison of ``modes`` leaves out, as a sentence."""
    if COMING_MODE not in modes:
        return "node firewalls, IPv6, and what your network plugin does with kube-proxy's rules."
    return (
        f"node firewalls ({COMING_MODE} mode opens no holes in them); workarounds for conntrack bugs, which "
        f"{COMING_MODE} mode does not have unless it is told to; IPv6; network plugins and other programs "
        "that match kube-proxy's KUBE-* chains; and whether every node has kernel 5.13 and nft 1.0.1 or "
        "later: https://kubernetes.io/docs/reference/networking/virtual-ips/"
    )


def expect_to_dict(expect: FlowExpect) -> dict[str, str]:
    """Returns the ``expect`` of a FlowCheck as a mapping; an empty one means the objects' promise."""
    return {"outcome": expect.outcome} if expect.outcome else {}


def expect_text(expect: FlowExpect) -> str:
    """Returns :func:`expect_to_dict` as YAML on one line."""
    return f"{{{', '.join(f'{key}: {value}' for key, value in expect_to_dict(expect).items())}}}"
