"""Makes the rules of iptables mode for ten thousand Services, and for one of them that changes.

Makes the same rules as :func:`emulator.proxy.iptables.node_rules`: a plain Service's are written at once, and
what the nodes have in common is worked out once. A change of some Services is told from their rules alone.
Invariant: after a change each chain holds the rules that the new Services would make anew; the order of a
chain that Services share may differ, where it means nothing: a Service that comes to an address and port of
another one has everything written anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, TypeAlias

from ...cluster.state import ClusterState
from ...net import TransportProtocol, endpoint_text, host_text
from ...plan.checked import comment
from ...plan.operations import Operation
from ...plan.rulechange import ChainEdit, Insertion, RuleChange, RuleDeletion, compare_chains
from ...plan.rules import BUILTIN, Rule, RuleSet, RuleTool
from ..changes import ServiceChange
from ..endpoints import EndpointChoice, ServicePortFacts, choose, ports_of, services_with_slices
from ..iptables import (
    CHAINS,
    LARGE_CLUSTER,
    Context,
    Place,
    by_chain,
    frame,
    hash_of,
    node_port_tail,
    place_of,
    plan_localhost,
    port_rules,
    probability,
    stranger,
)
from .plain import PlainPort, plain_port

Line: TypeAlias = tuple[str, str, str]  # table, chain, the rule without "-A CHAIN"

_Claim: TypeAlias = tuple[str, int, TransportProtocol]  # address ("" for node ports), port, protocol

_NO_CHOICE = EndpointChoice((), (), hasAny=True)  # for a plain port: it has all of its endpoints everywhere


def _plain_rules(port: PlainPort, context: Context) -> Iterator[Line]:
    """Yields what :func:`port_rules` does for the same port, written at once."""
    name, kind, ip, number, target_port, endpoints, family = port
    protocol = kind.lower()
    key = name + protocol
    chain = f"KUBE-SVC-{hash_of(key)}"
    host, match = (
        f"-d {host_text(ip, family)}",
        f"-p {protocol} {comment(f'{name} cluster IP')} -m {protocol} --dport {number}",
    )
    yield "nat", "KUBE-SERVICES", f"{host} {match} -j {chain}"
    if context.masqueradeAll:
        yield "nat", chain, f"{host} {match} -j KUBE-MARK-MASQ"
    elif context.detector:
        yield "nat", chain, f"{stranger(context.detector, host)} {match} -j KUBE-MARK-MASQ"
    note = comment(name) + " " if context.comments else ""
    leads = list[Line]()
    for left, endpoint in zip(range(len(endpoints), 0, -1), endpoints, strict=True):
        address = endpoint_text(endpoint, target_port)
        to = f"KUBE-SEP-{hash_of(key + address)}"
        jump = comment(f"{name} -> {address}") + " " if context.comments else ""
        yield (
            "nat",
            chain,
            f"{jump}-m statistic --mode random --probability {probability(left)} -j {to}"
            if left > 1
            else f"{jump}-j {to}",
        )
        leads.append(("nat", to, f"-s {host_text(endpoint, family)} {note}-j KUBE-MARK-MASQ"))
        leads.append(("nat", to, f"-p {protocol} {note}-m {protocol} -j DNAT --to-destination {address}"))
    yield from leads


def _changed(rules: RuleSet, gone: Iterable[Rule], fresh: Iterable[Rule]) -> tuple[RuleSet, RuleChange]:
    """Returns ``rules`` without ``gone`` and with ``fresh``, in the order in which the kernel has them then,
    and what makes its tables so.

    A Service's line in a chain with lines of others is put in front: that costs the least, and their order
    has no effect.
    """
    was, now = by_chain(gone), by_chain(fresh)
    tables = dict(rules.tables)
    changes = []
    for table in BUILTIN:
        old, new = was.get(table, {}), now.get(table, {})
        if not old and not new:
            continue
        chains = dict(tables[table])
        edits = []
        for shared in CHAINS[table]:
            if edit := _in_front(shared, old.pop(shared, []), new.pop(shared, [])):
                edits.append(edit)
                chains[shared] = _edited(chains[shared], edit)
        before, after = _texts(old), _texts(new)
        change = compare_chains(table, before, after, edits)
        for chain in before.keys() - after.keys():
            del chains[chain]
        chains.update(after)
        tables[table] = chains
        if change:
            changes.append(change)
    return RuleSet(tables), RuleChange(tuple(changes))


def _texts(chains: Mapping[str, Sequence[Rule]]) -> dict[str, tuple[str, ...]]:
    return {chain: tuple([rule.text for rule in rules]) for chain, rules in chains.items()}


def _in_front(chain: str, gone: Sequence[Rule], fresh: Sequence[Rule]) -> ChainEdit | None:
    """Returns the edit of a chain that others have rules in, too; None if nothing changes."""
    deleted, inserted = list(gone), list[Rule]()
    for rule in fresh:
        if rule in deleted:
            deleted.remove(rule)
        else:
            inserted.append(rule)
    if not deleted and not inserted:
        return None
    return ChainEdit(
        chain,
        tuple([RuleDeletion(rule.text, rule.marks) for rule in deleted]),
        tuple([Insertion(0, rule.text) for rule in inserted]),
    )


def _edited(rules: Sequence[str], edit: ChainEdit) -> tuple[str, ...]:
    kept = list(rules)
    for deletion in edit.deleted:
        kept.remove(deletion.rule)
    return (*[insertion.rule for insertion in edit.inserted], *kept)


@dataclass(frozen=True, slots=True)
class Rules:
    """Holds the rules of all nodes, for one state of the cluster: a value."""

    _operations: Sequence[Operation]
    _nodes: Mapping[str, Place]
    _rules: Mapping[str, RuleSet]
    _endpoints: int  # number for all Service ports together
    _claims: Mapping[_Claim, int]  # by how many Service ports

    tool: ClassVar[RuleTool] = "iptables-restore"

    def on(self, node: str) -> RuleSet:
        """Returns the rules of ``node``."""
        return self._rules[node]

    def operations(self) -> Iterator[Operation]:
        """Yields the operations that every node needs beside its rules."""
        return iter(self._operations)

    def changed(self, changes: Sequence[ServiceChange]) -> tuple[Rules, Mapping[str, RuleChange]] | None:
        """Returns the rules after ``changes``, and for each node what changes its kernel's; None where all of
        them must be written anew.
        """
        endpoints = self._endpoints + sum(
            _endpoints(change.new) - _endpoints(change.old) for change in changes
        )
        if (endpoints > LARGE_CLUSTER) != (self._endpoints > LARGE_CLUSTER):
            return None
        claims = _moved(self._claims, changes)
        if claims is None:
            return None
        rules, made = dict(self._rules), dict[str, RuleChange]()
        for name, node in self._nodes.items():
            gone = (rule for change in changes for rule in node.rules_of(change.old))
            fresh = (rule for change in changes for rule in node.rules_of(change.new))
            rules[name], made[name] = _changed(rules[name], gone, fresh)
        return Rules(self._operations, self._nodes, rules, endpoints, claims), made


def _claims(port: PlainPort | ServicePortFacts) -> Collection[_Claim]:
    """Returns what leads to ``port``."""
    number, protocol = port.port, port.protocol
    if isinstance(port, PlainPort):
        return ((port.clusterIP, number, protocol),)
    ips = (port.clusterIP, *port.externalIPs, *port.loadBalancerVIPs)
    node_port = {("", port.nodePort, protocol)} if port.nodePort else set[_Claim]()
    return {(ip, number, protocol) for ip in ips} | node_port


def _moved(claims: Mapping[_Claim, int], changes: Sequence[ServiceChange]) -> Mapping[_Claim, int] | None:
    """Returns ``claims`` after ``changes``; None where one that comes is another Service's already: which of
    them has it, the order of the rules decides.
    """
    now = dict(claims)
    for claim in (claim for change in changes for port in change.old for claim in _claims(port)):
        now[claim] -= 1
        if not now[claim]:
            del now[claim]
    for claim in (claim for change in changes for port in change.new for claim in _claims(port)):
        if claim in now:
            return None
        now[claim] = 1
    return now


def _endpoints(ports: Iterable[PlainPort | ServicePortFacts]) -> int:
    return sum([len(port.endpoints) for port in ports])


def _lines(rules: Iterable[Rule]) -> Sequence[Line]:
    return [(rule.table, rule.chain, rule.text) for rule in rules]


def rules(state: ClusterState) -> Rules:
    """Returns every node's rules. The nodes' common parts are computed once.

    Raises ``UnsafeTextError`` for a value that does not fit its type, and :class:`UsageError` for a detector
    that covers everything.
    """
    ports = list[PlainPort | ServicePortFacts]()
    for service, slices in services_with_slices(state):
        plain = plain_port(service, slices, state.family)
        ports += [plain] if plain else ports_of(service, slices, state.family)
    endpoints = _endpoints(ports)
    nodes = {node.name: place_of(state, node, endpoints <= LARGE_CLUSTER) for node in state.nodes}
    common = _lines(frame(state.proxy, state.family))

    @cache
    def shared_rules(index: int, choice: EndpointChoice, context: Context) -> Sequence[Line]:
        port = ports[index]
        if isinstance(port, PlainPort):
            return tuple(_plain_rules(port, context))
        return _lines(port_rules(port, choice, context))

    def render(node: Place) -> RuleSet:
        tables: dict[str, dict[str, list[str]]] = {
            t: {chain: [] for chain in chains} for t, chains in CHAINS.items()
        }

        def add(rules: Iterable[Line]) -> None:
            for table, chain, rule in rules:
                tables[table].setdefault(chain, []).append(rule)

        add(common)
        for index, port in enumerate(ports):
            if isinstance(port, PlainPort):
                add(shared_rules(index, _NO_CHOICE, node.context))
            else:
                add(shared_rules(index, choose(port, node.node), node.context_of(port)))
        add(_lines(node_port_tail(state, node.node.name)))
        return RuleSet(
            {
                table: {chain: tuple(rules) for chain, rules in chains.items()}
                for table, chains in tables.items()
            }
        )

    rendered = {name: render(node) for name, node in nodes.items()}
    claims = Counter([claim for port in ports for claim in _claims(port)])
    return Rules(tuple(plan_localhost(state)), nodes, rendered, endpoints, claims)
