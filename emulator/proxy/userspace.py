"""Makes one node's rules of kube-proxy's userspace mode, and the settings of the proxies behind them, as in
kube-proxy v1.25, the last that had it.

Rules lead to a port of the node, one for each Service port, where a process accepts and dials an endpoint
itself (pkg/proxy/userspace: proxier.go, proxysocket.go, roundrobin.go). docs/semantics 15 lists the policies
and settings that it does not implement. ``workload.proxying`` runs the proxies. Invariant: a Service port has
one proxy port, the same on every node and in every state that has the Service port, as long as no other needs
the same one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

from ..cluster.state import ClusterState
from ..errors import UsageError
from ..net import (
    Endpoint,
    Family,
    addresses_of,
    host_prefix,
    localhost,
    short_hash,
)
from ..plan.checked import address
from ..plan.operations import DelConnections, Operation
from ..plan.origins import (
    BALANCER_IPS,
    CLUSTER_IPS,
    EXTERNAL_IPS,
    NODE_PORT,
    UNASKED,
    Explained,
    Origins,
    ServiceOrigins,
    explained,
)
from ..plan.rules import Match, Rule, RuleSet, RuleTool
from .changes import ServiceChange
from .endpoints import ServicePortFacts, service_ports
from .local import local_addresses, primary_ip

# kube-proxy had the kernel draw a port, or drew one from --proxy-port-range. These are below the source ports
# of flows and node ports.
FIRST_PORT, PORTS = 4000, 16000
DIAL_TIMEOUTS = (0.25, 0.5, 1.0, 2.0)  # seconds, for one endpoint after the other (EndpointDialTimeouts)
UDP_IDLE = 0.25  # seconds after which a silent UDP client is dropped (--udp-timeout)


class Relay(NamedTuple):
    """Holds the settings of every node's proxy for one Service port. ``name`` as in rules;
    ``affinitySeconds`` is 0 without session affinity.
    """

    name: str
    protocol: str  # TCP or UDP
    port: int  # that it listens on
    endpoints: tuple[Endpoint, ...]
    affinitySeconds: int
    family: Family  # the clients' and the endpoints'


def relays(state: ClusterState) -> tuple[Relay, ...]:
    """Returns the proxies of one node; they are the same on every node. Raises :class:`UsageError` for more
    Service ports than proxy ports.
    """
    chosen = _proxy_ports(state)
    return tuple(
        Relay(
            facts.name,
            facts.protocol,
            chosen[facts.name],
            _ready(facts),
            facts.affinitySeconds,
            facts.clusterIP.family,
        )
        for facts in _proxied(state)
    )


def _ready(facts: ServicePortFacts) -> tuple[Endpoint, ...]:
    """Returns the addresses that are ready in at least one entry: the userspace mode read Endpoints, where an
    address stands once, as ready.
    """
    ready = {e.address: Endpoint.of(e.ip, e.port) for e in (*facts.endpoints, *facts.doubles) if e.ready}
    return tuple(ready[address] for address in sorted(ready))


def _proxied(state: ClusterState) -> Iterator[ServicePortFacts]:
    """Yields the Service ports with a proxy. SCTP ports get no proxy and no rules (proxysocket.go: "SCTP is
    not supported for user space proxy").
    """
    return (facts for facts in service_ports(state) if facts.protocol != "SCTP")


def _proxy_ports(state: ClusterState) -> Mapping[str, int]:
    """Returns, by name, the port that its hash points at, or the next one that is free on every node."""
    taken = {listener.port for listener in state.listeners if listener.netns in state.node}
    chosen: dict[str, int] = {}
    for facts in _proxied(state):
        if len(taken) >= PORTS:
            raise UsageError(
                f"userspace mode has {PORTS:,} proxy ports, and there are more Service ports: use "
                "another --proxy-mode"
            )
        port = FIRST_PORT + int(short_hash(facts.name), 16) % PORTS
        while port in taken:
            port = FIRST_PORT + (port + 1 - FIRST_PORT) % PORTS
        taken.add(port)
        chosen[facts.name] = port
    return chosen


# --- choosing an endpoint -----------------------------------------------------------------------------------


class RoundRobin:
    """Chooses the endpoints of one proxy in turn; with session affinity a client address keeps its endpoint
    (roundrobin.go).

    ``now`` is in seconds, of any clock that never goes back.
    """

    def __init__(self, relay: Relay) -> None:
        self._endpoints = relay.endpoints
        self._seconds = relay.affinitySeconds
        self._turn = 0
        # client address → its endpoint, and when it was last used
        self._kept: dict[str, tuple[Endpoint, float]] = {}

    def update(self, relay: Relay) -> None:
        """Updates the endpoints to those of ``relay``: clients of removed endpoints are dropped, and if
        endpoints changed the turns begin anew.
        """
        self._seconds = relay.affinitySeconds
        if relay.endpoints != self._endpoints:
            self._endpoints, self._turn = relay.endpoints, 0
            self._kept = {client: kept for client, kept in self._kept.items() if kept[0] in self._endpoints}

    def next(self, client: str, now: float, *, again: bool = False) -> Endpoint | None:
        """Returns the endpoint for a connection from the address ``client``; None if there is none.
        ``again``: the one before did not answer.
        """
        if not self._endpoints:
            return None
        if self._seconds and not again and client in self._kept:
            endpoint, used = self._kept[client]
            if now - used < self._seconds:
                self._kept[client] = endpoint, now
                return endpoint
        endpoint = self._endpoints[self._turn]
        self._turn = (self._turn + 1) % len(self._endpoints)
        if self._seconds:
            self._kept[client] = endpoint, now
        return endpoint


# --- rules --------------------------------------------------------------------------------------------------

_LOCAL = "-m addrtype --dst-type LOCAL"
_CHAINS = {
    "nat": ("KUBE-NODEPORT-CONTAINER", "KUBE-NODEPORT-HOST", "KUBE-PORTALS-CONTAINER", "KUBE-PORTALS-HOST"),
    "filter": ("KUBE-NODEPORT-NON-LOCAL",),
}


def _frame() -> Iterator[Rule]:
    """Yields the rules that every node has. Packets from others pass PREROUTING ("CONTAINER"), the node's own
    OUTPUT ("HOST").
    """
    portals = "handle ClusterIPs; NOTE: this must be before the NodePort rules"
    node_ports = "handle service NodePorts; NOTE: this must be the last rule in the chain"
    for chain, kind in (("PREROUTING", "CONTAINER"), ("OUTPUT", "HOST")):
        yield Rule("nat", chain, Match(), f"KUBE-PORTALS-{kind}", portals)
        yield Rule("nat", chain, Match(_LOCAL), f"KUBE-NODEPORT-{kind}", node_ports)
    others = "Ensure that non-local NodePort traffic can flow"
    yield Rule("filter", "INPUT", Match(), "KUBE-NODEPORT-NON-LOCAL", others)


def _ingress(state: ClusterState, facts: ServicePortFacts) -> tuple[str, ...]:
    """Returns the load balancer's addresses, whatever their ``ipMode``, which came later."""
    service = state.service[f"{facts.namespace}/{facts.service}"]
    return addresses_of(state.family, (ingress.ip for ingress in service.status.loadBalancer.ingress))


def _port_rules(
    facts: ServicePortFacts, ingress: tuple[str, ...], proxy_port: int, host: str, origins: Origins = UNASKED
) -> Iterator[Rule]:
    """Yields the rules to the proxy. REDIRECT leads to the address of the input interface, from which UDP
    replies leave as well. For the node's own packets REDIRECT would make packets to 127.0.0.1, so these go to
    the node's address ``host``.
    """
    protocol = facts.protocol.lower()
    redirect = "REDIRECT", f"--to-ports {proxy_port}"
    dnat = "DNAT", f"--to-destination {Endpoint.of(host, proxy_port)}"
    containers, own = "KUBE-PORTALS-CONTAINER", "KUBE-PORTALS-HOST"

    def to(chain: str, port: int, target: tuple[str, str], field: str, ip: str = "", more: str = "") -> Rule:
        hosts = (ip,) if ip else ()
        match = Match(
            f"-d {host_prefix(ip)} -p {protocol}" if ip else f"-p {protocol}",
            f"-m {protocol} --dport {port}{more}",
            hosts,
        )
        return Rule("nat", chain, match, target[0], facts.name, target[1], origins.of(field))

    for ip, field in ((facts.clusterIP, CLUSTER_IPS), *((ip, BALANCER_IPS) for ip in ingress)):
        yield to(containers, facts.port, redirect, field, ip)
        yield to(own, facts.port, dnat, field, ip)
    # not packets of Pods (by a bridge's port) and of the node, unless it is the node's own address
    for ip in facts.externalIPs:
        yield to(containers, facts.port, redirect, EXTERNAL_IPS, ip, " -m physdev ! --physdev-is-in")
        yield to(containers, facts.port, redirect, EXTERNAL_IPS, ip, f" {_LOCAL}")
        yield to(own, facts.port, dnat, EXTERNAL_IPS, ip, f" {_LOCAL}")
    if facts.nodePort:
        yield to("KUBE-NODEPORT-CONTAINER", facts.nodePort, redirect, NODE_PORT)
        yield to("KUBE-NODEPORT-HOST", facts.nodePort, dnat, NODE_PORT)
        match = Match(f"-p {protocol}", f"-m {protocol} --dport {proxy_port} -m state --state NEW")
        origin = origins.of(NODE_PORT)
        yield Rule("filter", "KUBE-NODEPORT-NON-LOCAL", match, "ACCEPT", facts.name, origin=origin)


class Rules:
    """Holds the rules of all nodes, for one state of the cluster; a change is compared as a whole."""

    tool: ClassVar[RuleTool] = "iptables-restore"

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._proxy_ports = _proxy_ports(state)
        self._ports = tuple((facts, _ingress(state, facts)) for facts in _proxied(state))

    def on(self, node: str) -> RuleSet:
        """Returns the rules of ``node``."""
        return RuleSet.of(self.each(node), _CHAINS)

    def each(self, node: str, *, asked: bool = False) -> Iterator[Rule]:
        """Yields the rules of ``node`` in order; ``asked``: with their origins."""
        host = primary_ip(self._state.node[node], self._state.family)
        yield from _frame()
        for facts, ingress in self._ports:
            origins = ServiceOrigins(f"{facts.namespace}/{facts.service}", ()) if asked else UNASKED
            yield from _port_rules(facts, ingress, self._proxy_ports[facts.name], host, origins)

    def operations(self) -> Iterator[Operation]:
        """Yields nothing: the proxies are processes (:func:`relays`)."""
        return iter(())

    def changed(self, _: Sequence[ServiceChange]) -> None:
        """Returns None: every node's rules must be compared as a whole."""


def rules(state: ClusterState) -> Rules:
    """Returns every node's rules. Raises ``UnsafeTextError`` for a value that does not fit its type, and
    :class:`UsageError` for more Service ports than proxy ports.
    """
    return Rules(state)


def explain(state: ClusterState, name: str) -> Iterator[Explained]:
    """Yields the rules of one node, each with its origin."""
    return map(explained, Rules(state).each(name, asked=True))


# --- changes ------------------------------------------------------------------------------------------------


def stale_relays(
    old: ClusterState, new: ClusterState, _: Sequence[ServiceChange] = ()
) -> Iterator[DelConnections]:
    """Yields the UDP entries that every node must delete: those to an address that no longer leads to that
    proxy. Otherwise packets would go on to a port without a listener, or to a proxy for other addresses.
    (kube-proxy deleted those to the ClusterIP of a removed Service port, conntrack.ClearEntriesForIP, and
    left clients of other addresses stuck.) Clients of a removed endpoint are the proxy's, which drops them
    itself.
    """
    before, after = list(_udp_ways(old)), set(_udp_ways(new))
    gone = [way for way in before if way not in after]
    for node in (node.name for node in new.nodes if node.name in old.node) if gone else ():
        own = local_addresses(old, node)
        for name, ip, port, proxy_port in gone:
            for dialled in (
                Endpoint.of(one, port) for one in ((ip,) if ip else (localhost(old.family), *own))
            ):
                for server in own:
                    yield DelConnections(
                        netns=node,
                        protocol="UDP",
                        dialled=dialled,
                        server=Endpoint.of(server, proxy_port),
                        why=f"{name} is no longer at {dialled}: a UDP client that never stops sending "
                        "would be led to its proxy for ever",
                    )


def _udp_ways(state: ClusterState) -> Iterator[tuple[str, str, int, int]]:
    """Yields each way to a UDP proxy: the Service port's name, the dialled address ("": any of the node's)
    and port, and the proxy's port.
    """
    proxy_ports = _proxy_ports(state)
    for facts in _proxied(state):
        if facts.protocol != "UDP":
            continue
        for ip in (facts.clusterIP, *facts.externalIPs, *_ingress(state, facts)):
            yield facts.name, address(ip), facts.port, proxy_ports[facts.name]
        if facts.nodePort:
            yield facts.name, "", facts.nodePort, proxy_ports[facts.name]
