"""Makes the rules of kube-proxy's iptables mode for one node, as kube-proxy v1.30.5 writes them
(pkg/proxy/iptables/proxier.go).

Chains, names, marks, comments and their order are the real ones; rules are spelled as ``iptables-save``
prints them. The order of chains such as KUBE-SERVICES, which has no effect, is that of the objects here.
Invariant: the rules depend on the objects, the proxy's settings and the node alone.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from typing import NamedTuple

from ..cluster.state import ClusterState, ProxySettings
from ..errors import UsageError
from ..net import Family, Prefix, host_prefix, localhost, loopback
from ..objects.kinds import Node
from ..objects.references import ObjectRef
from ..plan.operations import Operation, SetSysctl
from ..plan.origins import (
    AFFINITY,
    BALANCER_IPS,
    CLUSTER_IPS,
    EXTERNAL_IPS,
    EXTERNAL_POLICY,
    HEALTH_CHECK,
    INTERNAL_POLICY,
    NODE_PORT,
    SOURCE_RANGES,
    UNASKED,
    Explained,
    Origins,
    ServiceOrigins,
    explained,
)
from ..plan.rules import Match, Rule, RuleSet
from .endpoints import (
    EndpointChoice,
    EndpointFacts,
    ServicePortFacts,
    choose,
    ports_of,
    services_with_slices,
)
from .local import (
    Detector,
    detector_of,
    local_addresses,
    node_port_prefixes,
    primary_ip,
)

MARK = "0x4000/0x4000"  # masqueradeBit 14
LARGE_CLUSTER = 1000  # with more endpoints than this kube-proxy leaves the comments of per-endpoint rules out

_NEW = Match("-m conntrack --ctstate NEW")
_ANY = Match()


def frame(settings: ProxySettings, family: Family) -> Iterator[Rule]:
    """Yields the rules that every node has, whatever the Services are. kube-proxy puts each jump in front of
    the one before it.
    """
    firewall = _NEW, "KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall"
    portals = _NEW, "KUBE-SERVICES", "kubernetes service portals"
    external = _NEW, "KUBE-EXTERNAL-SERVICES", "kubernetes externally-visible service portals"
    health_checks = _ANY, "KUBE-NODEPORTS", "kubernetes health check service ports"
    forwarding = _ANY, "KUBE-FORWARD", "kubernetes forwarding rules"
    established = Match(after="-m conntrack --ctstate RELATED,ESTABLISHED")
    guard = _ANY, "KUBE-FIREWALL", ""
    jumps = {
        "INPUT": (guard, firewall, health_checks, external),
        "FORWARD": (firewall, forwarding, portals, external),
        "OUTPUT": (guard, firewall, portals),
        "KUBE-FORWARD": (
            (Match("-m conntrack --ctstate INVALID"), "DROP", ""),
            (Match(after=f"-m mark --mark {MARK}"), "ACCEPT", "kubernetes forwarding rules"),
            (established, "ACCEPT", "kubernetes forwarding conntrack rule"),
        ),
    }
    for chain, rules in jumps.items():
        for match, target, why in rules:
            yield Rule("filter", chain, match, target, why)
    for chain in ("PREROUTING", "OUTPUT"):
        yield Rule("nat", chain, _ANY, "KUBE-SERVICES", "kubernetes service portals")
    yield Rule("nat", "POSTROUTING", _ANY, "KUBE-POSTROUTING", "kubernetes postrouting rules")
    yield Rule("nat", "KUBE-MARK-MASQ", _ANY, "MARK", options=f"--set-xmark {MARK}")
    yield Rule("nat", "KUBE-POSTROUTING", Match(f"-m mark ! --mark {MARK}"), "RETURN")
    # The mark is taken off, so that a packet that passes the stack again (a tunnel) is not masqueraded twice.
    yield Rule("nat", "KUBE-POSTROUTING", _ANY, "MARK", options="--set-xmark 0x4000/0x0")
    snat = "kubernetes service traffic requiring SNAT"
    yield Rule("nat", "KUBE-POSTROUTING", _ANY, "MASQUERADE", snat, "--random-fully")
    yield from _localnet_guard(settings, family)


# Chains that exist even when they are empty.
CHAINS = {
    "mangle": ("KUBE-PROXY-CANARY",),
    "filter": (
        *("KUBE-EXTERNAL-SERVICES", "KUBE-FIREWALL", "KUBE-FORWARD", "KUBE-NODEPORTS"),
        *("KUBE-PROXY-CANARY", "KUBE-PROXY-FIREWALL", "KUBE-SERVICES"),
    ),
    "nat": ("KUBE-MARK-MASQ", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-PROXY-CANARY", "KUBE-SERVICES"),
}


# --- which packets are a local Pod's ------------------------------------------------------------------------


def _local(detector: Detector) -> str:
    """Returns the match for local traffic."""
    if detector.source:
        return f"-s {detector.source}"
    return f"-i {detector.interface or detector.prefix + '+'}"


def stranger(detector: Detector, destination: str) -> str:
    """Returns the match for all other traffic to ``destination``."""
    return f"! {_local(detector)} {destination}" if detector.source else f"{destination} ! {_local(detector)}"


def _detector(state: ClusterState, node: str) -> Detector | None:
    detector = detector_of(state, node)
    if detector and detector.source and not Prefix(detector.source).length:
        raise UsageError(
            f"{state.proxy.localMode} {detector.source} calls every address local, which iptables cannot "
            "invert: name the Pods' prefix"
        )
    return detector


# --- node ports ---------------------------------------------------------------------------------------------


def serves_localhost(settings: ProxySettings, family: Family) -> bool:
    """Returns whether node ports answer on the loopback address of ``family``, for which the node needs
    ``net.ipv4.conf.all.route_localnet=1``. IPv6 has no such setting.
    """
    words = tuple(word for word in settings.nodePortAddresses if word != "primary")  # never a loopback one
    only_primary = bool(settings.nodePortAddresses and not words)
    return bool(settings.localhostNodePorts and family.route_localnet) and any(
        p.overlaps(loopback(family)) for p in (() if only_primary else node_port_prefixes(words, "", family))
    )


def node_port_tail(state: ClusterState, node: str) -> Iterator[Rule]:
    """Yields the last rules of KUBE-SERVICES, which match the node's addresses for node ports."""
    family = state.family
    prefixes = node_port_prefixes(state.proxy.nodePortAddresses, primary_ip(state.node[node], family), family)
    own = serves_localhost(state.proxy, family)
    note = "kubernetes service nodeports; NOTE: this must be the last rule in this chain"
    if any(not prefix.length for prefix in prefixes):
        match = Match("" if own else f"! -d {loopback(family)}", "-m addrtype --dst-type LOCAL")
        yield Rule("nat", "KUBE-SERVICES", match, "KUBE-NODEPORTS", note)
        return
    for ip in (*([localhost(family)] if own else []), *local_addresses(state, node)):
        if any(ip in prefix for prefix in prefixes):
            match = Match(f"-d {host_prefix(ip)}", hosts=(ip,))
            yield Rule("nat", "KUBE-SERVICES", match, "KUBE-NODEPORTS", note)


# --- one Service port ---------------------------------------------------------------------------------------


def hash_of(text: str) -> str:
    """Returns the first 16 characters of the hash's base32 (ten bytes of it), as kube-proxy takes them: chain
    names must stay under 29 characters.
    """
    return b32encode(sha256(text.encode()).digest()[:10]).decode()


@cache
def probability(n: int) -> str:
    """Returns one in ``n`` as the kernel stores (xt_statistic: 31 bits of fraction) what kube-proxy writes
    (ten digits).
    """
    return f"{round(float(f'{1 / n:.10f}') * 2**31) / 2**31:.11f}"


class Context(NamedTuple):
    """Holds the inputs of a Service port's rules beside its facts and the choice of endpoints."""

    detector: Detector | None
    masqueradeAll: bool
    comments: bool  # on per-endpoint rules
    primary: str


class _Backend(NamedTuple):
    """Describes an endpoint with its chain. ``note`` and ``jump_note`` are comments, or ""."""

    endpoint: EndpointFacts
    chain: str
    note: str
    jump_note: str
    origin: ObjectRef | None


def _backend(port: ServicePortFacts, endpoint: EndpointFacts, comments: bool, origins: Origins) -> _Backend:
    chain = f"KUBE-SEP-{hash_of(port.name + port.protocol.lower() + endpoint.address)}"
    origin = origins.endpoint(endpoint.ip, endpoint.port)
    if not comments:
        return _Backend(endpoint, chain, "", "", origin)
    return _Backend(endpoint, chain, port.name, f"{port.name} -> {endpoint.address}", origin)


def _policy_chain(
    chain: str, port: ServicePortFacts, backends: Sequence[_Backend], origins: Origins
) -> Iterator[Rule]:
    """Yields the rules of ``chain``, which picks one of ``backends``: the one that the client had before, or
    any with the same chance.
    """
    if port.affinitySeconds:
        for backend in backends:
            recent = Match(
                after=f"-m recent --rcheck --seconds {port.affinitySeconds} --reap --name {backend.chain} "
                f"--mask {backend.endpoint.ip.family.mask} --rsource"
            )
            origin = origins.of(AFFINITY)
            yield Rule("nat", chain, recent, backend.chain, backend.jump_note, origin=origin)
    for left, backend in zip(range(len(backends), 0, -1), backends, strict=True):
        chance = f"-m statistic --mode random --probability {probability(left)}" if left > 1 else ""
        match, note = Match(after=chance), backend.jump_note
        yield Rule("nat", chain, match, backend.chain, note, origin=backend.origin)


def _endpoint_chain(port: ServicePortFacts, backend: _Backend) -> Iterator[Rule]:
    """Yields the rules of one endpoint. A Pod that reaches itself (hairpin) is masqueraded, or it would
    answer itself past the node.
    """
    endpoint, chain, note, _, origin = backend
    protocol = port.protocol.lower()
    itself = Match(f"-s {host_prefix(endpoint.ip)}", hosts=(endpoint.ip,))
    yield Rule("nat", chain, itself, "KUBE-MARK-MASQ", note, origin=origin)
    mask = endpoint.ip.family.mask
    recent = f"-m recent --set --name {chain} --mask {mask} --rsource " if port.affinitySeconds else ""
    match = Match(f"-p {protocol}", f"{recent}-m {protocol}")
    yield Rule("nat", chain, match, "DNAT", note, f"--to-destination {endpoint.address}", origin)


class _Entry(NamedTuple):
    """Describes a Service port as one node has it: its chains, and the targets of its addresses."""

    port: ServicePortFacts
    svc: str  # picks an endpoint of the Cluster list
    svl: str  # picks an endpoint of the Local list
    ext: str  # traffic to an external address
    fw: str  # traffic to a load-balancer address with source ranges
    usable: bool  # there is an endpoint somewhere
    # the one of svc and svl that the ClusterIP's traffic policy asks for; "" if it has no endpoint
    internal: str
    external: str  # the same for external addresses
    firewalled: bool
    origins: Origins


def _entry(port: ServicePortFacts, choice: EndpointChoice, origins: Origins) -> _Entry:
    key = hash_of(port.name + port.protocol.lower())
    svc, svl = f"KUBE-SVC-{key}", f"KUBE-SVL-{key}"
    anywhere, here = svc if choice.hasAny else "", svl if choice.local else ""
    return _Entry(
        port=port,
        svc=svc,
        svl=svl,
        ext=f"KUBE-EXT-{key}",
        fw=f"KUBE-FW-{key}",
        usable=choice.hasAny,
        internal=here if port.internalLocal else anywhere,
        external=here if port.externalLocal else anywhere,
        firewalled=bool(choice.hasAny and port.loadBalancerVIPs and port.sourceRanges),
        origins=origins,
    )


def _to(port: ServicePortFacts, ip: str) -> Match:
    """Returns the match for what is dialled at ``ip``."""
    return _dialled(port, port.port, f"-d {host_prefix(ip)} ", (ip,))


def _dialled(
    port: ServicePortFacts, number: int, destination: str = "", hosts: tuple[str, ...] = (), more: str = ""
) -> Match:
    protocol = port.protocol.lower()
    return Match(f"{destination}-p {protocol}", f"{more}-m {protocol} --dport {number}", hosts)


def _entry_rules(entry: _Entry) -> Iterator[Rule]:
    """Yields the rules that lead from each address of a Service port to its chains, or refuse if the traffic
    policy has no endpoint.
    """
    port, name, why = entry.port, entry.port.name, entry.origins.of
    match = _to(port, port.clusterIP)
    if entry.internal:
        note = f"{name} cluster IP"
        yield Rule("nat", "KUBE-SERVICES", match, entry.internal, note, origin=why(CLUSTER_IPS))
    else:
        origin = why(INTERNAL_POLICY if entry.usable else CLUSTER_IPS)
        yield Rule("filter", "KUBE-SERVICES", match, *_Refusal.of(entry), origin)
    if entry.usable and port.external:
        yield from _external_entries(entry)
    if not entry.external and port.external:
        yield from _external_refusals(entry)
    if port.healthCheckNodePort:
        match, note = (
            Match("-p tcp", f"-m tcp --dport {port.healthCheckNodePort}"),
            f"{name} health check node port",
        )
        yield Rule("filter", "KUBE-NODEPORTS", match, "ACCEPT", note, origin=why(HEALTH_CHECK))


class _Refusal(NamedTuple):
    """Describes the end of a rule that refuses every packet."""

    target: str
    comment: str
    options: str

    @classmethod
    def of(cls, entry: _Entry) -> _Refusal:
        name = entry.port.name
        if entry.usable:
            return cls("DROP", f"{name} has no local endpoints", "")
        return cls(
            "REJECT", f"{name} has no endpoints", f"--reject-with {entry.port.clusterIP.family.reject_port}"
        )


def _external_entries(entry: _Entry) -> Iterator[Rule]:
    port, name, why = entry.port, entry.port.name, entry.origins.of
    for ip in port.externalIPs:
        note = f"{name} external IP"
        yield Rule("nat", "KUBE-SERVICES", _to(port, ip), entry.ext, note, origin=why(EXTERNAL_IPS))
    for ip in port.loadBalancerVIPs:
        target, field = (entry.fw, SOURCE_RANGES) if entry.firewalled else (entry.ext, BALANCER_IPS)
        note = f"{name} loadbalancer IP"
        yield Rule("nat", "KUBE-SERVICES", _to(port, ip), target, note, origin=why(field))
        if entry.firewalled:
            note = f"{name} traffic not accepted by {entry.fw}"
            yield Rule("filter", "KUBE-PROXY-FIREWALL", _to(port, ip), "DROP", note, origin=why(field))
    if port.nodePort:
        match = _dialled(port, port.nodePort)
        yield Rule("nat", "KUBE-NODEPORTS", match, entry.ext, name, origin=why(NODE_PORT))


def _external_refusals(entry: _Entry) -> Iterator[Rule]:
    port, refusal, why = entry.port, _Refusal.of(entry), entry.origins.of
    policy = EXTERNAL_POLICY if entry.usable else ""
    chain = "KUBE-EXTERNAL-SERVICES"
    for ips, field in ((port.externalIPs, EXTERNAL_IPS), (port.loadBalancerVIPs, BALANCER_IPS)):
        for ip in ips:
            yield Rule("filter", chain, _to(port, ip), *refusal, why(policy or field))
    if port.nodePort:
        match = _dialled(port, port.nodePort, more="-m addrtype --dst-type LOCAL ")
        yield Rule("filter", chain, match, *refusal, why(policy or NODE_PORT))


def _masquerading(entry: _Entry, context: Context) -> Iterator[Rule]:
    """Yields the rule for the clients that are masqueraded when they dial the ClusterIP."""
    port, note = entry.port, f"{entry.port.name} cluster IP"
    destination = f"-d {host_prefix(port.clusterIP)}"
    if context.masqueradeAll:
        source = destination
    elif context.detector:
        source = stranger(context.detector, destination)
    else:
        return
    match = _dialled(port, port.port, f"{source} ", (port.clusterIP,))
    origin = entry.origins.of(CLUSTER_IPS)
    yield Rule("nat", entry.internal, match, "KUBE-MARK-MASQ", note, origin=origin)


def _external_chain(entry: _Entry, detector: Detector | None) -> Iterator[Rule]:
    """Yields the rules for traffic to an external address."""
    goal = f"{entry.port.name} external destinations"
    rules: list[tuple[Match, str, str]] = []
    if not entry.port.externalLocal:
        rules.append((_ANY, "KUBE-MARK-MASQ", f"masquerade traffic for {goal}"))
    else:
        if detector:
            rules.append((Match(_local(detector)), entry.svc, f"pod traffic for {goal}"))
        from_node = Match(after="-m addrtype --src-type LOCAL")
        rules.append((from_node, "KUBE-MARK-MASQ", f"masquerade LOCAL traffic for {goal}"))
        rules.append((from_node, entry.svc, f"route LOCAL traffic for {goal}"))
    if entry.external:
        rules.append((_ANY, entry.external, ""))
    origin = entry.origins.of(EXTERNAL_POLICY)
    for match, target, note in rules:
        yield Rule("nat", entry.ext, match, target, note, origin=origin)


def _firewall_chain(entry: _Entry, primary: str) -> Iterator[Rule]:
    """Yields the rules for the sources that may reach a load-balancer address: the source ranges, and the
    Service's own addresses if the node is in a range (the node's traffic to a local load-balancer address has
    that address as its source).
    """
    port, chain, target = entry.port, entry.fw, entry.ext
    note, origin = f"{port.name} loadbalancer IP", entry.origins.of(SOURCE_RANGES)
    for allowed in port.sourceRanges:
        source = f"-s {allowed}" if allowed.length else ""
        yield Rule("nat", chain, Match(source), target, note, origin=origin)
    if primary and any(primary in prefix for prefix in port.sourceRanges):
        for vip in port.loadBalancerVIPs:
            match = Match(f"-s {host_prefix(vip)}", hosts=(vip,))
            yield Rule("nat", chain, match, target, note, origin=origin)
    note = f"other traffic to {port.name} will be dropped by KUBE-PROXY-FIREWALL"
    yield Rule("nat", chain, _ANY, "", note, origin=origin)


def port_rules(
    port: ServicePortFacts, choice: EndpointChoice, context: Context, origins: Origins = UNASKED
) -> Iterator[Rule]:
    """Yields all rules of one Service port in the tables of one node."""
    entry = _entry(port, choice, origins)
    yield from _entry_rules(entry)
    if entry.internal:
        yield from _masquerading(entry, context)
    if entry.usable and port.external:
        yield from _external_chain(entry, context.detector)
    if entry.firewalled:
        yield from _firewall_chain(entry, context.primary)
    backends = {e.address: _backend(port, e, context.comments, origins) for e in choice.reachable}
    for chain, endpoints in ((entry.svc, choice.cluster), (entry.svl, choice.local)):
        yield from _policy_chain(chain, port, [backends[e.address] for e in endpoints], origins)
    for backend in backends.values():
        yield from _endpoint_chain(port, backend)


# --- one node -----------------------------------------------------------------------------------------------


def _localnet_guard(settings: ProxySettings, family: Family) -> Iterator[Rule]:
    """Yields the rule that protects listeners on 127.0.0.1 from the node's neighbours, which
    ``route_localnet`` would let in (CVE-2020-8558).
    """
    if serves_localhost(settings, family):
        state, own = "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT", loopback(family)
        match = Match(f"! -s {own} -d {own}", state)
        yield Rule("filter", "KUBE-FIREWALL", match, "DROP", "block incoming localnet connections")


class Place(NamedTuple):
    """Holds a node, and the inputs of Service ports' rules there: without source ranges, and with them."""

    node: Node
    context: Context
    ranged: Context

    def rules_of(self, ports: Sequence[ServicePortFacts], origins: Origins = UNASKED) -> list[Rule]:
        """Returns the rules of ``ports``, each with the endpoints that this node may use."""
        return [
            rule
            for port in ports
            for rule in port_rules(port, choose(port, self.node), self.context_of(port), origins)
        ]

    def context_of(self, port: ServicePortFacts) -> Context:
        """Returns the inputs of the rules of ``port``."""
        return self.ranged if port.sourceRanges else self.context


def place_of(state: ClusterState, node: Node, comments: bool) -> Place:
    """Returns the inputs of rules at ``node``; ``comments``: per-endpoint rules have them."""
    context = Context(_detector(state, node.name), state.proxy.masqueradeAll, comments, "")
    # rules depend on the node's address only with source ranges
    return Place(node, context, context._replace(primary=primary_ip(node, state.family)))


def by_chain(rules: Iterable[Rule]) -> dict[str, dict[str, list[Rule]]]:
    """Returns table → chain → rules."""
    tables: dict[str, dict[str, list[Rule]]] = {}
    for rule in rules:
        tables.setdefault(rule.table, {}).setdefault(rule.chain, []).append(rule)
    return tables


def node_rules(state: ClusterState, name: str) -> RuleSet:
    """Returns the rules of one node, one Service port after the other.

    Raises ``UnsafeTextError`` for a value that does not fit its type, and :class:`UsageError` for a detector
    that covers everything.
    """
    return RuleSet.of(_node_rules(state, name, asked=False), CHAINS)


def explain(state: ClusterState, name: str) -> Iterator[Explained]:
    """Yields the rules of one node, each with its origin."""
    for rule in _node_rules(state, name, asked=True):
        yield explained(rule)


def _node_rules(state: ClusterState, name: str, *, asked: bool) -> Iterator[Rule]:
    services = [
        (ports_of(service, slices, state.family), ServiceOrigins(service.key, slices) if asked else UNASKED)
        for service, slices in services_with_slices(state)
    ]
    endpoints = sum(len(port.endpoints) for ports, _ in services for port in ports)
    place = place_of(state, state.node[name], comments=endpoints <= LARGE_CLUSTER)
    yield from frame(state.proxy, state.family)
    for ports, origins in services:
        yield from place.rules_of(ports, origins)
    yield from node_port_tail(state, name)


def plan_localhost(state: ClusterState) -> Iterator[Operation]:
    """Yields the sysctl that node ports on the loopback address need on each node."""
    if serves_localhost(state.proxy, state.family):
        why = f"node ports answer on {state.family.localhost} too (iptables.localhostNodePorts)"
        for node in state.nodes:
            yield SetSysctl(netns=node.name, key=state.family.route_localnet, value="1", why=why)
