"""The interface of a mode of kube-proxy: the rules of all nodes as a value, and the record of the mode.

Pure: imports the cluster state and the plan's values. Invariant: whoever plans or runs a cluster asks the
record; a mode's name is only a key of the table (:mod:`emulator.proxy.backends`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from emulator.cluster.state import ClusterState
from emulator.plan.operations import DelConnections, Operation
from emulator.plan.operations.rules import Change
from emulator.plan.rules import RuleSet, RuleTool
from emulator.proxy.changes import ServiceChange
from emulator.proxy.userspace import Relay


class Rules(Protocol):
    """What kube-proxy puts into the kernels of all nodes, of one state of the cluster: a value."""

    @property
    def tool(self) -> RuleTool: ...

    def on(self, node: str) -> RuleSet:
        """Returns the rules of ``node``."""

    def operations(self) -> Iterator[Operation]:
        """Yields what every node needs beside its rules."""

    def changed(self, changes: Sequence[ServiceChange]) -> tuple[Rules, Mapping[str, Change]] | None:
        """Returns the rules after ``changes``, and for each node what changes its kernel's, at the cost of what
        changed. None if everything must be written anew. Nodes and settings stay as they are.
        """


class Tool(NamedTuple):
    """A program that a mode needs, and Debian's package that has it. ``every_run`` needs it, in any mode."""

    name: str
    package: str
    every_run: bool = False

    @property
    def remedy(self) -> str:
        return f"apt-get install {self.package}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A mode of kube-proxy.

    ``tools`` and ``kernel`` are what it needs of the machine, kernel features by the names that ``podwire
    doctor`` has for them. ``stale`` yields the connections that a change made wrong. ``relays`` are the
    processes that every node runs beside its rules, if the mode has any. ``fresh_ports``: a client must take
    a new port for each connection, since the kernel remembers the one before.
    """

    tools: tuple[Tool, ...]
    kernel: tuple[str, ...]
    rules: Callable[[ClusterState], Rules]
    stale: Callable[[ClusterState, ClusterState, Sequence[ServiceChange]], Iterator[DelConnections]]
    relays: Callable[[ClusterState], tuple[Relay, ...]] | None = None
    fresh_ports: bool = False
