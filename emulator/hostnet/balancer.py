"""Plans the load balancer in the path: a machine of its own on the host network that connects clients to node
ports. Pure.

It has the load-balancer addresses whose ``ipMode`` is Proxy. It is a full-NAT balancer of layer 4: it
translates a connection to a node's node port (DNAT), with the balancer's own address as source (SNAT). So
replies pass it too, and endpoints do not see the client's address. Nodes are chosen in turn (round robin). A
connection that no rule translates ends at the balancer's own closed port. Rules are text of ``plan.rules``
for iptables-restore.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..cluster.state import BALANCER, ROUTER, ClusterState
from ..net import (
    IPV4,
    Address,
    Endpoint,
    InterfaceAddress,
    everything,
    family_of,
    host_prefix,
    mac_of_ip,
    short_hash,
)
from ..objects.kinds import Service, ServicePort
from ..plan.checked import address, comment, network, number
from ..plan.operations import (
    AddAddress,
    AddNeighbour,
    AddRoute,
    LoadRules,
    Operation,
    SetNeighbourDefaults,
    SetSysctl,
)
from ..plan.rules import RuleSet
from .network import (
    OWN_WAY_TO_ASK,
    WHY_NEIGHBOURS,
    forwarding,
    plan_base,
    uplink,
)


def plan_balancer(state: ClusterState) -> Iterator[Operation]:
    """Plans the balancer, if a Service needs one."""
    own = state.balancerIP
    if not own:
        return
    yield from plan_base(
        BALANCER, "the load balancer in the path: it has the addresses whose ipMode is Proxy"
    )
    yield from forwarding(BALANCER, "the balancer forwards translated packets to nodes")
    for scope in ("all", "default"):
        why = "replies must come back through the balancer: no redirect to the node's shorter path"
        yield SetSysctl(netns=BALANCER, key=f"net.ipv4.conf.{scope}.send_redirects", value="0", why=why)
    yield uplink(BALANCER, own, "the balancer's port on the switch")
    yield SetNeighbourDefaults(netns=BALANCER, dev="eth0", why=OWN_WAY_TO_ASK)
    why = "the balancer's own address, which nodes see"
    yield AddAddress(
        netns=BALANCER, dev="eth0", address=InterfaceAddress.of(own, state.hostSubnet.length), why=why
    )
    yield AddRoute(
        netns=BALANCER,
        dst=everything(state.routerIP.family),
        dev="eth0",
        via=state.routerIP,
        why="clients outside and Pods are behind the router",
    )
    given: set[str] = set()
    for service in state.services:
        for ip in state.balancer_ips(service):
            if ip in given:
                continue
            given.add(ip)
            yield AddAddress(
                netns=BALANCER,
                dev="eth0",
                address=InterfaceAddress.of(ip),
                why=f"the balancer's address for Service {service.key}",
            )
            if state.is_host(ip):
                for netns in (ROUTER, *state.node):
                    yield AddNeighbour(
                        netns=netns, dev="eth0", address=Address(ip), mac=mac_of_ip(own), why=WHY_NEIGHBOURS
                    )
            else:
                why = f"{ip}, outside the host network, is the balancer's"
                yield AddRoute(netns=ROUTER, dst=host_prefix(ip), dev="eth0", via=Address(own), why=why)
    rules = balancer_rules(state)
    why = "the balancer: source ranges, the next node, and replies back through it"
    yield LoadRules(netns=BALANCER, tool="iptables-restore", rules=rules, why=why)


def balancer_rules(state: ClusterState) -> RuleSet:
    """Returns the balancer's rules. If two Services claim one address and port, the first one gets it."""
    back = (
        f"-m conntrack --ctstate DNAT {comment('back through the balancer')} -j SNAT --to-source "
        f"{address(state.balancerIP)}"
    )
    nat: dict[str, tuple[str, ...]] = {"PREROUTING": (), "POSTROUTING": (back,)}
    mangle: dict[str, tuple[str, ...]] = {"PREROUTING": ()}
    claimed: set[tuple[str, int, str]] = set()
    for service in state.services:
        for ip in state.balancer_ips(service):
            for port in service.spec.ports:
                key = (ip, port.port, port.protocol)
                if key in claimed:
                    continue
                claimed.add(key)
                name = short_hash(f"{service.key}:{port.name}").upper()
                match = _match(service, port, ip)
                if service.spec.loadBalancerSourceRanges:
                    mangle[f"LB-FW-{name}"] = tuple(_ranges(service))
                    mangle["PREROUTING"] += (f"{match} -j LB-FW-{name}",)
                if targets := tuple(_targets(state, service, port)):
                    nat[f"LB-{name}"] = targets
                    nat["PREROUTING"] += (f"{match} -j LB-{name}",)
    return RuleSet({"mangle": mangle, "nat": nat})


def _match(service: Service, port: ServicePort, ip: str) -> str:
    protocol = port.protocol.lower()
    note = comment(f"{service.key}:{port.name}" if port.name else service.key)
    return f"-d {host_prefix(ip)} -p {protocol} {note} -m {protocol} --dport {number(port.port)}"


def _ranges(service: Service) -> Iterator[str]:
    for text in service.spec.loadBalancerSourceRanges:
        if family_of(text.strip()) is IPV4:
            yield f"-s {network(text)} -j RETURN"
    yield "-j DROP"


def _targets(state: ClusterState, service: Service, port: ServicePort) -> Iterator[str]:
    """Yields one rule for each node, which takes every n-th connection that the rules before it left."""
    nodes = state.balanced[service.key] if port.nodePort else ()
    protocol = port.protocol.lower()
    for left, node in zip(range(len(nodes), 0, -1), nodes, strict=True):
        turn = f"-m statistic --mode nth --every {left} --packet 0 " if left > 1 else ""
        target = Endpoint.of(state.node[node].internalIPs[0], number(port.nodePort or 0))
        yield f"-p {protocol} {comment('node ' + node)} {turn}-m {protocol} -j DNAT --to-destination {target}"
