"""What is promised, before it is known how often and by whom exactly it is asked: the value that each way to a promise ends in. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emulator.objects.config import Outcome
from emulator.probe.model import Backend, SourceRule

SLOWEST: tuple[Outcome, ...] = ("dropped", "unreachable", "rejected")  # where several are possible the first of them is promised


@dataclass(frozen=True, slots=True)
class Promise:
    """The part of an expectation that does not depend on the number of attempts or on the client's own addresses.

    ``backends`` to ``relayed`` as in :class:`Expectation`. ``perhaps_own``: where an endpoint's rule is "node", it may see the client's own
    address as well.
    """

    outcome: Outcome
    because: str
    backends: Mapping[Backend, SourceRule] = field(default_factory=dict)
    source: str = ""
    needed: int = 1  # attempts that meet every backend; 0: no number of attempts does (session affinity)
    astray: frozenset[Backend] = frozenset()
    perhaps_astray: frozenset[Backend] = frozenset()
    or_else: frozenset[Outcome] = frozenset()
    unanswered: bool = False
    relayed: bool = False
    perhaps_own: bool = False
