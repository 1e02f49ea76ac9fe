"""Holds expectations: every way in which an attempt of a flow may end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from ..net import Endpoint
from ..objects.config import Outcome
from .frames import Health
from .reasons import Reason

SourceRule = Literal["preserved", "node", "balancer"]


SOURCE_RULES: tuple[SourceRule, ...] = ("node", "preserved", "balancer")


ReplyFrom = Literal["dialled", "endpoint"]


# the slowest of those that do not deliver first
OUTCOMES: tuple[Outcome, ...] = ("delivered", "dropped", "unreachable", "rejected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Possibility:
    """Describes one way in which an attempt may end. An attempt that fits none of an expectation's
    possibilities breaks it.

    ``backend`` is the endpoint that the attempt is led to; None: any, or none. ``source`` is the rule for the
    source address that the endpoint sees; None: any address. ``reply`` is the address that the client hears
    from: the one that it dialled, or the endpoint's own, past the node that translated (an asymmetric reply,
    which belongs to no connection of the client).
    """

    outcome: Outcome
    backend: Endpoint | None = None
    source: SourceRule | None = None
    reply: ReplyFrom = "dialled"
    # dropped since ARP is not answered: a client that waits some seconds more is told "host unreachable"
    late: bool = False
    # a process of the node accepts the connection and dials the endpoint: two connections and two packets
    relayed: bool = False
    health: Health | None = None  # the answer of a health check
    # later packets of the connection may reach another node, which resets it (ARP flux)
    wavers: bool = False


class Possibilities(tuple[Possibility, ...]):
    """Holds all ways in which an attempt may end, with what follows from them. Flows that are promised the
    same share one value.
    """

    def forget(self) -> None:
        """Frees what was derived from the possibilities. It is derived again when it is asked for."""
        vars(self).clear()

    @cached_property
    def outcomes(self) -> frozenset[Outcome]:
        """Returns all outcomes that an attempt may have."""
        return frozenset(p.outcome for p in self)

    @cached_property
    def delivering(self) -> tuple[Possibility, ...]:
        """Returns those in which the endpoint answers and the client hears it."""
        return tuple(p for p in self if p.outcome == "delivered")

    @cached_property
    def sources(self) -> Mapping[Endpoint, frozenset[SourceRule]]:
        """Returns the endpoints that may answer, with the source rules that may hold at each."""
        found: dict[Endpoint, set[SourceRule]] = {}
        for p in self.delivering:
            if p.backend is not None:
                found.setdefault(p.backend, set()).update([p.source] if p.source else [])
        return {backend: frozenset(rules) for backend, rules in found.items()}

    @cached_property
    def backends(self) -> Mapping[Endpoint, SourceRule]:
        """Returns the endpoints that may answer, with the source rule of each; "node" where it may be a
        node's or the client's own.
        """
        return {
            b: next((rule for rule in SOURCE_RULES if rule in rules), "preserved")
            for b, rules in self.sources.items()
        }

    @cached_property
    def each_backend(self) -> tuple[frozenset[Endpoint], ...]:
        """Returns a group for each endpoint that may answer (:attr:`Expectation.must_meet`)."""
        return tuple(frozenset({backend}) for backend in self.sources)

    @cached_property
    def endpoints(self) -> frozenset[Endpoint]:
        """Returns each endpoint that an attempt may be led to, whatever comes of that."""
        return frozenset(p.backend for p in self if p.backend is not None)

    @cached_property
    def asymmetric(self) -> frozenset[Endpoint]:
        """Returns the endpoints whose reply may come to the client from themselves, and not from the address
        that it dialled.
        """
        return frozenset(
            p.backend for p in self.delivering if p.backend is not None and p.reply == "endpoint"
        )

    @cached_property
    def symmetric(self) -> frozenset[Endpoint]:
        """Returns the endpoints whose reply may come from the address that the client dialled."""
        return frozenset(p.backend for p in self.delivering if p.backend is not None and p.reply == "dialled")

    def answering(self, health: Health | None) -> Possibilities:
        """Returns the same, but that a health check answers ``health`` wherever it answers."""
        return Possibilities(
            replace(end, health=health) if end.outcome == "delivered" else end for end in self
        )

    @cached_property
    def late(self) -> bool:
        """Returns whether a client that waits some seconds more may be told "host unreachable" where silence
        is promised.
        """
        return any(p.late for p in self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Describes the promise that the objects make for a flow: every attempt ends in one of ``possibilities``,
    and of each group in ``must_meet`` at least one endpoint answers.

    ``addresses`` maps each source rule to the addresses that satisfy it ("preserved" → the client's; "node" →
    those of the masquerading node; "balancer" → that of the load balancer in the path). ``because`` is the
    reason. ``source`` is the name of the source in reports ("preserved", "node", an address, "preserved; node
    on hairpin"). ``unpromised`` is the reason why nothing is promised (None where something is); then the
    verdict is unknown. ``promised`` is the promise of the objects, where a FlowCheck says more (None: this is
    it).
    """

    possibilities: Possibilities
    because: Reason
    must_meet: tuple[frozenset[Endpoint], ...] = ()
    addresses: Mapping[SourceRule, frozenset[str]] = field(default_factory=dict)
    source: str = ""
    unpromised: Reason | None = None
    promised: Expectation | None = None

    @property
    def outcome(self) -> Outcome:
        """Returns the outcome that reports name: delivered where any attempt may be, else the slowest one."""
        return next(outcome for outcome in OUTCOMES if outcome in self.outcomes)

    @property
    def outcomes(self) -> frozenset[Outcome]:
        """Returns all outcomes that an attempt may have."""
        return self.possibilities.outcomes

    @property
    def relayed(self) -> bool:
        """Returns whether attempts are relayed, and must be followed by their request."""
        return any(end.relayed for end in self.possibilities)

    @property
    def health(self) -> Health | None:
        """Returns the answer that a health check is promised; None of other flows."""
        return next((end.health for end in self.possibilities if end.health), None)

    @property
    def backends(self) -> Mapping[Endpoint, SourceRule]:
        """Returns the endpoints that may answer, with the source rule of each."""
        return self.possibilities.backends

    @property
    def endpoints(self) -> frozenset[Endpoint]:
        """Returns each endpoint that an attempt may be led to, whatever comes of that."""
        return self.possibilities.endpoints

    @property
    def asymmetric(self) -> frozenset[Endpoint]:
        """Returns the endpoints from whose own address the client may hear."""
        return self.possibilities.asymmetric

    @property
    def symmetric(self) -> frozenset[Endpoint]:
        """Returns the endpoints whose reply may come from the address that the client dialled."""
        return self.possibilities.symmetric

    @property
    def partial(self) -> bool:
        """Returns whether some endpoint that may answer need not be met: the endpoints are many, or affinity
        leads to one of them.
        """
        return not set(self.possibilities.each_backend) <= set(self.must_meet)

    def rules_at(self, backend: Endpoint | None) -> frozenset[SourceRule]:
        """Returns the source rules that may hold at ``backend`` (None, or an endpoint of which nothing is
        said: those of all endpoints).
        """
        sources = self.possibilities.sources
        if backend is not None and backend in sources:
            return sources[backend]
        return frozenset().union(*sources.values()) or frozenset(self.addresses)
