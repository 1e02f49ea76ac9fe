"""Makes one node's table ``kube-proxy`` of kube-proxy's nftables mode.

Behaviour, maps, marks and the names of sets and of per-Service chains are those of kube-proxy v1.30.5
(pkg/proxy/nftables/proxier.go). Hooks and their priorities are those of later releases, which look for
Services without endpoints after the translation. (v1.30.5 did so before, and dropped a node's own packets to
an address whose Local list is empty there.) As in them, packets to an address of the Service CIDR that no
Service has are dropped.

The layout differs where the real one is slow to load. The real one gives every Service and every endpoint a
chain. Here all Services with the same traffic policy and as many endpoints share one, which looks the
endpoint up by address, protocol, port and a random number. Only session affinity and source ranges need
chains of a Service's own. Hairpins are matched by a set of endpoints, not in the endpoint's chain.

Invariants: the text depends on the objects, the proxy's settings and the node alone; loading it twice has the
same effect as loading it once.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import NamedTuple

from ..cluster.state import ClusterState
from ..net import Address, Prefix, collapse_prefixes, host_prefix, loopback
from ..objects.kinds import Node
from ..objects.releases import CURRENT, RELEASES, Release
from ..plan.checked import identifier, quoted
from ..plan.nft import NftChain, NftTable
from ..plan.origins import (
    AFFINITY,
    BALANCER_IPS,
    CLUSTER_IPS,
    EXTERNAL_IPS,
    EXTERNAL_POLICY,
    INTERNAL_POLICY,
    NODE_PORT,
    SOURCE_RANGES,
    Explained,
    ServiceOrigins,
)
from ..plan.rules import RuleSet
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
from .nfttable import BY_NODE_PORT, CHAINS, Parts, Words, make_table, words_of

MARK = "meta mark set meta mark | 0x4000"  # masqueradeBit 14
COMMENT_LENGTH = 128  # the longest that nft takes (libnftnl's NFTNL_UDATA_COMMENT_MAXLEN)
_NEW = "ct state new jump"


def frame(service_cidr: Prefix, release: Release = RELEASES[CURRENT]) -> dict[str, NftChain]:
    """Returns the chains that every node has, whatever the Services are.

    Source ranges apply to the dialled address, so they are checked before translation. Hooks after it only
    see packets that nothing translated.
    """
    words = words_of(service_cidr.family)
    source, destination = words.source, words.destination
    drop = f'{destination} {service_cidr} drop comment "no Service has this address"'
    unowned = [drop] if release.drops_unowned else []
    checks = f"{_NEW} service-endpoints-check", f"{_NEW} cluster-ips-check"
    return {
        "filter-prerouting-pre-dnat": _base(
            "filter hook prerouting priority dstnat - 10", f"{_NEW} firewall-check"
        ),
        "filter-output-pre-dnat": _base("filter hook output priority -110", f"{_NEW} firewall-check"),
        "filter-input": _base(
            "filter hook input priority filter",
            f"{_NEW} nodeport-endpoints-check",
            f"{_NEW} service-endpoints-check",
        ),
        "filter-forward": _base("filter hook forward priority filter", *checks),
        "filter-output": _base("filter hook output priority filter", *checks),
        "nat-prerouting": _base("nat hook prerouting priority dstnat", "jump services"),
        "nat-output": _base("nat hook output priority -100", "jump services"),
        "nat-postrouting": _base("nat hook postrouting priority srcnat", "jump masquerading"),
        "nodeport-endpoints-check": _chain(
            f"{destination} @nodeport-ips {BY_NODE_PORT} vmap @no-endpoint-nodeports"
        ),
        "service-endpoints-check": _chain(f"{words.by_address} vmap @no-endpoint-services"),
        "firewall-check": _chain(f"{words.by_address} vmap @firewall-ips"),
        "cluster-ips-check": _chain(
            f'{destination} @cluster-ips reject comment "a port that this Service does not have"',
            *unowned,
        ),
        "reject-chain": _chain("reject"),
        "services": _chain(
            f"{words.by_address} vmap @service-ips",
            f"{destination} @nodeport-ips {BY_NODE_PORT} vmap @service-nodeports",
        ),
        # The mark is cleared, so that a packet that passes the stack again (a tunnel) is not masqueraded
        # twice.
        "masquerading": _chain(
            f"ct status dnat {source} . {destination} @hairpin-connections {MARK}",
            "meta mark & 0x4000 == 0 return",
            "meta mark set meta mark ^ 0x4000",
            "masquerade fully-random",
        ),
    }


def _chain(*rules: str) -> NftChain:
    return NftChain(rules)


def _base(hook: str, *rules: str) -> NftChain:
    return NftChain(rules, f"type {hook}; policy accept;")


# --- who is local -------------------------------------------------------------------------------------------


def _match(words: Words, detector: Detector, operator: str = "") -> str:
    """Returns the match for local traffic. The node's own packets have no input interface, whose name is then
    empty: they are not local.
    """
    if detector.source:
        return f"{words.source} {operator}{detector.source}"
    name = detector.interface or f"{detector.prefix}*"
    return f'iifname {operator}"{name}"'


def node_port_ips(state: ClusterState, node: str) -> Iterator[Address]:
    """Yields the addresses that serve node ports: the primary one unless ``nodePortAddresses`` is set, never
    a loopback one.
    """
    family = state.family
    words = state.proxy.nodePortAddresses or ("primary",)
    prefixes = node_port_prefixes(words, primary_ip(state.node[node], family), family)
    for ip in local_addresses(state, node):
        if ip not in loopback(family) and any(ip in prefix for prefix in prefixes):
            yield ip


# --- one Service --------------------------------------------------------------------------------------------


class Context(NamedTuple):
    """Holds the inputs of a Service's part beside its facts and the choice of endpoints."""

    local: str  # matches packets of this node's Pods; "" if unknown
    masquerade: tuple[str, ...]  # statements for other clients that dial a ClusterIP
    primary: str  # the node's address if source ranges need it, else ""


class _Way(NamedTuple):
    """Describes the statement that leads to an endpoint, and the map that it reads, if any."""

    statement: str
    map: str = ""


@cache
def _pick(words: Words, count: int, endpoints: str, key: str) -> _Way:
    """Returns the way to one of ``count`` endpoints of the map ``endpoints``, each with the same chance."""
    return _Way(
        f"meta l4proto {{ tcp, udp, sctp }} {words.translate} {key} . numgen random mod {count} "
        f"map @{endpoints}",
        endpoints,
    )


@cache
def picking(words: Words, before: tuple[str, ...], count: int, endpoints: str) -> NftChain:
    """Returns the chain of ClusterIPs that does ``before``, and then picks one of ``count`` endpoints."""
    statement, looked_up = _pick(words, count, endpoints, words.by_address)
    return NftChain((*before, statement), maps=(looked_up,))


def _identity(text: str) -> str:
    """Returns ``text`` behind 8 characters of its hash, as kube-proxy names the chains and sets of a Service
    port.
    """
    return f"{b32encode(sha256(text.encode()).digest()).decode()[:8]}-{identifier(text)}"


def _port_id(port: ServicePortFacts) -> str:
    return f"{port.namespace}/{port.service}/{port.protocol.lower()}/{port.portName}"


def _remembered(parts: Parts, port: ServicePortFacts, kind: str, endpoints: Sequence[EndpointFacts]) -> _Way:
    """Returns the statement for session affinity: it leads to the endpoint whose set has the client, or to
    any with the same chance.
    """
    name = f"{kind}-{_identity(_port_id(port))}"
    # a name has no ":"
    ids = [_identity(f"{_port_id(port)}__{e.ip.replace(':', '.')}/{e.port}") for e in endpoints]
    choices = ", ".join(f"{i} : goto endpoint-{one}" for i, one in enumerate(ids))
    source = parts.words.source
    recall = (f"{source} @affinity-{one} goto endpoint-{one}" for one in ids)
    origin = parts.origins.of(AFFINITY)
    chain = _chain(*recall, f"numgen random mod {len(ids)} vmap {{ {choices} }}")
    parts.claim_chain(name, chain, origin)
    for one, endpoint in zip(ids, endpoints, strict=True):
        parts.affinity[f"affinity-{one}"] = port.affinitySeconds
        dnat = f"meta l4proto {port.protocol.lower()} dnat to {endpoint.address}"
        chain = _chain(f"update @affinity-{one} {{ {source} }}", dnat)
        parts.claim_chain(f"endpoint-{one}", chain, parts.origins.endpoint(endpoint.ip, endpoint.port))
    return _Way(f"goto {name}")


def _list(parts: Parts, where: str, key: str, endpoints: Sequence[EndpointFacts]) -> None:
    """Adds ``endpoints`` to the map ``where`` under ``key`` and an index."""
    find = parts.origins.endpoint
    for index, (ip, port, *_) in enumerate(endpoints):
        entry = f"{key} . {index}"
        parts.claim(where, entry, f"{entry} : {ip} . {port}", find(ip, port))


@cache
def cluster_ip_names(count: int) -> tuple[str, str]:
    """Returns the chain for ClusterIPs of ``count`` endpoints each, and its map."""
    return f"cluster-ip-{count}", f"cluster-ip-{count}-endpoints"


def _cluster_ip(
    parts: Parts, port: ServicePortFacts, choice: EndpointChoice, key: str, note: str, context: Context
) -> None:
    kind, endpoints = ("local", choice.local) if port.internalLocal else ("service", choice.cluster)
    if not endpoints:
        return
    origin = parts.origins.of(CLUSTER_IPS)
    if port.affinitySeconds:
        chain = f"cluster-ip-{_identity(_port_id(port))}"
        way = _remembered(parts, port, kind, endpoints)
        parts.claim_chain(chain, _chain(*context.masquerade, way.statement), origin)
    else:
        chain, where = cluster_ip_names(len(endpoints))
        _list(parts, where, key, endpoints)
        parts.claim_chain(chain, picking(parts.words, context.masquerade, len(endpoints), where), origin)
    parts.claim("service-ips", key, f"{key}{note} : goto {chain}", origin)


def _external(
    parts: Parts,
    port: ServicePortFacts,
    choice: EndpointChoice,
    key: str,
    note: str,
    field: str,
    context: Context,
) -> None:
    """Adds an external address. ``key``: an externalIP, a load-balancer IP, or a node port, as ``field``
    has it. Under eTP Local, Pods and the node itself may go to any endpoint.
    """
    if not choice.cluster:
        return
    node_port = field == NODE_PORT
    chain, vmap = ("nodeport", "service-nodeports") if node_port else ("external", "service-ips")
    here: _Way | None = None
    if port.affinitySeconds:
        chain += (
            f"-local-{_identity(_port_id(port))}" if port.externalLocal else f"-{_identity(_port_id(port))}"
        )
        anywhere = _remembered(parts, port, "service", choice.cluster)
        if choice.local and port.externalLocal:
            here = _remembered(parts, port, "local", choice.local)
    else:
        chain += (
            f"-local-{len(choice.cluster)}-{len(choice.local)}"
            if port.externalLocal
            else f"-{len(choice.cluster)}"
        )
        spelled = BY_NODE_PORT if node_port else parts.words.by_address
        where, where_here = f"{chain}-endpoints", f"{chain}-local-endpoints"
        _list(parts, where, key, choice.cluster)
        anywhere = _pick(parts.words, len(choice.cluster), where, spelled)
        if choice.local and port.externalLocal:
            _list(parts, where_here, key, choice.local)
            here = _pick(parts.words, len(choice.local), where_here, spelled)
    if port.externalLocal:
        short_cut = (f"{context.local} {anywhere.statement}",) if context.local else ()
        rules = (*short_cut, f"fib saddr type local {MARK} {anywhere.statement}")
    else:
        rules = (f"{MARK} {anywhere.statement}",)
    if here:
        rules += (here.statement,)
    maps = tuple([way.map for way in (anywhere, here) if way and way.map])
    parts.claim_chain(chain, NftChain(rules, maps=maps), parts.origins.of(EXTERNAL_POLICY))
    parts.claim(vmap, key, f"{key}{note} : goto {chain}", parts.origins.of(field))


def _firewall(parts: Parts, port: ServicePortFacts, keys: Iterable[str], note: str, context: Context) -> None:
    """Adds the sources that may reach a load-balancer address: the source ranges, and the Service's own
    addresses if the node is in a range (the node's traffic to a local load-balancer address has that address
    as its source).
    """
    ranges = [*port.sourceRanges]
    if context.primary and any(context.primary in prefix for prefix in ranges):
        ranges += [host_prefix(vip) for vip in port.loadBalancerVIPs]
    allowed = tuple(collapse_prefixes(ranges))
    if any(not prefix.length for prefix in allowed):
        return
    chain = f"firewall-{_identity(_port_id(port))}"
    origin = parts.origins.of(SOURCE_RANGES)
    others = f"{parts.words.source} != {{ {', '.join(map(str, allowed))} }}"
    parts.claim_chain(chain, _chain(f"{others} drop"), origin)
    for key in keys:
        parts.claim("firewall-ips", key, f"{key}{note} : goto {chain}", origin)


def _add_port(parts: Parts, port: ServicePortFacts, choice: EndpointChoice, context: Context) -> None:
    """Adds everything of one Service port to the table of one node."""
    protocol, ip, usable = port.protocol.lower(), port.clusterIP, choice.hasAny
    tail = f" . {protocol} . {port.port}"
    note = f" comment {quoted(port.name[:COMMENT_LENGTH])}"
    why = parts.origins.of
    parts.claim("cluster-ips", ip, ip, why(CLUSTER_IPS))
    if usable:
        _cluster_ip(parts, port, choice, ip + tail, note, context)
        for endpoint in choice.reachable:
            hairpin = f"{endpoint.ip} . {endpoint.ip}"
            origin = parts.origins.endpoint(endpoint.ip, endpoint.port)
            parts.claim("hairpin-connections", hairpin, hairpin, origin)
    refusal = f"{note} : drop" if usable else f"{note} : goto reject-chain"
    if not usable or (port.internalLocal and not choice.local):
        origin = why(INTERNAL_POLICY if usable else CLUSTER_IPS)
        parts.claim("no-endpoint-services", ip + tail, ip + tail + refusal, origin)
    if not port.external:
        return
    vips = [vip + tail for vip in port.loadBalancerVIPs]
    externals = dict.fromkeys([external + tail for external in port.externalIPs], EXTERNAL_IPS)
    externals = {**externals, **dict.fromkeys([vip for vip in vips if vip not in externals], BALANCER_IPS)}
    node_port = f"{protocol} . {port.nodePort}" if port.nodePort else ""
    if usable:
        for key, field in externals.items():
            _external(parts, port, choice, key, note, field, context)
        if node_port:
            _external(parts, port, choice, node_port, note, NODE_PORT, context)
        if port.sourceRanges and vips:
            _firewall(parts, port, vips, note, context)
    if not usable or (port.externalLocal and not choice.local):
        policy = EXTERNAL_POLICY if usable else ""
        for key, field in externals.items():
            parts.claim("no-endpoint-services", key, key + refusal, why(policy or field))
        if node_port:
            origin = why(policy or NODE_PORT)
            parts.claim("no-endpoint-nodeports", node_port, node_port + refusal, origin)


# --- one node -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Holds a node, and the inputs of Services' parts there: without source ranges, and with them."""

    node: Node
    words: Words
    context: Context
    ranged: Context

    def add(self, parts: Parts, ports: Sequence[ServicePortFacts], choices: Sequence[EndpointChoice]) -> None:
        """Adds ``ports`` to ``parts`` of this node's table."""
        for port, choice in zip(ports, choices, strict=True):
            _add_port(parts, port, choice, self.ranged if port.sourceRanges else self.context)

    def writes_as(self, other: Place, ports: Sequence[ServicePortFacts]) -> bool:
        """Returns whether the parts of ``ports`` are the same on both for the same choices."""
        return self.context == other.context and (
            self.ranged == other.ranged or not any(port.sourceRanges for port in ports)
        )

    def choices(self, ports: Sequence[ServicePortFacts]) -> list[EndpointChoice]:
        """Returns the endpoints that this node may use for each of ``ports``."""
        return [choose(port, self.node) for port in ports]


def place_of(state: ClusterState, node: Node) -> Place:
    """Returns the inputs of Services' parts at ``node``."""
    detector = detector_of(state, node.name)
    words = words_of(state.family)
    local, masquerade = "", tuple[str, ...]()
    if detector:
        local, masquerade = _match(words, detector), (f"{_match(words, detector, '!= ')} {MARK}",)
    context = Context(local, (MARK,) if state.proxy.masqueradeAll else masquerade, "")
    return Place(node, words, context, context._replace(primary=primary_ip(node, state.family)))


def node_rules(state: ClusterState, name: str) -> RuleSet:
    """Returns the table of one node, one Service port after the other. Raises ``UnsafeTextError`` for a value
    that does not fit its type.
    """
    return RuleSet({}, _table(state, name, asked=False)[0])


def _table(state: ClusterState, name: str, *, asked: bool) -> tuple[NftTable, Parts]:
    place = place_of(state, state.node[name])
    parts = Parts(place.words)
    for service, slices in services_with_slices(state):
        if asked:
            parts.origins = ServiceOrigins(service.key, slices)
        ports = ports_of(service, slices, state.family)
        place.add(parts, ports, place.choices(ports))
    return make_table(
        parts, frame(state.serviceSubnet, state.proxy.behaviour), node_port_ips(state, name)
    ), parts


def explain(state: ClusterState, name: str) -> Iterator[Explained]:
    """Yields the rules and elements of one node's table, each with its origin. A chain that Services share
    has that of the first.
    """
    table, parts = _table(state, name, asked=True)
    for where, s in table.sets.items():
        for key, element in s.elements.items():
            command = f"nft add element {table.name} {where} {{ {element} }}"
            yield Explained(command, parts.causes.get((where, key)))
    for name_of_chain, chain in table.chains.items():
        for rule in chain.rules:
            command = f"nft add rule {table.name} {name_of_chain} {rule}"
            yield Explained(command, parts.causes.get((CHAINS, name_of_chain)))
