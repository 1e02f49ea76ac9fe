"""The rules of iptables mode for ten thousand Services, and for one of them that changes.

Makes the same rules as :func:`emulator.proxy.iptables.node_rules`: a plain Service's are written at once, and
what the nodes have in common is worked out once. A change of some Services is told from their rules alone.
Invariant: after a change each chain holds the rules that the new Services would make anew; the order of a
chain that Services share may differ, where it means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from emulator.cluster.state import ClusterState, ProxySettings
from emulator.net import Endpoint, host_prefix
from emulator.plan.operations import Operation
from emulator.plan.rules import RuleSet, RuleTool, comment, compose_change
from emulator.proxy.changes import ServiceChange
from emulator.proxy.endpoints import EndpointChoice, ServicePortFacts, choose, ports_of, services_with_slices
from emulator.proxy.incremental.plain import PlainPort, plain_port
from emulator.proxy.iptables import (
    CHAINS,
    LARGE_CLUSTER,
    Context,
    Place,
    Rule,
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

_NO_CHOICE = EndpointChoice((), (), hasAny=True)  # of a plain port: it has all of its endpoints everywhere


def _plain_rules(port: PlainPort, context: Context) -> Iterator[Rule]:
    """Yields what :func:`port_rules` does for the same port, written at once."""
    name, kind, ip, number, target_port, endpoints = port
    protocol = kind.lower()
    key = name + protocol
    chain = f"KUBE-SVC-{hash_of(key)}"
    host, match = (
        f"-d {host_prefix(ip)}",
        f"-p {protocol} {comment(f'{name} cluster IP')} -m {protocol} --dport {number}",
    )
    yield "nat", "KUBE-SERVICES", f"{host} {match} -j {chain}"
    if context.masqueradeAll:
        yield "nat", chain, f"{host} {match} -j KUBE-MARK-MASQ"
    elif context.detector:
        yield "nat", chain, f"{stranger(context.detector, host)} {match} -j KUBE-MARK-MASQ"
    note = comment(name) + " " if context.comments else ""
    leads = list[Rule]()
    for left, endpoint in zip(range(len(endpoints), 0, -1), endpoints, strict=True):
        address = str(Endpoint.of(endpoint, target_port))
        to = f"KUBE-SEP-{hash_of(key + address)}"
        jump = comment(f"{name} -> {address}") + " " if context.comments else ""
        yield (
            "nat",
            chain,
            f"{jump}-m statistic --mode random --probability {probability(left)} -j {to}"
            if left > 1
            else f"{jump}-j {to}",
        )
        leads.append(("nat", to, f"-s {host_prefix(endpoint)} {note}-j KUBE-MARK-MASQ"))
        leads.append(("nat", to, f"-p {protocol} {note}-m {protocol} -j DNAT --to-destination {address}"))
    yield from leads


def _changed(rules: RuleSet, gone: Iterable[Rule], fresh: Iterable[Rule]) -> tuple[RuleSet, str]:
    """Returns ``rules`` without ``gone`` and with ``fresh``, in the order in which the kernel has them then, and the
    text that makes its tables so.

    A Service's line of a chain that others have lines in is put in front: that costs the least, and their
    order means nothing.
    """
    was, now = by_chain(gone), by_chain(fresh)
    tables = dict(rules.tables)
    before: dict[str, dict[str, tuple[str, ...]]] = {}
    after: dict[str, dict[str, tuple[str, ...]]] = {}
    for table in dict.fromkeys((*was, *now)):
        known, old, new = tables[table], was.get(table, {}), now.get(table, {})
        changed = [chain for chain in dict.fromkeys((*old, *new)) if old.get(chain) != new.get(chain)]
        before[table] = {chain: known[chain] for chain in changed if chain in known}
        shared = {
            chain: _in_front(known[chain], old.get(chain, []), new.get(chain, []))
            for chain in changed
            if chain in CHAINS[table]
        }
        after[table] = shared | {
            chain: tuple(new[chain]) for chain in changed if chain in new and chain not in shared
        }
        chains = {**known, **after[table]}
        for chain in before[table].keys() - after[table].keys():
            del chains[chain]
        tables[table] = chains
    return RuleSet(tables), compose_change(RuleSet(before), RuleSet(after))


def _in_front(rules: Sequence[str], gone: Sequence[str], fresh: Sequence[str]) -> tuple[str, ...]:
    """Returns ``rules`` without ``gone``, behind ``fresh``; what is in both stays where it is."""
    kept = list(rules)
    for rule in gone:
        if rule not in fresh:
            kept.remove(rule)
    return (*[rule for rule in fresh if rule not in gone], *kept)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of all nodes, of one state of the cluster: a value."""

    _settings: ProxySettings
    _nodes: Mapping[str, Place]
    _rules: Mapping[str, RuleSet]
    _endpoints: int  # of all Service ports together

    tool: ClassVar[RuleTool] = "iptables-restore"

    def on(self, node: str) -> RuleSet:
        """Returns the rules of ``node``."""
        return self._rules[node]

    def operations(self) -> Iterator[Operation]:
        """Yields what every node needs beside its rules."""
        return plan_localhost(self._nodes, self._settings)

    def changed(self, changes: Sequence[ServiceChange]) -> tuple[Rules, Mapping[str, str]] | None:
        """Returns the rules after ``changes``, and for each node the text that changes its kernel's; None where
        all of them must be written anew.
        """
        endpoints = self._endpoints + sum(
            _endpoints(change.new) - _endpoints(change.old) for change in changes
        )
        if (endpoints > LARGE_CLUSTER) != (self._endpoints > LARGE_CLUSTER):
            return None
        rules, texts = dict(self._rules), dict[str, str]()
        for name, node in self._nodes.items():
            gone = (rule for change in changes for rule in node.rules_of(change.old))
            fresh = (rule for change in changes for rule in node.rules_of(change.new))
            rules[name], texts[name] = _changed(rules[name], gone, fresh)
        return Rules(self._settings, self._nodes, rules, endpoints), texts


def _endpoints(ports: Iterable[PlainPort | ServicePortFacts]) -> int:
    return sum([len(port.endpoints) for port in ports])


def rules(state: ClusterState) -> Rules:
    """Returns every node's rules. What the nodes have in common is worked out once.

    Raises ``UnsafeTextError`` for a value that is not what its type says, and :class:`UsageError` for a
    detector that covers everything.
    """
    ports = list[PlainPort | ServicePortFacts]()
    for service, slices in services_with_slices(state):
        plain = plain_port(service, slices)
        ports += [plain] if plain else ports_of(service, slices)
    endpoints = _endpoints(ports)
    nodes = {node.name: place_of(state, node, endpoints <= LARGE_CLUSTER) for node in state.nodes}
    common = tuple(frame(state.proxy))

    @cache
    def shared_rules(index: int, choice: EndpointChoice, context: Context) -> tuple[Rule, ...]:
        port = ports[index]
        return tuple(
            _plain_rules(port, context) if isinstance(port, PlainPort) else port_rules(port, choice, context)
        )

    def render(node: Place) -> RuleSet:
        tables: dict[str, dict[str, list[str]]] = {
            t: {chain: [] for chain in chains} for t, chains in CHAINS.items()
        }

        def add(rules: Iterable[Rule]) -> None:
            for table, chain, rule in rules:
                tables[table].setdefault(chain, []).append(rule)

        add(common)
        for index, port in enumerate(ports):
            if isinstance(port, PlainPort):
                add(shared_rules(index, _NO_CHOICE, node.context))
            else:
                add(shared_rules(index, choose(port, node.node), node.context_of(port)))
        add(node_port_tail(state, node.node.name))
        return RuleSet(
            {
                table: {chain: tuple(rules) for chain, rules in chains.items()}
                for table, chains in tables.items()
            }
        )

    return Rules(state.proxy, nodes, {name: render(node) for name, node in nodes.items()}, endpoints)
