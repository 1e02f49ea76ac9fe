"""Counts the connections that meet every endpoint that may be chosen. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from ..model.expectations import Expectation, Possibilities
from ..net import Endpoint
from ..objects.kinds import Service

MAX_ATTEMPTS = 400
MISS = 1e-6  # the accepted chance that some endpoint is never chosen
# the accepted chance that an endpoint too many, chosen as often as each of the others, is never chosen
OVERLOOKED = 1e-2


def attempts_for(backends: int) -> int:
    """Returns how many connections a flow to ``backends`` endpoints makes: those that meet each of them, but
    never more than 400, which is enough for 24 endpoints.
    """
    return min(attempts_to_meet_each(backends), MAX_ATTEMPTS)


@lru_cache(maxsize=4096)
def attempts_to_meet_each(backends: int) -> int:
    """Returns the least number of connections that meets every one of ``backends`` endpoints, each chosen
    with equal chance, but for a risk below 1e-6: the least k with n(1-1/n)^k < 1e-6 (union bound).
    """
    if backends <= 1:
        return 1
    needed = (math.log(backends) - math.log(MISS)) / -math.log1p(-1 / backends)
    return math.floor(needed) + 1


@lru_cache(maxsize=4096)
def attempts_for_stranger(backends: int) -> int:
    """Returns the least number of connections that meets an endpoint too many beside ``backends`` others, all
    chosen with equal chance, but for a risk below 1e-2: the least k with (1-1/(n+1))^k < 1e-2.

    One endpoint that alone is promised is met by the first connection, and one it is.
    """
    if backends <= 1:
        return 1
    return math.floor(math.log(OVERLOOKED) / math.log1p(-1 / (backends + 1))) + 1


def attempts_to_meet(service: Service, backends: int) -> int:
    """Returns the attempts that meet every one of ``backends``; 0 if no number does, since session affinity
    leads to the same one.
    """
    return (
        0 if service.spec.sessionAffinity == "ClientIP" and backends > 1 else attempts_to_meet_each(backends)
    )


def attempts_of(expectation: Expectation) -> int:
    """Returns how many connections meet every endpoint of ``expectation`` that may answer; 1 where
    none does.
    """
    return attempts_for(count_choices(expectation))


def count_choices(expectation: Expectation) -> int:
    """Returns how many endpoints a connection is led to with equal chance; 1 where none answers."""
    return len(expectation.endpoints) if expectation.backends else 1


def find_required(
    possibilities: Possibilities, attempts: int, needed: int
) -> tuple[frozenset[Endpoint], ...]:
    """Returns the groups of endpoints of which at least one must be met, given ``attempts`` connections.

    ``needed`` attempts meet every endpoint that answers; 0: no number does. Fewer attempts still meet some
    endpoint that answers, if it is improbable enough that all are led to others.
    """
    answering, every = len(possibilities.sources), len(possibilities.endpoints)
    if not needed or not answering or attempts >= needed:
        return possibilities.each_backend if needed else ()
    missed = (1 - answering / every) ** attempts
    return (frozenset(possibilities.sources),) if answering < every and missed < MISS else ()


def chances(promises: Sequence[Expectation]) -> int:
    """Returns 1/p, rounded up, where p is the chance of the least likely endpoint when a balancer picks nodes
    uniformly.
    """
    shares: dict[Endpoint, Fraction] = {}
    for promise in promises:
        for backend in promise.endpoints:
            shares[backend] = shares.get(backend, Fraction()) + Fraction(
                1, len(promise.endpoints) * len(promises)
            )
    return math.ceil(1 / min(shares.values(), default=Fraction(1)))
