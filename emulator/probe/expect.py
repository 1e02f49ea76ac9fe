"""What Kubernetes promises for a flow: outcome, the complete set of backends, and whose address each of them sees.

Read from the objects and the published semantics alone (docs/semantics, cited by section): never from rules, and never through the code
that makes rules. Imports ``objects``, ``control.state`` and the pure modules of ``probe``. Invariants: the same state and flow
always give the same expectation; exactly one outcome is promised.

Where the semantics leave something open, it is settled so:

- An endpoint that nobody serves is still an endpoint: if all of a port's are so, the promise is what comes of dialling them. If some
  are served and some are not, "delivered" to every one is promised all the same, since ready means serving: such a flow
  fails, and ``because`` names the endpoints that nobody serves. If none is served and they differ, the slowest outcome is promised
  (dropped before unreachable before rejected).
- An endpoint on the translating node's own address (a hostNetwork Pod) is delivered locally and never passes POSTROUTING, where
  masquerading happens: it sees the client's own address even where section 5 says "a node's" (measured on kernel 6.18). The node's
  own packets do pass POSTROUTING on their way to ``lo``, and are masqueraded.
- The iptables mode refuses or drops, at *every* local address of a node, what a node port without endpoints (under Local: without local
  ones) is sent: its rules in ``filter`` say ``--dst-type LOCAL`` and know neither nodePortAddresses nor localhostNodePorts (kube-proxy
  v1.30.5, pkg/proxy/iptables/proxier.go, "no local endpoints"; found with random clusters).
- Where the ipvs mode is known to do otherwise (docs/semantics 13), the promise is what it does, measured on kernel 6.1: under
  externalTrafficPolicy Local everybody gets the node's own endpoints, or all of them where it has none, whose replies then go past the
  node to a client that is not on it (:attr:`Expectation.astray`). Service addresses are local to every node: the node dials one from
  that very address, and takes whoever outside has it for an impostor.
- In ipvs mode without strictARP every node answers ARP for a Service's address of the host network, whether or not anybody announces it, and
  whichever is heard serves: a node's address is any node's then.
- Who stops to announce an address tells nobody: clients outside that have asked before go on to that node (:func:`remember`).
- The userspace mode promises what kube-proxy v1.25 did (docs/semantics 15): a process accepts, and dials the endpoints in their turn until one
  lets itself be dialled, so that of several TCP endpoints those that nobody serves are not met.
- A Pod that dials another node's NodePort under externalTrafficPolicy Local is promised what section 4 says. When the endpoint is not on
  that node the reply takes the direct way and bypasses the translation; the packets will show that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from ipaddress import IPv4Network, ip_address
from types import MappingProxyType
from typing import Literal

from emulator.control.state import ClusterState, pod_netns
from emulator.objects.config import Outcome
from emulator.probe.endpoints import PortEndpoints, ServiceTable, in_source_ranges, load_balancer_ips
from emulator.probe.model import Backend, Client, Expectation, Flow, FlowResult, SourceRule
from emulator.probe.parties import Owner, ServiceAddress, balancer_client, find_owners, service_destination

MAX_ATTEMPTS = 400
MISS = 1e-6  # the accepted chance that some endpoint is never chosen
_ANY = "*"  # in place of a node's name: whichever node it may be

Origin = Literal["pod", "node", "outside"]
Dialled = Literal["ClusterIP", "Cluster", "Local"]  # a ClusterIP, or an external address under that externalTrafficPolicy

# Whose address the backend sees (docs/semantics 5): masqueraded or not, and the sentence. {how} is the kind of address dialled.
_SOURCE: Mapping[tuple[Dialled, Origin], tuple[bool, str]] = {
    ("ClusterIP", "pod"): (False, "ClusterIP from a Pod: the client's own address"),
    ("ClusterIP", "node"): (True, "ClusterIP from a node: masqueraded to the node's address"),
    ("ClusterIP", "outside"): (True, "ClusterIP from outside the cluster: masqueraded to the node's address"),
    ("Cluster", "pod"): (True, "{how} under externalTrafficPolicy Cluster from a Pod: masqueraded to the node's address"),
    ("Cluster", "node"): (True, "{how} under externalTrafficPolicy Cluster from the node: masqueraded to its address"),
    ("Cluster", "outside"): (True, "{how} under externalTrafficPolicy Cluster from outside: masqueraded to the node's address"),
    ("Local", "pod"): (False, "{how} under externalTrafficPolicy Local from a Pod: any endpoint, the client's own address"),
    ("Local", "node"): (True, "{how} under externalTrafficPolicy Local from the node: any endpoint, masqueraded to its address"),
    ("Local", "outside"): (False, "{how} under externalTrafficPolicy Local from outside: its own endpoints, the client's own address"),
}
_IPVS_LOCAL: Mapping[
    Origin, str
] = {  # the same of an external address under externalTrafficPolicy Local in ipvs mode: nobody is masqueraded
    "pod": "{how} under externalTrafficPolicy Local from a Pod: the node's own endpoints, the client's own address",
    "node": "{how} under externalTrafficPolicy Local from the node: its own endpoints, the address that it dialled",
    "outside": _SOURCE["Local", "outside"][1],
}
_HOW: Mapping[ServiceAddress, str] = {
    "clusterIP": "ClusterIP",
    "nodePort": "NodePort",
    "externalIP": "externalIP",
    "loadBalancer": "load-balancer IP",
}
_SLOWEST: tuple[Outcome, ...] = ("dropped", "unreachable", "rejected")


@lru_cache(maxsize=4096)
def attempts_for(backends: int) -> int:
    """The least number of connections that meets every one of ``backends`` endpoints, each chosen with equal chance, but for a risk
    below 1e-6: the least k with n(1-1/n)^k < 1e-6 (union bound). Never above 400, which is enough for 24 endpoints."""
    if backends <= 1:
        return 1
    needed = (math.log(backends) - math.log(MISS)) / -math.log1p(-1 / backends)
    return min(math.floor(needed) + 1, MAX_ATTEMPTS)


@dataclass(frozen=True, slots=True)
class Translation:
    """Where kube-proxy takes a flow up: on ``node``, for ``endpoints`` dialled by ``how``, from ``origin`` as that node sees it."""

    node: str
    endpoints: PortEndpoints
    how: ServiceAddress
    origin: Origin


@dataclass(frozen=True, slots=True)
class _Promise:
    """The part of an expectation that does not depend on the number of attempts or on the client's own addresses."""

    outcome: Outcome
    because: str
    backends: Mapping[Backend, SourceRule]
    source: str
    needed: int  # attempts that meet every backend; 0: no number of attempts does (session affinity)
    astray: bool = False
    relayed: bool = False


class Expectations:
    """The promises of one cluster state. Builds its indexes once; :meth:`expect` then costs microseconds."""

    def __init__(self, state: ClusterState, asked: Mapping[str, str] = MappingProxyType({})) -> None:
        """``asked``: what clients outside have learnt of announced addresses before (:func:`remember`)."""
        self.state = state
        self._remembered = {ip: node for ip, node in asked.items() if ip not in state.speakers and node in state.node}
        self.table = ServiceTable(state)
        self.owners: Mapping[str, Owner] = find_owners(state)
        self._served = {(x.netns, x.port, x.protocol) for x in state.listeners if not x.refused} | _served_by_commands(state)
        self._node_ips = {n.name: frozenset((*n.internalIPs, state.bridge_ip(n.name))) for n in state.nodes}
        self._pod_cidrs = tuple(IPv4Network(state.podCIDR(n.name)) for n in state.nodes)
        self._detector = _Detector(state)
        self._ipvs = state.proxy.mode == "ipvs"
        self._userspace = state.proxy.mode == "userspace"
        self._uneven = self._ipvs and state.proxy.scheduler in ("lc", "sh")  # by load, by client: not each endpoint in turn
        self._node_ips[_ANY] = frozenset(ip for ips in self._node_ips.values() for ip in ips)
        self._service_ips = frozenset(ip for ip, _, _ in self.table.addresses)
        self._service_promises: dict[tuple[PortEndpoints, str, str, str, str, bool], _Promise] = {}
        self._direct_promises: dict[tuple[str, int, str, bool, bool], _Promise] = {}
        self._addresses: dict[tuple[str, str, str], Mapping[SourceRule, frozenset[str]]] = {}

    @property
    def hides_outside_clients(self) -> bool:
        """Whether who dials a ClusterIP from outside is masqueraded. Else endpoints of other nodes answer past the node that was dialled, and there
        is no connection (docs/semantics 5)."""
        return self.state.proxy.masqueradeAll or self._detector.works

    def expect(self, flow: Flow, before: FlowResult | None = None) -> Expectation:
        """What the objects promise for ``flow``. ``before``: it is sent over a connection on which that flow was answered."""
        met = self.translation(flow)
        if before is not None and (kept := self._kept(flow, met, before)):
            return kept
        if (legs := self.legs(flow)) is not None:
            return self._balanced(flow, [self.expect(leg) for leg in legs])
        if self._is_impostor(flow):
            because = f"every node has {flow.client.ip} for its own in ipvs mode, and drops what comes from there (docs/semantics 13)"
            promise = _Promise("dropped", because, {}, "", 1)
        elif met is None:
            promise = self._filtered(flow) or self._direct(flow)
        else:
            promise = self._relayed(flow, met) if self._userspace else self._service(flow, met)
        if flow.client.kind == "external" and not flow.via and (node := self._remembered.get(flow.to.ip)):
            why = f"nobody announces {flow.to.ip} any more, and who has asked before still sends to {node} (docs/semantics 14)"
            promise = replace(promise, because=f"{why}; {promise.because}")
        return self._expectation(flow, met, promise)

    def expect_delivered(self, flow: Flow, backends: Sequence[Backend]) -> Expectation:
        """What would be promised if ``flow`` were delivered to exactly ``backends``: whose address each would see."""
        if legs := self.legs(flow):
            return self._balanced(flow, [self.expect_delivered(leg, backends) for leg in legs])
        met = self.translation(flow)
        rules = {b: self._direct_rule(flow.client, b.ip) if met is None else self._service_rule(flow, met, b) for b in backends}
        relayed = self._userspace and met is not None
        promise = _Promise("delivered", "", rules, _source_text(rules.values(), ""), _needed(met, len(rules)), relayed=relayed)
        return self._expectation(flow, met, promise)

    def may_meet(self, flow: Flow) -> tuple[Backend, ...]:
        """The endpoints that ``flow`` may end at; where it is promised none, those that its Service port has at all."""
        if legs := self.legs(flow):
            return tuple(dict.fromkeys(backend for leg in legs for backend in self.may_meet(leg)))
        met = self.translation(flow)
        if met is None:
            return (Backend(flow.to.ip, flow.to.port),)
        chosen = met.endpoints.ready if self._userspace else self._chosen(met)
        usable = met.endpoints.usable
        return chosen or tuple(c.backend for c in usable or met.endpoints.candidates)

    def attempts(self, flow: Flow) -> int:
        """How many connections ``flow`` should make, so that it meets every endpoint that it may."""
        legs = self.legs(flow)
        if not legs:
            return attempts_for(len(self.expect(flow).backends))
        return attempts_for(_chances([self.expect(leg) for leg in legs]))

    def legs(self, flow: Flow) -> tuple[Flow, ...] | None:
        """What the balancer in the path makes of ``flow``: a flow of its own to the node port of each node that it uses. None where no balancer
        is dialled."""
        key = (flow.to.ip, flow.to.port, flow.protocol)
        endpoints = self.table.balanced.get(key)
        if endpoints is None:
            return None
        if key in self.table.addresses and flow.protocol != "SCTP" and self._first_node(flow):
            return None  # userspace mode knew no ipMode: a node that is passed takes it up itself (docs/semantics 15)
        service, client = endpoints.service, balancer_client(self.state)
        return tuple(
            replace(
                flow, client=client, via="", to=service_destination(service, endpoints.port, "nodePort", node.internalIPs[0], node.name)
            )
            for node in (map(self.state.node.__getitem__, self.state.balanced[service.key]) if endpoints.port.nodePort else ())
        )

    def translation(self, flow: Flow) -> Translation | None:
        """Which node's kube-proxy takes ``flow`` for which Service port (with a balancer in the path: one of the nodes); None where no Service
        is dialled, or no node is passed."""
        if legs := self.legs(flow):
            return self.translation(legs[0])
        client, ip, key = flow.client, flow.to.ip, (flow.to.port, flow.protocol)
        if self._userspace and flow.protocol == "SCTP":
            return None
        if ip.startswith("127."):
            port = self.table.node_ports.get(key) if client.kind == "node" else None
            if port is None or not self._is_node_port_address(client.node, ip):
                return None
            return Translation(client.node, port, "nodePort", "node")
        owner = self.owners.get(ip)
        first = self._first_node(flow)
        entry = self.table.addresses.get((ip, *key))
        if entry is not None and self._userspace and entry[1] == "externalIP" and client.node:
            first = (
                owner.node if owner is not None and owner.kind == "node" else ""
            )  # on its way out nothing takes it up (docs/semantics 15)
        if entry is not None and first:
            return Translation(first, entry[0], entry[1], self._origin(client, first))
        if owner is not None and owner.kind == "node":
            port = self.table.node_ports.get(key)
            if port is not None and self._is_node_port_address(owner.node, ip):
                return Translation(owner.node, port, "nodePort", self._origin(client, owner.node))
        return None

    # --- a balancer in the path ---------------------------------------------------------------------------

    def _balanced(self, flow: Flow, promises: Sequence[Expectation]) -> Expectation:
        """The promise for ``flow``, given those for each of its :meth:`legs` (docs/semantics 14)."""
        service = self.table.balanced[flow.to.ip, flow.to.port, flow.protocol].service
        if not in_source_ranges(service, self._seen_by_balancer(flow)):
            because = (
                f"the client is outside loadBalancerSourceRanges of svc {service.key}, which the balancer keeps out (docs/semantics 14)"
            )
            return Expectation(outcome="dropped", because=because)
        delivered = [p for p in promises if p.outcome == "delivered"]
        if not delivered:
            refused = min(promises, key=lambda p: _SLOWEST.index(p.outcome), default=None)
            if refused is None:
                why = f"the balancer knows no node that serves svc {service.key}: a closed port (docs/semantics 14)"
                return Expectation(outcome="rejected", because=why)
            because = f"through the balancer, which connects to node ports: {refused.because}"
            return Expectation(outcome=refused.outcome, because=because, relayed=refused.relayed)
        met: dict[Backend, set[SourceRule]] = {}
        for promise in delivered:
            for backend, rule in promise.backends.items():
                met.setdefault(backend, set()).add("balancer" if rule == "preserved" else rule)
        node = frozenset(ip for p in delivered for ip in p.addresses.get("node", ()))
        balancer = frozenset({self.state.balancerIP})
        if any(len(rules) > 1 for rules in met.values()):  # an endpoint on a node's own address: masqueraded by the other nodes alone
            node |= balancer
        backends: dict[Backend, SourceRule] = {b: "node" if "node" in rules else "balancer" for b, rules in met.items()}
        needed = attempts_for(_chances(delivered))
        return Expectation(
            outcome="delivered",
            because=f"the balancer is the nodes' client, and its clients are hidden (docs/semantics 14); {delivered[0].because}",
            backends=backends,
            addresses={**self._seen(flow, ""), "node": node, "balancer": balancer},
            source="; ".join(sorted(set(backends.values()), reverse=True)),
            partial=any(p.partial for p in promises) or flow.attempts < needed,
            relayed=self._userspace,
        )

    def _seen_by_balancer(self, flow: Flow) -> str:
        """The client's address as the balancer sees it: what leaves the cluster's networks, its node has masqueraded."""
        client = flow.client
        return self.state.node[client.node].internalIPs[0] if client.kind == "pod" and not self.state.is_host(flow.to.ip) else client.ip

    def _is_impostor(self, flow: Flow) -> bool:
        """Whether a client outside has an address that the first node on the way has for its own, since it is a Service's in ipvs mode."""
        client = flow.client
        return self._ipvs and client.kind == "external" and client.ip in self._service_ips and bool(self._first_node(flow))

    # --- connections that are open already ---

    def _kept(self, flow: Flow, met: Translation | None, before: FlowResult) -> Expectation | None:
        """The promise for a connection that stays as it was translated, whatever the rules say now: nobody asks them again. None: it does not
        stay, and ``flow`` is promised what a new one is. (A TCP connection ends with its endpoint. A UDP client is forgotten by the node when
        its endpoint no longer serves, docs/semantics 11; there is no connection to end.)"""
        backend = next(iter(before.observed.backends), None)
        if backend is None:
            return None
        if flow.protocol == "UDP" and not (met and self._keeps_udp_clients(met, backend)):
            return None
        if self._ipvs and met is None and backend != Backend(flow.to.ip, flow.to.port):
            ended = self._direct(flow)
            why = f"in ipvs mode a connection ends with its Service (docs/semantics 13): {ended.because}"
            return Expectation(outcome=_to_an_open_connection(ended.outcome), because=why)
        outcome = self._answer(backend.ip, backend.port, flow.protocol, True)
        if outcome != "delivered":
            why = self._why_not(backend.ip, backend.port, flow.protocol, outcome)
            if flow.protocol == "TCP":
                outcome = _to_an_open_connection(outcome)
            return Expectation(outcome=outcome, because=f"the connection goes to {backend} for as long as it lives: {why}")
        if before.flow.to.how == "nodePort" and flow.to.ip not in self.owners:
            return None  # with its node went the translation
        rule = before.expected.backends.get(backend, "preserved")
        return Expectation(
            outcome="delivered",
            because=f"an open connection goes on to {backend}, which still serves: no rule is asked again (docs/semantics 11)",
            backends={backend: rule},
            addresses={rule: frozenset(before.observed.sources)} if before.observed.sources else before.expected.addresses,
            source=rule,
            partial=True,
            astray=before.expected.astray,
            relayed=before.expected.relayed,
        )

    def _keeps_udp_clients(self, met: Translation, backend: Backend) -> bool:
        """Whether who was led to ``backend``, and never stops sending, still is."""
        if self._userspace:  # until it is refused (docs/semantics 15)
            return self._answer(backend.ip, backend.port, "UDP", True) != "rejected"
        if self._ipvs:  # what is not chosen any more is taken away at once (docs/semantics 13)
            return backend in self._chosen(met)
        return any(c.backend == backend and (c.ready or c.draining) for c in met.endpoints.candidates)

    # --- Services in userspace mode -----------------------------------------------------------------------

    def _relayed(self, flow: Flow, met: Translation) -> _Promise:
        """A proxy on the node accepts, whatever the policies say, and dials the ready endpoints in their turn (docs/semantics 15)."""
        service, tcp = met.endpoints.service.key, flow.protocol == "TCP"
        ends = {b: self._answer(b.ip, b.port, flow.protocol, True) for b in met.endpoints.ready}
        unserved = [str(b) for b, outcome in ends.items() if outcome != "delivered"]
        if len(unserved) == len(ends):
            why = f"nobody serves {', '.join(unserved)}" if unserved else f"svc {service} has no ready endpoint"
            if tcp and "dropped" not in ends.values():
                return _Promise("rejected", f"{why}: the proxy accepts, then closes (docs/semantics 15)", {}, "", 1, relayed=True)
            return _Promise("dropped", f"{why}: the proxy has nothing to answer (docs/semantics 15)", {}, "", 1, relayed=True)
        if not tcp and self._dials_itself(flow, met.node):
            why = f"the node sends from {flow.to.ip} to itself, and the proxy's reply from there, too, which nothing translates back"
            return _Promise("dropped", f"{why} (docs/semantics 15)", {}, "", 1, relayed=True)
        reached = [b for b, outcome in ends.items() if outcome == "delivered" or not tcp]  # TCP alone tells the proxy that nobody serves
        because = f"a proxy on {met.node} accepts and dials any ready endpoint itself: the node's address, whatever the policies (docs/semantics 15)"
        needed = _needed(met, len(reached))
        if not needed:
            because += "; session affinity ClientIP: always the same one (docs/semantics 12)"
        if unserved:
            because += f"; nobody serves {', '.join(unserved)}"
        return _Promise("delivered", because, dict.fromkeys(reached, "node"), "node", needed, relayed=True)

    def _dials_itself(self, flow: Flow, node: str) -> bool:
        """Whether ``node`` dials an address of its own that is not the one to which its rules send what is its own."""
        owner, ip = self.owners.get(flow.to.ip), flow.to.ip
        local = ip.startswith("127.") or (owner is not None and owner.kind == "node" and owner.node == node)
        return local and flow.client.kind == "node" and flow.client.node == node and ip != self.state.node[node].internalIPs[0]

    # --- Services in other modes --------------------------------------------------------------------------

    def _service(self, flow: Flow, met: Translation) -> _Promise:
        if met.endpoints.usable and met.how == "loadBalancer" and not self._in_source_ranges(flow.client, met):
            service = met.endpoints.service.key
            return _Promise("dropped", f"the client is outside loadBalancerSourceRanges of svc {service} (docs/semantics 6)", {}, "", 1)
        if not met.endpoints.usable and self._left_alone(flow, met):
            outcome = self._answer(flow.to.ip, flow.to.port, flow.protocol, True)
            service = met.endpoints.service.key
            because = f"svc {service} has no usable endpoint, but iptables mode refuses no node's own packets (docs/semantics 7)"
            return _Promise(outcome, because, {}, "", 1)
        hairpin = flow.client.ip if flow.client.kind == "pod" else ""
        if hairpin not in met.endpoints.ips:
            hairpin = ""
        key = (met.endpoints, met.how, met.node, met.origin, hairpin, flow.client.node == met.node)
        promise = self._service_promises.get(key)
        if promise is None:
            promise = self._service_promises[key] = self._promise_service(flow, met)
        return promise

    def _left_alone(self, flow: Flow, met: Translation) -> bool:
        """Whether kube-proxy has no say where there are no endpoints: its iptables mode refuses what goes to an external address in INPUT and
        FORWARD alone (docs/semantics 7), which a node's own packets pass only if they come to a node."""
        if self.state.proxy.mode != "iptables" or met.origin != "node" or met.how not in ("externalIP", "loadBalancer"):
            return False
        owner = self.owners.get(flow.to.ip)
        return owner is None or owner.kind != "node"

    def _promise_service(self, flow: Flow, met: Translation) -> _Promise:
        service = met.endpoints.service
        if not met.endpoints.usable:
            return _Promise("rejected", f"svc {service.key} has no usable endpoint: rejected at once (docs/semantics 7)", {}, "", 1)
        chosen = self._chosen(met)
        if not chosen and self._ipvs:
            because = f"internalTrafficPolicy Local, and {met.node} has no usable endpoint: ipvs mode rejects (docs/semantics 13)"
            return _Promise("rejected", because, {}, "", 1)
        if not chosen:
            policy = "internalTrafficPolicy" if met.how == "clusterIP" else "externalTrafficPolicy"
            return _Promise("dropped", f"{policy} Local, and {met.node} has no usable endpoint: dropped (docs/semantics 7)", {}, "", 1)
        if lost := [b for b in chosen if self._is_lost(met, b)]:
            because = f"{_HOW[met.how]} under externalTrafficPolicy Local from {met.node}, which has no endpoint: it sends from that very address, "
            because += f"which the node of {lost[0]} has for its own (docs/semantics 13)"
            return _Promise("dropped", because, {}, "", 1)
        if all(self._is_echo(flow, met, b) for b in chosen):
            because = (
                f"the only endpoint is the client itself, and by its EndpointSlice not on {met.node}: not masqueraded (docs/semantics 13)"
            )
            return _Promise("dropped", because, {}, "", 1)
        ends: dict[Backend, Outcome] = {
            b: "dropped" if self._is_echo(flow, met, b) else self._answer(b.ip, b.port, flow.protocol, True) for b in chosen
        }
        unserved = [str(b) for b, outcome in ends.items() if outcome != "delivered"]
        nobody = f"; nobody serves {', '.join(unserved)}" if unserved else ""
        if len(unserved) == len(ends):
            outcome = next(o for o in _SLOWEST if o in ends.values())
            return _Promise(outcome, f"svc {service.key} leads to its endpoints{nobody}", {}, "", 1)
        rules = {b: self._service_rule(flow, met, b) for b in chosen}
        hairpin = flow.client.ip if any(b.ip == flow.client.ip for b in chosen) else ""
        because = self._because(met, rules, flow.client) + nobody
        needed = _needed(met, len(chosen))
        if not needed:
            because += "; session affinity ClientIP: always the same one (docs/semantics 12)"
        astray = self._ipvs and met.how != "clusterIP" and self._is_local(met) and flow.client.node != met.node
        astray = astray and not all(self._is_on(met.node, b) for b in chosen)
        if astray:
            because = f"externalTrafficPolicy Local, and {met.node} has no endpoint: ipvs mode takes any, which answers past it (docs/semantics 13)"
        return _Promise("delivered", because, rules, _source_text(rules.values(), hairpin), 0 if astray or self._uneven else needed, astray)

    def _chosen(self, met: Translation) -> tuple[Backend, ...]:
        """The list that applies (docs/semantics 4); in ipvs mode, where a Local list is empty, the Cluster list of a Service that has
        external addresses (docs/semantics 13)."""
        local = self._is_local(met)
        if local and (own := self._own(met)):
            return own
        if local and not (self._ipvs and self._has_external(met.endpoints)):
            return ()
        return met.endpoints.cluster_list(met.node, self.state.node[met.node].metadata.labels)

    def _is_local(self, met: Translation) -> bool:
        """Whether a Local policy applies."""
        spec = met.endpoints.service.spec
        if met.how == "clusterIP":
            return spec.internalTrafficPolicy == "Local"
        return spec.externalTrafficPolicy == "Local" and (met.origin == "outside" or self._ipvs)

    def _own(self, met: Translation) -> tuple[Backend, ...]:
        return met.endpoints.local_list(met.node)

    def _is_on(self, node: str, backend: Backend) -> bool:
        """Whether ``backend`` is on ``node``, whatever its slice says of that."""
        owner = self.owners.get(backend.ip)
        return owner is not None and owner.node == node

    def _is_echo(self, flow: Flow, met: Translation, backend: Backend) -> bool:
        """Whether a Pod that meets itself in ipvs mode is sent its own address, which its kernel drops: the set that has hairpins
        masqueraded holds endpoints that are the node's own by their slice (docs/semantics 13)."""
        if not self._ipvs or backend.ip != flow.client.ip or flow.client.kind != "pod" or self._masqueraded(met)[0]:
            return False
        return all(c.node != met.node for c in met.endpoints.candidates if c.backend == backend)

    def _is_lost(self, met: Translation, backend: Backend) -> bool:
        """Whether what a node sends to ``backend`` by an external address never arrives in ipvs mode: unmasqueraded, and so from the address that
        it dialled, which every node has. (By a node port it is the node's own, which no other node has.)"""
        if not (self._ipvs and met.origin == "node" and met.how in ("externalIP", "loadBalancer") and self._is_local(met)):
            return False
        return backend.ip in self.owners and not self._is_on(met.node, backend)

    def _has_external(self, endpoints: PortEndpoints) -> bool:
        return bool(endpoints.port.nodePort or endpoints.service.spec.externalIPs or load_balancer_ips(endpoints.service))

    def _masqueraded(self, met: Translation) -> tuple[bool, str]:
        """Whether what ``met`` says is masqueraded (hairpin aside), and the sentence that says so."""
        if met.how != "clusterIP" and self._ipvs and self._is_local(met):
            return False, _IPVS_LOCAL[met.origin].format(how=_HOW[met.how])
        if met.how != "clusterIP":
            masqueraded, because = _SOURCE[met.endpoints.service.spec.externalTrafficPolicy, met.origin]
            return masqueraded, because.format(how=_HOW[met.how])
        if self.state.proxy.masqueradeAll:
            return True, "ClusterIP under masqueradeAll: masqueraded to the node's address"
        if not self._detector.works and not (self._ipvs and met.origin == "node"):
            return False, "ClusterIP without a local-traffic detector: the client's own address"
        return _SOURCE["ClusterIP", met.origin]

    def _service_rule(self, flow: Flow, met: Translation, backend: Backend) -> SourceRule:
        if self._userspace:
            return "node"
        hairpin = backend.ip == flow.client.ip
        local = backend.ip in self._node_ips[met.node] and met.origin != "node"
        return "node" if (hairpin or self._masqueraded(met)[0]) and not local else "preserved"

    def _because(self, met: Translation, rules: Mapping[Backend, SourceRule], client: Client) -> str:
        masqueraded, because = self._masqueraded(met)
        only_itself = all(b.ip == client.ip for b in rules)
        if not masqueraded and any(b.ip == client.ip and rule == "node" for b, rule in rules.items()):
            hairpin = "hairpin, the backend is the client itself: masqueraded to the node's address"
            because = hairpin if only_itself else f"{because}; {hairpin}"
        because += " (docs/semantics 13)" if self._ipvs and met.how != "clusterIP" and self._is_local(met) else " (docs/semantics 5)"
        if masqueraded and "preserved" in rules.values():
            because += f"; an endpoint on {met.node}'s own address is delivered locally, which nothing masquerades"
        return because

    def _in_source_ranges(self, client: Client, met: Translation) -> bool:
        """docs/semantics 6."""
        service = met.endpoints.service
        sources = [client.ip]
        if client.ip in load_balancer_ips(service):
            sources.append(self.state.node[met.node].internalIPs[0])
        return any(in_source_ranges(service, source) for source in sources)

    def _origin(self, client: Client, node: str) -> Origin:
        if client.kind == "node" and client.node == node:
            return "node"
        return "pod" if self._detector.is_local(client, node) else "outside"

    def _is_node_port_address(self, node: str, ip: str) -> bool:
        """Whether node ports are served at ``ip``, an address of ``node`` (docs/semantics 9)."""
        settings, primary = self.state.proxy, self.state.node[node].internalIPs[0]
        if self._userspace:
            return True
        if ip.startswith("127.") and (settings.mode in ("nftables", "ipvs") or not settings.localhostNodePorts):
            return False
        words = settings.nodePortAddresses or (("primary",) if settings.mode == "nftables" else ())
        prefixes = [IPv4Network(primary if word == "primary" else word.strip()) for word in words if ":" not in word]
        return not prefixes or any(ip_address(ip) in prefix for prefix in prefixes)

    def _filtered(self, flow: Flow) -> _Promise | None:
        """What becomes of a node port at an address of a node where node ports are not served; None: nothing is done about it."""
        if self.state.proxy.mode != "iptables":
            return None
        owner, loopback = self.owners.get(flow.to.ip), flow.to.ip.startswith("127.") and flow.client.kind == "node"
        node = flow.client.node if loopback else owner.node if owner is not None and owner.kind == "node" else ""
        port = self.table.node_ports.get((flow.to.port, flow.protocol))
        if not node or port is None:
            return None
        where = f"iptables mode filters its node port at every address of {node}"
        if not port.usable:
            return _Promise("rejected", f"svc {port.service.key} has no usable endpoint, and {where}", {}, "", 1)
        if port.service.spec.externalTrafficPolicy == "Local" and not port.local_list(node):
            return _Promise("dropped", f"externalTrafficPolicy Local, {node} has no usable endpoint, and {where}", {}, "", 1)
        return None

    # --- addresses dialled directly -----------------------------------------------------------------------

    def _direct(self, flow: Flow) -> _Promise:
        client, to, protocol = flow.client, flow.to, flow.protocol
        if to.ip.startswith("127."):
            return self._promise_loopback(client, to.ip, to.port, protocol)
        through_node = client.kind != "external" or bool(flow.via or self._announcer(to.ip))
        key = (to.ip, to.port, protocol, client.kind == "pod", through_node)
        promise = self._direct_promises.get(key)
        if promise is None:
            promise = self._direct_promises[key] = self._promise_direct(client, to.ip, to.port, protocol, through_node)
        return promise

    def _promise_direct(self, client: Client, ip: str, port: int, protocol: str, through_node: bool) -> _Promise:
        outcome = self._answer(ip, port, protocol, through_node)
        owner = self.owners.get(ip)
        if outcome != "delivered":
            return _Promise(outcome, self._why_not(ip, port, protocol, outcome), {}, "", 1)
        rule = self._direct_rule(client, ip)
        if rule == "node":
            because = "what a Pod sends out of the cluster is masqueraded by its node"
        elif owner is not None and owner.kind == "pod":
            because = "a Pod's address is reached without NAT (Kubernetes network model)"
        else:
            because = "an address that no Service has: nothing translates it"
        return _Promise(outcome, because, {Backend(ip, port): rule}, rule, 1)

    def _promise_loopback(self, client: Client, ip: str, port: int, protocol: str) -> _Promise:
        if port and (client.netns, port, protocol) not in self._served:
            if client.kind == "node" and (port, protocol) in self.table.node_ports:
                return _Promise("rejected", self._why_no_node_port(ip), {}, "", 1)
            return _Promise("rejected", f"nobody in {client.label} serves {port}/{protocol}: a closed port", {}, "", 1)
        because = "one network namespace: its loopback reaches whoever listens in it"
        return _Promise("delivered", because, {Backend(ip, port): "preserved"}, "preserved", 1)

    def _answer(self, ip: str, port: int, protocol: str, through_node: bool) -> Outcome:
        """What comes of dialling ``ip`` itself, whoever does it; ``through_node``: by way of a node that runs kube-proxy."""
        owner = self.owners.get(ip)
        if owner is not None:
            return "delivered" if protocol == "ICMP" or (owner.netns, port, protocol) in self._served else "rejected"
        address = ip_address(ip)
        if self._ipvs and through_node and ip in self._service_ips:
            return "rejected"
        if address in self.state.serviceSubnet and through_node and self.state.proxy.mode == "nftables":
            return "rejected" if ip in self.table.cluster_ips else "dropped"
        on_link = address in self.state.hostSubnet or any(address in cidr for cidr in self._pod_cidrs)
        return "dropped" if on_link else "unreachable"

    def _why_not(self, ip: str, port: int, protocol: str, outcome: Outcome) -> str:
        owner = self.owners.get(ip)
        if self._userspace and (unknown := self._unknown_to_userspace(ip, port, protocol)):
            return f"userspace mode {unknown} (docs/semantics 15)"
        if owner is not None:
            if owner.kind == "node" and (port, protocol) in self.table.node_ports:
                return self._why_no_node_port(ip)
            return f"nobody serves {port}/{protocol} at {owner.label}: a closed port"
        if self._ipvs and outcome == "rejected" and ip in self._service_ips:
            return (
                f"{ip} is a Service's, but not for {port}/{protocol}: it is local to the node, which rejects the rest (docs/semantics 13)"
            )
        no_route = ": the router has no route for it" if outcome == "unreachable" else ""
        if ip_address(ip) in self.state.serviceSubnet:
            if ip not in self.table.cluster_ips:
                return f"no Service has {ip}{no_route} (docs/semantics 8)"
            if (ip, port, protocol) in self.table.addresses:
                return f"{ip} is a ClusterIP, and no node was asked{no_route} (docs/semantics 1)"
            return f"{ip} is a ClusterIP, but not for {port}/{protocol}{no_route} (docs/semantics 8)"
        if (ip, port, protocol) in self.table.addresses and ip_address(ip) in self.state.hostSubnet:
            return f"no node announces {ip}: svc {self.table.addresses[ip, port, protocol][0].service.key} has no serving endpoint where it needs one"
        if outcome == "dropped":
            return f"nobody has {ip}, though its network is there: neighbours are asked in vain for longer than a client waits"
        return f"nobody has {ip}{no_route}"

    def _unknown_to_userspace(self, ip: str, port: int, protocol: str) -> str:
        """What of a Service is at that address in other modes alone."""
        owner, entry, node_port = (
            self.owners.get(ip),
            self.table.addresses.get((ip, port, protocol)),
            (port, protocol) in self.table.node_ports,
        )
        if protocol == "SCTP" and (entry or node_port):
            return f"knows no SCTP: {ip} port {port} is left alone"
        if owner is None and entry and entry[1] == "externalIP":
            return f"leaves alone what Pods and nodes send to {ip}, an externalIP"
        if owner is not None and any(port == service.spec.healthCheckNodePort for service in self.state.services):
            return f"answers no health checks: {port}/{protocol} at {owner.label} is a closed port"
        return ""

    def _why_no_node_port(self, ip: str) -> str:
        settings = self.state.proxy
        where = "nodePortAddresses" if settings.nodePortAddresses else f"{settings.mode} mode"
        if ip.startswith("127."):
            where = "localhostNodePorts or nodePortAddresses" if settings.mode == "iptables" else f"{settings.mode} mode"
        return f"{where} serves no node ports at {ip}: a closed port (docs/semantics 9)"

    def _direct_rule(self, client: Client, ip: str) -> SourceRule:
        owner = self.owners.get(ip)
        leaves = owner is not None and (owner.kind == "external" or (owner.kind == "balancer" and not self.state.is_host(ip)))
        return "node" if client.kind == "pod" and leaves else "preserved"

    # --- addresses that clients and nodes are seen by -----------------------------------------------------

    def _expectation(self, flow: Flow, met: Translation | None, promise: _Promise) -> Expectation:
        if promise.outcome != "delivered":
            return Expectation(outcome=promise.outcome, because=promise.because, relayed=promise.relayed)
        return Expectation(
            outcome="delivered",
            because=promise.because,
            backends=promise.backends,
            addresses=self._seen(flow, met.node if met else self._first_node(flow)),
            source=promise.source,
            partial=not promise.needed or flow.attempts < promise.needed or bool(flow.connection),
            astray=promise.astray,
            relayed=promise.relayed,
        )

    def _first_node(self, flow: Flow) -> str:
        """The first node on the way of ``flow`` ("" if it passes none)."""
        owner = self.owners.get(flow.to.ip)
        return flow.client.node or flow.via or self._announcer(flow.to.ip) or (owner.node if owner else "")

    def _announcer(self, ip: str) -> str:
        """The node that clients outside have ``ip`` from by ARP, now or before (of several any one); "" if there is none."""
        anybody = self.state.nodes[0].name if self._is_everybodys(ip) else ""
        return self.state.speakers.get(ip, "") or self._remembered.get(ip, "") or anybody

    def _is_everybodys(self, ip: str) -> bool:
        """Whether every node answers ARP for ``ip``."""
        return (
            self._ipvs and not self.state.proxy.strictARP and ip in self._service_ips and self.state.is_host(ip) and ip not in self.owners
        )

    def _is_contended(self, flow: Flow) -> bool:
        """Whether any node may be the first one."""
        return flow.client.kind == "external" and not flow.via and self._is_everybodys(flow.to.ip)

    def _seen(self, flow: Flow, node: str) -> Mapping[SourceRule, frozenset[str]]:
        """The addresses that satisfy each source rule; "node" is that of the node that translates, "" if no node does."""
        client = flow.client
        if flow.to.ip.startswith("127."):
            return {"preserved": frozenset({"127.0.0.1"}), "node": self._node_ips.get(node, frozenset())}
        node = _ANY if self._is_contended(flow) else node
        if self._ipvs and client.kind == "node" and flow.to.ip in self._service_ips:
            return {"preserved": frozenset({flow.to.ip}), "node": self._node_ips.get(node, frozenset())}
        key = (client.netns, client.ip, node)
        seen = self._addresses.get(key)
        if seen is None:
            own = self._node_ips[client.node] if client.kind == "node" else frozenset({client.ip})
            pod = self.state.pod_by_ip.get(client.ip) if client.kind == "pod" else None
            if pod is not None:
                own = frozenset(a.ip for a in pod.status.podIPs)
            seen = self._addresses[key] = {"preserved": own, "node": self._node_ips.get(node, frozenset())}
        return seen


class _Detector:
    """kube-proxy's local-traffic detector: which packets it takes for those of Pods (docs/semantics 4, 5)."""

    def __init__(self, state: ClusterState) -> None:
        self._mode = state.proxy.localMode
        self._cluster = tuple(IPv4Network(c.strip()) for c in state.proxy.clusterCIDR.split(",") if "." in c)
        self._node = {n.name: IPv4Network(state.podCIDR(n.name)) for n in state.nodes}
        self._known: dict[tuple[str, str], bool] = {}
        self.works = bool(self._mode) and not (self._mode == "ClusterCIDR" and not self._cluster)

    def is_local(self, client: Client, node: str) -> bool:
        """By source address, or for the interface modes: whether the packet enters ``node`` from one of its own Pods."""
        known = self._known.get((client.ip, node))
        if known is None:
            if not self.works:
                known = False
            elif self._mode == "ClusterCIDR":
                known = any(ip_address(client.ip) in cidr for cidr in self._cluster)
            elif self._mode == "NodeCIDR":
                known = ip_address(client.ip) in self._node[node]
            else:
                known = client.kind == "pod" and client.node == node
            self._known[client.ip, node] = known
        return known


def _chances(promises: Sequence[Expectation]) -> int:
    """Of how many equal chances the least likely endpoint has one, where a balancer takes one node as often as another."""
    shares: dict[Backend, Fraction] = {}
    for promise in promises:
        for backend in promise.backends:
            shares[backend] = shares.get(backend, Fraction()) + Fraction(1, len(promise.backends) * len(promises))
    return math.ceil(1 / min(shares.values(), default=Fraction(1)))


def _to_an_open_connection(outcome: Outcome) -> Outcome:
    """What a new one's ``outcome`` is to an open TCP connection: that there is no route is a passing error, and it waits (RFC 1122 4.2.3.9)."""
    return "dropped" if outcome == "unreachable" else outcome


def _needed(met: Translation | None, backends: int) -> int:
    """The attempts that meet every one of ``backends``; 0 if no number does, since session affinity leads to the same one."""
    sticky = met is not None and met.endpoints.service.spec.sessionAffinity == "ClientIP" and backends > 1
    return 0 if sticky else attempts_for(backends)


def _source_text(rules: Iterable[SourceRule], hairpin: str) -> str:
    kinds = set(rules)
    if len(kinds) == 1:
        return kinds.pop()
    return "preserved; node on hairpin" if hairpin else "node; preserved on the node itself"


def _served_by_commands(state: ClusterState) -> set[tuple[str, int, str]]:
    """The ports that containers which run their real command declare: declaring one is the promise to serve it."""
    return {
        (pod_netns(state.pod[key]), port.containerPort, port.protocol)
        for key, containers in state.commands.items()
        for container in (*state.pod[key].spec.initContainers, *state.pod[key].spec.containers)
        if container.name in containers
        for port in container.ports
    }


def remember(asked: Mapping[str, str], state: ClusterState, flows: Iterable[Flow]) -> Mapping[str, str]:
    """Announced address → the node that clients outside take for its own, once they have sent ``flows`` to the cluster of ``state``, and ``asked``
    was so before: a node that takes an address over tells everybody who has it, one that gives it up does not."""
    outside = {flow.to.ip for flow in flows if flow.client.kind == "external" and not flow.via}
    return {ip: state.speakers.get(ip) or asked[ip] for ip in sorted(asked.keys() | outside & state.speakers.keys())}


def expect(state: ClusterState, flow: Flow) -> Expectation:
    """:meth:`Expectations.expect` for one flow. For many, keep the ``Expectations``."""
    return Expectations(state).expect(flow)
