"""kube-proxy's iptables mode: one node's rules, as kube-proxy v1.30.5 writes them
(pkg/proxy/iptables/proxier.go).

Chains, names, marks, comments and their order are the real ones; rules are spelled as ``iptables-save``
prints them. The order of chains such as KUBE-SERVICES, which means nothing to kube-proxy, is that of the
objects here. Imports the cluster state, the choice of endpoints and ``plan.rules``. Invariant: the rules
depend on the objects, the proxy's settings and the node alone.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from typing import NamedTuple

from emulator.cluster.state import ClusterState, ProxySettings
from emulator.errors import UsageError
from emulator.net import Prefix, host_prefix
from emulator.objects.kinds import Node
from emulator.plan.operations import Operation, SetSysctl
from emulator.plan.rules import RuleSet, comment
from emulator.proxy.endpoints import (
    EndpointChoice,
    EndpointFacts,
    ServicePortFacts,
    choose,
    service_ports,
)
from emulator.proxy.local import (
    EVERYTHING,
    LOCALHOST,
    LOOPBACK,
    Detector,
    detector_of,
    local_addresses,
    node_port_prefixes,
    primary_ip,
)

MARK = "0x4000/0x4000"  # masqueradeBit 14
LARGE_CLUSTER = 1000  # with more endpoints than this kube-proxy leaves the comments of per-endpoint rules out

Rule = tuple[str, str, str]  # table, chain, the rule without "-A CHAIN"

_NEW = "-m conntrack --ctstate NEW"


def _jump(chain: str, why: str = "", match: str = "") -> str:
    return " ".join(part for part in (match, comment(why) if why else "", f"-j {chain}") if part)


def frame(settings: ProxySettings) -> Iterator[Rule]:
    """Yields the rules that every node has, whatever the Services are. kube-proxy puts each jump in front of
    the one before it.
    """
    firewall = _jump("KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall", _NEW)
    portals = _jump("KUBE-SERVICES", "kubernetes service portals", _NEW)
    external = _jump("KUBE-EXTERNAL-SERVICES", "kubernetes externally-visible service portals", _NEW)
    health_checks = _jump("KUBE-NODEPORTS", "kubernetes health check service ports")
    forwarding = _jump("KUBE-FORWARD", "kubernetes forwarding rules")
    established = comment("kubernetes forwarding conntrack rule")
    jumps = {
        "INPUT": (_jump("KUBE-FIREWALL"), firewall, health_checks, external),
        "FORWARD": (firewall, forwarding, portals, external),
        "OUTPUT": (_jump("KUBE-FIREWALL"), firewall, portals),
        "KUBE-FORWARD": (
            "-m conntrack --ctstate INVALID -j DROP",
            f"{comment('kubernetes forwarding rules')} -m mark --mark {MARK} -j ACCEPT",
            f"{established} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ),
    }
    for chain, rules in jumps.items():
        for rule in rules:
            yield "filter", chain, rule
    for chain in ("PREROUTING", "OUTPUT"):
        yield "nat", chain, _jump("KUBE-SERVICES", "kubernetes service portals")
    yield "nat", "POSTROUTING", _jump("KUBE-POSTROUTING", "kubernetes postrouting rules")
    yield "nat", "KUBE-MARK-MASQ", f"-j MARK --set-xmark {MARK}"
    yield "nat", "KUBE-POSTROUTING", f"-m mark ! --mark {MARK} -j RETURN"
    # The mark is taken off, so that a packet that passes the stack again (a tunnel) is not masqueraded twice.
    yield "nat", "KUBE-POSTROUTING", "-j MARK --set-xmark 0x4000/0x0"
    yield (
        "nat",
        "KUBE-POSTROUTING",
        f"{comment('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully",
    )
    yield from _localnet_guard(settings)


# Chains that are there even when nothing is in them.
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
    """The match for what is local."""
    if detector.source:
        return f"-s {detector.source}"
    return f"-i {detector.interface or detector.prefix + '+'}"


def stranger(detector: Detector, destination: str) -> str:
    """The match for everything else that goes to ``destination``."""
    return f"! {_local(detector)} {destination}" if detector.source else f"{destination} ! {_local(detector)}"


def _detector(state: ClusterState, node: str) -> Detector | None:
    detector = detector_of(state, node)
    if detector and detector.source == str(EVERYTHING):
        raise UsageError(
            f"{state.proxy.localMode} {EVERYTHING} calls every address local, which iptables cannot invert: name the Pods' prefix"
        )
    return detector


# --- node ports ---------------------------------------------------------------------------------------------


def serves_localhost(settings: ProxySettings) -> bool:
    """Whether node ports answer on 127.0.0.1, for which the node needs
    ``net.ipv4.conf.all.route_localnet=1``.
    """
    some_node = "192.0.2.1"  # any will do: a primary address is never a loopback one
    return settings.localhostNodePorts and any(
        p.overlaps(LOOPBACK) for p in node_port_prefixes(settings.nodePortAddresses, some_node)
    )


def node_port_tail(state: ClusterState, node: str) -> Iterator[Rule]:
    """The last rules of KUBE-SERVICES: which addresses of the node carry node ports."""
    prefixes = node_port_prefixes(state.proxy.nodePortAddresses, primary_ip(state.node[node]))
    localhost = serves_localhost(state.proxy)
    note = comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain")
    if EVERYTHING in prefixes:
        loopback = "" if localhost else f"! -d {LOOPBACK} "
        yield "nat", "KUBE-SERVICES", f"{loopback}{note} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
        return
    for ip in (*([LOCALHOST] if localhost else []), *local_addresses(state, node)):
        if any(ip in prefix for prefix in prefixes):
            yield "nat", "KUBE-SERVICES", f"-d {host_prefix(ip)} {note} -j KUBE-NODEPORTS"


# --- one Service port ---------------------------------------------------------------------------------------


def hash_of(text: str) -> str:
    """Chain names must stay under 29 characters: the first 16 of the hash's base32, as kube-proxy takes them,
    which is ten bytes of it.
    """
    return b32encode(sha256(text.encode()).digest()[:10]).decode()


@cache
def probability(n: int) -> str:
    """One in ``n``, as the kernel keeps it (xt_statistic: 31 bits of fraction) of what kube-proxy writes (ten
    digits).
    """
    return f"{round(float(f'{1 / n:.10f}') * 2**31) / 2**31:.11f}"


class Context(NamedTuple):
    """What the rules of a Service port depend on besides its facts and the choice of endpoints."""

    detector: Detector | None
    masqueradeAll: bool
    comments: bool  # on per-endpoint rules
    primary: str


class _Backend(NamedTuple):
    """An endpoint with the chain that leads to it. ``note`` and ``jump_note`` are comments with a blank after
    them, or "".
    """

    endpoint: EndpointFacts
    chain: str
    note: str
    jump_note: str


def _backend(port: ServicePortFacts, endpoint: EndpointFacts, comments: bool) -> _Backend:
    chain = f"KUBE-SEP-{hash_of(port.name + port.protocol.lower() + endpoint.address)}"
    if not comments:
        return _Backend(endpoint, chain, "", "")
    return _Backend(
        endpoint, chain, comment(port.name) + " ", comment(f"{port.name} -> {endpoint.address}") + " "
    )


def _policy_chain(chain: str, port: ServicePortFacts, backends: Sequence[_Backend]) -> Iterator[Rule]:
    """``chain`` picks one of ``backends``: the one that the client had before, or any with the same chance."""
    if port.affinitySeconds:
        for backend in backends:
            recent = f"-m recent --rcheck --seconds {port.affinitySeconds} --reap --name {backend.chain} --mask 255.255.255.255 --rsource"
            yield "nat", chain, f"{backend.jump_note}{recent} -j {backend.chain}"
    for left, backend in zip(range(len(backends), 0, -1), backends, strict=True):
        chance = f"-m statistic --mode random --probability {probability(left)} " if left > 1 else ""
        yield "nat", chain, f"{backend.jump_note}{chance}-j {backend.chain}"


def _endpoint_chain(port: ServicePortFacts, backend: _Backend) -> Iterator[Rule]:
    """The way to one endpoint; a Pod that meets itself is masqueraded, or it would answer itself past the
    node.
    """
    endpoint, chain, note, _ = backend
    protocol = port.protocol.lower()
    yield "nat", chain, f"-s {host_prefix(endpoint.ip)} {note}-j KUBE-MARK-MASQ"
    recent = (
        f"-m recent --set --name {chain} --mask 255.255.255.255 --rsource " if port.affinitySeconds else ""
    )
    yield (
        "nat",
        chain,
        f"-p {protocol} {note}{recent}-m {protocol} -j DNAT --to-destination {endpoint.address}",
    )


class _Entry(NamedTuple):
    """A Service port as one node has it: its chains, and where its addresses lead."""

    port: ServicePortFacts
    svc: str  # picks one of the Cluster list
    svl: str  # picks one of the Local list
    ext: str  # what comes to an external address
    fw: str  # what comes to a load-balancer address with source ranges
    usable: bool  # whether there is an endpoint anywhere
    # the one of svc and svl that the ClusterIP's traffic policy asks for; "" if it has no endpoint
    internal: str
    external: str  # the same for external addresses
    firewalled: bool


def _entry(port: ServicePortFacts, choice: EndpointChoice) -> _Entry:
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
    )


def _to(port: ServicePortFacts, ip: str, note: str, target: str) -> str:
    protocol = port.protocol.lower()
    return f"-d {host_prefix(ip)} -p {protocol} {note} -m {protocol} --dport {port.port} {target}"


def _entry_rules(entry: _Entry) -> Iterator[Rule]:
    """What leads to the chains of a Service port by each of its addresses, or refuses where the traffic
    policy has no endpoint.
    """
    port, name = entry.port, entry.port.name
    verdict = "-j DROP" if entry.usable else "-j REJECT --reject-with icmp-port-unreachable"
    refusal = comment(f"{name} has no {'local ' if entry.usable else ''}endpoints")
    if entry.internal:
        yield (
            "nat",
            "KUBE-SERVICES",
            _to(port, port.clusterIP, comment(f"{name} cluster IP"), f"-j {entry.internal}"),
        )
    else:
        yield "filter", "KUBE-SERVICES", _to(port, port.clusterIP, refusal, verdict)
    if entry.usable and port.external:
        yield from _external_entries(entry)
    if not entry.external and port.external:
        yield from _external_refusals(port, refusal, verdict)
    if port.healthCheckNodePort:
        note = comment(f"{name} health check node port")
        yield "filter", "KUBE-NODEPORTS", f"-p tcp {note} -m tcp --dport {port.healthCheckNodePort} -j ACCEPT"


def _external_entries(entry: _Entry) -> Iterator[Rule]:
    port, name = entry.port, entry.port.name
    for ip in port.externalIPs:
        yield "nat", "KUBE-SERVICES", _to(port, ip, comment(f"{name} external IP"), f"-j {entry.ext}")
    for ip in port.loadBalancerVIPs:
        target = entry.fw if entry.firewalled else entry.ext
        yield "nat", "KUBE-SERVICES", _to(port, ip, comment(f"{name} loadbalancer IP"), f"-j {target}")
        if entry.firewalled:
            yield (
                "filter",
                "KUBE-PROXY-FIREWALL",
                _to(port, ip, comment(f"{name} traffic not accepted by {entry.fw}"), "-j DROP"),
            )
    if port.nodePort:
        protocol = port.protocol.lower()
        yield (
            "nat",
            "KUBE-NODEPORTS",
            f"-p {protocol} {comment(name)} -m {protocol} --dport {port.nodePort} -j {entry.ext}",
        )


def _external_refusals(port: ServicePortFacts, refusal: str, verdict: str) -> Iterator[Rule]:
    for ip in (*port.externalIPs, *port.loadBalancerVIPs):
        yield "filter", "KUBE-EXTERNAL-SERVICES", _to(port, ip, refusal, verdict)
    if port.nodePort:
        protocol = port.protocol.lower()
        tail = f"-m {protocol} --dport {port.nodePort} {verdict}"
        yield (
            "filter",
            "KUBE-EXTERNAL-SERVICES",
            f"-p {protocol} {refusal} -m addrtype --dst-type LOCAL {tail}",
        )


def _masquerading(entry: _Entry, context: Context) -> Iterator[Rule]:
    """Who is masqueraded that dials the ClusterIP."""
    port = entry.port
    rule = _to(port, port.clusterIP, comment(f"{port.name} cluster IP"), "-j KUBE-MARK-MASQ")
    if context.masqueradeAll:
        yield "nat", entry.internal, rule
    elif context.detector:
        destination = f"-d {host_prefix(port.clusterIP)}"
        yield "nat", entry.internal, stranger(context.detector, destination) + rule[len(destination) :]


def _external_chain(entry: _Entry, detector: Detector | None) -> Iterator[Rule]:
    """What traffic to an external address goes through."""
    chain, goal = entry.ext, f"{entry.port.name} external destinations"
    if not entry.port.externalLocal:
        yield "nat", chain, f"{comment(f'masquerade traffic for {goal}')} -j KUBE-MARK-MASQ"
    else:
        if detector:
            yield "nat", chain, f"{_local(detector)} {comment(f'pod traffic for {goal}')} -j {entry.svc}"
        from_node = "-m addrtype --src-type LOCAL"
        yield "nat", chain, f"{comment(f'masquerade LOCAL traffic for {goal}')} {from_node} -j KUBE-MARK-MASQ"
        yield "nat", chain, f"{comment(f'route LOCAL traffic for {goal}')} {from_node} -j {entry.svc}"
    if entry.external:
        yield "nat", chain, f"-j {entry.external}"


def _firewall_chain(entry: _Entry, primary: str) -> Iterator[Rule]:
    """Who may come to a load-balancer address: the source ranges, and the Service's own addresses where the
    node is in a range (the node's traffic to a local load-balancer address has that address as its source).
    """
    port, chain, target = entry.port, entry.fw, entry.ext
    note = comment(f"{port.name} loadbalancer IP")
    for allowed in port.sourceRanges:
        source = "" if allowed == str(EVERYTHING) else f"-s {allowed} "
        yield "nat", chain, f"{source}{note} -j {target}"
    if primary and any(primary in Prefix(text) for text in port.sourceRanges):
        for vip in port.loadBalancerVIPs:
            yield "nat", chain, f"-s {host_prefix(vip)} {note} -j {target}"
    yield "nat", chain, comment(f"other traffic to {port.name} will be dropped by KUBE-PROXY-FIREWALL")


def port_rules(port: ServicePortFacts, choice: EndpointChoice, context: Context) -> Iterator[Rule]:
    """Everything that one Service port puts into the tables of one node."""
    entry = _entry(port, choice)
    yield from _entry_rules(entry)
    if entry.internal:
        yield from _masquerading(entry, context)
    if entry.usable and port.external:
        yield from _external_chain(entry, context.detector)
    if entry.firewalled:
        yield from _firewall_chain(entry, context.primary)
    backends = {e.address: _backend(port, e, context.comments) for e in choice.reachable}
    for chain, endpoints in ((entry.svc, choice.cluster), (entry.svl, choice.local)):
        yield from _policy_chain(chain, port, [backends[e.address] for e in endpoints])
    for backend in backends.values():
        yield from _endpoint_chain(port, backend)


# --- one node -----------------------------------------------------------------------------------------------


def _localnet_guard(settings: ProxySettings) -> Iterator[Rule]:
    """``route_localnet`` would let the neighbours of a node in to what listens on its 127.0.0.1
    (CVE-2020-8558).
    """
    if serves_localhost(settings):
        note = comment("block incoming localnet connections")
        state = "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT"
        yield "filter", "KUBE-FIREWALL", f"! -s {LOOPBACK} -d {LOOPBACK} {note} {state} -j DROP"


class Place(NamedTuple):
    """A node, and what the rules of Service ports depend on there: without source ranges, and with them."""

    node: Node
    context: Context
    ranged: Context

    def rules_of(self, ports: Sequence[ServicePortFacts]) -> list[Rule]:
        """Returns the rules of ``ports``, each with the endpoints that this node may use."""
        return [
            rule
            for port in ports
            for rule in port_rules(port, choose(port, self.node), self.context_of(port))
        ]

    def context_of(self, port: ServicePortFacts) -> Context:
        """Returns what the rules of ``port`` depend on."""
        return self.ranged if port.sourceRanges else self.context


def place_of(state: ClusterState, node: Node, comments: bool) -> Place:
    """Returns what rules depend on at ``node``; ``comments``: per-endpoint rules have them."""
    context = Context(_detector(state, node.name), state.proxy.masqueradeAll, comments, "")
    # only source ranges tell one node's address from another's
    return Place(node, context, context._replace(primary=primary_ip(node)))


def by_chain(rules: Iterable[Rule]) -> dict[str, dict[str, list[str]]]:
    """Table → chain → rules."""
    tables: dict[str, dict[str, list[str]]] = {}
    for table, chain, rule in rules:
        tables.setdefault(table, {}).setdefault(chain, []).append(rule)
    return tables


def node_rules(state: ClusterState, name: str) -> RuleSet:
    """Returns the rules of one node, one Service port after the other.

    Raises ``UnsafeTextError`` for a value that is not what its type says, and :class:`UsageError` for a
    detector that covers everything.
    """
    ports = service_ports(state)
    place = place_of(state, state.node[name], comments=sum(len(p.endpoints) for p in ports) <= LARGE_CLUSTER)
    rules = [*frame(state.proxy), *place.rules_of(ports), *node_port_tail(state, name)]
    tables = by_chain(rules)
    return RuleSet(
        {
            table: {
                chain: tuple(tables.get(table, {}).get(chain, ()))
                for chain in dict.fromkeys((*chains, *tables.get(table, {})))
            }
            for table, chains in CHAINS.items()
        }
    )


def plan_localhost(nodes: Iterable[str], settings: ProxySettings) -> Iterator[Operation]:
    """Yields the sysctl that node ports on 127.0.0.1 need on each of ``nodes``."""
    if serves_localhost(settings):
        why = "node ports answer on 127.0.0.1 too (iptables.localhostNodePorts)"
        for node in nodes:
            yield SetSysctl(netns=node, key="net.ipv4.conf.all.route_localnet", value="1", why=why)
