"""Defines the interface of a mode of kube-proxy: the rules of all nodes as a value, and the record of the
mode.

Pure. Invariant: planning and running a cluster read only the
record; a mode's name is only a key of the table (:mod:`emulator.proxy.backends`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..cluster.state import ClusterState
from ..plan.operations import DelConnections, Operation
from ..plan.operations.rules import Change
from ..plan.origins import Explained
from ..plan.rules import RuleSet, RuleTool
from .changes import ServiceChange
from .userspace import Relay


class Rules(Protocol):
    """Holds kube-proxy's rules in the kernels of all nodes, for one state of the cluster: a value."""

    @property
    def tool(self) -> RuleTool: ...

    def on(self, node: str) -> RuleSet:
        """Returns the rules of ``node``."""

    def operations(self) -> Iterator[Operation]:
        """Yields the operations that every node needs beside its rules."""

    def changed(self, changes: Sequence[ServiceChange]) -> tuple[Rules, Mapping[str, Change]] | None:
        """Returns the rules after ``changes``, and for each node the change of its kernel's, at the cost of
        the changes. None if all rules must be written again. Nodes and settings stay the same.
        """


class Tool(NamedTuple):
    """Names a program that a mode needs, and its Debian package. ``every_run`` needs it, in any mode."""

    name: str
    package: str
    every_run: bool = False

    @property
    def remedy(self) -> str:
        return f"apt-get install {self.package}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Describes a mode of kube-proxy.

    ``explain`` yields the rules of one node with their origins. ``tools`` and ``kernel`` are its needs of the
    machine, kernel features by the names of ``podwire doctor``.
    ``stale`` yields the conntrack entries that a change made stale. ``relays`` are the processes that every
    node runs beside its rules, if the mode has any. ``fresh_ports``: a client must take a new port for each
    connection, since the kernel remembers the one before. ``layout``: how the rules are laid out otherwise
    than kube-proxy's own, for who compares them ("": they are alike). ``prints`` prints the addresses that a
    real kube-proxy serves in this mode, and their endpoints; (): no release of today has the mode.
    """

    tools: tuple[Tool, ...]
    kernel: tuple[str, ...]
    rules: Callable[[ClusterState], Rules]
    explain: Callable[[ClusterState, str], Iterator[Explained]]
    stale: Callable[[ClusterState, ClusterState, Sequence[ServiceChange]], Iterator[DelConnections]]
    relays: Callable[[ClusterState], tuple[Relay, ...]] | None = None
    fresh_ports: bool = False
    layout: str = ""
    prints: tuple[str, ...] = ()
