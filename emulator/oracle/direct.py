"""Promises what comes of dialling an address where no Service is taken up: its owner answers, or routing says
that it has none.

docs/semantics 8 and 9, and the Kubernetes network model. Pure.
"""

from __future__ import annotations

from dataclasses import replace

from ..model.flows import Client, Flow
from ..model.reasons import Reason, Why
from ..net import Address, Endpoint, is_loopback
from ..objects.config import FlowProtocol, Outcome
from ..objects.references import ObjectRef, node_ref, service_ref
from .facts import Facts, Likeness
from .promise import Promise, answers, ending
from .source import direct_source


def promise_direct(facts: Facts, flow: Flow) -> Promise:
    """Returns the promise where no Service is taken up."""
    if filtered := _filtered(facts, flow):
        return filtered
    client, to, protocol = flow.client, flow.to, flow.protocol
    if is_loopback(to.ip):
        return _promise_loopback(facts, client, to.ip, to.port, protocol)
    outcome = outcome_at(facts, to.ip, to.port, protocol, through_node=_passes_node(facts, flow))
    if outcome != "delivered":
        unanswered = outcome == "dropped" and is_unanswered(facts, to.ip)
        return ending(outcome, why_not(facts, to.ip, to.port, protocol, outcome), late=unanswered)
    rule, owner = direct_source(facts, client, to.ip), facts.owners.get(to.ip)
    if rule == "node":
        because = Reason(why=Why.LEAVES_CLUSTER)
    elif owner is not None and owner.kind == "pod":
        because = Reason(why=Why.POD_NETWORK)
    else:
        because = Reason(why=Why.NO_SERVICE)
    return Promise(answers({Endpoint.of(to.ip, to.port): rule}), because, rule)


def direct_likeness(facts: Facts, flow: Flow) -> Likeness:
    """Returns all that :func:`promise_direct` depends on, beside the cluster, and all that a policy may
    select the client by.
    """
    client, to = flow.client, flow.to
    itself = client.label if is_loopback(to.ip) else ""
    place = (to.ip, to.port, flow.protocol, client.kind, itself, _passes_node(facts, flow))
    return place, facts.identity(client)


def outcome_at(
    facts: Facts, ip: str, port: int, protocol: FlowProtocol, *, through_node: bool = True
) -> Outcome:
    """Returns the outcome of dialling ``ip`` itself, whichever client does; ``through_node``: by way of a
    node that runs kube-proxy. Nobody forwards broadcast and multicast addresses here, and no ICMP error is
    about them (RFC 1812, 5.3.5.1 and 4.3.2.7).
    """
    owner = facts.owners.get(ip)
    if owner is not None:
        return "delivered" if protocol == "ICMP" or facts.serves(owner.netns, port, protocol) else "rejected"
    if through_node and facts.is_local_everywhere(ip):
        return "rejected"
    if through_node and facts.semantics.guards_service_subnet and ip in facts.state.serviceSubnet:
        if ip in facts.table.cluster_ips:
            return "rejected"
        if facts.state.proxy.behaviour.drops_unowned:
            return "dropped"
    return "dropped" if is_unanswered(facts, ip) or not Address(ip).unicast else "unreachable"


def is_unanswered(facts: Facts, ip: str) -> bool:
    """Returns whether ARP requests for ``ip`` stay unanswered: its network is on-link, and no machine
    has it.
    """
    return ip not in facts.owners and (
        ip in facts.state.hostSubnet or any(ip in cidr for cidr in facts.pod_cidrs)
    )


def why_not(facts: Facts, ip: str, port: int, protocol: FlowProtocol, outcome: Outcome) -> Reason:
    """Returns the reason why dialling ``ip`` itself has that ``outcome``, which is not "delivered"."""
    if unknown := _unknown_to_mode(facts, ip, port, protocol):
        return unknown
    owner = facts.owners.get(ip)
    if owner is None:
        return _why_no_owner(facts, ip, port, protocol, outcome)
    if owner.kind == "node" and (port, protocol) in facts.table.node_ports:
        return _why_no_node_port(facts, ip)
    return _closed(Why.CLOSED_PORT, owner.ref, Endpoint.of(ip, port), protocol)


def _closed(why: Why, owner: ObjectRef, at: Endpoint, protocol: FlowProtocol) -> Reason:
    return Reason(why=why, objects=(owner,), at=at, protocol=protocol)


def _passes_node(facts: Facts, flow: Flow) -> bool:
    return flow.client.kind != "external" or bool(flow.via or facts.announcer(flow.to.ip))


def _why_no_owner(facts: Facts, ip: str, port: int, protocol: FlowProtocol, outcome: Outcome) -> Reason:
    """Returns the reason for an address that is configured nowhere (or as a Service's on every node)."""
    reason = Reason(
        why=Why.NO_OWNER, at=Endpoint.of(ip, port), protocol=protocol, no_route=outcome == "unreachable"
    )
    if outcome == "rejected" and facts.is_local_everywhere(ip):
        return replace(reason, why=Why.SERVICE_ADDRESS_OTHER_PORT)
    entry = facts.table.addresses.get((ip, port, protocol))
    if ip in facts.state.serviceSubnet:
        if ip not in facts.table.cluster_ips:
            return replace(reason, why=Why.NO_SUCH_CLUSTER_IP)
        return replace(reason, why=Why.CLUSTER_IP_OTHER_PORT if entry is None else Why.CLUSTER_IP_PAST_NODES)
    if entry is not None and facts.state.is_host(ip):
        return replace(reason, why=Why.NOT_ANNOUNCED, objects=(service_ref(entry[0].service.key),))
    return replace(reason, why=Why.NO_NEIGHBOUR) if is_unanswered(facts, ip) else reason


def _unknown_to_mode(facts: Facts, ip: str, port: int, protocol: FlowProtocol) -> Reason | None:
    """Returns the reason why what is a Service's in other modes only is none here; None if nothing is."""
    semantics = facts.semantics
    owner, entry = facts.owners.get(ip), facts.table.addresses.get((ip, port, protocol))
    reason = Reason(why=Why.NO_SCTP, at=Endpoint.of(ip, port), protocol=protocol, mode=facts.mode)
    if protocol == "SCTP" and not semantics.sctp and (entry or (port, protocol) in facts.table.node_ports):
        return reason
    from_outside_alone = facts.deviates("externalIP for clients outside")
    if owner is None and entry and entry[1] == "externalIP" and from_outside_alone:
        return replace(reason, why=Why.EXTERNAL_IP_LEFT_ALONE)
    if (
        owner is not None
        and not semantics.health_checks
        and any(port == service.spec.healthCheckNodePort for service in facts.state.services)
    ):
        return replace(reason, why=Why.NO_HEALTH_CHECK, objects=(owner.ref,))
    return None


def _why_no_node_port(facts: Facts, ip: str) -> Reason:
    fields: tuple[str, ...] = ("nodePortAddresses",) if facts.state.proxy.nodePortAddresses else ()
    if is_loopback(ip):
        settable = facts.semantics.localhost == "as set"
        fields = ("iptables.localhostNodePorts", "nodePortAddresses") if settable else ()
    return Reason(
        why=Why.NODE_PORT_ELSEWHERE,
        objects=tuple(ObjectRef("KubeProxyConfiguration", "", field) for field in fields),
        at=Endpoint.of(ip, 0),
        mode=None if fields else facts.mode,
    )


def _promise_loopback(facts: Facts, client: Client, ip: str, port: int, protocol: FlowProtocol) -> Promise:
    if not port or facts.serves(client.netns, port, protocol):
        because = Reason(why=Why.LOOPBACK)
        return Promise(answers({Endpoint.of(ip, port): "preserved"}), because, "preserved")
    if client.kind == "node" and (port, protocol) in facts.table.node_ports:
        return ending("rejected", _why_no_node_port(facts, ip))
    owner = facts.owners[client.ip].ref
    return ending("rejected", _closed(Why.CLOSED_PORT_ON_LOOPBACK, owner, Endpoint.of(ip, port), protocol))


def _filtered(facts: Facts, flow: Flow) -> Promise | None:
    """Returns the promise of a node port at an address of a node where node ports are not served; None:
    nothing is done about it.

    kube-proxy v1.30.5's iptables mode filters by ``--dst-type LOCAL`` (pkg/proxy/iptables/proxier.go, "no
    local endpoints").
    """
    if not facts.deviates("refuses at every local address"):
        return None
    at_own_loopback = flow.client.kind == "node" and is_loopback(flow.to.ip)
    node = flow.client.node if at_own_loopback else facts.node_at(flow.to.ip)
    port = facts.table.node_ports.get((flow.to.port, flow.protocol))
    if not node or port is None:
        return None
    if not port.usable_at(node):
        objects = (service_ref(port.service.key), node_ref(node))
        return ending("rejected", Reason(why=Why.NO_ENDPOINT_ALL_ADDRESSES, objects=objects, mode=facts.mode))
    if port.service.spec.externalTrafficPolicy == "Local" and not port.local_list(node):
        objects = (service_ref(port.service.key, "spec.externalTrafficPolicy"), node_ref(node))
        return ending(
            "dropped", Reason(why=Why.NO_LOCAL_ENDPOINT_ALL_ADDRESSES, objects=objects, mode=facts.mode)
        )
    return None
