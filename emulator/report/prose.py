"""Writes reasons as sentences; no other module does it. Pure.

(:mod:`emulator.report.prose_of_verdicts` writes endings and findings.) A row of :data:`_TEXTS` is a template.
Its names are those of :func:`_words`; ``{then}`` stands for the reasons that follow, which otherwise come
after a semicolon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..model.flows import ServiceAddress
from ..model.reasons import Reason, Why, find
from ..objects.references import ObjectRef

_HOW: Mapping[ServiceAddress, str] = {
    "clusterIP": "ClusterIP",
    "nodePort": "NodePort",
    "externalIP": "externalIP",
    "loadBalancer": "load-balancer IP",
}
_LABELS: Mapping[str, str] = {
    "Pod": "pod ",
    "Node": "node ",
    "Service": "svc ",
    "ExternalClient": "external ",
    "FlowCheck": "FlowCheck ",
}
_TEXTS: Mapping[Why, str] = {
    Why.CLUSTER_IP_FROM_POD: "ClusterIP from a Pod: the client's own address",
    Why.CLUSTER_IP_FROM_NODE: "ClusterIP from a node: masqueraded to the node's address",
    Why.CLUSTER_IP_FROM_OUTSIDE: "ClusterIP from outside the cluster: masqueraded to the node's address",
    Why.CLUSTER_FROM_POD: (
        "{how} under externalTrafficPolicy Cluster from a Pod: masqueraded to the node's address"
    ),
    Why.CLUSTER_FROM_NODE: (
        "{how} under externalTrafficPolicy Cluster from the node: masqueraded to its address"
    ),
    Why.CLUSTER_FROM_OUTSIDE: (
        "{how} under externalTrafficPolicy Cluster from outside: masqueraded to the node's address"
    ),
    Why.LOCAL_FROM_POD: (
        "{how} under externalTrafficPolicy Local from a Pod: any endpoint, the client's own address"
    ),
    Why.LOCAL_FROM_NODE: (
        "{how} under externalTrafficPolicy Local from the node: any endpoint, masqueraded to its address"
    ),
    Why.LOCAL_FROM_OUTSIDE: (
        "{how} under externalTrafficPolicy Local from outside: its own endpoints, the client's own address"
    ),
    Why.LOCAL_FOR_EVERYONE_FROM_POD: (
        "{how} under externalTrafficPolicy Local from a Pod: the node's own endpoints, "
        "the client's own address"
    ),
    Why.LOCAL_FOR_EVERYONE_FROM_NODE: (
        "{how} under externalTrafficPolicy Local from the node: its own endpoints, the "
        "address that it dialled"
    ),
    Why.LOCAL_FOR_EVERYONE_FROM_OUTSIDE: (
        "{how} under externalTrafficPolicy Local from outside: its own endpoints, the client's own address"
    ),
    Why.MASQUERADE_ALL: "ClusterIP under masqueradeAll: masqueraded to the node's address",
    Why.NO_LOCAL_DETECTOR: "ClusterIP without a local-traffic detector: the client's own address",
    Why.HAIRPIN: "hairpin, the backend is the client itself: masqueraded to the node's address",
    Why.LOCAL_FOR_EVERYONE_HAIRPIN: (
        "hairpin, the backend is the client itself: masqueraded to the node's address"
    ),
    Why.DELIVERED_LOCALLY: (
        "an endpoint on {node}'s own address is delivered locally, which nothing masquerades"
    ),
    Why.AFFINITY: "session affinity ClientIP: always the same one",
    Why.REPLY_PAST_NODE: "{endpoints}: the reply is asymmetric, past {node}, and there is no connection",
    Why.REPLY_LOST: "{endpoints}: the reply is asymmetric, past {node}, and is dropped on the way",
    Why.NO_CONNECTION_WITH: "martian source: no connection comes about with {endpoints}",
    Why.UNSERVED: "no server listens at {endpoints}",
    Why.LEADS_TO_ENDPOINTS: "svc {service} leads to its endpoints",
    Why.NESTED: "the endpoint {endpoints} is itself an address of svc {service}: nothing is promised of that",
    Why.NO_ENDPOINT: "svc {service} has no usable endpoint: rejected at once",
    Why.NO_ENDPOINT_OWN_PACKETS: (
        "svc {service} has no usable endpoint, but {mode} mode refuses no node's own packets"
    ),
    Why.NO_ENDPOINT_ALL_ADDRESSES: (
        "svc {service} has no usable endpoint, and {mode} mode filters its node "
        "port at every address of {node}"
    ),
    Why.NO_LOCAL_ENDPOINT: "{policy} Local, and {node} has no usable endpoint: dropped",
    Why.NO_LOCAL_ENDPOINT_ALL_ADDRESSES: (
        "externalTrafficPolicy Local, {node} has no usable endpoint, and "
        "{mode} mode filters its node port at every address of {node}"
    ),
    Why.SOURCE_RANGES: "the client is outside loadBalancerSourceRanges of svc {service}",
    Why.EMPTY_LOCAL_LIST_REJECTED: (
        "internalTrafficPolicy Local, and {node} has no usable endpoint: {mode} mode rejects"
    ),
    Why.EMPTY_LOCAL_LIST_ANY: (
        "externalTrafficPolicy Local, and {node} has no endpoint: {mode} mode takes any, "
        "which answers past it"
    ),
    Why.NOT_TAKEN: "the kernel of {node} takes no broadcast or multicast address as an endpoint: {endpoints}",
    Why.SENDS_FROM_SERVICE_ADDRESS: (
        "{how} under externalTrafficPolicy Local from {node}, which has no "
        "endpoint: it sends from the address that it dialled, a martian source for the node of {endpoints}, "
        "which has it too"
    ),
    Why.ONLY_ITSELF: (
        "the only endpoint is the client itself, and by its EndpointSlice not on {node}: not masqueraded"
    ),
    Why.SERVICE_ADDRESS_OTHER_PORT: (
        "{ip} is a Service's, but not for {port}/{protocol}: it is local to the node, which rejects the rest"
    ),
    Why.MARTIAN_SOURCE: (
        "martian source: every node has {ip} for its own in {mode} mode, and drops packets from there"
    ),
    Why.ENDS_WITH_SERVICE: "in {mode} mode a connection ends with its Service",
    Why.SHARED_ADDRESS: (
        "this address stands in different fields, of several Services or of one, and is in the ipset of each "
        "in {mode} mode"
    ),
    Why.SHARED_MACHINE_ADDRESS: (
        "every node has the address of a machine on the way for its own in {mode} mode, since a Service has "
        "that address, too: the network is broken there: {then}"
    ),
    Why.NO_SCTP: "{mode} mode knows no SCTP: {ip} port {port} is left alone",
    Why.EXTERNAL_IP_LEFT_ALONE: "{mode} mode leaves alone what Pods and nodes send to {ip}, an externalIP",
    Why.NO_HEALTH_CHECK: (
        "{mode} mode answers no health checks: {port}/{protocol} at {owner} is a closed port"
    ),
    Why.PROXY_ACCEPTS: (
        "a proxy on {node} accepts and dials any ready endpoint itself: the node's address, "
        "whatever the policies"
    ),
    Why.PROXY_CLOSES: "{unserved}: the proxy accepts, then closes",
    Why.PROXY_SILENT: "{unserved}: the proxy has no endpoint that answers",
    Why.PROXY_REPLY_UNTRANSLATED: (
        "the node sends from {ip} to itself, and the proxy's reply from there is not translated back"
    ),
    Why.LEAVES_CLUSTER: "what a Pod sends out of the cluster is masqueraded by its node",
    Why.POD_NETWORK: "a Pod's address is reached without NAT (Kubernetes network model)",
    Why.NO_SERVICE: "an address that no Service has: nothing translates it",
    Why.LOOPBACK: "one network namespace: its loopback reaches every listener in it",
    Why.CLOSED_PORT: "no server listens on {port}/{protocol} at {owner}: a closed port",
    Why.CLOSED_PORT_ON_LOOPBACK: "no server in {owner} listens on {port}/{protocol}: a closed port",
    Why.NODE_PORT_ELSEWHERE: "{settings} serves no node ports at {ip}: a closed port",
    Why.CLUSTER_IP_OTHER_PORT: "{ip} is a ClusterIP, but not for {port}/{protocol}{no_route}",
    Why.CLUSTER_IP_PAST_NODES: "{ip} is a ClusterIP, and the packets pass no node{no_route}",
    Why.NO_SUCH_CLUSTER_IP: "no Service has {ip}{no_route}",
    Why.NOT_ANNOUNCED: "no node announces {ip}: svc {service} has no serving endpoint on a node that may",
    Why.NO_NEIGHBOUR: (
        "no machine has {ip}, though its network is on-link: ARP requests stay unanswered "
        "for longer than a client waits"
    ),
    Why.NO_OWNER: "no machine has {ip}{no_route}",
    Why.BALANCER_SOURCE_RANGES: (
        "the client is outside loadBalancerSourceRanges of svc {service}, which the balancer keeps out"
    ),
    Why.BALANCER_NO_NODE: "the balancer knows no node that serves svc {service}: a closed port",
    Why.BALANCER_HIDES_CLIENTS: (
        "the balancer is the nodes' client, and the addresses of its own clients are hidden"
    ),
    Why.THROUGH_BALANCER: "through the balancer, which connects to node ports: {then}",
    Why.STALE_NEIGHBOUR: (
        "no node announces {ip} any more, and clients with a stale neighbour entry still send to {node}"
    ),
    Why.CONTESTED: (
        "several Services claim this address: where the first of them does not deliver, another "
        "one may: {then}"
    ),
    Why.ON_LINK: (
        "{ip}, an address of a Service, lies in a network that machines are connected to: they send to "
        "it without asking a node: {then}"
    ),
    Why.CONNECTION_KEPT: (
        "an open connection goes on to {endpoints}, which still serves: connection "
        "tracking keeps its translation"
    ),
    Why.CONNECTION_BOUND: "the connection goes to {endpoints} for as long as it lives: {then}",
    Why.HEALTH_CHECK: "healthCheckNodePort: {node} has {ready} of svc {service}: {status}",
    Why.FLOW_CHECK: "{owner} wants it {outcome}; the objects promise: {then}",
}
# reasons that others follow as their cause, after a colon
_CAUSED = frozenset({Why.ENDS_WITH_SERVICE, Why.SHARED_ADDRESS})
# sentences that begin with the mode
_BEGIN_WITH_MODE = frozenset(
    {
        Why.NODE_PORT_ELSEWHERE,
        Why.EXTERNAL_IP_LEFT_ALONE,
        Why.NO_HEALTH_CHECK,
        Why.NO_SCTP,
    }
)


class _Clause(NamedTuple):
    text: str
    section: int  # section of docs/semantics; 0: it cites none


def say(reason: Reason) -> str:
    """Returns ``reason`` as one sentence, with the sections of docs/semantics that it rests on."""
    return _join(_clauses(reason))


def say_of_modes(reason: Reason, modes: Sequence[str]) -> str:
    """Returns ``reason`` as a sentence that names its ``modes``."""
    names_it = reason.why in _BEGIN_WITH_MODE and tuple(modes) == (reason.mode,)
    return say(reason) if names_it else f"{', '.join(modes)}: {say(reason)}"


def _clauses(reason: Reason) -> Sequence[_Clause]:
    template, then = _TEXTS[reason.why], [clause for other in reason.then for clause in _clauses(other)]
    text = template.format_map(_words(reason) | {"then": _join(then)})
    if "{then}" in template:
        return [_Clause(text, reason.section)]
    if reason.why in _CAUSED:
        return [_Clause(f"{text}{_cite(reason.section)}: {_join(then)}", 0)]
    return [_Clause(text, reason.section), *then]


def _join(clauses: Sequence[_Clause]) -> str:
    """Returns ``clauses`` as one sentence; neighbours that rest on the same section share its citation."""
    following = [*(clause.section for clause in clauses[1:]), 0][: len(clauses)]
    return "; ".join(
        clause.text + ("" if clause.section == after else _cite(clause.section))
        for clause, after in zip(clauses, following, strict=True)
    )


def _cite(section: int) -> str:
    return f" (podwire doc semantics {section})" if section else ""


def _words(reason: Reason) -> dict[str, str]:
    """Returns the values of the names in a template; "" where ``reason`` does not have one."""
    service, node = find(reason, "Service"), find(reason, "Node")
    endpoints = ", ".join(map(str, reason.endpoints))
    key = service.name if service else ""
    return {
        "service": key,
        "node": node.name if node else "",
        "policy": service.field.rpartition(".")[2] if service else "",
        "owner": label_of(reason.objects[0]) if reason.objects else "",
        "settings": _settings(reason),
        "endpoints": endpoints,
        "unserved": f"no server listens at {endpoints}" if endpoints else f"svc {key} has no ready endpoint",
        "mode": reason.mode or "",
        "how": _HOW[reason.how] if reason.how else "",
        "ip": reason.at.address if reason.at else "",
        "port": str(reason.at.port) if reason.at else "",
        "protocol": reason.protocol or "",
        "no_route": ": the router has no route for it" if reason.no_route else "",
        "outcome": reason.outcome or "",
        "status": str(reason.health.status) if reason.health else "",
        "ready": _count_ready(reason.health.localEndpoints or 0) if reason.health else "",
    }


def label_of(ref: ObjectRef) -> str:
    """Returns the object as sentences name it: ``pod default/web-0``."""
    return f"{_LABELS.get(ref.kind, '')}{ref.name}" if ref.name else f"the {ref.kind}"


def _settings(reason: Reason) -> str:
    fields = [ref.field.rpartition(".")[2] for ref in reason.objects if ref.kind == "KubeProxyConfiguration"]
    return " or ".join(fields) or f"{reason.mode} mode"


def _count_ready(count: int) -> str:
    return f"{count} ready endpoints" if count > 1 else f"{count or 'no'} ready endpoint"
