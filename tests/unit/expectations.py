"""Makes expectations for tests of the rooms after the oracle: written by endpoint, built of possibilities."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from emulator.model.expectations import (
    Expectation,
    Possibilities,
    Possibility,
    SourceRule,
)
from emulator.model.frames import Health
from emulator.model.reasons import Reason, Why
from emulator.net import Endpoint
from emulator.objects.config import Outcome

FROM_POD = Reason(why=Why.CLUSTER_IP_FROM_POD)


def answering(expectation: Expectation, health: Health) -> Expectation:
    """Returns ``expectation`` of a health check that answers ``health``."""
    return replace(expectation, possibilities=expectation.possibilities.answering(health))


def relayed(expectation: Expectation) -> Expectation:
    """Returns ``expectation`` where a proxy relays."""
    ends = expectation.possibilities
    return replace(expectation, possibilities=Possibilities(replace(end, relayed=True) for end in ends))


def resting_on(section: int) -> Reason:
    """Returns a reason that rests on ``section`` of docs/semantics (0: on none)."""
    return Reason(why=next(why for why in Why if why.section == section))


def expectation_of(
    outcome: Outcome = "delivered",
    because: Reason = FROM_POD,
    *,
    backends: Mapping[Endpoint, SourceRule] | None = None,
    others: Mapping[Endpoint | None, Outcome] | None = None,
    asymmetric: Collection[Endpoint] = (),
    symmetric: Collection[Endpoint] | None = None,
    partial: bool = False,
    late: bool = False,
    relayed: bool = False,
    health: Health | None = None,
    **fields: Any,
) -> Expectation:
    """Returns an expectation of which ``backends`` answer (None among ``others``: no endpoint in particular),
    and ``others`` end otherwise.

    ``asymmetric`` are answered by the endpoint itself, ``symmetric`` (else all the others) from the address
    that was dialled; in neither or in both: as the case may be. Unless ``partial``, each of ``backends`` must
    be met.
    """
    backends = backends or {}
    symmetric = [b for b in backends if b not in asymmetric] if symmetric is None else symmetric
    ends = [
        Possibility(outcome="delivered", backend=b, source=rule)
        for b, rule in backends.items()
        if b in symmetric
    ]
    ends += [
        Possibility(outcome="delivered", backend=b, source=rule, reply="endpoint")
        for b, rule in backends.items()
        if b in asymmetric
    ]
    if not ends:
        ends = [Possibility(outcome=outcome, late=late)]
    ends += [Possibility(outcome=end, backend=b, late=late) for b, end in (others or {}).items()]
    required = () if partial else tuple(frozenset({b}) for b in backends)
    possibilities = Possibilities(replace(end, relayed=relayed) for end in ends).answering(health)
    return Expectation(possibilities=possibilities, because=because, must_meet=required, **fields)
