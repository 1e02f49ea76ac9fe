"""Plans the load balancer in the path: a machine of its own on the host network that connects clients to node
ports. Pure.

It has the load-balancer addresses whose ``ipMode`` is Proxy. It is a full-NAT balancer of layer 4: it
translates a connection to a node's node port (DNAT), with the balancer's own address as source (SNAT). So
replies pass it too, and endpoints do not see the client's address. Nodes are chosen in turn (round robin). A
connection that no rule translates ends at the balancer's own closed port.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..cluster.state import BALANCER, ROUTER, ClusterState
from ..net import (
    Address,
    Endpoint,
    InterfaceAddress,
    everything,
    host_prefix,
    mac_of_ip,
    prefixes_of,
    short_hash,
)
from ..objects.kinds import Service, ServicePort
from ..plan.checked import number
from ..plan.operations import (
    AddAddress,
    AddNeighbour,
    AddRoute,
    LoadRules,
    Operation,
    SetNeighbourDefaults,
    SetSysctl,
)
from ..plan.origins import (
    BALANCER_IPS,
    EXTERNAL_POLICY,
    NODE_PORT,
    SOURCE_RANGES,
    UNASKED,
    Explained,
    Origins,
    ServiceOrigins,
    explained,
)
from ..plan.rules import Match, Rule, RuleSet
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
    yield SetNeighbourDefaults(netns=BALANCER, dev="eth0", family=state.hostSubnet.family, why=OWN_WAY_TO_ASK)
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
                        netns=netns, dev="eth0", address=ip, mac=mac_of_ip(own), why=WHY_NEIGHBOURS
                    )
            else:
                why = f"{ip}, outside the host network, is the balancer's"
                yield AddRoute(netns=ROUTER, dst=ip.host, dev="eth0", via=own, why=why)
    rules = balancer_rules(state)
    why = "the balancer: source ranges, the next node, and replies back through it"
    yield LoadRules(
        netns=BALANCER, tool="iptables-restore", family=state.hostSubnet.family, rules=rules, why=why
    )


_CHAINS = {"mangle": ("PREROUTING",), "nat": ("PREROUTING", "POSTROUTING")}


def balancer_rules(state: ClusterState) -> RuleSet:
    """Returns the balancer's rules. If two Services claim one address and port, the first one gets it."""
    return RuleSet.of(_rules(state, asked=False), _CHAINS)


def explain_balancer(state: ClusterState) -> Iterator[Explained]:
    """Yields the balancer's rules, each with its origin; none if there is no balancer."""
    return map(explained, _rules(state, asked=True))


def _rules(state: ClusterState, *, asked: bool) -> Iterator[Rule]:
    if state.balancerIP is None:
        return
    translated, own = Match("-m conntrack --ctstate DNAT"), f"--to-source {state.balancerIP}"
    yield Rule("nat", "POSTROUTING", translated, "SNAT", "back through the balancer", own)
    claimed: set[tuple[str, int, str]] = set()
    for service in state.services:
        origins = ServiceOrigins(service.key, ()) if asked else UNASKED
        for ip in state.balancer_ips(service):
            for port in service.spec.ports:
                key = (ip, port.port, port.protocol)
                if key not in claimed:
                    claimed.add(key)
                    yield from _port_rules(state, service, port, ip, origins)


def _port_rules(
    state: ClusterState, service: Service, port: ServicePort, ip: Address, origins: Origins
) -> Iterator[Rule]:
    """Yields the rules for one port at one address."""
    name = short_hash(f"{service.key}:{port.name}").upper()
    note = f"{service.key}:{port.name}" if port.name else service.key
    protocol = port.protocol.lower()
    match = Match(f"-d {host_prefix(ip)} -p {protocol}", f"-m {protocol} --dport {number(port.port)}", (ip,))
    if ranges := service.spec.loadBalancerSourceRanges:
        chain, origin = f"LB-FW-{name}", origins.of(SOURCE_RANGES)
        yield Rule("mangle", "PREROUTING", match, chain, note, origin=origin)
        for source in prefixes_of(ip.family, ranges):
            yield Rule("mangle", chain, Match(f"-s {source}"), "RETURN", origin=origin)
        yield Rule("mangle", chain, Match(), "DROP", origin=origin)
    if turns := list(_turns(state, service, port, f"LB-{name}", origins)):
        yield Rule("nat", "PREROUTING", match, f"LB-{name}", note, origin=origins.of(BALANCER_IPS))
        yield from turns


def _turns(
    state: ClusterState, service: Service, port: ServicePort, chain: str, origins: Origins
) -> Iterator[Rule]:
    """Yields one rule for each node, which takes every n-th connection that the rules before it left."""
    nodes = state.balanced[service.key] if port.nodePort else ()
    protocol = port.protocol.lower()
    origin = origins.of(EXTERNAL_POLICY if service.spec.externalTrafficPolicy == "Local" else NODE_PORT)
    for left, node in zip(range(len(nodes), 0, -1), nodes, strict=True):
        turn = f"-m statistic --mode nth --every {left} --packet 0 " if left > 1 else ""
        match = Match(f"-p {protocol}", f"{turn}-m {protocol}")
        target = (
            f"--to-destination {Endpoint.of(state.node[node].internalIPs[0], number(port.nodePort or 0))}"
        )
        yield Rule("nat", chain, match, "DNAT", f"node {node}", target, origin)
