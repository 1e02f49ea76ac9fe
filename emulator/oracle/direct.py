"""What comes of dialling an address where no Service is taken up: whoever has it answers, or routing says
that nobody does.

docs/semantics 8 and 9, and the Kubernetes network model. Pure; imports ``objects`` and the pure modules of
``probe``.
"""

from __future__ import annotations

from ipaddress import ip_address

from emulator.model.flows import Client, Flow
from emulator.model.frames import Backend
from emulator.objects.config import FlowProtocol, Outcome
from emulator.oracle.facts import Facts
from emulator.oracle.promise import Promise, answers, ending
from emulator.oracle.source import direct_source


def promise_direct(facts: Facts, flow: Flow) -> Promise:
    """What is promised where no Service is taken up."""
    if filtered := _filtered(facts, flow):
        return filtered
    client, to, protocol = flow.client, flow.to, flow.protocol
    if to.ip.startswith("127."):
        return _promise_loopback(facts, client, to.ip, to.port, protocol)
    outcome = answer(facts, to.ip, to.port, protocol, through_node=_passes_node(facts, flow))
    if outcome != "delivered":
        unanswered = outcome == "dropped" and is_unanswered(facts, to.ip)
        return ending(outcome, why_not(facts, to.ip, to.port, protocol, outcome), late=unanswered)
    rule, owner = direct_source(facts, client, to.ip), facts.owners.get(to.ip)
    if rule == "node":
        because = "what a Pod sends out of the cluster is masqueraded by its node"
    elif owner is not None and owner.kind == "pod":
        because = "a Pod's address is reached without NAT (Kubernetes network model)"
    else:
        because = "an address that no Service has: nothing translates it"
    return Promise(answers({Backend(to.ip, to.port): rule}), because, rule)


def direct_likeness(facts: Facts, flow: Flow) -> tuple[object, ...]:
    """All that :func:`promise_direct` depends on, beside the cluster."""
    client, to = flow.client, flow.to
    itself = client.label if to.ip.startswith("127.") else ""
    return to.ip, to.port, flow.protocol, client.kind, itself, _passes_node(facts, flow)


def answer(facts: Facts, ip: str, port: int, protocol: FlowProtocol, *, through_node: bool = True) -> Outcome:
    """What comes of dialling ``ip`` itself, whoever does it; ``through_node``: by way of a node that runs
    kube-proxy.
    """
    owner = facts.owners.get(ip)
    if owner is not None:
        return "delivered" if protocol == "ICMP" or facts.serves(owner.netns, port, protocol) else "rejected"
    address = ip_address(ip)
    if through_node and facts.is_local_everywhere(ip):
        return "rejected"
    if through_node and facts.semantics.guards_service_subnet and address in facts.state.serviceSubnet:
        return "rejected" if ip in facts.table.cluster_ips else "dropped"
    return "dropped" if is_unanswered(facts, ip) else "unreachable"


def is_unanswered(facts: Facts, ip: str) -> bool:
    """Whether ``ip`` is looked for by ARP, in vain: its network is there, and nobody has it."""
    address = ip_address(ip)
    return ip not in facts.owners and (
        address in facts.state.hostSubnet or any(address in cidr for cidr in facts.pod_cidrs)
    )


def why_not(facts: Facts, ip: str, port: int, protocol: FlowProtocol, outcome: Outcome) -> str:
    """Why dialling ``ip`` itself has that ``outcome``, which is not "delivered"."""
    if unknown := _unknown_to_mode(facts, ip, port, protocol):
        return f"{facts.mode} mode {unknown} (docs/semantics 15)"
    owner = facts.owners.get(ip)
    if owner is None:
        return _why_nobody(facts, ip, port, protocol, outcome)
    if owner.kind == "node" and (port, protocol) in facts.table.node_ports:
        return _why_no_node_port(facts, ip)
    return f"nobody serves {port}/{protocol} at {owner.label}: a closed port"


def _passes_node(facts: Facts, flow: Flow) -> bool:
    return flow.client.kind != "external" or bool(flow.via or facts.announcer(flow.to.ip))


def _why_nobody(facts: Facts, ip: str, port: int, protocol: FlowProtocol, outcome: Outcome) -> str:
    """Returns why, of an address that is configured nowhere (or as a Service's on every node)."""
    if outcome == "rejected" and facts.is_local_everywhere(ip):
        return f"{ip} is a Service's, but not for {port}/{protocol}: it is local to the node, which rejects the rest (docs/semantics 13)"
    no_route = ": the router has no route for it" if outcome == "unreachable" else ""
    entry = facts.table.addresses.get((ip, port, protocol))
    if ip_address(ip) in facts.state.serviceSubnet:
        if ip not in facts.table.cluster_ips:
            return f"no Service has {ip}{no_route} (docs/semantics 8)"
        if entry is not None:
            return f"{ip} is a ClusterIP, and no node was asked{no_route} (docs/semantics 1)"
        return f"{ip} is a ClusterIP, but not for {port}/{protocol}{no_route} (docs/semantics 8)"
    if entry is not None and facts.state.is_host(ip):
        return (
            f"no node announces {ip}: svc {entry[0].service.key} has no serving endpoint on a node that may"
        )
    if outcome == "dropped":
        return f"nobody has {ip}, though its network is there: neighbours are asked in vain for longer than a client waits"
    return f"nobody has {ip}{no_route}"


def _unknown_to_mode(facts: Facts, ip: str, port: int, protocol: FlowProtocol) -> str:
    """Returns what of a Service is at that address in other modes only, "" if nothing is."""
    semantics = facts.semantics
    owner, entry = facts.owners.get(ip), facts.table.addresses.get((ip, port, protocol))
    if protocol == "SCTP" and not semantics.sctp and (entry or (port, protocol) in facts.table.node_ports):
        return f"knows no SCTP: {ip} port {port} is left alone"
    from_outside_alone = facts.deviates("externalIP for clients outside")
    if owner is None and entry and entry[1] == "externalIP" and from_outside_alone:
        return f"leaves alone what Pods and nodes send to {ip}, an externalIP"
    if (
        owner is not None
        and not semantics.health_checks
        and any(port == service.spec.healthCheckNodePort for service in facts.state.services)
    ):
        return f"answers no health checks: {port}/{protocol} at {owner.label} is a closed port"
    return ""


def _why_no_node_port(facts: Facts, ip: str) -> str:
    where = "nodePortAddresses" if facts.state.proxy.nodePortAddresses else f"{facts.mode} mode"
    if ip.startswith("127."):
        settable = facts.semantics.localhost == "as set"
        where = "localhostNodePorts or nodePortAddresses" if settable else f"{facts.mode} mode"
    return f"{where} serves no node ports at {ip}: a closed port (docs/semantics 9)"


def _promise_loopback(facts: Facts, client: Client, ip: str, port: int, protocol: FlowProtocol) -> Promise:
    if not port or facts.serves(client.netns, port, protocol):
        because = "one network namespace: its loopback reaches whoever listens in it"
        return Promise(answers({Backend(ip, port): "preserved"}), because, "preserved")
    if client.kind == "node" and (port, protocol) in facts.table.node_ports:
        return ending("rejected", _why_no_node_port(facts, ip))
    return ending("rejected", f"nobody in {client.label} serves {port}/{protocol}: a closed port")


def _filtered(facts: Facts, flow: Flow) -> Promise | None:
    """What becomes of a node port at an address of a node where node ports are not served; None: nothing is
    done about it.

    kube-proxy v1.30.5's iptables mode filters by ``--dst-type LOCAL`` (pkg/proxy/iptables/proxier.go, "no
    local endpoints").
    """
    if not facts.deviates("refuses at every local address"):
        return None
    at_own_loopback = flow.client.kind == "node" and flow.to.ip.startswith("127.")
    node = flow.client.node if at_own_loopback else facts.node_at(flow.to.ip)
    port = facts.table.node_ports.get((flow.to.port, flow.protocol))
    if not node or port is None:
        return None
    where = f"{facts.mode} mode filters its node port at every address of {node}"
    if not port.usable_at(node):
        return ending("rejected", f"svc {port.service.key} has no usable endpoint, and {where}")
    if port.service.spec.externalTrafficPolicy == "Local" and not port.local_list(node):
        return ending("dropped", f"externalTrafficPolicy Local, {node} has no usable endpoint, and {where}")
    return None
