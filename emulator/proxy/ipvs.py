"""Makes one node's part of kube-proxy's ipvs mode: virtual servers, sets, addresses of ``kube-ipvs0`` and the
few rules that are left, as kube-proxy v1.30.5 has them (pkg/proxy/ipvs/proxier.go, ipset.go).

The kernel's IPVS translates the destination. It does so for packets to the node's own addresses (hook
LOCAL_IN), which is why every Service address is put on the dummy interface ``kube-ipvs0``. Rules only decide
about masquerading, by sets instead of a rule per Service. Invariant: everything depends on the objects, the
proxy's settings and the node alone; if two Services claim one address and port, the first gets it.

The choice of endpoints is that of all modes with one exception, which is upstream's: if a Local policy finds
no endpoint on the node, all endpoints are used. (The replies of their Pods to clients outside then bypass the
node: an asymmetric reply, so that such a client gets no connection.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

from ..cluster.state import ClusterState
from ..net import Address, InterfaceAddress, Prefix, TransportProtocol, host_prefix, loopback
from ..objects.kinds import Node
from ..objects.references import ObjectRef
from ..plan.ipvs import AddressSet, Edit, RealServer, SetKind, VirtualServer, ipvsadm_words
from ..plan.operations import AddAddress, AddDummy, LoadIpset, LoadIpvs, Operation, SetSysctl
from ..plan.origins import (
    BALANCER_IPS,
    CLUSTER_IPS,
    EXTERNAL_IPS,
    EXTERNAL_POLICY,
    HEALTH_CHECK,
    NODE_PORT,
    SOURCE_RANGES,
    UNASKED,
    Explained,
    Origins,
    ServiceOrigins,
)
from ..plan.rules import RuleSet, RuleTool
from .changes import ServiceChange
from .endpoints import (
    EndpointChoice,
    EndpointFacts,
    ServicePortFacts,
    choose,
    ports_of,
    service_ports,
    services_with_slices,
)
from .local import detector_of, local_addresses, node_port_prefixes, primary_ip

DUMMY = "kube-ipvs0"
MARK = "0x4000/0x4000"  # masqueradeBit 14

_PORT: SetKind = "bitmap:port"
_ADDRESS_PORT: SetKind = "hash:ip,port"
_SETS: Mapping[str, SetKind] = {
    "KUBE-CLUSTER-IP": _ADDRESS_PORT,
    "KUBE-EXTERNAL-IP": _ADDRESS_PORT,
    "KUBE-EXTERNAL-IP-LOCAL": _ADDRESS_PORT,
    "KUBE-HEALTH-CHECK-NODE-PORT": _PORT,
    "KUBE-IPVS-IPS": "hash:ip",
    "KUBE-LOAD-BALANCER": _ADDRESS_PORT,
    "KUBE-LOAD-BALANCER-FW": _ADDRESS_PORT,
    "KUBE-LOAD-BALANCER-LOCAL": _ADDRESS_PORT,
    "KUBE-LOAD-BALANCER-SOURCE-CIDR": "hash:ip,port,net",
    "KUBE-LOAD-BALANCER-SOURCE-IP": "hash:ip,port,ip",
    "KUBE-LOOP-BACK": "hash:ip,port,ip",
    "KUBE-NODE-PORT-LOCAL-SCTP-HASH": _ADDRESS_PORT,
    "KUBE-NODE-PORT-LOCAL-TCP": _PORT,
    "KUBE-NODE-PORT-LOCAL-UDP": _PORT,
    "KUBE-NODE-PORT-SCTP-HASH": _ADDRESS_PORT,
    "KUBE-NODE-PORT-TCP": _PORT,
    "KUBE-NODE-PORT-UDP": _PORT,
}
_CHAINS = {
    "filter": (
        *("KUBE-FORWARD", "KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER", "KUBE-NODE-PORT"),
        *("KUBE-PROXY-FIREWALL", "KUBE-SOURCE-RANGES-FIREWALL"),
    ),
    "nat": ("KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ", "KUBE-NODE-PORT", "KUBE-POSTROUTING", "KUBE-SERVICES"),
}
_PROTOCOL_NUMBER: Mapping[TransportProtocol, int] = {"TCP": 6, "UDP": 17, "SCTP": 132}


class _Jump(NamedTuple):
    """Describes a rule that exists when the set ``name`` has an entry. ``what`` is kube-proxy's comment on
    the set, ``sides`` are the fields that it matches.
    """

    name: str
    table: str
    chain: str
    target: str
    sides: str
    what: str
    protocol: str = ""


_BALANCER = "Kubernetes service load balancer ip + port"
_JUMPS = (  # in upstream's order: RETURN before the rule that marks
    _Jump(
        *("KUBE-LOOP-BACK", "nat", "KUBE-POSTROUTING", "MASQUERADE", "dst,dst,src"),
        "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose",
    ),
    _Jump(
        "KUBE-LOAD-BALANCER",
        "nat",
        "KUBE-SERVICES",
        "KUBE-LOAD-BALANCER",
        "dst,dst",
        "Kubernetes service lb portal",
    ),
    _Jump(
        *("KUBE-LOAD-BALANCER-LOCAL", "nat", "KUBE-LOAD-BALANCER", "RETURN", "dst,dst"),
        f"{_BALANCER} with externalTrafficPolicy=local",
    ),
    *(
        jump
        for protocol, tail, sides in (
            ("tcp", "TCP", "dst"),
            ("udp", "UDP", "dst"),
            ("sctp", "SCTP-HASH", "dst,dst"),
        )
        for jump in (
            _Jump(
                *(f"KUBE-NODE-PORT-LOCAL-{tail}", "nat", "KUBE-NODE-PORT", "RETURN", sides),
                *(f"Kubernetes nodeport {protocol.upper()} port with externalTrafficPolicy=local", protocol),
            ),
            _Jump(
                *(f"KUBE-NODE-PORT-{tail}", "nat", "KUBE-NODE-PORT", "KUBE-MARK-MASQ", sides),
                *(f"Kubernetes nodeport {protocol.upper()} port for masquerade purpose", protocol),
            ),
        )
    ),
    _Jump(
        *("KUBE-LOAD-BALANCER-FW", "filter", "KUBE-PROXY-FIREWALL", "KUBE-SOURCE-RANGES-FIREWALL", "dst,dst"),
        f"{_BALANCER} for load balancer with sourceRange",
    ),
    _Jump(
        *("KUBE-LOAD-BALANCER-SOURCE-CIDR", "filter", "KUBE-SOURCE-RANGES-FIREWALL", "RETURN", "dst,dst,src"),
        f"{_BALANCER} + source cidr for packet filter purpose",
    ),
    _Jump(
        *("KUBE-LOAD-BALANCER-SOURCE-IP", "filter", "KUBE-SOURCE-RANGES-FIREWALL", "RETURN", "dst,dst,src"),
        f"{_BALANCER} + source IP for packet filter purpose",
    ),
)
_SYSCTLS = {
    "net.ipv4.vs.conntrack": (
        "IPVS registers its connections with conntrack, so that they can be masqueraded"
    ),
    "net.ipv4.vs.expire_nodest_conn": "a connection ends with its endpoint",
    "net.ipv4.vs.expire_quiescent_template": ("session affinity ends with its endpoint"),
}
_STRICT_ARP = {"net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.conf.all.arp_announce": "2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBalancing:
    """Holds ipvs mode's state on one node. ``addresses`` are those of :data:`DUMMY`."""

    addresses: tuple[str, ...]
    sets: tuple[AddressSet, ...]
    servers: tuple[VirtualServer, ...]
    rules: RuleSet


# --- one Service port ---------------------------------------------------------------------------------------


class _Node:
    """Collects the entries of Service ports in one node's sets and servers."""

    def __init__(self, state: ClusterState, name: str) -> None:
        me = state.node[name]
        self.node = me
        self.family = state.family
        self.primary = primary_ip(me, self.family)
        self.own = frozenset(local_addresses(state, name))
        self.broadcasts = frozenset(_broadcasts(state, me))
        self.scheduler = state.proxy.scheduler
        self.node_port_ips = tuple(_node_port_ips(state, name))
        self.sets: dict[str, dict[str, None]] = {set_name: {} for set_name in _SETS}
        self.servers: dict[tuple[TransportProtocol, Address, int], VirtualServer] = {}
        # load-balancer addresses that the node itself may not dial
        self.refused: list[tuple[TransportProtocol, str, int, ObjectRef | None]] = []
        self.origins = UNASKED  # those of the Service that is added next
        self.causes: dict[tuple[str, str], ObjectRef] = {}  # set, entry → origin of the first claim
        self.served_by: dict[tuple[TransportProtocol, Address, int], tuple[str, Origins]] = {}

    def add(self, name: str, entry: str, origin: ObjectRef | None) -> None:
        self.sets[name][entry] = None
        if origin:
            self.causes.setdefault((name, entry), origin)

    def add_port(self, port: ServicePortFacts) -> None:
        choice, why = choose(port, self.node), self.origins.of
        protocol = port.protocol.lower()
        for endpoint in port.seen_from(self.node.name):
            if endpoint.node == self.node.name:
                ip, number = endpoint.ip, endpoint.port
                entry = f"{ip},{protocol}:{number},{ip}"
                self.add("KUBE-LOOP-BACK", entry, self.origins.endpoint(ip, number))
        external = _endpoints(choice, port.externalLocal)
        self.add("KUBE-CLUSTER-IP", f"{port.clusterIP},{protocol}:{port.port}", why(CLUSTER_IPS))
        self._serve(port, port.clusterIP, port.port, _endpoints(choice, port.internalLocal), CLUSTER_IPS)
        for ip in port.externalIPs:
            name = "KUBE-EXTERNAL-IP-LOCAL" if port.externalLocal else "KUBE-EXTERNAL-IP"
            self.add(name, f"{ip},{protocol}:{port.port}", why(EXTERNAL_IPS))
            self._serve(port, ip, port.port, external, EXTERNAL_IPS)
        for ip in port.loadBalancerVIPs:
            self._add_balancer(port, ip)
            self._serve(port, ip, port.port, external, BALANCER_IPS)
        for ips, field in (
            ((port.clusterIP,), CLUSTER_IPS),
            (port.externalIPs, EXTERNAL_IPS),
            (port.loadBalancerVIPs, BALANCER_IPS),
        ):
            for ip in ips:
                if ip not in self.own:  # the node's own address: it stays where it is
                    self.add("KUBE-IPVS-IPS", ip, why(field))
        if port.nodePort and self.node_port_ips:
            self._add_node_port(port)
            for ip in self.node_port_ips:
                self._serve(port, ip, port.nodePort, external, NODE_PORT)
        if port.healthCheckNodePort:
            self.add("KUBE-HEALTH-CHECK-NODE-PORT", str(port.healthCheckNodePort), why(HEALTH_CHECK))

    def _serve(
        self,
        port: ServicePortFacts,
        ip: Address,
        number: int,
        endpoints: Sequence[EndpointFacts],
        field: str,
    ) -> None:
        server = VirtualServer(
            protocol=port.protocol,
            ip=ip,
            port=number,
            scheduler=self.scheduler,
            persistence=port.affinitySeconds,
            servers=tuple(RealServer(e.ip, e.port) for e in endpoints if self._takes(e.ip)),
        )
        self.servers.setdefault(server.key, server)
        self.served_by.setdefault(server.key, (field, self.origins))

    def _takes(self, ip: Address) -> bool:
        """Returns whether the kernel takes ``ip`` for a real server: an address of one machine, as this node
        sees it (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_new_dest). kube-proxy logs what it refuses, and goes on
        (pkg/proxy/ipvs/proxier.go, syncEndpoint).
        """
        return ip.unicast and ip not in self.broadcasts

    def _add_balancer(self, port: ServicePortFacts, ip: str) -> None:
        """Adds a load-balancer address. The node's own packets to one have that very address as their source,
        since it is local.
        """
        key, why = f"{ip},{port.protocol.lower()}:{port.port}", self.origins.of
        self.add("KUBE-LOAD-BALANCER", key, why(BALANCER_IPS))
        if port.externalLocal:
            self.add("KUBE-LOAD-BALANCER-LOCAL", key, why(EXTERNAL_POLICY))
        if port.sourceRanges:
            origin = why(SOURCE_RANGES)
            self.add("KUBE-LOAD-BALANCER-FW", key, origin)
            for source in port.sourceRanges:
                for half in _halves(source):
                    self.add("KUBE-LOAD-BALANCER-SOURCE-CIDR", f"{key},{half}", origin)
            if self.primary and any(self.primary in prefix for prefix in port.sourceRanges):
                self.add("KUBE-LOAD-BALANCER-SOURCE-IP", f"{key},{ip}", origin)
            else:
                self.refused.append((port.protocol, ip, port.port, origin))

    def _add_node_port(self, port: ServicePortFacts) -> None:
        for local, field in (
            (("", NODE_PORT), ("LOCAL-", EXTERNAL_POLICY)) if port.externalLocal else (("", NODE_PORT),)
        ):
            origin = self.origins.of(field)
            if port.protocol == "SCTP":
                for ip in self.node_port_ips:
                    self.add(f"KUBE-NODE-PORT-{local}SCTP-HASH", f"{ip},sctp:{port.nodePort}", origin)
            else:
                self.add(f"KUBE-NODE-PORT-{local}{port.protocol}", str(port.nodePort), origin)


def _broadcasts(state: ClusterState, node: Node) -> Iterator[Address]:
    """Yields the broadcast addresses of the networks that ``node`` is in."""
    networks = [Prefix(state.podCIDR(node.name))] if state.podCIDR(node.name) else []
    if any(ip in state.hostSubnet for ip in node.internalIPs):
        networks.append(state.hostSubnet)
    for network in networks:
        if network.broadcast:
            yield network.broadcast


def _endpoints(choice: EndpointChoice, local: bool) -> Sequence[EndpointFacts]:
    return (choice.local or choice.cluster) if local else choice.cluster


def _halves(prefix: Prefix) -> Iterable[Prefix]:
    """Returns ``prefix``, or both halves of everything: a set takes no prefix of length 0 (ipset(8),
    hash:ip,port,net).
    """
    return (prefix,) if prefix.length else prefix.subnets(1)


def _node_port_ips(state: ClusterState, node: str) -> Iterator[Address]:
    """Yields the addresses that serve node ports: every local address in ``nodePortAddresses``, never a
    loopback one.
    """
    family = state.family
    prefixes = node_port_prefixes(state.proxy.nodePortAddresses, primary_ip(state.node[node], family), family)
    for ip in local_addresses(state, node):
        if ip not in loopback(family) and any(ip in prefix for prefix in prefixes):
            yield ip


# --- the rules that are left --------------------------------------------------------------------------------


def _match(name: str, sides: str = "dst,dst") -> str:
    return f"-m set --match-set {name} {sides}"


def _filter_rules(node: _Node) -> Iterator[tuple[str, str]]:
    access = "kubernetes ipvs access filter"
    firewall = f"{_comment('kube-proxy firewall rules')} -j KUBE-PROXY-FIREWALL"
    yield "INPUT", f"{_comment(access)} -j KUBE-IPVS-FILTER"
    yield "INPUT", firewall
    yield "INPUT", f"{_comment('kubernetes health check rules')} -j KUBE-NODE-PORT"
    yield "FORWARD", firewall
    yield "FORWARD", f"{_comment('kubernetes forwarding rules')} -j KUBE-FORWARD"
    yield "OUTPUT", f"{_comment(access)} -j KUBE-IPVS-OUT-FILTER"
    yield "KUBE-FORWARD", f"{_comment('kubernetes forwarding rules')} -m mark --mark {MARK} -j ACCEPT"
    yield (
        "KUBE-FORWARD",
        (
            f"{_comment('kubernetes forwarding conntrack rule')} -m conntrack --ctstate "
            "RELATED,ESTABLISHED -j ACCEPT"
        ),
    )
    health = _comment("Kubernetes health check node port")
    yield "KUBE-NODE-PORT", f"{health} {_match('KUBE-HEALTH-CHECK-NODE-PORT', 'dst')} -j ACCEPT"
    # A Service's address is local, so it would reach the node's own listeners.
    for name in ("KUBE-LOAD-BALANCER", "KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL"):
        yield "KUBE-IPVS-FILTER", f"{_match(name)} -j RETURN"
    yield "KUBE-IPVS-FILTER", f"{_match('KUBE-HEALTH-CHECK-NODE-PORT', 'dst')} -j RETURN"
    refuse = f"{_match('KUBE-IPVS-IPS', 'dst')} -j REJECT --reject-with {node.family.reject_port}"
    yield "KUBE-IPVS-FILTER", f"-m conntrack --ctstate NEW {refuse}"
    for rule, _ in _refusals(node):
        yield _REFUSALS, rule


_REFUSALS = "KUBE-IPVS-OUT-FILTER"


def _refusals(node: _Node) -> Iterator[tuple[str, ObjectRef | None]]:
    """Yields the rules that keep the node itself from load-balancer addresses, each with its origin."""
    for protocol, ip, port, origin in node.refused:
        server = f"-m ipvs --vproto {_PROTOCOL_NUMBER[protocol]} --vaddr {ip} --vport {port}"
        yield f"-s {host_prefix(ip)} {server} -j DROP", origin


def _nat_rules(state: ClusterState, node: _Node) -> Iterator[tuple[str, str]]:
    portals = f"{_comment('kubernetes service portals')} -j KUBE-SERVICES"
    yield "PREROUTING", portals
    yield "OUTPUT", portals
    yield "POSTROUTING", f"{_comment('kubernetes postrouting rules')} -j KUBE-POSTROUTING"
    yield "KUBE-MARK-MASQ", f"-j MARK --set-xmark {MARK}"
    yield from _masquerade_cluster_ips(state, node)
    what = _comment("Kubernetes service external ip + port for masquerade and filter purpose")
    local = _comment("Kubernetes service external ip + port with externalTrafficPolicy=local")
    for name, note in (("KUBE-EXTERNAL-IP", what), ("KUBE-EXTERNAL-IP-LOCAL", local)):
        if node.sets[name]:
            match = f"{note} {_match(name)}"
            if name == "KUBE-EXTERNAL-IP":
                yield "KUBE-SERVICES", f"{match} -j KUBE-MARK-MASQ"
            yield (
                "KUBE-SERVICES",
                f"{match} -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT",
            )
            yield "KUBE-SERVICES", f"{match} -m addrtype --dst-type LOCAL -j ACCEPT"
    yield "KUBE-SERVICES", "-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT"
    yield "KUBE-LOAD-BALANCER", "-j KUBE-MARK-MASQ"
    for name in ("KUBE-CLUSTER-IP", "KUBE-LOAD-BALANCER"):
        if node.sets[name]:
            yield "KUBE-SERVICES", f"{_match(name)} -j ACCEPT"
    yield "KUBE-POSTROUTING", f"-m mark ! --mark {MARK} -j RETURN"
    yield "KUBE-POSTROUTING", "-j MARK --set-xmark 0x4000/0x0"
    yield (
        "KUBE-POSTROUTING",
        f"{_comment('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully",
    )


def _masquerade_cluster_ips(state: ClusterState, node: _Node) -> Iterator[tuple[str, str]]:
    """Yields the rule that masquerades traffic to ClusterIPs. Without a detector it matches only packets that
    have a Service's address as their source: the node's own packets to a local address.
    """
    if not node.sets["KUBE-CLUSTER-IP"]:
        return
    note = _comment("Kubernetes service cluster ip + port for masquerade purpose")
    detector = detector_of(state, node.node.name)
    sides, stranger = "dst,dst", ""
    if state.proxy.masqueradeAll:
        pass
    elif detector is None:
        sides = "src,dst"
    elif detector.source:
        stranger = f"! -s {detector.source} "
    else:
        stranger = f"! -i {detector.interface or detector.prefix + '+'} "
    yield "KUBE-SERVICES", f"{stranger}{note} {_match('KUBE-CLUSTER-IP', sides)} -j KUBE-MARK-MASQ"


def _rules(state: ClusterState, node: _Node) -> RuleSet:
    chains: dict[str, dict[str, list[str]]] = {
        table: {chain: [] for chain in names} for table, names in _CHAINS.items()
    }

    def add(table: str, chain: str, rule: str) -> None:
        chains[table].setdefault(chain, []).append(rule)

    add("nat", "KUBE-SERVICES", f"-s {loopback(state.family)} -j RETURN")
    for jump in _JUMPS:
        if node.sets[jump.name]:
            protocol = f"-p {jump.protocol} " if jump.protocol else ""
            add(
                jump.table,
                jump.chain,
                f"{protocol}{_comment(jump.what)} {_match(jump.name, jump.sides)} -j {jump.target}",
            )
    for chain, rule in _filter_rules(node):
        add("filter", chain, rule)
    for chain, rule in _nat_rules(state, node):
        add("nat", chain, rule)
    # Dropping rules come after accepting ones.
    add("filter", "KUBE-SOURCE-RANGES-FIREWALL", "-j DROP")
    return RuleSet(
        {table: {chain: tuple(rules) for chain, rules in named.items()} for table, named in chains.items()}
    )


def _comment(text: str) -> str:
    """Returns a comment in kube-proxy's own words, which have characters that other comments may not have."""
    return f'-m comment --comment "{text}"'


# --- one node -----------------------------------------------------------------------------------------------


def balancing(state: ClusterState) -> Callable[[str], NodeBalancing]:
    """Returns a function that gives any node's part. Raises ``UnsafeTextError`` for a value that does not fit
    its type.
    """
    ports = service_ports(state)

    def of_node(name: str) -> NodeBalancing:
        node = _Node(state, name)
        for port in ports:
            node.add_port(port)
        return NodeBalancing(
            addresses=tuple(node.sets["KUBE-IPVS-IPS"]),
            sets=tuple(
                AddressSet(name=n, kind=kind, entries=tuple(node.sets[n]), family=state.family)
                for n, kind in _SETS.items()
            ),
            servers=tuple(node.servers.values()),
            rules=_rules(state, node),
        )

    return of_node


def explain(state: ClusterState, name: str) -> Iterator[Explained]:
    """Yields the rules, entries of sets and virtual servers of one node, each with its origin."""
    node = _Node(state, name)
    for service, slices in services_with_slices(state):
        node.origins = ServiceOrigins(service.key, slices)
        for port in ports_of(service, slices, state.family):
            node.add_port(port)
    for set_name, entries in node.sets.items():
        for entry in entries:
            yield Explained(f"ipset add {set_name} {entry}", node.causes.get((set_name, entry)))
    for key, server in node.servers.items():
        field, origins = node.served_by[key]
        yield Explained(f"ipvsadm {ipvsadm_words(Edit('add server', server))}", origins.of(field))
        for real in server.servers:
            words = ipvsadm_words(Edit("add real", server, real))
            yield Explained(f"ipvsadm {words}", origins.endpoint(real.ip, real.port))
    refusals = dict(_refusals(node))
    for table, chains in _rules(state, node).tables.items():
        for chain, rules in chains.items():
            for rule in rules:
                origin = refusals.get(rule) if chain == _REFUSALS else None
                yield Explained(f"iptables -t {table} -A {chain} {rule}", origin)


class Rules:
    """Holds all nodes' parts, for one state of the cluster; a change is compared as a whole."""

    tool: ClassVar[RuleTool] = "iptables-restore"

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._of_node = cache(balancing(state))

    def on(self, node: str) -> RuleSet:
        """Returns the rules of ``node``, which match its sets."""
        return self._of_node(node).rules

    def operations(self) -> Iterator[Operation]:
        """Yields the operations that every node needs beside its rules."""
        return _plan_nodes(self._state, self._of_node)

    def changed(self, _: Sequence[ServiceChange]) -> None:
        """Returns None: every node's part must be compared as a whole."""


def rules(state: ClusterState) -> Rules:
    """Returns every node's part. Raises ``UnsafeTextError`` for a value that does not fit its type."""
    return Rules(state)


def _plan_nodes(state: ClusterState, of_node: Callable[[str], NodeBalancing]) -> Iterator[Operation]:
    for node in state.nodes:
        name, part = node.name, of_node(node.name)
        for key, why in _SYSCTLS.items():
            yield SetSysctl(netns=name, key=key, value="1", why=f"kube-proxy's ipvs mode: {why}")
        for key, value in _STRICT_ARP.items() if state.proxy.strictARP else ():
            yield SetSysctl(
                netns=name,
                key=key,
                value=value,
                why=f"ipvs.strictARP: eth0 answers for its own addresses alone, not for {DUMMY}'s",
            )
        yield AddDummy(
            netns=name,
            name=DUMMY,
            why=f"{name}: an interface, down, that makes Service addresses local ones, since IPVS looks "
            "at those",
        )
        for ip in part.addresses:
            yield AddAddress(
                netns=name,
                dev=DUMMY,
                address=InterfaceAddress.of(ip),
                why=f"{name}: Services' addresses are local in ipvs mode",
            )
        why = f"{name}: the sets that kube-proxy's rules look into"
        yield LoadIpset(netns=name, sets=part.sets, why=why)
        why = f"{name}: Services as virtual servers of the kernel's IPVS"
        yield LoadIpvs(netns=name, servers=part.servers, timeouts=state.proxy.ipvsTimeouts, why=why)
