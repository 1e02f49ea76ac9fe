"""Makes the tables of nftables mode for ten thousand Services, and for one of them that changes.

Makes the same tables as :func:`emulator.proxy.nftables.node_rules`: a plain Service's part is written at
once, and nodes that may use the same endpoints share it. A change of some Services is computed from their
claims alone (:mod:`emulator.proxy.incremental.claimed`). Invariant: after a change the table is the one that
the new Services would make together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ...cluster.state import ClusterState
from ...plan.checked import quoted
from ...plan.nft import NftChange, NftTable
from ...plan.operations import Operation
from ...plan.rules import RuleSet, RuleTool
from ..changes import ServiceChange
from ..endpoints import EndpointChoice, ports_of, services_with_slices
from ..nftables import (
    COMMENT_LENGTH,
    Context,
    Place,
    cluster_ip_names,
    frame,
    node_port_ips,
    picking,
    place_of,
)
from ..nfttable import Parts
from .claimed import ContestedError, Table, change_table, count_claims
from .plain import PlainPort, plain_port


def _add_plain(parts: Parts, port: PlainPort, context: Context) -> None:
    """Adds to ``parts`` the claims of :meth:`Place.add` for the same port, written at once."""
    name, protocol, ip, number, target_port, endpoints, _ = port
    chain, where = cluster_ip_names(len(endpoints))
    key, target = f"{ip} . {protocol.lower()} . {number}", f" . {target_port}"
    elements = parts.elements
    elements["cluster-ips"].append((ip, ip))
    elements["service-ips"].append((key, f"{key} comment {quoted(name[:COMMENT_LENGTH])} : goto {chain}"))
    claim, claim_hairpin = elements[where].append, elements["hairpin-connections"].append
    for index, endpoint in enumerate(endpoints):
        entry, hairpin = f"{key} . {index}", f"{endpoint} . {endpoint}"
        claim((entry, f"{entry} : {endpoint}{target}"))
        claim_hairpin((hairpin, hairpin))
    parts.chains.append((chain, picking(parts.words, context.masquerade, len(endpoints), where)))


@dataclass(frozen=True, slots=True)
class Rules:
    """Holds the tables of all nodes, for one state of the cluster: a value."""

    _nodes: Mapping[str, Place]
    _tables: Mapping[str, Table]

    tool: ClassVar[RuleTool] = "nft"

    def on(self, node: str) -> RuleSet:
        """Returns the table of ``node``, and no other rules."""
        table = self._tables[node].table
        return RuleSet({}, table)

    def operations(self) -> Iterator[Operation]:
        """Yields nothing: rules are all that a node needs."""
        return iter(())

    def changed(
        self, changes: Sequence[ServiceChange]
    ) -> tuple[Rules, Mapping[str, NftChange | NftTable]] | None:
        """Returns the rules after ``changes``, and for each node what changes its kernel's; None where that
        cannot be told piece by piece.
        """
        tables, made = dict(self._tables), dict[str, NftChange | NftTable]()
        try:
            for name, node in self._nodes.items():
                gone, fresh = Parts(node.words), Parts(node.words)
                for change in changes:
                    node.add(gone, change.old, node.choices(change.old))
                    node.add(fresh, change.new, node.choices(change.new))
                tables[name], made[name] = change_table(tables[name], gone, fresh)
        except ContestedError:
            return None
        return Rules(self._nodes, tables), made


def rules(state: ClusterState) -> Rules:
    """Returns every node's rules. Raises ``UnsafeTextError`` for a value that does not fit its type."""
    common = frame(state.serviceSubnet, state.proxy.behaviour)
    nodes = {node.name: place_of(state, node) for node in state.nodes}
    rows = [(node, Parts(node.words)) for node in nodes.values()]
    for service, slices in services_with_slices(state):
        plain = plain_port(service, slices, state.family)
        ports = () if plain else ports_of(service, slices, state.family)
        before: tuple[Place, list[EndpointChoice], Parts] | None = None
        for node, parts in rows:
            choices = node.choices(ports) if ports else []
            if before is None or before[1] != choices or not node.writes_as(before[0], ports):
                before = node, choices, parts if len(rows) == 1 else Parts(node.words)
                if plain:
                    _add_plain(before[2], plain, node.context)
                else:
                    node.add(before[2], ports, choices)
            if before[2] is not parts:
                parts.extend(before[2])  # nodes that may use the same endpoints share the text
    return Rules(
        nodes,
        {
            node.node.name: count_claims(parts, common, node_port_ips(state, node.node.name))
            for node, parts in rows
        },
    )
