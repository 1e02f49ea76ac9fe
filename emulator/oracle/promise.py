"""Holds a promise before the number of attempts and the client's own addresses are known: the value that each
way to a promise ends in. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..model.expectations import Possibilities, Possibility, SourceRule
from ..model.reasons import Reason
from ..net import Endpoint
from ..objects.config import Outcome


@dataclass(frozen=True, slots=True)
class Promise:
    """Holds the part of an expectation that does not depend on the number of attempts or on the client's own
    addresses.
    """

    possibilities: Possibilities
    because: Reason
    source: str = ""
    needed: int = 1  # attempts that meet every endpoint; 0: no number of attempts does (session affinity)
    unpromised: Reason | None = None


def ending(outcome: Outcome, because: Reason, *, late: bool = False, relayed: bool = False) -> Promise:
    """Returns the promise that every attempt ends in ``outcome``, which is not "delivered"."""
    return Promise(just(outcome, late=late, relayed=relayed), because)


def just(outcome: Outcome, *, late: bool = False, relayed: bool = False) -> Possibilities:
    """Returns the one possibility of ``outcome``."""
    return Possibilities((Possibility(outcome=outcome, late=late, relayed=relayed),))


def answers(rules: Mapping[Endpoint, SourceRule], *, relayed: bool = False) -> Possibilities:
    """Returns a possibility for each endpoint of ``rules``, which answers and sees what its rule says.
    Without endpoints, whoever answers: delivery may be wanted where a Service has none.
    """
    if not rules:
        return just("delivered", relayed=relayed)
    return Possibilities(
        Possibility(outcome="delivered", backend=backend, source=rule, relayed=relayed)
        for backend, rule in rules.items()
    )


def merged(promises: Iterable[Iterable[Possibility]]) -> Possibilities:
    """Returns the possibilities of all ``promises``, each once."""
    return Possibilities(
        dict.fromkeys(possibility for possibilities in promises for possibility in possibilities)
    )
