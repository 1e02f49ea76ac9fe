"""kube-proxy's nftables mode: one node's table ``ip kube-proxy``, as one text for ``nft -f -``.

Behaviour, maps, marks and the names of sets and of per-Service chains are those of kube-proxy v1.30.5 (pkg/proxy/nftables/proxier.go).
Hooks and their priorities are those of later releases, which look for Services without endpoints after the translation (v1.30.5 did so
before, and dropped what a node itself sent to an address whose Local list is empty there); as in them, an address of the Service CIDR
that no Service has is dropped.

The layout differs where the real one is slow to load: it gives every Service and every endpoint a chain, here all Services with the
same traffic policy and as many endpoints share one, which looks the endpoint up by address, protocol, port and a random number. Only
session affinity and source ranges need chains of a Service's own. Hairpins are told by a set of endpoints, not in the endpoint's chain.

Imports the cluster state, the choice of endpoints and ``plan.rules``. Invariants: the text depends on the objects, the proxy's settings
and the node alone; to load it twice is to load it once.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from typing import Literal, NamedTuple

from emulator.control.state import ClusterState
from emulator.plan.rules import NftSet, NftTable, RuleSet, compose_nft, identifier, quoted
from emulator.proxy.endpoints import EndpointChoice, EndpointFacts, ServicePortFacts, choose, service_ports
from emulator.proxy.local import EVERYTHING, LOOPBACK, Detector, detector_of, local_addresses, node_port_prefixes, primary_ip

MARK = "meta mark set meta mark | 0x4000"  # masqueradeBit 14
LOCAL_LIST = 65536  # indexes of an external address' Local list begin here; those of the Cluster list at 0
COMMENT_LENGTH = 128  # what nft takes (libnftnl's NFTNL_UDATA_COMMENT_MAXLEN)
AFFINITY_CLIENTS = 65535  # that one endpoint's set can remember

# How a packet's key is spelled: by the address that was dialled, or for node ports by protocol and port alone.
_ADDRESS = "ip daddr . meta l4proto . th dport"
_NODE_PORT = "meta l4proto . th dport"
_ENDPOINT = "ip daddr . th dport"
_INDEX = "numgen random mod 2"  # the type of an index, whatever the modulus

# Sets and maps: kind, type, and what it is for.
_BY_ADDRESS = "type ipv4_addr . inet_proto . inet_service : verdict"
_BY_NODE_PORT = "type inet_proto . inet_service : verdict"
_SETS: Mapping[str, tuple[Literal["set", "map"], str, str]] = {
    "cluster-ips": ("set", "type ipv4_addr", "the ClusterIP of every Service"),
    "nodeport-ips": ("set", "type ipv4_addr", "addresses of this node that serve node ports"),
    "hairpin-connections": ("set", "type ipv4_addr . ipv4_addr", "an endpoint that its Service leads back to itself"),
    "no-endpoint-services": ("map", _BY_ADDRESS, "nobody to send to: reject; or drop under a Local policy"),
    "no-endpoint-nodeports": ("map", _BY_NODE_PORT, "the same for node ports"),
    "firewall-ips": ("map", _BY_ADDRESS, "load-balancer addresses that some sources may not reach"),
    "service-ips": ("map", _BY_ADDRESS, "ClusterIPs and externalIPs and load-balancer addresses"),
    "service-nodeports": ("map", _BY_NODE_PORT, "node ports"),
    "service-endpoints": ("map", f"typeof {_ADDRESS} . {_INDEX} : {_ENDPOINT}", "endpoints by the address that was dialled and an index"),
    "nodeport-endpoints": ("map", f"typeof {_NODE_PORT} . {_INDEX} : {_ENDPOINT}", "endpoints by node port and index"),
}

_NEW = "ct state new jump"


def _frame(service_cidr: IPv4Network) -> dict[str, Sequence[str]]:
    """The chains that every node has, whatever the Services are.

    Source ranges are about the address that was dialled, so they are checked before it is translated. What follows the translation
    meets those packets only that nothing translated.
    """
    return {
        "filter-prerouting-pre-dnat": ("type filter hook prerouting priority dstnat - 10; policy accept;", f"{_NEW} firewall-check"),
        "filter-output-pre-dnat": ("type filter hook output priority -110; policy accept;", f"{_NEW} firewall-check"),
        "filter-input": (
            "type filter hook input priority filter; policy accept;",
            f"{_NEW} nodeport-endpoints-check",
            f"{_NEW} service-endpoints-check",
        ),
        "filter-forward": (
            "type filter hook forward priority filter; policy accept;",
            f"{_NEW} service-endpoints-check",
            f"{_NEW} cluster-ips-check",
        ),
        "filter-output": (
            "type filter hook output priority filter; policy accept;",
            f"{_NEW} service-endpoints-check",
            f"{_NEW} cluster-ips-check",
        ),
        "nat-prerouting": ("type nat hook prerouting priority dstnat; policy accept;", "jump services"),
        "nat-output": ("type nat hook output priority -100; policy accept;", "jump services"),
        "nat-postrouting": ("type nat hook postrouting priority srcnat; policy accept;", "jump masquerading"),
        "nodeport-endpoints-check": (f"ip daddr @nodeport-ips {_NODE_PORT} vmap @no-endpoint-nodeports",),
        "service-endpoints-check": (f"{_ADDRESS} vmap @no-endpoint-services",),
        "firewall-check": (f"{_ADDRESS} vmap @firewall-ips",),
        "cluster-ips-check": (
            'ip daddr @cluster-ips reject comment "a port that this Service does not have"',
            f'ip daddr {service_cidr} drop comment "no Service has this address"',
        ),
        "reject-chain": ("reject",),
        "services": (f"{_ADDRESS} vmap @service-ips", f"ip daddr @nodeport-ips {_NODE_PORT} vmap @service-nodeports"),
        # The mark is taken off, so that a packet that passes the stack again (a tunnel) is not masqueraded twice.
        "masquerading": (
            f"ct status dnat ip saddr . ip daddr @hairpin-connections {MARK}",
            "meta mark & 0x4000 == 0 return",
            "meta mark set meta mark ^ 0x4000",
            "masquerade fully-random",
        ),
    }


# --- who is local -------------------------------------------------------------------------------------------


def _local(detector: Detector) -> str:
    return _match(detector, "")


def _stranger(detector: Detector) -> str:
    return _match(detector, "!= ")


def _match(detector: Detector, operator: str) -> str:
    """What the node sends itself came in by no interface, whose name is then empty: it is a stranger."""
    if detector.source:
        return f"ip saddr {operator}{detector.source}"
    name = detector.interface or f"{detector.prefix}*"
    return f'iifname {operator}"{name}"'


def _node_port_ips(state: ClusterState, node: str) -> Iterator[IPv4Address]:
    """The primary address unless ``nodePortAddresses`` says otherwise; never a loopback one."""
    prefixes = node_port_prefixes(state.proxy.nodePortAddresses or ("primary",), primary_ip(state.node[node]))
    for ip in local_addresses(state, node):
        if ip not in LOOPBACK and any(ip in prefix for prefix in prefixes):
            yield ip


# --- one Service port ---------------------------------------------------------------------------------------


class _Context(NamedTuple):
    """What the rules of a Service port depend on besides its facts and the choice of endpoints."""

    detector: Detector | None
    masqueradeAll: bool
    primary: str


@dataclass(frozen=True, slots=True)
class _Parts:
    """What Service ports put into the table: set or map → key → the element; chain → its rules; sets that remember clients → seconds."""

    elements: dict[str, dict[str, str]] = field(default_factory=dict)
    chains: dict[str, Sequence[str]] = field(default_factory=dict)
    affinity: dict[str, int] = field(default_factory=dict)

    def add(self, where: str, key: str, value: str = "", comment: str = "") -> None:
        note = f" comment {quoted(comment[:COMMENT_LENGTH])}" if comment else ""
        self.elements.setdefault(where, {})[key] = f"{key}{note} : {value}" if value else key


class _List(NamedTuple):
    """A list of endpoints: the statement that sends a packet to one of them, and what tells its chains from those of other lists."""

    tag: str
    go: str


@cache
def _pick(endpoints: str, count: int, begin: int) -> str:
    """The statement that translates to one of ``count`` endpoints of the map ``endpoints``, each with the same chance."""
    key = _ADDRESS if endpoints == "service-endpoints" else _NODE_PORT
    offset = f" offset {begin}" if begin else ""
    return f"meta l4proto {{ tcp, udp, sctp }} dnat ip to {key} . numgen random mod {count}{offset} map @{endpoints}"


def _identity(text: str) -> str:
    """``text`` behind 8 characters of its hash, as kube-proxy names what belongs to a Service port."""
    return f"{b32encode(sha256(text.encode()).digest()).decode()[:8]}-{identifier(text)}"


def _port_id(port: ServicePortFacts) -> str:
    return f"{port.namespace}/{port.service}/{port.protocol.lower()}/{port.portName}"


def _remembered(parts: _Parts, port: ServicePortFacts, kind: str, endpoints: Sequence[EndpointFacts]) -> _List:
    """A list under session affinity: the endpoint that remembers the client, or any with the same chance."""
    name = f"{kind}-{_identity(_port_id(port))}"
    ids = [_identity(f"{_port_id(port)}__{e.ip}/{e.port}") for e in endpoints]
    choices = ", ".join(f"{i} : goto endpoint-{one}" for i, one in enumerate(ids))
    parts.chains[name] = (
        *(f"ip saddr @affinity-{one} goto endpoint-{one}" for one in ids),
        f"numgen random mod {len(ids)} vmap {{ {choices} }}",
    )
    for one, endpoint in zip(ids, endpoints, strict=True):
        parts.affinity[f"affinity-{one}"] = port.affinitySeconds
        parts.chains[f"endpoint-{one}"] = (
            f"update @affinity-{one} {{ ip saddr }}",
            f"meta l4proto {port.protocol.lower()} dnat to {endpoint.address}",
        )
    return _List(_identity(_port_id(port)), f"goto {name}")


def _list(
    parts: _Parts, port: ServicePortFacts, kind: str, map_name: str, key: str, endpoints: Sequence[EndpointFacts], begin: int = 0
) -> _List | None:
    """``endpoints``, reachable from the address that ``key`` stands for; None if there are none."""
    if not endpoints:
        return None
    if port.affinitySeconds:
        return _remembered(parts, port, kind, endpoints)
    for index, endpoint in enumerate(endpoints, begin):
        parts.add(map_name, f"{key} . {index}", f"{endpoint.ip} . {endpoint.port}")
    return _List(str(len(endpoints)), _pick(map_name, len(endpoints), begin))


def _cluster_ip(parts: _Parts, port: ServicePortFacts, choice: EndpointChoice, key: str, context: _Context) -> None:
    kind, endpoints = ("local", choice.local) if port.internalLocal else ("service", choice.cluster)
    target = _list(parts, port, kind, "service-endpoints", key, endpoints)
    if target is None:
        return
    masquerade = (MARK,) if context.masqueradeAll else (f"{_stranger(context.detector)} {MARK}",) if context.detector else ()
    chain = f"cluster-ip-{target.tag}"
    parts.chains[chain] = (*masquerade, target.go)
    parts.add("service-ips", key, f"goto {chain}", port.name)


def _external(parts: _Parts, port: ServicePortFacts, choice: EndpointChoice, key: str, node_port: bool, context: _Context) -> None:
    """``key``: an externalIP, a load-balancer IP, or a node port. Under eTP Local, Pods and the node itself may go to any endpoint."""
    kind, vmap, endpoints = (
        ("nodeport", "service-nodeports", "nodeport-endpoints") if node_port else ("external", "service-ips", "service-endpoints")
    )
    anywhere = _list(parts, port, "service", endpoints, key, choice.cluster)
    if anywhere is None:
        return
    if port.externalLocal:
        here = _list(parts, port, "local", endpoints, key, choice.local, LOCAL_LIST)
        chain = f"{kind}-local-{anywhere.tag}" if port.affinitySeconds else f"{kind}-local-{anywhere.tag}-{len(choice.local)}"
        parts.chains[chain] = (
            *([f"{_local(context.detector)} {anywhere.go}"] if context.detector else []),
            f"fib saddr type local {MARK} {anywhere.go}",
            *([here.go] if here else []),
        )
    else:
        chain = f"{kind}-{anywhere.tag}"
        parts.chains[chain] = (f"{MARK} {anywhere.go}",)
    parts.add(vmap, key, f"goto {chain}", port.name)


def _firewall(parts: _Parts, port: ServicePortFacts, keys: Sequence[str], context: _Context) -> None:
    """Who may come to a load-balancer address: the source ranges, and the Service's own addresses where the node is in a range (the
    node's traffic to a local load-balancer address has that address as its source)."""
    ranges = [IPv4Network(r) for r in port.sourceRanges]
    if context.primary and any(IPv4Address(context.primary) in r for r in ranges):
        ranges += [IPv4Network(vip) for vip in port.loadBalancerVIPs]
    allowed = tuple(collapse_addresses(ranges))
    if EVERYTHING in allowed:
        return
    chain = f"firewall-{_identity(_port_id(port))}"
    parts.chains[chain] = (f"ip saddr != {{ {', '.join(map(str, allowed))} }} drop",)
    for key in keys:
        parts.add("firewall-ips", key, f"goto {chain}", port.name)


def _port_parts(port: ServicePortFacts, choice: EndpointChoice, context: _Context) -> _Parts:
    """Everything that one Service port puts into the table of one node."""
    parts, tail = _Parts(), f"{port.protocol.lower()} . {port.port}"
    cluster_ip, vips = f"{port.clusterIP} . {tail}", [f"{ip} . {tail}" for ip in port.loadBalancerVIPs]
    externals = [*(f"{ip} . {tail}" for ip in port.externalIPs), *vips]
    node_ports = [f"{port.protocol.lower()} . {port.nodePort}"] if port.nodePort else []
    parts.add("cluster-ips", port.clusterIP)
    usable = choice.hasAny
    if usable:
        _cluster_ip(parts, port, choice, cluster_ip, context)
        for key in externals:
            _external(parts, port, choice, key, False, context)
        for key in node_ports:
            _external(parts, port, choice, key, True, context)
        if port.sourceRanges and vips:
            _firewall(parts, port, vips, context)
        for endpoint in choice.reachable:
            parts.add("hairpin-connections", f"{endpoint.ip} . {endpoint.ip}")
    refusal = "drop" if usable else "goto reject-chain"
    if not usable or (port.internalLocal and not choice.local):
        parts.add("no-endpoint-services", cluster_ip, refusal, port.name)
    if not usable or (port.externalLocal and not choice.local):
        for key in externals:
            parts.add("no-endpoint-services", key, refusal, port.name)
        for key in node_ports:
            parts.add("no-endpoint-nodeports", key, refusal, port.name)
    return parts


# --- one node -----------------------------------------------------------------------------------------------


def _affinity_set(seconds: int) -> NftSet:
    declaration = ("type ipv4_addr", f"size {AFFINITY_CLIENTS}", "flags dynamic,timeout", f"timeout {seconds}s")
    return NftSet("set", declaration, {})


def _table(frame: Mapping[str, Sequence[str]], all_parts: Iterable[_Parts]) -> NftTable:
    """Where two Services claim one key, the first has it."""
    elements: dict[str, dict[str, str]] = {name: {} for name in _SETS}
    affinity: dict[str, int] = {}
    chains = dict(frame)
    for parts in all_parts:
        for where, added in parts.elements.items():
            known = elements[where]
            for key, element in added.items():
                known.setdefault(key, element)
        affinity |= parts.affinity
        chains |= parts.chains
    sets = {name: NftSet(kind, (type_, f"comment {quoted(what)}"), elements[name]) for name, (kind, type_, what) in _SETS.items()}
    sets |= {name: _affinity_set(seconds) for name, seconds in affinity.items()}
    return NftTable("ip kube-proxy", "rules for kube-proxy", sets, chains)


def renderer(state: ClusterState) -> Callable[[str], RuleSet]:
    """A function that gives any node's rules. What the nodes have in common is worked out once.

    Raises ``UnsafeTextError`` for a value that is not what its type says.
    """
    ports = service_ports(state)
    frame = _frame(state.serviceSubnet)

    @cache
    def port_parts(index: int, choice: EndpointChoice, context: _Context) -> _Parts:
        return _port_parts(ports[index], choice, context)

    def render(node: str) -> RuleSet:
        me = state.node[node]
        own = _Parts()
        for ip in _node_port_ips(state, node):
            own.add("nodeport-ips", str(ip))
        context = _Context(detector_of(state, node), state.proxy.masqueradeAll, "")
        firewall_context = context._replace(primary=primary_ip(me))  # only source ranges tell one node's address from another's
        parts = (port_parts(i, choose(port, me), firewall_context if port.sourceRanges else context) for i, port in enumerate(ports))
        table = _table(frame, (own, *parts))
        return RuleSet({}, compose_nft(table), table)

    return render
