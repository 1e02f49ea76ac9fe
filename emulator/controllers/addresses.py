"""Gives Pods their addresses: pinned ones as written, the others in host-local's order.

Invariant: an address belongs to one Pod, and to no node, bridge, router, client or Service; a hostNetwork Pod
has its node's.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from ..errors import Words, worded
from ..net import Address, Prefix
from ..objects.config import ExternalClient
from ..objects.kinds import Node, Pod, PodIP, PodStatus
from ..podnet.network import PodNetwork
from .findings import Draft, Findings
from .networks import Networks, special_use

CALICO_ADDRESSES = "cni.projectcalico.org/ipAddrs"


def address_pods(
    drafts: Sequence[Draft[Pod]],
    nodes: Sequence[Node],
    networks: Networks,
    clients: Sequence[ExternalClient],
    findings: Findings,
    used: Collection[str] = (),
) -> list[Draft[Pod]]:
    """Returns every placed Pod with ``podIP(s)``, ``hostIP`` and a phase, in the order given.

    ``used`` are addresses that Pods had before: host-local goes on from the last one that it gave out, so
    they come last. A Pod without a node, or on a node that is full, stays without an address (reported as a
    problem).
    """
    node_of = {node.name: node for node in nodes}
    holders = _reserved(nodes, networks, clients)
    pinned: dict[int, list[Address]] = {}
    for index, draft in enumerate(drafts):
        if not draft.object.spec.hostNetwork:
            pinned[index] = [
                address
                for address, path in _pinned(draft, findings)
                if _take(address, path, draft, holders, networks.services, findings)
            ]
    free = {node.name: _free(node, networks.podNetwork, holders, used) for node in nodes}
    full: set[str] = set()
    result = []
    for index, draft in enumerate(drafts):
        node = node_of.get(draft.object.spec.nodeName)
        if node is None:
            result.append(draft)
            continue
        if draft.object.spec.hostNetwork:
            own = [ip for ip in draft.object.ips[:1] if ip in node.internalIPs]
            addresses = [str(ip) for ip in own or node.internalIPs[:1]]
        elif pinned[index]:
            addresses = [str(ip) for ip in pinned[index]]
        else:
            addresses = [*_next(free[node.name])]
            if not addresses and node.spec.podCIDRs and node.name not in full:
                full.add(node.name)
                findings.problem(
                    draft.origin,
                    f"{draft.base}spec",
                    worded(
                        "no address for Pod {}: podCIDR {} of node {} is full",
                        draft.object.key,
                        node.spec.podCIDRs[0],
                        node.name,
                    ),
                    "add nodes, or give the node a shorter podCIDR",
                )
        result.append(replace(draft, object=_addressed(draft.object, node, addresses)))
    return result


def _reserved(
    nodes: Sequence[Node], networks: Networks, clients: Sequence[ExternalClient]
) -> dict[Address, str]:
    """Returns the holder of each address that no Pod may have."""
    holders: dict[Address, str] = {}
    for node in nodes:
        for ip in node.internalIPs:
            holders[ip] = f"node {node.name}"
        for cidr in node.spec.podCIDRs:
            network = Prefix(cidr)
            holders[networks.podNetwork.facts.gateway(network)] = f"the Pod bridge of node {node.name}"
            holders[network.last] = f"podCIDR {cidr} as its broadcast address"
    for client in clients:
        holders[Address(client.address)] = f"external client {client.name}"
    holders[networks.router] = "the router"
    return holders


def _pinned(draft: Draft[Pod], findings: Findings) -> Iterator[tuple[Address, str]]:
    """Yields the addresses that the Pod's manifest pins, each with its place. ``status`` is a fact, the
    annotation only a request.
    """
    status = draft.object.status
    if status.podIPs:
        texts = [(entry.ip, f"status.podIPs[{index}].ip") for index, entry in enumerate(status.podIPs)]
    elif status.podIP:
        texts = [(status.podIP, "status.podIP")]
    else:
        path = f'{draft.base}metadata.annotations["{CALICO_ADDRESSES}"]'
        texts = [(text, path) for text in _calico(draft, path, findings)]
    for text, path in texts:
        address = findings.address(text, draft.origin, path)
        if address is not None:
            yield address, path


def _calico(draft: Draft[Pod], path: str, findings: Findings) -> list[str]:
    text = draft.object.metadata.annotations.get(CALICO_ADDRESSES)
    if text is None:
        return []
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    findings.problem(
        draft.origin, path, "must be a JSON list of addresses", """write it as '["10.244.1.9"]'"""
    )
    return []


def _take(
    address: Address,
    path: str,
    draft: Draft[Pod],
    holders: dict[Address, str],
    services: Prefix,
    findings: Findings,
) -> bool:
    """Returns whether the Pod may have ``address``; if so, the Pod holds it from now on."""
    if address in holders:
        what, hint = (
            worded("{} of Pod {} belongs to {} already", address, draft.object.key, holders[address]),
            "give the Pod an address of its own",
        )
    elif special := special_use(address.host):
        what, hint = (
            worded("{} of Pod {} is a {} address", address, draft.object.key, Words(special)),
            "give the Pod an address of its own",
        )
    elif address in services:
        what, hint = (
            worded("{} of Pod {} lies in serviceSubnet {}", address, draft.object.key, services),
            "Pods and Services share no addresses",
        )
    else:
        holders[address] = f"Pod {draft.object.key}"
        return True
    findings.problem(draft.origin, path, what, hint)
    return False


def _free(
    node: Node, podnet: PodNetwork, holders: dict[Address, str], used: Collection[str]
) -> Iterator[str]:
    """Yields the node's free addresses in the order of the Pod network, the ``used`` ones last."""
    for cidr in node.spec.podCIDRs[:1]:
        for again in (False, True) if used else (False,):
            for address in podnet.addresses(podnet.facts, Prefix(cidr)):
                if address not in holders and (str(address) in used) == again:
                    yield str(address)


def _next(addresses: Iterator[str]) -> Iterator[str]:
    """Yields at most one more of ``addresses``."""
    for address in addresses:
        yield address
        return


def _addressed(pod: Pod, node: Node, addresses: Sequence[str]) -> Pod:
    status = PodStatus(
        phase=pod.status.phase or "Running",
        podIP=addresses[0] if addresses else "",
        podIPs=tuple(PodIP(ip=address) for address in addresses),
        hostIP=str(node.internalIPs[0]) if node.internalIPs else "",
        conditions=pod.status.conditions,
    )
    return replace(pod, status=status)
